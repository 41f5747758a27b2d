//! N-ACTION of storage commitment (PS3.4 J.3.2): what is asked, and whether it is taken.

use super::caller;
use crate::access::Access;
use crate::commitment::{Commitments, Refusal};
use async_trait::async_trait;
use pacs_core::access::{Commit, permit};
use pacs_core::commitment::{CommitmentError, CommitmentRequest};
use pacs_core::limits::CommitmentLimits;
use pacs_core::tag::tags;
use pacs_net::service::{ActionRequest, CommitmentScp, EventLine, Peer};
use pacs_net::status::ActionStatus;
use pacs_store::records::RecordsError;
use std::sync::Arc;

/// The one action there is: to ask for commitment.
const REQUEST: u16 = 1;

/// Takes requests for storage commitment.
#[derive(Debug)]
pub struct CommitmentService {
    commitments: Commitments,
    access: Arc<Access>,
}

impl CommitmentService {
    /// For `commitments`, under `access`.
    #[must_use]
    pub const fn new(commitments: Commitments, access: Arc<Access>) -> Self {
        Self {
            commitments,
            access,
        }
    }
}

#[async_trait]
impl CommitmentScp for CommitmentService {
    async fn request(&self, peer: &Peer, request: ActionRequest, line: EventLine) -> ActionStatus {
        if permit::<Commit>(&*self.access, caller(peer)).is_err() {
            return ActionStatus::NOT_AUTHORIZED;
        }
        if request.action_type != REQUEST {
            return ActionStatus::NO_SUCH_ACTION_TYPE;
        }
        let (bytes, syntax) = (&request.information, &request.transfer_syntax);
        let limits = CommitmentLimits::default();
        let asked = match CommitmentRequest::read(bytes, syntax, &limits) {
            Ok(asked) => asked,
            Err(error) => return not_a_request(&error),
        };
        match self
            .commitments
            .take(&peer.calling_ae_title, asked, line)
            .await
        {
            Ok(()) => ActionStatus::SUCCESS,
            Err(refusal) => refused(&refusal, peer),
        }
    }
}

fn not_a_request(error: &CommitmentError) -> ActionStatus {
    let status = match error {
        CommitmentError::Limit { .. } => ActionStatus::RESOURCE_LIMITATION,
        CommitmentError::Missing { tag } | CommitmentError::Uid { tag } => {
            // The element itself is at fault, or it is missing in an item of the sequence.
            let item = [
                tags::REFERENCED_SOP_CLASS_UID,
                tags::REFERENCED_SOP_INSTANCE_UID,
            ];
            let tag = if item.contains(tag) {
                tags::REFERENCED_SOP_SEQUENCE
            } else {
                *tag
            };
            ActionStatus::INVALID_ARGUMENT_VALUE.with_offending_elements(vec![tag])
        }
        CommitmentError::Scan(_) | _ => ActionStatus::INVALID_ARGUMENT_VALUE,
    };
    status.with_comment(error.to_string())
}

fn refused(refusal: &Refusal, peer: &Peer) -> ActionStatus {
    tracing::warn!(
        calling = %peer.calling_ae_title, error = %refusal,
        "a request for storage commitment was not taken"
    );
    match refusal {
        Refusal::Busy { .. } => ActionStatus::RESOURCE_LIMITATION.with_comment(refusal.to_string()),
        Refusal::Records(RecordsError::Unfit { .. }) => {
            ActionStatus::RESOURCE_LIMITATION.with_comment("too many SOP classes")
        }
        Refusal::Records(RecordsError::Full) => {
            ActionStatus::RESOURCE_LIMITATION.with_comment("disk is full")
        }
        Refusal::Records(error) => {
            tracing::error!(%error, "records of storage commitment failed");
            ActionStatus::PROCESSING_FAILURE
        }
    }
}
