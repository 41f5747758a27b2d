//! An archive of a few instances, for the tests of this crate.

use crate::limits::WebLimits;
use crate::service::{Options, Web};
use pacs_core::access::{PermitAll, Right, Store, permit};
use pacs_core::encode::write_data_set;
use pacs_core::tag::tags;
use pacs_core::{Attributes, Caller, Permit, SopClassUid, SopInstanceUid, TransferSyntaxUid, Vr};
use pacs_store::disk::OsDisk;
use pacs_store::index::memory::MemoryIndex;
use pacs_store::{Announced, Archive, ArchiveOptions, DataDirectory};
use std::sync::Arc;

const CALLER: Caller = Caller::System { task: "test" };

/// A service, and the folder it is in.
pub(crate) struct Service {
    pub(crate) web: Web,
    _folder: tempfile::TempDir,
}

/// Whoever may everything.
pub(crate) fn may<R: Right>() -> Permit<R> {
    permit(&PermitAll, CALLER).unwrap()
}

impl Service {
    /// An empty one.
    pub(crate) async fn open(limits: WebLimits) -> Self {
        Self::with(|options| options.limits = limits).await
    }

    /// An empty one with other options.
    pub(crate) async fn with(change: impl FnOnce(&mut Options)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let disk = Arc::new(OsDisk::open(folder.path()).unwrap());
        let directory = DataDirectory::open(disk).unwrap();
        let index = Arc::new(MemoryIndex::default());
        let archive = Archive::open(ArchiveOptions::new(directory, index)).await;
        let mut options = Options::open_to_all(WebLimits::default());
        change(&mut options);
        Self {
            web: Web::new(archive.unwrap(), options),
            _folder: folder,
        }
    }

    /// Stores an instance of a study of somebody with this name.
    pub(crate) async fn store(&self, study: u32, number: u32, name: &str) {
        self.store_in((study, 1), number, name).await;
    }

    /// The same in a series of that study.
    pub(crate) async fn store_in(&self, (study, series): (u32, u32), number: u32, name: &str) {
        let uid = format!("2.25.{study}");
        let mut attributes = Attributes::new();
        let mut say = |tag, vr, text: &str| attributes.insert_text(tag, vr, text);
        let (class, instance) = (
            "1.2.840.10008.5.1.4.1.1.7",
            format!("{uid}.{series}.{number}"),
        );
        say(tags::SPECIFIC_CHARACTER_SET, Vr::CS, "ISO_IR 192");
        say(tags::SOP_CLASS_UID, Vr::UI, class);
        say(tags::SOP_INSTANCE_UID, Vr::UI, &instance);
        say(tags::PATIENT_NAME, Vr::PN, name);
        say(tags::PATIENT_ID, Vr::LO, name);
        say(tags::STUDY_INSTANCE_UID, Vr::UI, &uid);
        say(
            tags::SERIES_INSTANCE_UID,
            Vr::UI,
            &format!("{uid}.{series}"),
        );
        let syntax = TransferSyntaxUid::parse("1.2.840.10008.1.2.1").unwrap();
        let bytes = write_data_set(&attributes, &syntax).unwrap();
        self.deposit((class, &instance), syntax, bytes).await;
    }

    /// Stores a data set of this SOP class and instance.
    pub(crate) async fn deposit(
        &self,
        (class, instance): (&str, &str),
        transfer_syntax: TransferSyntaxUid,
        data_set: Vec<u8>,
    ) {
        let announced = Announced {
            sop_class: SopClassUid::parse(class).unwrap(),
            sop_instance: SopInstanceUid::parse(instance).unwrap(),
            transfer_syntax,
        };
        let archive = self.web.archive();
        let provenance = archive.provenance(&CALLER);
        let deposit = archive.deposit(&may::<Store>(), announced, provenance);
        let mut deposit = deposit.unwrap();
        deposit.write(data_set.into()).await.unwrap();
        deposit.seal().await.unwrap();
    }
}
