//! C-GET and C-MOVE as a service class provider (PS3.4 C.4.2, C.4.3, PS3.7 9.1.3, 9.1.4).
//!
//! While an instance is sent and its answer awaited, the next one is read.

mod delivery;
mod failed_list;
mod kinds;
mod tally;
mod upcoming;

use super::session::{Outcome, Session};
use crate::dimse::{self, CommandSet, Priority, command_field};
use crate::error::Fault;
use crate::link::{ByteStream, Ending, Gathered, Happening};
use crate::negotiation::{Context, Negotiated};
use crate::sending::{Prepared, SendError, send, store_command};
use crate::service::{Destination, OutgoingInstance, RetrieveRequest, RetrieveScp, SubOperations};
use crate::sop_class::ServiceClass;
use crate::status::{RetrieveStatus, StatusClass};
use delivery::Delivery;
use kinds::Kinds;
use pacs_core::{AeTitle, SopClassUid, TransferSyntaxUid};
use std::sync::Arc;
use std::time::Duration;
use tally::{SubOutcome, Tally};
use tokio::time::Instant;
use upcoming::{Plan, Upcoming, next_upcoming};

/// What came of the sub-operations, and how they ended.
type Ran = (RetrieveStatus, Tally);

/// What a sub-operation came to on the association that asked.
struct Answered {
    outcome: SubOutcome,
    is_cancelled: bool,
}

impl<S: ByteStream> Session<S> {
    pub(super) async fn get(
        &mut self,
        context: &Context,
        command: &CommandSet,
    ) -> Result<Outcome, Ending> {
        let gathered = self.link.gather_identifier(command).await?;
        let (status, tally) = match self.retrieve_request(context, command, gathered) {
            Err(status) => (status, Tally::default()),
            Ok((provider, request)) => {
                let peer = self.peer.clone();
                let found = provider.get(&peer, request);
                match self.unless_cancelled(command, found).await? {
                    None => (RetrieveStatus::CANCEL, Tally::default()),
                    Some(Err(status)) => (status, Tally::default()),
                    Some(Ok(mut found)) => self.run_get(context, command, found.as_mut()).await?,
                }
            }
        };
        self.end_retrieval(context, command, &status, &tally).await
    }

    pub(super) async fn move_to(
        &mut self,
        context: &Context,
        command: &CommandSet,
    ) -> Result<Outcome, Ending> {
        let gathered = self.link.gather_identifier(command).await?;
        let named = command.move_destination.as_deref().unwrap_or_default();
        let named =
            AeTitle::parse(named).map_err(|_not_a_title| RetrieveStatus::MOVE_DESTINATION_UNKNOWN);
        let request = self.retrieve_request(context, command, gathered);
        let (status, tally) = match request.and_then(|request| Ok((request, named?))) {
            Err(status) => (status, Tally::default()),
            Ok(((provider, request), named)) => {
                let peer = self.peer.clone();
                let found = provider.move_to(&peer, request, &named);
                match self.unless_cancelled(command, found).await? {
                    None => (RetrieveStatus::CANCEL, Tally::default()),
                    Some(Err(status)) => (status, Tally::default()),
                    Some(Ok((destination, mut found))) => {
                        self.run_move(context, command, destination, found.as_mut())
                            .await?
                    }
                }
            }
        };
        self.end_retrieval(context, command, &status, &tally).await
    }

    fn retrieve_request(
        &self,
        context: &Context,
        command: &CommandSet,
        gathered: Gathered,
    ) -> Result<(Arc<dyn RetrieveScp>, RetrieveRequest), RetrieveStatus> {
        if !context.is_of(command.affected_sop_class.as_deref()) {
            return Err(RetrieveStatus::SOP_CLASS_NOT_SUPPORTED);
        }
        let model = match (context.service, command.command_field) {
            (ServiceClass::Get(model), command_field::C_GET_RQ)
            | (ServiceClass::Move(model), command_field::C_MOVE_RQ) => model,
            _ => return Err(RetrieveStatus::SOP_CLASS_NOT_SUPPORTED),
        };
        let Some(provider) = self.shared.retrieve.as_ref().map(Arc::clone) else {
            return Err(RetrieveStatus::SOP_CLASS_NOT_SUPPORTED);
        };
        let Gathered::Whole(identifier) = gathered else {
            return Err(
                RetrieveStatus::OUT_OF_RESOURCES_MATCHES.with_comment("identifier is too long")
            );
        };
        let request = RetrieveRequest {
            model,
            identifier,
            transfer_syntax: context.transfer_syntax.clone(),
            relational: context.relational,
            priority: Priority::from_code(command.priority.unwrap_or_default()),
        };
        Ok((provider, request))
    }

    /// Sends all instances over this association.
    async fn run_get(
        &mut self,
        context: &Context,
        command: &CommandSet,
        found: &mut dyn SubOperations,
    ) -> Result<Ran, Ending> {
        let mut tally = Tally::new(found.count(), self.link.limits().failed_uids_max);
        let mut pace = Pace::new(self.link.limits().pending_interval);
        let negotiated = Arc::clone(&self.negotiated);
        let plan = |instance: &OutgoingInstance, conversions: &[TransferSyntaxUid]| {
            Plan::of(&instance.transfer_syntax, conversions, |transfer_syntax| {
                sub_context(&negotiated, &instance.sop_class, transfer_syntax).is_some()
            })
        };
        let first = next_upcoming(found, plan);
        let Some(mut upcoming) = self.unless_cancelled(command, first).await? else {
            return Ok((RetrieveStatus::CANCEL, tally));
        };
        while let Some(current) = upcoming {
            if self.is_cancelled(command).await? {
                return Ok((RetrieveStatus::CANCEL, tally));
            }
            let (uid, prepared) = match current {
                Upcoming::Ready(uid, prepared, _) => (uid, prepared),
                Upcoming::Failed(uid, outcome) => {
                    tally.count(&uid, outcome);
                    let next = next_upcoming(found, plan);
                    let Some(next) = self.unless_cancelled(command, next).await? else {
                        return Ok((RetrieveStatus::CANCEL, tally));
                    };
                    upcoming = next;
                    continue;
                }
            };
            let (answered, next) = tokio::join!(
                self.sub_store(command, prepared),
                next_upcoming(found, plan)
            );
            let answered = answered?;
            upcoming = next;
            tally.count(&uid, answered.outcome);
            if answered.is_cancelled {
                return Ok((RetrieveStatus::CANCEL, tally));
            }
            if upcoming.is_some() && pace.is_due() {
                // It goes out together with the next instance.
                let pending = tally.pending(command);
                self.link.queue_command(context.id, &pending)?;
            }
        }
        Ok((tally.status(), tally))
    }

    /// One C-STORE sub-operation of C-GET.
    async fn sub_store(
        &mut self,
        command: &CommandSet,
        prepared: Prepared,
    ) -> Result<Answered, Ending> {
        let instance = &prepared.instance;
        let kind = (&instance.sop_class, &instance.transfer_syntax);
        let Some(context_id) = sub_context(&self.negotiated, kind.0, kind.1) else {
            return Ok(Answered {
                outcome: SubOutcome::no_context(&instance.transfer_syntax),
                is_cancelled: false,
            });
        };
        self.sub_message_id = self.sub_message_id.checked_add(1).unwrap_or(1);
        let priority = Priority::from_code(command.priority.unwrap_or_default());
        let store = store_command(instance, self.sub_message_id, priority, None);
        match send(&mut self.link, context_id, &store, prepared).await {
            Ok(()) => self.sub_response(command, &store).await,
            Err(SendError::Ended(ending)) => Err(ending),
            Err(SendError::Unreadable(_)) if self.link.is_established() => Ok(Answered {
                outcome: SubOutcome::unreadable(),
                is_cancelled: false,
            }),
            Err(SendError::Unreadable(_)) => Err(Ending::GivenUp),
        }
    }

    /// Waits for the answer to a sub-operation; a C-CANCEL may come before it.
    async fn sub_response(
        &mut self,
        command: &CommandSet,
        store: &CommandSet,
    ) -> Result<Answered, Ending> {
        let until = Instant::now().checked_add(self.link.limits().response_duration_max);
        let mut is_cancelled = false;
        loop {
            let patience = until.map_or(Duration::MAX, |until| {
                until.saturating_duration_since(Instant::now())
            });
            let happening = self.link.next(patience).await?;
            let Happening::Message(dimse::Event::Command {
                command: answer, ..
            }) = happening
            else {
                return Err(self.link.fault(Fault::UnexpectedPdu { state: 6 }));
            };
            if answer.command_field == command_field::C_CANCEL_RQ {
                is_cancelled |= self.cancel_names(&answer, command)?;
                continue;
            }
            let is_answer = answer.command_field
                == command_field::C_STORE_RQ | command_field::RESPONSE
                && answer.message_id_responded == store.message_id;
            if !is_answer {
                if !answer.has_data_set && self.events.take_answer(&answer) {
                    continue;
                }
                return Err(self.link.unexpected(&answer));
            }
            self.link.drain_data_set(&answer).await?;
            return Ok(Answered {
                outcome: SubOutcome::of(answer.status.unwrap_or(0xc000)),
                is_cancelled,
            });
        }
    }

    /// Sends all instances to `destination`, watching the association that asked.
    async fn run_move(
        &mut self,
        context: &Context,
        command: &CommandSet,
        destination: Destination,
        found: &mut dyn SubOperations,
    ) -> Result<Ran, Ending> {
        let originator = (
            self.peer.calling_ae_title.clone(),
            command.message_id.unwrap_or_default(),
        );
        let shared = Arc::clone(&self.shared);
        let priority = Priority::from_code(command.priority.unwrap_or_default());
        let kinds = Kinds::of(found);
        let mut delivery = Delivery::new(&shared, destination, kinds, originator, priority);
        let moved = self
            .run_sub_operations(context, command, &mut delivery, found)
            .await;
        match moved {
            Ok(ran) => {
                delivery.end().await;
                Ok(ran)
            }
            Err(ending) => {
                delivery.abort().await;
                Err(ending)
            }
        }
    }

    async fn run_sub_operations(
        &mut self,
        context: &Context,
        command: &CommandSet,
        delivery: &mut Delivery<'_>,
        found: &mut dyn SubOperations,
    ) -> Result<Ran, Ending> {
        let limits = Arc::clone(self.link.limits());
        let mut tally = Tally::new(found.count(), limits.failed_uids_max);
        let mut pace = Pace::new(limits.pending_interval);
        // Nothing is known of what the destination takes before there is something to send.
        let first = next_upcoming(found, |_, _| Plan::AsKept);
        let Some(mut upcoming) = self.unless_cancelled(command, first).await? else {
            return Ok((RetrieveStatus::CANCEL, tally));
        };
        while let Some(current) = upcoming {
            // Nothing is read for a destination that does not take it.
            let next = next_upcoming(found, delivery.plan());
            let is_cancelled = match current {
                Upcoming::Ready(uid, prepared, kept) => {
                    let both = async { tokio::join!(delivery.deliver(prepared, &kept), next) };
                    let watched = self.watch(command, both).await?;
                    let (outcome, next) = watched.output;
                    tally.count(&uid, outcome);
                    upcoming = next;
                    watched.is_cancelled
                }
                Upcoming::Failed(uid, outcome) => {
                    tally.count(&uid, outcome);
                    let watched = self.watch(command, next).await?;
                    upcoming = watched.output;
                    watched.is_cancelled
                }
            };
            // The answer of a sub-operation that was cancelled is awaited: it may have been kept.
            if is_cancelled {
                return Ok((RetrieveStatus::CANCEL, tally));
            }
            if upcoming.is_some() && pace.is_due() {
                let pending = tally.pending(command);
                self.link.send_command(context.id, &pending).await?;
            }
        }
        Ok((tally.status(), tally))
    }

    /// Sends the final response, with the counters and what has failed.
    async fn end_retrieval(
        &mut self,
        context: &Context,
        command: &CommandSet,
        status: &RetrieveStatus,
        tally: &Tally,
    ) -> Result<Outcome, Ending> {
        let response = tally.response(command, status);
        if response.has_data_set {
            let list = failed_list::encode(tally.failed_uids(), &context.transfer_syntax);
            self.link
                .queue_message(context.id, &response.to_bytes(), &list)
                .await?;
            self.link.flush().await?;
        } else {
            self.link.send_command(context.id, &response).await?;
        }
        Ok(Outcome {
            status: status.code(),
            instances_count: tally.done(),
            failed_count: tally.failed(),
        })
    }
}

/// The context over which the requestor takes instances of a class in a transfer syntax.
fn sub_context(
    negotiated: &Negotiated,
    sop_class: &SopClassUid,
    transfer_syntax: &TransferSyntaxUid,
) -> Option<u8> {
    let mut contexts = negotiated.contexts().iter();
    contexts
        .find(|context| {
            context.abstract_syntax == *sop_class
                && context.transfer_syntax == *transfer_syntax
                && context.requestor_roles.scp
        })
        .map(|context| context.id)
}

/// Says when the next pending response is due.
struct Pace {
    interval: Duration,
    last: Option<Instant>,
}

impl Pace {
    const fn new(interval: Duration) -> Self {
        Self {
            interval,
            last: None,
        }
    }

    fn is_due(&mut self) -> bool {
        let due = self.last.is_none_or(|last| last.elapsed() >= self.interval);
        if due {
            self.last = Some(Instant::now());
        }
        due
    }
}

/// The class of the status of a C-STORE, as a sub-operation counts it.
fn is_done(status: u16) -> Option<bool> {
    match StatusClass::of(status) {
        StatusClass::Success => Some(true),
        StatusClass::Warning => Some(false),
        StatusClass::Cancel | StatusClass::Failure | StatusClass::Pending => None,
    }
}
