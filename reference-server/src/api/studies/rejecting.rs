//! Rejecting and bringing back, and what devices propose.

use super::shown::{InstanceShown, NoteShown, RejectionShown};
use super::{id_of, seen, study_of};
use crate::api::asked::Asked as Parameters;
use crate::api::conditional::{PerhapsBased, Tagged};
use crate::api::examinations::Seeing;
use crate::api::guard::{Body, Signed, organisations};
use crate::api::page::{List, Page};
use crate::api::patients::patient_key;
use crate::api::problem::codes;
use crate::api::repeat::{First, Once};
use crate::api::{Api, Problem};
use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use pacs_core::examination::Reason;
use pacs_core::rejection::{Asked, Quality, Title, may_see};
use pacs_core::role::Agent;
use pacs_core::uid::{SeriesUid, SopInstanceUid, StudyUid};
use pacs_core::{ExaminationId, OrganisationCode};
use pacs_store::registry::Registry;
use pacs_store::registry::rejections::{NoteState, RejectionId, RejectionSearch};
use pacs_store::rejections::{Meant, RejectError, Wanted};
use pacs_web::Failure;
use serde::Deserialize;
use std::collections::BTreeMap;

/// What is to be rejected, and why.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewRejection {
    #[serde(default)]
    series: Option<String>,
    #[serde(default)]
    instances: Option<Vec<String>>,
    title: Title,
    #[serde(default)]
    quality: Option<Quality>,
    reason: String,
}

/// Why something is undone.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WithReason {
    reason: String,
}

fn reason(text: &str) -> Result<Reason, Problem> {
    Reason::parse(text).map_err(|_| (&codes::REASON_NEEDED).into())
}

fn random(api: &Api) -> Result<[u8; 8], Problem> {
    api.world.random().map_err(|_| (&codes::INTERNAL).into())
}

impl NewRejection {
    fn meant(&self) -> Result<Meant, Problem> {
        match (&self.series, &self.instances) {
            (None, None) => Ok(Meant::Study),
            (Some(series), None) => SeriesUid::parse_legacy(series)
                .map(Meant::Series)
                .map_err(|_| (&codes::NOT_FOUND).into()),
            (None, Some(instances)) => {
                let read = instances
                    .iter()
                    .map(|uid| SopInstanceUid::parse_legacy(uid));
                let read: Result<Vec<_>, _> = read.collect();
                read.map(Meant::Instances)
                    .map_err(|_| (&codes::NOT_FOUND).into())
            }
            (Some(_), Some(_)) => Err(codes::MALFORMED.with("what", "series and instances")),
        }
    }
}

/// `POST /studies/{study}/rejections`
pub(super) async fn reject(
    State(api): State<Api>,
    signed: Signed,
    path: Result<Path<String>, PathRejection>,
    once: Once<NewRejection>,
) -> Result<Tagged<RejectionShown>, Problem> {
    let body = &once.body;
    let wanted = Wanted {
        study: study_of(path)?,
        meant: body.meant()?,
        title: body.title,
        quality: body.quality,
        reason: reason(&body.reason)?,
        note: None,
        random: random(&api)?,
    };
    let seeing = Seeing::of(&api, &signed).await?;
    let (agent, at) = (&seeing.agent, api.world.moment());
    let mut belonging = seen(&api, &seeing, &wanted.study, at).await?;
    // Who sees it in an emergency, or by an order of theirs, may not for that judge its images.
    let is_known = belonging.organisation.is_some();
    if is_known && belonging.kinds.is_empty() {
        belonging.kinds = api.desk.kinds(&wanted.study).await?;
    }
    if is_known && !may_see(agent, belonging.images(), Title::Quality) {
        return Err((&codes::NOT_PERMITTED).into());
    }
    let keeping = api.keeping()?;
    let work = async |registry: Registry| {
        let rejections = keeping.rejections.through(registry);
        match rejections.reject(agent, wanted, at).await {
            Err(RejectError::Registry(error)) => Err(error),
            other => Ok(other),
        }
    };
    let rejected = match once.first(&api, &signed, work).await? {
        First::Before(id) => {
            let id = RejectionId::parse(&id)?;
            api.registry.rejection(agent, &id).await?
        }
        First::Done(rejected) => rejected?,
    };
    let shown = (&rejected).into();
    Ok(Tagged(StatusCode::CREATED, rejected.revision, shown))
}

/// The organisation of a list: the one that is asked for, else the only one whose role one holds,
/// else of those that nobody knows.
fn organisation(
    parameters: &mut Parameters,
    agent: &Agent,
) -> Result<Option<OrganisationCode>, Problem> {
    let asked = parameters.take_by("organisation", |text| {
        if text == "none" {
            return Some(None);
        }
        OrganisationCode::parse(text).ok().map(Some)
    })?;
    if let Some(asked) = asked {
        return Ok(asked);
    }
    match organisations(agent).as_slice() {
        [only] => Ok(Some(*only)),
        _ => Err((&codes::ORGANISATION_NEEDED).into()),
    }
}

fn named(organisation: Option<OrganisationCode>) -> String {
    organisation.map_or_else(|| "none".to_owned(), |code| code.to_string())
}

/// `GET /rejections`
pub(super) async fn list(
    State(api): State<Api>,
    signed: Signed,
    mut parameters: Parameters,
) -> Result<Json<List<RejectionShown>>, Problem> {
    let agent = signed.agent(&api);
    let search = RejectionSearch {
        organisation: organisation(&mut parameters, &agent)?,
        examination: parameters.take_by("examination", |text| ExaminationId::parse(text).ok())?,
        patient: parameters.take_by("patient", |text| patient_key(text).ok())?,
        from: parameters.take("from")?,
        to: parameters.take("to")?,
    };
    let page = Page::take(
        &mut parameters,
        (&api, &signed),
        &format!("rejections {search:?}"),
    )?;
    parameters.done()?;
    let found = api
        .registry
        .rejections(
            &agent,
            &search,
            (page.after.as_deref(), page.limit),
            api.world.moment(),
        )
        .await?;
    let items = found.rejections.iter().map(Into::into).collect();
    Ok(Json(page.of(items, found.next.as_deref())))
}

/// `GET /rejections/{id}`
pub(super) async fn read(
    State(api): State<Api>,
    signed: Signed,
    path: Result<Path<String>, PathRejection>,
) -> Result<Tagged<RejectionShown>, Problem> {
    let (agent, id) = (signed.agent(&api), id_of(path)?);
    let at = api.world.moment();
    let found = api.registry.open_rejection(&agent, &id, at).await?;
    Ok(Tagged(StatusCode::OK, found.revision, (&found).into()))
}

/// `GET /rejections/{id}/instances`
pub(super) async fn instances(
    State(api): State<Api>,
    signed: Signed,
    path: Result<Path<String>, PathRejection>,
    mut parameters: Parameters,
) -> Result<Json<List<InstanceShown>>, Problem> {
    let (agent, id) = (signed.agent(&api), id_of(path)?);
    let list = format!("instances of {id}");
    let page = Page::take(&mut parameters, (&api, &signed), &list)?;
    parameters.done()?;
    let at = api.world.moment();
    let all = api.registry.rejected_instances(&agent, &id, at).await?;
    let (part, next) = page.part(all)?;
    let shown = |uid: SopInstanceUid| InstanceShown::new(&id, &uid);
    let items = part.into_iter().map(shown).collect();
    Ok(Json(page.of(items, next.as_deref())))
}

/// `GET /rejections/{id}/instances/{instance}/preview`: a small picture, though it is out of sight.
pub(super) async fn preview(
    State(api): State<Api>,
    signed: Signed,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<Response, Problem> {
    let Path((id, instance)) = path?;
    let id = RejectionId::parse(&id)?;
    let instance = SopInstanceUid::parse_legacy(&instance).map_err(|_| &codes::NOT_FOUND)?;
    let agent = signed.agent(&api);
    let (keeping, at) = (api.keeping()?, api.world.moment());
    let looked = keeping.rejections.look_at(&agent, (&id, &instance), at);
    let stored = looked.await?;
    let pictures = api.pictures.as_ref().ok_or(&codes::NOT_FOUND)?;
    match pacs_web::preview(pictures, api.images.get()?, &stored).await {
        Ok(picture) => Ok(([(header::CONTENT_TYPE, "image/jpeg")], picture).into_response()),
        Err(Failure::TooManyRequests | Failure::Unavailable { .. }) => Err((&codes::BUSY).into()),
        Err(Failure::Internal) => Err((&codes::INTERNAL).into()),
        // It is no image, or none that can be drawn.
        Err(_) => Err((&codes::NOT_FOUND).into()),
    }
}

/// `POST /rejections/{id}/restoration`
pub(super) async fn restore(
    State(api): State<Api>,
    signed: Signed,
    path: Result<Path<String>, PathRejection>,
    PerhapsBased(expected): PerhapsBased,
    Body(body): Body<WithReason>,
) -> Result<Tagged<RejectionShown>, Problem> {
    let (id, reason) = (id_of(path)?, reason(&body.reason)?);
    let agent = signed.agent(&api);
    let at = api.world.moment();
    let rejections = &api.keeping()?.rejections;
    let restored = rejections
        .restore(&agent, (&id, expected), &reason, at)
        .await?;
    Ok(Tagged(
        StatusCode::OK,
        restored.revision,
        (&restored).into(),
    ))
}

/// `GET /rejection-notes`
pub(super) async fn notes(
    State(api): State<Api>,
    signed: Signed,
    mut parameters: Parameters,
) -> Result<Json<List<NoteShown>>, Problem> {
    let agent = signed.agent(&api);
    let organisation = organisation(&mut parameters, &agent)?;
    let name = format!("rejection notes {}", named(organisation));
    let page = Page::take(&mut parameters, (&api, &signed), &name)?;
    parameters.done()?;
    let found = api
        .registry
        .waiting_notes(
            &agent,
            organisation,
            page.after.as_deref(),
            page.limit,
            api.world.moment(),
        )
        .await?;
    let items = found.notes.iter().map(Into::into).collect();
    Ok(Json(page.of(items, found.next.as_deref())))
}

fn instance_of(path: Result<Path<String>, PathRejection>) -> Result<SopInstanceUid, Problem> {
    let Path(text) = path?;
    SopInstanceUid::parse_legacy(&text).map_err(|_| (&codes::NOT_FOUND).into())
}

/// `GET /rejection-notes/{instance}`
pub(super) async fn note(
    State(api): State<Api>,
    signed: Signed,
    path: Result<Path<String>, PathRejection>,
) -> Result<Tagged<NoteShown>, Problem> {
    let instance = instance_of(path)?;
    let agent = signed.agent(&api);
    let at = api.world.moment();
    let found = api.registry.open_note(&agent, &instance, at).await?;
    Ok(Tagged(StatusCode::OK, found.revision, (&found).into()))
}

/// `POST /rejection-notes/{instance}/reopening`: it waits again.
pub(super) async fn reopen(
    State(api): State<Api>,
    signed: Signed,
    path: Result<Path<String>, PathRejection>,
    PerhapsBased(expected): PerhapsBased,
) -> Result<Tagged<NoteShown>, Problem> {
    let instance = instance_of(path)?;
    let agent = signed.agent(&api);
    let note = (&instance, expected);
    let reopened = api.registry.reopen_note(&agent, note, api.world.moment());
    let reopened = reopened.await?;
    Ok(Tagged(
        StatusCode::OK,
        reopened.revision,
        (&reopened).into(),
    ))
}

/// `POST /rejection-notes/{instance}/dismissal`
pub(super) async fn dismiss(
    State(api): State<Api>,
    signed: Signed,
    path: Result<Path<String>, PathRejection>,
    PerhapsBased(expected): PerhapsBased,
    Body(body): Body<WithReason>,
) -> Result<Tagged<NoteShown>, Problem> {
    let (instance, reason) = (instance_of(path)?, reason(&body.reason)?);
    let agent = signed.agent(&api);
    let note = (&instance, expected);
    let at = api.world.moment();
    let dismissed = api.registry.dismiss_note(&agent, note, reason, at).await?;
    Ok(Tagged(
        StatusCode::OK,
        dismissed.revision,
        (&dismissed).into(),
    ))
}

/// `POST /rejection-notes/{instance}/rejection`: rejects what a device proposes to reject, as far
/// as it is in sight and one may.
pub(super) async fn follow(
    State(api): State<Api>,
    signed: Signed,
    path: Result<Path<String>, PathRejection>,
    PerhapsBased(expected): PerhapsBased,
    Body(body): Body<WithReason>,
) -> Result<Tagged<NoteShown>, Problem> {
    let (instance, reason) = (instance_of(path)?, reason(&body.reason)?);
    let seeing = Seeing::of(&api, &signed).await?;
    let agent = &seeing.agent;
    let at = api.world.moment();
    let note = api.registry.note(agent, &instance).await?;
    let Asked::Reject(title) = note.value.asked else {
        return Err((&codes::REFUSED).into());
    };
    if expected.is_some_and(|expected| expected != note.revision) {
        return Err((&codes::STALE).into());
    }
    if note.value.state != NoteState::Waiting {
        return Err((&codes::TOO_LATE).into());
    }
    let mut studies: BTreeMap<StudyUid, Vec<SopInstanceUid>> = BTreeMap::new();
    for of_series in &note.value.rejected {
        let named = studies.entry(of_series.study.clone()).or_default();
        named.extend_from_slice(&of_series.instances);
    }
    // All of them before the first is touched.
    for study in studies.keys() {
        seen(&api, &seeing, study, at).await?;
    }
    let mut made = Vec::new();
    for (study, instances) in studies {
        // Whoever follows it again, since the first time was cut short, goes on.
        let earlier = api.registry.rejections_of_study(&study).await?;
        let earlier = earlier.into_iter().map(|one| one.value);
        let earlier = earlier.filter(|one| one.note.as_ref() == Some(&instance));
        made.extend(earlier.filter(|one| one.is_standing()).map(|one| one.id));
        let wanted = Wanted {
            study,
            meant: Meant::InstancesInSight(instances),
            title,
            quality: note.value.quality.filter(|_| title == Title::Quality),
            reason: reason.clone(),
            note: Some(instance.clone()),
            random: random(&api)?,
        };
        match api.keeping()?.rejections.reject(agent, wanted, at).await {
            Ok(rejected) => made.push(rejected.value.id),
            // Out of sight already.
            Err(RejectError::NotFound) => {}
            Err(error) => return Err(error.into()),
        }
    }
    if made.is_empty() {
        return Err((&codes::NOT_FOUND).into());
    }
    let state = NoteState::Followed {
        rejections: made,
        by: agent.name.clone(),
        at,
    };
    let note = (&instance, expected);
    let settled = api.registry.settle_note(agent, note, state, at).await?;
    Ok(Tagged(StatusCode::OK, settled.revision, (&settled).into()))
}
