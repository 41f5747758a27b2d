//! `--json` of every command beside the table of docs/operations.md: each line is an object whose
//! keys stand there, and what stands there is said.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Stdio};

use pacs_tests::samples::{Slice, write_study};
use pacs_tests::server::{Options, RemoteAe, Server};
use pacs_tests::signed_in::CHEAP_PASSWORDS;
use pacs_tests::wire::Sink;
use pacs_tests::wire::sink::Takes;
use pacs_tests::workspace;
use serde_json::{Value, json};

/// The kinds of lines that the table has columns for, in their order.
const KINDS: [&str; 3] = ["result", "problem", "summary"];

/// What a foreign peer alone can be asked for: `interop_worklist.rs` sees it.
const SEEN_ELSEWHERE: [(&str, &str); 1] = [("worklist", "result")];

/// The keys of each kind of line of each command.
type Table = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

fn quoted(cell: &str) -> impl Iterator<Item = String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned)
}

/// The table as docs/operations.md has it.
fn documented() -> Table {
    let path = workspace::root().join("docs/operations.md");
    let text = std::fs::read_to_string(path).expect("the page");
    let rows = text
        .lines()
        .skip_while(|line| !line.starts_with("| command | `result` |"))
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    let mut table = Table::new();
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split('|').collect();
        let [commands, keys @ ..] = &*cells else {
            panic!("{row}");
        };
        assert_eq!(keys.len(), KINDS.len(), "{row}");
        for command in quoted(commands) {
            let of_kind =
                |(kind, cell): (&&str, &&str)| ((*kind).to_owned(), quoted(cell).collect());
            let keys = KINDS.iter().zip(keys).map(of_kind).collect();
            assert!(table.insert(command, keys).is_none(), "{row}");
        }
    }
    table
}

/// What commands have printed.
#[derive(Default)]
struct Runs {
    documented: Table,
    said: Table,
}

impl Runs {
    /// Runs a command that is to end with `code`.
    fn run(&mut self, code: i32, words: &[&str]) -> Vec<Value> {
        let mut pacs = Command::new(workspace::binary("pacs"));
        pacs.arg("--json").args(words).stdin(Stdio::null());
        let output = pacs.output().expect("it runs");
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{words:?}: {text}{errors}"
        );
        let lines: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{words:?}: {line}")))
            .collect();
        assert!(!lines.is_empty(), "{words:?} says nothing");
        let two = words.iter().take(2).copied().collect::<Vec<_>>().join(" ");
        let is_two = self.documented.contains_key(&two);
        let name = if is_two { &two } else { words[0] };
        for (at, line) in (1..).zip(&lines) {
            let mut keys = line.as_object().expect("an object").clone();
            let kind = keys.remove("kind").expect("a kind");
            let kind = kind.as_str().expect("a text");
            let keys: BTreeSet<String> = keys.into_iter().map(|(key, _)| key).collect();
            if kind == "error" {
                let expected = ["exit_code", "layer", "message"].map(str::to_owned);
                assert_eq!(keys, BTreeSet::from(expected), "{words:?}");
                assert_eq!((at, &line["exit_code"]), (lines.len(), &json!(code)));
                continue;
            }
            assert!(KINDS.contains(&kind), "{words:?}: {line}");
            let said = self.said.entry(name.to_owned()).or_default();
            said.entry(kind.to_owned()).or_default().extend(keys);
        }
        let is_error = lines.last().is_some_and(|line| line["kind"] == "error");
        assert_eq!(is_error, code != 0, "{words:?}: {lines:?}");
        lines
    }

    /// What the documentation says and no command does, and the other way round.
    fn differences(&self) -> Vec<String> {
        let none = BTreeSet::new();
        let mut differences = Vec::new();
        for (command, kinds) in &self.documented {
            for (kind, documented) in kinds {
                let said = self.said.get(command).and_then(|kinds| kinds.get(kind));
                let said = said.unwrap_or(&none);
                let more: Vec<_> = said.difference(documented).collect();
                if !more.is_empty() {
                    differences.push(format!("{command}: {kind} has {more:?}, not documented"));
                }
                // What goes wrong is not all brought about here.
                let is_seen = kind != "problem"
                    && !SEEN_ELSEWHERE.contains(&(command.as_str(), kind.as_str()));
                let less: Vec<_> = documented.difference(said).collect();
                if is_seen && !less.is_empty() {
                    differences.push(format!("{command}: {kind} never has {less:?}"));
                }
            }
        }
        differences
    }
}

/// The commands that do something, as their manual pages name them.
fn commands(runs: &mut Runs, folder: &str) -> BTreeSet<String> {
    let pages = runs.run(0, &["man", folder]);
    let name = |page: &Value| {
        let stem = Path::new(page["path"].as_str()?).file_stem()?.to_str()?;
        Some(stem.strip_prefix("pacs-")?.replace('-', " "))
    };
    let mut names: BTreeSet<String> = pages.iter().filter_map(name).collect();
    assert!(names.remove("server"));
    let has_below = |name: &String| {
        let prefix = format!("{name} ");
        names.iter().any(|other| other.starts_with(&prefix))
    };
    names
        .iter()
        .filter(|name| !has_below(name))
        .cloned()
        .collect()
}

/// What works on an archive whose server is stopped.
fn stopped(runs: &mut Runs, home: &Path, medium: &str) {
    let path = |name: &str| home.join(name).to_str().expect("UTF-8").to_owned();
    let (data, out, kept, back) = (path("d"), path("out"), path("kept"), path("back"));
    let data = data.as_str();
    runs.run(4, &["import", medium, "--data", data]);
    runs.run(
        0,
        &[
            "export",
            "--data",
            data,
            "-k",
            "PatientID=TEST00001",
            "--out",
            &out,
        ],
    );
    runs.run(0, &["verify", "--data", data]);
    runs.run(0, &["rebuild", "--data", data]);
    runs.run(0, &["backup", "--data", data, &kept]);
    runs.run(0, &["repair", "--data", data, &kept]);
    runs.run(0, &["restore", &kept, &back]);
}

/// What speaks to a peer, or of one.
fn peers(runs: &mut Runs, server: &Server, medium: &str) {
    let peer = format!("PACS@{}", server.dicom());
    let study = Slice::new(1, 1).study;
    let key = format!("StudyInstanceUID={study}");
    let path = |name: &str| server.home().join(name).to_str().expect("UTF-8").to_owned();
    let (got, config) = (path("got"), path("pacs.toml"));
    runs.run(0, &["echo", &peer]);
    runs.run(4, &["store", &peer, medium, "--restart"]);
    runs.run(0, &["find", &peer, "-k", "PatientID"]);
    runs.run(0, &["get", &peer, "-k", &key, "--out", &got]);
    runs.run(0, &["move", &peer, "-k", &key, "--to", "SINK"]);
    runs.run(1, &["move", &peer, "-k", &key, "--to", "NOBODY"]);
    runs.run(4, &["commit", &peer, medium]);
    runs.run(0, &["ae", "list", "--config", &config]);
    runs.run(0, &["ae", "test", &peer]);
    let data = path("data");
    let send = ["send", "--data", &data, "--study", &study, "--to", "SINK"];
    runs.run(0, &send);
    runs.run(0, &[&send[..], &["--wait"]].concat());
}

/// What an archive knows besides content.
fn registers(runs: &mut Runs, server: &Server, medium: &str) {
    let data = server.data();
    let data = data.to_str().expect("UTF-8");
    let organisations = workspace::root().join("reference-server/organisations.json");
    let organisations = organisations.to_str().expect("UTF-8");
    runs.run(
        0,
        &["organisations", "import", organisations, "--data", data],
    );
    let devices = server.home().join("devices.json");
    let list = json!({"devices": [
        {"ae_title": "CONSOLE", "organisation": "006", "modality": "CT", "mpps": true}
    ]});
    std::fs::write(&devices, list.to_string()).expect("a file");
    let devices = devices.to_str().expect("UTF-8");
    runs.run(0, &["devices", "import", devices, "--data", data]);

    let peer = format!("PACS@{}", server.dicom());
    let console = ["--ae-title", "CONSOLE"];
    runs.run(0, &[&["worklist", &peer], &console[..]].concat());
    for end in ["complete", "discontinue"] {
        let study = Slice::new(1, 1).study;
        let begin = [
            "mpps",
            "create",
            &peer,
            "--study",
            &study,
            "--modality",
            "CT",
        ];
        let begun = runs.run(0, &[&begin[..], &console].concat());
        let step = begun[0]["uid"].as_str().expect("a UID").to_owned();
        runs.run(
            0,
            &[&["mpps", end, &peer, &step, medium], &console[..]].concat(),
        );
    }

    let token = [
        "token", "create", "viewer", "--scope", "find,get", "--data", data,
    ];
    runs.run(0, &token);
    runs.run(0, &["token", "list", "--data", data]);
    runs.run(0, &["token", "revoke", "viewer", "--data", data]);
    runs.run(2, &["token", "revoke", "viewer", "--data", data]);
}

/// The public key of RFC 8410 10.1.
const PUBLIC_KEY: &str = "-----BEGIN PUBLIC KEY-----\n\
    MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n\
    -----END PUBLIC KEY-----\n";

/// Accounts, and who did what.
fn people(runs: &mut Runs, data: &str) {
    let of = [
        "--issuer",
        "https://id.example.org",
        "--subject",
        "b.osmonova",
    ];
    let role = ["--role", "auditor@national"];
    let named = ["--display-name", "B. Osmonova"];
    let mut users = |words: &[&[&str]]| {
        let words = [&["users"], &*words.concat(), &["--data", data]].concat();
        runs.run(0, &words);
    };
    users(&[&["add", "b.osmonova"], &named, &role]);
    users(&[&["link", "b.osmonova"], &of]);
    users(&[&["list"]]);
    users(&[&["unlink", "b.osmonova"], &of]);
    users(&[&["roles", "b.osmonova"], &role]);
    users(&[&["reset", "b.osmonova"]]);
    users(&[&["disable", "b.osmonova"]]);
    users(&[&["enable", "b.osmonova"]]);
    runs.run(0, &["audit", "list", "--data", data]);
    runs.run(0, &["audit", "list", "--message", "--data", data]);
    let verify = ["audit", "verify", "--data", data];
    runs.run(0, &verify);
    let key = Path::new(data).with_file_name("signed-by.pem");
    std::fs::write(&key, PUBLIC_KEY).expect("a file");
    let key = key.to_str().expect("UTF-8");
    // Nothing is signed here.
    runs.run(5, &[&verify[..], &["--signed-by", key]].concat());
}

#[test]
fn every_command_prints_lines_of_json_with_the_keys_that_are_documented() {
    let home = workspace::temporary_folder();
    let medium = home.path().join("medium");
    assert_eq!(write_study(&medium, 1, 3).len(), 3);
    std::fs::write(medium.join("notes.txt"), "no instance").expect("a file");
    let cut = &Slice::new(1, 4).file()[..200];
    std::fs::write(medium.join("cut.dcm"), cut).expect("a file");
    let medium = medium.to_str().expect("UTF-8");
    let whole = home.path().join("whole");
    assert_eq!(write_study(&whole, 1, 3).len(), 3);
    let whole = whole.to_str().expect("UTF-8");
    let sink = Sink::start(Takes::Everything);
    let mut own = RemoteAe::new("PACS_TOOL", sink.address());
    own.move_to = vec!["SINK".to_owned()];
    let server = Server::start(Options {
        remote: vec![RemoteAe::new("SINK", sink.address()), own],
        config: CHEAP_PASSWORDS.to_owned(),
        ..Options::default()
    });
    let mut runs = Runs {
        documented: documented(),
        said: Table::new(),
    };
    let pages = home.path().join("man1");

    let commands = commands(&mut runs, pages.to_str().expect("UTF-8"));
    let script = runs.run(0, &["completions", "bash"]);
    stopped(&mut runs, home.path(), medium);
    peers(&mut runs, &server, medium);
    registers(&mut runs, &server, whole);
    people(&mut runs, server.data().to_str().expect("UTF-8"));

    let rows: BTreeSet<String> = runs.documented.keys().cloned().collect();
    assert_eq!(rows, commands, "the table has a row for every command");
    assert!(
        script[0]["script"]
            .as_str()
            .is_some_and(|script| script.contains("complete"))
    );
    let differences = runs.differences();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    // Whoever tells nothing of itself was not run.
    let silent: Vec<_> = rows
        .iter()
        .filter(|name| !runs.said.contains_key(*name))
        .collect();
    assert!(silent.is_empty(), "{silent:?}");
}
