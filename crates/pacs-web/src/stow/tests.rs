//! What a client is told, for each way in which a request can end.

use super::answer::{Named, Reason};
use super::*;
use axum::body::to_bytes;
use axum::http::StatusCode;
use pacs_core::instance::InstanceError;
use pacs_core::tag::tags;
use pacs_core::{SeriesUid, SopClassUid, SopInstanceUid, Uid};
use pacs_store::DepositError;
use std::collections::BTreeSet;

fn named(number: u32) -> Named {
    Named {
        study: StudyUid::parse("1.2.3").ok(),
        series: SeriesUid::parse("1.2.3.4").ok(),
        sop_class: SopClassUid::parse("1.2.840.10008.5.1.4.1.1.2").ok(),
        sop_instance: SopInstanceUid::parse(&format!("1.2.3.4.{number}")).ok(),
    }
}

fn stored() -> Verdict {
    Verdict::stored(named(1))
}

fn failed(reason: Reason) -> Verdict {
    Verdict::failed(named(2), reason)
}

fn answer(verdicts: Vec<Verdict>, ended: Ended) -> Answer {
    Answer {
        verdicts,
        ended,
        study: None,
        base_url: "http://pacs&co/dicomweb".to_owned(),
    }
}

async fn text_of(answer: &Answer, form: Form) -> String {
    let response = answer.respond(form).unwrap();
    assert_eq!(response.headers()["content-type"], form.media_type());
    let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    String::from_utf8(body.to_vec()).unwrap()
}

#[test]
fn the_status_sums_the_verdicts_up() {
    let busy = Reason::of(&DepositError::Busy);
    let long = Reason::of(&DepositError::TooLong { limit_bytes: 1 });
    let odd = Reason::CANNOT_UNDERSTAND;
    let cut = Ended::Malformed(MultipartError::Cut);
    for (verdicts, ended, status) in [
        (vec![stored()], Ended::Whole, 200),
        (vec![stored(), failed(odd)], Ended::Whole, 202),
        (vec![stored(), failed(busy)], Ended::Whole, 202),
        (vec![stored()], cut, 202),
        (vec![stored()], Ended::Stopped(Stopped::TooLong), 202),
        (vec![failed(odd)], cut, 400),
        (vec![stored()], Ended::Stopped(Stopped::TooSlow), 408),
        (vec![failed(odd), failed(busy)], Ended::Whole, 409),
        (vec![failed(Reason::OTHER_STUDY)], Ended::Whole, 409),
        (vec![failed(long)], Ended::Whole, 413),
        (vec![failed(odd)], Ended::Stopped(Stopped::TooLong), 413),
        (vec![failed(busy), failed(busy)], Ended::Whole, 503),
    ] {
        let answer = answer(verdicts, ended);
        let response = answer.respond(Form::Json).unwrap();

        assert_eq!(response.status().as_u16(), status, "{answer:?}");
        let is_warned = response.headers().contains_key("warning");
        assert_eq!(is_warned, ended != Ended::Whole, "{answer:?}");
        let is_told_to_retry = response.headers().contains_key("retry-after");
        assert_eq!(is_told_to_retry, status == 503, "{answer:?}");
    }
}

#[test]
fn a_request_without_an_instance_is_refused_as_a_whole() {
    for (ended, status) in [
        (Ended::Whole, 400),
        (Ended::Malformed(MultipartError::Padding), 400),
        (Ended::Stopped(Stopped::Broken), 400),
        (Ended::Stopped(Stopped::TooLong), 413),
        (Ended::Stopped(Stopped::TooSlow), 408),
    ] {
        let status_of = match answer(Vec::new(), ended).respond(Form::Json) {
            Ok(response) => response.status(),
            Err(failure) => failure.status(),
        };
        assert_eq!(
            status_of,
            StatusCode::from_u16(status).unwrap(),
            "{ended:?}"
        );
    }
}

#[tokio::test]
async fn each_instance_has_its_verdict_in_json() {
    let unnamed = Verdict::failed(Named::default(), Reason::PROCESSING);
    let verdicts = vec![stored(), failed(Reason::OTHER_STUDY), unnamed];

    let told = text_of(&answer(verdicts, Ended::Whole), Form::Json).await;

    let text = |value: &str, vr: &str| serde_json::json!({"vr": vr, "Value": [value]});
    let reason = |code: u16| serde_json::json!({"vr": "US", "Value": [code]});
    let class = text("1.2.840.10008.5.1.4.1.1.2", "UI");
    let study = "http://pacs&co/dicomweb/studies/1.2.3";
    let expected = serde_json::json!({
        "00081190": text(study, "UR"),
        "00081198": {"vr": "SQ", "Value": [{
            "00081150": class,
            "00081155": text("1.2.3.4.2", "UI"),
            "00081197": reason(0xA901),
        }]},
        "00081199": {"vr": "SQ", "Value": [{
            "00081150": class,
            "00081155": text("1.2.3.4.1", "UI"),
            "00081190": text(&format!("{study}/series/1.2.3.4/instances/1.2.3.4.1"), "UR"),
        }]},
        "0008119A": {"vr": "SQ", "Value": [{"00081197": reason(0x0110)}]},
    });
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told, expected);
}

#[tokio::test]
async fn the_same_is_told_in_xml() {
    let told = text_of(&answer(vec![stored()], Ended::Whole), Form::Xml).await;

    assert!(told.contains(
        "<DicomAttribute tag=\"00081190\" vr=\"UR\" keyword=\"RetrieveURL\"><Value number=\"1\">\
         http://pacs&amp;co/dicomweb/studies/1.2.3</Value></DicomAttribute>"
    ));
    assert!(told.contains("keyword=\"ReferencedSOPSequence\"><Item number=\"1\">"));
    assert!(told.ends_with("</NativeDicomModel>\n"));
}

#[test]
fn instances_of_several_studies_have_no_common_url() {
    let other = Verdict::stored(Named {
        study: StudyUid::parse("1.2.4").ok(),
        ..named(3)
    });
    let answer = answer(vec![stored(), other], Ended::Whole);

    assert!(answer.respond(Form::Json).unwrap().status().is_success());
    assert_eq!(answer.study_url(), None);
}

/// The numbers in the first column of the table of section 3.8 that begins with `column`.
fn told(column: &str) -> BTreeSet<String> {
    let statement = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../docs/conformance-statement.md"
    );
    let statement = std::fs::read_to_string(statement).unwrap();
    let from = statement.find("### 3.8 Store Transaction").unwrap();
    let text = &statement[from..];
    let table = &text[text.find(&format!("| {column} |")).unwrap()..];
    let rows = table.split("\n\n").next().unwrap().lines().skip(2);
    let cells = rows.filter_map(|row| row.split('|').nth(1));
    let numbers = cells.flat_map(|cell| cell.split(','));
    numbers.map(|number| number.trim().to_owned()).collect()
}

#[test]
fn the_conformance_statement_names_every_status_and_every_reason() {
    let reasons = [
        Reason::BUSY,
        Reason::CANNOT_UNDERSTAND,
        Reason::OTHER_STUDY,
        Reason::PROCESSING,
        Reason::of(&DepositError::Full),
        Reason::of(&DepositError::NotAnInstance(InstanceError::Missing {
            tag: tags::SOP_INSTANCE_UID,
        })),
        Reason::of(&DepositError::Rejected),
        Reason::of(&DepositError::TooLong { limit_bytes: 1 }),
        Reason::of(&DepositError::UidMismatch {
            tag: tags::SOP_INSTANCE_UID,
            announced: Uid::parse("1.2").unwrap(),
            found: Uid::parse("1.3").unwrap(),
        }),
    ];
    let sent = reasons.map(|reason| format!("{:04X}", reason.code()));
    assert_eq!(told("Failure Reason"), sent.into());

    let ends = [
        Ended::Whole,
        Ended::Malformed(MultipartError::Cut),
        Ended::Stopped(Stopped::Broken),
        Ended::Stopped(Stopped::TooLong),
        Ended::Stopped(Stopped::TooSlow),
    ];
    let mut sent = BTreeSet::new();
    let mut note = |verdicts, ended| {
        let response = answer(verdicts, ended).respond(Form::Json).unwrap();
        sent.insert(response.status().as_u16().to_string());
    };
    for ended in ends {
        note(vec![stored()], ended);
        for reason in reasons {
            note(vec![failed(reason)], ended);
            note(vec![stored(), failed(reason)], ended);
        }
    }
    // What is refused before anything of the body is read.
    sent.extend(
        [
            Failure::NotAcceptable {
                available: String::new(),
            },
            Failure::UnsupportedMediaType {
                detail: String::new(),
            },
        ]
        .map(|failure| failure.status().as_u16().to_string()),
    );
    assert_eq!(told("status"), sent);
}
