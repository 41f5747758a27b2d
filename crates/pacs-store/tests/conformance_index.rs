//! The index backends against the shared suite.

use pacs_store::DataDirectory;
use pacs_store::disk::OsDisk;
use pacs_store::index::Index;
use pacs_store::index::memory::MemoryIndex;
use pacs_store::index::redb::{RedbIndex, RedbOptions};
use pacs_store_conformance::index_conformance;
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
