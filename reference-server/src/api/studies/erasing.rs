//! Erasing for good, by two people, and the policy that says for how long images are kept.

use super::{WithReason, id_of, study_of};
use crate::api::conditional::{Based, PerhapsBased, Tagged, etag};
use crate::api::guard::{Body, Signed};
use crate::api::page::List;
use crate::api::problem::codes;
use crate::api::repeat::{First, Once};
use crate::api::{Api, Problem};
use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use pacs_core::retention::RetentionPolicy;
use pacs_core::role::duty::OrganisationsManage;
use pacs_store::registry::erasures::{Erasure, ErasureState, Ground};
use pacs_store::registry::rejections::RejectionId;
use pacs_store::registry::{Moment, Registry, Revision, Stored};
use pacs_store::rejections::RejectError;
use serde::Serialize;

/// An erasure.
#[derive(Serialize)]
pub(super) struct ErasureShown {
    id: String,
    etag: String,
    study: String,
    organisation: Option<String>,
    ground: Ground,
    reason: String,
    by: String,
    at: Moment,
    state: &'static str,
    agreed_by: Option<String>,
    not_before: Option<Moment>,
    final_at: Option<Moment>,
    destroyed_at: Option<Moment>,
    given_up_by: Option<String>,
}

impl From<&Stored<Erasure>> for ErasureShown {
    fn from(stored: &Stored<Erasure>) -> Self {
        let of = &stored.value;
        let mut shown = Self {
            id: of.id.to_string(),
            etag: etag(stored.revision),
            study: of.study.as_str().to_owned(),
            organisation: of.organisation.map(|code| code.to_string()),
            ground: of.ground,
            reason: of.reason.reveal().to_owned(),
            by: of.by.clone(),
            at: of.at,
            state: "proposed",
            agreed_by: None,
            not_before: None,
            final_at: None,
            destroyed_at: None,
            given_up_by: None,
        };
        match &of.state {
            ErasureState::Agreed { by, not_before, .. } => {
                shown.state = "agreed";
                shown.agreed_by = Some(by.clone());
                shown.not_before = Some(*not_before);
            }
            ErasureState::Final {
                by,
                at,
                destroyed_at,
            } => {
                shown.state = "final";
                shown.agreed_by = Some(by.clone());
                shown.final_at = Some(*at);
                shown.destroyed_at = *destroyed_at;
            }
            ErasureState::GivenUp(turned) => {
                shown.state = "given_up";
                shown.given_up_by = Some(turned.by.clone());
            }
            ErasureState::Proposed => {}
        }
        shown
    }
}

/// `GET /retention`
pub(super) async fn retention(
    State(api): State<Api>,
    _signed: Signed,
) -> Result<Tagged<RetentionPolicy>, Problem> {
    let (policy, revision) = api.registry.retention().await?;
    let revision = revision.unwrap_or(Revision(0));
    Ok(Tagged(StatusCode::OK, revision, policy))
}

/// `PUT /retention`
pub(super) async fn set_retention(
    State(api): State<Api>,
    signed: Signed,
    Based(expected): Based,
    Body(policy): Body<RetentionPolicy>,
) -> Result<Tagged<RetentionPolicy>, Problem> {
    let agent = signed.agent(&api);
    let licence = agent.national_licence::<OrganisationsManage>()?;
    let expected = (expected != Revision(0)).then_some(expected);
    let at = api.world.moment();
    let set = api.registry.set_retention(&licence, &policy, expected, at);
    Ok(Tagged(StatusCode::OK, set.await?, policy))
}

/// `POST /studies/{study}/erasure`
pub(super) async fn propose(
    State(api): State<Api>,
    signed: Signed,
    path: Result<Path<String>, PathRejection>,
    once: Once<WithReason>,
) -> Result<Tagged<ErasureShown>, Problem> {
    let (study, reason) = (study_of(path)?, once.body.reason()?);
    let random = api.world.random().map_err(|_| &codes::INTERNAL)?;
    let agent = signed.agent(&api);
    let at = api.world.moment();
    let keeping = api.keeping()?;
    let work = async |registry: Registry| {
        let rejections = keeping.rejections.through(registry);
        let proposed = rejections.propose_erasing(&agent, &study, &reason, random, at);
        match proposed.await {
            Err(RejectError::Registry(error)) => Err(error),
            other => Ok(other),
        }
    };
    let proposed = match once.first(&api, &signed, work).await? {
        First::Before(id) => {
            let id = RejectionId::parse(&id)?;
            api.registry.erasure(&agent, &id).await?
        }
        First::Done(proposed) => proposed?,
    };
    Ok(Tagged(
        StatusCode::CREATED,
        proposed.revision,
        (&proposed).into(),
    ))
}

/// `GET /erasures`
pub(super) async fn list(
    State(api): State<Api>,
    signed: Signed,
) -> Result<Json<List<ErasureShown>>, Problem> {
    let agent = signed.agent(&api);
    let what = (None, "erasures".to_owned());
    let at = api.world.moment();
    api.registry.note_look(&agent, what, at).await?;
    let open = api.registry.open_erasures(&agent).await?;
    Ok(Json(List::whole(open.iter().map(Into::into).collect())))
}

/// `GET /erasures/{id}`
pub(super) async fn read(
    State(api): State<Api>,
    signed: Signed,
    path: Result<Path<String>, PathRejection>,
) -> Result<Tagged<ErasureShown>, Problem> {
    let (agent, id) = (signed.agent(&api), id_of(path)?);
    let at = api.world.moment();
    let found = api.registry.open_erasure(&agent, &id, at).await?;
    Ok(Tagged(StatusCode::OK, found.revision, (&found).into()))
}

/// `POST /erasures/{id}/agreement`
pub(super) async fn agree(
    State(api): State<Api>,
    signed: Signed,
    path: Result<Path<String>, PathRejection>,
    PerhapsBased(expected): PerhapsBased,
) -> Result<Tagged<ErasureShown>, Problem> {
    let id = id_of(path)?;
    let agent = signed.agent(&api);
    let at = api.world.moment();
    let agreed = api
        .registry
        .agree_to_erasure(&agent, (&id, expected), at)
        .await?;
    Ok(Tagged(StatusCode::OK, agreed.revision, (&agreed).into()))
}

/// `POST /erasures/{id}/giving-up`
pub(super) async fn give_up(
    State(api): State<Api>,
    signed: Signed,
    path: Result<Path<String>, PathRejection>,
    PerhapsBased(expected): PerhapsBased,
    Body(body): Body<WithReason>,
) -> Result<Tagged<ErasureShown>, Problem> {
    let (id, reason) = (id_of(path)?, body.reason()?);
    let agent = signed.agent(&api);
    let at = api.world.moment();
    let given_up = api
        .registry
        .give_up_erasure(&agent, (&id, expected), &reason, at);
    let given_up = given_up.await?;
    Ok(Tagged(
        StatusCode::OK,
        given_up.revision,
        (&given_up).into(),
    ))
}
