//! A small image, what is stored beside it, and pictures of both.

use crate::samples::{long, number, text};
use crate::server::Server;
use crate::web::{Reply, get};
use crate::web_server::{open_server, store};
use crate::wire::uid;

/// Size and samples of a PNG of eight bits.
///
/// # Panics
/// When it is none.
#[must_use]
pub fn png_of(reply: &Reply) -> (u32, u32, Vec<u8>) {
    assert_eq!(
        reply.status,
        200,
        "{}",
        String::from_utf8_lossy(&reply.body)
    );
    let decoder = png::Decoder::new(std::io::Cursor::new(&reply.body));
    let mut reader = decoder.read_info().expect("a PNG");
    let mut samples = vec![0; reader.output_buffer_size().expect("a size")];
    let info = reader.next_frame(&mut samples).expect("a picture");
    assert_eq!(info.bit_depth, png::BitDepth::Eight);
    (info.width, info.height, samples)
}

/// An image of 4 by 2 pixels, each with its own level, in `frames` frames.
#[must_use]
pub fn small_image(instance: &str, frames: u16) -> Vec<u8> {
    let pixels = (0..frames).flat_map(|frame| (0..8).map(move |at| frame * 100 + at * 10));
    let pixels: Vec<u8> = pixels.flat_map(u16::to_le_bytes).collect();
    image_that_says(instance, &frames.to_string(), &pixels)
}

/// The same of these pixels, whatever the Number of Frames.
#[must_use]
pub fn image_that_says(instance: &str, frames: &str, pixels: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    text(&mut out, 0x0008_0016, "UI", uid::CT_IMAGE_STORAGE);
    text(&mut out, 0x0008_0018, "UI", instance);
    text(&mut out, 0x0010_0010, "PN", "Test^Picture");
    text(&mut out, 0x0010_0020, "LO", "PICTURE1");
    text(&mut out, 0x0020_000D, "UI", "1.2.826.0.1.99.1");
    text(&mut out, 0x0020_000E, "UI", "1.2.826.0.1.99.1.1");
    number(&mut out, 0x0028_0002, 1);
    text(&mut out, 0x0028_0004, "CS", "MONOCHROME2");
    text(&mut out, 0x0028_0008, "IS", frames);
    number(&mut out, 0x0028_0010, 2);
    number(&mut out, 0x0028_0011, 4);
    number(&mut out, 0x0028_0100, 16);
    number(&mut out, 0x0028_0101, 12);
    number(&mut out, 0x0028_0102, 11);
    number(&mut out, 0x0028_0103, 0);
    text(&mut out, 0x0028_1050, "DS", "128");
    text(&mut out, 0x0028_1051, "DS", "256");
    long(&mut out, 0x7FE0_0010, "OW", pixels);
    out
}

/// The SOP Instance UID of [`with_small_image`].
pub const INSTANCE: &str = "1.2.826.0.1.99.1.1.1";

/// A server with such an image, and where that is.
///
/// # Panics
/// When the server does not start or take it.
#[must_use]
pub fn with_small_image(frames: u16) -> (Server, String) {
    let server = open_server();
    let syntax = uid::EXPLICIT_LITTLE_ENDIAN;
    let data_set = small_image(INSTANCE, frames);
    let status = store(&server, uid::CT_IMAGE_STORAGE, INSTANCE, syntax, &data_set);
    assert_eq!(status, 0);
    let path = format!("/studies/1.2.826.0.1.99.1/series/1.2.826.0.1.99.1.1/instances/{INSTANCE}");
    (server, path)
}

/// Asks for `path` of the web services in this media type.
///
/// # Panics
/// When nothing answers in HTTP.
#[must_use]
pub fn accepting(server: &Server, path: &str, accept: &str) -> Reply {
    get(
        server.http(),
        &format!("/dicomweb{path}"),
        &[("Accept", accept)],
    )
}

/// Appends a sequence of items.
///
/// # Panics
/// When one is too long.
pub fn sequence(out: &mut Vec<u8>, tag: u32, items: &[Vec<u8>]) {
    let mut value = Vec::new();
    for item in items {
        value.extend([0xFE, 0xFF, 0x00, 0xE0]);
        value.extend(u32::try_from(item.len()).expect("short").to_le_bytes());
        value.extend(item);
    }
    long(out, tag, "SQ", &value);
}

/// The identity of an instance in the study of the small image.
#[must_use]
pub fn identity(class: &str, instance: &str, name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    text(&mut out, 0x0008_0016, "UI", class);
    text(&mut out, 0x0008_0018, "UI", instance);
    text(&mut out, 0x0010_0010, "PN", name);
    text(&mut out, 0x0010_0020, "LO", "PICTURE1");
    text(&mut out, 0x0020_000D, "UI", "1.2.826.0.1.99.1");
    text(&mut out, 0x0020_000E, "UI", "1.2.826.0.1.99.1.2");
    out
}

/// The SOP Instance UID of what is beside the small image.
pub const OTHER: &str = "1.2.826.0.1.99.1.2.1";

/// Stores an instance that [`identity`] began, [`OTHER`]: where it is.
///
/// # Panics
/// When it is not taken.
#[must_use]
pub fn stored_beside(server: &Server, class: &str, data_set: &[u8]) -> String {
    let syntax = uid::EXPLICIT_LITTLE_ENDIAN;
    assert_eq!(store(server, class, OTHER, syntax, data_set), 0);
    format!("/studies/1.2.826.0.1.99.1/series/1.2.826.0.1.99.1.2/instances/{OTHER}")
}
