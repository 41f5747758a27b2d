//! The Latin form of a Cyrillic name, as ICAO 9303 spells passports; Ң, Ө, Ү as N, O, U.

use super::each_composed;

/// `text` in Latin capitals. What is not Cyrillic stays, in capitals; delimiters stay.
///
/// It is a proposal for a name whose holder's own spelling is not known; it cannot be turned back.
#[must_use]
pub fn transliterate(text: &str) -> String {
    let mut latin = String::with_capacity(text.len());
    each_composed(text, |c| {
        for c in c.to_uppercase() {
            match spelling(c) {
                Some(letters) => latin.push_str(letters),
                None => latin.push(c),
            }
        }
    });
    latin
}

const fn spelling(capital: char) -> Option<&'static str> {
    Some(match capital {
        'А' => "A",
        'Б' => "B",
        'В' => "V",
        'Г' => "G",
        'Д' => "D",
        'Е' | 'Ё' | 'Э' => "E",
        'Ж' => "ZH",
        'З' => "Z",
        'И' | 'Й' => "I",
        'К' => "K",
        'Л' => "L",
        'М' => "M",
        'Н' | 'Ң' => "N",
        'О' | 'Ө' => "O",
        'П' => "P",
        'Р' => "R",
        'С' => "S",
        'Т' => "T",
        'У' | 'Ү' => "U",
        'Ф' => "F",
        'Х' => "KH",
        'Ц' => "TS",
        'Ч' => "CH",
        'Ш' => "SH",
        'Щ' => "SHCH",
        'Ъ' => "IE",
        'Ы' => "Y",
        'Ь' => "",
        'Ю' => "IU",
        'Я' => "IA",
        _ => return None,
    })
}
