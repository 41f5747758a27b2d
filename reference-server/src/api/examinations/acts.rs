//! What people let happen to an examination. The rules are those of the state machine; here is what
//! each act needs to know.

use super::{Id, Seeing, Standing, examination_id};
use crate::api::conditional::{PerhapsBased, Tagged};
use crate::api::guard::{Body, Signed};
use crate::api::problem::{claimed, codes};
use crate::api::{Api, Problem};
use axum::extract::State;
use axum::http::StatusCode;
use pacs_core::examination::progress::Completion;
use pacs_core::examination::{Event, Reason, Status, TransitionError};
use pacs_core::role::{Agent, Permission};
use pacs_core::{ExaminationId, OrganisationCode};
use pacs_store::registry::examinations::{Action, Reader};
use pacs_store::registry::{Refusal, RegistryError, Revision};
use serde::Deserialize;

/// Why something is done.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct Why {
    reason: String,
}

impl Why {
    pub(super) fn read(&self) -> Result<Reason, Problem> {
        Reason::parse(&self.reason).map_err(|_| (&codes::REASON_NEEDED).into())
    }
}

type Answer = Result<Tagged<Standing>, Problem>;

/// Where an examination stands, for whoever has a role for such images at one of its organisations.
pub(super) async fn standing(
    api: &Api,
    agent: &Agent,
    id: ExaminationId,
) -> Result<(Revision, Standing), Problem> {
    let system = Agent::system("api");
    let reader = Reader::new(&system);
    let at = api.world.moment();
    let found = api.registry.examination(&reader, id, at).await?;
    let of_it = &found.value;
    let has_role = |at: OrganisationCode, work| !agent.actors_at(at, work).is_empty();
    if !has_role(of_it.performing, of_it.work()) && !has_role(of_it.ordering, of_it.ordered_work())
    {
        return Err((&codes::NOT_FOUND).into());
    }
    Ok((found.revision, (&found.value).into()))
}

/// Why something was not done to an examination that whoever asks sees: where none of their roles
/// is of its organisation they may not, as in an emergency, which is to read alone.
pub(super) fn of_seen(error: RegistryError) -> Problem {
    if matches!(error, RegistryError::NotFound { .. }) {
        return (&codes::NOT_PERMITTED).into();
    }
    error.into()
}

/// The same where nobody has looked yet whether they see it: else it is not there.
async fn unless_seen(api: &Api, signed: &Signed, id: ExaminationId) -> Problem {
    let seen = async {
        let seeing = Seeing::of(api, signed).await?;
        let pools = seeing.pools();
        let reader = seeing.reader(&pools);
        let at = api.world.moment();
        let found = api.registry.examination(&reader, id, at);
        Ok::<_, Problem>(found.await.map(drop)?)
    };
    let seen = seen.await;
    seen.err().unwrap_or_else(|| (&codes::NOT_PERMITTED).into())
}

async fn act(
    api: &Api,
    signed: &Signed,
    id: ExaminationId,
    event: Event,
    expected: Option<Revision>,
) -> Answer {
    let agent = signed.agent(api);
    let action = Action {
        event,
        order: None,
        expected,
        random: api.world.random().map_err(crate::accounts::Refused::from)?,
    };
    let at = api.world.moment();
    let acted = api.registry.act_on_examination(&agent, id, &action, at);
    let acted = match acted.await {
        Err(RegistryError::NotFound { .. }) => return Err(unless_seen(api, signed, id).await),
        other => other?.examination,
    };
    let standing = (&acted.value).into();
    Ok(Tagged(StatusCode::OK, acted.revision, standing))
}

/// Images of an examination that can be had: for whoever has a role where it is made.
async fn images(api: &Api, id: ExaminationId) -> Result<u64, Problem> {
    let system = Agent::system("api");
    let reader = Reader::new(&system);
    let at = api.world.moment();
    let found = api.registry.examination(&reader, id, at).await?;
    let mut count = 0_u64;
    for study in &found.value.studies {
        count = count.saturating_add(api.images.count(study).await?);
    }
    Ok(count)
}

pub(super) async fn claim(
    State(api): State<Api>,
    signed: Signed,
    id: Id,
    PerhapsBased(expected): PerhapsBased,
) -> Answer {
    let id = examination_id(&id?.0)?;
    let seeing = Seeing::of(&api, &signed).await?;
    let pools = seeing.pools();
    let reader = seeing.reader(&pools);
    let at = api.world.moment();
    let seen = api.registry.examination(&reader, id, at).await?;
    let agent = &seeing.agent;
    let performing = seen.value.performing;
    // An emergency, an order or a treatment lets one look: nobody reads for an organisation where
    // they have no role.
    let work = seen.value.work();
    if agent.actors_at(performing, work).is_empty() {
        return Err((&codes::NOT_PERMITTED).into());
    }
    let permission = Permission::ReportWrite;
    let mut reads = agent.grants.extents_over(permission, performing, work);
    let may_read = reads.next().is_some();
    drop(reads);
    let event = Event::Claim {
        // The registry knows.
        is_locked: false,
        may_read,
        images_online: images(&api, id).await?,
    };
    let action = Action {
        event,
        order: None,
        expected,
        random: [0; 16],
    };
    let acted = api
        .registry
        .act_on_examination(agent, id, &action, at)
        .await;
    let examination = match acted {
        Ok(acted) => acted.examination,
        Err(RegistryError::Refused(Refusal::Transition(TransitionError::Status {
            status: Status::UnderReview,
            ..
        }))) => {
            let found = api.registry.examination(&reader, id, at).await?;
            match &found.value.lock {
                // Whoever presses twice has it.
                Some(lock) if lock.by == agent.name => found,
                Some(lock) => return Err(claimed(&lock.by)),
                None => return Err((&codes::BUSY).into()),
            }
        }
        Err(error) => return Err(error.into()),
    };
    let standing = (&examination.value).into();
    Ok(Tagged(StatusCode::OK, examination.revision, standing))
}

pub(super) async fn release(
    State(api): State<Api>,
    signed: Signed,
    id: Id,
    PerhapsBased(expected): PerhapsBased,
) -> Answer {
    let id = examination_id(&id?.0)?;
    let event = Event::Release { holds_lock: false };
    act(&api, &signed, id, event, expected).await
}

pub(super) async fn send_back(
    State(api): State<Api>,
    signed: Signed,
    id: Id,
    PerhapsBased(expected): PerhapsBased,
    Body(why): Body<Why>,
) -> Answer {
    let id = examination_id(&id?.0)?;
    let event = Event::Return {
        holds_lock: false,
        reason: why.read()?,
    };
    act(&api, &signed, id, event, expected).await
}

pub(super) async fn cancel(
    State(api): State<Api>,
    signed: Signed,
    id: Id,
    PerhapsBased(expected): PerhapsBased,
    Body(why): Body<Why>,
) -> Answer {
    let id = examination_id(&id?.0)?;
    let event = Event::Cancel {
        images: 0,
        reason: why.read()?,
    };
    act(&api, &signed, id, event, expected).await
}

pub(super) async fn complete(
    State(api): State<Api>,
    signed: Signed,
    id: Id,
    PerhapsBased(expected): PerhapsBased,
) -> Answer {
    let id = examination_id(&id?.0)?;
    let images_kept = match standing(&api, &signed.agent(&api), id).await {
        Ok(_) => images(&api, id).await?,
        // What there is of it is not said to whoever has nothing to do with it.
        Err(_) => return Err(unless_seen(&api, &signed, id).await),
    };
    let event = Event::Complete {
        by: Completion::Declared,
        images_kept,
    };
    act(&api, &signed, id, event, expected).await
}

pub(super) async fn discontinue(
    State(api): State<Api>,
    signed: Signed,
    id: Id,
    PerhapsBased(expected): PerhapsBased,
    Body(why): Body<Why>,
) -> Answer {
    let id = examination_id(&id?.0)?;
    let event = Event::Discontinue {
        reason: why.read()?,
    };
    act(&api, &signed, id, event, expected).await
}

pub(super) async fn reschedule(
    State(api): State<Api>,
    signed: Signed,
    id: Id,
    PerhapsBased(expected): PerhapsBased,
) -> Answer {
    let id = examination_id(&id?.0)?;
    act(&api, &signed, id, Event::Reschedule, expected).await
}

pub(super) async fn reopen(
    State(api): State<Api>,
    signed: Signed,
    id: Id,
    PerhapsBased(expected): PerhapsBased,
) -> Answer {
    let id = examination_id(&id?.0)?;
    act(&api, &signed, id, Event::Reopen, expected).await
}

pub(super) async fn dismiss_late_images(
    State(api): State<Api>,
    signed: Signed,
    id: Id,
    PerhapsBased(expected): PerhapsBased,
    Body(why): Body<Why>,
) -> Answer {
    let id = examination_id(&id?.0)?;
    let agent = signed.agent(&api);
    let event = Event::DismissLateImages {
        is_author_or_supervisor: api.registry.is_author_of_report(&agent, id).await?,
        reason: why.read()?,
    };
    act(&api, &signed, id, event, expected).await
}
