//! Lookup tables as data sets have them: a descriptor and data (PS3.3 C.11.1.1 and C.7.6.3.1.5).

use crate::head::DataSet;
use pacs_core::Tag;
use pacs_core::tag::tags;

/// Entries of a table that is described by a word of 0.
const ENTRIES_OF_ZERO: usize = 65_536;

/// Words of segments that one entry may take: two segments, each with its header.
const WORDS_OF_ENTRY: usize = 8;

/// A table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lookup {
    /// The value that the first entry is for.
    first: i64,
    values: Vec<u16>,
    /// Bits of an entry.
    bits: u32,
}

impl Lookup {
    /// The table that `descriptor` and `data` of `item` make; `is_signed` is how its input is
    /// coded where the VR does not tell. `None` where there is none, or one without entries.
    pub(super) fn read(
        item: &DataSet<'_>,
        descriptor: Tag,
        data: Tag,
        is_signed: bool,
    ) -> Option<Self> {
        let (first, count, bits) = describe(item, descriptor, is_signed)?;
        let bytes = item.value(data)?;
        // Entries of eight bits may come one in a byte, whatever the VR.
        let is_packed = bits <= 8 && bytes.len() < count.saturating_mul(2);
        let words = item.words(data, count)?;
        let mut values: Vec<u16> = if is_packed {
            words
                .iter()
                .flat_map(|word| word.to_le_bytes())
                .map(u16::from)
                .collect()
        } else {
            words
        };
        values.truncate(count);
        (!values.is_empty()).then_some(Self {
            first,
            values,
            bits,
        })
    }

    /// A table whose data is segments (PS3.3 C.7.9.2).
    pub(super) fn read_segmented(
        item: &DataSet<'_>,
        descriptor: Tag,
        data: Tag,
        is_signed: bool,
    ) -> Option<Self> {
        let (first, count, bits) = describe(item, descriptor, is_signed)?;
        let words = item.words(data, count.saturating_mul(WORDS_OF_ENTRY))?;
        let mut values = Vec::new();
        expand(&words, count, &mut values);
        (!values.is_empty()).then_some(Self {
            first,
            values,
            bits,
        })
    }

    /// The Presentation LUT of a state (PS3.3 C.11.6), where it is a table.
    pub(super) fn of_presentation(state: &DataSet<'_>) -> Option<Self> {
        let item = state.first(tags::PRESENTATION_LUT_SEQUENCE)?;
        Self::read(&item, tags::LUT_DESCRIPTOR, tags::LUT_DATA, false)
    }

    /// Where a part of its input, from 0 to 1, comes out, from 0 to 1.
    pub(super) fn part(&self, part: f64) -> f64 {
        f64::from(self.entry_at(part)) / f64::from(self.most())
    }

    /// The entry for a part of its input, from 0 to 1.
    pub(super) fn entry_at(&self, part: f64) -> u16 {
        let last = u16::try_from(self.values.len().saturating_sub(1)).unwrap_or(u16::MAX);
        let at = usize::from(super::grey::word(part * f64::from(last)));
        self.values.get(at).copied().unwrap_or(0)
    }

    /// The entry for `value`; beyond the ends the first or the last one.
    pub(super) fn entry(&self, value: i64) -> u16 {
        let at = value.saturating_sub(self.first).max(0);
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        let last = self.values.len().saturating_sub(1);
        self.values.get(at.min(last)).copied().unwrap_or(0)
    }

    /// The greatest value an entry may have.
    pub(super) fn most(&self) -> u16 {
        let most = 1_u32.checked_shl(self.bits).unwrap_or(0).saturating_sub(1);
        u16::try_from(most).unwrap_or(u16::MAX)
    }

    /// How many bits of the entries of tables that belong together are below the upper eight. Some
    /// describe entries of sixteen bits and have eight, or the other way round.
    pub(super) fn surplus_bits(tables: [&Self; 3]) -> u32 {
        let values = tables.iter().flat_map(|table| &table.values);
        let greatest = values.max().copied().unwrap_or(0);
        let bits = tables.iter().map(|table| table.bits).max().unwrap_or(16);
        let most = tables.iter().map(|table| table.most()).max();
        if greatest <= 0xFF {
            0
        } else if greatest > most.unwrap_or(u16::MAX) {
            8
        } else {
            bits.saturating_sub(8)
        }
    }
}

/// First value, number of entries, and bits of an entry.
fn describe(item: &DataSet<'_>, descriptor: Tag, is_signed: bool) -> Option<(i64, usize, u32)> {
    let words = item.words(descriptor, 3)?;
    let [count, first, bits, ..] = *words.as_slice() else {
        return None;
    };
    let first = if item.is_signed(descriptor, is_signed) {
        i64::from(first.cast_signed())
    } else {
        i64::from(first)
    };
    let count = if count == 0 {
        ENTRIES_OF_ZERO
    } else {
        usize::from(count)
    };
    // Some write 0 or 12 where entries fill words.
    let bits = if (1..=16).contains(&bits) { bits } else { 16 };
    Some((first, count, u32::from(bits)))
}

/// Writes the entries that segments stand for behind what `out` holds, up to `count`.
fn expand(words: &[u16], count: usize, out: &mut Vec<u16>) {
    let mut at: usize = 0;
    while let Some(after) = segment(words, at, count, out) {
        at = after;
        if out.len() >= count {
            break;
        }
        if let (Some(2), Some(segments)) = (words.get(at), words.get(at.saturating_add(1))) {
            let low = words.get(at.saturating_add(2)).copied().unwrap_or(0);
            let high = words.get(at.saturating_add(3)).copied().unwrap_or(0);
            let offset = u32::from(low) | u32::from(high).wrapping_shl(16);
            // An offset counts bytes.
            let mut from = usize::try_from(offset).unwrap_or(usize::MAX) / 2;
            for _ in 0..*segments {
                // Segments that are repeated do not repeat others.
                match segment(words, from, count, out) {
                    Some(after) if out.len() < count => from = after,
                    _ => break,
                }
            }
            at = at.saturating_add(4);
        }
    }
    out.truncate(count);
}

/// Expands the discrete or linear segment at `at`; where the next one stands.
fn segment(words: &[u16], at: usize, count: usize, out: &mut Vec<u16>) -> Option<usize> {
    let kind = *words.get(at)?;
    let length = usize::from(*words.get(at.saturating_add(1))?);
    if length == 0 {
        // It would add nothing, however often it is repeated.
        return None;
    }
    let from = at.saturating_add(2);
    match kind {
        0 => {
            let end = from.saturating_add(length);
            let entries = words.get(from..end)?;
            out.extend(entries.iter().take(count.saturating_sub(out.len())));
            Some(end)
        }
        1 => {
            let to = f64::from(*words.get(from)?);
            // A linear segment goes on from the last entry.
            let start = f64::from(*out.last()?);
            let length = length.min(count.saturating_sub(out.len()));
            let steps = f64::from(*words.get(at.saturating_add(1))?);
            for step in (1_u16..).take(length) {
                let value = start + (to - start) * f64::from(step) / steps;
                out.push(super::grey::word(value));
            }
            Some(from.saturating_add(1))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_become_entries_and_never_more_than_there_are_to_be() {
        let mut out = Vec::new();
        // 10, 20; four steps to 60; then the first segment again.
        expand(&[0, 2, 10, 20, 1, 4, 60, 2, 1, 0, 0], 8, &mut out);
        assert_eq!(out, [10, 20, 30, 40, 50, 60, 10, 20]);

        for words in [
            &[0_u16, 0, 2, 65535, 0, 0, 2, 65535, 0, 0][..],
            &[1, 5, 9],
            &[0, 9, 1],
            &[0, 1, 7, 1, 65535, 1, 2, 65535, 0, 0],
            &[7, 7],
            &[0],
            &[0, 0, 2, 65535, 0, 0],
        ] {
            let mut out = Vec::new();
            expand(words, 100, &mut out);
            assert!(out.len() <= 100, "{words:?}");
        }
    }

    #[test]
    fn a_segment_without_entries_ends_the_table_instead_of_being_repeated() {
        let mut out = Vec::new();
        expand(&[0, 1, 7, 0, 0, 0, 1, 9], 8, &mut out);
        assert_eq!(out, [7]);
        assert_eq!(segment(&[1, 0, 9], 0, 8, &mut out), None);
    }
}
