//! SIGHUP: settings and certificates are read again, and the AE table and TLS are replaced.
//!
//! The whole is read and checked before anything is replaced: where something is wrong, everything
//! stays as it was. Associations that stand go on. What needs a restart is told.

use crate::access::Access;
use crate::config::{Config, Options};
use crate::metrics::Metrics;
use crate::tls::Tls;
use crate::tool::failure::chain;
use std::sync::Arc;

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
}

impl Reload {
    pub(crate) fn new(
        options: &Options,
        config: &Config,
        access: Arc<Access>,
        tls: Arc<Tls>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            options: options.clone(),
            config: config.clone(),
            access,
            tls,
            metrics,
        }
    }

    /// Reads everything again; logs how it went. Host names are resolved, which may take long.
    pub fn run(&self) {
        let config = match Config::load(&self.options) {
            Ok(config) => config,
            Err(error) => {
                for fault in error.faults {
                    tracing::error!("{fault}");
                }
                self.failed("the settings are wrong");
                return;
            }
        };
        let restart = self.config.changed_for_restart(&config).join(", ");
        let aes_count = config.remote_aes.len();
        let remote_aes = config.remote_aes.clone();
        if let Err(error) = self.tls.reload(config) {
            self.failed(&chain(&error));
            return;
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

    fn failed(&self, error: &str) {
        tracing::error!(
            error,
            "AE table and certificates could not be read again; the old ones stay"
        );
        self.metrics.reload_failed();
    }
}
