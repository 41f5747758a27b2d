//! The bits of a scan of JPEG-LS: after a byte of ones the next byte has seven (T.87 A.1).

use super::damaged;
use pacs_core::convert::PixelError;

/// Bits up to the next marker.
#[derive(Debug)]
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
    held: u64,
    count: u32,
    after_ones: bool,
}

impl<'a> Bits<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            at: 0,
            held: 0,
            count: 0,
            after_ones: false,
        }
    }

    fn fill(&mut self) {
        while self.count <= 48 {
            let Some(byte) = self.bytes.get(self.at) else {
                return;
            };
            if *byte == 0xFF && self.bytes.get(self.at + 1).is_none_or(|next| *next >= 0x80) {
                return;
            }
            let bits = if self.after_ones { 7 } else { 8 };
            self.held = self.held << bits | u64::from(*byte);
            self.count += bits;
            self.after_ones = *byte == 0xFF;
            self.at += 1;
        }
    }

    /// The next `count` bits, 32 at most.
    pub(super) fn take(&mut self, count: u32) -> Result<u32, PixelError> {
        if self.count < count {
            self.fill();
        }
        let left = self.count.checked_sub(count);
        self.count = left.ok_or(damaged("a code stream is cut"))?;
        let bits = self.held >> self.count & ((1 << count) - 1);
        Ok(u32::try_from(bits).unwrap_or(0))
    }

    /// The number of zeros before the next one, which is taken too; an error where they are more
    /// than `most`.
    pub(super) fn zeros(&mut self, most: u32) -> Result<u32, PixelError> {
        let mut zeros = 0;
        loop {
            if self.count == 0 {
                self.fill();
            }
            if self.count == 0 {
                return Err(damaged("a code stream is cut"));
            }
            let here = (self.held << (64 - self.count))
                .leading_zeros()
                .min(self.count);
            zeros += here;
            self.count -= here;
            if zeros > most {
                return Err(damaged("a code that is too long"));
            }
            if self.count > 0 {
                self.count -= 1;
                return Ok(zeros);
            }
        }
    }

    /// Bytes up to the marker that ends the scan.
    pub(super) fn end(self) -> usize {
        let mut at = self.at;
        while let Some([first, second, ..]) = self.bytes.get(at..) {
            if *first == 0xFF && *second >= 0x80 {
                return at;
            }
            at += 1;
        }
        self.bytes.len()
    }
}
