//! What is composed, read again by the scanner.

use super::*;
use crate::compose::bulk::BulkKind;
use crate::compose::json;
use pacs_core::limits::ScanLimits;
use pacs_core::scan::{Encoding, Event, Scanner};

const HEAD: &str = r#"
    "00080016": {"vr": "UI", "Value": ["1.2.840.10008.5.1.4.1.1.2"]},
    "00080018": {"vr": "UI", "Value": ["1.2.3.4"]},
    "0020000D": {"vr": "UI", "Value": ["1.2.3"]},
    "0020000E": {"vr": "UI", "Value": ["1.2.3.5"]}"#;

fn described(more: &str) -> Described {
    json::read(format!("{{{HEAD}{more}}}").as_bytes()).unwrap()
}

/// The composed file, its bulk data taken from `kept`; and where its data set begins.
fn whole(pieces: &[Piece], kept: &[u8]) -> (Vec<u8>, TransferSyntaxUid) {
    let mut file = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Bytes(bytes) => file.extend_from_slice(bytes),
            Piece::Bulk(range) => {
                let range =
                    usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
                file.extend_from_slice(&kept[range]);
            }
        }
    }
    let form = pacs_core::scan::file::read(&file).unwrap();
    assert_eq!(form.sop_instance.unwrap().as_str(), "1.2.3.4");
    (file[form.data_set].to_vec(), form.transfer_syntax)
}

fn events(data_set: &[u8]) -> Vec<Event> {
    let limits = ScanLimits::default();
    let scanner = Scanner::new(data_set, Encoding::ExplicitLittleEndian, &limits);
    scanner.map(Result::unwrap).collect()
}

fn part(range: Range<u64>, syntax: Option<&str>) -> BulkPart {
    let kind = syntax.map_or(BulkKind::Plain, |uid| {
        BulkKind::Compressed(TransferSyntaxUid::parse(uid).unwrap())
    });
    BulkPart { range, kind }
}

#[test]
fn values_bulk_data_and_sequences_stand_where_they_belong() {
    let long = "1.5,".repeat(30_000);
    let more = format!(
        r#", "00081140": {{"vr": "SQ", "Value": [{{"00081155": {{"vr": "UI", "Value": ["1.2"]}},
               "00420011": {{"vr": "OB", "BulkDataURI": "b"}}}}, {{}}]}},
           "30060050": {{"vr": "DS", "Value": [{}]}},
           "7FE00010": {{"vr": "OW", "BulkDataURI": "a"}}"#,
        long.trim_end_matches(',')
    );
    let mut parts = BulkParts::default();
    parts.add("a", part(0..4, None));
    parts.add("b", part(4..7, None));

    let pieces = compose(&described(&more), &mut parts).unwrap();

    let (data_set, syntax) = whole(&pieces, b"pixelbx");
    assert_eq!(syntax.as_str(), EXPLICIT_LITTLE_ENDIAN);
    let value = |wanted: Tag| {
        events(&data_set).into_iter().find_map(|event| {
            let Event::Element(element) = event else {
                return None;
            };
            let (start, end) = (element.value.start, element.value.end);
            let range = usize::try_from(start).unwrap()..usize::try_from(end).unwrap();
            (element.tag == wanted).then(|| (element.written_vr, data_set[range].to_vec()))
        })
    };
    assert_eq!(
        value(tags::PIXEL_DATA),
        Some((Some(Vr::OW), b"pixe".to_vec()))
    );
    assert_eq!(
        value(Tag(0x0042, 0x0011)),
        Some((Some(Vr::OB), b"lbx\0".to_vec()))
    );
    let (vr, points) = value(Tag(0x3006, 0x0050)).unwrap();
    assert_eq!((vr, points.len()), (Some(Vr::UN), 120_000));
    let items = events(&data_set);
    let items = items
        .iter()
        .filter(|e| matches!(e, Event::ItemBegin { .. }));
    assert_eq!(items.count(), 2);
}

#[test]
fn compressed_frames_become_fragments_with_a_table() {
    let pixels = r#", "7FE00010": {"vr": "OB", "BulkDataURI": "p"}"#;
    let count = |frames| format!(r#", "00280008": {{"vr": "IS", "Value": [{frames}]}}{pixels}"#);
    let rle = Some("1.2.840.10008.1.2.5");
    let parts = |syntaxes: [Option<&str>; 2]| {
        let mut parts = BulkParts::default();
        parts.add("p", part(0..3, syntaxes[0]));
        parts.add("p", part(3..7, syntaxes[1]));
        parts
    };

    let pieces = compose(&described(&count(2)), &mut parts([rle; 2])).unwrap();

    let (data_set, syntax) = whole(&pieces, b"abcdefg");
    assert_eq!(Some(syntax.as_str()), rle);
    let end = [
        b"\xFE\xFF\x00\xE0\x08\0\0\0\0\0\0\0\x0C\0\0\0".as_slice(),
        b"\xFE\xFF\x00\xE0\x04\0\0\0abc\0",
        b"\xFE\xFF\x00\xE0\x04\0\0\0defg",
        b"\xFE\xFF\xDD\xE0\0\0\0\0",
    ]
    .concat();
    assert!(data_set.ends_with(&end));

    let extended = format!(
        r#", "7FE00001": {{"vr": "OV", "InlineBinary": ""}}{}"#,
        count(2)
    );
    let pieces = compose(&described(&extended), &mut parts([rle; 2])).unwrap();
    let (data_set, _) = whole(&pieces, b"abcdefg");
    let table = b"\xE0\x7F\x01\0OV\0\0\x10\0\0\0\0\0\0\0\0\0\0\0\x0C\0\0\0\0\0\0\0";
    assert!(data_set.windows(table.len()).any(|window| window == table));

    let three = compose(&described(&count(3)), &mut parts([rle; 2]));
    let wrong = DescribedError::Frames {
        parts: 2,
        frames: 3,
    };
    assert_eq!(three, Err(wrong));
    let two = compose(&described(&count(2)), &mut parts([rle, None]));
    assert_eq!(two, Err(DescribedError::PixelSyntax));
    let native = compose(&described(pixels), &mut parts([None; 2]));
    let tag = tags::PIXEL_DATA;
    assert_eq!(native, Err(DescribedError::BulkSeveral { tag }));
}

#[test]
fn an_instance_without_its_identity_is_none() {
    for wanted in ["00080016", "00080018", "0020000D", "0020000E"] {
        let text = format!("{{{}}}", HEAD.replace(wanted, "00100020"));
        let described = json::read(text.replace("UI", "LO").as_bytes()).unwrap();
        let refused = compose(&described, &mut BulkParts::default()).unwrap_err();
        assert!(
            matches!(refused, DescribedError::Missing { .. }),
            "{wanted}"
        );
    }
    let missing = described(r#", "7FE00010": {"vr": "OW", "BulkDataURI": "http://a/b"}"#);
    let tag = tags::PIXEL_DATA;
    let refused = compose(&missing, &mut BulkParts::default());
    assert_eq!(refused, Err(DescribedError::BulkMissing { tag }));
}
