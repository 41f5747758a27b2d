//! Reading packs: one entry, entry after entry, and over damage to the next.

use super::around;
use super::entry::{self, EntryHead, HEAD_BYTES_MAX, Kind};
use super::name::PackName;
use super::tar::BLOCK;
use crate::digest::{Digest, Digester};
use crate::disk::{Aligned, Disk, DiskFile, OpenHow};
use crate::index::{Location, LogPosition, LogRecord, StoredInstance, Target};
use pacs_core::limits::ScanLimits;
use pacs_core::scan::{HeadReader, HeadState};
use pacs_core::{Attributes, Instance, StudyUid};
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes read at once where a whole pack is read.
const CHUNK_BYTES: usize = 1 << 20;

/// Bytes of a data set that are read first: most heads are in them.
const HEAD_CHUNK_BYTES: usize = 64 << 10;

/// Longest JSON of an entry. Ours has a few hundred bytes, and the reason.
const JSON_BYTES_MAX: u64 = 64 << 10;

/// Packs that are open for reading.
#[derive(Debug)]
pub(crate) struct PackFiles {
    disk: Arc<dyn Disk>,
    open: Mutex<VecDeque<(PackName, Arc<dyn DiskFile>)>>,
    open_max: usize,
}

impl PackFiles {
    pub(crate) fn new(disk: Arc<dyn Disk>, open_max: usize) -> Self {
        Self {
            disk,
            open: Mutex::new(VecDeque::new()),
            open_max,
        }
    }

    pub(crate) fn disk(&self) -> &dyn Disk {
        &*self.disk
    }

    /// The pack, opened if it is not.
    pub(crate) fn file(&self, name: PackName) -> io::Result<Arc<dyn DiskFile>> {
        let found = {
            let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            open.iter()
                .find(|(known, _)| *known == name)
                .map(|(_, file)| Arc::clone(file))
        };
        if let Some(file) = found {
            return Ok(file);
        }
        let file = self.disk.open(&name.path(), OpenHow::Read)?;
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        // Another may have opened it meanwhile; two handles do no harm.
        open.push_back((name, Arc::clone(&file)));
        if open.len() > self.open_max {
            open.pop_front();
        }
        Ok(file)
    }

    /// Every pack, log packs in order first.
    pub(crate) fn list(&self) -> io::Result<Vec<PackName>> {
        let files = self.disk.list(super::name::DIRECTORY)?;
        let mut names: Vec<PackName> = files.iter().filter_map(|f| PackName::parse(f)).collect();
        names.sort_unstable();
        Ok(names)
    }
}

/// Why an entry does not give a record.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EntryError {
    #[error("bytes are not those that were written")]
    Damaged,
    #[error("pack could not be read")]
    Disk(#[from] io::Error),
}

/// The head of the entry at `offset` of the pack `name`; `None` where there is none, or none whole,
/// or none that the disk gives back, or one of a data set that would not end in the file: whatever
/// made that, it must not hide what is behind it.
pub(crate) fn head_at(
    file: &dyn DiskFile,
    name: PackName,
    offset: u64,
) -> io::Result<Option<EntryHead>> {
    let Some(head) = any_head_at(file, name, offset)? else {
        return Ok(None);
    };
    let end = head.data_offset.saturating_add(head.data_bytes);
    Ok((end <= file.length_bytes()?).then_some(head))
}

/// As [`head_at`], wherever its data set ends.
fn any_head_at(file: &dyn DiskFile, name: PackName, offset: u64) -> io::Result<Option<EntryHead>> {
    let mut window = [0; HEAD_BYTES_MAX];
    let (length, _) = read_readable(file, &mut window, offset)?;
    let at = LogPosition {
        pack: name.location(),
        offset,
    };
    Ok(window.get(..length).and_then(|w| entry::decode(w, at)))
}

/// Reads until `buffer` is full or the file ends, with zeros for blocks that the disk does not
/// give back: one bad block is no reason to give up what is around it. How many bytes that were,
/// and how many of them could not be read.
pub(crate) fn read_readable(
    file: &dyn DiskFile,
    buffer: &mut [u8],
    offset: u64,
) -> io::Result<(usize, usize)> {
    if let Ok(length) = file.read_up_to(buffer, offset) {
        return Ok((length, 0));
    }
    let rest = file.length_bytes()?.saturating_sub(offset);
    let length = buffer
        .len()
        .min(usize::try_from(rest).unwrap_or(usize::MAX));
    let (mut at, mut unreadable_bytes) = (offset, 0_usize);
    for block in buffer
        .get_mut(..length)
        .unwrap_or(&mut [])
        .chunks_mut(BLOCK)
    {
        if let Err(error) = file.read_up_to(block, at) {
            tracing::error!(%error, offset = at, "block of a pack cannot be read");
            block.fill(0);
            unreadable_bytes = unreadable_bytes.saturating_add(block.len());
        }
        at = at.saturating_add(BLOCK as u64);
    }
    Ok((length, unreadable_bytes))
}

/// The first entry at or after `from` (a block's boundary) whose head is whole. Blocks that cannot
/// be read are passed over, but not a whole chunk of them: that is no damage, but a disk that is
/// gone.
pub(crate) fn next_head(
    file: &dyn DiskFile,
    name: PackName,
    from: u64,
) -> io::Result<Option<EntryHead>> {
    find_head(file, from, |at| head_at(file, name, at))
}

/// Whether there is the head of an entry at or after `from`, wherever its data set would end.
pub(crate) fn has_head(file: &dyn DiskFile, name: PackName, from: u64) -> io::Result<bool> {
    let head = find_head(file, from, |at| any_head_at(file, name, at))?;
    Ok(head.is_some())
}

fn find_head(
    file: &dyn DiskFile,
    from: u64,
    head_at: impl Fn(u64) -> io::Result<Option<EntryHead>>,
) -> io::Result<Option<EntryHead>> {
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut offset = from;
    loop {
        let (length, unreadable_bytes) = read_readable(file, &mut chunk, offset)?;
        if unreadable_bytes == CHUNK_BYTES {
            return Err(io::Error::other("a long part of a pack cannot be read"));
        }
        for (block, at) in chunk
            .get(..length)
            .unwrap_or(&[])
            .chunks(BLOCK)
            .zip(0_u64..)
        {
            if super::tar::parse_header(block).is_none_or(|h| h.flag != super::tar::RECORDS) {
                continue;
            }
            let at = offset.saturating_add(at.saturating_mul(BLOCK as u64));
            if let Some(head) = head_at(at)? {
                return Ok(Some(head));
            }
        }
        if length < CHUNK_BYTES {
            return Ok(None);
        }
        offset = offset.saturating_add(CHUNK_BYTES as u64);
    }
}

/// Whether the log pack `number` is shorter than the pack after it says.
pub(crate) fn is_short(disk: &dyn Disk, number: u64) -> io::Result<bool> {
    let next = PackName::Log(number.saturating_add(1));
    let next_file = match disk.open(&next.path(), OpenHow::Read) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        other => other?,
    };
    let said = head_at(&*next_file, next, 0)?.and_then(|head| head.label.previous_end);
    let Some(said) = said else {
        return Ok(false);
    };
    let file = disk.open(&PackName::Log(number).path(), OpenHow::Read)?;
    Ok(file.length_bytes()? < said)
}

/// Whether there is nothing but zeros from `from` on.
pub(crate) fn is_zero_from(file: &dyn DiskFile, from: u64) -> io::Result<bool> {
    is_zero(file, from, file.length_bytes()?)
}

/// Whether there is nothing but zeros from `from` to `to`.
pub(crate) fn is_zero(file: &dyn DiskFile, from: u64, to: u64) -> io::Result<bool> {
    let mut is_zero = true;
    let rest = to.saturating_sub(from);
    for_each_chunk(file, from, rest, CHUNK_BYTES, |chunk| {
        is_zero = chunk.iter().all(|byte| *byte == 0);
        is_zero
    })?;
    Ok(is_zero)
}

/// Whether the log of this pack has come to `offset`: an entry ends there, or did before it was
/// damaged. Zeros before it mean that it has not, or not in this copy of the pack.
pub(crate) fn has_come_to(file: &dyn DiskFile, name: PackName, offset: u64) -> io::Result<bool> {
    if file.length_bytes()? < offset {
        return Ok(false);
    }
    // Where it cannot be read backwards, it can perhaps from the beginning.
    if offset == 0 || entry_before(file, name, offset).is_ok_and(|head| head.is_some()) {
        return Ok(true);
    }
    let mut at = 0;
    while at < offset {
        match next_head(file, name, at)? {
            Some(head) if head.offset < offset => at = head.end,
            // What cannot be read is damage, and no zeros.
            _ => return Ok(!is_zero(file, at, offset).unwrap_or(false)),
        }
    }
    Ok(at == offset)
}

/// Whether `offset` is within an entry that is whole: no index of this log ever came to it.
pub(crate) fn is_amid(file: &dyn DiskFile, name: PackName, offset: u64) -> io::Result<bool> {
    let mut at = 0;
    while let Some(head) = next_head(file, name, at)? {
        if head.offset >= offset {
            break;
        }
        if head.end > offset {
            return Ok(is_whole(file, &head));
        }
        at = head.end;
    }
    Ok(false)
}

/// Looks for the entry that ends at `offset`, backwards, as far as entries of instances in memory
/// reach.
pub(crate) fn entry_before(
    file: &dyn DiskFile,
    name: PackName,
    offset: u64,
) -> io::Result<Option<EntryHead>> {
    const BACK_BYTES: u64 = 16 << 20;
    let mut to = offset;
    while to > offset.saturating_sub(BACK_BYTES) {
        let from = to.saturating_sub(CHUNK_BYTES as u64);
        let chunk = file.read_vec(from, usize::try_from(to - from).unwrap_or(CHUNK_BYTES))?;
        for (number, block) in (0_u64..)
            .zip(chunk.chunks(BLOCK))
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
        {
            if super::tar::parse_header(block).is_none_or(|h| h.flag != super::tar::RECORDS) {
                continue;
            }
            let head = head_at(
                file,
                name,
                from.saturating_add(number.saturating_mul(BLOCK as u64)),
            )?;
            let head = head.filter(|head| head.end == offset);
            if head.is_some() {
                return Ok(head);
            }
        }
        to = from;
    }
    Ok(None)
}

/// The digest of `length_bytes` bytes from `offset` on; `None` where the file ends before.
pub(crate) fn digest_of(
    file: &dyn DiskFile,
    offset: u64,
    length_bytes: u64,
) -> io::Result<Option<Digest>> {
    digest_in(file, offset, length_bytes, &mut Aligned::default())
}

/// As [`digest_of`], with memory that was used before.
fn digest_in(
    file: &dyn DiskFile,
    offset: u64,
    length_bytes: u64,
    memory: &mut Aligned,
) -> io::Result<Option<Digest>> {
    if length_bytes >= around::BATCH_BYTES_MIN {
        return around::digest_of(file, offset, length_bytes, memory);
    }
    let mut digester = Digester::new();
    let whole = for_each_chunk(file, offset, length_bytes, CHUNK_BYTES, |chunk| {
        digester.update(chunk);
        true
    })?;
    Ok(whole.then(|| digester.finish()))
}

/// Reads on until `take` says no; `false` where the file ends before that and before
/// `length_bytes`.
fn for_each_chunk(
    file: &dyn DiskFile,
    offset: u64,
    length_bytes: u64,
    first_bytes: usize,
    mut take: impl FnMut(&[u8]) -> bool,
) -> io::Result<bool> {
    let mut buffer = vec![0; first_bytes.min(usize::try_from(length_bytes).unwrap_or(usize::MAX))];
    let mut done = 0;
    while done < length_bytes {
        let rest = usize::try_from(length_bytes - done).unwrap_or(usize::MAX);
        if done > 0 && buffer.len() < CHUNK_BYTES.min(rest) {
            buffer.resize(CHUNK_BYTES, 0);
        }
        let wanted = rest.min(buffer.len());
        let chunk = buffer.get_mut(..wanted).unwrap_or(&mut []);
        if file.read_up_to(chunk, offset.saturating_add(done))? < wanted {
            return Ok(false);
        }
        if !take(chunk) {
            return Ok(true);
        }
        done = done.saturating_add(wanted as u64);
    }
    Ok(true)
}

/// The digest of an entry's own data or JSON, compared; what cannot be read is not whole.
pub(crate) fn is_whole(file: &dyn DiskFile, head: &EntryHead) -> bool {
    is_whole_in(file, head, &mut Aligned::default())
}

/// As [`is_whole`], with memory that was used before. Of what is marked the content says nothing.
pub(crate) fn is_whole_in(file: &dyn DiskFile, head: &EntryHead, memory: &mut Aligned) -> bool {
    if head.mark.is_some() {
        return true;
    }
    let digest = digest_in(file, head.data_offset, head.data_bytes, memory);
    digest.is_ok_and(|digest| digest == Some(head.label.digest))
}

/// As [`record_of`] of an entry that is whole, but nothing whose large pack is not: a damaged copy
/// must not take the place of a good one further on.
pub(crate) fn whole_record_of(
    files: &PackFiles,
    name: PackName,
    file: &dyn DiskFile,
    head: &EntryHead,
    limits: &ScanLimits,
) -> Result<Option<LogRecord>, EntryError> {
    let record = record_of(files, name, file, head, limits)?;
    if head.label.kind == Kind::Large
        && let Some(LogRecord::Instance(stored)) = &record
    {
        let Location {
            pack,
            offset,
            length_bytes,
        } = stored.location;
        let file = files.file(PackName::of_location(pack))?;
        let digest = digest_of(&*file, offset, length_bytes);
        if !digest.is_ok_and(|digest| digest == Some(stored.digest)) {
            return Err(EntryError::Damaged);
        }
    }
    Ok(record)
}

/// Makes the record of an entry, if it gives one. The digest of instances is not looked at.
pub(crate) fn record_of(
    files: &PackFiles,
    name: PackName,
    file: &dyn DiskFile,
    head: &EntryHead,
    limits: &ScanLimits,
) -> Result<Option<LogRecord>, EntryError> {
    match head.label.kind {
        Kind::Instance => instance_of(name, file, head, limits).map(Some),
        Kind::Erase | Kind::Hide | Kind::Large | Kind::Mark | Kind::Restore => {
            if head.data_bytes > JSON_BYTES_MAX || !is_whole(file, head) {
                return Err(EntryError::Damaged);
            }
            let length = usize::try_from(head.data_bytes).map_err(|_| EntryError::Damaged)?;
            let json = file.read_vec(head.data_offset, length)?;
            let body: Body = serde_json::from_slice(&json).map_err(|_| EntryError::Damaged)?;
            match body {
                Body::Erase { study, .. } => Ok(Some(LogRecord::Erase { study })),
                Body::Hide { target, reason } => Ok(Some(LogRecord::Hide { target, reason })),
                Body::Restore { target } => Ok(Some(LogRecord::Restore { target })),
                Body::Large { number, blake3 } => {
                    large_of(files, number, &blake3, limits).map(Some)
                }
                Body::Mark {} => Ok(None),
            }
        }
    }
}

/// The number and digest of the large pack that an entry names, if it is one that does.
pub(crate) fn large_named(file: &dyn DiskFile, head: &EntryHead) -> Option<(u64, Digest)> {
    if head.label.kind != Kind::Large || head.data_bytes > JSON_BYTES_MAX {
        return None;
    }
    let json = file.read_vec(head.data_offset, usize::try_from(head.data_bytes).ok()?);
    match serde_json::from_slice(&json.ok()?) {
        Ok(Body::Large { number, blake3 }) => Some((number, Digest::parse_hex(&blake3)?)),
        Ok(_) | Err(_) => None,
    }
}

fn large_of(
    files: &PackFiles,
    number: u64,
    blake3: &str,
    limits: &ScanLimits,
) -> Result<LogRecord, EntryError> {
    let name = PackName::Large(number);
    let file = match files.file(name) {
        // It was named by the log, but a crash came before it had its name.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            match super::large::keep(files.disk(), number) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Err(EntryError::Damaged);
                }
                other => other?,
            }
            files.file(name)?
        }
        other => other?,
    };
    let head = head_at(&*file, name, 0)?.ok_or(EntryError::Damaged)?;
    if head.label.kind != Kind::Instance || Digest::parse_hex(blake3) != Some(head.label.digest) {
        return Err(EntryError::Damaged);
    }
    instance_of(name, &*file, &head, limits)
}

pub(crate) fn instance_of(
    name: PackName,
    file: &dyn DiskFile,
    head: &EntryHead,
    limits: &ScanLimits,
) -> Result<LogRecord, EntryError> {
    let syntax = head.label.syntax.as_ref().ok_or(EntryError::Damaged)?;
    if let Some(mark) = &head.mark {
        let instance = Instance {
            study: mark.study.clone(),
            series: mark.series.clone(),
            instance: mark.instance.clone(),
            sop_class: head.label.class.clone().ok_or(EntryError::Damaged)?,
            transfer_syntax: syntax.clone(),
            attributes: Attributes::new(),
            head_bytes: 0,
        };
        let stored = stored(instance, name, head);
        return Ok(LogRecord::Destroyed(Box::new(stored)));
    }
    let mut reader = HeadReader::new(syntax, limits);
    let mut result = Ok(HeadState::NeedMore);
    let whole = for_each_chunk(
        file,
        head.data_offset,
        head.data_bytes,
        HEAD_CHUNK_BYTES,
        |chunk| {
            result = reader.push(chunk);
            matches!(result, Ok(HeadState::NeedMore))
        },
    );
    // It could be read when it was received.
    if !whole.unwrap_or(false) || result.is_err() {
        return Err(EntryError::Damaged);
    }
    let instance = reader.finish().map_err(|_| EntryError::Damaged)?;
    let stored = stored(instance, name, head);
    Ok(LogRecord::Instance(Box::new(stored)))
}

fn stored(instance: Instance, name: PackName, head: &EntryHead) -> StoredInstance {
    StoredInstance {
        instance,
        location: Location {
            pack: name.location(),
            offset: head.data_offset,
            length_bytes: head.data_bytes,
        },
        digest: head.label.digest,
        provenance: head.label.provenance.clone(),
    }
}

/// What an entry says was erased, and which packs had something of that; `None` where they are too
/// many to be named.
pub(crate) fn erased(
    file: &dyn DiskFile,
    head: &EntryHead,
) -> Option<(StudyUid, Option<Vec<u64>>)> {
    if head.label.kind != Kind::Erase || head.data_bytes > JSON_BYTES_MAX {
        return None;
    }
    let json = file.read_vec(head.data_offset, usize::try_from(head.data_bytes).ok()?);
    match serde_json::from_slice(&json.ok()?) {
        Ok(Body::Erase { study, packs }) => Some((study, packs)),
        Ok(_) | Err(_) => None,
    }
}

/// The entry whose data set begins at `offset`; `None` where its head is not whole.
pub(crate) fn entry_of(
    file: &dyn DiskFile,
    name: PackName,
    offset: u64,
) -> io::Result<Option<EntryHead>> {
    let block = BLOCK as u64;
    let mut at = offset / block * block;
    let least = offset.saturating_sub(HEAD_BYTES_MAX as u64);
    while at >= least {
        let head = head_at(file, name, at)?;
        let head = head.filter(|head| head.data_offset == offset);
        if head.is_some() || at < block {
            return Ok(head);
        }
        at -= block;
    }
    Ok(None)
}

/// The JSON of an entry that is no instance.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Body {
    Erase {
        study: StudyUid,
        /// Where a backup finds what it has of it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        packs: Option<Vec<u64>>,
    },
    Hide {
        target: Target,
        reason: String,
    },
    Large {
        number: u64,
        blake3: String,
    },
    Mark {},
    Restore {
        target: Target,
    },
}
