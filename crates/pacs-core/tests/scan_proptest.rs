//! Random data sets: what the scanner reads is what was written and what dicom-object reads; random
//! damage makes nothing panic, and fragments never change the answer.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "what a test's own functions do is the test"
)]

#[path = "scan_support/writer.rs"]
#[allow(dead_code, reason = "not every test writes everything")]
mod writer;

use dicom_core::value::Value;
use dicom_encoding::transfer_syntax::TransferSyntaxIndex;
use dicom_object::InMemDicomObject;
use dicom_transfer_syntax_registry::TransferSyntaxRegistry;
use pacs_core::convert::{Converter, Progress, convert};
use pacs_core::limits::ScanLimits;
use pacs_core::scan::{Encoding, Event, HeadReader, Scanner, file, gate, values};
use pacs_core::tag::{Tag, Vr, tags};
use pacs_core::{Instance, TransferSyntaxUid};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use std::collections::BTreeMap;
use writer::{Form, Node, write};

const FORMS: [Form; 3] = [Form::BigEndian, Form::Explicit, Form::Implicit];

fn text(letters: &'static str) -> impl Strategy<Value = Vec<u8>> {
    let letters = proptest::string::string_regex(letters).unwrap();
    // Values of even length, without padding: what toolkits do with padding is not the question
    // here.
    letters.prop_map(|text| {
        let even = text.len() & !1;
        text.as_bytes()[..even].to_vec()
    })
}

/// Elements without items, one for each VR with a header or a byte order of its own.
fn leaf() -> impl Strategy<Value = Node> {
    let leaf = |tag, vr| move |bytes| Node::Leaf(tag, vr, bytes);
    prop_oneof![
        text("[A-Z]{0,8}(\\\\[A-Z]{1,5})?").prop_map(leaf(tags::IMAGE_TYPE, Vr::CS)),
        text("[A-Za-z^]{0,40}").prop_map(leaf(tags::PATIENT_NAME, Vr::PN)),
        text("[0-9A-Z]{0,20}").prop_map(leaf(tags::PATIENT_ID, Vr::LO)),
        text("[1-9][0-9]{0,15}").prop_map(leaf(tags::STUDY_INSTANCE_UID, Vr::UI)),
        text("[a-z]{0,300}").prop_map(leaf(tags::TEXT_VALUE, Vr::UT)),
        vec(any::<u16>(), 0..4).prop_map(|n| Node::Shorts(tags::ROWS, n)),
        vec(any::<u8>(), 0..40).prop_map(|mut bytes| {
            bytes.truncate(bytes.len() & !1);
            Node::Leaf(tags::ENCAPSULATED_DOCUMENT, Vr::OB, bytes)
        }),
        // Unknown to the dictionary: UN in every encoding.
        vec(any::<u8>(), 0..40).prop_map(|mut bytes| {
            bytes.truncate(bytes.len() & !1);
            Node::Leaf(Tag(0x0009, 0x1001), Vr::UN, bytes)
        }),
    ]
}

fn tag_of(node: &Node) -> Tag {
    match node {
        Node::Leaf(tag, ..)
        | Node::Shorts(tag, _)
        | Node::Sequence(tag, ..)
        | Node::Fragments(tag, _) => *tag,
    }
}

fn in_order(nodes: Vec<Node>) -> Vec<Node> {
    let by_tag: BTreeMap<Tag, Node> = nodes.into_iter().map(|n| (tag_of(&n), n)).collect();
    by_tag.into_values().collect()
}

fn nodes() -> impl Strategy<Value = Vec<Node>> {
    let level = vec(leaf(), 0..6).prop_map(in_order);
    level.prop_recursive(4, 40, 4, |inner| {
        let sequences = btree_map(
            prop::sample::select(vec![
                tags::REQUEST_ATTRIBUTES_SEQUENCE,
                tags::OTHER_PATIENT_I_DS_SEQUENCE,
                tags::CONCEPT_NAME_CODE_SEQUENCE,
                tags::CONTENT_SEQUENCE,
            ]),
            (vec(inner, 0..3), any::<bool>(), any::<bool>()),
            0..3,
        );
        (vec(leaf(), 0..6), sequences).prop_map(|(mut nodes, sequences)| {
            nodes.extend(
                sequences
                    .into_iter()
                    .map(|(tag, (items, defined, items_defined))| {
                        Node::Sequence(tag, items, defined, items_defined)
                    }),
            );
            in_order(nodes)
        })
    })
}

fn data_set() -> impl Strategy<Value = Vec<Node>> {
    // dicom-object leaves fragments of no bytes away.
    let fragments = vec(vec(any::<u8>(), 2..20), 0..4).prop_map(|mut fragments| {
        for fragment in &mut fragments {
            fragment.truncate(fragment.len() & !1);
        }
        // The first is the basic offset table, which is empty or of whole numbers.
        fragments.insert(0, Vec::new());
        fragments
    });
    (nodes(), prop::option::of(fragments)).prop_map(|(mut nodes, fragments)| {
        nodes.extend(fragments.map(|f| Node::Fragments(tags::PIXEL_DATA, f)));
        nodes
    })
}

/// One line for each element: depth, tag, VR and value.
fn written(nodes: &[Node], depth: usize, out: &mut Vec<String>) {
    for node in nodes {
        match node {
            Node::Leaf(tag, vr, bytes) => {
                out.push(format!("{depth} {tag} {vr} {bytes:02X?}"));
            }
            Node::Shorts(tag, numbers) => {
                let numbers: Vec<String> = numbers.iter().map(u16::to_string).collect();
                out.push(format!("{depth} {tag} US {}", numbers.join("\\")));
            }
            Node::Sequence(tag, items, ..) => {
                out.push(format!("{depth} {tag} SQ"));
                for item in items {
                    out.push(format!("{depth} item"));
                    written(item, depth + 1, out);
                }
            }
            Node::Fragments(tag, fragments) => {
                out.push(format!("{depth} {tag} fragments"));
                out.extend(fragments.iter().map(|f| format!("{depth} {f:02X?}")));
            }
        }
    }
}

fn scanned(bytes: &[u8], encoding: Encoding) -> Vec<String> {
    let limits = ScanLimits::default();
    let mut scanner = Scanner::new(bytes, encoding, &limits);
    let mut out = Vec::new();
    while let Some(event) = scanner.next() {
        let depth = scanner.depth();
        match event.unwrap() {
            Event::Element(element) => {
                let value = scanner.bytes(&element.value);
                let numbers = values::numbers(element.vr, value, element.big_endian);
                let shown = numbers.unwrap_or_else(|| format!("{value:02X?}"));
                let (tag, vr) = (element.tag, element.vr.to_string());
                out.push(format!("{depth} {tag} {vr} {shown}"));
            }
            Event::SequenceBegin(element) => {
                out.push(format!("{} {} SQ", depth - 1, element.tag));
            }
            Event::ItemBegin { .. } => out.push(format!("{} item", depth - 1)),
            Event::FragmentsBegin(element) => {
                out.push(format!("{depth} {} fragments", element.tag));
            }
            Event::Fragment { value, .. } => {
                out.push(format!("{depth} {:02X?}", scanner.bytes(&value)));
            }
            Event::FragmentsEnd { closed, .. } => assert!(closed),
            Event::ItemEnd { .. } | Event::SequenceEnd { .. } => {}
            Event::Trailing { .. } => panic!("nothing stands at the end"),
        }
    }
    assert_eq!(scanner.irregularities(), 0);
    assert_eq!(scanner.depth(), 0);
    out
}

fn of_dicom_object(object: &InMemDicomObject, depth: usize, out: &mut Vec<String>) {
    for element in object {
        let tag = element.header().tag;
        match element.value() {
            Value::Primitive(value) if element.vr() == Vr::US => {
                let numbers = value.to_multi_str().join("\\");
                out.push(format!("{depth} {tag} US {numbers}"));
            }
            Value::Primitive(value) => {
                let bytes = if matches!(element.vr(), Vr::OB | Vr::UN) {
                    value.to_bytes().into_owned()
                } else {
                    value.to_multi_str().join("\\").into_bytes()
                };
                out.push(format!(
                    "{depth} {tag} {} {bytes:02X?}",
                    element.vr().to_string()
                ));
            }
            Value::Sequence(sequence) => {
                out.push(format!("{depth} {tag} SQ"));
                for item in sequence.items() {
                    out.push(format!("{depth} item"));
                    of_dicom_object(item, depth + 1, out);
                }
            }
            Value::PixelSequence(sequence) => {
                out.push(format!("{depth} {tag} fragments"));
                out.push(format!("{depth} []"));
                let fragments = sequence.fragments().iter();
                out.extend(fragments.map(|f| format!("{depth} {f:02X?}")));
            }
        }
    }
}

fn head_of(bytes: &[u8], syntax: &TransferSyntaxUid, sizes: &[usize]) -> Result<Instance, String> {
    let mut reader = HeadReader::new(syntax, &ScanLimits::default());
    let mut rest = bytes;
    for size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (fragment, after) = rest.split_at((*size).min(rest.len()));
        let _ = reader.push(fragment).map_err(|e| e.to_string())?;
        rest = after;
    }
    reader.finish().map_err(|e| e.to_string())
}

fn damage(bytes: &mut Vec<u8>, changes: &[(prop::sample::Index, u8)], cut: prop::sample::Index) {
    if bytes.is_empty() {
        return;
    }
    for (at, byte) in changes {
        let at = at.index(bytes.len());
        bytes[at] = *byte;
    }
    bytes.truncate(cut.index(bytes.len() * 2) + 1);
}

/// `bytes` converted in pieces of `sizes` in and out, as far as it goes.
fn converted_in_pieces(
    bytes: &[u8],
    (from, to): (&TransferSyntaxUid, &TransferSyntaxUid),
    sizes: &[usize],
) -> Option<Vec<u8>> {
    let mut converter = Converter::new(from, to, None, &ScanLimits::default()).unwrap();
    let (mut rest, mut out) = (bytes, Vec::new());
    for size in sizes.iter().cycle() {
        let bytes_max = out.len() + size;
        match converter.read(&mut out, bytes_max).ok()? {
            Progress::Done => break,
            Progress::Full => {}
            Progress::NeedsInput if rest.is_empty() => converter.end(),
            Progress::NeedsInput => {
                let (input, after) = rest.split_at((*size).min(rest.len()));
                converter.push(input.to_vec());
                rest = after;
            }
        }
    }
    Some(out)
}

fn uid(form: Form) -> TransferSyntaxUid {
    TransferSyntaxUid::parse(form.uid()).unwrap()
}

/// All doors for bytes, in every encoding.
fn knock(bytes: &[u8], sizes: &[usize]) {
    let limits = ScanLimits::default();
    let _ = file::read(bytes).is_ok();
    for uid in [
        Form::BigEndian.uid(),
        Form::Explicit.uid(),
        Form::Implicit.uid(),
        "1.2.840.10008.1.2.1.99",
    ] {
        let syntax = TransferSyntaxUid::parse(uid).unwrap();
        let encoding = Encoding::of(&syntax);
        let events = Scanner::new(bytes, encoding, &limits).count();
        assert!(events <= bytes.len() * 2 + 2);
        let _ = gate::check(bytes, encoding, &limits).is_ok();
        let whole = Instance::parse(bytes, &syntax, &limits);
        let parts = head_of(bytes, &syntax, sizes);
        match (whole, parts) {
            (Ok(whole), Ok(parts)) => assert_eq!(whole, parts),
            (Err(_), Err(_)) => {}
            (whole, parts) => panic!("{whole:?} but in parts {parts:?}"),
        }
        for to in FORMS.map(self::uid) {
            let whole = convert(bytes, &syntax, &to, None, &limits).ok();
            assert_eq!(whole, converted_in_pieces(bytes, (&syntax, &to), sizes));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 400,
        failure_persistence: None,
        ..Default::default()
    })]

    #[test]
    fn the_scanner_reads_what_was_written_and_what_dicom_object_reads(nodes in data_set()) {
        let mut expected = Vec::new();
        written(&nodes, 0, &mut expected);
        for form in FORMS {
            if form != Form::Explicit && nodes.iter().any(|n| matches!(n, Node::Fragments(..))) {
                continue;
            }
            let bytes = write(form, &nodes);
            let syntax = TransferSyntaxUid::parse(form.uid()).unwrap();
            let encoding = Encoding::of(&syntax);

            prop_assert_eq!(&scanned(&bytes, encoding), &expected);
            prop_assert_eq!(gate::check(&bytes, encoding, &ScanLimits::default()), Ok(()));

            let registered = TransferSyntaxRegistry.get(form.uid()).unwrap();
            let object = InMemDicomObject::read_dataset_with_ts(&bytes[..], registered).unwrap();
            let mut read = Vec::new();
            of_dicom_object(&object, 0, &mut read);
            prop_assert_eq!(&read, &expected);
        }
    }

    #[test]
    fn a_conversion_there_and_back_changes_no_element(
        nodes in nodes(),
        sizes in vec(1_usize..50, 1..5),
    ) {
        let mut expected = Vec::new();
        written(&nodes, 0, &mut expected);
        for (from, to) in FORMS.iter().flat_map(|from| FORMS.map(|to| (*from, to))) {
            let bytes = write(from, &nodes);
            let ways = (&uid(from), &uid(to));
            let there = converted_in_pieces(&bytes, ways, &sizes).unwrap();
            prop_assert_eq!(&scanned(&there, Encoding::of(ways.1)), &expected);
            let gated = gate::check(&there, Encoding::of(ways.1), &ScanLimits::default());
            prop_assert_eq!(gated, Ok(()));

            let registered = TransferSyntaxRegistry.get(to.uid()).unwrap();
            let object = InMemDicomObject::read_dataset_with_ts(&there[..], registered).unwrap();
            let mut read = Vec::new();
            of_dicom_object(&object, 0, &mut read);
            prop_assert_eq!(&read, &expected);

            let back = converted_in_pieces(&there, (ways.1, ways.0), &sizes).unwrap();
            prop_assert_eq!(&scanned(&back, Encoding::of(ways.0)), &expected);
        }
    }

    #[test]
    fn damage_makes_nothing_panic_and_fragments_change_nothing(
        nodes in data_set(),
        form in prop::sample::select(FORMS.to_vec()),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in any::<prop::sample::Index>(),
        sizes in vec(1_usize..50, 1..5),
    ) {
        let mut bytes = write(form, &nodes);
        damage(&mut bytes, &changes, cut);
        knock(&bytes, &sizes);
    }

    #[test]
    fn random_bytes_make_nothing_panic(
        bytes in vec(any::<u8>(), 0..300),
        sizes in vec(1_usize..50, 1..5),
    ) {
        knock(&bytes, &sizes);
    }
}
