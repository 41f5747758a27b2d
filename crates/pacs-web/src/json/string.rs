//! JSON strings (RFC 8259 7).

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Writes `text` in quotes.
pub(super) fn write(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut rest = bytes;
    while let Some(at) = rest
        .iter()
        .position(|&b| b < 0x20 || b == b'"' || b == b'\\')
    {
        let (plain, from) = rest.split_at(at);
        out.extend_from_slice(plain);
        let Some((&special, after)) = from.split_first() else {
            break;
        };
        escape(out, special);
        rest = after;
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

fn escape(out: &mut Vec<u8>, byte: u8) {
    match byte {
        b'"' => out.extend_from_slice(b"\\\""),
        b'\\' => out.extend_from_slice(b"\\\\"),
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        b'\t' => out.extend_from_slice(b"\\t"),
        other => {
            let digit = |nibble: u8| HEX.get(usize::from(nibble & 15)).copied().unwrap_or(b'0');
            out.extend_from_slice(b"\\u00");
            out.extend([digit(other >> 4), digit(other)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_character_comes_back() {
        let mut text: String = (0..0x80_u8).map(char::from).collect();
        text.push_str("\\\"Ыңkа\u{2028}\u{1F600}");
        let mut out = Vec::new();
        write(&mut out, &text);
        let read: String = serde_json::from_slice(&out).unwrap();
        assert_eq!(read, text);
    }
}
