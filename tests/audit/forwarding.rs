//! The audit trail at a repository elsewhere: nothing is lost, the order is kept, and nobody takes
//! it who is not the one.

use pacs_tests::certificates::{Hospital, Wanted};
use pacs_tests::peers::{self, Listener, free_port};
use pacs_tests::repository::{Ending, Repository, number, once, xml};
use pacs_tests::server::{Options, PATIENCE, Server};
use pacs_tests::signed_in::{CHEAP_PASSWORDS, pacs, send};
use pacs_tests::stow::ask;
use pacs_tests::workspace;
use serde_json::{Value, json};
use std::process::Command;
use std::time::{Duration, Instant};

fn start(settings: &str) -> Server {
    Server::start(Options {
        config: format!("{CHEAP_PASSWORDS}{settings}"),
        ..Options::default()
    })
}

/// Somebody fails to sign in, so often, and the trail says so.
fn act(server: &Server, times: usize) {
    for _ in 0..times {
        let typed = json!({"user": "nobody", "password": "wrong"});
        let answer = send(server, "POST", "/api/v1/session", &[], &typed);
        assert_eq!(answer.status, 401);
    }
}

fn is_sign_in(message: &str) -> bool {
    message.contains("csd-code=\"signed_in\"")
}

fn health(server: &Server) -> Value {
    let answer = ask(server.http(), "GET", "/healthz", &[], b"");
    answer.json()["audit_forwarding"].clone()
}

/// Waits until the server says so of forwarding.
fn wait_for_health(server: &Server, is_so: impl Fn(&Value) -> bool) -> Value {
    // Health is asked for, and tells nobody when it changes.
    let deadline = Instant::now() + PATIENCE;
    loop {
        let shown = health(server);
        if is_so(&shown) {
            return shown;
        }
        assert!(Instant::now() < deadline, "{shown}\n{}", server.log());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// What came is the whole trail: each message the one of its record, in order.
fn compare(messages: &[String], server: &Server) {
    let words = ["audit", "list", "--message", "--json", "--count", "1000"];
    let said = pacs(server, &words).succeeded().text;
    let trail = said.lines().filter_map(|line| {
        let line: Value = serde_json::from_str(line).ok()?;
        Some((
            line["number"].as_u64()?,
            line["message"].as_str()?.to_owned(),
        ))
    });
    let mut trail: Vec<(u64, String)> = trail.collect();
    trail.reverse();
    let came: Vec<(u64, String)> = once(messages)
        .into_iter()
        .map(|message| (number(message), xml(message).to_owned()))
        .collect();
    assert!(came.len() > 1 && trail.len() >= came.len(), "{said}");
    assert_eq!(came, trail[..came.len()]);
    let numbers = came.iter().map(|(number, _)| *number);
    assert!(numbers.eq(1..=u64::try_from(came.len()).expect("few")));
}

#[test]
fn a_repository_that_is_killed_gets_everything_in_order_and_no_act_waits_for_it() {
    let hospital = Hospital::new();
    let own = hospital.trusted.make(&Wanted::new("repository"));
    let clients = Some(&hospital.trusted);
    let mut repository = Repository::start(&own, clients, Ending::Answers);
    let server = start(&repository.settings(&hospital, "needs_close_notify = true"));
    act(&server, 2);
    repository.wait_until(|came| came.iter().filter(|it| is_sign_in(it)).count() >= 2);

    repository.kill();
    act(&server, 3);
    let shown = wait_for_health(&server, |shown| shown["trouble"] != Value::Null);
    assert!(shown["waiting"].as_u64() >= Some(3), "{shown}");
    assert_eq!(shown["alarm"], false);
    repository.restart(None);

    repository.wait_until(|came| once(came).into_iter().filter(|it| is_sign_in(it)).count() >= 5);
    let shown = wait_for_health(&server, |shown| shown["waiting"] == 0);
    assert_eq!(shown["trouble"], Value::Null);
    compare(&repository.messages(), &server);
    let metrics = ask(server.http(), "GET", "/metrics", &[], b"");
    let metrics = String::from_utf8(metrics.body).expect("text");
    assert!(
        metrics.contains("pacs_audit_forward_failures_total{reason="),
        "{metrics}"
    );
    assert!(!metrics.contains("pacs_audit_forwarded_total 0"));
}

#[test]
fn a_server_that_is_killed_sends_again_what_nobody_is_known_to_have_taken() {
    let hospital = Hospital::new();
    let own = hospital.trusted.make(&Wanted::new("repository"));
    let repository = Repository::start(&own, None, Ending::Closes);
    let mut server = start(&repository.settings(&hospital, ""));
    act(&server, 3);
    repository.wait_until(|came| came.iter().filter(|it| is_sign_in(it)).count() >= 3);

    server.kill();
    server.restart();
    act(&server, 1);
    repository.wait_until(|came| once(came).into_iter().filter(|it| is_sign_in(it)).count() >= 4);
    let sent = repository.messages().len();
    assert!(sent > once(&repository.messages()).len(), "some came twice");

    // One that ends in order sends its last record too, and the next run nothing of it again.
    assert!(server.stop().success());
    let before = repository.messages();
    assert!(
        before
            .last()
            .expect("some")
            .contains("csd-code=\"application_stopped\"")
    );
    server.restart();
    repository.wait_until(|came| came.len() > before.len());
    let first = number(&repository.messages()[before.len()]);
    assert_eq!(first, number(before.last().expect("some")) + 1);
    compare(&repository.messages(), &server);
}

#[test]
fn a_repository_that_cuts_connections_off_loses_nothing() {
    let hospital = Hospital::new();
    let own = hospital.trusted.make(&Wanted::new("repository"));
    let mut repository = Repository::start(&own, None, Ending::CutsAfter(2));
    let server = start(&repository.settings(&hospital, ""));
    act(&server, 4);
    let shown = wait_for_health(&server, |shown| shown["trouble"] != Value::Null);
    assert!(
        shown["waiting"].as_u64() >= Some(4),
        "nothing counts as taken: {shown}"
    );
    repository.kill();

    repository.end_as(Ending::Answers);
    repository.restart(None);

    repository.wait_until(|came| once(came).into_iter().filter(|it| is_sign_in(it)).count() >= 4);
    compare(&repository.messages(), &server);
}

#[test]
fn nobody_gets_messages_who_is_not_the_repository() {
    let hospital = Hospital::new();
    let stranger = hospital.stranger.make(&Wanted::new("impostor"));
    let other = hospital.trusted.make(&Wanted {
        host: "other.example".to_owned(),
        ..Wanted::new("other")
    });
    let own = hospital.trusted.make(&Wanted::new("repository"));
    let mut repository = Repository::start(&stranger, None, Ending::Answers);
    let mut server = start(&repository.settings(&hospital, ""));

    for (trouble, next) in [("unknown_authority", &other), ("wrong_name", &own)] {
        wait_for_health(&server, |shown| shown["trouble"] == trouble);
        assert_eq!(repository.messages(), Vec::<String>::new());
        assert_eq!(repository.connections(), 0);
        repository.kill();
        repository.restart(Some(next));
    }
    server.wait_for_log("from an authority that is not trusted");

    // The one that it is gets all, and learns of the others.
    repository.wait_until(|came| {
        came.iter()
            .any(|it| it.contains("csd-code=\"node_refused\""))
    });
    let text = repository.messages().concat();
    assert!(text.contains("csd-code=\"110126\""), "{text}");

    // One that asks for a certificate of another authority says that ours is none.
    repository.kill();
    let clients = Some(&hospital.stranger);
    let strict = Repository::start(&own, clients, Ending::Answers);
    assert!(server.stop().success());
    server.rewrite_config(format!(
        "{CHEAP_PASSWORDS}{}",
        strict.settings(&hospital, "")
    ));
    server.restart();
    wait_for_health(&server, |shown| shown["trouble"] == "alert");
    assert_eq!(strict.messages(), Vec::<String>::new());
}

/// rsyslog, whose receiver with TLS is the one of most systems.
#[test]
fn rsyslog_takes_the_trail_over_mutual_tls_and_every_message_fits_the_schema() {
    let Some(rsyslogd) = peers::rsyslogd() else {
        return;
    };
    let Some(python) = peers::python() else {
        return;
    };
    let hospital = Hospital::new();
    let own = hospital.trusted.make(&Wanted::new("repository"));
    let folder = workspace::temporary_folder();
    let (port, output) = (free_port(), folder.path().join("audit.log"));
    let config = folder.path().join("rsyslog.conf");
    let [certificate, key] = own.files();
    let text = format!(
        "global(workDirectory=\"{folder}\" maxMessageSize=\"64k\"\n\
         parser.escapeControlCharactersOnReceive=\"off\"\n\
         defaultNetstreamDriverCAFile=\"{ca}\"\n\
         defaultNetstreamDriverCertFile=\"{certificate}\"\n\
         defaultNetstreamDriverKeyFile=\"{key}\")\n\
         module(load=\"imtcp\" streamDriver.name=\"gtls\" streamDriver.mode=\"1\"\n\
         streamDriver.authMode=\"x509/certvalid\")\n\
         template(name=\"whole\" type=\"string\" string=\"%rawmsg%\\n\")\n\
         ruleset(name=\"audit\") {{ action(type=\"omfile\" file=\"{output}\" template=\"whole\"\n\
         asyncWriting=\"off\" flushOnTXEnd=\"on\") }}\n\
         input(type=\"imtcp\" address=\"127.0.0.1\" port=\"{port}\" ruleset=\"audit\")\n",
        folder = folder.path().display(),
        ca = hospital.trusted.file(),
        output = output.display(),
    );
    std::fs::write(&config, text).expect("a file");
    let run = || {
        let mut command = Command::new(&rsyslogd);
        command.args(["-n", "-iNONE", "-f"]).arg(&config);
        Listener::start(&mut command, port)
    };
    let came = || {
        let text = std::fs::read_to_string(&output).unwrap_or_default();
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let receiver = run();
    let [certificate, key] = hospital.archive.files();
    let server = start(&format!(
        "[audit.syslog]\naddress = \"127.0.0.1:{port}\"\ntls_ca = \"{}\"\n\
         certificate = \"{certificate}\"\nkey = \"{key}\"\nenterprise_number = 32473\n",
        hospital.trusted.file()
    ));
    act(&server, 2);
    wait_for_health(&server, |shown| {
        shown["waiting"] == 0 && came().iter().filter(|it| is_sign_in(it)).count() >= 2
    });

    drop(receiver);
    act(&server, 2);
    let _receiver = run();

    wait_for_health(&server, |shown| {
        let came = came();
        let sign_ins = once(&came).into_iter().filter(|it| is_sign_in(it)).count();
        shown["waiting"] == 0 && sign_ins >= 4
    });
    compare(&came(), &server);
    let messages = came();
    assert!(
        messages
            .iter()
            .all(|it| it.contains("[record@32473 number=\""))
    );
    let xml: Vec<String> = messages.iter().map(|it| xml(it).to_owned()).collect();
    let read = super::read(&python, &xml);
    assert!(
        read.iter().all(|said| said["error"] == Value::Null),
        "{read:?}"
    );
}
