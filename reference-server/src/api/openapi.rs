//! The `OpenAPI` document (3.1) of the API.

use super::PREFIX;
use super::guard::CSRF;
use super::repeat;
use super::routes::{Basis, FAMILIES, Given, Operation, Route};
use axum::Json;
use axum::http::StatusCode;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// Refusals of whatever takes a body.
const OF_BODIES: [u16; 4] = [400, 413, 415, 422];

pub(super) async fn openapi() -> Json<Value> {
    Json(document())
}

/// Describes the API for programs and their authors.
#[must_use]
pub(super) fn document() -> Value {
    let routes = FAMILIES.iter().flat_map(|family| family.routes);
    let paths: Map<String, Value> = routes
        .map(|route| (route.path.to_owned(), path_item(route)))
        .collect();
    let schemas = FAMILIES.iter().flat_map(|family| (family.schemas)());
    let schemas: Map<String, Value> = schemas
        .map(|(name, schema)| (name.to_owned(), schema))
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
            "schemas": schemas,
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
    let mut responses = Map::new();
    for given in [Some(of.gives), of.gives_also].into_iter().flatten() {
        responses.insert(given.status.to_string(), answer(given));
    }
    for status in refusals(path, of) {
        responses.insert(status.to_string(), refusal(status));
    }
    if has_parameters(path, of) {
        // HTTP itself says so of an address that is too long, without a word.
        responses.insert("414".to_owned(), described(414));
    }
    let changes = of.method != "get";
    let mut described = json!({
        "operationId": of.id,
        "summary": of.summary,
        "parameters": parameters(path, of),
        "responses": responses,
        "security": match (of.is_signed, changes) {
            (false, _) => json!([]),
            (true, false) => json!([{"session": []}]),
            (true, true) => json!([{"session": [], "token": []}]),
        },
    });
    if !of.needs.is_empty() {
        described["x-permissions"] = json!(of.needs);
    }
    if let Some(schema) = of.takes {
        described["requestBody"] = json!({
            "required": true,
            "content": {"application/json": {"schema": reference(schema)}},
        });
    }
    described
}

/// Whether somebody may write something into its address.
fn has_parameters(path: &str, of: &Operation) -> bool {
    !of.parameters.is_empty() || path.contains('{')
}

/// The statuses of an operation that are refusals.
fn refusals(path: &str, of: &Operation) -> BTreeSet<u16> {
    let mut statuses: BTreeSet<u16> = of.refuses.iter().copied().collect();
    statuses.insert(500);
    if of.method != "get" {
        statuses.insert(403);
    }
    if of.is_signed {
        statuses.extend([401, 403, 503]);
    }
    if of.takes.is_some() {
        statuses.extend(OF_BODIES);
    }
    if has_parameters(path, of) {
        statuses.insert(422);
    }
    match of.basis {
        Basis::None => {}
        Basis::Optional => statuses.extend([412]),
        Basis::Needed => statuses.extend([412, 428]),
    }
    if of.is_once {
        statuses.extend([400, 422]);
    }
    statuses
}

fn parameters(path: &str, of: &Operation) -> Vec<Value> {
    let mut all: Vec<Value> = path
        .split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
        .map(|name| {
            let schema = json!({"type": "string", "minLength": 1});
            json!({"name": name, "in": "path", "required": true, "schema": schema})
        })
        .collect();
    for parameter in of.parameters {
        let schema: Value = serde_json::from_str(parameter.schema).unwrap_or_default();
        all.push(json!({
            "name": parameter.name,
            "in": "query",
            "required": false,
            "description": parameter.summary,
            "schema": schema,
        }));
    }
    if of.basis != Basis::None {
        all.push(json!({
            "name": "If-Match",
            "in": "header",
            "required": of.basis == Basis::Needed,
            "description": "the ETag of the state that the change is based on",
            "schema": {"type": "string", "pattern": "^\"[0-9a-f]{1,16}\"$"},
        }));
    }
    if of.is_once {
        all.push(json!({
            "name": repeat::HEADER,
            "in": "header",
            "required": true,
            "description": "a name of this request: it is done once, however often it comes",
            "schema": {"type": "string", "pattern": "^[A-Za-z0-9_-]{8,64}$"},
        }));
    }
    all
}

/// The schema of this name.
pub(super) fn reference(schema: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{schema}")})
}

fn described(status: u16) -> Value {
    let status = StatusCode::from_u16(status).unwrap_or_default();
    json!({"description": status.canonical_reason().unwrap_or("Answered")})
}

fn answer(given: Given) -> Value {
    let mut described = described(given.status);
    if let Some(schema) = given.schema {
        described["content"] = json!({given.kind: {"schema": reference(schema)}});
    }
    if given.is_tagged {
        let schema = json!({"type": "string"});
        described["headers"] = json!({"ETag": {"required": true, "schema": schema}});
    }
    described
}

fn refusal(status: u16) -> Value {
    let mut described = described(status);
    let problem = json!({"schema": reference("Problem")});
    described["content"] = json!({"application/problem+json": problem});
    described
}

/// An object of these members, all of them there unless something else is said, and no others.
pub(super) fn object(members: &[(&str, Value)], optional: &[&str]) -> Value {
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

/// A part of a list of entries of this schema.
pub(super) fn list(schema: &str) -> Value {
    let items = json!({"type": "array", "items": reference(schema)});
    object(&[("items", items), ("next", nothing_or(text()))], &[])
}

/// A text.
pub(super) fn text() -> Value {
    json!({"type": "string"})
}

/// The code of a department.
pub(super) fn department() -> Value {
    json!({"type": "string", "pattern": "^[A-Z0-9_]{1,16}$"})
}

/// Yes or no.
pub(super) fn flag() -> Value {
    json!({"type": "boolean"})
}

/// A moment (RFC 3339).
pub(super) fn time() -> Value {
    json!({"type": "string", "format": "date-time"})
}

/// A day.
pub(super) fn day() -> Value {
    json!({"type": "string", "format": "date"})
}

/// The same, or null.
pub(super) fn nothing_or(schema: Value) -> Value {
    json!({"anyOf": [schema, {"type": "null"}]})
}

/// Several of the same.
pub(super) fn several(schema: Value) -> Value {
    json!({"type": "array", "items": schema})
}

/// What all families use.
pub(super) fn schemas() -> Vec<(&'static str, Value)> {
    let problem = json!({
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
    });
    vec![
        ("Document", json!({"type": "object"})),
        ("Problem", problem),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::problem::all_codes;

    #[test]
    fn each_operation_has_a_name_of_its_own_and_each_schema_is_there_once() {
        let document = document();
        let routes = FAMILIES.iter().flat_map(|family| family.routes);
        let operations = routes.flat_map(|route| route.operations);
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
        let count: usize = FAMILIES.iter().map(|family| (family.schemas)().len()).sum();
        assert_eq!(
            described.len(),
            count,
            "two families have a schema of one name"
        );
    }

    #[test]
    fn each_path_stands_in_one_family_and_each_parameter_has_a_schema() {
        let mut paths = BTreeSet::new();
        for route in FAMILIES.iter().flat_map(|family| family.routes) {
            assert!(paths.insert(route.path), "{}", route.path);
            for parameter in route.operations.iter().flat_map(|of| of.parameters) {
                let schema: Value = serde_json::from_str(parameter.schema).unwrap();
                assert!(schema.is_object(), "{}", parameter.name);
            }
        }
    }

    #[test]
    fn each_code_means_one_thing_and_its_key_has_words_in_three_languages() {
        // Those that the glossary of the portal has; all others are ours.
        let of_glossary = [
            "auth.second_factor",
            "auth.session_expired",
            "auth.wrong",
            "notice.reason_required",
            "patient.pin_invalid",
        ];
        let messages = include_str!("../../messages.tsv");
        let mut ours = BTreeSet::new();
        for line in messages.lines().skip(1) {
            let cells: Vec<&str> = line.split('\t').collect();
            assert!(
                cells.len() == 4 && cells.iter().all(|cell| !cell.is_empty()),
                "{line}"
            );
            assert!(ours.insert(cells[0]), "{line}");
            assert!(!of_glossary.contains(&cells[0]), "{line}");
        }
        let mut codes = BTreeSet::new();
        let mut used = BTreeSet::new();
        for code in all_codes() {
            assert!(codes.insert(code.code), "{}", code.code);
            assert!((400..600).contains(&code.status), "{}", code.code);
            let is_known = ours.contains(code.key) || of_glossary.contains(&code.key);
            assert!(is_known, "{} has no words", code.key);
            used.insert(code.key);
        }
        let unused: Vec<_> = ours.difference(&used).collect();
        assert!(unused.is_empty(), "{unused:?}");
    }
}
