//! The server of the day, which is killed and started again while everybody works.

use std::fmt::Debug;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, RwLock, RwLockReadGuard};

use serde_json::{Value, json};

use super::plan::{HOSPITALS, Kind};
use crate::portal::{Browser, Portal};
use crate::workspace;

/// Attempts that may fail while the server stands; a line that breaks is none of them.
const FAILURES_MAX: u32 = 5;

/// A hospital of the pilot.
#[derive(Clone, Debug)]
pub struct Hospital {
    /// Its code.
    pub code: String,
    /// What its AE titles begin with.
    pub prefix: String,
}

impl Hospital {
    /// The AE title of its device of a kind.
    #[must_use]
    pub fn device(&self, kind: Kind) -> String {
        format!("{}_{}1", self.prefix, kind.modality())
    }

    /// The AE title of its workstation.
    #[must_use]
    pub fn workstation(&self) -> String {
        format!("{}_WS1", self.prefix)
    }

    /// The name of its operator.
    #[must_use]
    pub fn operator(&self) -> String {
        format!("operator.{}", self.code)
    }
}

/// The eleven.
///
/// # Panics
/// When the list cannot be read.
#[must_use]
pub fn hospitals() -> Vec<Hospital> {
    let file = workspace::root().join("reference-server/organisations.json");
    let text = std::fs::read_to_string(file).expect("the list of organisations");
    let list: Value = serde_json::from_str(&text).expect("JSON");
    let list = list["organisations"].as_array().expect("organisations");
    let text = |one: &Value, key: &str| one[key].as_str().expect("a text").to_owned();
    let hospitals = list.iter().map(|one| Hospital {
        code: text(one, "code"),
        prefix: text(one, "ae_prefix"),
    });
    let hospitals: Vec<Hospital> = hospitals.collect();
    assert_eq!(hospitals.len(), HOSPITALS);
    hospitals
}

/// Where the server is, and how often it was started before.
#[derive(Clone, Copy, Debug)]
pub struct At {
    /// Where it speaks DICOM.
    pub dicom: SocketAddr,
    /// Where it speaks HTTP.
    pub http: SocketAddr,
    start: u32,
}

/// The server, with those who work beside it.
#[derive(Debug)]
pub struct Centre {
    portal: RwLock<Portal>,
    starts: AtomicU32,
    interrupted: AtomicUsize,
    done: Mutex<usize>,
    more: Condvar,
}

impl Centre {
    /// Starts it with the devices of the hospitals.
    #[must_use]
    pub fn start(hospitals: &[Hospital]) -> Self {
        let devices: Vec<Value> = hospitals.iter().flat_map(devices).collect();
        Self {
            portal: RwLock::new(Portal::with_devices(&devices)),
            starts: AtomicU32::new(0),
            interrupted: AtomicUsize::new(0),
            done: Mutex::new(0),
            more: Condvar::new(),
        }
    }

    /// The portal, while it is not being started again.
    ///
    /// # Panics
    /// When somebody panicked who had it.
    pub fn portal(&self) -> RwLockReadGuard<'_, Portal> {
        self.portal.read().expect("nobody panics while it restarts")
    }

    /// Where it is now; waits while it is being started again.
    #[must_use]
    pub fn at(&self) -> At {
        let portal = self.portal();
        At {
            dicom: portal.server.dicom(),
            http: portal.server.http(),
            start: self.starts.load(Ordering::SeqCst),
        }
    }

    /// Tries something until it succeeds, as devices and pages do: what a restart broke off is
    /// tried again.
    ///
    /// # Panics
    /// When it fails though the server stands.
    pub fn persist<T, E: Debug>(
        &self,
        what: &str,
        mut attempt: impl FnMut(At) -> Result<T, E>,
    ) -> T {
        let mut failures = 0;
        loop {
            let at = self.at();
            let error = match attempt(at) {
                Ok(done) => return done,
                Err(error) => error,
            };
            if self.at().start == at.start {
                failures += 1;
                assert!(
                    failures < FAILURES_MAX,
                    "{what}: {error:?}, though the server stands"
                );
            } else {
                self.interrupted.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// How often something was broken off by a restart, and tried again.
    #[must_use]
    pub fn interrupted(&self) -> usize {
        self.interrupted.load(Ordering::Relaxed)
    }

    /// Kills the server in the middle of what it does, or asks it to end, and starts it again.
    ///
    /// # Panics
    /// When it does not end or start.
    pub fn restart(&self, is_killed: bool) {
        let mut portal = self.portal.write().expect("nobody panics");
        if is_killed {
            portal.server.kill();
        } else {
            assert!(portal.server.stop().success(), "it does not end in order");
        }
        self.starts.fetch_add(1, Ordering::SeqCst);
        portal.server.restart();
    }

    /// Stops the server, changes its environment, and starts it again.
    ///
    /// # Panics
    /// When it does not end or start.
    pub fn restart_with(&self, environment: &[(&str, &str)]) {
        let mut portal = self.portal.write().expect("nobody panics");
        assert!(portal.server.stop().success(), "it does not end in order");
        for (name, value) in environment {
            portal.server.set_environment(name, Some(value));
        }
        self.starts.fetch_add(1, Ordering::SeqCst);
        portal.server.restart();
    }

    /// Says that one examination more is begun.
    ///
    /// # Panics
    /// When somebody panicked who counted.
    pub fn count(&self) {
        *self.done.lock().expect("nobody panics") += 1;
        self.more.notify_all();
    }

    /// Waits until so many examinations are begun.
    ///
    /// # Panics
    /// When somebody panicked who counted.
    pub fn wait_for(&self, count: usize) {
        let done = self.done.lock().expect("nobody panics");
        let reached = self.more.wait_while(done, |done| *done < count);
        drop(reached.expect("nobody panics"));
    }

    /// Ends the server, which is whole, and gives it back.
    ///
    /// # Panics
    /// When somebody panicked who had it.
    #[must_use]
    pub fn into_portal(self) -> Portal {
        self.portal.into_inner().expect("nobody panics")
    }

    /// Those who work at the hospitals, in their order.
    #[must_use]
    pub fn operators(&self, hospitals: &[Hospital]) -> Vec<Browser> {
        let portal = self.portal();
        let portal = &*portal;
        let sign_in = |hospital: &Hospital| {
            let role = format!("operator@{}", hospital.code);
            portal.user(&hospital.operator(), &[&role])
        };
        // The server speaks to four who hold its data directory at once.
        let mut operators = Vec::new();
        for some in hospitals.chunks(3) {
            std::thread::scope(|scope| {
                let signing: Vec<_> = some
                    .iter()
                    .map(|hospital| scope.spawn(|| sign_in(hospital)))
                    .collect();
                let signed = signing.into_iter();
                operators.extend(signed.map(|one| one.join().expect("signed in")));
            });
        }
        operators
    }
}

/// A modality of each kind, and a workstation. Every second hospital's consoles take in UTF-8.
fn devices(hospital: &Hospital) -> Vec<Value> {
    let is_even = hospital.code.ends_with(['0', '2', '4', '6', '8']);
    let charset = if is_even { "UTF8" } else { "ASCII" };
    let mut devices: Vec<Value> = [Kind::Ct, Kind::Mr, Kind::Dx]
        .iter()
        .map(|kind| {
            json!({
                "ae_title": hospital.device(*kind),
                "organisation": hospital.code,
                "modality": kind.modality(),
                "mpps": true,
                "profile": {"charset": charset},
            })
        })
        .collect();
    devices.push(json!({
        "ae_title": hospital.workstation(), "organisation": hospital.code,
    }));
    devices
}
