//! JPEG-LS, the other way, lossless: the decoder's model with samples in and bits out.

use super::model::{Model, Preset, RUN_ORDERS, run_order};
use super::{Line, damaged};
use pacs_core::convert::{PixelError, PixelForm};

/// Encodes `planes`, one for each sample, of `precision` bits; lines of several samples are
/// interleaved.
pub(in crate::codec) fn encode(
    form: &PixelForm,
    precision: u32,
    planes: &[Vec<i32>],
) -> Result<Vec<u8>, PixelError> {
    let columns = usize::from(form.columns);
    let mut out = head(form, precision, planes.len())?;
    let mut model = Model::new(&Preset::default(), precision, 0)?;
    let mut bits = BitWriter::new(&mut out);
    let mut lines: Vec<Line> = planes.iter().map(|_| Line::new(columns)).collect();
    for row in 0..usize::from(form.rows) {
        let from = row * columns;
        for (line, plane) in lines.iter_mut().zip(planes) {
            let samples = plane.get(from..from + columns);
            let samples = samples.ok_or(damaged("fewer samples than pixels"))?;
            line.begin();
            line.encode(samples, &mut model, &mut bits)?;
        }
    }
    bits.end();
    out.extend_from_slice(&[0xFF, 0xD9]);
    Ok(out)
}

/// Start, frame header and scan header (T.87 C.2.2 and C.2.3).
fn head(form: &PixelForm, precision: u32, count: usize) -> Result<Vec<u8>, PixelError> {
    let number = |value: usize| u8::try_from(value).map_err(|_| damaged("too many samples"));
    let precision = u8::try_from(precision).map_err(|_| damaged("too many bits"))?;
    let components = number(count)?;
    let ids = 1..=components;
    let [r0, r1] = form.rows.to_be_bytes();
    let [c0, c1] = form.columns.to_be_bytes();
    let mut head = vec![0xFF, 0xD8, 0xFF, 0xF7, 0, number(8 + 3 * count)?];
    head.extend_from_slice(&[precision, r0, r1, c0, c1, components]);
    head.extend(ids.clone().flat_map(|id| [id, 0x11, 0]));
    head.extend_from_slice(&[0xFF, 0xDA, 0, number(6 + 2 * count)?, components]);
    head.extend(ids.flat_map(|id| [id, 0]));
    // Lossless; by lines where there are several samples; no point transform.
    head.extend_from_slice(&[0, u8::from(components > 1), 0]);
    Ok(head)
}

impl Line {
    /// Encodes the line that has begun.
    fn encode(
        &mut self,
        samples: &[i32],
        model: &mut Model,
        bits: &mut BitWriter<'_>,
    ) -> Result<(), PixelError> {
        let mut column = 0;
        while let Some(sample) = samples.get(column).copied() {
            let around = self.around(column);
            let context = model.context(around);
            if context != 0 {
                model.encode_regular(context, around, sample, bits)?;
                self.set(column, sample);
                column += 1;
                continue;
            }
            let [left, ..] = around;
            let rest = samples.get(column..).unwrap_or_default();
            let run = rest.iter().take_while(|next| **next == left).count();
            let is_to_end = run == rest.len();
            encode_run(&mut self.run_index, run, is_to_end, bits);
            self.fill(column, run, left);
            column += run;
            if let Some(sample) = samples.get(column).copied() {
                let [_, up, ..] = self.around(column);
                model.encode_interruption((left, up), self.run_index, sample, bits)?;
                self.set(column, sample);
                self.run_index = self.run_index.saturating_sub(1);
                column += 1;
            }
        }
        Ok(())
    }
}

/// The length of a run (T.87 A.7.1).
fn encode_run(run_index: &mut usize, mut left: usize, is_to_end: bool, bits: &mut BitWriter<'_>) {
    loop {
        let order = run_order(*run_index);
        let whole = 1_usize << order;
        if left < whole {
            if is_to_end {
                if left > 0 {
                    bits.put(1, 1);
                }
            } else {
                bits.put(0, 1);
                bits.put(u32::try_from(left).unwrap_or(0), order);
            }
            return;
        }
        bits.put(1, 1);
        left -= whole;
        *run_index = (*run_index + 1).min(RUN_ORDERS.len() - 1);
    }
}

impl Model {
    /// An error within the range (T.87 A.4.5).
    fn reduced(&self, error: i32) -> i32 {
        let error = if error < 0 { error + self.range } else { error };
        if error >= (self.range + 1) / 2 {
            error - self.range
        } else {
            error
        }
    }

    /// A number in the code of A.5.3.
    fn put_golomb(&self, mapped: i32, order: u32, limit: u32, bits: &mut BitWriter<'_>) {
        let mapped = u32::try_from(mapped).unwrap_or(0);
        let escape = limit.saturating_sub(self.error_bits + 1);
        let zeros = mapped >> order;
        if zeros < escape {
            bits.put_zeros(zeros);
            bits.put(1, 1);
            bits.put(mapped & ((1 << order) - 1), order);
        } else {
            bits.put_zeros(escape);
            bits.put(1, 1);
            bits.put(mapped.saturating_sub(1), self.error_bits);
        }
    }

    fn encode_regular(
        &mut self,
        context: i32,
        around: [i32; 4],
        sample: i32,
        bits: &mut BitWriter<'_>,
    ) -> Result<(), PixelError> {
        let sign = if context < 0 { -1 } else { 1 };
        let place = usize::try_from(context.unsigned_abs()).unwrap_or(usize::MAX);
        let known = self.contexts.get(place).copied();
        let mut known = known.ok_or(damaged("a context that JPEG-LS has not"))?;
        let predicted = self.predicted(around, sign, &known);
        let error = self.reduced(sign * (sample - predicted));
        let order = Self::order(known.count, known.magnitude);
        let is_turned = order == 0 && 2 * known.bias <= -known.count;
        let mapped = match (is_turned, error >= 0) {
            (false, true) => 2 * error,
            (false, false) => -2 * error - 1,
            (true, true) => 2 * error + 1,
            (true, false) => -2 * (error + 1),
        };
        self.put_golomb(mapped, order, self.limit, bits);
        known.update(error, 1, self.reset);
        if let Some(context) = self.contexts.get_mut(place) {
            *context = known;
        }
        Ok(())
    }

    /// The sample that ends a run (A.7.2).
    fn encode_interruption(
        &mut self,
        (left, up): (i32, i32),
        run_index: usize,
        sample: i32,
        bits: &mut BitWriter<'_>,
    ) -> Result<(), PixelError> {
        let is_alike = left == up;
        let kind = usize::from(is_alike);
        let known = self.runs.get(kind).copied();
        let mut known = known.ok_or(damaged("a context that JPEG-LS has not"))?;
        let error = if is_alike || left <= up {
            sample - up
        } else {
            up - sample
        };
        let error = self.reduced(error);
        let extra = if is_alike { known.count >> 1 } else { 0 };
        let order = Self::order(known.count, known.magnitude + i64::from(extra));
        let expects_odd = order != 0 || 2 * known.negative >= known.count;
        let is_odd = if error == 0 {
            false
        } else {
            (error < 0) == expects_odd
        };
        let kind = i32::from(is_alike);
        let mapped = 2 * error.abs() - kind - i32::from(is_odd);
        let limit = self.limit.saturating_sub(run_order(run_index) + 1);
        self.put_golomb(mapped, order, limit, bits);
        known.update(error, mapped, kind, self.reset);
        if let Some(run) = self.runs.get_mut(usize::from(is_alike)) {
            *run = known;
        }
        Ok(())
    }
}

/// Writes bits; after a byte of ones the next one has seven (T.87 A.1).
struct BitWriter<'a> {
    out: &'a mut Vec<u8>,
    held: u32,
    /// Bits that the byte under way still takes.
    room: u32,
}

impl<'a> BitWriter<'a> {
    const fn new(out: &'a mut Vec<u8>) -> Self {
        Self {
            out,
            held: 0,
            room: 8,
        }
    }

    /// The lowest `count` bits of `bits`, 32 at most.
    fn put(&mut self, bits: u32, mut count: u32) {
        while count > 0 {
            let taken = count.min(self.room);
            count -= taken;
            let part = (bits >> count) & ((1 << taken) - 1);
            self.held = self.held << taken | part;
            self.room -= taken;
            if self.room == 0 {
                self.byte();
            }
        }
    }

    fn put_zeros(&mut self, mut count: u32) {
        while count > 0 {
            let some = count.min(32);
            self.put(0, some);
            count -= some;
        }
    }

    fn byte(&mut self) {
        let byte = u8::try_from(self.held).unwrap_or(u8::MAX);
        self.out.push(byte);
        self.held = 0;
        self.room = if byte == 0xFF { 7 } else { 8 };
    }

    /// Fills the last byte; one of ones is followed by another, so that no marker comes of it.
    fn end(mut self) {
        let is_after_ones = self.out.last() == Some(&0xFF);
        if is_after_ones || self.room < 8 {
            self.put(0, self.room);
        }
    }
}
