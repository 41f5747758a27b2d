//! QIDO-RS over the real server: what is found, in which order and pages, and what is refused; and
//! what hostile searches do not find (T15), over C-FIND too.

use pacs_tests::samples::{Slice, long, text};
use pacs_tests::server::Server;
use pacs_tests::web::get;
use pacs_tests::web_server::{ask, filled, open_server, store, store_slice, study, values};
use pacs_tests::wire::identifier::tag;
use pacs_tests::wire::{Context, Keys, uid};

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
    // Below one study there is nothing of another.
    let other = study(2);
    for (path, name) in [
        (
            format!("/studies/{}/series", first.study),
            "StudyInstanceUID",
        ),
        (format!("/studies/{}/instances", first.study), "0020000D"),
        (format!("{of_series}/instances"), "0020000D"),
    ] {
        for named in [other.clone(), format!("{other},{other}.9")] {
            let reply = ask(&server, &format!("{path}?{name}={named}"));
            assert_eq!(values(&reply, "0020000D"), [""; 0], "{path} {named}");
        }
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

/// An item of a sequence (PS3.5 7.5) with these elements.
fn item(fill: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut elements = Vec::new();
    fill(&mut elements);
    let length = u32::try_from(elements.len()).expect("short").to_le_bytes();
    [&[0xFE, 0xFF, 0x00, 0xE0][..], &length, &elements].concat()
}

/// An item of Request Attributes Sequence (0040,0275): step, code of its protocol, procedure.
fn requested((step, protocol, procedure): (&str, &str, &str)) -> Vec<u8> {
    item(|out| {
        let code = item(|out| text(out, 0x0008_0100, "SH", protocol));
        long(out, 0x0040_0008, "SQ", &code);
        text(out, 0x0040_0009, "SH", step);
        text(out, 0x0040_1001, "SH", procedure);
    })
}

/// Stores a slice of a series of its own, made for these requests and as this procedure.
fn store_requested(
    server: &Server,
    (study, series): (u32, u32),
    procedure: &str,
    requests: &[(&str, &str, &str)],
) -> String {
    let mut slice = Slice::new(study, series);
    slice.series = format!("{}.{series}", slice.study);
    slice.instance = format!("{}.1", slice.series);
    let mut data_set = slice.data_set();
    let mut insert = |before: u32, tag, sequence: &[u8]| {
        let [a, b, c, d] = before.to_be_bytes();
        let mut windows = data_set.windows(4);
        let at = windows.position(|window| window == [b, a, d, c]);
        let mut element = Vec::new();
        long(&mut element, tag, "SQ", sequence);
        let at = at.expect("the element behind it");
        data_set.splice(at..at, element);
    };
    let requests: Vec<u8> = requests.iter().flat_map(|it| requested(*it)).collect();
    insert(0x7FE0_0010, 0x0040_0275, &requests);
    let code = item(|out| text(out, 0x0008_0100, "SH", procedure));
    insert(0x0010_0010, 0x0008_1032, &code);
    let (class, syntax) = (uid::CT_IMAGE_STORAGE, uid::EXPLICIT_LITTLE_ENDIAN);
    assert_eq!(store(server, class, &slice.instance, syntax, &data_set), 0);
    slice.series
}

#[test]
fn paths_into_sequences_find_what_has_such_an_item() {
    let server = open_server();
    let one = store_requested(&server, (1, 1), "CHEST", &[("S1", "P1", "R1")]);
    let two = [("S2", "P2", "R1"), ("S3", "P3", "R3")];
    let two = store_requested(&server, (1, 2), "CHEST", &two);
    let three = store_requested(&server, (2, 1), "HEAD", &[("S1", "P3", "R2")]);
    store_slice(&server, &Slice::new(3, 1));
    let below = format!("/studies/{}/series", study(1));
    let step = "RequestAttributesSequence.ScheduledProcedureStepID";
    let of_series: [(&str, &str, &[&String]); 15] = [
        ("/series", &format!("{step}=S1"), &[&three, &one]),
        ("/series", "00400275.00400009=S1", &[&three, &one]),
        ("/series", "RequestAttributesSequence.00400009=S2", &[&two]),
        ("/series", "00400275.ScheduledProcedureStepID=S3", &[&two]),
        ("/series", &format!("{step}=S9"), &[]),
        ("/series", &format!("{step}=s1"), &[]),
        ("/series", &format!("{step}=S*"), &[&three, &one, &two]),
        ("/series", &format!("{step}=?2"), &[&two]),
        (&below, &format!("{step}=S1"), &[&one]),
        (&below, "00400275.00400009=S3&Modality=CT", &[&two]),
        (
            "/series",
            "00400275.00400009=S1&PatientID=TEST00002",
            &[&three],
        ),
        // Keys of one sequence are of one item.
        (
            "/series",
            "00400275.00400009=S1&00400275.00401001=R1",
            &[&one],
        ),
        ("/series", "00400275.00400009=S2&00400275.00401001=R3", &[]),
        (
            "/series",
            "RequestAttributesSequence.ScheduledProtocolCodeSequence.CodeValue=P3",
            &[&three, &two],
        ),
        ("/series", "00400275.00400008.00080100=P1", &[&one]),
    ];
    for (path, query, expected) in of_series {
        let found = ask(&server, &format!("{path}?{query}"));
        assert_eq!(found.header("warning"), None, "{query}");
        let found: Vec<String> = values(&found, "0020000E");
        assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{path}?{query}");
    }

    for (query, expected) in [
        ("ProcedureCodeSequence.CodeValue=HEAD", vec![study(2)]),
        ("00081032.00080100=CHEST", vec![study(1)]),
        ("00081032.CodeValue=*E*", vec![study(2), study(1)]),
        ("ProcedureCodeSequence.CodeValue=FOOT", vec![]),
    ] {
        let found = values(&ask(&server, &format!("/studies?{query}")), "0020000D");
        assert_eq!(found, expected, "{query}");
    }
    let instances = format!("/instances?{step}=S1&00081032.00080100=HEAD");
    let found = values(&ask(&server, &instances), "00080018");
    assert_eq!(found, [format!("{three}.1")]);
    // It comes along, so that a client can see which one it was.
    let answer = ask(&server, &format!("/series?{step}=S3")).json();
    let items = answer[0]["00400275"]["Value"].as_array().expect("items");
    let steps = items.iter().map(|item| &item["00400009"]["Value"][0]);
    assert_eq!(steps.collect::<Vec<_>>(), ["S2", "S3"]);
}

/// What C-FIND at the level of studies finds: how many, and the status.
fn found_by_c_find(server: &Server, tag: u32, value: &str) -> (usize, u16) {
    let context = Context::new(uid::STUDY_ROOT_FIND, uid::IMPLICIT_LITTLE_ENDIAN);
    let mut association = server.associate(vec![context]).expect("an association");
    let keys = Keys::at("STUDY").with(tag::STUDY, "").with(tag, value);
    let found = association.find(uid::STUDY_ROOT_FIND, &keys);
    let (answers, status) = found.expect("an answer");
    association.release().expect("a release in order");
    (answers.len(), status)
}

/// Whoever tried every way to share letters out among the wild cards would take longer than the
/// world is old.
#[test]
fn t15_patterns_of_many_wild_cards_are_answered() {
    let server = open_server();
    let letters = "a".repeat(64);
    for number in 1..=20 {
        let mut slice = Slice::new(number, 1);
        slice.patient_name.clone_from(&letters);
        slice.patient_id.clone_from(&letters);
        store_slice(&server, &slice);
    }
    let (fits, fits_not) = ("*a".repeat(32), format!("{}*b", "*a".repeat(31)));
    for (keyword, tag) in [
        ("PatientName", tag::PATIENT_NAME),
        ("PatientID", tag::PATIENT_ID),
    ] {
        for (pattern, count) in [
            (&*fits, 20),
            (&*fits_not, 0),
            (&"*?".repeat(32), 20),
            (&format!("{}b*", "*?".repeat(31)), 0),
            (&"*".repeat(64), 20),
        ] {
            for more in ["", "&fuzzymatching=true"] {
                if !more.is_empty() && keyword == "PatientID" {
                    continue;
                }
                let path = format!("/studies?{keyword}={pattern}{more}");
                let reply = ask(&server, &path);
                let is_answered = [200, 204, 413].contains(&reply.status);
                assert!(is_answered, "{path}: {}", reply.status);
                if more.is_empty() {
                    assert_eq!(values(&reply, "0020000D").len(), count, "{path}");
                }
            }
            let found = found_by_c_find(&server, tag, pattern);
            assert_eq!(found, (count, 0), "{pattern}");
        }
    }
}

/// Values that mean something to what is behind other archives: SQL, its wild cards, documents,
/// shells, templates, directories.
const INJECTED: [&str; 28] = [
    "'",
    "\"",
    "' OR '1'='1",
    "' OR 1=1--",
    "\" OR \"\"=\"",
    "') OR ('1'='1",
    "1 OR 1=1",
    "1; DROP TABLE studies;--",
    "'; DELETE FROM studies WHERE 'a'='a",
    "' UNION SELECT NULL,NULL,NULL--",
    "1' AND SLEEP(9)--",
    "'; SELECT pg_sleep(9);--",
    "'; WAITFOR DELAY '0:0:9'--",
    "' || (SELECT version()) || '",
    "%",
    "%%",
    "TEST%",
    "TEST0000_",
    "_________",
    "TEST00001'--",
    "TEST00001/**/",
    "{\"$ne\":null}",
    "[$regex]=.",
    "$(id)",
    "`id`",
    "${7+7}{{7+7}}",
    "../../index.redb",
    ") (uid=)",
];

/// In a URL.
fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[test]
fn t15_what_is_injected_finds_nothing_and_changes_nothing() {
    let mut server = filled(3);
    for value in INJECTED {
        let sent = encoded(value);
        for parameter in [
            "PatientID=",
            "00100020=",
            "PatientName=",
            "fuzzymatching=true&PatientName=",
            "AccessionNumber=",
            "StudyInstanceUID=",
            "StudyDate=",
            "StudyTime=",
            "ModalitiesInStudy=",
            "StudyDescription=",
            "NumberOfStudyRelatedInstances=",
            "ProcedureCodeSequence.CodeValue=",
            "limit=",
            "offset=",
            "includefield=",
            "fuzzymatching=",
            "cursor=",
            "accept=",
        ] {
            let reply = ask(&server, &format!("/studies?{parameter}{sent}"));
            let is_clean = [204, 400, 406].contains(&reply.status);
            assert!(is_clean, "{parameter}{value}: {}", reply.status);
        }
        // The name of a parameter, and what stands in the path.
        let (name, uid) = (
            format!("/studies?{sent}=1"),
            format!("/studies/{sent}/series"),
        );
        let uid_below = format!("/studies/{}/series/{sent}/instances", study(1));
        let named = ask(&server, &name);
        let warning = named.header("warning").unwrap_or_default();
        assert!(
            named.status == 400 || warning.contains("ignored"),
            "{value}"
        );
        for path in [uid, uid_below, format!("/studies/{sent}/metadata")] {
            let reply = ask(&server, &path);
            assert!(
                [204, 400, 404].contains(&reply.status),
                "{path}: {}",
                reply.status
            );
        }
        for tag in [tag::PATIENT_ID, tag::PATIENT_NAME] {
            assert_eq!(found_by_c_find(&server, tag, value), (0, 0), "{value}");
        }
    }
    assert_eq!(values(&ask(&server, "/studies"), "0020000D").len(), 3);
    assert!(server.is_alive());
}
