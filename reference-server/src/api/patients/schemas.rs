//! What patients look like, for the `OpenAPI` document.

use crate::api::openapi::{day, flag, list, nothing_or, object, reference, several, text, time};
use serde_json::{Value, json};

fn code() -> Value {
    json!({"type": "string", "pattern": "^[0-9]{3}$"})
}

fn sex() -> Value {
    json!({"enum": ["F", "M", "O"]})
}

/// What is typed of a patient, all of it optional but the name.
fn typed(more: &[(&'static str, Value)]) -> Value {
    let mut members = vec![
        ("name", reference("TypedName")),
        ("latin", nothing_or(reference("TypedName"))),
        ("birth_date", nothing_or(day())),
        ("sex", nothing_or(sex())),
        ("pin", nothing_or(text())),
        ("documents", several(text())),
        ("cards", several(reference("HospitalCard"))),
        ("citizenship", nothing_or(text())),
        ("address", nothing_or(text())),
        ("telephone", nothing_or(text())),
        ("organisation", nothing_or(code())),
    ];
    members.extend(more.iter().cloned());
    let optional: Vec<&str> = members.iter().map(|(name, _)| *name).skip(1).collect();
    object(&members, &optional)
}

/// What is shown of who a patient is.
fn said() -> Vec<(&'static str, Value)> {
    let identities = json!({"enum": ["declared", "mismatch", "unidentified", "verified"]});
    vec![
        ("name", reference("PersonName")),
        ("latin", reference("PersonName")),
        ("is_latin_given", flag()),
        ("birth_date", nothing_or(day())),
        ("sex", nothing_or(sex())),
        ("pin", nothing_or(text())),
        ("former_pins", several(text())),
        ("documents", several(text())),
        ("cards", several(reference("HospitalCard"))),
        ("citizenship", nothing_or(text())),
        ("address", nothing_or(text())),
        ("telephone", nothing_or(text())),
        ("identity", identities),
        ("checked_at", nothing_or(time())),
        ("is_pin_blocked", flag()),
        ("died_on", nothing_or(day())),
    ]
}

/// Who a patient is, in short.
pub(in crate::api) fn in_short() -> Vec<(&'static str, Value)> {
    let short = ["name", "latin", "birth_date", "sex", "pin", "identity"];
    let mut members = vec![("number", text())];
    members.extend(said().into_iter().filter(|(name, _)| short.contains(name)));
    members
}

fn found() -> Value {
    let mut members = in_short();
    let ranks = json!({"enum": ["similar", "sounds", "begins", "exact"]});
    members.extend([("etag", text()), ("rank", ranks)]);
    object(&members, &[])
}

fn card() -> Value {
    let mut members = vec![("number", text())];
    members.extend(said());
    members.extend([
        ("registered_at", time()),
        ("registered_by", text()),
        ("registered_for", nothing_or(code())),
        ("aliases", several(text())),
        ("warnings", several(text())),
    ]);
    object(&members, &[])
}

fn change() -> Value {
    let what = json!({"enum": [
        "absorbed", "changed", "merged", "registered", "released", "unmerged",
    ]});
    let members = [
        ("at", time()),
        ("by", text()),
        ("what", what),
        ("other", nothing_or(text())),
        ("reason", nothing_or(text())),
        ("before", nothing_or(object(&said(), &[]))),
    ];
    object(&members, &[])
}

fn ground() -> Value {
    json!({"enum": ["agreement", "law"]})
}

fn new_consent() -> Value {
    let members = [
        ("to", code()),
        ("until", day()),
        ("ground", ground()),
        ("reference", text()),
        ("organisation", nothing_or(code())),
    ];
    object(&members, &["organisation"])
}

fn consent() -> Value {
    let withdrawn = [("by", text()), ("reason", text()), ("at", time())];
    let members = [
        ("id", text()),
        ("to", code()),
        ("until", day()),
        ("ground", ground()),
        ("reference", text()),
        ("by", text()),
        ("by_organisation", nothing_or(code())),
        ("at", time()),
        ("holds", flag()),
        ("withdrawn", nothing_or(object(&withdrawn, &[]))),
    ];
    object(&members, &[])
}

/// All of them.
pub(super) fn schemas() -> Vec<(&'static str, Value)> {
    let name = |optional: &[&str]| {
        let members = ["family", "given", "patronymic"].map(|name| (name, text()));
        object(&members, optional)
    };
    let hospital_card = [("organisation", code()), ("number", text())];
    let search = [
        ("text", text()),
        ("birth_date", nothing_or(day())),
        ("organisation", nothing_or(code())),
        (
            "limit",
            nothing_or(json!({"type": "integer", "minimum": 1, "maximum": 200})),
        ),
    ];
    let found_patients = [
        ("items", several(reference("FoundPatient"))),
        ("has_more", flag()),
        ("retyped", text()),
    ];
    let unidentified = [
        ("organisation", nothing_or(code())),
        ("sex", nothing_or(sex())),
    ];
    let merge = [
        ("other", text()),
        ("other_etag", text()),
        ("reason", text()),
        ("organisation", nothing_or(code())),
    ];
    let unmerge = [("reason", text()), ("organisation", nothing_or(code()))];
    let pin_change = nothing_or(json!({"enum": ["mistyped", "reassigned"]}));
    let correction = [("reason", nothing_or(text())), ("pin_change", pin_change)];
    vec![
        ("TypedName", name(&["given", "patronymic"])),
        ("PersonName", name(&[])),
        ("HospitalCard", object(&hospital_card, &[])),
        ("NewPatient", typed(&[("is_another", flag())])),
        ("Correction", typed(&correction)),
        (
            "PatientSearch",
            object(&search, &["birth_date", "organisation", "limit"]),
        ),
        ("FoundPatient", found()),
        ("FoundPatients", object(&found_patients, &["retyped"])),
        (
            "UnidentifiedPatient",
            object(&unidentified, &["organisation", "sex"]),
        ),
        ("Patient", card()),
        ("PatientChange", change()),
        ("PatientHistory", list("PatientChange")),
        ("Consent", consent()),
        ("Consents", list("Consent")),
        ("NewConsent", new_consent()),
        ("ConsentWithdrawal", object(&unmerge, &["organisation"])),
        ("PatientMerge", object(&merge, &["organisation"])),
        ("PatientUnmerge", object(&unmerge, &["organisation"])),
    ]
}
