//! The `OpenAPI` document (3.1) of the routes.

use crate::routes::{Operation, Query, REFUSALS, ROUTES, Route, template};
use axum::http::StatusCode;
use serde_json::{Map, Value, json};

/// Attributes that nearly every search goes by; any other is a parameter, too.
const MATCHED: &[&str] = &[
    "PatientName",
    "PatientID",
    "StudyDate",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "SOPInstanceUID",
    "AccessionNumber",
    "Modality",
    "ModalitiesInStudy",
];

/// The same of searches for workitems.
const OF_WORKITEMS: &[&str] = &[
    "PatientName",
    "PatientID",
    "StudyInstanceUID",
    "SOPInstanceUID",
    "ProcedureStepState",
    "ScheduledProcedureStepPriority",
    "ScheduledProcedureStepStartDateTime",
    "WorklistLabel",
    "ReferencedRequestSequence.AccessionNumber",
];

/// How a picture is to be (8.3.5.1). Of WADO-URI these are other ones ([`BY_URI`]).
const PICTURED: &[&str] = &[
    "annotation",
    "iccprofile",
    "presentationSeriesUID",
    "presentationUID",
    "quality",
    "viewport",
    "window",
];

/// What names an instance and what is wanted of it, and whether it has to be there.
const BY_URI: &[(&str, bool)] = &[
    ("requestType", true),
    ("studyUID", true),
    ("seriesUID", true),
    ("objectUID", true),
    ("annotation", false),
    ("anonymize", false),
    ("contentType", false),
    ("frameNumber", false),
    ("imageQuality", false),
    ("presentationSeriesUID", false),
    ("presentationUID", false),
    ("rows", false),
    ("columns", false),
    ("region", false),
    ("transferSyntax", false),
    ("windowCenter", false),
    ("windowWidth", false),
];

/// Describes the services for programs and their authors; `url` is where they are mounted, as in
/// `/dicomweb`, and `version` that of the host program.
#[must_use]
pub fn openapi(url: &str, version: &str) -> Value {
    let paths: Map<String, Value> = ROUTES
        .iter()
        .map(|route| (template(route.path), path_item(route)))
        .collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "DICOMweb (PS3.18)",
            "version": version,
            "license": {"name": "MIT OR Apache-2.0"},
        },
        "servers": [{"url": url}],
        "security": [{"bearer": []}, {"basic": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "basic": {"type": "http", "scheme": "basic"},
            },
            "schemas": schemas(),
        },
    })
}

fn path_item(route: &Route) -> Value {
    let operations: Map<String, Value> = route
        .operations
        .iter()
        .map(|of| (of.method.to_owned(), operation(route.path, of)))
        .collect();
    Value::Object(operations)
}

fn operation(path: &str, of: &Operation) -> Value {
    let mut parameters: Vec<Value> = path_parameters(path).collect();
    parameters.extend(query_parameters(of.query));
    let mut responses = Map::new();
    for (status, kinds) in of.gives {
        responses.insert(status.to_string(), response(*status, kinds));
    }
    for status in REFUSALS.iter().chain(of.refuses) {
        responses.insert(status.to_string(), refusal(*status, of));
    }
    let mut described = Map::new();
    described.insert("operationId".to_owned(), json!(of.id));
    described.insert("summary".to_owned(), json!(of.summary));
    described.insert("parameters".to_owned(), json!(parameters));
    described.insert("responses".to_owned(), Value::Object(responses));
    if !of.takes.is_empty() {
        let content: Map<String, Value> = of
            .takes
            .iter()
            .map(|kind| ((*kind).to_owned(), json!({"schema": schema_of(kind)})))
            .collect();
        let body = json!({"required": true, "content": content});
        described.insert("requestBody".to_owned(), body);
    }
    Value::Object(described)
}

fn path_parameters(path: &str) -> impl Iterator<Item = Value> {
    let names = path.split('/').filter_map(|segment| {
        let name = segment.strip_prefix('{')?.strip_suffix('}')?;
        Some(name.trim_start_matches('*'))
    });
    names.map(|name| {
        let schema = match name {
            "frames" => {
                json!({"type": "string", "pattern": "^[1-9][0-9]{0,4}(,[1-9][0-9]{0,4})*$"})
            }
            "path" => {
                json!({"type": "string", "pattern": "^[0-9A-F]{8}(/[1-9][0-9]?/[0-9A-F]{8})*$"})
            }
            _ => json!({"$ref": "#/components/schemas/Uid"}),
        };
        json!({"name": name, "in": "path", "required": true, "schema": schema})
    })
}

fn query_parameters(query: Query) -> Vec<Value> {
    let of = |name: &str, schema: Value| json!({"name": name, "in": "query", "schema": schema});
    let text = || json!({"type": "string"});
    let mut parameters = Vec::new();
    if query == Query::Picture {
        parameters.extend(PICTURED.iter().map(|name| of(name, text())));
    }
    if query == Query::Uri {
        parameters.extend(BY_URI.iter().map(|(name, is_required)| {
            json!({"name": name, "in": "query", "required": is_required, "schema": text()})
        }));
    } else if !matches!(query, Query::Nothing | Query::Transaction) {
        parameters.push(of("accept", text()));
    }
    if query == Query::Transaction {
        let uid = json!({"$ref": "#/components/schemas/Uid"});
        parameters.push(of("transaction-uid", uid));
    }
    if matches!(query, Query::Search | Query::Workitems) {
        let number = json!({"type": "integer", "minimum": 0});
        parameters.push(of("limit", number.clone()));
        parameters.push(of("offset", number));
        parameters.push(of("fuzzymatching", json!({"type": "boolean"})));
        parameters.push(of("includefield", text()));
    }
    if query == Query::Search {
        parameters.push(of("cursor", text()));
        parameters.extend(MATCHED.iter().map(|name| of(name, text())));
    }
    if query == Query::Workitems {
        parameters.extend(OF_WORKITEMS.iter().map(|name| of(name, text())));
    }
    parameters
}

fn response(status: u16, kinds: &[&str]) -> Value {
    let mut described = Map::new();
    described.insert("description".to_owned(), json!(reason(status)));
    let content: Map<String, Value> = kinds
        .iter()
        .map(|kind| ((*kind).to_owned(), json!({"schema": schema_of(kind)})))
        .collect();
    if !content.is_empty() {
        described.insert("content".to_owned(), Value::Object(content));
    }
    Value::Object(described)
}

/// A refusal is a problem (RFC 9457), or what became of each instance.
fn refusal(status: u16, of: &Operation) -> Value {
    let mut kinds = vec!["application/problem+json"];
    let is_verdict = !of.takes.is_empty() && matches!(status, 400 | 408 | 409 | 413 | 503);
    if is_verdict && let Some((_, verdicts)) = of.gives.first() {
        kinds.extend(*verdicts);
    }
    response(status, &kinds)
}

fn reason(status: u16) -> &'static str {
    let status = StatusCode::from_u16(status).ok();
    let reason = status.and_then(|status| status.canonical_reason());
    reason.unwrap_or("Answered")
}

fn schema_of(kind: &str) -> Value {
    match kind {
        "application/dicom+json" | "application/json" => {
            let set = json!({"$ref": "#/components/schemas/DataSet"});
            json!({"anyOf": [{"type": "array", "items": set}, set]})
        }
        "application/problem+json" => json!({"$ref": "#/components/schemas/Problem"}),
        _ if kind.ends_with("xml") => json!({"type": "string"}),
        _ => json!({"type": "string", "format": "binary"}),
    }
}

fn schemas() -> Value {
    json!({
        "Uid": {
            "type": "string",
            "pattern": "^[0-9A-Za-z][0-9A-Za-z._-]{0,63}$",
            "example": "1.2.840.10008.1.1",
        },
        "Attribute": {
            "type": "object",
            "description": "PS3.18 F.2.2",
            "required": ["vr"],
            "properties": {
                "vr": {"type": "string", "pattern": "^[A-Z]{2}$"},
                "Value": {"type": "array"},
                "BulkDataURI": {"type": "string"},
                "InlineBinary": {"type": "string"},
            },
        },
        "DataSet": {
            "type": "object",
            "description": "PS3.18 F.2.1",
            "patternProperties": {
                "^[0-9A-F]{8}$": {"$ref": "#/components/schemas/Attribute"},
            },
            "additionalProperties": false,
        },
        "Problem": {
            "type": "object",
            "description": "RFC 9457",
            "required": ["title", "status", "detail"],
            "properties": {
                "title": {"type": "string"},
                "status": {"type": "integer"},
                "detail": {"type": "string"},
            },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_operation_has_a_name_of_its_own_and_each_parameter_is_described() {
        let document = openapi("/dicomweb", "1");
        let paths = document["paths"].as_object().unwrap();
        let mut ids = BTreeSet::new();
        for (path, operations) in paths {
            for (method, operation) in operations.as_object().unwrap() {
                let id = operation["operationId"].as_str().unwrap();
                assert!(ids.insert(id.to_owned()), "{method} {path}");
                let parameters = operation["parameters"].as_array().unwrap();
                let of_path = parameters.iter().filter(|one| one["in"] == "path");
                assert_eq!(of_path.count(), path.matches('{').count(), "{path}");
            }
        }
        let operations = ROUTES.iter().map(|route| route.operations.len());
        assert_eq!(ids.len(), operations.sum::<usize>());
    }
    #[test]
    fn requests_for_pictures_have_the_parameters_that_are_read_and_no_other() {
        let document = openapi("/dicomweb", "1");
        let named = |path: &str| -> BTreeSet<String> {
            let parameters = document["paths"][path]["get"]["parameters"].as_array();
            let in_query = parameters
                .unwrap()
                .iter()
                .filter(|one| one["in"] == "query");
            let names = in_query.map(|one| one["name"].as_str().unwrap().to_owned());
            names.collect()
        };
        let read = |source: &str, opening: &str, closing: &str| -> BTreeSet<String> {
            let (code, _tests) = source.split_once("#[cfg(test)]").unwrap();
            let found = code.split(opening).skip(1);
            let names = found.filter_map(|rest| rest.split_once(closing));
            names.map(|(name, _)| name.to_owned()).collect()
        };
        let uri = include_str!("rendered/uri.rs");
        let mut by_uri = read(uri, "get(\"", "\")");
        by_uri.append(&mut read(uri, "needed(\"", "\")"));
        by_uri.append(&mut read(uri, ".edge(\"", "\")"));
        let (_, shared) = uri.split_once("|name: &str| [").unwrap();
        let (shared, _) = shared.split_once(']').unwrap();
        by_uri.extend(
            shared
                .split(", ")
                .map(|name| name.trim_matches('"').to_owned()),
        );
        assert_eq!(named("/wado"), by_uri);

        let of_a_study = named("/studies/{study}/rendered");
        for name in read(
            include_str!("rendered/parameters.rs"),
            "                \"",
            "\"",
        ) {
            assert!(of_a_study.contains(&name), "{name}");
        }
    }
}
