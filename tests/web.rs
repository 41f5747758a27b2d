//! DICOMweb over the real server: retrieval, metadata, frames, bulk data, deletion, who gets in.
//! Searches are in `web_search.rs`.

use std::io::Read as _;

use pacs_tests::corpus::{self, Expected, Sample};
use pacs_tests::samples::Slice;
use pacs_tests::server::{Options, Server};
use pacs_tests::stow;
use pacs_tests::web::{get, request};
use pacs_tests::web_server::{ask, filled, open_server, store, store_slice, study, values};
use pacs_tests::wire::uid;
use pacs_tests::workspace;

#[test]
fn nobody_gets_in_without_being_known() {
    let closed = Server::start(Options::default());
    let open = open_server();
    for path in [
        "",
        "/studies",
        "/series",
        "/instances",
        "/studies/1.2",
        "/studies/1.2/metadata",
        "/studies/1.2/series/1.3/instances/1.4/frames/1",
        "/studies/1.2/series/1.3/instances/1.4/bulkdata/7FE00010",
    ] {
        let path = format!("/dicomweb{path}");
        let refused = get(closed.http(), &path, &[]);
        assert_eq!(refused.status, 401, "{path}");
        assert!(refused.header("www-authenticate").is_some(), "{path}");
        assert_ne!(get(open.http(), &path, &[]).status, 401, "{path}");
        for header in [
            ("Host", "elsewhere.example"),
            ("Origin", "https://elsewhere.example"),
            ("Sec-Fetch-Site", "cross-site"),
        ] {
            assert_eq!(
                get(open.http(), &path, &[header]).status,
                401,
                "{path} {header:?}"
            );
        }
    }
    let delete = request(closed.http(), "DELETE", "/dicomweb/studies/1.2", &[]);
    assert_eq!(delete.status, 401);
}

#[test]
fn an_address_that_is_not_loopback_is_never_open() {
    let home = workspace::temporary_folder();
    let options = Options {
        arguments: ["--open-loopback", "--http", "0.0.0.0:0"]
            .map(str::to_owned)
            .to_vec(),
        ..Options::default()
    };
    let (status, said) = pacs_tests::server::start_refused(&options, home.path());
    assert!(!status.success());
    assert!(said.contains("open_loopback"), "{said}");
}

#[test]
fn instances_come_back_as_files_alone_and_in_parts() {
    let server = filled(1);
    let slices = [Slice::new(1, 1), Slice::new(1, 2)];
    let of_study = format!("/studies/{}", slices[0].study);
    let of_series = format!("{of_study}/series/{}", slices[0].series);
    let of_instance = format!("{of_series}/instances/{}", slices[0].instance);
    let data_set = |file: &[u8]| {
        assert_eq!(&file[..132], [&[0; 128][..], b"DICM"].concat());
        file[corpus::Parts::of(file).data_set_offset..].to_vec()
    };

    for (path, expected) in [(&of_study, 2), (&of_series, 2), (&of_instance, 1)] {
        let accept = "multipart/related; type=\"application/dicom\"; transfer-syntax=*";
        let reply = get(
            server.http(),
            &format!("/dicomweb{path}"),
            &[("Accept", accept)],
        );
        assert!(reply.is_whole && reply.status == 200);
        let parts = reply.parts();
        assert_eq!(parts.len(), expected, "{path}");
        for (part, slice) in parts.iter().zip(&slices) {
            let kind = format!(
                "application/dicom; transfer-syntax={}",
                uid::EXPLICIT_LITTLE_ENDIAN
            );
            assert_eq!(part.header("content-type"), Some(kind.as_str()));
            assert!(data_set(&part.body) == slice.data_set(), "{path}");
        }
    }
    let alone = get(
        server.http(),
        &format!("/dicomweb{of_instance}"),
        &[("Accept", "application/dicom")],
    );
    assert_eq!(alone.header("x-content-type-options"), Some("nosniff"));
    assert!(data_set(&alone.body) == slices[0].data_set());
    for accept in [
        "text/html",
        "application/dicom; transfer-syntax=1.2.840.10008.1.2.4.50",
    ] {
        let path = format!("/dicomweb{of_instance}");
        let refused = get(server.http(), &path, &[("Accept", accept)]);
        assert_eq!(refused.status, 406, "{accept}");
        let told = refused.json()["detail"].to_string();
        assert!(told.contains("application/dicom"), "{told}");
    }
    for path in [
        "/studies/1.2.3",
        "/studies/not%2Fa%20uid",
        "/studies/1.2.3/metadata",
    ] {
        assert_eq!(ask(&server, path).status, 404, "{path}");
    }
}

#[test]
fn syntaxes_that_are_not_for_the_web_are_not_given() {
    let server = filled(1);
    let slice = Slice::new(1, 1);
    let path = format!(
        "/dicomweb/studies/{}/series/{}/instances/{}",
        slice.study, slice.series, slice.instance
    );
    for syntax in [uid::IMPLICIT_LITTLE_ENDIAN, "1.2.840.10008.1.2.2"] {
        let accept = format!("application/dicom; transfer-syntax={syntax}");
        let reply = get(server.http(), &path, &[("Accept", &accept)]);
        assert_eq!(reply.status, 406, "{syntax}");
        let told = reply.json()["detail"].to_string();
        assert!(told.contains(uid::EXPLICIT_LITTLE_ENDIAN), "{told}");
    }
}

#[test]
fn metadata_is_made_once_for_a_client_that_keeps_it() {
    let server = filled(1);
    let slice = Slice::new(1, 1);
    let path = format!(
        "/dicomweb/studies/{}/series/{}/metadata",
        slice.study, slice.series
    );

    let plain = get(server.http(), &path, &[]);
    let json = plain.json();
    assert_eq!(json.as_array().expect("an array").len(), 2);
    assert_eq!(json[0]["00080018"]["Value"][0], slice.instance.as_str());
    let tag = plain.header("etag").expect("a tag");

    let again = get(server.http(), &path, &[("If-None-Match", tag)]);
    assert_eq!((again.status, again.body.len()), (304, 0));
    let zipped = get(
        server.http(),
        &path,
        &[("Accept-Encoding", "br, gzip;q=0.8")],
    );
    assert_eq!(zipped.header("content-encoding"), Some("gzip"));
    assert!(zipped.body.len() < plain.body.len());
    let mut unzipped = Vec::new();
    let mut reader = flate2::read::GzDecoder::new(zipped.body.as_slice());
    reader.read_to_end(&mut unzipped).expect("gzip");
    assert_eq!(unzipped, plain.body);

    store_slice(&server, &Slice::new(1, 3));
    let grown = get(server.http(), &path, &[("If-None-Match", tag)]);
    assert_eq!(grown.status, 200);
    assert_eq!(grown.json().as_array().expect("an array").len(), 3);
}

#[test]
fn frames_and_bulk_data_are_the_pixels_also_in_part() {
    let server = filled(1);
    let slice = Slice::new(1, 1);
    let data_set = slice.data_set();
    let length = usize::from(slice.side) * usize::from(slice.side) * 2;
    let pixels = &data_set[data_set.len() - length..];
    let of_instance = format!(
        "/dicomweb/studies/{}/series/{}/instances/{}",
        slice.study, slice.series, slice.instance
    );

    let frame = get(server.http(), &format!("{of_instance}/frames/1"), &[]);
    let parts = frame.parts();
    assert!(parts.len() == 1 && parts[0].body == pixels);
    let bytes = [("Accept", "application/octet-stream")];
    let single = get(server.http(), &format!("{of_instance}/frames/1"), &bytes);
    assert!(single.body == pixels);
    for (list, status) in [
        ("2", 404),
        ("0", 400),
        ("x", 400),
        ("1,,2", 400),
        ("1,2", 404),
    ] {
        let reply = get(server.http(), &format!("{of_instance}/frames/{list}"), &[]);
        assert_eq!(reply.status, status, "{list}");
    }

    let metadata = get(server.http(), &format!("{of_instance}/metadata"), &[]).json();
    let url = metadata[0]["7FE00010"]["BulkDataURI"]
        .as_str()
        .expect("a URL");
    let path = format!(
        "/dicomweb{}",
        url.split("/dicomweb").nth(1).expect("a path")
    );
    assert!(get(server.http(), &path, &[]).body == pixels);
    let range = get(server.http(), &path, &[("Range", "bytes=100-299")]);
    assert_eq!(range.status, 206);
    let told = format!("bytes 100-299/{length}");
    assert_eq!(range.header("content-range"), Some(told.as_str()));
    assert!(range.body == pixels[100..300]);
    let behind = get(server.http(), &path, &[("Range", "bytes=999999-")]);
    assert_eq!(behind.status, 416);
    for path in [
        "bulkdata/00100010/1",
        "bulkdata/x",
        "bulkdata/99991111",
        "bulkdata/00100010/x/1",
    ] {
        let reply = get(server.http(), &format!("{of_instance}/{path}"), &[]);
        assert_eq!(reply.status, 404, "{path}");
    }
}

#[test]
fn who_has_instances_and_frames_already_is_told_so() {
    let server = filled(2);
    let slice = Slice::new(1, 1);
    let series = format!("/dicomweb/studies/{}/series/{}", slice.study, slice.series);
    let instance = format!("{series}/instances/{}", slice.instance);
    let (one, parts) = (
        "application/dicom",
        "multipart/related; type=\"application/dicom\"",
    );
    let native = "multipart/related; type=\"application/octet-stream\"";
    let mut tags = Vec::new();
    for (path, accept) in [
        (instance.clone(), one),
        (instance.clone(), parts),
        (series.clone(), parts),
        (format!("{instance}/frames/1"), "application/octet-stream"),
        (format!("{instance}/frames/1"), native),
        (format!("{instance}/frames/1,1"), native),
    ] {
        let given = get(server.http(), &path, &[("Accept", accept)]);
        assert!(given.status == 200 && given.is_whole && !given.body.is_empty());
        let tag = given.header("etag").expect("a tag").to_owned();
        let knowing = |tag: &str| {
            let headers = [("Accept", accept), ("If-None-Match", tag)];
            let reply = get(server.http(), &path, &headers);
            assert_eq!(
                reply.header("cross-origin-resource-policy"),
                Some("same-origin")
            );
            (reply.status, reply.body.is_empty())
        };
        assert_eq!(knowing(&tag), (304, true), "{path} {accept}");
        assert_eq!(knowing("\"other\""), (200, false), "{path} {accept}");
        tags.push(tag);
    }
    tags.sort_unstable();
    tags.dedup();
    assert_eq!(tags.len(), 6);
    // What is not there is not there for anybody.
    let any = [("Accept", native), ("If-None-Match", "*")];
    let frame = get(server.http(), &format!("{instance}/frames/2"), &any);
    assert_eq!(frame.status, 404);

    // Of a series that has changed all is given.
    let known = get(server.http(), &series, &[("Accept", parts)]);
    let tag = known.header("etag").expect("a tag").to_owned();
    store_slice(&server, &Slice::new(1, 3));
    let headers = [("Accept", parts), ("If-None-Match", &tag)];
    assert_eq!(get(server.http(), &series, &headers).parts().len(), 3);
}

#[test]
fn what_is_deleted_is_hidden_and_nothing_else() {
    let server = filled(2);
    let path = format!("/dicomweb/studies/{}", study(1));

    assert_eq!(request(server.http(), "DELETE", &path, &[]).status, 204);

    assert_eq!(values(&ask(&server, "/studies"), "0020000D"), [study(2)]);
    assert_eq!(get(server.http(), &path, &[]).status, 404);
    assert_eq!(request(server.http(), "DELETE", &path, &[]).status, 404);
    let mixed = format!(
        "/dicomweb/studies/{}/series/{}",
        study(2),
        Slice::new(1, 1).series
    );
    assert_eq!(request(server.http(), "DELETE", &mixed, &[]).status, 404);
    assert!(
        Slice::new(1, 1).is_in(&server.packs()),
        "its bytes are kept"
    );
}

#[test]
fn of_a_series_that_also_stands_in_another_study_only_what_is_named_is_deleted() {
    let server = filled(1);
    let first = Slice::new(1, 1);
    let second = Slice {
        series: first.series.clone(),
        ..Slice::new(2, 1)
    };
    store_slice(&server, &second);
    let path = |study: &str| format!("/studies/{study}/series/{}", first.series);

    let named = format!("/dicomweb{}", path(&first.study));
    assert_eq!(request(server.http(), "DELETE", &named, &[]).status, 204);

    let mut counts = Vec::new();
    for study in [&first.study, &second.study] {
        let found = ask(&server, &format!("{}/instances", path(study)));
        counts.push(values(&found, "00080018").len());
    }
    assert_eq!(counts, [0, 1]);
    let instance = format!("{}/instances/{}", path(&second.study), second.instance);
    let instance = format!("/dicomweb{instance}");
    assert_eq!(request(server.http(), "DELETE", &instance, &[]).status, 204);
    assert_eq!(ask(&server, "/studies").status, 204);
}

#[test]
fn the_service_says_what_it_can() {
    let server = open_server();
    for method in ["GET", "OPTIONS"] {
        let reply = request(server.http(), method, "/dicomweb", &[]);
        assert_eq!(reply.status, 200);
        assert_eq!(
            reply.header("content-type"),
            Some("application/vnd.sun.wadl+xml")
        );
        let text = String::from_utf8(reply.body).expect("text");
        assert!(text.contains("studies/{study}/series/{series}/metadata"));
    }
}

#[test]
fn the_root_names_the_pages_there_are() {
    let server = Server::start(Options::default());
    let reply = get(server.http(), "/", &[]);
    assert_eq!(reply.status, 200);
    let text = String::from_utf8(reply.body).expect("text");
    let pages = text.split_whitespace().filter(|word| word.starts_with('/'));
    let statuses: Vec<u16> = pages
        .map(|page| get(server.http(), page, &[]).status)
        .collect();
    assert_eq!(statuses, [401, 200, 200, 200, 200, 200, 200]);
}

#[test]
fn what_is_asked_and_stored_over_the_web_is_counted() {
    let server = filled(1);
    assert_eq!(values(&ask(&server, "/studies"), "0020000D"), [study(1)]);
    assert_eq!(ask(&server, "/studies/1.2.9/metadata").status, 404);
    let stored = stow::store(
        server.http(),
        "/dicomweb/studies",
        &[Slice::new(2, 1).file(), b"no instance".to_vec()],
    );
    assert_eq!(stored.status, 202);

    let (_, metrics) = server.get("/metrics");
    let value = |name: &str| {
        let mut lines = metrics.lines();
        let found = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        found.unwrap_or_else(|| panic!("no {name}: {metrics}"))
    };
    let requests = |resource: &str, method: &str, status: &str| {
        value(&format!(
            "pacs_web_request_seconds_count{{method=\"{method}\",resource=\"{resource}\",\
             status=\"{status}\"}}"
        ))
    };
    assert_eq!(requests("studies", "GET", "2xx"), "1");
    assert_eq!(requests("metadata", "GET", "4xx"), "1");
    assert_eq!(requests("studies", "POST", "2xx"), "1");
    assert_eq!(value("pacs_web_instances_total{outcome=\"stored\"}"), "1");
    assert_eq!(value("pacs_web_instances_total{outcome=\"refused\"}"), "1");
    let received: u64 = value("pacs_web_received_bytes_total")
        .parse()
        .expect("a number");
    assert!(received > 8_192, "{received}");
    let sent = value("pacs_web_sent_bytes_total{resource=\"studies\"}");
    assert_ne!(sent, "0");
}

/// The samples that are kept, each SOP Instance UID once.
fn kept() -> Option<Vec<Sample>> {
    let folder = workspace::test_data()?;
    let mut samples = corpus::load(&folder);
    samples.retain(|sample| matches!(sample.expected, Expected::Valid | Expected::OddAccept));
    let mut seen = std::collections::BTreeSet::new();
    samples.retain(|sample| seen.insert(sample.sop_instance.clone()));
    Some(samples)
}

#[test]
fn every_file_of_the_test_data_comes_back_over_the_web_and_is_described() {
    let Some(samples) = kept() else {
        return;
    };
    let server = open_server();
    let mut faults = Vec::new();
    for sample in &samples {
        let Sample {
            sop_class,
            sop_instance,
            transfer_syntax,
            ..
        } = sample;
        let status = store(
            &server,
            sop_class,
            sop_instance,
            transfer_syntax,
            &sample.data_set,
        );
        assert_eq!(status, 0, "{}", sample.name);
        let found = ask(
            &server,
            &format!("/instances?SOPInstanceUID={sop_instance}"),
        );
        assert_eq!(found.status, 200, "{}", sample.name);
        let url = found.json()[0]["00081190"]["Value"][0].to_string();
        let url = url.trim_matches('"');
        let path = format!(
            "/dicomweb{}",
            url.split("/dicomweb").nth(1).expect("a path")
        );
        let any = [("Accept", "application/dicom; transfer-syntax=*")];
        let file = get(server.http(), &path, &any);
        let parts = corpus::Parts::of(&file.body);
        let is_equal = file.status == 200
            && parts.transfer_syntax == *transfer_syntax
            && file.body[parts.data_set_offset..] == sample.data_set;
        if !is_equal {
            faults.push(format!(
                "{}: {} and another data set",
                sample.name, file.status
            ));
        }
        let metadata = get(server.http(), &format!("{path}/metadata"), &[]);
        if metadata.status != 200 || !metadata.is_whole {
            faults.push(format!("{}: no metadata", sample.name));
        }
        // Some is nested deeper than serde_json reads.
        let text = String::from_utf8(metadata.body).expect("UTF-8");
        let uid = format!("\"00080018\":{{\"vr\":\"UI\",\"Value\":[\"{sop_instance}\"]}}");
        if !text.contains(&uid) || !text.ends_with("}]") {
            faults.push(format!("{}: metadata of another", sample.name));
        }
        let frame = get(server.http(), &format!("{path}/frames/1"), &[]);
        if frame.status >= 500 || !frame.is_whole {
            faults.push(format!("{}: frame 1: {}", sample.name, frame.status));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(samples.len() > 100);
}

#[test]
fn clients_that_want_it_uncompressed_get_jpeg_2000_decoded() {
    let Some(mut samples) = kept() else {
        return;
    };
    samples.retain(|sample| {
        sample.expected == Expected::Valid
            && sample.transfer_syntax == "1.2.840.10008.1.2.4.90"
            && sample.data_set.len() < 1 << 20
    });
    samples.truncate(3);
    assert!(!samples.is_empty());
    let server = open_server();
    let explicit = uid::EXPLICIT_LITTLE_ENDIAN;
    // Also where none is named: it is the default of DICOM web services (PS3.18 8.7.3.4).
    for (sample, accept) in samples.iter().zip(
        [
            "application/dicom; transfer-syntax=1.2.840.10008.1.2.1",
            "application/dicom",
        ]
        .into_iter()
        .cycle(),
    ) {
        let (class, instance) = (&sample.sop_class, &sample.sop_instance);
        let syntax = &sample.transfer_syntax;
        let status = store(&server, class, instance, syntax, &sample.data_set);
        assert_eq!(status, 0, "{}", sample.name);
        let found = ask(&server, &format!("/instances?SOPInstanceUID={instance}"));
        let urls = values(&found, "00081190");
        let path = urls[0].split("/dicomweb").nth(1).expect("a path");
        let path = format!("/dicomweb{path}");
        let file = get(server.http(), &path, &[("Accept", accept)]);
        assert!(file.status == 200 && file.is_whole, "{}", sample.name);
        let parts = corpus::Parts::of(&file.body);
        assert_eq!(parts.transfer_syntax, explicit, "{}", sample.name);
        let mut windows = file.body.windows(6);
        let at =
            windows.rposition(|bytes| bytes == b"\xe0\x7f\x10\0OW" || bytes == b"\xe0\x7f\x10\0OB");
        let at = at.unwrap_or_else(|| panic!("{}: no pixels", sample.name));
        let rest = &file.body[at + 8..];
        let length = u32::from_le_bytes([rest[0], rest[1], rest[2], rest[3]]);
        assert!(length != u32::MAX && length > 0, "{}", sample.name);
    }
}
