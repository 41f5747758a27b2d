//! A disk that fails now and then (R6): calls of the server fail, or do less than they were asked
//! for.
//!
//! libfiu does that in the process, at random; strace at the door of the kernel, at every Nth call.
//! strace also says which calls there are: [`calls_of_a_day`] lists those of a day, and each of
//! them is one that fails here, or of which nobody looks at the result.
//!
//! Nothing is acknowledged that is not kept. A failed sync, and an index that cannot be read, end
//! the process with a code that is not zero; the next start recovers. Short reads and writes are
//! nothing that anybody sees.

mod calls;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{Kept, has, questions, storing, until};
use crate::peers::files_below;
use crate::samples::{Random, Slice};
use crate::server::{Options, Server};
use crate::stow::try_ask;
use crate::wire::association::dial;
use crate::wire::{Association, Keys, WireError, identifier};
use crate::{crash, workspace};

pub(crate) use calls::launcher;
pub use calls::{DISK_CALLS, UNWATCHED_CALLS, calls_of_a_day, can_trace};

/// What is preloaded; `fiu-run` does the same.
const LIBRARIES: &str = "/usr/lib/fiu/fiu_run_preload.so /usr/lib/fiu/fiu_posix_preload.so";

/// What stands at the door of the kernel.
const STRACE: &str = "/usr/bin/strace";

/// Calls of a disk, as libfiu names them. `write` is not among them: the runtime wakes its threads
/// by it, through a descriptor that no disk makes fail, and the library cannot tell that from a
/// file. [`DISK_CALLS`] has it, for the files of the disk alone.
const CALLS: [&str; 11] = [
    "posix/io/rw/pwritev",
    "posix/io/rw/pwrite",
    "posix/io/sync/fdatasync",
    "posix/io/sync/fsync",
    "posix/io/rw/pread",
    "posix/io/rw/read",
    "posix/io/dir/rename",
    "posix/io/dir/unlink",
    "posix/io/dir/opendir",
    "posix/io/oc/open",
    "posix/io/rw/ftruncate",
];

/// Calls that may do less than they were asked for.
const SHORT_CALLS: [&str; 4] = [
    "posix/io/rw/pwritev/reduce",
    "posix/io/rw/pwrite/reduce",
    "posix/io/rw/pread/reduce",
    "posix/io/rw/read/reduce",
];

/// Pictures of which the making fails; they are numbered from 0 on in each start.
const MADE_COUNT: u32 = 16;

/// EIO, and ENOSPC.
const ERRORS: [u32; 2] = [5, 28];

/// What lets calls fail.
#[derive(Clone, Debug)]
pub enum Faults {
    /// libfiu, in the process; as `fiu-run -c` takes it.
    Library(String),
    /// strace, at the door of the kernel: this call, and every how many.
    Kernel(DiskCall, u32),
}

/// A call of the disk, as the kernel has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskCall {
    /// Its name. Where machines have it under several names those are in front of the names of the
    /// others that are the same.
    pub names: &'static [&'static str],
    /// What it fails with.
    pub error: &'static str,
    /// Whether it is made of other things than the disk, too: then it fails for the files of the
    /// archive alone.
    pub is_shared: bool,
    /// Whether it is a hint, and a failure is nothing that anybody sees.
    pub is_hint: bool,
}

/// What an archive has, and what it will have soon.
fn paths_of(data: &Path) -> Vec<PathBuf> {
    let mut paths = files_below(data);
    paths.push(data.to_owned());
    for name in [
        "packs",
        "derived",
        "derived/new",
        "packs/log-0000000002.tar",
    ] {
        paths.push(data.join(name));
    }
    for number in 0..MADE_COUNT {
        paths.push(data.join(format!("derived/new/{number}")));
    }
    paths
}

/// What fails, and how often.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What fails.
    pub faults: Faults,
    /// How long instances are stored and read meanwhile.
    pub duration: Duration,
    /// Whether nobody may notice.
    pub is_invisible: bool,
    /// Whether it goes on until the server has ended itself, or did not start.
    pub is_noticed: bool,
}

/// How long it may take until that is so.
const NOTICED_PATIENCE: Duration = Duration::from_secs(60);

impl Plan {
    /// The same until the server has ended itself, or did not start.
    #[must_use]
    pub fn until_noticed(mut self) -> Self {
        self.is_noticed = true;
        self
    }

    /// `call` fails with `error` at this probability.
    #[must_use]
    pub fn fails(call: &str, error: u32, probability: f64, duration: Duration) -> Self {
        let faults =
            format!("enable_random name={call},probability={probability},failinfo={error}");
        Self {
            faults: Faults::Library(faults),
            duration,
            is_invisible: false,
            is_noticed: false,
        }
    }

    /// `call` does less than it was asked for at this probability.
    #[must_use]
    pub fn is_short(call: &str, probability: f64, duration: Duration) -> Self {
        let faults = format!("enable_random name={call},probability={probability}");
        Self {
            faults: Faults::Library(faults),
            duration,
            is_invisible: true,
            is_noticed: false,
        }
    }

    /// Each thread's every `every`th `call` fails in the kernel.
    #[must_use]
    pub fn fails_in_kernel(call: DiskCall, every: u32, duration: Duration) -> Self {
        Self {
            faults: Faults::Kernel(call, every),
            duration,
            is_invisible: call.is_hint,
            is_noticed: false,
        }
    }

    /// Whether what it needs is here; said loudly, or failed, where not.
    fn is_possible(&self) -> bool {
        match self.faults {
            Faults::Library(_) => LIBRARIES
                .split(' ')
                .all(|library| has(library, "fiu-utils")),
            Faults::Kernel(..) => can_trace(),
        }
    }

    /// The server that it is for: libfiu sees calls of the C library alone.
    fn binary(&self) -> Option<PathBuf> {
        match self.faults {
            Faults::Library(_) => Some(workspace::server_with_libc_calls()),
            Faults::Kernel(..) => None,
        }
    }
}

impl DiskCall {
    /// The command that becomes a server of which every `every`th of these calls fails.
    fn launcher(&self, every: u32, data: &Path) -> Vec<String> {
        let names: Vec<String> = self.names.iter().map(|name| format!("?{name}")).collect();
        let names = names.join(",");
        let error = self.error;
        let mut words = launcher(&["-qq", "--seccomp-bpf", "-o", "/dev/null"]);
        words.extend(["-e".to_owned(), format!("trace={names}")]);
        let inject = format!("inject={names}:error={error}:when={every}+{every}");
        words.extend(["-e".to_owned(), inject]);
        if self.is_shared {
            for path in paths_of(data) {
                words.extend(["-P".to_owned(), path.display().to_string()]);
            }
        }
        words
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

impl Report {
    /// Whether the server ended itself, or did not start.
    #[must_use]
    pub const fn is_noticed(&self) -> bool {
        self.ended > 0 || self.starts_failed > 0
    }
}

struct Campaign {
    server: Server,
    kept: Kept,
    random: Random,
    study: u32,
    report: Report,
}

/// Stores and reads while the calls of `plan` fail; `None` where what that needs is missing.
///
/// # Panics
/// When anything acknowledged is lost, the server hangs, or ends as if all were well.
#[must_use]
pub fn run(plan: &Plan, seed: u64) -> Option<Report> {
    if !plan.is_possible() {
        return None;
    }
    let mut server = Server::start(Options {
        binary: plan.binary(),
        arguments: vec!["--open-loopback".to_owned()],
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
    campaign.start(plan);
    let until = Instant::now() + plan.duration;
    while Instant::now() < until || (plan.is_noticed && !campaign.report.is_noticed()) {
        let is_patient = Instant::now() < until + NOTICED_PATIENCE;
        assert!(is_patient, "nothing was noticed: {:?}", campaign.report);
        let until = match plan.is_noticed {
            true => until.max(Instant::now() + plan.duration),
            false => until,
        };
        campaign.study += 1;
        if campaign.work(until).is_err() {
            campaign.report.refused += 1;
            assert!(!plan.is_invisible, "a short call was seen");
            campaign.restart_if_ended(plan);
        }
    }
    campaign.end(plan)
}

impl Campaign {
    fn fail(&mut self, plan: Option<&Plan>) {
        let faults = plan.map(|plan| &plan.faults);
        let (library, kernel) = match faults {
            None => (None, Vec::new()),
            Some(Faults::Library(faults)) => (Some(faults.as_str()), Vec::new()),
            Some(Faults::Kernel(call, every)) => (None, call.launcher(*every, &self.server.data())),
        };
        self.server
            .set_environment("LD_PRELOAD", library.map(|_| LIBRARIES));
        self.server.set_environment("FIU_ENABLE", library);
        self.server.set_launcher(kernel);
    }

    /// Starts it, though that may fail too.
    fn start(&mut self, plan: &Plan) {
        let mut attempts = 0;
        while let Err(log) = self.server.try_restart() {
            attempts += 1;
            self.report.starts_failed += 1;
            assert!(attempts < 50, "it does not start any more:\n{log}");
            if matches!(plan.faults, Faults::Kernel(..)) {
                // The same call would fail each time.
                self.fail(None);
            }
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
        self.read(&slice)?;
        self.render(&slice)
    }

    /// A picture is made of it, which is kept beside the packs; where that cannot be done now it is
    /// told so.
    fn render(&self, slice: &Slice) -> Result<(), WireError> {
        let Slice {
            study,
            series,
            instance,
            ..
        } = slice;
        let path =
            format!("/dicomweb/studies/{study}/series/{series}/instances/{instance}/rendered");
        let answer = try_ask(self.server.http(), "GET", &path, &[], b"")?;
        assert!(
            [200, 404, 500, 503].contains(&answer.status),
            "{}",
            answer.head
        );
        Ok(())
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
    fn restart_if_ended(&mut self, plan: &Plan) {
        let Some(status) = self.server.wait_at_most(Duration::from_millis(300)) else {
            return;
        };
        assert!(!status.success(), "it ended as if all were well: {status}");
        self.report.ended += 1;
        self.start(plan);
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
    for call in DISK_CALLS {
        for every in [1, 2, 4, 8, 16, 64, 256, 1_024] {
            plans.push(Plan::fails_in_kernel(call, every, duration / 3));
        }
    }
    for (number, plan) in (0..).zip(&plans) {
        let Some(report) = run(plan, seed ^ number) else {
            continue;
        };
        println!("edges: {:?}: {report:?}", plan.faults);
    }
}
