//! The command lines: what `pacs-server` and `pacs` take, refuse, print, and end with.

#[path = "cli/json.rs"]
mod json;
#[path = "cli/terminal.rs"]
mod terminal;

use std::net::TcpListener;
use std::process::{Command, Stdio};

use pacs_tests::peers::{Said, files_below, free_port, run};
use pacs_tests::samples::{Slice, write_study};
use pacs_tests::server::{Options, Server, ready_line, start_refused, wait_for_exit};
use pacs_tests::wire::command::{element, field};
use pacs_tests::wire::sink::Takes;
use pacs_tests::wire::{self, Context, Sink, WireError, pdu, uid};
use pacs_tests::workspace;

fn pacs(arguments: &[&str]) -> Said {
    run(Command::new(workspace::binary("pacs"))
        .args(arguments)
        .stdin(Stdio::null()))
}

/// Starts a server that must refuse, and checks that it opened and left nothing.
fn refused(options: Options) -> String {
    let home = workspace::temporary_folder();
    let (status, errors) = start_refused(&options, home.path());
    assert_eq!(status.code(), Some(2), "{errors}");
    assert!(
        !home.path().join("data").exists(),
        "the data folder was made: {errors}"
    );
    errors
}

fn with_arguments(arguments: &[&str]) -> Options {
    let arguments = arguments.iter().map(ToString::to_string).collect();
    Options {
        arguments,
        ..Options::default()
    }
}

fn with_config(config: &str) -> Options {
    Options {
        config: config.to_owned(),
        ..Options::default()
    }
}

#[test]
fn beside_the_ready_line_only_the_set_up_token_is_on_standard_output() {
    let home = workspace::temporary_folder();
    let mut server = Command::new(workspace::binary("pacs-server"));
    server
        .current_dir(home.path())
        .args(["--dicom", "127.0.0.1:0", "--http", "127.0.0.1:0"]);
    let mut child = server
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("runs");
    let mut output = std::io::BufReader::new(child.stdout.take().expect("piped"));
    let mut line = String::new();
    std::io::BufRead::read_line(&mut output, &mut line).expect("a line");
    let at = ready_line(&line).unwrap_or_else(|| panic!("{line:?}"));
    let process = i32::try_from(child.id()).expect("a process number");
    let process = rustix::process::Pid::from_raw(process).expect("not zero");
    rustix::process::kill_process(process, rustix::process::Signal::TERM).expect("it runs");

    let status = wait_for_exit(&mut child);

    let mut rest = String::new();
    std::io::Read::read_to_string(&mut output, &mut rest).expect("text");
    assert!(at.dicom.port() != 0 && at.http.port() != 0 && at.dicom.ip().is_loopback());
    assert_eq!(at.dicom_tls, None, "TLS is off by default");
    // In a new archive nobody has an account; the token for the first one is nowhere else.
    assert_eq!(rest.lines().count(), 1, "{rest}");
    assert!(rest.contains(" token set_up_"), "{rest}");
    assert_eq!(status.code(), Some(0));
    assert!(
        home.path().join("pacs-data").is_dir(),
        "./pacs-data is the default"
    );
}

#[test]
fn settings_come_from_variables_too_and_the_command_line_is_stronger() {
    let home = workspace::temporary_folder();
    let mut server = Command::new(workspace::binary("pacs-server"));
    server
        .current_dir(home.path())
        .env("PACS_DICOM", "127.0.0.1:0")
        .env("PACS_HTTP", "127.0.0.1:0")
        .env("PACS_DATA", "from-variable")
        .env("PACS_AE_TITLE", "NOT A TITLE THAT IS SHORT ENOUGH")
        .args(["--ae-title", "STRONGER"]);
    let mut child = server
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("runs");
    let mut output = std::io::BufReader::new(child.stdout.take().expect("piped"));
    let mut line = String::new();
    std::io::BufRead::read_line(&mut output, &mut line).expect("a line");
    child.kill().expect("it runs");
    child.wait().expect("it was killed");

    assert!(ready_line(line.trim_end()).is_some(), "{line:?}");
    assert!(home.path().join("from-variable").is_dir());
}

#[test]
fn every_fault_of_the_settings_is_named_before_anything_opens() {
    let errors = refused(Options {
        config:
            "[dicom]\n[[dicom.ae]]\ntitle = \"WS1\"\naddress = \"nowhere\"\nallow = [\"echo\"]\n"
                .to_owned(),
        ..with_arguments(&["--ae-title", "A TITLE OF MORE THAN SIXTEEN"])
    });

    assert!(errors.contains("ae_title"), "{errors}");
    assert!(errors.contains("nowhere"), "{errors}");
}

#[test]
fn a_misspelt_right_or_key_is_refused_by_name() {
    let ae = "[[dicom.ae]]\ntitle = \"WS1\"\naddress = \"127.0.0.1:1\"\n";
    let right = refused(with_config(&format!("{ae}allow = [\"stroe\"]\n")));
    let key = refused(with_config(&format!("{ae}alow = [\"store\"]\n")));

    assert!(right.contains("stroe"), "{right}");
    assert!(key.contains("alow"), "{key}");
}

#[test]
fn an_address_that_is_no_address_is_refused_by_name() {
    let errors = refused(with_arguments(&["--dicom", "not an address"]));

    assert!(errors.contains("not an address"), "{errors}");
}

#[test]
fn plain_dicom_off_loopback_needs_the_explicit_setting() {
    let errors = refused(with_arguments(&["--dicom", "0.0.0.0:0"]));

    assert!(errors.contains("insecure"), "{errors}");
}

#[test]
fn plain_dicom_off_loopback_takes_configured_peers_only_and_says_so() {
    let options = Options {
        config: "[dicom]\ninsecure = true\n[[dicom.ae]]\ntitle = \"OTHER\"\n\
                 address = \"127.0.0.1:1\"\nallow = [\"echo\"]\n"
            .to_owned(),
        ..with_arguments(&["--dicom", "0.0.0.0:0"])
    };
    let server = Server::start(options);
    let (status, health) = server.get("/healthz");

    let port = server.dicom().port();
    let stranger = associate_as("TESTS", port);
    let known = associate_as("OTHER", port);

    assert!(
        matches!(stranger, Err(WireError::Rejected { result: 1, .. })),
        "{stranger:?}"
    );
    known.expect("a configured peer is let in");
    assert_eq!(status, 200);
    let health: serde_json::Value = serde_json::from_str(&health).expect("JSON");
    assert_eq!(health["insecure_dicom"], true);
    server.wait_for_log("without TLS");
}

/// One C-ECHO as the AE `title`.
fn associate_as(title: &str, port: u16) -> Result<u16, WireError> {
    let context = Context::new(uid::VERIFICATION, uid::IMPLICIT_LITTLE_ENDIAN);
    let mut proposal = wire::Proposal::new(vec![context]);
    proposal.calling = title.to_owned();
    let address = ([127, 0, 0, 1], port).into();
    let mut association = wire::Association::connect(address, &proposal)?;
    let status = association.echo()?;
    association.release()?;
    Ok(status)
}

#[test]
fn a_port_that_is_taken_is_refused_by_name() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = listener.local_addr().expect("an address").to_string();
    let home = workspace::temporary_folder();

    let (status, errors) = start_refused(&with_arguments(&["--dicom", &taken]), home.path());

    assert_eq!(status.code(), Some(1), "{errors}");
    assert!(errors.contains(&taken), "{errors}");
}

#[test]
fn a_second_server_on_the_same_folder_is_refused() {
    let server = Server::start(Options::default());
    let home = workspace::temporary_folder();
    let data = server.data().to_str().expect("UTF-8").to_owned();

    let (status, errors) = start_refused(&with_arguments(&["--data", &data]), home.path());

    assert_eq!(status.code(), Some(1), "{errors}");
    assert_eq!(server.echo().expect("the first one lives on"), 0);
}

#[test]
fn health_readiness_and_metrics_are_served() {
    let server = Server::start(Options::default());
    assert_eq!(server.echo().expect("an answer"), 0);

    let (health, _) = server.get("/healthz");
    let (ready, _) = server.get("/readyz");
    let (metrics_status, metrics) = server.get("/metrics");
    let (unknown, _) = server.get("/no-such-page");

    assert_eq!(
        (health, ready, metrics_status, unknown),
        (200, 200, 200, 404)
    );
    assert!(metrics.contains("_bucket{"), "no histogram: {metrics}");
    assert!(
        metrics.contains("TESTS"),
        "no series for the calling AE: {metrics}"
    );
}

#[test]
fn on_sigterm_the_running_association_ends_and_new_ones_are_not_taken() {
    let mut server = Server::start(Options::default());
    let slice = Slice::new(1, 1);
    let context = Context::new(uid::CT_IMAGE_STORAGE, uid::EXPLICIT_LITTLE_ENDIAN);
    let mut association = server.associate(vec![context]).expect("an association");
    let store = |association: &mut wire::Association| {
        let (class, syntax) = (uid::CT_IMAGE_STORAGE, uid::EXPLICIT_LITTLE_ENDIAN);
        association.store(class, &slice.instance, syntax, &slice.data_set())
    };
    assert_eq!(store(&mut association).expect("an answer"), 0);

    server.terminate();
    let status = server.wait();

    assert_eq!(status.code(), Some(0), "{}", server.log());
    assert!(server.associate(Vec::new()).is_err());
    server.restart();
    let (_, found) = (server.echo(), found_by_patient(&server, "TEST00001"));
    assert_eq!(found, 1);
}

#[test]
fn on_sigterm_a_store_in_progress_is_finished_and_kept() {
    let mut server = Server::start(Options::default());
    let mut slice = Slice::new(1, 1);
    // More than the buffers of a connection hold: when most is sent, the server has begun to read.
    slice.side = 3500;
    let data_set = slice.data_set();
    let context = Context::new(uid::CT_IMAGE_STORAGE, uid::EXPLICIT_LITTLE_ENDIAN);
    let mut association = server.associate(vec![context]).expect("an association");
    let request = wire::Command::request(field::STORE, uid::CT_IMAGE_STORAGE, 1, true).text(
        element::AFFECTED_INSTANCE,
        &slice.instance,
        '\0',
    );
    association
        .send(1, &request, None)
        .expect("the server reads");
    let (first, rest) = data_set.split_at(data_set.len() - 4000);
    for fragment in first.chunks(100_000) {
        pdu::send(association.stream(), &pdu::p_data(1, 0, fragment)).expect("the server reads");
    }

    server.terminate();
    server.wait_for_log("draining");
    pdu::send(association.stream(), &pdu::p_data(1, 2, rest)).expect("the server reads");
    let response = association.receive().expect("an answer");
    drop(association);

    assert_eq!(response.command.get(element::STATUS), 0);
    assert_eq!(server.wait().code(), Some(0));
    server.restart();
    assert_eq!(found_by_patient(&server, "TEST00001"), 1);
}

fn found_by_patient(server: &Server, patient: &str) -> usize {
    let context = Context::new(uid::STUDY_ROOT_FIND, uid::IMPLICIT_LITTLE_ENDIAN);
    let mut association = server.associate(vec![context]).expect("an association");
    let keys = wire::Keys::at("STUDY").with(wire::identifier::tag::PATIENT_ID, patient);
    let (answers, _) = association
        .find(uid::STUDY_ROOT_FIND, &keys)
        .expect("an answer");
    association.release().expect("a release in order");
    answers.len()
}

#[test]
fn the_log_is_one_json_object_a_line_without_patient_data() {
    let mut server = Server::start(Options {
        environment: vec![("PACS_LOG".to_owned(), "debug".to_owned())],
        ..Options::default()
    });
    let sent = server.home().join("sent");
    let files = write_study(&sent, 7, 2);
    let address = format!("PACS@{}", server.dicom());
    let _ = pacs(&["store", &address, files[0].to_str().expect("UTF-8")]).succeeded();
    let _ = pacs(&["find", &address, "-k", "PatientName=Test^Patient7"]).succeeded();
    server.stop();

    let log = server.log();

    assert!(!log.is_empty());
    for line in log.lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|_| panic!("{line}"));
    }
    for canary in ["Patient7", "PATIENT7", "patient7", "TEST00007", "19600101"] {
        assert!(!log.contains(canary), "the log holds {canary}");
    }
}

#[test]
fn the_tool_echoes_stores_finds_gets_and_moves() {
    let server = Server::start(Options::default());
    let sent = server.home().join("sent");
    assert_eq!(write_study(&sent, 1, 3).len(), 3);
    let received = server.home().join("received");
    let address = format!("PACS@{}", server.dicom());
    let study = format!("StudyInstanceUID={}", Slice::new(1, 1).study);

    let _ = pacs(&["echo", &address]).succeeded();
    let _ = pacs(&["store", &address, sent.to_str().expect("UTF-8")]).succeeded();
    let found = pacs(&["find", &address, "-k", "PatientName=test^*", "-k", &study]).succeeded();
    let out = received.to_str().expect("UTF-8");
    let _ = pacs(&["get", &address, "-k", &study, "--out", out]).succeeded();
    let moved = pacs(&["move", &address, "-k", &study, "--to", "NOBODY"]);

    assert!(
        found.text.contains(&Slice::new(1, 1).study),
        "{}",
        found.text
    );
    let mut files = files_below(&received);
    files.sort();
    assert_eq!(files.len(), 3);
    let same = (1..=3)
        .map(|number| Slice::new(1, number).data_set())
        .filter(|data_set| {
            files
                .iter()
                .any(|file| std::fs::read(file).expect("a file").ends_with(data_set))
        });
    assert_eq!(same.count(), 3);
    assert!(!moved.success);
    assert!(moved.text.to_uppercase().contains("A801"), "{}", moved.text);
}

#[test]
fn the_tool_names_the_layer_that_failed() {
    let server = Server::start(Options::default());
    let port = free_port();

    let tcp = pacs(&["echo", &format!("PACS@127.0.0.1:{port}")]);
    assert!(!tcp.success && tcp.text.contains("TCP"), "{}", tcp.text);
    assert!(tcp.text.to_lowercase().contains("refused"), "{}", tcp.text);

    let file = server.home().join("no-sop-class.dcm");
    std::fs::write(&file, b"this is not a DICOM file").expect("a file");
    let address = format!("PACS@{}", server.dicom());
    let not_dicom = pacs(&["store", &address, file.to_str().expect("UTF-8")]);
    assert!(!not_dicom.success, "{}", not_dicom.text);
    assert!(
        not_dicom.text.contains("no-sop-class.dcm"),
        "{}",
        not_dicom.text
    );

    let wrong_line = run(Command::new(workspace::binary("pacs")).arg("echo"));
    assert!(
        !wrong_line.success && wrong_line.text.contains("PEER"),
        "{}",
        wrong_line.text
    );
}

#[test]
fn every_line_of_json_tells_its_kind_and_the_last_one_why_a_command_failed() {
    let server = Server::start(Options::default());
    let sent = server.home().join("sent");
    assert_eq!(write_study(&sent, 1, 2).len(), 2);
    let address = format!("PACS@{}", server.dicom());
    let sent = sent.to_str().expect("UTF-8");

    let stored = json_lines(&["store", &address, sent]);
    let found = json_lines(&["find", &address, "-k", "PatientID", "--json"]);
    let echoed = json_lines(&["echo", &address]);
    let refused = json_lines(&["echo", &format!("PACS@127.0.0.1:{}", free_port())]);

    let summary = stored.last().expect("a line");
    assert_eq!(
        (&summary["kind"], &summary["stored"]),
        (&"summary".into(), &2.into())
    );
    assert_eq!(found[0]["kind"], "result");
    assert_eq!(found[0]["attributes"]["PatientID"], "TEST00001");
    assert_eq!(found[1]["count"], 1);
    assert_eq!(echoed[0]["ae_title"], "PACS");
    assert_eq!(refused[0]["kind"], "error");
    assert_eq!(
        (&refused[0]["exit_code"], &refused[0]["layer"]),
        (&3.into(), &"TCP".into())
    );
}

/// What the tool prints with `--json`, line by line.
fn json_lines(arguments: &[&str]) -> Vec<serde_json::Value> {
    let mut command = Command::new(workspace::binary("pacs"));
    command.arg("--json");
    command.args(arguments.iter().filter(|argument| **argument != "--json"));
    let output = command.stdin(Stdio::null()).output().expect("it runs");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}")))
        .collect()
}

#[test]
fn shells_get_their_completions_and_man_its_pages() {
    let home = workspace::temporary_folder();
    let folder = home.path().join("man1");
    for shell in ["bash", "zsh", "fish"] {
        let script = pacs(&["completions", shell]).succeeded().text;
        assert!(
            script.contains("store") && script.contains("json"),
            "{shell}"
        );
    }
    let bash = pacs(&["completions", "bash"]).succeeded().text;
    let script = home.path().join("pacs.bash");
    std::fs::write(&script, bash).expect("a file");
    let ask = format!(
        "source {}; COMP_WORDS=(pacs sto); COMP_CWORD=1; _pacs pacs sto pacs; \
         echo \"${{COMPREPLY[@]}}\"",
        script.display()
    );
    let completed = run(Command::new("bash").args(["-c", &ask])).succeeded();

    let _ = pacs(&["man", folder.to_str().expect("UTF-8")]).succeeded();

    assert_eq!(completed.text.trim(), "store");
    let page = |name: &str| std::fs::read_to_string(folder.join(name)).expect("a page");
    assert!(page("pacs.1").contains("Exit codes"), "{}", page("pacs.1"));
    assert!(
        page("pacs-store.1").contains(".TH"),
        "{}",
        page("pacs-store.1")
    );
    assert!(page("pacs-server.1").contains("PACS_DATA"));
}

#[test]
fn the_tool_names_a_refused_presentation_context_and_a_peer_that_speaks_no_dicom() {
    let home = workspace::temporary_folder();
    let files = write_study(home.path(), 1, 1);
    let file = files[0].to_str().expect("UTF-8");
    let sink = Sink::start(Takes::Only(uid::JPEG_BASELINE));

    let refused = pacs(&["store", &format!("SINK@{}", sink.address()), file]);
    assert!(!refused.success, "{}", refused.text);
    assert!(
        refused.text.to_lowercase().contains("presentation context"),
        "{}",
        refused.text
    );

    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        std::io::Write::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\n\r\n").ok();
    });
    let no_dicom = pacs(&["echo", &format!("X@{address}"), "--timeout", "5"]);
    server.join().expect("the listener ends");
    assert!(!no_dicom.success, "{}", no_dicom.text);
    assert!(!no_dicom.text.trim().is_empty());
}

#[test]
fn the_tool_shows_a_rejection_with_its_reason() {
    let config = "[dicom]\ninsecure = true\n".to_owned();
    let server = Server::start(Options {
        config,
        ..with_arguments(&["--dicom", "0.0.0.0:0"])
    });
    let address = format!("PACS@127.0.0.1:{}", server.dicom().port());

    let said = pacs(&["echo", &address]);

    assert!(!said.success);
    assert!(said.text.contains("reject"), "{}", said.text);
    assert!(
        said.text.to_lowercase().contains("calling"),
        "{}",
        said.text
    );
}

#[test]
fn verify_works_on_a_running_archive_too_and_rebuild_on_a_stopped_one_alone() {
    let mut server = Server::start(Options::default());
    let sent = server.home().join("sent");
    assert_eq!(write_study(&sent, 1, 5).len(), 5);
    let address = format!("PACS@{}", server.dicom());
    let _ = pacs(&["store", &address, sent.to_str().expect("UTF-8")]).succeeded();
    let data = server.data().to_str().expect("UTF-8").to_owned();

    let running = pacs(&["verify", "--data", &data]).succeeded();
    let refused = pacs(&["rebuild", "--data", &data]);
    server.stop();
    let verified = pacs(&["verify", "--data", &data]).succeeded();
    let rebuilt = pacs(&["rebuild", "--data", &data]).succeeded();
    let again = pacs(&["verify", "--data", &data]).succeeded();

    assert!(!refused.success, "{}", refused.text);
    for said in [&running, &verified, &rebuilt, &again] {
        assert!(
            said.text.contains('5'),
            "it does not tell the count: {}",
            said.text
        );
    }
    server.restart();
    assert_eq!(found_by_patient(&server, "TEST00001"), 1);
}

#[test]
fn verify_finds_a_single_flipped_bit() {
    let mut server = Server::start(Options::default());
    let sent = server.home().join("sent");
    assert_eq!(write_study(&sent, 1, 3).len(), 3);
    let address = format!("PACS@{}", server.dicom());
    let _ = pacs(&["store", &address, sent.to_str().expect("UTF-8")]).succeeded();
    server.stop();
    let needle = &Slice::new(1, 2).data_set()[1000..1100];
    let flipped = files_below(&server.data()).into_iter().find_map(|path| {
        // The socket that the server left cannot be read.
        let mut bytes = std::fs::read(&path).ok()?;
        let at = bytes
            .windows(needle.len())
            .position(|window| window == needle)?;
        bytes[at] ^= 1;
        std::fs::write(&path, bytes).expect("a file");
        Some(path)
    });
    assert!(
        flipped.is_some(),
        "the pixels are nowhere in the data folder"
    );

    let said = pacs(&["verify", "--data", server.data().to_str().expect("UTF-8")]);

    assert!(!said.success, "{}", said.text);
    assert!(
        said.text.contains(&Slice::new(1, 2).instance),
        "{}",
        said.text
    );
}

#[test]
fn tar_alone_recovers_the_files() {
    let mut server = Server::start(Options::default());
    let sent = server.home().join("sent");
    assert_eq!(write_study(&sent, 1, 3).len(), 3);
    let address = format!("PACS@{}", server.dicom());
    let _ = pacs(&["store", &address, sent.to_str().expect("UTF-8")]).succeeded();
    server.stop();
    let recovered = server.home().join("recovered");
    std::fs::create_dir_all(&recovered).expect("a folder");

    for file in files_below(&server.data()) {
        let is_tar = std::fs::read(&file).is_ok_and(|bytes| bytes.get(257..262) == Some(b"ustar"));
        if is_tar {
            let mut tar = Command::new("tar");
            let _ = run(tar.arg("-xf").arg(&file).arg("-C").arg(&recovered)).succeeded();
        }
    }

    let files = files_below(&recovered);
    for number in 1..=3 {
        let data_set = Slice::new(1, number).data_set();
        let found = files
            .iter()
            .any(|file| std::fs::read(file).expect("a file").ends_with(&data_set));
        assert!(found, "slice {number} is not among {files:?}");
    }
}
