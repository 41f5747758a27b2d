//! Base64 (RFC 4648 4), with padding.

const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Writes `bytes`.
pub(crate) fn write(out: &mut Vec<u8>, bytes: &[u8]) {
    let letter = |bits: u32| {
        let at = usize::try_from(bits & 63).unwrap_or(0);
        LETTERS.get(at).copied().unwrap_or(b'A')
    };
    out.reserve(bytes.len().div_ceil(3).saturating_mul(4));
    for chunk in bytes.chunks(3) {
        let at = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let bits = (at(0) << 16) | (at(1) << 8) | at(2);
        out.push(letter(bits >> 18));
        out.push(letter(bits >> 12));
        out.push(if chunk.len() > 1 {
            letter(bits >> 6)
        } else {
            b'='
        });
        out.push(if chunk.len() > 2 { letter(bits) } else { b'=' });
    }
}

/// Reads text that may have white space in it; `None` where it is not whole or not this.
pub(crate) fn read(text: &str) -> Option<Vec<u8>> {
    let is_space = |b: &u8| matches!(b, b' ' | b'\t' | b'\n' | b'\r');
    let mut bytes = Vec::with_capacity((text.len() / 4).saturating_mul(3));
    let (mut bits, mut letters_count, mut padding_count) = (0_u32, 0_u8, 0_u8);
    for byte in text.bytes().filter(|b| !is_space(b)) {
        let value = match byte {
            b'A'..=b'Z' => byte.wrapping_sub(b'A'),
            b'a'..=b'z' => byte.wrapping_sub(b'a').wrapping_add(26),
            b'0'..=b'9' => byte.wrapping_sub(b'0').wrapping_add(52),
            b'+' => 62,
            b'/' => 63,
            b'=' if letters_count >= 2 => {
                padding_count = padding_count.saturating_add(1);
                0
            }
            _ => return None,
        };
        if padding_count > 0 && byte != b'=' || bits > u32::MAX >> 6 {
            return None;
        }
        bits = (bits << 6) | u32::from(value);
        letters_count = letters_count.saturating_add(1);
        if letters_count == 4 {
            let [_, first, second, third] = bits.to_be_bytes();
            let whole = [first, second, third];
            let count = 3_usize.saturating_sub(usize::from(padding_count));
            if whole.iter().skip(count).any(|byte| *byte != 0) {
                return None;
            }
            bytes.extend(whole.iter().take(count));
            (bits, letters_count) = (0, 0);
            if padding_count > 0 {
                // Nothing may be behind the end.
                bits = u32::MAX;
            }
        }
    }
    (letters_count == 0).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vectors_of_rfc_4648_come_out() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            let mut out = Vec::new();
            write(&mut out, bytes.as_bytes());
            assert_eq!(out, text.as_bytes());
            assert_eq!(read(text).as_deref(), Some(bytes.as_bytes()));
        }
        for text in [
            "Z", "Zg", "Zg=", "Zh==", "Zg==Zg==", "Zm9=", "Zm9v=", "====", "Z-==", "é",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(read("Zm9v\r\nYg==").as_deref(), Some(b"foob".as_slice()));
        let mut out = Vec::new();
        write(&mut out, &[0xFB, 0xFF, 0xBF]);
        assert_eq!(out, b"+/+/");
        assert_eq!(read("+/\n +/").unwrap(), [0xFB, 0xFF, 0xBF]);
    }

    #[test]
    fn what_is_not_whole_or_not_base64_is_none() {
        for text in [
            "Z", "Zg", "Zg=", "Zh==", "Zm9=", "Zg==Zg==", "=", "====", "Z===", "Zm9v=", "Zm-v",
            "Z=9v", "Zg==\0",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
