//! What an acceptor tells about its work, for logs and metrics. Nothing here is patient data.

use crate::link::Ending;
use crate::pdu::Rejection;
use crate::security::TlsError;
use crate::service::Peer;
use std::fmt::Debug;
use std::net::SocketAddr;
use std::time::Duration;

/// The kind of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// N-ACTION that asks for storage commitment
    Commit,
    /// C-ECHO
    Echo,
    /// C-FIND
    Find,
    /// C-GET
    Get,
    /// C-MOVE
    Move,
    /// A command that is not served.
    Other,
    /// N-EVENT-REPORT about storage commitment that came in
    Report,
    /// N-CREATE of a performed procedure step
    StepCreate,
    /// N-SET of a performed procedure step
    StepSet,
    /// C-STORE
    Store,
    /// C-FIND of a modality worklist
    Worklist,
}

impl Operation {
    /// A short name, for labels.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Commit => "commit",
            Self::Echo => "echo",
            Self::Find => "find",
            Self::Get => "get",
            Self::Move => "move",
            Self::Other => "other",
            Self::Report => "report",
            Self::StepCreate => "step_create",
            Self::StepSet => "step_set",
            Self::Store => "store",
            Self::Worklist => "worklist",
        }
    }
}

/// An operation that was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperationReport {
    /// What it was.
    pub operation: Operation,
    /// The final status.
    pub status: u16,
    /// From the request to the final response.
    pub duration: Duration,
    /// Bytes read from the association meanwhile.
    pub bytes_received: u64,
    /// Bytes written to the association meanwhile.
    pub bytes_sent: u64,
    /// Matches of C-FIND; completed sub-operations of C-GET and C-MOVE; 1 for an instance stored.
    pub instances_count: u64,
    /// Failed sub-operations.
    pub failed_count: u64,
}

/// Is told what happens. Methods must be quick: they run on the association's own task.
pub trait Observer: Debug + Send + Sync + 'static {
    /// A connection was closed at once, because there are too many.
    fn connection_refused(&self, _address: SocketAddr) {}
    /// A connection could not be secured, and was closed.
    fn handshake_failed(&self, _address: SocketAddr, _error: TlsError) {}
    /// An association was accepted.
    fn association_accepted(&self, _peer: &Peer) {}
    /// An association was rejected. `calling_ae_title` is as sent.
    fn association_rejected(
        &self,
        _address: SocketAddr,
        _calling_ae_title: &str,
        _rejection: Rejection,
    ) {
    }
    /// An accepted association, or a connection that never became one (`peer` is then `None`),
    /// ended.
    fn association_ended(
        &self,
        _address: SocketAddr,
        _peer: Option<&Peer>,
        _ending: Ending,
        _duration: Duration,
    ) {
    }
    /// An operation was answered.
    fn operation_ended(&self, _peer: &Peer, _report: &OperationReport) {}
}

/// Listens to nothing.
#[derive(Debug, Clone, Copy)]
pub struct NoObserver;

impl Observer for NoObserver {}
