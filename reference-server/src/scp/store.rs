//! C-STORE into the archive (PS3.4 Annex B).

use super::Services;
use async_trait::async_trait;
use bytes::Bytes;
use pacs_core::access::Store;
use pacs_core::instance::InstanceError;
use pacs_net::service::{Peer, StorageScp, StoreRequest, StoreSink};
use pacs_net::status::StoreStatus;
use pacs_store::{Announced, Deposit, DepositError, Outcome};

#[async_trait]
impl StorageScp for Services {
    fn has_memory(&self) -> bool {
        self.archive.has_memory()
    }

    async fn begin(
        &self,
        peer: &Peer,
        request: &StoreRequest,
    ) -> Result<Box<dyn StoreSink>, StoreStatus> {
        let permit = self
            .permit_of_device::<Store>(peer)
            .map_err(|_denied| StoreStatus::NOT_AUTHORIZED)?;
        let provenance = self.archive.provenance(permit.caller());
        let announced = Announced {
            sop_class: request.sop_class.clone(),
            sop_instance: request.sop_instance.clone(),
            transfer_syntax: request.transfer_syntax.clone(),
        };
        let calling = peer.calling_ae_title.to_string();
        match self.archive.deposit(&permit, announced, provenance) {
            Ok(deposit) => Ok(Box::new(Sink { deposit, calling })),
            Err(error) => Err(refused(&error, &calling)),
        }
    }
}

/// One instance on its way into the archive.
struct Sink {
    deposit: Deposit,
    calling: String,
}

#[async_trait]
impl StoreSink for Sink {
    async fn write(&mut self, fragment: Bytes) -> Result<(), StoreStatus> {
        self.deposit
            .write(fragment)
            .await
            .map_err(|error| refused(&error, &self.calling))
    }

    async fn end(self: Box<Self>) -> StoreStatus {
        let Self { deposit, calling } = *self;
        match deposit.seal().await {
            Ok(receipt) => {
                if let Outcome::Conflict { version } = receipt.outcome {
                    tracing::warn!(
                        %calling, version, digest = ?receipt.digest,
                        "other content came under a known SOP Instance UID; both are kept"
                    );
                }
                StoreStatus::SUCCESS
            }
            Err(error) => refused(&error, &calling),
        }
    }
}

/// The status of each way in which a deposit can fail (PS3.4 B.2.3), told once to the log.
fn refused(error: &DepositError, calling: &str) -> StoreStatus {
    let reason = reason(error);
    tracing::warn!(%calling, error = %error, %reason, "an instance was not kept");
    match error {
        DepositError::Backend { .. } => StoreStatus::PROCESSING_FAILURE,
        DepositError::Busy | DepositError::Closed | DepositError::Full => {
            StoreStatus::OUT_OF_RESOURCES
        }
        // The device shall not believe that anybody sees it; sending it again is of no use.
        DepositError::Rejected => StoreStatus::NOT_AUTHORIZED,
        DepositError::TooLong { .. } => StoreStatus::OUT_OF_RESOURCES,
        DepositError::NotAnInstance(InstanceError::Missing { tag }) => {
            StoreStatus::CANNOT_UNDERSTAND.with_offending_elements(vec![*tag])
        }
        DepositError::NotAnInstance(_) => StoreStatus::CANNOT_UNDERSTAND,
        DepositError::UidMismatch { tag, .. } => {
            StoreStatus::DATA_SET_MISMATCH.with_offending_elements(vec![*tag])
        }
    }
    .with_comment(reason)
}

/// What the peer's operator may read: the error and what stands behind it. Neither names a patient.
fn reason(error: &DepositError) -> String {
    if let DepositError::NotAnInstance(why) = error {
        return why.to_string();
    }
    error.to_string()
}
