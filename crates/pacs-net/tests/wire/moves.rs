//! Retrievals whose destination, or requestor, does not do its part.

use crate::archive::running;
use crate::services::{asking, instance, title};
use async_trait::async_trait;
use bytes::Bytes;
use pacs_core::{AeTitle, SopClassUid, TransferSyntaxUid};
use pacs_net::requestor::Step;
use pacs_net::service::{
    DataSetSource, Destination, OutgoingInstance, Peer, RetrieveRequest, RetrieveScp, SourceError,
    StorageScp, StoreRequest, StoreSink, SubOperations,
};
use pacs_net::sop_class::{EXPLICIT_VR_LITTLE_ENDIAN, STUDY_ROOT_GET, STUDY_ROOT_MOVE};
use pacs_net::status::{RetrieveStatus, StoreStatus};
use pacs_net::transport::Connector;
use pacs_net::{Acceptor, ByteStream, NetLimits};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::duplex;
use tokio::time::Instant;

/// Ten instances; what is read of them is counted.
#[derive(Debug, Clone)]
struct Counted {
    transfer_syntax: &'static str,
    reads: Arc<AtomicUsize>,
}

struct Ten(Counted, usize);

struct CountedSource(Arc<AtomicUsize>, bool);

#[async_trait]
impl DataSetSource for CountedSource {
    async fn next(&mut self) -> Result<Option<Bytes>, SourceError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        let is_over = std::mem::replace(&mut self.1, true);
        Ok((!is_over).then(|| Bytes::from_static(&[7; 1000])))
    }
}

#[async_trait]
impl SubOperations for Ten {
    fn count(&self) -> usize {
        10
    }

    fn kinds(&self) -> Vec<(SopClassUid, TransferSyntaxUid)> {
        let like = instance(0, self.0.transfer_syntax, 0);
        vec![(like.sop_class, like.transfer_syntax)]
    }

    async fn next(&mut self) -> Option<OutgoingInstance> {
        self.1 = self.1.checked_sub(1)?;
        let like = instance(self.1, self.0.transfer_syntax, 0);
        Some(OutgoingInstance {
            sop_class: like.sop_class,
            sop_instance: like.sop_instance,
            transfer_syntax: like.transfer_syntax,
            length_bytes: 1000,
            source: Box::new(CountedSource(Arc::clone(&self.0.reads), false)),
        })
    }
}

#[async_trait]
impl RetrieveScp for Counted {
    async fn get(
        &self,
        _peer: &Peer,
        _request: RetrieveRequest,
    ) -> Result<Box<dyn SubOperations>, RetrieveStatus> {
        Ok(Box::new(Ten(self.clone(), 10)))
    }

    async fn move_to(
        &self,
        _peer: &Peer,
        _request: RetrieveRequest,
        destination: &AeTitle,
    ) -> Result<(Destination, Box<dyn SubOperations>), RetrieveStatus> {
        let destination = Destination {
            ae_title: destination.clone(),
            address: "mute:104".into(),
        };
        Ok((destination, Box::new(Ten(self.clone(), 10))))
    }
}

/// Takes instances and never answers.
#[derive(Debug)]
struct Mute;

#[async_trait]
impl StorageScp for Mute {
    async fn begin(
        &self,
        _peer: &Peer,
        _request: &StoreRequest,
    ) -> Result<Box<dyn StoreSink>, StoreStatus> {
        std::future::pending().await
    }
}

/// Connects to an acceptor that is mute, over a pipe.
#[async_trait]
impl Connector for Mute {
    async fn connect(
        &self,
        _address: &str,
        _called_ae_title: &AeTitle,
    ) -> std::io::Result<Box<dyn ByteStream>> {
        let acceptor = Acceptor::builder(title("MUTE")).storage(Arc::new(Self));
        let acceptor = acceptor.build().unwrap();
        let (ours, theirs) = duplex(64 << 10);
        tokio::spawn(async move {
            let _ending = acceptor
                .serve_stream(theirs, ([127, 0, 0, 1], 1).into())
                .await;
        });
        Ok(Box::new(ours))
    }
}

fn counted(transfer_syntax: &'static str) -> Counted {
    Counted {
        transfer_syntax,
        reads: Arc::default(),
    }
}

fn serve(counted: &Counted) -> tokio::io::DuplexStream {
    let acceptor = Acceptor::builder(title("PACS"))
        .retrieve(Arc::new(counted.clone()))
        .connector(Arc::new(Mute))
        .build()
        .unwrap();
    let (ours, theirs) = duplex(64 << 10);
    tokio::spawn(async move {
        let _ending = acceptor
            .serve_stream(theirs, ([127, 0, 0, 1], 1).into())
            .await;
    });
    ours
}

#[tokio::test(start_paused = true)]
async fn a_destination_that_never_answers_is_given_up_and_nothing_more_is_read() {
    let counted = counted(EXPLICIT_VR_LITTLE_ENDIAN);
    // The requestor has more patience than the acceptor.
    let limits = NetLimits {
        response_duration_max: std::time::Duration::from_secs(100_000),
        ..NetLimits::default()
    };
    let asking = asking().limits(limits);
    let mut requestor = asking.connect_stream(serve(&counted)).await.unwrap();
    let began = Instant::now();

    let key = Bytes::from_static(b"key!");
    let named = title("MUTE");
    let retrieval = requestor.move_to(STUDY_ROOT_MOVE, key, &named);
    let response = retrieval.await.unwrap().finish().await.unwrap();

    assert_eq!(
        (response.status, response.progress.failed),
        (0xa702, Some(10))
    );
    assert_eq!(response.comment.unwrap(), "time-out waiting for a response");
    assert_eq!(began.elapsed().as_secs(), 600);
    // Two were sent, and the third was at hand: each is read twice, to the end.
    assert_eq!(counted.reads.load(Ordering::SeqCst), 6);
}

#[tokio::test(start_paused = true)]
async fn what_the_requestor_has_no_context_for_is_not_read() {
    let counted = counted("1.2.840.10008.1.2.4.90");
    let mut requestor = asking().connect_stream(serve(&counted)).await.unwrap();
    let storage = Arc::new(crate::archive::Storage(Arc::default()));

    let key = Bytes::from_static(b"key!");
    let retrieval = requestor.get(STUDY_ROOT_GET, key, storage);
    let response = retrieval.await.unwrap().finish().await.unwrap();

    assert_eq!(
        (response.status, response.progress.failed),
        (0xa702, Some(10))
    );
    assert_eq!(counted.reads.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_move_can_be_cancelled() {
    let server = running(NetLimits::default()).await;
    let target = running(NetLimits::default()).await;
    let many = (0..500).map(|at| instance(at, EXPLICIT_VR_LITTLE_ENDIAN, 1000));
    server.archive.stored.lock().unwrap().extend(many);
    *server.archive.destination.lock().unwrap() = Some(Destination {
        ae_title: title("PACS"),
        address: target.address.to_string(),
    });
    let mut requestor = asking().connect(&server.address.to_string()).await.unwrap();

    let key = Bytes::from_static(b"key!");
    let named = title("PACS");
    let retrieval = requestor.move_to(STUDY_ROOT_MOVE, key, &named);
    let mut retrieval = retrieval.await.unwrap();
    assert!(matches!(retrieval.next().await.unwrap(), Step::Pending(_)));
    retrieval.cancel().await.unwrap();
    let response = retrieval.finish().await.unwrap();

    assert_eq!(response.status, 0xfe00);
    let completed = response.progress.completed.unwrap();
    assert_eq!(response.progress.remaining, Some(500 - completed));
    let stored = target.archive.stored.lock().unwrap().len();
    assert_eq!(stored, usize::from(completed));
    assert!(stored < 500);
    requestor.echo().await.unwrap();
}

/// Its last instance may not be whole, and nothing more will come.
#[tokio::test]
async fn a_destination_is_told_when_the_move_is_cut_off() {
    let server = running(NetLimits::default()).await;
    let mut target = running(NetLimits::default()).await;
    let sent = instance(1, EXPLICIT_VR_LITTLE_ENDIAN, 1000);
    server.archive.stored.lock().unwrap().push(sent);
    // After the first instance, the second is waited for.
    server.archive.endless.store(true, Ordering::SeqCst);
    *server.archive.destination.lock().unwrap() = Some(Destination {
        ae_title: title("PACS"),
        address: target.address.to_string(),
    });
    let mut requestor = asking().connect(&server.address.to_string()).await.unwrap();
    let key = Bytes::from_static(b"key!");
    let named = title("PACS");
    let retrieval = requestor.move_to(STUDY_ROOT_MOVE, key, &named);
    drop(retrieval.await.unwrap());
    assert_eq!(target.told.recv().await.unwrap(), "store 0000");

    requestor.abort().await;

    assert_eq!(
        target.told.recv().await.unwrap(),
        "PACS ended: peer: aborted by the service user"
    );
}
