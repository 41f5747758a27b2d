//! C-FIND as a service class provider (PS3.4 C.4.1, PS3.7 9.1.2).

use super::session::{Outcome, Session};
use crate::dimse::{CommandSet, Event, Priority, command_field};
use crate::error::Fault;
use crate::link::{ByteStream, Ending, Gathered, Happening};
use crate::negotiation::Context;
use crate::service::{FindRequest, Matches};
use crate::sop_class::ServiceClass;
use crate::status::FindStatus;
use bytes::Bytes;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

/// Pending, and pending with unsupported optional keys (PS3.4 Table C.4-1).
const PENDING: u16 = 0xff00;
const PENDING_UNSUPPORTED: u16 = 0xff01;

/// What the source of matches came to.
type Next = Result<Option<Bytes>, FindStatus>;

impl<S: ByteStream> Session<S> {
    pub(super) async fn find(
        &mut self,
        context: &Context,
        command: &CommandSet,
    ) -> Result<Outcome, Ending> {
        let gathered = self.link.gather_identifier(command).await?;
        let mut sent = 0_u64;
        let status = match self.begin_find(context, command, gathered).await {
            Ok(mut matches) => {
                self.send_matches(context, command, matches.as_mut(), &mut sent)
                    .await?
            }
            Err(status) => status,
        };
        let mut response = command.response(status.code());
        status.fill(&mut response);
        self.link.send_command(context.id, &response).await?;
        Ok(Outcome {
            status: status.code(),
            instances_count: sent,
            failed_count: 0,
        })
    }

    async fn begin_find(
        &self,
        context: &Context,
        command: &CommandSet,
        gathered: Gathered,
    ) -> Result<Box<dyn Matches>, FindStatus> {
        let ServiceClass::Find(model) = context.service else {
            return Err(FindStatus::SOP_CLASS_NOT_SUPPORTED);
        };
        let Some(query) = self.shared.query.as_ref().map(Arc::clone) else {
            return Err(FindStatus::SOP_CLASS_NOT_SUPPORTED);
        };
        let Gathered::Whole(identifier) = gathered else {
            return Err(FindStatus::OUT_OF_RESOURCES.with_comment("identifier is too long"));
        };
        let request = FindRequest {
            model,
            identifier,
            transfer_syntax: context.transfer_syntax.clone(),
            relational: context.relational,
            priority: Priority::from_code(command.priority.unwrap_or_default()),
        };
        query.find(&self.peer, request).await
    }

    /// Sends matches until there are no more or the peer cancels, and gives the final status.
    async fn send_matches(
        &mut self,
        context: &Context,
        command: &CommandSet,
        matches: &mut dyn Matches,
        sent: &mut u64,
    ) -> Result<FindStatus, Ending> {
        let pending = if matches.has_unsupported_keys() {
            PENDING_UNSUPPORTED
        } else {
            PENDING
        };
        let mut response = command.response(pending);
        response.has_data_set = true;
        loop {
            let next = {
                let mut next = matches.next();
                match poll_once(&mut next).await {
                    Some(next) => next,
                    None => match self.wait_for_match(&mut next, command).await? {
                        Some(next) => next,
                        None => return Ok(FindStatus::CANCEL),
                    },
                }
            };
            match next {
                Ok(Some(identifier)) => {
                    self.link
                        .queue_message(context.id, &response, &identifier)
                        .await?;
                    *sent = sent.saturating_add(1);
                }
                Ok(None) => return Ok(FindStatus::SUCCESS),
                Err(status) => return Ok(status),
            }
            // Every so often, look whether the peer has said something.
            if sent.is_multiple_of(64) && self.is_cancelled(command).await? {
                return Ok(FindStatus::CANCEL);
            }
        }
    }

    /// Writes out what has gathered and waits for the source; `None` if the peer cancels meanwhile.
    async fn wait_for_match(
        &mut self,
        next: &mut Pin<Box<dyn Future<Output = Next> + Send + '_>>,
        command: &CommandSet,
    ) -> Result<Option<Next>, Ending> {
        self.link.flush().await?;
        loop {
            // The peer may be silent for as long as we let it wait.
            let happening = tokio::select! {
                biased;
                next = &mut *next => return Ok(Some(next)),
                happening = self.link.next(Duration::MAX) => happening?,
            };
            if self.cancels(happening, command)? {
                return Ok(None);
            }
        }
    }

    /// Whether the peer has cancelled `command`, without waiting for it to.
    pub(super) async fn is_cancelled(&mut self, command: &CommandSet) -> Result<bool, Ending> {
        loop {
            let happening = {
                let mut next = Box::pin(self.link.next(Duration::MAX));
                match poll_once(&mut next).await {
                    None => return Ok(false),
                    Some(happening) => happening?,
                }
            };
            if self.cancels(happening, command)? {
                return Ok(true);
            }
        }
    }

    /// Whether what has happened is a C-CANCEL of `command`. Anything but a C-CANCEL is a fault here.
    pub(super) fn cancels(
        &mut self,
        happening: Happening,
        command: &CommandSet,
    ) -> Result<bool, Ending> {
        match self.link.message(happening)? {
            Event::Command {
                command: cancel, ..
            } if cancel.command_field == command_field::C_CANCEL_RQ => {
                Ok(cancel.message_id_responded == command.message_id)
            }
            Event::Command { command: other, .. } => Err(self.link.unexpected(&other)),
            Event::Data(_) | Event::DataEnd => {
                let what = "data set without a command";
                Err(self.link.fault(Fault::Fragments { what }))
            }
        }
    }
}

/// Polls once; `None` if it is not ready.
async fn poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    poll_fn(|cx| {
        Poll::Ready(match Pin::new(&mut *future).poll(cx) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        })
    })
    .await
}
