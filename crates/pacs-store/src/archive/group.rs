//! A commit group: what one sync makes durable.

use super::commit::{Content, Sealed};
use crate::archive::commit::{DepositReply, EraseReply, TurnReply};
use crate::deposit::{Outcome, Receipt};
use crate::disk::is_full;
use crate::error::{DepositError, EraseError, HideError};
use crate::index::{Applied, Digest, Location, LogPosition, LogRecord, Provenance, StoredInstance};
use crate::limits::ERASED_PACKS_NAMED_MAX;
use crate::pack::entry::{self, EntryName, Filling, Kind, Label};
use crate::pack::large::LargePack;
use crate::pack::log::Batch;
use crate::pack::name::PackName;
use crate::pack::read::Body;
use crate::pack::{part10, tar};
use bytes::Bytes;
use pacs_core::SopInstanceUid;
use pacs_core::uid::StudyUid;
use std::collections::{BTreeSet, HashMap};
use std::io;
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;

/// Instances from this length on end where the disk begins a block: that takes two kilobytes more
/// on average.
const ALIGNED_FROM_BYTES: u64 = 256 << 10;

/// Why nothing of a group was kept.
#[derive(Debug, Clone)]
pub(super) enum Refusal {
    Backend {
        operation: &'static str,
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    Closed,
    Full,
}

impl Refusal {
    /// Of an error of the disk.
    pub(super) fn of_disk(operation: &'static str, error: io::Error) -> Self {
        if is_full(&error) {
            return Self::Full;
        }
        Self::Backend {
            operation,
            source: Arc::new(error),
        }
    }
}

impl From<Refusal> for DepositError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Backend { operation, source } => Self::Backend {
                operation,
                source: Box::new(source),
            },
            Refusal::Closed => Self::Closed,
            Refusal::Full => Self::Full,
        }
    }
}

impl From<Refusal> for EraseError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Backend { operation, source } => Self::Backend {
                operation,
                source: Box::new(source),
            },
            Refusal::Closed => Self::Closed,
            Refusal::Full => Self::Full,
        }
    }
}

impl From<Refusal> for HideError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Backend { operation, source } => Self::Backend {
                operation,
                source: Box::new(source),
            },
            Refusal::Closed => Self::Closed,
            Refusal::Full => Self::Full,
        }
    }
}

#[derive(Debug)]
enum Reply {
    Deposit(DepositReply, Digest),
    Erase(EraseReply),
    Turn(TurnReply),
}

/// A group that is being put together at `start`.
#[derive(Debug)]
pub(super) struct Group {
    start: LogPosition,
    /// What of the pack was durable when this was put together.
    durable_offset: u64,
    /// Where the pack before ended, if that is known.
    previous_end: Option<u64>,
    pub(super) batch: Batch,
    pub(super) records: Vec<LogRecord>,
    /// One for each record.
    replies: Vec<Reply>,
    /// Deposits with the content of one before them in the group.
    twins: Vec<(DepositReply, Digest)>,
    known: HashMap<Digest, SopInstanceUid>,
    pub(super) larges: Vec<LargePack>,
    /// Memory that is free again when the group is gone.
    permits: Vec<OwnedSemaphorePermit>,
}

impl Group {
    pub(super) fn new(start: LogPosition, durable_offset: u64, previous_end: Option<u64>) -> Self {
        Self {
            start,
            durable_offset,
            previous_end,
            batch: Batch::default(),
            records: Vec::new(),
            replies: Vec::new(),
            twins: Vec::new(),
            known: HashMap::new(),
            larges: Vec::new(),
            permits: Vec::new(),
        }
    }

    /// Where the log ends with this group.
    pub(super) fn end(&self) -> LogPosition {
        LogPosition {
            pack: self.start.pack,
            offset: self.offset(),
        }
    }

    /// How many are answered with it.
    pub(super) const fn count(&self) -> usize {
        self.replies.len()
    }

    /// Takes in the group that stands in the log right after this one.
    pub(super) fn absorb(&mut self, next: Self) {
        debug_assert_eq!(
            self.end(),
            next.start,
            "what stands between them is nobody's"
        );
        self.batch.absorb(next.batch);
        self.records.extend(next.records);
        self.replies.extend(next.replies);
        self.twins.extend(next.twins);
        self.known.extend(next.known);
        self.larges.extend(next.larges);
        self.permits.extend(next.permits);
    }

    /// The contents that it has.
    pub(super) fn known(&self) -> HashMap<Digest, SopInstanceUid> {
        self.known.clone()
    }

    fn offset(&self) -> u64 {
        self.start.offset.saturating_add(self.batch.length())
    }

    /// For the label of the next entry: the first of a pack says where the pack before ended.
    fn previous_end(&self) -> Option<u64> {
        self.previous_end.filter(|_| self.offset() == 0)
    }

    /// Adds a deposit that the index does not know.
    pub(super) fn push_deposit(&mut self, sealed: Sealed) {
        let digest = sealed.digest;
        let twin = self.known.get(&digest);
        if twin == Some(&sealed.instance.instance) {
            self.twins.push((sealed.reply, digest));
            return;
        }
        let uid = sealed.instance.instance.clone();
        self.known.insert(digest, uid);
        let location = match sealed.content {
            Content::Held { fragments, permit } => {
                self.permits.extend(permit);
                self.push_file(&sealed.instance, digest, &sealed.provenance, fragments)
            }
            Content::Large(pack) => {
                let location = Location {
                    pack: PackName::Large(pack.number()).location(),
                    offset: pack.data_offset(),
                    length_bytes: pack.data_bytes(),
                };
                let body = Body::Large {
                    number: pack.number(),
                    blake3: format!("{digest:?}"),
                };
                self.push_json(Kind::Large, &body, &sealed.provenance);
                self.larges.push(pack);
                location
            }
        };
        let stored = StoredInstance {
            instance: sealed.instance,
            location,
            digest,
            provenance: sealed.provenance,
        };
        self.records.push(LogRecord::Instance(Box::new(stored)));
        self.replies.push(Reply::Deposit(sealed.reply, digest));
    }

    fn push_file(
        &mut self,
        instance: &pacs_core::Instance,
        digest: Digest,
        provenance: &Provenance,
        fragments: Vec<Bytes>,
    ) -> Location {
        let lead = part10::lead(
            &instance.sop_class,
            &instance.instance,
            &instance.transfer_syntax,
        );
        let label = Label {
            kind: Kind::Instance,
            digest,
            provenance: provenance.clone(),
            syntax: Some(instance.transfer_syntax.clone()),
            class: Some(instance.sop_class.clone()),
            durable_offset: self.durable_offset,
            previous_end: self.previous_end(),
        };
        let data_bytes: u64 = fragments.iter().map(|f| f.len() as u64).sum();
        let name = EntryName::of_instance(instance, &digest);
        // Where long batches begin and end with a block, all of them is written around memory.
        let filling = if data_bytes >= ALIGNED_FROM_BYTES {
            Filling::Aligned
        } else {
            Filling::None
        };
        let head = entry::encode(self.end(), &name, &label, &lead, data_bytes, filling);
        self.batch.push(Bytes::from(head));
        let location = Location {
            pack: self.start.pack,
            offset: self.offset(),
            length_bytes: data_bytes,
        };
        for fragment in fragments {
            self.batch.push(fragment);
        }
        self.pad(data_bytes.saturating_add(lead.len() as u64));
        location
    }

    fn pad(&mut self, size: u64) {
        self.batch.push(Bytes::from_static(tar::padding(size)));
    }

    /// Adds a hide or restore.
    pub(super) fn push_turn(
        &mut self,
        record: LogRecord,
        provenance: &Provenance,
        reply: TurnReply,
    ) {
        let (kind, body) = match record.clone() {
            LogRecord::Hide { target, reason } => (Kind::Hide, Body::Hide { target, reason }),
            LogRecord::Restore { target } => (Kind::Restore, Body::Restore { target }),
            LogRecord::Destroyed(_) | LogRecord::Erase { .. } | LogRecord::Instance(_) => return,
        };
        self.push_json(kind, &body, provenance);
        self.records.push(record);
        self.replies.push(Reply::Turn(reply));
    }

    /// Adds that a study is erased, whose content stands at these places.
    pub(super) fn push_erase(
        &mut self,
        study: &StudyUid,
        content: &[Location],
        provenance: &Provenance,
        reply: EraseReply,
    ) {
        let packs: BTreeSet<u64> = content.iter().map(|location| location.pack).collect();
        let are_few = packs.len() <= ERASED_PACKS_NAMED_MAX;
        let body = Body::Erase {
            study: study.clone(),
            packs: are_few.then(|| packs.into_iter().collect()),
        };
        self.push_json(Kind::Erase, &body, provenance);
        let study = study.clone();
        self.records.push(LogRecord::Erase { study });
        self.replies.push(Reply::Erase(reply));
    }

    /// Adds what says only that the log was durable up to the start of this group.
    pub(super) fn push_mark(&mut self, received_unix_ms: u64) {
        let provenance = Provenance {
            received_unix_ms,
            calling: String::new(),
            address: None,
        };
        self.push_json(Kind::Mark, &Body::Mark {}, &provenance);
    }

    fn push_json(&mut self, kind: Kind, body: &Body, provenance: &Provenance) {
        // Strings and numbers in an enum: there is nothing that could not be written.
        let mut json = serde_json::to_vec(body).unwrap_or_default();
        json.push(b'\n');
        let label = Label {
            kind,
            digest: Digest::of(&json),
            provenance: provenance.clone(),
            syntax: None,
            class: None,
            durable_offset: self.durable_offset,
            previous_end: self.previous_end(),
        };
        let name = EntryName::of_position(kind, self.start.pack, self.offset());
        let length = json.len() as u64;
        let head = entry::encode(self.end(), &name, &label, &[], length, Filling::None);
        self.batch.push(Bytes::from(head));
        self.batch.push(Bytes::from(json));
        self.pad(length);
    }

    /// Tells everyone that nothing was kept.
    pub(super) fn refuse(self, refusal: &Refusal) {
        for reply in self.replies {
            // Whoever does not wait any more is not told.
            match reply {
                Reply::Deposit(reply, _) => {
                    reply.send(Err(refusal.clone().into())).ok();
                }
                Reply::Erase(reply) => {
                    reply.send(Err(refusal.clone().into())).ok();
                }
                Reply::Turn(reply) => {
                    reply.send(Err(refusal.clone().into())).ok();
                }
            }
        }
        for (reply, _) in self.twins {
            reply.send(Err(refusal.clone().into())).ok();
        }
    }

    /// Tells everyone what became of theirs.
    pub(super) fn answer(self, applied: Vec<Applied>) {
        for (reply, applied) in self.replies.into_iter().zip(applied) {
            match reply {
                Reply::Deposit(reply, digest) => {
                    reply.send(Ok(receipt(digest, &applied))).ok();
                }
                Reply::Erase(reply) => {
                    reply.send(Ok(moved(&applied))).ok();
                }
                Reply::Turn(reply) => {
                    reply.send(Ok(moved(&applied))).ok();
                }
            }
        }
        for (reply, digest) in self.twins {
            reply.send(Ok(Receipt::same(digest))).ok();
        }
    }
}

const fn moved(applied: &Applied) -> u64 {
    match applied {
        Applied::Moved { instances_count } => *instances_count,
        Applied::Conflict { .. } | Applied::New { .. } | Applied::Same => 0,
    }
}

fn receipt(digest: Digest, applied: &Applied) -> Receipt {
    match applied {
        Applied::Conflict { change, version } => Receipt {
            outcome: Outcome::Conflict { version: *version },
            change: Some(*change),
            digest,
        },
        Applied::New { change } => Receipt {
            outcome: Outcome::New,
            change: Some(*change),
            digest,
        },
        Applied::Moved { .. } | Applied::Same => Receipt::same(digest),
    }
}
