//! Two hundred patients whose names, numbers and dates stand in everything that is asked and sent:
//! none of it is in the log, in the metrics, or in what is refused (security.md T17).

use pacs_tests::portal::{API, Browser, CT_OF_006, Portal, slice_of};
use pacs_tests::samples::Slice;
use pacs_tests::stow::ask;
use pacs_tests::wire::{Association, Context, Proposal, Tree, uid};
use serde_json::{Value, json};

use crate::examinations::{form, saved};

const PATIENTS: u32 = 200;

/// Of whom images come and to whom wrong things are sent: of all, what is typed.
const WITH_IMAGES: u32 = 20;

/// A name that nobody else has, in both scripts.
fn family(number: u32) -> (String, String) {
    const SYLLABLES: [(&str, &str); 10] = [
        ("ба", "ba"),
        ("го", "go"),
        ("ду", "du"),
        ("зе", "ze"),
        ("ми", "mi"),
        ("ны", "ny"),
        ("ра", "ra"),
        ("со", "so"),
        ("ту", "tu"),
        ("фе", "fe"),
    ];
    let digits = format!("{number:03}");
    let syllables = digits
        .bytes()
        .map(|digit| SYLLABLES[usize::from(digit - b'0')]);
    let (cyrillic, latin): (String, String) = syllables.unzip();
    (
        format!("Каналов{cyrillic}"),
        format!("KANALOV{}", latin.to_uppercase()),
    )
}

/// A PIN that nobody has: of 1 January 1990.
fn pin(number: u32) -> String {
    format!("201011990{:05}", 70_000 + number)
}

/// A telephone number of theirs.
fn telephone(number: u32) -> String {
    format!("+99655570{number:04}")
}

/// A complaint of theirs.
fn complaint(number: u32) -> String {
    format!("жалоба{}", family(number).0)
}

/// Everything that is said of one of them.
fn markers(number: u32) -> [String; 5] {
    let (cyrillic, latin) = family(number);
    [
        cyrillic,
        latin,
        pin(number),
        telephone(number),
        complaint(number),
    ]
}

/// Whether `text` has something of a patient; which.
fn found_in(text: &str) -> Option<String> {
    // As JSON and logs may write it.
    let folded = text.to_uppercase();
    let mut all = (0..PATIENTS).flat_map(markers);
    all.find(|marker| folded.contains(&marker.to_uppercase()))
}

/// Asks for what is refused, with markers in the body, in the address and in the headers.
fn refused_of(browser: &Browser, portal: &Portal, number: u32) -> String {
    let (cyrillic, latin) = family(number);
    let pin = pin(number);
    let born = "1990-01-01";
    let mut said = String::new();
    for (path, body) in [
        (
            "/patients",
            json!({"name": {"family": cyrillic, "x": pin}, "birth_date": born}),
        ),
        (
            "/patients",
            json!({"name": {"family": cyrillic}, "pin": format!("{pin}1")}),
        ),
        (
            "/patients/search",
            json!({"text": cyrillic, "birth_date": pin}),
        ),
        ("/register", json!({"pin": format!("3{}", &pin[1..])})),
        (
            "/register",
            json!({"name": {"family": cyrillic}, "birth_date": born}),
        ),
        (
            "/examinations",
            json!({"patient": latin, "complaints": complaint(number)}),
        ),
        (
            "/session/break-glass",
            json!({"patient": pin, "explanation": cyrillic}),
        ),
    ] {
        let refused = browser.make(path, &body);
        assert!(
            (400..500).contains(&refused.status),
            "{path}: {}",
            refused.status
        );
        said += &refused.head;
        said += &String::from_utf8_lossy(&refused.body);
    }
    let http = portal.server.http();
    let cookie = ("Cookie", browser.cookie.as_str());
    for path in [
        format!("{API}/patients/{pin}"),
        format!("{API}/examinations/{pin}"),
        format!("{API}/examinations?{latin}={pin}"),
        format!("/dicomweb/studies?00100010={latin}^&00100030={pin}"),
        format!("/dicomweb/studies?{latin}={pin}"),
        format!("/dicomweb/studies/{latin}/metadata"),
        format!("/{latin}/{pin}"),
    ] {
        let fields = [cookie, ("X-Patient", &*latin), ("Accept", &*latin)];
        let answer = ask(http, "GET", &path, &fields, &[]);
        assert!(answer.status >= 400, "{path}: {}", answer.status);
        said += &String::from_utf8_lossy(&answer.body);
    }
    said
}

/// Images of somebody, by a name that is one of nobody else; and a query for them.
fn images_of(portal: &Portal, number: u32, id: &str) {
    let (_, latin) = family(number);
    let named = Slice {
        patient_name: format!("{latin}^GIVEN"),
        ..Slice::new(100 + number, 1)
    };
    let bytes = slice_of(&named, id, &pin(number));
    portal.store(CT_OF_006, &named.instance, &bytes);
    let keys = Tree::default()
        .text(0x0008_0052, "CS", "STUDY")
        .text(0x0010_0010, "PN", &format!("{latin}*"))
        .text(0x0020_000d, "UI", "");
    let context = Context::new(uid::STUDY_ROOT_FIND, uid::EXPLICIT_LITTLE_ENDIAN);
    let proposal = Proposal {
        calling: CT_OF_006.to_owned(),
        ..Proposal::new(vec![context])
    };
    let connected = Association::connect(portal.server.dicom(), &proposal);
    let mut association = connected.expect("an association");
    let found = association.find_trees(uid::STUDY_ROOT_FIND, &keys);
    found.expect("answers");
    association.release().expect("a release in order");
}

#[test]
fn nothing_of_two_hundred_patients_is_in_the_log_the_metrics_or_what_is_refused() {
    let device = json!({"ae_title": CT_OF_006, "organisation": "006", "modality": "CT"});
    let ae = format!(
        "[[dicom.ae]]\ntitle = \"{CT_OF_006}\"\naddress = \"127.0.0.1:11999\"\n\
         allow = [\"echo\", \"store\", \"find\"]\n"
    );
    let portal = Portal::with(&[device], &ae);
    let operator = portal.user("operator", &["operator@006", "radiographer@006"]);
    let mut refused = String::new();
    for number in 0..PATIENTS {
        let body = json!({
            "name": {"family": family(number).0, "given": "Айгүл"}, "pin": pin(number),
            "telephone": telephone(number), "is_another": true,
        });
        let made = operator.make("/patients", &body);
        assert_eq!(made.status, 201, "{}", made.json());
        if number < WITH_IMAGES {
            let patient = made.json()["number"].as_str().expect("a number").to_owned();
            let mut order = form(&patient);
            order["complaints"] = Value::String(complaint(number));
            let id = saved(&operator, &order);
            // Of half of them it is another patient's, and waits for a person.
            images_of(&portal, number, if number % 2 == 0 { &id } else { "" });
            let found = operator.make("/patients/search", &json!({"text": family(number).1}));
            assert!(
                found.json()["items"].to_string().contains(&patient),
                "they are there"
            );
            refused += &refused_of(&operator, &portal, number);
        }
    }
    let metrics = ask(portal.server.http(), "GET", "/metrics", &[], &[]);
    assert_eq!(metrics.status, 200);
    let metrics = String::from_utf8_lossy(&metrics.body).into_owned();
    let log = portal.server.log();
    assert!(!log.is_empty() && !refused.is_empty() && metrics.contains("pacs_"));
    for (what, text) in [("log", &log), ("metrics", &metrics), ("refusal", &refused)] {
        assert_eq!(found_in(text), None, "a {what}");
    }
}
