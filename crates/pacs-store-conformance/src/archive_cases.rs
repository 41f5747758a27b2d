//! What an archive must survive: a loss of power at any operation, and another one while it
//! recovers.
//!
//! An oracle outside the archive notes what was acknowledged. After the crash all of that must be
//! there, byte for byte; what was not acknowledged may be there, but only whole; nothing else may
//! be. What was to be erased is there wholly, or not even its bytes are.

use crate::crash_disk::CrashDisk;
use bytes::Bytes;
use pacs_core::access::{self, Get, Hide, Maintain, PermitAll, Right, Store};
use pacs_core::tag::tags;
use pacs_core::{
    Attributes, Caller, Level, Permit, SopClassUid, SopInstanceUid, StudyUid, TransferSyntaxUid,
    Vr, encode,
};
use pacs_store::disk::{Disk, OpenHow};
use pacs_store::index::redb::{RedbIndex, RedbOptions};
use pacs_store::index::{Digest, Index, StoredInstance, Target};
use pacs_store::{Announced, Archive, ArchiveOptions, DataDirectory, Outcome};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Senders at the same time.
const SENDERS_COUNT: u32 = 3;
/// Instances of each.
const INSTANCES_COUNT: u32 = 4;

/// How one crash is arranged.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// What everything that is left to chance follows from, but for the order of threads.
    pub seed: u64,
    /// The operation of the disk at which the power goes; where there are fewer, it goes after the
    /// last.
    pub crash_at: u64,
    /// The operation of the recovery at which it goes again.
    pub crash_again_at: Option<u64>,
    /// Whether the disk only says that it syncs.
    pub ignores_syncs: bool,
}

/// Plays `scenario`; how many operations there were before the crash.
///
/// # Errors
/// What was lost, half visible or left over.
pub fn crash(scenario: Scenario) -> Result<u64, String> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(play(scenario))
}

async fn play(scenario: Scenario) -> Result<u64, String> {
    let mut disk = CrashDisk::new(scenario.seed);
    if scenario.ignores_syncs {
        disk.ignore_syncs();
    }
    disk.crash_at(scenario.crash_at);
    let oracle = Oracle::default();
    if let Ok(archive) = open(&disk, scenario.seed).await {
        fill(&archive, &oracle).await;
        // The power goes; nothing is closed in order.
        disk.crash();
        archive.close().await;
    }
    let operations_count = disk.operations_count();
    disk = disk.restarted();
    if let Some(again) = scenario.crash_again_at {
        disk.crash_at(again);
        if let Ok(archive) = open(&disk, scenario.seed).await {
            disk.crash();
            archive.close().await;
        }
        disk = disk.restarted();
    }
    let archive = open(&disk, scenario.seed)
        .await
        .map_err(|error| format!("does not open: {error}"))?;
    let outcome = oracle.check(&archive, &disk).await;
    archive.close().await;
    outcome.map(|()| operations_count)
}

async fn open(disk: &CrashDisk, seed: u64) -> Result<Archive, String> {
    let text = |error: &dyn std::error::Error| {
        let source = error.source().map(|source| format!(": {source}"));
        format!("{error}{}", source.unwrap_or_default())
    };
    let directory: Arc<dyn Disk> = Arc::new(disk.clone());
    let directory = DataDirectory::open(directory).map_err(|error| text(&error))?;
    let options = RedbOptions {
        cache_bytes: 1 << 20,
        ..RedbOptions::default()
    };
    let index = RedbIndex::open(&directory, &options).map_err(|error| text(&error))?;
    let index: Arc<dyn Index> = Arc::new(index);
    let mut options = ArchiveOptions::new(directory, index);
    // Small enough that packs are sealed, instances are streamed and the index is flushed on the
    // way.
    options.limits.pack_bytes = 20_000;
    options.limits.large_bytes = 6_000;
    options.limits.flush_interval = std::time::Duration::from_millis(seed % 4);
    options.is_filled_ahead = seed.is_multiple_of(2);
    if seed % 3 < 2 {
        // Every group may be made durable beside the writing of the next.
        options.limits.finished_beside_bytes_min = 0;
    }
    Archive::open(options).await.map_err(|error| text(&error))
}

fn permit<R: Right>() -> Permit<R> {
    let caller = Caller::System { task: "crash test" };
    access::permit(&PermitAll, caller).unwrap()
}

/// Several senders at once; each stops at its first failure.
async fn fill(archive: &Archive, oracle: &Oracle) {
    let mut senders = tokio::task::JoinSet::new();
    for sender in 0..SENDERS_COUNT {
        let (archive, oracle) = (archive.clone(), oracle.clone());
        senders.spawn(async move {
            for number in 0..INSTANCES_COUNT {
                let sent = Sent::new(sender, number, 0);
                oracle.offer(&sent);
                let Some(outcome) = deposit(&archive, &sent).await else {
                    return;
                };
                assert_eq!(outcome, Outcome::New);
                oracle.acknowledge(&sent);
            }
            // Other content under a known UID: kept, not served.
            let conflict = Sent::new(sender, 1, 1);
            oracle.offer(&conflict);
            if deposit(&archive, &conflict).await.is_none() {
                return;
            }
            oracle.acknowledge(&conflict);
            let hidden = Sent::new(sender, 0, 0);
            oracle.offer_hide(&hidden);
            let target = Target::Instance(hidden.uid());
            if archive
                .hide(&permit::<Hide>(), target, "test")
                .await
                .is_ok()
            {
                oracle.acknowledge_hide(&hidden);
            }
            erase(&archive, &oracle, sender).await;
        });
    }
    senders.join_all().await;
}

/// Stores a study of two instances, one of them in a pack of its own, and erases it.
async fn erase(archive: &Archive, oracle: &Oracle, sender: u32) {
    let study = format!("1.2.9.{sender}");
    let sent = [0, 2].map(|number| Sent::in_study(&study, sender, number, 0));
    oracle.with_doomed(sender, |doomed| doomed.sent = sent.to_vec());
    for sent in &sent {
        if deposit(archive, sent).await.is_none() {
            return;
        }
    }
    oracle.with_doomed(sender, |doomed| doomed.fate = Fate::Stored);
    let permit = permit::<Hide>();
    let uid = StudyUid::parse(&study).unwrap();
    let reason = "to be erased";
    let hidden = archive
        .hide(&permit, Target::Study(uid.clone()), reason)
        .await;
    if hidden.is_err() {
        return;
    }
    oracle.with_doomed(sender, |doomed| doomed.fate = Fate::Erasing);
    if archive.erase(&permit, &uid).await.is_ok() {
        oracle.with_doomed(sender, |doomed| doomed.fate = Fate::Erased);
    }
}

async fn deposit(archive: &Archive, sent: &Sent) -> Option<Outcome> {
    let store = permit::<Store>();
    let provenance = archive.provenance(store.caller());
    let mut deposit = archive
        .deposit(&store, sent.announced.clone(), provenance)
        .ok()?;
    let mut rest = sent.data_set.clone();
    while !rest.is_empty() {
        let fragment = rest.split_to(rest.len().min(1_000));
        deposit.write(fragment).await.ok()?;
    }
    Some(deposit.seal().await.ok()?.outcome)
}

/// An instance as a modality sends it.
#[derive(Debug, Clone)]
struct Sent {
    announced: Announced,
    data_set: Bytes,
}

impl Sent {
    fn new(sender: u32, number: u32, content: u32) -> Self {
        Self::in_study("1.2.7", sender, number, content)
    }

    fn in_study(study: &str, sender: u32, number: u32, content: u32) -> Self {
        let uid = format!("{study}.{sender}.{number}");
        let class = "1.2.840.10008.5.1.4.1.1.7";
        let mut attributes = Attributes::new();
        for (tag, uid) in [
            (tags::SOP_CLASS_UID, class),
            (tags::SOP_INSTANCE_UID, &uid),
            (tags::STUDY_INSTANCE_UID, study),
            (tags::SERIES_INSTANCE_UID, &format!("{study}.{sender}")),
        ] {
            attributes.insert_text(tag, Vr::UI, uid);
        }
        attributes.insert_text(tags::PATIENT_ID, Vr::LO, format!("P{sender}"));
        // Every third is long enough to be streamed into a pack of its own.
        let length = if number % 3 == 2 {
            9_000
        } else {
            700 + number as usize * 300
        };
        let filler = filler(&uid, content).repeat(length / 6);
        attributes.insert_text(tags::TEXT_VALUE, Vr::UT, filler);
        let transfer_syntax = TransferSyntaxUid::parse("1.2.840.10008.1.2.1").unwrap();
        let data_set = encode::write_data_set(&attributes, &transfer_syntax).unwrap();
        Self {
            announced: Announced {
                sop_class: SopClassUid::parse(class).unwrap(),
                sop_instance: SopInstanceUid::parse(&uid).unwrap(),
                transfer_syntax,
            },
            data_set: data_set.into(),
        }
    }

    fn uid(&self) -> SopInstanceUid {
        self.announced.sop_instance.clone()
    }
}

/// What the content of an instance is made of.
fn filler(uid: &str, content: u32) -> String {
    // No digits of which one is the beginning of another.
    let digest = Digest::of(format!("{uid} {content}").as_bytes());
    format!("{digest:?}")[..6].to_owned()
}

/// Remembers what was sent and what was acknowledged.
#[derive(Debug, Clone, Default)]
struct Oracle {
    kept: Arc<Mutex<BTreeMap<SopInstanceUid, Known>>>,
    doomed: Arc<Mutex<BTreeMap<u32, Doomed>>>,
}

/// A study that is stored to be erased.
#[derive(Debug, Clone, Default)]
struct Doomed {
    sent: Vec<Sent>,
    fate: Fate,
}

/// What is known of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Fate {
    #[default]
    Unknown,
    /// All of it was acknowledged.
    Stored,
    /// It was to be erased.
    Erasing,
    /// That was acknowledged.
    Erased,
}

impl Doomed {
    /// All of it is there, or nothing of it is, not even its bytes.
    fn check(&self, visible: &BTreeMap<SopInstanceUid, Bytes>, disk: &CrashDisk) -> Outcomes {
        let is_there = |sent: &&Sent| visible.get(&sent.uid()) == Some(&sent.data_set);
        let count = self.sent.iter().filter(is_there).count();
        let is_all = count == self.sent.len();
        match self.fate {
            Fate::Unknown => Ok(()),
            Fate::Stored | Fate::Erasing if is_all => Ok(()),
            Fate::Stored => Err(format!("{count} instances of a study are left")),
            Fate::Erased if count > 0 => Err(format!("{count} erased instances are there")),
            Fate::Erasing if count > 0 => Err(format!("{count} instances are half erased")),
            Fate::Erasing | Fate::Erased => self.check_bytes(disk),
        }
    }

    fn check_bytes(&self, disk: &CrashDisk) -> Outcomes {
        let names = disk.file_names();
        for name in names.iter().filter(|name| name.ends_with(".tar")) {
            let file = disk.open(name, OpenHow::Read).unwrap();
            let length = usize::try_from(file.length_bytes().unwrap()).unwrap();
            let bytes = file.read_vec(0, length).unwrap();
            for sent in &self.sent {
                let canary = filler(sent.uid().as_str(), 0).repeat(3);
                if bytes
                    .windows(canary.len())
                    .any(|at| at == canary.as_bytes())
                {
                    return Err(format!("{name} has bytes of {}", sent.uid()));
                }
            }
        }
        Ok(())
    }
}

type Outcomes = Result<(), String>;

#[derive(Debug, Clone, Default)]
struct Known {
    /// Contents, in the order they were sent, and whether each was acknowledged.
    versions: Vec<(Bytes, bool)>,
    /// Whether it was to be hidden, and whether that was acknowledged.
    hide: Option<bool>,
}

impl Oracle {
    fn with(&self, sent: &Sent, change: impl FnOnce(&mut Known)) {
        let mut known = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        change(known.entry(sent.uid()).or_default());
    }

    fn with_doomed(&self, sender: u32, change: impl FnOnce(&mut Doomed)) {
        let mut doomed = self.doomed.lock().unwrap_or_else(PoisonError::into_inner);
        change(doomed.entry(sender).or_default());
    }

    fn offer(&self, sent: &Sent) {
        self.with(sent, |known| {
            known.versions.push((sent.data_set.clone(), false))
        });
    }

    fn acknowledge(&self, sent: &Sent) {
        self.with(sent, |known| {
            for version in &mut known.versions {
                version.1 |= version.0 == sent.data_set;
            }
        });
    }

    fn offer_hide(&self, sent: &Sent) {
        self.with(sent, |known| known.hide = Some(false));
    }

    fn acknowledge_hide(&self, sent: &Sent) {
        self.with(sent, |known| known.hide = Some(true));
    }

    async fn check(&self, archive: &Archive, disk: &CrashDisk) -> Result<(), String> {
        let known = self
            .kept
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        for sender in 0..SENDERS_COUNT {
            // It is out of sight before it is erased.
            let study = StudyUid::parse(&format!("1.2.9.{sender}")).unwrap();
            let shown = archive
                .restore(&permit::<Hide>(), Target::Study(study))
                .await;
            shown.map_err(|error| format!("cannot restore: {error}"))?;
        }
        let all = crate::samples::query(Level::Study, []);
        let selected = archive.select(&permit::<Get>(), &all).await;
        let selected = selected.map_err(|error| format!("cannot select: {error}"))?;
        let mut visible = BTreeMap::new();
        for stored in &selected {
            let bytes = read(archive, stored).await?;
            if visible
                .insert(stored.instance.instance.clone(), bytes)
                .is_some()
            {
                return Err(format!("{} is there twice", stored.instance.instance));
            }
        }
        for (uid, known) in &known {
            let first = known.versions.first().map(|first| &first.0);
            let is_acknowledged = known.versions.iter().any(|(_, acknowledged)| *acknowledged);
            match (visible.remove(uid), known.hide) {
                (Some(_), Some(true)) => return Err(format!("{uid} is no longer hidden")),
                (Some(bytes), _) if Some(&bytes) != first => {
                    return Err(format!("{uid} has other bytes"));
                }
                (None, None) if is_acknowledged => return Err(format!("{uid} is lost")),
                (Some(_) | None, _) => {}
            }
        }
        let doomed = self
            .doomed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        for study in doomed.values() {
            study.check(&visible, disk)?;
            for sent in &study.sent {
                visible.remove(&sent.uid());
            }
        }
        if let Some((uid, _)) = visible.first_key_value() {
            return Err(format!("{uid} was never sent"));
        }
        let report = archive.verify(&permit::<Maintain>(), |_| ()).await;
        let report = report.map_err(|error| format!("cannot verify: {error}"))?;
        if !report.is_clean() {
            return Err(format!("verification found {:?}", report.problems));
        }
        let acknowledged = known.values().flat_map(|known| &known.versions);
        let acknowledged = acknowledged
            .filter(|(_, acknowledged)| *acknowledged)
            .count() as u64;
        if report.versions_count < acknowledged {
            let found = report.versions_count;
            return Err(format!(
                "{acknowledged} versions were acknowledged, {found} are there"
            ));
        }
        leftovers(disk)
    }
}

fn leftovers(disk: &CrashDisk) -> Result<(), String> {
    let names = disk.file_names();
    let is_expected = |name: &&String| {
        ["FORMAT", "index.redb"].contains(&name.as_str())
            || (name.starts_with("packs/") && name.ends_with(".tar"))
            || name.starts_with("packs/cut-")
    };
    match names.iter().find(|name| !is_expected(name)) {
        Some(name) => Err(format!("{name} is left over")),
        None => Ok(()),
    }
}

async fn read(archive: &Archive, stored: &StoredInstance) -> Result<Bytes, String> {
    let uid = &stored.instance.instance;
    let mut reader = archive.read(&permit::<Get>(), stored);
    let mut bytes = Vec::new();
    loop {
        match reader.next().await {
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            Ok(None) => return Ok(bytes.into()),
            Err(error) => return Err(format!("{uid} cannot be read: {error}")),
        }
    }
}
