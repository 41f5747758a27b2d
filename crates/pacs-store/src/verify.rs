//! Verification: every digest, and both directions between content and index.
//!
//! The packs are read once, in the order of the log, and the index beside them: it gives versions
//! in order of arrival, which is the same. What the index has in another place than the log is
//! looked at by itself.

use crate::archive::erasing::is_doomed;
use crate::archive::{Archive, Shared};
use crate::error::MaintainError;
use crate::index::{Digest, Index, IndexError, Location, LogPosition, LogRecord, StoredInstance};
use crate::pack::entry::Kind;
use crate::pack::examine::{Examined, Examiner, Found, Passage};
use crate::pack::name::PackName;
use crate::pack::read::{self, EntryError, PackFiles};
use crate::rebuild::Progress;
use crate::records::RecordsError;
use pacs_core::access::Maintain;
use pacs_core::{Permit, SopInstanceUid};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use tokio::runtime::Handle;

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the fields are named for what they hold")]
pub enum Problem {
    /// The bytes of a version that the index knows do not have its digest.
    ContentDamaged {
        instance: SopInstanceUid,
        pack: u64,
        offset: u64,
    },
    /// The bytes of a version that the index knows are not there.
    ContentMissing {
        instance: SopInstanceUid,
        pack: u64,
        offset: u64,
    },
    /// An entry of a pack cannot be read: its head is damaged, or what it says cannot be used.
    EntryDamaged { pack: u64, offset: u64 },
    /// Bytes of an entry that say nothing are not as they were written. No instance is harmed, but
    /// something changes bits.
    FillDamaged { pack: u64, offset: u64 },
    /// The file of the index does not have its checksums: it has to be made again from the packs.
    IndexDamaged,
    /// A large pack that the log does not name.
    LargeUnnamed { pack: u64 },
    /// A number before that of the last log pack has no file.
    PackMissing { pack: u64 },
    /// A log pack ends before the place where it ended when the next one was begun.
    PackShort { pack: u64 },
    /// The file of the records does not have its checksums.
    RecordsDamaged,
    /// The packs hold a version that the index does not know.
    Unindexed {
        instance: SopInstanceUid,
        pack: u64,
        offset: u64,
    },
}

/// What a verification found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VerifyReport {
    /// Versions of the index whose bytes were read.
    pub versions_count: u64,
    /// Entries of the packs that were looked up in the index, hides and restores included.
    pub entries_count: u64,
    /// Bytes of data sets that were read.
    pub bytes: u64,
    /// Problems, all of them.
    pub problems_count: u64,
    /// The first of them, up to `StoreLimits::problems_listed_max`.
    pub problems: Vec<Problem>,
}

impl VerifyReport {
    fn note(&mut self, problem: Problem, listed_max: usize) {
        tracing::error!(?problem, "verification found a problem");
        self.problems_count = self.problems_count.saturating_add(1);
        if self.problems.len() < listed_max {
            self.problems.push(problem);
        }
    }

    /// Whether everything is as it should be.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.problems_count == 0
    }
}

impl Archive {
    /// Reads everything: the packs, entry after entry, with the digest of each, and what the index
    /// and the records keep. Every entry is looked up in the index, and every version of the index
    /// in the packs. What comes in meanwhile is left out. Waits for a rebuild that is under way.
    /// Content that is found damaged or missing is kept again when it is sent again;
    /// [`Archive::rebuild`] then puts it in its place, and so does a repair ([`crate::repair`]).
    ///
    /// # Errors
    /// [`MaintainError`] where it could not be finished; what it found is in the report.
    pub async fn verify(
        &self,
        _permit: &Permit<Maintain>,
        progress: impl FnMut(Progress) + Send + 'static,
    ) -> Result<VerifyReport, MaintainError> {
        let held = Arc::clone(&self.shared.turns.maintenance)
            .lock_owned()
            .await;
        let mut verification = Verification {
            end: *self.shared.visible.borrow(),
            shared: Arc::clone(&self.shared),
            runtime: Handle::current(),
            report: VerifyReport::default(),
            named: BTreeSet::new(),
            good: HashMap::new(),
            indexed: Indexed::new(Arc::clone(&self.shared.index), Handle::current()),
            tell: Box::new(progress),
        };
        self.check_tables(&mut verification.report).await?;
        let task = tokio::task::spawn_blocking(move || {
            let _held = held;
            verification.packs()?;
            verification.rest_of_index()?;
            Ok(verification.report)
        });
        task.await
            .unwrap_or_else(|error| Err(MaintainError::Disk(io::Error::other(error))))
    }

    /// Checks the files of index and records.
    async fn check_tables(&self, report: &mut VerifyReport) -> Result<(), MaintainError> {
        let limit_count = self.shared.limits.problems_listed_max;
        match self.shared.index.check().await {
            Err(IndexError::Damaged { .. }) => report.note(Problem::IndexDamaged, limit_count),
            other => other?,
        }
        match self.shared.records.check().await {
            Err(RecordsError::Damaged { .. }) => report.note(Problem::RecordsDamaged, limit_count),
            other => other?,
        }
        Ok(())
    }
}

/// Versions asked of the index at once.
const PAGE_COUNT: usize = 1_000;

/// The versions of the index, in order of arrival.
struct Indexed {
    index: Arc<dyn Index>,
    runtime: Handle,
    after: u64,
    page: VecDeque<StoredInstance>,
    is_at_end: bool,
}

impl Indexed {
    fn new(index: Arc<dyn Index>, runtime: Handle) -> Self {
        Self {
            index,
            runtime,
            after: 0,
            page: VecDeque::new(),
            is_at_end: false,
        }
    }

    /// The next version, which stays the next until [`Self::take`].
    fn peek(&mut self) -> Result<Option<&StoredInstance>, IndexError> {
        if self.page.is_empty() && !self.is_at_end {
            let asked = self.index.entries(self.after, PAGE_COUNT);
            let page = self.runtime.block_on(asked)?;
            self.is_at_end = page.is_empty();
            self.after = page.last().map_or(self.after, |(number, _)| *number);
            self.page = page.into_iter().map(|(_, version)| version).collect();
        }
        Ok(self.page.front())
    }

    fn take(&mut self) -> Option<StoredInstance> {
        self.page.pop_front()
    }
}

struct Verification {
    shared: Arc<Shared>,
    runtime: Handle,
    /// The log was visible up to here when this began.
    end: LogPosition,
    report: VerifyReport,
    /// Large packs that the log names.
    named: BTreeSet<u64>,
    /// Data sets of the present pack that were read and have their digest, by pack and offset;
    /// and their length.
    good: HashMap<(u64, u64), (Digest, u64)>,
    indexed: Indexed,
    tell: Box<dyn FnMut(Progress) + Send>,
}

impl Verification {
    fn note(&mut self, problem: Problem) {
        let limits = &self.shared.limits;
        self.report.note(problem, limits.problems_listed_max);
    }

    fn tell(&mut self) {
        let report = &self.report;
        (self.tell)(Progress {
            entries_count: report.versions_count.saturating_add(report.entries_count),
            bytes: report.bytes,
            damaged_count: report.problems_count,
        });
    }

    /// No content without index.
    fn packs(&mut self) -> Result<(), MaintainError> {
        let files = Arc::clone(&self.shared.files);
        let names = files.list().map_err(MaintainError::Disk)?;
        let mut expected = 1;
        for name in &names {
            let PackName::Log(number) = *name else {
                continue;
            };
            if number > self.end.pack {
                continue;
            }
            for pack in expected..number {
                self.note(Problem::PackMissing { pack });
            }
            expected = number.saturating_add(1);
            let stop = if number == self.end.pack {
                self.end.offset
            } else {
                u64::MAX
            };
            self.pack(&files, *name, stop)?;
            if read::is_short(files.disk(), number).map_err(MaintainError::Disk)? {
                self.note(Problem::PackShort { pack: number });
            }
        }
        for name in names {
            if let PackName::Large(number) = name
                && !self.named.contains(&number)
            {
                self.unnamed(name)?;
            }
        }
        Ok(())
    }

    fn pack(&mut self, files: &PackFiles, name: PackName, stop: u64) -> Result<(), MaintainError> {
        let shared = Arc::clone(&self.shared);
        let examiner = Examiner {
            files,
            limits: &shared.limits.scan,
            threads_count: shared.limits.examining_threads(),
        };
        let file = files.file(name).map_err(MaintainError::Disk)?;
        let mut passage = Passage::new(examiner, name, file, stop);
        loop {
            let found = passage.batch().map_err(MaintainError::Disk)?;
            if found.is_empty() {
                break;
            }
            for found in found {
                match found {
                    Found::Entry(examined) => self.entry(name, *examined)?,
                    Found::Damage { from } => self.note(Problem::EntryDamaged {
                        pack: name.location(),
                        offset: from,
                    }),
                }
            }
            self.index_up_to(name.location(), passage.at())?;
            self.tell();
        }
        // What the index has of this pack or before is behind.
        self.index_up_to(name.location(), u64::MAX)?;
        self.good.clear();
        Ok(())
    }

    fn entry(&mut self, name: PackName, examined: Examined) -> Result<(), MaintainError> {
        let (pack, offset) = (name.location(), examined.head.offset);
        let kind = examined.head.label.kind;
        if kind != Kind::Mark {
            self.report.entries_count = self.report.entries_count.saturating_add(1);
        }
        if !examined.is_filled {
            self.note(Problem::FillDamaged { pack, offset });
        }
        let is_whole = examined.is_whole;
        let stored = match examined.record {
            Err(EntryError::Disk(error)) => return Err(MaintainError::Disk(error)),
            Err(EntryError::Damaged) => {
                self.note(Problem::EntryDamaged { pack, offset });
                return Ok(());
            }
            Ok(Some(LogRecord::Destroyed(stored))) => {
                self.name(kind, stored.location);
                return Ok(());
            }
            Ok(Some(LogRecord::Instance(stored))) => stored,
            Ok(_) => return Ok(()),
        };
        let location = stored.location;
        self.name(kind, location);
        if is_whole {
            let found = (stored.digest, location.length_bytes);
            self.good.insert((location.pack, location.offset), found);
        }
        if !self.knows(&stored)? && !self.is_erased(location)? {
            self.note(Problem::Unindexed {
                instance: stored.instance.instance.clone(),
                pack,
                offset,
            });
        }
        Ok(())
    }

    /// Remembers a large pack that the log names.
    fn name(&mut self, kind: Kind, location: Location) {
        if kind == Kind::Large
            && let PackName::Large(number) = PackName::of_location(location.pack)
        {
            self.named.insert(number);
        }
    }

    /// Whether content was erased since it was read here. What is doomed no more is marked: the
    /// order in which that is asked matters.
    fn is_erased(&self, location: Location) -> Result<bool, MaintainError> {
        let asked = is_doomed(&*self.shared.index, (location.pack, location.offset));
        if self.runtime.block_on(asked)? {
            return Ok(true);
        }
        let name = PackName::of_location(location.pack);
        let file = self.shared.files.file(name).map_err(MaintainError::Disk)?;
        let head = read::entry_of(&*file, name, location.offset).map_err(MaintainError::Disk)?;
        Ok(head.is_some_and(|head| head.mark.is_some()))
    }

    /// No index without content, for the versions that come before `offset` of the log pack `pack`.
    fn index_up_to(&mut self, pack: u64, offset: u64) -> Result<(), MaintainError> {
        while let Some(version) = self.indexed.peek()? {
            let location = version.location;
            let found = self.good.remove(&(location.pack, location.offset));
            let is_behind = match PackName::of_location(location.pack) {
                PackName::Log(number) => (number, location.offset) < (pack, offset),
                PackName::Large(number) | PackName::Part(number) => self.named.contains(&number),
            };
            if found.is_none() && !is_behind {
                return Ok(());
            }
            let Some(version) = self.indexed.take() else {
                return Ok(());
            };
            if found == Some((version.digest, version.location.length_bytes)) {
                self.count(&version);
            } else {
                self.content(&version)?;
            }
        }
        Ok(())
    }

    /// What the index has beyond the packs that were read, and in another order.
    fn rest_of_index(&mut self) -> Result<(), MaintainError> {
        let end = (self.end.pack, self.end.offset);
        while self.indexed.peek()?.is_some() {
            let Some(version) = self.indexed.take() else {
                return Ok(());
            };
            let location = version.location;
            let came_later = matches!(PackName::of_location(location.pack), PackName::Log(number)
                if (number, location.offset) >= end);
            if came_later {
                // All that follow did, too.
                return Ok(());
            }
            self.content(&version)?;
            self.tell();
        }
        Ok(())
    }

    fn count(&mut self, version: &StoredInstance) {
        let bytes = version.location.length_bytes;
        self.report.versions_count = self.report.versions_count.saturating_add(1);
        self.report.bytes = self.report.bytes.saturating_add(bytes);
    }

    /// Reads the data set of a version by itself.
    fn content(&mut self, version: &StoredInstance) -> Result<(), MaintainError> {
        self.count(version);
        let location = version.location;
        let name = PackName::of_location(location.pack);
        let digest = match self.shared.files.file(name) {
            Ok(file) => read::digest_of(&*file, location.offset, location.length_bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            // That says nothing of the content: too many open files, for example.
            Err(error) => return Err(MaintainError::Disk(error)),
        };
        if matches!(digest, Ok(Some(digest)) if digest == version.digest) {
            return Ok(());
        }
        if !self.knows(version)? {
            // Erased since the index was asked.
            return Ok(());
        }
        let instance = version.instance.instance.clone();
        let (pack, offset) = (location.pack, location.offset);
        // Sent again, it is kept again.
        let count_max = self.shared.limits.problems_listed_max;
        let damage = &self.shared.damage;
        damage.note(&instance, version.digest, count_max);
        self.note(match digest {
            Ok(None) => Problem::ContentMissing {
                instance,
                pack,
                offset,
            },
            // A sector that cannot be read is damage to this instance, and no reason to stop.
            Ok(Some(_)) | Err(_) => Problem::ContentDamaged {
                instance,
                pack,
                offset,
            },
        });
        Ok(())
    }

    /// A large pack that the log did not name up to where it was read. It may be named after that.
    fn unnamed(&mut self, name: PackName) -> Result<(), MaintainError> {
        let files = Arc::clone(&self.shared.files);
        let limits = Arc::clone(&self.shared.limits);
        let file = files.file(name).map_err(MaintainError::Disk)?;
        let head = read::head_at(&*file, name, 0).map_err(MaintainError::Disk)?;
        let record =
            head.and_then(|head| read::record_of(&files, name, &*file, &head, &limits.scan).ok());
        let is_known = match record {
            Some(Some(LogRecord::Destroyed(_))) => true,
            Some(Some(LogRecord::Instance(stored))) => {
                self.knows(&stored)? || self.is_erased(stored.location)?
            }
            Some(_) | None => false,
        };
        if !is_known {
            self.note(Problem::LargeUnnamed {
                pack: name.location(),
            });
        }
        Ok(())
    }

    fn knows(&self, stored: &StoredInstance) -> Result<bool, IndexError> {
        let index = &self.shared.index;
        self.runtime
            .block_on(index.knows(&stored.instance.instance, &stored.digest))
    }
}
