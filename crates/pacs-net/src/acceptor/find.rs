//! C-FIND as a service class provider (PS3.4 C.4.1, PS3.7 9.1.2).

use super::session::{Outcome, Session};
use super::watching::poll_once;
use crate::dimse::{CommandSet, Priority};
use crate::link::{ByteStream, Ending, Gathered};
use crate::negotiation::Context;
use crate::service::{FindRequest, Matches, Peer, QueryScp, WorklistRequest, WorklistScp};
use crate::sop_class::ServiceClass;
use crate::status::FindStatus;
use std::sync::Arc;

/// Pending, and pending with unsupported optional keys (PS3.4 Table C.4-1).
const PENDING: u16 = 0xff00;
const PENDING_UNSUPPORTED: u16 = 0xff01;

/// Matches that are always ready before we look whether the peer has cancelled.
const UNWATCHED_MATCHES: u64 = 64;

/// What is asked, and who answers it.
enum Asked {
    Archive(Arc<dyn QueryScp>, FindRequest),
    Worklist(Arc<dyn WorklistScp>, WorklistRequest),
}

impl Asked {
    async fn answer(self, peer: &Peer) -> Result<Box<dyn Matches>, FindStatus> {
        match self {
            Self::Archive(query, request) => query.find(peer, request).await,
            Self::Worklist(worklist, request) => worklist.worklist(peer, request).await,
        }
    }
}

impl<S: ByteStream> Session<S> {
    pub(super) async fn find(
        &mut self,
        context: &Context,
        command: &CommandSet,
    ) -> Result<Outcome, Ending> {
        let gathered = self.link.gather_identifier(command).await?;
        let mut sent = 0_u64;
        let status = match self.find_request(context, command, gathered) {
            Err(status) => status,
            Ok(asked) => {
                let peer = self.peer.clone();
                let found = asked.answer(&peer);
                match self.unless_cancelled(command, found).await? {
                    None => FindStatus::CANCEL,
                    Some(Err(status)) => status,
                    Some(Ok(mut matches)) => {
                        self.send_matches(context, command, matches.as_mut(), &mut sent)
                            .await?
                    }
                }
            }
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

    fn find_request(
        &self,
        context: &Context,
        command: &CommandSet,
        gathered: Gathered,
    ) -> Result<Asked, FindStatus> {
        if !context.is_of(command.affected_sop_class.as_deref()) {
            return Err(FindStatus::SOP_CLASS_NOT_SUPPORTED);
        }
        let query = self.shared.query.as_ref().map(Arc::clone);
        let worklist = self.shared.worklist.as_ref().map(Arc::clone);
        let priority = Priority::from_code(command.priority.unwrap_or_default());
        let whole = |gathered| match gathered {
            Gathered::Whole(identifier) => Ok(identifier),
            Gathered::TooLong => {
                Err(FindStatus::OUT_OF_RESOURCES.with_comment("identifier is too long"))
            }
        };
        match (context.service, query, worklist) {
            (ServiceClass::Find(model), Some(query), _) => {
                let request = FindRequest {
                    model,
                    identifier: whole(gathered)?,
                    transfer_syntax: context.transfer_syntax.clone(),
                    relational: context.relational,
                    priority,
                };
                Ok(Asked::Archive(query, request))
            }
            (ServiceClass::Worklist, _, Some(worklist)) => {
                let request = WorklistRequest {
                    identifier: whole(gathered)?,
                    transfer_syntax: context.transfer_syntax.clone(),
                    priority,
                };
                Ok(Asked::Worklist(worklist, request))
            }
            _ => Err(FindStatus::SOP_CLASS_NOT_SUPPORTED),
        }
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
        let response = response.to_bytes();
        loop {
            let next = {
                let mut next = matches.next();
                match poll_once(&mut next).await {
                    Some(next) => next,
                    None => {
                        // What has gathered goes out before the wait.
                        self.link.flush().await?;
                        match self.unless_cancelled(command, next).await? {
                            Some(next) => next,
                            None => return Ok(FindStatus::CANCEL),
                        }
                    }
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
            if sent.is_multiple_of(UNWATCHED_MATCHES) && self.is_cancelled(command).await? {
                return Ok(FindStatus::CANCEL);
            }
        }
    }
}
