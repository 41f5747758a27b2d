//! One pass of a scrub: its order, and a step of it.

use crate::archive::Shared;
use crate::digest::Digest;
use crate::index::{Location, LogPosition, LogRecord, StoredInstance};
use crate::pack::examine::{Examined, Examiner, Step, Walk};
use crate::pack::name::PackName;
use crate::pack::read::{self, EntryError};
use pacs_core::SopInstanceUid;
use std::io;

/// Bytes of data sets that are read before the next pause; one may be longer.
const STEP_BYTES: u64 = 1 << 20;

/// Entries that are read before the next pause.
const STEP_COUNT: u64 = 64;

/// A pass that is under way.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Pass {
    /// When it began, in milliseconds since 1970-01-01 UTC.
    pub started_unix_ms: u64,
    /// Bytes that are read.
    pub bytes: u64,
    /// Bytes that there were to read when it began.
    pub total_bytes: u64,
    /// Entries that are read.
    pub entries_count: u64,
    /// Places that were damaged.
    pub damaged_count: u64,
    /// Log packs that are read.
    pub(super) done_count: u64,
    /// Where the next entry of the present one begins.
    pub(super) offset: u64,
    /// The log ended here when it began.
    pub(super) end: LogPosition,
    /// Decides the order.
    pub(super) seed: u64,
}

/// A pass that came to its end.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PassEnd {
    /// When it began, in milliseconds since 1970-01-01 UTC.
    pub started_unix_ms: u64,
    /// When it ended.
    pub finished_unix_ms: u64,
    /// Bytes that were read.
    pub bytes: u64,
    /// Entries that were read.
    pub entries_count: u64,
    /// Places that were damaged.
    pub damaged_count: u64,
}

/// A damaged place.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Damage {
    /// Of the pack.
    pub pack: u64,
    /// Of the entry.
    pub offset: u64,
    /// When it was found, in milliseconds since 1970-01-01 UTC.
    pub found_unix_ms: u64,
}

impl Pass {
    /// Begins a pass over what there is.
    pub(super) fn begin(shared: &Shared, end: LogPosition, now_unix_ms: u64) -> io::Result<Self> {
        let mut total_bytes = 0_u64;
        for name in shared.files.list()? {
            let bytes = match name {
                PackName::Part(_) => continue,
                PackName::Log(number) if number > end.pack => continue,
                PackName::Log(number) if number == end.pack => end.offset,
                PackName::Log(_) | PackName::Large(_) => shared.files.file(name)?.length_bytes()?,
            };
            total_bytes = total_bytes.saturating_add(bytes);
        }
        // No secret, but another one each time.
        let seed = now_unix_ms;
        Ok(Self::over(total_bytes, end, (now_unix_ms, seed)))
    }

    /// A pass over so many bytes that has read nothing yet.
    pub(super) const fn over(
        total_bytes: u64,
        end: LogPosition,
        (started_unix_ms, seed): (u64, u64),
    ) -> Self {
        Self {
            started_unix_ms,
            bytes: 0,
            total_bytes,
            entries_count: 0,
            damaged_count: 0,
            done_count: 0,
            offset: 0,
            end,
            seed,
        }
    }

    /// The log packs, in the order of this pass.
    pub(super) fn order(&self) -> Vec<u64> {
        let mut numbers: Vec<u64> = (1..=self.end.pack).collect();
        numbers.sort_by_cached_key(|number| {
            let mut text = self.seed.to_be_bytes().to_vec();
            text.extend_from_slice(&number.to_be_bytes());
            Digest::of(&text).0
        });
        numbers
    }
}

/// Something that a step found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) pack: u64,
    pub(super) offset: u64,
    /// What the index may know of it, and where its content is.
    pub(super) version: Option<(SopInstanceUid, Digest, Location)>,
}

/// What a step came to.
#[derive(Debug, Default)]
pub(super) struct Done {
    /// Where the next begins; `None` at the end of the pack.
    pub(super) next: Option<u64>,
    pub(super) bytes: u64,
    pub(super) entries_count: u64,
    pub(super) damage: Vec<Found>,
    /// What is whole; the index has to know it.
    pub(super) unindexed: Vec<Found>,
}

/// Reads some entries of a pack, from the disk.
pub(super) fn step(shared: &Shared, name: PackName, from: u64, stop: u64) -> io::Result<Done> {
    let mut done = Done::default();
    let pack = name.location();
    let found = |offset| Found {
        pack,
        offset,
        version: None,
    };
    let file = match shared.files.file(name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            done.damage.push(found(0));
            return Ok(done);
        }
        other => other?,
    };
    let examiner = Examiner {
        files: &shared.files,
        limits: &shared.limits.scan,
        threads_count: 1,
    };
    let mut walk = Walk::new(&*file, name, from, stop);
    while done.bytes < STEP_BYTES && done.entries_count < STEP_COUNT {
        file.forget(walk.at(), STEP_BYTES);
        let head = match walk.step()? {
            None => {
                if let PackName::Log(number) = name
                    && stop == u64::MAX
                    && read::is_short(shared.files.disk(), number)?
                {
                    done.damage.push(found(file.length_bytes()?));
                }
                return Ok(done);
            }
            Some(Step::Damage { from, to }) => {
                done.bytes = done.bytes.saturating_add(to.saturating_sub(from));
                done.damage.push(found(from));
                continue;
            }
            Some(Step::Entry(head)) => head,
        };
        file.forget(head.offset, head.end.saturating_sub(head.offset));
        done.add(pack, examiner.one(name, &*file, &head))?;
    }
    done.next = Some(walk.at());
    Ok(done)
}

impl Done {
    /// Adds what was found of an entry of `pack`.
    fn add(&mut self, pack: u64, examined: Examined) -> io::Result<()> {
        let head = &examined.head;
        let bytes = head.end.saturating_sub(head.offset);
        self.entries_count = self.entries_count.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes);
        let mut found = Found {
            pack,
            offset: head.offset,
            version: None,
        };
        let is_sound = examined.is_whole && examined.is_filled && examined.record.is_ok();
        match examined.record {
            Err(EntryError::Disk(error)) => return Err(error),
            Ok(Some(LogRecord::Instance(stored))) => {
                if stored.location.pack != pack {
                    self.bytes = self.bytes.saturating_add(stored.location.length_bytes);
                }
                let StoredInstance {
                    instance,
                    digest,
                    location,
                    ..
                } = *stored;
                found.version = Some((instance.instance, digest, location));
            }
            Ok(_) | Err(EntryError::Damaged) => {}
        }
        if is_sound {
            self.unindexed.push(found);
        } else {
            self.damage.push(found);
        }
        Ok(())
    }
}

/// Whether the entry whose data set stands there is marked as erased.
pub(super) fn is_marked(shared: &Shared, location: Location) -> io::Result<bool> {
    let name = PackName::of_location(location.pack);
    let file = shared.files.file(name)?;
    let head = read::entry_of(&*file, name, location.offset)?;
    Ok(head.is_some_and(|head| head.mark.is_some()))
}

/// Whether there is a whole entry at a place of a log pack.
pub(super) fn is_sound(shared: &Shared, pack: u64, offset: u64) -> bool {
    let name = PackName::of_location(pack);
    let look = || -> io::Result<bool> {
        let file = shared.files.file(name)?;
        file.forget(offset, STEP_BYTES);
        let Some(head) = read::head_at(&*file, name, offset)? else {
            return Ok(false);
        };
        file.forget(head.offset, head.end.saturating_sub(head.offset));
        let examiner = Examiner {
            files: &shared.files,
            limits: &shared.limits.scan,
            threads_count: 1,
        };
        let examined = examiner.one(name, &*file, &head);
        Ok(examined.is_whole && examined.is_filled && examined.record.is_ok())
    };
    look().unwrap_or(false)
}
