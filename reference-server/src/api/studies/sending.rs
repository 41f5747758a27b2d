//! Sending studies back to consoles and workstations.

use super::shown::SendingShown;
use super::{NO_ADDRESS, id_of, seen, study_of};
use crate::api::conditional::{PerhapsBased, Tagged};
use crate::api::examinations::Seeing;
use crate::api::guard::Signed;
use crate::api::problem::codes;
use crate::api::repeat::{First, Once};
use crate::api::{Api, Problem};
use crate::sending::SendingError;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use pacs_core::AeTitle;
use pacs_core::uid::SeriesUid;
use pacs_store::registry::Registry;
use pacs_store::registry::rejections::RejectionId;
use serde::Deserialize;

/// What is to be sent, and where to.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewSending {
    destination: String,
    #[serde(default)]
    series: Option<String>,
}

impl From<SendingError> for Problem {
    fn from(error: SendingError) -> Self {
        match error {
            SendingError::Index(error) => error.into(),
            SendingError::NoAddress(title) => NO_ADDRESS.with("destination", title.as_str()),
            SendingError::NotFound => (&codes::NOT_FOUND).into(),
            SendingError::Random(_) => (&codes::INTERNAL).into(),
            SendingError::Registry(error) => error.into(),
        }
    }
}

/// `POST /studies/{study}/sendings`
pub(super) async fn send(
    State(api): State<Api>,
    signed: Signed,
    path: Result<Path<String>, PathRejection>,
    once: Once<NewSending>,
) -> Result<Tagged<SendingShown>, Problem> {
    let study = study_of(path)?;
    let body = &once.body;
    let destination = AeTitle::parse(&body.destination).map_err(|_| Problem::Malformed)?;
    let series = body.series.as_deref().map(SeriesUid::parse_legacy);
    let series = series.transpose().map_err(|_| &codes::NOT_FOUND)?;
    let seeing = Seeing::of(&api, &signed).await?;
    let agent = &seeing.agent;
    seen(&api, &seeing, &study, api.world.moment()).await?;
    let sendings = &api.keeping()?.sendings;
    let work = async |registry: Registry| {
        let ordered = sendings.order_through(&registry, agent, (study, series), destination);
        match ordered.await {
            Err(SendingError::Registry(error)) => Err(error),
            other => Ok(other),
        }
    };
    let ordered = match once.first(&api, &signed, work).await? {
        First::Before(id) => {
            let id = RejectionId::parse(&id)?;
            api.registry.sending(agent, &id).await?
        }
        First::Done(ordered) => ordered?,
    };
    Ok(Tagged(
        StatusCode::ACCEPTED,
        ordered.revision,
        (&ordered).into(),
    ))
}

/// `GET /sendings/{id}`
pub(super) async fn read(
    State(api): State<Api>,
    signed: Signed,
    path: Result<Path<String>, PathRejection>,
) -> Result<Tagged<SendingShown>, Problem> {
    let (agent, id) = (signed.agent(&api), id_of(path)?);
    let at = api.world.moment();
    let found = api.registry.open_sending(&agent, &id, at).await?;
    Ok(Tagged(StatusCode::OK, found.revision, (&found).into()))
}

/// `DELETE /sendings/{id}`: breaks it off.
pub(super) async fn cancel(
    State(api): State<Api>,
    signed: Signed,
    path: Result<Path<String>, PathRejection>,
    PerhapsBased(expected): PerhapsBased,
) -> Result<Tagged<SendingShown>, Problem> {
    let id = id_of(path)?;
    let agent = signed.agent(&api);
    let at = api.world.moment();
    let cancelled = api
        .registry
        .cancel_sending(&agent, (&id, expected), at)
        .await?;
    api.keeping()?.sendings.look();
    Ok(Tagged(
        StatusCode::OK,
        cancelled.revision,
        (&cancelled).into(),
    ))
}
