//! Character sets: of the data set, of items, of private elements, and undeclared ones.

use super::*;

#[test]
fn text_of_every_depth_becomes_utf_8_and_previous_values_keep_their_set() {
    for form in [Form::BigEndian, Form::Explicit] {
        let (out, outcome) = coerced(&write(form, &study()), form, &everything()).unwrap();
        assert_eq!(outcome.guessed_texts, 0);
        assert_eq!(texts(&out, form, tags::TEXT_VALUE), ["Данные"]);
        // It had a name and a weight already.
        assert_eq!(texts(&out, form, tags::INSTITUTION_NAME), ["Больница"]);
        assert_eq!(texts(&out, form, tags::PATIENT_WEIGHT), ["80"]);
        assert_eq!(texts(&out, form, tags::PATIENT_SIZE), ["1.81", ""]);
        let names = ["Жээнбеков^Үсөн^Өмүрбекович", "Иванов"];
        assert_eq!(texts(&out, form, tags::PATIENT_NAME), names);
        let names = ["ZHEENBEKOV^USON^OMURBEKOVICH", ""];
        assert_eq!(texts(&out, form, tags::OTHER_PATIENT_NAMES), names);
        let descriptions = texts(&out, form, tags::SCHEDULED_PROCEDURE_STEP_DESCRIPTION);
        assert_eq!(descriptions, ["КТ: грудная клетка", "КТ"]);
        let ids = texts(&out, form, tags::STUDY_ID);
        assert_eq!(ids, ["250060004329", ""]);
        // In the record the previous bytes stand as they came.
        let bytes = b"\xB8\xD2\xD0\xDD\xDE\xD2";
        assert!(out.windows(6).any(|window| window == bytes));
        assert!(out.windows(10).any(|window| window == b"ISO_IR 144"));
    }
}

/// What another system has recorded before, with a character set of its own.
fn earlier(system: &[u8]) -> Vec<Node> {
    let modified = vec![
        leaf(tags::SPECIFIC_CHARACTER_SET, Vr::CS, "ISO_IR 126"),
        leaf(tags::PATIENT_NAME, Vr::PN, b"\xE1\xE2"),
    ];
    vec![
        sequence(tags::MODIFIED_ATTRIBUTES_SEQUENCE, vec![modified]),
        leaf(tags::MODIFYING_SYSTEM, Vr::LO, system),
    ]
}

#[test]
fn character_sets_of_items_and_of_private_elements_are_minded() {
    let cyrillic = b"\xBA\xC2".to_vec();
    let greek = b"\xE1\xE2".to_vec();
    let nodes = vec![
        leaf(tags::SPECIFIC_CHARACTER_SET, Vr::CS, "ISO_IR 144"),
        leaf(Tag(0x0009, 0x0010), Vr::LO, "CREATOR"),
        leaf(Tag(0x0009, 0x1001), Vr::LO, &cyrillic),
        leaf(Tag(0x0009, 0x1002), Vr::UN, &cyrillic),
        // Not in the set.
        leaf(Tag(0x0009, 0x1003), Vr::LO, b"\x80\xFF\x80\xFF"),
        sequence(
            tags::CONTENT_SEQUENCE,
            vec![
                vec![
                    leaf(tags::SPECIFIC_CHARACTER_SET, Vr::CS, "ISO_IR 126"),
                    leaf(tags::TEXT_VALUE, Vr::UT, &greek),
                ],
                vec![leaf(tags::TEXT_VALUE, Vr::UT, &cyrillic)],
            ],
        ),
        sequence(tags::ORIGINAL_ATTRIBUTES_SEQUENCE, vec![earlier(&cyrillic)]),
    ];
    let mut wanted = vec![
        utf_8(),
        leaf(Tag(0x0009, 0x0010), Vr::LO, "CREATOR"),
        leaf(Tag(0x0009, 0x1001), Vr::LO, "КТ"),
        leaf(Tag(0x0009, 0x1002), Vr::UN, &cyrillic),
        leaf(Tag(0x0009, 0x1003), Vr::LO, b"\x80\xFF\x80\xFF"),
    ];
    wanted.extend(plain_elements());
    wanted.push(sequence(
        tags::CONTENT_SEQUENCE,
        vec![
            vec![leaf(tags::TEXT_VALUE, Vr::UT, "αβ")],
            vec![leaf(tags::TEXT_VALUE, Vr::UT, "КТ")],
        ],
    ));
    let absent = [
        (tags::PATIENT_NAME, Vr::PN),
        (tags::PATIENT_ID, Vr::LO),
        (tags::ISSUER_OF_PATIENT_ID, Vr::LO),
        (tags::PATIENT_BIRTH_DATE, Vr::DA),
        (tags::PATIENT_SEX, Vr::CS),
    ];
    let mut modified = vec![leaf(tags::SPECIFIC_CHARACTER_SET, Vr::CS, "ISO_IR 144")];
    modified.extend(absent.map(|(tag, vr)| leaf(tag, vr, "")));
    wanted.push(sequence(
        tags::ORIGINAL_ATTRIBUTES_SEQUENCE,
        vec![earlier("КТ".as_bytes()), original(modified, vec![])],
    ));
    for form in [Form::Explicit, Form::BigEndian] {
        let (out, outcome) = coerced(&write(form, &nodes), form, &plain_overlay()).unwrap();
        assert_eq!(out, write(form, &wanted), "{form:?}");
        assert_eq!(outcome.guessed_texts, 1);
    }
}

#[test]
fn undeclared_bytes_are_guessed_by_the_device_and_kept_as_nonconforming() {
    // Иванов^Пётр in KOI8-R, which a guess without the device's word takes for something else.
    let name = b"\xE9\xD7\xC1\xCE\xCF\xD7^\xF0\xA3\xD4\xD2".as_slice();
    // Пупок
    let text = b"\xF0\xD5\xD0\xCF\xCB".as_slice();
    let nodes = vec![
        leaf(tags::STUDY_DESCRIPTION, Vr::LO, text),
        leaf(tags::PATIENT_NAME, Vr::PN, name),
        leaf(tags::PATIENT_ID, Vr::LO, "P0000005724"),
        leaf(tags::ISSUER_OF_PATIENT_ID, Vr::LO, "KGPACS"),
        leaf(tags::PATIENT_BIRTH_DATE, Vr::DA, "19900131"),
        leaf(tags::PATIENT_SEX, Vr::CS, "M"),
        sequence(
            tags::CONTENT_SEQUENCE,
            vec![vec![leaf(tags::TEXT_VALUE, Vr::UT, text)]],
        ),
    ];
    let explicit = uid(Form::Explicit.uid());
    let limits = CoerceLimits::default();
    let mut coercer = Coercer::new(&explicit, &explicit, None, plain_overlay(), &limits)
        .unwrap()
        .with_undeclared(Some(Undeclared::Koi8R));
    let out = run(&mut coercer, &write(Form::Explicit, &nodes), 9, 9).unwrap();

    let mut wanted = vec![utf_8(), leaf(tags::STUDY_DESCRIPTION, Vr::LO, "Пупок")];
    wanted.extend(plain_elements());
    wanted.push(sequence(
        tags::CONTENT_SEQUENCE,
        vec![vec![leaf(tags::TEXT_VALUE, Vr::UT, "Пупок")]],
    ));
    let padded = |value: &[u8]| [value, b" "].concat();
    let record = original(
        vec![],
        vec![
            (tags::PATIENT_NAME, &padded(name)),
            (tags::STUDY_DESCRIPTION, &padded(text)),
        ],
    );
    wanted.push(sequence(tags::ORIGINAL_ATTRIBUTES_SEQUENCE, vec![record]));
    let wanted = write(Form::Explicit, &wanted);
    assert_eq!(out, wanted);
    let outcome = coercer.outcome();
    assert_eq!(outcome.changed, [tags::PATIENT_NAME]);
    assert_eq!(outcome.guessed_texts, 2);
}

#[test]
fn a_name_that_is_right_but_in_undeclared_bytes_changes() {
    let mut nodes = plain_elements();
    let (out, outcome) = coerced(
        &write(Form::Explicit, &nodes),
        Form::Explicit,
        &plain_overlay(),
    )
    .unwrap();
    let name = "Жээнбеков^Үсөн^Өмүрбекович".as_bytes();
    let record = original(vec![], vec![(tags::PATIENT_NAME, name)]);
    nodes.insert(0, utf_8());
    nodes.push(sequence(tags::ORIGINAL_ATTRIBUTES_SEQUENCE, vec![record]));
    assert_eq!(outcome.changed, [tags::PATIENT_NAME]);
    assert_eq!(out, write(Form::Explicit, &nodes));
}

#[test]
fn an_unknown_character_set_is_nonconforming_itself() {
    let mut nodes = vec![leaf(tags::SPECIFIC_CHARACTER_SET, Vr::CS, "WINDOWS-1251")];
    nodes.extend(plain_elements());
    nodes[1] = leaf(tags::PATIENT_NAME, Vr::PN, b"\xC8\xE2\xE0\xED\xEE\xE2");
    let (out, _) = coerced(
        &write(Form::Explicit, &nodes),
        Form::Explicit,
        &plain_overlay(),
    )
    .unwrap();
    let record = original(
        vec![],
        vec![
            (tags::SPECIFIC_CHARACTER_SET, b"WINDOWS-1251"),
            (tags::PATIENT_NAME, b"\xC8\xE2\xE0\xED\xEE\xE2"),
        ],
    );
    let mut wanted = plain_elements();
    wanted.insert(0, utf_8());
    wanted.push(sequence(tags::ORIGINAL_ATTRIBUTES_SEQUENCE, vec![record]));
    assert_eq!(out, write(Form::Explicit, &wanted));
}

#[test]
fn texts_that_no_data_set_can_hold_are_refused_when_they_are_given() {
    let name = PersonName::new;
    assert_eq!(name(" ", "", ""), Err(OverlayError::EmptyName));
    for bad in ["A^B", "A=B", "A\\B", "A\nB", "A\u{1b}B"] {
        let error = name(bad, "", "").unwrap_err();
        assert_eq!(error, OverlayError::Character { tag: None });
    }
    assert!(name(&"Ж".repeat(64), "", "").is_ok());
    assert!(matches!(
        name(&"Ж".repeat(64), "А", ""),
        Err(OverlayError::TooLong { tag: None, .. })
    ));
    assert_eq!(
        PersonName::of_groups(&[&[][..]; 4]),
        Err(OverlayError::Form)
    );
    let groups = PersonName::of_groups(&[&["ZHEENBEKOV", "USON"], &["Жээнбеков", "Үсөн"], &[]]);
    assert_eq!(groups.unwrap().value(), "ZHEENBEKOV^USON=Жээнбеков^Үсөн");
    // A letter and a combining mark become one letter.
    assert_eq!(name("И\u{306}", "", "").unwrap().value(), "Й");
    assert_eq!(
        format!("{:?}", name("CANARY", "", "")),
        "Ok([patient data])"
    );
    assert!(!format!("{:?}", everything()).contains("Жээнбеков"));

    let overlay = Overlay::new(change());
    let tag = Some(tags::INSTITUTION_NAME);
    assert_eq!(
        overlay.clone().or_institution("a\\b").unwrap_err(),
        OverlayError::Character { tag }
    );
    assert_eq!(
        overlay.or_institution(&"x".repeat(65)).unwrap_err(),
        OverlayError::TooLong { tag, chars_max: 64 }
    );
}
