//! Says of what comes into an archive which examination it is of.
//!
//! A follower of the change sequence with a cursor of its own: storing never waits for it, and what
//! it had not finished when it ended it judges again, which changes nothing a second time. What
//! belongs where is said by [`verdict`]; whose images they are, by the device that sent them.

use crate::archive::{Archive, Cursor};
use crate::error::ReadError;
use crate::index::{Change, ChangeKind, IndexError, StoredInstance};
use crate::limits::{MATCHER_HEAD_BYTES_MAX, MatcherLimits, REGISTRY_ATTEMPTS_MAX};
use crate::records::RecordsError;
use crate::registry::examinations::{ReceivedStudy, StudyMatch};
use crate::registry::{Moment, Registry, RegistryError, Stored};
use chrono::{DateTime, FixedOffset};
use pacs_core::access::{Get, Maintain};
use pacs_core::examination::reconcile::{
    Binding, MatchingPolicy, Origin, QueueReason, Received, StudyHeader, Verdict, verdict,
};
use pacs_core::query::Matching;
use pacs_core::role::{Agent, Licence, Unlicensed, duty::Reconcile};
use pacs_core::tag::tags;
use pacs_core::uid::StudyUid;
use pacs_core::{
    AeTitle, Instance, Key, Level, OrganisationCode, Permit, Query, SopInstanceUid, Uid, Vr,
};
use std::collections::BTreeMap;

/// The name of its cursor.
const CURSOR: &str = "matcher";

/// Why the follower does not go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MatcherError {
    /// The changes or the instances cannot be read.
    #[error("changes could not be followed")]
    Index(#[from] IndexError),
    /// The head of an instance cannot be read.
    #[error("an instance could not be read")]
    Read(#[from] ReadError),
    /// The cursor cannot be read or moved.
    #[error("the place of the matcher could not be kept")]
    Records(#[from] RecordsError),
    /// The registry cannot be read or changed.
    #[error("the registry could not be asked")]
    Registry(#[from] RegistryError),
}

/// What the follower found in one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Judged {
    /// Changes that are behind it now.
    pub changes_count: usize,
    /// Studies that are of an examination.
    pub bound_count: u64,
    /// Studies that wait for a person.
    pub queued_count: u64,
    /// Studies whose sender is of no organisation.
    pub foreign_count: u64,
}

/// The follower.
#[derive(Debug)]
pub struct Matcher {
    archive: Archive,
    registry: Registry,
    maintain: Permit<Maintain>,
    get: Permit<Get>,
    licence: Licence<Reconcile>,
    place: FixedOffset,
    policy: MatchingPolicy,
    limits: MatcherLimits,
}

/// What came of a study since it was judged last.
#[derive(Debug, Default)]
struct News {
    instances: Vec<SopInstanceUid>,
    has_other_version: bool,
}

impl Matcher {
    /// A follower of `archive`, which is at a place with this offset from UTC.
    ///
    /// # Errors
    /// [`Unlicensed`] where the table of roles does not let the archive itself do it.
    pub fn new(
        archive: &Archive,
        (maintain, get): (Permit<Maintain>, Permit<Get>),
        place: FixedOffset,
        limits: MatcherLimits,
    ) -> Result<Self, Unlicensed> {
        Ok(Self {
            archive: archive.clone(),
            registry: archive.registry(),
            maintain,
            get,
            licence: Agent::system("matcher").national_licence()?,
            place,
            policy: MatchingPolicy::default(),
            limits,
        })
    }

    /// Where it was; the first time, where the archive is: what came before there were examinations
    /// is of none.
    ///
    /// # Errors
    /// [`MatcherError`].
    pub async fn cursor(&self) -> Result<Cursor, MatcherError> {
        let mut cursor = self.archive.cursor(&self.maintain, CURSOR).await?;
        if cursor.is_new() {
            let last = self.archive.last_change(&self.maintain).await?;
            cursor.advance(last).await?;
        }
        Ok(cursor)
    }

    /// Follows until the archive is closed. As long as there is no organisation there is nothing to
    /// judge, and nothing is read or written.
    ///
    /// # Errors
    /// [`MatcherError`]; it can be called again, and goes on where it was.
    pub async fn run(&self) -> Result<(), MatcherError> {
        while !self.registry.has_organisations().await? {
            tokio::time::sleep(self.limits.idle_duration).await;
            if self.archive.shared.is_closing() {
                return Ok(());
            }
        }
        let mut cursor = self.cursor().await?;
        loop {
            self.archive
                .wait_for_change(&self.maintain, cursor.position())
                .await?;
            // What comes in one go is judged in one go.
            tokio::time::sleep(self.limits.gather_duration).await;
            let judged = self.step(&mut cursor).await?;
            if judged.changes_count == 0 {
                return Ok(());
            }
            tracing::debug!(
                changes = judged.changes_count,
                bound = judged.bound_count,
                queued = judged.queued_count,
                foreign = judged.foreign_count,
                "studies were matched"
            );
        }
    }

    /// Judges what came after `cursor`, and moves it.
    ///
    /// # Errors
    /// [`MatcherError`]; the cursor is where it was, and what was judged is judged again.
    pub async fn step(&self, cursor: &mut Cursor) -> Result<Judged, MatcherError> {
        let changes = self
            .archive
            .changes(&self.maintain, cursor.position(), self.limits.changes_max)
            .await?;
        let Some(last) = changes.last() else {
            return Ok(Judged::default());
        };
        let last = last.number;
        let mut judged = Judged {
            changes_count: changes.len(),
            ..Judged::default()
        };
        for (study, news) in by_study(changes) {
            match self.judge_anew(&study, &news).await? {
                None => judged.foreign_count = judged.foreign_count.saturating_add(1),
                Some(found) if found.value.examination().is_some() => {
                    judged.bound_count = judged.bound_count.saturating_add(1);
                }
                Some(_) => judged.queued_count = judged.queued_count.saturating_add(1),
            }
        }
        cursor.advance(last).await?;
        Ok(judged)
    }

    /// Judges one study, and again where a person decided something of it meanwhile.
    async fn judge_anew(
        &self,
        study: &StudyUid,
        news: &News,
    ) -> Result<Option<Stored<StudyMatch>>, MatcherError> {
        let mut judged = self.judge(study, news).await;
        for _ in 0..REGISTRY_ATTEMPTS_MAX {
            if !matches!(judged, Err(MatcherError::Registry(RegistryError::Changed))) {
                break;
            }
            judged = self.judge(study, news).await;
        }
        judged
    }

    /// Judges one study; `None` where nobody knows whose device sent it, or nothing of it is in
    /// sight any more.
    async fn judge(
        &self,
        study: &StudyUid,
        news: &News,
    ) -> Result<Option<Stored<StudyMatch>>, MatcherError> {
        let known = match self.registry.study_match(&self.licence, study).await {
            Ok(known) => Some(known),
            Err(RegistryError::NotFound { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        let judged = known.as_ref().map(|known| known.revision);
        let known = known.map(|known| known.value);
        let count = news.instances.len().min(self.limits.instances_max);
        let wanted = news.instances.get(..count).unwrap_or_default();
        let came = self.instances(study, wanted).await?;
        let first = match &known {
            Some(known) => {
                let first = std::slice::from_ref(&known.first_instance);
                self.instances(study, first).await?.into_iter().next()
            }
            None => None,
        };
        let Some(first) = first.as_ref().or(came.first()) else {
            return Ok(None);
        };
        let sender = came.first().unwrap_or(first);
        let Some(organisation) = self.organisation_of(sender).await? else {
            return Ok(None);
        };
        let received = ReceivedStudy {
            study: study.clone(),
            organisation,
            is_import: false,
            received_at: self.moment(first.provenance.received_unix_ms),
            first_instance: first.instance.instance.clone(),
            has_new_images: !came.is_empty(),
            judged,
        };
        let headers = headers(first, &came, organisation, known.as_ref());
        let found = self
            .verdict_of(&received, &headers, known.as_ref(), news.has_other_version)
            .await?;
        let at = self.moment(self.archive.shared.clock.now_unix_ms());
        let stored = self
            .registry
            .store_verdict(&self.licence, &received, &found, at)
            .await;
        match stored {
            // It was cancelled between the question and the answer, or takes no more studies: the
            // study waits for a person, and the others go on.
            Err(RegistryError::Refused(_)) => {
                let found = Verdict::Queued {
                    reason: QueueReason::IdCancelled,
                    suggestions: Vec::new(),
                };
                let stored = self
                    .registry
                    .store_verdict(&self.licence, &received, &found, at)
                    .await?;
                Ok(Some(stored))
            }
            other => Ok(Some(other?)),
        }
    }

    async fn verdict_of(
        &self,
        study: &ReceivedStudy,
        headers: &[StudyHeader],
        known: Option<&StudyMatch>,
        has_other_version: bool,
    ) -> Result<Verdict, MatcherError> {
        let received_at = study.received_at.naive_local();
        let binding = known.and_then(|known| {
            Some(Binding {
                examination: known.examination()?,
                organisation: known.organisation,
                first: headers.first()?.clone(),
            })
        });
        let candidates = match binding {
            Some(_) => Vec::new(),
            None => {
                self.registry
                    .candidates(&self.licence, headers, study.organisation, received_at)
                    .await?
            }
        };
        let received = Received {
            headers,
            origin: Origin::Device(study.organisation),
            received_at,
            binding: binding.as_ref(),
            not_of: known.map_or(&[], |known| known.not_of.as_slice()),
            has_other_version,
        };
        Ok(verdict(&received, &candidates, self.policy))
    }

    /// The organisation whose device sent an instance.
    async fn organisation_of(
        &self,
        instance: &StoredInstance,
    ) -> Result<Option<OrganisationCode>, MatcherError> {
        match AeTitle::parse(&instance.provenance.calling) {
            Ok(title) => Ok(self.registry.organisation_of_title(&title).await?),
            Err(_) => Ok(None),
        }
    }

    /// Those instances of a study that are in sight, in the order in which they came.
    async fn instances(
        &self,
        study: &StudyUid,
        wanted: &[SopInstanceUid],
    ) -> Result<Vec<StoredInstance>, MatcherError> {
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let uids: Vec<Uid> = wanted.iter().map(|uid| uid.uid().clone()).collect();
        let key = |tag, matching| Key {
            tag,
            vr: Vr::UI,
            matching,
        };
        let of_study = Matching::SingleValue(study.as_str().to_owned());
        let query = Query::new(Level::Instance)
            .with(key(tags::STUDY_INSTANCE_UID, of_study))
            .with(key(tags::SOP_INSTANCE_UID, Matching::UidList(uids)));
        let found = self.archive.select(&self.get, &query).await?;
        let mut found: Vec<StoredInstance> = found.into_iter().collect();
        found.sort_by_key(|instance| instance.provenance.received_unix_ms);
        for stored in &mut found {
            stored.instance = self.head(stored).await?;
        }
        Ok(found)
    }

    /// The instance with all that its own head says: the index keeps of the study what the first of
    /// its instances said. Of one that cannot be read there is what the index has of it alone.
    async fn head(&self, stored: &StoredInstance) -> Result<Instance, MatcherError> {
        let bytes = match stored.instance.head_bytes {
            // Deflated.
            0 => MATCHER_HEAD_BYTES_MAX,
            // With the tag of what follows, by which the head is seen to be whole.
            head_bytes => head_bytes.saturating_add(12).min(MATCHER_HEAD_BYTES_MAX),
        };
        let mut reader = self.archive.read_range(&self.get, stored, &(0..bytes));
        let mut data_set = Vec::new();
        loop {
            match reader.next().await {
                Ok(Some(chunk)) => data_set.extend_from_slice(&chunk),
                Ok(None) => break,
                Err(ReadError::Damaged | ReadError::Missing) => {
                    return Ok(stored.instance.clone());
                }
                Err(error) => return Err(error.into()),
            }
        }
        let syntax = &stored.instance.transfer_syntax;
        let read = Instance::parse(&data_set, syntax, &self.archive.shared.limits.scan);
        Ok(read.unwrap_or_else(|_| stored.instance.clone()))
    }

    fn moment(&self, unix_ms: u64) -> Moment {
        let unix_ms = i64::try_from(unix_ms).unwrap_or(i64::MAX);
        let moment = DateTime::from_timestamp_millis(unix_ms).unwrap_or_default();
        moment.with_timezone(&self.place)
    }
}

/// The different headers, that of the first instance of the study first.
fn headers(
    first: &StoredInstance,
    came: &[StoredInstance],
    organisation: OrganisationCode,
    known: Option<&StudyMatch>,
) -> Vec<StudyHeader> {
    // The numbers of a card are those of the hospital that sent the first.
    let of_first = known.map_or(organisation, |known| known.organisation);
    let mut headers = vec![StudyHeader::of(&first.instance, of_first)];
    for instance in came {
        let header = StudyHeader::of(&instance.instance, organisation);
        if !headers.contains(&header) {
            headers.push(header);
        }
    }
    headers
}

fn by_study(changes: Vec<Change>) -> BTreeMap<StudyUid, News> {
    let mut studies: BTreeMap<StudyUid, News> = BTreeMap::new();
    for change in changes {
        match change.kind {
            ChangeKind::Received | ChangeKind::Restored => {
                let news = studies.entry(change.study).or_default();
                news.instances.push(change.instance);
            }
            ChangeKind::Conflicted => {
                studies.entry(change.study).or_default().has_other_version = true;
            }
            ChangeKind::Hidden => {}
        }
    }
    studies
}
