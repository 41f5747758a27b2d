//! Tests of the foldings, with the vectors they were designed on.

use super::*;

#[test]
fn spellings_of_one_name_have_one_search_key() {
    let groups: [(&str, &[&str]); 8] = [
        (
            "jenbekov",
            &[
                "Жээнбеков",
                "Zheenbekov",
                "Jeenbekov",
                "ЖЕЕНБЕКОВ",
                "Женбеков",
            ],
        ),
        ("uson", &["Үсөн", "Усон", "Uson", "Üsön"]),
        (
            "qiniz",
            &["Чыңгыз", "Чынгыз", "Chyngyz", "Chingiz", "Чингиз"],
        ),
        ("fedor", &["Фёдор", "Федор", "Fedor"]),
        ("ula", &["Юлия", "Iuliia", "Yulia", "Yuliya"]),
        ("aigul", &["Айгүл", "Айгуль", "Aigul", "Aygul"]),
        ("don arik", &["Дөң-Арык", "Dong-Aryk", "Дон Арык"]),
        ("obedkov", &["Объедков", "Obiedkov"]),
    ];
    for (key, spellings) in groups {
        for spelling in spellings {
            assert_eq!(k2(spelling), key, "{spelling}");
        }
    }
}

#[test]
fn a_name_and_its_transliteration_have_one_search_key() {
    for name in [
        "Жээнбеков^Үсөн^Өмүрбекович",
        "Щербакова^Юлия^Ильинична",
        "Объедков",
    ] {
        assert_eq!(k2(&transliterate(name)), k2(name), "{name}");
    }
}

#[test]
fn k1_keeps_the_script_and_loses_case_marks_and_delimiters() {
    assert_eq!(k1("ЖЭЭНБЕКОВ^Үсөн^^"), "жээнбеков усон");
    assert_eq!(k1("Дөң-Арык, 5."), "дон арык 5");
    assert_eq!(k1("O'Brien=D\u{2019}Arc"), "obrien darc");
    assert_eq!(k1("Фе\u{308}дор"), "федор");
    assert_eq!(k1("и\u{306}"), "й");
}

/// The table of ICAO 9303 for Russian letters, and N, O, U for the Kyrgyz ones.
#[test]
fn every_letter_has_the_spelling_of_passports() {
    let table = "а a б b в v г g д d е e ё e ж zh з z и i й i к k л l м m н n ң n о o ө o \
        п p р r с s т t у u ү u ф f х kh ц ts ч ch ш sh щ shch ъ ie ы y э e ю iu я ia";
    let letters: Vec<&str> = table.split_whitespace().collect();
    assert_eq!(letters.len(), 2 * 35);
    for pair in letters.chunks(2) {
        let latin = pair[1].to_uppercase();
        assert_eq!(transliterate(pair[0]), latin, "{}", pair[0]);
        assert_eq!(transliterate(&pair[0].to_uppercase()), latin);
    }
    assert_eq!(transliterate("ьЬ"), "");
}

#[test]
fn names_are_transliterated_as_passports_spell_them() {
    let cases = [
        ("Жээнбеков^Үсөн^Өмүрбекович", "ZHEENBEKOV^USON^OMURBEKOVICH"),
        ("Айгүл", "AIGUL"),
        ("Щербакова^Юлия^Ильинична", "SHCHERBAKOVA^IULIIA^ILINICHNA"),
        ("Асан уулу^Чыңгыз", "ASAN UULU^CHYNGYZ"),
        ("Объедков", "OBIEEDKOV"),
        ("Фе\u{308}дор", "FEDOR"),
        ("Müller-Ив", "MÜLLER-IV"),
    ];
    for (name, latin) in cases {
        assert_eq!(transliterate(name), latin);
    }
}

#[test]
fn every_letter_of_the_table_is_transliterated() {
    let lower = "абвгдеёжзийклмнңоөпрстуүфхцчшщъыьэюя";
    let latin = "ABVGDEEZHZIIKLMNNOOPRSTUUFKHTSCHSHSHCHIEYEIUIA";
    assert_eq!(transliterate(lower), latin);
    assert_eq!(transliterate(&lower.to_uppercase()), latin);
}

#[test]
fn a_name_key_keeps_structure_and_folds_spelling() {
    let cases = [
        ("ИВАНОВ^Фёдор^^", "иванов^федор"),
        ("ИВАНОВ ^ Фёдор  Петрович ^^=", "иванов^федор  петрович"),
        ("Жээнбеков^Үсөн==", "жээнбеков^усон"),
        ("A^^^DR^=B^C", "a^^^dr=b^c"),
        ("=Иванов", "=иванов"),
        ("O'BRIEN^D\u{2019}ARCY", "obrien^darcy"),
        ("^^^", ""),
        ("  ", ""),
        ("A^B\\C^^\\", "a^b\\c\\"),
        ("Ив*ё?^*", "ив*е?^*"),
        (
            "Yamada^Tarou=山田^太郎=やまだ^たろう",
            "yamada^tarou=山田^太郎=やまだ^たろう",
        ),
    ];
    for (name, key) in cases {
        assert_eq!(matching_key(Vr::PN, name), key, "{name}");
    }
}

#[test]
fn other_text_loses_insignificant_spaces_alone() {
    let cases = [
        (Vr::LO, " a'Ё  b \\ c ", "a'Ё  b\\c"),
        (Vr::LO, "е\u{308}", "ё"),
        (Vr::ST, " a\\b  ", " a\\b"),
        (Vr::UI, "1.2.3\0", "1.2.3"),
        (Vr::UI, "1.2\0\\1.3", "1.2\\1.3"),
        (Vr::CS, "CT \\MR", "CT\\MR"),
        (Vr::SH, "", ""),
    ];
    for (vr, text, key) in cases {
        assert_eq!(matching_key(vr, text), key, "{vr:?} {text}");
    }
}

#[test]
fn numbers_have_one_form() {
    let cases = [
        (Vr::IS, "01 ", "1"),
        (Vr::IS, "+7", "7"),
        (Vr::IS, "-007", "-7"),
        (Vr::IS, "-7", "-7"),
        (Vr::IS, "-0", "0"),
        (Vr::IS, "1\\02", "1\\2"),
        (Vr::DS, "1.50", "1.5"),
        (Vr::DS, "15e-1", "1.5"),
        (Vr::DS, "-0.0", "0"),
        (Vr::DS, "1e300", "1e300"),
        (Vr::DS, "10E299", "1e300"),
        (Vr::DS, "inf", "inf"),
        (Vr::US, "512", "512"),
        (Vr::IS, "", ""),
        (Vr::IS, "x", "x"),
    ];
    for (vr, text, key) in cases {
        assert_eq!(matching_key(vr, text), key, "{text}");
    }
}

#[test]
fn what_is_its_own_key_is_not_copied() {
    for (vr, text) in [
        (Vr::UI, "1.2.3"),
        (Vr::LO, "P1"),
        (Vr::IS, "17"),
        (Vr::CS, "CT\\MR"),
    ] {
        assert!(matches!(matching_key(vr, text), Cow::Borrowed(_)), "{text}");
    }
}

#[test]
fn entries_are_the_values_and_groups_that_hold_something() {
    let of = |vr, key| entries(vr, key).collect::<Vec<_>>();

    assert_eq!(of(Vr::PN, "a^b=c\\=d"), ["a^b", "c", "d"]);
    assert_eq!(of(Vr::CS, "CT\\\\MR"), ["CT", "MR"]);
    assert_eq!(of(Vr::ST, "a\\b=c"), ["a\\b=c"]);
    assert_eq!(of(Vr::LO, ""), [""; 0]);
}
