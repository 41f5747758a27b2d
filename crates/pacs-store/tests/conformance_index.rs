//! The index backends against the shared suite.

#![expect(clippy::unwrap_used, reason = "what cannot be made fails the test")]

use pacs_store::DataDirectory;
use pacs_store::disk::OsDisk;
use pacs_store::index::Index;
use pacs_store::index::memory::MemoryIndex;
use pacs_store::index::redb::{RedbIndex, RedbOptions};
use pacs_store_conformance::crash_disk::CrashDisk;
use pacs_store_conformance::index_conformance;
use pacs_store_conformance::property::agrees_with_the_model;
use std::sync::Arc;
use tempfile::TempDir;

fn memory() -> (Arc<dyn Index>, ()) {
    (Arc::new(MemoryIndex::new()), ())
}

fn redb() -> (Arc<dyn Index>, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let disk = Arc::new(OsDisk::open(directory.path()).unwrap());
    let locked = DataDirectory::open(disk).unwrap();
    let index = RedbIndex::open(&locked, &RedbOptions::default()).unwrap();
    (Arc::new(index), directory)
}

index_conformance!(in_memory, memory);
index_conformance!(in_redb, redb);

#[test]
fn the_embedded_index_agrees_with_the_model() {
    let cases = std::env::var("PACS_PROPERTY_CASES").ok();
    let cases = cases.and_then(|cases| cases.parse().ok()).unwrap_or(256);
    // With keys that find less than is gathered, and with keys that all find more.
    for gathered_max in [RedbOptions::default().gathered_max, 0] {
        agrees_with_the_model(cases / 2, || {
            let directory = DataDirectory::open(Arc::new(CrashDisk::new(0))).unwrap();
            let options = RedbOptions {
                cache_bytes: 1 << 20,
                gathered_max,
                ..RedbOptions::default()
            };
            let index = RedbIndex::open(&directory, &options).unwrap();
            (Arc::new(index) as Arc<dyn Index>, ())
        });
    }
}
