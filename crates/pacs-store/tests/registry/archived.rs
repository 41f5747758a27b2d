//! Archives beside a registry, and what is sent to them.

use crate::rig::{Rig, now};
use bytes::Bytes;
use pacs_core::access::{PermitAll, Right, Store, permit};
use pacs_core::uid::{SopClassUid, SopInstanceUid, TransferSyntaxUid};
use pacs_core::{Caller, Permit};
use pacs_store::disk::OsDisk;
use pacs_store::index::memory::MemoryIndex;
use pacs_store::index::{Index, Provenance};
use pacs_store::{Announced, Archive, ArchiveOptions, Clock, DataDirectory, DepositError, Receipt};
use std::sync::Arc;
use tempfile::TempDir;

const CT: &str = "1.2.840.10008.5.1.4.1.1.2";

pub(crate) fn may<R: Right>() -> Permit<R> {
    permit(&PermitAll, Caller::System { task: "test" }).unwrap()
}

/// An archive beside the records of `rig`.
pub(crate) async fn archive(rig: &Rig) -> (Archive, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (
        open(rig, &folder, Arc::new(MemoryIndex::new())).await,
        folder,
    )
}

/// The archive in `folder`, beside the records of `rig`.
pub(crate) async fn open(rig: &Rig, folder: &TempDir, index: Arc<dyn Index>) -> Archive {
    let disk = Arc::new(OsDisk::open(folder.path()).unwrap());
    let directory = DataDirectory::open(disk).unwrap();
    let unix_ms = u64::try_from(now().timestamp_millis()).unwrap();
    let options = ArchiveOptions {
        records: Arc::clone(&rig.records),
        clock: Clock::new(move || unix_ms),
        ..ArchiveOptions::new(directory, index)
    };
    Archive::open(options).await.unwrap()
}

fn element(data_set: &mut Vec<u8>, group: u16, number: u16, vr: &[u8; 2], value: &str) {
    data_set.extend_from_slice(&group.to_le_bytes());
    data_set.extend_from_slice(&number.to_le_bytes());
    data_set.extend_from_slice(vr);
    let pad = if vr == b"UI" { 0 } else { b' ' };
    let mut value = value.as_bytes().to_vec();
    value.resize(value.len().next_multiple_of(2), pad);
    data_set.extend_from_slice(&u16::try_from(value.len()).unwrap().to_le_bytes());
    data_set.extend_from_slice(&value);
}

/// An instance that `sender` sends.
pub(crate) async fn send(
    archive: &Archive,
    sender: &str,
    study: &str,
    number: u32,
    accession: &str,
    name: &str,
) {
    let uid = format!("{study}.1.{number}");
    let mut data_set = Vec::new();
    for (group, element_number, vr, value) in [
        (0x0008, 0x0016, b"UI", CT),
        (0x0008, 0x0018, b"UI", &uid),
        (0x0008, 0x0020, b"DA", "20261126"),
        (0x0008, 0x0030, b"TM", "121500"),
        (0x0008, 0x0050, b"SH", accession),
        (0x0008, 0x0060, b"CS", "CT"),
        (0x0010, 0x0010, b"PN", name),
        (0x0020, 0x000d, b"UI", study),
        (0x0020, 0x000e, b"UI", &format!("{study}.1")),
    ] {
        element(&mut data_set, group, element_number, vr, value);
    }
    deposit(archive, sender, (CT, &uid), data_set)
        .await
        .unwrap();
}

/// A data set that `sender` sends as this SOP class and instance.
pub(crate) async fn deposit(
    archive: &Archive,
    sender: &str,
    (class, uid): (&str, &str),
    data_set: Vec<u8>,
) -> Result<Receipt, DepositError> {
    let announced = Announced {
        sop_class: SopClassUid::parse(class).unwrap(),
        sop_instance: SopInstanceUid::parse(uid).unwrap(),
        transfer_syntax: TransferSyntaxUid::parse("1.2.840.10008.1.2.1").unwrap(),
    };
    let provenance = Provenance {
        received_unix_ms: u64::try_from(now().timestamp_millis()).unwrap(),
        calling: sender.to_owned(),
        address: None,
    };
    let mut deposit = archive.deposit(&may::<Store>(), announced, provenance)?;
    deposit.write(Bytes::from(data_set)).await?;
    deposit.seal().await
}
