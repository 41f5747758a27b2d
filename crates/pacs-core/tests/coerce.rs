//! What a data set says on its way out, and what of it changes.
#![expect(
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "what a test's own functions do is the test"
)]

#[path = "coerce_support/contents.rs"]
mod contents;
#[path = "coerce/corpus.rs"]
mod corpus;
#[path = "coerce/hostile.rs"]
mod hostile;
#[path = "coerce_support/overlays.rs"]
mod overlays;
#[path = "coerce/records.rs"]
mod records;
#[path = "coerce/streams.rs"]
mod streams;
#[path = "scan_support/testdata.rs"]
mod testdata;
#[path = "coerce/texts.rs"]
mod text;
#[path = "scan_support/writer.rs"]
mod writer;

use contents::{Content, Path, contents};
use flate2::Compression;
use flate2::write::DeflateEncoder;
use overlays::{CHANGED_AT, change, everything, patient, patient_only};
use pacs_core::TransferSyntaxUid;
use pacs_core::charset::Undeclared;
use pacs_core::coerce::{
    Change, CoerceError, Coercer, Demographics, Order, Outcome, Overlay, OverlayError, PersonName,
    Reason, Request, coerce,
};
use pacs_core::convert::{
    ConvertError, Converter, PixelEncoder, PixelError, PixelForm, Progress, convert,
};
use pacs_core::limits::{CoerceLimits, ScanLimits};
use pacs_core::scan::{Encoding, ScanError};
use pacs_core::tag::{Tag, Vr, tags};
use std::io::Write as _;
use std::sync::Arc;
use writer::{Form, Node, write};

const DEFLATED: &str = "1.2.840.10008.1.2.1.99";
const FORMS: [Form; 3] = [Form::BigEndian, Form::Explicit, Form::Implicit];

fn uid(name: &str) -> TransferSyntaxUid {
    TransferSyntaxUid::parse(name).unwrap()
}

fn coerced(
    bytes: &[u8],
    form: Form,
    overlay: &Arc<Overlay>,
) -> Result<(Vec<u8>, Outcome), ConvertError> {
    coerce(bytes, &uid(form.uid()), overlay, &CoerceLimits::default())
}

fn leaf(tag: Tag, vr: Vr, value: impl AsRef<[u8]>) -> Node {
    let mut value = value.as_ref().to_vec();
    if value.len() % 2 == 1 {
        value.push(if vr == Vr::UI || vr == Vr::OB {
            0
        } else {
            b' '
        });
    }
    Node::Leaf(tag, vr, value)
}

/// As what is rewritten has them.
fn sequence(tag: Tag, items: Vec<Vec<Node>>) -> Node {
    Node::Sequence(tag, items, false, false)
}

/// As what is new has them.
fn measured(tag: Tag, items: Vec<Vec<Node>>) -> Node {
    Node::Sequence(tag, items, true, true)
}

fn utf_8() -> Node {
    leaf(tags::SPECIFIC_CHARACTER_SET, Vr::CS, "ISO_IR 192")
}

/// An item of Original Attributes as [`change`] makes it.
fn original(modified: Vec<Node>, nonconforming: Vec<(Tag, &[u8])>) -> Vec<Node> {
    let mut item = vec![sequence(tags::MODIFIED_ATTRIBUTES_SEQUENCE, vec![modified])];
    if !nonconforming.is_empty() {
        let items = nonconforming.into_iter().map(|(tag, bytes)| {
            vec![
                leaf(tags::SELECTOR_ATTRIBUTE, Vr::AT, selector(tag)),
                Node::Shorts(tags::SELECTOR_VALUE_NUMBER, vec![1]),
                leaf(tags::NONCONFORMING_DATA_ELEMENT_VALUE, Vr::OB, bytes),
            ]
        });
        let tag = tags::NONCONFORMING_MODIFIED_ATTRIBUTES_SEQUENCE;
        item.push(sequence(tag, items.collect()));
    }
    item.extend([
        leaf(tags::ATTRIBUTE_MODIFICATION_DATE_TIME, Vr::DT, CHANGED_AT),
        leaf(tags::MODIFYING_SYSTEM, Vr::LO, "KGPACS"),
        leaf(tags::SOURCE_OF_PREVIOUS_VALUES, Vr::LO, "CT_006"),
        leaf(
            tags::REASON_FOR_THE_ATTRIBUTE_MODIFICATION,
            Vr::CS,
            "COERCE",
        ),
    ]);
    item
}

/// A tag as a value of explicit VR little endian.
fn selector(tag: Tag) -> Vec<u8> {
    [tag.group().to_le_bytes(), tag.element().to_le_bytes()].concat()
}

/// A patient without Latin name and identifiers, to keep examples short.
fn plain_patient() -> Demographics {
    Demographics {
        latin_name: None,
        identifiers: Vec::new(),
        ..patient()
    }
}

fn plain_overlay() -> Arc<Overlay> {
    Arc::new(
        Overlay::new(change())
            .with_patient(&plain_patient())
            .unwrap(),
    )
}

/// What [`plain_overlay`] writes.
fn plain_elements() -> Vec<Node> {
    vec![
        leaf(tags::PATIENT_NAME, Vr::PN, "Жээнбеков^Үсөн^Өмүрбекович"),
        leaf(tags::PATIENT_ID, Vr::LO, "P0000005724"),
        leaf(tags::ISSUER_OF_PATIENT_ID, Vr::LO, "KGPACS"),
        leaf(tags::PATIENT_BIRTH_DATE, Vr::DA, "19900131"),
        leaf(tags::PATIENT_SEX, Vr::CS, "M"),
    ]
}

/// Pushes `bytes` in pieces and reads in pieces.
fn run(
    coercer: &mut Coercer,
    bytes: &[u8],
    input: usize,
    output: usize,
) -> Result<Vec<u8>, ConvertError> {
    let mut chunks = bytes.chunks(input);
    let mut out = Vec::new();
    loop {
        let bytes_max = out.len() + output;
        match coercer.read(&mut out, bytes_max)? {
            Progress::Done => return Ok(out),
            Progress::Full => {}
            Progress::NeedsInput => match chunks.next() {
                Some(chunk) => coercer.push(chunk.to_vec()),
                None => coercer.end(),
            },
        }
    }
}

fn deflated(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    let mut packed = encoder.finish().unwrap();
    if packed.len() % 2 == 1 {
        packed.push(0);
    }
    packed
}

/// A data set with some of everything.
fn study() -> Vec<Node> {
    vec![
        leaf(Tag(0x0008, 0x0000), Vr::UL, [8, 0, 0, 0]),
        leaf(tags::SPECIFIC_CHARACTER_SET, Vr::CS, "ISO_IR 144"),
        leaf(tags::MODALITY, Vr::CS, "CT"),
        // Больница
        leaf(
            tags::INSTITUTION_NAME,
            Vr::LO,
            b"\xB1\xDE\xDB\xEC\xDD\xD8\xE6\xD0",
        ),
        measured(
            tags::PROCEDURE_CODE_SEQUENCE,
            vec![vec![leaf(tags::CODE_MEANING, Vr::LO, b"\xBA\xC2")]],
        ),
        // Иванов
        leaf(tags::PATIENT_NAME, Vr::PN, b"\xB8\xD2\xD0\xDD\xDE\xD2"),
        leaf(tags::PATIENT_WEIGHT, Vr::DS, "80"),
        leaf(Tag(0x0009, 0x0010), Vr::LO, "CREATOR"),
        leaf(tags::STUDY_INSTANCE_UID, Vr::UI, "1.2.3"),
        measured(
            tags::REQUEST_ATTRIBUTES_SEQUENCE,
            vec![vec![leaf(
                tags::SCHEDULED_PROCEDURE_STEP_DESCRIPTION,
                Vr::LO,
                b"\xBA\xC2",
            )]],
        ),
        measured(
            tags::CONTENT_SEQUENCE,
            vec![vec![
                leaf(tags::TEXT_VALUE, Vr::UT, b"\xB4\xD0\xDD\xDD\xEB\xD5"),
                sequence(tags::CONTENT_SEQUENCE, vec![vec![], vec![]]),
            ]],
        ),
        Node::Fragments(tags::PIXEL_DATA, vec![vec![], vec![1, 2, 3], vec![4; 5000]]),
    ]
}

fn at(path: &Path) -> Tag {
    path.last().unwrap().0
}

/// The texts under a tag, in order.
fn texts(bytes: &[u8], form: Form, tag: Tag) -> Vec<String> {
    let all = contents(bytes, Encoding::of(&uid(form.uid()))).unwrap();
    all.into_iter()
        .filter(|(path, _)| at(path) == tag)
        .filter_map(|(_, content)| match content {
            Content::Text(text, is_suspect) => {
                assert!(!is_suspect, "{text}");
                Some(text)
            }
            Content::Bytes(_) | Content::Items(_) => None,
        })
        .collect()
}
