//! QIDO-RS over the real server: what is found, in which order and pages, and what is refused.

use pacs_tests::samples::Slice;
use pacs_tests::web::get;
use pacs_tests::web_server::{ask, filled, open_server, store_slice, study, values};

#[test]
fn searches_find_what_they_name_newest_first() {
    let server = filled(3);
    let newest_first = [study(3), study(2), study(1)];

    assert_eq!(values(&ask(&server, "/studies"), "0020000D"), newest_first);
    for (query, expected) in [
        ("PatientID=TEST00002", vec![study(2)]),
        ("00100020=TEST00002", vec![study(2)]),
        ("PatientName=Test%5EPatient1", vec![study(1)]),
        ("PatientName=Test%5EPatient%2A", newest_first.to_vec()),
        ("PatientName=test*", newest_first.to_vec()),
        ("PatientName=patient3&fuzzymatching=true", vec![study(3)]),
        ("StudyDate=20260101-20260131", newest_first.to_vec()),
        ("StudyDate=20260201-", vec![]),
        (
            &format!("StudyInstanceUID={},{}", study(1), study(3)),
            vec![study(3), study(1)],
        ),
        ("ModalitiesInStudy=CT", newest_first.to_vec()),
        ("ModalitiesInStudy=MR", vec![]),
        ("limit=1&offset=1", vec![study(2)]),
    ] {
        let found = values(&ask(&server, &format!("/studies?{query}")), "0020000D");
        assert_eq!(found, expected, "{query}");
    }
    let nothing = ask(&server, "/studies?PatientID=NOBODY");
    assert_eq!((nothing.status, nothing.body.len()), (204, 0));

    let one = ask(&server, &format!("/studies?StudyInstanceUID={}", study(2))).json();
    assert_eq!(one[0]["00201206"]["Value"][0], 1, "series");
    assert_eq!(one[0]["00201208"]["Value"][0], 2, "instances");
    assert_eq!(
        one[0]["00100010"]["Value"][0]["Alphabetic"],
        "Test^Patient2"
    );
    let url = one[0]["00081190"]["Value"][0].as_str().expect("a URL");
    assert_eq!(
        url,
        format!("http://{}/dicomweb/studies/{}", server.http(), study(2))
    );
}

#[test]
fn series_and_instances_are_found_below_their_parents_and_alone() {
    let server = filled(2);
    let slice = Slice::new(1, 1);
    let of_study = format!("/studies/{}", slice.study);
    let of_series = format!("{of_study}/series/{}", slice.series);

    let series = values(&ask(&server, &format!("{of_study}/series")), "0020000E");
    assert_eq!(series, std::slice::from_ref(&slice.series));
    assert_eq!(values(&ask(&server, "/series"), "0020000E").len(), 2);
    for path in [
        format!("{of_study}/instances"),
        format!("{of_series}/instances"),
    ] {
        let found = values(&ask(&server, &path), "00080018");
        assert_eq!(
            found,
            [slice.instance.clone(), Slice::new(1, 2).instance],
            "{path}"
        );
    }
    let all = values(&ask(&server, "/instances?includefield=all"), "00080018");
    assert_eq!(all.len(), 4);
    assert_eq!(all[0], Slice::new(2, 1).instance, "of the newest study");
    let second = values(&ask(&server, "/instances?InstanceNumber=2"), "00200013");
    assert_eq!(second, ["2", "2"]);
    let other = format!("{of_study}/series/{}/instances", Slice::new(2, 1).series);
    assert_eq!(
        ask(&server, &other).status,
        204,
        "a series of another study"
    );
}

#[test]
fn pages_neither_repeat_nor_skip_while_studies_arrive() {
    let server = filled(5);
    let mut path = "/studies?limit=2&PatientName=Test*".to_owned();
    let mut seen = Vec::new();
    let mut arriving = 5;
    loop {
        let page = ask(&server, &path);
        seen.extend(values(&page, "0020000D"));
        arriving += 1;
        store_slice(&server, &Slice::new(arriving, 1));
        let Some(link) = page.header("link") else {
            assert_eq!(page.header("warning"), None);
            break;
        };
        let warning = page.header("warning").expect("a warning");
        assert!(warning.starts_with("299 ") && warning.contains("additional results"));
        let url = link.split(['<', '>']).nth(1).expect("a URL");
        path = url.split("/dicomweb").nth(1).expect("a path").to_owned();
    }
    let expected: Vec<String> = (1..=5).rev().map(study).collect();
    assert_eq!(seen, expected);
}

#[test]
fn pages_stay_below_the_parents_of_the_path_whatever_the_query_names() {
    let server = filled(2);
    let first = Slice::new(1, 1);
    let second = Slice {
        series: format!("{}.9", first.series),
        ..Slice::new(1, 3)
    };
    store_slice(&server, &second);
    let of_series = format!("/studies/{}/series/{}", first.study, first.series);
    for (path, tag, count) in [
        (
            format!("/studies/{}/series?StudyInstanceUID=", first.study),
            "0020000E",
            2,
        ),
        (
            format!("{of_series}/instances?0020000d=&SeriesInstanceUID="),
            "00080018",
            2,
        ),
    ] {
        let mut seen = Vec::new();
        let mut next = Some(format!("{path}&limit=1"));
        while let Some(path) = next.take() {
            let page = ask(&server, &path);
            assert_eq!(values(&page, "0020000D"), [first.study.as_str()], "{path}");
            seen.extend(values(&page, tag));
            let link = page.header("link").and_then(|link| link.split('>').next());
            let link = link.and_then(|link| link.split("/dicomweb").nth(1));
            next = link.map(str::to_owned);
        }
        assert_eq!(seen.len(), count, "{path}");
    }
}

#[test]
fn what_cannot_be_searched_is_refused_or_told() {
    let server = filled(1);
    for query in [
        "PatientNome=A",
        "StudyDate=tomorrow",
        "limit=-1",
        "PatientName=%ff",
        "PatientName=%",
        "includefield=Nonsense",
        "cursor=1.2.3",
        "fuzzymatching=maybe",
    ] {
        let refused = ask(&server, &format!("/studies?{query}"));
        assert_eq!(refused.status, 400, "{query}");
        assert_eq!(
            refused.header("content-type"),
            Some("application/problem+json")
        );
        assert_eq!(refused.json()["status"], 400);
    }
    let long = format!("/studies?PatientName={}", "A".repeat(70_000));
    assert_eq!(ask(&server, &long).status, 414);
    let long = format!("/studies?PatientName={}", "A".repeat(17_000));
    assert_eq!(ask(&server, &long).status, 414);
    let cookie = "A".repeat(33_000);
    let path = "/dicomweb/studies";
    assert_eq!(get(server.http(), path, &[("Cookie", &cookie)]).status, 431);
    for path in [
        "/studies".to_owned(),
        format!("/studies/{}/metadata", study(1)),
    ] {
        for (accept, status) in [
            ("text/html", 406),
            ("application/json", 200),
            ("text/html, */*;q=0.5", 200),
            ("no list", 400),
        ] {
            let path = format!("/dicomweb{path}");
            let reply = get(server.http(), &path, &[("Accept", accept)]);
            assert_eq!(reply.status, status, "{path} {accept}");
        }
    }
    let told = ask(&server, "/studies?Rows=64&_dc=1");
    assert_eq!(told.status, 200);
    let warnings = told.headers.iter().filter(|(name, _)| name == "warning");
    assert_eq!(warnings.count(), 2);
}

#[test]
fn a_long_answer_comes_whole_though_it_is_written_while_it_is_sent() {
    let server = open_server();
    for number in 1..=120 {
        store_slice(&server, &Slice::new(1, number));
    }
    let path = format!("/studies/{}/instances?includefield=all", study(1));

    let reply = ask(&server, &path);

    assert!(reply.is_whole && reply.body.len() > 64 << 10);
    let expected: Vec<String> = (1..=120).map(|number| number.to_string()).collect();
    assert_eq!(values(&reply, "00200013"), expected);
}

#[test]
fn results_and_metadata_come_in_xml_too() {
    let server = filled(2);
    let first = Slice::new(1, 1);
    let described = format!("/studies/{}/metadata", first.study);
    for path in ["/studies", "/series", &described] {
        let in_json = ask(&server, path).json();
        let in_json = in_json.as_array().expect("an array");
        let accept = [(
            "Accept",
            "multipart/related; type=\"application/dicom+xml\"",
        )];
        let reply = get(server.http(), &format!("/dicomweb{path}"), &accept);

        assert_eq!(reply.status, 200);
        let kind = reply.header("content-type").expect("a type");
        assert!(kind.starts_with("multipart/related; type=\"application/dicom+xml\""));
        let parts = reply.parts();
        assert_eq!(parts.len(), in_json.len());
        for (part, result) in parts.iter().zip(in_json) {
            assert_eq!(part.header("content-type"), Some("application/dicom+xml"));
            let text = String::from_utf8(part.body.clone()).expect("UTF-8");
            assert!(text.contains("<NativeDicomModel xmlns=\"http://dicom.nema.org/PS3.19/"));
            for (tag, attribute) in result.as_object().expect("an object") {
                let vr = attribute["vr"].as_str().expect("a VR");
                let begun = format!("<DicomAttribute tag=\"{tag}\" vr=\"{vr}\" keyword=\"");
                let (_, held) = text.split_once(&begun).expect("the same attributes");
                let held = held.split("</DicomAttribute>").next().expect("an end");
                let value = &attribute["Value"][0];
                let value = value["Alphabetic"].as_str().or(value.as_str());
                for part in value.unwrap_or_default().split('^') {
                    assert!(held.contains(part), "{tag}");
                }
            }
        }
    }
}
