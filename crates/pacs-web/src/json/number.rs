//! Numbers of DICOM as numbers of JSON (RFC 8259 6), digit by digit.

use std::borrow::Cow;

/// Most digits of an exponent that every reader can take.
const EXPONENT_MAX: i32 = 300;

/// `text`, which is trimmed, as a JSON number of the same digits; `None` where it is none: then it
/// stays a string, as PS3.18 F.2.3 permits for DS and IS.
pub(super) fn of_text(text: &str) -> Option<Cow<'_, str>> {
    let (sign, rest) = match text.as_bytes().first()? {
        b'-' => ("-", text.get(1..)?),
        b'+' => ("", text.get(1..)?),
        _ => ("", text),
    };
    let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (rest, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let are_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let has_digits = !(whole.is_empty() && fraction.is_empty());
    if !has_digits || !are_digits(whole) || !are_digits(fraction) {
        return None;
    }
    let exponent = match exponent {
        Some(text) => Some(exponent_of(text)?),
        None => None,
    };
    let significant = match whole.trim_start_matches('0') {
        "" => "0",
        digits => digits,
    };
    let has_plain_mantissa = significant == whole && (mantissa == whole || !fraction.is_empty());
    if has_plain_mantissa && exponent.is_none() && !text.starts_with('+') {
        return Some(Cow::Borrowed(text));
    }
    let mut number = format!("{sign}{significant}");
    if !fraction.is_empty() {
        number.push('.');
        number.push_str(fraction);
    }
    if let Some(exponent) = exponent {
        number.push_str(&format!("e{exponent}"));
    }
    Some(Cow::Owned(number))
}

fn exponent_of(text: &str) -> Option<i32> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let exponent: i32 = text.parse().ok()?;
    (-EXPONENT_MAX..=EXPONENT_MAX)
        .contains(&exponent)
        .then_some(exponent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_dicom_calls_a_number_becomes_one_of_json() {
        for (text, number) in [
            ("0", "0"),
            ("-0", "-0"),
            ("+5", "5"),
            ("007", "7"),
            ("-007.50", "-7.50"),
            (".5", "0.5"),
            ("-.5", "-0.5"),
            ("5.", "5"),
            ("1E3", "1e3"),
            ("1.5e-07", "1.5e-7"),
            ("+1.E+2", "1e2"),
            ("0.123456789012345678901", "0.123456789012345678901"),
        ] {
            assert_eq!(of_text(text).as_deref(), Some(number), "{text}");
            let read: serde_json::Value = serde_json::from_str(number).unwrap();
            assert!(read.is_number());
        }
        for text in [
            "", "+", ".", "e5", "1e", "1e+", "1e999", "1 2", "0x10", "NaN", "inf", "1,5", "--1",
            "1..2",
        ] {
            assert_eq!(of_text(text), None, "{text}");
        }
    }
}
