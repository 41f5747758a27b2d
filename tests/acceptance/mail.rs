//! Who has to look at an emergency is told by e-mail, by a foreign mail server, over TLS and with a
//! password; of the patient it says nothing.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use pacs_tests::certificates::{Certificate, Hospital as Certificates, Wanted};
use pacs_tests::edges::until;
use pacs_tests::peers::python;
use pacs_tests::portal::PASSWORD;
use pacs_tests::server::PATIENCE;
use pacs_tests::workspace;
use serde_json::Value;

use crate::hospital::{Hospital, read};
use crate::people::break_glass;

const MAIL_PASSWORD: &str = "the password of the archive";

/// aiosmtpd.
struct MailServer {
    child: Child,
    said: BufReader<ChildStdout>,
    port: u16,
}

impl MailServer {
    fn start(python: &Path, own: &Certificate) -> Self {
        let mut script = Command::new(python);
        // It warns of what a test does not mind.
        script.args(["-W", "ignore"]);
        script.arg(workspace::root().join("tests/mail/server.py"));
        script.args(own.files()).args(["archive", MAIL_PASSWORD]);
        let mut child = script.stdout(Stdio::piped()).spawn().expect("python runs");
        let said = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut server = Self {
            child,
            said,
            port: 0,
        };
        server.port = server.line().trim().parse().expect("a port");
        server
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.said.read_line(&mut line).expect("a line");
        line
    }

    /// The next messages, in the order of their addresses.
    fn messages(&mut self, count: usize) -> Vec<Value> {
        let lines = (0..count).map(|_| serde_json::from_str(&self.line()).expect("JSON"));
        let mut messages: Vec<Value> = lines.collect();
        messages.sort_by_key(|message| message["to"].to_string());
        messages
    }

    fn settings(&self, certificates: &Certificates, password: &Path) -> String {
        format!(
            "[mail]\nserver = \"127.0.0.1:{}\"\ntls_ca = \"{}\"\nuser = \"archive\"\n\
             password_file = \"{}\"\nfrom = \"pacs@archive.example\"\n\
             auditors = [\"auditor@late.example\", \"gone@refused.example\"]\n\
             [mail.organisations]\n\
             001 = [\"head@hospital-1.example\"]\n006 = [\"head@hospital-6.example\"]\n",
            self.port,
            certificates.trusted.file(),
            password.display()
        )
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A message tells in three languages who opened a patient, why, and by when somebody has to look
/// at it; who the patient is it does not.
fn tells(message: &Value, opened: &Value, patient: &str) {
    assert_eq!(message["from"], "pacs@archive.example");
    assert_eq!(message["defects"], serde_json::json!([]), "{message}");
    let headers = &message["headers"];
    assert_eq!(headers["auto-submitted"], "auto-generated");
    let subject = headers["subject"].as_str().expect("a subject");
    assert!(subject.starts_with("Экстренный доступ"), "{subject}");
    let id = opened["id"].as_str().expect("an ID");
    let body = message["body"].as_str().expect("a text");
    assert_eq!(body.matches("expert").count(), 6, "{body}");
    for said in [
        "не может дать согласие",
        "макулдук бере албайт",
        "cannot agree",
        id,
    ] {
        assert!(body.contains(said), "{said}: {body}");
    }
    let due = opened["review_due"].as_str().expect("a day").to_owned();
    let [year, month, day] = due.split('-').collect::<Vec<_>>()[..] else {
        panic!("{due}");
    };
    assert_eq!(body.matches(&format!("{day}.{month}.{year}")).count(), 3);
    for of_patient in ["ZHEENBEKOV", "Жээнбеков", patient] {
        assert!(!message.to_string().contains(of_patient), "{message}");
    }
}

#[test]
fn whoever_has_to_look_at_an_emergency_is_told_of_it_by_e_mail() {
    let Some(python) = python() else {
        return;
    };
    let certificates = Certificates::new();
    let own = certificates.trusted.make(&Wanted::new("mail"));
    let mut server = MailServer::start(&python, &own);
    let password = certificates.folder().join("password");
    std::fs::write(&password, MAIL_PASSWORD).expect("a file");
    let settings = server.settings(&certificates, &password);
    let Some(mut hospital) = Hospital::with(&[], &settings) else {
        return;
    };
    let expert = hospital.portal.user("expert", &["expert@001"]);

    let opened = break_glass(&expert, &hospital.patient, PASSWORD);

    assert_eq!(opened.status, 201, "{}", opened.json());
    let id = opened.json()["id"].as_str().expect("an ID").to_owned();
    let messages = server.messages(2);
    let to: Vec<&Value> = messages.iter().map(|message| &message["to"][0]).collect();
    assert_eq!(to, ["auditor@late.example", "head@hospital-1.example"]);
    for message in &messages {
        tells(message, &opened.json(), &hospital.patient);
    }
    let ids = messages
        .iter()
        .map(|message| &message["headers"]["message-id"]);
    let ids: std::collections::BTreeSet<String> = ids.map(Value::to_string).collect();
    assert_eq!(ids.len(), 1, "one act has one: {ids:?}");
    let log = &hospital.portal.server;
    log.wait_for_log("mail_refused");
    // It was put off once, and is told of for good when that is kept: before, it may be told again.
    until(PATIENCE, "that it is kept who was told", || {
        let (_, metrics) = log.get("/metrics");
        metrics.contains("pacs_mail_failing 0").then_some(())
    });

    // After a restart nobody is told of it again, and of what follows they are, however long the
    // server does not know us.
    assert!(hospital.portal.server.stop().success());
    std::fs::write(&password, "another one").expect("a file");
    hospital.portal.server.restart();
    let expert = hospital.portal.again("expert");
    let closed = read(&expert, "/session/break-glass");
    assert_eq!(
        closed["items"].as_array().map(Vec::len),
        Some(1),
        "{closed}"
    );
    let again = break_glass(&expert, &hospital.patient, PASSWORD);
    assert_eq!(again.status, 201, "{}", again.json());
    hospital.portal.server.wait_for_log("mail_not_sent");
    assert!(hospital.portal.server.stop().success());
    std::fs::write(&password, MAIL_PASSWORD).expect("a file");
    hospital.portal.server.restart();
    let second = again.json()["id"].as_str().expect("an ID").to_owned();
    for message in server.messages(2) {
        let body = message["body"].as_str().expect("a text");
        assert!(body.contains(&second) && !body.contains(&id), "{body}");
    }
}
