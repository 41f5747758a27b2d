//! Storage Commitment Push on an association that was accepted (PS3.4 Annex J, PS3.7 10.1.1 and
//! 10.1.4): N-ACTION as provider and N-EVENT-REPORT in both directions.
//!
//! Reports go out between operations, once the peer has been quiet for a moment: few peers expect
//! a request where they wait for a response. While a report is unanswered the peer may ask on.

use super::session::{Outcome, Session};
use crate::dimse::{CommandSet, command_field};
use crate::link::{ByteStream, Ending, Gathered};
use crate::negotiation::Context;
use crate::reporting::receive_event;
use crate::service::{ActionRequest, CommitmentScp, EventLine, EventQueue, QueuedEvent};
use crate::sop_class::{STORAGE_COMMITMENT_INSTANCE, STORAGE_COMMITMENT_PUSH, ServiceClass};
use crate::status::{ActionStatus, EventStatus};
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

/// Events of one association: those that wait, and the one that is unanswered.
#[derive(Debug, Default)]
pub(super) struct Events {
    lines: Option<(mpsc::WeakSender<QueuedEvent>, EventQueue)>,
    next: Option<QueuedEvent>,
    unanswered: Option<Unanswered>,
    /// When the peer has been quiet for long enough.
    quiet_at: Option<Instant>,
}

#[derive(Debug)]
struct Unanswered {
    message_id: u16,
    answer: oneshot::Sender<EventStatus>,
    until: Option<Instant>,
}

/// What is due.
#[derive(Debug)]
pub(super) enum Due {
    /// Nothing, after all.
    Nothing,
    /// The peer has not answered in time.
    Overdue,
    /// This is to be sent.
    Event(QueuedEvent),
}

impl Events {
    /// Whether an event may be under way in either direction.
    pub(super) const fn are_expected(&self) -> bool {
        self.lines.is_some() || self.unanswered.is_some()
    }

    /// The peer has just been answered: it gets the word for a while.
    pub(super) fn hold_for(&mut self, quiet: Duration) {
        if self.are_expected() {
            self.quiet_at = Instant::now().checked_add(quiet);
        }
    }

    /// Waits until something is due. Cancel-safe.
    pub(super) async fn due(&mut self) -> Due {
        if let Some(unanswered) = &self.unanswered {
            match unanswered.until {
                Some(until) => sleep_until(until).await,
                None => pending().await,
            }
            return Due::Overdue;
        }
        if self.next.is_none() {
            let Some((_, queue)) = &mut self.lines else {
                return pending().await;
            };
            self.next = queue.recv().await;
        }
        if self.next.is_none() {
            self.lines = None;
            return Due::Nothing;
        }
        if let Some(quiet_at) = self.quiet_at {
            sleep_until(quiet_at).await;
        }
        // Whoever gave up waiting has found another way.
        let wanted = self.next.take().filter(|event| !event.answer.is_closed());
        wanted.map_or(Due::Nothing, Due::Event)
    }

    /// A line for a request on `context`.
    fn line(&mut self, context: &Context) -> EventLine {
        let (id, transfer_syntax) = (context.id, context.transfer_syntax.clone());
        let known = self.lines.as_ref().and_then(|(weak, _)| weak.upgrade());
        if let Some(sender) = known {
            return EventLine::into(sender, id, transfer_syntax);
        }
        let (line, weak, queue) = EventLine::new(id, transfer_syntax);
        self.lines = Some((weak, queue));
        line
    }

    /// Whether `command` answers the event that is unanswered; whoever sent it is told.
    pub(super) fn take_answer(&mut self, command: &CommandSet) -> bool {
        let field = command_field::N_EVENT_REPORT_RQ | command_field::RESPONSE;
        let is_answer = |unanswered: &mut Unanswered| {
            command.command_field == field
                && command.message_id_responded == Some(unanswered.message_id)
        };
        let Some(unanswered) = self.unanswered.take_if(is_answer) else {
            return false;
        };
        let status = EventStatus::of(command.status.unwrap_or(0x0110));
        // Whoever waited may have given up.
        unanswered.answer.send(status).ok();
        true
    }
}

impl<S: ByteStream> Session<S> {
    /// Sends an event; its answer comes when it comes.
    pub(super) async fn send_event(&mut self, event: QueuedEvent) -> Result<(), Ending> {
        self.sub_message_id = self.sub_message_id.wrapping_add(1);
        let command = CommandSet {
            command_field: command_field::N_EVENT_REPORT_RQ,
            message_id: Some(self.sub_message_id),
            affected_sop_class: Some(STORAGE_COMMITMENT_PUSH.to_owned()),
            affected_sop_instance: Some(STORAGE_COMMITMENT_INSTANCE.to_owned()),
            event_type: Some(event.event_type),
            has_data_set: true,
            ..CommandSet::default()
        };
        let patience = self.link.limits().response_duration_max;
        self.link.queue_command(event.context_id, &command)?;
        self.link
            .queue_data(event.context_id, event.information, true)?;
        self.link.flush().await?;
        self.events.unanswered = Some(Unanswered {
            message_id: self.sub_message_id,
            answer: event.answer,
            until: Instant::now().checked_add(patience),
        });
        Ok(())
    }

    pub(super) async fn action(
        &mut self,
        context: &Context,
        command: &CommandSet,
    ) -> Result<Outcome, Ending> {
        let bytes_max = self.link.limits().commitment_bytes_max;
        let gathered = self.link.gather(command, bytes_max).await?;
        let status = match self.action_request(context, command, gathered) {
            Err(status) => status,
            Ok((scp, request)) => {
                let line = self.events.line(context);
                scp.request(&self.peer, request, line).await
            }
        };
        let mut response = command.response(status.code());
        response.action_type = command.action_type;
        status.fill(&mut response);
        self.link.send_command(context.id, &response).await?;
        Ok(Outcome::of(status.code()))
    }

    fn action_request(
        &self,
        context: &Context,
        command: &CommandSet,
        gathered: Gathered,
    ) -> Result<(Arc<dyn CommitmentScp>, ActionRequest), ActionStatus> {
        let scp = self.shared.commitment.as_ref().map(Arc::clone);
        let may = context.service == ServiceClass::Commitment && context.requestor_roles.scu;
        let scp = scp
            .filter(|_| may && context.is_of(command.requested_sop_class.as_deref()))
            .ok_or(ActionStatus::NO_SUCH_SOP_CLASS)?;
        if command.requested_sop_instance.as_deref() != Some(STORAGE_COMMITMENT_INSTANCE) {
            return Err(ActionStatus::NO_SUCH_SOP_INSTANCE);
        }
        let information = match gathered {
            Gathered::TooLong => {
                let why = "action information is too long";
                return Err(ActionStatus::RESOURCE_LIMITATION.with_comment(why));
            }
            Gathered::Whole(information) if information.is_empty() => {
                let why = "N-ACTION without a data set";
                return Err(ActionStatus::MISTYPED_ARGUMENT.with_comment(why));
            }
            Gathered::Whole(information) => information,
        };
        let request = ActionRequest {
            action_type: command.action_type.unwrap_or_default(),
            information,
            transfer_syntax: context.transfer_syntax.clone(),
        };
        Ok((scp, request))
    }

    /// A report that the peer, as provider, brings to us.
    pub(super) async fn event_report(
        &mut self,
        context: &Context,
        command: &CommandSet,
    ) -> Result<Outcome, Ending> {
        let scu = self.shared.commitment_reports.as_ref().map(Arc::clone);
        let scu = scu.filter(|_| context.requestor_roles.scp);
        let (link, peer) = (&mut self.link, &self.peer);
        let status = receive_event(link, scu.as_deref(), peer, context, command).await?;
        Ok(Outcome::of(status.code()))
    }
}
