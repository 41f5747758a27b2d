//! Rendered resources and thumbnails over the real server. Pictures are compared with those of
//! independent decoders in `interop_rendered.rs`.

use pacs_tests::samples::{Slice, long, number, text};
use pacs_tests::server::{Options, Server};
use pacs_tests::web::{Reply, get};
use pacs_tests::web_server::{ask, filled, open_server, store};
use pacs_tests::wire::uid;

/// Size and grey levels of a PNG.
fn png_of(reply: &Reply) -> (u32, u32, Vec<u8>) {
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
fn small_image(instance: &str, frames: u16) -> Vec<u8> {
    let mut out = Vec::new();
    text(&mut out, 0x0008_0016, "UI", uid::CT_IMAGE_STORAGE);
    text(&mut out, 0x0008_0018, "UI", instance);
    text(&mut out, 0x0010_0010, "PN", "Test^Picture");
    text(&mut out, 0x0010_0020, "LO", "PICTURE1");
    text(&mut out, 0x0020_000D, "UI", "1.2.826.0.1.99.1");
    text(&mut out, 0x0020_000E, "UI", "1.2.826.0.1.99.1.1");
    number(&mut out, 0x0028_0002, 1);
    text(&mut out, 0x0028_0004, "CS", "MONOCHROME2");
    text(&mut out, 0x0028_0008, "IS", &frames.to_string());
    number(&mut out, 0x0028_0010, 2);
    number(&mut out, 0x0028_0011, 4);
    number(&mut out, 0x0028_0100, 16);
    number(&mut out, 0x0028_0101, 12);
    number(&mut out, 0x0028_0102, 11);
    number(&mut out, 0x0028_0103, 0);
    text(&mut out, 0x0028_1050, "DS", "128");
    text(&mut out, 0x0028_1051, "DS", "256");
    let pixels = (0..frames).flat_map(|frame| (0..8).map(move |at| frame * 100 + at * 10));
    let pixels: Vec<u8> = pixels.flat_map(u16::to_le_bytes).collect();
    long(&mut out, 0x7FE0_0010, "OW", &pixels);
    out
}

const INSTANCE: &str = "1.2.826.0.1.99.1.1.1";

/// A server with such an image, and where that is.
fn with_small_image(frames: u16) -> (Server, String) {
    let server = open_server();
    let syntax = uid::EXPLICIT_LITTLE_ENDIAN;
    let data_set = small_image(INSTANCE, frames);
    let status = store(&server, uid::CT_IMAGE_STORAGE, INSTANCE, syntax, &data_set);
    assert_eq!(status, 0);
    let path = format!("/studies/1.2.826.0.1.99.1/series/1.2.826.0.1.99.1.1/instances/{INSTANCE}");
    (server, path)
}

fn accepting(server: &Server, path: &str, accept: &str) -> Reply {
    get(
        server.http(),
        &format!("/dicomweb{path}"),
        &[("Accept", accept)],
    )
}

#[test]
fn nobody_sees_a_picture_without_being_known() {
    let closed = Server::start(Options::default());
    for path in [
        "/studies/1.2/rendered",
        "/studies/1.2/thumbnail",
        "/studies/1.2/series/1.3/rendered",
        "/studies/1.2/series/1.3/thumbnail",
        "/studies/1.2/series/1.3/instances/1.4/rendered",
        "/studies/1.2/series/1.3/instances/1.4/thumbnail",
        "/studies/1.2/series/1.3/instances/1.4/frames/1/rendered",
        "/studies/1.2/series/1.3/instances/1.4/frames/1/thumbnail",
    ] {
        assert_eq!(ask(&closed, path).status, 401, "{path}");
        assert_eq!(ask(&open_server(), path).status, 404, "{path}");
    }
}

#[test]
fn an_instance_is_shown_in_each_kind_of_picture() {
    let (server, path) = with_small_image(1);
    let rendered = format!("{path}/rendered");

    let plain = ask(&server, &rendered);
    assert_eq!(plain.header("content-type"), Some("image/jpeg"));
    assert_eq!(plain.header("x-content-type-options"), Some("nosniff"));
    assert!(plain.body.starts_with(&[0xFF, 0xD8, 0xFF]));
    let gif = accepting(&server, &rendered, "image/gif");
    assert!(gif.body.starts_with(b"GIF89a"));
    let (width, height, levels) = png_of(&accepting(&server, &rendered, "image/png"));
    assert_eq!((width, height), (4, 2));
    assert_eq!(levels, [0, 10, 20, 30, 40, 50, 60, 70]);
    let by_query = png_of(&ask(&server, &format!("{rendered}?accept=image/png")));
    assert_eq!(by_query.2, levels);
    let parts = accepting(&server, &rendered, "multipart/related; type=\"image/png\"").parts();
    assert_eq!(parts.len(), 1);
    assert_eq!(parts[0].header("content-type"), Some("image/png"));

    let refused = accepting(&server, &rendered, "image/webp");
    assert_eq!(refused.status, 406);
    let told = refused.json()["detail"].to_string();
    assert!(
        told.contains("image/jpeg") && told.contains("image/png"),
        "{told}"
    );
}

#[test]
fn window_viewport_and_quality_are_as_asked() {
    let (server, path) = with_small_image(1);
    let ask_png = |query: &str| {
        let path = format!("{path}/rendered?accept=image/png&{query}");
        png_of(&ask(&server, &path))
    };

    let narrow = ask_png("window=35.5,2");
    assert_eq!(narrow.2, [0, 0, 0, 0, 255, 255, 255, 255]);
    let (width, height, levels) = ask_png("viewport=2,2,0,0,-4,2");
    assert_eq!((width, height), (2, 1));
    assert_eq!(levels, [45, 25]);

    let size = |quality: &str| {
        let slice = format!("{path}/rendered?quality={quality}");
        ask(&server, &slice).body.len()
    };
    assert!(size("1") < size("100"));
    for wrong in [
        "window=1",
        "window=1,0",
        "viewport=0,1",
        "viewport=9,9,4,0",
        "quality=0",
        "viewport=99999,99999",
        "viewport=4294967295,4294967295",
    ] {
        let refused = ask(&server, &format!("{path}/rendered?{wrong}"));
        assert!(
            [400, 413].contains(&refused.status),
            "{wrong}: {}",
            refused.status
        );
    }
}

#[test]
fn frames_are_shown_alone_in_parts_and_one_after_the_other() {
    let (server, path) = with_small_image(3);
    let second = png_of(&ask(
        &server,
        &format!("{path}/frames/2/rendered?accept=image/png"),
    ));
    assert_eq!(second.2, [100, 110, 120, 130, 140, 150, 160, 170]);
    let first = png_of(&ask(&server, &format!("{path}/rendered?accept=image/png")));
    assert_eq!(first.2, [0, 10, 20, 30, 40, 50, 60, 70]);

    let two = ask(&server, &format!("{path}/frames/1,3/rendered"));
    assert_eq!(two.parts().len(), 2);
    let all = accepting(
        &server,
        &format!("{path}/rendered"),
        "multipart/related; type=\"image/jpeg\"",
    );
    assert_eq!(all.parts().len(), 3);
    let moving = accepting(&server, &format!("{path}/rendered"), "image/gif");
    let pictures = |gif: &[u8]| gif.windows(3).filter(|at| *at == [0x21, 0xF9, 4]).count();
    assert_eq!(pictures(&moving.body), 3);
    let still = accepting(&server, &format!("{path}/thumbnail"), "image/gif");
    assert_eq!(pictures(&still.body), 1);

    assert_eq!(
        ask(&server, &format!("{path}/frames/4/rendered")).status,
        404
    );
    assert_eq!(
        ask(&server, &format!("{path}/frames/0/rendered")).status,
        400
    );
}

#[test]
fn a_study_and_a_series_are_shown_by_one_image_or_by_all() {
    let server = filled(1);
    let slice = Slice::new(1, 1);
    let study = format!("/studies/{}", slice.study);
    let series = format!("{study}/series/{}", slice.series);
    for path in [&study, &series] {
        let one = png_of(&accepting(
            &server,
            &format!("{path}/rendered"),
            "image/png",
        ));
        assert_eq!((one.0, one.1), (64, 64));
        let accept = "multipart/related; type=\"image/jpeg\"";
        let all = accepting(&server, &format!("{path}/rendered"), accept);
        assert_eq!(all.parts().len(), 2, "{path}");
        let small = format!("{path}/thumbnail?viewport=16,16");
        let small = png_of(&accepting(&server, &small, "image/png"));
        assert_eq!((small.0, small.1), (16, 16));
        let refused = accepting(&server, &format!("{path}/thumbnail"), accept);
        assert_eq!(refused.status, 406);
    }
}

#[test]
fn who_has_a_picture_is_told_so() {
    let (server, path) = with_small_image(1);
    let path = format!("/dicomweb{path}/rendered");
    let first = get(server.http(), &path, &[]);
    let tag = first.header("etag").expect("a tag").to_owned();
    let again = get(server.http(), &path, &[("If-None-Match", &tag)]);
    assert_eq!(again.status, 304);
    assert!(again.body.is_empty());
    let other = format!("{path}?window=10,20");
    let other = get(server.http(), &other, &[("If-None-Match", &tag)]);
    assert_eq!(other.status, 200);
    let other = get(
        server.http(),
        &path,
        &[("If-None-Match", &tag), ("Accept", "image/png")],
    );
    assert_eq!(other.status, 200);
}
