//! The transactions over a real archive, with one reading task.

use super::changing::{change_state, request_cancellation, update};
use super::*;
use crate::access::Allowed;
use crate::limits::WebLimits;
use crate::testing::{Service, may};
use axum::body::{Body, to_bytes};
use axum::extract::{Path, RawQuery, Request, State as Shared};
use axum::http::{HeaderMap, HeaderValue, header};
use pacs_core::coerce::{Demographics, Order, PersonName, Request as Ordered};
use pacs_core::patient::{PatientKey, PatientNumber};
use pacs_core::tag::tags;
use pacs_core::uid::{SeriesUid, StudyUid};
use pacs_core::workitem::{Input, InputSeries, Urgency};
use pacs_core::{ExaminationId, Phi};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

/// One task of an examination, as a host program keeps it.
#[derive(Debug)]
struct Desk {
    title: AeTitle,
    is: Mutex<(State, Option<ClaimUid>, Option<u8>)>,
}

impl Desk {
    fn new(state: State) -> Arc<Self> {
        Arc::new(Self {
            title: AeTitle::parse("PACS").unwrap(),
            is: Mutex::new((state, None, None)),
        })
    }

    fn known(&self, of: Task) -> Result<(State, Option<ClaimUid>, Option<u8>), Refusal> {
        match of.number() {
            1 => Err(Refusal::Gone),
            2 => Ok(self.is.lock().unwrap().clone()),
            _ => Err(Refusal::Unknown),
        }
    }
}

fn task(number: u32) -> Task {
    let id = ExaminationId::parse("250060004329").unwrap();
    Task::new(id, 1_795_000_000_000, number).unwrap()
}

fn uid(number: u32) -> String {
    task(number).uid().unwrap().as_str().to_owned()
}

fn workitem(state: State) -> Workitem {
    let at = "2026-11-26T14:00:00+06:00".parse().unwrap();
    let input = |study: &str, series| Input {
        study: StudyUid::parse(study).unwrap(),
        series,
    };
    let nothing = InputSeries::Only(BTreeSet::new());
    Workitem {
        task: task(2),
        state,
        urgency: Urgency::High,
        worklist: "READING 006".into(),
        scheduled_at: at,
        changed_at: at,
        expires_at: None,
        is_ready: true,
        inputs: vec![
            input("2.25.1", InputSeries::AllBut(BTreeSet::new())),
            input("2.25.2", nothing),
        ],
        meant_for: None,
        performed: None,
        patient: Demographics {
            name: PersonName::new("Асанов", "Бакыт", "").unwrap(),
            latin_name: None,
            key: PatientKey::Known(PatientNumber::from_serial(7).unwrap()),
            identifiers: Vec::new(),
            birth_date: Some(Phi::new("1990-01-31".parse().unwrap())),
            sex: None,
        },
        order: Order {
            request: Ordered::new(task(2).examination()),
            further_requests: Vec::new(),
            referring_physician: None,
            study_description: Some("КТ: голова".into()),
            procedure_codes: Vec::new(),
        },
        placer_number: "".into(),
        department: "".into(),
        card_number: "".into(),
        complaints: "".into(),
        history: "".into(),
        allergies: "".into(),
        pregnancy: None,
    }
}

#[async_trait]
impl Workitems for Desk {
    fn title(&self) -> &AeTitle {
        &self.title
    }

    async fn worklist(&self, _: &Permit<Find>, wanted: &Wanted) -> Result<Worklist, Refusal> {
        let is = self.is.lock().unwrap().0;
        let workitems = wanted.states.contains(&is).then(|| workitem(is));
        Ok(Worklist {
            workitems: workitems.into_iter().collect(),
            is_cut: false,
        })
    }

    async fn workitem(&self, _: &Permit<Find>, task: Task) -> Result<Workitem, Refusal> {
        Ok(workitem(self.known(task)?.0))
    }

    async fn change(
        &self,
        _: &Permit<Claim>,
        task: Task,
        (wish, claim): (Wish, &ClaimUid),
    ) -> Result<Outcome, Refusal> {
        let (state, owner, _) = self.known(task)?;
        let outcome = state.change(wish, owner.as_ref() == Some(claim))?;
        if outcome == Outcome::Changes {
            let (next, owner) = match wish {
                Wish::Begin => (State::InProgress, Some(claim.clone())),
                Wish::Cancel => (State::Canceled, owner),
                Wish::Complete => return Err(StateError::NoReport.into()),
            };
            *self.is.lock().unwrap() = (next, owner, None);
        }
        Ok(outcome)
    }

    async fn go_on(
        &self,
        _: &Permit<Claim>,
        task: Task,
        (claim, progress): (&ClaimUid, Progress),
    ) -> Result<(), Refusal> {
        let (state, owner, _) = self.known(task)?;
        match state {
            State::Canceled | State::Completed => return Err(StateError::Over.into()),
            State::Scheduled => return Err(StateError::NotInProgress.into()),
            State::InProgress if owner.as_ref() != Some(claim) => {
                return Err(StateError::NotOwner.into());
            }
            State::InProgress => {}
        }
        self.is.lock().unwrap().2 = progress.percent;
        Ok(())
    }

    async fn request_cancellation(
        &self,
        _: &Permit<Claim>,
        task: Task,
    ) -> Result<Outcome, Refusal> {
        Ok(self.known(task)?.0.request_cancellation()?)
    }
}

async fn service(state: State) -> (Service, Arc<Desk>) {
    let desk = Desk::new(state);
    let workitems = Arc::clone(&desk);
    let service = Service::with(|options| options.workitems = Some(workitems)).await;
    service.store(1, 1, "Asanov^Bakyt").await;
    service.store(1, 2, "Asanov^Bakyt").await;
    service.store(2, 1, "Asanov^Bakyt").await;
    (service, desk)
}

/// A status, what is warned of, and the body.
async fn said(answer: Result<Response, Failure>) -> (u16, Vec<String>, Vec<u8>) {
    let response = answer.unwrap_or_else(IntoResponse::into_response);
    let warnings = response.headers().get_all(header::WARNING).iter();
    let warnings = warnings.map(|warning| warning.to_str().unwrap().to_owned());
    let (status, warnings) = (response.status().as_u16(), warnings.collect());
    let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, warnings, body.to_vec())
}

fn request(body: &Value) -> Request {
    let mut request = Request::new(Body::from(body.to_string()));
    let kind = HeaderValue::from_static("application/dicom+json");
    request.headers_mut().insert(header::CONTENT_TYPE, kind);
    request
}

fn wish(state: &str, claim: Option<&str>) -> Request {
    let mut body = json!({"00741000": {"vr": "CS", "Value": [state]}});
    if let Some(claim) = claim {
        body["00081195"] = json!({"vr": "UI", "Value": [claim]});
    }
    request(&body)
}

async fn put(service: &Service, path: &str, body: Request) -> (u16, Vec<String>) {
    let web = service.web.clone();
    let answer = change_state(Allowed(may()), Shared(web), Path(path.to_owned()), body);
    let (status, warnings, _) = said(answer.await).await;
    (status, warnings)
}

fn warned(of: &str) -> Vec<String> {
    vec![format!("299 pacs \"{of}\"")]
}

#[tokio::test]
async fn each_wish_has_the_status_and_the_warning_of_the_tables() {
    let (service, desk) = service(State::Scheduled).await;
    let inconsistent =
        warned("The submitted request is inconsistent with the state of the UPS Instance.");
    let incorrect = warned("The Transaction UID is incorrect.");
    let (ours, theirs) = (Some("2.25.11"), Some("2.25.12"));
    for (state, claim, expected) in [
        (
            "IN PROGRESS",
            None,
            (400, warned("The Transaction UID is missing.")),
        ),
        ("SCHEDULED", ours, (400, inconsistent.clone())),
        ("CANCELED", ours, (409, inconsistent.clone())),
        ("DONE", ours, (400, Vec::new())),
        ("IN PROGRESS", ours, (200, Vec::new())),
        ("IN PROGRESS", ours, (200, Vec::new())),
        ("IN PROGRESS", theirs, (409, inconsistent.clone())),
        ("CANCELED", theirs, (400, incorrect.clone())),
        ("COMPLETED", theirs, (400, incorrect.clone())),
        ("COMPLETED", ours, (409, inconsistent.clone())),
        ("CANCELLED", ours, (200, Vec::new())),
        (
            "CANCELED",
            ours,
            (
                200,
                warned("The UPS is already in the requested state of CANCELED."),
            ),
        ),
        ("IN PROGRESS", theirs, (409, inconsistent.clone())),
    ] {
        let is = put(&service, &uid(2), wish(state, claim)).await;
        assert_eq!(is, expected, "{state} {claim:?}");
    }
    let owner = desk.is.lock().unwrap().1.clone();
    *desk.is.lock().unwrap() = (State::Completed, owner, None);
    let is = put(&service, &uid(2), wish("COMPLETED", ours)).await;
    let already = warned("The UPS is already in the requested state of COMPLETED.");
    assert_eq!(is, (200, already));
}

#[tokio::test]
async fn what_is_no_workitem_and_no_payload_is_refused_for_what_it_is() {
    let (service, _) = service(State::Scheduled).await;
    let begin = || wish("IN PROGRESS", Some("2.25.11"));
    for (path, status) in [
        (uid(1), 410),
        (uid(3), 404),
        ("1.2.3".to_owned(), 404),
        ("../../x".to_owned(), 400),
        ("01.2".to_owned(), 400),
    ] {
        assert_eq!(put(&service, &path, begin()).await.0, status, "{path}");
    }
    let mut other = begin();
    let kind = HeaderValue::from_static("application/json");
    other.headers_mut().insert(header::CONTENT_TYPE, kind);
    assert_eq!(put(&service, &uid(2), other).await.0, 415);
    let long = "x".repeat(service.web.limits().workitem_bytes_max);
    let long = request(&json!({"00741238": {"vr": "LT", "Value": [long]}}));
    assert_eq!(put(&service, &uid(2), long).await.0, 413);
    let mut xml = Request::new(Body::from(
        "<?xml version=\"1.0\"?><!DOCTYPE x [<!ENTITY e SYSTEM \"file:///etc/passwd\">]>\
         <NativeDicomModel>&e;</NativeDicomModel>",
    ));
    let kind = HeaderValue::from_static("application/dicom+xml");
    xml.headers_mut().insert(header::CONTENT_TYPE, kind);
    assert_eq!(put(&service, &uid(2), xml).await.0, 400);
    let nothing = Service::with(|_| {}).await;
    assert_eq!(put(&nothing, &uid(2), begin()).await.0, 503);
}

#[tokio::test]
async fn whoever_has_it_says_how_far_they_are_and_nobody_else_does() {
    let (service, desk) = service(State::Scheduled).await;
    let percent = json!({"vr": "DS", "Value": [40]});
    let progress = json!({"vr": "SQ", "Value": [{"00741004": percent}]});
    let body = json!({"00741002": progress});
    let send = async |query: Option<&str>, body: &Value| {
        let web = service.web.clone();
        let (path, query) = (Path(uid(2)), RawQuery(query.map(str::to_owned)));
        let answer = update(Allowed(may()), Shared(web), path, query, request(body));
        let (status, warnings, _) = said(answer.await).await;
        (status, warnings)
    };
    let unclaimed = warned("The target URI did not reference a claimed Workitem.");
    let ours = Some("transaction-uid=2.25.11");
    assert_eq!(send(ours, &body).await, (409, unclaimed.clone()));
    put(&service, &uid(2), wish("IN PROGRESS", Some("2.25.11"))).await;
    assert_eq!(send(None, &body).await, (400, unclaimed.clone()));
    assert_eq!(send(Some("2.25.12"), &body).await, (400, unclaimed));
    assert_eq!(send(Some("2.25.11"), &body).await, (200, Vec::new()));
    assert_eq!(desk.is.lock().unwrap().2, Some(40));
    let mut more = body.clone();
    more["00081195"] = json!({"vr": "UI", "Value": ["2.25.11"]});
    more["00400400"] = json!({"vr": "LT", "Value": ["x"]});
    let unsupported = warned("Requested optional Attributes are not supported.");
    assert_eq!(send(None, &more).await, (200, unsupported));
    put(&service, &uid(2), wish("CANCELED", Some("2.25.11"))).await;
    let inconsistent =
        warned("The submitted request is inconsistent with the current state of the Workitem.");
    assert_eq!(send(ours, &body).await, (400, inconsistent));
}

#[tokio::test]
async fn a_request_to_cancel_is_answered_by_the_state() {
    for (state, expected) in [
        (State::Scheduled, 409),
        (State::InProgress, 409),
        (State::Completed, 409),
        (State::Canceled, 202),
    ] {
        let (service, _) = service(state).await;
        let web = Shared(service.web.clone());
        let empty = Request::new(Body::empty());
        // Clients name the kind of what they do not send.
        let mut named = request(&Value::Null);
        *named.body_mut() = Body::empty();
        let mut said_to_be_empty = Request::new(Body::empty());
        let none = HeaderValue::from_static("0");
        said_to_be_empty
            .headers_mut()
            .insert(header::CONTENT_LENGTH, none);
        let reason = request(&json!({"00741238": {"vr": "LT", "Value": ["x"]}}));
        for asks in [empty, named, said_to_be_empty, reason] {
            let answer = request_cancellation(Allowed(may()), web.clone(), Path(uid(2)), asks);
            let (status, warnings, _) = said(answer.await).await;
            assert_eq!((status, warnings.len()), (expected, 1), "{state}");
        }
        let unnamed = Request::new(Body::from("{}"));
        let answer = request_cancellation(Allowed(may()), web, Path(uid(2)), unnamed);
        assert_eq!(said(answer.await).await.0, 415, "{state}");
    }
}

async fn found(service: &Service, query: &str) -> (u16, Vec<String>, Value) {
    let web = Shared(service.web.clone());
    let query = RawQuery(Some(query.to_owned()));
    let answer = search(Allowed(may()), web, HeaderMap::new(), query);
    let (status, warnings, body) = said(answer.await).await;
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    (status, warnings, body)
}

#[tokio::test]
async fn a_search_goes_by_what_a_workitem_says_and_tells_it() {
    let (service, _) = service(State::Scheduled).await;
    for (query, is_found) in [
        ("", true),
        ("ProcedureStepState=SCHEDULED", true),
        ("ProcedureStepState=COMPLETED,SCHEDULED", true),
        ("00741000=COMPLETED", false),
        ("PatientName=%D0%B0%D1%81%D0%B0%D0%BD*", true),
        ("PatientBirthDate=19900101-19901231", true),
        ("ScheduledProcedureStepStartDateTime=20261126-", true),
        ("ScheduledProcedureStepStartDateTime=20261127-", false),
        (
            "ReferencedRequestSequence.AccessionNumber=250060004329",
            true,
        ),
        ("ReferencedRequestSequence.AccessionNumber=1", false),
        (
            "WorklistLabel=READING+006&ScheduledProcedureStepPriority=HIGH",
            true,
        ),
        ("StudyInstanceUID=2.25.1", true),
        ("StudyInstanceUID=2.25.3", false),
        ("offset=1", false),
        ("limit=0", false),
    ] {
        let (status, _, body) = found(&service, query).await;
        assert_eq!(status, if is_found { 200 } else { 204 }, "{query}");
        assert_eq!(
            body.as_array().map_or(0, Vec::len) == 1,
            is_found,
            "{query}"
        );
    }
    let (_, _, body) = found(&service, "").await;
    for unasked in [
        "00101002", "00081080", "00081084", "00400400", "00741210", "00741002", "00741216",
    ] {
        assert!(body[0][unasked].is_object(), "{unasked}");
    }
    let (_, warnings, body) = found(&service, "includefield=all").await;
    let told = &body[0];
    assert_eq!(warnings, Vec::<String>::new());
    assert_eq!(told["00080018"]["Value"][0], json!(uid(2)));
    assert_eq!(told["00741204"]["Value"][0], "КТ: голова");
    assert_eq!(
        told["00404018"]["Value"][0]["00080100"]["Value"][0],
        "110005"
    );
    assert!(told["00741216"].is_object() && told.get("00404021").is_none());
    let (_, warnings, _) = found(&service, "TransactionUID=2.25.11&x=1&fuzzymatching=true").await;
    assert_eq!(warnings.len(), 3, "{warnings:?}");
    for wrong in ["limit=x", "PatientBirthDate=x", "0040A370=x"] {
        assert_eq!(found(&service, wrong).await.0, 400, "{wrong}");
    }
}

#[tokio::test]
async fn a_workitem_names_what_is_to_be_read_and_where_it_is() {
    let (service, _) = service(State::InProgress).await;
    let get = async |accept: &str| {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_str(accept).unwrap());
        headers.insert(header::HOST, HeaderValue::from_static("pacs.example"));
        let web = Shared(service.web.clone());
        said(retrieve(Allowed(may()), web, Path(uid(2)), headers, RawQuery(None)).await).await
    };
    let (status, _, body) = get("application/dicom+json").await;
    assert_eq!(status, 200);
    let told: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(told["00741000"]["Value"][0], "IN PROGRESS");
    assert_eq!(
        told.get("00081195"),
        None,
        "nobody learns the Transaction UID"
    );
    let inputs = told["00404021"]["Value"].as_array().unwrap();
    assert_eq!(inputs.len(), 1, "a series that is of it");
    let input = &inputs[0];
    assert_eq!(input["0040E020"]["Value"][0], "DICOM");
    assert_eq!(input["00081199"]["Value"].as_array().unwrap().len(), 2);
    let url = &input["0040E025"]["Value"][0]["00081190"]["Value"][0];
    assert_eq!(url, "http://pacs.example/studies/2.25.1/series/2.25.1.1");
    assert_eq!(
        input["0040E021"]["Value"][0]["00080054"]["Value"][0],
        "PACS"
    );
    let (status, _, body) = get("application/dicom+xml").await;
    let text = String::from_utf8(body).unwrap();
    assert_eq!(status, 200);
    assert!(
        text.contains("keyword=\"InputInformationSequence\""),
        "{text}"
    );
    assert_eq!(get("image/png").await.0, 406);
}

#[tokio::test]
async fn of_a_study_that_was_split_its_own_series_are_named_whatever_the_others_have() {
    let limits = WebLimits {
        workitem_instances_max: 3,
        ..WebLimits::default()
    };
    let service = Service::open(limits).await;
    for (series, instances) in [(1, 5), (2, 2), (3, 1)] {
        for number in 1..=instances {
            service.store_in((1, series), number, "Asanov^Bakyt").await;
        }
    }
    let set = |series: &[u32]| -> BTreeSet<SeriesUid> {
        let uids = series.iter().map(|series| format!("2.25.1.{series}"));
        uids.map(|uid| SeriesUid::parse(&uid).unwrap()).collect()
    };
    let title = AeTitle::parse("PACS").unwrap();
    for (series, expected, is_cut) in [
        (InputSeries::Only(set(&[2, 3])), vec![2, 1], false),
        (InputSeries::AllBut(set(&[1])), vec![2, 1], false),
        (InputSeries::Only(set(&[3])), vec![1], false),
        (InputSeries::AllBut(set(&[1, 2, 3])), vec![], false),
        (InputSeries::Only(set(&[1, 2])), vec![3], true),
        (InputSeries::AllBut(set(&[9])), vec![3], true),
        (InputSeries::AllBut(set(&[])), vec![3], true),
        (InputSeries::Only(set(&[])), vec![], false),
    ] {
        let mut of = workitem(State::InProgress);
        of.inputs.truncate(1);
        of.inputs[0].series = series.clone();
        let permit = may();
        let at = ("http://pacs.example", &title);
        let named = inputs::of(&service.web, &permit, &of, at);
        let named = named.await.unwrap();
        let items = named.items.iter();
        let counts: Vec<usize> = items
            .map(|item| item.items(tags::REFERENCED_SOP_SEQUENCE).len())
            .collect();
        assert_eq!((counts, named.is_cut), (expected, is_cut), "{series:?}");
    }
}
