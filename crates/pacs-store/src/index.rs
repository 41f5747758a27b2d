//! What is known of the content, and the contract of every backend that keeps it.
//!
//! The packs are the log of the index: an index applies [`LogRecord`]s in the order of the log and
//! can be remade from them at any time. Every backend passes `pacs-store-conformance`; a query
//! means what [`pacs_core::matching`] says, on every one.

pub mod memory;
pub mod redb;

mod answer;
mod doomed;
mod note;
mod page;
mod results;
mod target;

pub use crate::digest::Digest;
use async_trait::async_trait;
pub use doomed::Doomed;
pub use note::{Notes, StudyNote};
use pacs_core::{Attributes, Instance, Query, SeriesUid, SopInstanceUid, StudyUid};
pub use page::{Page, PageOfMatches};
pub use results::{IntoResults, Quota, ResultMemory, Results, Weighed};
pub use target::Target;

/// A position in the log: everything before it has been applied, or is durable.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Default,
    serde::Serialize,
    serde::Deserialize,
)]
pub struct LogPosition {
    /// Number of the pack, ascending in the order they were begun. 0 is before all.
    pub pack: u64,
    /// Offset in that pack, at an entry's boundary.
    pub offset: u64,
}

/// Where the bytes of a data set stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Location {
    /// Number of the pack.
    pub pack: u64,
    /// Offset of the data set's first byte (after preamble and File Meta Information).
    pub offset: u64,
    /// Bytes of the data set.
    pub length_bytes: u64,
}

/// Where an instance came from, and when.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Provenance {
    /// Milliseconds since 1970-01-01 UTC.
    pub received_unix_ms: u64,
    /// The calling AE title, or the name of the task that made the deposit; of programs and people
    /// with the organisation for which they store: [`pacs_core::sender`].
    pub calling: String,
    /// The peer's address, where there is one.
    pub address: Option<std::net::IpAddr>,
}

/// An instance whose bytes are in a pack.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct StoredInstance {
    /// Its head.
    pub instance: Instance,
    /// Its bytes.
    pub location: Location,
    /// Their digest.
    pub digest: Digest,
    /// Where they came from.
    pub provenance: Provenance,
}

/// One entry of the log.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum LogRecord {
    /// Content that was received, and destroyed since: of a study that is erased further on. It
    /// takes its place and its number in the order of things, so that all that follows has its own.
    Destroyed(Box<StoredInstance>),
    /// All that is known of a study at that place is no more: nothing of it is served or known, and
    /// its bytes are to be destroyed. What comes of it later is new.
    Erase {
        /// Which.
        study: StudyUid,
    },
    /// Content that was received.
    Instance(Box<StoredInstance>),
    /// The target no longer shows in searches and retrievals.
    Hide {
        /// What.
        target: Target,
        /// Why, in the words of whoever asked.
        reason: String,
    },
    /// The target shows again.
    Restore {
        /// What.
        target: Target,
    },
}

/// Number of a change; ascending without gaps from 1, in the order of the log.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Default,
    serde::Serialize,
    serde::Deserialize,
)]
pub struct ChangeNumber(pub u64);

/// What applying one record did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applied {
    /// A SOP Instance UID that is known with other content: kept as another version, not served.
    Conflict {
        /// The change that tells of it.
        change: ChangeNumber,
        /// 2 for the first version that differs, and so on.
        version: u32,
    },
    /// So many instances changed between hidden and visible, or so many versions were erased; one
    /// change each.
    Moved {
        /// How many.
        instances_count: u64,
    },
    /// A new instance.
    New {
        /// The change that tells of it.
        change: ChangeNumber,
    },
    /// Known with equal content: nothing changed.
    Same,
}

/// One line of the change sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Its number.
    pub number: ChangeNumber,
    /// What happened.
    pub kind: ChangeKind,
    /// To which instance.
    pub instance: SopInstanceUid,
    /// Of which series.
    pub series: SeriesUid,
    /// Of which study.
    pub study: StudyUid,
}

/// How far an index has come, at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Committed {
    /// The log before here is what the index shows.
    pub position: LogPosition,
    /// The last change in it.
    pub change: ChangeNumber,
}

/// What can happen to an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub enum ChangeKind {
    /// Other content came under its UID.
    Conflicted,
    /// A version of it was erased with its study.
    Erased,
    /// It went out of sight.
    Hidden,
    /// It came for the first time.
    Received,
    /// It came back into sight, or another version of it was erased and this one is served now.
    Restored,
}

/// Proof that content before `position` is durable. Only the packs can make one.
#[derive(Debug)]
pub struct DurableContent {
    position: LogPosition,
}

impl DurableContent {
    /// For the packs, after their sync returned, and for the conformance suite.
    #[doc(hidden)]
    #[must_use]
    pub const fn synced_up_to(position: LogPosition) -> Self {
        Self { position }
    }

    /// Everything in the log before here is durable.
    #[must_use]
    pub const fn position(&self) -> LogPosition {
        self.position
    }

    /// Fails where content before `end` is not proved durable: an index must not name it then.
    pub(crate) fn covers(&self, end: LogPosition) -> Result<(), IndexError> {
        if end <= self.position {
            Ok(())
        } else {
            Err(IndexError::Premature)
        }
    }
}

/// What is known under one SOP Instance UID.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Versions {
    /// In order of arrival, the one that is served first; none where the UID is not known.
    /// Attributes are as with [`Index::select`].
    pub stored: Vec<StoredInstance>,
    /// Whether the one that is served is hidden.
    pub is_hidden: bool,
}

/// One result of a search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    /// The keys that were asked for and that the entity has, computed ones included, and always the
    /// unique keys of its level and the levels above.
    pub attributes: Attributes,
}

/// Why an index could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The backend failed. Content is safe; the index can be remade from the packs.
    #[error("index could not {operation}")]
    Backend {
        /// What it was doing.
        operation: &'static str,
        /// Why it could not.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Searches that go on for long, of this caller or of all, take all turns.
    #[error("too many long searches at the moment")]
    Busy,
    /// What the index holds cannot be read: it is damaged or of another version.
    #[error("index entry cannot be read: {what}")]
    Damaged {
        /// What kind of entry.
        what: &'static str,
    },
    /// The results of this search and of those of others take all the memory there is for them.
    #[error("no memory for the results at the moment")]
    NoMemory,
    /// A commit of records whose content is not proved durable: a fault of the caller.
    #[error("records may not be visible before their content is durable")]
    Premature,
    /// The search would have to look at more than it may: no index knows what it asks for.
    #[error("the search would look at more than {rows_max} rows")]
    TooLong {
        /// How many it may look at.
        rows_max: u64,
    },
    /// More results than the caller's limit allows.
    #[error("query has more than {limit_count} results")]
    TooMany {
        /// The limit.
        limit_count: usize,
    },
}

/// A group of records, written but not yet visible.
pub trait Staged: Send {
    /// Promises that the group is visible, all at once: whoever begins to read after this waits
    /// until [`Promised::show`] has made it so, and gets an error where that fails. So whoever sent
    /// the group can be answered while it is being shown.
    ///
    /// `content` proves that the bytes came first. A crash may still take the group back from the
    /// index, and the log then gives it again.
    ///
    /// # Errors
    /// [`IndexError::Premature`] where `content` does not reach the group's end: nothing of the
    /// group is visible then.
    fn promise(
        self: Box<Self>,
        content: DurableContent,
    ) -> Result<(Vec<Applied>, Box<dyn Promised>), IndexError>;
}

/// A group of records that everybody believes to be visible. Dropping it instead of showing it is a
/// failure as one of [`Self::show`].
pub trait Promised: Send {
    /// Keeps the promise. Blocks as long as that takes.
    ///
    /// # Errors
    /// [`IndexError::Backend`]; then nothing of the group is visible, and the index neither takes
    /// groups nor answers any more.
    fn show(self: Box<Self>) -> Result<(), IndexError>;
}

impl dyn Staged {
    /// Makes the group visible, all at once: after return every search sees it.
    ///
    /// # Errors
    /// Those of [`Staged::promise`] and [`Promised::show`].
    pub fn commit(self: Box<Self>, content: DurableContent) -> Result<Vec<Applied>, IndexError> {
        let (applied, promised) = self.promise(content)?;
        promised.show()?;
        Ok(applied)
    }
}

/// Finds instances by their attributes.
///
/// An entity's attributes: a study has the patient and study attributes of the first instance that
/// was ever received for it, a series the series attributes of its first; hiding does not change
/// that, and a version that is not served counts as received too. A series is one Series UID within
/// one study. A study or series without a visible instance does not show. A patient is what shares
/// Patient ID and Issuer of Patient ID (where the ID is empty: name and birth date; spaces around
/// do not count), with the attributes of its first study.
///
/// Versions: equal digest means equal content. Of several versions of an instance the first is
/// served; the others are kept for [`Self::entries`], belong to the study and series they name, and
/// never show. An instance is visible if its served version is not hidden. Hiding and restoring
/// turn served versions that are known at that moment; content that comes again for a hidden
/// instance does not bring it back.
///
/// Erasing ends what is known of a study: of an instance that another study has other versions of,
/// the first of these is served from then on, and they are counted anew. Content that is destroyed
/// already when the log tells of it ([`LogRecord::Destroyed`]) is a version like any other, but
/// nobody sees it, and [`Self::knows`] does not know it.
///
/// Attributes of an entity at some level are those of that level and of all above it, and these
/// computed ones, which count visible entities only: Modalities in Study, SOP Classes in Study
/// (each value once, in order), Number of Patient Related Studies, Series and Instances, Number of
/// Study Related Series and Instances, Number of Series Related Instances, and Instance
/// Availability ONLINE (none at patient level but the patient's counts). The UIDs are the
/// identifiers of [`Instance`], without padding.
///
/// What was noted of a study ([`Index::note`]) stands in place of what was received, at the levels
/// of patient, study and series: it is searched and answered, and says whose studies are one
/// patient's. A quota that is narrowed ([`Quota::seen_by`]) leaves out what its sight does not
/// reach: results, and what is counted of patients. The log says nothing of notes, and
/// [`Self::clear`] forgets them.
///
/// A record that says what already holds changes nothing: content that is known is
/// [`Applied::Same`], hiding what is hidden moves no instance. Replay nevertheless begins exactly
/// at [`Self::durable_position`] of an index just opened: a hide that is applied again also hides
/// what came after it.
#[async_trait]
pub trait Index: std::fmt::Debug + Send + Sync + 'static {
    /// Writes `records` in order, visible to nobody before [`Promised::show`]. One group at a time:
    /// the caller is the only writer, and commits or drops a group before it calls `stage`,
    /// [`Self::flush`] or [`Self::clear`] again. `end` is the log position after the last record.
    ///
    /// # Errors
    /// [`IndexError::Backend`]; dropping the result takes everything back.
    async fn stage(
        &self,
        records: Vec<LogRecord>,
        end: LogPosition,
    ) -> Result<Box<dyn Staged>, IndexError>;

    /// Whether it can grow by what instances need; where not, the caller takes no more of them as
    /// long as that is so. Asked often.
    fn has_room(&self) -> bool {
        true
    }

    /// Whether a version of `instance` with this content is known, hidden or not.
    ///
    /// # Errors
    /// [`IndexError::Backend`].
    async fn knows(&self, instance: &SopInstanceUid, digest: &Digest) -> Result<bool, IndexError>;

    /// Every version of `instance`, hidden or not.
    ///
    /// # Errors
    /// [`IndexError::TooMany`] with more than `limit_count` of them, [`IndexError::Backend`].
    async fn versions(
        &self,
        instance: &SopInstanceUid,
        limit_count: usize,
    ) -> Result<Versions, IndexError>;

    /// What matches `query`, visible entities only, in order of study, series and arrival. Studies
    /// are in the order of their first instances, series of one study too, patients in the order of
    /// their first study.
    ///
    /// # Errors
    /// [`IndexError::TooMany`] and [`IndexError::NoMemory`] with more than `quota` allows.
    async fn search(&self, query: &Query, quota: &Quota) -> Result<Results<Match>, IndexError>;

    /// A part of what [`Self::search`] gives, with the studies in the opposite order: the newest
    /// first, and what is of one study as it is there. `None` where [`Page::after`] is not among
    /// the results.
    ///
    /// # Errors
    /// [`IndexError::TooMany`] and [`IndexError::NoMemory`] with more than `quota` allows: of the
    /// results on the page, where a backend need not collect those before and behind it.
    async fn search_page(
        &self,
        query: &Query,
        page: &Page,
        quota: &Quota,
    ) -> Result<Option<PageOfMatches>, IndexError> {
        let found = self.search(query, quota).await?;
        page::of_all(found, query.level, page, quota)
    }

    /// The visible instances of every entity that matches `query`, in the order of
    /// [`Self::search`].
    ///
    /// The attributes of each are those of the instance level and the UIDs of study, series,
    /// instance and class; what it was sent with at the levels above is in its bytes.
    ///
    /// # Errors
    /// [`IndexError::TooMany`] and [`IndexError::NoMemory`] with more than `quota` allows.
    async fn select(
        &self,
        query: &Query,
        quota: &Quota,
    ) -> Result<Results<StoredInstance>, IndexError>;

    /// Notes what is known of studies. Whoever searches sees all of it or nothing; a crash may take
    /// it back, and [`Self::noted`] with it.
    ///
    /// # Errors
    /// [`IndexError::Backend`]; nothing is noted then.
    async fn note(&self, notes: Notes) -> Result<(), IndexError>;

    /// [`Notes::through`] of the last notes; 0 where there are none.
    ///
    /// # Errors
    /// [`IndexError::Backend`].
    async fn noted(&self) -> Result<u64, IndexError>;

    /// Up to `count_max` changes after `after`, in order.
    ///
    /// # Errors
    /// [`IndexError::Backend`].
    async fn changes(
        &self,
        after: ChangeNumber,
        count_max: usize,
    ) -> Result<Vec<Change>, IndexError>;

    /// Every stored version, hidden or not, in order of arrival: up to `count_max` after `after` (a
    /// number of the index's own, 0 to begin), each with its number. Attributes are as with
    /// [`Self::select`].
    ///
    /// # Errors
    /// [`IndexError::Backend`].
    async fn entries(
        &self,
        after: u64,
        count_max: usize,
    ) -> Result<Vec<(u64, StoredInstance)>, IndexError>;

    /// How far the index has come for those who search it. Content before that is durable; the
    /// index itself may be durable up to an earlier place only.
    ///
    /// # Errors
    /// [`IndexError::Backend`].
    async fn committed(&self) -> Result<Committed, IndexError>;

    /// Reads everything that is kept and compares it with whatever the backend keeps to notice
    /// damage. Searches go on; groups may have to wait.
    ///
    /// # Errors
    /// [`IndexError::Damaged`]: the index has to be made again from the packs.
    /// [`IndexError::Backend`] where it could not be looked at.
    async fn check(&self) -> Result<(), IndexError> {
        Ok(())
    }

    /// How far the index has come, durably: the log is replayed from here after a crash. After
    /// [`Self::flush`] it is the end of the last committed group.
    ///
    /// # Errors
    /// [`IndexError::Backend`].
    async fn durable_position(&self) -> Result<LogPosition, IndexError>;

    /// Makes everything committed so far durable.
    ///
    /// # Errors
    /// [`IndexError::Backend`].
    async fn flush(&self) -> Result<(), IndexError>;

    /// Forgets everything, to be filled again from the log.
    ///
    /// # Errors
    /// [`IndexError::Backend`].
    async fn clear(&self) -> Result<(), IndexError>;

    /// Where all content of a study stands that erasing it would doom, in no order.
    ///
    /// # Errors
    /// [`IndexError::Backend`].
    async fn content_of(&self, study: &StudyUid) -> Result<Vec<Location>, IndexError>;

    /// Up to `count_max` pieces of content that are erased and not known to be destroyed, in the
    /// order of their places, after the place `after` (a pack and an offset). [`Self::clear`] and
    /// the log after it bring all of them that there ever were.
    ///
    /// # Errors
    /// [`IndexError::Backend`].
    async fn doomed(
        &self,
        after: Option<(u64, u64)>,
        count_max: usize,
    ) -> Result<Vec<Doomed>, IndexError>;

    /// What stands at these places is destroyed, durably. A crash may take that back.
    ///
    /// # Errors
    /// [`IndexError::Backend`].
    async fn destroyed(&self, places: &[(u64, u64)]) -> Result<(), IndexError>;
}
