//! The backends of records against the shared suite.

#![expect(clippy::unwrap_used, reason = "what cannot be made fails the test")]

use pacs_store::DataDirectory;
use pacs_store::disk::OsDisk;
use pacs_store::records::memory::MemoryRecords;
use pacs_store::records::redb::RedbRecords;
use pacs_store::records::{Kind, Records};
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

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_while_it_is_looked_at_is_sound_and_nothing_breaks_down() {
    const KIND: Kind = Kind::new("test");
    let (records, _folder) = redb();
    let writer = tokio::spawn({
        let records = Arc::clone(&records);
        async move {
            for round in 0..20_u32 {
                for number in 0..20_u32 {
                    let key = format!("{number}");
                    let known = records.get(KIND, &key).await.unwrap();
                    let expected = known.map(|known| known.revision);
                    let value = vec![0x20; 300 + (round as usize * 97) % 2_000];
                    records.put(KIND, &key, value, expected).await.unwrap();
                }
            }
        }
    });
    while !writer.is_finished() {
        records.check().await.unwrap();
    }
    writer.await.unwrap();
    assert_eq!(records.list(KIND, "", None, 100).await.unwrap().len(), 20);
}
