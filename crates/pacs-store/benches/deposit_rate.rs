//! How many instances an archive takes a second, durably, and how fast it gives them back:
//! `cargo bench -p pacs-store --bench deposit_rate -- DIRECTORY` on the disk to be measured.
//!
//! Beside each rate stands what the disk gives to one writer that appends and syncs each instance
//! alone.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    missing_docs,
    reason = "a measurement stops where something is wrong, and its output is the point"
)]

#[path = "../tests/archive/rig.rs"]
#[allow(dead_code, reason = "shared with the tests")]
mod rig;

use bytes::Bytes;
use pacs_core::SopInstanceUid;
use pacs_core::access::Get;
use pacs_store::disk::OsDisk;
use pacs_store::index::redb::{RedbIndex, RedbOptions};
use pacs_store::{Archive, ArchiveOptions, DataDirectory};
use rig::Sample;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Bytes of an instance, tasks, instances of each task.
const RUNS: [(usize, u32, u32); 6] = [
    (10_000, 1, 4_000),
    (10_000, 8, 2_000),
    (10_000, 32, 1_000),
    (526_000, 1, 1_200),
    (526_000, 8, 250),
    (526_000, 32, 60),
];

/// Numbers of this width make UIDs of one length.
const FIRST_NUMBER: u32 = 10_000_000;

fn main() {
    let parent = std::env::args().skip(1).find(|a| !a.starts_with("--"));
    let parent = PathBuf::from(parent.unwrap_or_else(|| "/tmp".to_owned()));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    for (bytes, tasks, count) in RUNS {
        let bound = one_writer(&parent, bytes, 300);
        let directory = tempfile::tempdir_in(&parent).unwrap();
        let (taken, median, processor) =
            runtime.block_on(run(directory.path(), bytes, tasks, count));
        let after = one_writer(&parent, bytes, 300);
        println!(
            "{bytes:>7} bytes, {tasks:>2} tasks: {taken:>6.0}/s, {:>5.0} MB/s, median {:>6.2} ms, \
             processor {processor:.3} ms each; one writer {bound:.0} and {after:.0}/s",
            taken * bytes as f64 / 1e6,
            median.as_secs_f64() * 1e3,
        );
    }
    let directory = tempfile::tempdir_in(&parent).unwrap();
    for verifies in [true, false, true, false] {
        let rate = runtime.block_on(read_all(directory.path(), verifies));
        println!("read 500 instances of 526,000 bytes, verified: {verifies}: {rate:.0} MB/s");
    }
}

/// Instances that differ in their UID alone.
struct Samples {
    first: Sample,
    uid_at: usize,
}

impl Samples {
    fn new(bytes: usize) -> Self {
        let first = rig::sample(FIRST_NUMBER, 1, bytes);
        let uid = first.announced.sop_instance.as_str().as_bytes();
        let uid_at = first
            .data_set
            .windows(uid.len())
            .position(|window| window == uid)
            .unwrap();
        Self { first, uid_at }
    }

    fn of(&self, number: u32) -> Sample {
        let uid = format!("1.2.3.1.{}", FIRST_NUMBER + number);
        let mut data_set = self.first.data_set.to_vec();
        data_set[self.uid_at..][..uid.len()].copy_from_slice(uid.as_bytes());
        let mut sample = self.first.clone();
        sample.announced.sop_instance = SopInstanceUid::parse(&uid).unwrap();
        sample.data_set = Bytes::from(data_set);
        sample
    }
}

/// Appends and syncs one instance after the other.
fn one_writer(parent: &Path, bytes: usize, count: u32) -> f64 {
    let directory = tempfile::tempdir_in(parent).unwrap();
    let file = File::create_new(directory.path().join("f")).unwrap();
    let data = rig::sample(1, 1, bytes).data_set;
    let begin = Instant::now();
    for number in 0..count {
        file.write_all_at(&data, u64::from(number) * data.len() as u64)
            .unwrap();
        file.sync_data().unwrap();
    }
    f64::from(count) / begin.elapsed().as_secs_f64()
}

fn options(directory: &Path) -> ArchiveOptions {
    let directory = DataDirectory::open(Arc::new(OsDisk::open(directory).unwrap())).unwrap();
    let index = RedbIndex::open(&directory, &RedbOptions::default()).unwrap();
    ArchiveOptions::new(directory, Arc::new(index))
}

/// Processor time of this process so far, of all threads, in milliseconds.
fn processor_ms() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let (_, after_name) = stat.rsplit_once(')').unwrap();
    let ticks = after_name
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|field| field.parse::<f64>().unwrap())
        .sum::<f64>();
    ticks * 10.0
}

/// Instances a second, median time of one, processor time of one in milliseconds.
async fn run(directory: &Path, bytes: usize, tasks: u32, count: u32) -> (f64, Duration, f64) {
    let archive = Archive::open(options(directory)).await.unwrap();
    let samples = Arc::new(Samples::new(bytes));
    let processor = processor_ms();
    let begin = Instant::now();
    let running: Vec<_> = (0..tasks)
        .map(|task| {
            let archive = archive.clone();
            let samples = Arc::clone(&samples);
            tokio::spawn(async move {
                let mut times = Vec::new();
                for number in 0..count {
                    let sample = samples.of(task * count + number);
                    let begin = Instant::now();
                    rig::deposit_in(&archive, &sample, 128 << 10).await.unwrap();
                    times.push(begin.elapsed());
                }
                times
            })
        })
        .collect();
    let mut times = Vec::new();
    for task in running {
        times.extend(task.await.unwrap());
    }
    let rate = times.len() as f64 / begin.elapsed().as_secs_f64();
    let processor = (processor_ms() - processor) / times.len() as f64;
    archive.close().await;
    times.sort_unstable();
    (rate, times[times.len() / 2], processor)
}

async fn read_all(directory: &Path, verifies: bool) -> f64 {
    let mut options = options(directory);
    options.verifies_reads = verifies;
    let archive = Archive::open(options).await.unwrap();
    if rig::select(&archive).await.is_empty() {
        let samples = Samples::new(526_000);
        for number in 0..500 {
            let sample = samples.of(number);
            rig::deposit_in(&archive, &sample, 128 << 10).await.unwrap();
        }
    }
    let instances = rig::select(&archive).await;
    let begin = Instant::now();
    let mut bytes = 0;
    let mut readers = instances
        .iter()
        .map(|i| archive.read(&rig::permit::<Get>(), i));
    let mut now = readers.next();
    while let Some(mut reader) = now {
        now = readers.next();
        if let Some(next) = &mut now {
            next.prefetch();
        }
        while let Some(chunk) = reader.next().await.unwrap() {
            bytes += chunk.len();
        }
    }
    let rate = bytes as f64 / 1e6 / begin.elapsed().as_secs_f64();
    archive.close().await;
    rate
}
