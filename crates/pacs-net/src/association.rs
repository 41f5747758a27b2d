//! The upper layer of one association (PS3.8 9.2), without sockets, clocks or tasks.
//!
//! Four kinds of method: what the network gives ([`UpperLayer::receive`],
//! [`UpperLayer::transport_closed`]), what the user asks (`accept`, `reject`, `send_…`, `release`,
//! `abort`), what the clock says ([`UpperLayer::expire`], [`UpperLayer::deadline`]), and what comes
//! out ([`UpperLayer::next_indication`], [`UpperLayer::transmits`]). Time is an argument
//! everywhere.

mod state;

pub use state::State;
pub(crate) use state::{Action, Event, Occasion, Output};

use crate::error::{Fault, Misuse};
use crate::limits::NetLimits;
use crate::negotiation::Negotiated;
use crate::pdu::data::Framer;
use crate::pdu::{self, AbortSource, AssociateAccept, AssociateRequest, DataPdu, Rejection, Taken};
use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

/// Bytes that we read and throw away after the last PDU, so that the peer can read ours before a
/// reset.
const DISCARDED_BYTES_MAX: usize = 4096;

/// As above, where data of an association may be under way.
const DISCARDED_DATA_BYTES_MAX: usize = 4 << 20;

/// What the upper layer tells its user.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Indication {
    /// The peer aborted (A-ABORT).
    Aborted(AbortSource),
    /// The peer accepted our request.
    AssociateConfirmed(Arc<Negotiated>),
    /// The peer asks for an association: answer by `accept` or `reject`.
    AssociateRequested(Box<AssociateRequest>),
    /// The transport closed while the association stood (A-P-ABORT).
    Closed,
    /// P-DATA.
    Data(DataPdu),
    /// The peer broke the protocol and was aborted (A-P-ABORT).
    Faulted(Fault),
    /// The peer rejected our request.
    Rejected(Rejection),
    /// The peer asks to release: answer by `respond_release`.
    ReleaseRequested,
    /// The association was released as we asked.
    Released,
}

/// Which side of the association this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It was asked for an association.
    Acceptor,
    /// It asked.
    Requestor,
}

/// The upper layer state machine of one association.
#[derive(Debug)]
pub struct UpperLayer {
    state: State,
    role: Role,
    limits: Arc<NetLimits>,
    output: Output,
    /// Frames the data set that is being sent.
    framer: Framer,
    /// When the PDU that has begun must be complete.
    pdu_until: Option<Instant>,
    /// Bytes to have before there is something to take.
    needed_bytes: usize,
    /// Bytes that may still be thrown away in Sta13.
    discardable_bytes: usize,
    /// The input can no longer be divided into PDUs.
    input_is_lost: bool,
    /// A wait of the state machine has ended without its event.
    has_expired: bool,
}

impl UpperLayer {
    /// Of a transport connection that was accepted.
    #[must_use]
    pub fn acceptor(limits: Arc<NetLimits>, now: Instant) -> Self {
        let mut upper = Self::new(Role::Acceptor, limits);
        upper.on(Event::TransportIndicated, now);
        upper
    }

    /// Of a transport connection that was opened in order to ask `request`.
    #[must_use]
    pub fn requestor(request: AssociateRequest, limits: Arc<NetLimits>, now: Instant) -> Self {
        let mut upper = Self::new(Role::Requestor, limits);
        upper.on(Event::AssociateRequest(Box::new(request)), now);
        upper.on(Event::TransportConfirmed, now);
        upper
    }

    fn new(role: Role, limits: Arc<NetLimits>) -> Self {
        Self {
            state: State::Idle,
            role,
            limits,
            output: Output::default(),
            framer: Framer::default(),
            pdu_until: None,
            needed_bytes: pdu::HEADER_BYTES,
            discardable_bytes: DISCARDED_BYTES_MAX,
            input_is_lost: false,
            has_expired: false,
        }
    }

    /// What the network gave: whole PDUs are taken off `buffer`, the rest stays.
    pub fn receive(&mut self, buffer: &mut BytesMut, now: Instant) {
        loop {
            if self.input_is_lost {
                self.discard(buffer, now);
                return;
            }
            if matches!(self.state, State::Idle) {
                buffer.clear();
                return;
            }
            let before = buffer.len();
            let event = match pdu::take(buffer, &self.limits) {
                Ok(Taken::Partial { needed_bytes }) => {
                    self.needed_bytes = needed_bytes;
                    if buffer.is_empty() {
                        self.pdu_until = None;
                    } else if self.pdu_until.is_none() {
                        self.pdu_until = now.checked_add(self.limits.pdu_duration_max);
                    }
                    return;
                }
                Ok(Taken::Whole(pdu)) => Event::received(pdu),
                Err(fault) => {
                    self.input_is_lost = true;
                    Event::Invalid(fault.into())
                }
            };
            self.pdu_until = None;
            if matches!(self.state, State::AwaitClose { .. }) {
                self.count_discarded(before.saturating_sub(buffer.len()), now);
            }
            self.on(event, now);
        }
    }

    fn discard(&mut self, buffer: &mut BytesMut, now: Instant) {
        self.needed_bytes = 1;
        self.pdu_until = None;
        let bytes = buffer.len();
        buffer.clear();
        self.count_discarded(bytes, now);
    }

    fn count_discarded(&mut self, bytes: usize, now: Instant) {
        match self.discardable_bytes.checked_sub(bytes) {
            Some(rest) => self.discardable_bytes = rest,
            None => self.on(Event::ArtimExpired, now),
        }
    }

    /// The transport closed, whoever closed it.
    pub fn transport_closed(&mut self, now: Instant) {
        self.pdu_until = None;
        self.on(Event::Closed, now);
    }

    /// Accepts the association that was asked for.
    ///
    /// # Errors
    /// [`Misuse`] unless [`Indication::AssociateRequested`] is unanswered.
    pub fn accept(
        &mut self,
        accept: AssociateAccept,
        negotiated: Arc<Negotiated>,
        now: Instant,
    ) -> Result<(), Misuse> {
        self.submit(Event::Accept(Box::new(accept), negotiated), now)
    }

    /// Rejects the association that was asked for.
    ///
    /// # Errors
    /// [`Misuse`] unless [`Indication::AssociateRequested`] is unanswered.
    pub fn reject(&mut self, rejection: Rejection, now: Instant) -> Result<(), Misuse> {
        self.submit(Event::Reject(rejection), now)
    }

    /// Sends a command set, whole.
    ///
    /// # Errors
    /// [`Misuse`] unless data may be sent.
    pub fn send_command(&mut self, context_id: u8, command: &[u8]) -> Result<(), Misuse> {
        let pdu_bytes_max = self.may_send()?;
        let mut out = BytesMut::with_capacity(command.len().saturating_add(64));
        pdu::data::frame_copied(context_id, true, command, pdu_bytes_max, &mut out);
        self.output.transmit(out.freeze());
        Ok(())
    }

    /// Sends a command set and the data set that belongs to it, both small, in one piece.
    ///
    /// # Errors
    /// [`Misuse`] unless data may be sent.
    pub fn send_message(
        &mut self,
        context_id: u8,
        command: &[u8],
        data_set: &[u8],
    ) -> Result<(), Misuse> {
        let pdu_bytes_max = self.may_send()?;
        let bytes = command.len().saturating_add(data_set.len());
        let mut out = BytesMut::with_capacity(bytes.saturating_add(64));
        pdu::data::frame_copied(context_id, true, command, pdu_bytes_max, &mut out);
        pdu::data::frame_copied(context_id, false, data_set, pdu_bytes_max, &mut out);
        self.output.transmit(out.freeze());
        Ok(())
    }

    /// Sends a piece of a data set, of any length, without copying it.
    ///
    /// # Errors
    /// [`Misuse`] unless data may be sent.
    pub fn send_data(&mut self, context_id: u8, piece: Bytes, is_last: bool) -> Result<(), Misuse> {
        let pdu_bytes_max = self.may_send()?;
        let output = &mut self.output;
        let transmit = |bytes| output.transmit(bytes);
        let framer = &mut self.framer;
        framer.frame(context_id, is_last, piece, pdu_bytes_max, transmit);
        Ok(())
    }

    /// DT-1 and AR-7: the two states in which P-DATA may be sent.
    fn may_send(&mut self) -> Result<u32, Misuse> {
        if let State::Established(negotiated) = &self.state {
            self.output.did(Action::Dt1);
            Ok(negotiated.sent_pdu_bytes_max)
        } else if let State::ReleaseAsked(negotiated) = &self.state {
            self.output.did(Action::Ar7);
            Ok(negotiated.sent_pdu_bytes_max)
        } else {
            Err(Misuse::NotAssociated)
        }
    }

    /// Asks the peer to release.
    ///
    /// # Errors
    /// [`Misuse`] unless the association stands.
    pub fn release(&mut self, now: Instant) -> Result<(), Misuse> {
        self.submit(Event::ReleaseRequest, now)
    }

    /// Agrees to release.
    ///
    /// # Errors
    /// [`Misuse`] unless [`Indication::ReleaseRequested`] is unanswered.
    pub fn respond_release(&mut self, now: Instant) -> Result<(), Misuse> {
        self.submit(Event::ReleaseResponse, now)
    }

    /// Aborts.
    ///
    /// # Errors
    /// [`Misuse`] where there is no association to abort.
    pub fn abort(&mut self, source: AbortSource, now: Instant) -> Result<(), Misuse> {
        self.submit(Event::AbortRequest(source), now)
    }

    fn submit(&mut self, event: Event, now: Instant) -> Result<(), Misuse> {
        self.output.action = None;
        self.on(event, now);
        if self.output.action.is_some() {
            Ok(())
        } else {
            Err(Misuse::NotNow)
        }
    }

    /// The clock says `now`: does what is due.
    pub fn expire(&mut self, now: Instant) {
        if self.state.deadline().is_some_and(|until| until <= now) {
            self.has_expired = true;
            self.on(Event::ArtimExpired, now);
        }
        if self.pdu_until.is_some_and(|until| until <= now) {
            self.pdu_until = None;
            self.input_is_lost = true;
            self.on(Event::Invalid(Fault::SlowPdu), now);
        }
    }

    /// Nothing was read for `duration`, for reasons of our own: a PDU that has begun gets that much
    /// longer.
    pub fn suspended(&mut self, duration: std::time::Duration) {
        self.pdu_until = self.pdu_until.and_then(|until| until.checked_add(duration));
    }

    /// When [`Self::expire`] must be called.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        match (self.state.deadline(), self.pdu_until) {
            (Some(state), Some(pdu)) => Some(state.min(pdu)),
            (state, pdu) => state.or(pdu),
        }
    }

    /// What has happened, in order.
    pub fn next_indication(&mut self) -> Option<Indication> {
        self.output.indications.pop_front()
    }

    /// What to write to the transport, in order; the driver takes off the front what it has
    /// written.
    pub fn transmits(&mut self) -> &mut VecDeque<Bytes> {
        &mut self.output.transmits
    }

    /// Bytes that the read buffer must hold before [`Self::receive`] can take another PDU.
    #[must_use]
    pub const fn needed_bytes(&self) -> usize {
        self.needed_bytes
    }

    /// Whether the transport must be closed once everything is written.
    #[must_use]
    pub const fn wants_close(&self) -> bool {
        matches!(self.state, State::Idle)
    }

    /// Whether a wait of the state machine, ARTIM above all, has ended without its event.
    #[must_use]
    pub const fn has_expired(&self) -> bool {
        self.has_expired
    }

    /// The state, for tests and logs.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// Whether data can be sent and received.
    #[must_use]
    pub const fn is_established(&self) -> bool {
        matches!(self.state, State::Established(_))
    }

    fn on(&mut self, event: Event, now: Instant) {
        let occasion = Occasion {
            now,
            role: self.role,
            limits: &self.limits,
        };
        let state = std::mem::replace(&mut self.state, State::Idle);
        self.state = state.on(event, &occasion, &mut self.output);
        if matches!(self.state, State::Established(_)) {
            self.discardable_bytes = DISCARDED_DATA_BYTES_MAX;
        }
    }
}

#[cfg(test)]
mod tests;
