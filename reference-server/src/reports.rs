//! Puts signed reports into the archive, as structured reports in the study that they are of.
//!
//! That a document is owed is written down where the version is signed, and goes away when it is
//! durable: a crash in between costs nothing, and where the document is there already it is not
//! written again. While it is not settled whose images these are, it waits.

use crate::access::SystemMay;
use crate::clock::World;
use crate::limits::{REPORT_DOCUMENTS_AT_ONCE, REPORT_DOCUMENTS_LOOKED_AT_EVERY};
use crate::overlays::overlay_of;
use crate::scp::worklist::item::usual_modality;
use crate::tool::failure::chain;
use bytes::Bytes;
use pacs_core::access::{Get, Store, permit};
use pacs_core::coerce::OverlayError;
use pacs_core::encode::{EncodeError, write_data_set};
use pacs_core::role::{Agent, Licence, duty::Reconcile};
use pacs_core::sender::own_report;
use pacs_core::tag::tags;
use pacs_core::uid::{SopClassUid, TransferSyntaxUid, UidError};
use pacs_core::{
    Action, Attributes, Caller, Key, Level, Matching, OrganisationCode, Permit, Query, Tag, Vr,
};
use pacs_report::sr::{BASIC_TEXT_SR, EvidenceSeries, SignedReport, SrError, data_set};
use pacs_store::index::{IndexError, Provenance, StoredInstance};
use pacs_store::registry::examinations::KnownStudy;
use pacs_store::registry::reports::ReportVersion;
use pacs_store::registry::{Registry, RegistryError};
use pacs_store::{Announced, Archive, DepositError};
use std::error::Error;

/// Explicit VR Little Endian.
const EXPLICIT_LITTLE: &str = "1.2.840.10008.1.2.1";

/// What a report takes from the images of its study, beside what the registry says.
const OF_STUDY: [(Tag, Vr); 4] = [
    (tags::STUDY_DATE, Vr::DA),
    (tags::STUDY_TIME, Vr::TM),
    (tags::STUDY_ID, Vr::SH),
    (tags::REFERRING_PHYSICIAN_NAME, Vr::PN),
];

/// Why a document is not in the archive yet.
#[derive(Debug, thiserror::Error)]
enum WriteError {
    /// The archive does not take it.
    #[error("the archive does not take it")]
    Deposit(#[from] DepositError),
    /// It cannot be written.
    #[error("it cannot be written")]
    Encode(#[from] EncodeError),
    /// The archive cannot be asked for its images.
    #[error("its images cannot be read")]
    Index(#[from] IndexError),
    /// The registry has a text that a data set cannot hold.
    #[error("who the patient is cannot be written")]
    Overlay(#[from] OverlayError),
    /// The registry cannot be asked.
    #[error("the registry cannot be asked")]
    Registry(#[from] RegistryError),
    /// No document can be made of it.
    #[error(transparent)]
    Report(#[from] SrError),
    /// A constant of this file is no UID.
    #[error("UID")]
    Uid(#[from] UidError),
    /// A person has to say whose images these are, or there are none in sight.
    #[error("it is not settled whose images these are")]
    Unsettled,
}

/// Writes what is owed.
#[derive(Debug)]
pub(crate) struct ReportWriter {
    archive: Archive,
    registry: Registry,
    store: Permit<Store>,
    get: Permit<Get>,
    licence: Licence<Reconcile>,
    world: World,
}

impl ReportWriter {
    /// For `archive`.
    ///
    /// # Errors
    /// Where the policy or the table of roles does not know the archive's own task.
    pub(crate) fn new(archive: &Archive) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let policy = SystemMay(&[Action::Store, Action::Get]);
        let caller = Caller::System { task: "reports" };
        Ok(Self {
            registry: archive.registry(),
            archive: archive.clone(),
            store: permit(&policy, caller.clone())?,
            get: permit(&policy, caller)?,
            licence: Agent::system("reports").national_licence()?,
            world: World::real(),
        })
    }

    /// Writes until the task is dropped.
    pub(crate) async fn follow(self) {
        loop {
            if let Err(error) = self.write_owed().await {
                let error = chain(&error);
                tracing::error!(error, "signed reports wait to be put into the archive");
            }
            let wait = tokio::time::sleep(REPORT_DOCUMENTS_LOOKED_AT_EVERY);
            tokio::select! {
                () = self.registry.report_signed() => {}
                () = wait => {}
            }
        }
    }

    async fn write_owed(&self) -> Result<(), RegistryError> {
        let owed = self
            .registry
            .owed_report_documents(&self.licence, REPORT_DOCUMENTS_AT_ONCE)
            .await?;
        for version in owed {
            let version = version.value;
            match self.write(&version).await {
                Ok(()) => {
                    let at = self.world.moment();
                    let noted = self
                        .registry
                        .note_report_document(&self.licence, &version, at);
                    noted.await?;
                }
                Err(error) => {
                    let error = chain(&error);
                    let examination = version.examination;
                    tracing::warn!(error, %examination, "a signed report waits to be put in");
                }
            }
        }
        Ok(())
    }

    async fn write(&self, version: &ReportVersion) -> Result<(), WriteError> {
        let images = self.images(version).await?;
        let is_it = |stored: &StoredInstance| stored.instance.instance == version.instance;
        if images.iter().any(is_it) {
            return Ok(());
        }
        let known = self.registry.known_study(&self.licence, &version.study);
        let known = known.await?.ok_or(WriteError::Unsettled)?;
        let document = self.document(version, &known, &images).await?;
        let announced = Announced {
            sop_class: SopClassUid::parse(BASIC_TEXT_SR)?,
            sop_instance: version.instance.clone(),
            transfer_syntax: TransferSyntaxUid::parse(EXPLICIT_LITTLE)?,
        };
        let bytes = write_data_set(&document, &announced.transfer_syntax)?;
        let now_unix_ms = self.world.moment().timestamp_millis();
        let provenance = Provenance {
            received_unix_ms: u64::try_from(now_unix_ms).unwrap_or(0),
            calling: own_report(performing(&known)?),
            address: None,
        };
        let deposit = self.archive.deposit(&self.store, announced, provenance);
        let mut deposit = match deposit {
            // Somebody took it out of sight: it was there.
            Err(DepositError::Rejected) => return Ok(()),
            other => other?,
        };
        deposit.write(Bytes::from(bytes)).await?;
        deposit.seal().await?;
        Ok(())
    }

    /// The instances of its study that are in sight, in the order in which they came.
    async fn images(&self, version: &ReportVersion) -> Result<Vec<StoredInstance>, IndexError> {
        let query = Query::new(Level::Instance).with(Key {
            tag: tags::STUDY_INSTANCE_UID,
            vr: Vr::UI,
            matching: Matching::SingleValue(version.study.as_str().to_owned()),
        });
        let found = self.archive.select(&self.get, &query).await?;
        let mut found: Vec<StoredInstance> = found.into_iter().collect();
        found.sort_by_key(|stored| stored.provenance.received_unix_ms);
        Ok(found)
    }

    async fn document(
        &self,
        version: &ReportVersion,
        known: &KnownStudy,
        images: &[StoredInstance],
    ) -> Result<Attributes, WriteError> {
        let bound = known.bound.as_ref().ok_or(WriteError::Unsettled)?;
        let overlay = overlay_of(known)?.ok_or(WriteError::Unsettled)?;
        let first = images.first().ok_or(WriteError::Unsettled)?;
        let mut subject = Attributes::new();
        for (tag, vr) in OF_STUDY {
            let said = first.instance.attributes.text(tag).unwrap_or_default();
            subject.insert_text(tag, vr, said);
        }
        overlay.correction(|_| true).apply(&mut subject, |_| true);
        let order = &bound.examination.order;
        let before = self.registry.version_before(&self.licence, version).await?;
        let evidence = evidence(images);
        let name = name_of(&version.author_name);
        Ok(data_set(&SignedReport {
            subject: &subject,
            examination: version.examination,
            modality: modality_of(images).unwrap_or_else(|| usual_modality(&order.kind)),
            text: &version.text,
            complaints: &order.complaints,
            anamnesis: &order.anamnesis,
            study: &version.study,
            series: &version.series,
            instance: &version.instance,
            version: version.number,
            predecessor: before.as_ref().map(|before| &before.value.instance),
            author: &name,
            author_id: &version.author,
            organisation: &bound.performing.dicom_institution_name,
            signed_at: version.signed_at,
            evidence: &evidence,
        })?)
    }
}

fn performing(known: &KnownStudy) -> Result<OrganisationCode, WriteError> {
    let bound = known.bound.as_ref().ok_or(WriteError::Unsettled)?;
    Ok(bound.examination.performing)
}

/// Whether an instance is of what a device made: a document that somebody wrote of it is none.
fn is_image(stored: &StoredInstance) -> bool {
    let modality = stored.instance.attributes.text(tags::MODALITY);
    !matches!(modality, Some("SR" | "KO" | "PR" | "DOC"))
}

fn modality_of(images: &[StoredInstance]) -> Option<&str> {
    let mut images = images.iter().filter(|stored| is_image(stored));
    let first = images.next()?;
    first.instance.attributes.text(tags::MODALITY)
}

/// The images, by their series.
fn evidence(images: &[StoredInstance]) -> Vec<EvidenceSeries> {
    let mut all: Vec<EvidenceSeries> = Vec::new();
    for stored in images.iter().filter(|stored| is_image(stored)) {
        let instance = &stored.instance;
        let one = (instance.sop_class.clone(), instance.instance.clone());
        let known = all.iter_mut().find(|known| known.series == instance.series);
        match known {
            Some(known) => known.instances.push(one),
            None => all.push(EvidenceSeries {
                series: instance.series.clone(),
                instances: vec![one],
            }),
        }
    }
    all
}

/// What somebody is called, as a PN: the family name stands first.
fn name_of(called: &str) -> String {
    let is_of_name = |c: char| !matches!(c, '^' | '=' | '\\') && !c.is_control();
    let words = called.split_whitespace();
    let words = words.map(|word| word.chars().filter(|c| is_of_name(*c)).collect::<String>());
    let words: Vec<String> = words.filter(|word| !word.is_empty()).collect();
    match words.as_slice() {
        [family, given, rest @ ..] if !rest.is_empty() => {
            format!("{family}^{given}^{}", rest.join(" "))
        }
        other => other.join("^"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_becomes_components_and_holds_nothing_that_divides_them() {
        for (called, name) in [
            ("Осмонова Бүбүсара Асан кызы", "Осмонова^Бүбүсара^Асан кызы"),
            ("Осмонова Бүбүсара", "Осмонова^Бүбүсара"),
            ("expert", "expert"),
            ("A^B=C D\\E", "ABC^DE"),
            ("", ""),
        ] {
            assert_eq!(name_of(called), name, "{called}");
        }
    }
}
