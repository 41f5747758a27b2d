//! The AE table at the door: which peers get an association, and for what; and what the acceptor
//! reports, counted and logged.

use crate::access::{Access, Refusal};
use crate::metrics::Metrics;
use pacs_core::{Action, Caller, Policy};
use pacs_net::Ending;
use pacs_net::negotiation::Services;
use pacs_net::observer::{Observer, OperationReport};
use pacs_net::pdu::{AssociateRequest, RejectReason, Rejection};
use pacs_net::service::{Admission, AssociationPolicy, Peer};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

impl AssociationPolicy for Access {
    fn decide(&self, _request: &AssociateRequest, peer: &Peer) -> Result<Admission, Rejection> {
        let address = peer.address.ip();
        self.admit(&peer.called_ae_title, &peer.calling_ae_title, address)
            .map_err(|refusal| {
                Rejection::permanent(match refusal {
                    Refusal::CalledTitle => RejectReason::CalledAeTitleNotRecognized,
                    Refusal::CallingTitle => RejectReason::CallingAeTitleNotRecognized,
                })
            })?;
        let caller = Caller::Device {
            ae_title: peer.calling_ae_title.clone(),
            address,
        };
        let may = |action| self.permits(&caller, action);
        // A service that the peer may not use is not offered: its operator sees that at once.
        Ok(Admission::to(Services {
            verification: may(Action::Echo),
            storage: may(Action::Store),
            find: may(Action::Find),
            get: may(Action::Get),
            move_to: may(Action::Move),
            commitment: may(Action::Commit),
            commitment_reports: false,
        }))
    }
}

/// Counts and logs what the acceptor reports.
#[derive(Debug)]
pub struct Watcher {
    metrics: Arc<Metrics>,
}

impl Watcher {
    /// Counts into `metrics`.
    #[must_use]
    pub const fn new(metrics: Arc<Metrics>) -> Self {
        Self { metrics }
    }
}

impl Observer for Watcher {
    fn connection_refused(&self, address: SocketAddr) {
        self.metrics.rejected();
        tracing::warn!(%address, "connection closed: too many are open");
    }

    fn association_accepted(&self, peer: &Peer) {
        self.metrics.opened();
        tracing::info!(
            address = %peer.address, calling = %peer.calling_ae_title,
            implementation = %peer.implementation_version_name, "association accepted"
        );
    }

    fn association_rejected(&self, address: SocketAddr, calling: &str, rejection: Rejection) {
        self.metrics.rejected();
        tracing::warn!(%address, calling, reason = %rejection.reason, "association rejected");
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
