//! Keys for finding people: `k1` within a script, `k2` across Cyrillic and Latin spellings.
//!
//! They are for search fields and suggestions, and never for linking records without a person.

use super::{each_composed, is_apostrophe, push_folded};
use unicode_normalization::{UnicodeNormalization as _, char::is_combining_mark};

/// The key of a name within its script: lower case, without apostrophes, with single spaces in
/// place of delimiters, and Ё/Ң/Ө/Ү as Е/Н/О/У.
#[must_use]
pub fn k1(text: &str) -> String {
    let mut key = String::with_capacity(text.len());
    let mut space = false;
    each_composed(text, |c| match c {
        '^' | '=' | '-' | '.' | ',' => space = true,
        c if c.is_whitespace() => space = true,
        c if is_apostrophe(c) => {}
        c => {
            if std::mem::take(&mut space) && !key.is_empty() {
                key.push(' ');
            }
            push_folded(&mut key, c);
        }
    });
    key
}

/// The key of a name in any script: spellings of one name in Cyrillic, Latin transliterations and
/// Kyrgyz letters meet in one key.
#[must_use]
pub fn k2(text: &str) -> String {
    let mut key = String::with_capacity(text.len());
    for c in k1(text).nfkd().filter(|c| !is_combining_mark(*c)) {
        if let Some(letter) = one_letter(c) {
            key.push(letter);
        }
    }
    let mut key = without_doubles(&key);
    for (spelling, letter) in SPELLINGS {
        if key.contains(spelling) {
            key = key.replace(spelling, letter);
        }
    }
    without_doubles(&key)
}

/// Latin spellings of the sounds that [`one_letter`] gives a letter, the longer ones first.
const SPELLINGS: [(&str, &str); 14] = [
    ("shch", "w"),
    ("sch", "w"),
    ("dzh", "j"),
    ("zh", "j"),
    ("kh", "h"),
    ("ts", "c"),
    ("tch", "q"),
    ("ch", "q"),
    ("sh", "w"),
    ("iu", "u"),
    ("ia", "a"),
    ("io", "e"),
    ("ie", "e"),
    ("ng", "n"),
];

/// One Latin letter for each Cyrillic one; nothing for the signs.
const fn one_letter(c: char) -> Option<char> {
    Some(match c {
        'а' | 'я' => 'a',
        'б' => 'b',
        'в' => 'v',
        'г' => 'g',
        'д' => 'd',
        'е' | 'э' | 'ё' => 'e',
        'ж' => 'j',
        'з' => 'z',
        'и' | 'й' | 'ы' | 'y' => 'i',
        'к' => 'k',
        'л' => 'l',
        'м' => 'm',
        'н' => 'n',
        'о' => 'o',
        'п' => 'p',
        'р' => 'r',
        'с' => 's',
        'т' => 't',
        'у' | 'ю' => 'u',
        'ф' => 'f',
        'х' => 'h',
        'ц' => 'c',
        'ч' => 'q',
        'ш' | 'щ' => 'w',
        'ъ' | 'ь' => return None,
        other => other,
    })
}

fn without_doubles(text: &str) -> String {
    let mut key = String::with_capacity(text.len());
    let mut last = None;
    for c in text.chars() {
        if last != Some(c) {
            key.push(c);
        }
        last = Some(c);
    }
    key
}
