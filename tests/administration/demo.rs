//! What a newcomer sees: `pacs-server --demo`, and all that it promises.

use std::path::Path;
use std::process::{Command, Stdio};

use pacs_tests::demonstration::{Demonstration, FILLED, command};
use pacs_tests::portal::Browser;
use pacs_tests::web::get;
use pacs_tests::workspace;
use serde_json::{Value, json};
use tempfile::TempDir;

fn read(browser: &Browser, path: &str) -> Value {
    let answer = browser.get(path);
    assert_eq!(answer.status, 200, "{path}: {:?}", answer.json());
    answer.json()
}

#[test]
fn a_newcomer_finds_people_examinations_in_every_state_and_images() {
    let home = TempDir::new().expect("a folder");
    let folder = home.path().join("demo");
    let demo = Demonstration::fill(&folder);
    let accounts = demo.accounts();
    assert_eq!(accounts.len(), 9, "{}", demo.told);
    assert!(!demo.told.contains("nobody has an account yet"));
    for user in accounts.keys() {
        let session = read(&demo.user(user), "/session");
        assert_eq!(session["must_change_password"], false, "{user}");
    }

    let ministry = demo.user("moh-admin");
    let organisations = read(&ministry, "/organisations");
    assert_eq!(organisations["items"].as_array().expect("a list").len(), 11);
    let devices = read(&ministry, "/devices?limit=200");
    assert_eq!(devices["items"].as_array().expect("a list").len(), 44);
    let figures = read(&ministry, "/statistics");
    assert_eq!(figures["total"], 16, "{figures}");
    let mut states: Vec<&str> = figures["counts"]
        .as_array()
        .expect("counts")
        .iter()
        .map(|count| count["status"].as_str().expect("a state"))
        .collect();
    states.sort_unstable();
    states.dedup();
    let expected = [
        "cancelled",
        "delivered",
        "discontinued",
        "images_received",
        "in_progress",
        "rejected",
        "reported",
        "scheduled",
        "sent",
        "under_review",
    ];
    assert_eq!(states, expected);

    let asked = json!({"pin": "21710199599912", "organisation": "001"});
    let found = demo.user("operator").post("/register", &asked);
    assert_eq!(
        found.json()["person"]["family"],
        "Новиков",
        "{:?}",
        found.json()
    );

    // Eleven examinations have images, those of one are hidden; two studies are nobody's.
    let studies = get(demo.ready.http, "/dicomweb/studies", &[]).json();
    assert_eq!(studies.as_array().expect("a list").len(), 12, "{studies}");
    let study = studies[0]["0020000D"]["Value"][0].as_str().expect("a UID");
    let picture = format!("/dicomweb/studies/{study}/rendered");
    let picture = get(
        demo.ready.http,
        &picture,
        &[("Accept", "multipart/related; type=\"image/jpeg\"")],
    );
    assert_eq!(picture.status, 200);

    assert!(
        !read(&demo.user("auditor"), "/audit")["items"]
            .as_array()
            .expect("a list")
            .is_empty()
    );
    demo.stop();

    let folder = folder.to_str().expect("a path");
    let again = Demonstration::start(command(&["--demo", folder]), "passwords were shown");
    let _signed_in = Browser::sign_in(again.ready.http, "operator", &accounts["operator"]);
    assert!(!again.told.contains(&accounts["operator"]));
    again.stop();
}

#[test]
fn a_demonstration_in_a_folder_of_its_own_leaves_nothing() {
    let home = TempDir::new().expect("a folder");
    let mut start = command(&["--demo"]);
    start.env("TMPDIR", home.path());
    let demo = Demonstration::start(start, FILLED);
    let folders = || std::fs::read_dir(home.path()).expect("the folder").count();
    assert_eq!(folders(), 1);
    demo.stop();
    assert_eq!(folders(), 0);
}

#[test]
fn a_demonstration_is_for_this_machine_and_for_a_folder_of_its_own() {
    let home = TempDir::new().expect("a folder");
    let refused = |mut command: Command| {
        let status = command.status().expect("it runs");
        assert_eq!(status.code(), Some(2));
    };
    std::fs::write(home.path().join("something"), "else").expect("writable");
    let taken = home.path().to_str().expect("a path");
    refused(command(&["--demo", taken]));
    assert!(Path::new(taken).join("something").exists());
    let mut beyond = Command::new(workspace::binary("pacs-server"));
    beyond.args(["--demo", "--http", "0.0.0.0:0", "--insecure-http"]);
    beyond
        .args(["--dicom", "127.0.0.1:0"])
        .env("TMPDIR", home.path());
    beyond.stdout(Stdio::null()).stderr(Stdio::null());
    refused(beyond);
    let mut both = command(&["--demo", "--data", taken]);
    both.stdout(Stdio::null());
    refused(both);
    let count = std::fs::read_dir(home.path()).expect("the folder").count();
    assert_eq!(count, 1, "nothing is left");
}
