//! Two documents of one person become one, and two again.

use super::{Number, ShownPatient, patient_key, tagged};
use crate::api::conditional::{Based, Tagged, revision};
use crate::api::guard::{Body, Signed, licence};
use crate::api::problem::codes;
use crate::api::{Api, Problem};
use axum::extract::State;
use pacs_core::OrganisationCode;
use pacs_core::examination::Reason;
use pacs_core::role::duty::PatientMerge;
use serde::Deserialize;

/// Who is whom.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct Merge {
    /// The patient who goes into the one of the path.
    other: String,
    /// The state in which they were looked at.
    other_etag: String,
    reason: String,
    #[serde(default)]
    organisation: Option<OrganisationCode>,
}

pub(super) async fn merge(
    State(api): State<Api>,
    signed: Signed,
    number: Number,
    Based(expected): Based,
    Body(body): Body<Merge>,
) -> Result<Tagged<ShownPatient>, Problem> {
    let survivor = patient_key(&number?.0)?;
    let other = patient_key(&body.other)?;
    let other_expected = revision(&body.other_etag).ok_or(&codes::STALE)?;
    let reason = reason(&body.reason)?;
    let agent = signed.agent(&api);
    let licence = licence::<PatientMerge>(&agent, body.organisation)?;
    let at = api.world.moment();
    let merged = api
        .registry
        .merge_patients(
            &licence,
            (survivor, expected),
            (other, other_expected),
            reason,
            at,
        )
        .await?;
    Ok(tagged(&api, &agent, &merged))
}

/// Why it was wrong.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct Unmerge {
    reason: String,
    #[serde(default)]
    organisation: Option<OrganisationCode>,
}

pub(super) async fn unmerge(
    State(api): State<Api>,
    signed: Signed,
    number: Number,
    Body(body): Body<Unmerge>,
) -> Result<Tagged<ShownPatient>, Problem> {
    let loser = patient_key(&number?.0)?;
    let reason = reason(&body.reason)?;
    let agent = signed.agent(&api);
    let licence = licence::<PatientMerge>(&agent, body.organisation)?;
    let at = api.world.moment();
    let survivor = api
        .registry
        .unmerge_patient(&licence, loser, reason, at)
        .await?;
    Ok(tagged(&api, &agent, &survivor))
}

fn reason(text: &str) -> Result<Reason, Problem> {
    Reason::parse(text).map_err(|_| (&codes::REASON_NEEDED).into())
}
