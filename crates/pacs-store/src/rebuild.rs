//! Makes the index again from the packs alone.

use crate::archive::recover::Applier;
use crate::error::MaintainError;
use crate::index::{Index, LogPosition};
use crate::limits::StoreLimits;
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

/// Clears the index and replays the log up to `end`. Entries that are damaged are passed over and
/// counted; `verify` tells which they are.
pub(crate) fn rebuild(
    files: &PackFiles,
    index: &dyn Index,
    runtime: &Handle,
    limits: &StoreLimits,
    end: LogPosition,
    mut tell: Box<dyn FnMut(Progress) + Send>,
) -> Result<Progress, MaintainError> {
    let names = files.list().map_err(MaintainError::Disk)?;
    runtime.block_on(index.clear())?;
    let mut applier = Applier::new(index, runtime, limits);
    let mut progress = Progress::default();
    for name in names {
        let PackName::Log(number) = name else {
            continue;
        };
        if number > end.pack {
            break;
        }
        let before = progress.bytes;
        let stop = if number == end.pack {
            end.offset
        } else {
            u64::MAX
        };
        let file = files.file(name).map_err(MaintainError::Disk)?;
        let mut at = 0;
        while at < stop {
            let head = match read::head_at(&*file, at).map_err(MaintainError::Disk)? {
                Some(head) => head,
                None => match read::next_head(&*file, at).map_err(MaintainError::Disk)? {
                    Some(head) if head.offset < stop => {
                        progress.damaged_count = progress.damaged_count.saturating_add(1);
                        head
                    }
                    _ => break,
                },
            };
            at = head.end;
            progress.entries_count = progress.entries_count.saturating_add(1);
            progress.bytes = before.saturating_add(at);
            let record = read::record_of(files, name, &*file, &head, &limits.scan);
            match record {
                Ok(record) => applier.take(
                    record,
                    LogPosition {
                        pack: number,
                        offset: at,
                    },
                )?,
                Err(EntryError::Damaged) => {
                    progress.damaged_count = progress.damaged_count.saturating_add(1);
                }
                Err(EntryError::Disk(error)) => return Err(MaintainError::Disk(error)),
            }
            tell(progress);
        }
        applier.apply(LogPosition {
            pack: number,
            offset: at,
        })?;
    }
    runtime.block_on(index.flush())?;
    Ok(progress)
}
