//! Nothing that a client names is asked for (T21): whatever URL comes in, by whichever door of the
//! web services, nobody knocks at the place that it names.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use pacs_tests::described::{Bulk, store as store_described};
use pacs_tests::described::{DESCRIBED, DESCRIBED_XML, body, body_in_xml};
use pacs_tests::samples::{Slice, long, number, part10, text};
use pacs_tests::server::{PATIENCE, Server};
use pacs_tests::stow::{self, Answer, ask};
use pacs_tests::web::{get, request};
use pacs_tests::web_server::open_server;
use serde_json::{Value, json};

const STUDIES: &str = "/dicomweb/studies";

/// A place that URLs lead to.
struct Place {
    listener: TcpListener,
}

impl Place {
    fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        Self { listener }
    }

    /// `127.0.0.1:port`.
    fn authority(&self) -> String {
        self.listener.local_addr().expect("an address").to_string()
    }

    /// URLs that lead here, in as many forms as something may be fetched by.
    fn urls(&self) -> Vec<String> {
        let at = self.authority();
        let port = at.rsplit(':').next().expect("a port");
        vec![
            format!("http://{at}/x"),
            format!("https://{at}/x"),
            format!("ftp://{at}/x"),
            format!("HTTP://a:b@{at}/x"),
            format!("//{at}/x"),
            format!("http://localhost:{port}/x"),
            format!("http://[::ffff:127.0.0.1]:{port}/x"),
            format!("jar:http://{at}/x!/y"),
            format!("gopher://{at}/x"),
        ]
    }

    /// Whoever comes is let in in the order of coming, so that of everybody who ever came this test
    /// itself has to be the first.
    fn was_not_visited(self) {
        let ours = TcpStream::connect(self.authority()).expect("a connection");
        let (_, first) = self.listener.accept().expect("a visitor");
        assert_eq!(first, ours.local_addr().expect("an address"));
    }
}

fn uid_of(number: usize) -> String {
    format!("1.2.826.0.1.7.{number}")
}

/// An instance as metadata, with one more attribute.
fn described(number: usize, tag: &str, attribute: Value) -> Value {
    let mut instance = json!({
        "00080016": {"vr": "UI", "Value": ["1.2.840.10008.5.1.4.1.1.7"]},
        "00080018": {"vr": "UI", "Value": [uid_of(number)]},
        "0020000D": {"vr": "UI", "Value": ["1.2.826.0.1.7"]},
        "0020000E": {"vr": "UI", "Value": ["1.2.826.0.1.7.0"]},
    });
    instance[tag] = attribute;
    instance
}

fn instance_path(instance: &str) -> String {
    format!("{STUDIES}/1.2.826.0.1.7/series/1.2.826.0.1.7.0/instances/{instance}")
}

/// Asks for an instance in every form there is.
fn ask_in_every_form(server: &Server, path: &str) {
    for (what, accept) in [
        ("", "application/dicom; transfer-syntax=*"),
        ("", "application/dicom; transfer-syntax=1.2.840.10008.1.2.1"),
        ("/metadata", "application/dicom+json"),
        (
            "/metadata",
            "multipart/related; type=\"application/dicom+xml\"",
        ),
        ("/frames/1", "*/*"),
        ("/frames/1", "application/octet-stream; transfer-syntax=*"),
        ("/bulkdata/7FE00010", "*/*"),
        ("/rendered", "*/*"),
        ("/thumbnail", "*/*"),
    ] {
        let answer = get(
            server.http(),
            &format!("{path}{what}"),
            &[("Accept", accept)],
        );
        assert!(answer.status < 500, "{path}{what}: {}", answer.status);
    }
}

#[test]
fn t21_urls_in_metadata_lead_nowhere() {
    let (server, place) = (open_server(), Place::open());
    let mut count = 0;
    for url in place.urls() {
        let bulk = json!({"vr": "OB", "BulkDataURI": url});
        let within = json!({"vr": "SQ", "Value": [{"00420011": bulk}]});
        for (tag, attribute) in [
            ("7FE00010", json!({"vr": "OW", "BulkDataURI": url})),
            ("00420011", bulk),
            ("00081140", within),
            ("00287FE0", json!({"vr": "UR", "BulkDataURI": url})),
        ] {
            count += 1;
            let instance = described(count, tag, attribute).to_string();

            let answer = store_described(&server, STUDIES, &instance, &[]);

            assert_eq!((answer.status, answer.stored().len()), (409, 0), "{url}");
            assert_eq!(answer.failed(), [(uid_of(count), 0xC000)], "{url}");
        }
        // What merely stands there is kept, and what comes along under such a name is taken.
        for (tag, attribute) in [
            ("00081190", json!({"vr": "UR", "Value": [url]})),
            ("00287FE0", json!({"vr": "UR", "Value": [url]})),
            ("0040E010", json!({"vr": "UR", "Value": [url]})),
            ("7FE00010", json!({"vr": "OW", "BulkDataURI": url})),
        ] {
            count += 1;
            let instance = described(count, tag, attribute).to_string();
            let bulk = (tag == "7FE00010").then(|| Bulk::plain(&url, &[7; 8]));

            let answer = store_described(&server, STUDIES, &instance, bulk.as_slice());

            assert_eq!(answer.stored(), [uid_of(count)], "{url}: {}", answer.head);
            ask_in_every_form(&server, &instance_path(&uid_of(count)));
        }
    }
    place.was_not_visited();
}

/// Pixel data that are said to be elsewhere (PS3.5 A.6).
#[test]
fn t21_pixel_data_that_are_elsewhere_are_not_asked_for() {
    let (server, place) = (open_server(), Place::open());
    let class = "1.2.840.10008.5.1.4.1.1.7";
    for (at, url) in place.urls().into_iter().enumerate() {
        for (syntax, index) in [
            ("1.2.840.10008.1.2.4.94", at),
            ("1.2.840.10008.1.2.4.95", at + 100),
            ("1.2.840.10008.1.2.4.204", at + 200),
        ] {
            let instance = uid_of(index + 1);
            let mut data_set = Vec::new();
            text(&mut data_set, 0x0008_0016, "UI", class);
            text(&mut data_set, 0x0008_0018, "UI", &instance);
            text(&mut data_set, 0x0020_000D, "UI", "1.2.826.0.1.7");
            text(&mut data_set, 0x0020_000E, "UI", "1.2.826.0.1.7.0");
            number(&mut data_set, 0x0028_0002, 1);
            text(&mut data_set, 0x0028_0004, "CS", "MONOCHROME2");
            number(&mut data_set, 0x0028_0010, 8);
            number(&mut data_set, 0x0028_0011, 8);
            number(&mut data_set, 0x0028_0100, 8);
            number(&mut data_set, 0x0028_0101, 8);
            number(&mut data_set, 0x0028_0102, 7);
            number(&mut data_set, 0x0028_0103, 0);
            let padded = format!("{url:<width$}", width = url.len().next_multiple_of(2));
            long(&mut data_set, 0x0028_7FE0, "UR", padded.as_bytes());
            let file = part10((class, &instance), syntax, &data_set);

            let answer = stow::store(server.http(), STUDIES, &[file]);

            assert!(answer.status < 500, "{syntax}: {}", answer.head);
            ask_in_every_form(&server, &instance_path(&instance));
        }
    }
    place.was_not_visited();
}

/// A document of an instance, with this before and in its root.
fn document(before: &str, of_root: &str, within: &str) -> String {
    let of = |tag: &str, value: &str| {
        format!(
            "<DicomAttribute tag=\"{tag}\" vr=\"UI\"><Value number=\"1\">{value}</Value>\
             </DicomAttribute>"
        )
    };
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>{before}<NativeDicomModel{of_root} \
         xmlns=\"http://dicom.nema.org/PS3.19/models/NativeDICOM\">{}{}{}{}{within}\
         </NativeDicomModel>",
        of("00080016", "1.2.840.10008.5.1.4.1.1.7"),
        of("00080018", &uid_of(1)),
        of("0020000D", "1.2.826.0.1.7"),
        of("0020000E", "1.2.826.0.1.7.0"),
    )
}

/// Gives `document` at every door that takes XML.
fn at_every_door(server: &Server, document: &str) -> Vec<(&'static str, Answer)> {
    const ALONE: &str = "application/dicom+xml";
    let post = |path: &str, kind: &str, bytes: &[u8]| {
        ask(
            server.http(),
            "POST",
            path,
            &[("Content-Type", kind)],
            bytes,
        )
    };
    let parts = body_in_xml(&[document], &[]);
    vec![
        ("parts", post(STUDIES, DESCRIBED_XML, &parts)),
        ("alone", post(STUDIES, ALONE, document.as_bytes())),
        (
            "of a study",
            post(
                &format!("{STUDIES}/1.2.826.0.1.7"),
                ALONE,
                document.as_bytes(),
            ),
        ),
        (
            "commitment",
            post(
                "/dicomweb/commitment-requests/2.25.77",
                ALONE,
                document.as_bytes(),
            ),
        ),
    ]
}

/// A value that refers to the entity `e`.
const REFERRING: &str = "<DicomAttribute tag=\"00100020\" vr=\"LO\"><Value number=\"1\">&e;</Value>\
                         </DicomAttribute>";

#[test]
fn t21_entities_are_neither_fetched_nor_expanded_at_any_door() {
    let (mut server, place) = (open_server(), Place::open());
    let mut types = Vec::new();
    for url in place
        .urls()
        .into_iter()
        .chain(["file:///etc/passwd".to_owned()])
    {
        types.extend([
            format!("<!DOCTYPE a SYSTEM \"{url}\">"),
            format!("<!DOCTYPE a PUBLIC \"-//a//b\" \"{url}\">"),
            format!("<!DOCTYPE a [<!ENTITY e SYSTEM \"{url}\">]>"),
            format!("<!DOCTYPE a [<!ENTITY e PUBLIC \"-//a//b\" \"{url}\">]>"),
            format!("<!DOCTYPE a [<!ENTITY % e SYSTEM \"{url}\"> %e;]>"),
            format!("<!DOCTYPE a SYSTEM \"{url}\" [<!ENTITY e \"x\">]>"),
            format!("<!doctype a SYSTEM \"{url}\">"),
        ]);
    }
    let laughs: String = (1..=9)
        .map(|at| {
            format!(
                "<!ENTITY e{at} \"{}\">",
                format!("&e{};", at - 1).repeat(10)
            )
        })
        .collect();
    types.push(format!(
        "<!DOCTYPE a [<!ENTITY e0 \"ha\">{laughs}<!ENTITY e \"&e9;\">]>"
    ));
    let long = "x".repeat(100_000);
    types.push(format!("<!DOCTYPE a [<!ENTITY e \"{long}\">]>"));

    for before in &types {
        for (door, answer) in at_every_door(&server, &document(before, "", REFERRING)) {
            assert_eq!(answer.status, 400, "{door}: {before}: {}", answer.head);
            let body = String::from_utf8_lossy(&answer.body);
            assert!(!body.contains("root:"), "{door}: {body}");
        }
    }
    let stored = get(server.http(), "/dicomweb/instances", &[]);
    assert_eq!(stored.status, 204, "nothing of it is kept");
    assert!(server.is_alive());
    place.was_not_visited();
}

#[test]
fn t21_what_else_in_xml_leads_elsewhere_is_not_followed() {
    const SCHEMA: &str = "xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"";
    const INCLUDE: &str = "xmlns:xi=\"http://www.w3.org/2001/XInclude\"";
    let (server, place) = (open_server(), Place::open());
    for url in place.urls() {
        let bulk = format!(
            "<DicomAttribute tag=\"7FE00010\" vr=\"OW\"><BulkData uri=\"{url}\"/></DicomAttribute>"
        );
        let style = format!("<?xml-stylesheet type=\"text/xsl\" href=\"{url}\"?>");
        for document in [
            document("", "", &bulk),
            document(&style, "", ""),
            document("", &format!(" {SCHEMA} xsi:schemaLocation=\"a {url}\""), ""),
            document("", &format!(" xml:base=\"{url}\""), &bulk),
            document("", "", &format!("<xi:include {INCLUDE} href=\"{url}\"/>")),
            document("", "", &format!("<?include href=\"{url}\"?>")),
        ] {
            for (door, answer) in at_every_door(&server, &document) {
                assert!(answer.status < 500, "{door}: {document}: {}", answer.head);
                let is_bulk = document.contains("BulkData");
                let is_stored = is_bulk && door != "commitment" && answer.status < 300;
                assert!(
                    !is_stored,
                    "{door}: bulk data from nowhere: {}",
                    answer.head
                );
            }
        }
    }
    place.was_not_visited();
}

/// What a server says to a request of these bytes, until it hangs up.
fn said_to(server: &Server, request: &str) -> String {
    let mut stream = TcpStream::connect(server.http()).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.write_all(request.as_bytes()).expect("it is taken");
    let mut said = Vec::new();
    stream.read_to_end(&mut said).expect("an answer");
    String::from_utf8_lossy(&said).into_owned()
}

#[test]
fn t21_targets_and_fields_of_a_request_lead_nowhere() {
    let (server, place) = (open_server(), Place::open());
    let slice = Slice::new(1, 1);
    assert_eq!(
        stow::store(server.http(), STUDIES, &[slice.file()]).status,
        200
    );
    let at = place.authority();
    let named = format!(
        "studyUID={}&seriesUID={}&objectUID={}",
        slice.study, slice.series, slice.instance
    );
    let rendered = format!(
        "{STUDIES}/{}/series/{}/instances/{}/rendered",
        slice.study, slice.series, slice.instance
    );
    for url in place.urls() {
        let encoded = url.replace('/', "%2F");
        for target in [
            format!("{STUDIES}?url={encoded}"),
            format!("{STUDIES}?RetrieveURL={encoded}"),
            format!("{STUDIES}?PatientID={encoded}&includefield=all"),
            format!("{STUDIES}/{encoded}/metadata"),
            format!("/dicomweb/bulkdata?uri={encoded}"),
            format!("/dicomweb/wado?requestType=WADO&{named}&contentType={encoded}"),
            format!("/dicomweb/wado?requestType=WADO&{named}&presentationUID={encoded}"),
            format!("{rendered}?presentationUID={encoded}&presentationSeriesUID=1.2"),
            format!("{rendered}?iccprofile={encoded}&accept=image/png"),
        ] {
            let answer = get(server.http(), &target, &[]);
            assert!(answer.status < 500, "{target}: {}", answer.status);
        }
        for field in [
            "Host",
            "X-Forwarded-Host",
            "Forwarded",
            "Origin",
            "Referer",
            "Link",
            "Content-Location",
            "Location",
            "SOAPAction",
        ] {
            for (method, path) in [("GET", STUDIES), ("GET", &*rendered), ("OPTIONS", STUDIES)] {
                for value in [&url, &at] {
                    let answer = request(server.http(), method, path, &[(field, value)]);
                    assert!(answer.status < 500, "{field}: {path}: {}", answer.status);
                }
            }
        }
        let fields = [("Content-Type", DESCRIBED), ("Content-Location", &*url)];
        let instance = described(9, "00081190", json!({"vr": "UR", "Value": [url]}));
        let body = body(&instance.to_string(), &[]);
        assert_eq!(
            ask(server.http(), "POST", STUDIES, &fields, &body).status,
            200
        );
    }
    place.was_not_visited();
}

#[test]
fn t21_the_server_is_no_proxy() {
    let (server, place) = (open_server(), Place::open());
    let at = place.authority();
    for line in [
        format!("GET http://{at}/dicomweb/studies"),
        format!("GET http://{at}/healthz"),
        format!("POST ftp://{at}/x"),
        format!("CONNECT {at}"),
        format!("OPTIONS http://{at}/"),
    ] {
        let request = format!("{line} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n");
        let said = said_to(&server, &request);
        let is_served = said.starts_with("HTTP/1.1 2") || said.starts_with("HTTP/1.1 4");
        assert!(is_served, "{line}: {said}");
        assert!(
            !line.starts_with("CONNECT") || said.starts_with("HTTP/1.1 4"),
            "{said}"
        );
    }
    place.was_not_visited();
}
