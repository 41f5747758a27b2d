//! A video over the real server: as it was stored, where that is something to play.

use pacs_tests::corpus::{self, Sample};
use pacs_tests::server::Server;
use pacs_tests::web::{Reply, get, request};
use pacs_tests::web_server::{instance_path, open_server, store};
use pacs_tests::workspace;

/// MPEG-4 AVC/H.264 High Profile / Level 4.1 (PS3.5 8.2.6).
const H264: &str = "1.2.840.10008.1.2.4.102";

/// MPEG2 Main Profile / Main Level (PS3.5 8.2.5).
const MPEG2: &str = "1.2.840.10008.1.2.4.100";

/// The file of the test data in `syntax`, stored, and where it is.
fn stored(server: &Server, syntax: &str) -> Option<(Sample, String)> {
    let mut samples = corpus::load(&workspace::test_data()?).into_iter();
    let sample = samples
        .find(|sample| sample.transfer_syntax == syntax)
        .expect("a file in this transfer syntax");
    let (class, instance) = (&sample.sop_class, &sample.sop_instance);
    let status = store(server, class, instance, syntax, &sample.data_set);
    assert_eq!(status, 0);
    let path = instance_path(server, instance).expect("it is there");
    let path = format!("/dicomweb{path}");
    Some((sample, path))
}

/// The one fragment of the encapsulated pixel data of `data_set` (PS3.5 A.4).
fn fragment(data_set: &[u8]) -> &[u8] {
    let length = |at: usize| {
        let bytes = data_set[at..at + 4].try_into().expect("four bytes");
        usize::try_from(u32::from_le_bytes(bytes)).expect("short")
    };
    let begun = b"\xE0\x7F\x10\x00OB\0\0\xFF\xFF\xFF\xFF\xFE\xFF\x00\xE0";
    let mut windows = data_set.windows(begun.len());
    let at = windows.position(|window| window == begun);
    let table = at.expect("encapsulated pixel data") + begun.len();
    let item = table + 4 + length(table);
    assert_eq!(data_set[item..item + 4], *b"\xFE\xFF\x00\xE0");
    let start = item + 8;
    let end = start + length(item + 4);
    assert_eq!(data_set[end..end + 4], *b"\xFE\xFF\xDD\xE0", "one fragment");
    &data_set[start..end]
}

fn accepting(server: &Server, path: &str, accept: &str) -> Reply {
    get(server.http(), path, &[("Accept", accept)])
}

#[test]
fn a_video_in_an_mp4_container_is_given_as_it_is_with_ranges() {
    let server = open_server();
    let Some((sample, path)) = stored(&server, H264) else {
        return;
    };
    let video = fragment(&sample.data_set);
    assert_eq!(video[4..8], *b"ftyp", "an MP4 container");
    let rendered = format!("{path}/rendered");

    for accept in ["video/mp4", "*/*", "image/png;q=0.5, video/*"] {
        let whole = accepting(&server, &rendered, accept);
        assert_eq!((whole.status, whole.is_whole), (200, true), "{accept}");
        assert_eq!(whole.header("content-type"), Some("video/mp4"), "{accept}");
        assert_eq!(whole.header("x-content-type-options"), Some("nosniff"));
        assert!(whole.body == video, "{accept}: {} bytes", whole.body.len());
    }

    let part = get(server.http(), &rendered, &[("Range", "bytes=4-11")]);
    assert_eq!((part.status, &*part.body), (206, &video[4..12]));
    let range = format!("bytes 4-11/{}", video.len());
    assert_eq!(part.header("content-range"), Some(&*range));
    let tag = part.header("etag").expect("a tag");
    let known = get(server.http(), &rendered, &[("If-None-Match", tag)]);
    assert_eq!((known.status, known.body.len()), (304, 0));
    let head = request(server.http(), "HEAD", &rendered, &[]);
    assert_eq!((head.status, head.body.len()), (200, 0));

    let by_query = get(server.http(), &format!("{rendered}?accept=video/mp4"), &[]);
    assert!(by_query.body == video);
    let [study, series] = ["studies/", "series/"].map(|name| {
        let uid = path
            .split(name)
            .nth(1)
            .and_then(|rest| rest.split('/').next());
        uid.expect("a UID")
    });
    let by_uri = format!(
        "/dicomweb/wado?requestType=WADO&studyUID={study}&seriesUID={series}&objectUID={}\
         &contentType=video/mp4",
        sample.sop_instance
    );
    let by_uri = get(server.http(), &by_uri, &[]);
    assert_eq!(by_uri.header("content-type"), Some("video/mp4"));
    assert!(by_uri.body == video);
}

#[test]
fn what_a_video_cannot_be_given_as_is_refused_with_what_it_can_be() {
    let server = open_server();
    let Some((_, in_mp4)) = stored(&server, H264) else {
        return;
    };
    let (_, as_stream) = stored(&server, MPEG2).expect("the same test data");
    for (path, accept, available) in [
        (&in_mp4, "image/jpeg", "video/mp4"),
        (&in_mp4, "video/mpeg", "video/mp4"),
        (
            &in_mp4,
            "multipart/related; type=\"image/png\"",
            "video/mp4",
        ),
        // A transport stream is not put into another container.
        (&as_stream, "video/mp4", "application/dicom"),
        (&as_stream, "*/*", "application/dicom"),
        (&as_stream, "image/jpeg", "application/dicom"),
    ] {
        let refused = accepting(&server, &format!("{path}/rendered"), accept);
        assert_eq!(refused.status, 406, "{accept}");
        let told = refused.json()["detail"].to_string();
        assert!(told.contains(available), "{accept}: {told}");
        let other = ["video/mp4", "application/dicom"].map(|kind| told.contains(kind));
        assert_ne!(other[0], other[1], "{accept}: {told}");
        // What it says can be had.
        let had = match available {
            "video/mp4" => accepting(&server, &format!("{path}/rendered"), available),
            _ => accepting(&server, path, &format!("{available}; transfer-syntax=*")),
        };
        assert_eq!(had.status, 200, "{available}");
    }
    for path in [&in_mp4, &as_stream] {
        let refused = get(server.http(), &format!("{path}/thumbnail"), &[]);
        assert_eq!(refused.status, 404, "no frame of a video is decoded");
    }
}
