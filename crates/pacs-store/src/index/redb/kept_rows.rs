//! Rows of studies that were read lately, in memory: a search that finds two hundred studies would
//! else go down the tree two hundred times, through pages that every other search reads too.
//!
//! **Invariant:** what is read of a moment is given the rows of that moment, never those of an
//! older or a newer one: who sees a study stands elsewhere, and must not be held against another
//! row. A row says of which moment it is, and goes with the commit that changes it; nothing is kept
//! or given while a commit is under way.

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
    /// Odd while a commit is under way.
    moment: AtomicU64,
}

/// The time between two commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(u64);

/// A row, and the first moment of which it was read.
type Kept = (Moment, Arc<[u8]>);

#[derive(Debug, Default)]
struct Part {
    /// Those that were used since the others became old.
    young: HashMap<u64, Kept>,
    old: HashMap<u64, Kept>,
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

    /// Now; `None` while a commit is under way. What is opened is of this moment if it is still the
    /// same then.
    pub(super) fn moment(&self) -> Option<Moment> {
        let now = self.moment.load(Ordering::Acquire);
        now.is_multiple_of(2).then_some(Moment(now))
    }

    fn part(&self, study: u64) -> Option<MutexGuard<'_, Part>> {
        let at = usize::try_from(study % PARTS).ok()?;
        let part = self.parts.get(at)?;
        Some(part.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The row of a study as it was at `moment`.
    pub(super) fn get(&self, study: u64, moment: Moment) -> Option<Arc<[u8]>> {
        let mut part = self.part(study)?;
        if let Some((from, row)) = part.young.get(&study) {
            return (*from <= moment).then(|| Arc::clone(row));
        }
        let (from, row) = part.old.remove(&study)?;
        part.put(study, (from, Arc::clone(&row)), self.bytes_of_part_max);
        (from <= moment).then_some(row)
    }

    /// Keeps a row that was read of `moment`.
    pub(super) fn keep(&self, study: u64, row: &[u8], moment: Moment) {
        let row: Arc<[u8]> = row.into();
        let Some(mut part) = self.part(study) else {
            return;
        };
        // Under the lock: the commit that ends the moment takes it out later.
        if self.moment() == Some(moment) {
            part.put(study, (moment, row), self.bytes_of_part_max);
        }
    }

    /// A commit begins. One at a time, each to be ended by one of the next two.
    pub(super) fn changing(&self) {
        self.moment.fetch_add(1, Ordering::AcqRel);
    }

    /// A commit has changed the rows of these studies.
    pub(super) fn changed(&self, studies: impl IntoIterator<Item = u64>) {
        for study in studies {
            if let Some(mut part) = self.part(study) {
                part.take(study);
            }
        }
        self.moment.fetch_add(1, Ordering::AcqRel);
    }

    /// A commit has changed all rows, or it is not known which.
    pub(super) fn changed_all(&self) {
        for part in &self.parts {
            *part.lock().unwrap_or_else(PoisonError::into_inner) = Part::default();
        }
        self.moment.fetch_add(1, Ordering::AcqRel);
    }
}

impl Part {
    fn put(&mut self, study: u64, row: Kept, bytes_max: usize) {
        let bytes = row.1.len().saturating_add(ROW_BYTES);
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
        if let Some((_, row)) = self.young.remove(&study) {
            let bytes = row.len().saturating_add(ROW_BYTES);
            self.young_bytes = self.young_bytes.saturating_sub(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now(rows: &KeptRows) -> Moment {
        rows.moment().unwrap()
    }

    fn change(rows: &KeptRows, studies: &[u64]) {
        rows.changing();
        rows.changed(studies.iter().copied());
    }

    fn kept(rows: &KeptRows, studies: impl IntoIterator<Item = u64>) -> Vec<u64> {
        let is_kept = |study: &u64| rows.get(*study, now(rows)).is_some();
        studies.into_iter().filter(is_kept).collect()
    }

    #[test]
    fn a_row_is_kept_until_it_is_changed_and_one_of_before_is_not_kept_again() {
        let rows = KeptRows::new(1 << 20);
        let before = now(&rows);
        rows.keep(1, b"one", before);
        rows.keep(2, b"two", before);

        change(&rows, &[1]);
        rows.keep(1, b"one", before);
        rows.keep(3, b"three", before);

        assert_eq!(kept(&rows, 1..=3), [2]);
        rows.keep(1, b"uno", now(&rows));
        assert_eq!(rows.get(1, now(&rows)).as_deref(), Some(&b"uno"[..]));
        rows.changing();
        rows.changed_all();
        assert!(kept(&rows, 1..=3).is_empty());
    }

    #[test]
    fn nobody_is_given_a_row_of_another_moment() {
        let rows = KeptRows::new(1 << 20);
        let before = now(&rows);
        rows.keep(1, b"one", before);
        rows.keep(2, b"two", before);
        rows.changing();

        // Who looks at what was before goes on with that; nobody is given anything of what is
        // half done.
        assert_eq!(rows.moment(), None);
        assert_eq!(rows.get(1, before).as_deref(), Some(&b"one"[..]));
        rows.keep(3, b"three", before);
        assert!(rows.get(3, before).is_none());
        rows.changed([1]);

        let after = now(&rows);
        rows.keep(1, b"uno", after);
        assert!(rows.get(1, before).is_none());
        assert_eq!(rows.get(1, after).as_deref(), Some(&b"uno"[..]));
        // What no commit has changed is the same for both.
        assert!(rows.get(2, before).is_some() && rows.get(2, after).is_some());
    }

    #[test]
    fn what_was_used_longest_ago_goes_and_no_more_is_held_than_may_be() {
        let row = [0; 1_000];
        let bytes_max = 16 * 10 * (row.len() + ROW_BYTES);
        let rows = KeptRows::new(bytes_max);
        // All of one part.
        let studies = (1..=1_000).map(|n| n * PARTS);
        for study in studies.clone() {
            rows.keep(study, &row, now(&rows));
            assert!(rows.get(PARTS, now(&rows)).is_some(), "{study}");
        }
        let kept = kept(&rows, studies);
        assert!((5..=10).contains(&kept.len()), "{kept:?}");
        assert!(kept.contains(&PARTS) && kept.contains(&(1_000 * PARTS)));
    }

    #[test]
    fn a_row_that_is_larger_than_all_of_it_is_not_kept() {
        let rows = KeptRows::new(1_000);
        rows.keep(1, &[0; 1_000], now(&rows));
        assert!(kept(&rows, [1]).is_empty());
    }
}
