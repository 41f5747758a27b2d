//! Examples of PS3.5 annexes H, I, J and K, and what devices make of them.

use super::*;

#[track_caller]
fn check(terms: &[u8], vr: Vr, bytes: &[u8], expected: &str) {
    let decoded = CharacterSets::decode_term_list(terms).decode(vr, bytes);
    assert_eq!(decoded.text, expected);
    assert!(!decoded.is_suspect);
}

#[track_caller]
fn check_suspect(terms: &[u8], vr: Vr, bytes: &[u8], expected: &str) {
    let decoded = CharacterSets::decode_term_list(terms).decode(vr, bytes);
    assert_eq!(decoded.text, expected);
    assert!(decoded.is_suspect);
}

#[test]
fn ascii_is_the_same_in_every_set() {
    for terms in [
        &b""[..],
        b"ISO_IR 144",
        b"ISO_IR 192",
        b"GB18030",
        b"\\ISO 2022 IR 87",
    ] {
        check(terms, Vr::PN, b"Doe^John", "Doe^John");
    }
}

#[test]
fn each_single_byte_set_has_its_letters() {
    for (terms, byte, expected) in [
        (&b"ISO_IR 100"[..], 0xE9, "é"),
        (b"ISO_IR 101", 0xB3, "ł"),
        (b"ISO_IR 109", 0xF8, "ĝ"),
        (b"ISO_IR 110", 0xF1, "ņ"),
        (b"ISO_IR 126", 0xE1, "α"),
        (b"ISO_IR 127", 0xC7, "ا"),
        (b"ISO_IR 138", 0xE0, "א"),
        (b"ISO_IR 144", 0xD0, "а"),
        (b"ISO_IR 148", 0xFD, "ı"),
        (b"ISO_IR 166", 0xA1, "ก"),
        (b"ISO_IR 203", 0xA4, "€"),
        (b"ISO_IR 13", 0xD4, "ﾔ"),
        (b"ISO 2022 IR 100", 0xE9, "é"),
    ] {
        check(terms, Vr::LO, &[byte], expected);
    }
}

#[test]
fn japanese_names_of_annex_h_are_read() {
    let expected = "Yamada^Tarou=山田^太郎=やまだ^たろう";
    check(
        b"\\ISO 2022 IR 87",
        Vr::PN,
        b"Yamada^Tarou=\x1B$B;3ED\x1B(B^\x1B$BB@O:\x1B(B=\x1B$B$d$^$@\x1B(B^\x1B$B$?$m$&\x1B(B",
        expected,
    );
    check(
        b"ISO 2022 IR 13\\ISO 2022 IR 87",
        Vr::PN,
        b"\xD4\xCF\xC0\xDE^\xC0\xDB\xB3=\x1B$B;3ED\x1B(J^\x1B$BB@O:\x1B(J",
        "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎",
    );
}

#[test]
fn korean_and_chinese_call_their_set_again_after_each_delimiter() {
    check(
        b"\\ISO 2022 IR 149",
        Vr::PN,
        b"Hong^Gildong=\x1B$)C\xFB\xF3^\x1B$)C\xD1\xCE\xD4\xD7",
        "Hong^Gildong=洪^吉洞",
    );
    check(
        b"\\ISO 2022 IR 58",
        Vr::PN,
        b"Zhang^XiaoDong=\x1B$)A\xD5\xC5^\x1B$)A\xD0\xA1\xB6\xAB",
        "Zhang^XiaoDong=张^小东",
    );
    check_suspect(
        b"\\ISO 2022 IR 149",
        Vr::PN,
        b"Hong^Gildong=\x1B$)C\xFB\xF3^\xD1\xCE\xD4\xD7",
        "Hong^Gildong=洪^吉洞",
    );
}

#[test]
fn a_right_half_is_called_until_the_delimiter() {
    check(
        b"\\ISO 2022 IR 144",
        Vr::PN,
        b"Ivanov^Petr=\x1B-L\xB8\xD2\xD0\xDD\xDE\xD2^\x1B-L\xBF\xF1\xE2\xE0",
        "Ivanov^Petr=Иванов^Пётр",
    );
    check(
        b"ISO 2022 IR 100\\ISO 2022 IR 144",
        Vr::LO,
        b"\xE9\x1B-L\xD0\\\xE9",
        "éа\\é",
    );
}

#[test]
fn a_backslash_that_is_half_a_character_splits_nothing() {
    // GB18030: the second byte of 誠 is 0x5C.
    check(b"GB18030", Vr::LO, b"\xD5\x5C", "誠");
    check(b"GBK", Vr::LO, b"\xD5\x5C\\A", "誠\\A");
    // JIS X 0208: 冊 is 0x3A7D, 申 0x3F3D with the byte of the equals sign.
    check(b"\\ISO 2022 IR 87", Vr::PN, b"\x1B$B?=\x1B(B", "申");
}

#[test]
fn jis_x_0212_is_read() {
    check(b"\\ISO 2022 IR 159", Vr::LO, b"\x1B$(D0!\x1B(B", "丂");
}

#[test]
fn misspelt_terms_are_understood() {
    for terms in [
        &b"ISO IR 144"[..],
        b"iso-ir 144 ",
        b"ISO_IR_144",
        b"ISO 2022 IR144",
    ] {
        check(terms, Vr::LO, b"\xD0", "а");
    }
}

#[test]
fn undeclared_utf_8_is_taken_and_marked() {
    let name = "Асанова^Айгүл";
    check_suspect(b"", Vr::PN, name.as_bytes(), name);
    check_suspect(b"ISO_IR 100", Vr::PN, name.as_bytes(), name);
    check_suspect(b"ISO_IR 100", Vr::LO, "МРТ".as_bytes(), "МРТ");
}

#[test]
fn windows_1251_is_recognised_and_marked() {
    let (bytes, _, _) = encoding_rs::WINDOWS_1251.encode("Сидорова^Мария^Ивановна");
    for terms in [
        &b""[..],
        b"ISO_IR 144",
        b"ISO_IR 100",
        b"WINDOWS_1251",
        b"ISO_IR 192",
    ] {
        check_suspect(terms, Vr::PN, &bytes, "Сидорова^Мария^Ивановна");
    }
    let (bytes, _, _) = encoding_rs::WINDOWS_1251.encode("Флюорография");
    check_suspect(b"ISO_IR 144", Vr::LO, &bytes, "Флюорография");
}

#[test]
fn what_is_declared_right_is_not_doubted() {
    for (terms, encoding, text) in [
        (
            &b"ISO_IR 144"[..],
            encoding_rs::ISO_8859_5,
            "Кузнецова^Анна^Сергеевна",
        ),
        (b"ISO_IR 144", encoding_rs::ISO_8859_5, "Люкceмбypг № 5"),
        (b"ISO_IR 144", encoding_rs::ISO_8859_5, "Ђорђевић^Љиљана"),
        (b"ISO_IR 144", encoding_rs::ISO_8859_5, "Їжакевич^Олексій"),
        (b"ISO_IR 144", encoding_rs::ISO_8859_5, "ЧАЩА"),
        (b"ISO_IR 144", encoding_rs::ISO_8859_5, "КТ№5"),
        (b"ISO_IR 144", encoding_rs::ISO_8859_5, "Больница №3"),
        (b"ISO_IR 100", encoding_rs::WINDOWS_1252, "Buc^Jérôme"),
        (b"ISO_IR 100", encoding_rs::WINDOWS_1252, "Äneas^Rüdiger"),
        (b"ISO_IR 100", encoding_rs::WINDOWS_1252, "été à 37° ½ 5µm"),
        (b"ISO_IR 101", encoding_rs::ISO_8859_2, "Żółkiewski^Łukasz"),
        (b"ISO_IR 110", encoding_rs::ISO_8859_4, "Bērziņš^Jānis"),
    ] {
        let (bytes, _, _) = encoding.encode(text);
        let decoded = CharacterSets::decode_term_list(terms).decode(Vr::PN, &bytes);
        assert_eq!(decoded.text, text);
        assert!(!decoded.is_suspect, "{text}");
    }
}

#[test]
fn bytes_of_no_set_are_kept_and_marked() {
    check_suspect(
        b"ISO_IR 192",
        Vr::LO,
        b"MRT \xD0\x9C\xD0\xA0\xD0",
        "MRT МР\u{FFFD}",
    );
    let decoded = CharacterSets::decode_term_list(b"ISO_IR 127").decode(Vr::LO, b"a\xFFb");
    assert!(decoded.is_suspect);
    assert!(decoded.text.starts_with('a') && decoded.text.ends_with('b'));
    let decoded = CharacterSets::DEFAULT.decode(Vr::LO, b"\x1B$B;3");
    assert!(decoded.is_suspect);
}

#[test]
fn no_bytes_make_the_decoder_fail() {
    let lists: [&[u8]; 5] = [
        b"",
        b"ISO_IR 192",
        b"GB18030",
        b"ISO 2022 IR 13\\ISO 2022 IR 87\\ISO 2022 IR 159\\ISO 2022 IR 149\\ISO 2022 IR 58",
        b"X",
    ];
    for terms in lists {
        let sets = CharacterSets::decode_term_list(terms);
        for a in 0..=255 {
            for b in 0..=255 {
                for tail in [&b""[..], b"$B", b"(B", b"$)C\xB0"] {
                    let bytes = [&[a, b][..], tail, &[b, ESCAPE, a]].concat();
                    let text = sets.decode(Vr::PN, &bytes).text;
                    assert!(!text.is_empty());
                }
            }
        }
    }
}
