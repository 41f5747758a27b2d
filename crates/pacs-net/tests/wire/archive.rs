//! An archive in memory, for tests: stores, answers fixed matches, gives everything back.

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use pacs_core::{AeTitle, SopClassUid, SopInstanceUid, TransferSyntaxUid};
use pacs_net::observer::{Observer, OperationReport};
use pacs_net::service::{
    DataSetSource, Destination, FindRequest, Matches, OutgoingInstance, Peer, QueryScp,
    RetrieveRequest, RetrieveScp, StorageScp, StoreRequest, StoreSink, SubOperations,
};
use pacs_net::status::{FindStatus, RetrieveStatus, StoreStatus};
use pacs_net::{Acceptor, AcceptorBuilder, Ending, NetLimits};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

/// An instance as it was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) sop_class: SopClassUid,
    pub(crate) sop_instance: SopInstanceUid,
    pub(crate) transfer_syntax: TransferSyntaxUid,
    pub(crate) data_set: Bytes,
}

#[derive(Debug, Default)]
pub(crate) struct MemoryArchive {
    pub(crate) stored: Mutex<Vec<Stored>>,
    pub(crate) matches: Mutex<Vec<Bytes>>,
    pub(crate) destination: Mutex<Option<Destination>>,
    /// Answers are endless, for C-CANCEL.
    pub(crate) endless: std::sync::atomic::AtomicBool,
    pub(crate) originators: Mutex<Vec<Option<(AeTitle, u16)>>>,
}

#[derive(Debug)]
pub(crate) struct Storage(pub(crate) Arc<MemoryArchive>);

struct Sink {
    archive: Arc<MemoryArchive>,
    request: StoreRequest,
    data_set: BytesMut,
}

#[async_trait]
impl StorageScp for Storage {
    async fn begin(
        &self,
        _peer: &Peer,
        request: &StoreRequest,
    ) -> Result<Box<dyn StoreSink>, StoreStatus> {
        assert_ne!(
            request.sop_instance.as_str(),
            "1.2.999.13",
            "a bug of the service"
        );
        if request.sop_instance.as_str() == "1.2.999.9" {
            return Err(StoreStatus::OUT_OF_RESOURCES.with_comment("no room"));
        }
        Ok(Box::new(Sink {
            archive: Arc::clone(&self.0),
            request: request.clone(),
            data_set: BytesMut::new(),
        }))
    }
}

#[async_trait]
impl StoreSink for Sink {
    async fn write(&mut self, fragment: Bytes) -> Result<(), StoreStatus> {
        self.data_set.extend_from_slice(&fragment);
        Ok(())
    }

    async fn end(self: Box<Self>) -> StoreStatus {
        let stored = Stored {
            sop_class: self.request.sop_class,
            sop_instance: self.request.sop_instance,
            transfer_syntax: self.request.transfer_syntax,
            data_set: self.data_set.freeze(),
        };
        self.archive
            .originators
            .lock()
            .unwrap()
            .push(self.request.move_originator);
        self.archive.stored.lock().unwrap().push(stored);
        StoreStatus::SUCCESS
    }
}

#[derive(Debug)]
pub(crate) struct Query(pub(crate) Arc<MemoryArchive>);

struct Found {
    left: std::vec::IntoIter<Bytes>,
    endless: bool,
}

#[async_trait]
impl QueryScp for Query {
    async fn find(
        &self,
        _peer: &Peer,
        request: FindRequest,
    ) -> Result<Box<dyn Matches>, FindStatus> {
        if request.identifier.is_empty() {
            return Err(FindStatus::IDENTIFIER_MISMATCH.with_comment("empty identifier"));
        }
        if request.identifier == "wait" {
            std::future::pending::<()>().await;
        }
        Ok(Box::new(Found {
            left: self.0.matches.lock().unwrap().clone().into_iter(),
            endless: self.0.endless.load(std::sync::atomic::Ordering::SeqCst),
        }))
    }
}

#[async_trait]
impl Matches for Found {
    async fn next(&mut self) -> Result<Option<Bytes>, FindStatus> {
        match Iterator::next(&mut self.left) {
            None if self.endless => std::future::pending().await,
            next => Ok(next),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Retrieve(pub(crate) Arc<MemoryArchive>);

struct Outgoing {
    left: std::vec::IntoIter<Stored>,
    count: usize,
    endless: bool,
}

#[async_trait]
impl RetrieveScp for Retrieve {
    async fn get(
        &self,
        _peer: &Peer,
        _request: RetrieveRequest,
    ) -> Result<Box<dyn SubOperations>, RetrieveStatus> {
        let stored = self.0.stored.lock().unwrap().clone();
        Ok(Box::new(Outgoing {
            count: stored.len(),
            left: stored.into_iter(),
            endless: self.0.endless.load(std::sync::atomic::Ordering::SeqCst),
        }))
    }

    async fn move_to(
        &self,
        peer: &Peer,
        request: RetrieveRequest,
        destination: &AeTitle,
    ) -> Result<(Destination, Box<dyn SubOperations>), RetrieveStatus> {
        let known = self.0.destination.lock().unwrap().clone();
        let known = known
            .filter(|known| known.ae_title == *destination)
            .ok_or(RetrieveStatus::MOVE_DESTINATION_UNKNOWN)?;
        Ok((known, self.get(peer, request).await?))
    }
}

#[async_trait]
impl SubOperations for Outgoing {
    fn count(&self) -> usize {
        self.count
    }

    fn kinds(&self) -> Vec<(SopClassUid, TransferSyntaxUid)> {
        let mut kinds: Vec<_> = self
            .left
            .as_slice()
            .iter()
            .map(|stored| (stored.sop_class.clone(), stored.transfer_syntax.clone()))
            .collect();
        kinds.sort();
        kinds.dedup();
        kinds
    }

    async fn next(&mut self) -> Option<OutgoingInstance> {
        match Iterator::next(&mut self.left) {
            None if self.endless => std::future::pending().await,
            next => next.map(outgoing),
        }
    }
}

/// `stored`, to be sent in pieces of 100,000 bytes.
pub(crate) fn outgoing(stored: Stored) -> OutgoingInstance {
    let pieces: Vec<Bytes> = stored
        .data_set
        .chunks(100_000)
        .map(|piece| stored.data_set.slice_ref(piece))
        .collect();
    let source: Box<dyn DataSetSource> = Box::new(pieces.into_iter());
    OutgoingInstance {
        sop_class: stored.sop_class,
        sop_instance: stored.sop_instance,
        transfer_syntax: stored.transfer_syntax,
        length_bytes: stored.data_set.len() as u64,
        source,
    }
}

/// Passes on what an acceptor tells.
#[derive(Debug)]
pub(crate) struct Told(pub(crate) mpsc::UnboundedSender<String>);

impl Observer for Told {
    fn association_ended(
        &self,
        _address: SocketAddr,
        peer: Option<&Peer>,
        ending: Ending,
        _duration: std::time::Duration,
    ) {
        let who = peer.map_or("nobody".into(), |peer| peer.calling_ae_title.to_string());
        let _gone = self.0.send(format!("{who} ended: {ending}"));
    }

    fn operation_ended(&self, _peer: &Peer, report: &OperationReport) {
        let (name, status) = (report.operation.name(), report.status);
        let _gone = self.0.send(format!("{name} {status:04X}"));
    }
}

/// An acceptor with everything, on a port of its own.
pub(crate) struct Running {
    pub(crate) archive: Arc<MemoryArchive>,
    pub(crate) address: SocketAddr,
    pub(crate) told: mpsc::UnboundedReceiver<String>,
    pub(crate) stop: oneshot::Sender<()>,
    pub(crate) ended: tokio::task::JoinHandle<()>,
}

impl Running {
    pub(crate) fn port(&self) -> String {
        self.address.port().to_string()
    }
}

pub(crate) fn builder(archive: &Arc<MemoryArchive>) -> AcceptorBuilder {
    Acceptor::builder(AeTitle::parse("PACS").unwrap())
        .storage(Arc::new(Storage(Arc::clone(archive))))
        .query(Arc::new(Query(Arc::clone(archive))))
        .retrieve(Arc::new(Retrieve(Arc::clone(archive))))
}

pub(crate) async fn running(limits: NetLimits) -> Running {
    let archive = Arc::new(MemoryArchive::default());
    let (tell, told) = mpsc::unbounded_channel();
    let acceptor = builder(&archive)
        .limits(limits)
        .observer(Arc::new(Told(tell)))
        .build()
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    let ended = tokio::spawn(async move {
        acceptor
            .serve(listener, async { drop(stopped.await) })
            .await;
    });
    Running {
        archive,
        address,
        told,
        stop,
        ended,
    }
}

/// The data set of a Part 10 file, and its transfer syntax and SOP UIDs, from its file meta
/// information.
pub(crate) fn read_file(path: &std::path::Path) -> Stored {
    let bytes = Bytes::from(std::fs::read(path).unwrap());
    assert_eq!(&bytes[128..132], b"DICM", "{}", path.display());
    let mut at = 132;
    let (mut class, mut instance, mut syntax) = (String::new(), String::new(), String::new());
    while bytes[at..at + 2] == [2, 0] {
        let element = u16::from_le_bytes([bytes[at + 2], bytes[at + 3]]);
        let long = matches!(
            &bytes[at + 4..at + 6],
            b"OB" | b"OW" | b"UN" | b"UT" | b"SQ"
        );
        let (length, header) = if long {
            (
                u32::from_le_bytes(bytes[at + 8..at + 12].try_into().unwrap()) as usize,
                12,
            )
        } else {
            (
                usize::from(u16::from_le_bytes([bytes[at + 6], bytes[at + 7]])),
                8,
            )
        };
        let value = &bytes[at + header..at + header + length];
        let text = String::from_utf8_lossy(value)
            .trim_end_matches(['\0', ' '])
            .to_owned();
        match element {
            2 => class = text,
            3 => instance = text,
            0x10 => syntax = text,
            _ => {}
        }
        at += header + length;
    }
    Stored {
        sop_class: SopClassUid::parse_legacy(&class).unwrap(),
        sop_instance: SopInstanceUid::parse_legacy(&instance).unwrap(),
        transfer_syntax: TransferSyntaxUid::parse_legacy(&syntax).unwrap(),
        data_set: bytes.slice(at..),
    }
}
