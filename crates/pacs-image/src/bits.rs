//! Joins frames of single bits: in native pixel data the next frame begins at the next bit, not at
//! the next byte (PS3.5 8.1.1).

/// Bits of the frames so far that do not fill a byte yet, lowest first.
#[derive(Debug, Default)]
pub(crate) struct Joint {
    bits: u16,
    count: u32,
}

impl Joint {
    /// Appends the first `bits` bits of `bytes` to `out`, as far as they fill bytes.
    pub(crate) fn push(&mut self, bytes: &[u8], mut bits: u64, out: &mut Vec<u8>) {
        for byte in bytes {
            let here = u32::try_from(bits.min(8)).unwrap_or(8);
            if here == 0 {
                return;
            }
            bits = bits.saturating_sub(u64::from(here));
            let mask = 0xFF_u16.wrapping_shr(8_u32.saturating_sub(here));
            self.bits |= (u16::from(*byte) & mask).wrapping_shl(self.count);
            self.count = self.count.saturating_add(here);
            if self.count >= 8 {
                self.flush(out);
                self.count = self.count.saturating_sub(8);
            }
        }
    }

    /// Appends what is left as the last byte.
    pub(crate) fn end(&mut self, out: &mut Vec<u8>) {
        if self.count > 0 {
            self.flush(out);
            self.count = 0;
        }
    }

    fn flush(&mut self, out: &mut Vec<u8>) {
        let [low, high] = self.bits.to_le_bytes();
        out.push(low);
        self.bits = u16::from(high);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_odd_bits_follow_one_another_without_gaps() {
        let (mut joint, mut out) = (Joint::default(), Vec::new());
        joint.push(&[0b1010_1010, 0b1111_0101], 12, &mut out);
        joint.push(&[0b1100_1100, 0b0000_1111], 12, &mut out);
        joint.end(&mut out);
        assert_eq!(out, [0b1010_1010, 0b1100_0101, 0b1111_1100]);
    }

    #[test]
    fn what_is_left_at_the_end_is_filled_with_zeros() {
        let (mut joint, mut out) = (Joint::default(), Vec::new());
        joint.push(&[0xFF], 3, &mut out);
        joint.push(&[0xFF], 2, &mut out);
        joint.end(&mut out);
        joint.end(&mut out);
        assert_eq!(out, [0b0001_1111]);
    }
}
