//! What the server counts, in the Prometheus text format.
//!
//! AE titles come from the wire, so that their number is bounded: past [`AE_LABELS_MAX`] they share
//! one label.

use crate::announcing::AnnouncingCounters;
use crate::commitment::Counters;
use crate::limits::AE_LABELS_MAX;
use crate::web;
use prometheus::{
    Encoder, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
    TextEncoder,
};
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

const SECONDS: &[f64] = &[
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0,
];

/// The counters of one server.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    operations: HistogramVec,
    bytes: IntCounterVec,
    associations: IntCounterVec,
    open: IntGauge,
    refusals: IntCounterVec,
    guessing_alarms: IntCounter,
    handshakes_failed: IntCounterVec,
    certificate_expires: IntGauge,
    reloads_failed: IntCounter,
    announcing: AnnouncingCounters,
    commitment: Counters,
    web: web::Counters,
    labels: Mutex<BTreeSet<String>>,
}

impl Metrics {
    /// All at zero.
    ///
    /// # Errors
    /// [`prometheus::Error`] where a name is registered twice: a fault of this file.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let operations = HistogramVec::new(
            HistogramOpts::new(
                "pacs_dimse_operation_seconds",
                "Time from a DIMSE request to its final response",
            )
            .buckets(SECONDS.to_vec()),
            &["service", "ae", "status"],
        )?;
        let bytes = IntCounterVec::new(
            Opts::new(
                "pacs_dimse_bytes_total",
                "Bytes received and sent, commands included",
            ),
            &["service", "ae"],
        )?;
        let went = Opts::new("pacs_associations_total", "Associations by how they went");
        let associations = IntCounterVec::new(went, &["outcome"])?;
        let open = IntGauge::new("pacs_associations_open", "Associations that are open now")?;
        let refusals = IntCounterVec::new(
            Opts::new(
                "pacs_association_refusals_total",
                "Associations refused by the AE table, by reason",
            ),
            &["reason"],
        )?;
        let guessing_alarms = IntCounter::new(
            "pacs_title_guessing_alarms_total",
            "Alarms: an address tries out titles or certificates, at most one a minute for each",
        )?;
        let handshakes_failed = IntCounterVec::new(
            Opts::new(
                "pacs_tls_handshakes_failed_total",
                "TLS hand-shakes that failed, by reason",
            ),
            &["reason"],
        )?;
        let certificate_expires = IntGauge::new(
            "pacs_tls_certificate_expires_unix_seconds",
            "When our own certificate expires; 0 where there is none",
        )?;
        let reloads_failed = IntCounter::new(
            "pacs_reloads_failed_total",
            "SIGHUPs whose settings or files were of no use, so that the old ones stayed",
        )?;
        registry.register(Box::new(refusals.clone()))?;
        registry.register(Box::new(guessing_alarms.clone()))?;
        registry.register(Box::new(handshakes_failed.clone()))?;
        registry.register(Box::new(certificate_expires.clone()))?;
        registry.register(Box::new(reloads_failed.clone()))?;
        registry.register(Box::new(operations.clone()))?;
        registry.register(Box::new(bytes.clone()))?;
        registry.register(Box::new(associations.clone()))?;
        registry.register(Box::new(open.clone()))?;
        Ok(Self {
            announcing: AnnouncingCounters::new(&registry)?,
            commitment: Counters::new(&registry)?,
            web: web::Counters::new(&registry)?,
            registry,
            operations,
            bytes,
            associations,
            open,
            refusals,
            guessing_alarms,
            handshakes_failed,
            certificate_expires,
            reloads_failed,
            labels: Mutex::default(),
        })
    }

    /// Where others register what they count.
    #[must_use]
    pub const fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Those of telling others which instances are to be had.
    pub(crate) const fn announcing(&self) -> &AnnouncingCounters {
        &self.announcing
    }

    /// Those of storage commitment.
    #[must_use]
    pub const fn commitment(&self) -> &Counters {
        &self.commitment
    }

    /// Those of DICOMweb.
    #[must_use]
    pub const fn web(&self) -> &web::Counters {
        &self.web
    }

    /// One operation came to its final response.
    pub fn operation(&self, service: &str, ae: &str, status: &str, took: Duration, bytes: u64) {
        let ae = self.label(ae);
        self.operations
            .with_label_values(&[service, &ae, status])
            .observe(took.as_secs_f64());
        self.bytes.with_label_values(&[service, &ae]).inc_by(bytes);
    }

    /// An association was accepted.
    pub fn opened(&self) {
        self.associations.with_label_values(&["accepted"]).inc();
        self.open.inc();
    }

    /// An accepted association ended, by `released` or `aborted`.
    pub fn closed(&self, outcome: &str) {
        self.associations.with_label_values(&[outcome]).inc();
        self.open.dec();
    }

    /// An association was rejected.
    pub fn rejected(&self) {
        self.associations.with_label_values(&["rejected"]).inc();
    }

    /// The AE table refused an association.
    pub fn refused(&self, reason: &str) {
        self.refusals.with_label_values(&[reason]).inc();
    }

    /// An address tries out titles.
    pub fn guessing_alarm(&self) {
        self.guessing_alarms.inc();
    }

    /// A TLS hand-shake failed.
    pub fn handshake_failed(&self, reason: &str) {
        self.handshakes_failed.with_label_values(&[reason]).inc();
    }

    /// Our own certificate is valid until then, counted from 1970.
    pub fn certificate_expires(&self, since_1970: Duration) {
        let seconds = i64::try_from(since_1970.as_secs()).unwrap_or(i64::MAX);
        self.certificate_expires.set(seconds);
    }

    /// Files of TLS could not be read again.
    pub fn reload_failed(&self) {
        self.reloads_failed.inc();
    }

    /// Everything, as `/metrics` shows it.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = Vec::new();
        // Writing to memory fails only for a malformed metric family, which the registry refuses.
        if TextEncoder::new()
            .encode(&self.registry.gather(), &mut text)
            .is_err()
        {
            return String::new();
        }
        String::from_utf8(text).unwrap_or_default()
    }

    fn label(&self, ae: &str) -> String {
        let mut labels = self.labels.lock().unwrap_or_else(PoisonError::into_inner);
        if labels.contains(ae) {
            return ae.to_owned();
        }
        if labels.len() < AE_LABELS_MAX {
            labels.insert(ae.to_owned());
            return ae.to_owned();
        }
        "(other)".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_ae_labels_is_bounded() {
        let metrics = Metrics::new().unwrap();
        for n in 0..AE_LABELS_MAX + 50 {
            metrics.operation(
                "C-ECHO",
                &format!("AE{n}"),
                "0000",
                Duration::from_millis(1),
                0,
            );
        }

        let text = metrics.render();

        assert!(text.contains("ae=\"(other)\""));
        assert_eq!(
            text.matches("pacs_dimse_operation_seconds_count").count(),
            AE_LABELS_MAX + 1
        );
    }
}
