//! The key of a number: `1`, `01`, `+1` and `1.0` are one (PS3.4 leaves it to us and we say so).

use std::borrow::Cow;

/// Whole numbers up to here are exact as f64 and written without an exponent.
const WHOLE_MAX: f64 = 1e15;

/// The shortest decimal form of a number; what is no number stays as it is.
pub(super) fn key(text: &str) -> Cow<'_, str> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
        let digits = digits.trim_start_matches('0');
        return match (negative, digits) {
            (_, "") => Cow::Borrowed("0"),
            (false, digits) => Cow::Borrowed(digits),
            (true, digits) if digits.len().saturating_add(1) == text.len() => Cow::Borrowed(text),
            (true, digits) => Cow::Owned(format!("-{digits}")),
        };
    }
    let decimal = |b: u8| b.is_ascii_digit() || b"+-.eE".contains(&b);
    let number = text.bytes().all(decimal).then(|| text.parse::<f64>().ok());
    match number.flatten().filter(|number| number.is_finite()) {
        Some(0.0) => Cow::Borrowed("0"),
        Some(number) if number.abs() < WHOLE_MAX => Cow::Owned(format!("{number}")),
        Some(number) => Cow::Owned(format!("{number:e}")),
        None => Cow::Borrowed(text),
    }
}
