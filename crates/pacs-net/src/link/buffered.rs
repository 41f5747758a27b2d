//! What associations have received and not given on yet, all together.
//!
//! As of the memory of an archive, one association gets a sixteenth at most of what is left; with
//! less it reads in smaller steps, which always go on. So nobody waits for what others hold.

use crate::limits::NetLimits;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many parts what is left of the budget has; an association gets one at most.
const PARTS: usize = 16;

/// The part of the budget with which it counts as used up.
const KEPT_BACK_PART: usize = 32;

/// Bytes of the buffers of all associations.
#[derive(Debug, Clone, Default)]
pub(crate) struct Buffered(Arc<AtomicUsize>);

impl Buffered {
    /// Whether there is too little left for one more association.
    pub(crate) fn is_used_up(&self, limits: &NetLimits) -> bool {
        let kept_back = limits.buffered_bytes_max / KEPT_BACK_PART;
        self.left(limits) < kept_back
    }

    fn left(&self, limits: &NetLimits) -> usize {
        let taken = self.0.load(Ordering::Relaxed);
        limits.buffered_bytes_max.saturating_sub(taken)
    }
}

/// What one association holds of it; given back when dropped.
#[derive(Debug, Default)]
pub(super) struct Share {
    all: Buffered,
    read_bytes: usize,
    identifier_bytes: usize,
}

impl Share {
    pub(super) fn of(all: Buffered) -> Self {
        Self {
            all,
            ..Self::default()
        }
    }

    /// Bytes that this association may hold at most, as things are.
    pub(super) fn most(&self, limits: &NetLimits) -> usize {
        self.all.left(limits) / PARTS
    }

    /// The read buffer now has this size.
    pub(super) fn read_buffer(&mut self, bytes: usize) {
        let before = std::mem::replace(&mut self.read_bytes, bytes);
        self.all.change(before, bytes);
    }

    /// An identifier of this length has been gathered.
    pub(super) fn identifier(&mut self, bytes: usize) {
        let before = std::mem::replace(&mut self.identifier_bytes, bytes);
        self.all.change(before, bytes);
    }
}

impl Buffered {
    fn change(&self, before: usize, after: usize) {
        if after > before {
            let more = after.saturating_sub(before);
            self.0.fetch_add(more, Ordering::Relaxed);
        } else if before > after {
            let less = before.saturating_sub(after);
            self.0.fetch_sub(less, Ordering::Relaxed);
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.read_buffer(0);
        self.identifier(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_shared_and_comes_back() {
        let limits = NetLimits {
            buffered_bytes_max: 16_000,
            ..NetLimits::default()
        };
        let all = Buffered::default();
        let (mut first, mut second) = (Share::of(all.clone()), Share::of(all.clone()));
        assert_eq!(first.most(&limits), 1_000);

        first.read_buffer(9_000);
        first.identifier(4_000);
        first.read_buffer(8_000);
        assert_eq!(second.most(&limits), 250);
        assert!(!all.is_used_up(&limits));
        second.read_buffer(3_900);
        assert!(all.is_used_up(&limits));
        drop(first);

        assert!(!all.is_used_up(&limits));
        drop(second);
        assert_eq!(all.left(&limits), 16_000);
    }
}
