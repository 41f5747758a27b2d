//! Audit messages, read by an independent reader against the schema of PS3.15 A.5.1, and sent to a
//! repository elsewhere.

#[path = "audit/forwarding.rs"]
mod forwarding;
#[path = "audit/in_force.rs"]
mod in_force;

use pacs_tests::{peers, workspace};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// What each message says.
fn read(python: &Path, messages: &[String]) -> Vec<Value> {
    let mut script = Command::new(python);
    script.arg(workspace::root().join("tests/audit/read.py"));
    let answers = peers::answers(&mut script, messages);
    let read = |line: &String| serde_json::from_str(line).expect("JSON");
    answers.iter().map(read).collect()
}

/// The messages that pacs-core is held to.
fn fixtures() -> Vec<String> {
    let path = workspace::root().join("tests/audit/messages.txt");
    let text = std::fs::read_to_string(path).expect("the fixtures");
    text.lines().map(str::to_owned).collect()
}

#[test]
fn every_message_fits_the_schema_of_the_standard() {
    let Some(python) = peers::python() else {
        return;
    };
    let messages = fixtures();

    let read = read(&python, &messages);

    assert!(messages.len() > 80 && read.len() == messages.len());
    for (message, said) in messages.iter().zip(&read) {
        assert_eq!(said["error"], Value::Null, "{message}");
        assert_eq!(said["at"], "2026-11-26T09:30:00.250+06:00");
        assert_eq!(said["source"], "PACS");
        let who = said["who"].as_array().expect("participants");
        let asked = who.iter().filter(|one| one["requestor"] == true);
        assert_eq!(asked.count(), 1, "{message}");
    }
    let of = |kind: &str| {
        let kind = format!("{kind}/99PACS");
        let is_it = |said: &&Value| {
            said["types"]
                .as_array()
                .is_some_and(|t| t.contains(&Value::from(&*kind)))
        };
        read.iter().rfind(is_it).expect("a message")
    };
    let viewed = of("images_viewed");
    assert_eq!(
        (&viewed["event"], &viewed["action"]),
        (&"110103/DCM".into(), &"R".into())
    );
    assert_eq!(viewed["objects"]["110180/DCM"], "2.25.7");
    assert_eq!(viewed["instances"], 514);
    assert_eq!(viewed["queries"][0], "ПИН 2•••••••••9901");
    assert_eq!(viewed["details"]["reason"], "unconscious & <no> \"record\"");
    assert_eq!(viewed["who"][0]["from"], "192.0.2.17");
    let received = of("images_received");
    assert_eq!(received["who"][1]["roles"][0], "110152/DCM", "the archive");
    assert_eq!(received["who"][2]["name"], "CT_OSH_01");
    let refused = of("signed_in");
    assert_eq!(
        (&refused["outcome"], &refused["who"][0]["name"]),
        (&"12".into(), &"".into())
    );
}

#[test]
fn the_reader_notices_what_does_not_fit() {
    let Some(python) = peers::python() else {
        return;
    };
    let message = fixtures().pop().expect("a message");
    let changes = [
        (
            "EventOutcomeIndicator=\"12\"",
            "EventOutcomeIndicator=\"5\"",
        ),
        ("originalText", "title"),
        ("<AuditSourceIdentification", "<Source"),
        ("+06:00\"", "+6\""),
    ];
    let wrong: Vec<String> = changes
        .iter()
        .map(|(from, to)| message.replacen(from, to, 1))
        .collect();

    let read = read(&python, &wrong);

    assert!(
        read.iter().all(|said| said["error"] != Value::Null),
        "{read:?}"
    );
}
