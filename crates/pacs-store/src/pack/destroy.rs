//! Destroys the content of entries in their place.
//!
//! Each is marked first, durably, then zeros are written over its content, durably, and then the
//! disk gets back the blocks that hold nothing but zeros. So content that is not what was received
//! is always marked, whatever a crash leaves, and nobody takes it for damage. The pack is as long
//! as before and a tar as before. Only what proves itself is destroyed: an entry that stands in its
//! place with its digest in its head, or bytes that have that digest.

use super::entry::EntryHead;
use super::mark::{self, Mark};
use super::name::PackName;
use super::read;
use crate::disk::{Disk, DiskFile, OpenHow};
use crate::fail_point::FailPoints;
use crate::index::Doomed;
use std::io;

/// Bytes of zeros that are written at once.
const CHUNK_BYTES: usize = 1 << 20;

/// Why content could not be destroyed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DestroyError {
    /// It can be tried again.
    #[error("pack could not be read or written")]
    Disk(#[from] io::Error),
    /// Nobody knows what is durable.
    #[error("pack could not be synced")]
    Sync(#[source] io::Error),
}

/// What became of content that was to be destroyed.
#[derive(Debug, Default)]
pub(crate) struct Destroyed {
    /// Where it was.
    pub(crate) places: Vec<(u64, u64)>,
    /// How long all of it was.
    pub(crate) bytes: u64,
    /// What is damaged, so that nobody knows what stands there: it is left.
    pub(crate) left: Vec<(u64, u64)>,
}

/// Content whose place is proved.
struct Proved {
    offset: u64,
    length_bytes: u64,
    /// It was marked before: it may be zeros already.
    was_marked: bool,
}

/// Destroys content of the pack `name`.
pub(crate) fn destroy(
    disk: &dyn Disk,
    name: PackName,
    doomed: &[Doomed],
    fail_points: &FailPoints,
) -> Result<Destroyed, DestroyError> {
    let mut outcome = Destroyed::default();
    let file = match disk.open(&name.path(), OpenHow::ReadWrite) {
        // There is nothing of it.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            outcome.places = doomed.iter().map(Doomed::place).collect();
            return Ok(outcome);
        }
        other => other?,
    };
    fail_points.reach("erase-begun");
    let mut proved = Vec::new();
    for one in doomed {
        match mark_doomed(&*file, name, one)? {
            Some(found) => {
                outcome.places.push(one.place());
                outcome.bytes = outcome.bytes.saturating_add(found.length_bytes);
                proved.push(found);
            }
            None => outcome.left.push(one.place()),
        }
    }
    if !proved.iter().all(|one| one.was_marked) {
        file.sync_data().map_err(DestroyError::Sync)?;
    }
    fail_points.reach("erase-marked");
    zero_all(&*file, &proved, fail_points)?;
    Ok(outcome)
}

/// Marks the entry of doomed content; `None` where nothing proves that it stands there.
fn mark_doomed(
    file: &dyn DiskFile,
    name: PackName,
    doomed: &Doomed,
) -> Result<Option<Proved>, io::Error> {
    let location = doomed.location;
    let proved = |was_marked| Proved {
        offset: location.offset,
        length_bytes: location.length_bytes,
        was_marked,
    };
    let head = read::entry_of(file, name, location.offset)?;
    let is_it = |head: &EntryHead| {
        head.data_bytes == location.length_bytes && head.label.digest == doomed.digest
    };
    match head.filter(is_it) {
        Some(head) if head.mark.is_some() => Ok(Some(proved(true))),
        Some(head) => {
            let mark = Mark {
                study: doomed.study.clone(),
                series: doomed.series.clone(),
                instance: doomed.instance.clone(),
            };
            mark::write(file, &head, &mark)?;
            Ok(Some(proved(false)))
        }
        None => {
            // Its head is damaged: there is no place for a mark, and nobody gets anything of it.
            let found = read::digest_of(file, location.offset, location.length_bytes);
            let is_it = found.is_ok_and(|found| found == Some(doomed.digest));
            Ok(is_it.then(|| proved(false)))
        }
    }
}

/// Writes zeros over all of it, durably.
fn zero_all(
    file: &dyn DiskFile,
    proved: &[Proved],
    fail_points: &FailPoints,
) -> Result<(), DestroyError> {
    let zeros = vec![0; CHUNK_BYTES];
    let mut is_written = false;
    for one in proved {
        if one.was_marked && is_zeroed(file, one.offset, one.length_bytes) {
            continue;
        }
        is_written = true;
        zero(file, &zeros, one.offset, one.length_bytes)?;
    }
    if is_written {
        file.sync_data().map_err(DestroyError::Sync)?;
    }
    fail_points.reach("erase-zeroed");
    for one in proved {
        // What memory holds of it goes, too.
        file.forget(one.offset, one.length_bytes);
        file.discard_zeros(one.offset, one.length_bytes);
    }
    fail_points.reach("erase-discarded");
    Ok(())
}

/// Whether the medium has nothing but zeros there. After a sync that failed, memory may show zeros
/// that were never written.
fn is_zeroed(file: &dyn DiskFile, offset: u64, length_bytes: u64) -> bool {
    file.forget(offset, length_bytes);
    read::is_zero(file, offset, offset.saturating_add(length_bytes)).unwrap_or(false)
}

fn zero(file: &dyn DiskFile, zeros: &[u8], offset: u64, length_bytes: u64) -> io::Result<()> {
    let mut done = 0_u64;
    while done < length_bytes {
        let rest = usize::try_from(length_bytes - done).unwrap_or(usize::MAX);
        let chunk = zeros.get(..rest.min(zeros.len())).unwrap_or(zeros);
        file.write_at(chunk, offset.saturating_add(done))?;
        done = done.saturating_add(chunk.len() as u64);
    }
    Ok(())
}

/// As [`destroy`], of entries whose heads are whole, in a copy of a pack.
pub(crate) fn blot_out_all(file: &dyn DiskFile, entries: &[(EntryHead, Mark)]) -> io::Result<()> {
    for (head, mark) in entries.iter().filter(|(head, _)| head.mark.is_none()) {
        mark::write(file, head, mark)?;
    }
    file.sync_data()?;
    let zeros = vec![0; CHUNK_BYTES];
    for (head, _) in entries {
        zero(file, &zeros, head.data_offset, head.data_bytes)?;
    }
    file.sync_data()
}

/// As [`destroy`], of an entry that is damaged, or that nobody has opened yet: without a sync.
pub(crate) fn blot_out(file: &dyn DiskFile, head: &EntryHead, mark: &Mark) -> io::Result<()> {
    if head.mark.is_none() {
        mark::write(file, head, mark)?;
    }
    let zeros = vec![0; CHUNK_BYTES];
    zero(file, &zeros, head.data_offset, head.data_bytes)
}
