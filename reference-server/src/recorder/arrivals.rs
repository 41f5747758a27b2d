//! Records what came in: follows the change sequence with a cursor of its own, so that storing
//! never waits for a record, and none is lost. One event for each study and sender, and each time
//! that something of it came for a while. What `pacs import` took in is an import, and other
//! content under a known UID stands apart.

use crate::access::SystemMay;
use crate::directory::Directory;
use crate::limits::{
    ARRIVALS_AT_ONCE_MAX, ARRIVALS_GATHERED_DURATION, ARRIVALS_RETRY_DURATION, RECORDED_AT_ONCE_MAX,
};
use crate::place;
use chrono::DateTime;
use pacs_core::access::{Maintain, permit};
use pacs_core::audit::{Act, Actor, ActorKind, AuditEvent, StudyTouched};
use pacs_core::role::{Agent, Licence, Unlicensed, duty::Reconcile};
use pacs_core::sender::Sender;
use pacs_core::uid::StudyUid;
use pacs_core::{Action, AeTitle, Caller, Denied, Permit, Phi};
use pacs_store::index::{ChangeKind, ChangeNumber, IndexError, StoredInstance};
use pacs_store::records::RecordsError;
use pacs_store::registry::Registry;
use pacs_store::registry::audit::AuditError;
use pacs_store::{Archive, Cursor};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// What `pacs import` calls itself.
pub(crate) const IMPORT: &str = "pacs import";

/// The name of its cursor.
const CURSOR: &str = "arrivals";

/// Why arrivals are not recorded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArrivalsError {
    /// The trail cannot be written.
    #[error("what came in could not be recorded")]
    Audit(#[from] AuditError),
    /// The policy does not let the archive itself do it.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The changes cannot be read.
    #[error("changes could not be followed")]
    Index(#[from] IndexError),
    /// The cursor cannot be read or moved.
    #[error("the place of the record of arrivals could not be kept")]
    Records(#[from] RecordsError),
    /// The table of roles does not let the archive itself do it.
    #[error(transparent)]
    Unlicensed(#[from] Unlicensed),
}

/// The follower.
#[derive(Debug)]
pub struct Arrivals {
    archive: Archive,
    registry: Registry,
    directory: Directory,
    permit: Permit<Maintain>,
    licence: Licence<Reconcile>,
}

/// How whose instances of which study came.
type Group = (StudyUid, String, Option<IpAddr>, Act);

impl Arrivals {
    /// For `archive`.
    ///
    /// # Errors
    /// [`ArrivalsError`].
    pub fn new(archive: &Archive, directory: Directory) -> Result<Self, ArrivalsError> {
        let caller = Caller::System { task: "arrivals" };
        Ok(Self {
            archive: archive.clone(),
            registry: archive.registry(),
            directory,
            permit: permit(&SystemMay(&[Action::Maintain]), caller)?,
            licence: Agent::system("arrivals").national_licence()?,
        })
    }

    /// Records until the archive is closed.
    pub async fn follow(self) {
        while let Err(error) = self.run().await {
            let error = crate::tool::failure::chain(&error);
            tracing::warn!(
                error,
                "what comes in cannot be recorded now: it is tried again"
            );
            tokio::time::sleep(ARRIVALS_RETRY_DURATION).await;
        }
    }

    async fn run(&self) -> Result<(), ArrivalsError> {
        let mut cursor = self.cursor().await?;
        loop {
            self.archive
                .wait_for_change(&self.permit, cursor.position())
                .await?;
            // What comes in one go is told in one go.
            tokio::time::sleep(ARRIVALS_GATHERED_DURATION).await;
            if self.step(&mut cursor).await? == 0 {
                return Ok(());
            }
        }
    }

    /// Where it was; the first time, where the archive is.
    ///
    /// # Errors
    /// [`ArrivalsError`].
    pub async fn cursor(&self) -> Result<Cursor, ArrivalsError> {
        let mut cursor = self.archive.cursor(&self.permit, CURSOR).await?;
        if cursor.is_new() {
            let last = self.archive.last_change(&self.permit).await?;
            cursor.advance(last).await?;
        }
        Ok(cursor)
    }

    /// Records what came after `cursor`, and moves it; how many changes that were.
    ///
    /// # Errors
    /// [`ArrivalsError`]; what was recorded may be recorded again.
    pub async fn step(&self, cursor: &mut Cursor) -> Result<usize, ArrivalsError> {
        let last = self.archive.last_change(&self.permit).await?;
        let mut changes_count = 0;
        loop {
            let after = cursor.position();
            let came = self
                .archive
                .arrivals(&self.permit, after, ARRIVALS_AT_ONCE_MAX)
                .await?;
            let is_all = came.len() < ARRIVALS_AT_ONCE_MAX;
            let through = came.last().map_or(after, |(number, _)| *number);
            // Hides and restores count too, and are no arrivals.
            let through = if is_all { through.max(last) } else { through };
            if through == after {
                return Ok(changes_count);
            }
            changes_count += usize::try_from(through.0.saturating_sub(after.0)).unwrap_or(1);
            if self.directory.has_organisations() {
                let others = self.conflicted(after, through).await?;
                let events = self.events(came, &others).await;
                for part in events.chunks(RECORDED_AT_ONCE_MAX) {
                    let trail = self.registry.audit_trail();
                    trail.commit_all(Vec::new(), part).await?;
                }
            }
            cursor.advance(through).await?;
            if is_all {
                return Ok(changes_count);
            }
        }
    }

    /// The changes after `after` up to `through` by which other content came under a known UID.
    async fn conflicted(
        &self,
        mut after: ChangeNumber,
        through: ChangeNumber,
    ) -> Result<BTreeSet<ChangeNumber>, ArrivalsError> {
        let mut conflicted = BTreeSet::new();
        while after < through {
            let changes = self
                .archive
                .changes(&self.permit, after, ARRIVALS_AT_ONCE_MAX);
            let changes = changes.await?;
            let Some(last) = changes.last() else { break };
            after = last.number;
            let of_kind = changes
                .iter()
                .filter(|change| change.kind == ChangeKind::Conflicted && change.number <= through);
            conflicted.extend(of_kind.map(|change| change.number));
        }
        Ok(conflicted)
    }

    async fn events(
        &self,
        came: Vec<(ChangeNumber, StoredInstance)>,
        conflicted: &BTreeSet<ChangeNumber>,
    ) -> Vec<AuditEvent> {
        let mut groups: BTreeMap<Group, (StudyTouched, u64)> = BTreeMap::new();
        for (number, stored) in came {
            let (head, from) = (stored.instance, stored.provenance);
            // No device and no program comes from nowhere.
            let is_import = from.address.is_none() && from.calling == IMPORT;
            let act = match conflicted.contains(&number) {
                true => Act::ImagesReplaced,
                false if is_import => Act::Imported,
                false => Act::ImagesReceived,
            };
            let group = (head.study.clone(), from.calling, from.address, act);
            let (touched, _) = groups.entry(group).or_insert_with(|| {
                let touched = StudyTouched {
                    study: head.study,
                    sop_class: Some(head.sop_class),
                    instances_count: 0,
                    instances: Vec::new(),
                };
                (touched, from.received_unix_ms)
            });
            touched.instances_count = touched.instances_count.saturating_add(1);
        }
        let mut events = Vec::with_capacity(groups.len());
        for ((study, calling, address, act), (touched, received_unix_ms)) in groups {
            let mut actor = match Sender::of(&calling) {
                _ if address.is_none() => Actor::system(&calling),
                Sender::Program { name, .. } => Actor::new(ActorKind::Program, name),
                Sender::Device(title) => match AeTitle::parse(title) {
                    Ok(title) => Actor::new(ActorKind::Device, title.as_str()),
                    Err(_) => Actor::new(ActorKind::Program, title),
                },
            };
            actor.organisation = self.directory.organisation(&calling);
            let received = i64::try_from(received_unix_ms).unwrap_or(i64::MAX);
            let at = DateTime::from_timestamp_millis(received).unwrap_or_default();
            let at = at.with_timezone(&place::offset());
            let mut event = AuditEvent::new(act, at, actor);
            event.from = address;
            event.object.studies = vec![touched];
            let is_other = act == Act::ImagesReplaced;
            event.reason = is_other.then(|| "KEPT_BESIDE_THE_FIRST".to_owned());
            let known = self.registry.known_study(&self.licence, &study).await;
            let bound = known.ok().flatten().and_then(|known| known.bound);
            event.object.patient = bound.map(|bound| Phi::new(bound.patient.key));
            events.push(event);
        }
        events
    }
}
