//! The desk, beside a real registry: what is recorded, kept, left in peace and asked again.

use super::desk::{AskError, Purpose, Register, RegisterRules};
use super::file::{FileRegister, People};
use super::recheck::{Asker, Round};
use super::{CitizenRegister, RestPath};
use crate::clock::World;
use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use pacs_core::patient::PatientKey;
use pacs_core::register::xroad::Circumstances;
use pacs_core::register::{Found, Outcome, Question, Service};
use pacs_core::role::duty::{PatientEdit, PatientSearch};
use pacs_core::role::{Agent, AgentKind, Grant, Grants, Licence, Reach, Role};
use pacs_core::{OrganisationCode, Pin};
use pacs_store::records::memory::MemoryRecords;
use pacs_store::registry::Registry;
use pacs_store::registry::audit::AuditRecord;
use pacs_store::registry::patients::{Alike, Identity, Particulars, Patient, PersonName};
use std::io::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tempfile::NamedTempFile;

const TABLE: &str = "pin;surname;name;patronymic;dateOfBirth;gender;citizenship;address\n\
    20101199099907;Жээнбеков;Үсөн;Өмүрбекович;1990-01-01;М;KGZ;г. Бишкек\n\
    1 2902 2000 99902;Асанова;Айгүл;;29.02.2000;Ж;;\n";

fn pin(text: &str) -> Pin {
    Pin::try_from(text.to_owned()).unwrap()
}

fn known() -> Question {
    Question::Person(pin("20101199099907"))
}

fn licence(name: &str) -> Licence<PatientSearch> {
    licence_of(AgentKind::User, name, "006")
}

/// That of somebody who works for two organisations.
fn licence_of(kind: AgentKind, name: &str, organisation: &str) -> Licence<PatientSearch> {
    let code = |text| OrganisationCode::parse(text).unwrap();
    let grants = ["006", "011"].map(|of| Grant::new(Role::Operator, Reach::Organisation(code(of))));
    let grants = Grants::new(grants.into()).unwrap();
    let agent = Agent::new(kind, name, grants);
    agent.licence(code(organisation)).unwrap()
}

fn table(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

/// A register out of a table that somebody can pull the plug of; it notes what it was asked.
#[derive(Debug)]
struct Plugged {
    file: FileRegister,
    is_down: Arc<Mutex<bool>>,
    asked_count: Arc<AtomicUsize>,
    seen: Arc<Mutex<Vec<Circumstances>>>,
}

#[async_trait]
impl CitizenRegister for Plugged {
    async fn ask(&self, question: &Question, circumstances: &Circumstances) -> Outcome {
        self.asked_count.fetch_add(1, Ordering::Relaxed);
        self.seen.lock().unwrap().push(circumstances.clone());
        if *self.is_down.lock().unwrap() {
            return Outcome::Unavailable;
        }
        self.file.ask(question, circumstances).await
    }
}

struct Place {
    register: Register,
    registry: Registry,
    is_down: Arc<Mutex<bool>>,
    asked_count: Arc<AtomicUsize>,
    seen: Arc<Mutex<Vec<Circumstances>>>,
    now: Arc<Mutex<DateTime<Utc>>>,
    _file: NamedTempFile,
}

impl Place {
    fn new() -> Self {
        let file = table(TABLE);
        let registry = Registry::new(Arc::new(MemoryRecords::new()));
        let now: DateTime<Utc> = "2026-11-26T08:00:00Z".parse().unwrap();
        let now = Arc::new(Mutex::new(now));
        let (is_down, seen) = (Arc::default(), Arc::default());
        let asked_count = Arc::default();
        let plugged = Plugged {
            file: FileRegister::new(file.path().to_owned()),
            is_down: Arc::clone(&is_down),
            asked_count: Arc::clone(&asked_count),
            seen: Arc::clone(&seen),
        };
        let world = World::at({
            let now = Arc::clone(&now);
            move || *now.lock().unwrap()
        });
        let rules = RegisterRules::default();
        Self {
            register: Register::new(Some(Box::new(plugged)), registry.clone(), rules, world),
            registry,
            is_down,
            asked_count,
            seen,
            now,
            _file: file,
        }
    }

    async fn ask(&self, user: &str, question: &Question) -> Outcome {
        let licence = licence(user);
        let asked = self
            .register
            .ask(&licence, question, Purpose::Registration, None);
        asked.await.unwrap().outcome
    }

    fn set_down(&self, is_down: bool) {
        *self.is_down.lock().unwrap() = is_down;
    }

    fn later(&self, by: TimeDelta) {
        *self.now.lock().unwrap() += by;
    }

    fn asked_count(&self) -> usize {
        self.asked_count.load(Ordering::Relaxed)
    }

    async fn trail(&self) -> Vec<AuditRecord> {
        self.registry.audit_trail().page(None, 100).await.unwrap()
    }

    async fn typed_in(&self, family: &str, number: &str) -> PatientKey {
        let particulars = Particulars {
            name: PersonName {
                family: family.to_owned(),
                given: "Үсөн".to_owned(),
                ..PersonName::default()
            },
            pin: Some(pin(number)),
            birth_date: Some("1990-01-01".parse().unwrap()),
            ..Particulars::default()
        };
        let edit: Licence<PatientEdit> = Agent::system("test").national_licence().unwrap();
        let at = crate::clock::local(*self.now.lock().unwrap());
        let alike = Alike::IsAnother;
        let made = self
            .registry
            .register_patient(&edit, particulars, alike, at);
        made.await.unwrap().patient().value.key
    }

    async fn patient(&self, key: PatientKey) -> Patient {
        let search: Licence<PatientSearch> = Agent::system("test").national_licence().unwrap();
        let at = crate::clock::local(*self.now.lock().unwrap());
        let read = self.registry.patient(&search, key, at);
        read.await.unwrap().value
    }

    async fn round(&self) -> Round {
        Asker::new(&self.register).unwrap().round().await.unwrap()
    }
}

#[tokio::test]
async fn who_asks_is_on_record_before_the_register_hears_it() {
    let place = Place::new();
    let key = place.typed_in("Жээнбеков", "20101199099907").await;

    let outcome = place.ask("b.osmonova", &known()).await;

    assert!(matches!(outcome, Outcome::Found(Found::Person(_))));
    let seen = place.seen.lock().unwrap().clone();
    assert_eq!(seen[0].user_id, "006.b.osmonova");
    assert_eq!(seen[0].issue, "patient-search");
    let record = &place.trail().await[0].event;
    assert_eq!(record.reason.as_deref(), Some("REGISTRATION ASKED"));
    assert_eq!(record.correlation.as_ref(), Some(&seen[0].message_id));
    assert_eq!(record.patients().collect::<Vec<_>>(), [key]);
    let query = record.object.query.as_ref().unwrap().reveal();
    assert_eq!(query, "register person KG-PIN 2•••••••••9907");
    assert!(seen[0].message_id.len() == 36 && seen[0].message_id.contains("-4"));
}

#[tokio::test]
async fn an_answer_is_kept_for_the_one_who_asked_and_for_that_pin_alone() {
    let place = Place::new();
    place.ask("a", &known()).await;
    assert_eq!(place.ask("a", &known()).await.name(), "found");
    assert_eq!(place.asked_count(), 1);
    let kept = place.trail().await[0].event.reason.clone();
    assert_eq!(kept.as_deref(), Some("REGISTRATION KEPT"));

    place.ask("b", &known()).await;
    assert_eq!(place.asked_count(), 2, "another person");
    let other = Question::Person(pin("12902200099902"));
    let Outcome::Found(Found::Person(other)) = place.ask("a", &other).await else {
        panic!("not found");
    };
    assert_eq!(other.family, "Асанова");
    assert_eq!(place.asked_count(), 3, "another PIN");
    place.later(TimeDelta::minutes(15));
    place.ask("a", &known()).await;
    assert_eq!(place.asked_count(), 4, "too old");
    let nobody = Question::Person(pin("21502190099901"));
    for count in 5..=6 {
        assert_eq!(place.ask("a", &nobody).await, Outcome::NotFound);
        assert_eq!(
            place.asked_count(),
            count,
            "that nobody is known is not kept"
        );
    }
}

#[tokio::test]
async fn an_answer_to_one_organisation_is_none_to_another_whoever_asks() {
    let place = Place::new();
    let known = known();
    let ask = async |kind, name: &str, organisation: &str| {
        let licence = licence_of(kind, name, organisation);
        let (register, purpose) = (&place.register, Purpose::Registration);
        let told = register.ask(&licence, &known, purpose, None).await.unwrap();
        (told.is_kept, place.asked_count())
    };
    assert_eq!(ask(AgentKind::User, "a", "006").await, (false, 1));
    assert_eq!(ask(AgentKind::User, "a", "006").await, (true, 1));
    let as_another = ask(AgentKind::User, "a", "011").await;
    assert_eq!(as_another, (false, 2), "the same person, for another one");
    assert_eq!(ask(AgentKind::User, "a", "011").await, (true, 2));
    let program = ask(AgentKind::Program, "a", "006").await;
    assert_eq!(program, (false, 3), "a program of the same name");
    let heard: Vec<_> = place.seen.lock().unwrap().clone();
    let heard: Vec<_> = heard.iter().map(|of| &*of.user_id).collect();
    assert_eq!(heard, ["006.a", "011.a", "006.a"]);
    // Each look-up is on record for the organisation that it was for, whoever answered.
    let trail = place.trail().await;
    let of = |record: &AuditRecord| {
        let organisation = record.event.actor.organisation.map(|code| code.to_string());
        (organisation.unwrap(), record.event.reason.clone().unwrap())
    };
    let mut trail: Vec<_> = trail.iter().map(of).collect();
    trail.reverse();
    let expected = [
        ("006", "ASKED"),
        ("006", "KEPT"),
        ("011", "ASKED"),
        ("011", "KEPT"),
        ("006", "ASKED"),
    ];
    let expected = expected.map(|(of, what)| (of.to_owned(), format!("REGISTRATION {what}")));
    assert_eq!(trail, expected);
}

#[tokio::test]
async fn a_register_that_is_down_is_left_in_peace_and_found_again() {
    let place = Place::new();
    place.set_down(true);
    for _ in 0..8 {
        assert_eq!(place.ask("a", &known()).await, Outcome::Unavailable);
    }
    assert_eq!(place.asked_count(), 5);
    let reasons: Vec<_> = place.trail().await.into_iter().take(4).collect();
    let reasons: Vec<_> = reasons.iter().map(|r| r.event.reason.clone()).collect();
    assert!(reasons.iter().all(|reason| {
        let reason = reason.as_deref();
        reason == Some("REGISTRATION UNAVAILABLE") || reason == Some("REGISTRATION ASKED")
    }));

    place.set_down(false);
    place.later(TimeDelta::seconds(60));
    assert_eq!(place.ask("a", &known()).await.name(), "found");
    assert_eq!(place.ask("b", &known()).await.name(), "found");
}

#[tokio::test]
async fn one_person_asks_no_more_than_so_often() {
    let place = Place::new();
    for _ in 0..30 {
        place.ask("a", &known()).await;
    }
    let licence = licence("a");
    let known = known();
    let asked = place
        .register
        .ask(&licence, &known, Purpose::Registration, None);
    assert!(matches!(asked.await, Err(AskError::Wait { seconds: 60 })));
    assert_eq!(place.ask("b", &known).await.name(), "found");
    place.later(TimeDelta::minutes(1));
    assert_eq!(place.ask("a", &known).await.name(), "found");
}

#[tokio::test]
async fn patients_who_were_typed_in_while_it_was_down_are_settled_when_it_is_back() {
    let place = Place::new();
    place.set_down(true);
    let right = place.typed_in("Zheenbekov", "20101199099907").await;
    let other = place.typed_in("Асанов", "12902200099902").await;
    let nobody = place.typed_in("Никто", "21502190099901").await;

    let round = place.round().await;

    assert!(round.is_broken_off);
    let patient = place.patient(right).await;
    assert_eq!(patient.particulars.identity, Identity::Declared);
    assert_eq!(patient.particulars.checked_at, None);
    place.set_down(false);
    // Another desk, as after a restart.
    let round = place.round().await;
    let expected = Round {
        verified_count: 1,
        mismatches_count: 1,
        unknown_count: 1,
        is_broken_off: false,
    };
    assert_eq!(round, expected);
    let particulars = place.patient(right).await.particulars;
    assert_eq!(particulars.identity, Identity::Verified);
    assert_eq!(particulars.name.family, "Zheenbekov");
    assert_eq!(particulars.name.patronymic, "Өмүрбекович");
    assert_eq!(particulars.citizenship.as_deref(), Some("KGZ"));
    assert!(particulars.checked_at.is_some());
    let other = place.patient(other).await.particulars.identity;
    assert_eq!(other, Identity::Mismatch);
    let asked = place.asked_count();
    assert_eq!(place.round().await, Round::default());
    assert_eq!(place.asked_count(), asked, "not again so soon");
    place.later(TimeDelta::hours(24));
    assert_eq!(place.round().await.unknown_count, 1);
    let nobody = place.patient(nobody).await.particulars.identity;
    assert_eq!(nobody, Identity::Declared);
    let search: Licence<PatientSearch> = Agent::system("test").national_licence().unwrap();
    let (mismatches, last) = place
        .registry
        .patients_by_identity(&search, Identity::Mismatch, None, 10, crate::place::now())
        .await
        .unwrap();
    assert_eq!((mismatches.len(), last), (1, None));
}

#[tokio::test]
async fn what_was_just_answered_settles_who_is_registered() {
    let place = Place::new();
    let declared = Particulars {
        name: PersonName {
            family: "Жээнбеков".to_owned(),
            ..PersonName::default()
        },
        pin: Some(pin("20101199099907")),
        birth_date: Some("1990-01-01".parse().unwrap()),
        ..Particulars::default()
    };
    let judged = async |user: &str, organisation: &str, of: &Particulars| {
        let licence = licence_of(AgentKind::User, user, organisation);
        let (register, purpose) = (&place.register, Purpose::Correction);
        let judged = register.judged(&licence, purpose, of.clone());
        judged.await.unwrap()
    };
    let identity =
        async |user: &str, organisation: &str| judged(user, organisation, &declared).await.identity;
    assert_eq!(identity("a", "006").await, Identity::Declared, "not asked");
    place.ask("a", &known()).await;
    assert_eq!(identity("b", "006").await, Identity::Declared);
    assert_eq!(identity("a", "011").await, Identity::Declared);
    let reasons = async || {
        let trail = place.trail().await;
        let reasons = trail.into_iter().map(|record| record.event.reason.unwrap());
        reasons.collect::<Vec<_>>()
    };
    assert_eq!(reasons().await, ["REGISTRATION ASKED"]);
    let settled = judged("a", "006", &declared).await;
    assert_eq!(settled.identity, Identity::Verified);
    assert_eq!(settled.name.given, "Үсөн");
    assert_eq!(reasons().await, ["CORRECTION KEPT", "REGISTRATION ASKED"]);
    assert_eq!(judged("a", "006", &settled).await, settled, "it is settled");
    let wrong = Particulars {
        birth_date: Some("1991-01-01".parse().unwrap()),
        ..declared
    };
    let wrong = judged("a", "006", &wrong).await;
    assert_eq!(wrong.identity, Identity::Mismatch);
    assert_eq!(place.asked_count(), 1);
}

#[tokio::test]
async fn without_a_register_everybody_is_told_so() {
    let registry = Registry::new(Arc::new(MemoryRecords::new()));
    let register = Register::new(None, registry, RegisterRules::default(), World::real());
    let (licence, known) = (licence("a"), known());
    let asked = register.ask(&licence, &known, Purpose::Registration, None);
    let told = asked.await.unwrap();
    assert_eq!(told.outcome, Outcome::Unavailable);
    assert_eq!(told.message_id, None);
}

#[test]
fn a_table_that_is_wrong_is_refused_by_its_line() {
    let read = |text: &str| {
        People::read(text)
            .map(drop)
            .map_err(|error| error.to_string())
    };
    read(TABLE).unwrap();
    let columns = "pin,surname,name,dateOfBirth\n";
    for (text, named) in [
        ("", "\"pin\" is missing"),
        ("pin,surname,name\n", "\"dateOfBirth\" is missing"),
        ("pin,pin\n", "there twice"),
        ("pin,surname,name,dateOfBirth,x\n", "\"x\" is none of them"),
        ("20101199099907,A,B,1990-01-01\n", "\"something else\""),
        (&format!("{columns}123,A,B,1990-01-01\n"), "line 2: its PIN"),
        (
            &format!("{columns}20101199099907,A,B,yesterday\n"),
            "line 2: dateOfBirth",
        ),
        (
            &format!("{columns}20101199099907,,B,1990-01-01\n"),
            "line 2: surname",
        ),
        (
            &format!("{columns}20101199099907,A,B,1990-01-01,more\n"),
            "line 2: it has more fields",
        ),
        (
            &format!("{columns}20101199099907,A,B,1990-01-01\n20101199099907,A,B,1990-01-01"),
            "line 3: its PIN stands in the table twice",
        ),
    ] {
        let error = read(text).unwrap_err();
        assert!(error.contains(named), "{text}: {error}");
        assert!(!error.contains("20101199099907"), "{error}");
    }
}

#[tokio::test]
async fn a_table_is_asked_by_name_and_address_too_and_may_be_missing() {
    let file = table(TABLE);
    let register = FileRegister::new(file.path().to_owned());
    let circumstances = Circumstances {
        message_id: String::new(),
        user_id: String::new(),
        issue: String::new(),
    };
    let named = Question::Pins {
        family: "Jeenbekov".to_owned(),
        given: "Uson".to_owned(),
        patronymic: String::new(),
        birth_date: "1990-01-01".parse().unwrap(),
    };
    assert_eq!(named.service(), Service::Pins);
    let found = register.ask(&named, &circumstances).await;
    assert_eq!(
        found,
        Outcome::Found(Found::Pins(vec![pin("20101199099907")]))
    );
    let address = Question::Address(pin("20101199099907"));
    assert_eq!(register.ask(&address, &circumstances).await.name(), "found");
    let nowhere = FileRegister::new("nowhere.csv".into());
    let outcome = nowhere.ask(&named, &circumstances).await;
    assert_eq!(outcome, Outcome::Unavailable);
}

#[test]
fn paths_of_services_lead_nowhere_else() {
    for (path, is_right) in [
        ("persons/{pin}", true),
        ("", true),
        ("{pin}?full=1", true),
        ("../admin", false),
        ("a b", false),
        ("{", false),
        ("{}", false),
        ("{p i n}", false),
        ("a\r\nX: y", false),
    ] {
        assert_eq!(RestPath::parse(path).is_ok(), is_right, "{path}");
    }
}
