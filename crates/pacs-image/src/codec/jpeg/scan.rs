//! Scans (ITU-T T.81 B.2.3 and A.2): which components come in which order.

use super::huffman::{Bits, Table};
use super::{Component, Header, Process, Tables, ZIGZAG, damaged, dct, lossless};
use pacs_core::convert::PixelError;

/// A component of a scan, with its tables.
pub(super) struct Part<'a> {
    pub(super) component: &'a mut Component,
    pub(super) direct: &'a Table,
    alternating: Option<&'a Table>,
    quantization: Option<&'a [u16; 64]>,
    /// The direct coefficient before.
    before: i32,
}

/// Decodes the scan that `payload` is the header of, and `bytes` begins with the samples of. Gives
/// how many bytes it has.
pub(super) fn decode(
    header: &mut Header,
    tables: &Tables,
    payload: &[u8],
    bytes: &[u8],
) -> Result<usize, PixelError> {
    let cut = || damaged("a cut scan header");
    let ([count], rest) = payload.split_first_chunk().ok_or_else(cut)?;
    let (chosen, rest) = rest
        .split_at_checked(usize::from(*count) * 2)
        .ok_or_else(cut)?;
    // In a sequential scan the last two only have one meaning, and not all encoders write it.
    let [first, _last, approximation] = *rest.first_chunk().ok_or_else(cut)?;
    let chosen = chosen.as_chunks::<2>().0;
    let (size, factors) = ((header.rows, header.columns), header.factors());
    let (process, precision) = (header.process, header.shape.precision);
    let mut parts = parts(header, tables, chosen)?;
    let mut bits = Bits::new(bytes);
    let interval = tables.restart_interval;
    match process {
        Process::Lossless => {
            let shift = u32::from(approximation & 15);
            let coding = lossless::Coding::new(first, shift, precision, interval)?;
            coding.decode(&mut parts, size, &mut bits)?;
        }
        Process::Dct => {
            blocks(&mut parts, size, factors, (interval, precision), &mut bits)?;
        }
    }
    parts
        .iter_mut()
        .for_each(|part| part.component.is_decoded = true);
    Ok(bits.end())
}

fn parts<'a>(
    header: &'a mut Header,
    tables: &'a Tables,
    chosen: &[[u8; 2]],
) -> Result<Vec<Part<'a>>, PixelError> {
    let table = |from: &'a [Option<Table>; 4], number: u8| {
        from.get(usize::from(number)).and_then(Option::as_ref)
    };
    let mut parts = Vec::new();
    let mut chosen = chosen.iter().copied().peekable();
    // They stand in the order of the frame header.
    for component in &mut header.components {
        let Some([_, numbers]) = chosen.next_if(|[id, _]| *id == component.id) else {
            continue;
        };
        if component.is_decoded {
            return Err(damaged("a component in two scans"));
        }
        let quantization = tables.quantization.get(usize::from(component.quantization));
        parts.push(Part {
            component,
            direct: table(&tables.direct, numbers >> 4).ok_or(damaged("no Huffman table"))?,
            alternating: table(&tables.alternating, numbers & 15),
            quantization: quantization.and_then(|table| table.as_deref()),
            before: 0,
        });
    }
    if chosen.next().is_some() || parts.is_empty() {
        return Err(damaged("a scan of unknown components"));
    }
    Ok(parts)
}

/// Decodes all blocks of a scan.
fn blocks(
    parts: &mut [Part<'_>],
    (rows, columns): (usize, usize),
    (most_h, most_v): (usize, usize),
    (interval, precision): (usize, u32),
    bits: &mut Bits<'_>,
) -> Result<(), PixelError> {
    let is_single = parts.len() == 1;
    // A component alone has blocks for its own samples only, one after the other.
    let (across, down) = match parts {
        [part] => {
            let component = &part.component;
            let own_columns = (columns * component.horizontal).div_ceil(most_h.max(1));
            let own_rows = (rows * component.vertical).div_ceil(most_v.max(1));
            (own_columns.div_ceil(8), own_rows.div_ceil(8))
        }
        _ => (
            columns.div_ceil(8 * most_h.max(1)),
            rows.div_ceil(8 * most_v.max(1)),
        ),
    };
    let mut until_restart = interval;
    for down in 0..down {
        for across in 0..across {
            if interval > 0 {
                if until_restart == 0 {
                    bits.restart()?;
                    parts.iter_mut().for_each(|part| part.before = 0);
                    until_restart = interval;
                }
                until_restart -= 1;
            }
            for part in &mut *parts {
                let (wide, high) = if is_single {
                    (1, 1)
                } else {
                    (part.component.horizontal, part.component.vertical)
                };
                for y in 0..high {
                    for x in 0..wide {
                        let place = (down * high + y, across * wide + x);
                        part.block(place, precision, bits)?;
                    }
                }
            }
        }
    }
    Ok(())
}

impl Part<'_> {
    /// Decodes the block at a row and column of blocks (T.81 F.2.2).
    fn block(
        &mut self,
        (down, across): (usize, usize),
        precision: u32,
        bits: &mut Bits<'_>,
    ) -> Result<(), PixelError> {
        let quantization = self.quantization.ok_or(damaged("no quantization table"))?;
        let alternating = self.alternating.ok_or(damaged("no Huffman table"))?;
        let mut block = [0_i32; 64];
        let size = u32::from(self.direct.next(bits)?);
        if size > 15 {
            return Err(damaged("a difference that is too large"));
        }
        self.before = self.before.wrapping_add(bits.difference(size)?);
        let mut places = ZIGZAG.iter().zip(quantization);
        let mut set = |(place, factor): (&u8, &u16), value: i32| {
            if let Some(slot) = block.get_mut(usize::from(*place)) {
                *slot = value.wrapping_mul(i32::from(*factor));
            }
        };
        if let Some(place) = places.next() {
            set(place, self.before);
        }
        let mut is_flat = true;
        while places.len() > 0 {
            let symbol = alternating.next(bits)?;
            let (run, size) = (usize::from(symbol >> 4), u32::from(symbol & 15));
            if size == 0 {
                if run != 15 {
                    break;
                }
                places.nth(15).ok_or(damaged("a run beyond a block"))?;
                continue;
            }
            let value = bits.difference(size)?;
            let place = places.nth(run).ok_or(damaged("a run beyond a block"))?;
            set(place, value);
            is_flat = false;
        }
        let samples = dct::inverse(&block, precision, is_flat);
        let stride = self.component.stride;
        let lines = self.component.plane.chunks_mut(stride.max(1));
        let lines = lines.skip(down * 8);
        for (line, values) in lines.zip(samples.as_chunks::<8>().0) {
            if let Some(place) = line.get_mut(across * 8..across * 8 + 8) {
                place.copy_from_slice(values);
            }
        }
        Ok(())
    }
}
