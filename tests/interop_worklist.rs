//! Modality worklists and performed procedure steps with foreign peers: our tool as the console of
//! DCMTK's worklist and of pynetdicom's provider of steps, our server as the provider of theirs.

use std::path::Path;
use std::process::Command;

use pacs_tests::peers::{Listener, dcmtk, free_port, has_dcmtk, peer_py, python, run};
use pacs_tests::samples::{Slice, write_study};
use pacs_tests::server::{Options, Server};
use pacs_tests::workspace;
use serde_json::Value;

/// Runs `pacs --json`, and gives how it ended, its lines, and what it said on standard error.
fn pacs(arguments: &[&str]) -> (Option<i32>, Vec<Value>, String) {
    let mut pacs = Command::new(workspace::binary("pacs"));
    let output = pacs.arg("--json").args(arguments).output();
    let output = output.expect("pacs runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"));
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), lines.collect(), errors)
}

fn of_kind<'v>(lines: &'v [Value], kind: &str) -> Vec<&'v Value> {
    lines.iter().filter(|line| line["kind"] == kind).collect()
}

/// A step as DCMTK's worklist keeps it.
fn dump(number: u32, name: &str, modality: &str, station: &str, date: &str) -> String {
    format!(
        "(0008,0005) CS  [ISO_IR 192]\n\
         (0008,0050) SH  [A{number}]\n\
         (0010,0010) PN  [{name}]\n\
         (0010,0020) LO  [P{number}]\n\
         (0010,0030) DA  19800102\n\
         (0010,0040) CS  M\n\
         (0020,000d) UI  2.25.{number}\n\
         (0032,1060) LO  [EXAM{number}]\n\
         (0040,0100) SQ\n\
         (fffe,e000) -\n\
         (0008,0060) CS  {modality}\n\
         (0040,0001) AE  {station}\n\
         (0040,0002) DA  {date}\n\
         (0040,0003) TM  085607\n\
         (0040,0006) PN  [DOCTOR]\n\
         (0040,0007) LO  [STEP{number}]\n\
         (0040,0009) SH  [S{number}]\n\
         (fffe,e00d) -\n\
         (fffe,e0dd) -\n\
         (0040,1001) SH  [R{number}]\n\
         (0040,1003) SH  LOW\n"
    )
}

/// DCMTK's worklist, called LIST, with three steps.
fn wlmscpfs(folder: &Path) -> Listener {
    let list = folder.join("LIST");
    std::fs::create_dir(&list).expect("a folder");
    std::fs::write(list.join("lockfile"), "").expect("a file");
    let steps = [
        dump(1, "Жээнбеков^Үсөн", "CT", "CT1", "20261126"),
        dump(2, "IVANOV^IVAN", "CT", "CT2", "20261127"),
        dump(3, "PETROV^PETR", "MR", "MR1", "20261126"),
    ];
    for (number, text) in (1..).zip(steps) {
        let source = folder.join(format!("{number}.dump"));
        std::fs::write(&source, text).expect("a file");
        let target = list.join(format!("{number}.wl"));
        let made = run(dcmtk("dump2dcm").arg(source).arg(target));
        assert!(made.success, "{}", made.text);
    }
    let port = free_port();
    let mut provide = dcmtk("wlmscpfs");
    // Its answers name the character set of the file.
    provide
        .args(["-csk", "-dfp"])
        .arg(folder)
        .arg(port.to_string());
    Listener::start(&mut provide, port)
}

#[test]
fn our_tool_asks_dcmtk_for_a_worklist() {
    if !has_dcmtk() {
        return;
    }
    let folder = workspace::temporary_folder();
    let worklist = wlmscpfs(folder.path());
    let peer = format!("LIST@{}", worklist.address());
    let found = |options: &[&str]| {
        let (code, lines, errors) = pacs(&[&["worklist", &peer], options].concat());
        assert_eq!(code, Some(0), "{errors}");
        let results = of_kind(&lines, "result");
        assert_eq!(of_kind(&lines, "summary")[0]["count"], results.len());
        let of = |result: &&Value| result["attributes"].clone();
        results.iter().map(of).collect::<Vec<Value>>()
    };
    let numbers = |options: &[&str]| {
        let text = |answer: &Value| answer["AccessionNumber"].as_str().map(str::to_owned);
        let mut numbers: Vec<_> = found(options).iter().filter_map(text).collect();
        numbers.sort();
        numbers.join(" ")
    };

    assert_eq!(numbers(&[]), "A1 A2 A3");
    assert_eq!(numbers(&["--station", "CT2"]), "A2");
    assert_eq!(numbers(&["--modality", "MR"]), "A3");
    assert_eq!(numbers(&["--date", "2026-11-26"]), "A1 A3");
    assert_eq!(numbers(&["--date", "2026-11-27..2026-11-30"]), "A2");
    assert_eq!(numbers(&["--patient", "IVANOV*"]), "A2");
    assert_eq!(numbers(&["--patient", "P3"]), "A3");
    assert_eq!(numbers(&["--modality", "CT", "--date", "20261126"]), "A1");
    assert_eq!(numbers(&["--accession", "A9"]), "");
    let physician = |name| format!("ScheduledPerformingPhysicianName={name}");
    assert_eq!(numbers(&["-k", &physician("DOCTOR")]), "A1 A2 A3");
    assert_eq!(numbers(&["-k", &physician("NOBODY")]), "");

    let kyrgyz = &found(&["--patient", "P1"])[0];
    assert_eq!(kyrgyz["PatientName"], "Жээнбеков^Үсөн");
    assert_eq!(kyrgyz["StudyInstanceUID"], "2.25.1");
    let step = &kyrgyz["ScheduledProcedureStepSequence"][0];
    assert_eq!(step["ScheduledStationAETitle"], "CT1");
    assert_eq!(step["ScheduledProcedureStepStartTime"], "085607");
}

/// The values of an attribute in the JSON of PS3.18 F.
fn value<'v>(step: &'v Value, tag: &str) -> &'v Value {
    &step[tag]["Value"]
}

/// pynetdicom as a provider of steps.
struct Provider {
    /// Kept while it runs.
    _listener: Listener,
    peer: String,
    folder: tempfile::TempDir,
}

impl Provider {
    fn start(python: &Path) -> Self {
        let folder = workspace::temporary_folder();
        let port = free_port();
        let mut provide = peer_py(python);
        provide
            .args(["provide_steps", &port.to_string()])
            .arg(folder.path());
        let listener = Listener::start(&mut provide, port);
        Self {
            peer: format!("PYNETDICOM@{}", listener.address()),
            _listener: listener,
            folder,
        }
    }

    /// The step as it was told of.
    fn step(&self, uid: &str) -> Value {
        let text = std::fs::read_to_string(self.folder.path().join(format!("{uid}.json")));
        serde_json::from_str(&text.expect("a step that is kept")).expect("JSON")
    }

    /// Begins a step with our tool.
    fn create(&self) -> String {
        let (code, lines, errors) = pacs(&[
            "mpps",
            "create",
            &self.peer,
            "--study=2.25.77",
            "--modality=CT",
            "--accession=250060004329",
            "--step=250060004329-01",
            "--patient-id=P0000005724",
            "--patient-name=Жээнбеков^Үсөн",
        ]);
        assert_eq!(code, Some(0), "{errors}");
        let uid = &of_kind(&lines, "result")[0]["uid"];
        uid.as_str().expect("a UID").to_owned()
    }
}

#[test]
fn our_tool_tells_pynetdicom_of_a_step_that_is_completed() {
    let Some(python) = python() else { return };
    let provider = Provider::start(&python);
    let peer = provider.peer.as_str();

    let uid = provider.create();
    let begun = provider.step(&uid);
    assert_eq!(value(&begun, "00400252")[0], "IN PROGRESS");
    let scheduled = &value(&begun, "00400270")[0];
    assert_eq!(value(scheduled, "00080050")[0], "250060004329");
    assert_eq!(value(scheduled, "0020000D")[0], "2.25.77");
    let name = &value(&begun, "00100010")[0]["Alphabetic"];
    assert_eq!(name, "Жээнбеков^Үсөн");

    let made = workspace::temporary_folder();
    assert_eq!(write_study(made.path(), 1, 3).len(), 3);
    let made = made.path().to_str().expect("UTF-8");
    let (code, lines, errors) = pacs(&["mpps", "complete", peer, &uid, made]);
    assert_eq!(code, Some(0), "{errors}");
    assert_eq!(of_kind(&lines, "summary")[0]["instances"], 3);
    let completed = provider.step(&uid);
    assert_eq!(value(&completed, "00400252")[0], "COMPLETED");
    let series = &value(&completed, "00400340")[0];
    let first = Slice::new(1, 1);
    assert_eq!(value(series, "0020000E")[0], first.series.as_str());
    let images = value(series, "00081140").as_array().expect("items");
    assert_eq!(images.len(), 3);
    assert_eq!(value(&images[0], "00081155")[0], first.instance.as_str());

    // It has ended.
    let (code, _, errors) = pacs(&["mpps", "complete", peer, &uid, made]);
    assert_eq!(code, Some(1), "{errors}");
    let (code, _, _) = pacs(&["mpps", "complete", peer, &uid]);
    assert_eq!(code, Some(2), "a completed step has instances");
}

#[test]
fn our_tool_tells_pynetdicom_of_a_step_that_is_broken_off() {
    let Some(python) = python() else { return };
    let provider = Provider::start(&python);
    let peer = provider.peer.as_str();
    let uid = provider.create();

    let (code, _, _) = pacs(&["mpps", "discontinue", peer, &uid, "--reason", "1"]);
    assert_eq!(code, Some(2), "no reason of CID 9301");
    let broken = ["mpps", "discontinue", peer, &uid, "--reason", "110514"];
    let (code, _, errors) = pacs(&broken);
    assert_eq!(code, Some(0), "{errors}");

    let broken = provider.step(&uid);
    assert_eq!(value(&broken, "00400252")[0], "DISCONTINUED");
    let reason = &value(&broken, "00400281")[0];
    assert_eq!(value(reason, "00080100")[0], "110514");
    let meaning = &value(reason, "00080104")[0];
    assert_eq!(meaning, "Incorrect worklist entry selected");
    let unknown = ["mpps", "discontinue", peer, "2.25.404"];
    let (code, lines, _) = pacs(&unknown);
    assert_eq!(code, Some(1));
    let error = of_kind(&lines, "error")[0].to_string();
    assert!(error.contains("0112"), "{error}");
}

/// A server that knows the organisations of the pilot, and these devices by title and organisation.
fn server_with(devices: &[(&str, &str)]) -> Server {
    let server = Server::start(Options::default());
    let data = server.data();
    let data = data.to_str().expect("UTF-8");
    let organisations = workspace::root().join("reference-server/organisations.json");
    let organisations = organisations.to_str().expect("UTF-8");
    let import = |what, file| {
        let (code, lines, errors) = pacs(&[what, "import", file, "--data", data]);
        assert_eq!(code, Some(0), "{lines:?} {errors}");
        lines
    };
    import("organisations", organisations);
    let one = |(title, organisation): &(&str, &str)| {
        let organisation = *organisation;
        serde_json::json!({ "ae_title": title, "organisation": organisation, "modality": "CT" })
    };
    let list: Vec<Value> = devices.iter().map(one).collect();
    let file = server.home().join("devices.json");
    let list = serde_json::json!({ "devices": list });
    std::fs::write(&file, list.to_string()).expect("a file");
    let file = file.to_str().expect("UTF-8");
    for (added, same) in [(devices.len(), 0), (0, devices.len())] {
        let lines = import("devices", file);
        let summary = of_kind(&lines, "summary")[0];
        assert_eq!(summary["added"], added, "{summary}");
        assert_eq!(summary["same"], same, "{summary}");
    }
    server
}

/// What a server answered to steps that the AE `title` told of, as status and Error ID.
fn told(python: &Path, server: &Server, title: &str, operations: &Value) -> Vec<(u64, u64)> {
    let port = server.dicom().port().to_string();
    let mut tell = peer_py(python);
    tell.args(["tell_steps", "127.0.0.1", &port, title])
        .arg(operations.to_string());
    let said = run(&mut tell).succeeded().json();
    let answers = said["answers"].as_array().expect("answers");
    let number = |answer: &Value, key: &str| answer[key].as_u64().unwrap_or_default();
    answers
        .iter()
        .map(|answer| (number(answer, "status"), number(answer, "error_id")))
        .collect()
}

/// The end of a step, with these instances.
fn end(status: &str, instances: &[&str]) -> Value {
    serde_json::json!({
        "PerformedProcedureStepStatus": status,
        "PerformedProcedureStepEndDate": "20261126",
        "PerformedProcedureStepEndTime": "091500",
        "series": instances,
    })
}

#[test]
fn our_server_keeps_the_steps_that_pynetdicom_tells_of() {
    let Some(python) = python() else { return };
    let mut server = server_with(&[("NATHOS_CT1", "006"), ("KRKL_CT1", "001")]);
    let status = |status: &str| serde_json::json!({ "PerformedProcedureStepStatus": status });
    let no_end = serde_json::json!({ "PerformedProcedureStepStatus": "COMPLETED" });
    let operations = serde_json::json!([
        ["create", "2.25.1", {}],
        ["create", "2.25.1", {}],
        ["create", "2.25.2", { "Modality": null }],
        ["create", "2.25.2", { "PerformedProcedureStepID": "" }],
        ["create", "2.25.2", status("COMPLETED")],
        ["set", "2.25.404", end("COMPLETED", &["1.2.3"])],
        ["set", "2.25.1", { "PerformedProcedureStepDescription": "chest" }],
        ["set", "2.25.1", { "PatientName": "Another^One" }],
        ["set", "2.25.1", no_end],
        ["set", "2.25.1", status("UNDERWAY")],
    ]);

    let answers = told(&python, &server, "NATHOS_CT1", &operations);

    let statuses: Vec<u64> = answers.iter().map(|answer| answer.0).collect();
    let expected = [
        0, 0x0111, 0x0120, 0x0121, 0x0106, 0x0112, 0, 0x0107, 0x0121, 0x0106,
    ];
    assert_eq!(statuses, expected);
    // Neither another hospital's device nor one that nobody registered changes it.
    let change = serde_json::json!([["set", "2.25.1", end("COMPLETED", &["1.2.3"])]]);
    assert_eq!(told(&python, &server, "KRKL_CT1", &change), [(0x0112, 0)]);
    assert_eq!(told(&python, &server, "STRANGER", &change), [(0x0124, 0)]);

    // What was told survives a kill.
    server.kill();
    server.restart();
    let again = serde_json::json!([
        ["create", "2.25.1", {}],
        ["set", "2.25.1", end("COMPLETED", &["1.2.3"])],
        ["set", "2.25.1", end("COMPLETED", &["1.2.3"])],
        ["set", "2.25.1", { "PerformedProcedureStepDescription": "late" }],
    ]);
    let ended = (0x0110, 0xa710);
    let answers = told(&python, &server, "NATHOS_CT1", &again);
    assert_eq!(answers, [(0x0111, 0), (0, 0), ended, ended]);
}
