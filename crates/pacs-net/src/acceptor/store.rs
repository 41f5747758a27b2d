//! C-STORE as a service class provider (PS3.4 Annex B, PS3.7 9.1.1).

use super::session::{Outcome, Session};
use crate::dimse::{CommandSet, Priority};
use crate::link::{ByteStream, Ending};
use crate::negotiation::Context;
use crate::service::{StoreRequest, StoreSink};
use crate::sop_class::ServiceClass;
use crate::status::{StatusClass, StoreStatus};
use pacs_core::{AeTitle, SopClassUid, SopInstanceUid, Tag};
use std::sync::Arc;

/// Reads the request out of its command.
pub(crate) fn store_request(
    context: &Context,
    command: &CommandSet,
) -> Result<StoreRequest, StoreStatus> {
    let sop_class = match &command.affected_sop_class {
        None => context.abstract_syntax.clone(),
        Some(text) => SopClassUid::parse_legacy(text).map_err(|_not_a_uid| {
            StoreStatus::SOP_CLASS_NOT_SUPPORTED.with_comment("Affected SOP Class UID is no UID")
        })?,
    };
    let sop_instance = command
        .affected_sop_instance
        .as_deref()
        .and_then(|text| SopInstanceUid::parse_legacy(text).ok())
        .ok_or_else(|| {
            StoreStatus::INVALID_SOP_INSTANCE
                .with_comment("Affected SOP Instance UID is missing or no UID")
                .with_offending_elements(vec![Tag(0x0000, 0x1000)])
        })?;
    let originator = command.move_originator.as_deref();
    Ok(StoreRequest {
        sop_class,
        sop_instance,
        transfer_syntax: context.transfer_syntax.clone(),
        priority: Priority::from_code(command.priority.unwrap_or_default()),
        move_originator: originator
            .and_then(|title| AeTitle::parse(title).ok())
            .zip(command.move_originator_message_id),
    })
}

impl<S: ByteStream> Session<S> {
    pub(super) async fn store(
        &mut self,
        context: &Context,
        command: &CommandSet,
    ) -> Result<Outcome, Ending> {
        let mut sink = self.begin_store(context, command).await;
        if command.has_data_set {
            // Once a status stands, the rest is read and thrown away, and the association lives on.
            while let Some(piece) = self.next_piece().await? {
                if let Ok(open) = &mut sink
                    && let Err(status) = open.write(piece).await
                {
                    sink = Err(status);
                }
            }
        } else {
            sink = Err(StoreStatus::MISTYPED_ARGUMENT.with_comment("C-STORE without a data set"));
        }
        let status = match sink {
            Ok(open) => open.end().await,
            Err(status) => status,
        };
        let mut response = command.response(status.code());
        status.fill(&mut response);
        self.link.send_command(context.id, &response).await?;
        let kept = matches!(status.class(), StatusClass::Success | StatusClass::Warning);
        Ok(Outcome {
            status: status.code(),
            instances_count: u64::from(kept),
            failed_count: u64::from(!kept),
        })
    }

    async fn begin_store(
        &self,
        context: &Context,
        command: &CommandSet,
    ) -> Result<Box<dyn StoreSink>, StoreStatus> {
        let storage = self
            .shared
            .storage
            .as_ref()
            .filter(|_| context.service == ServiceClass::Storage && context.requestor_roles.scu)
            .map(Arc::clone)
            .ok_or(StoreStatus::SOP_CLASS_NOT_SUPPORTED)?;
        let request = store_request(context, command)?;
        storage.begin(&self.peer, &request).await
    }
}
