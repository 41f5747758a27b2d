//! JPEG (ITU-T T.81): sequential DCT with Huffman codes of 8 and 12 bits (processes 1, 2 and 4),
//! and lossless (process 14) of 2 to 16 bits. PS3.5 A.4.1 and 8.2.1.
//!
//! Work and memory are bounded by the size that the attributes and the frame header agree on; a
//! frame too short for its size is refused before anything is allocated. Each component is in one
//! scan.
#![allow(
    clippy::arithmetic_side_effects,
    reason = "numbers here are of a few bits, sizes are products of numbers of 16 bits"
)]

mod colour;
mod dct;
mod huffman;
mod lossless;
mod scan;

use super::samples::{self, Shape, native};
use super::segments::Segments;
use colour::Colour;
use huffman::Table;
use pacs_core::convert::{PixelError, PixelForm};

/// The order in which the coefficients of a block come (T.81 figure A.6).
const ZIGZAG: [u8; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20,
    13, 6, 7, 14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59,
    52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
];

const fn damaged(what: &'static str) -> PixelError {
    PixelError::Damaged { what }
}

const fn unsupported(what: &'static str) -> PixelError {
    PixelError::Unsupported { what }
}

/// How samples are coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Process {
    Dct,
    Lossless,
}

/// One component: what the frame header says of it, and its samples once they are decoded.
#[derive(Debug)]
struct Component {
    id: u8,
    /// Sampling factors.
    horizontal: usize,
    vertical: usize,
    quantization: u8,
    /// Samples of a row of `plane`, which may have more than the image.
    stride: usize,
    plane: Vec<i32>,
    is_decoded: bool,
}

/// The frame header (T.81 B.2.2).
#[derive(Debug)]
struct Header {
    process: Process,
    shape: Shape,
    rows: usize,
    columns: usize,
    components: Vec<Component>,
}

impl Header {
    fn read(marker: u8, payload: &[u8]) -> Result<Self, PixelError> {
        let process = match marker {
            0xC0 | 0xC1 => Process::Dct,
            0xC3 => Process::Lossless,
            _ => {
                return Err(unsupported(
                    "a process of JPEG other than its syntax is for",
                ));
            }
        };
        let ([precision, r0, r1, c0, c1, count], rest) = payload
            .split_first_chunk()
            .ok_or(damaged("a cut frame header"))?;
        let rows = u16::from_be_bytes([*r0, *r1]);
        let columns = u16::from_be_bytes([*c0, *c1]);
        let of_each = rest.as_chunks::<3>().0.get(..usize::from(*count));
        let components: Vec<Component> = of_each
            .ok_or(damaged("a cut frame header"))?
            .iter()
            .map(|[id, factors, quantization]| Component {
                id: *id,
                horizontal: usize::from(factors >> 4),
                vertical: usize::from(factors & 15),
                quantization: *quantization,
                stride: 0,
                plane: Vec::new(),
                is_decoded: false,
            })
            .collect();
        let is_known = match process {
            Process::Dct => matches!(precision, 8 | 12),
            Process::Lossless => matches!(precision, 2..=16),
        };
        if !is_known {
            return Err(damaged("a precision that JPEG has not"));
        }
        let range = 1..=4;
        let in_range = |c: &Component| range.contains(&c.horizontal) && range.contains(&c.vertical);
        if !components.iter().all(in_range) {
            return Err(damaged("sampling factors that JPEG has not"));
        }
        Ok(Self {
            process,
            shape: Shape {
                rows: u32::from(rows),
                columns: u32::from(columns),
                components: u32::from(*count),
                precision: u32::from(*precision),
            },
            rows: usize::from(rows),
            columns: usize::from(columns),
            components,
        })
    }

    /// The largest sampling factors.
    fn factors(&self) -> (usize, usize) {
        let most = |of: fn(&Component) -> usize| self.components.iter().map(of).max().unwrap_or(1);
        (most(|c| c.horizontal), most(|c| c.vertical))
    }

    /// Makes room for the samples, unless the frame is too short for them.
    fn allocate(&mut self, encoded_bytes: usize) -> Result<(), PixelError> {
        let (most_h, most_v) = self.factors();
        let unit = match self.process {
            Process::Dct => 8,
            Process::Lossless => 1,
        };
        let across = self.columns.div_ceil(unit * most_h);
        let down = self.rows.div_ceil(unit * most_v);
        // No code is shorter than one bit, and a block has at least two.
        let bits_min = match self.process {
            Process::Dct => 2,
            Process::Lossless => 1,
        };
        let mut units = 0_usize;
        for component in &mut self.components {
            component.stride = across * component.horizontal * unit;
            units += across * component.horizontal * down * component.vertical;
        }
        if units.saturating_mul(bits_min) > encoded_bytes.saturating_mul(8) {
            return Err(damaged("a code stream too short for its size"));
        }
        for component in &mut self.components {
            let height = down * component.vertical * unit;
            component.plane = vec![0; component.stride * height];
        }
        Ok(())
    }
}

/// What tables and markers have said so far.
#[derive(Debug, Default)]
struct Tables {
    direct: [Option<Table>; 4],
    alternating: [Option<Table>; 4],
    quantization: [Option<Box<[u16; 64]>>; 4],
    restart_interval: usize,
    /// The transform that an Adobe marker names.
    adobe_transform: Option<u8>,
    is_jfif: bool,
}

impl Tables {
    fn huffman(&mut self, mut payload: &[u8]) -> Result<(), PixelError> {
        let cut = || damaged("a cut Huffman table");
        while !payload.is_empty() {
            let ([kind], rest) = payload.split_first_chunk().ok_or_else(cut)?;
            let (counts, rest) = rest.split_first_chunk::<16>().ok_or_else(cut)?;
            let total = counts.iter().map(|count| usize::from(*count)).sum();
            let (symbols, rest) = rest.split_at_checked(total).ok_or_else(cut)?;
            let tables = if kind >> 4 == 0 {
                &mut self.direct
            } else {
                &mut self.alternating
            };
            let slot = tables.get_mut(usize::from(kind & 15));
            *slot.ok_or(damaged("a Huffman table without a place"))? =
                Some(Table::new(counts, symbols)?);
            payload = rest;
        }
        Ok(())
    }

    fn quantization(&mut self, mut payload: &[u8]) -> Result<(), PixelError> {
        let cut = || damaged("a cut quantization table");
        while !payload.is_empty() {
            let ([kind], mut rest) = payload.split_first_chunk().ok_or_else(cut)?;
            let mut table = Box::new([0; 64]);
            for value in table.iter_mut() {
                let byte = |rest: &mut &[u8]| rest.split_off_first().copied().ok_or_else(cut);
                *value = if kind >> 4 == 0 {
                    u16::from(byte(&mut rest)?)
                } else {
                    u16::from_be_bytes([byte(&mut rest)?, byte(&mut rest)?])
                };
            }
            let slot = self.quantization.get_mut(usize::from(kind & 15));
            *slot.ok_or(damaged("a quantization table without a place"))? = Some(table);
            payload = rest;
        }
        Ok(())
    }
}

/// What the frame header says, if the code stream is one of JPEG.
pub(super) fn shape(encoded: &[u8]) -> Result<Shape, PixelError> {
    let mut segments = Segments::new(encoded).ok_or(damaged("no code stream of JPEG"))?;
    while let Some(segment) = segments.next() {
        match segment.marker {
            0xC4 | 0xC8 | 0xCC => {}
            0xC0..=0xCF => return Header::read(segment.marker, segment.payload).map(|h| h.shape),
            0xD9 | 0xDA => break,
            _ => {}
        }
    }
    Err(damaged("no frame header"))
}

/// Decodes a frame. Colour becomes RGB where its coding was of DCT.
pub(super) fn decode(form: &PixelForm, encoded: &[u8]) -> Result<Vec<u8>, PixelError> {
    let mut segments = Segments::new(encoded).ok_or(damaged("no code stream of JPEG"))?;
    let mut tables = Tables::default();
    let mut header: Option<Header> = None;
    while let Some(segment) = segments.next() {
        let payload = segment.payload;
        match segment.marker {
            0xC4 => tables.huffman(payload)?,
            0xDB => tables.quantization(payload)?,
            0xDD => {
                let interval = payload.first_chunk().ok_or(damaged("a cut interval"))?;
                tables.restart_interval = usize::from(u16::from_be_bytes(*interval));
            }
            0xE0 => tables.is_jfif |= payload.starts_with(b"JFIF\0"),
            0xEE if payload.starts_with(b"Adobe") => {
                tables.adobe_transform = payload.get(11).copied();
            }
            0xC0..=0xCF => {
                if header.is_some() {
                    return Err(damaged("two frame headers"));
                }
                let mut read = Header::read(segment.marker, payload)?;
                read.shape.check(form)?;
                read.allocate(encoded.len())?;
                header = Some(read);
            }
            0xDA => {
                let header = header.as_mut().ok_or(damaged("no frame header"))?;
                let used = scan::decode(header, &tables, payload, segments.rest())?;
                segments.skip(used);
                if header.components.iter().all(|c| c.is_decoded) {
                    break;
                }
            }
            0xD9 => break,
            _ => {}
        }
    }
    let header = header.ok_or(damaged("no frame header"))?;
    if !header.components.iter().all(|c| c.is_decoded) {
        return Err(damaged("a component without samples"));
    }
    finish(form, &header, &tables)
}

fn finish(form: &PixelForm, header: &Header, tables: &Tables) -> Result<Vec<u8>, PixelError> {
    let (most_h, most_v) = header.factors();
    let size = (header.rows, header.columns);
    let mut planes: Vec<Vec<i32>> = Vec::new();
    for component in &header.components {
        planes.push(colour::full_size(component, (most_h, most_v), size));
    }
    let precision = header.shape.precision;
    if header.process == Process::Dct && planes.len() == 3 {
        let ids: Vec<u8> = header.components.iter().map(|c| c.id).collect();
        let colour = Colour::of(form.photometric, tables, &ids);
        if colour == Colour::Ybr
            && let [y, cb, cr] = &mut *planes
        {
            colour::to_rgb([y, cb, cr], precision);
        }
    }
    if form.is_signed && precision < u32::from(form.bits_allocated) {
        let stored = u32::from(form.bits_stored).min(precision);
        let samples = planes.iter_mut().flatten();
        samples.for_each(|sample| *sample = samples::extend_sign(*sample, stored));
    }
    native(form, &planes)
}
