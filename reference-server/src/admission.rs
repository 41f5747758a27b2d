//! The AE table at the door, and the people at the devices: which peers get an association, and for
//! what; and what the acceptor reports, counted and logged.

use crate::access::{Access, Knock, Refusal};
use crate::accounts::Refused;
use crate::metrics::Metrics;
use crate::recorder::Recorder;
use crate::recorder::alerts::Alerts;
use crate::scp::caller;
use crate::scp::person::{People, passcode};
use async_trait::async_trait;
use pacs_core::access::SignedIn;
use pacs_core::account::UserName;
use pacs_core::{Action, Caller, Policy};
use pacs_net::Ending;
use pacs_net::negotiation::Services;
use pacs_net::observer::{Observer, OperationReport};
use pacs_net::pdu::{AssociateRequest, RejectReason, Rejection};
use pacs_net::security::{Channel, TlsError};
use pacs_net::service::{Admission, AssociationPolicy, Peer};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// The door of DICOM: devices by the AE table, and people at them by their passcodes.
#[derive(Debug)]
pub struct Door {
    access: Arc<Access>,
    people: People,
    recorder: Recorder,
}

impl Door {
    /// Under `access`, for `people`; who comes is told to `recorder`.
    #[must_use]
    pub const fn new(access: Arc<Access>, people: People, recorder: Recorder) -> Self {
        Self {
            access,
            people,
            recorder,
        }
    }

    /// The person at the device, where it shows a name and a passcode. Of what is wrong with them
    /// it is told nothing.
    async fn person(&self, knock: Knock<'_>, peer: &Peer) -> Result<Option<SignedIn>, Rejection> {
        let later = Rejection::transient(RejectReason::TemporaryCongestion);
        let person = match self.people.at(peer).await {
            Ok(person) => person,
            Err(Refused::NotSignedIn) => {
                let shown = passcode(peer).map(|shown| &shown.primary);
                let named = self.people.accounts().named(shown.map_or(b"", |name| name));
                let named = named.await;
                let named = named.as_ref().map(UserName::as_str);
                return Err(rejection(self.access.refuse_passcode(knock, named)));
            }
            Err(_failed) => return Err(later),
        };
        if let Some(person) = &person {
            let recorded = self.recorder.entered(person).await;
            recorded.map_err(|_not_recorded| later)?;
        }
        Ok(person)
    }
}

#[async_trait]
impl AssociationPolicy for Door {
    async fn decide(
        &self,
        _request: &AssociateRequest,
        peer: &Peer,
    ) -> Result<Admission, Rejection> {
        let knock = Knock {
            called: &peer.called_ae_title,
            calling: &peer.calling_ae_title,
            address: peer.address.ip(),
            channel: &peer.channel,
        };
        self.access.admit(knock).map_err(rejection)?;
        let person = self.person(knock, peer).await?;
        // PS3.7 D.3.3.7.2: empty for type 2. Nothing else is verified, and nothing said of it.
        let identity_response = person.as_ref().map(|_known| Vec::new());
        let device = caller(peer);
        let searching =
            person.map_or_else(|| device.clone(), |person| Caller::User(Box::new(person)));
        let may = |action| self.access.permits(&device, action);
        let may_see = |action| self.access.permits(&searching, action);
        // A service that the peer may not use is not offered: its operator sees that at once.
        let services = Services {
            verification: may(Action::Echo),
            storage: may(Action::Store),
            find: may_see(Action::Find),
            get: may_see(Action::Get),
            move_to: may_see(Action::Move),
            commitment: may(Action::Commit),
            // Of whom it is asked.
            commitment_reports: self.access.confirms(&peer.calling_ae_title),
            worklist: may(Action::Worklist),
            procedure_steps: may(Action::Mpps),
        };
        Ok(Admission {
            identity_response,
            idle_duration_max: self.access.idle_duration_max(&peer.calling_ae_title),
            ..Admission::to(services)
        })
    }
}

/// What a refused peer is told: PS3.8 9.3.4 has no words for certificates, nor for users.
const fn rejection(refusal: Refusal) -> Rejection {
    match refusal {
        Refusal::CalledTitle => Rejection::permanent(RejectReason::CalledAeTitleNotRecognized),
        Refusal::Guessing => Rejection::transient(RejectReason::TemporaryCongestion),
        Refusal::Passcode => Rejection::permanent(RejectReason::NoReason),
        Refusal::Address
        | Refusal::Borrowed
        | Refusal::CallingTitle
        | Refusal::Certificate
        | Refusal::Plain => Rejection::permanent(RejectReason::CallingAeTitleNotRecognized),
    }
}

/// Counts and logs what the acceptor reports, and has it recorded whom TLS refuses.
#[derive(Debug)]
pub struct Watcher {
    metrics: Arc<Metrics>,
    alerts: Alerts,
}

impl Watcher {
    /// Counts into `metrics`, and has refusals recorded by `alerts`.
    #[must_use]
    pub const fn new(metrics: Arc<Metrics>, alerts: Alerts) -> Self {
        Self { metrics, alerts }
    }
}

impl Observer for Watcher {
    fn connection_refused(&self, address: SocketAddr) {
        self.metrics.rejected();
        tracing::warn!(%address, "connection closed: too many are open");
    }

    fn handshake_failed(&self, address: SocketAddr, error: TlsError) {
        self.metrics.handshake_failed(error.name());
        if let TlsError::TimedOut | TlsError::Transport(_) = error {
            // Who goes away, or says nothing, shows nothing.
            tracing::debug!(%address, %error, "TLS hand-shake failed");
        } else {
            self.alerts.node_refused(address.ip(), None, error.name());
            tracing::warn!(%address, %error, "TLS hand-shake failed");
        }
    }

    fn association_accepted(&self, peer: &Peer) {
        self.metrics.opened();
        let certificate = peer.channel.certificate();
        tracing::info!(
            address = %peer.address, calling = %peer.calling_ae_title,
            implementation = %peer.implementation_version_name,
            tls = peer.channel != Channel::Plain,
            certificate_sha256 = certificate.map(|shown| shown.sha256.to_string()),
            certificate_subject = certificate.map(|shown| shown.subject.as_str()),
            "association accepted"
        );
    }

    fn association_rejected(&self, address: SocketAddr, calling: &str, rejection: Rejection) {
        self.metrics.rejected();
        if rejection.reason == RejectReason::TemporaryCongestion {
            // There may be very many, and the alarm speaks for them.
            tracing::debug!(%address, calling, reason = %rejection.reason, "association rejected");
        } else {
            tracing::warn!(%address, calling, reason = %rejection.reason, "association rejected");
        }
    }

    fn association_ended(
        &self,
        address: SocketAddr,
        peer: Option<&Peer>,
        ending: Ending,
        duration: Duration,
    ) {
        let Some(peer) = peer else {
            tracing::debug!(%address, %ending, "connection ended without an association");
            return;
        };
        self.metrics.closed(if ending == Ending::Released {
            "released"
        } else {
            "aborted"
        });
        tracing::info!(
            %address, calling = %peer.calling_ae_title, %ending,
            duration_ms = duration.as_secs_f64() * 1e3, "association ended"
        );
    }

    fn operation_ended(&self, peer: &Peer, report: &OperationReport) {
        let calling = peer.calling_ae_title.as_str();
        let operation = report.operation.name();
        self.metrics.operation(
            operation,
            calling,
            &format!("{:04X}", report.status),
            report.duration,
            report.bytes_received.saturating_add(report.bytes_sent),
        );
        tracing::debug!(
            calling,
            operation,
            status = report.status,
            duration_ms = report.duration.as_secs_f64() * 1e3,
            instances = report.instances_count,
            failed = report.failed_count,
            "operation ended"
        );
    }
}
