//! Stored data sets, as walks read them.

use crate::error::Failure;
use crate::limits::WebLimits;
use crate::service::Web;
use crate::walk::{DataSet, Walk, WalkError};
use pacs_core::Permit;
use pacs_core::access::Get;
use pacs_core::limits::ScanLimits;
use pacs_core::scan::inflate::Inflater;
use pacs_core::scan::{Encoding, ScanError};
use pacs_store::index::StoredInstance;
use pacs_store::{Archive, ReadError};
use std::ops::Range;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes of one permit of the memory for data sets that are inflated.
pub(crate) const UNIT_BYTES: usize = 1 << 20;

/// Bytes of a deflated data set that are read at once.
const DEFLATED_BYTES: u64 = 256 << 10;

/// A data set: where it is kept, or inflated in memory. Reading blocks.
#[derive(Debug)]
pub(crate) enum Content {
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
            Self::Inflated(inflated) => inflated.bytes.as_slice().length_bytes(),
            Self::Stored { stored, .. } => stored.location.length_bytes,
        }
    }

    fn read(&self, range: &Range<u64>) -> Result<Vec<u8>, ReadError> {
        match self {
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

/// A walk through the data set of `stored`, whose beginning has been read.
pub(crate) fn walk(
    web: &Web,
    permit: &Permit<Get>,
    stored: &StoredInstance,
) -> Result<Walk<Content>, WalkError> {
    let content = Content::open(web, permit, stored)?;
    let head_bytes = stored.instance.head_bytes;
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
