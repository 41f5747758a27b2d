//! The `OpenAPI` document (3.1) of the API.

use super::PREFIX;
use super::guard::CSRF;
use super::routes::{Operation, ROUTES, Route};
use axum::Json;
use axum::http::StatusCode;
use serde_json::{Map, Value, json};

/// Refusals of whatever takes a body.
const OF_BODIES: [u16; 4] = [400, 413, 415, 422];

pub(super) async fn openapi() -> Json<Value> {
    Json(document())
}

/// Describes the API for programs and their authors.
#[must_use]
pub(super) fn document() -> Value {
    let paths: Map<String, Value> = ROUTES
        .iter()
        .map(|route| (route.path.to_owned(), path_item(route)))
        .collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "PACS",
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": "MIT OR Apache-2.0"},
        },
        "servers": [{"url": PREFIX}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "session": {"type": "apiKey", "in": "cookie", "name": "__Host-pacs_session"},
                "token": {"type": "apiKey", "in": "header", "name": CSRF},
            },
            "schemas": schemas(),
        },
    })
}

fn path_item(route: &Route) -> Value {
    let mut item = Map::new();
    for of in route.operations {
        item.insert(of.method.to_owned(), operation(route.path, of));
    }
    Value::Object(item)
}

fn operation(path: &str, of: &Operation) -> Value {
    let (status, schema) = of.gives;
    let mut responses = Map::new();
    responses.insert(
        status.to_string(),
        response(status, schema, "application/json"),
    );
    let changes = of.method != "get";
    let signed: &[u16] = match (of.is_signed, changes) {
        (true, true) => &[401, 403],
        // Also where another password has to be chosen first.
        (true, false) => &[401, 403],
        (false, true) => &[403],
        (false, false) => &[],
    };
    let bodies: &[u16] = if of.takes.is_some() { &OF_BODIES } else { &[] };
    for status in of.refuses.iter().chain(signed).chain(bodies).chain(&[500]) {
        let problem = response(*status, Some("Problem"), "application/problem+json");
        responses.insert(status.to_string(), problem);
    }
    let parameters: Vec<Value> = path
        .split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
        .map(|name| {
            let schema = json!({"type": "string", "minLength": 1});
            json!({"name": name, "in": "path", "required": true, "schema": schema})
        })
        .collect();
    let mut described = json!({
        "operationId": of.id,
        "summary": of.summary,
        "parameters": parameters,
        "responses": responses,
        "security": match (of.is_signed, changes) {
            (false, _) => json!([]),
            (true, false) => json!([{"session": []}]),
            (true, true) => json!([{"session": [], "token": []}]),
        },
    });
    if let Some(schema) = of.takes {
        described["requestBody"] = json!({
            "required": true,
            "content": {"application/json": {"schema": reference(schema)}},
        });
    }
    described
}

fn reference(schema: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{schema}")})
}

fn response(status: u16, schema: Option<&str>, kind: &str) -> Value {
    let status = StatusCode::from_u16(status).unwrap_or_default();
    let mut described = json!({"description": status.canonical_reason().unwrap_or("Answered")});
    if let Some(schema) = schema {
        described["content"] = json!({kind: {"schema": reference(schema)}});
    }
    described
}

/// An object of these members, all of them text and there, unless something else is said.
fn object(members: &[(&str, Value)], optional: &[&str]) -> Value {
    let properties: Map<String, Value> = members
        .iter()
        .map(|(name, schema)| ((*name).to_owned(), schema.clone()))
        .collect();
    let required: Vec<&str> = members
        .iter()
        .map(|(name, _)| *name)
        .filter(|name| !optional.contains(name))
        .collect();
    json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

fn schemas() -> Value {
    let text = || json!({"type": "string"});
    let flag = || json!({"type": "boolean"});
    let time = || json!({"type": "string", "format": "date-time"});
    let nothing_or = |schema: Value| json!({"anyOf": [schema, {"type": "null"}]});
    let reasons = json!({"enum": [
        "emergency", "mass_casualty", "nobody_reachable", "other", "unconscious",
    ]});
    let verdict = json!({"enum": ["justified", "unjustified"]});
    let emergencies = [
        (
            "items",
            json!({"type": "array", "items": reference("Opened")}),
        ),
        ("next", nothing_or(text())),
    ];
    json!({
        "Document": {"type": "object"},
        "First": object(&[("token", text()), ("user", text()), ("display_name", text()),
            ("password", text())], &[]),
        "Credentials": object(&[("user", text()), ("password", text()),
            ("code", nothing_or(text()))], &["code"]),
        "NewPassword": object(&[("current", text()), ("new", text())], &[]),
        "WithPassword": object(&[("password", text())], &[]),
        "WithCode": object(&[("code", text())], &[]),
        "WithBoth": object(&[("password", text()), ("code", text())], &[]),
        "Offered": object(&[("secret", text()), ("uri", text())], &[]),
        "Emergency": object(&[("patient", text()), ("reason", reasons.clone()),
            ("explanation", text()), ("proof", text())], &[]),
        "Opened": object(&[("id", text()), ("user", text()), ("patient", text()),
            ("reason", reasons), ("explanation", text()), ("opened_at", time()),
            ("closed_at", nothing_or(time())),
            ("review_due", json!({"type": "string", "format": "date"})),
            ("verdict", nothing_or(verdict.clone()))], &[]),
        "Emergencies": object(&emergencies, &[]),
        "Judged": object(&[("verdict", verdict), ("explanation", text())], &[]),
        "Grant": {
            "type": "object",
            "required": ["role", "reach"],
            "properties": {
                "role": {"type": "string"},
                "reach": {"anyOf": [{"const": "national"}, {"type": "object"}]},
            },
        },
        "Session": object(&[("user", text()), ("display_name", text()), ("is_doctor", flag()),
            ("grants", json!({"type": "array", "items": reference("Grant")})),
            ("must_change_password", flag()), ("has_second_factor", flag()),
            ("csrf_token", text()), ("ends_at", time())], &[]),
        "Problem": {
            "type": "object",
            "description": "RFC 9457, with a code for programs and a key of the glossary",
            "required": ["title", "status", "code", "key", "detail"],
            "properties": {
                "title": {"type": "string"},
                "status": {"type": "integer"},
                "code": {"type": "string", "pattern": "^[A-Z_]+$"},
                "key": {"type": "string", "pattern": "^[a-z_.]+$"},
                "detail": {"type": "string"},
                "chars_min": {"type": "integer"},
            },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_operation_has_a_name_of_its_own_and_each_schema_is_there() {
        let document = document();
        let operations = ROUTES.iter().flat_map(|route| route.operations);
        let ids: BTreeSet<&str> = operations.clone().map(|of| of.id).collect();
        assert_eq!(ids.len(), operations.count());
        let text = document.to_string();
        let mut named = BTreeSet::new();
        for part in text.split("#/components/schemas/").skip(1) {
            named.insert(part.split('"').next().unwrap().to_owned());
        }
        let schemas = document["components"]["schemas"].as_object().unwrap();
        let described: BTreeSet<String> = schemas.keys().cloned().collect();
        assert_eq!(named, described);
    }
}
