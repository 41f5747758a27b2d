//! One association of an acceptor, from its first byte to its last.

use super::admission::Place;
use super::commitment::{Due, Events};
use super::{Phase, Shared};
use crate::dimse::{self, CommandSet, command_field};
use crate::error::Fault;
use crate::link::{ByteStream, Ending, Happening, Link};
use crate::negotiation::{Context, Negotiated, negotiate};
use crate::observer::{Operation, OperationReport};
use crate::pdu::{AssociateAccept, AssociateRequest, RejectReason, Rejection};
use crate::security::Channel;
use crate::service::Peer;
use crate::sop_class::ServiceClass;
use crate::status::{EchoStatus, UNRECOGNIZED_OPERATION};
use crate::strangers::Stranger;
use pacs_core::AeTitle;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// An association while it stands.
pub(super) struct Session<S> {
    pub(super) link: Link<S>,
    pub(super) peer: Peer,
    pub(super) negotiated: Arc<Negotiated>,
    pub(super) shared: Arc<Shared>,
    /// Message id of the last request of ours: a C-STORE sub-operation of C-GET, or an event.
    pub(super) sub_message_id: u16,
    /// C-CANCELs since the operation began.
    pub(super) cancels_count: u32,
    pub(super) events: Events,
}

/// What an operation came to, for the observer.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Outcome {
    pub(super) status: u16,
    pub(super) instances_count: u64,
    pub(super) failed_count: u64,
}

impl Outcome {
    pub(super) fn of(status: u16) -> Self {
        Self {
            status,
            ..Self::default()
        }
    }
}

/// Where a connection comes from, and what it runs over.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    pub(super) address: SocketAddr,
    pub(super) channel: Channel,
}

/// Serves a connection to its end. Whoever it is from is `stranger` until there is an association.
pub(super) async fn serve(
    stream: impl ByteStream,
    origin: Origin,
    stranger: Stranger,
    shared: Arc<Shared>,
) -> Ending {
    let began = Instant::now();
    let address = origin.address;
    let stranger = Arc::new(stranger);
    let limits = Arc::clone(&shared.limits);
    let buffered = shared.buffered.clone();
    let mut link = Link::acceptor(stream, Arc::clone(&stranger), buffered, limits);
    let mut phase = shared.phase.subscribe();
    let associated = tokio::select! {
        associated = associate(&mut link, origin, &shared, &mut phase) => associated,
        () = stranger.has_to_go() => {
            // Without a word, so that nothing has to be waited for.
            return ended(&shared, address, None, Ending::GivenUp, began);
        }
    };
    let (peer, ending) = match associated {
        Err(ending) => {
            tokio::select! {
                () = link.finish() => {}
                () = stranger.has_to_go() => {}
            }
            (None, ending)
        }
        Ok((peer, negotiated, place)) => {
            drop(stranger);
            shared.observer.association_accepted(&peer);
            let mut session = Session {
                link,
                peer,
                negotiated,
                shared: Arc::clone(&shared),
                sub_message_id: 0,
                cancels_count: 0,
                events: Events::default(),
            };
            let ending = session.run(&mut phase).await;
            session.link.finish().await;
            drop(place);
            (Some(session.peer), ending)
        }
    };
    ended(&shared, address, peer.as_ref(), ending, began)
}

/// Tells the observer.
fn ended(
    shared: &Shared,
    address: SocketAddr,
    peer: Option<&Peer>,
    ending: Ending,
    began: Instant,
) -> Ending {
    let duration = began.elapsed();
    shared
        .observer
        .association_ended(address, peer, ending, duration);
    ending
}

/// Waits for a request and answers it.
async fn associate(
    link: &mut Link<impl ByteStream>,
    origin: Origin,
    shared: &Shared,
    phase: &mut watch::Receiver<Phase>,
) -> Result<(Peer, Arc<Negotiated>, Place), Ending> {
    let happening = tokio::select! {
        happening = link.next(Duration::MAX) => happening?,
        () = reached(phase, Phase::Draining) => return Err(Ending::GivenUp),
    };
    let Happening::AssociateRequested(request) = happening else {
        return Err(link.fault(Fault::UnexpectedPdu { state: 2 }));
    };
    let address = origin.address;
    let decided = decide(&request, origin, shared).await;
    let now = Instant::now().into_std();
    match decided {
        Ok(Decision {
            peer,
            accept,
            negotiated,
            place,
            idle_duration_max,
        }) => {
            let negotiated = Arc::new(negotiated);
            link.established(Arc::clone(&negotiated), idle_duration_max);
            let agreed = Arc::clone(&negotiated);
            link.upper().accept(accept, agreed, now)?;
            link.flush().await?;
            Ok((peer, negotiated, place))
        }
        Err(rejection) => {
            link.upper().reject(rejection, now)?;
            shared
                .observer
                .association_rejected(address, &request.calling_ae_title, rejection);
            Err(Ending::GivenUp)
        }
    }
}

/// What an association is begun with.
struct Decision {
    peer: Peer,
    accept: AssociateAccept,
    negotiated: Negotiated,
    place: Place,
    idle_duration_max: Option<Duration>,
}

async fn decide(
    request: &AssociateRequest,
    origin: Origin,
    shared: &Shared,
) -> Result<Decision, Rejection> {
    let calling_ae_title = AeTitle::parse(&request.calling_ae_title)
        .map_err(|_not_a_title| Rejection::permanent(RejectReason::CallingAeTitleNotRecognized))?;
    let called_ae_title = AeTitle::parse(&request.called_ae_title)
        .ok()
        .filter(|title| shared.any_called_title || *title == shared.ae_title)
        .ok_or(Rejection::permanent(
            RejectReason::CalledAeTitleNotRecognized,
        ))?;
    let peer = Peer {
        calling_ae_title,
        called_ae_title,
        address: origin.address,
        channel: origin.channel,
        implementation_class_uid: request.user.implementation_class_uid.clone(),
        implementation_version_name: request.user.implementation_version_name.clone(),
        user_identity: request.user.identity.clone(),
    };
    let admission = shared.policy.decide(request, &peer).await?;
    let (accept, negotiated) = negotiate(
        request,
        admission.services.and(shared.services()),
        &shared.limits,
        admission.identity_response,
    )?;
    if !has_memory(&negotiated, shared) {
        return Err(Rejection::transient(RejectReason::LocalLimitExceeded));
    }
    let place = shared
        .admissions
        .enter(&peer.calling_ae_title, peer.address.ip(), &shared.limits)
        .ok_or(Rejection::transient(RejectReason::LocalLimitExceeded))?;
    Ok(Decision {
        peer,
        accept,
        negotiated,
        place,
        idle_duration_max: admission.idle_duration_max,
    })
}

/// Whether there is memory for what was negotiated. Who has an association goes on without.
fn has_memory(negotiated: &Negotiated, shared: &Shared) -> bool {
    let stores =
        |context: &Context| context.service == ServiceClass::Storage && context.requestor_roles.scu;
    let is_full = || match &shared.storage {
        Some(storage) => negotiated.contexts().iter().any(stores) && !storage.has_memory(),
        None => false,
    };
    !shared.buffered.is_used_up(&shared.limits) && !is_full()
}

/// Resolves when the acceptor has come as far as `phase`.
pub(super) async fn reached(receiver: &mut watch::Receiver<Phase>, phase: Phase) {
    if receiver.wait_for(|now| *now >= phase).await.is_err() {
        // The acceptor is gone without draining: it will not come further.
        std::future::pending::<()>().await;
    }
}

impl<S: ByteStream> Session<S> {
    /// Serves operations until the association ends, whatever happens in a service.
    async fn run(&mut self, phase: &mut watch::Receiver<Phase>) -> Ending {
        let mut aborting = phase.clone();
        let served = {
            let mut operations = pin!(self.operations(phase));
            let guarded = poll_fn(|cx| {
                match catch_unwind(AssertUnwindSafe(|| operations.as_mut().poll(cx))) {
                    Ok(poll) => poll.map(Some),
                    Err(_panic) => Poll::Ready(None),
                }
            });
            tokio::select! {
                served = guarded => served,
                () = reached(&mut aborting, Phase::Aborting) => None,
            }
        };
        served.unwrap_or_else(|| self.link.give_up(Ending::GivenUp))
    }

    async fn operations(&mut self, phase: &mut watch::Receiver<Phase>) -> Ending {
        loop {
            let limits = self.link.limits();
            let mut patience = limits.idle_duration_max;
            if self.events.are_expected() {
                // The peer is silent because it waits for us.
                patience = patience.max(limits.response_duration_max);
            }
            let happening = tokio::select! {
                biased;
                // Between operations, even if the peer is quick with the next one.
                () = reached(phase, Phase::Draining) => {
                    return self.link.give_up(Ending::GivenUp);
                }
                happening = self.link.next(patience) => happening,
                due = self.events.due() => {
                    let sent = match due {
                        Due::Nothing => Ok(()),
                        Due::Overdue => Err(self.link.give_up(Ending::Idle)),
                        Due::Event(event) => self.send_event(event).await,
                    };
                    match sent {
                        Ok(()) => continue,
                        Err(ending) => return ending,
                    }
                }
            };
            let result = match happening {
                Ok(Happening::Message(dimse::Event::Command {
                    context_id,
                    command,
                })) => Box::pin(self.operate(context_id, &command)).await,
                // What is left of a data set that an operation gave up.
                Ok(Happening::Message(_)) => Ok(()),
                Ok(Happening::ReleaseRequested) => Err(self.released()),
                Ok(_) => Err(self.link.fault(Fault::UnexpectedPdu { state: 6 })),
                Err(ending) => Err(ending),
            };
            if let Err(ending) = result {
                return ending;
            }
        }
    }

    fn released(&mut self) -> Ending {
        match self.link.upper().respond_release(Instant::now().into_std()) {
            Ok(()) => Ending::Released,
            // It may have aborted, or gone, right after it asked.
            Err(misuse) => match self.link.next_ready() {
                Err(ending) => ending,
                Ok(_) => misuse.into(),
            },
        }
    }

    async fn operate(&mut self, context_id: u8, command: &CommandSet) -> Result<(), Ending> {
        let began = Instant::now();
        let before = self.link.bytes();
        self.cancels_count = 0;
        let agreed = Arc::clone(&self.negotiated);
        let Some(context) = agreed.context(context_id) else {
            return Err(self.link.fault(Fault::UnknownContext { id: context_id }));
        };
        let (operation, outcome) = match command.command_field {
            command_field::C_ECHO_RQ => (Operation::Echo, self.echo(context, command).await?),
            command_field::C_STORE_RQ => (Operation::Store, self.store(context, command).await?),
            command_field::C_FIND_RQ => {
                let operation = if context.service == ServiceClass::Worklist {
                    Operation::Worklist
                } else {
                    Operation::Find
                };
                (operation, self.find(context, command).await?)
            }
            command_field::C_GET_RQ => (Operation::Get, self.get(context, command).await?),
            command_field::C_MOVE_RQ => (Operation::Move, self.move_to(context, command).await?),
            command_field::N_ACTION_RQ => (Operation::Commit, self.action(context, command).await?),
            command_field::N_CREATE_RQ => {
                let outcome = self.create_step(context, command).await?;
                (Operation::StepCreate, outcome)
            }
            command_field::N_SET_RQ => (Operation::StepSet, self.set_step(context, command).await?),
            command_field::N_EVENT_REPORT_RQ => {
                let outcome = self.event_report(context, command).await?;
                (Operation::Report, outcome)
            }
            // It comes too late for the operation it meant.
            command_field::C_CANCEL_RQ => return Ok(()),
            _ if self.events.take_answer(command) => {
                return self.link.drain_data_set(command).await;
            }
            _ if command.is_response() => return Err(self.link.unexpected(command)),
            _ => (Operation::Other, self.refuse(context, command).await?),
        };
        self.events.hold_for(self.link.limits().event_quiet);
        let after = self.link.bytes();
        let report = OperationReport {
            operation,
            status: outcome.status,
            duration: began.elapsed(),
            bytes_received: after.0.saturating_sub(before.0),
            bytes_sent: after.1.saturating_sub(before.1),
            instances_count: outcome.instances_count,
            failed_count: outcome.failed_count,
        };
        self.shared.observer.operation_ended(&self.peer, &report);
        Ok(())
    }

    async fn echo(&mut self, context: &Context, command: &CommandSet) -> Result<Outcome, Ending> {
        self.link.drain_data_set(command).await?;
        let status = if context.service == ServiceClass::Verification {
            EchoStatus::SUCCESS
        } else {
            EchoStatus::SOP_CLASS_NOT_SUPPORTED
        };
        let mut response = command.response(status.code());
        status.fill(&mut response);
        self.link.send_command(context.id, &response).await?;
        Ok(Outcome::of(status.code()))
    }

    async fn refuse(&mut self, context: &Context, command: &CommandSet) -> Result<Outcome, Ending> {
        self.link.drain_data_set(command).await?;
        let response = command.response(UNRECOGNIZED_OPERATION);
        self.link.send_command(context.id, &response).await?;
        Ok(Outcome::of(UNRECOGNIZED_OPERATION))
    }
}
