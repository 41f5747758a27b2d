//! Conversions between the uncompressed transfer syntaxes: what each VR, length and oddity becomes.
#![expect(
    clippy::unwrap_used,
    reason = "what a test's own functions do is the test"
)]

#[path = "convert/pixels.rs"]
mod pixels;
#[path = "scan_support/writer.rs"]
#[allow(dead_code, reason = "not every test writes everything")]
mod writer;

use flate2::Compression;
use flate2::write::DeflateEncoder;
use pacs_core::TransferSyntaxUid;
use pacs_core::convert::{ConvertError, convert, is_native, targets};
use pacs_core::limits::ScanLimits;
use pacs_core::scan::ScanError;
use pacs_core::tag::{Tag, Vr, tags};
use std::io::Write as _;
use writer::{Form, Node, UNDEFINED, write};

const DEFLATED: &str = "1.2.840.10008.1.2.1.99";
const RLE: &str = "1.2.840.10008.1.2.5";

fn uid(name: &str) -> TransferSyntaxUid {
    TransferSyntaxUid::parse(name).unwrap()
}

fn converted(bytes: &[u8], from: Form, to: Form) -> Result<Vec<u8>, ConvertError> {
    let limits = ScanLimits::default();
    convert(bytes, &uid(from.uid()), &uid(to.uid()), None, &limits)
}

fn leaf(tag: Tag, vr: Vr, value: impl AsRef<[u8]>) -> Node {
    Node::Leaf(tag, vr, value.as_ref().to_vec())
}

fn number(tag: Tag, number: u16) -> Node {
    Node::Shorts(tag, vec![number])
}

/// What `nodes` become from implicit to explicit VR little endian.
fn explained(nodes: &[Node]) -> Vec<u8> {
    converted(
        &write(Form::Implicit, nodes),
        Form::Implicit,
        Form::Explicit,
    )
    .unwrap()
}

/// As conversions write sequences: without lengths.
fn sequence(tag: Tag, items: Vec<Vec<Node>>) -> Node {
    Node::Sequence(tag, items, false, false)
}

#[test]
fn vrs_come_from_the_dictionary_and_un_where_nobody_knows() {
    let private = [
        leaf(Tag(0x0009, 0x0010), Vr::LO, "CREATOR "),
        leaf(Tag(0x0009, 0x1001), Vr::UN, [1, 2]),
        leaf(tags::PATIENT_NAME, Vr::PN, "Test^One"),
        leaf(Tag(0x0010, 0x7777), Vr::UN, [3, 4]),
    ];
    assert_eq!(explained(&private), write(Form::Explicit, &private));
}

#[test]
fn pixel_representation_chooses_between_us_and_ss() {
    let signed = |representation: u16, vr| {
        vec![
            number(tags::PIXEL_REPRESENTATION, representation),
            leaf(tags::SMALLEST_IMAGE_PIXEL_VALUE, vr, [0xFE, 0xFF]),
            sequence(
                tags::MODALITY_LUT_SEQUENCE,
                vec![vec![
                    leaf(tags::LUT_DESCRIPTOR, vr, [0, 1, 0, 0, 16, 0]),
                    leaf(tags::LUT_DATA, Vr::OW, [1, 2]),
                ]],
            ),
            sequence(
                tags::ICON_IMAGE_SEQUENCE,
                // Its own, whatever is around it.
                vec![vec![
                    number(tags::PIXEL_REPRESENTATION, 0),
                    leaf(tags::LARGEST_IMAGE_PIXEL_VALUE, Vr::US, [1, 0]),
                ]],
            ),
            leaf(tags::REAL_WORLD_VALUE_LAST_VALUE_MAPPED, vr, [1, 0]),
        ]
    };
    for (representation, vr) in [(0, Vr::US), (1, Vr::SS)] {
        let nodes = signed(representation, vr);
        assert_eq!(explained(&nodes), write(Form::Explicit, &nodes), "{vr}");
    }
    let unknown = [leaf(tags::SMALLEST_IMAGE_PIXEL_VALUE, Vr::US, [1, 0])];
    assert_eq!(explained(&unknown), write(Form::Explicit, &unknown));
}

#[test]
fn bits_allocated_chooses_between_ob_and_ow() {
    for (bits, vr) in [
        (1, Vr::OB),
        (8, Vr::OB),
        (12, Vr::OW),
        (16, Vr::OW),
        (32, Vr::OW),
    ] {
        let icon = vec![
            number(tags::BITS_ALLOCATED, 8),
            leaf(tags::PIXEL_DATA, Vr::OB, [9, 9]),
        ];
        let nodes = [
            number(tags::BITS_ALLOCATED, bits),
            sequence(tags::ICON_IMAGE_SEQUENCE, vec![icon]),
            leaf(Tag(0x6000, 0x3000), Vr::OW, [1, 2]),
            leaf(tags::PIXEL_DATA, vr, [1, 2, 3, 4]),
        ];
        assert_eq!(explained(&nodes), write(Form::Explicit, &nodes), "{bits}");
    }
    for (bits, vr) in [(8, Vr::OB), (16, Vr::OW)] {
        let waveform = vec![
            number(tags::WAVEFORM_BITS_ALLOCATED, bits),
            leaf(tags::WAVEFORM_DATA, vr, [1, 2]),
        ];
        let nodes = [sequence(tags::WAVEFORM_SEQUENCE, vec![waveform])];
        assert_eq!(explained(&nodes), write(Form::Explicit, &nodes), "{bits}");
    }
}

#[test]
fn a_value_too_long_for_its_vr_is_un() {
    let fits = [leaf(tags::PATIENT_COMMENTS, Vr::LT, vec![b'x'; 0xFFFE])];
    assert_eq!(explained(&fits), write(Form::Explicit, &fits));

    let long = vec![b'x'; 0x1_0000];
    let nodes = [leaf(tags::PATIENT_COMMENTS, Vr::LT, &long)];
    let unknown = [leaf(tags::PATIENT_COMMENTS, Vr::UN, &long)];
    assert_eq!(explained(&nodes), write(Form::Explicit, &unknown));
    // Back it is what it was.
    let back = converted(&explained(&nodes), Form::Explicit, Form::Implicit).unwrap();
    assert_eq!(back, write(Form::Implicit, &nodes));
}

#[test]
fn group_lengths_and_length_to_end_are_left_out() {
    let nodes = [
        leaf(Tag(0x0008, 0x0000), Vr::UL, [8, 0, 0, 0]),
        leaf(Tag(0x0008, 0x0001), Vr::UL, [99, 0, 0, 0]),
        leaf(tags::MODALITY, Vr::CS, "CT"),
        sequence(
            tags::CONTENT_SEQUENCE,
            vec![vec![
                leaf(Tag(0x0040, 0x0000), Vr::UL, [8, 0, 0, 0]),
                leaf(tags::VALUE_TYPE, Vr::CS, "TEXT"),
            ]],
        ),
    ];
    let kept = [
        leaf(tags::MODALITY, Vr::CS, "CT"),
        sequence(
            tags::CONTENT_SEQUENCE,
            vec![vec![leaf(tags::VALUE_TYPE, Vr::CS, "TEXT")]],
        ),
    ];
    for to in [Form::Implicit, Form::Explicit] {
        let bytes = write(Form::Explicit, &nodes);
        let out = converted(&bytes, Form::Explicit, to).unwrap();
        assert_eq!(out, write(to, &kept));
    }
}

/// An element in explicit VR, the long form where the VR has it, value as given.
fn explicit(form: Form, tag: Tag, vr: &[u8; 2], value: &[u8]) -> Vec<u8> {
    let mut out = form.tag(tag);
    out.extend(vr);
    let length = u32::try_from(value.len()).unwrap();
    if [
        b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV",
    ]
    .contains(&vr)
    {
        out.extend([0, 0]);
        out.extend(form.u32(length));
    } else {
        let short = u16::try_from(length).unwrap();
        out.extend(match form {
            Form::BigEndian => short.to_be_bytes(),
            Form::Explicit | Form::Implicit => short.to_le_bytes(),
        });
    }
    out.extend(value);
    out
}

#[test]
fn byte_order_turns_with_the_vr() {
    let little: Vec<u8> = (1..=16).collect();
    for (vr, unit) in [
        (b"AE", 1),
        (b"AT", 2),
        (b"FD", 8),
        (b"FL", 4),
        (b"LO", 1),
        (b"OB", 1),
        (b"OD", 8),
        (b"OF", 4),
        (b"OL", 4),
        (b"OV", 8),
        (b"OW", 2),
        (b"PN", 1),
        (b"SL", 4),
        (b"SS", 2),
        (b"SV", 8),
        (b"UC", 1),
        (b"UL", 4),
        (b"UN", 1),
        (b"UR", 1),
        (b"US", 2),
        (b"UT", 1),
        (b"UV", 8),
    ] {
        let big: Vec<u8> = little
            .chunks(unit)
            .flat_map(|number| number.iter().rev().copied())
            .collect();
        let tag = Tag(0x0099, 0x1001);
        let in_little = explicit(Form::Explicit, tag, vr, &little);
        let in_big = explicit(Form::BigEndian, tag, vr, &big);
        let (one, other) = (Form::Explicit, Form::BigEndian);
        assert_eq!(converted(&in_little, one, other).unwrap(), in_big, "{vr:?}");
        assert_eq!(converted(&in_big, other, one).unwrap(), in_little, "{vr:?}");
        let implicit = [Form::Implicit.header(tag, Vr::UN, 16), little.clone()].concat();
        let from_big = converted(&in_big, other, Form::Implicit).unwrap();
        assert_eq!(from_big, implicit, "{vr:?}");
    }
}

#[test]
fn half_a_number_at_the_end_stays_and_lengths_become_even() {
    let tag = Tag(0x0099, 0x1001);
    let odd = explicit(Form::BigEndian, tag, b"US", &[0, 1, 7]);
    let even = explicit(Form::Explicit, tag, b"US", &[1, 0, 7, 0]);
    assert_eq!(
        converted(&odd, Form::BigEndian, Form::Explicit).unwrap(),
        even
    );
    for (vr, padding) in [
        (b"LO", b' '),
        (b"UI", 0),
        (b"OB", 0),
        (b"UN", 0),
        (b"UT", b' '),
    ] {
        let odd = explicit(Form::Explicit, tag, vr, b"123");
        let even = explicit(Form::BigEndian, tag, vr, &[b'1', b'2', b'3', padding]);
        assert_eq!(
            converted(&odd, Form::Explicit, Form::BigEndian).unwrap(),
            even
        );
    }
}

#[test]
fn sequences_of_every_form_become_sequences_without_lengths() {
    let item = || vec![number(tags::ROWS, 258), leaf(tags::MODALITY, Vr::CS, "CT")];
    let inner = |tag, defined: bool| Node::Sequence(tag, vec![item(), vec![]], defined, !defined);
    let nodes = |defined: bool| {
        vec![
            Node::Sequence(
                tags::REQUEST_ATTRIBUTES_SEQUENCE,
                vec![vec![inner(tags::CONCEPT_NAME_CODE_SEQUENCE, !defined)]],
                defined,
                defined,
            ),
            Node::Sequence(tags::CONTENT_SEQUENCE, vec![], defined, defined),
        ]
    };
    let plain = vec![
        sequence(
            tags::REQUEST_ATTRIBUTES_SEQUENCE,
            vec![vec![sequence(
                tags::CONCEPT_NAME_CODE_SEQUENCE,
                vec![item(), vec![]],
            )]],
        ),
        sequence(tags::CONTENT_SEQUENCE, vec![]),
    ];
    let forms = [Form::BigEndian, Form::Explicit, Form::Implicit];
    for (from, to) in forms.iter().flat_map(|from| forms.map(|to| (*from, to))) {
        for defined in [true, false] {
            let out = converted(&write(from, &nodes(defined)), from, to).unwrap();
            assert_eq!(out, write(to, &plain), "{from:?} to {to:?}");
        }
    }
}

/// PS3.5 6.2.2: UN of undefined length is a sequence in implicit VR little endian, whatever is
/// around it.
#[test]
fn an_unknown_sequence_becomes_a_sequence_of_the_new_encoding() {
    let item = vec![number(tags::ROWS, 258)];
    let tag = Tag(0x0099, 0x1001);
    let known = write(Form::Implicit, &[sequence(tag, vec![item.clone()])]);
    for from in [Form::BigEndian, Form::Explicit] {
        let unknown = [from.header(tag, Vr::UN, UNDEFINED), known[8..].to_vec()].concat();
        for to in [Form::BigEndian, Form::Explicit, Form::Implicit] {
            let out = converted(&unknown, from, to).unwrap();
            let wanted = write(to, &[sequence(tag, vec![item.clone()])]);
            assert_eq!(out, wanted, "{from:?} to {to:?}");
        }
    }
    let wanted = write(Form::Explicit, &[sequence(tag, vec![item])]);
    assert_eq!(
        converted(&known, Form::Implicit, Form::Explicit).unwrap(),
        wanted
    );
}

#[test]
fn what_cannot_be_read_to_its_end_is_refused() {
    let nodes = [
        leaf(tags::MODALITY, Vr::CS, "CT"),
        leaf(tags::PIXEL_DATA, Vr::OW, [1, 2, 3, 4]),
    ];
    let bytes = write(Form::Explicit, &nodes);
    for length in 1..bytes.len() {
        if length == 10 {
            // Between the two elements.
            continue;
        }
        let result = converted(&bytes[..length], Form::Explicit, Form::Implicit);
        assert!(result.is_err(), "{length}: {result:?}");
    }
    // A broken item of a sequence whose length is known: readers may leave it behind, but not this.
    let mut broken = Form::Explicit.header(tags::CONTENT_SEQUENCE, Vr::SQ, 16);
    broken.extend(Form::Explicit.item(0xE000, 8));
    broken.extend([0x28, 0, 0x10, 0, b'U', b'S', 99, 0]);
    broken.extend(write(Form::Explicit, &nodes));
    assert!(matches!(
        converted(&broken, Form::Explicit, Form::Implicit),
        Err(ConvertError::Damaged { .. })
    ));
}

#[test]
fn padding_behind_the_data_set_is_left_out() {
    let nodes = [leaf(tags::MODALITY, Vr::CS, "CT")];
    let mut padded = write(Form::Explicit, &nodes);
    padded.extend([0; 64]);
    assert_eq!(
        converted(&padded, Form::Explicit, Form::Implicit).unwrap(),
        write(Form::Implicit, &nodes)
    );
    // But not elements behind what looks like padding.
    padded.extend(write(Form::Explicit, &nodes));
    assert!(matches!(
        converted(&padded, Form::Explicit, Form::Implicit),
        Err(ConvertError::Damaged { .. })
    ));
}

fn deflated(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn a_deflated_data_set_is_inflated_and_otherwise_kept_in_explicit_vr() {
    // With a group length and defined lengths: it comes out as it went in.
    let nodes = [
        leaf(Tag(0x0008, 0x0000), Vr::UL, [10, 0, 0, 0]),
        leaf(tags::MODALITY, Vr::CS, "CT"),
        Node::Sequence(tags::CONTENT_SEQUENCE, vec![vec![]], true, true),
    ];
    let plain = write(Form::Explicit, &nodes);
    let limits = ScanLimits::default();
    let to =
        |bytes: &[u8], form: Form| convert(bytes, &uid(DEFLATED), &uid(form.uid()), None, &limits);
    let mut packed = deflated(&plain);
    assert_eq!(to(&packed, Form::Explicit).unwrap(), plain);
    let implicit = [
        leaf(tags::MODALITY, Vr::CS, "CT"),
        sequence(tags::CONTENT_SEQUENCE, vec![vec![]]),
    ];
    let wanted = write(Form::Implicit, &implicit);
    assert_eq!(to(&packed, Form::Implicit).unwrap(), wanted);
    // With the byte that makes its length even.
    packed.push(0);
    assert_eq!(to(&packed, Form::Implicit).unwrap(), wanted);
    for length in 0..packed.len() - 2 {
        for form in [Form::Explicit, Form::Implicit] {
            assert_eq!(
                to(&packed[..length], form),
                Err(ConvertError::Scan(ScanError::Deflate)),
                "{length}"
            );
        }
    }
}

#[test]
fn a_deflate_bomb_is_refused() {
    let bomb = deflated(&vec![0; 8 << 20]);
    let limits = ScanLimits {
        inflate_ratio_from_bytes: 1 << 20,
        ..ScanLimits::default()
    };
    let to = uid(Form::Explicit.uid());
    assert_eq!(
        convert(&bomb, &uid(DEFLATED), &to, None, &limits),
        Err(ConvertError::Scan(ScanError::Inflated))
    );
}

#[test]
fn only_what_can_be_decoded_is_converted() {
    let explicit = uid(Form::Explicit.uid());
    let limits = ScanLimits::default();
    for name in [RLE, "1.2.840.10008.1.2.4.70", "1.2.840.113619.5.2", "1.3.9"] {
        assert!(!is_native(&uid(name)));
        assert_eq!(targets(&uid(name), false), []);
        let result = convert(&[], &uid(name), &explicit, None, &limits);
        assert_eq!(result, Err(ConvertError::Unsupported), "{name}");
    }
    let from = uid(Form::Implicit.uid());
    let to_rle = convert(&[], &from, &uid(RLE), None, &limits);
    assert_eq!(to_rle, Err(ConvertError::Unsupported));
    let names = |from| -> Vec<String> {
        let targets = targets(&uid(from), true);
        targets.iter().map(ToString::to_string).collect()
    };
    let all = [Form::Explicit, Form::Implicit, Form::BigEndian].map(Form::uid);
    assert_eq!(names(RLE), all);
    assert_eq!(names(DEFLATED), all);
    assert_eq!(names(all[0]), [all[1], all[2]]);
    let fragments = write(
        Form::Explicit,
        &[Node::Fragments(tags::PIXEL_DATA, vec![vec![], vec![1, 2]])],
    );
    assert_eq!(
        converted(&fragments, Form::Explicit, Form::Implicit),
        Err(ConvertError::Fragments {
            tag: tags::PIXEL_DATA
        })
    );
}
