//! Storage commitment: asked and answered on one association, and reported with reversed roles.

use crate::archive::builder;
use crate::services::title;
use async_trait::async_trait;
use bytes::Bytes;
use pacs_net::pdu::Roles;
use pacs_net::service::{
    ActionRequest, CommitmentScp, CommitmentScu, EventLine, EventReport, LineEnded, Peer,
};
use pacs_net::sop_class::{
    EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN, STORAGE_COMMITMENT_PUSH, VERIFICATION,
};
use pacs_net::status::{ActionStatus, EventStatus};
use pacs_net::{AcceptorBuilder, NetLimits, Requestor, RequestorBuilder, RequestorError};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::DuplexStream;
use tokio::sync::mpsc;

/// What came of a report over the line of its request.
type Told = mpsc::UnboundedReceiver<Result<EventStatus, LineEnded>>;

/// Reports what it was asked, as soon as it may.
#[derive(Debug)]
struct Echoing {
    told: mpsc::UnboundedSender<Result<EventStatus, LineEnded>>,
    reports_count: usize,
}

#[async_trait]
impl CommitmentScp for Echoing {
    async fn request(&self, peer: &Peer, request: ActionRequest, line: EventLine) -> ActionStatus {
        assert_eq!(peer.calling_ae_title.as_str(), "SCU");
        if request.information == b"no".as_slice() {
            return ActionStatus::NOT_AUTHORIZED.with_comment("not you");
        }
        assert_eq!((request.action_type, line.is_open()), (1, true));
        for number in 1..=self.reports_count {
            let (line, told) = (line.clone(), self.told.clone());
            let information = request.information.clone();
            let event_type = u16::try_from(number).unwrap();
            tokio::spawn(async move { told.send(line.report(event_type, information).await) });
        }
        ActionStatus::SUCCESS
    }
}

/// Remembers reports.
#[derive(Debug, Default)]
struct Reports(Mutex<Vec<(u16, Bytes)>>);

#[async_trait]
impl CommitmentScu for Reports {
    async fn report(&self, _peer: &Peer, report: EventReport) -> EventStatus {
        if report.information == b"bad!".as_slice() {
            return EventStatus::INVALID_ARGUMENT_VALUE;
        }
        let mut reports = self.0.lock().unwrap();
        reports.push((report.event_type, report.information));
        EventStatus::SUCCESS
    }
}

impl Reports {
    fn taken(&self) -> Vec<(u16, Bytes)> {
        self.0.lock().unwrap().clone()
    }
}

fn echoing(reports_count: usize) -> (AcceptorBuilder, Told) {
    let (told, of_reports) = mpsc::unbounded_channel();
    let scp = Echoing {
        told,
        reports_count,
    };
    let acceptor = builder(&Arc::default()).commitment(Arc::new(scp));
    (acceptor, of_reports)
}

fn asking() -> RequestorBuilder {
    Requestor::builder(title("SCU"), title("PACS"))
        .context(VERIFICATION, &[IMPLICIT_VR_LITTLE_ENDIAN])
        .context(STORAGE_COMMITMENT_PUSH, &[EXPLICIT_VR_LITTLE_ENDIAN])
}

async fn connect(acceptor: AcceptorBuilder, asking: RequestorBuilder) -> Requestor<DuplexStream> {
    let acceptor = acceptor.build().unwrap();
    let (ours, theirs) = tokio::io::duplex(64 << 10);
    tokio::spawn(async move {
        let _ending = acceptor
            .serve_stream(theirs, ([127, 0, 0, 1], 1).into())
            .await;
    });
    asking.connect_stream(ours).await.unwrap()
}

const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn the_report_comes_over_the_association_that_was_asked_on() {
    let (acceptor, mut told) = echoing(1);
    let mut requestor = connect(acceptor, asking()).await;
    let reports = Reports::default();

    let question = Bytes::from_static(b"safe? ");
    requestor
        .request_commitment(question.clone(), &reports)
        .await
        .unwrap();
    let has_come = requestor.next_commitment_report(&reports, PATIENCE).await;

    assert!(has_come.unwrap());
    assert_eq!(reports.taken(), [(1, question)]);
    assert_eq!(told.recv().await.unwrap().unwrap(), EventStatus::SUCCESS);
    let none = requestor
        .next_commitment_report(&reports, Duration::from_millis(1))
        .await;
    assert!(!none.unwrap());
    requestor.echo().await.unwrap();
    requestor.release().await.unwrap();
}

#[tokio::test]
async fn reports_wait_for_each_other_and_for_a_peer_that_asks_on() {
    let (acceptor, mut told) = echoing(2);
    let limits = NetLimits {
        event_quiet: Duration::from_secs(1),
        ..NetLimits::default()
    };
    let mut requestor = connect(acceptor.limits(limits), asking()).await;
    let reports = Reports::default();

    for question in ["one ", "two "] {
        let question = Bytes::from_static(question.as_bytes());
        requestor
            .request_commitment(question, &reports)
            .await
            .unwrap();
        // A report in between would be a fault to the requestor.
        requestor.echo().await.unwrap();
    }
    for _ in 0..4 {
        let has_come = requestor.next_commitment_report(&reports, PATIENCE).await;
        assert!(has_come.unwrap());
        assert_eq!(told.recv().await.unwrap().unwrap(), EventStatus::SUCCESS);
    }

    let mut taken = reports.taken();
    taken.sort();
    let expected = [(1, "one "), (1, "two "), (2, "one "), (2, "two ")];
    assert!(
        taken
            .iter()
            .zip(expected)
            .all(|(taken, (kind, text))| { taken.0 == kind && taken.1 == text.as_bytes() })
    );
    requestor.release().await.unwrap();
}

#[tokio::test]
async fn a_peer_that_goes_away_before_the_report_ends_the_line() {
    let (acceptor, mut told) = echoing(1);
    let mut requestor = connect(acceptor, asking()).await;
    let question = Bytes::from_static(b"safe? ");
    requestor
        .request_commitment(question, &Reports::default())
        .await
        .unwrap();

    requestor.release().await.unwrap();

    assert_eq!(told.recv().await.unwrap(), Err(LineEnded));
}

#[tokio::test]
async fn what_cannot_be_taken_is_refused_with_its_status() {
    let (acceptor, _told) = echoing(1);
    let limits = NetLimits {
        commitment_bytes_max: 1000,
        ..NetLimits::default()
    };
    let mut requestor = connect(acceptor.limits(limits), asking()).await;
    let reports = Reports::default();

    for (question, code) in [
        (Bytes::from_static(b"no"), 0x0124),
        (vec![0; 1002].into(), 0x0213),
        (Bytes::new(), 0x0212),
    ] {
        let asked = requestor.request_commitment(question, &reports);
        let refused = asked.await.unwrap_err();
        assert!(matches!(refused, RequestorError::Status { code: c, .. } if c == code));
    }
    requestor.release().await.unwrap();
    // Without a provider there is no context.
    let mut requestor = connect(builder(&Arc::default()), asking()).await;
    let asked = requestor.request_commitment(Bytes::from_static(b"ok"), &reports);
    let refused = asked.await.unwrap_err();
    assert!(matches!(
        refused,
        RequestorError::NoPresentationContext { .. }
    ));
}

#[tokio::test]
async fn a_report_is_brought_with_reversed_roles() {
    let provider = Roles {
        scu: false,
        scp: true,
    };
    // Some providers do not say that they are.
    for roles in [Some(provider), None] {
        let reports = Arc::new(Reports::default());
        let acceptor = builder(&Arc::default()).commitment_reports(Arc::clone(&reports) as _);
        let mut builder = asking();
        if let Some(roles) = roles {
            builder = builder.roles(STORAGE_COMMITMENT_PUSH, roles);
        }
        let mut requestor = connect(acceptor, builder).await;

        let information = Bytes::from_static(b"safe. ");
        let known = requestor.report_commitment(2, information.clone()).await;
        let odd = requestor
            .report_commitment(1, Bytes::from_static(b"bad!"))
            .await;
        let unknown = requestor.report_commitment(3, information.clone()).await;

        assert_eq!(known.unwrap(), EventStatus::SUCCESS);
        assert_eq!(odd.unwrap(), EventStatus::INVALID_ARGUMENT_VALUE);
        assert_eq!(unknown.unwrap(), EventStatus::NO_SUCH_EVENT_TYPE);
        assert_eq!(reports.taken(), [(2, information.clone())]);
        // Whoever takes reports takes no requests.
        let asked = requestor.request_commitment(information, &*reports);
        let refused = asked.await.unwrap_err();
        assert!(matches!(
            refused,
            RequestorError::Status { code: 0x0118, .. }
        ));
        requestor.release().await.unwrap();
    }
}
