//! Work that goes on while the peer may cancel it or go away.

use super::session::Session;
use crate::dimse::{CommandSet, Event, command_field};
use crate::error::Fault;
use crate::link::{ByteStream, Ending, Happening};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

/// C-CANCELs that may come during one operation: one would do.
const CANCELS_MAX: u32 = 100;

/// What came of work that was not given up when it was cancelled.
pub(super) struct Watched<T> {
    pub(super) output: T,
    pub(super) is_cancelled: bool,
}

impl<S: ByteStream> Session<S> {
    /// Does `work` unless `command` is cancelled meanwhile: `None` is that it was, and given up. An
    /// association that ends ends the work too.
    pub(super) async fn unless_cancelled<T>(
        &mut self,
        command: &CommandSet,
        work: impl Future<Output = T>,
    ) -> Result<Option<T>, Ending> {
        let mut work = pin!(work);
        loop {
            // The peer may be silent for as long as we let it wait.
            let happening = tokio::select! {
                biased;
                output = &mut work => return Ok(Some(output)),
                happening = self.link.next(Duration::MAX) => happening?,
            };
            if self.cancels(happening, command)? {
                return Ok(None);
            }
        }
    }

    /// Does `work` to its end, and says whether `command` was cancelled meanwhile. An association
    /// that ends ends the work too.
    pub(super) async fn watch<T>(
        &mut self,
        command: &CommandSet,
        work: impl Future<Output = T>,
    ) -> Result<Watched<T>, Ending> {
        let mut work = pin!(work);
        let mut is_cancelled = false;
        loop {
            let happening = tokio::select! {
                biased;
                output = &mut work => return Ok(Watched { output, is_cancelled }),
                happening = self.link.next(Duration::MAX) => happening?,
            };
            is_cancelled |= self.cancels(happening, command)?;
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

    /// Whether `cancel` is meant for `command`. Too many of them are a fault.
    pub(super) fn cancel_names(
        &mut self,
        cancel: &CommandSet,
        command: &CommandSet,
    ) -> Result<bool, Ending> {
        self.cancels_count = self.cancels_count.saturating_add(1);
        if self.cancels_count > CANCELS_MAX {
            return Err(self.link.unexpected(cancel));
        }
        Ok(cancel.message_id_responded == command.message_id)
    }

    /// Whether what has happened is a C-CANCEL of `command`. Anything but a C-CANCEL, or the
    /// answer to an event, is a fault here.
    fn cancels(&mut self, happening: Happening, command: &CommandSet) -> Result<bool, Ending> {
        match self.link.message(happening)? {
            Event::Command {
                command: cancel, ..
            } if cancel.command_field == command_field::C_CANCEL_RQ => {
                self.cancel_names(&cancel, command)
            }
            Event::Command { command: other, .. } => {
                // The peer may answer an event of ours in between, which needs no data set.
                if !other.has_data_set && self.events.take_answer(&other) {
                    return Ok(false);
                }
                Err(self.link.unexpected(&other))
            }
            Event::Data(_) | Event::DataEnd => {
                let what = "data set without a command";
                Err(self.link.fault(Fault::Fragments { what }))
            }
        }
    }
}

/// Polls once; `None` if it is not ready.
pub(super) async fn poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    poll_fn(|cx| {
        Poll::Ready(match Pin::new(&mut *future).poll(cx) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        })
    })
    .await
}
