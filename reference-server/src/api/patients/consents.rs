//! `/patients/{number}/consents`: for which organisations a patient agreed that their people see
//! what was made elsewhere, and that they do so no longer.

use super::{Number, ORGANISATION, patient_key};
use crate::api::asked::Asked;
use crate::api::guard::{Body, Signed, licence};
use crate::api::page::List;
use crate::api::problem::codes;
use crate::api::repeat::{First, Once};
use crate::api::routes::Operation;
use crate::api::{Api, Problem};
use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use chrono::{DateTime, FixedOffset, NaiveDate};
use pacs_core::OrganisationCode;
use pacs_core::examination::Reason;
use pacs_core::role::Permission;
use pacs_core::role::duty::{PatientEdit, PatientSearch};
use pacs_store::registry::consents::{self, Consent, ConsentId, Ground};
use pacs_store::registry::{Moment, Registry};
use serde::{Deserialize, Serialize};

pub(super) const LIST: Operation = Operation::get(
    "patientConsents",
    "For which organisations a patient agreed, with what ended or was withdrawn, the oldest first",
    || get(list),
)
.asks(&[ORGANISATION])
.gives(200, "Consents")
.refuses(&[404])
.needs(&[Permission::PatientSearch]);

pub(super) const GIVE: Operation = Operation::post(
    "giveConsent",
    "Write down that a patient agreed that an organisation sees what is there of them",
    || post(give),
)
.takes("NewConsent")
.gives(201, "Consent")
.refuses(&[404, 409])
.once()
.needs(&[Permission::PatientEdit]);

pub(super) const WITHDRAW: Operation = Operation::post(
    "withdrawConsent",
    "Write down that a patient agrees no longer",
    || post(withdraw),
)
.takes("ConsentWithdrawal")
.gives(200, "Consent")
.refuses(&[404, 409])
.needs(&[Permission::PatientEdit]);

/// What somebody writes down.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct NewConsent {
    to: OrganisationCode,
    /// The last day on which it holds.
    until: NaiveDate,
    ground: Ground,
    reference: String,
    #[serde(default)]
    organisation: Option<OrganisationCode>,
}

impl NewConsent {
    fn read(&self, at: Moment) -> Result<consents::NewConsent, Problem> {
        let end = self.until.and_hms_opt(23, 59, 59);
        let end = end.and_then(|end| end.and_local_timezone(*at.offset()).single());
        Ok(consents::NewConsent {
            to: self.to,
            until: end.ok_or(Problem::Malformed)?,
            ground: self.ground,
            reference: self.reference.trim().to_owned(),
        })
    }
}

/// Why it holds no longer.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct Withdrawal {
    reason: String,
    #[serde(default)]
    organisation: Option<OrganisationCode>,
}

/// A consent as pages see it.
#[derive(Serialize)]
pub(in crate::api) struct ShownConsent {
    id: String,
    to: OrganisationCode,
    until: NaiveDate,
    ground: Ground,
    reference: String,
    by: String,
    by_organisation: Option<OrganisationCode>,
    at: DateTime<FixedOffset>,
    /// Whether somebody sees something by it now.
    holds: bool,
    withdrawn: Option<ShownWithdrawal>,
}

#[derive(Serialize)]
struct ShownWithdrawal {
    by: String,
    reason: String,
    at: DateTime<FixedOffset>,
}

impl ShownConsent {
    fn new(consent: Consent, at: Moment) -> Self {
        Self {
            id: consent.id.to_string(),
            to: consent.to,
            until: consent.until.date_naive(),
            ground: consent.ground,
            holds: consent.holds(at),
            reference: consent.reference,
            by: consent.by,
            by_organisation: consent.by_organisation,
            at: consent.at,
            withdrawn: consent.withdrawn.map(|withdrawn| ShownWithdrawal {
                by: withdrawn.by,
                reason: withdrawn.reason.reveal().to_owned(),
                at: withdrawn.at,
            }),
        }
    }
}

async fn list(
    State(api): State<Api>,
    signed: Signed,
    number: Number,
    mut asked: Asked,
) -> Result<Json<List<ShownConsent>>, Problem> {
    let organisation = asked.take_named("organisation")?;
    asked.done()?;
    let key = patient_key(&number?.0)?;
    let agent = signed.agent(&api);
    let licence = licence::<PatientSearch>(&agent, organisation)?;
    let at = api.world.moment();
    let found = api.registry.consents_of_patient(&licence, key, at).await?;
    let shown = found.into_iter();
    let shown = shown.map(|consent| ShownConsent::new(consent.value, at));
    Ok(Json(List::whole(shown.collect())))
}

async fn give(
    State(api): State<Api>,
    signed: Signed,
    number: Number,
    once: Once<NewConsent>,
) -> Result<(StatusCode, Json<ShownConsent>), Problem> {
    let key = patient_key(&number?.0)?;
    let agent = signed.agent(&api);
    let licence = licence::<PatientEdit>(&agent, once.body.organisation)?;
    let at = api.world.moment();
    let new = once.body.read(at)?;
    let work = |registry: Registry| {
        let (licence, new) = (&licence, &new);
        async move { registry.record_consent(licence, key, new, at).await }
    };
    let consent = match once.first(&api, &signed, work).await? {
        First::Before(key) => {
            let id = ConsentId::of_key(&key)?;
            api.registry.consent(&licence, id).await?
        }
        First::Done(consent) => consent,
    };
    let shown = ShownConsent::new(consent.value, at);
    Ok((StatusCode::CREATED, Json(shown)))
}

async fn withdraw(
    State(api): State<Api>,
    signed: Signed,
    path: Result<Path<(String, String)>, PathRejection>,
    Body(body): Body<Withdrawal>,
) -> Result<Json<ShownConsent>, Problem> {
    let Path((number, id)) = path?;
    let key = patient_key(&number)?;
    let id = ConsentId::parse(&id).ok_or(&codes::NOT_FOUND)?;
    let reason = Reason::parse(&body.reason).map_err(|_| &codes::REASON_NEEDED)?;
    let agent = signed.agent(&api);
    let licence = licence::<PatientEdit>(&agent, body.organisation)?;
    let at = api.world.moment();
    let registry = &api.registry;
    let withdrawn = registry.withdraw_consent(&licence, (key, id), reason, at);
    Ok(Json(ShownConsent::new(withdrawn.await?.value, at)))
}
