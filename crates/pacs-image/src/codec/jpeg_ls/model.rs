//! What the decoder of JPEG-LS learns while it goes: contexts, prediction, errors (T.87 annex A).

use super::bits::Bits;
use super::{damaged, unsupported};
use pacs_core::convert::PixelError;

/// Contexts of the regular mode.
const CONTEXTS: usize = 365;

/// Orders of run lengths, `J` (A.2.1).
pub(super) const RUN_ORDERS: [u8; 32] = [
    0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 9, 10, 11, 12, 13,
    14, 15,
];

pub(super) fn run_order(run_index: usize) -> u32 {
    RUN_ORDERS.get(run_index).copied().map_or(15, u32::from)
}

/// Parameters that a code stream may set; zero where it does not (T.87 C.2.4.1.1).
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Preset {
    maximum: i32,
    thresholds: [i32; 3],
    reset: i32,
}

impl Preset {
    pub(super) fn read(&mut self, payload: &[u8]) -> Result<(), PixelError> {
        let (kind, rest) = payload.split_first().ok_or(damaged("a cut preset"))?;
        if *kind != 1 {
            return Err(unsupported("JPEG-LS with mapping tables or large sizes"));
        }
        let numbers = rest.as_chunks::<2>().0;
        let mut numbers = numbers
            .iter()
            .map(|two| i32::from(u16::from_be_bytes(*two)));
        let mut next = || numbers.next().ok_or(damaged("a cut preset"));
        *self = Self {
            maximum: next()?,
            thresholds: [next()?, next()?, next()?],
            reset: next()?,
        };
        Ok(())
    }
}

/// What is known of the errors in one context.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context {
    /// Sum of the magnitudes, `A`.
    pub(super) magnitude: i64,
    /// `B`.
    pub(super) bias: i32,
    /// `C`.
    correction: i32,
    /// `N`.
    pub(super) count: i32,
}

/// What is known of the errors after runs.
#[derive(Debug, Clone, Copy)]
pub(super) struct RunContext {
    pub(super) magnitude: i64,
    pub(super) count: i32,
    pub(super) negative: i32,
}

/// Parameters and contexts of a scan.
#[derive(Debug)]
pub(super) struct Model {
    maximum: i32,
    near: i32,
    /// `RANGE`.
    pub(super) range: i32,
    /// `qbpp`.
    pub(super) error_bits: u32,
    /// `LIMIT`.
    pub(super) limit: u32,
    thresholds: [i32; 3],
    pub(super) reset: i32,
    pub(super) contexts: Vec<Context>,
    pub(super) runs: [RunContext; 2],
}

/// The smallest `bits` so that 2^`bits` is at least `value`.
fn bits_for(value: i32) -> u32 {
    let below = u32::try_from(value - 1).unwrap_or(0);
    u32::BITS - below.leading_zeros()
}

/// Thresholds that the standard gives (T.87 C.2.4.1.1.1).
fn default_thresholds(maximum: i32, near: i32) -> [i32; 3] {
    let clamp = |value: i32, least: i32| {
        if value > maximum || value < least {
            least
        } else {
            value
        }
    };
    let basic = if maximum >= 128 {
        let factor = (maximum.min(4095) + 128) / 256;
        [
            factor + 2 + 3 * near,
            factor * 4 + 3 + 5 * near,
            factor * 17 + 4 + 7 * near,
        ]
    } else {
        let factor = 256 / (maximum + 1);
        [
            (3 / factor + 3 * near).max(2),
            (7 / factor + 5 * near).max(3),
            (21 / factor + 7 * near).max(4),
        ]
    };
    let [first, second, third] = basic;
    let first = clamp(first, near + 1);
    let second = clamp(second, first);
    [first, second, clamp(third, second)]
}

impl Model {
    pub(super) fn new(preset: &Preset, precision: u32, near: i32) -> Result<Self, PixelError> {
        let most = (1 << precision) - 1;
        let or = |value: i32, default: i32| if value == 0 { default } else { value };
        let maximum = or(preset.maximum, most);
        if maximum > most || near > 255.min(maximum / 2) {
            return Err(damaged("JPEG-LS parameters out of range"));
        }
        let [d1, d2, d3] = default_thresholds(maximum, near);
        let [t1, t2, t3] = preset.thresholds;
        let thresholds = [or(t1, d1), or(t2, d2), or(t3, d3)];
        let reset = or(preset.reset, 64);
        let [first, .., last] = thresholds;
        let in_order = thresholds.is_sorted() && first > near && last <= maximum.max(first);
        if !in_order || reset < 3 {
            return Err(damaged("JPEG-LS parameters out of range"));
        }
        let range = (maximum + 2 * near) / (2 * near + 1) + 1;
        let bits = bits_for(maximum + 1).max(2);
        let magnitude = i64::from(((range + 32) / 64).max(2));
        let context = Context {
            magnitude,
            bias: 0,
            correction: 0,
            count: 1,
        };
        let run = RunContext {
            magnitude,
            count: 1,
            negative: 0,
        };
        Ok(Self {
            maximum,
            near,
            range,
            error_bits: bits_for(range),
            limit: 2 * (bits + bits.max(8)),
            thresholds,
            reset,
            contexts: vec![context; CONTEXTS],
            runs: [run; 2],
        })
    }

    /// The level of a gradient, -4 to 4 (A.3.3).
    fn level(&self, gradient: i32) -> i32 {
        let [first, second, third] = self.thresholds;
        let size = gradient.abs();
        let level = if size <= self.near {
            0
        } else if size < first {
            1
        } else if size < second {
            2
        } else if size < third {
            3
        } else {
            4
        };
        level * gradient.signum()
    }

    /// The context of a sample, negative where its errors count the other way round; 0 is a run.
    pub(super) fn context(&self, [left, up, corner, right]: [i32; 4]) -> i32 {
        let levels = [right - up, up - corner, corner - left].map(|g| self.level(g));
        levels.into_iter().fold(0, |sum, level| sum * 9 + level)
    }

    /// The least `k` so that `count` shifted by it is at least `magnitude` (A.5.1).
    pub(super) fn order(count: i32, magnitude: i64) -> u32 {
        (0..32)
            .find(|k| i64::from(count) << k >= magnitude)
            .unwrap_or(32)
    }

    /// A number in the code of A.5.3.
    fn golomb(&self, order: u32, limit: u32, bits: &mut Bits<'_>) -> Result<i32, PixelError> {
        let escape = limit
            .checked_sub(self.error_bits + 1)
            .ok_or(damaged("a code limit that JPEG-LS has not"))?;
        let zeros = bits.zeros(escape)?;
        let value = if zeros < escape {
            u64::from(zeros) << order | u64::from(bits.take(order)?)
        } else {
            u64::from(bits.take(self.error_bits)?) + 1
        };
        // Twice the range is more than any error maps to.
        let fits = i32::try_from(value).ok();
        let fits = fits.filter(|value| *value <= 2 * self.range);
        fits.ok_or(damaged("an error that is out of range"))
    }

    /// The sample of a prediction and its error (A.4.5).
    fn sample(&self, predicted: i32, error: i32) -> i32 {
        let step = 2 * self.near + 1;
        let mut value = predicted + error * step;
        if value < -self.near {
            value += self.range * step;
        } else if value > self.maximum + self.near {
            value -= self.range * step;
        }
        value.clamp(0, self.maximum)
    }

    /// What a sample is expected to be (A.4.1 and A.4.2).
    pub(super) fn predicted(
        &self,
        [left, up, corner, _]: [i32; 4],
        sign: i32,
        known: &Context,
    ) -> i32 {
        let predicted = if corner >= left.max(up) {
            left.min(up)
        } else if corner <= left.min(up) {
            left.max(up)
        } else {
            left + up - corner
        };
        (predicted + sign * known.correction).clamp(0, self.maximum)
    }

    /// A sample in the regular mode (A.4 to A.6).
    pub(super) fn regular(
        &mut self,
        context: i32,
        around: [i32; 4],
        bits: &mut Bits<'_>,
    ) -> Result<i32, PixelError> {
        let sign = if context < 0 { -1 } else { 1 };
        let place = usize::try_from(context.unsigned_abs()).unwrap_or(usize::MAX);
        let known = self.contexts.get(place).copied();
        let mut known = known.ok_or(damaged("a context that JPEG-LS has not"))?;
        let predicted = self.predicted(around, sign, &known);
        let order = Self::order(known.count, known.magnitude);
        let mapped = self.golomb(order, self.limit, bits)?;
        let (half, is_odd) = (mapped >> 1, mapped & 1 == 1);
        let is_turned = self.near == 0 && order == 0 && 2 * known.bias <= -known.count;
        let error = match (is_turned, is_odd) {
            (false, false) | (true, true) => half,
            (false, true) | (true, false) => -half - 1,
        };
        known.update(error, 2 * self.near + 1, self.reset);
        if let Some(context) = self.contexts.get_mut(place) {
            *context = known;
        }
        Ok(self.sample(predicted, sign * error))
    }

    /// The sample that ends a run (A.7.2). Where the samples of a pixel come together, all are
    /// predicted from above.
    pub(super) fn interruption(
        &mut self,
        left: i32,
        up: i32,
        run_index: usize,
        is_by_sample: bool,
        bits: &mut Bits<'_>,
    ) -> Result<i32, PixelError> {
        let is_alike = !is_by_sample && (left - up).abs() <= self.near;
        let [differing, alike] = self.runs;
        let (mut known, kind) = if is_alike { (alike, 1) } else { (differing, 0) };
        let extra = if is_alike { known.count >> 1 } else { 0 };
        let order = Self::order(known.count, known.magnitude + i64::from(extra));
        let limit = self.limit.saturating_sub(run_order(run_index) + 1);
        let mapped = self.golomb(order, limit, bits)?;
        let sum = mapped + kind;
        let (size, is_odd) = ((sum + 1) >> 1, sum & 1 == 1);
        let expects_odd = order != 0 || 2 * known.negative >= known.count;
        let error = if expects_odd == is_odd { -size } else { size };
        known.update(error, mapped, kind, self.reset);
        let [differing, alike] = &mut self.runs;
        *(if is_alike { alike } else { differing }) = known;
        Ok(if is_alike {
            self.sample(left, error)
        } else {
            self.sample(up, if left > up { -error } else { error })
        })
    }
}

impl RunContext {
    /// Learns of an error (A.7.2).
    pub(super) fn update(&mut self, error: i32, mapped: i32, kind: i32, reset: i32) {
        if error < 0 {
            self.negative += 1;
        }
        self.magnitude += i64::from((mapped + 1 - kind) >> 1);
        if self.count == reset {
            self.magnitude >>= 1;
            self.count >>= 1;
            self.negative >>= 1;
        }
        self.count += 1;
    }
}

impl Context {
    /// Learns of an error (A.6).
    pub(super) fn update(&mut self, error: i32, step: i32, reset: i32) {
        self.bias += error * step;
        self.magnitude += i64::from(error.abs());
        if self.count == reset {
            self.magnitude >>= 1;
            self.bias >>= 1;
            self.count >>= 1;
        }
        self.count += 1;
        if self.bias <= -self.count {
            self.bias = (self.bias + self.count).max(1 - self.count);
            self.correction = (self.correction - 1).max(-128);
        } else if self.bias > 0 {
            self.bias = (self.bias - self.count).min(0);
            self.correction = (self.correction + 1).min(127);
        }
    }
}

/// The length of the run that begins here, of `left` samples at most (A.7.1).
pub(super) fn run(
    run_index: &mut usize,
    left: usize,
    bits: &mut Bits<'_>,
) -> Result<usize, PixelError> {
    let mut length = 0;
    while bits.take(1)? == 1 {
        let whole = 1_usize << run_order(*run_index);
        if whole > left - length {
            // The line ends within it.
            return Ok(left);
        }
        length += whole;
        *run_index = (*run_index + 1).min(RUN_ORDERS.len() - 1);
        if length == left {
            return Ok(left);
        }
    }
    let rest = usize::try_from(bits.take(run_order(*run_index))?).unwrap_or(usize::MAX);
    length = length.saturating_add(rest);
    if length >= left {
        return Err(damaged("a run beyond a line"));
    }
    Ok(length)
}
