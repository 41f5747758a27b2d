//! Finds the rejection notes among what comes in, and keeps them as proposals.
//!
//! A follower of the change sequence with a cursor of its own. A note is an instance like any
//! other, whoever sent it; nothing is rejected by it (IHE RAD TF-2 4.66, and our rule that no
//! device deletes).

use crate::archive::{Archive, Cursor};
use crate::error::ReadError;
use crate::index::{ChangeKind, StoredInstance};
use crate::limits::MatcherLimits;
use crate::matcher::MatcherError;
use crate::registry::rejections::{NoteState, ReceivedNote};
use crate::registry::{Moment, Registry};
use chrono::{DateTime, FixedOffset};
use pacs_core::access::{Find, Get, Maintain};
use pacs_core::limits::DataSetLimits;
use pacs_core::query::Matching;
use pacs_core::rejection::{RejectionNote, SOP_CLASS};
use pacs_core::tag::{tags, vr_of};
use pacs_core::uid::StudyUid;
use pacs_core::{Key, Level, Permit, Query, SopInstanceUid, Tag};
use std::collections::{BTreeMap, BTreeSet};

/// The name of its cursor.
const CURSOR: &str = "rejection-notes";

/// The follower.
#[derive(Debug)]
pub struct NoteFollower {
    archive: Archive,
    registry: Registry,
    maintain: Permit<Maintain>,
    find: Permit<Find>,
    get: Permit<Get>,
    place: FixedOffset,
    limits: MatcherLimits,
}

impl NoteFollower {
    /// A follower of `archive`, which is at a place with this offset from UTC.
    #[must_use]
    pub fn new(
        archive: &Archive,
        (maintain, find, get): (Permit<Maintain>, Permit<Find>, Permit<Get>),
        place: FixedOffset,
        limits: MatcherLimits,
    ) -> Self {
        Self {
            archive: archive.clone(),
            registry: archive.registry(),
            maintain,
            find,
            get,
            place,
            limits,
        }
    }

    /// Where it was; the first time, where the archive is.
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

    /// Follows until the archive is closed.
    ///
    /// # Errors
    /// [`MatcherError`]; it can be called again, and goes on where it was.
    pub async fn run(&self) -> Result<(), MatcherError> {
        let mut cursor = self.cursor().await?;
        loop {
            self.archive
                .wait_for_change(&self.maintain, cursor.position())
                .await?;
            tokio::time::sleep(self.limits.gather_duration).await;
            if self.step(&mut cursor).await?.is_none() {
                return Ok(());
            }
        }
    }

    /// Looks at what came after `cursor`, and moves it; how many notes were new, and nothing where
    /// nothing came.
    ///
    /// # Errors
    /// [`MatcherError`]; the cursor is where it was, and what was kept is not kept twice.
    pub async fn step(&self, cursor: &mut Cursor) -> Result<Option<u64>, MatcherError> {
        let changes = self
            .archive
            .changes(&self.maintain, cursor.position(), self.limits.changes_max)
            .await?;
        let Some(last) = changes.last().map(|last| last.number) else {
            return Ok(None);
        };
        let mut studies: BTreeMap<StudyUid, BTreeSet<SopInstanceUid>> = BTreeMap::new();
        for change in changes {
            if change.kind == ChangeKind::Received {
                let came = studies.entry(change.study).or_default();
                came.insert(change.instance);
            }
        }
        let mut new_count = 0_u64;
        for (study, came) in &studies {
            if self.has_key_objects(study).await? {
                new_count = new_count.saturating_add(self.look_at(study, came).await?);
            }
        }
        cursor.advance(last).await?;
        Ok(Some(new_count))
    }

    /// Whether there is any document among the instances of a study that may be a note.
    async fn has_key_objects(&self, study: &StudyUid) -> Result<bool, MatcherError> {
        let classes = tags::SOP_CLASSES_IN_STUDY;
        let query = Query::new(Level::Study)
            .with(of_study(study))
            .with(key(classes, Matching::Universal));
        let found = self.archive.search(&self.find, &query).await?;
        let mut found = found.into_iter();
        Ok(found.any(|found| {
            let classes = found.attributes.text(classes).unwrap_or_default();
            classes.split('\\').any(|class| class.trim() == SOP_CLASS)
        }))
    }

    async fn look_at(
        &self,
        study: &StudyUid,
        came: &BTreeSet<SopInstanceUid>,
    ) -> Result<u64, MatcherError> {
        let class = Matching::SingleValue(SOP_CLASS.to_owned());
        let query = Query::new(Level::Instance)
            .with(of_study(study))
            .with(key(tags::SOP_CLASS_UID, class));
        let found = self.archive.select(&self.get, &query).await?;
        let mut count = 0_u64;
        for stored in found.into_iter() {
            if came.contains(&stored.instance.instance)
                && let Some(note) = self.note(&stored).await?
                && self.registry.keep_note(&note).await?
            {
                tracing::info!(
                    calling = note.sender,
                    note = %note.instance,
                    "a rejection note came; nothing is rejected by it"
                );
                count = count.saturating_add(1);
            }
        }
        Ok(count)
    }

    /// The note that an instance is, if it is one.
    async fn note(&self, stored: &StoredInstance) -> Result<Option<ReceivedNote>, MatcherError> {
        let limits = DataSetLimits::default();
        let instance = &stored.instance;
        let too_long = stored.location.length_bytes > limits.bytes_max as u64;
        let read = if too_long {
            None
        } else {
            let Some(bytes) = self.bytes(stored).await? else {
                return Ok(None);
            };
            RejectionNote::read(&bytes, &instance.transfer_syntax, &limits).ok()
        };
        let Some(read) = read else {
            tracing::warn!(
                calling = stored.provenance.calling,
                instance = %instance.instance,
                "a key object selection cannot be read, or is too long; it is kept"
            );
            return Ok(None);
        };
        let Some(note) = read else { return Ok(None) };
        let sender = stored.provenance.calling.clone();
        let organisation = self.registry.organisation_of_sender(&sender).await?;
        Ok(Some(ReceivedNote {
            instance: instance.instance.clone(),
            study: instance.study.clone(),
            sender,
            organisation,
            received_at: self.moment(stored.provenance.received_unix_ms),
            asked: note.asked,
            quality: note.quality,
            rejected: note.rejected,
            left_out_count: note.left_out_count,
            state: NoteState::Waiting,
        }))
    }

    async fn bytes(&self, stored: &StoredInstance) -> Result<Option<Vec<u8>>, MatcherError> {
        let mut reader = self.archive.read(&self.get, stored);
        let mut data_set = Vec::new();
        loop {
            match reader.next().await {
                Ok(Some(chunk)) => data_set.extend_from_slice(&chunk),
                Ok(None) => return Ok(Some(data_set)),
                Err(ReadError::Damaged | ReadError::Missing) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn moment(&self, unix_ms: u64) -> Moment {
        let unix_ms = i64::try_from(unix_ms).unwrap_or(i64::MAX);
        let moment = DateTime::from_timestamp_millis(unix_ms).unwrap_or_default();
        moment.with_timezone(&self.place)
    }
}

fn key(tag: Tag, matching: Matching) -> Key {
    Key {
        tag,
        vr: vr_of(tag),
        matching,
    }
}

fn of_study(study: &StudyUid) -> Key {
    let uid = Matching::SingleValue(study.as_str().to_owned());
    key(tags::STUDY_INSTANCE_UID, uid)
}
