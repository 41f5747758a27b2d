//! Rows of studies that were read lately, in memory: a search that finds two hundred studies would
//! else go down the tree two hundred times, through pages that every other search reads too.
//!
//! A row that a commit changes goes before the commit is answered. A row that was read of a moment
//! before it is not kept any more.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Parts that are locked each alone.
const PARTS: u64 = 16;

/// Bytes that a row takes beside its own.
const ROW_BYTES: usize = 64;

/// The rows.
#[derive(Debug)]
pub(super) struct KeptRows {
    parts: Vec<Mutex<Part>>,
    bytes_of_part_max: usize,
    moment: AtomicU64,
}

/// A moment between two commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment(u64);

#[derive(Debug, Default)]
struct Part {
    /// Those that were used since the others became old.
    young: HashMap<u64, Arc<[u8]>>,
    old: HashMap<u64, Arc<[u8]>>,
    young_bytes: usize,
}

impl KeptRows {
    /// Keeps up to about `bytes_max`.
    pub(super) fn new(bytes_max: usize) -> Self {
        let parts = (0..PARTS).map(|_| Mutex::default()).collect::<Vec<_>>();
        Self {
            bytes_of_part_max: bytes_max.checked_div(parts.len()).unwrap_or(0),
            parts,
            moment: AtomicU64::new(0),
        }
    }

    /// Now; to be asked before what is read is opened.
    pub(super) fn moment(&self) -> Moment {
        Moment(self.moment.load(Ordering::Acquire))
    }

    fn part(&self, study: u64) -> Option<MutexGuard<'_, Part>> {
        let at = usize::try_from(study % PARTS).ok()?;
        let part = self.parts.get(at)?;
        Some(part.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The row of a study, as it is now or was a moment ago.
    pub(super) fn get(&self, study: u64) -> Option<Arc<[u8]>> {
        let mut part = self.part(study)?;
        if let Some(row) = part.young.get(&study) {
            return Some(Arc::clone(row));
        }
        let row = part.old.remove(&study)?;
        part.put(study, Arc::clone(&row), self.bytes_of_part_max);
        Some(row)
    }

    /// Keeps a row that was read of what there was at `moment`.
    pub(super) fn keep(&self, study: u64, row: &[u8], moment: Moment) {
        let row: Arc<[u8]> = row.into();
        let Some(mut part) = self.part(study) else {
            return;
        };
        // Under the lock: whoever changes the row takes it out after the moment is over.
        if self.moment() == moment {
            part.put(study, row, self.bytes_of_part_max);
        }
    }

    /// The rows of these studies were changed.
    pub(super) fn forget(&self, studies: impl IntoIterator<Item = u64>) {
        self.moment.fetch_add(1, Ordering::AcqRel);
        for study in studies {
            if let Some(mut part) = self.part(study) {
                part.take(study);
            }
        }
    }

    /// All rows were changed.
    pub(super) fn forget_all(&self) {
        self.moment.fetch_add(1, Ordering::AcqRel);
        for part in &self.parts {
            *part.lock().unwrap_or_else(PoisonError::into_inner) = Part::default();
        }
    }
}

impl Part {
    fn put(&mut self, study: u64, row: Arc<[u8]>, bytes_max: usize) {
        let bytes = row.len().saturating_add(ROW_BYTES);
        // Old and young are a half each.
        if self.young_bytes.saturating_add(bytes) > bytes_max / 2 {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
        if bytes <= bytes_max / 2 {
            self.take(study);
            self.young_bytes = self.young_bytes.saturating_add(bytes);
            self.young.insert(study, row);
        }
    }

    fn take(&mut self, study: u64) {
        self.old.remove(&study);
        if let Some(row) = self.young.remove(&study) {
            let bytes = row.len().saturating_add(ROW_BYTES);
            self.young_bytes = self.young_bytes.saturating_sub(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(rows: &KeptRows, studies: impl IntoIterator<Item = u64>) -> Vec<u64> {
        let studies = studies.into_iter();
        studies.filter(|study| rows.get(*study).is_some()).collect()
    }

    #[test]
    fn a_row_is_kept_until_it_is_changed_and_one_of_before_is_not_kept_again() {
        let rows = KeptRows::new(1 << 20);
        let before = rows.moment();
        rows.keep(1, b"one", before);
        rows.keep(2, b"two", before);

        rows.forget([1]);
        rows.keep(1, b"one", before);
        rows.keep(3, b"three", before);

        assert_eq!(kept(&rows, 1..=3), [2]);
        rows.keep(1, b"uno", rows.moment());
        assert_eq!(rows.get(1).as_deref(), Some(&b"uno"[..]));
        rows.forget_all();
        assert!(kept(&rows, 1..=3).is_empty());
    }

    #[test]
    fn what_was_used_longest_ago_goes_and_no_more_is_held_than_may_be() {
        let row = [0; 1_000];
        let bytes_max = 16 * 10 * (row.len() + ROW_BYTES);
        let rows = KeptRows::new(bytes_max);
        // All of one part.
        let studies = (1..=1_000).map(|n| n * PARTS);
        for study in studies.clone() {
            rows.keep(study, &row, rows.moment());
            assert!(rows.get(PARTS).is_some(), "{study}");
        }
        let kept = kept(&rows, studies);
        assert!((5..=10).contains(&kept.len()), "{kept:?}");
        assert!(kept.contains(&PARTS) && kept.contains(&(1_000 * PARTS)));
    }

    #[test]
    fn a_row_that_is_larger_than_all_of_it_is_not_kept() {
        let rows = KeptRows::new(1_000);
        rows.keep(1, &[0; 1_000], rows.moment());
        assert!(rows.get(1).is_none());
    }
}
