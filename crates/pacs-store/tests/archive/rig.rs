//! An archive on a temporary directory, and instances to put into it.

use bytes::Bytes;
use pacs_core::access::{self, Get, PermitAll, Right, Store};
use pacs_core::query::Matching;
use pacs_core::tag::tags;
use pacs_core::{
    Caller, Key, Level, Permit, Query, SopClassUid, SopInstanceUid, TransferSyntaxUid, Vr,
};
use pacs_store::disk::{Disk, OsDisk};
use pacs_store::index::memory::MemoryIndex;
use pacs_store::index::{Index, StoredInstance};
use pacs_store::{
    Announced, Archive, ArchiveOptions, DataDirectory, DepositError, OpenError, Receipt,
};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(crate) const CT: &str = "1.2.840.10008.5.1.4.1.1.2";
pub(crate) const EXPLICIT_LE: &str = "1.2.840.10008.1.2.1";

/// An instance as it comes from a modality.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    pub(crate) announced: Announced,
    pub(crate) data_set: Bytes,
}

pub(crate) fn permit<R: Right>() -> Permit<R> {
    access::permit(&PermitAll, Caller::System { task: "test" }).unwrap()
}

fn element(data_set: &mut Vec<u8>, group: u16, number: u16, vr: &[u8; 2], value: &[u8]) {
    data_set.extend_from_slice(&group.to_le_bytes());
    data_set.extend_from_slice(&number.to_le_bytes());
    data_set.extend_from_slice(vr);
    let mut value = value.to_vec();
    if value.len() % 2 == 1 {
        value.push(if vr == b"UI" { 0 } else { b' ' });
    }
    if vr == b"OW" {
        data_set.extend_from_slice(&[0, 0]);
        data_set.extend_from_slice(&u32::try_from(value.len()).unwrap().to_le_bytes());
    } else {
        data_set.extend_from_slice(&u16::try_from(value.len()).unwrap().to_le_bytes());
    }
    data_set.extend_from_slice(&value);
}

/// Instance `number` of study 1.2.3, with so many bytes of pixel data that all begin with
/// `content`.
pub(crate) fn sample(number: u32, content: u8, pixel_bytes: usize) -> Sample {
    sample_with_uid(&format!("1.2.3.1.{number}"), content, pixel_bytes)
}

pub(crate) fn sample_with_uid(uid: &str, content: u8, pixel_bytes: usize) -> Sample {
    sample_in("1.2.3", uid, content, pixel_bytes)
}

/// An instance of the first series of `study`.
pub(crate) fn sample_in(study: &str, uid: &str, content: u8, pixel_bytes: usize) -> Sample {
    let mut d = Vec::new();
    element(&mut d, 0x0008, 0x0016, b"UI", CT.as_bytes());
    element(&mut d, 0x0008, 0x0018, b"UI", uid.as_bytes());
    element(&mut d, 0x0008, 0x0060, b"CS", b"CT");
    element(&mut d, 0x0010, 0x0010, b"PN", b"CANARY^TEST");
    element(&mut d, 0x0010, 0x0020, b"LO", b"P1");
    element(&mut d, 0x0020, 0x000d, b"UI", study.as_bytes());
    element(
        &mut d,
        0x0020,
        0x000e,
        b"UI",
        format!("{study}.1").as_bytes(),
    );
    let pixels: Vec<u8> = std::iter::once(content)
        .chain((1..pixel_bytes).map(|at| u8::try_from(at * 31 % 251).unwrap()))
        .take(pixel_bytes)
        .collect();
    element(&mut d, 0x7fe0, 0x0010, b"OW", &pixels);
    Sample {
        announced: Announced {
            sop_class: SopClassUid::parse(CT).unwrap(),
            sop_instance: SopInstanceUid::parse_legacy(uid).unwrap(),
            transfer_syntax: TransferSyntaxUid::parse(EXPLICIT_LE).unwrap(),
        },
        data_set: Bytes::from(d),
    }
}

pub(crate) fn options(
    directory: &Path,
    index: Arc<dyn Index>,
) -> Result<ArchiveOptions, OpenError> {
    let disk = Arc::new(OsDisk::open(directory).unwrap());
    Ok(ArchiveOptions::new(data_directory(disk)?, index))
}

/// Opens a directory that nobody has. Its lock may stand for a moment after it was closed: a child
/// process that another test starts just then has it until it has become another program.
pub(crate) fn data_directory(disk: Arc<dyn Disk>) -> Result<DataDirectory, OpenError> {
    let patience = Instant::now() + Duration::from_secs(10);
    loop {
        match DataDirectory::open(Arc::clone(&disk)) {
            Err(OpenError::Locked) if Instant::now() < patience => {
                std::thread::sleep(Duration::from_millis(1));
            }
            other => return other,
        }
    }
}

/// An archive with a fresh memory index, which replays everything.
pub(crate) async fn open(directory: &Path) -> Archive {
    open_with(directory, |_| ()).await
}

/// As [`open`], with other options.
pub(crate) async fn open_with(
    directory: &Path,
    change: impl FnOnce(&mut ArchiveOptions),
) -> Archive {
    let mut options = options(directory, Arc::new(MemoryIndex::new())).unwrap();
    change(&mut options);
    Archive::open(options).await.unwrap()
}

/// Closes `archive` and opens its directory again.
pub(crate) async fn reopen(archive: Archive, directory: &Path) -> Archive {
    archive.close().await;
    drop(archive);
    open(directory).await
}

/// A copy of the directory of an archive that is open: what a killed process leaves.
pub(crate) fn copy_of(directory: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    std::fs::create_dir(copy.path().join("packs")).unwrap();
    std::fs::copy(directory.join("FORMAT"), copy.path().join("FORMAT")).unwrap();
    for pack in pack_files(directory) {
        let name = format!("packs/{pack}");
        std::fs::copy(directory.join(&name), copy.path().join(&name)).unwrap();
    }
    copy
}

/// The files in `directory/packs`, in order.
pub(crate) fn pack_files(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(directory.join("packs"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

pub(crate) async fn deposit(archive: &Archive, sample: &Sample) -> Result<Receipt, DepositError> {
    deposit_in(archive, sample, 16_384).await
}

/// Deposits in fragments of `fragment_bytes`.
pub(crate) async fn deposit_in(
    archive: &Archive,
    sample: &Sample,
    fragment_bytes: usize,
) -> Result<Receipt, DepositError> {
    let store = permit::<Store>();
    let provenance = archive.provenance(store.caller());
    let mut deposit = archive.deposit(&store, sample.announced.clone(), provenance)?;
    let mut rest = sample.data_set.clone();
    while !rest.is_empty() {
        let fragment = rest.split_to(fragment_bytes.min(rest.len()));
        deposit.write(fragment).await?;
    }
    deposit.seal().await
}

/// Every visible instance of the study that samples are of.
pub(crate) async fn select(archive: &Archive) -> Vec<StoredInstance> {
    let key = Key {
        tag: tags::STUDY_INSTANCE_UID,
        vr: Vr::UI,
        matching: Matching::SingleValue("1.2.3".to_owned()),
    };
    let query = Query {
        level: Level::Study,
        keys: vec![key],
    };
    let found = archive.select(&permit::<Get>(), &query).await;
    found.unwrap().into_vec()
}

pub(crate) async fn read(archive: &Archive, instance: &StoredInstance) -> Vec<u8> {
    let mut reader = archive.read(&permit::<Get>(), instance);
    let mut all = Vec::new();
    while let Some(chunk) = reader.next().await.unwrap() {
        all.extend_from_slice(&chunk);
    }
    all
}

/// Asserts that exactly `samples` are there, in order, byte for byte.
pub(crate) async fn assert_holds(archive: &Archive, samples: &[Sample]) {
    let found = select(archive).await;
    let uids: Vec<_> = found.iter().map(|i| i.instance.instance.clone()).collect();
    let expected: Vec<_> = samples
        .iter()
        .map(|s| s.announced.sop_instance.clone())
        .collect();
    assert_eq!(uids, expected);
    for (instance, sample) in found.iter().zip(samples) {
        assert!(
            read(archive, instance).await == sample.data_set,
            "bytes of {:?}",
            sample.announced
        );
    }
}
