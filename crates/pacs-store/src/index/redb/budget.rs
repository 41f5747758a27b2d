//! How far a search may go: so many rows, and no further than anybody waits for it.

use super::fault::Fault;
use crate::index::IndexError;
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// How many rows may still be read, and whether anybody waits for what comes of it.
#[derive(Debug)]
pub(super) struct Budget {
    left: Cell<u64>,
    long: Option<Long>,
}

/// Of a search that goes on for long.
#[derive(Debug)]
struct Long {
    rows_max: u64,
    is_gone: Arc<AtomicBool>,
}

/// Somebody waits for what a search gives, until this is dropped.
#[derive(Debug)]
pub(super) struct Waiting(Arc<AtomicBool>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Budget {
    /// Of what is tried at once; beyond it a thread that may wait goes on.
    pub(super) const fn at_once(rows: u64) -> Self {
        Self {
            left: Cell::new(rows),
            long: None,
        }
    }

    /// Of what goes on until that is dropped, and no further than `rows_max`.
    pub(super) fn while_waited_for(rows_max: u64) -> (Waiting, Self) {
        let is_gone = Arc::new(AtomicBool::new(false));
        let waiting = Waiting(Arc::clone(&is_gone));
        let budget = Self {
            left: Cell::new(rows_max),
            long: Some(Long { rows_max, is_gone }),
        };
        (waiting, budget)
    }

    pub(super) fn spend(&self, rows: u64) -> Result<(), Fault> {
        let left = self.left.get().checked_sub(rows);
        match (&self.long, left) {
            (Some(long), _) if long.is_gone.load(Ordering::Relaxed) => Err(Fault::Unwanted),
            (_, Some(left)) => {
                self.left.set(left);
                Ok(())
            }
            (Some(long), None) => Err(Fault::Index(IndexError::TooLong {
                rows_max: long.rows_max,
            })),
            (None, None) => Err(Fault::OutOfBudget),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_waits_for_any_more_goes_no_further() {
        let (waiting, budget) = Budget::while_waited_for(u64::MAX);
        assert!(budget.spend(1).is_ok());
        drop(waiting);
        assert!(matches!(budget.spend(1), Err(Fault::Unwanted)));
    }

    #[test]
    fn what_would_look_at_too_much_is_told_so() {
        let (_waiting, budget) = Budget::while_waited_for(2);
        assert!(budget.spend(2).is_ok());
        let refused = budget.spend(1);
        let is_told = matches!(
            refused,
            Err(Fault::Index(IndexError::TooLong { rows_max: 2 }))
        );
        assert!(is_told);
    }
}
