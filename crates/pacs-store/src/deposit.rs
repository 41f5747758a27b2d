//! A deposit: one SOP instance on its way to durable storage.
//!
//! It grows by [`Deposit::write`], ends by [`Deposit::seal`], and is nothing before that: dropping
//! it leaves nothing behind. Its bytes are hashed and its head is read as they come; they are held
//! in memory as they were received, without a copy, until there are too many: then they stream into
//! a pack of their own.
//!
//! Invariant: the data set is kept byte for byte. Nothing here decodes, coerces or transcodes.
//!
//! PS3.4 Annex B (Storage); docs/decisions/0001 for the order of commits.

use crate::archive::{Announced, Content, Sealed, Shared, Work};
use crate::digest::{Digest, Digester};
use crate::disk::is_full;
use crate::error::DepositError;
use crate::index::{ChangeNumber, Provenance};
use crate::pack::entry::{EntryName, Kind, Label};
use crate::pack::large::LargePack;
use crate::pack::part10;
use bytes::{Bytes, BytesMut};
use pacs_core::instance::InstanceError;
use pacs_core::scan::{HeadReader, HeadState};
use pacs_core::tag::tags;
use pacs_core::{Instance, Tag, Uid};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// Fragments shorter than this are copied together: each kept one may hold a whole receive buffer.
const COPY_BYTES_MAX: usize = 4 << 10;

/// Bytes gathered before they are written to a pack of their own.
const STREAM_BYTES: u64 = 1 << 20;

/// How many parts what is left of the budget has; a deposit gets one at most. Fifty that hold what
/// they get leave a CT slice its part of the default budget.
const BUDGET_PARTS: usize = 16;

/// What became of a deposit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Other content is known under its SOP Instance UID; this is kept as another version, and not
    /// served.
    Conflict {
        /// 2 for the first version that differs, and so on.
        version: u32,
    },
    /// It came for the first time.
    New,
    /// It was known, with equal content.
    Same,
}

/// The answer to a deposit that was sealed: it is durable and can be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// What became of it.
    pub outcome: Outcome,
    /// The change that tells of it, where anything changed.
    pub change: Option<ChangeNumber>,
    /// Digest of the data set.
    pub digest: Digest,
}

impl Receipt {
    pub(crate) const fn same(digest: Digest) -> Self {
        Self {
            outcome: Outcome::Same,
            change: None,
            digest,
        }
    }
}

/// An instance that is being received.
#[derive(Debug)]
pub struct Deposit {
    shared: Arc<Shared>,
    announced: Announced,
    provenance: Provenance,
    digester: Digester,
    head: HeadReader,
    head_state: HeadState,
    length_bytes: u64,
    /// Fragments that are in memory, in order; then `small`.
    held: Vec<Bytes>,
    small: BytesMut,
    held_bytes: u64,
    /// For what is held of the budget of all.
    permit: Option<OwnedSemaphorePermit>,
    /// What is held beyond that.
    own_bytes: u64,
    place: Place,
}

#[derive(Debug)]
enum Place {
    /// Something went wrong before, or a call was cancelled.
    Broken,
    /// Everything is in memory.
    Memory,
    /// What is no longer in memory is here.
    Pack(LargePack),
}

impl Deposit {
    pub(crate) fn new(shared: Arc<Shared>, announced: Announced, provenance: Provenance) -> Self {
        let head = HeadReader::new(&announced.transfer_syntax, &shared.limits.scan);
        Self {
            shared,
            announced,
            provenance,
            digester: Digester::new(),
            head,
            head_state: HeadState::NeedMore,
            length_bytes: 0,
            held: Vec::new(),
            small: BytesMut::new(),
            held_bytes: 0,
            permit: None,
            own_bytes: 0,
            place: Place::Memory,
        }
    }

    /// Bytes received so far.
    #[must_use]
    pub const fn length_bytes(&self) -> u64 {
        self.length_bytes
    }

    /// Takes the next bytes of the data set; where there is no memory for them, what came before is
    /// written out first. After an error, or when the call was cancelled, nothing more is taken.
    ///
    /// # Errors
    /// [`DepositError`].
    pub async fn write(&mut self, fragment: Bytes) -> Result<(), DepositError> {
        let place = std::mem::replace(&mut self.place, Place::Broken);
        self.place = self.take(fragment, place).await?;
        Ok(())
    }

    async fn take(&mut self, fragment: Bytes, place: Place) -> Result<Place, DepositError> {
        if matches!(place, Place::Broken) {
            return Err(DepositError::Closed);
        }
        let limit_bytes = self.shared.limits.instance_bytes_max;
        self.length_bytes = self.length_bytes.saturating_add(fragment.len() as u64);
        if self.length_bytes > limit_bytes {
            return Err(DepositError::TooLong { limit_bytes });
        }
        if self.head_state == HeadState::NeedMore {
            let state = self.head.push(&fragment);
            self.head_state = state.map_err(InstanceError::from)?;
        }
        self.digester.update(&fragment);
        let place = self.reserve(fragment.len(), place).await?;
        self.hold(fragment);
        let is_large = match &place {
            Place::Pack(_) => self.held_bytes >= STREAM_BYTES,
            Place::Memory => self.held_bytes > self.shared.limits.large_bytes,
            Place::Broken => false,
        };
        if is_large {
            self.spill(place).await
        } else {
            Ok(place)
        }
    }

    /// Gets memory for `length` more bytes: from the budget of all, as long as this deposit has no
    /// more than its part of what is left there; else from what is its own, by writing out what it
    /// holds. So nobody waits for what others hold, and who holds much leaves others their part.
    async fn reserve(&mut self, length: usize, mut place: Place) -> Result<Place, DepositError> {
        let budget = &self.shared.budget;
        let held = self.permit.as_ref().map_or(0, |held| held.num_permits());
        let part = budget.available_permits() / BUDGET_PARTS;
        if held.saturating_add(length) <= part
            && let Ok(count) = u32::try_from(length)
            && let Ok(more) = Arc::clone(budget).try_acquire_many_owned(count)
        {
            match &mut self.permit {
                Some(all) => all.merge(more),
                none => *none = Some(more),
            }
            return Ok(place);
        }
        let length_bytes = length as u64;
        let is_too_much =
            self.own_bytes.saturating_add(length_bytes) > self.shared.limits.own_bytes;
        if is_too_much && self.held_bytes > 0 {
            place = self.spill(place).await?;
        }
        self.own_bytes = self.own_bytes.saturating_add(length_bytes);
        Ok(place)
    }

    fn hold(&mut self, fragment: Bytes) {
        self.held_bytes = self.held_bytes.saturating_add(fragment.len() as u64);
        if fragment.len() < COPY_BYTES_MAX {
            self.small.extend_from_slice(&fragment);
            if (self.small.len() as u64) < STREAM_BYTES {
                return;
            }
            self.held.push(self.small.split().freeze());
        } else {
            if !self.small.is_empty() {
                self.held.push(self.small.split().freeze());
            }
            self.held.push(fragment);
        }
    }

    fn take_held(&mut self) -> Vec<Bytes> {
        if !self.small.is_empty() {
            self.held.push(self.small.split().freeze());
        }
        self.held_bytes = 0;
        std::mem::take(&mut self.held)
    }

    /// Writes what is held to a pack of its own, and frees the memory.
    async fn spill(&mut self, place: Place) -> Result<Place, DepositError> {
        if self.shared.is_closing() {
            // What would remove its file again may be gone.
            return Err(DepositError::Closed);
        }
        let bytes = self.held_bytes;
        let fragments = self.take_held();
        let permit = self.permit.take();
        self.own_bytes = 0;
        let begin = match place {
            Place::Pack(pack) => Begin::Old(pack),
            Place::Memory => Begin::New(self.lead()),
            Place::Broken => return Err(DepositError::Closed),
        };
        let shared = Arc::clone(&self.shared);
        let pack = blocking("write an instance", move || {
            if !shared.reserve.has_room() {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let mut pack = match begin {
                Begin::Old(pack) => pack,
                Begin::New(lead) => begin_large(&shared, lead)?,
            };
            pack.append(&fragments)?;
            shared.reserve.took(bytes);
            shared.fail_points.reach("large-written");
            drop(fragments);
            drop(permit);
            Ok(pack)
        })
        .await?;
        Ok(Place::Pack(pack))
    }

    fn lead(&self) -> Vec<u8> {
        part10::lead(
            &self.announced.sop_class,
            &self.announced.sop_instance,
            &self.announced.transfer_syntax,
        )
    }

    /// Ends the data set. Returns when the instance is durable and can be found, or is known not to
    /// be kept; where the call is cancelled, it may be kept nevertheless.
    ///
    /// # Errors
    /// [`DepositError`].
    pub async fn seal(mut self) -> Result<Receipt, DepositError> {
        let place = match std::mem::replace(&mut self.place, Place::Broken) {
            Place::Broken => return Err(DepositError::Closed),
            Place::Memory => Place::Memory,
            Place::Pack(pack) => self.spill(Place::Pack(pack)).await?,
        };
        let fragments = self.take_held();
        let Self {
            shared,
            announced,
            provenance,
            digester,
            head,
            permit,
            ..
        } = self;
        let digest = digester.finish();
        let instance = head.finish()?;
        check(&announced, &instance)?;
        let content = match place {
            Place::Pack(pack) => {
                let pack = finish_large(&shared, pack, &instance, digest, &provenance).await?;
                Content::Large(pack)
            }
            Place::Memory | Place::Broken => Content::Held { fragments, permit },
        };
        let (reply, result) = oneshot::channel();
        let sealed = Sealed {
            instance,
            digest,
            provenance,
            content,
            reply,
        };
        shared.submit(Work::Deposit(Box::new(sealed))).await?;
        result.await.unwrap_or(Err(DepositError::Closed))
    }
}

enum Begin {
    New(Vec<u8>),
    Old(LargePack),
}

fn begin_large(shared: &Shared, lead: Vec<u8>) -> io::Result<LargePack> {
    let number = shared.large_next.fetch_add(1, Ordering::Relaxed);
    let disk = Arc::clone(shared.directory.disk());
    let pack = LargePack::create(disk, shared.remover.clone(), number, lead)?;
    shared.fail_points.reach("large-begun");
    Ok(pack)
}

async fn finish_large(
    shared: &Arc<Shared>,
    pack: LargePack,
    instance: &Instance,
    digest: Digest,
    provenance: &Provenance,
) -> Result<LargePack, DepositError> {
    let name = EntryName::of_instance(instance, &digest);
    let label = Label {
        kind: Kind::Instance,
        digest,
        provenance: provenance.clone(),
        syntax: Some(instance.transfer_syntax.clone()),
        class: Some(instance.sop_class.clone()),
        durable_offset: 0,
        previous_end: None,
    };
    let shared = Arc::clone(shared);
    blocking("write an instance", move || {
        pack.write_head(&name, &label)?;
        if let Err(error) = pack.sync() {
            tracing::error!(%error, "a sync of a large pack failed");
            shared.fail();
            return Err(error);
        }
        shared.fail_points.reach("large-synced");
        Ok(pack)
    })
    .await
}

/// Runs what blocks where it may.
async fn blocking<T: Send + 'static>(
    operation: &'static str,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, DepositError> {
    let error = match tokio::task::spawn_blocking(work).await {
        Ok(Ok(result)) => return Ok(result),
        Ok(Err(error)) => error,
        Err(error) => io::Error::other(error),
    };
    if is_full(&error) {
        return Err(DepositError::Full);
    }
    Err(DepositError::Backend {
        operation,
        source: Box::new(error),
    })
}

/// The data set has to be what it was announced as (PS3.4 B.2.3: A900H).
fn check(announced: &Announced, instance: &Instance) -> Result<(), DepositError> {
    let same = |tag: Tag, announced: &Uid, found: &Uid| {
        if announced == found {
            return Ok(());
        }
        Err(DepositError::UidMismatch {
            tag,
            announced: announced.clone(),
            found: found.clone(),
        })
    };
    same(
        tags::SOP_INSTANCE_UID,
        announced.sop_instance.uid(),
        instance.instance.uid(),
    )?;
    same(
        tags::SOP_CLASS_UID,
        announced.sop_class.uid(),
        instance.sop_class.uid(),
    )
}
