//! What happens to an examination, or to those of a list, while somebody looks.
//!
//! Whoever looks is asked for again and again: a stream ends with its session, and with what its
//! reader may see. It is no use of the session.

use super::shown::Standing;
use super::{Id, Seeing, TOO_MANY_STREAMS, examination_id, scope};
use crate::api::asked::Asked;
use crate::api::feed::{Batch, Place};
use crate::api::guard::Signed;
use crate::api::stream::{Events, Gone, last_event_id, respond};
use crate::api::{Api, Problem};
use crate::draining::Draining;
use crate::limits::{
    API_FEED_CHANGES_MAX, API_STREAM_CHECKED_EVERY, API_STREAM_INSTANCES_MAX,
    API_STREAM_KEPT_ALIVE_EVERY, API_STREAM_REPLAYED_BATCHES_MAX,
};
use axum::Extension;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use pacs_core::role::{Agent, Licence, duty::Reconcile};
use pacs_core::{ExaminationId, StudyUid};
use pacs_store::index::{Change, ChangeKind, ChangeNumber};
use pacs_store::registry::examinations::{Examination, Scope};
use pacs_store::registry::{RegistryError, Stored};
use serde::Serialize;
use std::collections::BTreeMap;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Interval, interval};

/// How far the images of a study are.
#[derive(Serialize)]
struct StudyCounts {
    study: String,
    series_count: usize,
    instances_count: u64,
}

/// Where an examination stands, and what has come.
#[derive(Serialize)]
struct ShownState {
    #[serde(flatten)]
    standing: Standing,
    studies: Vec<StudyCounts>,
}

/// An instance.
#[derive(Serialize)]
struct Arrival {
    series: String,
    instance: String,
}

/// Instances that came, or went out of sight.
#[derive(Serialize)]
struct Arrived {
    examination: String,
    study: String,
    /// Those that came, as far as they are listed.
    instances: Vec<Arrival>,
    /// How many came.
    arrived_count: usize,
    /// How many went out of sight.
    hidden_count: usize,
    /// How many the study has now.
    instances_count: u64,
}

/// Why a stream ends: what a request would be answered with now.
#[derive(Serialize)]
struct End {
    code: &'static str,
}

/// Nothing more is to be said.
struct Nothing {}

impl Serialize for Nothing {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(std::iter::empty::<(&str, &str)>())
    }
}

/// Who looks at what.
struct Look {
    api: Api,
    secret: String,
    from: std::net::IpAddr,
    /// Kept for as long as it lasts.
    _place: Place,
    events: Events,
    changes: Receiver<Batch>,
    changed: Receiver<ExaminationId>,
    ticks: Interval,
    alive: Interval,
}

/// What comes next.
enum Next {
    /// Into the archive.
    Changes(Batch),
    /// To an examination.
    Changed(ExaminationId),
    /// More than could be told.
    Missed,
    /// It is time to look who looks.
    Tick,
    /// The archive is closed.
    Closed,
}

impl Look {
    async fn next(&mut self) -> Result<Next, Gone> {
        loop {
            tokio::select! {
                batch = self.changes.recv() => return Ok(match batch {
                    Ok(batch) => Next::Changes(batch),
                    Err(RecvError::Lagged(_)) => Next::Missed,
                    Err(RecvError::Closed) => Next::Closed,
                }),
                changed = self.changed.recv() => return Ok(match changed {
                    Ok(id) => Next::Changed(id),
                    Err(RecvError::Lagged(_)) => Next::Missed,
                    Err(RecvError::Closed) => Next::Closed,
                }),
                _ = self.ticks.tick() => return Ok(Next::Tick),
                _ = self.alive.tick() => self.events.keep_alive().await?,
            }
        }
    }

    /// What comes next that one examination with these studies has to do with.
    async fn next_of(
        &mut self,
        id: ExaminationId,
        studies: &BTreeMap<StudyUid, ExaminationId>,
    ) -> Result<Next, Gone> {
        loop {
            let next = self.next().await?;
            let is_of_others = match &next {
                Next::Changed(other) => *other != id,
                Next::Changes(batch) => !batch.iter().any(|of| studies.contains_key(&of.study)),
                Next::Missed | Next::Tick | Next::Closed => false,
            };
            if !is_of_others {
                return Ok(next);
            }
        }
    }

    /// Who looks, as of now; `None` where the session is over, which is told.
    async fn seeing(&self) -> Result<Option<Seeing>, Gone> {
        let who = match self.api.accounts.look(&self.secret).await {
            Ok(who) => who,
            Err(_refused) => return self.end("NOT_SIGNED_IN").await.map(|()| None),
        };
        match Seeing::of_user(&self.api, &who, self.from).await {
            Ok(seeing) => Ok(Some(seeing)),
            Err(_told) => self.end("INTERNAL").await.map(|()| None),
        }
    }

    async fn end(&self, code: &'static str) -> Result<(), Gone> {
        self.events.send("end", None, &End { code }).await
    }

    /// The examination, where `seeing` sees it.
    async fn examination(
        &self,
        seeing: &Seeing,
        id: ExaminationId,
    ) -> Result<Stored<Examination>, RegistryError> {
        let pools = seeing.pools();
        let reader = seeing.reader(&pools);
        let at = self.api.world.moment();
        self.api.registry.examination(&reader, id, at).await
    }

    async fn counts(&self, of: &Examination) -> Vec<StudyCounts> {
        let mut counts = Vec::with_capacity(of.studies.len());
        for study in &of.studies {
            let series = self.api.images.series(study).await.unwrap_or_default();
            let instances = series.iter().map(|series| series.instances_count);
            counts.push(StudyCounts {
                study: study.as_str().to_owned(),
                series_count: series.len(),
                instances_count: instances.fold(0, u64::saturating_add),
            });
        }
        counts
    }

    async fn send_state(&self, of: &Examination, id: Option<u64>) -> Result<(), Gone> {
        let state = ShownState {
            standing: of.into(),
            studies: self.counts(of).await,
        };
        self.events.send("state", id, &state).await
    }

    /// Tells what came of `studies`, with the number of the last change.
    async fn send_arrived(
        &self,
        changes: &[Change],
        examination_of: &BTreeMap<StudyUid, ExaminationId>,
    ) -> Result<(), Gone> {
        let mut by_study: BTreeMap<&StudyUid, Vec<&Change>> = BTreeMap::new();
        for change in changes {
            if examination_of.contains_key(&change.study) {
                by_study.entry(&change.study).or_default().push(change);
            }
        }
        let last = changes.last().map(|change| change.number.0);
        for (study, changes) in by_study {
            let came = |change: &&&Change| {
                matches!(change.kind, ChangeKind::Received | ChangeKind::Restored)
            };
            let hidden = |change: &&&Change| change.kind == ChangeKind::Hidden;
            let listed = changes.iter().filter(came).take(API_STREAM_INSTANCES_MAX);
            let arrived = Arrived {
                examination: examination_of
                    .get(study)
                    .map(ToString::to_string)
                    .unwrap_or_default(),
                study: study.as_str().to_owned(),
                instances: listed
                    .map(|change| Arrival {
                        series: change.series.as_str().to_owned(),
                        instance: change.instance.as_str().to_owned(),
                    })
                    .collect(),
                arrived_count: changes.iter().filter(came).count(),
                hidden_count: changes.iter().filter(hidden).count(),
                instances_count: self.api.images.count(study).await.unwrap_or(0),
            };
            self.events.send("instances", last, &arrived).await?;
        }
        Ok(())
    }
}

fn look(api: &Api, signed: &Signed, place: Place, events: Events) -> Look {
    Look {
        api: api.clone(),
        secret: signed.secret.clone(),
        from: signed.from,
        _place: place,
        events,
        changes: api.feed.listen(),
        changed: api.registry.changed_examinations(),
        ticks: interval(API_STREAM_CHECKED_EVERY),
        alive: interval(API_STREAM_KEPT_ALIVE_EVERY),
    }
}

fn place(api: &Api, signed: &Signed) -> Result<Place, Problem> {
    let user = signed.who.user.value.name.as_str();
    api.feed
        .place(user)
        .ok_or_else(|| (&TOO_MANY_STREAMS).into())
}

/// Of one examination.
pub(super) async fn of_one(
    State(api): State<Api>,
    Extension(draining): Extension<Draining>,
    signed: Signed,
    id: Id,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let id = examination_id(&id?.0)?;
    let seeing = Seeing::of(&api, &signed).await?;
    let pools = seeing.pools();
    let reader = seeing.reader(&pools);
    let at = api.world.moment();
    api.registry.open_examination(&reader, id, at).await?;
    let place = place(&api, &signed)?;
    let seen = last_event_id(&headers);
    Ok(respond(draining, |events| {
        follow_one(look(&api, &signed, place, events), id, seen)
    }))
}

async fn follow_one(mut look: Look, id: ExaminationId, seen: Option<u64>) -> Result<(), Gone> {
    let Ok(now) = look.api.images.last_change().await else {
        return look.end("INTERNAL").await;
    };
    if let Some(seen) = seen.filter(|seen| *seen <= now.0) {
        replay(&look, id, ChangeNumber(seen)).await?;
    }
    let mut shown = None;
    loop {
        let Some(seeing) = look.seeing().await? else {
            return Ok(());
        };
        let Ok(found) = look.examination(&seeing, id).await else {
            return look.end("NOT_FOUND").await;
        };
        if shown != Some(found.revision) {
            let first = shown.is_none().then_some(now.0);
            look.send_state(&found.value, first).await?;
            shown = Some(found.revision);
        }
        let studies = studies_of(&found.value);
        match look.next_of(id, &studies).await? {
            Next::Changes(batch) => look.send_arrived(&batch, &studies).await?,
            Next::Missed => shown = None,
            Next::Changed(_) | Next::Tick => {}
            Next::Closed => return Ok(()),
        }
    }
}

fn studies_of(examination: &Examination) -> BTreeMap<StudyUid, ExaminationId> {
    let studies = examination.studies.iter().cloned();
    studies.map(|study| (study, examination.id)).collect()
}

/// Tells what came since `seen`, where that is not too much: what it is now is told in any case.
async fn replay(look: &Look, id: ExaminationId, seen: ChangeNumber) -> Result<(), Gone> {
    let Some(seeing) = look.seeing().await? else {
        return Ok(());
    };
    let Ok(found) = look.examination(&seeing, id).await else {
        return Ok(());
    };
    let studies = studies_of(&found.value);
    let mut position = seen;
    for _ in 0..API_STREAM_REPLAYED_BATCHES_MAX {
        let images = &look.api.images;
        let changes = images.changes(position, API_FEED_CHANGES_MAX).await;
        let changes = changes.unwrap_or_default();
        let Some(last) = changes.last() else {
            return Ok(());
        };
        position = last.number;
        look.send_arrived(&changes, &studies).await?;
    }
    Ok(())
}

/// Of the examinations of a list.
pub(super) async fn of_list(
    State(api): State<Api>,
    Extension(draining): Extension<Draining>,
    signed: Signed,
    mut asked: Asked,
) -> Result<Response, Problem> {
    let seeing = Seeing::of(&api, &signed).await?;
    let scope = scope(&mut asked, &seeing.agent)?;
    asked.done()?;
    let place = place(&api, &signed)?;
    let pools = seeing.pools();
    let reader = seeing.reader(&pools);
    let at = api.world.moment();
    api.registry.note_following(&reader, &scope, at).await?;
    let licence = Agent::system("api").national_licence::<Reconcile>()?;
    Ok(respond(draining, |events| {
        follow_list(look(&api, &signed, place, events), scope, licence)
    }))
}

/// Whether an examination is one of a list.
fn is_of(examination: &Examination, scope: &Scope) -> bool {
    match scope {
        Scope::Assigned(user) => examination.assigned_to.as_ref() == Some(user),
        Scope::Ordering(organisation) => examination.ordering == *organisation,
        Scope::Performing(organisation) => examination.performing == *organisation,
        Scope::Pool(pool) => examination.pool.as_ref() == Some(pool),
    }
}

async fn follow_list(
    mut look: Look,
    scope: Scope,
    licence: Licence<Reconcile>,
) -> Result<(), Gone> {
    // What was before is in the list, which whoever comes again reads again.
    look.events.send("reset", None, &Nothing {}).await?;
    loop {
        let next = look.next().await?;
        let Some(seeing) = look.seeing().await? else {
            return Ok(());
        };
        match next {
            Next::Changed(id) => {
                if let Ok(found) = look.examination(&seeing, id).await
                    && is_of(&found.value, &scope)
                {
                    let standing = Standing::from(&found.value);
                    look.events.send("changed", None, &standing).await?;
                }
            }
            Next::Changes(batch) => {
                let mut studies = BTreeMap::new();
                for change in batch.iter() {
                    if studies.contains_key(&change.study) {
                        continue;
                    }
                    let seen = seen_in(&look, &seeing, &scope, &licence, &change.study).await;
                    studies.insert(change.study.clone(), seen);
                }
                let studies = studies.into_iter();
                let studies = studies
                    .filter_map(|(study, id)| Some((study, id?)))
                    .collect();
                look.send_arrived(&batch, &studies).await?;
            }
            Next::Missed => look.events.send("reset", None, &Nothing {}).await?,
            Next::Tick => {}
            Next::Closed => return Ok(()),
        }
    }
}

/// The examination of the list that a study is bound to, where whoever looks sees it.
async fn seen_in(
    look: &Look,
    seeing: &Seeing,
    scope: &Scope,
    licence: &Licence<Reconcile>,
    study: &StudyUid,
) -> Option<ExaminationId> {
    let matched = look.api.registry.study_match(licence, study).await.ok()?;
    let id = matched.value.examination()?;
    let found = look.examination(seeing, id).await.ok()?;
    is_of(&found.value, scope).then_some(id)
}
