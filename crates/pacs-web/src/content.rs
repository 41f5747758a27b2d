//! Stored data sets, as walks read them: as they came, or as they are to be said.

use crate::error::Failure;
use crate::limits::WebLimits;
use crate::service::Web;
use crate::walk::{DataSet, Walk, WalkError};
use pacs_core::access::Get;
use pacs_core::coerce::Coercer;
use pacs_core::convert::Progress;
use pacs_core::limits::{CoerceLimits, ScanLimits};
use pacs_core::scan::inflate::Inflater;
use pacs_core::scan::{Encoding, ScanError};
use pacs_core::{Permit, TransferSyntaxUid};
use pacs_store::index::StoredInstance;
use pacs_store::{Archive, ReadError};
use std::ops::Range;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes of one permit of the memory for data sets that are inflated.
pub(crate) const UNIT_BYTES: usize = 1 << 20;

/// Bytes of a deflated data set that are read at once.
const DEFLATED_BYTES: u64 = 256 << 10;

/// Bytes of a head that are read and corrected at once.
const HEAD_PIECE_BYTES: usize = 256 << 10;

/// What a deflated data set inflates to.
const EXPLICIT_LITTLE_ENDIAN: &str = "1.2.840.10008.1.2.1";

/// A data set: where it is kept, or inflated in memory. Reading blocks.
#[derive(Debug)]
pub(crate) enum Content {
    /// What is before its pixel data as it is to be said, and the rest as it is kept.
    Corrected {
        head: Inflated,
        /// Bytes of the head as it is kept.
        kept_bytes: u64,
        rest: Box<Self>,
    },
    /// What a deflated one inflates to.
    Inflated(Inflated),
    /// As it is kept.
    Stored {
        archive: Archive,
        permit: Permit<Get>,
        stored: Box<StoredInstance>,
    },
}

impl DataSet for Content {
    fn length_bytes(&self) -> u64 {
        match self {
            Self::Corrected {
                head,
                kept_bytes,
                rest,
            } => {
                let rest = rest.length_bytes().saturating_sub(*kept_bytes);
                head.length_bytes().saturating_add(rest)
            }
            Self::Inflated(inflated) => inflated.length_bytes(),
            Self::Stored { stored, .. } => stored.location.length_bytes,
        }
    }

    fn read(&self, range: &Range<u64>) -> Result<Vec<u8>, ReadError> {
        match self {
            Self::Corrected {
                head,
                kept_bytes,
                rest,
            } => {
                let head_bytes = head.length_bytes();
                let mut read = Vec::new();
                if range.start < head_bytes {
                    let end = range.end.min(head_bytes);
                    read = head.bytes.as_slice().read(&(range.start..end))?;
                }
                if range.end > head_bytes {
                    let place = |at: u64| {
                        let behind = at.saturating_sub(head_bytes);
                        kept_bytes.saturating_add(behind)
                    };
                    read.extend(rest.read(&(place(range.start)..place(range.end)))?);
                }
                Ok(read)
            }
            Self::Inflated(inflated) => inflated.bytes.as_slice().read(range),
            Self::Stored {
                archive,
                permit,
                stored,
            } => archive.read_now(permit, stored, range),
        }
    }
}

impl Content {
    /// The data set of `stored`, to be read in a thread that may block.
    pub(crate) fn open(
        web: &Web,
        permit: &Permit<Get>,
        stored: &StoredInstance,
    ) -> Result<Self, WalkError> {
        Self::open_within(web, permit, stored, web.limits().inflated_bytes_max)
    }

    /// The same, inflated to no more than `inflated_bytes_max`.
    pub(crate) fn open_within(
        web: &Web,
        permit: &Permit<Get>,
        stored: &StoredInstance,
        inflated_bytes_max: u64,
    ) -> Result<Self, WalkError> {
        let content = Self::Stored {
            archive: web.archive().clone(),
            permit: permit.clone(),
            stored: Box::new(stored.clone()),
        };
        if encoding(stored) != Encoding::Deflated {
            return Ok(content);
        }
        let limits = ScanLimits {
            inflated_bytes_max,
            ..ScanLimits::default()
        };
        let mut inflated = Inflated::new(web.inflating());
        inflated.fill(&content, &limits)?;
        Ok(Self::Inflated(inflated))
    }

    /// As [`Self::open_within`], as it is to be said.
    pub(crate) fn open_corrected(
        web: &Web,
        permit: &Permit<Get>,
        stored: &StoredInstance,
        inflated_bytes_max: u64,
    ) -> Result<Self, WalkError> {
        let content = Self::open_within(web, permit, stored, inflated_bytes_max)?;
        let Some(overlay) = web.overlay(&stored.instance.series) else {
            return Ok(content);
        };
        let (syntax, kept_bytes) = match content.kept_head_bytes(stored) {
            Some(kept_bytes) => (stored.instance.transfer_syntax.clone(), kept_bytes),
            None => {
                let inflated = TransferSyntaxUid::parse_legacy(EXPLICIT_LITTLE_ENDIAN);
                let inflated = inflated.map_err(|_| ScanError::Deflate)?;
                (inflated, content.length_bytes())
            }
        };
        let limits = CoerceLimits {
            scan: scan_limits(web.limits()),
            ..CoerceLimits::default()
        };
        let mut coercer = Coercer::new(&syntax, &syntax, None, Arc::clone(overlay), &limits)?;
        let mut at = 0_u64;
        let mut feed = |coercer: &mut Coercer| -> Result<(), WalkError> {
            let end = at.saturating_add(HEAD_PIECE_BYTES as u64).min(kept_bytes);
            if at < end {
                coercer.push(content.read(&(at..end))?);
                at = end;
            } else {
                coercer.end();
            }
            Ok(())
        };
        loop {
            match coercer.passes()? {
                Some(true) => return Ok(content),
                Some(false) => break,
                None => feed(&mut coercer)?,
            }
        }
        let mut head = Inflated::new(web.inflating());
        let mut piece = Vec::new();
        loop {
            let progress = coercer.read(&mut piece, HEAD_PIECE_BYTES)?;
            if !head.push(&piece) {
                return Err(WalkError::NoMemory);
            }
            piece.clear();
            match progress {
                Progress::Done => break,
                Progress::Full => {}
                Progress::NeedsInput => feed(&mut coercer)?,
            }
        }
        let rest = Box::new(content);
        Ok(Self::Corrected {
            head,
            kept_bytes,
            rest,
        })
    }

    /// Bytes before the pixel data as it is kept; `None` where it was inflated, and nobody knows.
    const fn kept_head_bytes(&self, stored: &StoredInstance) -> Option<u64> {
        match self {
            Self::Inflated(_) => None,
            Self::Corrected { .. } | Self::Stored { .. } => Some(stored.instance.head_bytes),
        }
    }

    /// Bytes before the pixel data; `None` where it was inflated, and nobody knows.
    pub(crate) fn head_bytes(&self, stored: &StoredInstance) -> Option<u64> {
        match self {
            Self::Corrected { head, rest, .. } => {
                rest.kept_head_bytes(stored)?;
                Some(head.length_bytes())
            }
            Self::Inflated(_) | Self::Stored { .. } => self.kept_head_bytes(stored),
        }
    }

    /// A data set in memory.
    #[cfg(test)]
    pub(crate) fn of_bytes(bytes: Vec<u8>) -> Self {
        let mut inflated = Inflated::new(&Arc::new(Semaphore::new(0)));
        inflated.bytes = bytes;
        Self::Inflated(inflated)
    }

    /// Whether its bytes are those that are kept.
    pub(crate) const fn is_as_stored(&self) -> bool {
        matches!(self, Self::Stored { .. })
    }
}

/// A data set that was inflated, and the memory it takes.
#[derive(Debug)]
pub(crate) struct Inflated {
    bytes: Vec<u8>,
    memory: Arc<Semaphore>,
    share: Option<OwnedSemaphorePermit>,
}

impl Inflated {
    fn new(memory: &Arc<Semaphore>) -> Self {
        Self {
            bytes: Vec::new(),
            memory: Arc::clone(memory),
            share: None,
        }
    }

    fn length_bytes(&self) -> u64 {
        self.bytes.as_slice().length_bytes()
    }

    fn fill(&mut self, deflated: &impl DataSet, limits: &ScanLimits) -> Result<(), WalkError> {
        let mut inflater = Inflater::new(limits);
        let mut is_room = true;
        let mut sink = |bytes: &[u8]| {
            is_room = self.push(bytes);
            Ok(is_room)
        };
        let length = deflated.length_bytes();
        let mut from = 0;
        while from < length && !inflater.is_finished() {
            let to = from.saturating_add(DEFLATED_BYTES).min(length);
            inflater.push(&deflated.read(&(from..to))?, &mut sink)?;
            from = to;
        }
        inflater.finish(&mut sink)?;
        if !is_room {
            return Err(WalkError::NoMemory);
        }
        if inflater.is_finished() {
            Ok(())
        } else {
            Err(ScanError::Deflate.into())
        }
    }

    /// Takes bytes, if there is memory for them.
    fn push(&mut self, bytes: &[u8]) -> bool {
        let length = self.bytes.len().saturating_add(bytes.len());
        if length > self.bytes.capacity() {
            // As much again each time, in whole units.
            let wanted = length.max(self.bytes.len().saturating_mul(2));
            let units = wanted.div_ceil(UNIT_BYTES);
            let held = self
                .share
                .as_ref()
                .map_or(0, OwnedSemaphorePermit::num_permits);
            let more = u32::try_from(units.saturating_sub(held)).unwrap_or(u32::MAX);
            let Ok(more) = Arc::clone(&self.memory).try_acquire_many_owned(more) else {
                return false;
            };
            match &mut self.share {
                Some(share) => share.merge(more),
                None => self.share = Some(more),
            }
            let room = units.saturating_mul(UNIT_BYTES);
            self.bytes
                .reserve_exact(room.saturating_sub(self.bytes.len()));
        }
        self.bytes.extend_from_slice(bytes);
        true
    }
}

/// How `stored` is encoded.
pub(crate) fn encoding(stored: &StoredInstance) -> Encoding {
    Encoding::of(&stored.instance.transfer_syntax)
}

/// A walk through the data set of `stored` as it came, whose beginning has been read: for its pixel
/// data and the like, which nothing changes.
pub(crate) fn walk(
    web: &Web,
    permit: &Permit<Get>,
    stored: &StoredInstance,
) -> Result<Walk<Content>, WalkError> {
    walk_through(web, Content::open(web, permit, stored)?, stored)
}

/// A walk through the data set of `stored` as it is to be said.
pub(crate) fn walk_corrected(
    web: &Web,
    permit: &Permit<Get>,
    stored: &StoredInstance,
) -> Result<Walk<Content>, WalkError> {
    let bytes_max = web.limits().inflated_bytes_max;
    let content = Content::open_corrected(web, permit, stored, bytes_max)?;
    walk_through(web, content, stored)
}

fn walk_through(
    web: &Web,
    content: Content,
    stored: &StoredInstance,
) -> Result<Walk<Content>, WalkError> {
    let head_bytes = content.head_bytes(stored).unwrap_or(0);
    let limits = scan_limits(web.limits());
    let mut walk = Walk::new(content, encoding(stored), head_bytes, &limits);
    walk.begin()?;
    Ok(walk)
}

/// How data sets are scanned here.
pub(crate) fn scan_limits(limits: &WebLimits) -> ScanLimits {
    ScanLimits {
        inflated_bytes_max: limits.inflated_bytes_max,
        ..ScanLimits::default()
    }
}

impl From<WalkError> for Failure {
    fn from(error: WalkError) -> Self {
        match error {
            WalkError::NoMemory => Self::Unavailable {
                detail: "no memory to inflate a data set now: wait",
            },
            WalkError::Correct(error) => {
                tracing::warn!(%error, "a stored data set cannot say what it is to say");
                Self::Conflict {
                    detail: "the stored data set cannot say what it is to say".to_owned(),
                }
            }
            WalkError::Read(error) => error.into(),
            WalkError::Scan(error) => {
                tracing::warn!(%error, "a stored data set cannot be taken apart");
                Self::Conflict {
                    detail: "the stored data set is broken, or too large to be taken apart"
                        .to_owned(),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::DeflateEncoder;
    use std::io::Write as _;

    #[test]
    fn inflated_data_sets_share_their_memory_and_give_it_back() {
        let plain: Vec<u8> = (0..5_u32 << 20).map(|n| n.to_le_bytes()[1]).collect();
        let mut deflated = DeflateEncoder::new(Vec::new(), Compression::fast());
        deflated.write_all(&plain).unwrap();
        let deflated = deflated.finish().unwrap();
        let memory = Arc::new(Semaphore::new(12));
        let inflate = || {
            let mut inflated = Inflated::new(&memory);
            let filled = inflated.fill(&deflated.as_slice(), &ScanLimits::default());
            filled.map(|()| inflated)
        };

        let first = inflate().unwrap();
        let second = inflate();

        assert!(first.bytes == plain);
        assert!(matches!(second, Err(WalkError::NoMemory)));
        drop(first);
        assert!(inflate().is_ok());
        assert_eq!(memory.available_permits(), 12);
    }
}
