//! Storage Commitment Push (PS3.4 Annex J): who asks, who answers, and the way back for the report.

use super::Peer;
use crate::status::{ActionStatus, EventStatus};
use async_trait::async_trait;
use bytes::Bytes;
use pacs_core::TransferSyntaxUid;
use std::fmt::Debug;
use tokio::sync::{mpsc, oneshot};

/// Events that wait for the association they belong to; who has more waits.
const QUEUED_MAX: usize = 4;

/// An N-ACTION request about the well-known instance of Storage Commitment Push.
#[derive(Clone, PartialEq, Eq)]
pub struct ActionRequest {
    /// Action Type ID; 1 asks for commitment.
    pub action_type: u16,
    /// The action information, not looked at yet.
    pub information: Bytes,
    /// How it is encoded.
    pub transfer_syntax: TransferSyntaxUid,
}

impl Debug for ActionRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ActionRequest")
            .field("action_type", &self.action_type)
            .field("information_bytes", &self.information.len())
            .finish_non_exhaustive()
    }
}

/// An N-EVENT-REPORT request about the well-known instance of Storage Commitment Push.
#[derive(Clone, PartialEq, Eq)]
pub struct EventReport {
    /// Event Type ID: 1 is that all is committed, 2 that something is not.
    pub event_type: u16,
    /// The event information, not looked at yet.
    pub information: Bytes,
    /// How it is encoded.
    pub transfer_syntax: TransferSyntaxUid,
}

impl Debug for EventReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventReport")
            .field("event_type", &self.event_type)
            .field("information_bytes", &self.information.len())
            .finish_non_exhaustive()
    }
}

/// Takes requests for storage commitment (N-ACTION).
#[async_trait]
pub trait CommitmentScp: Debug + Send + Sync + 'static {
    /// Takes a request. Success means that a report will come: over `line` while the association
    /// that was asked on stands, else over one that the provider opens.
    async fn request(&self, peer: &Peer, request: ActionRequest, line: EventLine) -> ActionStatus;
}

/// Takes reports about storage commitment that it asked for (N-EVENT-REPORT).
#[async_trait]
pub trait CommitmentScu: Debug + Send + Sync + 'static {
    /// Takes a report. Success means that it is known; any other status may bring it again.
    async fn report(&self, peer: &Peer, report: EventReport) -> EventStatus;
}

/// The way back to whoever asked, over the association that it asked on. Clones lead the same way.
#[derive(Debug, Clone)]
pub struct EventLine {
    context_id: u8,
    transfer_syntax: TransferSyntaxUid,
    sender: mpsc::Sender<QueuedEvent>,
}

/// The association ended, or is about to, before the event was answered. It may have been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("association ended before the report was answered")]
pub struct LineEnded;

/// An event on its way.
#[derive(Debug)]
pub(crate) struct QueuedEvent {
    pub(crate) context_id: u8,
    pub(crate) event_type: u16,
    pub(crate) information: Bytes,
    pub(crate) answer: oneshot::Sender<EventStatus>,
}

/// The association's end of its lines.
pub(crate) type EventQueue = mpsc::Receiver<QueuedEvent>;

impl EventLine {
    /// A line over the context with `context_id`, and its other end.
    pub(crate) fn new(
        context_id: u8,
        transfer_syntax: TransferSyntaxUid,
    ) -> (Self, mpsc::WeakSender<QueuedEvent>, EventQueue) {
        let (sender, queue) = mpsc::channel(QUEUED_MAX);
        let weak = sender.downgrade();
        let line = Self {
            context_id,
            transfer_syntax,
            sender,
        };
        (line, weak, queue)
    }

    /// One more line into the same queue.
    pub(crate) const fn into(
        sender: mpsc::Sender<QueuedEvent>,
        context_id: u8,
        transfer_syntax: TransferSyntaxUid,
    ) -> Self {
        Self {
            context_id,
            transfer_syntax,
            sender,
        }
    }

    /// How event information must be encoded.
    #[must_use]
    pub const fn transfer_syntax(&self) -> &TransferSyntaxUid {
        &self.transfer_syntax
    }

    /// Whether the association stands.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }

    /// Reports an event once the peer is quiet, and gives its answer. Where this is cancelled, the
    /// event may be sent all the same.
    ///
    /// # Errors
    /// [`LineEnded`]: the report has to go another way.
    pub async fn report(
        &self,
        event_type: u16,
        information: Bytes,
    ) -> Result<EventStatus, LineEnded> {
        let (answer, answered) = oneshot::channel();
        let event = QueuedEvent {
            context_id: self.context_id,
            event_type,
            information,
            answer,
        };
        self.sender.send(event).await.map_err(|_closed| LineEnded)?;
        answered.await.map_err(|_dropped| LineEnded)
    }
}
