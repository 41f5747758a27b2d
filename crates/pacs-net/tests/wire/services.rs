//! Requestor against acceptor, each service, over a pipe in memory or loopback TCP.

use crate::archive::{MemoryArchive, Storage, Stored, builder, outgoing, running};
use bytes::Bytes;
use pacs_core::{AeTitle, SopClassUid, SopInstanceUid, TransferSyntaxUid};
use pacs_net::pdu::{RejectReason, Rejection, Roles};
use pacs_net::requestor::Step;
use pacs_net::service::{DataSetSource, Destination, SourceError, SubOperations};
use pacs_net::sop_class::{
    EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN, STUDY_ROOT_FIND, STUDY_ROOT_GET,
    STUDY_ROOT_MOVE, VERIFICATION,
};
use pacs_net::{NetLimits, Requestor, RequestorBuilder, RequestorError};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::io::DuplexStream;

const CT: &str = "1.2.840.10008.5.1.4.1.1.2";
const JPEG: &str = "1.2.840.10008.1.2.4.50";

pub(crate) fn title(text: &str) -> AeTitle {
    AeTitle::parse(text).unwrap()
}

pub(crate) fn asking() -> RequestorBuilder {
    Requestor::builder(title("SCU"), title("PACS"))
        .context(VERIFICATION, &[IMPLICIT_VR_LITTLE_ENDIAN])
        .context(CT, &[EXPLICIT_VR_LITTLE_ENDIAN])
        .context(CT, &[JPEG])
        .context(STUDY_ROOT_FIND, &[EXPLICIT_VR_LITTLE_ENDIAN])
        .context(STUDY_ROOT_GET, &[EXPLICIT_VR_LITTLE_ENDIAN])
        .context(STUDY_ROOT_MOVE, &[EXPLICIT_VR_LITTLE_ENDIAN])
        .roles(
            CT,
            Roles {
                scu: true,
                scp: true,
            },
        )
}

/// An acceptor at one end of a pipe, a requestor at the other.
async fn over_pipe(builder: RequestorBuilder) -> (Arc<MemoryArchive>, Requestor<DuplexStream>) {
    let archive = Arc::new(MemoryArchive::default());
    let acceptor = crate::archive::builder(&archive).build().unwrap();
    let (ours, theirs) = tokio::io::duplex(64 << 10);
    tokio::spawn(async move {
        let _ending = acceptor
            .serve_stream(theirs, ([127, 0, 0, 1], 1).into())
            .await;
    });
    let requestor = builder.connect_stream(ours).await.unwrap();
    (archive, requestor)
}

pub(crate) fn instance(at: usize, transfer_syntax: &str, bytes: usize) -> Stored {
    let byte = |i: usize| u8::try_from((i * 7 + at) % 251).unwrap();
    Stored {
        sop_class: SopClassUid::parse(CT).unwrap(),
        sop_instance: SopInstanceUid::parse(&format!("1.2.3.{at}")).unwrap(),
        transfer_syntax: TransferSyntaxUid::parse(transfer_syntax).unwrap(),
        data_set: (0..bytes).map(byte).collect(),
    }
}

#[tokio::test]
async fn an_echo_is_answered_and_the_association_released() {
    let (_, mut requestor) = over_pipe(asking()).await;

    requestor.echo().await.unwrap();
    requestor.echo().await.unwrap();

    requestor.release().await.unwrap();
}

#[tokio::test]
async fn instances_of_any_length_arrive_byte_for_byte() {
    let (archive, mut requestor) = over_pipe(asking()).await;
    let lengths = [2, 4096, 99_998, 100_000, 262_138, 1_000_002];

    for (at, length) in lengths.into_iter().enumerate() {
        let sent = instance(at, EXPLICIT_VR_LITTLE_ENDIAN, length);
        let response = requestor.store(outgoing(sent.clone())).await.unwrap();

        assert_eq!(response.status, 0);
        assert_eq!(archive.stored.lock().unwrap().last(), Some(&sent));
    }
    requestor.release().await.unwrap();
}

#[tokio::test]
async fn a_status_of_the_service_is_told_and_the_association_lives_on() {
    let (_, mut requestor) = over_pipe(asking()).await;
    let mut refused = instance(1, EXPLICIT_VR_LITTLE_ENDIAN, 300_000);
    refused.sop_instance = SopInstanceUid::parse("1.2.999.9").unwrap();

    let error = requestor.store(outgoing(refused)).await.unwrap_err();

    assert_eq!(error.to_string(), "status A700H: no room");
    requestor.echo().await.unwrap();
}

#[tokio::test]
async fn a_class_without_context_names_itself_and_the_reason() {
    let builder = asking().context("1.2.840.10008.5.1.4.31", &[EXPLICIT_VR_LITTLE_ENDIAN]);
    let (_, mut requestor) = over_pipe(builder).await;

    let error = requestor.context("1.2.840.10008.5.1.4.31").unwrap_err();
    assert_eq!(
        error.to_string(),
        "no presentation context accepted for 1.2.840.10008.5.1.4.31: abstract syntax not supported"
    );
    let unknown = instance(1, "1.2.840.10008.1.2.4.90", 10);
    let error = requestor.store(outgoing(unknown)).await.unwrap_err();
    assert!(matches!(
        error,
        RequestorError::NoPresentationContext { reason: None, .. }
    ));
}

#[derive(Debug)]
struct Broken(u32);

#[async_trait::async_trait]
impl DataSetSource for Broken {
    async fn next(&mut self) -> Result<Option<Bytes>, SourceError> {
        self.0 = self.0.checked_sub(1).ok_or(SourceError("disk".into()))?;
        Ok(Some(Bytes::from_static(&[7; 5000])))
    }
}

/// An instance that breaks off must never look whole to the peer.
#[tokio::test]
async fn a_source_that_breaks_off_aborts_and_nothing_is_kept() {
    let (archive, mut requestor) = over_pipe(asking()).await;
    let mut early = outgoing(instance(1, EXPLICIT_VR_LITTLE_ENDIAN, 10));
    early.source = Box::new(Broken(1));
    let mut late = outgoing(instance(2, EXPLICIT_VR_LITTLE_ENDIAN, 10));
    late.source = Box::new(Broken(5));

    let error = requestor.store(early).await.unwrap_err();
    assert!(matches!(error, RequestorError::Source(_)));
    requestor.echo().await.unwrap();
    let error = requestor.store(late).await.unwrap_err();
    assert!(matches!(error, RequestorError::Source(_)));

    assert!(!requestor.is_established());
    assert!(archive.stored.lock().unwrap().is_empty());
}

/// A bug in a service costs its own association, with an abort that says so.
#[tokio::test]
async fn a_panic_in_a_service_aborts_its_association_alone() {
    let server = running(NetLimits::default()).await;
    let address = server.address.to_string();
    let mut other = asking().connect(&address).await.unwrap();
    let mut requestor = asking().connect(&address).await.unwrap();
    let mut cursed = instance(1, EXPLICIT_VR_LITTLE_ENDIAN, 10);
    cursed.sop_instance = SopInstanceUid::parse("1.2.999.13").unwrap();

    let error = requestor.store(outgoing(cursed)).await.unwrap_err();

    assert!(matches!(error, RequestorError::Aborted(_)), "{error}");
    other.echo().await.unwrap();
}

#[tokio::test]
async fn matches_come_in_order_and_end_with_success() {
    let (archive, mut requestor) = over_pipe(asking()).await;
    let matches: Vec<Bytes> = (0..2000_u32)
        .map(|at| Bytes::from(at.to_string().repeat(20)))
        .collect();
    archive.matches.lock().unwrap().clone_from(&matches);

    let mut find = requestor
        .find(STUDY_ROOT_FIND, Bytes::from_static(b"key!"))
        .await
        .unwrap();
    let mut found = Vec::new();
    while let Some(identifier) = find.next().await.unwrap() {
        found.push(identifier);
    }

    assert_eq!(find.final_status(), Some(0));
    assert_eq!(found, matches);
}

#[tokio::test]
async fn a_query_that_cannot_be_answered_ends_with_its_status() {
    let (_, mut requestor) = over_pipe(asking()).await;

    let mut find = requestor.find(STUDY_ROOT_FIND, Bytes::new()).await.unwrap();
    let error = find.next().await.unwrap_err();

    assert_eq!(error.to_string(), "status A900H: empty identifier");
    requestor.echo().await.unwrap();
}

#[tokio::test]
async fn a_query_can_be_cancelled_while_its_source_is_not_ready() {
    let (archive, mut requestor) = over_pipe(asking()).await;
    archive
        .matches
        .lock()
        .unwrap()
        .push(Bytes::from_static(b"one!"));
    archive.endless.store(true, Ordering::SeqCst);

    let mut find = requestor
        .find(STUDY_ROOT_FIND, Bytes::from_static(b"key!"))
        .await
        .unwrap();
    assert_eq!(
        find.next().await.unwrap(),
        Some(Bytes::from_static(b"one!"))
    );
    find.cancel().await.unwrap();
    assert_eq!(find.next().await.unwrap(), None);

    assert_eq!(find.final_status(), Some(0xfe00));
    requestor.echo().await.unwrap();
}

#[tokio::test]
async fn a_query_can_be_cancelled_before_it_has_begun_to_answer() {
    let (_, mut requestor) = over_pipe(asking()).await;

    let key = Bytes::from_static(b"wait");
    let mut find = requestor.find(STUDY_ROOT_FIND, key).await.unwrap();
    find.cancel().await.unwrap();
    assert_eq!(find.next().await.unwrap(), None);

    assert_eq!(find.final_status(), Some(0xfe00));
    requestor.echo().await.unwrap();
}

#[tokio::test]
async fn instances_come_back_over_the_same_association() {
    let (archive, mut requestor) = over_pipe(asking()).await;
    let sent: Vec<Stored> = (0..20)
        .map(|at| {
            instance(
                at,
                [EXPLICIT_VR_LITTLE_ENDIAN, JPEG][at % 2],
                150_000 + at * 2,
            )
        })
        .collect();
    archive.stored.lock().unwrap().clone_from(&sent);
    let received = Arc::new(MemoryArchive::default());
    let storage = Arc::new(Storage(Arc::clone(&received)));

    let identifier = Bytes::from_static(b"key!");
    let retrieval = requestor
        .get(STUDY_ROOT_GET, identifier, storage)
        .await
        .unwrap();
    let response = retrieval.finish().await.unwrap();

    assert_eq!(response.status, 0);
    assert_eq!(response.progress.completed, Some(20));
    assert_eq!(*received.stored.lock().unwrap(), sent);
    requestor.echo().await.unwrap();
}

#[tokio::test]
async fn what_the_peer_cannot_take_fails_alone_and_is_listed() {
    let (archive, mut requestor) = over_pipe(asking()).await;
    let odd = instance(1, "1.2.840.10008.1.2.4.90", 10);
    let good = instance(2, JPEG, 10);
    archive.stored.lock().unwrap().extend([odd, good]);
    let storage = Arc::new(Storage(Arc::default()));

    let identifier = Bytes::from_static(b"key!");
    let retrieval = requestor
        .get(STUDY_ROOT_GET, identifier, storage)
        .await
        .unwrap();
    let response = retrieval.finish().await.unwrap();

    assert_eq!(response.status, 0xb000);
    assert_eq!(
        response.comment.unwrap(),
        "no context for 1.2.840.10008.1.2.4.90"
    );
    assert_eq!(
        (response.progress.completed, response.progress.failed),
        (Some(1), Some(1))
    );
    assert_eq!(response.identifier, &b"\x08\0\x58\0UI\x08\x001.2.3.1\0"[..]);
}

#[tokio::test]
async fn a_retrieval_can_be_cancelled() {
    let (archive, mut requestor) = over_pipe(asking()).await;
    let many = (0..500).map(|at| instance(at, JPEG, 1000));
    archive.stored.lock().unwrap().extend(many);
    let storage = Arc::new(Storage(Arc::default()));

    let identifier = Bytes::from_static(b"key!");
    let mut retrieval = requestor
        .get(STUDY_ROOT_GET, identifier, storage)
        .await
        .unwrap();
    assert_eq!(retrieval.next().await.unwrap(), Step::Received(0));
    retrieval.cancel().await.unwrap();
    let response = retrieval.finish().await.unwrap();

    assert_eq!(response.status, 0xfe00);
    assert!(response.progress.remaining > Some(400), "{response:?}");
    requestor.echo().await.unwrap();
}

#[tokio::test]
async fn a_move_delivers_to_the_destination_and_names_its_originator() {
    let server = running(NetLimits::default()).await;
    let target = running(NetLimits::default()).await;
    let sent: Vec<Stored> = (0..30).map(|at| instance(at, JPEG, 5000)).collect();
    server.archive.stored.lock().unwrap().clone_from(&sent);
    *server.archive.destination.lock().unwrap() = Some(Destination {
        ae_title: title("PACS"),
        address: target.address.to_string(),
    });

    let mut requestor = asking().connect(&server.address.to_string()).await.unwrap();
    let identifier = Bytes::from_static(b"key!");
    let retrieval = requestor
        .move_to(STUDY_ROOT_MOVE, identifier, &title("PACS"))
        .await
        .unwrap();
    let response = retrieval.finish().await.unwrap();

    assert_eq!(
        (response.status, response.progress.completed),
        (0, Some(30))
    );
    assert_eq!(*target.archive.stored.lock().unwrap(), sent);
    let originators = target.archive.originators.lock().unwrap().clone();
    assert_eq!(originators[0], Some((title("SCU"), 1)));
}

#[tokio::test]
async fn a_destination_that_is_unknown_or_not_there_is_told_apart() {
    let server = running(NetLimits::default()).await;
    let sent = (0..3).map(|at| instance(at, JPEG, 50));
    server.archive.stored.lock().unwrap().extend(sent);
    *server.archive.destination.lock().unwrap() = Some(Destination {
        ae_title: title("GONE"),
        address: crate::tool::free_address().to_string(),
    });
    let mut requestor = asking().connect(&server.address.to_string()).await.unwrap();
    let identifier = Bytes::from_static(b"key!");

    let retrieval = requestor
        .move_to(STUDY_ROOT_MOVE, identifier.clone(), &title("NOBODY"))
        .await
        .unwrap();
    assert_eq!(retrieval.finish().await.unwrap().status, 0xa801);
    let retrieval = requestor
        .move_to(STUDY_ROOT_MOVE, identifier, &title("GONE"))
        .await
        .unwrap();
    let response = retrieval.finish().await.unwrap();

    assert_eq!(
        (response.status, response.progress.failed),
        (0xa702, Some(3))
    );
    assert_eq!(response.comment.unwrap(), "GONE: connection failed");
}

/// A comment is free text: it may name a patient.
#[tokio::test]
async fn what_a_destination_says_of_an_instance_is_not_told_to_others() {
    let server = running(NetLimits::default()).await;
    let target = running(NetLimits::default()).await;
    let mut refused = instance(1, JPEG, 50);
    refused.sop_instance = SopInstanceUid::parse("1.2.999.9").unwrap();
    server.archive.stored.lock().unwrap().push(refused);
    *server.archive.destination.lock().unwrap() = Some(Destination {
        ae_title: title("PACS"),
        address: target.address.to_string(),
    });

    let mut requestor = asking().connect(&server.address.to_string()).await.unwrap();
    let identifier = Bytes::from_static(b"key!");
    let retrieval = requestor
        .move_to(STUDY_ROOT_MOVE, identifier, &title("PACS"))
        .await
        .unwrap();
    let response = retrieval.finish().await.unwrap();

    assert_eq!(response.status, 0xa702);
    assert_eq!(response.comment.unwrap(), "peer answered A700H");
}

/// More kinds of instances than one association has contexts.
#[tokio::test]
async fn a_move_of_many_kinds_takes_several_associations() {
    let server = running(NetLimits::default()).await;
    let target = running(NetLimits::default()).await;
    let kinds = (0..300).map(|at| {
        let mut stored = instance(at, JPEG, 50);
        stored.sop_class = SopClassUid::parse(&format!("1.3.5.{}", at % 150)).unwrap();
        stored
    });
    server.archive.stored.lock().unwrap().extend(kinds);
    *server.archive.destination.lock().unwrap() = Some(Destination {
        ae_title: title("PACS"),
        address: target.address.to_string(),
    });

    let mut requestor = asking().connect(&server.address.to_string()).await.unwrap();
    let identifier = Bytes::from_static(b"key!");
    let retrieval = requestor
        .move_to(STUDY_ROOT_MOVE, identifier, &title("PACS"))
        .await
        .unwrap();
    let response = retrieval.finish().await.unwrap();

    assert_eq!(
        (response.status, response.progress.completed),
        (0, Some(300))
    );
}

struct Batch(Vec<Stored>);

#[async_trait::async_trait]
impl SubOperations for Batch {
    fn count(&self) -> usize {
        self.0.len()
    }

    fn kinds(&self) -> Vec<(SopClassUid, TransferSyntaxUid)> {
        Vec::new()
    }

    async fn next(&mut self) -> Option<pacs_net::service::OutgoingInstance> {
        self.0.pop().map(outgoing)
    }
}

#[tokio::test]
async fn a_batch_tells_what_each_instance_came_to() {
    let (archive, mut requestor) = over_pipe(asking()).await;
    let mut refused = instance(2, JPEG, 10);
    refused.sop_instance = SopInstanceUid::parse("1.2.999.9").unwrap();
    let mut batch = Batch(vec![instance(1, JPEG, 10), refused, instance(3, JPEG, 10)]);
    let mut told = Vec::new();

    let report = |uid: &SopInstanceUid, result: &Result<_, RequestorError>| {
        told.push((uid.to_string(), result.is_ok()));
    };
    requestor.store_all(&mut batch, report).await.unwrap();

    let wanted = [("1.2.3.3", true), ("1.2.999.9", false), ("1.2.3.1", true)];
    assert_eq!(told, wanted.map(|(uid, kept)| (uid.to_owned(), kept)));
    assert_eq!(archive.stored.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn a_rejection_says_why_in_words() {
    let server = running(NetLimits::default()).await;
    let builder = Requestor::builder(title("SCU"), title("OTHER"))
        .context(VERIFICATION, &[IMPLICIT_VR_LITTLE_ENDIAN]);

    let error = builder
        .connect(&server.address.to_string())
        .await
        .unwrap_err();

    let wanted = Rejection::permanent(RejectReason::CalledAeTitleNotRecognized);
    assert!(matches!(error, RequestorError::Rejected(rejection) if rejection == wanted));
    assert_eq!(
        error.to_string(),
        "association rejected permanently: called AE title not recognized"
    );
}

#[tokio::test]
async fn associations_over_a_limit_are_rejected_for_now() {
    let limits = NetLimits {
        associations_per_ae_max: 2,
        ..NetLimits::default()
    };
    let server = running(limits).await;
    let address = server.address.to_string();
    let first = asking().connect(&address).await.unwrap();
    let _second = asking().connect(&address).await.unwrap();

    let error = asking().connect(&address).await.unwrap_err();
    let wanted = Rejection::transient(RejectReason::LocalLimitExceeded);
    assert!(matches!(error, RequestorError::Rejected(rejection) if rejection == wanted));

    first.release().await.unwrap();
    // The place is free once the acceptor has seen the connection close.
    let mut server = server;
    while server.told.recv().await.unwrap() != "SCU ended: released" {}
    asking().connect(&address).await.unwrap();
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_a_failed_connection() {
    let address = crate::tool::free_address().to_string();

    let error = asking().connect(&address).await.unwrap_err();

    assert!(matches!(error, RequestorError::Transport(_)), "{error}");
}

#[tokio::test]
async fn stopping_ends_idle_associations_and_waits_for_running_ones() {
    let server = running(NetLimits::default()).await;
    let mut idle = asking().connect(&server.address.to_string()).await.unwrap();
    server.archive.endless.store(true, Ordering::SeqCst);
    let mut busy = asking().connect(&server.address.to_string()).await.unwrap();
    let key = Bytes::from_static(b"key!");
    server
        .archive
        .matches
        .lock()
        .unwrap()
        .push(Bytes::from_static(b"one!"));
    let mut find = busy.find(STUDY_ROOT_FIND, key).await.unwrap();
    assert!(find.next().await.unwrap().is_some());

    server.stop.send(()).unwrap();
    let error = idle.echo().await.unwrap_err();
    assert!(
        matches!(
            error,
            RequestorError::Aborted(_) | RequestorError::Transport(_)
        ),
        "{error}"
    );
    assert!(!server.ended.is_finished());
    find.cancel().await.unwrap();
    assert_eq!(find.next().await.unwrap(), None);

    drop(busy);
    server.ended.await.unwrap();
}

#[test]
fn limits_that_cannot_work_are_refused() {
    let limits = NetLimits {
        associations_max: 0,
        ..NetLimits::default()
    };
    let error = builder(&Arc::default()).limits(limits).build().unwrap_err();

    assert_eq!(error.to_string(), "limit associations_max is out of range");

    let limits = NetLimits {
        artim: Duration::ZERO,
        ..NetLimits::default()
    };
    let error = builder(&Arc::default()).limits(limits).build().unwrap_err();

    assert_eq!(error.to_string(), "limit artim is out of range");
}

#[tokio::test]
async fn waits_without_end_do_not_end_at_once() {
    let limits = NetLimits {
        artim: Duration::MAX,
        pdu_duration_max: Duration::MAX,
        idle_duration_max: Duration::MAX,
        write_duration_max: Duration::MAX,
        response_duration_max: Duration::MAX,
        association_duration_max: Duration::MAX,
        ..NetLimits::default()
    };
    let server = running(limits.clone()).await;
    let asking = asking().limits(limits);

    let mut requestor = asking.connect(&server.address.to_string()).await.unwrap();
    requestor.echo().await.unwrap();
    let sent = instance(1, EXPLICIT_VR_LITTLE_ENDIAN, 300_000);
    requestor.store(outgoing(sent)).await.unwrap();

    requestor.release().await.unwrap();
}
