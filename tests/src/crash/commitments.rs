//! The device that asks for commitment: it is owed a report for every request that was taken, also
//! by a server that is killed right after, and whatever was acknowledged must be committed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Mutex;

use super::oracle::Oracle;
use crate::samples::Random;
use crate::server::RemoteAe;
use crate::wire::commitment::{Report, ReportSink};
use crate::wire::{Association, Context, Proposal, WireError, uid};

/// Its title.
const TITLE: &str = "CONSOLE";

/// The reason of what is not there, or out of sight (PS3.3 C.14.1.1).
const NO_SUCH_INSTANCE: u16 = 0x0112;

/// Instances it asks about at once.
const REFERENCES_MAX: usize = 20;

/// A device that asks, leaves, and takes its reports over another association.
#[derive(Debug)]
pub(crate) struct Device {
    sink: ReportSink,
    /// Requests that were taken and not reported yet.
    owed: Mutex<BTreeMap<String, BTreeSet<String>>>,
    asked_count: Mutex<u64>,
    reports_count: Mutex<usize>,
}

impl Device {
    pub(crate) fn start() -> Self {
        Self {
            sink: ReportSink::start(0, &[]),
            owed: Mutex::default(),
            asked_count: Mutex::default(),
            reports_count: Mutex::default(),
        }
    }

    /// How the server knows it.
    pub(crate) fn remote(&self) -> RemoteAe {
        RemoteAe::new(TITLE, self.sink.address())
    }

    /// Asks about what was acknowledged of `studies` until the server dies.
    pub(crate) fn ask_until_it_dies(
        &self,
        address: SocketAddr,
        oracle: &Mutex<Oracle>,
        studies: &[String],
        seed: u64,
    ) {
        let mut random = Random::new(seed);
        let mut ended = Ok(());
        while ended.is_ok() {
            let study = random.below(studies.len() as u64);
            let study = &studies[usize::try_from(study).expect("an index")];
            let known = oracle.lock().expect("no sender panics");
            let mut asked: Vec<String> = known.acknowledged_of(study);
            drop(known);
            let surplus = asked.len().saturating_sub(REFERENCES_MAX);
            asked.drain(..surplus);
            ended = self.ask(address, &asked);
        }
    }

    fn ask(&self, address: SocketAddr, instances: &[String]) -> Result<(), WireError> {
        let syntax = uid::IMPLICIT_LITTLE_ENDIAN;
        let contexts = vec![Context::new(uid::STORAGE_COMMITMENT, syntax)];
        let proposal = Proposal {
            calling: TITLE.to_owned(),
            ..Proposal::new(contexts)
        };
        let mut association = Association::connect(address, &proposal)?;
        if !instances.is_empty() {
            let transaction = {
                let mut count = self.asked_count.lock().expect("a number");
                *count += 1;
                format!("2.25.{count}")
            };
            let class = uid::CT_IMAGE_STORAGE;
            let references: Vec<_> = instances.iter().map(|of| (class, of.as_str())).collect();
            let status = association.commit(&transaction, &references)?;
            assert_eq!(status, 0, "the request is taken");
            let instances = instances.iter().cloned().collect();
            let mut owed = self.owed.lock().expect("no asker panics");
            owed.insert(transaction, instances);
        }
        association.release()
    }

    /// Waits for every report that is owed; how many have come in all.
    ///
    /// # Panics
    /// When one does not come, or does not commit to what was acknowledged.
    pub(crate) fn collect(&self) -> usize {
        let mut owed = self.owed.lock().expect("no asker panics");
        for report in self.sink.take() {
            self.check(&report, &mut owed);
        }
        while !owed.is_empty() {
            let report = self.sink.next();
            self.check(&report, &mut owed);
        }
        *self.reports_count.lock().expect("a number")
    }

    fn check(&self, report: &Report, owed: &mut BTreeMap<String, BTreeSet<String>>) {
        *self.reports_count.lock().expect("a number") += 1;
        // One whose response did not come is reported all the same, and a crash may repeat one.
        // Such a one may come when somebody has taken the study out of sight.
        let is_owed = owed.contains_key(&report.transaction);
        let failed = report.failed.iter();
        let failed: Vec<_> = failed
            .filter(|(_, _, reason)| is_owed || *reason != NO_SUCH_INSTANCE)
            .collect();
        assert!(failed.is_empty(), "acknowledged, not committed: {failed:?}");
        if let Some(asked) = owed.remove(&report.transaction) {
            let committed = report
                .committed
                .iter()
                .map(|(_, instance)| instance.clone());
            assert_eq!(committed.collect::<BTreeSet<_>>(), asked);
        }
    }
}
