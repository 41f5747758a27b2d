//! What `pacs` takes into the registry of an archive, whether its server runs or not.

use std::process::{Command, Stdio};

use pacs_tests::peers::{Said, run};
use pacs_tests::server::{Options, Server};
use pacs_tests::workspace;

fn pacs(arguments: &[&str]) -> Said {
    run(Command::new(workspace::binary("pacs"))
        .args(arguments)
        .stdin(Stdio::null()))
}

#[test]
fn organisations_are_imported_once_whether_the_server_runs_or_not() {
    let mut server = Server::start(Options::default());
    let data = server.data();
    let data = data.to_str().expect("UTF-8").to_owned();
    let file = workspace::root().join("reference-server/organisations.json");
    let file = file.to_str().expect("UTF-8");
    let import = || pacs(&["--json", "organisations", "import", file, "--data", &data]);
    let counts = |said: &Said| {
        let last = said.text.lines().last().expect("a summary");
        let value: serde_json::Value = serde_json::from_str(last).expect("JSON");
        ["added", "changed", "same"].map(|key| value[key].as_u64().expect("a count"))
    };

    let first = import().succeeded();
    let again = import().succeeded();
    server.stop();
    let stopped = import().succeeded();

    assert_eq!(counts(&first), [11, 0, 0], "{}", first.text);
    assert_eq!(first.text.lines().count(), 12);
    assert!(first.text.contains("Национальный госпиталь"));
    assert_eq!(counts(&again), [0, 0, 11]);
    assert_eq!(counts(&stopped), [0, 0, 11]);

    let folder = workspace::temporary_folder();
    let wrong = folder.path().join("wrong.json");
    std::fs::write(&wrong, r#"{"organisations":[{"code":"000"}]}"#).expect("written");
    let wrong = wrong.to_str().expect("UTF-8");
    let refused = pacs(&["organisations", "import", wrong, "--data", &data]);
    assert!(!refused.success);
    assert!(refused.text.contains("three digits"), "{}", refused.text);
    server.restart();
    assert_eq!(counts(&import().succeeded()), [0, 0, 11]);
}

#[test]
fn devices_are_imported_once_whether_the_server_runs_or_not() {
    let mut server = Server::start(Options::default());
    let data = server.data();
    let data = data.to_str().expect("UTF-8").to_owned();
    let organisations = workspace::root().join("reference-server/organisations.json");
    let organisations = organisations.to_str().expect("UTF-8");
    let import = |what: &str, file: &str| pacs(&["--json", what, "import", file, "--data", &data]);
    let counts = |said: &Said| {
        let last = said.text.lines().last().expect("a summary");
        let value: serde_json::Value = serde_json::from_str(last).expect("JSON");
        ["added", "changed", "same"].map(|key| value[key].as_u64().expect("a count"))
    };
    let folder = workspace::temporary_folder();
    let list = |name: &str, text: &str| {
        let file = folder.path().join(name);
        std::fs::write(&file, text).expect("written");
        file.to_str().expect("UTF-8").to_owned()
    };
    let two = list(
        "two.json",
        r#"{"devices": [
            {"ae_title": "NATHOS_CT1", "organisation": "006", "modality": "CT", "mpps": true},
            {"ae_title": "NATHOS_WS1", "organisation": "006", "host": "192.0.2.7", "port": 104}
        ]}"#,
    );
    let refused = import("devices", &two);
    assert!(!refused.success, "there is no organisation 006 yet");
    assert!(refused.text.contains("NATHOS_CT1"), "{}", refused.text);
    let _imported = import("organisations", organisations).succeeded();

    assert_eq!(counts(&import("devices", &two).succeeded()), [2, 0, 0]);
    assert_eq!(counts(&import("devices", &two).succeeded()), [0, 0, 2]);
    server.stop();
    let one = list(
        "one.json",
        r#"{"devices": [{"ae_title": "NATHOS_CT1", "organisation": "006", "modality": "MR"}]}"#,
    );
    assert_eq!(counts(&import("devices", &one).succeeded()), [0, 1, 0]);
    let odd = list(
        "odd.json",
        r#"{"devices": [{"ae_title": "TOO LONG AN AE TITLE", "organisation": "006"}]}"#,
    );
    assert!(!import("devices", &odd).success);
    server.restart();
    assert_eq!(counts(&import("devices", &one).succeeded()), [0, 0, 1]);
}
