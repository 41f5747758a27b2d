//! Who is let in, for what, and what an acceptor does when its own side fails.

use crate::archive::{MemoryArchive, Retrieve, Storage, Told, builder, outgoing};
use crate::services::{asking, instance};
use async_trait::async_trait;
use bytes::Bytes;
use pacs_core::{AeTitle, SopClassUid, TransferSyntaxUid};
use pacs_net::negotiation::Services;
use pacs_net::pdu::{AssociateRequest, RejectReason, Rejection, UserIdentity, UserIdentityKind};
use pacs_net::service::{
    Admission, AssociationPolicy, DataSetSource, Destination, OutgoingInstance, Peer,
    RetrieveRequest, RetrieveScp, SourceError, SubOperations,
};
use pacs_net::sop_class::{EXPLICIT_VR_LITTLE_ENDIAN, STUDY_ROOT_GET};
use pacs_net::status::RetrieveStatus;
use pacs_net::{AcceptorBuilder, Requestor, RequestorBuilder, RequestorError};
use std::sync::Arc;
use tokio::io::{DuplexStream, duplex};
use tokio::sync::mpsc;

async fn over_pipe(
    acceptor: AcceptorBuilder,
    requestor: RequestorBuilder,
) -> Result<Requestor<DuplexStream>, RequestorError> {
    let acceptor = acceptor.build().unwrap();
    let (ours, theirs) = duplex(64 << 10);
    tokio::spawn(async move {
        let _ending = acceptor
            .serve_stream(theirs, ([10, 0, 0, 7], 1).into())
            .await;
    });
    requestor.connect_stream(ours).await
}

/// Lets in who names a user it knows, to echo alone.
#[derive(Debug)]
struct Doorman;

#[async_trait]
impl AssociationPolicy for Doorman {
    async fn decide(
        &self,
        request: &AssociateRequest,
        peer: &Peer,
    ) -> Result<Admission, Rejection> {
        assert_eq!(request.calling_ae_title, peer.calling_ae_title.as_str());
        assert_eq!(peer.address.ip().to_string(), "10.0.0.7");
        let known = |user: &UserIdentity| user.primary == b"reader" && user.secondary == b"word";
        if !peer.user_identity.as_ref().is_some_and(known) {
            return Err(Rejection::permanent(RejectReason::NoReason));
        }
        Ok(Admission {
            services: Services {
                verification: true,
                ..Services::default()
            },
            identity_response: Some(b"welcome".to_vec()),
            idle_duration_max: None,
        })
    }
}

#[tokio::test]
async fn the_policy_sees_title_address_and_identity_and_chooses_services() {
    let guarded = || builder(&Arc::default()).policy(Arc::new(Doorman));
    let identity = UserIdentity {
        kind: UserIdentityKind::UsernameAndPassword,
        positive_response_requested: true,
        primary: b"reader".to_vec(),
        secondary: b"word".to_vec(),
    };

    let error = over_pipe(guarded(), asking()).await.unwrap_err();
    let wanted = Rejection::permanent(RejectReason::NoReason);
    assert!(matches!(error, RequestorError::Rejected(rejection) if rejection == wanted));
    let mut requestor = over_pipe(guarded(), asking().identity(identity))
        .await
        .unwrap();

    let response = requestor.negotiated().identity_response.as_deref();
    assert_eq!(response, Some(&b"welcome"[..]));
    requestor.echo().await.unwrap();
    let stored = outgoing(instance(1, EXPLICIT_VR_LITTLE_ENDIAN, 10));
    let error = requestor.store(stored).await.unwrap_err();
    assert!(matches!(
        error,
        RequestorError::NoPresentationContext {
            reason: Some(_),
            ..
        }
    ));
}

/// Gives one instance that can be read to the end, and one that cannot.
#[derive(Debug)]
struct Failing {
    pieces: u32,
    archive: Arc<MemoryArchive>,
}

struct Two(Vec<OutgoingInstance>);

struct Broken(u32);

#[async_trait]
impl DataSetSource for Broken {
    async fn next(&mut self) -> Result<Option<Bytes>, SourceError> {
        let left = self.0.checked_sub(1);
        self.0 = left.ok_or(SourceError("digest differs".into()))?;
        Ok(Some(Bytes::from_static(&[7; 4000])))
    }
}

#[async_trait]
impl RetrieveScp for Failing {
    async fn get(
        &self,
        _peer: &Peer,
        _request: RetrieveRequest,
    ) -> Result<Box<dyn SubOperations>, RetrieveStatus> {
        let good = outgoing(instance(1, EXPLICIT_VR_LITTLE_ENDIAN, 10));
        let mut bad = outgoing(instance(2, EXPLICIT_VR_LITTLE_ENDIAN, 10));
        bad.source = Box::new(Broken(self.pieces));
        Ok(Box::new(Two(vec![good, bad])))
    }

    async fn move_to(
        &self,
        peer: &Peer,
        request: RetrieveRequest,
        destination: &AeTitle,
    ) -> Result<(Destination, Box<dyn SubOperations>), RetrieveStatus> {
        let archive = Retrieve(Arc::clone(&self.archive));
        archive.move_to(peer, request, destination).await
    }
}

#[async_trait]
impl SubOperations for Two {
    fn count(&self) -> usize {
        2
    }

    fn kinds(&self) -> Vec<(SopClassUid, TransferSyntaxUid)> {
        Vec::new()
    }

    async fn next(&mut self) -> Option<OutgoingInstance> {
        self.0.pop()
    }
}

#[tokio::test]
async fn an_instance_that_cannot_be_read_fails_alone_if_nothing_of_it_was_sent() {
    let failing = Arc::new(Failing {
        pieces: 1,
        archive: Arc::default(),
    });
    let (tell, mut told) = mpsc::unbounded_channel();
    let acceptor = builder(&Arc::default())
        .retrieve(failing)
        .observer(Arc::new(Told(tell)));
    let mut requestor = over_pipe(acceptor, asking()).await.unwrap();
    let received = Arc::new(MemoryArchive::default());
    let storage = Arc::new(Storage(Arc::clone(&received)));

    let key = Bytes::from_static(b"key!");
    let retrieval = requestor.get(STUDY_ROOT_GET, key, storage).await.unwrap();
    let response = retrieval.finish().await.unwrap();

    assert_eq!(response.status, 0xb000);
    assert_eq!(response.comment.unwrap(), "stored instance cannot be read");
    assert_eq!(received.stored.lock().unwrap().len(), 1);
    assert_eq!(told.recv().await.unwrap(), "get B000");
}

/// Half an instance must not look whole: there is nothing but an abort to say so.
#[tokio::test]
async fn an_instance_that_breaks_off_while_it_is_sent_costs_the_association() {
    let failing = Arc::new(Failing {
        pieces: 4,
        archive: Arc::default(),
    });
    let acceptor = builder(&Arc::default()).retrieve(failing);
    let mut requestor = over_pipe(acceptor, asking()).await.unwrap();
    let received = Arc::new(MemoryArchive::default());
    let storage = Arc::new(Storage(Arc::clone(&received)));

    let key = Bytes::from_static(b"key!");
    let retrieval = requestor.get(STUDY_ROOT_GET, key, storage).await.unwrap();
    let error = retrieval.finish().await.unwrap_err();

    assert!(matches!(error, RequestorError::Aborted(_)), "{error}");
    assert!(received.stored.lock().unwrap().is_empty());
}
