//! What is out of order, cut, damaged or too large.

use super::*;

#[test]
fn what_stands_in_two_places_or_not_in_its_own_is_refused() {
    let refused = |nodes: &[Node]| {
        let bytes = write(Form::Explicit, nodes);
        let error = coerced(&bytes, Form::Explicit, &plain_overlay()).unwrap_err();
        let ConvertError::Coerce(error) = error else {
            unreachable!("{error}");
        };
        error
    };
    let name = || leaf(tags::PATIENT_NAME, Vr::PN, "A^B");
    let uid = || leaf(tags::STUDY_INSTANCE_UID, Vr::UI, "1.2.3");
    let charset = || leaf(tags::SPECIFIC_CHARACTER_SET, Vr::CS, "ISO_IR 100");
    let pixels = || leaf(tags::PIXEL_DATA, Vr::OB, [1, 2]);
    let order = |tag| CoerceError::Order { tag };
    for nodes in [
        vec![name(), name()],
        vec![uid(), name()],
        vec![name(), pixels(), name()],
    ] {
        assert_eq!(refused(&nodes), order(tags::PATIENT_NAME));
    }
    // One that needs no change, too.
    let sex = || leaf(tags::PATIENT_SEX, Vr::CS, "M");
    assert_eq!(
        refused(&[sex(), pixels(), leaf(tags::PATIENT_SEX, Vr::CS, "F")]),
        order(tags::PATIENT_SEX)
    );
    assert_eq!(
        refused(&[name(), charset()]),
        order(tags::SPECIFIC_CHARACTER_SET)
    );
    let original = || sequence(tags::ORIGINAL_ATTRIBUTES_SEQUENCE, vec![vec![]]);
    assert_eq!(
        refused(&[original(), original()]),
        order(tags::ORIGINAL_ATTRIBUTES_SEQUENCE)
    );
    let item = vec![leaf(tags::TEXT_VALUE, Vr::UT, "ab"), charset()];
    assert_eq!(
        refused(&[sequence(tags::CONTENT_SEQUENCE, vec![item])]),
        order(tags::SPECIFIC_CHARACTER_SET)
    );
    // Others may stand anywhere.
    let bytes = write(Form::Explicit, &[uid(), leaf(tags::MODALITY, Vr::CS, "CT")]);
    assert!(coerced(&bytes, Form::Explicit, &plain_overlay()).is_ok());
}

#[test]
fn bytes_where_items_have_to_be_are_refused_and_lost_nowhere() {
    let tag = tags::ORIGINAL_ATTRIBUTES_SEQUENCE;
    let bytes = |value: &[u8]| write(Form::Explicit, &[leaf(tag, Vr::LO, value)]);
    assert_eq!(
        coerced(&bytes(b"ab"), Form::Explicit, &plain_overlay()).unwrap_err(),
        CoerceError::Unreadable { tag }.into()
    );
    assert!(coerced(&bytes(b""), Form::Explicit, &plain_overlay()).is_ok());
    // An attribute that changes and has bytes is kept as nonconforming.
    let tag = tags::OTHER_PATIENT_I_DS_SEQUENCE;
    let bytes = write(Form::Explicit, &[leaf(tag, Vr::LO, b"ab")]);
    let (out, _) = coerced(&bytes, Form::Explicit, &patient_only()).unwrap();
    let all = contents(&out, Encoding::ExplicitLittleEndian).unwrap();
    let kept = Content::Bytes(b"ab".to_vec());
    assert!(all.iter().any(|(path, content)| {
        at(path) == tags::NONCONFORMING_DATA_ELEMENT_VALUE && *content == kept
    }));
    let mut fragments = write(Form::Explicit, &[Node::Fragments(tags::PATIENT_ID, vec![])]);
    fragments[4..6].copy_from_slice(b"OB");
    assert_eq!(
        coerced(&fragments, Form::Explicit, &plain_overlay()).unwrap_err(),
        CoerceError::Unreadable {
            tag: tags::PATIENT_ID
        }
        .into()
    );
}

#[test]
fn limits_are_kept() {
    let explicit = uid(Form::Explicit.uid());
    let limits = CoerceLimits {
        head_bytes_max: 1000,
        text_bytes_max: 100,
        ..CoerceLimits::default()
    };
    let run = |nodes: &[Node]| {
        let bytes = write(Form::Explicit, nodes);
        let overlay = plain_overlay();
        let mut coercer = Coercer::new(&explicit, &explicit, None, overlay, &limits).unwrap();
        run(&mut coercer, &bytes, 64, 64)
    };
    let long = leaf(Tag(0x0009, 0x1001), Vr::OB, vec![0; 2000]);
    assert_eq!(
        run(&[long]).unwrap_err(),
        CoerceError::HeadTooLarge { limit_bytes: 1000 }.into()
    );
    let behind = leaf(Tag(0x0043, 0x1001), Vr::OB, vec![0; 2000]);
    assert!(run(&[behind]).is_ok());
    let tag = tags::TEXT_VALUE;
    let text = |length| vec![leaf(tag, Vr::UT, vec![b'a'; length])];
    let limit_bytes = 100;
    assert!(run(&text(100)).is_ok());
    assert_eq!(
        run(&text(102)).unwrap_err(),
        CoerceError::TextTooLong { tag, limit_bytes }.into()
    );
}

#[test]
fn what_is_cut_or_damaged_gives_an_error_and_never_a_wrong_end() {
    for form in [Form::Explicit, Form::BigEndian] {
        let mut nodes = study();
        nodes.pop();
        let bytes = write(form, &nodes);
        let encoding = Encoding::of(&uid(form.uid()));
        for length in 0..bytes.len() {
            let cut = &bytes[..length];
            // It is either whole as far as it goes, or refused.
            if let Ok((out, _)) = coerced(cut, form, &everything()) {
                assert!(contents(cut, encoding).is_ok(), "{length}");
                assert!(contents(&out, encoding).is_ok(), "{length}");
            }
        }
        let mut bytes = bytes;
        for at in 0..bytes.len() {
            for value in [0, 0xFF] {
                let before = std::mem::replace(&mut bytes[at], value);
                if let Ok((out, _)) = coerced(&bytes, form, &everything()) {
                    let (again, _) = coerced(&out, form, &everything()).unwrap();
                    let read = contents(&again, encoding).unwrap();
                    assert!(!read.is_empty());
                }
                bytes[at] = before;
            }
        }
    }
}
