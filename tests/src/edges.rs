//! Limits at the edges: huge objects, crowds, a full disk, a failing disk, a jumping clock, a bad
//! network. `cargo xtask edges` runs them at full size, `tests/edges.rs` in short.
//!
//! As everywhere here the judge stands outside the server: what was acknowledged has to come back,
//! byte for byte, whatever happened meanwhile.

pub mod askers;
pub mod assault;
pub mod big;
pub mod clock;
pub mod crowd;
pub mod disk_full;
pub mod io_errors;
pub mod lossy;
pub mod names;
pub mod network;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime};

use crate::samples::Slice;
use crate::server::Server;
use crate::stow::{self, Answer};
use crate::wire::{Association, Context, Keys, Proposal, WireError, digest, identifier, uid};
use crate::workspace;

/// What was acknowledged: instances and their digests, by study.
#[derive(Debug, Default)]
pub struct Kept {
    studies: Mutex<BTreeMap<String, BTreeMap<String, String>>>,
}

impl Kept {
    fn studies(&self) -> MutexGuard<'_, BTreeMap<String, BTreeMap<String, String>>> {
        self.studies.lock().expect("no sender panics here")
    }

    /// Stores `slice`, and remembers it where the answer is Success.
    ///
    /// # Errors
    /// When the association ends.
    pub fn store(&self, association: &mut Association, slice: &Slice) -> Result<u16, WireError> {
        let data_set = slice.data_set();
        let (class, syntax) = (uid::CT_IMAGE_STORAGE, uid::EXPLICIT_LITTLE_ENDIAN);
        let status = association.store(class, &slice.instance, syntax, &data_set)?;
        if status == 0 {
            let mut studies = self.studies();
            let study = studies.entry(slice.study.clone()).or_default();
            study.insert(slice.instance.clone(), digest(&data_set));
        }
        Ok(status)
    }

    /// Stores `slices` with one request of STOW-RS, and remembers those of which the response says
    /// that they are stored.
    ///
    /// # Panics
    /// When there is no response, or none that names instances.
    pub fn stow(&self, server: &Server, slices: &[Slice]) -> Answer {
        let files: Vec<Vec<u8>> = slices.iter().map(Slice::file).collect();
        let answer = stow::store(server.http(), "/dicomweb/studies", &files);
        let stored = answer.stored();
        let mut studies = self.studies();
        for slice in slices {
            if stored.contains(&slice.instance) {
                let study = studies.entry(slice.study.clone()).or_default();
                study.insert(slice.instance.clone(), digest(&slice.data_set()));
            }
        }
        answer
    }

    /// How many instances were acknowledged.
    #[must_use]
    pub fn count(&self) -> usize {
        self.studies().values().map(BTreeMap::len).sum()
    }

    /// All of it comes back from `server`, and C-FIND knows every study.
    ///
    /// # Panics
    /// When it does not.
    pub fn check(&self, server: &Server) {
        let mut association = server.associate(questions()).expect("an association");
        for (study, sent) in self.studies().iter() {
            let keys = Keys::at("STUDY").with(identifier::tag::STUDY, study);
            let (answers, status) = association
                .find(uid::STUDY_ROOT_FIND, &keys)
                .expect("an answer to C-FIND");
            assert_eq!((answers.len(), status), (1, 0), "C-FIND of study {study}");
            let (ended, received) = association.get(&keys).expect("an answer to C-GET");
            assert_eq!(ended.status, 0, "C-GET of study {study}: {ended:?}");
            let back: BTreeMap<String, String> = received
                .into_iter()
                .map(|instance| (instance.sop_instance, instance.digest))
                .collect();
            for (instance, digest) in sent {
                assert_eq!(
                    back.get(instance),
                    Some(digest),
                    "LOST or changed: {instance}"
                );
            }
        }
        association.release().expect("a release in order");
    }
}

/// A proposal to store CT slices and to echo.
#[must_use]
pub fn storing() -> Proposal {
    Proposal::new(vec![
        Context::new(uid::CT_IMAGE_STORAGE, uid::EXPLICIT_LITTLE_ENDIAN),
        Context::new(uid::VERIFICATION, uid::IMPLICIT_LITTLE_ENDIAN),
    ])
}

fn questions() -> Vec<Context> {
    vec![
        Context::new(uid::STUDY_ROOT_FIND, uid::IMPLICIT_LITTLE_ENDIAN),
        Context::new(uid::STUDY_ROOT_GET, uid::IMPLICIT_LITTLE_ENDIAN),
        Context::receiving(uid::CT_IMAGE_STORAGE, uid::EXPLICIT_LITTLE_ENDIAN),
        Context::receiving(uid::CT_IMAGE_STORAGE, uid::JPEG_BASELINE),
    ]
}

/// Whether this process may mount file systems and make networks of its own; said loudly where not.
#[must_use]
pub fn is_root() -> bool {
    if rustix::process::geteuid().is_root() {
        return true;
    }
    workspace::say_skipped("only root may mount file systems and make networks of its own");
    false
}

/// Whether the file `path` of a Debian `package` is here; said loudly, or failed, where not.
#[must_use]
pub fn has(path: &str, package: &str) -> bool {
    if Path::new(path).is_file() {
        return true;
    }
    workspace::skip(package);
    false
}

/// Where the preloaded library `name` stands.
#[must_use]
pub fn library(name: &str) -> PathBuf {
    let folder = format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH);
    Path::new(&folder).join(name)
}

/// Asks again and again until `question` has an answer.
///
/// # Panics
/// When it has none within `patience`.
pub fn until<T>(patience: Duration, what: &str, mut question: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(answer) = question() {
            return answer;
        }
        assert!(
            Instant::now() < deadline,
            "{what} did not come in {patience:?}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A name, and what takes the seed.
type Case = (&'static str, fn(u64));

/// The cases of the campaign, in the order in which they run.
const CASES: [Case; 12] = [
    ("memory", |_| big::ten_in_and_out()),
    ("huge", |_| big::five_gigabytes()),
    ("crowd", |_| crowd::ten_thousand()),
    ("churn", |_| crowd::churn(100_000)),
    ("askers", |_| askers::two_hundred()),
    ("assault", |_| assault::campaign()),
    ("disk-full", |seed| disk_full::campaign(seed)),
    ("io-errors", |seed| io_errors::campaign(seed)),
    ("clock", |_| clock::campaign()),
    ("network", |seed| network::campaign(seed)),
    ("lossy", |_| lossy::campaign()),
    ("names", |_| names::campaign()),
];

/// Reads the command line of the campaign and runs it.
///
/// # Panics
/// When the command line is wrong, or a case fails.
pub fn main() {
    let mut chosen = Vec::new();
    let mut seed = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(1, |since| u64::from(since.subsec_nanos()) ^ since.as_secs());
    let mut arguments = std::env::args().skip(1);
    if let [inside, what, outside] = &std::env::args().skip(1).collect::<Vec<_>>()[..] {
        match inside.as_str() {
            lossy::INSIDE => return lossy::inside(what.parse().expect("a number"), outside),
            names::INSIDE => return names::inside(Path::new(what), outside),
            _ => {}
        }
    }
    while let Some(argument) = arguments.next() {
        if argument == "--seed" {
            let value = arguments.next().unwrap_or_default();
            seed = value.parse().expect("--seed needs a number");
            continue;
        }
        let known = CASES.iter().find(|(name, _)| *name == argument);
        chosen.push(known.unwrap_or_else(|| panic!("unknown case {argument}")));
    }
    if chosen.is_empty() {
        chosen = CASES.iter().collect();
    }
    println!("edges: seed {seed}");
    for (name, case) in chosen {
        let begun = Instant::now();
        case(seed);
        println!(
            "edges: {name} passed in {:.1} s",
            begun.elapsed().as_secs_f64()
        );
    }
}
