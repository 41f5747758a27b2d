//! What devices really send: forms that PS3.5 forbids or hardly allows, and that an archive has to
//! read.
#![expect(
    clippy::cast_possible_truncation,
    clippy::unwrap_used,
    reason = "what a test's own functions do is the test"
)]

#[path = "scan_support/writer.rs"]
#[allow(dead_code, reason = "not every test writes everything")]
mod writer;

use pacs_core::attributes::{Attributes, Value};
use pacs_core::instance::InstanceError;
use pacs_core::limits::ScanLimits;
use pacs_core::scan::gate::{self, GateError};
use pacs_core::scan::{Encoding, Event, ScanError, Scanner};
use pacs_core::tag::{Tag, Vr, tags};
use pacs_core::{Instance, TransferSyntaxUid};
use writer::{Form, Node, UNDEFINED, write};

const EXPLICIT: Form = Form::Explicit;
const IMPLICIT: Form = Form::Implicit;

fn leaf(tag: Tag, vr: Vr, bytes: &[u8]) -> Node {
    Node::Leaf(tag, vr, bytes.to_vec())
}

fn identity() -> [Node; 4] {
    [
        leaf(tags::SOP_CLASS_UID, Vr::UI, b"1.2.840.10008.5.1.4.1.1.2\0"),
        leaf(tags::SOP_INSTANCE_UID, Vr::UI, b"1.2.3\0"),
        leaf(tags::STUDY_INSTANCE_UID, Vr::UI, b"1.2\0"),
        leaf(tags::SERIES_INSTANCE_UID, Vr::UI, b"1.2.4\0"),
    ]
}

fn parse_with(form: Form, bytes: &[u8], limits: &ScanLimits) -> Result<Instance, InstanceError> {
    let syntax = TransferSyntaxUid::parse(form.uid()).unwrap();
    Instance::parse(bytes, &syntax, limits)
}

/// The attributes of a data set that begins with `bytes` and goes on with the four identifiers.
#[track_caller]
fn attributes(form: Form, bytes: &[u8]) -> Attributes {
    let bytes = [bytes, &write(form, &identity())].concat();
    let instance = parse_with(form, &bytes, &ScanLimits::default()).unwrap();
    assert_eq!(instance.head_bytes, bytes.len() as u64);
    instance.attributes
}

#[track_caller]
fn check_name(form: Form, bytes: &[u8]) {
    let attributes = attributes(form, bytes);
    assert_eq!(attributes.text(tags::PATIENT_NAME), Some("DOE^JO"));
}

const NAME: &[u8] = b"DOE^JO";

fn name() -> Node {
    leaf(tags::PATIENT_NAME, Vr::PN, NAME)
}

fn events(form: Form, bytes: &[u8]) -> (Vec<Event>, u64) {
    let encoding = Encoding::of(&TransferSyntaxUid::parse(form.uid()).unwrap());
    let limits = ScanLimits::default();
    let mut scanner = Scanner::new(bytes, encoding, &limits);
    let events = scanner.by_ref().map(Result::unwrap).collect();
    (events, scanner.irregularities())
}

#[test]
fn elements_may_stand_in_any_order_and_the_last_of_a_tag_wins() {
    let bytes = write(
        EXPLICIT,
        &[
            leaf(tags::SERIES_NUMBER, Vr::IS, b"7 "),
            leaf(tags::PATIENT_NAME, Vr::PN, b"OTHER "),
            leaf(tags::MODALITY, Vr::CS, b"CT"),
            name(),
        ],
    );
    check_name(EXPLICIT, &bytes);
    let read = attributes(EXPLICIT, &bytes);
    assert_eq!(read.text(tags::MODALITY), Some("CT"));
    assert_eq!(read.text(tags::SERIES_NUMBER), Some("7"));
    assert_eq!(read.len(), 7);
}

#[test]
fn group_lengths_and_odd_lengths_are_read() {
    let mut bytes = write(EXPLICIT, &[leaf(Tag(0x0010, 0), Vr::UL, &[9, 0, 0, 0])]);
    bytes.extend(write(EXPLICIT, &[leaf(tags::PATIENT_ID, Vr::LO, b"ODD")]));
    bytes.extend(write(EXPLICIT, &[name()]));
    check_name(EXPLICIT, &bytes);
    assert_eq!(
        attributes(EXPLICIT, &bytes).text(tags::PATIENT_ID),
        Some("ODD")
    );
}

#[test]
fn an_un_of_undefined_length_is_an_implicit_sequence() {
    // CP-246, as Philips sends it: a private sequence around anything.
    for form in [EXPLICIT, Form::BigEndian] {
        let mut bytes = form.header(Tag(0x2001, 0x105F), Vr::UN, UNDEFINED);
        bytes.extend(IMPLICIT.item(0xE000, UNDEFINED));
        bytes.extend(write(IMPLICIT, &[leaf(tags::PATIENT_ID, Vr::LO, b"IN")]));
        bytes.extend(IMPLICIT.item(0xE00D, 0));
        bytes.extend(IMPLICIT.item(0xE0DD, 0));
        bytes.extend(write(form, &[name()]));
        check_name(form, &bytes);
        let (events, irregularities) = events(form, &bytes);
        assert!(matches!(events.first(), Some(Event::SequenceBegin(_))));
        assert_eq!(irregularities, 0);
        // Regular, and still not for everyone's eyes.
        let encoding = Encoding::of(&TransferSyntaxUid::parse(form.uid()).unwrap());
        let answer = gate::check(&bytes, encoding, &ScanLimits::default());
        assert_eq!(answer, Err(GateError::Irregular));
    }
}

#[test]
fn a_known_tag_that_is_written_as_un_has_the_vr_of_the_dictionary() {
    let mut bytes = EXPLICIT.header(tags::PATIENT_NAME, Vr::UN, 6);
    bytes.extend(NAME);
    check_name(EXPLICIT, &bytes);

    // In a big endian data set its bytes are little endian all the same.
    let mut bytes = Form::BigEndian.header(tags::ROWS, Vr::UN, 2);
    bytes.extend([0, 2]);
    let read = attributes(Form::BigEndian, &bytes);
    assert_eq!(read.text(tags::ROWS), Some("512"));
    assert_eq!(read.get(tags::ROWS).unwrap().vr, Vr::US);

    let item = write(
        IMPLICIT,
        &[leaf(tags::SCHEDULED_PROCEDURE_STEP_ID, Vr::SH, b"S1")],
    );
    let mut bytes = EXPLICIT.header(
        tags::REQUEST_ATTRIBUTES_SEQUENCE,
        Vr::UN,
        item.len() as u32 + 8,
    );
    bytes.extend(IMPLICIT.item(0xE000, item.len() as u32));
    bytes.extend(item);
    let read = attributes(EXPLICIT, &bytes);
    let items = read.items(tags::REQUEST_ATTRIBUTES_SEQUENCE);
    assert_eq!(items[0].text(tags::SCHEDULED_PROCEDURE_STEP_ID), Some("S1"));
}

#[test]
fn explicit_elements_among_implicit_ones_and_the_reverse_are_read() {
    check_name(IMPLICIT, &write(EXPLICIT, &[name()]));
    let mut mixed = write(IMPLICIT, &[leaf(tags::PATIENT_ID, Vr::LO, b"MIXED ")]);
    mixed.extend(write(EXPLICIT, &[name()]));
    check_name(EXPLICIT, &mixed);

    let item = write(IMPLICIT, &[leaf(tags::CODE_VALUE, Vr::SH, b"C1")]);
    let mut bytes = EXPLICIT.header(tags::PROCEDURE_CODE_SEQUENCE, Vr::SQ, UNDEFINED);
    bytes.extend(EXPLICIT.item(0xE000, item.len() as u32));
    bytes.extend(item);
    bytes.extend(EXPLICIT.item(0xE0DD, 0));
    let read = attributes(EXPLICIT, &bytes);
    let items = read.items(tags::PROCEDURE_CODE_SEQUENCE);
    assert_eq!(items[0].text(tags::CODE_VALUE), Some("C1"));
}

#[test]
fn delimiters_may_be_missing_where_a_length_says_enough() {
    let content = [
        EXPLICIT.item(0xE000, UNDEFINED),
        write(EXPLICIT, &[leaf(tags::CODE_VALUE, Vr::SH, b"C1")]),
        EXPLICIT.item(0xE000, UNDEFINED),
        write(EXPLICIT, &[leaf(tags::CODE_VALUE, Vr::SH, b"C2")]),
    ]
    .concat();
    let mut bytes = EXPLICIT.header(tags::PROCEDURE_CODE_SEQUENCE, Vr::SQ, content.len() as u32);
    bytes.extend(content);
    let read = attributes(EXPLICIT, &bytes);
    let items = read.items(tags::PROCEDURE_CODE_SEQUENCE);
    let codes: Vec<_> = items.iter().map(|i| i.text(tags::CODE_VALUE)).collect();
    assert_eq!(codes, [Some("C1"), Some("C2")]);
}

#[test]
fn a_damaged_sequence_of_known_length_is_left_behind() {
    let damaged = [
        EXPLICIT.item(0xE000, 20),
        EXPLICIT.header(tags::TEXT_VALUE, Vr::UT, 1_000_000),
        vec![0; 8],
    ]
    .concat();
    let mut bytes = EXPLICIT.header(Tag(0x0009, 0x1010), Vr::SQ, damaged.len() as u32);
    bytes.extend(damaged);
    bytes.extend(write(EXPLICIT, &[name()]));
    check_name(EXPLICIT, &bytes);
    let (events, irregularities) = events(EXPLICIT, &bytes);
    assert_eq!(irregularities, 1);
    let begins = events
        .iter()
        .filter(|e| matches!(e, Event::ItemBegin { .. }));
    let ends = events.iter().filter(|e| matches!(e, Event::ItemEnd { .. }));
    assert_eq!((begins.count(), ends.count()), (1, 1));
}

#[test]
fn a_sequence_too_short_for_an_item_is_not_read_beyond_its_end() {
    for length in 1..8 {
        let mut bytes = EXPLICIT.header(Tag(0x0009, 0x1010), Vr::SQ, length);
        // With what follows, the value looks like the beginning of an item.
        bytes.extend([0xFE, 0xFF, 0, 0xE0, 0, 0, 0].iter().take(length as usize));
        bytes.extend(EXPLICIT.header(Tag(0xE000, 0x1010), Vr::UN, 0));
        bytes.extend(write(EXPLICIT, &[name()]));
        check_name(EXPLICIT, &bytes);
        let (events, irregularities) = events(EXPLICIT, &bytes);
        assert_eq!((events.len(), irregularities), (3, 1), "{length}");
        let [Event::Element(first), ..] = events.as_slice() else {
            panic!("{length}: no element");
        };
        assert_eq!((first.vr, first.length()), (Vr::UN, u64::from(length)));
    }
}

#[test]
fn zeros_at_the_end_and_garbage_after_pixel_data_are_no_elements() {
    let mut bytes = write(EXPLICIT, &[name()]);
    bytes.extend(write(EXPLICIT, &identity()));
    let end = bytes.len() as u64;
    bytes.extend([0; 64]);
    assert!(parse_with(EXPLICIT, &bytes, &ScanLimits::default()).is_ok());
    let (read, _) = events(EXPLICIT, &bytes);
    assert_eq!(read.last(), Some(&Event::Trailing { offset: end }));

    let mut bytes = write(EXPLICIT, &identity());
    bytes.extend(write(EXPLICIT, &[leaf(tags::PIXEL_DATA, Vr::OW, &[1; 32])]));
    let end = bytes.len() as u64;
    bytes.extend([0xA5; 100]);
    let (read, _) = events(EXPLICIT, &bytes);
    assert_eq!(read.last(), Some(&Event::Trailing { offset: end }));
}

#[test]
fn the_head_ends_at_the_pixel_data_wherever_the_bytes_end_after_its_tag() {
    let head = write(EXPLICIT, &identity());
    let mut whole = head.clone();
    whole.extend(EXPLICIT.header(tags::PIXEL_DATA, Vr::OW, 1_000));
    whole.extend([0; 1_000]);
    for end in [
        head.len() + 4,
        head.len() + 7,
        head.len() + 500,
        whole.len(),
    ] {
        let instance = parse_with(EXPLICIT, &whole[..end], &ScanLimits::default()).unwrap();
        assert_eq!(instance.head_bytes, head.len() as u64);
    }
    for end in [head.len() - 1, head.len() + 1, head.len() + 3] {
        assert!(parse_with(EXPLICIT, &whole[..end], &ScanLimits::default()).is_err());
    }
}

#[test]
fn pixel_data_that_is_cut_is_seen() {
    let whole = write(
        EXPLICIT,
        &[Node::Fragments(tags::PIXEL_DATA, vec![vec![], vec![1; 10]])],
    );
    let closed = |bytes: &[u8]| {
        let limits = ScanLimits::default();
        let mut is_closed = false;
        for event in Scanner::new(bytes, Encoding::ExplicitLittleEndian, &limits) {
            if let Event::FragmentsEnd { closed, .. } = event? {
                is_closed = closed;
            }
        }
        Ok::<bool, ScanError>(is_closed)
    };
    assert_eq!(closed(&whole), Ok(true));
    // Native and encapsulated alike: no cut looks like the whole.
    for end in 0..whole.len() {
        assert_ne!(closed(&whole[..end]), Ok(true), "{end}");
    }
    let native = write(EXPLICIT, &[leaf(tags::PIXEL_DATA, Vr::OW, &[1; 32])]);
    for end in 1..native.len() {
        assert!(closed(&native[..end]).is_err(), "{end}");
    }
}

#[test]
fn bytes_that_look_like_a_delimiter_inside_a_fragment_end_nothing() {
    let fragment = [&EXPLICIT.item(0xE0DD, 0)[..], &[1, 2]].concat();
    let bytes = write(
        EXPLICIT,
        &[Node::Fragments(tags::PIXEL_DATA, vec![vec![], fragment])],
    );
    let (events, _) = events(EXPLICIT, &bytes);
    let fragments = events
        .iter()
        .filter(|e| matches!(e, Event::Fragment { .. }));
    assert_eq!(fragments.count(), 2);
    assert!(matches!(
        events.last(),
        Some(Event::FragmentsEnd { closed: true, .. })
    ));
}

#[test]
fn fragments_that_are_no_pixel_data_are_for_no_other_reader() {
    for (tag, answer) in [
        (tags::PIXEL_DATA, Ok(())),
        (Tag(0x7FE4, 0x0010), Err(GateError::Irregular)),
        (tags::FLOAT_PIXEL_DATA, Err(GateError::Irregular)),
    ] {
        let bytes = write(EXPLICIT, &[Node::Fragments(tag, vec![vec![], vec![1; 4]])]);
        let limits = ScanLimits::default();
        let given = gate::check(&bytes, Encoding::ExplicitLittleEndian, &limits);
        assert_eq!(given, answer, "{tag}");
    }
}

#[test]
fn half_a_number_is_for_no_other_reader() {
    for (vr, bytes, answer) in [
        (Vr::FL, 4, Ok(())),
        (Vr::FL, 6, Err(GateError::Irregular)),
        (Vr::US, 3, Err(GateError::Irregular)),
        (Vr::FD, 12, Err(GateError::Irregular)),
        (Vr::OB, 3, Ok(())),
    ] {
        let bytes = write(EXPLICIT, &[leaf(Tag(0x0009, 0x1001), vr, &vec![0; bytes])]);
        let limits = ScanLimits::default();
        let given = gate::check(&bytes, Encoding::ExplicitLittleEndian, &limits);
        assert_eq!(given, answer, "{vr}");
    }
}

#[test]
fn a_text_of_undefined_length_is_for_no_other_reader() {
    for (form, tag) in [
        (IMPLICIT, tags::PATIENT_NAME),
        (IMPLICIT, Tag(0x0009, 0x1001)),
        (EXPLICIT, tags::TEXT_VALUE),
    ] {
        let mut bytes = form.header(tag, Vr::UT, UNDEFINED);
        bytes.extend(form.item(0xE000, 0));
        bytes.extend(form.item(0xE0DD, 0));
        let encoding = Encoding::of(&TransferSyntaxUid::parse(form.uid()).unwrap());
        let given = gate::check(&bytes, encoding, &ScanLimits::default());
        assert_eq!(given, Err(GateError::Irregular), "{tag}");
    }
}

#[test]
fn a_character_set_holds_in_its_item_and_not_after_it() {
    let cyrillic = b"\xB8\xD2\xD0\xDD\xDE\xD2";
    let item = |nodes: Vec<Node>| nodes;
    let bytes = write(
        EXPLICIT,
        &[
            leaf(tags::SPECIFIC_CHARACTER_SET, Vr::CS, b"ISO_IR 192"),
            Node::Sequence(
                tags::PROCEDURE_CODE_SEQUENCE,
                vec![
                    item(vec![
                        leaf(tags::SPECIFIC_CHARACTER_SET, Vr::CS, b"ISO_IR 144"),
                        leaf(tags::CODE_MEANING, Vr::LO, cyrillic),
                    ]),
                    item(vec![leaf(tags::CODE_MEANING, Vr::LO, "Пётр".as_bytes())]),
                ],
                true,
                true,
            ),
            leaf(tags::PATIENT_NAME, Vr::PN, "Үсөн".as_bytes()),
        ],
    );
    let read = attributes(EXPLICIT, &bytes);
    let items = read.items(tags::PROCEDURE_CODE_SEQUENCE);
    let meaning = |at: usize| items[at].get(tags::CODE_MEANING).unwrap().value.clone();
    assert_eq!(meaning(0), Value::Text("Иванов".into()));
    assert_eq!(meaning(1), Value::Text("Пётр".into()));
    let name = read.get(tags::PATIENT_NAME).unwrap();
    assert_eq!(name.value, Value::Text("Үсөн".into()));
}

#[test]
fn a_character_set_out_of_order_holds_for_what_came_before_it() {
    let bytes = write(
        EXPLICIT,
        &[
            leaf(tags::PATIENT_NAME, Vr::PN, b"\xB8\xD2\xD0\xDD\xDE\xD2"),
            leaf(tags::SPECIFIC_CHARACTER_SET, Vr::CS, b"ISO_IR 144"),
        ],
    );
    let read = attributes(EXPLICIT, &bytes);
    let name = read.get(tags::PATIENT_NAME).unwrap();
    assert_eq!(name.value, Value::Text("Иванов".into()));
}

#[test]
fn what_the_index_keeps_is_bounded() {
    let limits = ScanLimits {
        text_bytes_max: 101,
        indexed_bytes_max: 2_000,
        indexed_items_max: 3,
        ..ScanLimits::default()
    };
    let item = vec![leaf(tags::CODE_VALUE, Vr::SH, b"C1")];
    let mut nodes = vec![
        leaf(tags::SPECIFIC_CHARACTER_SET, Vr::CS, b"ISO_IR 192"),
        Node::Sequence(tags::PROCEDURE_CODE_SEQUENCE, vec![item; 10], true, true),
        leaf(tags::PATIENT_COMMENTS, Vr::LT, "ж".repeat(3_000).as_bytes()),
    ];
    nodes.extend(identity());
    let instance = parse_with(EXPLICIT, &write(EXPLICIT, &nodes), &limits).unwrap();
    let read = &instance.attributes;
    assert_eq!(read.items(tags::PROCEDURE_CODE_SEQUENCE).len(), 3);
    let comments = read.get(tags::PATIENT_COMMENTS).unwrap();
    assert_eq!(comments.value, Value::Text("ж".repeat(50).into()));

    let tiny = ScanLimits {
        indexed_bytes_max: 0,
        ..limits
    };
    let instance = parse_with(EXPLICIT, &write(EXPLICIT, &nodes), &tiny).unwrap();
    assert_eq!(instance.attributes.len(), 4, "identifiers are kept always");
}

#[test]
fn an_identifier_that_is_missing_empty_or_no_uid_is_named() {
    for missing in 0..4 {
        let mut nodes = identity().to_vec();
        let Node::Leaf(tag, ..) = nodes.remove(missing) else {
            continue;
        };
        let absent = parse_with(EXPLICIT, &write(EXPLICIT, &nodes), &ScanLimits::default());
        nodes.push(leaf(tag, Vr::UI, b"\0\0"));
        let empty = parse_with(EXPLICIT, &write(EXPLICIT, &nodes), &ScanLimits::default());
        nodes.push(leaf(tag, Vr::UI, b"../../etc/passwd"));
        let path = parse_with(EXPLICIT, &write(EXPLICIT, &nodes), &ScanLimits::default());
        for answer in [absent, empty] {
            assert!(matches!(answer, Err(InstanceError::Missing { tag: t }) if t == tag));
        }
        assert!(matches!(path, Err(InstanceError::Uid { tag: t, .. }) if t == tag));
    }
}

#[test]
fn garbage_is_no_data_set() {
    let answer = parse_with(EXPLICIT, b"GET / HTTP/1.1\r\n\r\n", &ScanLimits::default());
    assert!(matches!(
        answer,
        Err(InstanceError::Scan(ScanError::Overrun { .. }))
    ));
}
