//! Receives a report about storage commitment (PS3.4 J.3.3): for the acceptor of an association
//! with reversed roles, and the requestor that asked on its own.

use crate::dimse::CommandSet;
use crate::link::{ByteStream, Ending, Gathered, Link};
use crate::negotiation::Context;
use crate::service::{CommitmentScu, EventReport, Peer};
use crate::sop_class::{STORAGE_COMMITMENT_INSTANCE, ServiceClass};
use crate::status::EventStatus;

/// Reads the event of `command`, hands it to `scu` and answers. `None` is nobody to take it.
pub(crate) async fn receive_event<S: ByteStream>(
    link: &mut Link<S>,
    scu: Option<&dyn CommitmentScu>,
    peer: &Peer,
    context: &Context,
    command: &CommandSet,
) -> Result<EventStatus, Ending> {
    let gathered = link.gather(command, link.limits().commitment_bytes_max);
    let status = match event(scu, context, command, gathered.await?) {
        Ok((scu, report)) => scu.report(peer, report).await,
        Err(status) => status,
    };
    let mut response = command.response(status.code());
    response.event_type = command.event_type;
    status.fill(&mut response);
    link.send_command(context.id, &response).await?;
    Ok(status)
}

fn event<'s>(
    scu: Option<&'s dyn CommitmentScu>,
    context: &Context,
    command: &CommandSet,
    gathered: Gathered,
) -> Result<(&'s dyn CommitmentScu, EventReport), EventStatus> {
    let scu = scu
        .filter(|_| context.service == ServiceClass::Commitment)
        .ok_or(EventStatus::NO_SUCH_SOP_CLASS)?;
    if !context.is_of(command.affected_sop_class.as_deref()) {
        return Err(EventStatus::NO_SUCH_SOP_CLASS);
    }
    if command.affected_sop_instance.as_deref() != Some(STORAGE_COMMITMENT_INSTANCE) {
        return Err(EventStatus::NO_SUCH_SOP_INSTANCE);
    }
    let event_type = command.event_type.unwrap_or_default();
    if !(1..=2).contains(&event_type) {
        return Err(EventStatus::NO_SUCH_EVENT_TYPE);
    }
    match gathered {
        Gathered::TooLong => Err(EventStatus::RESOURCE_LIMITATION),
        Gathered::Whole(information) if information.is_empty() => {
            Err(EventStatus::MISTYPED_ARGUMENT.with_comment("N-EVENT-REPORT without a data set"))
        }
        Gathered::Whole(information) => Ok((
            scu,
            EventReport {
                event_type,
                information,
                transfer_syntax: context.transfer_syntax.clone(),
            },
        )),
    }
}
