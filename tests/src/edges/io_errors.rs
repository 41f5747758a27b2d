//! A disk that fails now and then (R6): libfiu lets calls of the server fail, or do less than they
//! were asked for.
//!
//! Nothing is acknowledged that is not kept. A failed sync, and an index that cannot be read, end
//! the process with a code that is not zero; the next start recovers. Short reads and writes are
//! nothing that anybody sees.

use std::time::{Duration, Instant};

use super::{Kept, has, questions, storing, until};
use crate::samples::{Random, Slice};
use crate::server::{Options, Server};
use crate::wire::association::dial;
use crate::wire::{Association, Keys, WireError, identifier};
use crate::{crash, workspace};

/// What is preloaded; `fiu-run` does the same.
const LIBRARIES: &str = "/usr/lib/fiu/fiu_run_preload.so /usr/lib/fiu/fiu_posix_preload.so";

/// Calls of a disk, as libfiu names them.
const CALLS: [&str; 10] = [
    "posix/io/rw/pwritev",
    "posix/io/rw/pwrite",
    "posix/io/rw/write",
    "posix/io/sync/fdatasync",
    "posix/io/sync/fsync",
    "posix/io/rw/pread",
    "posix/io/rw/read",
    "posix/io/dir/rename",
    "posix/io/oc/open",
    "posix/io/rw/ftruncate",
];

/// Calls that may do less than they were asked for.
const SHORT_CALLS: [&str; 2] = ["posix/io/rw/pwritev/reduce", "posix/io/rw/pread/reduce"];

/// EIO, and ENOSPC.
const ERRORS: [u32; 2] = [5, 28];

/// What fails, and how often.
#[derive(Clone, Debug)]
pub struct Plan {
    /// As `fiu-run -c` takes it.
    pub faults: String,
    /// How long instances are stored and read meanwhile.
    pub duration: Duration,
    /// Whether nobody may notice.
    pub is_invisible: bool,
}

impl Plan {
    /// `call` fails with `error` at this probability.
    #[must_use]
    pub fn fails(call: &str, error: u32, probability: f64, duration: Duration) -> Self {
        Self {
            faults: format!("enable_random name={call},probability={probability},failinfo={error}"),
            duration,
            is_invisible: false,
        }
    }

    /// `call` does less than it was asked for at this probability.
    #[must_use]
    pub fn is_short(call: &str, probability: f64, duration: Duration) -> Self {
        Self {
            faults: format!("enable_random name={call},probability={probability}"),
            duration,
            is_invisible: true,
        }
    }
}

/// What happened.
#[derive(Clone, Copy, Debug, Default)]
pub struct Report {
    /// Instances acknowledged, all of which came back.
    pub acknowledged: usize,
    /// C-STOREs that were refused or broken off.
    pub refused: usize,
    /// How often the server ended itself.
    pub ended: usize,
    /// Starts that did not succeed.
    pub starts_failed: usize,
}

struct Campaign {
    server: Server,
    kept: Kept,
    random: Random,
    study: u32,
    report: Report,
}

/// Stores and reads while the calls of `plan` fail; `None` where libfiu is missing.
///
/// # Panics
/// When anything acknowledged is lost, the server hangs, or ends as if all were well.
#[must_use]
pub fn run(plan: &Plan, seed: u64) -> Option<Report> {
    for library in LIBRARIES.split(' ') {
        if !has(library, "fiu-utils") {
            return None;
        }
    }
    let mut server = Server::start(Options {
        binary: Some(workspace::server_with_libc_calls()),
        ..Options::default()
    });
    assert!(server.stop().success(), "the server does not stop in order");
    let mut campaign = Campaign {
        server,
        kept: Kept::default(),
        random: Random::new(seed),
        study: 0,
        report: Report::default(),
    };
    campaign.fail(Some(plan));
    campaign.start();
    let until = Instant::now() + plan.duration;
    while Instant::now() < until {
        campaign.study += 1;
        if campaign.work(until).is_err() {
            campaign.report.refused += 1;
            assert!(!plan.is_invisible, "a short call was seen");
            campaign.restart_if_ended();
        }
    }
    campaign.end(plan)
}

impl Campaign {
    fn fail(&mut self, plan: Option<&Plan>) {
        let preload = plan.map(|_| LIBRARIES);
        self.server.set_environment("LD_PRELOAD", preload);
        let faults = plan.map(|plan| plan.faults.as_str());
        self.server.set_environment("FIU_ENABLE", faults);
    }

    /// Starts it, though that may fail too.
    fn start(&mut self) {
        let mut attempts = 0;
        while let Err(log) = self.server.try_restart() {
            attempts += 1;
            self.report.starts_failed += 1;
            assert!(attempts < 50, "it does not start any more:\n{log}");
        }
    }

    /// One study of some instances, stored and read back.
    fn work(&mut self, deadline: Instant) -> Result<(), WireError> {
        let stream = dial(self.server.dicom())?;
        // A server that says nothing for so long hangs.
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        let mut association = Association::over(stream, &storing())?;
        let mut slice = Slice::new(self.study, 0);
        for number in 1..=20 {
            if Instant::now() > deadline {
                break;
            }
            slice = Slice::new(self.study, number);
            slice.side = match self.random.below(40) {
                0 => 2_200,
                _ => u16::try_from(self.random.below(200) + 1).expect("small"),
            };
            let stored = self.kept.store(&mut association, &slice);
            if self.is_refused(&stored) {
                self.report.refused += 1;
            }
            stored?;
        }
        association.release()?;
        self.read(&slice)
    }

    fn is_refused(&self, stored: &Result<u16, WireError>) -> bool {
        if let Err(WireError::Transport(error)) = stored {
            panic!("the server hangs ({error}):\n{}", self.server.log());
        }
        !matches!(stored, Ok(0))
    }

    /// What comes back is what was sent, or nothing is.
    fn read(&self, slice: &Slice) -> Result<(), WireError> {
        let mut association = self.server.associate(questions())?;
        let keys = Keys::at("STUDY").with(identifier::tag::STUDY, &slice.study);
        let (ended, received) = association.get(&keys)?;
        let studies = self.kept.studies();
        let Some(sent) = studies.get(&slice.study) else {
            return Ok(());
        };
        for instance in &received {
            if let Some(digest) = sent.get(&instance.sop_instance) {
                assert_eq!(&instance.digest, digest, "another content came back");
            }
        }
        if ended.status == 0 {
            let back = received.iter().map(|instance| &instance.sop_instance);
            let back: std::collections::BTreeSet<_> = back.collect();
            let lost = sent.keys().find(|instance| !back.contains(instance));
            assert_eq!(lost, None, "LOST, and the retrieval said Success");
        }
        association.release()
    }

    /// A server that has ended itself said so, and is started again.
    fn restart_if_ended(&mut self) {
        let Some(status) = self.server.wait_at_most(Duration::from_millis(300)) else {
            return;
        };
        assert!(!status.success(), "it ended as if all were well: {status}");
        self.report.ended += 1;
        self.start();
    }

    /// Without faults everything is there.
    fn end(mut self, plan: &Plan) -> Option<Report> {
        self.fail(None);
        self.server.terminate();
        let status = until(Duration::from_secs(60), "its end", || {
            self.server.wait_at_most(Duration::from_millis(100))
        });
        assert!(status.success() || !plan.is_invisible, "{status}");
        self.server.restart();
        self.kept.check(&self.server);
        assert!(self.server.stop().success(), "it does not stop in order");
        crash::verify(&self.server.data());
        crash::no_temporary_files(&self.server.data());
        self.report.acknowledged = self.kept.count();
        Some(self.report)
    }
}

/// Every call, with every error, rarely and often.
///
/// # Panics
/// As [`run`].
pub fn campaign(seed: u64) {
    let duration = Duration::from_secs(6);
    let mut plans = Vec::new();
    for call in CALLS {
        for error in ERRORS {
            for probability in [0.001, 0.02] {
                plans.push(Plan::fails(call, error, probability, duration));
            }
        }
    }
    for call in SHORT_CALLS {
        plans.push(Plan::is_short(call, 0.001, duration));
        plans.push(Plan::is_short(call, 0.5, duration));
    }
    for (number, plan) in (0..).zip(&plans) {
        let Some(report) = run(plan, seed ^ number) else {
            return;
        };
        println!("edges: {}: {report:?}", plan.faults);
    }
}
