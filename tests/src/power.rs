//! The power campaign: what the server acknowledged must be there when the power comes back.
//!
//! The real server keeps its data on an ext4 (or XFS) of its own in a file. Eight senders store
//! instances over C-STORE and four over STOW-RS, and a person takes studies of earlier rounds out
//! of sight and brings them back; at a random moment, or when the server aborts itself at a named
//! step, the file system is shut down without a flush of its journal, so that everything that was
//! not synced is lost, as if the power had gone. It is mounted again, which replays its journal,
//! and checked; the server is started, and asked for every instance it ever acknowledged and every
//! study that was turned.
//!
//! Everything runs in a mount namespace of its own and dies with it: the system takes the mounts
//! and loop devices away whatever ends the campaign.
//!
//! What this cannot show, the crash disk of `pacs-store-conformance` shows: torn and reordered
//! sectors. Drives that lie about a flush are beyond both.

mod disk;

pub use disk::{FileSystem, why_not};

use std::os::unix::process::CommandExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use crate::crash::{
    CRASH_AT, Ended, Hider, Mix, Oracle, STEPS, STUDIES_PER_ROUND, no_temporary_files,
    send_until_it_dies, setting_of,
};
use crate::samples::Random;
use crate::server::Server;
use crate::{crash, workspace};
use disk::{Cutter, LoopDisk};

/// Cuts after which a new file system and a new archive begin, so that asking for all of it does
/// not take longer and longer.
const CUTS_PER_ARCHIVE: u32 = 10;

/// Cuts within which a server without syncs must have lost something.
const CUTS_WITHOUT_SYNCS_MAX: u32 = 20;

/// How long a server may run on without its disk before it is killed.
const AFTERLIFE_MAX: Duration = Duration::from_millis(30);

/// Set where the campaign runs in a namespace of its own.
const IN_NAMESPACE: &str = "PACS_POWER_NAMESPACE";

/// What a campaign does.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Losses of power under load; there are more during recoveries.
    pub cuts: u32,
    /// Longest time the senders have before a cut.
    pub wait_max: Duration,
    /// Decides moments, sizes and content.
    pub seed: u64,
    /// Under the server.
    pub file_system: FileSystem,
    /// How it is mounted, such as `data=writeback`; empty for the system's defaults.
    pub mount_options: String,
    /// Let the server only say that it syncs (`PACS_WITHOUT_SYNCS`).
    pub is_without_syncs: bool,
}

/// What a campaign found, when it found no fault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Cuts at random moments of a server under load.
    pub cuts_at_random: u32,
    /// Cuts when the server had aborted at a named step of a commit.
    pub cuts_at_steps: u32,
    /// Further cuts while the server was recovering from one.
    pub cuts_in_recovery: u32,
    /// Instances acknowledged, all of which came back, or were out of sight.
    pub acknowledged: usize,
    /// How many of them were acknowledged by a response of STOW-RS.
    pub stowed: usize,
    /// Studies taken out of sight, none of which was found then.
    pub hidden: usize,
    /// Studies brought back, all of which were found then.
    pub restored: usize,
    /// Instances sent, not acknowledged, and there nevertheless, whole.
    pub kept_unacknowledged: usize,
    /// Instances answered while the power was going, which may be there or not.
    pub answered_without_power: usize,
}

/// Goes on in a mount namespace of its own, where nobody else sees what is mounted.
///
/// # Panics
/// When there can be none.
pub fn enter_own_namespace() {
    if std::env::var_os(IN_NAMESPACE).is_some() {
        return;
    }
    let itself = std::env::current_exe().expect("a path");
    let mut again = Command::new("unshare");
    again
        .args(["--mount", "--propagation", "private", "--"])
        .arg(itself)
        .args(std::env::args_os().skip(1))
        .env(IN_NAMESPACE, "1");
    panic!("cannot run unshare: {}", again.exec());
}

/// Runs a campaign; [`enter_own_namespace`] comes first.
///
/// # Panics
/// When anything acknowledged is lost or anything is half there; the message holds the seed.
#[must_use]
pub fn run(plan: &Plan) -> Report {
    println!("power campaign: {plan:?}");
    let mut report = Report::default();
    let mut cut = 0;
    while cut < plan.cuts {
        let mut archive = Attacked::new(plan, plan.seed.wrapping_add(u64::from(cut)), report);
        let end = plan.cuts.min(cut + CUTS_PER_ARCHIVE);
        while cut < end {
            archive.cut_once(plan);
            cut += 1;
        }
        report = archive.end();
        println!("power campaign: {cut} cuts, {report:?}");
    }
    report
}

/// The control: runs cuts of a server that does not sync, until a loss is noticed; at which cut
/// that was.
///
/// # Panics
/// When none is within `CUTS_WITHOUT_SYNCS_MAX` cuts.
#[must_use]
pub fn run_until_a_loss(plan: &Plan) -> u32 {
    println!("power campaign, to fail: {plan:?}");
    for cut in 1..=CUTS_WITHOUT_SYNCS_MAX {
        let seed = plan.seed.wrapping_add(u64::from(cut));
        let mut archive = Attacked::new(plan, seed, Report::default());
        let played = catch_unwind(AssertUnwindSafe(|| archive.cut_once(plan)));
        let Err(fault) = played else { continue };
        let fault = fault.downcast_ref::<String>().cloned().unwrap_or_default();
        // A rig that fails proves nothing.
        if fault.contains("LOST after it was acknowledged") {
            return cut;
        }
    }
    panic!("a server without syncs lost nothing in {CUTS_WITHOUT_SYNCS_MAX} cuts");
}

/// One archive, the file system under it, and what is known of it.
///
/// The order of the fields matters: the server ends before its disk is unmounted.
struct Attacked {
    server: Server,
    disk: LoopDisk,
    hider: Hider,
    oracle: Mutex<Oracle>,
    random: Random,
    round: u32,
    report: Report,
}

impl Attacked {
    fn new(plan: &Plan, seed: u64, report: Report) -> Self {
        let disk = LoopDisk::new(plan.file_system, &plan.mount_options);
        let data = disk.mount_point().join("data");
        let data = data.to_str().expect("a path in UTF-8").to_owned();
        let mut options = crash::options(Vec::new());
        options.arguments.extend(["--data".to_owned(), data]);
        // Whatever ends the campaign ends its server, which would keep the namespace alive.
        options.launcher = ["setpriv", "--pdeathsig", "KILL"].map(str::to_owned).into();
        if plan.is_without_syncs {
            options.binary = Some(workspace::server_with_failpoints());
            let without = ("PACS_WITHOUT_SYNCS".to_owned(), "1".to_owned());
            options.environment.push(without);
        }
        let server = Server::start(options);
        let hider = Hider::start(&server);
        if plan.is_without_syncs {
            // What was there before is not what is to be missed; without its beginnings an archive
            // is refused, and nobody asks for anything.
            disk.sync();
        }
        Self {
            server,
            hider,
            disk,
            oracle: Mutex::default(),
            random: Random::new(seed),
            round: 0,
            report,
        }
    }

    /// One round: senders, a cut, perhaps another during recovery, and the questions.
    fn cut_once(&mut self, plan: &Plan) {
        if !plan.is_without_syncs && self.random.below(4) == 0 {
            self.cut_at_a_step();
        } else {
            self.cut_at_random(plan.wait_max);
        }
        self.disk.put_together();
        if !plan.is_without_syncs && self.random.below(4) == 0 {
            self.cut_in_recovery();
            self.disk.put_together();
        }
        self.server.restart();
        let mut oracle = self.oracle();
        let all = oracle.studies();
        oracle.ask(&self.server, &all);
        no_temporary_files(&self.server.data());
    }

    fn cut_at_random(&mut self, wait_max: Duration) {
        let wait = self.below(wait_max);
        let afterlife = self.below(AFTERLIFE_MAX);
        let cutter = Cutter::new(&self.disk);
        self.send_until_it_dies(Mix::Usual, |_, oracle| {
            // The random moments of the cut and of the end of the process.
            std::thread::sleep(wait);
            oracle.lock().expect("no sender panics").note_power_gone();
            cutter.cut();
            std::thread::sleep(afterlife);
        });
        self.report.cuts_at_random += 1;
    }

    /// The server aborts at a step between two others; then the power goes.
    fn cut_at_a_step(&mut self) {
        let steps: Vec<&str> = STEPS
            .into_iter()
            .filter(|step| !step.starts_with("recovery-"))
            .collect();
        let step = steps[self.random.below(steps.len() as u64) as usize];
        let (setting, mix) = setting_of(step, &mut self.random, 2);
        self.server.stop();
        self.begin_to_crash(&setting);
        self.server.restart();
        self.send_until_it_dies(mix, |server, _| {
            let ended = server.wait_at_most(Duration::from_secs(30));
            assert!(ended.is_some(), "the step {step} was never reached");
        });
        Cutter::new(&self.disk).cut();
        self.crash_no_more();
        self.report.cuts_at_steps += 1;
    }

    /// The power goes again while the server recovers: at a named step, or at a random moment.
    fn cut_in_recovery(&mut self) {
        if self.random.below(2) == 0 {
            let cutter = Cutter::new(&self.disk);
            let delay = self.below(Duration::from_millis(60));
            self.server.restart_and_kill_after(delay, || cutter.cut());
        } else {
            let steps: Vec<&str> = STEPS
                .into_iter()
                .filter(|step| step.starts_with("recovery-"))
                .collect();
            let step = steps[self.random.below(steps.len() as u64) as usize];
            self.begin_to_crash(&format!("{step}:1"));
            let started = self.server.try_restart();
            assert!(started.is_err(), "the step {step} was never reached");
            Cutter::new(&self.disk).cut();
            self.crash_no_more();
        }
        self.report.cuts_in_recovery += 1;
    }

    fn begin_to_crash(&mut self, setting: &str) {
        let binary = workspace::server_with_failpoints();
        self.server.set_binary(Some(binary));
        self.server.set_environment(CRASH_AT, Some(setting));
    }

    fn crash_no_more(&mut self) {
        self.server.set_binary(None);
        self.server.set_environment(CRASH_AT, None);
    }

    fn send_until_it_dies(&mut self, mix: Mix, ending: impl FnOnce(&mut Server, &Mutex<Oracle>)) {
        self.round += 1;
        let base = self.round * STUDIES_PER_ROUND;
        let what = (base, self.random.number(), mix);
        let turns = (base, self.random.number());
        let (oracle, hider) = (&self.oracle, &self.hider);
        let (http, server) = (self.server.http(), &mut self.server);
        std::thread::scope(|scope| {
            scope.spawn(|| hider.turn_until_it_dies(http, oracle, turns));
            send_until_it_dies(server, oracle, what, |server| ending(server, oracle));
        });
        self.oracle().note_power_back();
    }

    fn oracle(&self) -> MutexGuard<'_, Oracle> {
        self.oracle.lock().expect("no sender panics")
    }

    /// Verifies the archive stopped, asks for all of it once more, and gives the report on.
    fn end(mut self) -> Report {
        let ended = Ended::of(&mut self.server, self.oracle);
        self.report.kept_unacknowledged += ended.kept_unacknowledged;
        self.report.acknowledged += ended.acknowledged;
        self.report.stowed += ended.counts.stowed;
        self.report.hidden += ended.counts.hidden;
        self.report.restored += ended.counts.restored;
        self.report.answered_without_power += ended.counts.answered_without_power;
        self.report
    }

    fn below(&mut self, bound: Duration) -> Duration {
        let bound = u64::try_from(bound.as_micros()).expect("a short time");
        Duration::from_micros(self.random.below(bound.max(1)))
    }
}
