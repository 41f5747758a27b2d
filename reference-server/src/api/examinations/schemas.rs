//! What examinations look like, for the `OpenAPI` document.

use crate::api::openapi::{
    department, flag, list, nothing_or, object, reference, several, text, time,
};
use crate::api::patients::in_short;
use serde_json::{Value, json};

fn code() -> Value {
    json!({"type": "string", "pattern": "^[0-9]{3}$"})
}

fn count() -> Value {
    json!({"type": "integer", "minimum": 0})
}

fn status() -> Value {
    json!({"enum": [
        "registered", "scheduled", "in_progress", "images_received", "under_review", "reported",
        "sent", "delivered", "discontinued", "rejected", "cancelled",
    ]})
}

fn priority() -> Value {
    json!({"enum": ["routine", "high", "stat"]})
}

fn pregnancy() -> Value {
    nothing_or(json!({"enum": ["no", "possible", "yes", "unknown"]}))
}

fn sides() -> Value {
    nothing_or(json!({"enum": ["both", "left", "right", "unilateral"]}))
}

/// The texts of the form.
const TEXTS: [&str; 8] = [
    "complaints",
    "anamnesis",
    "contrast",
    "allergies",
    "department",
    "ward",
    "card_number",
    "placer_number",
];

fn typed_form() -> Vec<(&'static str, Value)> {
    let weight = json!({"anyOf": [
        {"type": "number"}, {"type": "string"}, {"type": "null"},
    ]});
    let mut members = vec![
        ("kind", text()),
        ("regions", several(reference("TypedRegion"))),
        ("scheduled_at", nothing_or(time())),
        ("priority", priority()),
        ("station", nothing_or(text())),
        ("weight_kg", weight),
        ("size_cm", nothing_or(json!({"type": "integer"}))),
        ("pregnancy", pregnancy()),
        ("performing_department", nothing_or(department())),
        ("ordering_department", nothing_or(department())),
        ("referring_physician", nothing_or(reference("TypedName"))),
        ("is_meant_twice", flag()),
    ];
    members.extend(TEXTS.map(|name| (name, text())));
    members
}

fn typed(head: &[(&'static str, Value)]) -> Value {
    let mut members = head.to_vec();
    members.extend(typed_form());
    let needed = ["patient", "kind", "regions"];
    let names = members.iter().map(|(name, _)| *name);
    let optional: Vec<&str> = names.filter(|name| !needed.contains(name)).collect();
    object(&members, &optional)
}

fn shown_form() -> Value {
    let mut members = vec![
        ("kind", text()),
        ("regions", several(reference("Region"))),
        ("scheduled_at", time()),
        ("priority", priority()),
        ("station", nothing_or(text())),
        ("weight_kg", nothing_or(json!({"type": "number"}))),
        ("size_cm", nothing_or(json!({"type": "integer"}))),
        ("pregnancy", pregnancy()),
        ("performing_department", nothing_or(department())),
        ("ordering_department", nothing_or(department())),
        ("referring_physician", nothing_or(reference("PersonName"))),
    ];
    members.extend(TEXTS.map(|name| (name, text())));
    object(&members, &[])
}

fn standing() -> Vec<(&'static str, Value)> {
    let lock = object(&[("by", text()), ("at", time())], &[]);
    vec![
        ("id", json!({"type": "string", "pattern": "^[0-9]{12}$"})),
        ("id_grouped", text()),
        ("status", status()),
        ("status_key", text()),
        ("performing", code()),
        ("ordering", code()),
        ("created_at", time()),
        ("changed_at", time()),
        ("lock", nothing_or(lock)),
        ("assigned_to", nothing_or(text())),
        ("is_restricted", flag()),
        ("named", several(text())),
        ("has_late_images", flag()),
        ("is_incomplete", flag()),
        ("is_expired", flag()),
    ]
}

/// An examination in a list.
pub(in crate::api) fn listed() -> Vec<(&'static str, Value)> {
    let mut members = standing();
    members.extend([
        ("etag", text()),
        ("patient", reference("PatientInShort")),
        ("kind", text()),
        ("regions", several(reference("Region"))),
        ("priority", priority()),
        ("scheduled_at", time()),
        ("received_at", nothing_or(time())),
        ("studies_count", count()),
    ]);
    members
}

fn shown() -> Value {
    let mut members = standing();
    members.extend([
        ("patient", reference("PatientInShort")),
        ("warnings", several(text())),
        ("form", shown_form()),
        ("step_id", text()),
        ("planned_study", text()),
        ("requester", text()),
        ("began_at", nothing_or(time())),
        ("first_image_at", nothing_or(time())),
        ("last_image_at", nothing_or(time())),
        ("received_at", nothing_or(time())),
        ("studies", several(text())),
    ]);
    object(&members, &[])
}

fn event() -> Value {
    let members = [
        ("from", nothing_or(status())),
        ("to", status()),
        ("event", text()),
        ("by", text()),
        ("role", nothing_or(text())),
        ("reason", nothing_or(text())),
        ("at", time()),
    ];
    object(&members, &[])
}

fn study() -> Value {
    let series = [
        ("series", text()),
        ("modality", nothing_or(text())),
        ("number", nothing_or(text())),
        ("description", nothing_or(text())),
        ("instances_count", count()),
        ("dicomweb", text()),
    ];
    let members = [
        ("study", text()),
        ("is_planned", flag()),
        ("instances_count", count()),
        ("series", several(object(&series, &[]))),
        ("dicomweb", text()),
    ];
    object(&members, &[])
}

/// All of them.
pub(super) fn schemas() -> Vec<(&'static str, Value)> {
    let typed_region = [("part", text()), ("side", sides())];
    let region = [("part", text()), ("meaning", text()), ("side", sides())];
    let of_status = [
        ("status", status()),
        ("status_key", text()),
        ("count", count()),
        ("has_more", flag()),
    ];
    let head = [
        ("patient", text()),
        ("ordering", nothing_or(code())),
        ("performing", nothing_or(code())),
    ];
    vec![
        ("TypedRegion", object(&typed_region, &["side"])),
        ("Region", object(&region, &[])),
        ("PatientInShort", object(&in_short(), &[])),
        ("NewExamination", typed(&head)),
        ("ExaminationForm", typed(&[])),
        ("ExaminationReader", object(&[("reader", text())], &[])),
        (
            "ExaminationRestriction",
            object(&[("named", several(text())), ("reason", text())], &[]),
        ),
        ("ExaminationReason", object(&[("reason", text())], &[])),
        ("ExaminationStanding", object(&standing(), &[])),
        ("Examination", shown()),
        ("ListedExamination", object(&listed(), &[])),
        ("Examinations", list("ListedExamination")),
        ("StatusCount", object(&of_status, &[])),
        ("StatusCounts", list("StatusCount")),
        ("ExaminationEvent", event()),
        ("ExaminationEvents", list("ExaminationEvent")),
        ("ExaminationStudy", study()),
        ("ExaminationStudies", list("ExaminationStudy")),
        ("ServerSentEvents", text()),
    ]
}
