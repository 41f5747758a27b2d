//! pynetdicom as an AE that is told which instances are to be had.

use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use crate::edges::until;
use crate::peers::{Listener, files_below, peer_py};
use crate::server::PATIENCE;
use crate::workspace;

/// A provider of Instance Availability Notification; dropping it kills it.
#[derive(Debug)]
pub struct Notified {
    folder: TempDir,
    _listener: Listener,
}

impl Notified {
    /// Listens on `port`, and answers with these statuses, in hexadecimal, and then with Success.
    ///
    /// # Panics
    /// When it does not listen.
    #[must_use]
    pub fn start(python: &Path, port: u16, statuses: &[&str]) -> Self {
        let folder = workspace::temporary_folder();
        let mut provide = peer_py(python);
        provide.args(["provide_availability", &port.to_string()]);
        provide.arg(folder.path()).args(statuses);
        Self {
            _listener: Listener::start(&mut provide, port),
            folder,
        }
    }

    /// What it was told so far, in order.
    ///
    /// # Panics
    /// When that cannot be read.
    #[must_use]
    pub fn told(&self) -> Vec<Value> {
        let files = files_below(self.folder.path()).into_iter();
        let whole = files.filter(|path| path.extension().is_some_and(|end| end == "json"));
        let told = whole.map(|path| std::fs::read(path).expect("a file"));
        told.map(|text| serde_json::from_slice(&text).expect("JSON"))
            .collect()
    }

    /// Waits until it was told that of a study all these instances, and no others, are as they are
    /// here: `ONLINE` or `UNAVAILABLE`.
    ///
    /// # Panics
    /// When it is not.
    #[must_use]
    pub fn wait_for(&self, study: &str, instances: &[(&str, &str)]) -> Value {
        let is_meant = |told: &Value| {
            let all = told["instances"].as_object().expect("instances");
            let is_so = |(uid, state): &(&str, &str)| told["instances"][uid][0] == *state;
            told["study"] == study && all.len() == instances.len() && instances.iter().all(is_so)
        };
        until(
            PATIENCE,
            &format!("a notification of {instances:?}"),
            || self.told().into_iter().rfind(is_meant),
        )
    }
}
