//! The family of the citizen register: who the holder of a PIN is, and of whom it says something
//! else than was typed in.
//!
//! A PIN stands in bodies alone: addresses end in logs.

use super::asked::Asked;
use super::guard::{Body, Signed, licence};
use super::openapi::{day, flag, list, nothing_or, object, reference, several, text, time};
use super::page::{CURSOR, LIMIT, List, Page};
use super::problem::{Code, codes};
use super::routes::{Family, Operation, Parameter, Route};
use super::{Api, Problem};
use crate::register::{AskError, Purpose, Told};
use axum::Json;
use axum::extract::State;
use axum::routing::{get, post};
use chrono::{DateTime, NaiveDate, Utc};
use pacs_core::patient::{PatientKey, Sex};
use pacs_core::pin::RegisterFacts;
use pacs_core::register::{Found, Outcome, Question, RegisteredPerson};
use pacs_core::role::Permission;
use pacs_core::role::duty::PatientSearch;
use pacs_core::{ExaminationId, OrganisationCode, Phi, Pin};
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
    "Ask the citizen register who the holder of a PIN is",
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

/// What somebody asks.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Typed {
    pin: String,
    organisation: Option<OrganisationCode>,
    examination: Option<String>,
    purpose: Option<What>,
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
    warnings: Vec<&'static str>,
    needs_reason: bool,
    /// The patient here who has the PIN.
    patient: Option<String>,
    asked_at: DateTime<Utc>,
    is_kept: bool,
    message_id: Option<String>,
}

#[derive(Serialize)]
struct Person {
    pin: String,
    family: String,
    given: String,
    patronymic: String,
    birth_date: NaiveDate,
    sex: Option<Sex>,
    citizenship: Option<String>,
    address: Option<String>,
    died_on: Option<NaiveDate>,
    is_pin_blocked: bool,
}

impl Person {
    fn of(pin: &Pin, person: &RegisteredPerson) -> Self {
        Self {
            pin: pin.reveal().to_owned(),
            family: person.family.clone(),
            given: person.given.clone(),
            patronymic: person.patronymic.clone(),
            birth_date: person.birth_date,
            sex: person.sex,
            citizenship: person.citizenship.clone(),
            address: person.address.clone(),
            died_on: person.died_on,
            is_pin_blocked: person.is_pin_blocked,
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
    let pin = Pin::parse(&typed.pin, today);
    let pin = pin.map_err(|error| PIN.with("pin", error.code()))?;
    let examination = typed.examination.as_deref();
    let examination =
        examination.map(|text| ExaminationId::parse(text).map_err(|_| Problem::Malformed));
    let purpose = match typed.purpose {
        Some(What::Correction) => Purpose::Correction,
        Some(What::Registration) | None => Purpose::Registration,
    };
    let question = Question::Person(pin.clone());
    let asked = api
        .register
        .ask(&licence, &question, purpose, examination.transpose()?);
    let told = asked.await?;
    Ok(Json(answer(&pin, &told, today)))
}

fn answer(pin: &Pin, told: &Told, today: NaiveDate) -> Answer {
    let found = match &told.outcome {
        Outcome::Found(Found::Person(person)) => Some(&**person),
        Outcome::Found(_)
        | Outcome::Fault(_)
        | Outcome::NotFound
        | Outcome::Refused(_)
        | Outcome::TimedOut
        | Outcome::Unavailable => None,
    };
    let facts = found.map(|person| RegisterFacts {
        birth_date: Phi::new(person.birth_date),
        sex: person.sex.map(Phi::new),
        is_blocked: person.is_pin_blocked,
        died_on: person.died_on.map(Phi::new),
    });
    let warnings = pin.warnings(today, facts.as_ref());
    Answer {
        outcome: told.outcome.name(),
        fault: told.outcome.code().map(|code| code.as_str().to_owned()),
        person: found.map(|person| Person::of(pin, person)),
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

fn schemas() -> Vec<(&'static str, Value)> {
    let organisation = json!({"type": "string", "pattern": "^[0-9]{3}$"});
    let question = object(
        &[
            ("pin", text()),
            ("organisation", nothing_or(organisation)),
            ("examination", nothing_or(text())),
            (
                "purpose",
                nothing_or(json!({"enum": ["correction", "registration"]})),
            ),
        ],
        &["organisation", "examination", "purpose"],
    );
    let person = object(
        &[
            ("pin", text()),
            ("family", text()),
            ("given", text()),
            ("patronymic", text()),
            ("birth_date", day()),
            ("sex", nothing_or(json!({"enum": ["F", "M", "O"]}))),
            ("citizenship", nothing_or(text())),
            ("address", nothing_or(text())),
            ("died_on", nothing_or(day())),
            ("is_pin_blocked", flag()),
        ],
        &[],
    );
    let outcomes = json!({"enum": [
        "fault", "found", "not_found", "refused", "timed_out", "unavailable",
    ]});
    let answer = object(
        &[
            ("outcome", outcomes),
            ("fault", nothing_or(text())),
            ("person", nothing_or(reference("RegisteredPerson"))),
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
        ("RegisterQuestion", question),
        ("RegisteredPerson", person),
        ("RegisterAnswer", answer),
        ("RegisterMismatch", mismatch),
        ("RegisterMismatches", list("RegisterMismatch")),
    ]
}
