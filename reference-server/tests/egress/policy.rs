//! The table of policy.txt against the server: each route for everybody, for a study of their own
//! organisation and for another's; and the ties that open a foreign one.

use crate::devices::{asked, passcode};
use crate::people::code;
use crate::site::{Reply, Sent, Site, now};
use crate::table::{Table, operations};
use chrono::Days;
use pacs_core::examination::Reason;
use pacs_core::patient::PatientKey;
use pacs_core::role::{Agent, Grant, Reach, Role};
use pacs_store::registry::accounts::{Emergency, put};
use pacs_store::registry::consents::{Ground, NewConsent};
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

pub(crate) const TABLE: Table = Table::new("policy.txt", include_str!("policy.txt"));

/// Studies of an organisation's own, and another's.
pub(crate) const OWN: &str = "2.25.6";
pub(crate) const FOREIGN: &str = "2.25.1";

/// The cells of each class.
pub(crate) fn classes() -> BTreeMap<&'static str, BTreeMap<&'static str, (char, char)>> {
    let mut classes: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
    for line in TABLE.part("classes") {
        let mut words = line.split_whitespace();
        let class = classes.entry(words.next().unwrap()).or_default();
        for word in words {
            let (who, cell) = word.split_once('=').unwrap();
            class.insert(who, cell_of(cell));
        }
    }
    for (name, cells) in &classes {
        let known: BTreeSet<_> = cells.keys().copied().collect();
        let all: BTreeSet<_> = TABLE.words("who").into_iter().collect();
        assert_eq!(known, all, "cells of the class {name}");
    }
    classes
}

pub(crate) fn cell_of(text: &str) -> (char, char) {
    let mut letters = text.chars();
    (letters.next().unwrap(), letters.next().unwrap())
}

/// What somebody shows.
#[derive(Debug, Clone)]
pub(crate) enum Shows {
    Nothing,
    Session(String),
    Token(String),
}

impl Shows {
    pub(crate) fn headers(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Nothing => Vec::new(),
            Self::Session(secret) => {
                let token = blake3::derive_key(
                    "pacs 2026-11 token against requests of other sites",
                    secret.as_bytes(),
                );
                let token = blake3::Hash::from_bytes(token).to_hex().to_string();
                let cookie = format!("__Host-pacs_session={secret}");
                vec![("Cookie", cookie), ("X-CSRF-Token", token)]
            }
            Self::Token(secret) => vec![("Authorization", format!("Bearer {secret}"))],
        }
    }

    pub(crate) async fn ask(&self, site: &Site, method: &str, path: &str) -> Reply {
        let fields = [("Accept", "*/*".to_owned())];
        self.send(site, (method, path), &fields, &serde_json::Value::Null)
            .await
    }

    /// The same with more lines of the head, and a body of JSON.
    pub(crate) async fn send(
        &self,
        site: &Site,
        (method, path): (&str, &str),
        fields: &[(&'static str, String)],
        body: &serde_json::Value,
    ) -> Reply {
        let own = self.headers();
        let all = own.iter().chain(fields);
        let all: Vec<(&str, &str)> = all.map(|(name, value)| (*name, value.as_str())).collect();
        site.request(method, path, &all, body).await
    }
}

pub(crate) fn grant(role: Role, at: &str) -> Vec<Grant> {
    let reach = if matches!(role, Role::Auditor | Role::MohAdmin) {
        Reach::National
    } else {
        Reach::Organisation(code(at))
    };
    vec![Grant::new(role, reach)]
}

/// A token, made by the tool while the server runs.
pub(crate) fn token(site: &Site, name: &str, sees: &[&str]) -> String {
    let mut create = Command::new(env!("CARGO_BIN_EXE_pacs"));
    create.args([
        "--json",
        "token",
        "create",
        name,
        "--scope",
        "find,get,hide,store,commit",
    ]);
    create
        .arg("--data")
        .arg(site.folder.path().join("data"))
        .args(sees);
    let said = crate::foreign::run(&mut create);
    let line: serde_json::Value = serde_json::from_str(said.lines().next().unwrap()).unwrap();
    line["secret"].as_str().unwrap().to_owned()
}

pub(crate) async fn everybody(site: &Site) -> BTreeMap<&'static str, Shows> {
    let mut all = BTreeMap::new();
    for who in TABLE.words("who") {
        let role = serde_json::from_value::<Role>(serde_json::json!(who));
        let shows = match (who, role) {
            (_, Ok(role)) => {
                let is_doctor = matches!(role, Role::Radiologist | Role::Expert);
                Shows::Session(site.sign_in(who, grant(role, "006"), is_doctor).await)
            }
            ("program_own", _) => Shows::Token(token(site, who, &["--organisation", "006"])),
            ("program_everything", _) => Shows::Token(token(site, who, &["--everything"])),
            ("program_nothing", _) => Shows::Token(token(site, who, &[])),
            _ => Shows::Nothing,
        };
        all.insert(who, shows);
    }
    all
}

/// The configuration of an AE that sees everything, and of one to move to, which listens.
pub(crate) async fn peers() -> String {
    let centre = "[[dicom.ae]]\ntitle = \"CENTRE\"\naddress = \"127.0.0.1:1\"\n\
                  allow = [\"find\", \"get\", \"move\", \"worklist\"]\nmove_to = [\"SINK\"]\n\
                  sees = \"everything\"\n";
    let mute = "[[dicom.ae]]\ntitle = \"MUTE\"\naddress = \"127.0.0.1:1\"\n\
                allow = [\"echo\", \"store\"]\nsees = \"everything\"\n";
    let sink = crate::devices::sink().await;
    let sink = format!("[[dicom.ae]]\ntitle = \"SINK\"\naddress = \"127.0.0.1:{sink}\"\n");
    format!("{centre}{mute}{sink}")
}

/// A site with one study of each organisation.
pub(crate) async fn site() -> Site {
    let site = Site::open(&peers().await).await;
    bound(&site, OWN, "006", "NATHOS_CT1", "Асанов").await;
    bound(&site, FOREIGN, "001", "KRKL_CT1", "Сыдыков").await;
    site
}

/// A study of an examination that one organisation ordered and made.
pub(crate) async fn bound(
    site: &Site,
    study: &str,
    of: &str,
    sender: &str,
    family: &str,
) -> PatientKey {
    let patient = site.patient(family).await;
    let id = site.order(patient, ("op", of), of).await.to_string();
    let sent = Sent {
        modality: "CT",
        sender,
        study,
        number: 1,
        accession: &id,
        patient: ("", ""),
    };
    site.send(&sent).await;
    assert!(site.matched(study).await);
    patient
}

fn path(template: &str, study: &str) -> String {
    let path = template
        .replace("{study}", study)
        .replace("{series}", &format!("{study}.1"))
        .replace("{instance}", &format!("{study}.1.1"))
        .replace("{frames}", "1")
        .replace("{path}", "00281052")
        .replace("{transaction}", "2.25.77")
        .replace("{workitem}", "2.25.78");
    match path.as_str() {
        "/wado" => format!(
            "/wado?requestType=WADO&studyUID={study}&seriesUID={study}.1&objectUID={study}.1.1"
        ),
        "/studies" | "/series" | "/instances" => format!("{path}?StudyInstanceUID={study}"),
        _ => path,
    }
}

/// What became of a request, as the table has it.
fn outcome(reply: &Reply, expected: char) -> char {
    match reply.status {
        401 => 'u',
        403 => 'f',
        _ if expected == 'p' => 'p',
        204 if expected == 'n' => 'n',
        404 => 'n',
        200 | 204 | 206 => 's',
        _ => '?',
    }
}

/// The operations of DICOMweb, below its prefix.
async fn dicomweb(site: &Site) -> BTreeSet<(String, String)> {
    let session = site
        .sign_in("reader", grant(Role::Operator, "006"), false)
        .await;
    let reader = Shows::Session(session);
    let reply = reader.ask(site, "GET", "/api/openapi.json").await;
    let all = operations(&reply.json()).into_iter();
    all.map(|(method, path)| {
        let path = path.strip_prefix("/dicomweb").unwrap_or(&path);
        (method, if path.is_empty() { "/" } else { path }.to_owned())
    })
    .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn dicomweb_gives_everybody_what_the_table_says_and_nothing_else() {
    let site = site().await;
    TABLE.has_all(&["dicomweb"], &dicomweb(&site).await);
    let (classes, everybody) = (classes(), everybody(&site).await);
    let fresh = AtomicUsize::new(1_000);
    let mut wrong = Vec::new();
    for (method, template, class) in TABLE.routes("dicomweb") {
        for (who, (own, foreign)) in &classes[class] {
            for (study, of, expected) in [(OWN, "NATHOS_CT1", own), (FOREIGN, "KRKL_CT1", foreign)]
            {
                let mut study = study.to_owned();
                if class == "hide" {
                    // Each hides a study of its own.
                    study = format!("2.25.{}", fresh.fetch_add(1, Ordering::Relaxed));
                    let sent = Sent {
                        modality: "CT",
                        sender: of,
                        study: &study,
                        number: 1,
                        accession: "",
                        patient: ("", ""),
                    };
                    site.send(&sent).await;
                }
                let path = format!("/dicomweb{}", path(template, &study));
                let reply = everybody[who].ask(&site, method, &path).await;
                let is = outcome(&reply, *expected);
                if is != *expected {
                    wrong.push(format!(
                        "{method} {path} by {who}: {is} ({}), not {expected}",
                        reply.status
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    site.close().await;
}

/// The status of a study's metadata, and how many the search for it finds; at a device it is the
/// same.
async fn sees(site: &Site, shows: &Shows, study: &str) -> (u16, usize) {
    let metadata = format!("/dicomweb/studies/{study}/metadata");
    let status = shows.ask(site, "GET", &metadata).await.status;
    let search = format!("/dicomweb/studies?StudyInstanceUID={study}");
    let found = shows.ask(site, "GET", &search).await.json();
    let count = found.as_array().unwrap().len();
    let identity = passcode(site, shows).await;
    for what in ["C-FIND", "C-GET"] {
        let at_device = asked(site, what, ("NATHOS_CT1", Some(&identity)), study).await;
        assert_eq!(at_device == 's', count == 1, "{what} of {study}");
    }
    (status, count)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tie_to_the_patient_opens_a_foreign_study_and_only_that() {
    let site = site().await;
    let radiologist = site
        .sign_in("reader2", grant(Role::Radiologist, "006"), true)
        .await;
    let radiologist = Shows::Session(radiologist);
    let other = Shows::Session(
        site.sign_in("reader3", grant(Role::Radiologist, "006"), true)
            .await,
    );
    let patient = bound(&site, "2.25.2", "001", "KRKL_CT1", "Другой").await;
    assert_eq!(sees(&site, &radiologist, "2.25.2").await, (404, 0));

    // Break glass: one doctor, one patient.
    let store = site.accounts();
    let emergency = Emergency {
        user: pacs_core::account::UserName::parse("reader2").unwrap(),
        patient,
        reason: pacs_core::account::break_glass::BreakGlassReason::Unconscious,
        explanation: "nobody knows what happened".to_owned(),
        opened_at: chrono::Utc::now(),
        closed_at: None,
        review: None,
    };
    let opened = emergency.opened_at.timestamp_millis();
    let key = format!("reader2~{opened:020}~00");
    let change = put(&key, &emergency, None);
    store
        .commit(vec![change], &[crate::people::let_in()])
        .await
        .unwrap();
    assert_eq!(sees(&site, &radiologist, "2.25.2").await, (200, 1));
    assert_eq!(sees(&site, &radiologist, FOREIGN).await, (404, 0));
    assert_eq!(sees(&site, &other, "2.25.2").await, (404, 0));
    let hide = radiologist
        .ask(&site, "DELETE", "/dicomweb/studies/2.25.2")
        .await;
    assert_eq!(hide.status, 403, "it is read only");

    // The patient agrees that the people of the other organisation see, and then no longer.
    let editor = Agent::system("test").national_licence().unwrap();
    let agreed = NewConsent {
        to: code("006"),
        until: now().checked_add_days(Days::new(1)).unwrap(),
        ground: Ground::Agreement,
        reference: "4711".to_owned(),
    };
    let consent = site
        .registry
        .record_consent(&editor, patient, &agreed, now());
    let consent = consent.await.unwrap().value.id;
    site.settle().await;
    assert_eq!(sees(&site, &other, "2.25.2").await, (200, 1));
    assert_eq!(sees(&site, &other, FOREIGN).await, (404, 0));
    let device = ("NATHOS_CT1", None);
    assert_eq!(asked(&site, "C-FIND", device, "2.25.2").await, 'n');
    let why = Reason::parse("asked to").unwrap();
    let withdrawn = site
        .registry
        .withdraw_consent(&editor, (patient, consent), why, now());
    withdrawn.await.unwrap();
    site.settle().await;
    assert_eq!(sees(&site, &other, "2.25.2").await, (404, 0));

    // An order of the other organisation makes it one that treats the patient.
    site.order(patient, ("op", "006"), "006").await;
    site.settle().await;
    assert_eq!(sees(&site, &other, "2.25.2").await, (200, 1));
    assert_eq!(sees(&site, &other, FOREIGN).await, (404, 0));
    // A device has no patients.
    assert_eq!(asked(&site, "C-FIND", device, "2.25.2").await, 'n');
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expert_sees_what_waits_for_the_readers_of_their_organisation_and_no_more() {
    let site = site().await;
    let ours = site.sign_in("expert6", grant(Role::Expert, "006"), true);
    let ours = Shows::Session(ours.await);
    let theirs = site.sign_in("expert1", grant(Role::Expert, "001"), true);
    let theirs = Shows::Session(theirs.await);
    let everywhere = vec![Grant::new(Role::Expert, Reach::National)];
    let everywhere = Shows::Session(site.sign_in("expert0", everywhere, true).await);
    for reader in [&ours, &theirs, &everywhere] {
        assert_eq!(sees(&site, reader, OWN).await, (404, 0));
    }
    site.complete(OWN).await;
    assert_eq!(sees(&site, &ours, OWN).await, (200, 1));
    assert_eq!(sees(&site, &theirs, OWN).await, (404, 0));
    assert_eq!(sees(&site, &everywhere, OWN).await, (200, 1));
    assert_eq!(sees(&site, &everywhere, FOREIGN).await, (404, 0));
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_just_come_is_seen_where_it_came_from_alone() {
    let site = site().await;
    for (study, sender) in [
        ("2.25.31", "NATHOS_NEW"),
        ("2.25.32", "KRKL_CT1"),
        ("2.25.33", "X"),
    ] {
        let sent = Sent {
            modality: "CT",
            sender,
            study,
            number: 1,
            accession: "",
            patient: ("", ""),
        };
        site.send(&sent).await;
    }
    // Before anybody has matched them, or after: it is the same.
    let operator = Shows::Session(
        site.sign_in("op2", grant(Role::Operator, "006"), false)
            .await,
    );
    assert_eq!(sees(&site, &operator, "2.25.31").await, (200, 1));
    assert_eq!(sees(&site, &operator, "2.25.32").await, (404, 0));
    assert_eq!(sees(&site, &operator, "2.25.33").await, (404, 0));
    assert!(!site.matched("2.25.31").await);
    assert_eq!(sees(&site, &operator, "2.25.31").await, (200, 1));
    assert_eq!(sees(&site, &operator, "2.25.32").await, (404, 0));
    site.close().await;
}
