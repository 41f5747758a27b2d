//! What stands in a study's, a series' and an instance's row.

mod provenance;

use super::codec::{Reader, Stored, Writer};
use crate::index::{Digest, IndexError, Location, StoredInstance, answer};
use pacs_core::instance::level_of;
use pacs_core::tag::tags;
use pacs_core::{
    Attributes, Instance, Level, SeriesUid, SopClassUid, SopInstanceUid, StudyUid, Tag,
    TransferSyntaxUid, Vr,
};
use provenance::{provenance, sender};
use std::borrow::Cow;

/// Where an instance stands: study, series within it, and the number it came with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) study: u64,
    pub(super) series: u32,
    pub(super) number: u64,
}

impl Place {
    pub(super) fn key(self) -> [u8; 20] {
        let mut key = [0; 20];
        let (study, rest) = key.split_at_mut(8);
        let (series, number) = rest.split_at_mut(4);
        study.copy_from_slice(&self.study.to_be_bytes());
        series.copy_from_slice(&self.series.to_be_bytes());
        number.copy_from_slice(&self.number.to_be_bytes());
        key
    }

    pub(super) fn from_key(key: &[u8]) -> Result<Self, IndexError> {
        let mut reader = Reader::new(key, "key of an instance");
        Ok(Self {
            study: u64::from_be_bytes(reader.array()?),
            series: u32::from_be_bytes(reader.array()?),
            number: u64::from_be_bytes(reader.array()?),
        })
    }

    pub(super) fn write(self, writer: &mut Writer) {
        writer.number(self.study);
        writer.number(u64::from(self.series));
        writer.number(self.number);
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, IndexError> {
        Ok(Self {
            study: reader.number()?,
            series: reader.number_u32()?,
            number: reader.number()?,
        })
    }
}

/// The key of a study's row (series 0) or of a series' row, right after it.
pub(super) fn entity_key(study: u64, series: u32) -> [u8; 12] {
    let mut key = [0; 12];
    let (first, second) = key.split_at_mut(8);
    first.copy_from_slice(&study.to_be_bytes());
    second.copy_from_slice(&series.to_be_bytes());
    key
}

pub(super) fn from_entity_key(key: &[u8]) -> Result<(u64, u32), IndexError> {
    let mut reader = Reader::new(key, "key of a study or series");
    Ok((
        u64::from_be_bytes(reader.array()?),
        u32::from_be_bytes(reader.array()?),
    ))
}

/// What stands for a patient in keys.
pub(super) type PatientHash = [u8; 16];

pub(super) fn patient_hash(attributes: &Attributes) -> PatientHash {
    let mut writer = Writer::default();
    match answer::PatientKey::of(attributes) {
        answer::PatientKey::Identified { id, issuer } => {
            writer.byte(1);
            writer.text(&id);
            writer.text(&issuer);
        }
        answer::PatientKey::Named { name, birth_date } => {
            writer.byte(2);
            writer.text(&name);
            writer.text(&birth_date);
        }
    }
    let digest = Digest::of(&writer.into_bytes()).0;
    let mut hash = [0; 16];
    hash.copy_from_slice(digest.split_at(16).0);
    hash
}

/// A study's row.
#[derive(Debug, Clone)]
pub(super) struct StudyRow<'a> {
    /// Visible ones.
    pub(super) instances_count: u64,
    /// Visible ones.
    pub(super) series_count: u64,
    /// How many are known, visible or not: the number of the last.
    pub(super) last_series: u32,
    pub(super) patient: PatientHash,
    pub(super) uid: Cow<'a, str>,
    /// Of visible series, as [`answer::set_of`] makes it.
    pub(super) modalities: Cow<'a, str>,
    /// Of visible instances, likewise.
    pub(super) sop_classes: Cow<'a, str>,
    attributes: Cow<'a, [u8]>,
}

impl<'a> StudyRow<'a> {
    pub(super) fn new(instance: &Instance) -> Result<Self, IndexError> {
        let mut attributes = instance.attributes_of(Level::Patient);
        let patient = patient_hash(&attributes);
        attributes.extend(&instance.attributes_of(Level::Study));
        Ok(Self {
            instances_count: 0,
            series_count: 0,
            last_series: 0,
            patient,
            uid: Cow::Owned(instance.study.as_str().to_owned()),
            modalities: Cow::Borrowed(""),
            sop_classes: Cow::Borrowed(""),
            attributes: Cow::Owned(block(attributes)?),
        })
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(self.attributes.len() + 160);
        writer.number(self.instances_count);
        writer.number(self.series_count);
        writer.number(u64::from(self.last_series));
        writer.raw(&self.patient);
        writer.text(&self.uid);
        writer.text(&self.modalities);
        writer.text(&self.sop_classes);
        writer.raw(&self.attributes);
        writer.into_bytes()
    }

    pub(super) fn decode(row: &'a [u8]) -> Result<Self, IndexError> {
        let mut reader = Reader::new(row, "row of a study");
        Ok(Self {
            instances_count: reader.number()?,
            series_count: reader.number()?,
            last_series: reader.number_u32()?,
            patient: reader.array()?,
            uid: Cow::Borrowed(reader.text()?),
            modalities: Cow::Borrowed(reader.text()?),
            sop_classes: Cow::Borrowed(reader.text()?),
            attributes: Cow::Borrowed(reader.rest()),
        })
    }

    pub(super) fn into_owned(self) -> StudyRow<'static> {
        StudyRow {
            uid: Cow::Owned(self.uid.into_owned()),
            modalities: Cow::Owned(self.modalities.into_owned()),
            sop_classes: Cow::Owned(self.sop_classes.into_owned()),
            attributes: Cow::Owned(self.attributes.into_owned()),
            ..self
        }
    }

    /// Adds the patient and study attributes for which `wanted` is true, as they were received.
    pub(super) fn attributes(
        &self,
        into: &mut Attributes,
        wanted: impl Fn(Tag) -> bool,
    ) -> Result<(), IndexError> {
        Reader::new(&self.attributes, "row of a study").attributes(into, &wanted)?;
        if wanted(tags::STUDY_INSTANCE_UID) {
            into.insert_text(tags::STUDY_INSTANCE_UID, Vr::UI, &*self.uid);
        }
        Ok(())
    }

    /// The attributes, as [`Self::set_attributes`] takes them.
    pub(super) fn block(&self) -> &[u8] {
        &self.attributes
    }

    /// Sets what it says of patient and study.
    pub(super) fn set_attributes(&mut self, attributes: Attributes) -> Result<(), IndexError> {
        let mut of_patient = attributes.clone();
        of_patient.retain(|attribute| level_of(attribute.tag) == Some(Level::Patient));
        self.patient = patient_hash(&of_patient);
        self.attributes = Cow::Owned(block(attributes)?);
        Ok(())
    }

    /// What is left of the row when the study is erased.
    pub(super) fn tombstone(uid: &str) -> StudyRow<'static> {
        StudyRow {
            instances_count: 0,
            series_count: 0,
            last_series: 0,
            patient: PatientHash::default(),
            uid: Cow::Owned(uid.to_owned()),
            modalities: Cow::Borrowed(""),
            sop_classes: Cow::Borrowed(""),
            attributes: Cow::Borrowed(&[]),
        }
    }

    /// What is stored of one patient or study attribute; not of Study Instance UID.
    pub(super) fn find(&self, tag: Tag) -> Result<Stored<'_>, IndexError> {
        Reader::new(&self.attributes, "row of a study").find(tag)
    }

    pub(super) fn uid(&self) -> Result<StudyUid, IndexError> {
        StudyUid::parse_legacy(&self.uid).map_err(|_| IndexError::Damaged {
            what: "UID of a study",
        })
    }

    /// Counts an instance that became visible, of a series with this modality where it is the
    /// series' first.
    pub(super) fn count(&mut self, sop_class: &str, first_of_modality: Option<&str>) {
        self.instances_count = self.instances_count.saturating_add(1);
        add(&mut self.sop_classes, sop_class);
        if let Some(modality) = first_of_modality {
            self.series_count = self.series_count.saturating_add(1);
            add(&mut self.modalities, modality);
        }
    }
}

fn add(set: &mut Cow<'_, str>, text: &str) {
    if !set.split('\\').any(|value| value == text) {
        *set = Cow::Owned(answer::set_of([&**set, text]));
    }
}

/// A series' row, with what most of its instances have in common.
#[derive(Debug, Clone)]
pub(super) struct SeriesRow<'a> {
    /// Visible ones.
    pub(super) instances_count: u64,
    pub(super) uid: Cow<'a, str>,
    sop_class: Cow<'a, str>,
    transfer_syntax: Cow<'a, str>,
    sender: Cow<'a, [u8]>,
    attributes: Cow<'a, [u8]>,
}

impl<'a> SeriesRow<'a> {
    pub(super) fn new(stored: &StoredInstance) -> Result<Self, IndexError> {
        let instance = &stored.instance;
        Ok(Self {
            instances_count: 0,
            uid: Cow::Owned(instance.series.as_str().to_owned()),
            sop_class: Cow::Owned(instance.sop_class.as_str().to_owned()),
            transfer_syntax: Cow::Owned(instance.transfer_syntax.as_str().to_owned()),
            sender: Cow::Owned(sender(&stored.provenance)),
            attributes: Cow::Owned(block(instance.attributes_of(Level::Series))?),
        })
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(self.attributes.len() + 200);
        writer.number(self.instances_count);
        writer.text(&self.uid);
        writer.text(&self.sop_class);
        writer.text(&self.transfer_syntax);
        writer.number(self.sender.len() as u64);
        writer.raw(&self.sender);
        writer.raw(&self.attributes);
        writer.into_bytes()
    }

    pub(super) fn decode(row: &'a [u8]) -> Result<Self, IndexError> {
        let mut reader = Reader::new(row, "row of a series");
        Ok(Self {
            instances_count: reader.number()?,
            uid: Cow::Borrowed(reader.text()?),
            sop_class: Cow::Borrowed(reader.text()?),
            transfer_syntax: Cow::Borrowed(reader.text()?),
            sender: Cow::Borrowed(reader.bytes()?),
            attributes: Cow::Borrowed(reader.rest()),
        })
    }

    pub(super) fn into_owned(self) -> SeriesRow<'static> {
        SeriesRow {
            uid: Cow::Owned(self.uid.into_owned()),
            sop_class: Cow::Owned(self.sop_class.into_owned()),
            transfer_syntax: Cow::Owned(self.transfer_syntax.into_owned()),
            sender: Cow::Owned(self.sender.into_owned()),
            attributes: Cow::Owned(self.attributes.into_owned()),
            ..self
        }
    }

    /// What is left of the row when the study is erased.
    pub(super) fn tombstone(self) -> Self {
        Self {
            instances_count: 0,
            attributes: Cow::Borrowed(&[]),
            ..self
        }
    }

    /// Adds the series attributes for which `wanted` is true, as they were received.
    pub(super) fn attributes(
        &self,
        into: &mut Attributes,
        wanted: impl Fn(Tag) -> bool,
    ) -> Result<(), IndexError> {
        Reader::new(&self.attributes, "row of a series").attributes(into, &wanted)?;
        if wanted(tags::SERIES_INSTANCE_UID) {
            into.insert_text(tags::SERIES_INSTANCE_UID, Vr::UI, &*self.uid);
        }
        Ok(())
    }

    pub(super) fn uid(&self) -> Result<SeriesUid, IndexError> {
        SeriesUid::parse_legacy(&self.uid).map_err(|_| IndexError::Damaged {
            what: "UID of a series",
        })
    }

    /// The AE title that sent its first instance.
    pub(super) fn sender(&self) -> Result<String, IndexError> {
        Ok(provenance(&self.sender, 0)?.calling)
    }

    pub(super) fn modality(&self) -> Result<String, IndexError> {
        let mut attributes = Attributes::new();
        self.attributes(&mut attributes, |tag| tag == tags::MODALITY)?;
        Ok(attributes
            .text(tags::MODALITY)
            .unwrap_or_default()
            .to_owned())
    }
}

/// What is before the digest in an instance's row, as bits.
mod flag {
    /// Not the first version under its UID.
    pub(super) const UNSERVED: u8 = 1 << 1;
    /// What differs from its series' row stands in its own.
    pub(super) const OWN_CLASS: u8 = 1 << 2;
    pub(super) const OWN_SYNTAX: u8 = 1 << 3;
    pub(super) const OWN_SENDER: u8 = 1 << 4;
    /// Served all the same, since what was served before it is erased.
    pub(super) const PROMOTED: u8 = 1 << 5;
    /// Erased with its study: it only keeps its number.
    pub(super) const ERASED: u8 = 1 << 6;
    /// Its bytes were destroyed before the log told of it.
    pub(super) const DESTROYED: u8 = 1 << 7;
}

/// The first byte of a row is flags; this one changes, and so do the last three of [`flag`].
const HIDDEN: u8 = 1;

/// An instance's row, as it is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct InstanceRow<'a> {
    flags: u8,
    pub(super) uid: &'a str,
    sop_class: Option<&'a str>,
    transfer_syntax: Option<&'a str>,
    sender: Option<&'a [u8]>,
    received_unix_ms: u64,
    pub(super) digest: Digest,
    pub(super) location: Location,
    head_bytes: u64,
    attributes: Reader<'a>,
}

impl<'a> InstanceRow<'a> {
    pub(super) fn encode(
        stored: &StoredInstance,
        served: bool,
        series: &SeriesRow<'_>,
    ) -> Result<Vec<u8>, IndexError> {
        let instance = &stored.instance;
        let sender = sender(&stored.provenance);
        let own_class = instance.sop_class.as_str() != series.sop_class;
        let own_syntax = instance.transfer_syntax.as_str() != series.transfer_syntax;
        let own_sender = sender != *series.sender;
        let mut writer = Writer::with_capacity(512);
        let flags = [
            (!served, flag::UNSERVED),
            (own_class, flag::OWN_CLASS),
            (own_syntax, flag::OWN_SYNTAX),
            (own_sender, flag::OWN_SENDER),
        ];
        let flags = flags.into_iter().filter(|(is, _)| *is);
        writer.byte(flags.fold(0, |flags, (_, flag)| flags | flag));
        writer.text(instance.instance.as_str());
        if own_class {
            writer.text(instance.sop_class.as_str());
        }
        if own_syntax {
            writer.text(instance.transfer_syntax.as_str());
        }
        if own_sender {
            writer.number(sender.len() as u64);
            writer.raw(&sender);
        }
        writer.number(stored.provenance.received_unix_ms);
        writer.raw(&stored.digest.0);
        writer.number(stored.location.pack);
        writer.number(stored.location.offset);
        writer.number(stored.location.length_bytes);
        writer.number(instance.head_bytes);
        writer.raw(&block(instance.attributes_of(Level::Instance))?);
        Ok(writer.into_bytes())
    }

    pub(super) fn decode(row: &'a [u8]) -> Result<Self, IndexError> {
        let mut reader = Reader::new(row, "row of an instance");
        let flags = reader.byte()?;
        let has = |flag| flags & flag != 0;
        Ok(Self {
            flags,
            uid: reader.text()?,
            sop_class: has(flag::OWN_CLASS).then(|| reader.text()).transpose()?,
            transfer_syntax: has(flag::OWN_SYNTAX).then(|| reader.text()).transpose()?,
            sender: has(flag::OWN_SENDER).then(|| reader.bytes()).transpose()?,
            received_unix_ms: reader.number()?,
            digest: Digest(reader.array()?),
            location: Location {
                pack: reader.number()?,
                offset: reader.number()?,
                length_bytes: reader.number()?,
            },
            head_bytes: reader.number()?,
            attributes: reader,
        })
    }

    pub(super) const fn hidden(&self) -> bool {
        self.flags & HIDDEN != 0
    }

    /// Whether it was the first under its UID when it came.
    pub(super) const fn came_first(&self) -> bool {
        self.flags & flag::UNSERVED == 0
    }

    pub(super) const fn served(&self) -> bool {
        !self.erased() && (self.came_first() || self.flags & flag::PROMOTED != 0)
    }

    pub(super) const fn erased(&self) -> bool {
        self.flags & flag::ERASED != 0
    }

    pub(super) const fn destroyed(&self) -> bool {
        self.flags & flag::DESTROYED != 0
    }

    pub(super) const fn visible(&self) -> bool {
        self.served() && !self.hidden() && !self.destroyed()
    }

    /// What is left of the row when its study is erased.
    pub(super) fn tombstone(&self, row: &[u8]) -> Vec<u8> {
        let length = row.len().saturating_sub(self.attributes.rest().len());
        let row = row.get(..length).unwrap_or_default();
        flagged(row, flag::ERASED)
    }

    pub(super) fn sop_class<'r>(&'r self, series: &'r SeriesRow<'_>) -> &'r str {
        self.sop_class.unwrap_or(&series.sop_class)
    }

    /// Adds the instance attributes for which `wanted` is true.
    pub(super) fn attributes(
        &self,
        series: &SeriesRow<'_>,
        into: &mut Attributes,
        wanted: impl Fn(Tag) -> bool,
    ) -> Result<(), IndexError> {
        self.attributes.attributes(into, &wanted)?;
        for (tag, uid) in [
            (tags::SOP_CLASS_UID, self.sop_class(series)),
            (tags::SOP_INSTANCE_UID, self.uid),
        ] {
            if wanted(tag) {
                into.insert_text(tag, Vr::UI, uid);
            }
        }
        Ok(())
    }

    /// The instance as [`crate::index::Index::select`] gives it.
    pub(super) fn stored(
        &self,
        study_uid: &StudyUid,
        series_uid: &SeriesUid,
        series: &SeriesRow<'_>,
    ) -> Result<StoredInstance, IndexError> {
        let damaged = |_| self.attributes.damaged();
        let mut attributes = Attributes::new();
        self.attributes(series, &mut attributes, |_| true)?;
        let transfer_syntax = self.transfer_syntax.unwrap_or(&series.transfer_syntax);
        let instance = Instance {
            study: study_uid.clone(),
            series: series_uid.clone(),
            instance: SopInstanceUid::parse_legacy(self.uid).map_err(damaged)?,
            sop_class: SopClassUid::parse_legacy(self.sop_class(series)).map_err(damaged)?,
            transfer_syntax: TransferSyntaxUid::parse_legacy(transfer_syntax).map_err(damaged)?,
            attributes,
            head_bytes: self.head_bytes,
        };
        let sender = self.sender.unwrap_or(&series.sender);
        let mut stored = StoredInstance {
            instance,
            location: self.location,
            digest: self.digest,
            provenance: provenance(sender, self.received_unix_ms)?,
        };
        let mut attributes = std::mem::take(&mut stored.instance.attributes);
        answer::put_uids_above(&mut attributes, &stored.instance);
        stored.instance.attributes = attributes;
        Ok(stored)
    }
}

/// The same row, of content that was destroyed.
pub(super) fn of_destroyed(row: &[u8]) -> Vec<u8> {
    flagged(row, flag::DESTROYED)
}

/// The same row, served since the version before it is erased.
pub(super) fn promoted(row: &[u8]) -> Vec<u8> {
    flagged(row, flag::PROMOTED)
}

fn flagged(row: &[u8], flag: u8) -> Vec<u8> {
    let mut row = row.to_vec();
    if let Some(flags) = row.first_mut() {
        *flags |= flag;
    }
    row
}

/// The same row, hidden or shown.
pub(super) fn turned(row: &[u8], hidden: bool) -> Vec<u8> {
    let mut row = row.to_vec();
    if let Some(flags) = row.first_mut() {
        *flags = if hidden {
            *flags | HIDDEN
        } else {
            *flags & !HIDDEN
        };
    }
    row
}

/// Attributes as a row ends with them; UIDs that are identifiers stand before.
fn block(mut attributes: Attributes) -> Result<Vec<u8>, IndexError> {
    attributes.retain(|a| {
        ![
            tags::SOP_CLASS_UID,
            tags::SOP_INSTANCE_UID,
            tags::SERIES_INSTANCE_UID,
            tags::STUDY_INSTANCE_UID,
        ]
        .contains(&a.tag)
    });
    let mut writer = Writer::with_capacity(512);
    writer.attributes(&attributes)?;
    Ok(writer.into_bytes())
}
