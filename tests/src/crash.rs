//! The kill -9 campaign: what the server acknowledged must come back, whenever it dies.
//!
//! Eight senders store instances in parallel; an oracle outside the server remembers the digest of
//! every data set that was sent and which of them were acknowledged. The server is killed, or
//! aborts itself at a named step (`PACS_CRASH_AT`, in a build with `pacs-store/failpoints`), is
//! started again, and is asked for all of it. An instance that was not acknowledged may be there
//! or not, but never in part and never visible to C-FIND alone.
//!
//! A kill does not lose what the system has not yet written to the disk; the crash disk of
//! `pacs-store-conformance` does that.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime};

use crate::samples::{Random, Slice};
use crate::server::{Options, Server};
use crate::wire::{Association, Context, Keys, Proposal, WireError, digest, identifier, uid};
use crate::workspace;

/// Senders at once.
const SENDERS: u32 = 8;

/// Kills after which everything is checked and a new archive begins, so that the disk stays small.
const KILLS_PER_ARCHIVE: u32 = 100;

/// Studies of earlier rounds that are asked for after each kill.
const EARLIER_STUDIES: usize = 12;

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
    /// Throw the archive away after each kill, to see that the loss is noticed.
    pub lose_everything: bool,
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
    /// Instances acknowledged, all of which came back.
    pub acknowledged: usize,
    /// Instances sent, not acknowledged, and there nevertheless, whole.
    pub kept_unacknowledged: usize,
}

/// Remembers what was sent and what was acknowledged, outside the server.
#[derive(Debug, Default)]
struct Oracle {
    studies: BTreeMap<String, BTreeMap<String, Sent>>,
}

#[derive(Clone, Debug)]
struct Sent {
    digest: String,
    acknowledged: bool,
}

impl Oracle {
    fn note_sent(&mut self, slice: &Slice, digest: String) {
        let sent = Sent {
            digest,
            acknowledged: false,
        };
        self.studies
            .entry(slice.study.clone())
            .or_default()
            .insert(slice.instance.clone(), sent);
    }

    fn note_acknowledged(&mut self, slice: &Slice) {
        let study = self.studies.get_mut(&slice.study).expect("it was sent");
        study
            .get_mut(&slice.instance)
            .expect("it was sent")
            .acknowledged = true;
    }

    fn acknowledged(&self) -> usize {
        self.studies
            .values()
            .flat_map(BTreeMap::values)
            .filter(|sent| sent.acknowledged)
            .count()
    }
}

/// One archive under attack.
struct Campaign {
    server: Server,
    oracle: Mutex<Oracle>,
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
        Self {
            server: Server::start(Options::default()),
            oracle: Mutex::default(),
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
        if plan.lose_everything {
            std::fs::remove_dir_all(self.server.data()).expect("a stopped archive");
        }
        if self.random.below(5) == 0 {
            let delay = self.below_ms(Duration::from_millis(120));
            self.server.restart_and_kill_after(delay);
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
                self.server.set_environment("PACS_CRASH_AT", None);
                self.server.restart();
                self.ask_for_recent(base);
            }
        }
    }

    /// A step on the way of an instance: the senders go on until the server aborts there.
    fn crash_at(&mut self, step: &str, base: u32, round: u32) {
        self.server.stop();
        // It is passed a few times first in the later rounds, so that there is something to lose.
        let is_rare = step.contains("flush") || step.contains("large") || step == "after-keep";
        let passes = if is_rare {
            1
        } else {
            1 + self.random.below(u64::from(round) * 8 + 1)
        };
        self.server
            .set_environment("PACS_CRASH_AT", Some(&format!("{step}:{passes}")));
        self.server.restart();
        let large = step.starts_with("large") || step == "after-keep";
        let mix = if large { Mix::LargeFirst } else { Mix::Usual };
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
            .set_environment("PACS_CRASH_AT", Some(&format!("{step}:1")));
        let started = self.server.try_restart();
        assert!(started.is_err(), "the step {step} was never reached");
    }

    /// Runs the senders while `ending` brings the server to its end.
    fn send_until_it_dies(&mut self, base: u32, mix: Mix, ending: impl FnOnce(&mut Server)) {
        let (address, seed, oracle) = (self.server.dicom(), self.random.number(), &self.oracle);
        let server = &mut self.server;
        std::thread::scope(|scope| {
            for sender in 0..SENDERS {
                // The end of the server is the end of the sender.
                scope.spawn(move || send(address, base + sender, seed, oracle, mix).err());
            }
            ending(server);
            if server.is_alive() {
                server.kill();
            }
        });
    }

    /// Asks for everything of the round that began with study `base`, and for some of the earlier.
    fn ask_for_recent(&mut self, base: u32) {
        let mut studies: BTreeSet<String> = (0..SENDERS)
            .map(|sender| Slice::new(base + sender, 1).study)
            .collect();
        let all: Vec<String> = self.oracle().studies.keys().cloned().collect();
        for _ in 0..EARLIER_STUDIES.min(all.len()) {
            let index = self.random.below(all.len() as u64);
            studies.insert(all[usize::try_from(index).expect("an index")].clone());
        }
        self.ask_for(&studies);
        no_temporary_files(&self.server.data());
    }

    /// Checks everything, stopped and running, and gives the report on.
    fn end(mut self) -> (Report, u32) {
        let status = self.server.stop();
        assert!(
            status.success(),
            "the server does not stop in order: {status}"
        );
        verify(&self.server.data());
        self.server.restart();
        let all: BTreeSet<String> = self.oracle().studies.keys().cloned().collect();
        let kept = self.ask_for(&all);
        let acknowledged = self.oracle().acknowledged();
        self.report.acknowledged += acknowledged;
        self.report.kept_unacknowledged += kept;
        self.server.stop();
        no_temporary_files(&self.server.data());
        (self.report, self.round)
    }

    /// Compares what the server gives back of `studies` with the oracle; how many instances are
    /// there that were not acknowledged.
    fn ask_for(&self, studies: &BTreeSet<String>) -> usize {
        let oracle = self.oracle();
        let mut association = Association::connect(self.server.dicom(), &questions())
            .expect("a server that is ready takes associations");
        let mut kept = 0;
        for study in studies {
            let Some(sent) = oracle.studies.get(study) else {
                continue;
            };
            kept += ask_for_study(&mut association, study, sent);
        }
        association.release().expect("the server releases in order");
        kept
    }

    fn oracle(&self) -> std::sync::MutexGuard<'_, Oracle> {
        self.oracle.lock().expect("no sender panics")
    }

    /// The number of the first study of a new round.
    fn next_round(&mut self) -> u32 {
        self.round += 1;
        self.round * SENDERS
    }

    fn below_ms(&mut self, bound: Duration) -> Duration {
        let bound = u64::try_from(bound.as_micros()).expect("a short time");
        Duration::from_micros(self.random.below(bound.max(1)))
    }
}

fn questions() -> Proposal {
    Proposal::new(vec![
        Context::new(uid::STUDY_ROOT_FIND, uid::IMPLICIT_LITTLE_ENDIAN),
        Context::new(uid::STUDY_ROOT_GET, uid::IMPLICIT_LITTLE_ENDIAN),
        Context::receiving(uid::CT_IMAGE_STORAGE, uid::EXPLICIT_LITTLE_ENDIAN),
    ])
}

fn ask_for_study(
    association: &mut Association,
    study: &str,
    sent: &BTreeMap<String, Sent>,
) -> usize {
    let keys = Keys::at("STUDY").with(identifier::tag::STUDY, study);
    let (ended, received) = association.get(&keys).expect("the server answers C-GET");
    let acknowledged = sent.values().filter(|sent| sent.acknowledged).count();
    if acknowledged > 0 || !received.is_empty() {
        assert_eq!(ended.status, 0, "C-GET of study {study}: {ended:?}");
    }
    let mut back = BTreeMap::new();
    for instance in received {
        let sent = sent.get(&instance.sop_instance);
        let sent = sent.unwrap_or_else(|| panic!("{} was never sent", instance.sop_instance));
        assert_eq!(
            sent.digest, instance.digest,
            "{} came back changed",
            instance.sop_instance
        );
        back.insert(instance.sop_instance, sent.acknowledged);
    }
    let lost: Vec<&String> = sent
        .iter()
        .filter(|(instance, sent)| sent.acknowledged && !back.contains_key(*instance))
        .map(|(instance, _)| instance)
        .collect();
    assert!(lost.is_empty(), "LOST after it was acknowledged: {lost:?}");
    for series in found(
        association,
        &Keys::at("SERIES"),
        study,
        identifier::tag::SERIES,
    ) {
        let keys = Keys::at("IMAGE").with(identifier::tag::SERIES, &series);
        let images = found(association, &keys, study, identifier::tag::SOP_INSTANCE);
        let retrieved: BTreeSet<String> = back.keys().cloned().collect();
        assert_eq!(
            images, retrieved,
            "C-FIND and C-GET disagree about study {study}"
        );
    }
    back.values().filter(|acknowledged| !**acknowledged).count()
}

/// The values of `wanted` that C-FIND gives for `keys` in `study`.
fn found(association: &mut Association, keys: &Keys, study: &str, wanted: u32) -> BTreeSet<String> {
    let keys = keys
        .clone()
        .with(identifier::tag::STUDY, study)
        .with(wanted, "");
    let (answers, status) = association
        .find(uid::STUDY_ROOT_FIND, &keys)
        .expect("the server answers C-FIND");
    assert_eq!(status, 0, "C-FIND in study {study}");
    answers.iter().map(|answer| answer.text(wanted)).collect()
}

/// What a sender sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mix {
    /// Mostly small, some of the size of a CT slice, few that get a pack of their own.
    Usual,
    /// The same, after one that gets a pack of its own.
    LargeFirst,
}

/// Side of an image above the size at which an instance gets a pack of its own.
const LARGE_SIDE: u16 = 2200;

/// Stores slices of `study` until the server dies.
fn send(
    address: SocketAddr,
    study: u32,
    seed: u64,
    oracle: &Mutex<Oracle>,
    mix: Mix,
) -> Result<(), WireError> {
    let context = Context::new(uid::CT_IMAGE_STORAGE, uid::EXPLICIT_LITTLE_ENDIAN);
    let mut association = Association::connect(address, &Proposal::new(vec![context]))?;
    let mut random = Random::new(seed ^ u64::from(study));
    for number in 1.. {
        let mut slice = Slice::new(study, number);
        slice.seed = random.number();
        slice.side = match random.below(400) {
            _ if number == 1 && mix == Mix::LargeFirst => LARGE_SIDE,
            0 => LARGE_SIDE,
            1..8 => 512,
            _ => u16::try_from(random.below(64) + 1).expect("small"),
        };
        let data_set = slice.data_set();
        oracle
            .lock()
            .expect("no sender panics")
            .note_sent(&slice, digest(&data_set));
        let syntax = uid::EXPLICIT_LITTLE_ENDIAN;
        let status =
            association.store(uid::CT_IMAGE_STORAGE, &slice.instance, syntax, &data_set)?;
        if status == 0 {
            oracle
                .lock()
                .expect("no sender panics")
                .note_acknowledged(&slice);
        }
    }
    association.release()
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

/// The named steps of `pacs_store::FailPoints`, in the order in which an instance passes them.
const STEPS: [&str; 17] = [
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

/// Reads the command line of the campaign and runs it.
///
/// # Panics
/// When the command line is wrong, or as [`run`].
pub fn main() {
    let mut plan = Plan {
        kills: 1000,
        wait_max: Duration::from_millis(400),
        seed: SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(1, |since| u64::from(since.subsec_nanos()) ^ since.as_secs()),
        rounds_per_step: 5,
        lose_everything: false,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || -> u64 {
            let value = arguments
                .next()
                .unwrap_or_else(|| panic!("{argument} needs a value"));
            value
                .parse()
                .unwrap_or_else(|_| panic!("{argument} needs a number"))
        };
        match argument.as_str() {
            "--kills" => plan.kills = u32::try_from(number()).expect("a number of kills"),
            "--wait-ms-max" => plan.wait_max = Duration::from_millis(number()),
            "--seed" => plan.seed = number(),
            "--random-only" => plan.rounds_per_step = 0,
            _ => panic!("unknown argument {argument}"),
        }
    }
    let begun = Instant::now();
    let report = run(&plan);
    println!(
        "crash campaign: nothing lost, {report:?}, in {:?}",
        begun.elapsed()
    );
}
