//! Values of elements as text: numbers of binary VRs in decimal, padding taken off.

use crate::tag::Vr;
use std::fmt::Write as _;

/// Numbers of a binary VR in decimal, between backslashes; tags (AT) as eight hexadecimal digits.
/// `None` where `vr` is no such VR. Bytes after the last whole number are left out.
#[must_use]
pub fn numbers(vr: Vr, bytes: &[u8], big_endian: bool) -> Option<String> {
    macro_rules! joined {
        ($number:ty, $size:literal) => {
            join(bytes, |out, b: [u8; $size]| {
                let number = if big_endian {
                    <$number>::from_be_bytes(b)
                } else {
                    <$number>::from_le_bytes(b)
                };
                write!(out, "{number}")
            })
        };
    }
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "every other VR is no binary number"
    )]
    Some(match vr {
        Vr::AT => join(bytes, |out, [g0, g1, e0, e1]: [u8; 4]| {
            let word = |a, b| {
                if big_endian {
                    u16::from_be_bytes([a, b])
                } else {
                    u16::from_le_bytes([a, b])
                }
            };
            write!(out, "{:04X}{:04X}", word(g0, g1), word(e0, e1))
        }),
        Vr::FD => joined!(f64, 8),
        Vr::FL => joined!(f32, 4),
        Vr::SL => joined!(i32, 4),
        Vr::SS => joined!(i16, 2),
        Vr::SV => joined!(i64, 8),
        Vr::UL => joined!(u32, 4),
        Vr::US => joined!(u16, 2),
        Vr::UV => joined!(u64, 8),
        _ => return None,
    })
}

fn join<const N: usize>(
    bytes: &[u8],
    one: impl Fn(&mut String, [u8; N]) -> std::fmt::Result,
) -> String {
    let mut out = String::new();
    for (at, number) in bytes.as_chunks::<N>().0.iter().enumerate() {
        if at > 0 {
            out.push('\\');
        }
        // Writing to a String does not fail.
        let _ = one(&mut out, *number);
    }
    out
}

/// Whether `vr` holds text.
#[must_use]
pub fn is_text(vr: Vr) -> bool {
    use Vr::{AE, AS, CS, DA, DS, DT, IS, LO, LT, PN, SH, ST, TM, UC, UI, UR, UT};
    matches!(
        vr,
        AE | AS | CS | DA | DS | DT | IS | LO | LT | PN | SH | ST | TM | UC | UI | UR | UT
    )
}

/// Takes the padding off a text (PS3.5 6.2): NUL and space behind each value, and spaces before it
/// where they are not significant.
#[must_use]
pub fn unpadded(vr: Vr, text: &str) -> std::borrow::Cow<'_, str> {
    let keeps_leading = matches!(vr, Vr::LT | Vr::ST | Vr::UC | Vr::UR | Vr::UT);
    let single = matches!(vr, Vr::LT | Vr::ST | Vr::UR | Vr::UT);
    if !text.bytes().fold(false, |found, b| found | is_padding(b)) {
        return text.into();
    }
    if single || !text.contains('\\') {
        return trimmed(text, keeps_leading).into();
    }
    let mut out = String::with_capacity(text.len());
    for (at, value) in text.split('\\').enumerate() {
        if at > 0 {
            out.push('\\');
        }
        out.push_str(trimmed(value, keeps_leading));
    }
    out.into()
}

const fn is_padding(byte: u8) -> bool {
    byte == b' ' || byte == 0
}

fn trimmed(value: &str, keeps_leading: bool) -> &str {
    let bytes = value.as_bytes();
    let end = bytes
        .iter()
        .rposition(|&b| !is_padding(b))
        .map_or(0, |last| last.saturating_add(1));
    let start = if keeps_leading {
        0
    } else {
        bytes.iter().take(end).take_while(|&&b| b == b' ').count()
    };
    value.get(start..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binary_numbers_become_decimal_text() {
        assert_eq!(numbers(Vr::US, &[0, 2, 1, 0], false).unwrap(), "512\\1");
        assert_eq!(numbers(Vr::US, &[2, 0], true).unwrap(), "512");
        assert_eq!(numbers(Vr::SL, &[0xFF; 4], false).unwrap(), "-1");
        assert_eq!(
            numbers(Vr::AT, &[0x10, 0, 0x20, 0], false).unwrap(),
            "00100020"
        );
        assert_eq!(
            numbers(Vr::FD, &1.5f64.to_le_bytes(), false).unwrap(),
            "1.5"
        );
        assert_eq!(numbers(Vr::LO, b"12", false), None);
    }

    #[test]
    fn padding_comes_off_every_value() {
        assert_eq!(unpadded(Vr::CS, "ORIGINAL\\PRIMARY "), "ORIGINAL\\PRIMARY");
        assert_eq!(unpadded(Vr::DS, " 1.0 \\ 2\0"), "1.0\\2");
        assert_eq!(unpadded(Vr::UI, "1.2.3\0"), "1.2.3");
        assert_eq!(unpadded(Vr::LT, "  indented  "), "  indented");
        assert_eq!(unpadded(Vr::LO, "   "), "");
    }
}
