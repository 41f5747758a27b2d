//! Asks a destination for storage commitment (PS3.4 Annex J, as service class user).

use super::asker::{Asked, Asker, Batch};
use super::reports::reference_to;
use super::{Trouble, why};
use crate::clock::World;
use crate::tool::failure::chain;
use pacs_core::commitment::{CommitmentRequest, Reference};
use pacs_core::uid::{TransactionUid, text_of_random};
use pacs_net::sop_class::{
    EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN, STORAGE_COMMITMENT_PUSH,
};
use pacs_net::{NetLimits, Requestor};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long a wait on the association goes before it is looked whether the report came elsewhere.
const LOOK_UP: Duration = Duration::from_millis(100);

fn fault(error: &(dyn std::error::Error + 'static)) -> Trouble {
    Trouble::Peer(chain(error))
}

impl Asker {
    /// Asks for commitment of a batch, and waits a while for its report on the same association.
    pub(super) async fn ask(&mut self, batch: Batch) -> Result<(), Trouble> {
        let (parts, title) = (&self.shared.parts, &self.desk.title);
        let bounds = parts.bounds;
        let mut association = self.associate().await?;
        let context = association.context(STORAGE_COMMITMENT_PUSH);
        let syntax = match context {
            Ok(context) => context.transfer_syntax,
            Err(error) => {
                association.release().await.ok();
                return Err(Trouble::Peer(why(&error)));
            }
        };
        let random = World::real().random().map_err(|error| fault(&error))?;
        let transaction = TransactionUid::parse(&text_of_random(random));
        let transaction = transaction.map_err(|error| fault(&error))?;
        let references: BTreeSet<Reference> = batch.contents.iter().map(reference_to).collect();
        let request = CommitmentRequest {
            transaction: transaction.clone(),
            references: references.into_iter().collect(),
        };
        let information = request
            .to_data_set(&syntax)
            .map_err(|error| fault(&error))?;
        let contents = batch.contents.into_iter().collect();
        self.reports.expect(title, &transaction, contents);
        tracing::info!(
            called = %title, transaction = %transaction, instances = request.references.len(),
            "a destination is asked to confirm what was sent on"
        );
        let asked = association
            .request_commitment(information.into(), &*self.reports)
            .await;
        if let Err(error) = asked {
            self.reports.forget(title, &transaction);
            return Err(Trouble::Peer(why(&error)));
        }
        self.asked = Some(Asked {
            transaction: transaction.clone(),
            through: batch.through,
            until: Instant::now() + bounds.report_wait,
        });
        let here_until = Instant::now() + bounds.report_here;
        while self.reports.is_expected(title, &transaction) && Instant::now() < here_until {
            let came = association.next_commitment_report(&*self.reports, LOOK_UP);
            if let Err(error) = came.await {
                // The other way is still open.
                tracing::debug!(called = %title, error = why(&error), "association ended");
                return Ok(());
            }
        }
        if let Err(error) = association.release().await {
            tracing::debug!(called = %title, %error, "release failed");
        }
        Ok(())
    }

    async fn associate(&self) -> Result<Requestor, Trouble> {
        let (parts, title) = (&self.shared.parts, &self.desk.title);
        let Some(remote) = parts.access.remote_ae(title) else {
            return Err(Trouble::Peer("the AE has no address any more".to_owned()));
        };
        let builder = Requestor::builder(parts.our_title.clone(), title.clone())
            .context(
                STORAGE_COMMITMENT_PUSH,
                &[EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN],
            )
            .connector(Arc::clone(&parts.connector))
            .limits(NetLimits {
                response_duration_max: parts.bounds.response_duration_max,
                ..NetLimits::default()
            });
        let connected = builder.connect(&remote.address.to_string()).await;
        connected.map_err(|error| Trouble::Peer(why(&error)))
    }
}
