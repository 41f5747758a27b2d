//! Legal holds: nothing of a study is erased as long as one stands.

use super::{WithReason, study_of};
use crate::api::conditional::{PerhapsBased, Tagged, etag};
use crate::api::guard::{Body, Signed};
use crate::api::openapi::{nothing_or, object, text, time};
use crate::api::problem::codes;
use crate::api::repeat::{First, Once};
use crate::api::routes::{Basis, Operation};
use crate::api::{Api, Problem};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use pacs_core::role::Permission;
use pacs_store::registry::holds::Hold;
use pacs_store::registry::rejections::RejectionId;
use pacs_store::registry::{Moment, Registry, Stored};
use pacs_store::rejections::RejectError;
use serde::Serialize;
use serde_json::Value;

pub(super) const HOLD: Operation =
    Operation::get("hold", "The legal hold of a study", || get(read))
        .gives(200, "Hold")
        .tagged()
        .refuses(&[404])
        .needs(&[Permission::ImageEraseApprove, Permission::ImageErasePropose]);

pub(super) const SET_HOLD: Operation = Operation::post(
    "setHold",
    "Hold a study: nothing of it is erased until that is lifted",
    || post(set),
)
.takes("WithReason")
.gives(201, "Hold")
.tagged()
.refuses(&[404, 409])
.once()
.needs(&[Permission::ImageEraseApprove, Permission::ImageErasePropose]);

pub(super) const LIFT_HOLD: Operation =
    Operation::post("liftHold", "Lift the hold of a study", || post(lift))
        .takes("WithReason")
        .gives(200, "Hold")
        .tagged()
        .based(Basis::Optional)
        .refuses(&[404])
        .needs(&[Permission::ImageEraseApprove]);

/// What a hold looks like.
pub(super) fn schema() -> Value {
    let members = [
        ("id", text()),
        ("etag", text()),
        ("study", text()),
        ("organisation", nothing_or(text())),
        ("reason", text()),
        ("by", text()),
        ("at", time()),
        ("lifted_by", nothing_or(text())),
        ("lifted_at", nothing_or(time())),
    ];
    object(&members, &[])
}

/// A hold.
#[derive(Serialize)]
struct HoldShown {
    id: String,
    etag: String,
    study: String,
    organisation: Option<String>,
    reason: String,
    by: String,
    at: Moment,
    lifted_by: Option<String>,
    lifted_at: Option<Moment>,
}

impl From<&Stored<Hold>> for HoldShown {
    fn from(stored: &Stored<Hold>) -> Self {
        let of = &stored.value;
        let lifted = of.lifted.as_ref();
        Self {
            id: of.id.to_string(),
            etag: etag(stored.revision),
            study: of.study.as_str().to_owned(),
            organisation: of.organisation.map(|code| code.to_string()),
            reason: of.reason.reveal().to_owned(),
            by: of.by.clone(),
            at: of.at,
            lifted_by: lifted.map(|lifted| lifted.by.clone()),
            lifted_at: lifted.map(|lifted| lifted.at),
        }
    }
}

/// `GET /studies/{study}/hold`
async fn read(
    State(api): State<Api>,
    signed: Signed,
    path: Result<Path<String>, PathRejection>,
) -> Result<Tagged<HoldShown>, Problem> {
    let (agent, study) = (signed.agent(&api), study_of(path)?);
    let at = api.world.moment();
    let found = api.registry.open_hold(&agent, &study, at).await?;
    Ok(Tagged(StatusCode::OK, found.revision, (&found).into()))
}

/// `POST /studies/{study}/hold`
async fn set(
    State(api): State<Api>,
    signed: Signed,
    path: Result<Path<String>, PathRejection>,
    once: Once<WithReason>,
) -> Result<Tagged<HoldShown>, Problem> {
    let (study, reason) = (study_of(path)?, once.body.reason()?);
    let random = api.world.random().map_err(|_| &codes::INTERNAL)?;
    let agent = signed.agent(&api);
    let at = api.world.moment();
    let keeping = api.keeping()?;
    let work = async |registry: Registry| {
        let rejections = keeping.rejections.through(registry);
        let held = rejections.hold(&agent, &study, &reason, random, at);
        match held.await {
            Err(RejectError::Registry(error)) => Err(error),
            other => Ok(other),
        }
    };
    let held = match once.first(&api, &signed, work).await? {
        First::Before(id) => {
            let id = RejectionId::parse(&id)?;
            api.registry.hold_by_id(&agent, &id).await?
        }
        First::Done(held) => held?,
    };
    Ok(Tagged(StatusCode::CREATED, held.revision, (&held).into()))
}

/// `POST /studies/{study}/hold/lifting`
async fn lift(
    State(api): State<Api>,
    signed: Signed,
    path: Result<Path<String>, PathRejection>,
    PerhapsBased(expected): PerhapsBased,
    Body(body): Body<WithReason>,
) -> Result<Tagged<HoldShown>, Problem> {
    let (study, reason) = (study_of(path)?, body.reason()?);
    let agent = signed.agent(&api);
    let at = api.world.moment();
    let lifted = api
        .registry
        .lift_hold(&agent, (&study, expected), &reason, at)
        .await?;
    Ok(Tagged(StatusCode::OK, lifted.revision, (&lifted).into()))
}
