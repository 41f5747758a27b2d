//! Modality worklists (PS3.4 Annex K): C-FIND in an information model of its own.

use super::{Matches, Peer};
use crate::dimse::Priority;
use crate::status::FindStatus;
use async_trait::async_trait;
use bytes::Bytes;
use pacs_core::TransferSyntaxUid;
use std::fmt::Debug;

/// A C-FIND request in the Modality Worklist Information Model.
#[derive(Clone, PartialEq, Eq)]
pub struct WorklistRequest {
    /// The identifier, not looked at yet.
    pub identifier: Bytes,
    /// How the identifier is encoded, and the answers are to be.
    pub transfer_syntax: TransferSyntaxUid,
    /// Its priority.
    pub priority: Priority,
}

impl Debug for WorklistRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WorklistRequest")
            .field("identifier_bytes", &self.identifier.len())
            .finish_non_exhaustive()
    }
}

/// Answers queries of modality worklists.
#[async_trait]
pub trait WorklistScp: Debug + Send + Sync + 'static {
    /// Begins to answer.
    ///
    /// # Errors
    /// The status to answer with instead of matches.
    async fn worklist(
        &self,
        peer: &Peer,
        request: WorklistRequest,
    ) -> Result<Box<dyn Matches>, FindStatus>;
}
