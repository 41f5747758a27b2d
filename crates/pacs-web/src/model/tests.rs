//! Data sets made here, in the model.

use super::*;
use pacs_core::limits::ScanLimits;
use pacs_core::scan::Encoding;
use serde_json::{Value, json};

fn explicit(group: u16, number: u16, vr: &[u8; 2], value: &[u8]) -> Vec<u8> {
    let mut out = [group.to_le_bytes(), number.to_le_bytes()].concat();
    out.extend(vr);
    if matches!(vr, b"OB" | b"OW" | b"SQ" | b"UN" | b"UT") {
        out.extend([0, 0]);
        out.extend(u32::try_from(value.len()).unwrap().to_le_bytes());
    } else {
        out.extend(u16::try_from(value.len()).unwrap().to_le_bytes());
    }
    out.extend(value);
    out
}

fn implicit(group: u16, number: u16, value: &[u8]) -> Vec<u8> {
    let mut out = [group.to_le_bytes(), number.to_le_bytes()].concat();
    out.extend(u32::try_from(value.len()).unwrap().to_le_bytes());
    out.extend(value);
    out
}

fn item(content: &[u8]) -> Vec<u8> {
    let mut out = b"\xfe\xff\0\xe0".to_vec();
    out.extend(u32::try_from(content.len()).unwrap().to_le_bytes());
    out.extend(content);
    out
}

fn model(data_set: &[u8], encoding: Encoding) -> Value {
    let options = ModelOptions {
        bulk_url: "/bulk".to_owned(),
        inline_bytes_max: 8,
        value_bytes_max: 32,
        fragments_max: 4,
    };
    let walk = Walk::new(data_set, encoding, 0, &ScanLimits::default());
    let mut model = Model::new(walk, options);
    let mut out = Vec::new();
    // In pieces as small as may be: they must not matter.
    loop {
        let a_little_more = out.len().saturating_add(1);
        if model.write(&mut out, a_little_more) {
            break;
        }
    }
    serde_json::from_slice(&out).unwrap()
}

fn little(data_set: &[u8]) -> Value {
    model(data_set, Encoding::ExplicitLittleEndian)
}

#[test]
fn every_kind_of_value_stands_as_the_standard_has_it() {
    let data_set = [
        explicit(0x0008, 0x0000, b"UL", &[4, 0, 0, 0]),
        explicit(0x0008, 0x0005, b"CS", b"ISO_IR 144"),
        explicit(0x0008, 0x0060, b"CS", b""),
        explicit(0x0010, 0x0010, b"PN", b"\xb8\xd2\xd0\xdd\xde\xd2^A"),
        explicit(0x0018, 0x0050, b"DS", b"+1.50 "),
        explicit(0x0028, 0x0010, b"US", &[2, 0]),
        explicit(0x0028, 0x0009, b"AT", &[0x18, 0, 0x63, 0x10]),
        explicit(
            0x0040,
            0x0275,
            b"SQ",
            &[item(&explicit(0x40, 9, b"SH", b"S1")), item(b"")].concat(),
        ),
        explicit(0x0042, 0x0011, b"OB", b"%PDF-1.4 and so on"),
        explicit(0x0043, 0x1010, b"OB", b"foobar"),
        explicit(0x7fe0, 0x0010, b"OW", &[0; 4]),
        explicit(0xfffc, 0xfffc, b"OB", &[0, 0]),
    ]
    .concat();

    let expected = json!({
        "00080005": {"vr": "CS", "Value": ["ISO_IR 192"]},
        "00080060": {"vr": "CS"},
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Иванов^A"}]},
        "00180050": {"vr": "DS", "Value": [1.50]},
        "00280009": {"vr": "AT", "Value": ["00181063"]},
        "00280010": {"vr": "US", "Value": [2]},
        "00400275": {"vr": "SQ", "Value": [{"00400009": {"vr": "SH", "Value": ["S1"]}}, {}]},
        "00420011": {"vr": "OB", "BulkDataURI": "/bulk/00420011"},
        "00431010": {"vr": "OB", "InlineBinary": "Zm9vYmFy"},
        "7FE00010": {"vr": "OW", "BulkDataURI": "/bulk/7FE00010"},
    });
    assert_eq!(little(&data_set), expected);
}

#[test]
fn bulk_data_within_sequences_is_named_by_its_path() {
    let wave = explicit(0x5400, 0x1010, b"OW", &[0; 10]);
    let items = [item(b""), item(&wave)].concat();
    let data_set = explicit(0x5400, 0x0100, b"SQ", &items);
    let second = &little(&data_set)["54000100"]["Value"][1];
    assert_eq!(
        second["54001010"]["BulkDataURI"],
        "/bulk/54000100/2/54001010"
    );
}

#[test]
fn an_item_may_have_a_character_set_of_its_own() {
    let inner = [
        explicit(8, 5, b"CS", b"ISO_IR 100"),
        explicit(0x10, 0x10, b"PN", b"\xc4^B "),
    ]
    .concat();
    let data_set = [
        explicit(8, 5, b"CS", b"ISO_IR 144"),
        explicit(8, 0x1120, b"SQ", &item(&inner)),
        explicit(0x10, 0x10, b"PN", b"\xc4^B "),
    ]
    .concat();
    let model = little(&data_set);
    assert_eq!(
        model["00081120"]["Value"][0]["00100010"]["Value"][0]["Alphabetic"],
        "Ä^B"
    );
    assert_eq!(model["00100010"]["Value"][0]["Alphabetic"], "Ф^B");
}

#[test]
fn what_the_encoding_does_not_say_follows_the_pixel_representation() {
    let data_set = [
        implicit(0x28, 0x103, &[1, 0]),
        implicit(0x28, 0x106, &[0xff, 0xff]),
    ]
    .concat();
    let expected = json!({
        "00280103": {"vr": "US", "Value": [1]},
        "00280106": {"vr": "SS", "Value": [-1]},
    });
    assert_eq!(model(&data_set, Encoding::ImplicitLittleEndian), expected);
}

#[test]
fn bytes_of_big_endian_words_are_turned() {
    let mut data_set = b"\0\x28\0\x10US\0\x02\x01\0".to_vec();
    data_set.extend(b"\0\x29\x10\x10OW\0\0\0\0\0\x02\x01\x02");
    let expected = json!({
        "00280010": {"vr": "US", "Value": [256]},
        "00291010": {"vr": "OW", "InlineBinary": "AgE="},
    });
    assert_eq!(model(&data_set, Encoding::ExplicitBigEndian), expected);
}

#[test]
fn an_element_that_stands_twice_is_shown_once_and_a_broken_end_ends_the_object() {
    let mut data_set = [
        explicit(8, 0x60, b"CS", b"CT"),
        explicit(8, 0x20, b"DA", b"20260101"),
        explicit(8, 0x60, b"CS", b"MR"),
    ]
    .concat();
    data_set.extend(b"\x40\0\x75\x02SQ\0\0\xff\xff\xff\xff\xfe\xff\0\xe0\xff\xff\xff\xff");
    data_set.extend(b"\x40\0\x09\0SH\x20\0S1");
    let model = little(&data_set);
    assert_eq!(model["00080060"]["Value"], json!(["CT"]));
    assert_eq!(model["00080020"]["Value"], json!(["20260101"]));
    assert_eq!(model["00400275"]["Value"], json!([{}]));
}

#[test]
fn fragments_are_passed_over_up_to_a_bound() {
    let mut data_set = explicit(8, 0x60, b"CS", b"CT");
    data_set.extend(b"\xe0\x7f\x10\0OB\0\0\xff\xff\xff\xff");
    for _ in 0..3 {
        data_set.extend(item(b"ab"));
    }
    let mut few = data_set.clone();
    few.extend(b"\xfe\xff\xdd\xe0\0\0\0\0");
    few.extend(explicit(0x7fe1, 0x10, b"LO", b"behind"));
    assert_eq!(little(&few)["7FE10010"]["Value"], json!(["behind"]));
    let mut many = data_set;
    many.extend(item(b"cd").repeat(3));
    many.extend(explicit(0x7fe1, 0x10, b"LO", b"behind"));
    let model = little(&many);
    assert_eq!(model["7FE00010"]["vr"], "OB");
    assert!(model.get("7FE10010").is_none());
}
