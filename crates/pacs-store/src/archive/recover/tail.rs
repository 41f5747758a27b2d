//! The end of the log at opening: what is kept of it is made durable, what is cut off is kept
//! aside.

use crate::disk::{Disk, DiskFile, OpenHow};
use crate::pack::name::{self, PackName};
use crate::pack::prepare::{self, LogPack};
use crate::pack::read::{self, PackFiles};
use std::io;
use std::sync::Arc;

/// Bytes moved at once.
const CHUNK_BYTES: usize = 1 << 20;

/// Files that were cut off at one place; more than one where that was interrupted.
const CUTS_COUNT_MAX: u32 = 1_000;

/// What stands behind the last entry of a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Behind {
    /// Zeros, or nothing, or no entry.
    Nothing,
    /// Bytes with the head of an entry among them, up to this offset.
    Torn(u64),
    /// Something that cannot be read, now.
    Unreadable,
}

/// Looks at what stands behind `tail`.
pub(super) fn behind(file: &dyn DiskFile, name: PackName, tail: u64) -> io::Result<Behind> {
    let mut buffer = vec![0; CHUNK_BYTES];
    let (mut at, mut end) = (tail, tail);
    loop {
        let (length, unreadable_bytes) = read::read_readable(file, &mut buffer, at)?;
        if unreadable_bytes > 0 {
            return Ok(Behind::Unreadable);
        }
        let chunk = buffer.get(..length).unwrap_or(&[]);
        if let Some(last) = chunk.iter().rposition(|byte| *byte != 0) {
            end = at.saturating_add(last as u64).saturating_add(1);
        }
        at = at.saturating_add(length as u64);
        if length < CHUNK_BYTES {
            break;
        }
    }
    if end > tail && read::has_head(file, name, tail)? {
        return Ok(Behind::Torn(end));
    }
    Ok(Behind::Nothing)
}

/// Writes what stands from `proven` to `tail` over itself, and syncs it. After a sync that failed
/// the system may hold pages that it shows, believes written and never wrote; a sync alone would
/// say that all is well.
pub(super) fn write_again(file: &dyn DiskFile, proven: u64, tail: u64) -> io::Result<()> {
    // Zeros that fill the last block may be missing.
    let tail = tail.min(file.length_bytes()?);
    let mut at = proven;
    while at < tail {
        let length = usize::try_from(tail - at).unwrap_or(CHUNK_BYTES);
        let chunk = file.read_vec(at, length.min(CHUNK_BYTES))?;
        file.write_at(&chunk, at)?;
        at = at.saturating_add(chunk.len() as u64);
    }
    if proven < tail {
        file.sync_data()?;
    }
    Ok(())
}

/// Copies what stands from `tail` to `end` of the pack into a file beside it, durably.
pub(super) fn set_aside(
    disk: &dyn Disk,
    number: u64,
    file: &dyn DiskFile,
    tail: u64,
    end: u64,
) -> io::Result<()> {
    let aside = create_aside(disk, number, tail)?;
    let mut at = tail;
    while at < end {
        let length = usize::try_from(end - at).unwrap_or(CHUNK_BYTES);
        let chunk = file.read_vec(at, length.min(CHUNK_BYTES))?;
        aside.write_at(&chunk, at - tail)?;
        at = at.saturating_add(chunk.len() as u64);
    }
    aside.sync_data()?;
    disk.sync_directory(name::DIRECTORY)
}

fn create_aside(disk: &dyn Disk, number: u64, tail: u64) -> io::Result<Arc<dyn DiskFile>> {
    for count in 1..=CUTS_COUNT_MAX {
        let name = name::cut_path(number, tail, count);
        match disk.open(&name, OpenHow::CreateNew) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            other => return other,
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// The last pack, with nothing behind its last entry.
pub(super) fn open(files: &PackFiles, number: u64, tail: u64) -> io::Result<Arc<LogPack>> {
    let disk = files.disk();
    let file = match disk.open(&PackName::Log(number).path(), OpenHow::ReadWrite) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(prepare::create(disk, number)?);
        }
        other => other?,
    };
    if file.length_bytes()? != tail {
        file.set_length(tail)?;
        file.sync_data()?;
    }
    Ok(Arc::new(LogPack::new(number, file, tail)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::OsDisk;

    #[test]
    fn what_is_set_aside_never_takes_the_place_of_what_was_before() {
        let directory = tempfile::tempdir().unwrap();
        let disk = OsDisk::open(directory.path()).unwrap();
        disk.create_directory(name::DIRECTORY).unwrap();
        let file = disk.open("f", OpenHow::CreateNew).unwrap();
        for (count, byte) in [(1, b'a'), (2, b'b')] {
            file.write_at(&[byte; 2_000], 0).unwrap();

            set_aside(&disk, 3, &*file, 512, 1_700).unwrap();

            let aside = disk.open(&name::cut_path(3, 512, count), OpenHow::Read);
            assert_eq!(aside.unwrap().read_vec(0, 1_188).unwrap(), [byte; 1_188]);
        }
    }
}
