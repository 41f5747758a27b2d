//! Text whose bytes do not follow the declared set: what it most likely says.
//!
//! UTF-8 recognises itself. Among the sets of single bytes, the reading wins whose words look like
//! words: no symbols inside them, no capital after a small letter, one script. A guess is always
//! marked as one.

use super::Set;
use crate::tag::Vr;
use encoding_rs::Encoding;

/// What undeclared bytes are tried as, likeliest first: devices here write Windows-1251.
const CANDIDATES: &[&Encoding] = &[
    encoding_rs::WINDOWS_1251,
    encoding_rs::ISO_8859_5,
    encoding_rs::KOI8_R,
    encoding_rs::WINDOWS_1252,
];

/// Whether a reading that follows its set still looks wrong.
pub(super) fn is_doubtful(declared: Set, bytes: &[u8], text: &str) -> bool {
    if !matches!(
        declared,
        Set::Cyrillic
            | Set::Latin1
            | Set::Latin2
            | Set::Latin3
            | Set::Latin4
            | Set::Latin9
            | Set::Turkish
    ) || bytes.contains(&super::ESCAPE)
    {
        return false;
    }
    strangeness(text, false) > 0
}

/// The best reading of `bytes`, and whether it is another than the declared one.
pub(super) fn best(
    declared: Set,
    vr: Vr,
    bytes: &[u8],
    reading: String,
    follows: bool,
) -> (String, bool) {
    if bytes.contains(&super::ESCAPE) {
        return (reading, false);
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        let is_other = declared != Set::Utf8 && !text.is_ascii();
        return (text.to_owned(), is_other);
    }
    let is_name = vr == Vr::PN;
    // A set of several bytes that breaks off keeps what it could read, unless that is next to
    // nothing.
    let gaps = reading.matches(char::REPLACEMENT_CHARACTER).count();
    let letters = reading.chars().filter(|c| !c.is_ascii()).count();
    if !declared.is_single_byte() && gaps.saturating_mul(2) < letters {
        return (reading, false);
    }
    // Another reading has to be clearly better than one that follows its set.
    let mut strangest = if follows && declared != Set::Ascii {
        strangeness(&reading, is_name).saturating_sub(1)
    } else {
        u32::MAX
    };
    let mut answer = None;
    // What is declared as Cyrillic is another Cyrillic set, if it is not what it says.
    let candidates = CANDIDATES
        .iter()
        .filter(|e| declared != Set::Cyrillic || **e != encoding_rs::WINDOWS_1252);
    for encoding in candidates {
        let (text, _) = encoding.decode_without_bom_handling(bytes);
        let strange = strangeness(&text, is_name);
        if strange < strangest {
            strangest = strange;
            answer = Some(text.into_owned());
        }
    }
    match answer {
        Some(text) => (text, true),
        None => (reading, false),
    }
}

/// Scripts that a word does not mix.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Script {
    Cyrillic,
    Latin,
    Other,
}

impl Script {
    fn of(c: char) -> Self {
        match c {
            'A'..='Z' | 'a'..='z' | '\u{C0}'..='\u{24F}' => Self::Latin,
            '\u{400}'..='\u{52F}' => Self::Cyrillic,
            _ => Self::Other,
        }
    }
}

/// How little a text looks like one: 0 is ordinary.
fn strangeness(text: &str, is_name: bool) -> u32 {
    let mut sum = 0_u32;
    for word in text.split(|c: char| {
        c.is_ascii() && !c.is_ascii_alphanumeric() && c != '\'' || c == '\u{A0}' || c == '—'
    }) {
        sum = sum.saturating_add(strangeness_of_word(word, is_name));
    }
    sum
}

fn strangeness_of_word(word: &str, is_name: bool) -> u32 {
    if word.is_ascii() {
        return 0;
    }
    let mut sum = 0_u32;
    let mut before: Option<char> = None;
    let mut letters = 0_usize;
    let mut foreign_letters = 0_usize;
    let mut characters = word.chars().peekable();
    while let Some(c) = characters.next() {
        let after = characters.peek().copied();
        sum = sum.saturating_add(strangeness_of_character(before, c, after));
        if c.is_alphabetic() {
            letters = letters.saturating_add(1);
            if !c.is_ascii() && Script::of(c) == Script::Latin {
                foreign_letters = foreign_letters.saturating_add(1);
            }
        }
        before = Some(c);
    }
    // Words of accented letters alone are another script, misread.
    if letters >= 3 && foreign_letters == letters {
        sum = sum.saturating_add(4);
    }
    let begins_small = word.chars().next().is_some_and(char::is_lowercase);
    sum.saturating_add(u32::from(is_name && begins_small))
}

fn strangeness_of_character(before: Option<char>, c: char, after: Option<char>) -> u32 {
    let is_control = c.is_control() && !c.is_ascii();
    let is_drawing = matches!(c, '\u{2500}'..='\u{25FF}');
    if c == char::REPLACEMENT_CHARACTER || is_control || is_drawing {
        return 5;
    }
    if !c.is_ascii() && !c.is_alphabetic() {
        // Signs like № and ° stand before or behind words, hardly ever in one.
        let in_word = [before, after].map(|c| c.is_some_and(char::is_alphabetic));
        return match in_word {
            [true, true] => 3,
            [true, false] if !"»”’".contains(c) => 1,
            _ => 0,
        };
    }
    let mut sum = 0;
    if let Some(before) = before {
        let scripts = (Script::of(before), Script::of(c));
        if matches!(
            scripts,
            (Script::Latin, Script::Cyrillic) | (Script::Cyrillic, Script::Latin)
        ) {
            // Letters of the same shape are mixed up at every keyboard.
            sum = if [before, c]
                .iter()
                .any(|c| "aceopxyABCEHKMOPTX".contains(*c))
            {
                1
            } else {
                3
            };
        }
        if before.is_lowercase() && c.is_uppercase() && !(before.is_ascii() && c.is_ascii()) {
            sum = 2;
        }
    }
    // Letters of Cyrillic beyond Russian are rarer than misreadings of Russian.
    if Script::of(c) == Script::Cyrillic && !matches!(c, 'А'..='я' | 'Ё' | 'ё') {
        sum = 1_u32.saturating_add(sum);
    }
    sum
}
