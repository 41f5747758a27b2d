//! Makes the index again from the packs alone.

use crate::archive::recover::Applier;
use crate::error::MaintainError;
use crate::index::{Index, LogPosition};
use crate::limits::StoreLimits;
use crate::pack::entry::Kind;
use crate::pack::examine::{Examiner, Found, Passage};
use crate::pack::name::PackName;
use crate::pack::read::{self, EntryError, PackFiles};
use tokio::runtime::Handle;

/// How far a long task has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Entries of the log, or versions of the index, that were looked at.
    pub entries_count: u64,
    /// Bytes of the packs that are behind.
    pub bytes: u64,
    /// Entries that could not be used.
    pub damaged_count: u64,
}

/// Why a rebuild stopped.
#[derive(Debug)]
pub(crate) enum RebuildError {
    /// The index is as it was.
    Unchanged(MaintainError),
    /// The index has lost something that it does not have again: only the next opening, which
    /// replays the log from where the index has come to, gives it back.
    Incomplete(MaintainError),
}

impl From<RebuildError> for MaintainError {
    fn from(error: RebuildError) -> Self {
        match error {
            RebuildError::Unchanged(error) | RebuildError::Incomplete(error) => error,
        }
    }
}

/// Clears the index and replays the log up to `end`. Entries that are damaged are passed over and
/// counted; `verify` tells which they are.
pub(crate) fn rebuild(
    files: &PackFiles,
    index: &dyn Index,
    runtime: &Handle,
    limits: &StoreLimits,
    end: LogPosition,
    tell: Box<dyn FnMut(Progress) + Send>,
) -> Result<Progress, RebuildError> {
    let names = files
        .list()
        .map_err(|error| RebuildError::Unchanged(MaintainError::Disk(error)))?;
    let mut rebuild = Rebuild {
        files,
        limits,
        end,
        applier: Applier::new(index, runtime, limits),
        progress: Progress::default(),
        tell,
    };
    let mut run = || -> Result<Progress, MaintainError> {
        runtime.block_on(index.clear())?;
        let mut expected = 1;
        for name in &names {
            match *name {
                PackName::Log(number) if number <= end.pack => {
                    // A pack that is missing.
                    (expected..number).for_each(|_| rebuild.note_damage());
                    expected = number.saturating_add(1);
                    rebuild.pack(number)?;
                }
                PackName::Log(_) | PackName::Large(_) | PackName::Part(_) => {}
            }
        }
        runtime.block_on(index.flush())?;
        Ok(rebuild.progress)
    };
    run().map_err(RebuildError::Incomplete)
}

struct Rebuild<'a> {
    files: &'a PackFiles,
    limits: &'a StoreLimits,
    /// The log is replayed up to here.
    end: LogPosition,
    applier: Applier<'a>,
    progress: Progress,
    tell: Box<dyn FnMut(Progress) + Send>,
}

impl Rebuild<'_> {
    /// Replays one pack.
    fn pack(&mut self, number: u64) -> Result<(), MaintainError> {
        let name = PackName::Log(number);
        let before = self.progress.bytes;
        let stop = if number == self.end.pack {
            self.end.offset
        } else {
            u64::MAX
        };
        let file = self.files.file(name).map_err(MaintainError::Disk)?;
        let examiner = Examiner {
            files: self.files,
            limits: &self.limits.scan,
            threads_count: self.limits.examining_threads(),
        };
        let mut passage = Passage::new(examiner, name, file, stop);
        let mut at = 0;
        loop {
            let found = passage.batch().map_err(MaintainError::Disk)?;
            if found.is_empty() {
                break;
            }
            for found in found {
                let Found::Entry(examined) = found else {
                    self.note_damage();
                    continue;
                };
                at = examined.head.end;
                if examined.head.label.kind == Kind::Mark {
                    continue;
                }
                self.progress.entries_count = self.progress.entries_count.saturating_add(1);
                self.progress.bytes = before.saturating_add(at);
                match examined.into_whole_record() {
                    Ok(Some(record)) => self.applier.take(record, position(number, at))?,
                    Ok(None) => {}
                    Err(EntryError::Damaged) => self.note_damage(),
                    Err(EntryError::Disk(error)) => return Err(MaintainError::Disk(error)),
                }
                (self.tell)(self.progress);
            }
        }
        if read::is_short(self.files.disk(), number).map_err(MaintainError::Disk)? {
            self.note_damage();
        }
        self.applier.apply(position(number, at))?;
        self.applier.flush_if_long()?;
        Ok(())
    }

    fn note_damage(&mut self) {
        self.progress.damaged_count = self.progress.damaged_count.saturating_add(1);
    }
}

const fn position(pack: u64, offset: u64) -> LogPosition {
    LogPosition { pack, offset }
}
