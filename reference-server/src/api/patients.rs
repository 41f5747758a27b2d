//! `/patients`: finding them, registering them, correcting them, and two that are one.

mod consents;
mod merging;
mod schemas;
mod shown;
mod typed;

use super::asked::Asked;
use super::conditional::{Based, Tagged};
use super::guard::{Body, Signed, licence};
use super::page::{CURSOR, LIMIT, List, Page};
use super::problem::Code;
use super::problem::codes::{self, codes};
use super::repeat::{First, Once};
use super::routes::{Basis, Family, Operation, Route};
use super::{Api, PREFIX, Problem};
use crate::register::Purpose;
use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use pacs_core::fold::retyped;
use pacs_core::patient::{Identifier, PatientKey, Sex};
use pacs_core::role::duty::{PatientEdit, PatientMerge, PatientSearch};
use pacs_core::role::{Agent, Licence, Permission};
use pacs_core::{OrganisationCode, Pin};
use pacs_store::registry::patients::{FoundPatients, Particulars, Patient, PatientQuery};
use pacs_store::registry::{Registry, RegistryError, Stored};
use serde::{Deserialize, Serialize};
use shown::{Change, FoundPatient, Seer, ShownPatient};
use typed::{Correction, NewPatient};

pub(super) use schemas::in_short;
pub(super) use shown::{Name, PatientInShort, warnings};
pub(super) use typed::TypedName;

codes! {
    BAD_PATIENT_NUMBER = 422 "patient.number_invalid" "this is the number of no patient";
    PIN_CHANGE_NEEDED = 422 "patient.pin_change" "it must be said why the PIN is another";
    PIN_INVALID = 422 "patient.pin_invalid" "this is no PIN";
}

pub(super) const FAMILY: Family = Family {
    routes: &[
        Route {
            path: "/patients",
            operations: &[REGISTER],
        },
        Route {
            path: "/patients/search",
            operations: &[SEARCH],
        },
        Route {
            path: "/patients/unidentified",
            operations: &[REGISTER_UNIDENTIFIED],
        },
        Route {
            path: "/patients/{number}",
            operations: &[READ, CHANGE],
        },
        Route {
            path: "/patients/{number}/consents",
            operations: &[consents::LIST, consents::GIVE],
        },
        Route {
            path: "/patients/{number}/consents/{consent}/withdrawal",
            operations: &[consents::WITHDRAW],
        },
        Route {
            path: "/patients/{number}/history",
            operations: &[HISTORY],
        },
        Route {
            path: "/patients/{number}/merge",
            operations: &[MERGE],
        },
        Route {
            path: "/patients/{number}/unmerge",
            operations: &[UNMERGE],
        },
    ],
    schemas: schemas::schemas,
};

const REGISTER: Operation = Operation::post(
    "registerPatient",
    "Register a patient; whoever has one of the identifiers is given, and stays as they are",
    || post(register),
)
.takes("NewPatient")
.gives(201, "Patient")
.tagged()
.or_gives(200, "Patient")
.refuses(&[409])
.once()
.needs(&[Permission::PatientEdit]);

const SEARCH: Operation = Operation::post(
    "searchPatients",
    "Look for patients by an identifier or a name: a POST, for addresses are kept in logs",
    || post(search),
)
.takes("PatientSearch")
.gives(200, "FoundPatients")
.needs(&[Permission::PatientSearch]);

const REGISTER_UNIDENTIFIED: Operation = Operation::post(
    "registerUnidentified",
    "Register somebody in an emergency whose name nobody knows",
    || post(register_unidentified),
)
.takes("UnidentifiedPatient")
.gives(201, "Patient")
.tagged()
.refuses(&[409])
.once()
.needs(&[Permission::PatientEdit]);

const READ: Operation = Operation::get(
    "readPatient",
    "The card of a patient; by a number that went into another, of that one",
    || get(read),
)
.asks(&[ORGANISATION])
.gives(200, "Patient")
.tagged()
.refuses(&[404])
.needs(&[
    Permission::PatientEdit,
    Permission::PatientMerge,
    Permission::PatientSearch,
]);

const CHANGE: Operation = Operation::put(
    "changePatient",
    "Say something else of a patient; what it was stays in the history",
    || put(change),
)
.takes("Correction")
.gives(200, "Patient")
.tagged()
.based(Basis::Needed)
.refuses(&[404, 409])
.needs(&[Permission::PatientEdit]);

const HISTORY: Operation = Operation::get(
    "patientHistory",
    "What was changed of a patient, by whom, oldest first",
    || get(history),
)
.asks(&[ORGANISATION, LIMIT, CURSOR])
.gives(200, "PatientHistory")
.refuses(&[404])
.needs(&[Permission::PatientSearch]);

const MERGE: Operation = Operation::post(
    "mergePatients",
    "Say that another patient is this one; it can be undone for 90 days",
    || post(merging::merge),
)
.takes("PatientMerge")
.gives(200, "Patient")
.tagged()
.based(Basis::Needed)
.refuses(&[404, 409])
.needs(&[Permission::PatientMerge]);

const UNMERGE: Operation = Operation::post(
    "unmergePatient",
    "Undo that this patient went into another; gives that one",
    || post(merging::unmerge),
)
.takes("PatientUnmerge")
.gives(200, "Patient")
.tagged()
.refuses(&[404, 409])
.needs(&[Permission::PatientMerge]);

/// The parameter that says for which organisation something is done.
pub(super) const ORGANISATION: super::routes::Parameter = super::routes::Parameter {
    name: "organisation",
    summary: "for which organisation; else the only one where whoever asks may do it",
    schema: r#"{"type": "string", "pattern": "^[0-9]{3}$"}"#,
};

/// The number of a patient as it is typed.
pub(super) fn patient_key(text: &str) -> Result<PatientKey, Problem> {
    PatientKey::parse(text).map_err(|_| (&BAD_PATIENT_NUMBER).into())
}

/// What somebody looks for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Search {
    /// An identifier or words of a name.
    text: String,
    #[serde(default)]
    birth_date: Option<chrono::NaiveDate>,
    #[serde(default)]
    organisation: Option<OrganisationCode>,
    #[serde(default)]
    limit: Option<usize>,
}

/// Those who were found.
#[derive(Serialize)]
pub(super) struct Found {
    items: Vec<FoundPatient>,
    /// There are more: ask for more words, or for the date of birth.
    has_more: bool,
    /// What was meant, where it was typed with the Latin keyboard.
    #[serde(skip_serializing_if = "Option::is_none")]
    retyped: Option<String>,
}

async fn search(
    State(api): State<Api>,
    signed: Signed,
    Body(body): Body<Search>,
) -> Result<Json<Found>, Problem> {
    let limit = body.limit.unwrap_or(crate::limits::API_PAGE_COUNT);
    if !(1..=crate::limits::API_PAGE_COUNT_MAX).contains(&limit) {
        return Err(Problem::Malformed);
    }
    let agent = signed.agent(&api);
    let licence = licence::<PatientSearch>(&agent, body.organisation)?;
    let query = query(&api, &body, licence.organisation())?;
    let at = api.world.moment();
    let mut found = api
        .registry
        .find_patients(&licence, &query, limit, at)
        .await?;
    let mut meant = None;
    if let (PatientQuery::Name { words, birth_date }, []) = (&query, found.patients.as_slice())
        && let Some(words) = retyped(words)
    {
        let birth_date = *birth_date;
        let again = PatientQuery::Name {
            words: words.clone(),
            birth_date,
        };
        // What makes no word in the other letters was meant as it is.
        match api
            .registry
            .find_patients(&licence, &again, limit, at)
            .await
        {
            Ok(others) if !others.patients.is_empty() => {
                found = others;
                meant = Some(words);
            }
            Ok(_) | Err(RegistryError::Refused(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let FoundPatients { patients, has_more } = found;
    Ok(Json(Found {
        items: patients.into_iter().map(FoundPatient::from).collect(),
        has_more,
        retyped: meant,
    }))
}

/// What `body` asks for; the numbers of cards are those of `organisation`.
fn query(
    api: &Api,
    body: &Search,
    organisation: Option<OrganisationCode>,
) -> Result<PatientQuery, Problem> {
    let digits: Vec<char> = body
        .text
        .chars()
        .filter(|c| !c.is_whitespace() && *c != '-')
        .take(15)
        .collect();
    if digits.len() == 14 && digits.iter().all(char::is_ascii_digit) {
        let today = api.world.moment().date_naive();
        let pin = Pin::parse(&body.text, today);
        let pin = pin.map_err(|error| PIN_INVALID.with("rule", error.code()))?;
        return Ok(PatientQuery::Identifier(Identifier::Pin(pin)));
    }
    let name = || PatientQuery::Name {
        words: body.text.clone(),
        birth_date: body.birth_date,
    };
    if !body.text.chars().any(|c| c.is_ascii_digit()) {
        return Ok(name());
    }
    if let Ok(key) = patient_key(&body.text) {
        return Ok(PatientQuery::Identifier(Identifier::Key(key)));
    }
    if let Ok(document) = pacs_core::patient::Document::read(&body.text) {
        return Ok(PatientQuery::Identifier(Identifier::Document(document)));
    }
    let organisation = organisation.ok_or(&codes::ORGANISATION_NEEDED)?;
    Ok(PatientQuery::parse(
        &body.text,
        body.birth_date,
        organisation,
    ))
}

async fn register(
    State(api): State<Api>,
    signed: Signed,
    once: Once<NewPatient>,
) -> Result<Response, Problem> {
    let agent = signed.agent(&api);
    let licence = licence::<PatientEdit>(&agent, once.body.organisation)?;
    let at = api.world.moment();
    let alike = once.body.alike();
    let particulars = once.body.read(&agent, at.date_naive())?;
    let work = |registry: Registry| {
        let (api, licence) = (&api, &licence);
        async move {
            let particulars = judged(api, licence, Purpose::Registration, particulars).await?;
            registry
                .register_patient(licence, particulars, alike, at)
                .await
        }
    };
    let (status, patient) = match once.first(&api, &signed, work).await? {
        First::Before(key) => (StatusCode::CREATED, made(&api, &licence, &key).await?),
        First::Done(registered) => {
            use pacs_store::registry::patients::Registered;
            let status = match registered {
                Registered::Known(_) => StatusCode::OK,
                Registered::New(_) => StatusCode::CREATED,
            };
            (status, registered.patient().clone())
        }
    };
    Ok(created(&api, &agent, status, &patient))
}

/// What is said of a patient, held against what the register just told whoever says it. Who may
/// not ask the register was told nothing.
async fn judged(
    api: &Api,
    licence: &Licence<PatientEdit>,
    purpose: Purpose,
    particulars: Particulars,
) -> Result<Particulars, RegistryError> {
    match super::guard::licence(licence.agent(), licence.organisation()) {
        Ok(licence) => api.register.judged(&licence, purpose, particulars).await,
        Err(_not_permitted) => Ok(particulars),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Unidentified {
    #[serde(default)]
    organisation: Option<OrganisationCode>,
    #[serde(default)]
    sex: Option<Sex>,
}

async fn register_unidentified(
    State(api): State<Api>,
    signed: Signed,
    once: Once<Unidentified>,
) -> Result<Response, Problem> {
    let agent = signed.agent(&api);
    let licence = licence::<PatientEdit>(&agent, once.body.organisation)?;
    let organisation = licence.organisation().ok_or(&codes::ORGANISATION_NEEDED)?;
    let (sex, at) = (once.body.sex, api.world.moment());
    let work = |registry: Registry| {
        let licence = &licence;
        async move {
            registry
                .register_unidentified(licence, organisation, sex, at)
                .await
        }
    };
    let patient = match once.first(&api, &signed, work).await? {
        First::Before(key) => made(&api, &licence, &key).await?,
        First::Done(patient) => patient,
    };
    Ok(created(&api, &agent, StatusCode::CREATED, &patient))
}

/// The patient that a request made before.
async fn made(
    api: &Api,
    licence: &Licence<PatientEdit>,
    key: &str,
) -> Result<Stored<Patient>, Problem> {
    let key = patient_key(key)?;
    let at = api.world.moment();
    Ok(api.registry.patient_to_edit(licence, key, at).await?)
}

fn created(api: &Api, agent: &Agent, status: StatusCode, patient: &Stored<Patient>) -> Response {
    let shown = shown(api, agent, patient);
    let location = format!("{PREFIX}/patients/{}", shown.number());
    let tagged = Tagged(status, patient.revision, shown);
    ([(header::LOCATION, location)], tagged).into_response()
}

fn shown(api: &Api, agent: &Agent, patient: &Stored<Patient>) -> ShownPatient {
    let seer = Seer {
        agent,
        today: api.world.moment().date_naive(),
    };
    ShownPatient::new(patient, &seer)
}

fn tagged(api: &Api, agent: &Agent, patient: &Stored<Patient>) -> Tagged<ShownPatient> {
    let shown = shown(api, agent, patient);
    Tagged(StatusCode::OK, patient.revision, shown)
}

/// The card of a patient, for whoever may look for patients, correct them or say that two are one.
async fn card(
    api: &Api,
    agent: &Agent,
    organisation: Option<OrganisationCode>,
    key: PatientKey,
) -> Result<Stored<Patient>, Problem> {
    let at = api.world.moment();
    let refused = match licence::<PatientSearch>(agent, organisation) {
        Ok(licence) => return Ok(api.registry.patient(&licence, key, at).await?),
        Err(refused) => refused,
    };
    if let Ok(licence) = licence::<PatientEdit>(agent, organisation) {
        return Ok(api.registry.patient_to_edit(&licence, key, at).await?);
    }
    if let Ok(licence) = licence::<PatientMerge>(agent, organisation) {
        return Ok(api.registry.patient_to_merge(&licence, key, at).await?);
    }
    Err(refused)
}

type Number = Result<Path<String>, PathRejection>;

async fn read(
    State(api): State<Api>,
    signed: Signed,
    number: Number,
    mut asked: Asked,
) -> Result<Tagged<ShownPatient>, Problem> {
    let organisation = asked.take_named("organisation")?;
    asked.done()?;
    let key = patient_key(&number?.0)?;
    let agent = signed.agent(&api);
    let patient = card(&api, &agent, organisation, key).await?;
    Ok(tagged(&api, &agent, &patient))
}

async fn change(
    State(api): State<Api>,
    signed: Signed,
    number: Number,
    Based(expected): Based,
    Body(body): Body<Correction>,
) -> Result<Tagged<ShownPatient>, Problem> {
    let key = patient_key(&number?.0)?;
    let agent = signed.agent(&api);
    let licence = licence::<PatientEdit>(&agent, body.organisation)?;
    let at = api.world.moment();
    let before = api.registry.patient_to_edit(&licence, key, at).await?;
    if before.value.key != key {
        let into = shown(&api, &agent, &before).number();
        return Err(super::problem::merged(&into));
    }
    if before.revision != expected {
        return Err((&codes::STALE).into());
    }
    let (particulars, reason) = body.read(&agent, &before.value.particulars, at.date_naive())?;
    let particulars = judged(&api, &licence, Purpose::Correction, particulars).await?;
    let changed = api
        .registry
        .change_patient(&licence, (key, expected), particulars, reason, at)
        .await?;
    Ok(tagged(&api, &agent, &changed))
}

async fn history(
    State(api): State<Api>,
    signed: Signed,
    number: Number,
    mut asked: Asked,
) -> Result<Json<List<Change>>, Problem> {
    let organisation = asked.take_named("organisation")?;
    let key = patient_key(&number?.0)?;
    let page = Page::take(&mut asked, (&api, &signed), &format!("history of {key:?}"))?;
    asked.done()?;
    let agent = signed.agent(&api);
    let licence = licence::<PatientSearch>(&agent, organisation)?;
    let at = api.world.moment();
    let entries = api.registry.patient_history(&licence, key, at).await?;
    let (entries, next) = page.part(entries)?;
    let seer = Seer {
        agent: &agent,
        today: at.date_naive(),
    };
    let items = entries.into_iter();
    let items = items.map(|entry| Change::new(entry, &seer)).collect();
    Ok(Json(page.of(items, next.as_deref())))
}
