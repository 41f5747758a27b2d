//! Lossless JPEG (ITU-T T.81 annex H): each sample is predicted from its neighbours.

use super::huffman::Bits;
use super::scan::Part;
use super::{damaged, unsupported};
use pacs_core::convert::PixelError;

/// How the samples of a scan are coded.
#[derive(Debug, Clone, Copy)]
pub(super) struct Coding {
    /// Which prediction (table H.1).
    selection: u8,
    /// The point transform: bits that were left out.
    shift: u32,
    precision: u32,
    restart_interval: usize,
}

impl Coding {
    pub(super) fn new(
        selection: u8,
        shift: u32,
        precision: u32,
        restart_interval: usize,
    ) -> Result<Self, PixelError> {
        if !matches!(selection, 1..=7) || shift >= precision {
            return Err(damaged("a prediction that JPEG has not"));
        }
        Ok(Self {
            selection,
            shift,
            precision,
            restart_interval,
        })
    }

    /// Decodes all samples of a scan.
    pub(super) fn decode(
        self,
        parts: &mut [Part<'_>],
        (rows, columns): (usize, usize),
        bits: &mut Bits<'_>,
    ) -> Result<(), PixelError> {
        let is_plain = |part: &Part<'_>| part.component.horizontal * part.component.vertical == 1;
        if !parts.iter().all(is_plain) || parts.iter().any(|p| p.component.stride != columns) {
            return Err(unsupported(
                "lossless JPEG with fewer samples of some components",
            ));
        }
        // Restarts stand at the ends of rows (H.1.2.1).
        let row_interval = self.restart_interval.checked_div(columns).unwrap_or(0);
        if row_interval * columns != self.restart_interval {
            return Err(damaged("a restart in the middle of a row"));
        }
        let mut first_row = 0;
        for row in 0..rows {
            if row_interval > 0 && row > 0 && row.is_multiple_of(row_interval) {
                bits.restart()?;
                first_row = row;
            }
            self.row(parts, row, row == first_row, columns, bits)?;
        }
        for part in parts {
            let plane = part.component.plane.iter_mut();
            plane.for_each(|sample| *sample = (*sample & 0xFFFF) << self.shift & 0xFFFF);
        }
        Ok(())
    }

    fn row(
        self,
        parts: &mut [Part<'_>],
        row: usize,
        is_first: bool,
        columns: usize,
        bits: &mut Bits<'_>,
    ) -> Result<(), PixelError> {
        let first = 1_i32 << (self.precision - self.shift - 1);
        let mut lines = Vec::with_capacity(parts.len());
        for part in parts {
            let plane = &mut part.component.plane;
            let cut = || damaged("a row without room");
            let (before, here) = plane.split_at_mut_checked(row * columns).ok_or_else(cut)?;
            let above = before.get(before.len().saturating_sub(columns)..);
            let above: &[i32] = above.filter(|_| !is_first).unwrap_or_default();
            let here = here.get_mut(..columns).ok_or_else(cut)?;
            let corner = above.first().copied().unwrap_or(first);
            lines.push((part.direct, here.iter_mut(), above, corner, corner));
        }
        for column in 0..columns {
            // `left` begins as what is above the first sample, and `corner` follows `above`.
            for (table, line, above, left, corner) in &mut lines {
                let up = above.get(column).copied();
                let predicted = match up {
                    _ if column == 0 => *left,
                    None => *left,
                    Some(up) => self.predict(*left, up, *corner),
                };
                let size = u32::from(table.next(bits)?);
                let difference = match size {
                    0..=15 => bits.difference(size)?,
                    16 => 32_768,
                    _ => return Err(damaged("a difference that is too large")),
                };
                let value = (predicted + difference) & 0xFFFF;
                if let Some(sample) = line.next() {
                    *sample = value;
                }
                *left = value;
                *corner = up.unwrap_or(value);
            }
        }
        Ok(())
    }

    const fn predict(self, left: i32, up: i32, corner: i32) -> i32 {
        match self.selection {
            1 => left,
            2 => up,
            3 => corner,
            4 => left + up - corner,
            5 => left + ((up - corner) >> 1),
            6 => up + ((left - corner) >> 1),
            _ => (left + up) >> 1,
        }
    }
}
