//! Receives an instance (PS3.4 Annex B, PS3.7 9.1.1): for the acceptor of C-STORE, and the
//! requestor of C-GET.

use crate::dimse::{CommandSet, Priority};
use crate::link::{ByteStream, Ending, Link};
use crate::negotiation::Context;
use crate::service::{Peer, StorageScp, StoreRequest, StoreSink};
use crate::status::StoreStatus;
use pacs_core::{AeTitle, SopInstanceUid, Tag};

/// Reads the request out of its command.
fn store_request(context: &Context, command: &CommandSet) -> Result<StoreRequest, StoreStatus> {
    if !context.is_of(command.affected_sop_class.as_deref()) {
        // What was agreed for one class was not agreed for another.
        return Err(StoreStatus::SOP_CLASS_NOT_SUPPORTED
            .with_comment("Affected SOP Class UID is not that of the context"));
    }
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
        sop_class: context.abstract_syntax.clone(),
        sop_instance,
        transfer_syntax: context.transfer_syntax.clone(),
        priority: Priority::from_code(command.priority.unwrap_or_default()),
        move_originator: originator
            .and_then(|title| AeTitle::parse(title).ok())
            .zip(command.move_originator_message_id),
    })
}

async fn begin(
    storage: Option<&dyn StorageScp>,
    peer: &Peer,
    context: &Context,
    command: &CommandSet,
) -> Result<Box<dyn StoreSink>, StoreStatus> {
    let storage = storage.ok_or(StoreStatus::SOP_CLASS_NOT_SUPPORTED)?;
    storage.begin(peer, &store_request(context, command)?).await
}

/// Reads the data set of `command` into `storage` and answers. `None` is no storage for this
/// context.
pub(crate) async fn receive<S: ByteStream>(
    link: &mut Link<S>,
    storage: Option<&dyn StorageScp>,
    peer: &Peer,
    context: &Context,
    command: &CommandSet,
) -> Result<StoreStatus, Ending> {
    let status = if command.has_data_set {
        let mut sink = begin(storage, peer, context, command).await;
        // Once a status stands, the rest is read and thrown away, and the association lives on.
        while let Some(piece) = link.next_piece().await? {
            if let Ok(open) = &mut sink
                && let Err(status) = open.write(piece).await
            {
                sink = Err(status);
            }
        }
        match sink {
            Ok(open) => open.end().await,
            Err(status) => status,
        }
    } else {
        StoreStatus::MISTYPED_ARGUMENT.with_comment("C-STORE without a data set")
    };
    let mut response = command.response(status.code());
    status.fill(&mut response);
    link.send_command(context.id, &response).await?;
    Ok(status)
}
