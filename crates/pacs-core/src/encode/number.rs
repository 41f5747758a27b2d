//! Decimal text as the bytes of a binary VR (PS3.5 6.2).

use crate::tag::{Tag, Vr};
use std::str::FromStr;

/// Appends one value; `None` where `text` is not a number of this VR. An empty value of a list is
/// none.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "every VR that is not named holds no numbers"
)]
pub(super) fn put(out: &mut Vec<u8>, vr: Vr, text: &str, big: bool) -> Option<()> {
    match vr {
        Vr::AT => {
            let tag = tag_from_text(text)?;
            append(out, tag.group().to_le_bytes(), big);
            append(out, tag.element().to_le_bytes(), big);
        }
        Vr::FD => append(out, parse::<f64>(text)?.to_le_bytes(), big),
        Vr::FL => append(out, parse::<f32>(text)?.to_le_bytes(), big),
        Vr::SL => append(out, parse::<i32>(text)?.to_le_bytes(), big),
        Vr::SS => append(out, parse::<i16>(text)?.to_le_bytes(), big),
        Vr::SV => append(out, parse::<i64>(text)?.to_le_bytes(), big),
        Vr::UL => append(out, parse::<u32>(text)?.to_le_bytes(), big),
        Vr::US => append(out, parse::<u16>(text)?.to_le_bytes(), big),
        Vr::UV => append(out, parse::<u64>(text)?.to_le_bytes(), big),
        _ => return None,
    }
    Some(())
}

fn parse<N: FromStr>(text: &str) -> Option<N> {
    text.parse().ok()
}

fn append<const N: usize>(out: &mut Vec<u8>, mut little: [u8; N], big: bool) {
    if big {
        little.reverse();
    }
    out.extend_from_slice(&little);
}

/// `(GGGG,EEEE)`, `GGGG,EEEE` or `GGGGEEEE`.
fn tag_from_text(text: &str) -> Option<Tag> {
    let bare = text
        .strip_prefix('(')
        .and_then(|t| t.strip_suffix(')'))
        .unwrap_or(text);
    let (group, element) = bare.split_once(',').or_else(|| bare.split_at_checked(4))?;
    let half = |digits: &str| {
        let hex = digits.len() == 4 && digits.bytes().all(|b| b.is_ascii_hexdigit());
        hex.then(|| u16::from_str_radix(digits, 16).ok()).flatten()
    };
    Some(Tag(half(group)?, half(element)?))
}
