//! Rejection notes: Key Object Selection Documents whose title says that images are rejected
//! (PS3.3 A.35.4, C.17.6; IHE RAD TF-2 4.66).

use super::{Quality, Title};
use crate::attributes::Attributes;
use crate::decode::{DecodeError, read_data_set};
use crate::limits::{DataSetLimits, REJECTION_NOTE_REFERENCES_MAX};
use crate::tag::tags;
use crate::uid::{SeriesUid, SopInstanceUid, StudyUid, TransferSyntaxUid};

/// Key Object Selection Document Storage.
pub const SOP_CLASS: &str = "1.2.840.10008.5.1.4.1.1.88.59";

/// The scheme of codes of our own.
const OWN_SCHEME: &str = "99KGPACS";

/// (113011, DCM, "Document Title Modifier"): the concept under which the reason stands.
const MODIFIER: &str = "113011";

/// What a note asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Asked {
    /// To reject.
    Reject(Title),
    /// To bring back (99KGPACS `RESTORE`).
    Restore,
}

/// What a note names of one study.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Rejected {
    /// The study.
    pub study: StudyUid,
    /// The series.
    pub series: SeriesUid,
    /// Their instances.
    pub instances: Vec<SopInstanceUid>,
}

/// A note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectionNote {
    /// What it asks for.
    pub asked: Asked,
    /// What is wrong, where it says so in a code of CID 7011.
    pub quality: Option<Quality>,
    /// Of what, series by series; UIDs that are none are left out.
    pub rejected: Vec<Rejected>,
    /// Instances beyond [`REJECTION_NOTE_REFERENCES_MAX`], which are not in it.
    pub left_out_count: u64,
}

/// Why a document could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("key object selection cannot be read")]
pub struct NoteError(#[from] DecodeError);

impl RejectionNote {
    /// Reads a Key Object Selection Document; `None` where it has another title.
    ///
    /// # Errors
    /// [`NoteError`].
    pub fn read(
        bytes: &[u8],
        transfer_syntax: &TransferSyntaxUid,
        limits: &DataSetLimits,
    ) -> Result<Option<Self>, NoteError> {
        let document = read_data_set(bytes, transfer_syntax, limits)?;
        let title = document.items(tags::CONCEPT_NAME_CODE_SEQUENCE).first();
        let Some(asked) = title.and_then(asked) else {
            return Ok(None);
        };
        let (rejected, left_out_count) = references(&document);
        Ok(Some(Self {
            asked,
            quality: quality(&document),
            rejected,
            left_out_count,
        }))
    }

    /// How many instances it names.
    #[must_use]
    pub fn instances_count(&self) -> u64 {
        let named = self.rejected.iter().map(|of| of.instances.len() as u64);
        named.sum::<u64>().saturating_add(self.left_out_count)
    }
}

fn coded(item: &Attributes) -> (&str, &str) {
    let text = |tag| item.text(tag).unwrap_or_default().trim();
    (text(tags::CODE_VALUE), text(tags::CODING_SCHEME_DESIGNATOR))
}

fn asked(title: &Attributes) -> Option<Asked> {
    match coded(title) {
        (value, "DCM") => Title::of_code(value).map(Asked::Reject),
        ("RESTORE", OWN_SCHEME) => Some(Asked::Restore),
        _ => None,
    }
}

fn quality(document: &Attributes) -> Option<Quality> {
    let content = document.items(tags::CONTENT_SEQUENCE).iter();
    let modifiers = content.filter(|item| {
        let name = item.items(tags::CONCEPT_NAME_CODE_SEQUENCE).first();
        name.is_some_and(|name| coded(name) == (MODIFIER, "DCM"))
    });
    let mut codes = modifiers.filter_map(|item| {
        let value = item.items(tags::CONCEPT_CODE_SEQUENCE).first()?;
        let (value, scheme) = coded(value);
        (scheme == "DCM").then(|| Quality::of_code(value)).flatten()
    });
    codes.next()
}

/// What the evidence names (PS3.3 C.17.6.2.1), and how much of it is left out.
fn references(document: &Attributes) -> (Vec<Rejected>, u64) {
    let mut rejected: Vec<Rejected> = Vec::new();
    let mut left = REJECTION_NOTE_REFERENCES_MAX;
    let mut left_out = 0_u64;
    let evidence = tags::CURRENT_REQUESTED_PROCEDURE_EVIDENCE_SEQUENCE;
    for study in document.items(evidence) {
        let uid = study.text(tags::STUDY_INSTANCE_UID).unwrap_or_default();
        let Ok(of_study) = StudyUid::parse_legacy(uid) else {
            continue;
        };
        for series in study.items(tags::REFERENCED_SERIES_SEQUENCE) {
            let uid = series.text(tags::SERIES_INSTANCE_UID).unwrap_or_default();
            let Ok(of_series) = SeriesUid::parse_legacy(uid) else {
                continue;
            };
            let named = series.items(tags::REFERENCED_SOP_SEQUENCE).iter();
            let named = named.filter_map(|item| item.text(tags::REFERENCED_SOP_INSTANCE_UID));
            let all: Vec<_> = named
                .filter_map(|uid| SopInstanceUid::parse_legacy(uid).ok())
                .collect();
            let count = all.len().min(left);
            left = left.saturating_sub(count);
            let beyond = all.len().saturating_sub(count);
            left_out = left_out.saturating_add(beyond as u64);
            if count > 0 {
                rejected.push(Rejected {
                    study: of_study.clone(),
                    series: of_series,
                    instances: all.into_iter().take(count).collect(),
                });
            }
        }
    }
    (rejected, left_out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attributes::Value;
    use crate::encode::write_data_set;
    use crate::tag::Vr;

    fn code(value: &str, scheme: &str) -> Value {
        let mut item = Attributes::default();
        item.insert_text(tags::CODE_VALUE, Vr::SH, value);
        item.insert_text(tags::CODING_SCHEME_DESIGNATOR, Vr::SH, scheme);
        Value::Items(vec![item])
    }

    fn note(title: (&str, &str), instances_count: usize) -> Vec<u8> {
        let named = (1..=instances_count).map(|number| {
            let mut item = Attributes::default();
            let uid = format!("1.2.3.1.{number}");
            item.insert_text(tags::REFERENCED_SOP_INSTANCE_UID, Vr::UI, uid);
            item
        });
        let mut series = Attributes::default();
        series.insert_text(tags::SERIES_INSTANCE_UID, Vr::UI, "1.2.3.1");
        let named = Value::Items(named.collect());
        series.insert(tags::REFERENCED_SOP_SEQUENCE, Vr::SQ, named);
        let mut study = Attributes::default();
        study.insert_text(tags::STUDY_INSTANCE_UID, Vr::UI, "1.2.3");
        let of_study = Value::Items(vec![series]);
        study.insert(tags::REFERENCED_SERIES_SEQUENCE, Vr::SQ, of_study);
        let mut modifier = Attributes::default();
        let name = tags::CONCEPT_NAME_CODE_SEQUENCE;
        modifier.insert(name, Vr::SQ, code("113011", "DCM"));
        modifier.insert(tags::CONCEPT_CODE_SEQUENCE, Vr::SQ, code("111210", "DCM"));
        let mut document = Attributes::default();
        document.insert(name, Vr::SQ, code(title.0, title.1));
        let evidence = tags::CURRENT_REQUESTED_PROCEDURE_EVIDENCE_SEQUENCE;
        document.insert(evidence, Vr::SQ, Value::Items(vec![study]));
        document.insert(tags::CONTENT_SEQUENCE, Vr::SQ, Value::Items(vec![modifier]));
        write_data_set(&document, &syntax()).unwrap()
    }

    fn syntax() -> TransferSyntaxUid {
        TransferSyntaxUid::parse("1.2.840.10008.1.2.1").unwrap()
    }

    fn read(bytes: &[u8]) -> Option<RejectionNote> {
        RejectionNote::read(bytes, &syntax(), &DataSetLimits::default()).unwrap()
    }

    #[test]
    fn a_note_says_what_it_rejects_and_why() {
        let found = read(&note(("113001", "DCM"), 2)).unwrap();

        assert_eq!(found.asked, Asked::Reject(Title::Quality));
        assert_eq!(found.quality, Some(Quality::MotionBlur));
        let [of_series] = found.rejected.as_slice() else {
            panic!("{found:?}");
        };
        assert_eq!(of_series.study.as_str(), "1.2.3");
        let named: Vec<_> = of_series.instances.iter().map(|uid| uid.as_str()).collect();
        assert_eq!(named, ["1.2.3.1.1", "1.2.3.1.2"]);
        assert_eq!(found.instances_count(), 2);
        let back = read(&note(("RESTORE", "99KGPACS"), 1)).unwrap();
        assert_eq!(back.asked, Asked::Restore);
    }

    #[test]
    fn other_key_objects_are_no_notes_and_noise_is_an_error() {
        assert_eq!(read(&note(("113000", "DCM"), 1)), None);
        assert_eq!(read(&note(("113001", "99X"), 1)), None);
        assert_eq!(read(&[]), None);
        let cut = &note(("113001", "DCM"), 1)[..40];
        let refused = RejectionNote::read(cut, &syntax(), &DataSetLimits::default());
        assert!(refused.is_err());
    }

    #[test]
    fn what_a_note_names_beyond_the_bound_is_counted() {
        let found = read(&note(("113038", "DCM"), REJECTION_NOTE_REFERENCES_MAX + 7)).unwrap();
        assert_eq!(found.left_out_count, 7);
        let count = REJECTION_NOTE_REFERENCES_MAX as u64 + 7;
        assert_eq!(found.instances_count(), count);
    }
}
