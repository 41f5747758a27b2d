//! The family of the citizen register: who the holder of a PIN or of a document is, who is called
//! so and was born on that day, and of whom it says something else than was typed in.
//!
//! PINs, names and documents stand in bodies alone: addresses end in logs.

use super::asked::Asked;
use super::guard::{Body, Signed, licence};
use super::openapi::{day, flag, list, nothing_or, object, reference, several, text, time};
use super::page::{CURSOR, LIMIT, List, Page};
use super::patients::TypedName;
use super::problem::{Code, codes};
use super::routes::{Family, Operation, Parameter, Route};
use super::{Api, Problem};
use crate::register::{AskError, Purpose, Told};
use axum::Json;
use axum::extract::State;
use axum::routing::{get, post};
use chrono::{DateTime, NaiveDate, Utc};
use pacs_core::patient::{Document, PatientKey, Sex};
use pacs_core::pin::RegisterFacts;
use pacs_core::register::{Found, Outcome, Question, RegisteredDocument, RegisteredPerson};
use pacs_core::role::Permission;
use pacs_core::role::duty::PatientSearch;
use pacs_core::{ExaminationId, OrganisationCode, Phi, Pin};
use pacs_store::limits::PATIENT_QUERY_CHARS_MAX;
use pacs_store::registry::patients::Identity;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub(super) const FAMILY: Family = Family {
    routes: &[
        Route {
            path: "/register",
            operations: &[ASK],
        },
        Route {
            path: "/register/mismatches",
            operations: &[MISMATCHES],
        },
    ],
    schemas,
};

const ASK: Operation = Operation::post(
    "askRegister",
    "Ask the citizen register who somebody is: by a PIN, by a PIN and a passport, by the document \
     of a foreigner, or by name and date of birth",
    || post(ask),
)
.takes("RegisterQuestion")
.gives(200, "RegisterAnswer")
.refuses(&[404, 429])
.needs(&[Permission::PatientSearch]);

const MISMATCHES: Operation = Operation::get(
    "registerMismatches",
    "Patients of whom the citizen register says something else",
    || get(mismatches),
)
.asks(&[
    Parameter {
        name: "organisation",
        summary: "the organisation that registered them",
        schema: r#"{"type": "string", "pattern": "^[0-9]{3}$"}"#,
    },
    CURSOR,
    LIMIT,
])
.gives(200, "RegisterMismatches")
.needs(&[Permission::PatientSearch]);

/// What somebody asks: by one of the ways that the register knows.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Typed {
    pin: Option<String>,
    document: Option<String>,
    name: Option<TypedName>,
    birth_date: Option<NaiveDate>,
    organisation: Option<OrganisationCode>,
    examination: Option<String>,
    purpose: Option<What>,
}

/// Whose passports need a PIN beside them.
const HERE: &str = "KGZ";

impl Typed {
    /// The question that it is.
    fn question(&self, today: NaiveDate) -> Result<Question, Problem> {
        let wrong = |what| codes::MALFORMED.with("what", what);
        let pin = self
            .pin
            .as_deref()
            .map(|text| Pin::parse(text, today).map_err(|error| PIN.with("pin", error.code())));
        let pin = pin.transpose()?;
        let document = self.document.as_deref().map(Document::read);
        let document = document.transpose().map_err(|_| wrong("document"))?;
        match (pin, document, &self.name, self.birth_date) {
            (Some(pin), None, None, None) => Ok(Question::Person(pin)),
            (Some(pin), Some(passport), None, None) => {
                let (country, series, number) = passport.parts();
                if country != HERE {
                    return Err(wrong("document"));
                }
                Ok(Question::Passport {
                    pin,
                    series: series.to_owned(),
                    number: number.to_owned(),
                })
            }
            (None, Some(document), None, None) if document.parts().0 == HERE => Err(wrong("pin")),
            (None, Some(document), None, None) => Ok(Question::foreigner(&document)),
            (None, None, Some(name), Some(birth_date)) => named(name, birth_date),
            (None, None, Some(_), None) => Err(wrong("birth_date")),
            _ => Err(wrong("question")),
        }
    }
}

/// Who is called so. The register wants both names, whole.
fn named(name: &TypedName, birth_date: NaiveDate) -> Result<Question, Problem> {
    let [family, given, patronymic] =
        [&name.family, &name.given, &name.patronymic].map(|part| part.trim().to_owned());
    let parts = [&family, &given, &patronymic];
    let is_long = |part: &&&String| part.chars().count() > PATIENT_QUERY_CHARS_MAX;
    if family.is_empty() || given.is_empty() || parts.iter().any(|part| is_long(&part)) {
        return Err(codes::MALFORMED.with("what", "name"));
    }
    Ok(Question::Pins {
        family,
        given,
        patronymic,
        birth_date,
    })
}

/// What for.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum What {
    Correction,
    Registration,
}

/// What came of it: what a form for a patient can be filled with.
#[derive(Serialize)]
struct Answer {
    outcome: &'static str,
    /// Of a fault or a refusal.
    fault: Option<String>,
    person: Option<Person>,
    /// Of those who are called so: ask by the one that is meant.
    pins: Vec<String>,
    warnings: Vec<&'static str>,
    needs_reason: bool,
    /// The patient here who has the PIN, or the document.
    patient: Option<String>,
    asked_at: DateTime<Utc>,
    is_kept: bool,
    message_id: Option<String>,
}

#[derive(Serialize)]
struct Person {
    /// None of a foreigner.
    pin: Option<String>,
    family: String,
    given: String,
    patronymic: String,
    birth_date: NaiveDate,
    sex: Option<Sex>,
    citizenship: Option<String>,
    address: Option<String>,
    died_on: Option<NaiveDate>,
    is_pin_blocked: bool,
    /// The document that was asked about.
    document: Option<PersonDocument>,
}

#[derive(Serialize)]
struct PersonDocument {
    number: String,
    issued_on: Option<NaiveDate>,
    expires_on: Option<NaiveDate>,
    authority: Option<String>,
    is_void: bool,
}

impl From<&RegisteredDocument> for PersonDocument {
    fn from(document: &RegisteredDocument) -> Self {
        Self {
            number: document.number.clone(),
            issued_on: document.issued_on,
            expires_on: document.expires_on,
            authority: document.authority.clone(),
            is_void: document.is_void,
        }
    }
}

impl Person {
    fn of(person: &RegisteredPerson) -> Self {
        Self {
            pin: person.pin.as_ref().map(|pin| pin.reveal().to_owned()),
            family: person.family.clone(),
            given: person.given.clone(),
            patronymic: person.patronymic.clone(),
            birth_date: person.birth_date,
            sex: person.sex,
            citizenship: person.citizenship.clone(),
            address: person.address.clone(),
            died_on: person.died_on,
            is_pin_blocked: person.is_pin_blocked,
            document: person.document.as_ref().map(Into::into),
        }
    }
}

async fn ask(
    State(api): State<Api>,
    signed: Signed,
    Body(typed): Body<Typed>,
) -> Result<Json<Answer>, Problem> {
    let agent = signed.agent(&api);
    let licence = licence::<PatientSearch>(&agent, typed.organisation)?;
    let today = api.world.moment().date_naive();
    let question = typed.question(today)?;
    let examination = typed.examination.as_deref();
    let examination =
        examination.map(|text| ExaminationId::parse(text).map_err(|_| Problem::Malformed));
    let purpose = match typed.purpose {
        Some(What::Correction) => Purpose::Correction,
        Some(What::Registration) | None => Purpose::Registration,
    };
    let asked = api
        .register
        .ask(&licence, &question, purpose, examination.transpose()?);
    let told = asked.await?;
    Ok(Json(answer(question.pin(), &told, today)))
}

fn answer(pin: Option<&Pin>, told: &Told, today: NaiveDate) -> Answer {
    let (found, pins) = match &told.outcome {
        Outcome::Found(Found::Person(person)) => (Some(&**person), &[][..]),
        Outcome::Found(Found::Pins(pins)) => (None, pins.as_slice()),
        Outcome::Found(Found::Address(_))
        | Outcome::Fault(_)
        | Outcome::NotFound
        | Outcome::Refused(_)
        | Outcome::TimedOut
        | Outcome::Unavailable => (None, &[][..]),
    };
    let facts = found.map(|person| RegisterFacts {
        birth_date: Phi::new(person.birth_date),
        sex: person.sex.map(Phi::new),
        is_blocked: person.is_pin_blocked,
        died_on: person.died_on.map(Phi::new),
    });
    let warnings = pin.map(|pin| pin.warnings(today, facts.as_ref()));
    let warnings = warnings.unwrap_or_default();
    Answer {
        outcome: told.outcome.name(),
        fault: told.outcome.code().map(|code| code.as_str().to_owned()),
        person: found.map(Person::of),
        pins: pins.iter().map(|pin| pin.reveal().to_owned()).collect(),
        needs_reason: warnings.iter().any(|warning| warning.needs_reason()),
        warnings: warnings.iter().map(|warning| warning.code()).collect(),
        patient: told.patient.map(number_of),
        asked_at: told.at,
        is_kept: told.is_kept,
        message_id: told.message_id.clone(),
    }
}

fn number_of(patient: PatientKey) -> String {
    patient.to_string()
}

/// A patient of whom the register says something else.
#[derive(Serialize)]
struct Mismatch {
    patient: String,
    pin_masked: Option<String>,
    checked_at: Option<DateTime<Utc>>,
}

async fn mismatches(
    State(api): State<Api>,
    signed: Signed,
    mut asked: Asked,
) -> Result<Json<List<Mismatch>>, Problem> {
    let agent = signed.agent(&api);
    let organisation = asked.take_by("organisation", |text| OrganisationCode::parse(text).ok())?;
    let licence = licence::<PatientSearch>(&agent, organisation)?;
    let of = licence.organisation().map(|code| code.to_string());
    let name = format!("mismatches {}", of.unwrap_or_default());
    let page = Page::take(&mut asked, (&api, &signed), &name)?;
    asked.done()?;
    let after = page.after.as_deref().map(PatientKey::parse);
    let after = after.transpose().map_err(|_| &codes::BAD_CURSOR)?;
    let identity = Identity::Mismatch;
    let listed = api.registry.patients_by_identity(
        &licence,
        identity,
        after,
        page.limit,
        api.world.moment(),
    );
    let (patients, last) = listed.await?;
    let items = patients.into_iter().map(|stored| {
        let particulars = stored.value.particulars;
        Mismatch {
            patient: number_of(stored.value.key),
            pin_masked: particulars.pin.map(|pin| pin.masked()),
            checked_at: particulars.checked_at.map(|at| at.with_timezone(&Utc)),
        }
    });
    let next = last.map(number_of);
    Ok(Json(page.of(items.collect(), next.as_deref())))
}

impl From<AskError> for Problem {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Registry(error) => error.into(),
            AskError::Wait { seconds } => crate::accounts::Refused::Wait { seconds }.into(),
            AskError::NoRandomness(error) => crate::accounts::Refused::from(error).into(),
        }
    }
}

super::problem::codes::codes! {
    PIN = 422 "patient.pin_invalid" "the PIN is none";
}

/// What is asked.
fn question() -> Value {
    let organisation = json!({"type": "string", "pattern": "^[0-9]{3}$"});
    let name = object(
        &[
            ("family", text()),
            ("given", text()),
            ("patronymic", text()),
        ],
        &["patronymic"],
    );
    object(
        &[
            ("pin", nothing_or(text())),
            ("document", nothing_or(text())),
            ("name", nothing_or(name)),
            ("birth_date", nothing_or(day())),
            ("organisation", nothing_or(organisation)),
            ("examination", nothing_or(text())),
            (
                "purpose",
                nothing_or(json!({"enum": ["correction", "registration"]})),
            ),
        ],
        &[
            "pin",
            "document",
            "name",
            "birth_date",
            "organisation",
            "examination",
            "purpose",
        ],
    )
}

/// Whom the register knows.
fn person() -> Value {
    let document = object(
        &[
            ("number", text()),
            ("issued_on", nothing_or(day())),
            ("expires_on", nothing_or(day())),
            ("authority", nothing_or(text())),
            ("is_void", flag()),
        ],
        &[],
    );
    object(
        &[
            ("pin", nothing_or(text())),
            ("family", text()),
            ("given", text()),
            ("patronymic", text()),
            ("birth_date", day()),
            ("sex", nothing_or(json!({"enum": ["F", "M", "O"]}))),
            ("citizenship", nothing_or(text())),
            ("address", nothing_or(text())),
            ("died_on", nothing_or(day())),
            ("is_pin_blocked", flag()),
            ("document", nothing_or(document)),
        ],
        &[],
    )
}

fn schemas() -> Vec<(&'static str, Value)> {
    let outcomes = json!({"enum": [
        "fault", "found", "not_found", "refused", "timed_out", "unavailable",
    ]});
    let answer = object(
        &[
            ("outcome", outcomes),
            ("fault", nothing_or(text())),
            ("person", nothing_or(reference("RegisteredPerson"))),
            ("pins", several(text())),
            ("warnings", several(text())),
            ("needs_reason", flag()),
            ("patient", nothing_or(text())),
            ("asked_at", time()),
            ("is_kept", flag()),
            ("message_id", nothing_or(text())),
        ],
        &[],
    );
    let mismatch = object(
        &[
            ("patient", text()),
            ("pin_masked", nothing_or(text())),
            ("checked_at", nothing_or(time())),
        ],
        &[],
    );
    vec![
        ("RegisterQuestion", question()),
        ("RegisteredPerson", person()),
        ("RegisterAnswer", answer),
        ("RegisterMismatch", mismatch),
        ("RegisterMismatches", list("RegisterMismatch")),
    ]
}
