//! What a file is, from its beginning.

use crate::content::{Found, Reader};
use crate::limits::MediaLimits;
use crate::refusal::Refusal;
use bytes::{Buf as _, Bytes};
use pacs_core::instance::InstanceError;
use pacs_core::scan::file::{self, FileError, PREAMBLE_BYTES};
use pacs_core::scan::preamble::SuspectPreamble;
use pacs_core::scan::{HeadReader, HeadState};
use pacs_core::tag::tags;
use pacs_core::{Instance, SopClassUid, SopInstanceUid, StudyUid, TransferSyntaxUid};
use std::io::Read as _;

/// Media Storage Directory Storage: the SOP class of a DICOMDIR.
pub const DIRECTORY_CLASS: &str = "1.2.840.10008.1.3.10";

/// An instance that was found. `Debug` shows no data: there is a patient in it.
pub struct Inspected {
    /// Study Instance UID of its data set.
    pub study: StudyUid,
    /// SOP Class UID of its data set.
    pub sop_class: SopClassUid,
    /// SOP Instance UID of its data set.
    pub sop_instance: SopInstanceUid,
    /// What its data set is in.
    pub transfer_syntax: TransferSyntaxUid,
    /// Where the data set begins in the file.
    pub data_set_offset: u64,
    /// Bytes of the data set, as far as they are known before they are read.
    pub data_set_bytes: u64,
    /// What stands before the file and may make it a program; nothing that is made of the data set
    /// has it.
    pub preamble: Option<SuspectPreamble>,
    /// What was read of the data set already, piece by piece.
    beginning: std::vec::IntoIter<Bytes>,
    /// Where the rest comes from, if there is one.
    rest: Option<Reader>,
}

impl Inspected {
    /// The next piece of the data set; `None` behind the last.
    ///
    /// # Errors
    /// [`Refusal::Read`].
    pub fn next_piece(&mut self, limits: &MediaLimits) -> Result<Option<Bytes>, Refusal> {
        if let Some(piece) = self.beginning.next() {
            return Ok(Some(piece));
        }
        let Some(reader) = &mut self.rest else {
            return Ok(None);
        };
        let piece = chunk(reader, limits, u64::MAX)?;
        if piece.len() < limits.chunk_bytes {
            self.rest = None;
        }
        Ok((!piece.is_empty()).then(|| piece.into()))
    }
}

impl std::fmt::Debug for Inspected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inspected")
            .field("sop_class", &self.sop_class)
            .field("sop_instance", &self.sop_instance)
            .field("transfer_syntax", &self.transfer_syntax)
            .finish_non_exhaustive()
    }
}

/// Reads as much of `found` as tells what it is.
///
/// # Errors
/// [`Refusal`], if it is no instance.
pub fn inspect(found: &Found, limits: &MediaLimits) -> Result<Inspected, Refusal> {
    let (mut reader, length) = found.content.open(limits)?;
    let first = chunk(&mut reader, limits, length)?;
    let form = file::read(&first).map_err(|error| refused(error, &first))?;
    let class = form.sop_class.as_ref().map(SopClassUid::as_str);
    if class == Some(DIRECTORY_CLASS) {
        return Err(Refusal::Directory);
    }
    // Without a File Meta Information almost anything could be a data set.
    let is_told = has_prefix(&first) || form.is_declared;
    let start = form.data_set.start;
    let first_bytes = first.len();
    let preamble = SuspectPreamble::of(&first).filter(|_| start > PREAMBLE_BYTES);
    let mut first = Bytes::from(first);
    first.advance(start.min(first.len()));
    let mut beginning = vec![first];
    let head = read_head(&form.transfer_syntax, &mut beginning, &mut reader, limits);
    let (instance, has_pixels) = head.map_err(|refusal| {
        if matches!(refusal, Refusal::NotAnInstance(_)) && !is_told {
            return Refusal::NotDicom;
        }
        refusal
    })?;
    let is_image = instance.attributes.text(tags::ROWS).is_some();
    if is_image && !has_pixels && found.content.is_of_orthanc() {
        return Err(Refusal::NoPixelData);
    }
    let last_bytes = match beginning.len() {
        1 => first_bytes,
        _ => beginning.last().map_or(0, Bytes::len),
    };
    let offset = u64::try_from(start).unwrap_or(u64::MAX);
    Ok(Inspected {
        study: instance.study,
        sop_class: instance.sop_class,
        sop_instance: instance.instance,
        transfer_syntax: form.transfer_syntax,
        preamble,
        data_set_offset: offset,
        data_set_bytes: length.saturating_sub(offset),
        // What was read short of a chunk was the end.
        rest: (last_bytes >= limits.chunk_bytes).then_some(reader),
        beginning: beginning.into_iter(),
    })
}

/// Reads on until the head is whole; the second tells whether pixel data follows.
fn read_head(
    transfer_syntax: &TransferSyntaxUid,
    pieces: &mut Vec<Bytes>,
    reader: &mut Reader,
    limits: &MediaLimits,
) -> Result<(Instance, bool), Refusal> {
    let no_instance = |error: InstanceError| Refusal::NotAnInstance(error);
    let mut head = HeadReader::new(transfer_syntax, &limits.scan);
    let first = pieces.first().map(Bytes::as_ref);
    let mut state = head
        .push(first.unwrap_or_default())
        .map_err(|error| no_instance(error.into()))?;
    while state == HeadState::NeedMore {
        let piece = chunk(reader, limits, u64::MAX)?;
        if piece.is_empty() {
            break;
        }
        state = head
            .push(&piece)
            .map_err(|error| no_instance(error.into()))?;
        pieces.push(piece.into());
    }
    let instance = head.finish().map_err(no_instance)?;
    Ok((instance, state == HeadState::Complete))
}

/// The next bytes, at most a chunk; none at the end.
///
/// # Errors
/// [`Refusal::Read`].
pub fn chunk(
    reader: &mut Reader,
    limits: &MediaLimits,
    expected_bytes: u64,
) -> Result<Vec<u8>, Refusal> {
    let chunk_bytes = limits.chunk_bytes.max(1);
    let most = u64::try_from(chunk_bytes).unwrap_or(u64::MAX);
    // One byte more, so that the end is seen without growing.
    let room = usize::try_from(expected_bytes.saturating_add(1)).unwrap_or(usize::MAX);
    let mut piece = Vec::with_capacity(room.min(chunk_bytes));
    reader
        .by_ref()
        .take(most)
        .read_to_end(&mut piece)
        .map_err(Refusal::Read)?;
    Ok(piece)
}

fn has_prefix(bytes: &[u8]) -> bool {
    bytes.get(128..132) == Some(b"DICM") || bytes.starts_with(b"DICM")
}

fn refused(error: FileError, bytes: &[u8]) -> Refusal {
    if has_prefix(bytes) {
        Refusal::File(error)
    } else {
        Refusal::NotDicom
    }
}
