//! The peer's side of a connection, PDU by PDU, for tests that no proper peer can play.

use crate::archive::{MemoryArchive, Told, builder};
use bytes::BytesMut;
use pacs_net::dimse::CommandSet;
use pacs_net::pdu::data::frame_copied;
use pacs_net::pdu::{
    self, APPLICATION_CONTEXT, AbortSource, AssociateRequest, Pdu, ProposedContext, Taken,
    UserInformation,
};
use pacs_net::sop_class::{EXPLICIT_VR_LITTLE_ENDIAN, STUDY_ROOT_FIND, STUDY_ROOT_GET};
use pacs_net::{Acceptor, NetLimits};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use tokio::io::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex,
};
use tokio::sync::mpsc;

pub(crate) const CT: &str = "1.2.840.10008.5.1.4.1.1.2";

/// A stream that counts what is read from it.
struct Counting(DuplexStream, Arc<AtomicUsize>);

impl AsyncRead for Counting {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        let poll = Pin::new(&mut self.0).poll_read(cx, buffer);
        self.1
            .fetch_add(buffer.filled().len() - before, Ordering::SeqCst);
        poll
    }
}

impl AsyncWrite for Counting {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// The peer's end of a connection to an acceptor.
pub(crate) struct Raw {
    pub(crate) stream: DuplexStream,
    pub(crate) buffer: BytesMut,
    pub(crate) archive: Arc<MemoryArchive>,
    pub(crate) read: Arc<AtomicUsize>,
    pub(crate) told: mpsc::UnboundedReceiver<String>,
}

pub(crate) fn raw_to(
    acceptor: Acceptor,
    archive: Arc<MemoryArchive>,
    told: mpsc::UnboundedReceiver<String>,
) -> Raw {
    let (ours, theirs) = duplex(1 << 20);
    let read = Arc::new(AtomicUsize::new(0));
    let counting = Counting(theirs, Arc::clone(&read));
    tokio::spawn(async move {
        let _ending = acceptor
            .serve_stream(counting, ([127, 0, 0, 1], 1).into())
            .await;
    });
    Raw {
        stream: ours,
        buffer: BytesMut::new(),
        archive,
        read,
        told,
    }
}

pub(crate) fn raw() -> Raw {
    let archive = Arc::new(MemoryArchive::default());
    let (tell, told) = mpsc::unbounded_channel();
    let acceptor = builder(&archive).observer(Arc::new(Told(tell))).build();
    raw_to(acceptor.unwrap(), archive, told)
}

pub(crate) fn request() -> AssociateRequest {
    let classes = [CT, STUDY_ROOT_FIND, STUDY_ROOT_GET];
    let contexts = [1, 3, 5].into_iter().zip(classes);
    AssociateRequest {
        protocol_version: 1,
        calling_ae_title: "RAW".into(),
        called_ae_title: "PACS".into(),
        application_context: APPLICATION_CONTEXT.into(),
        contexts: contexts
            .map(|(id, class)| ProposedContext {
                id,
                abstract_syntax: class.into(),
                transfer_syntaxes: vec![EXPLICIT_VR_LITTLE_ENDIAN.into()],
            })
            .collect(),
        user: UserInformation::own(16_384),
    }
}

impl Raw {
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    pub(crate) async fn send_pdu(&mut self, pdu: &Pdu) {
        self.send(&pdu::write(pdu).unwrap()).await;
    }

    pub(crate) async fn send_values(&mut self, context_id: u8, is_command: bool, payload: &[u8]) {
        let mut out = BytesMut::new();
        frame_copied(context_id, is_command, payload, 16_384, &mut out);
        self.send(&out).await;
    }

    /// The next PDU; `None` where the acceptor closed.
    pub(crate) async fn receive(&mut self) -> Option<Pdu> {
        let limits = NetLimits::default();
        loop {
            if let Taken::Whole(pdu) = pdu::take(&mut self.buffer, &limits).unwrap() {
                return Some(pdu);
            }
            if self.stream.read_buf(&mut self.buffer).await.unwrap() == 0 {
                return None;
            }
        }
    }

    pub(crate) async fn associate(&mut self) {
        self.send_pdu(&Pdu::AssociateRq(Box::new(request()))).await;
        assert!(matches!(
            self.receive().await,
            Some(Pdu::AssociateAc(accept)) if accept.contexts.len() == 3
        ));
    }

    /// As above, with the roles that C-GET needs.
    pub(crate) async fn associate_to_retrieve(&mut self) {
        let mut request = request();
        let roles = pdu::Roles {
            scu: true,
            scp: true,
        };
        request.user.roles = vec![(CT.into(), roles)];
        self.send_pdu(&Pdu::AssociateRq(Box::new(request))).await;
        assert!(matches!(self.receive().await, Some(Pdu::AssociateAc(_))));
    }

    pub(crate) async fn aborted(&mut self) -> AbortSource {
        match self.receive().await {
            Some(Pdu::Abort(source)) => source,
            other => panic!("{other:?} is no abort"),
        }
    }

    /// The status of the next response.
    pub(crate) async fn status(&mut self) -> u16 {
        self.response().await.status.unwrap()
    }

    /// The next response.
    pub(crate) async fn response(&mut self) -> CommandSet {
        let Some(Pdu::Data(mut data)) = self.receive().await else {
            panic!("no response");
        };
        let pdv = data.next().unwrap();
        CommandSet::parse(&pdv.fragment).unwrap()
    }

    /// A request that names the SOP class of its context.
    pub(crate) async fn request(&mut self, context_id: u8, command_field: u16, has_data_set: bool) {
        let class = match context_id {
            3 => STUDY_ROOT_FIND,
            5 => STUDY_ROOT_GET,
            _ => CT,
        };
        self.request_of(class, context_id, command_field, has_data_set)
            .await;
    }

    pub(crate) async fn request_of(
        &mut self,
        class: &str,
        context_id: u8,
        command_field: u16,
        has_data_set: bool,
    ) {
        let command = CommandSet {
            command_field,
            message_id: Some(1),
            affected_sop_class: Some(class.into()),
            affected_sop_instance: Some("1.2.3".into()),
            has_data_set,
            ..CommandSet::default()
        };
        self.send_values(context_id, true, &command.to_bytes())
            .await;
    }
}
