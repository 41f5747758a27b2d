//! The server over TLS as an administrator and an attacker see it: certificates that are replaced
//! while it serves, what is not TLS, titles and certificates that do not belong together, guesses
//! (SECURITY.md T10), and destinations (T11).

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::process::Command;
use std::time::Instant;

use pacs_tests::certificates::{Certificate, Hospital, Wanted, ae};
use pacs_tests::peers::{Said, free_port, run};
use pacs_tests::samples::Slice;
use pacs_tests::server::{Options, Server, start_refused};
use pacs_tests::wire::association::dial;
use pacs_tests::wire::identifier::tag;
use pacs_tests::wire::{Association, Context, Keys, Proposal, WireError, uid};
use pacs_tests::workspace;

/// Our tool, with TLS to `server`.
fn pacs(server: &Server, title: &str, options: &[&str]) -> Said {
    let peer = format!("PACS@{}", server.dicom_tls());
    let mut pacs = Command::new(workspace::binary("pacs"));
    let words = ["echo", &peer, "--ae-title", title, "--tls"];
    run(pacs.args(words).args(options))
}

fn trusting<'a>(hospital: &'a Hospital, own: Option<&'a Certificate>) -> Vec<&'a str> {
    let mut options = vec!["--tls-ca", hospital.trusted.file()];
    if let Some(own) = own {
        let [certificate, key] = own.files();
        options.extend(["--tls-cert", certificate, "--tls-key", key]);
    }
    options
}

fn verification() -> Vec<Context> {
    vec![Context::new(uid::VERIFICATION, uid::IMPLICIT_LITTLE_ENDIAN)]
}

#[test]
fn certificates_are_replaced_on_sighup_and_a_bad_one_replaces_nothing() {
    let hospital = Hospital::new();
    let server = hospital.start("off", "");
    let first = hospital.archive.clone();
    let pinned = |of: &Certificate| pacs(&server, "TESTS", &["--tls-sha256", &of.sha256]);
    let mut standing = server.associate(verification()).expect("an association");
    let _ = pinned(&first).succeeded();

    // The files keep their names.
    let second = hospital.trusted.make(&Wanted::new("archive"));
    server.hang_up();
    server.wait_for_log("certificates were read again");

    let _ = pinned(&second).succeeded();
    assert!(!pinned(&first).success);
    for (text, reason) in [
        ("no certificate at all", "no CERTIFICATE section"),
        (
            &*std::fs::read_to_string(hospital.trusted.file()).expect("a file"),
            "the private key is not that of the certificate",
        ),
    ] {
        std::fs::write(&second.file, text).expect("a file");
        server.hang_up();
        server.wait_for_log(reason);
        let _ = pinned(&second).succeeded();
    }
    let expired = hospital.trusted.make(&Wanted {
        year: 2002,
        ..Wanted::new("archive")
    });
    server.hang_up();
    server.wait_for_log("the certificate has expired");
    let _ = pinned(&second).succeeded();
    assert!(!pinned(&expired).success);
    assert_eq!(standing.echo().expect("it stands"), 0);
    let (_, metrics) = server.get("/metrics");
    assert!(metrics.contains("pacs_reloads_failed_total 3"), "{metrics}");
    assert!(
        metrics.contains("pacs_tls_certificate_expires_unix_seconds 32"),
        "{metrics}"
    );
}

#[test]
fn a_server_without_tls_survives_sighup() {
    let mut server = Server::start(Options::default());
    server.hang_up();
    server.wait_for_log("certificates were read again");

    assert_eq!(server.echo().expect("an answer"), 0);
    assert!(server.is_alive());
}

#[test]
fn files_that_are_of_no_use_are_named_before_anything_is_opened() {
    let hospital = Hospital::new();
    let config = hospital.config("off", "");
    std::fs::write(&hospital.archive.key, "no key").expect("a file");
    let home = workspace::temporary_folder();
    let options = Options {
        config,
        ..Options::default()
    };

    let (status, errors) = start_refused(&options, home.path());

    assert_eq!(status.code(), Some(2), "{errors}");
    assert!(
        errors.contains("archive.key") && errors.contains("no PRIVATE KEY"),
        "{errors}"
    );
    assert!(!home.path().join("data").exists());
}

#[test]
fn what_is_not_tls_is_turned_away_from_the_tls_port_and_serves_nobody_else_worse() {
    let hospital = Hospital::new();
    let server = hospital.start("off", "");
    // Silent, half a hand-shake, plain DICOM, HTTP.
    let sent: [&[u8]; 4] = [
        b"",
        b"\x16\x03\x01\x02\x00\x01",
        b"\x01\x00\x00\x00\x00\xcd",
        b"GET /",
    ];
    let strangers: Vec<_> = sent
        .map(|bytes| {
            let mut stream = dial(server.dicom_tls()).expect("a connection");
            stream.write_all(bytes).expect("sent");
            stream
        })
        .into();

    let _ = pacs(&server, "TESTS", &trusting(&hospital, None)).succeeded();

    for (mut stream, sent) in strangers.into_iter().zip(sent) {
        let mut answer = Vec::new();
        // Closed or reset within the limit of the hand-shake, with an alert at most.
        let ended = stream.read_to_end(&mut answer);
        let is_late = ended.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
        assert!(!is_late && answer.len() <= 7, "{sent:?}: {answer:?}");
    }
    server.wait_for_log("the peer does not speak TLS");
    let plain = Association::connect(server.dicom_tls(), &Proposal::new(verification()));
    assert!(plain.is_err());
}

#[test]
fn the_tool_says_when_one_side_speaks_tls_and_the_other_does_not() {
    let hospital = Hospital::new();
    let server = hospital.start("off", "");
    let pacs = |peer: SocketAddr, options: &[&str]| {
        let peer = format!("PACS@{peer}");
        let mut pacs = Command::new(workspace::binary("pacs"));
        run(pacs.args(["echo", &peer]).args(options)).text
    };

    let to_plain = pacs(server.dicom(), &["--tls", "--tls-insecure"]);
    let to_tls = pacs(server.dicom_tls(), &[]);

    assert!(
        to_plain.contains("TLS: the peer does not speak TLS"),
        "{to_plain}"
    );
    assert!(to_tls.contains("it may want TLS"), "{to_tls}");
}

/// `pacs ae test` of `peer`: whether it went well, and each layer with what was told of it.
fn layers(peer: &str, options: &[&str]) -> (Option<i32>, Vec<(String, bool, String)>) {
    let mut pacs = Command::new(workspace::binary("pacs"));
    let words = ["ae", "test", peer, "--json"];
    let output = pacs.args(words).args(options).output();
    let output = output.expect("pacs runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"));
    let results = lines.filter(|line: &serde_json::Value| line["kind"] == "result");
    let layers = results.map(|line| {
        let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
        (text("layer"), line["ok"] == true, text("detail"))
    });
    (output.status.code(), layers.collect())
}

#[test]
fn the_test_of_an_ae_tells_what_stands_between_us_and_its_tls() {
    let hospital = Hospital::new();
    let own = hospital.trusted.make(&Wanted::new("tool"));
    let [certificate, key] = own.files();
    let server = hospital.start("required", "");
    let (secured, plain) = (server.dicom_tls(), server.dicom());
    let (secured, plain) = (format!("PACS@{secured}"), format!("PACS@{plain}"));
    let own = ["--tls", "--tls-cert", certificate, "--tls-key", key];
    let with = |more: &[&'static str], ca| {
        let ca = ["--tls-ca", ca];
        [&own[..], &ca, more].concat()
    };
    let [trusted, stranger] = [hospital.trusted.file(), hospital.stranger.file()];

    let (code, all) = layers(&secured, &with(&[], trusted));
    assert_eq!(code, Some(0), "{all:?}");
    let names: Vec<&str> = all.iter().map(|(layer, ..)| layer.as_str()).collect();
    let expected = [
        "name",
        "TCP",
        "TLS",
        "association",
        "presentation context",
        "C-ECHO",
    ];
    assert_eq!(names, expected);
    assert!(all.iter().all(|(_, is_good, _)| *is_good), "{all:?}");

    for (peer, options, reason) in [
        (&secured, with(&[], stranger), "not trusted"),
        (
            &secured,
            with(&["--tls-name", "other.example"], trusted),
            "another name",
        ),
        (&plain, with(&[], trusted), "does not speak TLS"),
    ] {
        let (code, told) = layers(peer, &options);

        assert_eq!(code, Some(3), "{told:?}");
        let good: Vec<bool> = told.iter().map(|(_, is_good, _)| *is_good).collect();
        assert_eq!(good, [true, true, false], "{told:?}");
        let (layer, _, detail) = &told[2];
        assert_eq!(layer, "TLS");
        assert!(detail.contains(reason), "{reason}: {detail}");
    }
}

#[test]
fn the_test_of_an_ae_dials_it_as_the_configuration_says() {
    let hospital = Hospital::new();
    let server = hospital.start("required", "");
    let bound = format!(
        "tls = true\ncertificate_sha256 = [\"{}\"]",
        hospital.archive.sha256
    );
    let other = format!("tls = true\ncertificate_sha256 = [\"{}\"]", "0a".repeat(32));
    let table =
        ae("ARCHIVE", server.dicom_tls(), &bound) + &ae("OTHER", server.dicom_tls(), &other);
    let config = hospital.folder().join("tool.toml");
    std::fs::write(&config, hospital.config("required", &table)).expect("a file");
    let config = ["--config", config.to_str().expect("UTF-8")];

    let (code, right) = layers("ARCHIVE", &config);
    let (refused, wrong) = layers("OTHER", &config);

    assert_eq!((code, right.len()), (Some(0), 6), "{right:?}");
    assert_eq!((refused, wrong.len()), (Some(3), 3), "{wrong:?}");
    assert!(
        wrong[2].2.contains("not the one that is pinned"),
        "{wrong:?}"
    );
}

/// A server whose listeners with and without TLS are open to configured AEs alone.
fn guarded(hospital: &Hospital, table: &str) -> Server {
    let config = hospital
        .config("optional", table)
        .replace("127.0.0.1:0", "0.0.0.0:0");
    let arguments = ["--dicom", "0.0.0.0:0", "--insecure-dicom"];
    Server::start(Options {
        config,
        arguments: arguments.map(str::to_owned).into(),
        ..Options::default()
    })
}

/// The port of a listener of every address, on this machine.
fn here(address: SocketAddr) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], address.port()))
}

const NOWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9);

#[test]
fn a_title_and_a_certificate_that_do_not_belong_together_are_rejected_and_logged() {
    let hospital = Hospital::new();
    let make = |name| hospital.trusted.make(&Wanted::new(name));
    let (ct, ws, other) = (make("ct"), make("ws"), make("other"));
    let table = [
        ae(
            "CT1",
            NOWHERE,
            &format!("certificate_sha256 = [\"{}\"]", ct.sha256),
        ),
        ae("WS1", NOWHERE, "certificate_subject = \"CN=ws\""),
        ae("OLD", NOWHERE, ""),
        ae("FAR", NOWHERE, "source_addresses = [\"192.0.2.0/24\"]"),
    ];
    let server = guarded(&hospital, &table.concat());
    let pacs = |title: &str, own: Option<&Certificate>| {
        let peer = format!("PACS@{}", here(server.dicom_tls()));
        let mut pacs = Command::new(workspace::binary("pacs"));
        let words = ["echo", &peer, "--ae-title", title, "--tls"];
        run(pacs.args(words).args(trusting(&hospital, own)))
    };

    let _ = pacs("CT1", Some(&ct)).succeeded();
    let _ = pacs("WS1", Some(&ws)).succeeded();
    let _ = pacs("OLD", None).succeeded();
    for (title, own, reason) in [
        ("CT1", Some(&other), "bound to another certificate"),
        ("CT1", None, "bound to another certificate"),
        ("WS1", Some(&other), "bound to another certificate"),
        ("WS1", Some(&ct), "bound to another AE title"),
        ("OLD", Some(&ct), "bound to another AE title"),
        ("OLD", Some(&ws), "bound to another AE title"),
        ("NEW", Some(&other), "calling AE title is unknown"),
        ("FAR", Some(&other), "bound to other addresses"),
    ] {
        let said = pacs(title, own);

        // What the peer is told is the same in each case.
        let told = "association: rejected permanently: calling AE title not recognized";
        assert!(said.text.contains(told), "{title} {own:?}: {}", said.text);
        server.wait_for_log(reason);
    }
    let (_, metrics) = server.get("/metrics");
    for (reason, count) in [
        ("certificate", 3),
        ("borrowed_certificate", 3),
        ("address", 1),
    ] {
        let line = format!("pacs_association_refusals_total{{reason=\"{reason}\"}} {count}");
        assert!(metrics.contains(&line), "{line}\n{metrics}");
    }
}

#[test]
fn ten_thousand_guesses_are_looked_at_once_a_second_and_raise_an_alarm() {
    let hospital = Hospital::new();
    let own = hospital.trusted.make(&Wanted::new("ct"));
    let bound = format!("certificate_sha256 = [\"{}\"]", own.sha256);
    let table = ae("CT1", NOWHERE, &bound) + &ae("SECRET", NOWHERE, "");
    let mut server = guarded(&hospital, &table);
    let guess = |calling: String| {
        let proposal = Proposal {
            calling,
            ..Proposal::new(verification())
        };
        Association::connect(here(server.dicom()), &proposal)
    };
    let began = Instant::now();
    let mut looked_at = 0;

    for n in 0..10_000 {
        match guess(format!("GUESS{n}")) {
            // Calling AE title not recognized, permanent.
            Err(WireError::Rejected {
                result: 1,
                source: 1,
                reason: 3,
            }) => looked_at += 1,
            // Temporary congestion, transient.
            Err(WireError::Rejected {
                result: 2,
                source: 3,
                reason: 1,
            }) => {}
            other => panic!("{other:?}"),
        }
    }
    // While it goes on, a right guess is not told from a wrong one.
    let right = guess("SECRET".to_owned());

    let seconds = began.elapsed().as_secs();
    assert!(looked_at <= 10 + 1 + seconds, "{looked_at} in {seconds} s");
    let is_told = matches!(right, Err(WireError::Rejected { result: 2, .. }));
    assert!(
        is_told || right.is_ok_and(|_| seconds > 0),
        "neither told nor let in"
    );
    server.wait_for_log("title_guessing");
    let lines = server.log().lines().count() as u64;
    assert!(lines < 100 + 4 * looked_at, "{lines} lines of log");
    let (_, metrics) = server.get("/metrics");
    assert!(
        metrics.contains("pacs_title_guessing_alarms_total"),
        "{metrics}"
    );
    assert!(
        !metrics.contains("pacs_title_guessing_alarms_total 0"),
        "{metrics}"
    );
    // Who holds the key of a certificate is served meanwhile, from the same address.
    let peer = format!("PACS@{}", here(server.dicom_tls()));
    let mut pacs = Command::new(workspace::binary("pacs"));
    let words = ["echo", &peer, "--ae-title", "CT1", "--tls"];
    let _ = run(pacs.args(words).args(trusting(&hospital, Some(&own)))).succeeded();
    assert!(server.is_alive());
}

#[test]
fn the_ae_table_is_replaced_on_sighup_and_a_bad_one_replaces_nothing() {
    let hospital = Hospital::new();
    let own = hospital.trusted.make(&Wanted::new("ct"));
    let bound = format!("certificate_sha256 = [\"{}\"]", own.sha256);
    let first = ae("OLD", NOWHERE, "") + &ae("SECOND", NOWHERE, "");
    let mut server = guarded(&hospital, &first);
    let (plain, secured) = (here(server.dicom()), here(server.dicom_tls()));
    let associate = |calling: &str| {
        let find = Context::new(uid::STUDY_ROOT_FIND, uid::IMPLICIT_LITTLE_ENDIAN);
        let proposal = Proposal {
            calling: calling.to_owned(),
            ..Proposal::new(vec![find])
        };
        Association::connect(plain, &proposal)
    };
    let find_status = |association: &mut Association| {
        let keys = Keys::at("STUDY").with(tag::PATIENT_ID, "");
        let found = association.find(uid::STUDY_ROOT_FIND, &keys);
        found.map(|(_, status)| status).expect("an answer")
    };
    let is_new_known = || {
        let peer = format!("PACS@{secured}");
        let mut pacs = Command::new(workspace::binary("pacs"));
        let words = ["echo", &peer, "--ae-title", "NEW", "--tls"];
        run(pacs.args(words).args(trusting(&hospital, Some(&own)))).success
    };
    let table = |table: &str| {
        let config = hospital.config("optional", table);
        config.replace("127.0.0.1:0", "0.0.0.0:0")
    };
    let mut standing = associate("OLD").expect("an association");
    let before = find_status(&mut standing);
    let was_new_known = is_new_known();

    server.rewrite_config(table(&ae("NEW", NOWHERE, &bound)) + "[scrub]\ndays = 7\n");
    server.hang_up();
    server.wait_for_log("\"aes\":1");

    assert_eq!((before, was_new_known), (0, false));
    assert!(is_new_known());
    assert!(matches!(associate("OLD"), Err(WireError::Rejected { .. })));
    // Not authorized (PS3.7 C.5.9): a right that is withdrawn counts at once.
    assert_eq!(find_status(&mut standing), 0x0124);
    server.wait_for_log("\"settings\":\"scrub\"");
    server.rewrite_config(table(&first.replace("\"find\"", "\"fidn\"")));
    server.hang_up();
    server.wait_for_log("AE table and certificates could not be read again");
    assert!(is_new_known());
    let missing = ae("OLD", NOWHERE, "tls = true\ntls_ca = \"missing.pem\"");
    server.rewrite_config(table(&missing));
    server.hang_up();
    server.wait_for_log("missing.pem: cannot be read");
    assert!(is_new_known());
    assert!(matches!(associate("OLD"), Err(WireError::Rejected { .. })));
    let (_, metrics) = server.get("/metrics");
    assert!(metrics.contains("pacs_reloads_failed_total 2"), "{metrics}");
}

#[test]
fn a_title_that_must_come_over_tls_is_rejected_without() {
    let hospital = Hospital::new();
    let server = hospital.start("off", &ae("TESTS", NOWHERE, "tls = true"));

    let plain = server.associate(verification());

    assert!(
        matches!(
            plain,
            Err(WireError::Rejected {
                result: 1,
                source: 1,
                reason: 3
            })
        ),
        "{plain:?}"
    );
    let _ = pacs(&server, "TESTS", &trusting(&hospital, None)).succeeded();
}

#[test]
fn move_destinations_are_titles_of_the_table_and_never_addresses() {
    let victim = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    victim.set_nonblocking(true).expect("a socket");
    let server = Server::start(Options::default());
    let contexts = vec![Context::new(
        uid::STUDY_ROOT_MOVE,
        uid::IMPLICIT_LITTLE_ENDIAN,
    )];
    let mut association = server.associate(contexts).expect("an association");
    let study = Keys::at("STUDY").with(tag::STUDY, &Slice::new(1, 1).study);
    let port = victim.local_addr().expect("an address").port();

    for destination in [
        "127.0.0.1",
        "::1",
        "169.254.169.254",
        "localhost",
        "PACS",
        &format!("127.0.0.1:{port}"),
        &format!("[::1]:{port}"),
        &format!("A@127.1:{port}"),
    ] {
        let moved = association.move_to(&study, destination).expect("an answer");

        assert_eq!(moved.status, 0xA801, "{destination}");
    }
    let reached = victim.accept().map(|_| ());
    assert!(
        reached.is_err(),
        "a packet left for an address from the wire"
    );
}

#[test]
fn destinations_that_lead_into_this_machine_by_name_or_in_a_circle_are_refused_at_start() {
    let port = free_port();
    for (address, reason) in [
        // No form of an address, so that a resolver makes one of it.
        ("127.1:104", "loopback"),
        ("2130706433:104", "loopback"),
        ("0xa9fea9fe:104", "link-local"),
        ("0.0.0.0:104", "this machine itself"),
        ("224.0.0.1:104", "no single machine"),
        (&format!("127.0.0.1:{port}"), "a listener of this server"),
    ] {
        let home = workspace::temporary_folder();
        let options = Options {
            config: format!("[[dicom.ae]]\ntitle = \"A\"\naddress = \"{address}\"\n"),
            arguments: vec!["--dicom".to_owned(), format!("127.0.0.1:{port}")],
            ..Options::default()
        };

        let (status, errors) = start_refused(&options, home.path());

        assert_eq!(status.code(), Some(2), "{address}: {errors}");
        assert!(errors.contains(reason), "{address}: {errors}");
    }
}
