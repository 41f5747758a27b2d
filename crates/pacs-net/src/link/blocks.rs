//! The memory that data sets are read into: blocks that are used again.
//!
//! Memory that the system gives anew costs half as much as receiving into it. A block is free when
//! whoever took what was received into it has let go of that, which an archive does before it
//! answers. So a sender of CT slices needs one, and one of longer data sets two.

use bytes::BytesMut;

/// Where PDUs are read to, and the block before it.
#[derive(Debug)]
pub(super) struct Blocks {
    /// How long a block is that is kept to be used again.
    block_bytes: usize,
    /// Whether the inbox is in such a block.
    is_in_block: bool,
    /// Nothing of its own, but a hold on the block that it was cut from.
    before: Option<BytesMut>,
}

impl Blocks {
    /// Of blocks of this length.
    pub(super) const fn new(block_bytes: usize) -> Self {
        Self {
            block_bytes,
            is_in_block: false,
            before: None,
        }
    }

    /// What is kept beside the inbox.
    pub(super) const fn kept_bytes(&self) -> usize {
        match self.before {
            Some(_) => self.block_bytes,
            None => 0,
        }
    }

    /// Gives back what is kept, and will not keep what the inbox is in: whoever calls this may give
    /// that back too.
    pub(super) fn clear(&mut self) {
        self.is_in_block = false;
        self.before = None;
    }

    /// Begins the block of an empty inbox anew where nobody holds anything of it: then the next
    /// data set fits in it as a whole, and nothing has to be moved to another.
    pub(super) fn rewind(&self, inbox: &mut BytesMut) {
        if self.is_in_block {
            // Where it is held, the rest of it is good enough.
            let _is_whole = inbox.try_reclaim(self.block_bytes);
        }
    }

    /// Makes room in whatever memory there is.
    pub(super) fn make_room_elsewhere(&mut self, inbox: &mut BytesMut, needed: usize) {
        self.is_in_block = false;
        inbox.reserve(needed);
    }

    /// Makes room for `needed` bytes behind what `inbox` holds: in a block of its own, where they
    /// fit in one.
    pub(super) fn make_room(&mut self, inbox: &mut BytesMut, needed: usize) {
        let length = inbox.len();
        if length.saturating_add(needed) > self.block_bytes {
            self.clear();
            self.make_room_elsewhere(inbox, needed);
            return;
        }
        // Where nobody else holds anything of its own block, what it holds moves to the front.
        if inbox.try_reclaim(self.block_bytes.saturating_sub(length)) {
            return;
        }
        let mut free = self.before.take().unwrap_or_default();
        if !free.try_reclaim(self.block_bytes) {
            free = BytesMut::with_capacity(self.block_bytes);
        }
        free.extend_from_slice(inbox);
        let mut full = std::mem::replace(inbox, free);
        full.clear();
        // Other memory is not worth keeping, and not as long as a block.
        self.before = std::mem::replace(&mut self.is_in_block, true).then_some(full);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK_BYTES: usize = 1_000;

    fn fill(inbox: &mut BytesMut, byte: u8, length: usize) {
        inbox.extend_from_slice(&vec![byte; length]);
    }

    #[test]
    fn a_block_that_nobody_holds_is_used_again_with_what_is_left_to_read() {
        let mut blocks = Blocks::new(BLOCK_BYTES);
        let mut inbox = BytesMut::new();
        inbox.reserve(16);
        blocks.make_room(&mut inbox, 100);
        assert_eq!(inbox.capacity(), BLOCK_BYTES);
        assert_eq!(blocks.kept_bytes(), 0, "what was there was no block");
        let first = inbox.as_ptr();
        fill(&mut inbox, 1, 990);
        let held = inbox.split_to(980).freeze();

        blocks.make_room(&mut inbox, 100);
        let second = inbox.as_ptr();
        assert_ne!(second, first, "the first is held");
        assert_eq!(&inbox[..], &[1; 10]);
        assert!(inbox.capacity() >= BLOCK_BYTES);
        assert_eq!(blocks.kept_bytes(), BLOCK_BYTES);
        fill(&mut inbox, 2, 980);
        let also_held = inbox.split_to(985).freeze();
        assert_eq!(held, [1; 980][..]);
        drop(held);

        blocks.make_room(&mut inbox, 100);
        assert_eq!(inbox.as_ptr(), first, "nobody holds the first any more");
        assert_eq!(&inbox[..], &[2; 5]);
        assert_eq!(&also_held[10..], &[2; 975]);
    }

    #[test]
    fn what_others_hold_stays_as_it_is_however_many_blocks_it_takes() {
        let mut blocks = Blocks::new(BLOCK_BYTES);
        let mut inbox = BytesMut::new();
        let mut held = Vec::new();
        for round in 0..200_u8 {
            blocks.make_room(&mut inbox, 300);
            fill(&mut inbox, round, 300);
            held.push((round, inbox.split_to(300).freeze()));
            if round % 3 == 0 {
                held.remove(0);
            }
        }
        assert!(held.iter().all(|(byte, bytes)| bytes == &[*byte; 300][..]));
    }

    #[test]
    fn a_block_that_was_read_to_its_end_begins_anew_once_nobody_holds_it() {
        let mut blocks = Blocks::new(BLOCK_BYTES);
        let mut inbox = BytesMut::new();
        blocks.rewind(&mut inbox);
        assert_eq!(inbox.capacity(), 0, "that is no block");
        blocks.make_room(&mut inbox, 100);
        let first = inbox.as_ptr();
        fill(&mut inbox, 1, 900);
        let held = inbox.split().freeze();

        blocks.rewind(&mut inbox);
        assert_eq!(inbox.capacity(), BLOCK_BYTES - 900, "it is held");
        assert_eq!(held, [1; 900][..]);
        drop(held);
        blocks.rewind(&mut inbox);
        assert_eq!(inbox.as_ptr(), first);
        assert_eq!(inbox.capacity(), BLOCK_BYTES);
        assert_eq!(blocks.kept_bytes(), 0, "one is enough");
    }

    #[test]
    fn what_fits_no_block_gets_memory_of_its_own_and_nothing_is_kept() {
        let mut blocks = Blocks::new(BLOCK_BYTES);
        let mut inbox = BytesMut::new();
        blocks.make_room(&mut inbox, 10);
        fill(&mut inbox, 1, 1_000);
        let held = inbox.split_to(990).freeze();
        blocks.make_room(&mut inbox, 10);
        assert_eq!(blocks.kept_bytes(), BLOCK_BYTES);

        blocks.make_room(&mut inbox, 5_000);
        assert!(inbox.capacity() >= 5_010);
        assert_eq!(&inbox[..], &[1; 10]);
        assert_eq!(blocks.kept_bytes(), 0);
        assert_eq!(held.len(), 990);

        // A line that was silent gives all back, and goes on.
        blocks.make_room(&mut BytesMut::new(), 10);
        blocks.clear();
        blocks.make_room(&mut BytesMut::new(), 10);
        assert_eq!(blocks.kept_bytes(), 0, "there was nothing to keep");
    }
}
