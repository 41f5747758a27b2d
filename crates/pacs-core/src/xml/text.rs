//! Characters of XML 1.0 (2.2, 2.4).

/// Whether XML can hold it.
pub(super) const fn is_character(c: char) -> bool {
    !matches!(c, '\0'..='\u{8}' | '\u{B}' | '\u{C}' | '\u{E}'..='\u{1F}' | '\u{FFFE}' | '\u{FFFF}')
}

/// Writes `text` between two tags, or between quotes. What XML cannot hold becomes U+FFFD.
pub fn write(out: &mut Vec<u8>, text: &str) {
    let mut rest = text;
    while let Some((at, special)) = rest.char_indices().find(|(_, c)| is_special(*c)) {
        let (plain, from) = rest.split_at(at);
        out.extend_from_slice(plain.as_bytes());
        out.extend_from_slice(match special {
            '&' => b"&amp;",
            '<' => b"&lt;",
            '>' => b"&gt;",
            '"' => b"&quot;",
            // A reader would take the bare characters for spaces or one line feed.
            '\t' => b"&#9;",
            '\n' => b"&#10;",
            '\r' => b"&#13;",
            _ => "\u{FFFD}".as_bytes(),
        });
        rest = from.get(special.len_utf8()..).unwrap_or_default();
    }
    out.extend_from_slice(rest.as_bytes());
}

const fn is_special(c: char) -> bool {
    matches!(c, '&' | '<' | '>' | '"' | '\t' | '\n' | '\r') || !is_character(c)
}
