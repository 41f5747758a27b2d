//! Modality Performed Procedure Step (PS3.4 Annex F): N-CREATE and N-SET.

use super::Peer;
use crate::status::{CreateStatus, SetStatus};
use async_trait::async_trait;
use bytes::Bytes;
use pacs_core::{SopInstanceUid, TransferSyntaxUid};
use std::fmt::Debug;

/// An N-CREATE request.
#[derive(Clone, PartialEq, Eq)]
pub struct StepCreation {
    /// Affected SOP Instance UID; where there is none, the provider gives one.
    pub sop_instance: Option<SopInstanceUid>,
    /// The attribute list, not looked at yet.
    pub attributes: Bytes,
    /// How it is encoded.
    pub transfer_syntax: TransferSyntaxUid,
}

/// An N-SET request.
#[derive(Clone, PartialEq, Eq)]
pub struct StepChange {
    /// Requested SOP Instance UID.
    pub sop_instance: SopInstanceUid,
    /// The modification list, not looked at yet.
    pub modifications: Bytes,
    /// How it is encoded.
    pub transfer_syntax: TransferSyntaxUid,
}

impl Debug for StepCreation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StepCreation")
            .field("sop_instance", &self.sop_instance)
            .field("attributes_bytes", &self.attributes.len())
            .finish_non_exhaustive()
    }
}

impl Debug for StepChange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StepChange")
            .field("sop_instance", &self.sop_instance)
            .field("modifications_bytes", &self.modifications.len())
            .finish_non_exhaustive()
    }
}

/// Takes performed procedure steps. Success means that what was said is kept.
#[async_trait]
pub trait ProcedureStepScp: Debug + Send + Sync + 'static {
    /// Makes an instance, and gives its UID.
    ///
    /// # Errors
    /// The status to answer with instead of success.
    async fn create(
        &self,
        peer: &Peer,
        request: StepCreation,
    ) -> Result<SopInstanceUid, CreateStatus>;

    /// Changes an instance.
    async fn set(&self, peer: &Peer, request: StepChange) -> SetStatus;
}
