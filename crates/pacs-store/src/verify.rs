//! Verification: every digest, and both directions between content and index.

use crate::archive::{Archive, Shared};
use crate::disk::DiskFile;
use crate::error::MaintainError;
use crate::index::{IndexError, LogPosition, LogRecord, StoredInstance};
use crate::pack::entry::{EntryHead, Kind};
use crate::pack::name::PackName;
use crate::pack::read::{self, EntryError};
use crate::rebuild::Progress;
use pacs_core::access::Maintain;
use pacs_core::{Permit, SopInstanceUid};
use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use tokio::runtime::Handle;

/// Versions asked of the index at once.
const PAGE_COUNT: usize = 1_000;

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
    /// A large pack that the log does not name.
    LargeUnnamed { pack: u64 },
    /// A number before that of the last log pack has no file.
    PackMissing { pack: u64 },
    /// A log pack ends before the place where it ended when the next one was begun.
    PackShort { pack: u64 },
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
    /// Whether everything is as it should be.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.problems_count == 0
    }
}

impl Archive {
    /// Reads every data set that the index knows and compares its digest; then reads the head of
    /// every entry of the packs and looks it up in the index. What comes in meanwhile is left out.
    /// Waits for a rebuild that is under way. Content that is found damaged or missing is kept
    /// again when it is sent again; [`Archive::rebuild`] then puts it in its place.
    ///
    /// # Errors
    /// [`MaintainError`] where it could not be finished; what it found is in the report.
    pub async fn verify(
        &self,
        _permit: &Permit<Maintain>,
        progress: impl FnMut(Progress) + Send + 'static,
    ) -> Result<VerifyReport, MaintainError> {
        let mut verification = Verification {
            end: LogPosition::default(),
            shared: Arc::clone(&self.shared),
            runtime: Handle::current(),
            report: VerifyReport::default(),
            named: BTreeSet::new(),
            tell: Box::new(progress),
        };
        let held = Arc::clone(&self.shared.maintenance).lock_owned().await;
        verification.end = *self.shared.visible.borrow();
        let task = tokio::task::spawn_blocking(move || {
            let _held = held;
            verification.index_to_content()?;
            verification.content_to_index()?;
            Ok(verification.report)
        });
        task.await
            .unwrap_or_else(|error| Err(MaintainError::Disk(io::Error::other(error))))
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
    tell: Box<dyn FnMut(Progress) + Send>,
}

impl Verification {
    fn note(&mut self, problem: Problem) {
        tracing::error!(?problem, "verification found a problem");
        self.report.problems_count = self.report.problems_count.saturating_add(1);
        if self.report.problems.len() < self.shared.limits.problems_listed_max {
            self.report.problems.push(problem);
        }
    }

    fn tell(&mut self) {
        let report = &self.report;
        (self.tell)(Progress {
            entries_count: report.versions_count.saturating_add(report.entries_count),
            bytes: report.bytes,
            damaged_count: report.problems_count,
        });
    }

    /// No index without content.
    fn index_to_content(&mut self) -> Result<(), MaintainError> {
        let mut after = 0;
        loop {
            let index = Arc::clone(&self.shared.index);
            let page = self.runtime.block_on(index.entries(after, PAGE_COUNT))?;
            let Some((last, _)) = page.last() else {
                return Ok(());
            };
            after = *last;
            for (_, version) in &page {
                self.check_content(version)?;
                self.tell();
            }
        }
    }

    fn check_content(&mut self, version: &StoredInstance) -> Result<(), MaintainError> {
        let location = version.location;
        self.report.versions_count = self.report.versions_count.saturating_add(1);
        self.report.bytes = self.report.bytes.saturating_add(location.length_bytes);
        let name = PackName::of_location(location.pack);
        let digest = match self.shared.files.file(name) {
            Ok(file) => read::digest_of(&*file, location.offset, location.length_bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            // That says nothing of the content: too many open files, for example.
            Err(error) => return Err(MaintainError::Disk(error)),
        };
        let instance = version.instance.instance.clone();
        let (pack, offset) = (location.pack, location.offset);
        if !matches!(digest, Ok(Some(digest)) if digest == version.digest) {
            // Sent again, it is kept again.
            let count_max = self.shared.limits.problems_listed_max;
            let damage = &self.shared.damage;
            damage.note(&instance, version.digest, count_max);
        }
        match digest {
            Ok(Some(digest)) if digest == version.digest => {}
            Ok(None) => self.note(Problem::ContentMissing {
                instance,
                pack,
                offset,
            }),
            // A sector that cannot be read is damage to this instance, and no reason to stop.
            Ok(Some(_)) | Err(_) => self.note(Problem::ContentDamaged {
                instance,
                pack,
                offset,
            }),
        }
        Ok(())
    }

    /// No content without index.
    fn content_to_index(&mut self) -> Result<(), MaintainError> {
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
            self.check_pack(*name, stop)?;
            if read::is_short(files.disk(), number).map_err(MaintainError::Disk)? {
                self.note(Problem::PackShort { pack: number });
            }
        }
        for name in names {
            if let PackName::Large(number) = name
                && !self.named.contains(&number)
            {
                self.check_unnamed(name)?;
            }
        }
        Ok(())
    }

    /// A large pack that the log did not name up to where it was read. It may be named after that.
    fn check_unnamed(&mut self, name: PackName) -> Result<(), MaintainError> {
        let files = Arc::clone(&self.shared.files);
        let limits = Arc::clone(&self.shared.limits);
        let file = files.file(name).map_err(MaintainError::Disk)?;
        let head = read::head_at(&*file, name, 0).map_err(MaintainError::Disk)?;
        let record =
            head.and_then(|head| read::record_of(&files, name, &*file, &head, &limits.scan).ok());
        let is_known = match record {
            Some(Some(LogRecord::Instance(stored))) => self.knows(&stored)?,
            Some(_) | None => false,
        };
        if !is_known {
            self.note(Problem::LargeUnnamed {
                pack: name.location(),
            });
        }
        Ok(())
    }

    fn check_pack(&mut self, name: PackName, stop: u64) -> Result<(), MaintainError> {
        let file = self.shared.files.file(name).map_err(MaintainError::Disk)?;
        let mut at = 0;
        while at < stop {
            let head = match read::head_at(&*file, name, at).map_err(MaintainError::Disk)? {
                Some(head) => head,
                None => {
                    let next = read::next_head(&*file, name, at).map_err(MaintainError::Disk)?;
                    let next = next.filter(|head| head.offset < stop);
                    // Zeros to the end of a sealed pack are its end and no damage.
                    if next.is_some() || stop < u64::MAX || !is_zero(&*file, at)? {
                        self.note(Problem::EntryDamaged {
                            pack: name.location(),
                            offset: at,
                        });
                    }
                    match next {
                        Some(head) => head,
                        None => return Ok(()),
                    }
                }
            };
            at = head.end;
            self.check_entry(name, &*file, &head)?;
            self.tell();
        }
        Ok(())
    }

    fn check_entry(
        &mut self,
        name: PackName,
        file: &dyn DiskFile,
        head: &EntryHead,
    ) -> Result<(), MaintainError> {
        if head.label.kind != Kind::Mark {
            self.report.entries_count = self.report.entries_count.saturating_add(1);
        }
        let limits = Arc::clone(&self.shared.limits);
        let files = Arc::clone(&self.shared.files);
        let record = match read::record_of(&files, name, file, head, &limits.scan) {
            Ok(record) => record,
            Err(EntryError::Disk(error)) => return Err(MaintainError::Disk(error)),
            Err(EntryError::Damaged) => {
                self.note(Problem::EntryDamaged {
                    pack: name.location(),
                    offset: head.offset,
                });
                return Ok(());
            }
        };
        let Some(LogRecord::Instance(stored)) = record else {
            return Ok(());
        };
        if head.label.kind == Kind::Large
            && let PackName::Large(number) = PackName::of_location(stored.location.pack)
        {
            self.named.insert(number);
        }
        let is_known = self.knows(&stored)?;
        if !is_known {
            self.note(Problem::Unindexed {
                instance: stored.instance.instance.clone(),
                pack: name.location(),
                offset: head.offset,
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

fn is_zero(file: &dyn DiskFile, from: u64) -> Result<bool, MaintainError> {
    read::is_zero_from(file, from).map_err(MaintainError::Disk)
}
