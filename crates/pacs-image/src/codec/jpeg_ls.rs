//! JPEG-LS (ITU-T T.87), lossless and near-lossless, of 2 to 16 bits. PS3.5 A.4.3 and 8.2.3.
//!
//! Memory is two lines of each component beside the frame; every sample takes at least a part of a
//! run, so that work is bounded by the size that the attributes and the frame header agree on.
#![allow(
    clippy::arithmetic_side_effects,
    reason = "numbers here are of a few bits, sizes are products of numbers of 16 bits"
)]

mod bits;
pub(super) mod encode;
mod model;

use super::samples::{Shape, extend_sign, native};
use super::segments::{Segment, Segments};
use bits::Bits;
use model::{Model, Preset};
use pacs_core::convert::{PixelError, PixelForm};

const fn damaged(what: &'static str) -> PixelError {
    PixelError::Damaged { what }
}

const fn unsupported(what: &'static str) -> PixelError {
    PixelError::Unsupported { what }
}

/// The frame header (T.87 C.2.2): what it says, and the components in its order.
fn frame_header(payload: &[u8]) -> Result<(Shape, Vec<u8>), PixelError> {
    let ([precision, r0, r1, c0, c1, count], rest) = payload
        .split_first_chunk()
        .ok_or(damaged("a cut frame header"))?;
    let components = rest.as_chunks::<3>().0.get(..usize::from(*count));
    let components = components.ok_or(damaged("a cut frame header"))?;
    if components.iter().any(|[_, factors, _]| *factors != 0x11) {
        return Err(unsupported("JPEG-LS with fewer samples of some components"));
    }
    if !matches!(precision, 2..=16) {
        return Err(damaged("a precision that JPEG-LS has not"));
    }
    let shape = Shape {
        rows: u32::from(u16::from_be_bytes([*r0, *r1])),
        columns: u32::from(u16::from_be_bytes([*c0, *c1])),
        components: u32::from(*count),
        precision: u32::from(*precision),
    };
    Ok((shape, components.iter().map(|[id, ..]| *id).collect()))
}

/// What the frame header says, if the code stream is one of JPEG-LS.
pub(super) fn shape(encoded: &[u8]) -> Result<Shape, PixelError> {
    let mut segments = Segments::new(encoded).ok_or(damaged("no code stream of JPEG-LS"))?;
    while let Some(Segment { marker, payload }) = segments.next() {
        match marker {
            0xF7 => return frame_header(payload).map(|(shape, _)| shape),
            0xC0..=0xC3 | 0xD9 | 0xDA => break,
            _ => {}
        }
    }
    Err(damaged("no frame header of JPEG-LS"))
}

/// Decodes a frame.
pub(super) fn decode(form: &PixelForm, encoded: &[u8]) -> Result<Vec<u8>, PixelError> {
    let mut segments = Segments::new(encoded).ok_or(damaged("no code stream of JPEG-LS"))?;
    let mut preset = Preset::default();
    let mut header: Option<(Shape, Vec<u8>)> = None;
    let mut planes: Vec<Vec<i32>> = Vec::new();
    while let Some(Segment { marker, payload }) = segments.next() {
        match marker {
            0xF7 => {
                if header.is_some() {
                    return Err(damaged("two frame headers"));
                }
                let (shape, ids) = frame_header(payload)?;
                shape.check(form)?;
                planes.resize_with(ids.len(), Vec::new);
                header = Some((shape, ids));
            }
            0xF8 => preset.read(payload)?,
            0xDD if payload.iter().any(|byte| *byte != 0) => {
                return Err(unsupported("JPEG-LS with restart markers"));
            }
            0xE8 if payload.starts_with(b"mrfx") && payload.get(4) != Some(&0) => {
                return Err(unsupported("JPEG-LS with a colour transform"));
            }
            0xDA => {
                let (shape, ids) = header.as_ref().ok_or(damaged("no frame header"))?;
                let used = scan(
                    form,
                    *shape,
                    ids,
                    &preset,
                    payload,
                    segments.rest(),
                    &mut planes,
                )?;
                segments.skip(used);
                if planes.iter().all(|plane| !plane.is_empty()) {
                    break;
                }
            }
            0xD9 => break,
            _ => {}
        }
    }
    let (shape, _) = header.ok_or(damaged("no frame header"))?;
    if planes.iter().any(Vec::is_empty) {
        return Err(damaged("a component without samples"));
    }
    if form.is_signed && shape.precision < u32::from(form.bits_allocated) {
        let stored = u32::from(form.bits_stored).min(shape.precision);
        let samples = planes.iter_mut().flatten();
        samples.for_each(|sample| *sample = extend_sign(*sample, stored));
    }
    native(form, &planes)
}

/// Decodes one scan; gives the bytes that it has.
fn scan(
    form: &PixelForm,
    shape: Shape,
    ids: &[u8],
    preset: &Preset,
    payload: &[u8],
    bytes: &[u8],
    planes: &mut [Vec<i32>],
) -> Result<usize, PixelError> {
    let cut = || damaged("a cut scan header");
    let ([count], rest) = payload.split_first_chunk().ok_or_else(cut)?;
    let (chosen, rest) = rest
        .split_at_checked(usize::from(*count) * 2)
        .ok_or_else(cut)?;
    let [near, interleave, shift] = *rest.first_chunk().ok_or_else(cut)?;
    if shift != 0 {
        return Err(unsupported("JPEG-LS with a point transform"));
    }
    let chosen = chosen.as_chunks::<2>().0;
    if chosen.iter().any(|[_, table]| *table != 0) {
        return Err(unsupported("JPEG-LS with mapping tables"));
    }
    let mut places = Vec::new();
    for [id, _] in chosen {
        let place = ids.iter().position(|known| known == id);
        places.push(place.ok_or(damaged("a scan of unknown components"))?);
    }
    let is_new = |place: &usize| planes.get(*place).is_some_and(Vec::is_empty);
    if !places.is_sorted_by(|a, b| a < b) || !places.iter().all(is_new) || places.is_empty() {
        return Err(damaged("a component in two scans"));
    }
    let (rows, columns) = (usize::from(form.rows), usize::from(form.columns));
    let mut lines: Vec<Line> = places.iter().map(|_| Line::new(columns)).collect();
    let mut model = Model::new(preset, shape.precision, i32::from(near))?;
    let mut bits = Bits::new(bytes);
    for _ in 0..rows {
        lines.iter_mut().for_each(Line::begin);
        match (interleave, &mut *lines) {
            (0, [line]) => line.decode(&mut model, &mut bits)?,
            (1, lines) => {
                for line in lines {
                    line.decode(&mut model, &mut bits)?;
                }
            }
            (2, lines) => by_sample(lines, columns, &mut model, &mut bits)?,
            _ => return Err(damaged("an interleaving that JPEG-LS has not")),
        }
        for (place, line) in places.iter().zip(&lines) {
            if let Some(plane) = planes.get_mut(*place) {
                plane.extend_from_slice(line.samples());
            }
        }
    }
    Ok(bits.end())
}

/// One line of a component, and the one above it, each with a sample more on both sides.
struct Line {
    columns: usize,
    above: Vec<i32>,
    here: Vec<i32>,
    run_index: usize,
}

impl Line {
    fn new(columns: usize) -> Self {
        Self {
            columns,
            above: vec![0; columns + 2],
            here: vec![0; columns + 2],
            run_index: 0,
        }
    }

    /// The line becomes the one above (T.87 A.2.1).
    fn begin(&mut self) {
        std::mem::swap(&mut self.above, &mut self.here);
        let at = |line: &[i32], place: usize| line.get(place).copied().unwrap_or(0);
        let (first, last) = (at(&self.above, 1), at(&self.above, self.columns));
        if let Some(edge) = self.above.get_mut(self.columns + 1) {
            *edge = last;
        }
        if let Some(edge) = self.here.first_mut() {
            *edge = first;
        }
    }

    fn samples(&self) -> &[i32] {
        self.here.get(1..=self.columns).unwrap_or_default()
    }

    /// The neighbours of the sample at `column`: left, above, above left, above right.
    fn around(&self, column: usize) -> [i32; 4] {
        let left = self.here.get(column).copied().unwrap_or(0);
        let above = self.above.get(column..column + 3);
        let [corner, up, right] = above
            .and_then(|a| a.first_chunk())
            .copied()
            .unwrap_or([0; 3]);
        [left, up, corner, right]
    }

    fn set(&mut self, column: usize, value: i32) {
        if let Some(sample) = self.here.get_mut(column + 1) {
            *sample = value;
        }
    }

    fn fill(&mut self, column: usize, count: usize, value: i32) {
        let samples = self.here.get_mut(column + 1..=column + count);
        samples.unwrap_or_default().fill(value);
    }

    fn decode(&mut self, model: &mut Model, bits: &mut Bits<'_>) -> Result<(), PixelError> {
        let mut column = 0;
        while column < self.columns {
            let around = self.around(column);
            let context = model.context(around);
            if context != 0 {
                let value = model.regular(context, around, bits)?;
                self.set(column, value);
                column += 1;
                continue;
            }
            let [left, ..] = around;
            let run = model::run(&mut self.run_index, self.columns - column, bits)?;
            self.fill(column, run, left);
            column += run;
            if column < self.columns {
                let [_, up, ..] = self.around(column);
                let value = model.interruption(left, up, self.run_index, false, bits)?;
                self.set(column, value);
                self.run_index = self.run_index.saturating_sub(1);
                column += 1;
            }
        }
        Ok(())
    }
}

/// A line of pixels whose samples come together.
fn by_sample(
    lines: &mut [Line],
    columns: usize,
    model: &mut Model,
    bits: &mut Bits<'_>,
) -> Result<(), PixelError> {
    let mut column = 0;
    while column < columns {
        let is_run = lines
            .iter()
            .all(|line| model.context(line.around(column)) == 0);
        if !is_run {
            for line in &mut *lines {
                let around = line.around(column);
                let value = model.regular(model.context(around), around, bits)?;
                line.set(column, value);
            }
            column += 1;
            continue;
        }
        let run_index = lines.first_mut().map(|line| &mut line.run_index);
        let run_index = run_index.ok_or(damaged("no components"))?;
        let run = model::run(run_index, columns - column, bits)?;
        let run_index = *run_index;
        let ended = column + run;
        for line in &mut *lines {
            let [left, ..] = line.around(column);
            line.fill(column, run, left);
            if ended < columns {
                let [_, up, ..] = line.around(ended);
                let value = model.interruption(left, up, run_index, true, bits)?;
                line.set(ended, value);
            }
        }
        column = ended;
        if ended < columns {
            if let Some(line) = lines.first_mut() {
                line.run_index = run_index.saturating_sub(1);
            }
            column += 1;
        }
    }
    Ok(())
}
