//! SIGHUP: settings and certificates are read again, and the AE table and TLS are replaced.
//!
//! The whole is read and checked before anything is replaced: where something is wrong, everything
//! stays as it was. Associations that stand go on. What needs a restart is told. What changes is
//! recorded first, and where it cannot be recorded it does not change.

use crate::access::Access;
use crate::config::{Config, Options};
use crate::in_force::{InForce, RELOAD, Settings, event_of};
use crate::metrics::Metrics;
use crate::tls::{ReloadError, Tls};
use crate::tool::failure::chain;
use pacs_core::audit::{Act, Outcome};
use pacs_store::registry::audit::AuditTrail;
use std::sync::Arc;
use tokio::runtime::Handle;

/// What it takes to read the settings again.
#[derive(Debug)]
pub struct Reload {
    /// What was said on the command line and in the environment.
    options: Options,
    /// What the server was started with.
    config: Config,
    access: Arc<Access>,
    tls: Arc<Tls>,
    metrics: Arc<Metrics>,
    trail: AuditTrail,
    in_force: InForce,
}

impl Reload {
    pub(crate) fn new(
        options: &Options,
        config: &Config,
        (access, tls): (Arc<Access>, Arc<Tls>),
        (metrics, trail, in_force): (Arc<Metrics>, AuditTrail, InForce),
    ) -> Self {
        Self {
            options: options.clone(),
            config: config.clone(),
            access,
            tls,
            metrics,
            trail,
            in_force,
        }
    }

    /// Reads everything again; logs how it went. Host names are resolved, which may take long: it
    /// is for a thread of a runtime that may wait.
    pub fn run(&self) {
        let config = match Config::load(&self.options) {
            Ok(config) => config,
            Err(error) => {
                for fault in error.faults {
                    tracing::error!("{fault}");
                }
                self.failed("SETTINGS_WRONG", "the settings are wrong");
                return;
            }
        };
        let restart = self.config.changed_for_restart(&config).join(", ");
        let aes_count = config.remote_aes.len();
        let remote_aes = config.remote_aes.clone();
        let network = self.access.digest_with(&remote_aes);
        let reloaded = self.tls.reload(config, |security| {
            let settings = Settings { network, security };
            Handle::current().block_on(self.in_force.put(settings, None))
        });
        match reloaded {
            Ok(()) => {}
            Err(ReloadError::Files(error)) => {
                self.failed("FILES_WRONG", &chain(&error));
                return;
            }
            Err(ReloadError::Unrecorded(error)) => {
                self.failed("NOT_RECORDED", &chain(&error));
                return;
            }
        }
        self.access.replace(remote_aes);
        tracing::info!(
            aes = aes_count,
            "AE table and certificates were read again, for connections to come"
        );
        if !restart.is_empty() {
            tracing::warn!(settings = %restart, "other settings have changed; they need a restart");
        }
    }

    fn failed(&self, code: &str, error: &str) {
        let mut event = event_of(Act::SoftwareConfigured, "settings", RELOAD);
        event.outcome = Outcome::MinorFailure;
        event.reason = Some(code.to_owned());
        let recorded = self.trail.commit(Vec::new(), &event);
        if let Err(error) = Handle::current().block_on(recorded) {
            tracing::error!(
                error = chain(&error),
                "the audit trail could not be written"
            );
        }
        tracing::error!(
            error,
            "AE table and certificates could not be read again; the old ones stay"
        );
        self.metrics.reload_failed();
    }
}
