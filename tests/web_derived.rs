//! Derived data over the real server: metadata and encoded frames are made once, survive a restart,
//! follow every change, and are made again when their files are damaged or gone.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::PathBuf;

use flate2::Compression;
use pacs_tests::corpus::{self, Expected, Sample};
use pacs_tests::peers::files_below;
use pacs_tests::samples::{Slice, long, number as sample, text};
use pacs_tests::server::{Options, Server};
use pacs_tests::web::{Reply, get, request};
use pacs_tests::web_server::{ask, store, store_slice, values};
use pacs_tests::wire::uid;
use pacs_tests::workspace;

/// A server whose URLs do not change with its port.
fn server(derived: &str) -> Server {
    let url = "[http]\npublic_url = \"http://127.0.0.1:1/dicomweb\"\n";
    Server::start(Options {
        arguments: vec!["--open-loopback".to_owned()],
        config: format!("{url}[derived]\n{derived}\n"),
        ..Options::default()
    })
}

/// The second series of the first study.
fn other_series(number: u32) -> Slice {
    let slice = Slice::new(1, number);
    Slice {
        series: format!("{}.2", slice.study),
        instance: format!("{}.2.{number}", slice.study),
        ..slice
    }
}

fn metadata(server: &Server, headers: &[(&str, &str)]) -> Reply {
    let path = format!("/dicomweb/studies/{}/metadata", Slice::new(1, 1).study);
    get(server.http(), &path, headers)
}

/// SOP Instance UIDs of what is given, compressed and not: both have to be the same.
fn instances(server: &Server) -> Vec<String> {
    let plain = metadata(server, &[]);
    assert!(plain.is_whole && plain.status == 200);
    let zipped = metadata(server, &[("Accept-Encoding", "gzip")]);
    assert!(zipped.is_whole && zipped.header("content-encoding") == Some("gzip"));
    let mut unzipped = Vec::new();
    // Takes one member, as browsers do.
    let mut reader = flate2::read::GzDecoder::new(zipped.body.as_slice());
    reader.read_to_end(&mut unzipped).expect("gzip");
    assert!(unzipped == plain.body);
    let json = plain.json();
    let each = json.as_array().expect("an array").iter();
    let uid = |of: &serde_json::Value| of["00080018"]["Value"][0].as_str().map(str::to_owned);
    each.map(|of| uid(of).expect("a UID")).collect()
}

fn count(server: &Server, metric: &str) -> u64 {
    let (_, metrics) = server.get("/metrics");
    let mut lines = metrics.lines();
    let value = lines.find_map(|line| line.strip_prefix(metric)?.strip_prefix(' '));
    value.expect(metric).parse().expect("a number")
}

/// The files of derived data, once there are so many.
fn files(server: &Server, wanted: usize) -> Vec<PathBuf> {
    let folder = server.data().join("derived");
    for _ in 0..1_000 {
        let shards = fs::read_dir(&folder).into_iter().flatten().flatten();
        let shards = shards.filter(|shard| shard.file_name() != "new");
        let files = shards.flat_map(|shard| fs::read_dir(shard.path()).into_iter().flatten());
        let files: Vec<PathBuf> = files.flatten().map(|file| file.path()).collect();
        if files.len() == wanted {
            return files;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("never {wanted} files");
}

#[test]
fn metadata_of_a_study_is_made_once_for_each_series_and_kept_over_a_restart() {
    let mut server = server("");
    for number in 1..=3 {
        store_slice(&server, &Slice::new(1, number));
        store_slice(&server, &other_series(number));
    }
    let first = instances(&server);
    assert_eq!(first.len(), 6);
    files(&server, 2);
    assert_eq!(count(&server, "pacs_derived_misses_total"), 2);

    server.stop();
    server.restart();
    assert_eq!(instances(&server), first);
    assert_eq!(count(&server, "pacs_derived_misses_total"), 0);
    assert_eq!(count(&server, "pacs_derived_hits_total"), 4);
}

#[test]
fn every_change_of_a_series_is_in_the_next_answer() {
    let server = server("");
    let (kept, hidden) = (Slice::new(1, 1), Slice::new(1, 2));
    store_slice(&server, &kept);
    store_slice(&server, &hidden);
    store_slice(&server, &other_series(1));
    assert_eq!(instances(&server).len(), 3);

    store_slice(&server, &Slice::new(1, 3));
    assert_eq!(instances(&server).len(), 4);
    // The other series has not changed.
    assert_eq!(count(&server, "pacs_derived_misses_total"), 3);

    let path = format!(
        "/dicomweb/studies/{}/series/{}/instances/{}",
        hidden.study, hidden.series, hidden.instance
    );
    let deleted = request(server.http(), "DELETE", &path, &[]);
    assert!(deleted.status < 300, "{}", deleted.status);
    let left = instances(&server);
    assert!(left.len() == 3 && !left.contains(&hidden.instance));
    assert!(left.contains(&kept.instance));
}

#[test]
fn files_that_are_damaged_or_gone_are_made_again() {
    let server = server("");
    store_slice(&server, &Slice::new(1, 1));
    store_slice(&server, &other_series(1));
    let whole = instances(&server);
    let kept = files(&server, 2);
    let mut bytes = fs::read(&kept[0]).expect("a file");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x20;
    fs::write(&kept[0], bytes).expect("it is ours");
    fs::remove_file(&kept[1]).expect("it is ours");

    assert_eq!(instances(&server), whole);
    assert_eq!(count(&server, "pacs_derived_damaged_total"), 1);
    assert_eq!(count(&server, "pacs_derived_misses_total"), 4);

    fs::remove_dir_all(server.data().join("derived")).expect("it is ours");
    assert_eq!(instances(&server), whole);
}

#[test]
fn an_instance_that_cannot_be_read_takes_the_rest_of_its_study_with_it_nowhere() {
    let mut server = server("");
    store_slice(&server, &Slice::new(1, 1));
    let odd = Slice::new(1, 2);
    let mut deflated = flate2::write::DeflateEncoder::new(Vec::new(), Compression::fast());
    deflated.write_all(&odd.data_set()).expect("memory");
    let deflated = deflated.finish().expect("memory");
    let (class, syntax) = (uid::CT_IMAGE_STORAGE, "1.2.840.10008.1.2.1.99");
    assert_eq!(store(&server, class, &odd.instance, syntax, &deflated), 0);
    store_slice(&server, &Slice::new(1, 3));
    store_slice(&server, &other_series(4));
    server.stop();
    for pack in files_below(&server.data().join("packs")) {
        let mut bytes = fs::read(&pack).expect("a pack");
        let at = bytes.windows(deflated.len()).position(|of| of == deflated);
        if let Some(at) = at {
            bytes[at..at + 40].fill(0xFF);
            fs::write(&pack, bytes).expect("a pack");
        }
    }
    server.restart();

    let expected = [1, 2, 3].map(|number| Slice::new(1, number).instance);
    let mut expected = expected.to_vec();
    expected.push(other_series(4).instance);
    for _ in 0..2 {
        assert_eq!(instances(&server), expected);
        let json = metadata(&server, &[]).json();
        let availability = |at: usize| json[at]["00080056"]["Value"][0].clone();
        assert_eq!(availability(1), "UNAVAILABLE");
        assert_eq!(json[1]["0020000E"]["Value"][0], odd.series.as_str());
        assert!(json[0]["7FE00010"].is_object() && availability(0).is_null());
    }
    let xml = "multipart/related; type=\"application/dicom+xml\"";
    let parts = metadata(&server, &[("Accept", xml)]).parts();
    assert_eq!(parts.len(), expected.len());
    let text = String::from_utf8_lossy(&parts[1].body).into_owned();
    assert!(text.contains("UNAVAILABLE"), "{text}");
    let told = "an instance cannot be read: its metadata is what the index knows";
    server.wait_for_log(told);
}

#[test]
fn where_nothing_is_kept_metadata_is_given_all_the_same() {
    let server = server("megabytes_max = 0");
    store_slice(&server, &Slice::new(1, 1));
    store_slice(&server, &other_series(1));
    assert_eq!(instances(&server).len(), 2);
    assert!(!server.data().join("derived").exists());
}

#[test]
fn a_series_that_has_been_quiet_is_made_ready_before_anybody_asks() {
    let server = server("quiet_seconds = 1");
    store_slice(&server, &Slice::new(1, 1));
    files(&server, 2);
    assert_eq!(count(&server, "pacs_derived_misses_total"), 2);
    assert_eq!(instances(&server).len(), 1);
    // The thumbnail too, of the series and of the study.
    let slice = Slice::new(1, 1);
    let study = format!("/dicomweb/studies/{}", slice.study);
    for path in [study.clone(), format!("{study}/series/{}", slice.series)] {
        let reply = get(server.http(), &format!("{path}/thumbnail"), &[]);
        assert_eq!(reply.header("content-type"), Some("image/jpeg"), "{path}");
    }
    assert_eq!(count(&server, "pacs_derived_misses_total"), 2);
}

const JPEG_2000: &str = "1.2.840.10008.1.2.4.90";
const HTJ2K: &str = "1.2.840.10008.1.2.4.201";

/// A file in lossless JPEG 2000, stored, and the path of its first frame.
fn frame_in_jpeg_2000(server: &Server) -> Option<(Sample, String)> {
    let mut samples = corpus::load(&workspace::test_data()?);
    samples.retain(|sample| {
        sample.expected == Expected::Valid
            && sample.transfer_syntax == JPEG_2000
            && sample.data_set.len() < 1 << 20
    });
    let sample = samples.into_iter().next().expect("a file");
    let (class, instance) = (&sample.sop_class, &sample.sop_instance);
    let status = store(server, class, instance, JPEG_2000, &sample.data_set);
    assert_eq!(status, 0);
    let found = ask(server, &format!("/instances?SOPInstanceUID={instance}"));
    let urls = values(&found, "00081190");
    let path = urls[0].split("/dicomweb").nth(1).expect("a path");
    let path = format!("/dicomweb{path}/frames/1");
    Some((sample, path))
}

#[test]
fn a_frame_is_given_as_it_is_stored_native_or_encoded_anew_as_the_client_says() {
    let server = server("");
    let Some((sample, path)) = frame_in_jpeg_2000(&server) else {
        return;
    };
    let single = |accept: &str| {
        let reply = get(server.http(), &path, &[("Accept", accept)]);
        assert!(reply.is_whole && reply.status == 200, "{accept}");
        let kind = reply.header("content-type").expect("a type").to_owned();
        (kind, reply.body)
    };
    let (kind, stored) = single("application/octet-stream; transfer-syntax=*");
    assert!(kind.ends_with(JPEG_2000) && stored.starts_with(b"\xFF\x4F\xFF\x51"));
    assert!(
        sample
            .data_set
            .windows(stored.len())
            .any(|part| part == stored)
    );
    assert_eq!(single("image/jp2").1, stored);

    let (kind, native) = single("application/octet-stream");
    assert!(
        kind.ends_with("transfer-syntax=1.2.840.10008.1.2.1"),
        "{kind}"
    );
    for (accept, syntax, start) in [
        ("image/jphc", HTJ2K, &b"\xFF\x4F\xFF\x51"[..]),
        ("image/jls", "1.2.840.10008.1.2.4.80", b"\xFF\xD8\xFF\xF7"),
        ("image/dicom-rle", "1.2.840.10008.1.2.5", &[1, 0, 0, 0]),
        (
            "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.4.202",
            "1.2.840.10008.1.2.4.202",
            b"\xFF\x4F\xFF\x51",
        ),
    ] {
        let (kind, encoded) = single(accept);
        assert!(kind.ends_with(syntax), "{accept}: {kind}");
        assert!(encoded.len() < native.len(), "{accept}");
        let is_so = encoded.starts_with(start) || accept.ends_with("rle");
        assert!(is_so, "{accept}");
    }
    let refused = [(
        "Accept",
        "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.2",
    )];
    let refused = get(server.http(), &path, &refused);
    assert_eq!(refused.status, 406);
    assert!(refused.json()["detail"].to_string().contains(HTJ2K));
}

#[test]
fn many_who_want_a_frame_at_once_have_it_encoded_once() {
    have_it_made_once("image/jphc");
}

#[test]
fn many_who_want_a_frame_at_once_have_it_decoded_once() {
    have_it_made_once("application/octet-stream");
}

fn have_it_made_once(media_type: &str) {
    let mut server = server("");
    let Some((_, path)) = frame_in_jpeg_2000(&server) else {
        return;
    };
    let accept = format!("multipart/related; type=\"{media_type}\"");
    let accept = [("Accept", accept.as_str())];
    let before = count(&server, "pacs_derived_misses_total");
    let given: Vec<Vec<u8>> = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| get(server.http(), &path, &accept)))
            .collect();
        let replies = asking.into_iter().map(|asks| asks.join().expect("it ends"));
        replies.map(|reply| reply.parts()[0].body.clone()).collect()
    });
    assert!(
        given
            .iter()
            .all(|frame| *frame == given[0] && !frame.is_empty())
    );
    assert_eq!(count(&server, "pacs_derived_misses_total"), before + 1);
    files(&server, 1);

    server.stop();
    server.restart();
    let again = get(server.http(), &path, &accept);
    assert!(again.parts()[0].body == given[0]);
    assert_eq!(count(&server, "pacs_derived_misses_total"), 0);
    assert_eq!(count(&server, "pacs_derived_hits_total"), 1);
}

#[test]
fn a_whole_instance_is_encoded_of_the_frames_that_are_kept() {
    let server = server("");
    let Some((sample, path)) = frame_in_jpeg_2000(&server) else {
        return;
    };
    let frame = get(server.http(), &path, &[("Accept", "image/jphc")]);
    let before = count(&server, "pacs_derived_misses_total");
    let instance = path.strip_suffix("/frames/1").expect("a frame");
    let accept = format!("application/dicom; transfer-syntax={HTJ2K}");
    let file = get(server.http(), instance, &[("Accept", &accept)]);
    assert!(file.status == 200 && file.is_whole);
    assert_eq!(file.header("content-type"), Some(&*accept));
    let parts = corpus::Parts::of(&file.body);
    assert_eq!(parts.transfer_syntax, HTJ2K);
    assert_eq!(parts.sop_instance, sample.sop_instance);
    let mut windows = file.body.windows(frame.body.len());
    assert!(windows.any(|part| part == frame.body));

    // By the older kind of URI, and within the study.
    let uids: Vec<&str> = instance.split('/').collect();
    let uri = format!(
        "/dicomweb/wado?requestType=WADO&studyUID={}&seriesUID={}&objectUID={}\
         &contentType=application/dicom&transferSyntax={HTJ2K}",
        uids[3], uids[5], uids[7]
    );
    let by_uri = get(server.http(), &uri, &[]);
    assert!(by_uri.status == 200 && by_uri.body == file.body);
    let accept = format!("multipart/related; type=\"application/dicom\"; transfer-syntax={HTJ2K}");
    let study = format!("/dicomweb/studies/{}", uids[3]);
    let all = get(server.http(), &study, &[("Accept", &accept)]);
    let parts = all.parts();
    assert!(all.is_whole && parts.len() == 1 && parts[0].body == file.body);
    assert_eq!(count(&server, "pacs_derived_misses_total"), before);
}

#[test]
fn what_cannot_be_encoded_without_loss_is_refused_with_what_there_is() {
    let Some(folder) = workspace::test_data() else {
        return;
    };
    let server = server("");
    let samples = corpus::load(&folder);
    let path = |name: &str| {
        let sample = samples.iter().find(|sample| sample.name == name);
        let sample = sample.unwrap_or_else(|| panic!("{name} is no test file"));
        let (class, instance) = (&sample.sop_class, &sample.sop_instance);
        let syntax = &sample.transfer_syntax;
        assert_eq!(store(&server, class, instance, syntax, &sample.data_set), 0);
        let found = ask(&server, &format!("/instances?SOPInstanceUID={instance}"));
        let urls = values(&found, "00081190");
        let path = urls[0].split("/dicomweb").nth(1).expect("a path");
        format!("/dicomweb{path}")
    };
    let given = |path: &str, syntax: &str| {
        let accept = format!("application/dicom; transfer-syntax={syntax}");
        get(server.http(), path, &[("Accept", &accept)])
    };
    const JPEG_LS: &str = "1.2.840.10008.1.2.4.80";
    const RLE: &str = "1.2.840.10008.1.2.5";
    // Lossy as it is stored, but not once more.
    let lossy = path("ts/CT1_J2KI");
    let refused = given(&lossy, JPEG_LS);
    let told = refused.json()["detail"].to_string();
    assert_eq!(refused.status, 406);
    assert!(
        told.contains("1.2.840.10008.1.2.4.91") && !told.contains(RLE),
        "{told}"
    );
    assert_eq!(given(&lossy, "1.2.840.10008.1.2.4.91").status, 200);
    // Samples of 32 bits, for which there is RLE alone.
    let dose = path("ts/rtdose_rle.dcm");
    let refused = given(&dose, JPEG_LS);
    let told = refused.json()["detail"].to_string();
    assert_eq!(refused.status, 406);
    assert!(
        told.contains("Bits Allocated") && told.contains(RLE),
        "{told}"
    );
    assert_eq!(given(&dose, RLE).status, 200);
    // Nor has anybody made an encoder for this one.
    assert_eq!(given(&dose, "1.2.840.10008.1.2.4.90").status, 406);
}

/// An image of 4 by 2 samples of 32 bits of floating point (PS3.3 C.7.6.24).
fn float_image(instance: &str) -> Vec<u8> {
    let mut out = Vec::new();
    text(&mut out, 0x0008_0016, "UI", PARAMETRIC_MAP);
    text(&mut out, 0x0008_0018, "UI", instance);
    text(&mut out, 0x0010_0020, "LO", "FLOAT1");
    text(&mut out, 0x0020_000D, "UI", "1.2.826.0.1.98.1");
    text(&mut out, 0x0020_000E, "UI", "1.2.826.0.1.98.1.1");
    sample(&mut out, 0x0028_0002, 1);
    text(&mut out, 0x0028_0004, "CS", "MONOCHROME2");
    text(&mut out, 0x0028_0008, "IS", "1");
    sample(&mut out, 0x0028_0010, 2);
    sample(&mut out, 0x0028_0011, 4);
    sample(&mut out, 0x0028_0100, 32);
    let samples = (0..8_u16).flat_map(|at| (f32::from(at) / 4.0).to_le_bytes());
    long(&mut out, 0x7FE0_0008, "OF", &samples.collect::<Vec<u8>>());
    out
}

#[test]
fn an_instance_that_cannot_be_encoded_is_given_in_what_else_the_client_takes() {
    let server = server("");
    let study = "1.2.826.0.1.98.1";
    let float = format!("{study}.1.1");
    let syntax = uid::EXPLICIT_LITTLE_ENDIAN;
    let data_set = float_image(&float);
    assert_eq!(store(&server, PARAMETRIC_MAP, &float, syntax, &data_set), 0);
    let slice = Slice {
        patient_id: "FLOAT1".to_owned(),
        study: study.to_owned(),
        series: format!("{study}.2"),
        instance: format!("{study}.2.1"),
        ..Slice::new(1, 1)
    };
    store_slice(&server, &slice);
    let path = format!("/dicomweb/studies/{study}");
    let dicom = "multipart/related; type=\"application/dicom\"; transfer-syntax";
    let rle = "1.2.840.10008.1.2.5";

    let accept = format!("{dicom}={rle}, {dicom}={syntax}; q=0.5");
    let given = get(server.http(), &path, &[("Accept", &accept)]);
    assert!(given.status == 200 && given.is_whole, "{}", given.status);
    let parts = given.parts();
    let in_syntax = |part: &pacs_tests::web::Part| {
        let parts = corpus::Parts::of(&part.body);
        (parts.sop_instance, parts.transfer_syntax)
    };
    let mut found: Vec<(String, String)> = parts.iter().map(in_syntax).collect();
    found.sort();
    let expected = [(float.clone(), syntax), (slice.instance, rle)];
    assert_eq!(
        found,
        expected.map(|(uid, syntax)| (uid, syntax.to_owned()))
    );
    let known = [
        ("Accept", accept.as_str()),
        ("If-None-Match", given.header("etag").expect("a tag")),
    ];
    assert_eq!(get(server.http(), &path, &known).status, 304);

    let refused = get(
        server.http(),
        &path,
        &[("Accept", &format!("{dicom}={rle}"))],
    );
    assert_eq!(refused.status, 406);
    let told = refused.json()["detail"]
        .as_str()
        .expect("a text")
        .to_owned();
    let (available, why) = told
        .split_once("; instance ")
        .expect("what stands in the way");
    assert!(
        available.ends_with(syntax) && !available.contains(rle),
        "{told}"
    );
    assert!(
        why.contains(&float) && why.contains("floating point"),
        "{told}"
    );
}

const PARAMETRIC_MAP: &str = "1.2.840.10008.5.1.4.1.1.30";

#[test]
fn samples_of_floating_point_are_given_as_they_are_and_never_encoded() {
    let server = server("");
    let instance = "1.2.826.0.1.98.1.1.1";
    let data_set = float_image(instance);
    let syntax = uid::EXPLICIT_LITTLE_ENDIAN;
    assert_eq!(
        store(&server, PARAMETRIC_MAP, instance, syntax, &data_set),
        0
    );
    let series = "/dicomweb/studies/1.2.826.0.1.98.1/series/1.2.826.0.1.98.1.1";
    let path = format!("{series}/instances/{instance}");
    let accepting = |path: &str, accept: &str| get(server.http(), path, &[("Accept", accept)]);

    for encoded in ["1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.80", HTJ2K] {
        let accept = format!("application/dicom; transfer-syntax={encoded}");
        let refused = accepting(&path, &accept);
        assert_eq!(refused.status, 406, "{encoded}");
        let told = refused.json()["detail"].to_string();
        assert!(told.contains("floating point"), "{told}");
        let accept = format!("multipart/related; type=\"{accept}\"");
        assert_eq!(accepting(series, &accept).status, 406, "{encoded}");
    }
    let frame = format!("{path}/frames/1");
    for accept in ["image/dicom-rle", "image/jls", "image/jphc"] {
        let refused = accepting(&frame, accept);
        assert_eq!(refused.status, 406, "{accept}");
        let told = refused.json()["detail"].to_string();
        assert!(
            !told.contains("rle") && told.contains("octet-stream"),
            "{told}"
        );
    }
    let given = accepting(&frame, "application/octet-stream");
    assert_eq!((given.status, given.body.len()), (200, 32));
    assert!(data_set.ends_with(&given.body));
    let file = accepting(&path, "application/dicom");
    assert!(file.is_whole && file.body.ends_with(&data_set));
}
