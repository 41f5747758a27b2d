//! What a newcomer sees: `pacs-server --demo`, and all that it promises.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use pacs_tests::server::{Ready, ready_line, wait_for_exit};
use pacs_tests::stow::{Answer, ask};
use pacs_tests::web::get;
use pacs_tests::workspace;
use serde_json::{Value, json};
use tempfile::TempDir;

struct Demo {
    child: Child,
    ready: Ready,
    /// What it printed until it said what to try.
    told: String,
    _out: BufReader<ChildStdout>,
}

impl Drop for Demo {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn command(words: &[&str]) -> Command {
    let mut command = Command::new(workspace::binary("pacs-server"));
    command.args(["--dicom", "127.0.0.1:0", "--http", "127.0.0.1:0"]);
    command
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    command.stderr(Stdio::null());
    command
}

impl Demo {
    /// Starts one, and reads until `until` has been printed.
    fn start(mut command: Command, until: &str) -> Self {
        let mut child = command.spawn().expect("the server runs");
        let mut out = BufReader::new(child.stdout.take().expect("piped"));
        let (mut told, mut ready) = (String::new(), None);
        while !told.contains(until) {
            let mut line = String::new();
            let read = out.read_line(&mut line).expect("text");
            assert!(read > 0, "it ended: {told}");
            ready = ready.or_else(|| ready_line(&line));
            told.push_str(&line);
        }
        Self {
            child,
            ready: ready.expect("a line that says it is ready"),
            told,
            _out: out,
        }
    }

    /// Name and password of each account that was printed.
    fn accounts(&self) -> BTreeMap<String, String> {
        let lines = self
            .told
            .lines()
            .skip_while(|line| !line.starts_with("Accounts"));
        let lines = lines.take_while(|line| !line.starts_with("Try"));
        let words = lines.map(|line| line.split_whitespace().collect::<Vec<_>>());
        let accounts = words.filter(|words| words.len() > 2 && words[1].contains('-'));
        accounts
            .map(|words| (words[0].to_owned(), words[1].to_owned()))
            .collect()
    }

    fn sign_in(&self, user: &str, password: &str) -> (String, String) {
        let typed = json!({"user": user, "password": password}).to_string();
        let kind = [("Content-Type", "application/json")];
        let path = "/api/v1/session";
        let answer = ask(self.ready.http, "POST", path, &kind, typed.as_bytes());
        assert_eq!(answer.status, 201, "{user}: {:?}", answer.json());
        assert_eq!(answer.json()["must_change_password"], false);
        let cookie = answer.head.split("set-cookie: ").nth(1).expect("a cookie");
        let secret = cookie.split(['=', ';']).nth(1).expect("a secret");
        let token = answer.json()["csrf_token"]
            .as_str()
            .expect("a token")
            .to_owned();
        (format!("__Host-pacs_session={secret}"), token)
    }

    fn read(&self, cookie: &str, path: &str) -> Value {
        let path = format!("/api/v1{path}");
        let answer = ask(self.ready.http, "GET", &path, &[("Cookie", cookie)], b"");
        assert_eq!(answer.status, 200, "{path}: {:?}", answer.json());
        answer.json()
    }

    fn ask_register(&self, (cookie, token): &(String, String), pin: &str) -> Answer {
        let fields = [
            ("Content-Type", "application/json"),
            ("Cookie", &**cookie),
            ("X-CSRF-Token", &**token),
        ];
        let body = json!({"pin": pin, "organisation": "001"}).to_string();
        ask(
            self.ready.http,
            "POST",
            "/api/v1/register",
            &fields,
            body.as_bytes(),
        )
    }

    fn stop(mut self) {
        let process = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(process, rustix::process::Signal::TERM).expect("it runs");
        assert!(wait_for_exit(&mut self.child).success());
    }
}

#[test]
fn a_newcomer_finds_people_examinations_in_every_state_and_images() {
    let home = TempDir::new().expect("a folder");
    let folder = home.path().join("demo");
    let folder_text = folder.to_str().expect("a path");
    let demo = Demo::start(command(&["--demo", folder_text]), "Try, in another window");
    let accounts = demo.accounts();
    assert_eq!(accounts.len(), 9, "{}", demo.told);
    assert!(!demo.told.contains("nobody has an account yet"));
    for (user, password) in &accounts {
        let _signed_in = demo.sign_in(user, password);
    }

    let ministry = demo.sign_in("moh-admin", &accounts["moh-admin"]);
    let organisations = demo.read(&ministry.0, "/organisations");
    assert_eq!(organisations["items"].as_array().expect("a list").len(), 11);
    let devices = demo.read(&ministry.0, "/devices?limit=200");
    assert_eq!(devices["items"].as_array().expect("a list").len(), 44);
    let figures = demo.read(&ministry.0, "/statistics");
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

    let operator = demo.sign_in("operator", &accounts["operator"]);
    let found = demo.ask_register(&operator, "21710199599912");
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

    let auditor = demo.sign_in("auditor", &accounts["auditor"]);
    assert!(
        !demo.read(&auditor.0, "/audit")["items"]
            .as_array()
            .expect("a list")
            .is_empty()
    );
    demo.stop();

    let again = Demo::start(command(&["--demo", folder_text]), "passwords were shown");
    let _signed_in = again.sign_in("operator", &accounts["operator"]);
    assert!(!again.told.contains(&accounts["operator"]));
    again.stop();
}

#[test]
fn a_demonstration_in_a_folder_of_its_own_leaves_nothing() {
    let home = TempDir::new().expect("a folder");
    let mut start = command(&["--demo"]);
    start.env("TMPDIR", home.path());
    let demo = Demo::start(start, "Try, in another window");
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
