//! In pieces, deflated, converted, with pixel data that passes.

use super::*;

#[test]
fn bytes_stay_where_all_is_said_already() {
    // Padding, empty components and group lengths mean nothing; nor does what else stands there.
    let nodes = vec![
        leaf(Tag(0x0008, 0x0000), Vr::UL, [99, 0, 0, 0]),
        leaf(tags::SPECIFIC_CHARACTER_SET, Vr::CS, "ISO_IR 192"),
        Node::Leaf(
            tags::PATIENT_NAME,
            Vr::PN,
            "Жээнбеков^Үсөн^Өмүрбекович^^==  ".as_bytes().to_vec(),
        ),
        Node::Leaf(tags::PATIENT_ID, Vr::LO, b" P0000005724 ".to_vec()),
        leaf(tags::ISSUER_OF_PATIENT_ID, Vr::LO, "KGPACS"),
        leaf(tags::PATIENT_BIRTH_DATE, Vr::DA, "19900131"),
        leaf(tags::PATIENT_SEX, Vr::CS, "M"),
        measured(tags::CONTENT_SEQUENCE, vec![vec![]]),
        leaf(tags::PIXEL_DATA, Vr::OB, [1, 2]),
    ];
    for form in FORMS {
        let bytes = [write(form, &nodes), vec![0; 7]].concat();
        for piece in [1, 2, 13, 1000] {
            let mut coercer = Coercer::new(
                &uid(form.uid()),
                &uid(form.uid()),
                None,
                plain_overlay(),
                &CoerceLimits::default(),
            )
            .unwrap();
            assert_eq!(run(&mut coercer, &bytes, piece, piece).unwrap(), bytes);
            assert_eq!(coercer.outcome(), Outcome::default());
        }
    }
    let packed = deflated(&write(Form::Explicit, &nodes));
    let limits = CoerceLimits::default();
    let (out, outcome) = coerce(&packed, &uid(DEFLATED), &plain_overlay(), &limits).unwrap();
    assert_eq!(out, packed);
    assert_eq!(outcome, Outcome::default());
}

#[test]
fn whole_and_in_pieces_are_the_same() {
    for form in [Form::Explicit, Form::BigEndian] {
        let bytes = write(form, &study());
        let (whole, outcome) = coerced(&bytes, form, &everything()).unwrap();
        assert!(outcome.changed.len() > 10);
        for (input, output) in [(1, 1), (7, 100), (100, 7), (1000, 1000)] {
            let uid = uid(form.uid());
            let limits = CoerceLimits::default();
            let length = bytes.len().try_into().unwrap();
            let mut coercer = Coercer::new(&uid, &uid, None, everything(), &limits)
                .unwrap()
                .with_length(length);
            let pieces = run(&mut coercer, &bytes, input, output).unwrap();
            assert_eq!(pieces, whole, "{input}, {output}");
            assert_eq!(coercer.outcome(), outcome);
        }
    }
}

#[test]
fn encapsulated_pixel_data_passes_and_is_not_held() {
    let bytes = write(Form::Explicit, &study());
    let (out, _) = coerced(&bytes, Form::Explicit, &everything()).unwrap();
    let pixels = |bytes: &[u8]| {
        let tag = [0xE0, 0x7F, 0x10, 0x00, b'O', b'B'];
        let at = bytes.windows(6).position(|window| window == tag).unwrap();
        bytes[at..].to_vec()
    };
    assert_eq!(pixels(&out), pixels(&bytes));

    let uid = uid("1.2.840.10008.1.2.4.90");
    let limits = CoerceLimits::default();
    let mut coercer = Coercer::new(&uid, &uid, None, everything(), &limits).unwrap();
    let mut head = study();
    head.pop();
    let mut bytes = write(Form::Explicit, &head);
    bytes.extend(b"\xe0\x7f\x10\0OB\0\0\xff\xff\xff\xff\xfe\xff\0\xe0\0\0\0\0");
    bytes.extend(b"\xfe\xff\0\xe0\0\0\0\x10");
    coercer.push(bytes);
    let (mut out, mut most) = (Vec::new(), 0);
    for _ in 0..0x1000_0000_u64 / 0x10_0000 {
        while coercer.read(&mut out, 1 << 16).unwrap() == Progress::Full {
            out.clear();
        }
        most = most.max(coercer.bytes_held());
        coercer.push(vec![0; 0x10_0000]);
    }
    assert!(most <= 2 << 20, "{most}");
}

#[test]
fn a_deflated_data_set_comes_out_deflated() {
    let mut nodes = study();
    nodes.pop();
    let plain = write(Form::Explicit, &nodes);
    let limits = CoerceLimits::default();
    let (out, _) = coerce(&deflated(&plain), &uid(DEFLATED), &everything(), &limits).unwrap();
    assert_eq!(out.len() % 2, 0);
    let explicit = uid(Form::Explicit.uid());
    let inflated = convert(
        &out,
        &uid(DEFLATED),
        &explicit,
        None,
        &ScanLimits::default(),
    );
    let (wanted, _) = coerced(&plain, Form::Explicit, &everything()).unwrap();
    assert_eq!(inflated.unwrap(), wanted);
    let packed = deflated(&plain);
    for length in 0..packed.len() - 2 {
        let cut = coerce(&packed[..length], &uid(DEFLATED), &everything(), &limits);
        assert_eq!(cut.unwrap_err(), ConvertError::Scan(ScanError::Deflate));
    }
    for piece in [1, 100] {
        let uid = uid(DEFLATED);
        let mut coercer = Coercer::new(&uid, &uid, None, everything(), &limits).unwrap();
        assert_eq!(run(&mut coercer, &packed, piece, piece).unwrap(), out);
    }
}

#[test]
fn it_is_coerced_and_converted_in_one_pass() {
    let mut nodes = study();
    nodes.pop();
    nodes.push(Node::Shorts(tags::PIXEL_DATA, vec![1, 2, 3]));
    let limits = CoerceLimits::default();
    for (from, to) in FORMS.iter().flat_map(|from| FORMS.map(|to| (*from, to))) {
        let bytes = write(from, &nodes);
        let (from_uid, to_uid) = (uid(from.uid()), uid(to.uid()));
        for overlay in [everything(), Arc::new(Overlay::new(change()))] {
            let (one, _) = coerced(&bytes, from, &overlay).unwrap();
            let two = convert(&one, &from_uid, &to_uid, None, &limits.scan).unwrap();
            let mut coercer = Coercer::new(&from_uid, &to_uid, None, overlay, &limits).unwrap();
            let out = run(&mut coercer, &bytes, 50, 50).unwrap();
            let read = |bytes: &[u8]| contents(bytes, Encoding::of(&to_uid)).unwrap();
            assert_eq!(read(&out), read(&two), "{from:?} to {to:?}");
        }
    }
    let rle = uid("1.2.840.10008.1.2.5");
    let to = uid(Form::Explicit.uid());
    for (from, to) in [(&rle, &to), (&to, &rle)] {
        let unsupported = Coercer::new(from, to, None, everything(), &limits);
        assert_eq!(unsupported.unwrap_err(), ConvertError::Unsupported);
    }
}

/// An encoder that turns frames around.
struct Around;

impl PixelEncoder for Around {
    fn is_by_pixel(&self) -> bool {
        false
    }

    fn begin(&mut self, _native: &PixelForm) -> Result<(), PixelError> {
        Ok(())
    }

    fn encode(&mut self, mut native: Vec<u8>) -> Result<Vec<u8>, PixelError> {
        native.reverse();
        Ok(native)
    }
}

#[test]
fn frames_are_encoded_on_the_way_as_they_are_of_what_was_coerced() {
    let short = |tag, number| Node::Shorts(tag, vec![number]);
    let mut nodes: Vec<Node> = study();
    nodes.pop();
    nodes.extend([
        leaf(tags::NUMBER_OF_FRAMES, Vr::IS, "3"),
        short(tags::ROWS, 1),
        short(tags::COLUMNS, 2),
        short(tags::BITS_ALLOCATED, 16),
        leaf(
            tags::PIXEL_DATA,
            Vr::OW,
            [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12],
        ),
    ]);
    nodes.sort_by_key(|node| match node {
        Node::Fragments(tag, ..)
        | Node::Leaf(tag, ..)
        | Node::Sequence(tag, ..)
        | Node::Shorts(tag, ..) => *tag,
    });
    let explicit = uid(Form::Explicit.uid());
    for form in FORMS {
        let bytes = write(form, &nodes);
        let overlay = plain_overlay();
        let before = coerced(&bytes, form, &overlay).unwrap().0;
        let limits = ScanLimits::default();
        let from = uid(form.uid());
        let mut converter =
            Converter::encoding(&from, None, Box::new(Around), None, &limits).unwrap();
        converter.push(before);
        converter.end();
        let mut expected = Vec::new();
        converter.read(&mut expected, usize::MAX).unwrap();

        let limits = CoerceLimits::default();
        let mut coercer =
            Coercer::encoding(&from, None, Box::new(Around), None, overlay, &limits).unwrap();
        let out = run(&mut coercer, &bytes, 7, 5).unwrap();

        let encoding = Encoding::of(&explicit);
        assert_eq!(
            contents(&out, encoding),
            contents(&expected, encoding),
            "{form:?}"
        );
        assert_eq!(coercer.frame_lengths(), [4, 4, 4]);
        assert!(coercer.outcome().changed.contains(&tags::PATIENT_NAME));
        let last = match form {
            Form::BigEndian => [11, 12, 9, 10],
            Form::Explicit | Form::Implicit => [12, 11, 10, 9],
        };
        let ends = [
            &b"\xFE\xFF\0\xE0\x04\0\0\0"[..],
            &last,
            b"\xFE\xFF\xDD\xE0\0\0\0\0",
        ];
        assert!(out.ends_with(&ends.concat()));
    }
}
