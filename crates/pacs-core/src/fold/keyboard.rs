//! Names that were typed with the keyboard set to Latin letters.

/// The letters of a keyboard with Latin letters, in rows, and the Russian ones on the same keys.
const KEYS: (&str, &str) = (
    "`qwertyuiop[]asdfghjkl;'zxcvbnm,.~QWERTYUIOP{}ASDFGHJKL:\"ZXCVBNM<>",
    "ёйцукенгшщзхъфывапролджэячсмитьбюЁЙЦУКЕНГШЩЗХЪФЫВАПРОЛДЖЭЯЧСМИТЬБЮ",
);

/// What was typed, had the keyboard been set to Russian letters; `None` where it says something in
/// other letters already, or nothing.
///
/// It is for a second attempt, where a search found nobody. Letters that are Kyrgyz alone stand on
/// no key of their own; [`super::k1`] and [`super::k2`] do not tell them from their neighbours.
#[must_use]
pub fn retyped(text: &str) -> Option<String> {
    let is_typed_so = text.is_ascii() && text.bytes().any(|b| b.is_ascii_alphabetic());
    is_typed_so.then(|| text.chars().map(russian).collect())
}

fn russian(key: char) -> char {
    let (latin, russian) = KEYS;
    let place = latin.chars().position(|c| c == key);
    place
        .and_then(|place| russian.chars().nth(place))
        .unwrap_or(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fold::k2;

    #[test]
    fn a_name_typed_on_the_wrong_keyboard_is_found_in_a_second_attempt() {
        for (typed, name) in [
            (";'ty,trjd", "Жээнбеков"),
            (";''y,trjd", "Жээнбеков"),
            ("Fcfy eeke", "Асан уулу"),
            ("Oth,frjdf >kbz", "Щербакова Юлия"),
            ("J,]tlrjd", "Объедков"),
            ("{hbcn`yjr-3", "Христёнок-3"),
        ] {
            assert_eq!(k2(&retyped(typed).unwrap()), k2(name), "{typed}");
        }
        assert_eq!(retyped("{hbcn`yjr-3").unwrap(), "Христёнок-3");
    }

    #[test]
    fn what_is_in_other_letters_or_none_is_not_typed_wrong() {
        for text in ["", "2 0101 1990", "Жээнбеков", "Müller"] {
            assert_eq!(retyped(text), None, "{text}");
        }
        let (latin, russian) = KEYS;
        assert_eq!(latin.chars().count(), russian.chars().count());
    }
}
