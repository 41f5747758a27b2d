//! How many instances an archive takes a second, durably, and how fast it gives them back:
//! `cargo bench -p pacs-store --bench deposit_rate -- DIRECTORY` on the disk to be measured.
//!
//! Beside each rate stands what the disk gives to one writer that appends and syncs each instance alone.

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

use pacs_core::access::Get;
use pacs_store::Archive;
use pacs_store::index::Index;
use pacs_store::index::memory::MemoryIndex;
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
        let (taken, median) = runtime.block_on(run(directory.path(), bytes, tasks, count));
        let after = one_writer(&parent, bytes, 300);
        println!(
            "{bytes:>7} bytes, {tasks:>2} tasks: {taken:>6.0}/s, {:>5.0} MB/s, median {:>6.2} ms; one writer {bound:.0} and {after:.0}/s",
            taken * bytes as f64 / 1e6,
            median.as_secs_f64() * 1e3,
        );
    }
    let directory = tempfile::tempdir_in(&parent).unwrap();
    for verifies in [true, false] {
        let rate = runtime.block_on(read_all(directory.path(), verifies));
        println!("read 500 instances of 526,000 bytes, verified: {verifies}: {rate:.0} MB/s");
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

fn index(directory: &Path) -> Arc<dyn Index> {
    let _ = directory;
    Arc::new(MemoryIndex::new())
}

async fn run(directory: &Path, bytes: usize, tasks: u32, count: u32) -> (f64, Duration) {
    let options = rig::options(directory, index(directory)).unwrap();
    let archive = Archive::open(options).await.unwrap();
    let begin = Instant::now();
    let tasks_running: Vec<_> = (0..tasks)
        .map(|task| {
            let archive = archive.clone();
            tokio::spawn(async move {
                let mut times = Vec::new();
                for number in 0..count {
                    let sample = rig::sample(task * count + number, 1, bytes);
                    let begin = Instant::now();
                    rig::deposit_in(&archive, &sample, 128 << 10).await.unwrap();
                    times.push(begin.elapsed());
                }
                times
            })
        })
        .collect();
    let mut times = Vec::new();
    for task in tasks_running {
        times.extend(task.await.unwrap());
    }
    let rate = times.len() as f64 / begin.elapsed().as_secs_f64();
    archive.close().await;
    times.sort_unstable();
    (rate, times[times.len() / 2])
}

async fn read_all(directory: &Path, verifies: bool) -> f64 {
    let mut options = rig::options(directory, index(directory)).unwrap();
    options.verifies_reads = verifies;
    let archive = Archive::open(options).await.unwrap();
    if rig::select(&archive).await.is_empty() {
        for number in 0..500 {
            let sample = rig::sample(number, 1, 526_000);
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
        now = readers.next().inspect(|_| {});
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
