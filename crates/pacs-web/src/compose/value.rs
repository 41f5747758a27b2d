//! Values of text as the bytes of a data set: what JSON and XML say becomes what a file holds.

use pacs_core::Vr;
use pacs_core::scan::values::is_text;
use std::borrow::Cow;
use std::str::FromStr;

/// Whole numbers up to here are the same as a double.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// The value of `vr` that consists of `values`, little endian and without padding; `None` where
/// they are no values of it.
pub(crate) fn encode(vr: Vr, values: &[Cow<'_, str>]) -> Option<Vec<u8>> {
    if values.is_empty() || values.iter().all(|value| value.is_empty()) && !is_text(vr) {
        return Some(Vec::new());
    }
    if is_text(vr) {
        let is_single = matches!(vr, Vr::LT | Vr::ST | Vr::UR | Vr::UT);
        if is_single && values.len() > 1 {
            return None;
        }
        return Some(values.join("\\").into_bytes());
    }
    let mut out = Vec::with_capacity(values.len().saturating_mul(8));
    for value in values {
        put_number(&mut out, vr, value.trim())?;
    }
    Some(out)
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "every VR that is not named holds no numbers"
)]
fn put_number(out: &mut Vec<u8>, vr: Vr, text: &str) -> Option<()> {
    match vr {
        Vr::AT => {
            let is_hex = text.len() == 8 && text.bytes().all(|b| b.is_ascii_hexdigit());
            let tag = u32::from_str_radix(text, 16).ok().filter(|_| is_hex)?;
            let [g0, g1, e0, e1] = tag.to_be_bytes();
            out.extend([g1, g0, e1, e0]);
        }
        Vr::FD => out.extend(double(text)?.to_le_bytes()),
        Vr::FL => {
            let single: f32 = text.parse().ok()?;
            // A number beyond a single is none, and infinity has to be written as such.
            let is_said = single.is_finite() || double(text).is_some_and(|d| !d.is_finite());
            out.extend(is_said.then_some(single)?.to_le_bytes());
        }
        Vr::SL => out.extend(whole::<i32>(text)?.to_le_bytes()),
        Vr::SS => out.extend(whole::<i16>(text)?.to_le_bytes()),
        Vr::SV => out.extend(whole::<i64>(text)?.to_le_bytes()),
        Vr::UL => out.extend(whole::<u32>(text)?.to_le_bytes()),
        Vr::US => out.extend(whole::<u16>(text)?.to_le_bytes()),
        Vr::UV => out.extend(whole::<u64>(text)?.to_le_bytes()),
        _ => return None,
    }
    Some(())
}

fn double(text: &str) -> Option<f64> {
    let double: f64 = text.parse().ok()?;
    let is_word = text.bytes().any(|b| matches!(b, b'n' | b'N'));
    (double.is_finite() || is_word).then_some(double)
}

/// A whole number, which some programs write as `512.0`.
fn whole<N: FromStr>(text: &str) -> Option<N> {
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    let double: f64 = text.parse().ok()?;
    let is_whole = double.fract() == 0.0 && double.abs() <= EXACT_MAX;
    is_whole.then(|| format!("{double:.0}").parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(vr: Vr, values: &[&str]) -> Option<Vec<u8>> {
        let values: Vec<Cow<'_, str>> = values.iter().map(|value| (*value).into()).collect();
        encode(vr, &values)
    }

    #[test]
    fn values_become_the_bytes_of_their_vr() {
        let cases: &[(Vr, &[&str], &[u8])] = &[
            (Vr::LO, &["a", "", "b"], b"a\\\\b"),
            (Vr::LO, &[""], b""),
            (Vr::LO, &["", ""], b"\\"),
            (Vr::DS, &["1.50", "-2"], b"1.50\\-2"),
            (Vr::UT, &["a\\b"], b"a\\b"),
            (Vr::US, &["1", "65535"], b"\x01\0\xFF\xFF"),
            (Vr::US, &["512.0"], b"\0\x02"),
            (Vr::US, &[""], b""),
            (Vr::SS, &["-2"], b"\xFE\xFF"),
            (Vr::UL, &["1e3"], b"\xE8\x03\0\0"),
            (Vr::SL, &["-1"], b"\xFF\xFF\xFF\xFF"),
            (
                Vr::UV,
                &["18446744073709551615"],
                b"\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF",
            ),
            (Vr::SV, &["-1"], b"\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF"),
            (Vr::FL, &["0.5"], b"\0\0\0\x3F"),
            (Vr::FD, &["0.5"], b"\0\0\0\0\0\0\xE0\x3F"),
            (Vr::FL, &["-inf"], b"\0\0\x80\xFF"),
            (Vr::AT, &["00181063"], b"\x18\0\x63\x10"),
        ];
        for (vr, values, bytes) in cases {
            assert_eq!(
                of(*vr, values).as_deref(),
                Some(*bytes),
                "{vr:?} {values:?}"
            );
        }
    }

    #[test]
    fn what_is_no_value_of_the_vr_is_refused() {
        let cases: &[(Vr, &[&str])] = &[
            (Vr::US, &["65536"]),
            (Vr::US, &["-1"]),
            (Vr::US, &["1.5"]),
            (Vr::US, &["1", ""]),
            (Vr::US, &["NaN"]),
            (Vr::UL, &["1e99"]),
            (Vr::FL, &["1e39"]),
            (Vr::FD, &["1e309"]),
            (Vr::AT, &["+0181063"]),
            (Vr::AT, &["(0018,1063)"]),
            (Vr::OB, &["1"]),
            (Vr::UN, &["1"]),
            (Vr::UT, &["a", "b"]),
        ];
        for (vr, values) in cases {
            assert_eq!(of(*vr, values), None, "{vr:?} {values:?}");
        }
    }
}
