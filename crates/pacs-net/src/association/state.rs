//! The states of PS3.8 9.2.1 and Table 9-10. A variant holds only what that state knows.
//!
//! `testdata/table-9-10.tsv` holds the table; a test walks it and names the cell that differs.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "the table has 247 cells; arms name those that differ, and a test walks all"
)]

use super::{Indication, Role};
use crate::error::Fault;
use crate::limits::NetLimits;
use crate::negotiation::{Negotiated, confirm};
use crate::pdu::{
    self, AbortReason, AbortSource, AssociateAccept, AssociateRequest, DataPdu, Pdu, Rejection,
};
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A state of the upper layer.
#[derive(Debug)]
pub enum State {
    /// Sta1: no association, and none under way.
    Idle,
    /// Sta2: transport open, no A-ASSOCIATE-RQ yet.
    AwaitRequest {
        /// When the wait ends.
        artim: Instant,
    },
    /// Sta3: request indicated, our service user has not answered.
    AwaitDecision,
    /// Sta4: our request waits for the transport to open.
    AwaitTransport {
        /// What will be asked.
        request: Box<AssociateRequest>,
    },
    /// Sta5: our request is sent.
    AwaitResponse {
        /// What was asked.
        request: Box<AssociateRequest>,
        /// When we stop waiting.
        until: Instant,
    },
    /// Sta6: data transfer.
    Established(Arc<Negotiated>),
    /// Sta7: we asked to release; the peer may still send P-DATA.
    AwaitRelease {
        /// When we stop waiting.
        until: Instant,
    },
    /// Sta8: the peer asked to release; we may still send P-DATA.
    ReleaseAsked(Arc<Negotiated>),
    /// Sta9: both asked to release; we, the requestor, have not answered.
    CollisionRequestorAsked {
        /// When we stop waiting.
        until: Instant,
    },
    /// Sta10: both asked to release; we, the acceptor, wait for the peer's answer.
    CollisionAcceptorAwaits {
        /// When we stop waiting.
        until: Instant,
    },
    /// Sta11: both asked to release; we, the requestor, have answered.
    CollisionRequestorAwaits {
        /// When we stop waiting.
        until: Instant,
    },
    /// Sta12: both asked to release; we, the acceptor, were answered and have not answered.
    CollisionAcceptorAsked {
        /// When we stop waiting.
        until: Instant,
    },
    /// Sta13: last PDU sent, waiting for the peer to close.
    AwaitClose {
        /// When we close instead.
        artim: Instant,
    },
}

/// Events of PS3.8 Table 9-10, in its order.
#[derive(Debug)]
pub(crate) enum Event {
    /// Evt1
    AssociateRequest(Box<AssociateRequest>),
    /// Evt2
    TransportConfirmed,
    /// Evt3
    AssociateAc(Box<AssociateAccept>),
    /// Evt4
    AssociateRj(Rejection),
    /// Evt5
    TransportIndicated,
    /// Evt6
    AssociateRq(Box<AssociateRequest>),
    /// Evt7
    Accept(Box<AssociateAccept>, Arc<Negotiated>),
    /// Evt8
    Reject(Rejection),
    /// Evt10 (Evt9 is `UpperLayer::may_send`)
    Data(DataPdu),
    /// Evt11
    ReleaseRequest,
    /// Evt12
    ReleaseRq,
    /// Evt13
    ReleaseRp,
    /// Evt14
    ReleaseResponse,
    /// Evt15
    AbortRequest(AbortSource),
    /// Evt16
    Abort(AbortSource),
    /// Evt17
    Closed,
    /// Evt18; also the end of our own waits for an answer.
    ArtimExpired,
    /// Evt19
    Invalid(Fault),
}

impl Event {
    /// The event that a PDU is.
    pub(crate) fn received(pdu: Pdu) -> Self {
        match pdu {
            Pdu::Abort(source) => Self::Abort(source),
            Pdu::AssociateAc(accept) => Self::AssociateAc(accept),
            Pdu::AssociateRj(rejection) => Self::AssociateRj(rejection),
            Pdu::AssociateRq(request) => Self::AssociateRq(request),
            Pdu::Data(data) => Self::Data(data),
            Pdu::ReleaseRp => Self::ReleaseRp,
            Pdu::ReleaseRq => Self::ReleaseRq,
        }
    }

    /// Whether it comes from the peer as bytes.
    const fn is_pdu(&self) -> bool {
        matches!(
            self,
            Self::AssociateAc(_)
                | Self::AssociateRj(_)
                | Self::AssociateRq(_)
                | Self::Data(_)
                | Self::ReleaseRq
                | Self::ReleaseRp
                | Self::Abort(_)
                | Self::Invalid(_)
        )
    }
}

/// Thirty years: longer than an association lives.
const NEVER: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

/// Actions of PS3.8 Tables 9-6 to 9-9.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Ae1,
    Ae2,
    Ae3,
    Ae4,
    Ae5,
    Ae6,
    Ae7,
    Ae8,
    Dt1,
    Dt2,
    Ar1,
    Ar2,
    Ar3,
    Ar4,
    Ar5,
    Ar6,
    Ar7,
    Ar8,
    Ar9,
    Ar10,
    Aa1,
    Aa2,
    Aa3,
    Aa4,
    Aa5,
    Aa6,
    Aa7,
    Aa8,
}

/// When, and on which side, something happens.
#[derive(Debug)]
pub(crate) struct Occasion<'a> {
    /// The time.
    pub now: Instant,
    /// Our side.
    pub role: Role,
    /// Our limits.
    pub limits: &'a NetLimits,
}

impl Occasion<'_> {
    /// Later than a clock can say is late enough.
    fn after(&self, duration: Duration) -> Instant {
        let never = || self.now.checked_add(NEVER);
        let until = self.now.checked_add(duration).or_else(never);
        until.unwrap_or(self.now)
    }

    fn artim(&self) -> Instant {
        self.after(self.limits.artim)
    }

    fn until(&self) -> Instant {
        self.after(self.limits.association_duration_max)
    }
}

/// What comes out of the machine.
#[derive(Debug, Default)]
pub(crate) struct Output {
    /// The last action; `None` where the table has an empty cell.
    pub action: Option<Action>,
    /// For the user.
    pub indications: VecDeque<Indication>,
    /// For the transport.
    pub transmits: VecDeque<Bytes>,
}

impl Output {
    /// Notes the action that is done.
    pub(crate) const fn did(&mut self, action: Action) {
        self.action = Some(action);
    }

    /// Queues bytes for the transport.
    pub(crate) fn transmit(&mut self, bytes: Bytes) {
        self.transmits.push_back(bytes);
    }

    fn send(&mut self, action: Action, pdu: &Pdu) {
        self.did(action);
        // Our own PDUs are built from checked titles, so that every field fits.
        if let Ok(bytes) = pdu::write(pdu) {
            self.transmit(bytes);
        }
    }

    fn indicate(&mut self, action: Action, indication: Indication) {
        self.did(action);
        self.indications.push_back(indication);
    }

    /// What was queued stays: its front may be written in part, and cutting there would make the
    /// abort unreadable.
    fn abort(&mut self, action: Action, source: AbortSource) {
        self.send(action, &Pdu::Abort(source));
    }
}

impl State {
    /// When the state ends by itself.
    pub(crate) const fn deadline(&self) -> Option<Instant> {
        match self {
            Self::AwaitRequest { artim } | Self::AwaitClose { artim } => Some(*artim),
            Self::AwaitResponse { until, .. }
            | Self::AwaitRelease { until }
            | Self::CollisionRequestorAsked { until }
            | Self::CollisionAcceptorAwaits { until }
            | Self::CollisionRequestorAwaits { until }
            | Self::CollisionAcceptorAsked { until } => Some(*until),
            Self::Idle
            | Self::AwaitDecision
            | Self::AwaitTransport { .. }
            | Self::Established(_)
            | Self::ReleaseAsked(_) => None,
        }
    }

    /// Sta1 to Sta13.
    #[must_use]
    pub const fn number(&self) -> u8 {
        match self {
            Self::Idle => 1,
            Self::AwaitRequest { .. } => 2,
            Self::AwaitDecision => 3,
            Self::AwaitTransport { .. } => 4,
            Self::AwaitResponse { .. } => 5,
            Self::Established(_) => 6,
            Self::AwaitRelease { .. } => 7,
            Self::ReleaseAsked(_) => 8,
            Self::CollisionRequestorAsked { .. } => 9,
            Self::CollisionAcceptorAwaits { .. } => 10,
            Self::CollisionRequestorAwaits { .. } => 11,
            Self::CollisionAcceptorAsked { .. } => 12,
            Self::AwaitClose { .. } => 13,
        }
    }

    /// PS3.8 Table 9-10.
    pub(crate) fn on(self, event: Event, occasion: &Occasion<'_>, out: &mut Output) -> Self {
        match self {
            Self::Idle => Self::on_idle(event, occasion, out),
            Self::AwaitRequest { artim } => Self::on_await_request(event, artim, occasion, out),
            Self::AwaitTransport { request } => {
                Self::on_await_transport(event, request, occasion, out)
            }
            Self::AwaitClose { artim } => Self::on_await_close(event, artim, out),
            state => state.on_associated(event, occasion, out),
        }
    }

    fn on_idle(event: Event, occasion: &Occasion<'_>, out: &mut Output) -> Self {
        if let Event::AssociateRequest(request) = event {
            out.did(Action::Ae1);
            Self::AwaitTransport { request }
        } else if matches!(event, Event::TransportIndicated) {
            out.did(Action::Ae5);
            Self::AwaitRequest {
                artim: occasion.artim(),
            }
        } else {
            Self::Idle
        }
    }

    fn on_await_request(
        event: Event,
        artim: Instant,
        occasion: &Occasion<'_>,
        out: &mut Output,
    ) -> Self {
        match event {
            Event::AssociateRq(request) => {
                out.indicate(Action::Ae6, Indication::AssociateRequested(request));
                Self::AwaitDecision
            }
            Event::Abort(_) | Event::ArtimExpired => {
                out.did(Action::Aa2);
                Self::Idle
            }
            Event::Closed => {
                out.did(Action::Aa5);
                Self::Idle
            }
            event if event.is_pdu() => {
                out.abort(Action::Aa1, AbortSource::ServiceUser);
                Self::AwaitClose {
                    artim: occasion.artim(),
                }
            }
            _ => Self::AwaitRequest { artim },
        }
    }

    fn on_await_transport(
        event: Event,
        request: Box<AssociateRequest>,
        occasion: &Occasion<'_>,
        out: &mut Output,
    ) -> Self {
        if matches!(event, Event::TransportConfirmed) {
            let pdu = Pdu::AssociateRq(request);
            out.send(Action::Ae2, &pdu);
            let Pdu::AssociateRq(request) = pdu else {
                return Self::Idle;
            };
            Self::AwaitResponse {
                request,
                until: occasion.until(),
            }
        } else if matches!(event, Event::AbortRequest(_)) {
            out.did(Action::Aa2);
            Self::Idle
        } else if matches!(event, Event::Closed) {
            out.indicate(Action::Aa4, Indication::Closed);
            Self::Idle
        } else {
            Self::AwaitTransport { request }
        }
    }

    fn on_await_close(event: Event, artim: Instant, out: &mut Output) -> Self {
        match event {
            Event::AssociateRq(_) | Event::Invalid(_) => {
                let unexpected = AbortSource::ServiceProvider(AbortReason::UnexpectedPdu);
                // Once is enough: an answer to every PDU of a flood would be a queue without bound.
                if out.transmits.is_empty() {
                    out.send(Action::Aa7, &Pdu::Abort(unexpected));
                } else {
                    out.did(Action::Aa7);
                }
                Self::AwaitClose { artim }
            }
            Event::Abort(_) | Event::ArtimExpired => {
                out.did(Action::Aa2);
                Self::Idle
            }
            Event::Closed => {
                out.did(Action::Ar5);
                Self::Idle
            }
            event => {
                if event.is_pdu() {
                    out.did(Action::Aa6);
                }
                Self::AwaitClose { artim }
            }
        }
    }

    /// Sta3 and Sta5 to Sta12: what they have in common, after what they have not.
    fn on_associated(self, event: Event, occasion: &Occasion<'_>, out: &mut Output) -> Self {
        let (state, event) = match self.on_own(event, occasion, out) {
            Ok(next) => return next,
            Err(unhandled) => *unhandled,
        };
        let close = Self::AwaitClose {
            artim: occasion.artim(),
        };
        match event {
            Event::AbortRequest(source) => {
                out.abort(Action::Aa1, source);
                close
            }
            Event::Abort(source) => {
                out.indicate(Action::Aa3, Indication::Aborted(source));
                Self::Idle
            }
            Event::Closed => {
                out.indicate(Action::Aa4, Indication::Closed);
                Self::Idle
            }
            Event::ArtimExpired if state.deadline().is_some() => {
                // Not in the table: the standard leaves these waits to the implementation.
                out.abort(Action::Aa1, AbortSource::ServiceUser);
                out.indicate(Action::Aa1, Indication::Faulted(Fault::NoAnswer));
                close
            }
            Event::Invalid(fault) => {
                out.abort(Action::Aa8, fault.abort_source());
                out.indicate(Action::Aa8, Indication::Faulted(fault));
                close
            }
            event if event.is_pdu() => {
                let fault = Fault::UnexpectedPdu {
                    state: state.number(),
                };
                out.abort(Action::Aa8, fault.abort_source());
                out.indicate(Action::Aa8, Indication::Faulted(fault));
                close
            }
            _ => state,
        }
    }

    /// Cells that differ from state to state; `Err` gives back what is the same in all.
    fn on_own(
        self,
        event: Event,
        occasion: &Occasion<'_>,
        out: &mut Output,
    ) -> Result<Self, Box<(Self, Event)>> {
        let artim = occasion.artim();
        let next = match (self, event) {
            (Self::AwaitDecision, Event::Accept(accept, negotiated)) => {
                out.send(Action::Ae7, &Pdu::AssociateAc(accept));
                Self::Established(negotiated)
            }
            (Self::AwaitDecision, Event::Reject(rejection)) => {
                out.send(Action::Ae8, &Pdu::AssociateRj(rejection));
                Self::AwaitClose { artim }
            }
            (Self::AwaitResponse { request, until }, Event::AssociateAc(accept)) => {
                match confirm(&request, &accept, occasion.limits) {
                    Ok(negotiated) => {
                        let negotiated = Arc::new(negotiated);
                        let confirmed = Indication::AssociateConfirmed(Arc::clone(&negotiated));
                        out.indicate(Action::Ae3, confirmed);
                        Self::Established(negotiated)
                    }
                    Err(fault) => {
                        let state = Self::AwaitResponse { request, until };
                        return Err(Box::new((state, Event::Invalid(fault.into()))));
                    }
                }
            }
            (Self::AwaitResponse { .. }, Event::AssociateRj(rejection)) => {
                out.indicate(Action::Ae4, Indication::Rejected(rejection));
                Self::Idle
            }
            (Self::Established(negotiated), Event::Data(data)) => {
                out.indicate(Action::Dt2, Indication::Data(data));
                Self::Established(negotiated)
            }
            (state, event) => return state.on_release(event, occasion, out),
        };
        Ok(next)
    }

    /// The cells of release and of release collision.
    fn on_release(
        self,
        event: Event,
        occasion: &Occasion<'_>,
        out: &mut Output,
    ) -> Result<Self, Box<(Self, Event)>> {
        let (artim, until) = (occasion.artim(), occasion.until());
        let next = match (self, event) {
            (Self::Established(_), Event::ReleaseRequest) => {
                out.send(Action::Ar1, &Pdu::ReleaseRq);
                Self::AwaitRelease { until }
            }
            (Self::Established(negotiated), Event::ReleaseRq) => {
                out.indicate(Action::Ar2, Indication::ReleaseRequested);
                Self::ReleaseAsked(negotiated)
            }
            (Self::AwaitRelease { until }, Event::Data(data)) => {
                out.indicate(Action::Ar6, Indication::Data(data));
                Self::AwaitRelease { until }
            }
            (Self::AwaitRelease { .. }, Event::ReleaseRq) => {
                out.indicate(Action::Ar8, Indication::ReleaseRequested);
                match occasion.role {
                    Role::Requestor => Self::CollisionRequestorAsked { until },
                    Role::Acceptor => Self::CollisionAcceptorAwaits { until },
                }
            }
            (
                Self::AwaitRelease { .. } | Self::CollisionRequestorAwaits { .. },
                Event::ReleaseRp,
            ) => {
                out.indicate(Action::Ar3, Indication::Released);
                Self::Idle
            }
            (
                Self::ReleaseAsked(_) | Self::CollisionAcceptorAsked { .. },
                Event::ReleaseResponse,
            ) => {
                out.send(Action::Ar4, &Pdu::ReleaseRp);
                Self::AwaitClose { artim }
            }
            (Self::CollisionRequestorAsked { .. }, Event::ReleaseResponse) => {
                out.send(Action::Ar9, &Pdu::ReleaseRp);
                Self::CollisionRequestorAwaits { until }
            }
            (Self::CollisionAcceptorAwaits { .. }, Event::ReleaseRp) => {
                out.indicate(Action::Ar10, Indication::Released);
                Self::CollisionAcceptorAsked { until }
            }
            unhandled => return Err(Box::new(unhandled)),
        };
        Ok(next)
    }
}
