//! `/session/break-glass`: one patient in an emergency; `/break-glass`: those whom somebody has to
//! look at.

use super::guard::{Body, Signed};
use super::page::{List, Page};
use super::session::to_the_end;
use super::{Api, Problem};
use crate::accounts::emergency::{Shown, ToReview, Wanted};
use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use chrono::{DateTime, NaiveDate, Utc};
use pacs_core::account::break_glass::{BreakGlassReason, Verdict};
use pacs_core::patient::PatientKey;
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    patient: String,
    reason: BreakGlassReason,
    explanation: String,
    proof: String,
}

#[derive(Serialize)]
pub(super) struct Opened {
    id: String,
    user: String,
    patient: String,
    reason: BreakGlassReason,
    explanation: String,
    opened_at: DateTime<Utc>,
    closed_at: Option<DateTime<Utc>>,
    review_due: NaiveDate,
    verdict: Option<Verdict>,
}

impl From<Shown> for Opened {
    fn from(shown: Shown) -> Self {
        let emergency = shown.emergency;
        Self {
            id: shown.id,
            user: emergency.user.as_str().to_owned(),
            patient: emergency.patient.to_string(),
            reason: emergency.reason,
            explanation: emergency.explanation,
            opened_at: emergency.opened_at,
            closed_at: emergency.closed_at,
            review_due: shown.review_due,
            verdict: emergency.review.map(|review| review.verdict),
        }
    }
}

fn list(found: Vec<Shown>) -> Json<List<Opened>> {
    Json(List::whole(found.into_iter().map(Opened::from).collect()))
}

pub(super) async fn open(
    State(api): State<Api>,
    signed: Signed,
    Body(body): Body<Asked>,
) -> Result<(StatusCode, Json<Opened>), Problem> {
    let wanted = Wanted {
        patient: PatientKey::parse(&body.patient).map_err(|_| Problem::Malformed)?,
        reason: body.reason,
        explanation: body.explanation,
        proof: body.proof,
    };
    let accounts = api.accounts.clone();
    let opened = to_the_end(async move {
        accounts
            .open_in_emergency(&signed.who, &wanted, signed.from)
            .await
    })
    .await?;
    Ok((StatusCode::CREATED, Json(opened.into())))
}

pub(super) async fn read(
    State(api): State<Api>,
    signed: Signed,
) -> Result<Json<List<Opened>>, Problem> {
    Ok(list(api.accounts.open_emergencies(&signed.who).await?))
}

pub(super) async fn close(State(api): State<Api>, signed: Signed) -> Result<StatusCode, Problem> {
    let closed = api.accounts.close_emergencies(&signed.who, signed.from);
    closed.await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn to_review(
    State(api): State<Api>,
    signed: Signed,
    mut asked: super::asked::Asked,
) -> Result<Json<List<Opened>>, Problem> {
    let page = Page::take(&mut asked, (&api, &signed), "emergencies")?;
    asked.done()?;
    let part = (page.after.as_deref(), page.limit);
    let accounts = &api.accounts;
    let found = accounts.emergencies_to_review(&signed.who, part, signed.from);
    let ToReview { emergencies, next } = found.await?;
    let items = emergencies.into_iter().map(Opened::from).collect();
    Ok(Json(page.of(items, next.as_deref())))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Judged {
    verdict: Verdict,
    explanation: String,
}

pub(super) async fn review(
    State(api): State<Api>,
    signed: Signed,
    id: Result<Path<String>, PathRejection>,
    Body(body): Body<Judged>,
) -> Result<Json<Opened>, Problem> {
    let Path(id) = id.map_err(|_| Problem::Malformed)?;
    let judged = (body.verdict, body.explanation.as_str());
    let accounts = &api.accounts;
    let reviewed = accounts.review_emergency(&signed.who, &id, judged, signed.from);
    Ok(Json(reviewed.await?.into()))
}
