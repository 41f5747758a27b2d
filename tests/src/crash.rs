//! The kill -9 campaign: what the server acknowledged must come back, whenever it dies.
//!
//! Eight senders store instances over C-STORE and four over STOW-RS, a device asks for commitment
//! of what they have stored, and a person takes studies of earlier rounds out of sight and brings
//! them back. An oracle outside the server remembers the digest of every data set that was sent,
//! which of them were acknowledged, and which studies are out of sight. The server is killed, or
//! aborts itself at a named step (`PACS_CRASH_AT`, in a build with `pacs-store/failpoints`), is
//! started again, and is asked for all of it. An instance that was not acknowledged may be there or
//! not, but never in part and never visible to a search alone; a study that was hidden is not to be
//! found, one that was brought back is; where the answer did not come it is one of the two, wholly.
//! Every request for commitment that was taken is reported.
//!
//! A kill does not lose what the system has not yet written to the disk; the crash disk of
//! `pacs-store-conformance` does that.

mod commitments;
mod hider;
mod oracle;
mod senders;

use commitments::Device;
pub(crate) use hider::Hider;
use oracle::Counts;
pub(crate) use oracle::{Oracle, Sight};
pub(crate) use senders::{Mix, SENDERS, send_until_it_dies};

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use crate::samples::{Random, Slice};
use crate::server::{Options, RemoteAe, Server};
use crate::signed_in::CHEAP_PASSWORDS;
use crate::workspace;

/// Kills after which everything is checked and a new archive begins, so that the disk stays small.
const KILLS_PER_ARCHIVE: u32 = 100;

/// Studies of earlier rounds that are asked for after each kill.
const EARLIER_STUDIES: usize = 12;

/// Studies of a round: one of each sender, and one that is there to be taken out of sight.
pub(crate) const STUDIES_PER_ROUND: u32 = SENDERS + 1;

/// What a campaign does.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Kills at random moments.
    pub kills: u32,
    /// Longest time the senders have before a kill.
    pub wait_max: Duration,
    /// Decides moments, sizes and content.
    pub seed: u64,
    /// How often each named step is crashed at; 0 leaves them out.
    pub rounds_per_step: u32,
    /// What is done wrong on purpose, to see that it is noticed.
    pub sabotage: Sabotage,
}

/// What is done wrong on purpose: it has to be noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// Nothing.
    None,
    /// The archive is thrown away after each kill.
    LoseEverything,
    /// The oracle believes in sight what is out of it, and the other way round.
    LieAboutSight,
}

/// What a campaign found, when it found no fault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Kills at random moments.
    pub kills: u32,
    /// Kills while the server was recovering from one.
    pub kills_in_recovery: u32,
    /// Crashes at named steps.
    pub steps_crashed: u32,
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
    /// Reports of storage commitment, each of a request that was taken; all of them came.
    pub commitments: usize,
}

/// One archive under attack.
struct Campaign {
    server: Server,
    oracle: Mutex<Oracle>,
    device: Device,
    hider: Hider,
    random: Random,
    round: u32,
    report: Report,
}

/// Runs a campaign.
///
/// # Panics
/// When anything acknowledged is lost or anything is half there; the message holds the seed.
#[must_use]
pub fn run(plan: &Plan) -> Report {
    println!("crash campaign: seed {}", plan.seed);
    let mut campaign = Campaign::begin(plan.seed, 0, Report::default());
    for kill in 0..plan.kills {
        if kill > 0 && kill % KILLS_PER_ARCHIVE == 0 {
            let (report, round) = campaign.end();
            println!("crash campaign: {report:?}");
            campaign = Campaign::begin(plan.seed.wrapping_add(u64::from(kill)), round, report);
        }
        campaign.kill_at_random(plan);
    }
    let (mut report, round) = campaign.end();
    if plan.rounds_per_step > 0 {
        let mut campaign = Campaign::begin(plan.seed ^ 1, round, report);
        campaign.crash_at_every_step(plan.rounds_per_step);
        (report, _) = campaign.end();
    }
    println!("crash campaign: {report:?}");
    report
}

impl Campaign {
    fn begin(seed: u64, round: u32, report: Report) -> Self {
        let device = Device::start();
        let server = Server::start(options(vec![device.remote()]));
        Self {
            hider: Hider::start(&server),
            server,
            oracle: Mutex::default(),
            device,
            random: Random::new(seed),
            round,
            report,
        }
    }

    /// One round: senders, a kill, perhaps another during recovery, and the questions.
    fn kill_at_random(&mut self, plan: &Plan) {
        let wait = self.below_ms(plan.wait_max);
        let base = self.next_round();
        self.send_until_it_dies(base, Mix::Usual, |server| {
            // The wait is the random moment of the kill, not a wait for something.
            std::thread::sleep(wait);
            server.kill();
        });
        self.report.kills += 1;
        match plan.sabotage {
            Sabotage::None => {}
            Sabotage::LoseEverything => {
                std::fs::remove_dir_all(self.server.data()).expect("a stopped archive");
            }
            Sabotage::LieAboutSight => self.oracle().be_lied_to(),
        }
        if self.random.below(5) == 0 {
            let delay = self.below_ms(Duration::from_millis(120));
            self.server.restart_and_kill_after(delay, || ());
            self.report.kills_in_recovery += 1;
        }
        self.server.restart();
        self.ask_for_recent(base);
    }

    /// Lets the server abort at every named step, `rounds` times each.
    fn crash_at_every_step(&mut self, rounds: u32) {
        let binary = workspace::server_with_failpoints();
        for step in STEPS {
            for round in 0..rounds {
                let base = self.next_round();
                self.server.set_binary(Some(binary.clone()));
                if step.starts_with("recovery-") {
                    self.crash_in_recovery(step, base);
                } else {
                    self.crash_at(step, base, round);
                }
                self.report.steps_crashed += 1;
                self.server.set_binary(None);
                self.server.set_environment(CRASH_AT, None);
                self.server.restart();
                self.ask_for_recent(base);
            }
        }
    }

    /// A step on the way of an instance: the senders go on until the server aborts there.
    fn crash_at(&mut self, step: &str, base: u32, round: u32) {
        self.server.stop();
        let (setting, mix) = setting_of(step, &mut self.random, round);
        self.server.set_environment(CRASH_AT, Some(&setting));
        self.server.restart();
        self.send_until_it_dies(base, mix, |server| {
            let ended = server.wait_at_most(Duration::from_secs(30));
            assert!(ended.is_some(), "the step {step} was never reached");
        });
    }

    /// A step of recovery: a kill with much in flight, and an abort while that is put in order.
    fn crash_in_recovery(&mut self, step: &str, base: u32) {
        let wait = Duration::from_millis(150);
        self.send_until_it_dies(base, Mix::Usual, |server| {
            std::thread::sleep(wait);
            server.kill();
        });
        self.server
            .set_environment(CRASH_AT, Some(&format!("{step}:1")));
        let started = self.server.try_restart();
        assert!(started.is_err(), "the step {step} was never reached");
    }

    /// Runs the senders while `ending` brings the server to its end.
    fn send_until_it_dies(&mut self, base: u32, mix: Mix, ending: impl FnOnce(&mut Server)) {
        let what = (base, self.random.number(), mix);
        let (asks, turns) = (self.random.number(), self.random.number());
        let (dicom, http) = (self.server.dicom(), self.server.http());
        let (device, hider) = (&self.device, &self.hider);
        let (oracle, server) = (&self.oracle, &mut self.server);
        let studies = studies_sent_in(base);
        std::thread::scope(|scope| {
            scope.spawn(|| device.ask_until_it_dies(dicom, oracle, &studies, asks));
            scope.spawn(|| hider.turn_until_it_dies(http, oracle, (base, turns)));
            send_until_it_dies(server, oracle, what, ending);
        });
    }

    /// Asks for everything of the round that began with study `base`, and for some of the earlier.
    fn ask_for_recent(&mut self, base: u32) {
        let mut studies: BTreeSet<String> = studies_sent_in(base).into_iter().collect();
        studies.extend(self.oracle().take_turned());
        let all: Vec<String> = self.oracle().studies().into_iter().collect();
        for _ in 0..EARLIER_STUDIES.min(all.len()) {
            let index = self.random.below(all.len() as u64);
            studies.insert(all[usize::try_from(index).expect("an index")].clone());
        }
        self.oracle().ask(&self.server, &studies);
        self.device.collect();
        no_temporary_files(&self.server.data());
    }

    /// Checks everything, stopped and running, and gives the report on.
    fn end(mut self) -> (Report, u32) {
        let ended = Ended::of(&mut self.server, self.oracle);
        self.report.kept_unacknowledged += ended.kept_unacknowledged;
        self.report.acknowledged += ended.acknowledged;
        self.report.stowed += ended.counts.stowed;
        self.report.hidden += ended.counts.hidden;
        self.report.restored += ended.counts.restored;
        self.report.commitments += self.device.collect();
        self.server.stop();
        no_temporary_files(&self.server.data());
        (self.report, self.round)
    }

    fn oracle(&self) -> std::sync::MutexGuard<'_, Oracle> {
        self.oracle.lock().expect("no sender panics")
    }

    /// The number of the first study of a new round.
    fn next_round(&mut self) -> u32 {
        self.round += 1;
        self.round * STUDIES_PER_ROUND
    }

    fn below_ms(&mut self, bound: Duration) -> Duration {
        let bound = u64::try_from(bound.as_micros()).expect("a short time");
        Duration::from_micros(self.random.below(bound.max(1)))
    }
}

/// What an archive came to.
pub(crate) struct Ended {
    /// Instances sent, not acknowledged, and there nevertheless, whole.
    pub(crate) kept_unacknowledged: usize,
    /// Instances acknowledged.
    pub(crate) acknowledged: usize,
    /// What else was.
    pub(crate) counts: Counts,
}

impl Ended {
    /// Verifies an archive stopped, and asks for all of it once more.
    ///
    /// # Panics
    /// When the server does not stop in order, or anything is lost or half there.
    pub(crate) fn of(server: &mut Server, oracle: Mutex<Oracle>) -> Self {
        let status = server.stop();
        assert!(
            status.success(),
            "the server does not stop in order: {status}"
        );
        verify(&server.data());
        server.restart();
        let mut oracle = oracle.into_inner().expect("no sender panics");
        let all = oracle.studies();
        Self {
            kept_unacknowledged: oracle.ask(server, &all),
            acknowledged: oracle.acknowledged(),
            counts: oracle.counts(),
        }
    }
}

/// How a server is started that is asked over the web, too, and has people.
pub(crate) fn options(remote: Vec<RemoteAe>) -> Options {
    Options {
        remote,
        arguments: vec!["--open-loopback".to_owned()],
        config: CHEAP_PASSWORDS.to_owned(),
        ..Options::default()
    }
}

/// The studies that senders send in the round that begins with study `base`.
fn studies_sent_in(base: u32) -> Vec<String> {
    let studies = base..base + SENDERS;
    studies.map(|study| Slice::new(study, 1).study).collect()
}

/// Runs `pacs verify` on a stopped archive.
///
/// # Panics
/// When it finds anything.
pub fn verify(data: &Path) {
    let mut pacs = Command::new(workspace::binary("pacs"));
    let output = pacs
        .arg("verify")
        .arg("--data")
        .arg(data)
        .output()
        .expect("pacs runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "pacs verify found something:\n{said}"
    );
}

/// # Panics
/// When a file of the archive is none of the kinds that last.
pub fn no_temporary_files(data: &Path) {
    let temporary: Vec<PathBuf> = crate::peers::files_below(data)
        .into_iter()
        .filter(|path| {
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            ["tmp", "temp", "part", "new", "partial", "~"]
                .iter()
                .any(|end| name.ends_with(end))
        })
        .collect();
    assert!(
        temporary.is_empty(),
        "temporary files are left: {temporary:?}"
    );
}

/// Names the step at which a server with fail points aborts.
pub const CRASH_AT: &str = "PACS_CRASH_AT";

/// The value of [`CRASH_AT`] for a step on the way of an instance, and what to send to reach it.
/// It is passed a few times first in the later rounds, so that there is something to lose.
pub(crate) fn setting_of(step: &str, random: &mut Random, round: u32) -> (String, Mix) {
    let is_large = step.starts_with("large") || step == "after-keep";
    let passes = if is_large || step.contains("flush") {
        1
    } else {
        1 + random.below(u64::from(round) * 8 + 1)
    };
    let mix = if is_large {
        Mix::LargeFirst
    } else {
        Mix::Usual
    };
    (format!("{step}:{passes}"), mix)
}

/// The named steps of `pacs_store::FailPoints`, in the order in which an instance passes them.
pub(crate) const STEPS: [&str; 17] = [
    "large-begun",
    "large-written",
    "large-synced",
    "before-append",
    "after-append",
    "after-sync",
    "after-keep",
    "after-stage",
    "after-commit",
    "before-answer",
    "before-flush",
    "after-flush",
    "recovery-begun",
    "recovery-applied",
    "recovery-cut",
    "recovery-swept",
    "recovery-flushed",
];
