//! Made-up instances and queries.

use pacs_core::tag::{tags, vr_of};
use pacs_core::{
    Instance, Key, Level, Matching, Query, SeriesUid, SopClassUid, SopInstanceUid, StudyUid, Tag,
    TransferSyntaxUid, Uid, Value,
};
use pacs_store::index::{Digest, Location, LogRecord, Provenance, StoredInstance, Target};

/// CT Image Storage.
pub const CT_IMAGE: &str = "1.2.840.10008.5.1.4.1.1.2";
/// MR Image Storage.
pub const MR_IMAGE: &str = "1.2.840.10008.5.1.4.1.1.4";

/// An instance in the making. Its UIDs tell its place: study 3, series 2 of it, instance 7 of that.
#[derive(Debug, Clone)]
pub struct Sample {
    stored: StoredInstance,
}

impl Sample {
    /// A CT slice of a patient whose ID is that of the study.
    #[must_use]
    pub fn new(study: u32, series: u32, instance: u32) -> Self {
        let instance_uid = instance_uid(study, series, instance);
        let head = Instance {
            study: study_uid(study),
            series: series_uid(study, series),
            instance: instance_uid.clone(),
            sop_class: SopClassUid::parse(CT_IMAGE).unwrap(),
            transfer_syntax: TransferSyntaxUid::parse("1.2.840.10008.1.2.1").unwrap(),
            attributes: pacs_core::Attributes::new(),
            head_bytes: 1_500,
        };
        let stored = StoredInstance {
            instance: head,
            location: Location {
                pack: u64::from(study),
                offset: u64::from(instance) * 10_000,
                length_bytes: 9_000,
            },
            digest: digest_of(instance_uid.as_str(), 0),
            provenance: Provenance {
                received_unix_ms: 1_790_000_000_000 + u64::from(instance),
                calling: "CT1".to_owned(),
                address: Some([10, 0, 0, 1].into()),
            },
        };
        Self { stored }
            .with(tags::PATIENT_ID, &format!("P{study}"))
            .with(tags::PATIENT_NAME, "Асанова^Айгүл")
            .with(tags::PATIENT_BIRTH_DATE, "19800102")
            .with(tags::STUDY_DATE, "20260314")
            .with(tags::STUDY_TIME, "101530")
            .with(tags::ACCESSION_NUMBER, &format!("A{study}"))
            .with(tags::STUDY_DESCRIPTION, "КТ головы")
            .with(tags::MODALITY, "CT")
            .with(tags::SERIES_NUMBER, &series.to_string())
            .with(tags::INSTANCE_NUMBER, &instance.to_string())
    }

    /// With `text` under `tag`.
    #[must_use]
    pub fn with(self, tag: Tag, text: &str) -> Self {
        self.with_value(tag, Value::Text(text.into()))
    }

    /// With `value` under `tag`.
    #[must_use]
    pub fn with_value(mut self, tag: Tag, value: Value) -> Self {
        let attributes = &mut self.stored.instance.attributes;
        attributes.insert(tag, vr_of(tag), value);
        self
    }

    /// Without `tag`.
    #[must_use]
    pub fn without(mut self, tag: Tag) -> Self {
        self.stored.instance.attributes.retain(|a| a.tag != tag);
        self
    }

    /// Of another class, and with a modality.
    #[must_use]
    pub fn of_class(mut self, class: &str, modality: &str) -> Self {
        self.stored.instance.sop_class = SopClassUid::parse(class).unwrap();
        self.with(tags::MODALITY, modality)
    }

    /// With other content: the digest depends on `content`, which is 0 at first.
    #[must_use]
    pub fn with_content(mut self, content: u8) -> Self {
        self.stored.digest = digest_of(self.stored.instance.instance.as_str(), content);
        self.stored.location.offset += u64::from(content);
        self
    }

    /// Sent by another device.
    #[must_use]
    pub fn sent_by(mut self, provenance: Provenance) -> Self {
        self.stored.provenance = provenance;
        self
    }

    /// In another transfer syntax.
    #[must_use]
    pub fn in_syntax(mut self, transfer_syntax: &str) -> Self {
        self.stored.instance.transfer_syntax = TransferSyntaxUid::parse(transfer_syntax).unwrap();
        self
    }

    /// With the identifiers of another place in the tree; the SOP Instance UID stays.
    #[must_use]
    pub fn moved_to(mut self, study: u32, series: u32) -> Self {
        self.stored.instance.study = study_uid(study);
        self.stored.instance.series = series_uid(study, series);
        self
    }

    /// With the Series Instance UID of series `series` of study `study`; the study stays.
    #[must_use]
    pub fn in_series_of(mut self, study: u32, series: u32) -> Self {
        self.stored.instance.series = series_uid(study, series);
        self
    }

    /// As it stands in the archive.
    #[must_use]
    pub fn stored(&self) -> StoredInstance {
        self.stored.clone()
    }

    /// At another place of the log.
    #[must_use]
    pub fn at(mut self, pack: u64, offset: u64) -> Self {
        self.stored.location.pack = pack;
        self.stored.location.offset = offset;
        self
    }

    /// As the log tells of it when its content is destroyed.
    #[must_use]
    pub fn destroyed(&self) -> LogRecord {
        let mut stored = self.stored();
        stored.instance.attributes = pacs_core::Attributes::new();
        stored.instance.head_bytes = 0;
        LogRecord::Destroyed(Box::new(stored))
    }

    /// As the log tells of it.
    #[must_use]
    pub fn record(&self) -> LogRecord {
        LogRecord::Instance(Box::new(self.stored()))
    }
}

/// The UID of study `study`.
#[must_use]
pub fn study_uid(study: u32) -> StudyUid {
    StudyUid::parse(&format!("1.2.99.{study}")).unwrap()
}

/// The UID of a series.
#[must_use]
pub fn series_uid(study: u32, series: u32) -> SeriesUid {
    SeriesUid::parse(&format!("1.2.99.{study}.{series}")).unwrap()
}

/// The UID of an instance.
#[must_use]
pub fn instance_uid(study: u32, series: u32, instance: u32) -> SopInstanceUid {
    SopInstanceUid::parse(&format!("1.2.99.{study}.{series}.{instance}")).unwrap()
}

/// A digest as good as any: different for each UID and content.
#[must_use]
pub fn digest_of(uid: &str, content: u8) -> Digest {
    let mut digest = [content; 32];
    for (at, byte) in uid.bytes().enumerate() {
        if let Some(place) = digest.get_mut(at % 31) {
            *place = place.wrapping_mul(31).wrapping_add(byte);
        }
    }
    Digest(digest)
}

/// The log tells of a hide.
#[must_use]
pub fn hide(target: Target) -> LogRecord {
    LogRecord::Hide {
        target,
        reason: "sent by mistake".to_owned(),
    }
}

/// The log tells of an erasure.
#[must_use]
pub fn erase(study: StudyUid) -> LogRecord {
    LogRecord::Erase { study }
}

/// The log tells of a restore.
#[must_use]
pub fn restore(target: Target) -> LogRecord {
    LogRecord::Restore { target }
}

/// A query with `keys`, in order of their tags.
#[must_use]
pub fn query(level: Level, keys: impl IntoIterator<Item = (Tag, Matching)>) -> Query {
    let mut keys: Vec<Key> = keys
        .into_iter()
        .map(|(tag, matching)| Key {
            tag,
            vr: vr_of(tag),
            matching,
        })
        .collect();
    keys.sort_by_key(|key| key.tag);
    Query { level, keys }
}

/// Equal to `text`.
#[must_use]
pub fn single(text: &str) -> Matching {
    Matching::SingleValue(text.to_owned())
}

/// Like `pattern`.
#[must_use]
pub fn wildcard(pattern: &str) -> Matching {
    Matching::WildCard(pattern.to_owned())
}

/// From `from` to `to`; empty is open.
#[must_use]
pub fn range(from: &str, to: &str) -> Matching {
    let bound = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Matching::Range {
        from: bound(from),
        to: bound(to),
    }
}

/// One of `uids`.
#[must_use]
pub fn uids<'a>(uids: impl IntoIterator<Item = &'a str>) -> Matching {
    Matching::UidList(
        uids.into_iter()
            .map(|uid| Uid::parse(uid).unwrap())
            .collect(),
    )
}
