//! Reading tasks: who sees which, and what becomes of them with their examinations.

use crate::people::{agent, code};
use crate::policy::{Shows, bound, grant, token};
use crate::site::{Reply, Sent, Site, now};
use pacs_core::ExaminationId;
use pacs_core::examination::progress::{ReportCheck, Revision};
use pacs_core::examination::{Event, Reason};
use pacs_core::role::{Agent, Grant, Reach, Role};
use pacs_core::uid::WorkitemUid;
use pacs_core::workitem::Task;
use pacs_store::registry::RegistryError;
use pacs_store::registry::examinations::{Action, Reader};
use serde_json::{Value, json};

const OWN: &str = "2.25.6";
const FOREIGN: &str = "2.25.1";

/// A site with a task of each organisation.
async fn site() -> Site {
    let site = Site::open("").await;
    bound(&site, OWN, "006", "NATHOS_CT1", "Асанов").await;
    bound(&site, FOREIGN, "001", "KRKL_CT1", "Сыдыков").await;
    for (study, of) in [(OWN, "006"), (FOREIGN, "001")] {
        let id = examination(&site, study).await;
        let radiographer = agent("radiographer", Role::Radiographer, of);
        let complete = Event::Complete {
            by: pacs_core::examination::progress::Completion::Declared,
            images_kept: 1,
        };
        act(&site, &radiographer, id, complete).await.unwrap();
    }
    site.settle().await;
    site
}

async fn examination(site: &Site, study: &str) -> ExaminationId {
    let licence = Agent::system("test").national_licence().unwrap();
    let uid = pacs_core::StudyUid::parse(study).unwrap();
    let found = site.registry.study_match(&licence, &uid).await.unwrap();
    *found.value.examinations().first().unwrap()
}

async fn act(
    site: &Site,
    agent: &Agent,
    id: ExaminationId,
    event: Event,
) -> Result<(), RegistryError> {
    let action = Action {
        event,
        order: None,
        expected: None,
        random: [7; 16],
    };
    let acted = site.registry.act_on_examination(agent, id, &action, now());
    acted.await.map(drop)
}

/// Studies and states of the tasks that somebody finds, and their UIDs.
async fn tasks(site: &Site, shows: &Shows, query: &str) -> Vec<(String, String, String)> {
    let path = format!("/dicomweb/workitems?{query}");
    let reply = shows.ask(site, "GET", &path).await;
    assert!([200, 204].contains(&reply.status), "{reply:?}");
    let text = |of: &Value, tag: &str| of[tag]["Value"][0].as_str().unwrap().to_owned();
    let found = reply.json();
    let found = found.as_array().unwrap().iter();
    found
        .map(|one| {
            let [study, state, uid] =
                ["0020000D", "00741000", "00080018"].map(|tag| text(one, tag));
            (study, state, uid)
        })
        .collect()
}

async fn task(site: &Site, shows: &Shows) -> (String, String) {
    let mut found = tasks(site, shows, "").await;
    assert_eq!(found.len(), 1, "{found:?}");
    let (_, state, uid) = found.remove(0);
    (state, uid)
}

async fn wish(site: &Site, shows: &Shows, uid: &str, state: &str, claim: &str) -> Reply {
    let body = json!({
        "00081195": {"vr": "UI", "Value": [claim]},
        "00741000": {"vr": "CS", "Value": [state]},
    });
    let headers = shows.headers();
    let mut headers: Vec<(&str, &str)> = headers
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    headers.push(("Content-Type", "application/dicom+json"));
    let path = format!("/dicomweb/workitems/{uid}/state");
    site.http_with("PUT", &path, &headers, &body.to_string())
        .await
}

async fn session(site: &Site, name: &str, grants: Vec<Grant>) -> Shows {
    Shows::Session(site.sign_in(name, grants, true).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_seen_by_those_who_see_its_images_and_by_nobody_else() {
    let site = site().await;
    let national = |role| vec![Grant::new(role, Reach::National)];
    let all: [(&str, Vec<Grant>, &[&str]); 6] = [
        ("expert6", grant(Role::Expert, "006"), &[OWN]),
        ("expert1", grant(Role::Expert, "001"), &[FOREIGN]),
        ("radiologist6", grant(Role::Radiologist, "006"), &[OWN]),
        ("operator6", grant(Role::Operator, "006"), &[OWN]),
        ("referrer6", grant(Role::Referrer, "006"), &[]),
        ("everywhere", national(Role::Expert), &[FOREIGN, OWN]),
    ];
    let everywhere = session(&site, "all", national(Role::Expert)).await;
    let known = tasks(&site, &everywhere, "").await;
    let mut shown = Vec::new();
    for (name, grants, studies) in all {
        shown.push((session(&site, name, grants).await, studies));
    }
    let own = token(&site, "own", &["--organisation", "006"]);
    let everything = token(&site, "everything", &["--everything"]);
    let nothing = token(&site, "nothing", &[]);
    shown.push((Shows::Token(own), &[OWN]));
    shown.push((Shows::Token(everything), &[FOREIGN, OWN]));
    shown.push((Shows::Token(nothing), &[]));
    for (shows, studies) in &shown {
        let found = tasks(&site, shows, "").await;
        let mut found: Vec<_> = found.iter().map(|(study, _, _)| study.as_str()).collect();
        found.sort_unstable();
        assert_eq!(found, *studies, "{shows:?}");
        for (study, _, uid) in &known {
            let path = format!("/dicomweb/workitems/{uid}");
            let reply = shows.ask(&site, "GET", &path).await;
            let is_seen = studies.contains(&study.as_str());
            assert_eq!(
                reply.status,
                if is_seen { 200 } else { 404 },
                "{shows:?} {study}"
            );
            // What it names to be read is what they see of the archive.
            if is_seen {
                let inputs = &reply.json()["00404021"]["Value"];
                assert_eq!(inputs[0]["0020000D"]["Value"][0], json!(study), "{shows:?}");
            }
        }
    }
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_ordered_a_task_elsewhere_sees_it_and_is_told_that_they_may_not_take_it() {
    let site = Site::open("").await;
    let patient = site.patient("Асанов").await;
    let id = site.order(patient, ("op", "006"), "001").await;
    let accession = id.to_string();
    let sent = Sent {
        modality: "CT",
        sender: "KRKL_CT1",
        study: FOREIGN,
        number: 1,
        accession: &accession,
        patient: ("", ""),
    };
    site.send(&sent).await;
    assert!(site.matched(FOREIGN).await);
    let complete = Event::Complete {
        by: pacs_core::examination::progress::Completion::Declared,
        images_kept: 1,
    };
    let radiographer = agent("radiographer", Role::Radiographer, "001");
    act(&site, &radiographer, id, complete).await.unwrap();
    site.settle().await;
    let there = session(&site, "expert1", grant(Role::Expert, "001")).await;
    let (_, uid) = task(&site, &there).await;
    let ordered = session(&site, "op", grant(Role::Radiologist, "006")).await;
    let other = session(&site, "other", grant(Role::Radiologist, "006")).await;
    for (shows, seen, taken) in [(&ordered, 200, 403), (&other, 404, 404)] {
        let path = format!("/dicomweb/workitems/{uid}");
        assert_eq!(shows.ask(&site, "GET", &path).await.status, seen);
        let wish = wish(&site, shows, &uid, "IN PROGRESS", "2.25.11").await;
        assert_eq!(wish.status, taken, "{wish:?}");
        // It is in none of their lists, however they ask.
        for query in ["", &format!("SOPInstanceUID={uid}")] {
            assert_eq!(tasks(&site, shows, query).await, [], "{query}");
        }
    }
    for query in [
        format!("SOPInstanceUID={uid}"),
        format!("ReferencedRequestSequence.AccessionNumber={id}"),
        format!("PatientID={patient}"),
        "WorklistLabel=READING+001".to_owned(),
    ] {
        assert_eq!(tasks(&site, &there, &query).await.len(), 1, "{query}");
    }
    for query in [
        "WorklistLabel=READING+006".to_owned(),
        format!("SOPInstanceUID={uid}&ProcedureStepState=COMPLETED"),
        format!("PatientID={patient}&WorklistLabel=READING+006"),
    ] {
        assert_eq!(tasks(&site, &there, &query).await, [], "{query}");
    }
    site.close().await;
}

fn reason() -> Reason {
    Reason::parse("проверка").unwrap()
}

const SIGNED: ReportCheck = ReportCheck {
    has_description: true,
    has_conclusion: true,
    is_identity_confirmed: true,
    holds_lock: true,
    has_seen_late_images: true,
    is_resolved: true,
    is_signature_valid: true,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_report_completes_a_task_and_a_revision_is_another_one() {
    let site = site().await;
    let expert = session(&site, "expert6", grant(Role::Expert, "006")).await;
    let reader = agent("expert6", Role::Expert, "006");
    let id = examination(&site, OWN).await;
    let (state, first) = task(&site, &expert).await;
    assert_eq!(state, "SCHEDULED");
    let begun = wish(&site, &expert, &first, "IN PROGRESS", "2.25.11").await;
    assert_eq!(begun.status, 200, "{begun:?}");
    let everything = Agent::system("test");
    let reader_of_all = Reader::new(&everything);
    let rows = site.registry.examination_events(&reader_of_all, id, now());
    let rows = rows.await.unwrap();
    let claimed = rows.last().unwrap().correlation.as_deref();
    assert_eq!(
        claimed.map(str::len),
        Some(16),
        "as what the portal does has"
    );
    let again = wish(&site, &expert, &first, "IN PROGRESS", "2.25.11").await;
    let warning = again.header("Warning");
    assert!(again.status == 200 && warning.is_none(), "{again:?}");
    let other = wish(&site, &expert, &first, "IN PROGRESS", "2.25.12").await;
    assert_eq!(other.status, 409, "{other:?}");
    let early = wish(&site, &expert, &first, "COMPLETED", "2.25.11").await;
    assert_eq!(early.status, 409, "there is no report: {early:?}");

    act(&site, &reader, id, Event::Sign(SIGNED)).await.unwrap();
    assert_eq!(
        task(&site, &expert).await,
        ("COMPLETED".to_owned(), first.clone())
    );
    let again = wish(&site, &expert, &first, "COMPLETED", "2.25.11").await;
    let warning = again.header("Warning").unwrap();
    assert!(
        again.status == 200 && warning.contains("already"),
        "{again:?}"
    );
    let over = wish(&site, &expert, &first, "IN PROGRESS", "2.25.12").await;
    assert_eq!(over.status, 409, "{over:?}");

    let revise = Event::Revise {
        revision: Revision::Addendum,
        is_author_or_supervisor: true,
        reason: reason(),
    };
    act(&site, &reader, id, revise).await.unwrap();
    let (state, second) = task(&site, &expert).await;
    assert_eq!(state, "IN PROGRESS");
    assert_ne!(second, first);
    // Given up, it leaves what was completed.
    let release = Event::Release { holds_lock: true };
    act(&site, &reader, id, release).await.unwrap();
    assert_eq!(task(&site, &expert).await, ("COMPLETED".to_owned(), first));
    let path = format!("/dicomweb/workitems/{second}");
    let shown = expert.ask(&site, "GET", &path).await.json();
    assert_eq!(shown["00741000"]["Value"][0], "CANCELED");
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_out_is_canceled_and_waits_as_another_task() {
    let site = site().await;
    let expert = session(&site, "expert6", grant(Role::Expert, "006")).await;
    let id = examination(&site, OWN).await;
    let (_, first) = task(&site, &expert).await;
    let begun = wish(&site, &expert, &first, "IN PROGRESS", "2.25.11").await;
    assert_eq!(begun.status, 200, "{begun:?}");
    let shown = expert
        .ask(&site, "GET", &format!("/dicomweb/workitems/{first}"))
        .await
        .json();
    let since = shown["00741216"]["Value"][0]["00404050"]["Value"][0].clone();
    let ends = shown["00404008"]["Value"][0].clone();
    let moment = |text: &Value| {
        chrono::DateTime::parse_from_str(text.as_str().unwrap(), "%Y%m%d%H%M%S%z").unwrap()
    };
    assert_eq!((moment(&ends) - moment(&since)).num_minutes(), 60);

    act(&site, &Agent::system("test"), id, Event::LockExpires)
        .await
        .unwrap();
    let (state, second) = task(&site, &expert).await;
    assert_eq!(state, "SCHEDULED");
    let late = wish(&site, &expert, &first, "CANCELED", "2.25.11").await;
    let is_warned = late.header("Warning").unwrap().contains("CANCELED");
    assert!(late.status == 200 && is_warned, "{late:?}");
    let over = wish(&site, &expert, &first, "IN PROGRESS", "2.25.11").await;
    assert_eq!(over.status, 409, "{over:?}");
    // The same UID is of no more use than any other.
    let begun = wish(&site, &expert, &second, "IN PROGRESS", "2.25.11").await;
    assert_eq!(begun.status, 200, "{begun:?}");

    // Of a hundred readings the last ones are kept.
    let reader = agent("expert6", Role::Expert, "006");
    for _ in 0..20 {
        act(&site, &reader, id, Event::Release { holds_lock: true })
            .await
            .unwrap();
        let (_, uid) = task(&site, &expert).await;
        let begun = wish(&site, &expert, &uid, "IN PROGRESS", "2.25.11").await;
        assert_eq!(begun.status, 200, "{begun:?}");
    }
    let path = format!("/dicomweb/workitems/{first}");
    let gone = expert.ask(&site, "GET", &path).await;
    assert_eq!(gone.status, 410, "{gone:?}");
    let uid = Task::of_uid(&WorkitemUid::parse(&first).unwrap()).unwrap();
    let of = |made, number| Task::new(uid.examination(), made, number).unwrap();
    for never in [of(uid.made_unix_ms(), 500), of(uid.made_unix_ms() + 1, 1)] {
        let never = never.uid().unwrap();
        let path = format!("/dicomweb/workitems/{never}");
        assert_eq!(expert.ask(&site, "GET", &path).await.status, 404);
    }
    assert_eq!(code("006"), uid.examination().organisation());
    site.close().await;
}
