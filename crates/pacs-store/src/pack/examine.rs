//! Entry after entry of a pack, with all of it read and compared, on several threads.

use super::ahead::{Ahead, Window};
use super::entry::{self, EntryHead, HEAD_BYTES_MAX, Kind};
use super::name::PackName;
use super::read::{self, EntryError, PackFiles};
use crate::disk::{Aligned, DiskFile};
use crate::index::{Location, LogRecord};
use pacs_core::limits::ScanLimits;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::Builder;

/// Entries that are examined together.
const BATCH_COUNT: usize = 1_024;

/// What stands at a place of a pack.
#[derive(Debug)]
pub(crate) enum Step {
    /// An entry whose head is whole.
    Entry(EntryHead),
    /// Nothing that can be read as an entry, from here to there.
    Damage {
        /// Where the entry before ends.
        from: u64,
        /// Where the next begins, or the pack ends.
        to: u64,
    },
}

impl Step {
    const fn entry(&self) -> Option<&EntryHead> {
        match self {
            Self::Entry(head) => Some(head),
            Self::Damage { .. } => None,
        }
    }
}

/// Goes through a pack, up to a place.
#[derive(Debug)]
pub(crate) struct Walk<'a> {
    file: &'a dyn DiskFile,
    name: PackName,
    at: u64,
    /// `u64::MAX`: to the end of a pack that is not written to any more.
    stop: u64,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(file: &'a dyn DiskFile, name: PackName, from: u64, stop: u64) -> Self {
        Self {
            file,
            name,
            at: from,
            stop,
        }
    }

    /// Where the next step begins.
    pub(crate) const fn at(&self) -> u64 {
        self.at
    }

    /// What comes next; `None` at the end.
    pub(crate) fn step(&mut self) -> io::Result<Option<Step>> {
        if self.at >= self.stop {
            return Ok(None);
        }
        if let Some(head) = read::head_at(self.file, self.name, self.at)? {
            self.at = head.end;
            return Ok(Some(Step::Entry(head)));
        }
        let from = self.at;
        let next = read::next_head(self.file, self.name, from)?;
        let next = next.filter(|head| head.offset < self.stop);
        // Zeros to the end of a pack are its end and no damage.
        if next.is_none() && self.stop == u64::MAX && read::is_zero_from(self.file, from)? {
            self.at = self.stop;
            return Ok(None);
        }
        let to = match &next {
            Some(head) => head.offset,
            None if self.stop == u64::MAX => self.file.length_bytes()?.max(from),
            None => self.stop,
        };
        self.at = if next.is_some() { to } else { self.stop };
        Ok(Some(Step::Damage { from, to }))
    }

    /// The next steps, as many as are examined together and begin before `until`; one at least,
    /// unless this is the end.
    fn batch(&mut self, until: u64) -> io::Result<Vec<Step>> {
        let mut steps = Vec::new();
        while steps.is_empty() || steps.len() < BATCH_COUNT && self.at < until {
            let Some(step) = self.step()? else {
                break;
            };
            steps.push(step);
        }
        Ok(steps)
    }
}

/// What was found of an entry.
#[derive(Debug)]
pub(crate) struct Examined {
    pub(crate) head: EntryHead,
    /// Whether its data, and those of the large pack that it names, have their digest.
    pub(crate) is_whole: bool,
    /// Whether what says nothing is as it was written: zeros and spaces.
    pub(crate) is_filled: bool,
    /// What it says, whether or not it is whole.
    pub(crate) record: Result<Option<LogRecord>, EntryError>,
}

impl Examined {
    /// What may be applied to an index: a damaged copy must not take the place of a good one
    /// further on.
    pub(crate) fn into_whole_record(self) -> Result<Option<LogRecord>, EntryError> {
        if self.is_whole || matches!(self.record, Err(EntryError::Disk(_))) {
            return self.record;
        }
        Err(EntryError::Damaged)
    }
}

/// Examines entries.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Examiner<'a> {
    pub(crate) files: &'a PackFiles,
    pub(crate) limits: &'a ScanLimits,
    /// Threads that read and digest.
    pub(crate) threads_count: usize,
}

impl Examiner<'_> {
    /// Examines `heads` of one pack; the results are in the same order.
    fn all(&self, name: PackName, window: &Window, heads: &[EntryHead]) -> Vec<Examined> {
        let next = AtomicUsize::new(0);
        let work = || {
            let mut done = Vec::new();
            let mut memory = Aligned::default();
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some(head) = heads.get(at) else {
                    return done;
                };
                done.push((
                    at,
                    self.one_in(name, window, window.file(), head, &mut memory),
                ));
            }
        };
        let helpers_count = self.threads_count.min(heads.len()).saturating_sub(1);
        let mut all = std::thread::scope(|scope| {
            let helpers: Vec<_> = (0..helpers_count)
                .filter_map(|_| Builder::new().spawn_scoped(scope, work).ok())
                .collect();
            let mut all = work();
            for helper in helpers {
                // What a helper that panicked had taken is examined again below.
                all.extend(helper.join().unwrap_or_default());
            }
            all
        });
        all.sort_unstable_by_key(|(at, _)| *at);
        if all.len() != heads.len() {
            return heads
                .iter()
                .map(|h| self.one(name, window.file(), h))
                .collect();
        }
        all.into_iter().map(|(_, examined)| examined).collect()
    }

    /// Examines one entry.
    pub(crate) fn one(&self, name: PackName, file: &dyn DiskFile, head: &EntryHead) -> Examined {
        self.one_in(name, file, file, head, &mut Aligned::default())
    }

    /// Examines one entry as `seen`, which is what `file` was a moment ago.
    fn one_in(
        &self,
        name: PackName,
        seen: &dyn DiskFile,
        file: &dyn DiskFile,
        head: &EntryHead,
        memory: &mut Aligned,
    ) -> Examined {
        let found = self.look(name, seen, head, memory);
        if found.is_whole && found.record.is_ok() {
            return found;
        }
        // It may have been erased while it was read.
        match read::head_at(file, name, head.offset) {
            Ok(Some(now)) if now.is_same(head) => self.look(name, file, &now, memory),
            Ok(_) | Err(_) => found,
        }
    }

    fn look(
        &self,
        name: PackName,
        file: &dyn DiskFile,
        head: &EntryHead,
        memory: &mut Aligned,
    ) -> Examined {
        let record = read::record_of(self.files, name, file, head, self.limits);
        let mut is_whole = read::is_whole_in(file, head, memory);
        let mut is_filled = is_filled(file, head);
        if head.label.kind == Kind::Large
            && let Ok(Some(LogRecord::Instance(stored))) = &record
        {
            let large = self.large(stored.location, stored.digest);
            is_whole = is_whole && large.0;
            is_filled = is_filled && large.1;
        }
        Examined {
            head: head.clone(),
            is_whole,
            is_filled,
            record,
        }
    }

    /// Whether a large pack has its digest, and is filled as it was written.
    fn large(&self, location: Location, digest: crate::index::Digest) -> (bool, bool) {
        let name = PackName::of_location(location.pack);
        let Ok(file) = self.files.file(name) else {
            return (false, true);
        };
        let found = read::digest_of(&*file, location.offset, location.length_bytes);
        let is_whole = found.is_ok_and(|found| found == Some(digest));
        let head = read::head_at(&*file, name, 0);
        let is_filled = head.is_ok_and(|head| {
            head.is_none_or(|head| {
                is_filled(&*file, &head) && read::is_zero_from(&*file, head.end).unwrap_or(false)
            })
        });
        (is_whole, is_filled)
    }
}

/// What was found at a place of a pack.
#[derive(Debug)]
pub(crate) enum Found {
    /// An entry whose head is whole.
    Entry(Box<Examined>),
    /// Nothing that can be read as an entry, from here on.
    Damage {
        /// Where the entry before ends.
        from: u64,
    },
}

/// Goes through a pack, up to a place, and examines what is there while the disk reads on.
#[derive(Debug)]
pub(crate) struct Passage<'a> {
    examiner: Examiner<'a>,
    name: PackName,
    at: u64,
    /// As of [`Walk`].
    stop: u64,
    ahead: Ahead,
}

impl<'a> Passage<'a> {
    pub(crate) fn new(
        examiner: Examiner<'a>,
        name: PackName,
        file: Arc<dyn DiskFile>,
        stop: u64,
    ) -> Self {
        Self {
            examiner,
            name,
            at: 0,
            stop,
            ahead: Ahead::new(file, stop),
        }
    }

    /// Where that begins which was not examined.
    pub(crate) const fn at(&self) -> u64 {
        self.at
    }

    /// Examines what comes next; nothing at the end.
    pub(crate) fn batch(&mut self) -> io::Result<Vec<Found>> {
        if self.at >= self.stop {
            return Ok(Vec::new());
        }
        let until = self.ahead.come_to(self.at);
        let mut walk = Walk::new(self.ahead.window(), self.name, self.at, self.stop);
        let steps = walk.batch(until)?;
        self.at = walk.at();
        self.ahead.reach(self.at);
        let heads: Vec<_> = steps.iter().filter_map(Step::entry).cloned().collect();
        let examined = self.examiner.all(self.name, self.ahead.window(), &heads);
        let mut examined = examined.into_iter();
        let found = steps.into_iter().filter_map(|step| match step {
            Step::Entry(_) => examined.next().map(Box::new).map(Found::Entry),
            Step::Damage { from, .. } => Some(Found::Damage { from }),
        });
        Ok(found.collect())
    }
}

/// Whether the bytes of an entry that say nothing are as they were written. What cannot be read is
/// not.
pub(crate) fn is_filled(file: &dyn DiskFile, head: &EntryHead) -> bool {
    let data_end = head.data_offset.saturating_add(head.data_bytes);
    // The file may end with the last data set.
    let end = head.end.min(file.length_bytes().unwrap_or(head.end));
    let head_bytes = usize::try_from(head.data_offset.saturating_sub(head.offset))
        .unwrap_or(HEAD_BYTES_MAX)
        .min(HEAD_BYTES_MAX);
    let before = file.read_vec(head.offset, head_bytes);
    before.is_ok_and(|before| entry::is_filled(&before))
        && read::is_zero(file, data_end, end).unwrap_or(false)
}
