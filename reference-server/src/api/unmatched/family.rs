//! The family of studies that wait.

use crate::api::openapi::{
    day, flag, list as part_of_list, nothing_or, object, reference, several, text, time,
};
use crate::api::page::{CURSOR, LIMIT};
use crate::api::problem::Code;
use crate::api::problem::codes::codes;
use crate::api::routes::{Basis, Family, Operation, Parameter, Route};
use axum::routing::{get, post};
use pacs_core::role::Permission;
use serde_json::{Value, json};

codes! {
    RETYPE_NEEDED = 422 "unmatched.retype" "the headers speak of somebody else: type the ID again";
}

pub(in crate::api) const FAMILY: Family = Family {
    routes: &[
        Route {
            path: "/unmatched",
            operations: &[LIST],
        },
        Route {
            path: "/unmatched/{study}",
            operations: &[READ],
        },
        Route {
            path: "/unmatched/{study}/bind",
            operations: &[BIND],
        },
        Route {
            path: "/unmatched/{study}/unbind",
            operations: &[UNBIND],
        },
        Route {
            path: "/unmatched/{study}/split",
            operations: &[SPLIT],
        },
        Route {
            path: "/unmatched/{study}/merge",
            operations: &[MERGE],
        },
        Route {
            path: "/unmatched/{study}/create",
            operations: &[CREATE],
        },
        Route {
            path: "/unmatched/{study}/reject",
            operations: &[REJECT],
        },
        Route {
            path: "/unmatched/{study}/postpone",
            operations: &[POSTPONE],
        },
        Route {
            path: "/unmatched/{study}/undo",
            operations: &[UNDO],
        },
    ],
    schemas,
};

const ORGANISATION: Parameter = Parameter {
    name: "organisation",
    summary: "whose: its code, or `none` for studies whose sender nobody knows",
    schema: r#"{"type": "string", "pattern": "^([0-9]{3}|none)$"}"#,
};

const POSTPONED: Parameter = Parameter {
    name: "postponed",
    summary: "also those that were put off",
    schema: r#"{"type": "boolean", "default": false}"#,
};

const LIST: Operation =
    Operation::get("unmatchedStudies", "Studies that wait for a person", || {
        get(super::list)
    })
    .asks(&[ORGANISATION, POSTPONED, CURSOR, LIMIT])
    .gives(200, "UnmatchedStudies")
    .refuses(&[422])
    .needs(&[Permission::Reconcile]);

const READ: Operation = Operation::get(
    "unmatchedStudy",
    "A study that came, with those that it could be of",
    || get(super::read),
)
.gives(200, "UnmatchedStudy")
.tagged()
.refuses(&[404, 422])
.needs(&[Permission::Reconcile]);

const fn corrects(of: Operation, takes: &'static str) -> Operation {
    of.takes(takes)
        .needs(&[Permission::Reconcile])
        .gives(200, "UnmatchedStudy")
        .tagged()
        .based(Basis::Needed)
        .refuses(&[404, 409])
}

const BIND: Operation = corrects(
    Operation::post("bindStudy", "It is of this examination", || {
        post(super::bind)
    }),
    "BoundTo",
);

const UNBIND: Operation = corrects(
    Operation::post(
        "unbindStudy",
        "It is not of the examination that it is bound to",
        || post(super::unbind),
    ),
    "BecauseOf",
);

const SPLIT: Operation = corrects(
    Operation::post(
        "splitStudy",
        "Some of its series are of this examination",
        || post(super::split),
    ),
    "SplitTo",
);

const MERGE: Operation = corrects(
    Operation::post(
        "mergeStudies",
        "It and other studies are of one examination",
        || post(super::merge),
    ),
    "MergedTo",
);

const CREATE: Operation = corrects(
    Operation::post(
        "createFromStudy",
        "Make the examination that nobody ordered",
        || post(super::create),
    ),
    "MadeFromImages",
);

const REJECT: Operation = corrects(
    Operation::post("rejectStudy", "It is of no examination here", || {
        post(super::reject)
    }),
    "BecauseOf",
);

const POSTPONE: Operation = corrects(
    Operation::post("postponeStudy", "Nobody needs to look before", || {
        post(super::postpone)
    }),
    "PutOff",
);

const UNDO: Operation = corrects(
    Operation::post("undoCorrection", "Take the last correction back", || {
        post(super::undo)
    }),
    "BecauseOf",
);

fn schemas() -> Vec<(&'static str, Value)> {
    let because = [("reason", text())];
    let bound = [
        ("examination", text()),
        ("retyped", nothing_or(text())),
        ("reason", text()),
    ];
    let split = [
        ("series", several(text())),
        ("examination", text()),
        ("retyped", nothing_or(text())),
        ("reason", text()),
    ];
    let merged = [
        ("studies", several(text())),
        ("examination", text()),
        ("retyped", nothing_or(text())),
        ("reason", text()),
    ];
    let put_off = [("until", time()), ("reason", text())];
    vec![
        ("BecauseOf", object(&because, &[])),
        ("BoundTo", object(&bound, &["retyped"])),
        ("SplitTo", object(&split, &["retyped"])),
        ("MergedTo", object(&merged, &["retyped"])),
        ("PutOff", object(&put_off, &[])),
        ("MadeFromImages", made()),
        ("UnmatchedHeader", header()),
        ("MatchRule", match_rule()),
        ("UnmatchedEntry", object(&entry(), &[])),
        ("UnmatchedStudies", part_of_list("UnmatchedEntry")),
        ("UnmatchedStudy", whole()),
    ]
}

fn made() -> Value {
    let region = json!({
        "type": "object",
        "required": ["part"],
        "properties": {
            "part": {"type": "string"},
            "side": nothing_or(text()),
        },
    });
    let weight = json!({"type": "integer", "minimum": 3, "maximum": 3500});
    let members = [
        ("patient", text()),
        ("organisation", nothing_or(text())),
        ("modality", nothing_or(text())),
        ("regions", several(region)),
        (
            "priority",
            nothing_or(json!({"enum": ["high", "routine", "stat"]})),
        ),
        ("complaints", nothing_or(text())),
        ("anamnesis", nothing_or(text())),
        ("weight_tenths_kg", nothing_or(weight)),
        ("reason", text()),
    ];
    let optional = [
        "organisation",
        "modality",
        "priority",
        "complaints",
        "anamnesis",
        "weight_tenths_kg",
    ];
    object(&members, &optional)
}

fn count() -> Value {
    json!({"type": "integer", "minimum": 0})
}

fn header() -> Value {
    let members = [
        ("patient_id", text()),
        ("patient_name", text()),
        ("birth_date", text()),
        ("sex", text()),
        ("accession_number", text()),
        ("study_date", text()),
        ("study_time", text()),
        ("description", text()),
        ("modalities", several(text())),
        ("series_count", count()),
        ("images_count", count()),
    ];
    object(&members, &[])
}

fn match_rule() -> Value {
    let names = json!({"enum": [
        "STUDY_BOUND", "PLANNED_STUDY", "ACCESSION_NUMBER", "ID_IN_WRONG_FIELD", "PATIENT",
        "NAME_ALIKE", "OTHER",
    ]});
    object(&[("name", names), ("field", nothing_or(text()))], &[])
}

fn entry() -> Vec<(&'static str, Value)> {
    vec![
        ("study", text()),
        ("etag", text()),
        ("organisation", nothing_or(text())),
        ("is_import", flag()),
        ("received_at", time()),
        ("senders", several(text())),
        ("state", json!({"enum": ["bound", "queued", "rejected"]})),
        ("reasons", several(text())),
        ("examination", nothing_or(text())),
        ("rule", nothing_or(reference("MatchRule"))),
        ("due_at", nothing_or(time())),
        ("postponed_until", nothing_or(time())),
        ("decided_at", time()),
        ("decided_by", text()),
        ("reason", nothing_or(text())),
        ("header", reference("UnmatchedHeader")),
    ]
}

fn whole() -> Value {
    let series = object(
        &[
            ("series", text()),
            ("modality", text()),
            ("description", text()),
            ("images_count", count()),
            ("examination", nothing_or(text())),
        ],
        &[],
    );
    let candidate = object(
        &[
            ("examination", text()),
            ("rule", nothing_or(reference("MatchRule"))),
            ("score", nothing_or(count())),
            ("status", text()),
            ("modality", text()),
            ("scheduled_at", text()),
            ("patient", text()),
            ("patient_name", text()),
            ("birth_date", nothing_or(day())),
            ("differences", several(text())),
            ("objection", nothing_or(text())),
        ],
        &[],
    );
    let undone = object(&[("by", text()), ("reason", text()), ("at", time())], &[]);
    let correction = object(
        &[
            ("kind", text()),
            ("examination", nothing_or(text())),
            ("by", text()),
            ("reason", text()),
            ("at", time()),
            ("undone", nothing_or(undone)),
        ],
        &[],
    );
    let mut members = entry();
    members.extend([
        ("series", several(series)),
        ("not_of", several(text())),
        ("candidates", several(candidate)),
        ("corrections", several(correction)),
    ]);
    object(&members, &[])
}
