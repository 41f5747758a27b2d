//! The index backends against the shared suite.

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
    let path = directory.path().join("index.redb");
    let index = RedbIndex::open(&path, &RedbOptions::default()).unwrap();
    (Arc::new(index), directory)
}

index_conformance!(in_memory, memory);
index_conformance!(in_redb, redb);
