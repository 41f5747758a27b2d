//! Entropy-coded segments of JPEG: bits, and Huffman codes (ITU-T T.81 F.2.2 and annex C).

use super::damaged;
use pacs_core::convert::PixelError;

/// Bits of a code that are looked up at once.
const FAST_BITS: u32 = 9;

/// A Huffman table.
#[derive(Debug, Clone)]
pub(super) struct Table {
    /// For each beginning: length of the code above, symbol below; 0 where the code is longer.
    fast: Vec<u16>,
    /// For each length the codes after the last, in 16 bits from the top.
    ends: [u32; 17],
    /// For each length what added to a code gives the place of its symbol.
    places: [i64; 17],
    symbols: Vec<u8>,
}

impl Table {
    /// Of the sixteen counts of codes by length, and their symbols.
    pub(super) fn new(counts: &[u8; 16], symbols: &[u8]) -> Result<Self, PixelError> {
        let mut fast = vec![0_u16; 1 << FAST_BITS];
        let (mut ends, mut places) = ([0_u32; 17], [0_i64; 17]);
        let (mut code, mut place) = (0_u32, 0_usize);
        let lengths = 1_u32..;
        let slots = ends.iter_mut().zip(&mut places).skip(1);
        for ((length, count), (end, first)) in lengths.zip(counts).zip(slots) {
            *first = i64::try_from(place).unwrap_or(0) - i64::from(code);
            for _ in 0..*count {
                let symbol = symbols.get(place).ok_or(damaged("a cut Huffman table"))?;
                if let Some(spare) = FAST_BITS.checked_sub(length) {
                    let from = usize::try_from(code << spare).unwrap_or(usize::MAX);
                    let slots = fast.iter_mut().skip(from).take(1 << spare);
                    let entry = u16::try_from(length << 8).unwrap_or(0) | u16::from(*symbol);
                    slots.for_each(|slot| *slot = entry);
                }
                code += 1;
                place += 1;
            }
            if code > 1 << length {
                return Err(damaged("a Huffman table with too many codes"));
            }
            *end = code << (16 - length);
            code <<= 1;
        }
        Ok(Self {
            fast,
            ends,
            places,
            symbols: symbols.get(..place).unwrap_or_default().to_vec(),
        })
    }

    /// The next symbol.
    pub(super) fn next(&self, bits: &mut Bits<'_>) -> Result<u8, PixelError> {
        let ahead = bits.peek(16);
        let entry = self
            .fast
            .get(usize::try_from(ahead >> (16 - FAST_BITS)).unwrap_or(0));
        if let Some(entry) = entry.filter(|entry| **entry != 0) {
            let [symbol, length] = entry.to_le_bytes();
            bits.skip(u32::from(length))?;
            return Ok(symbol);
        }
        let lengths = (0_u32..).zip(self.ends.iter().zip(&self.places)).skip(1);
        for (length, (end, place)) in lengths {
            if ahead < *end {
                bits.skip(length)?;
                let place = i64::from(ahead >> (16 - length)) + place;
                let symbol = usize::try_from(place)
                    .ok()
                    .and_then(|at| self.symbols.get(at));
                return symbol.copied().ok_or(damaged("an unknown Huffman code"));
            }
        }
        Err(damaged("an unknown Huffman code"))
    }
}

/// The bits of an entropy-coded segment, without stuffing, up to the next marker.
#[derive(Debug)]
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
    held: u64,
    count: u32,
}

impl<'a> Bits<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            at: 0,
            held: 0,
            count: 0,
        }
    }

    fn fill(&mut self) {
        while self.count <= 56 {
            let byte = match self.bytes.get(self.at..) {
                Some([0xFF, 0x00, ..]) => {
                    self.at += 2;
                    0xFF
                }
                Some([0xFF, ..] | []) | None => return,
                Some([byte, ..]) => {
                    self.at += 1;
                    *byte
                }
            };
            self.held = self.held << 8 | u64::from(byte);
            self.count += 8;
        }
    }

    /// The next `count` bits, 16 at most; zeros where there are no more.
    pub(super) fn peek(&mut self, count: u32) -> u32 {
        if self.count < count {
            self.fill();
        }
        let bits = if self.count >= count {
            self.held >> (self.count - count)
        } else {
            self.held << (count - self.count)
        };
        u32::try_from(bits & ((1 << count) - 1)).unwrap_or(0)
    }

    /// Goes on.
    pub(super) fn skip(&mut self, count: u32) -> Result<(), PixelError> {
        let left = self.count.checked_sub(count);
        self.count = left.ok_or(damaged("a code stream is cut"))?;
        Ok(())
    }

    /// A difference of `size` bits, 16 at most (T.81 F.2.2.1).
    pub(super) fn difference(&mut self, size: u32) -> Result<i32, PixelError> {
        if size == 0 {
            return Ok(0);
        }
        let bits = self.peek(size);
        self.skip(size)?;
        let value = i32::try_from(bits).unwrap_or(0);
        let is_negative = bits >> (size - 1) == 0;
        Ok(if is_negative {
            value - (1 << size) + 1
        } else {
            value
        })
    }

    /// Goes behind the next restart marker.
    pub(super) fn restart(&mut self) -> Result<(), PixelError> {
        self.held = 0;
        self.count = 0;
        let mut rest = self.bytes.get(self.at..).unwrap_or_default();
        loop {
            match rest {
                [0xFF, 0xD0..=0xD7, ..] => {
                    self.at += 2;
                    return Ok(());
                }
                // Fill bytes.
                [0xFF, after @ ..] if after.starts_with(&[0xFF]) => {
                    self.at += 1;
                    rest = after;
                }
                _ => return Err(damaged("a missing restart marker")),
            }
        }
    }

    /// Bytes up to the marker that ends the segment.
    pub(super) fn end(self) -> usize {
        let mut at = self.at;
        while let Some([first, second, ..]) = self.bytes.get(at..) {
            if *first == 0xFF && !matches!(second, 0x00 | 0xD0..=0xD7) {
                return at;
            }
            at += 1;
        }
        self.bytes.len()
    }
}
