//! A request as it stands in the records: one document of JSON.

use super::{Record, RecordsError};
use pacs_core::commitment::{CommitmentRequest, Reference};
use pacs_core::uid::TransactionUid;
use pacs_core::{AeTitle, SopClassUid, SopInstanceUid};
use serde::{Deserialize, Serialize};

/// Version of the document; another one is not read.
const FORMAT_VERSION: u32 = 1;

/// A request for storage commitment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Transaction {
    pub(super) ae: AeTitle,
    pub(super) uid: TransactionUid,
    pub(super) accepted_unix_ms: u64,
    /// Whether its transaction UID was in use, so that it fails as a whole.
    pub(super) is_duplicate: bool,
    /// When its report was given up; its references are gone then.
    pub(super) given_up_unix_ms: Option<u64>,
    /// Each once, in the order in which they were asked about.
    pub(super) references: Vec<Reference>,
}

/// How it is written. Each class stands once: there are few of them and many instances.
#[derive(Serialize, Deserialize)]
struct Document {
    version: u32,
    ae: AeTitle,
    transaction: TransactionUid,
    accepted_unix_ms: u64,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    duplicate: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    given_up_unix_ms: Option<u64>,
    classes: Vec<SopClassUid>,
    /// Which of the classes, and the instance.
    references: Vec<(usize, SopInstanceUid)>,
}

impl Transaction {
    pub(super) fn new(ae: AeTitle, request: CommitmentRequest, accepted_unix_ms: u64) -> Self {
        Self {
            ae,
            uid: request.transaction,
            accepted_unix_ms,
            is_duplicate: false,
            given_up_unix_ms: None,
            references: request.references,
        }
    }

    /// What all keys of this AE and transaction UID begin with. Neither holds a backslash.
    pub(super) fn prefix(&self) -> String {
        format!("{}\\{}\\", self.ae, self.uid)
    }

    /// A key that is none of `taken`: the first is free unless the UID is in use.
    pub(super) fn key(&self, taken: &[String]) -> String {
        let prefix = self.prefix();
        let mut keys = (0..=taken.len()).map(|number| format!("{prefix}{number}"));
        let free = keys.find(|key| !taken.contains(key));
        free.unwrap_or(prefix)
    }

    pub(super) fn from_record(record: &Record) -> Option<Self> {
        let document: Document = serde_json::from_slice(&record.value).ok()?;
        if document.version != FORMAT_VERSION {
            return None;
        }
        let references = document.references.into_iter().map(|(class, instance)| {
            Some(Reference {
                sop_class: document.classes.get(class)?.clone(),
                sop_instance: instance,
            })
        });
        Some(Self {
            references: references.collect::<Option<_>>()?,
            ae: document.ae,
            uid: document.transaction,
            accepted_unix_ms: document.accepted_unix_ms,
            is_duplicate: document.duplicate,
            given_up_unix_ms: document.given_up_unix_ms,
        })
    }

    pub(super) fn to_value(&self) -> Result<Vec<u8>, RecordsError> {
        let mut classes = Vec::new();
        let mut references = Vec::with_capacity(self.references.len());
        for reference in &self.references {
            let known = classes.iter().position(|of| *of == reference.sop_class);
            let class = known.unwrap_or_else(|| {
                classes.push(reference.sop_class.clone());
                classes.len() - 1
            });
            references.push((class, reference.sop_instance.clone()));
            if classes.len() > CLASSES_MAX {
                return Err(RecordsError::Unfit { what: "value" });
            }
        }
        let document = Document {
            version: FORMAT_VERSION,
            ae: self.ae.clone(),
            transaction: self.uid.clone(),
            accepted_unix_ms: self.accepted_unix_ms,
            duplicate: self.is_duplicate,
            given_up_unix_ms: self.given_up_unix_ms,
            classes,
            references,
        };
        serde_json::to_vec(&document).map_err(|source| RecordsError::Backend {
            operation: "write a commitment request",
            source: Box::new(source),
        })
    }
}

/// Classes of one request; the standard has some two hundred.
pub(super) const CLASSES_MAX: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;
    use pacs_core::limits::CommitmentLimits;
    use pacs_store::limits::RECORD_VALUE_BYTES_MAX;
    use pacs_store::records::Revision;

    fn transaction(references_count: usize, classes_count: usize) -> Transaction {
        let reference = |number: usize| Reference {
            sop_class: SopClassUid::parse(&format!("1.2.{}", number % classes_count)).unwrap(),
            sop_instance: SopInstanceUid::parse(&format!("1.{}{number:05}", "4".repeat(57)))
                .unwrap(),
        };
        let request = CommitmentRequest {
            transaction: TransactionUid::parse("2.25.1").unwrap(),
            references: (0..references_count).map(reference).collect(),
        };
        Transaction::new(AeTitle::parse("CT 1/A").unwrap(), request, 7)
    }

    #[test]
    fn the_largest_request_fits_a_record_and_is_read_back() {
        let most = transaction(CommitmentLimits::default().references_max, 200);
        let value = most.to_value().unwrap();
        assert!(value.len() <= RECORD_VALUE_BYTES_MAX, "{}", value.len());
        let record = Record {
            key: most.key(&[]),
            revision: Revision(1),
            value,
        };

        assert_eq!(Transaction::from_record(&record), Some(most));
        assert_eq!(record.key, "CT 1/A\\2.25.1\\0");
    }

    #[test]
    fn more_classes_than_there_can_be_are_refused() {
        assert!(transaction(2_000, 2_000).to_value().is_err());
    }

    #[test]
    fn a_key_is_one_that_is_free() {
        let of = transaction(1, 1);
        let taken = [of.key(&[]), "CT 1/A\\2.25.1\\2".to_owned()];
        assert_eq!(of.key(&taken), "CT 1/A\\2.25.1\\1");
    }
}
