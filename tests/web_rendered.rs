//! Rendered resources and thumbnails over the real server. Pictures are compared with those of
//! independent decoders in `interop_rendered.rs`.

use std::collections::BTreeSet;
use std::io::Write as _;

use flate2::Compression;
use flate2::write::DeflateEncoder;
use pacs_tests::corpus::{self, Expected};
use pacs_tests::edges::until;
use pacs_tests::pictures::{
    INSTANCE, OTHER, accepting, identity, image_that_says, png_of, sequence, stored_beside,
    with_small_image,
};
use pacs_tests::samples::{Slice, long, text};
use pacs_tests::server::{Options, PATIENCE, Server};
use pacs_tests::web::{get, request};
use pacs_tests::web_server::{ask, filled, instance_path, open_server, store};
use pacs_tests::wire::uid;
use pacs_tests::workspace;

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
    let location = parts[0].header("content-location").expect("a location");
    assert!(
        location.ends_with(&format!("/dicomweb{path}/frames/1/rendered")),
        "{location}"
    );

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
    let first = ask(&server, &format!("{path}/frames/2,3/thumbnail"));
    assert_eq!(first.header("content-type"), Some("image/jpeg"));
    assert!(first.body.starts_with(&[0xFF, 0xD8, 0xFF]));
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
fn for_a_head_nothing_is_rendered() {
    let (server, path) = with_small_image(3);
    let made = || {
        let (_, metrics) = server.get("/metrics");
        let mut lines = metrics.lines();
        let line = lines.find_map(|line| line.strip_prefix("pacs_derived_misses_total "));
        line.expect("a counter").to_owned()
    };
    let path = format!("/dicomweb{path}");
    for (what, accept) in [
        ("rendered", "image/png"),
        ("rendered", "multipart/related; type=\"image/jpeg\""),
        ("thumbnail", "image/jpeg"),
        ("frames/2/rendered", "image/gif"),
    ] {
        let url = format!("{path}/{what}");
        let before = made();
        let fields = [("Accept", accept)];
        let head = request(server.http(), "HEAD", &url, &fields);
        assert_eq!((head.status, head.body.len()), (200, 0), "{url}");
        assert_eq!(head.header("content-length"), None);
        let kind = accept.split(';').next().expect("a type");
        assert!(
            head.header("content-type")
                .expect("a type")
                .starts_with(kind)
        );
        assert_eq!(made(), before, "{url}");
        // As what is made says.
        let whole = get(server.http(), &url, &fields);
        assert_eq!(whole.header("etag"), head.header("etag"));
    }
    let refused = request(
        server.http(),
        "HEAD",
        &format!("{path}/frames/9/rendered"),
        &[],
    );
    assert_eq!(refused.status, 404);
}

#[test]
fn a_number_of_frames_that_nobody_can_hold_is_refused() {
    let server = open_server();
    let data_set = image_that_says(INSTANCE, "4294967295", &[0; 16]);
    let syntax = uid::EXPLICIT_LITTLE_ENDIAN;
    let status = store(&server, uid::CT_IMAGE_STORAGE, INSTANCE, syntax, &data_set);
    assert_eq!(status, 0);
    let path = format!("/studies/1.2.826.0.1.99.1/series/1.2.826.0.1.99.1.1/instances/{INSTANCE}");
    for accept in ["image/gif", "multipart/related; type=\"image/png\""] {
        let refused = accepting(&server, &format!("{path}/rendered"), accept);
        assert_eq!(refused.status, 413, "{accept}");
    }
}

#[test]
fn an_image_that_cannot_be_shown_does_not_hide_the_others() {
    let (server, path) = with_small_image(1);
    let broken = "1.2.826.0.1.99.1.1.0";
    let data_set = image_that_says(broken, "3", &[0; 16]);
    let syntax = uid::EXPLICIT_LITTLE_ENDIAN;
    let status = store(&server, uid::CT_IMAGE_STORAGE, broken, syntax, &data_set);
    assert_eq!(status, 0);
    let accept = "multipart/related; type=\"image/png\"";
    let all = accepting(&server, "/studies/1.2.826.0.1.99.1/rendered", accept);
    let parts = all.parts();
    assert_eq!(parts.len(), 1);
    let location = parts[0].header("content-location").expect("a location");
    assert!(location.contains(&path), "{location}");
    let broken = path.replace(INSTANCE, broken);
    let alone = accepting(&server, &format!("{broken}/rendered"), accept);
    assert_eq!(alone.status, 409);
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

#[test]
fn a_report_is_shown_as_a_page_that_runs_nothing() {
    let (server, _) = with_small_image(1);
    let class = "1.2.840.10008.5.1.4.1.1.88.11";
    let name = |meaning: &str| {
        let mut item = Vec::new();
        text(&mut item, 0x0008_0104, "LO", meaning);
        item
    };
    let finding = {
        // UT has a long header.
        let mut item = Vec::new();
        text(&mut item, 0x0040_A040, "CS", "TEXT");
        sequence(&mut item, 0x0040_A043, &[name("Finding")]);
        long(
            &mut item,
            0x0040_A160,
            "UT",
            b"<script>alert(1)</script> & more",
        );
        item
    };
    let mut report = identity(class, OTHER, "Test^<b>Report</b>");
    text(&mut report, 0x0040_A040, "CS", "CONTAINER");
    sequence(&mut report, 0x0040_A043, &[name("Chest \"X\" report")]);
    sequence(&mut report, 0x0040_A730, &[finding]);
    let path = stored_beside(&server, class, &report);

    let page = accepting(&server, &format!("{path}/rendered"), "text/html,*/*;q=0.1");
    assert_eq!(page.status, 200);
    assert_eq!(
        page.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    let policy = page.header("content-security-policy").expect("a policy");
    assert!(
        policy.contains("default-src 'none'") && policy.contains("sandbox"),
        "{policy}"
    );
    let body = String::from_utf8(page.body).expect("UTF-8");
    assert!(
        body.contains("&lt;script&gt;alert(1)&lt;/script&gt; &amp; more"),
        "{body}"
    );
    assert!(
        !body.contains("<script") && !body.contains("<b>Report"),
        "{body}"
    );
    let plain = accepting(&server, &format!("{path}/rendered"), "text/plain");
    let plain = String::from_utf8(plain.body).expect("UTF-8");
    assert!(
        plain.contains("Finding: <script>alert(1)</script> & more"),
        "{plain}"
    );

    assert_eq!(
        accepting(&server, &format!("{path}/rendered"), "image/png").status,
        406
    );
    assert_eq!(ask(&server, &format!("{path}/thumbnail")).status, 404);
}

#[test]
fn an_encapsulated_pdf_is_given_as_it_is_with_ranges() {
    let (server, _) = with_small_image(1);
    let class = "1.2.840.10008.5.1.4.1.1.104.1";
    let pdf = b"%PDF-1.4\n%odd length %%EOF\n";
    let mut document = identity(class, OTHER, "Test^Document");
    long(&mut document, 0x0042_0011, "OB", &[&pdf[..], &[0]].concat());
    text(&mut document, 0x0042_0012, "LO", "application/pdf");
    let path = stored_beside(&server, class, &document);

    let whole = ask(&server, &format!("{path}/rendered"));
    assert_eq!(whole.header("content-type"), Some("application/pdf"));
    let policy = whole.header("content-security-policy").expect("a policy");
    assert!(policy.ends_with("sandbox"), "{policy}");
    let disposition = whole.header("content-disposition").expect("a disposition");
    assert!(disposition.starts_with("attachment"), "{disposition}");
    assert_eq!(whole.body, pdf);
    let path = format!("/dicomweb{path}/rendered");
    let part = get(server.http(), &path, &[("Range", "bytes=1-3")]);
    assert_eq!((part.status, &*part.body), (206, &b"PDF"[..]));
    let tag = whole.header("etag").expect("a tag");
    let known = get(server.http(), &path, &[("If-None-Match", tag)]);
    assert_eq!((known.status, known.body.len()), (304, 0));
    // The same out of a data set that has to be inflated, and longer than a piece.
    let pdf = [&pdf[..], &vec![b'%'; 600_000]].concat();
    let instance = format!("{OTHER}.9");
    let mut document = identity(class, &instance, "Test^Document");
    long(&mut document, 0x0042_0011, "OB", &pdf);
    text(&mut document, 0x0042_0012, "LO", "application/pdf");
    let mut deflated = DeflateEncoder::new(Vec::new(), Compression::fast());
    deflated.write_all(&document).expect("memory");
    let deflated = deflated.finish().expect("memory");
    let syntax = "1.2.840.10008.1.2.1.99";
    assert_eq!(store(&server, class, &instance, syntax, &deflated), 0);
    let path = path.replace(OTHER, &instance);
    let whole = get(server.http(), &path, &[]);
    assert!(whole.is_whole && whole.body == pdf);
    let part = get(server.http(), &path, &[("Range", "bytes=500000-500009")]);
    assert_eq!((part.status, &*part.body), (206, &pdf[500_000..500_010]));
}

#[test]
fn one_address_with_parameters_gives_pictures_and_files() {
    let (server, _) = with_small_image(1);
    let closed = Server::start(Options::default());
    assert_eq!(ask(&closed, "/wado?requestType=WADO").status, 401);
    let wado = |more: &str| {
        let named = "studyUID=1.2.826.0.1.99.1&seriesUID=1.2.826.0.1.99.1.1";
        ask(
            &server,
            &format!("/wado?requestType=WADO&{named}&objectUID={INSTANCE}{more}"),
        )
    };
    assert_eq!(wado("").header("content-type"), Some("image/jpeg"));
    let png = png_of(&wado(
        "&contentType=image/png&windowCenter=35.5&windowWidth=2",
    ));
    assert_eq!(png.2, [0, 0, 0, 0, 255, 255, 255, 255]);
    let part = png_of(&wado("&contentType=image/png&region=0.5,0,1,1&columns=2"));
    assert_eq!(part, (2, 2, vec![20, 30, 60, 70]));

    let file = wado("&contentType=application/dicom");
    assert_eq!(file.status, 200);
    let syntax = corpus::Parts::of(&file.body).transfer_syntax;
    assert_eq!(syntax, uid::EXPLICIT_LITTLE_ENDIAN);
    let file = wado("&contentType=image/jp2,application/dicom");
    let kind = file.header("content-type").unwrap_or_default();
    assert!(kind.starts_with("application/dicom"), "{kind}");
    for (wrong, status) in [
        ("&anonymize=yes", 406),
        // Not for web services (PS3.18 8.7.3).
        (
            "&contentType=application/dicom&transferSyntax=1.2.840.10008.1.2",
            406,
        ),
        ("&contentType=image/webp", 406),
        ("&rows=0", 400),
        ("&windowCenter=3", 400),
        ("&frameNumber=2", 404),
        ("&frameNumber=1,1", 400),
        (
            "&contentType=application/dicom&transferSyntax=1.2.840.10008.1.2.4.50",
            406,
        ),
    ] {
        assert_eq!(wado(wrong).status, status, "{wrong}");
    }
    for path in [
        "/wado",
        "/wado?requestType=WADO&studyUID=1.2",
        "/wado?requestType=X",
    ] {
        assert_eq!(ask(&server, path).status, 400, "{path}");
    }
}

#[test]
fn malformed_instances_are_rendered_or_refused_and_nothing_breaks() {
    let Some(folder) = workspace::test_data() else {
        return;
    };
    let mut samples = corpus::load(&folder);
    samples.retain(|sample| sample.expected == Expected::Malformed);
    samples.retain(|sample| !sample.sop_class.is_empty() && !sample.sop_instance.is_empty());
    let server = open_server();
    let mut seen = BTreeSet::new();
    let mut asked = 0;
    for sample in samples {
        let (class, instance) = (&sample.sop_class, &sample.sop_instance);
        let syntax = &sample.transfer_syntax;
        if !seen.insert(instance.clone()) || !is_uid(class) || !is_uid(instance) {
            continue;
        }
        // What it is stored as, or whether at all, is for others to test.
        let status = store(&server, class, instance, syntax, &sample.data_set);
        if status != 0 {
            continue;
        }
        let Some(path) = instance_path(&server, instance) else {
            continue;
        };
        for what in ["rendered?accept=image/png", "thumbnail"] {
            let reply = ask(&server, &format!("{path}/{what}"));
            let known = [200, 404, 406, 409, 413].contains(&reply.status);
            assert!(known, "{}: {what}: {}", sample.name, reply.status);
            asked += 1;
        }
    }
    assert!(asked > 50, "{asked}");
}

#[test]
fn a_decoder_that_was_killed_is_started_again_for_the_next_picture() {
    let Some(folder) = workspace::test_data() else {
        return;
    };
    let names = [
        "ts/emri_small_jpeg_2k_lossless.dcm",
        "ts/MR_small_jp2klossless.dcm",
        "ts/693_J2KI.dcm",
    ];
    let mut samples = corpus::load(&folder);
    samples.retain(|sample| names.contains(&&*sample.name));
    assert_eq!(samples.len(), names.len());
    let server = open_server();
    for sample in &samples {
        let (class, instance) = (&sample.sop_class, &sample.sop_instance);
        let syntax = &sample.transfer_syntax;
        assert_eq!(store(&server, class, instance, syntax, &sample.data_set), 0);
    }
    for sample in &samples {
        let path = instance_path(&server, &sample.sop_instance).expect("it is there");

        let shown = ask(&server, &format!("{path}/rendered?accept=image/png"));

        assert_eq!(shown.status, 200, "{}", sample.name);
        let decoders = decoders_of(&server);
        assert!(!decoders.is_empty(), "nothing was decoded elsewhere");
        for decoder in decoders {
            rustix::process::kill_process(decoder, rustix::process::Signal::KILL).expect("it runs");
            // Until it has ended it is sent the next frame, and that is lost with it.
            until(PATIENCE, "that a decoder has ended", || {
                let stat = format!("/proc/{}/stat", decoder.as_raw_nonzero());
                let stat = std::fs::read_to_string(stat).unwrap_or_default();
                let state = stat.rsplit(')').next().unwrap_or_default().trim_start();
                (state.is_empty() || state.starts_with('Z')).then_some(())
            });
        }
    }
}

/// The processes in which a server decodes.
fn decoders_of(server: &Server) -> Vec<rustix::process::Pid> {
    let tasks = format!("/proc/{}/task", server.process());
    let tasks = std::fs::read_dir(tasks).expect("the server runs").flatten();
    // Of each thread those that it has started (proc_pid_task_children(5)).
    let lists = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    let lists: Vec<String> = lists.collect();
    let numbers = lists.iter().flat_map(|list| list.split_whitespace());
    numbers
        .filter_map(|number| rustix::process::Pid::from_raw(number.parse().ok()?))
        .collect()
}

fn is_uid(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit() || b == b'.')
}
