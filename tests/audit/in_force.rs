//! What is changed of the AE table while the server is stopped is on record from its next start on,
//! once; so is what SIGHUP changes, and what could not be told before.

use pacs_tests::certificates::ae;
use pacs_tests::drill;
use pacs_tests::edges::disk_full::SmallDisk;
use pacs_tests::server::{Options, Server};
use serde_json::Value;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

/// Nobody listens there.
const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9);

/// What the trail tells of settings, oldest first: who said it, which, and why.
fn told(data: &Path) -> Vec<[String; 3]> {
    let data = data.to_str().expect("UTF-8");
    let words = ["--json", "audit", "list", "--count", "1000", "--data", data];
    let said = drill::done(&words);
    let mut told = Vec::new();
    for line in said.lines().rev() {
        let event = &serde_json::from_str::<Value>(line).expect("JSON")["event"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        if event["act"] == "network_configured" || event["act"] == "security_configured" {
            assert_ne!(event["change"]["before"], event["change"]["after"]);
            let [actor, reason] = [&event["actor"]["name"], &event["reason"]].map(text);
            told.push([actor, text(&event["object"]["setting"]), reason]);
        }
    }
    told
}

fn row(actor: &str, reason: &str) -> [String; 3] {
    [actor, "dicom.ae", reason].map(str::to_owned)
}

#[test]
fn what_changes_between_two_runs_is_on_record_once() {
    let mut server = Server::start(Options {
        config: ae("FIRST", NOWHERE, ""),
        ..Options::default()
    });
    assert!(server.stop().success());
    server.restart();
    assert!(server.stop().success());
    assert_eq!(told(&server.data()), Vec::<[String; 3]>::new());

    server.rewrite_config(ae("SECOND", NOWHERE, ""));
    server.restart();
    server.rewrite_config(ae("THIRD", NOWHERE, "") + &ae("FOURTH", NOWHERE, ""));
    server.hang_up();
    server.wait_for_log("\"aes\":2");
    assert!(server.stop().success());
    server.restart();
    assert!(server.stop().success());

    let expected = [
        row("pacs-server", "WHILE_STOPPED"),
        row("pacs-server reload", ""),
    ];
    assert_eq!(told(&server.data()), expected);
}

#[test]
fn where_all_that_comes_is_sent_on_to_is_on_record_like_the_ae_table() {
    let mut server = Server::start(Options {
        config: ae("FIRST", NOWHERE, ""),
        ..Options::default()
    });
    assert!(server.stop().success());

    let forward = "[[forward]]\nto = \"FIRST\"\n";
    server.rewrite_config(ae("FIRST", NOWHERE, "") + forward);
    server.restart();
    // What SIGHUP reads counts from the next start on, and is no change before.
    server.rewrite_config(ae("FIRST", NOWHERE, ""));
    server.hang_up();
    server.wait_for_log("other settings have changed");
    assert_eq!(told(&server.data()), [row("pacs-server", "WHILE_STOPPED")]);
    assert!(server.stop().success());
    server.restart();
    assert!(server.stop().success());

    let twice = [(); 2].map(|()| row("pacs-server", "WHILE_STOPPED"));
    assert_eq!(told(&server.data()), twice);
}

#[test]
fn what_a_full_disk_keeps_from_being_told_is_told_by_the_next_start() {
    let disk = SmallDisk::mount(48);
    let data = disk.path().join("data");
    let mut server = Server::start(Options {
        config: ae("FIRST", NOWHERE, ""),
        arguments: vec!["--data".to_owned(), data.display().to_string()],
        ..Options::default()
    });
    assert!(server.stop().success());

    let filler = disk.fill(0);
    server.rewrite_config(ae("SECOND", NOWHERE, ""));
    server.restart();
    std::fs::remove_file(filler).expect("room");
    assert!(server.stop().success());
    server.restart();
    assert!(server.stop().success());

    assert_eq!(told(&data), [row("pacs-server", "WHILE_STOPPED")]);
}
