//! Frames of multi-frame objects over the real server: the head and the fragments are gone through
//! once, whichever frame is asked for after that.

use std::fs;

use pacs_tests::corpus::{self, Expected};
use pacs_tests::samples::{long, number, text};
use pacs_tests::server::Server;
use pacs_tests::web::get;
use pacs_tests::web_server::{ask, open_server, store, values};
use pacs_tests::wire::uid;
use pacs_tests::workspace;

const STUDY: &str = "1.2.826.0.1.3680043.10.999.91";
const ENHANCED_CT: &str = "1.2.840.10008.5.1.4.1.1.2.1";
const JPEG_BASELINE: &str = "1.2.840.10008.1.2.4.50";
const FRAMES: u16 = 800;

/// An image of [`FRAMES`] frames of 16 x 16 pixels, up to its pixel data, with some six megabytes
/// of functional groups.
fn head(instance: &str) -> Vec<u8> {
    let mut out = Vec::new();
    text(&mut out, 0x0008_0016, "UI", ENHANCED_CT);
    text(&mut out, 0x0008_0018, "UI", instance);
    text(&mut out, 0x0020_000D, "UI", STUDY);
    text(&mut out, 0x0020_000E, "UI", &format!("{STUDY}.1"));
    number(&mut out, 0x0028_0002, 1);
    text(&mut out, 0x0028_0004, "CS", "MONOCHROME2");
    text(&mut out, 0x0028_0008, "IS", &FRAMES.to_string());
    number(&mut out, 0x0028_0010, 16);
    number(&mut out, 0x0028_0011, 16);
    number(&mut out, 0x0028_0100, 8);
    number(&mut out, 0x0028_0101, 8);
    number(&mut out, 0x0028_0102, 7);
    number(&mut out, 0x0028_0103, 0);
    let mut items = Vec::new();
    for frame in 0..FRAMES {
        let mut group = Vec::new();
        for label in 0..64 {
            let said = format!("{frame} {label} {}", "x".repeat(100));
            long(
                &mut group,
                0x0009_1000 + label,
                "UT",
                padded(said).as_bytes(),
            );
        }
        item(&mut items, &group);
    }
    long(&mut out, 0x5200_9230, "SQ", &items);
    out
}

fn padded(mut text: String) -> String {
    if text.len() % 2 == 1 {
        text.push(' ');
    }
    text
}

fn item(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&[0xFE, 0xFF, 0x00, 0xE0]);
    out.extend_from_slice(&u32::try_from(bytes.len()).expect("short").to_le_bytes());
    out.extend_from_slice(bytes);
}

/// What frame `number` has in it.
fn frame(number: u16) -> Vec<u8> {
    number.to_le_bytes().repeat(128)
}

fn native(instance: &str) -> Vec<u8> {
    let mut out = head(instance);
    let pixels: Vec<u8> = (1..=FRAMES).flat_map(frame).collect();
    long(&mut out, 0x7FE0_0010, "OB", &pixels);
    out
}

/// A fragment for each frame, and nothing that says where they are.
fn fragments(instance: &str) -> Vec<u8> {
    let mut out = head(instance);
    out.extend_from_slice(b"\xE0\x7F\x10\x00OB\0\0\xFF\xFF\xFF\xFF");
    item(&mut out, &[]);
    for number in 1..=FRAMES {
        item(&mut out, &frame(number));
    }
    out.extend_from_slice(b"\xFE\xFF\xDD\xE0\0\0\0\0");
    out
}

/// Bytes that the server has read from files so far.
fn read_bytes(server: &Server) -> u64 {
    let path = format!("/proc/{}/io", server.process());
    let io = fs::read_to_string(path).expect("what the process has read");
    let mut lines = io.lines();
    let count = lines.find_map(|line| line.strip_prefix("rchar: "));
    count.expect("a count").parse().expect("a number")
}

/// What it takes the server to give a frame.
fn cost(server: &Server, instance: &str, number: u16) -> u64 {
    let before = read_bytes(server);
    let path = format!("/dicomweb/studies/{STUDY}/series/{STUDY}.1/instances/{instance}");
    let kind = "multipart/related; type=\"application/octet-stream\"; transfer-syntax=*";
    let reply = get(
        server.http(),
        &format!("{path}/frames/{number}"),
        &[("Accept", kind)],
    );
    assert_eq!(
        reply.status,
        200,
        "{}",
        String::from_utf8_lossy(&reply.body)
    );
    assert_eq!(reply.parts()[0].body, frame(number), "frame {number}");
    read_bytes(server) - before
}

#[test]
fn a_frame_of_many_is_read_where_it_stands() {
    let server = open_server();
    let objects = [
        (
            format!("{STUDY}.1.1"),
            uid::EXPLICIT_LITTLE_ENDIAN,
            native as fn(&str) -> Vec<u8>,
        ),
        (format!("{STUDY}.1.2"), JPEG_BASELINE, fragments),
    ];
    for (instance, syntax, make) in objects {
        let data_set = make(&instance);
        assert_eq!(store(&server, ENHANCED_CT, &instance, syntax, &data_set), 0);

        let first = cost(&server, &instance, 1);
        // Whatever else the server does meanwhile, it does not do it each time.
        let least = (1..=FRAMES)
            .rev()
            .step_by(40)
            .map(|at| cost(&server, &instance, at))
            .min();

        assert!(
            first > 1 << 20,
            "the head is long, and had to be read: {first}"
        );
        assert!(
            least.is_some_and(|bytes| bytes < 64 << 10),
            "{least:?} bytes for a frame"
        );
    }
}

/// A frame in JPEG, twice, each time in three fragments, and nothing that says
/// where the second begins.
fn in_three_fragments(instance: &str, (rows, columns): (u16, u16), frame: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    text(&mut out, 0x0008_0016, "UI", ENHANCED_CT);
    text(&mut out, 0x0008_0018, "UI", instance);
    text(&mut out, 0x0020_000D, "UI", STUDY);
    text(&mut out, 0x0020_000E, "UI", &format!("{STUDY}.1"));
    number(&mut out, 0x0028_0002, 1);
    text(&mut out, 0x0028_0004, "CS", "MONOCHROME2");
    text(&mut out, 0x0028_0008, "IS", "2");
    number(&mut out, 0x0028_0010, rows);
    number(&mut out, 0x0028_0011, columns);
    number(&mut out, 0x0028_0100, 8);
    number(&mut out, 0x0028_0101, 8);
    number(&mut out, 0x0028_0102, 7);
    number(&mut out, 0x0028_0103, 0);
    out.extend_from_slice(b"\xE0\x7F\x10\x00OB\0\0\xFF\xFF\xFF\xFF");
    item(&mut out, &[]);
    let third = frame.len().div_ceil(3).next_multiple_of(2);
    for piece in [frame, frame].iter().flat_map(|frame| frame.chunks(third)) {
        item(&mut out, piece);
    }
    out.extend_from_slice(b"\xFE\xFF\xDD\xE0\0\0\0\0");
    out
}

#[test]
fn frames_of_several_fragments_without_a_table_are_given_as_they_are_rendered() {
    let Some(folder) = workspace::test_data() else {
        return;
    };
    let server = open_server();
    let mut samples = corpus::load(&folder);
    samples.retain(|sample| {
        sample.expected == Expected::Valid && sample.transfer_syntax == JPEG_BASELINE
    });
    samples.sort_by_key(|sample| sample.data_set.len());
    let any = [("Accept", "application/octet-stream; transfer-syntax=*")];
    // The smallest in grey, and its only frame.
    let (size, frame) = samples
        .iter()
        .find_map(|sample| {
            let (class, instance) = (&sample.sop_class, &sample.sop_instance);
            let stored = store(&server, class, instance, JPEG_BASELINE, &sample.data_set);
            assert_eq!(stored, 0, "{}", sample.name);
            let found = ask(&server, &format!("/instances?SOPInstanceUID={instance}"));
            let url = values(&found, "00081190").remove(0);
            let path = format!(
                "/dicomweb{}",
                url.split("/dicomweb").nth(1).expect("a path")
            );
            let metadata = get(server.http(), &format!("{path}/metadata"), &[]).json();
            let value = |tag: &str| metadata[0][tag]["Value"][0].clone();
            let size = |tag: &str| u16::try_from(value(tag).as_u64().expect("a size")).ok();
            let is_one_in_grey = value("00280004") == "MONOCHROME2" && value("00280008").is_null();
            let frame = get(server.http(), &format!("{path}/frames/1"), &any);
            let size = (size("00280010")?, size("00280011")?);
            (is_one_in_grey && value("00280100") == 8).then_some((size, frame.body))
        })
        .expect("a picture in grey");
    let instance = format!("{STUDY}.1.3");
    let data_set = in_three_fragments(&instance, size, &frame);
    assert_eq!(
        store(&server, ENHANCED_CT, &instance, JPEG_BASELINE, &data_set),
        0
    );

    let path = format!("/dicomweb/studies/{STUDY}/series/{STUDY}.1/instances/{instance}/frames");
    for number in 1..=2 {
        let given = get(server.http(), &format!("{path}/{number}"), &any);
        assert!(
            given.status == 200 && given.body == frame,
            "{}",
            given.status
        );
    }
    let shown = |number: u32| {
        let png = [("Accept", "image/png")];
        get(server.http(), &format!("{path}/{number}/rendered"), &png)
    };
    let (first, second) = (shown(1), shown(2));
    assert!(
        first.status == 200 && first.body == second.body,
        "{}",
        second.status
    );
    assert_eq!(get(server.http(), &format!("{path}/3"), &any).status, 404);
}
