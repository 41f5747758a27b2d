//! The test data, and random data sets: what is not changed says the same as before.

use super::*;
use contents::{Content, Path};
use pacs_core::scan::file;
use proptest::prelude::*;
use std::collections::BTreeMap;
use testdata::entries;

/// Attributes that an overlay of [`everything`] may change.
const CHANGEABLE: [Tag; 16] = [
    tags::ACCESSION_NUMBER,
    tags::ISSUER_OF_ACCESSION_NUMBER_SEQUENCE,
    tags::INSTITUTION_NAME,
    tags::REFERRING_PHYSICIAN_NAME,
    tags::STUDY_DESCRIPTION,
    tags::PROCEDURE_CODE_SEQUENCE,
    tags::PATIENT_NAME,
    tags::PATIENT_ID,
    tags::ISSUER_OF_PATIENT_ID,
    tags::ISSUER_OF_PATIENT_ID_QUALIFIERS_SEQUENCE,
    tags::PATIENT_BIRTH_DATE,
    tags::PATIENT_SEX,
    tags::OTHER_PATIENT_I_DS_SEQUENCE,
    tags::OTHER_PATIENT_NAMES,
    tags::STUDY_ID,
    tags::REQUEST_ATTRIBUTES_SEQUENCE,
];

/// What of `contents` has to stay, whatever the overlay.
fn unchanged(contents: Vec<(Path, Content)>, changed: &[Tag]) -> Vec<(Path, Content)> {
    let root = |path: &Path| path.first().map(|(tag, _)| *tag);
    contents
        .into_iter()
        .filter(|(path, _)| {
            let root = root(path);
            root != Some(tags::ORIGINAL_ATTRIBUTES_SEQUENCE)
                && root.is_none_or(|root| !changed.contains(&root))
        })
        .map(|(path, content)| match content {
            // A guess is written down and no guess any more.
            Content::Text(text, _) => (path, Content::Text(text, false)),
            Content::Bytes(_) | Content::Items(_) => (path, content),
        })
        .collect()
}

#[test]
fn every_test_file_says_the_same_but_for_what_changes() {
    let (overlay, limits) = (everything(), CoerceLimits::default());
    let mut ended: BTreeMap<&str, usize> = BTreeMap::new();
    for entry in entries() {
        let bytes = entry.bytes();
        let Ok(form) = file::read(&bytes) else {
            continue;
        };
        let (data_set, syntax) = (&bytes[form.data_set], form.transfer_syntax);
        let coerced = coerce(data_set, &syntax, &overlay, &limits);
        let (out, outcome) = match coerced {
            Ok(coerced) => coerced,
            Err(error) => {
                // What cannot be read to its end, or repeats what may change.
                assert!(entry.expected != "valid", "{}: {error}", entry.name);
                *ended.entry("refused").or_default() += 1;
                continue;
            }
        };
        *ended.entry("coerced").or_default() += 1;
        let encoding = Encoding::of(&syntax);
        let read = |bytes: &[u8]| contents(bytes, encoding);
        let Ok(before) = read(data_set) else {
            continue;
        };
        let after = read(&out).unwrap();
        let changeable = [tags::PATIENT_WEIGHT, tags::PATIENT_SIZE];
        for tag in &outcome.changed {
            assert!(
                CHANGEABLE.contains(tag) || changeable.contains(tag),
                "{tag}"
            );
        }
        let (before, after) = (
            unchanged(before, &outcome.changed),
            unchanged(after, &outcome.changed),
        );
        assert_eq!(before.len(), after.len(), "{}", entry.name);
        for (before, after) in before.iter().zip(&after) {
            assert!(before == after, "{}: {:?}", entry.name, before.0);
        }
        let (again, outcome) = coerce(&out, &syntax, &overlay, &limits).unwrap();
        assert!(again == out && outcome.changed.is_empty(), "{}", entry.name);
    }
    let coerced = ended.get("coerced").copied().unwrap_or_default();
    assert!(entries().is_empty() || coerced > 200, "{ended:?}");
}

#[test]
fn texts_of_the_character_sets_are_the_same_in_utf_8() {
    let limits = CoerceLimits::default();
    let mut compared = 0;
    for entry in entries().iter().filter(|e| e.name.starts_with("charset/")) {
        let bytes = entry.bytes();
        let form = file::read(&bytes).unwrap();
        let data_set = &bytes[form.data_set];
        let encoding = Encoding::of(&form.transfer_syntax);
        // The patient changes; the previous name is to be read in the record.
        let (out, _) = coerce(data_set, &form.transfer_syntax, &patient_only(), &limits).unwrap();
        let names = |bytes: &[u8], root: Option<Tag>| -> Vec<(String, bool)> {
            let all = contents(bytes, encoding).unwrap();
            all.into_iter()
                .filter(|(path, _)| {
                    at(path) == tags::PATIENT_NAME && path.first().map(|(tag, _)| *tag) == root
                })
                .filter_map(|(_, content)| match content {
                    Content::Text(text, is_suspect) => Some((text, is_suspect)),
                    Content::Bytes(_) | Content::Items(_) => None,
                })
                .collect()
        };
        let before = names(data_set, Some(tags::PATIENT_NAME));
        let recorded = names(&out, Some(tags::ORIGINAL_ATTRIBUTES_SEQUENCE));
        // A name that follows its set is recorded as it was; another one is nonconforming.
        let conforming: Vec<_> = before
            .iter()
            .filter(|(_, is_suspect)| !is_suspect)
            .collect();
        for name in conforming {
            assert!(recorded.contains(name), "{}", entry.name);
            compared += 1;
        }
        for (_, content) in contents(&out, encoding).unwrap() {
            assert!(!matches!(content, Content::Text(_, true)), "{}", entry.name);
        }
    }
    assert!(entries().is_empty() || compared >= 25, "{compared}");
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    // Cyrillic of ISO 8859-5, ASCII, and bytes that are neither.
    prop_oneof![
        4 => prop::collection::vec(prop_oneof![0xB0_u8..0xF0, b'a'..=b'z', Just(b'^')], 0..12),
        1 => prop::collection::vec(any::<u8>(), 0..12),
    ]
}

fn tag() -> impl Strategy<Value = (Tag, Vr)> {
    prop::sample::select(vec![
        (tags::MODALITY, Vr::CS),
        (tags::STUDY_DESCRIPTION, Vr::LO),
        (tags::PATIENT_NAME, Vr::PN),
        (tags::PATIENT_ID, Vr::LO),
        (tags::PATIENT_SEX, Vr::CS),
        (tags::PATIENT_COMMENTS, Vr::LT),
        (Tag(0x0009, 0x0010), Vr::LO),
        (Tag(0x0009, 0x1001), Vr::UN),
        (Tag(0x0009, 0x1002), Vr::SH),
        (tags::STUDY_INSTANCE_UID, Vr::UI),
        (tags::IMAGE_COMMENTS, Vr::LT),
        (tags::TEXT_VALUE, Vr::UT),
        (tags::MODIFYING_SYSTEM, Vr::LO),
    ])
}

fn sequence_tag() -> impl Strategy<Value = Tag> {
    prop::sample::select(vec![
        tags::ISSUER_OF_ACCESSION_NUMBER_SEQUENCE,
        tags::PROCEDURE_CODE_SEQUENCE,
        tags::OTHER_PATIENT_I_DS_SEQUENCE,
        tags::REQUEST_ATTRIBUTES_SEQUENCE,
        tags::CONTENT_SEQUENCE,
        tags::ORIGINAL_ATTRIBUTES_SEQUENCE,
        tags::MODIFIED_ATTRIBUTES_SEQUENCE,
    ])
}

/// In order of tags, each once, with or without a character set.
fn arranged(nodes: Vec<Node>, charset: Option<&'static str>) -> Vec<Node> {
    let tag = |node: &Node| match node {
        Node::Leaf(tag, ..)
        | Node::Shorts(tag, _)
        | Node::Sequence(tag, ..)
        | Node::Fragments(tag, _) => *tag,
    };
    let charset = charset.map(|set| leaf(tags::SPECIFIC_CHARACTER_SET, Vr::CS, set));
    let all = nodes.into_iter().chain(charset);
    let by_tag: BTreeMap<Tag, Node> = all.map(|node| (tag(&node), node)).collect();
    by_tag.into_values().collect()
}

fn charset() -> impl Strategy<Value = Option<&'static str>> {
    let sets = [
        None,
        Some("ISO_IR 144"),
        Some("ISO_IR 100"),
        Some("ISO_IR 192"),
        Some("\\ISO 2022 IR 87"),
    ];
    prop::sample::select(sets.to_vec())
}

fn node() -> impl Strategy<Value = Node> {
    let leaf = (tag(), text()).prop_map(|((tag, vr), value)| leaf(tag, vr, value));
    leaf.prop_recursive(3, 24, 4, |inner| {
        let item = (prop::collection::vec(inner, 0..4), charset());
        let item = item.prop_map(|(nodes, charset)| arranged(nodes, charset));
        let items = prop::collection::vec(item, 0..3);
        (sequence_tag(), items, any::<bool>(), any::<bool>())
            .prop_map(|(tag, items, defined, each)| Node::Sequence(tag, items, defined, each))
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 400,
        failure_persistence: None,
        ..Default::default()
    })]

    #[test]
    fn whatever_it_says_the_rest_stays(
        nodes in prop::collection::vec(node(), 0..8),
        charset in charset(),
        form in prop::sample::select(FORMS.to_vec()),
        piece in 1_usize..200,
    ) {
        let nodes = arranged(nodes, charset);
        let bytes = write(form, &nodes);
        let encoding = Encoding::of(&uid(form.uid()));
        let (out, outcome) = coerced(&bytes, form, &everything()).unwrap();
        let before = unchanged(contents(&bytes, encoding).unwrap(), &outcome.changed);
        let after = unchanged(contents(&out, encoding).unwrap(), &outcome.changed);
        prop_assert_eq!(before, after);
        let limits = CoerceLimits::default();
        let syntax = uid(form.uid());
        let mut coercer = Coercer::new(&syntax, &syntax, None, everything(), &limits).unwrap();
        let pieces = run(&mut coercer, &bytes, piece, piece).unwrap();
        prop_assert!(pieces == out, "in pieces it is another");
        let (again, outcome) = coerced(&out, form, &everything()).unwrap();
        prop_assert!(again == out && outcome.changed.is_empty(), "it changes again");
    }
}
