//! The index campaign (R8 and R9): an index that is made again from the packs answers as before;
//! one of an earlier day is noticed, brought up to the packs, and answers as before; one of another
//! archive is not served with.
//!
//! The archives are those that the kill campaign leaves: of random content, with studies that were
//! hidden and brought back, killed twice at a random moment. One more is made of all the DICOM test
//! files. What is compared are all attributes of all studies, series and instances as QIDO-RS gives
//! them and in its order, every byte that was acknowledged as C-GET gives it, what `pacs verify`
//! finds, and the audit trail, which no index has a part in.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::crash::{self, Hider, Mix, Oracle, STUDIES_PER_ROUND, Sight, send_until_it_dies};
use crate::drill::{done, pacs};
use crate::edges::until;
use crate::peers::files_below;
use crate::samples::{Random, Slice};
use crate::server::{PATIENCE, Server};
use crate::web_server::{open_server, store_slice};
use crate::wire::digest;
use crate::{web, workspace};

/// What the log says of an index of an earlier day, and of nothing else.
const EARLIER: &str = "the index was of an earlier day";

/// What a server says that does not start, of an index of another archive.
const FOREIGN: &str = "index and packs are of two archives";

/// Retrieve URL (0008,1190).
const RETRIEVE_URL: &str = "00081190";

/// Longest time in which something is stored and hidden before a kill, beyond the first.
const WORK_MS_MAX: u64 = 300;

/// Results of one page; an archive here may have more.
const PAGE: usize = 1_000;

/// What a campaign found, when it found no fault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Archives of random content.
    pub archives: u32,
    /// Instances acknowledged in them, each asked for under every index.
    pub acknowledged: usize,
    /// Studies of them that were taken out of sight, and are to be found under no index.
    pub hidden: usize,
    /// Results of searches that were compared under every index.
    pub answers: usize,
    /// Indexes made again: by `pacs rebuild`, after one was lost, and after one of another archive
    /// was moved away.
    pub made_again: u32,
    /// Indexes of an earlier day that were noticed and brought up to the packs.
    pub of_earlier: u32,
    /// Indexes of another archive with which the server did not start.
    pub foreign: u32,
    /// DICOM test files in the archive that was rebuilt last.
    pub test_files: usize,
}

/// An archive, and what is known of it.
struct Archive {
    server: Server,
    oracle: Mutex<Oracle>,
    hider: Hider,
    random: Random,
    round: u32,
}

impl Archive {
    fn new(seed: u64) -> Self {
        let server = Server::start(crash::options(Vec::new()));
        Self {
            hider: Hider::start(&server),
            server,
            oracle: Mutex::default(),
            random: Random::new(seed),
            round: 0,
        }
    }

    /// Has something stored, and hidden or brought back, until a kill, after which it serves again.
    fn work(&mut self) {
        self.round += 1;
        let base = self.round * STUDIES_PER_ROUND;
        let (what, turns) = (self.random.number(), self.random.number());
        let wait = Duration::from_millis(self.random.below(WORK_MS_MAX));
        let (oracle, hider) = (&self.oracle, &self.hider);
        let so_far = || {
            let oracle = locked(oracle);
            let counts = oracle.counts();
            (oracle.acknowledged(), counts.hidden + counts.restored)
        };
        let before = so_far();
        let (http, server) = (self.server.http(), &mut self.server);
        std::thread::scope(|scope| {
            scope.spawn(|| hider.turn_until_it_dies(http, oracle, (base, turns)));
            send_until_it_dies(server, oracle, (base, what, Mix::Usual), |_| {
                // Until something was stored and something turned, and a random moment longer.
                until(PATIENCE, "something stored, and something turned", || {
                    let now = so_far();
                    (now.0 > before.0 && now.1 > before.1).then_some(())
                });
                std::thread::sleep(wait);
            });
        });
        self.server.restart();
        let log = self.server.log();
        assert!(!log.contains(EARLIER), "a kill is no earlier day: {log}");
    }

    fn index(&self) -> PathBuf {
        self.server.data().join("index.redb")
    }

    /// Stops it in order.
    fn stop(&mut self) {
        let status = self.server.stop();
        assert!(status.success(), "it does not stop in order: {status}");
    }

    /// Asks for all that was acknowledged, and gives all that is answered.
    fn answers(&mut self) -> Vec<Value> {
        let oracle = self.oracle.get_mut().expect("no sender panics");
        let all = oracle.studies();
        oracle.ask(&self.server, &all);
        answers(&self.server)
    }

    /// How many studies are known to be out of sight.
    fn hidden(&mut self) -> usize {
        let oracle = self.oracle.get_mut().expect("no sender panics");
        let studies = oracle.studies_acknowledged().into_iter();
        studies.filter(|(_, sight)| *sight == Sight::Out).count()
    }

    /// Starts it with the index that it has, which answers as before, and stops it.
    fn answers_under(&mut self, what: &str, before: &[Value]) {
        self.server.restart();
        assert_same(before, &self.answers(), what);
        self.stop();
        crash::verify(&self.server.data());
        done(&["audit", "verify", "--data", text(&self.server.data())]);
    }

    /// Puts `index` beside the packs: it is noticed and brought up to them.
    fn under_earlier(&mut self, index: &[u8], before: &[Value]) {
        fs::write(self.index(), index).expect("a stopped archive");
        self.server.restart();
        self.server.wait_for_log(EARLIER);
        assert_same(before, &self.answers(), "of an earlier day");
        self.stop();
        self.answers_under("that was of an earlier day", before);
        let log = self.server.log();
        assert!(!log.contains(EARLIER), "it is of today now: {log}");
    }

    /// Puts the index of another archive beside the packs: the server does not start and changes
    /// no pack, and when a person has moved the index away it is made again.
    fn under_foreign(&mut self, index: &[u8], before: &[Value]) {
        let packs = digests(&self.server.data());
        fs::write(self.index(), index).expect("a stopped archive");
        let started = self.server.try_restart();
        let log = started.expect_err("it started with the index of another archive");
        assert!(log.contains(FOREIGN), "{log}");
        assert_eq!(packs, digests(&self.server.data()), "packs were changed");
        fs::rename(self.index(), self.index().with_extension("away")).expect("an index");
        self.answers_under("in place of one of another archive", before);
    }
}

fn locked(oracle: &Mutex<Oracle>) -> std::sync::MutexGuard<'_, Oracle> {
    oracle.lock().expect("no sender panics")
}

/// The packs of an archive, and what is in them.
fn digests(data: &Path) -> Vec<(PathBuf, String)> {
    let packs = files_below(&data.join("packs")).into_iter();
    let mut all: Vec<_> = packs
        .map(|pack| {
            let bytes = fs::read(&pack).expect("a pack");
            (pack, digest(&bytes))
        })
        .collect();
    all.sort();
    all
}

/// All that QIDO-RS says of everything, in its order.
fn answers(server: &Server) -> Vec<Value> {
    let mut all = Vec::new();
    for level in ["studies", "series", "instances"] {
        let begin = all.len();
        loop {
            let offset = all.len() - begin;
            let path = format!("/dicomweb/{level}?includefield=all&limit={PAGE}&offset={offset}");
            let reply = web::get(server.http(), &path, &[]);
            if reply.status == 204 {
                break;
            }
            assert_eq!(reply.status, 200, "{path}");
            let Value::Array(results) = reply.json() else {
                panic!("{path}: not an array");
            };
            let count = results.len();
            for mut result in results {
                // It names the port, which is another one after each start.
                let fields = result.as_object_mut().expect("a result");
                fields.remove(RETRIEVE_URL).expect("where to retrieve it");
                all.push(result);
            }
            if count < PAGE {
                break;
            }
        }
    }
    all
}

/// # Panics
/// Where an answer is another one, or in another place; the message shows the first.
fn assert_same(before: &[Value], after: &[Value], what: &str) {
    let mut both = before.iter().zip(after);
    if let Some((was, is)) = both.find(|(was, is)| was != is) {
        panic!("other answers under an index {what}:\n{was}\n{is}");
    }
    assert_eq!(before.len(), after.len(), "answers under an index {what}");
}

/// One archive of random content under all kinds of indexes.
fn one(seed: u64, report: &mut Report) {
    let mut archive = Archive::new(seed);
    archive.work();
    archive.stop();
    let earlier = fs::read(archive.index()).expect("an index");
    archive.server.restart();
    archive.work();
    let mut before = archive.answers();
    // What is out of sight is a thing that an index may forget.
    while archive.hidden() == 0 {
        archive.work();
        before = archive.answers();
    }
    report.hidden += archive.hidden();
    report.acknowledged += locked(&archive.oracle).acknowledged();
    report.answers += before.len();
    archive.stop();

    archive.under_earlier(&earlier, &before);
    report.of_earlier += 1;
    archive.under_foreign(&foreign_index(seed), &before);
    report.foreign += 1;
    fs::remove_file(archive.index()).expect("a stopped archive");
    archive.answers_under("that was lost", &before);
    rebuild(&archive.server.data());
    archive.answers_under("that was rebuilt", &before);
    report.made_again += 3;
    report.archives += 1;
}

/// The index of an archive with one other study, shorter than any here: it says that it has come to
/// a place that the packs here have, too.
fn foreign_index(seed: u64) -> Vec<u8> {
    let mut server = open_server();
    let mut slice = Slice::new(900_000, 1);
    (slice.seed, slice.side) = (seed, 1);
    store_slice(&server, &slice);
    assert!(server.stop().success(), "it does not stop in order");
    fs::read(server.data().join("index.redb")).expect("an index")
}

fn rebuild(data: &Path) {
    done(&["rebuild", "--data", text(data)]);
}

fn text(path: &Path) -> &str {
    path.to_str().expect("Unicode")
}

/// An archive of all DICOM test files answers as before when its index was rebuilt; how many
/// instances it has. None where the files are not here.
///
/// # Panics
/// When it does not, or the test files hold hardly anything.
#[must_use]
pub fn of_test_files() -> usize {
    let Some(files) = workspace::test_data() else {
        return 0;
    };
    let mut server = open_server();
    assert!(server.stop().success(), "it does not stop in order");
    let data = server.data();
    // Among them is what no archive takes: the exit code says so.
    let (_, said) = pacs(&["import", "--data", text(&data), text(&files)]);
    server.restart();
    let before = answers(&server);
    assert!(server.stop().success(), "it does not stop in order");

    let begun = Instant::now();
    rebuild(&data);
    println!("indexes: the test files in {:?}", begun.elapsed());

    server.restart();
    assert_same(&before, &answers(&server), "of the test files, rebuilt");
    assert!(server.stop().success(), "it does not stop in order");
    crash::verify(&data);
    let instance = "00080018";
    let count = before
        .iter()
        .filter(|of| of.get(instance).is_some())
        .count();
    assert!(count > 100, "hardly anything was imported: {said}");
    count
}

/// Runs the campaign with this many archives of random content.
///
/// # Panics
/// When anything that was acknowledged is lost under any index, an answer is another one, an index
/// of an earlier day is not noticed, or the server starts with one of another archive.
#[must_use]
pub fn run(archives: u32, seed: u64) -> Report {
    println!("indexes: seed {seed}");
    let mut report = Report::default();
    for archive in 0..archives {
        one(seed.wrapping_add(u64::from(archive)), &mut report);
        println!("indexes: {report:?}");
    }
    report
}

/// Reads the command line of the campaign and runs it.
///
/// # Panics
/// When the command line is wrong, or as [`run`] and [`of_test_files`].
pub fn main() {
    let (archives, seed) = crate::flip::two_numbers(["--archives", "--seed"], 20);
    let begun = Instant::now();
    let mut report = run(u32::try_from(archives).expect("a number of archives"), seed);
    report.test_files = of_test_files();
    println!(
        "indexes: all as before, {report:?}, in {:?}",
        begun.elapsed()
    );
}
