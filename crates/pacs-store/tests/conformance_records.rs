//! The backends of records against the shared suite.

#![expect(clippy::unwrap_used, reason = "what cannot be made fails the test")]

use pacs_store::DataDirectory;
use pacs_store::disk::OsDisk;
use pacs_store::records::Records;
use pacs_store::records::memory::MemoryRecords;
use pacs_store::records::redb::RedbRecords;
use pacs_store_conformance::records_conformance;
use std::sync::Arc;
use tempfile::TempDir;

fn memory() -> (Arc<dyn Records>, ()) {
    (Arc::new(MemoryRecords::new()), ())
}

fn redb() -> (Arc<dyn Records>, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let disk = Arc::new(OsDisk::open(directory.path()).unwrap());
    let records = RedbRecords::open(&DataDirectory::open(disk).unwrap()).unwrap();
    (Arc::new(records), directory)
}

records_conformance!(in_memory, memory);
records_conformance!(in_redb, redb);
