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

/// The `bits` bits of `bytes` behind the first `skip`: a frame that begins within a byte, as one
/// that begins with one.
pub(crate) fn cut_out(bytes: &[u8], skip: u32, bits: u64) -> Vec<u8> {
    let whole = usize::try_from(skip >> 3).unwrap_or(usize::MAX);
    let bytes = bytes.get(whole..).unwrap_or_default();
    let whole = usize::try_from(bits.div_ceil(8)).unwrap_or(usize::MAX);
    let nexts = bytes.iter().skip(1).copied().chain([0]);
    let pairs = bytes.iter().copied().zip(nexts).take(whole);
    let mut out: Vec<u8> = pairs
        .map(|(byte, next)| {
            let [low, _] = (u16::from_le_bytes([byte, next]) >> (skip & 7)).to_le_bytes();
            low
        })
        .collect();
    let rest = u32::try_from(bits & 7).unwrap_or(0);
    if rest > 0
        && let Some(last) = out.last_mut()
    {
        *last &= 0xFF_u8.wrapping_shr(8_u32.saturating_sub(rest));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_cut_out_from_within_a_byte() {
        let bytes = [0b1010_1010, 0b1100_0101, 0b1111_1100];
        assert_eq!(cut_out(&bytes, 0, 12), [0b1010_1010, 0b0000_0101]);
        assert_eq!(cut_out(&bytes[1..], 4, 12), [0b1100_1100, 0b0000_1111]);
        assert_eq!(cut_out(&bytes, 3, 8), [0b1011_0101]);
        assert_eq!(cut_out(&bytes, 12, 12), [0b1100_1100, 0b0000_1111]);
    }

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
