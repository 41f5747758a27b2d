//! A request of a client as it stands in the records: one document of JSON.

use crate::commitment::transaction::CLASSES_MAX;
use pacs_core::commitment::{Place, Reference};
use pacs_core::uid::TransactionUid;
use pacs_core::{SeriesUid, SopClassUid, SopInstanceUid, StudyUid};
use pacs_store::records::{Record, RecordsError};
use pacs_web::commitment::Wanted;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Version of the document; another one is not read.
const FORMAT_VERSION: u32 = 1;

/// A request for storage commitment over the web.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    /// The name of a token; empty where none is needed.
    pub(super) client: String,
    pub(super) transaction: TransactionUid,
    pub(super) accepted_unix_ms: u64,
    /// Each once, in the order in which they were asked about.
    pub(super) wanted: Vec<Wanted>,
}

/// How it is written. Each class and place stands once: there are few of them and many instances.
#[derive(Serialize, Deserialize)]
struct Document {
    version: u32,
    client: String,
    transaction: TransactionUid,
    accepted_unix_ms: u64,
    classes: Vec<SopClassUid>,
    places: Vec<(StudyUid, SeriesUid)>,
    /// Which of the classes, the instance, and which of the places.
    references: Vec<(usize, SopInstanceUid, Option<usize>)>,
}

/// The key of the request `transaction` of `client`: neither holds a backslash.
pub(super) fn key(client: &str, transaction: &TransactionUid) -> String {
    format!("{client}\\{transaction}")
}

impl Request {
    pub(super) fn key(&self) -> String {
        key(&self.client, &self.transaction)
    }

    pub(super) fn from_record(record: &Record) -> Option<Self> {
        let document: Document = serde_json::from_slice(&record.value).ok()?;
        if document.version != FORMAT_VERSION {
            return None;
        }
        let place = |at: usize| {
            let (study, series) = document.places.get(at)?.clone();
            Some(Place { study, series })
        };
        let wanted = document.references.into_iter().map(|(class, of, at)| {
            Some(Wanted {
                reference: Reference {
                    sop_class: document.classes.get(class)?.clone(),
                    sop_instance: of,
                },
                place: match at {
                    Some(at) => Some(place(at)?),
                    None => None,
                },
            })
        });
        Some(Self {
            wanted: wanted.collect::<Option<_>>()?,
            client: document.client,
            transaction: document.transaction,
            accepted_unix_ms: document.accepted_unix_ms,
        })
    }

    /// # Errors
    /// [`RecordsError::Unfit`] where there are more classes than can be.
    pub(super) fn to_value(&self) -> Result<Vec<u8>, RecordsError> {
        let mut classes = Numbered::default();
        let mut places = Numbered::default();
        let references = self.wanted.iter().map(|Wanted { reference, place }| {
            let class = classes.number(reference.sop_class.clone());
            let place = place.clone().map(|at| places.number((at.study, at.series)));
            (class, reference.sop_instance.clone(), place)
        });
        let references = references.collect();
        if classes.0.len() > CLASSES_MAX {
            return Err(RecordsError::Unfit { what: "value" });
        }
        let document = Document {
            version: FORMAT_VERSION,
            client: self.client.clone(),
            transaction: self.transaction.clone(),
            accepted_unix_ms: self.accepted_unix_ms,
            classes: classes.in_order(),
            places: places.in_order(),
            references,
        };
        serde_json::to_vec(&document).map_err(|source| RecordsError::Backend {
            operation: "write a commitment request",
            source: Box::new(source),
        })
    }
}

/// Things by the order in which they come first.
struct Numbered<T>(BTreeMap<T, usize>);

impl<T> Default for Numbered<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T: Ord> Numbered<T> {
    fn number(&mut self, of: T) -> usize {
        let next = self.0.len();
        *self.0.entry(of).or_insert(next)
    }

    fn in_order(self) -> Vec<T> {
        let mut all: Vec<(T, usize)> = self.0.into_iter().collect();
        all.sort_by_key(|(_, number)| *number);
        all.into_iter().map(|(of, _)| of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pacs_core::limits::CommitmentLimits;
    use pacs_store::limits::RECORD_VALUE_BYTES_MAX;
    use pacs_store::records::Revision;

    fn long(prefix: &str, number: usize) -> String {
        format!("{prefix}{}{number:05}", "4".repeat(57))
    }

    fn request(references_count: usize) -> Request {
        let wanted = |number: usize| Wanted {
            reference: Reference {
                sop_class: SopClassUid::parse(&format!("1.2.{}", number % 200)).unwrap(),
                sop_instance: SopInstanceUid::parse(&long("1.", number)).unwrap(),
            },
            // Half of them, of ten to a series.
            place: number.is_multiple_of(2).then(|| Place {
                study: StudyUid::parse(&long("2.", 1)).unwrap(),
                series: SeriesUid::parse(&long("2.", number / 20)).unwrap(),
            }),
        };
        Request {
            client: "a".repeat(64),
            transaction: TransactionUid::parse("2.25.1").unwrap(),
            accepted_unix_ms: 7,
            wanted: (0..references_count).map(wanted).collect(),
        }
    }

    #[test]
    fn the_largest_request_fits_a_record_and_is_read_back() {
        let most = request(CommitmentLimits::default().references_max);
        let value = most.to_value().unwrap();
        assert!(value.len() <= RECORD_VALUE_BYTES_MAX, "{}", value.len());
        let record = Record {
            key: most.key(),
            revision: Revision(1),
            value,
        };

        assert_eq!(Request::from_record(&record), Some(most));
    }

    #[test]
    fn a_document_of_another_version_or_with_loose_ends_is_not_read() {
        let value = request(1).to_value().unwrap();
        let text = String::from_utf8(value).unwrap();
        for (from, to) in [
            ("\"version\":1", "\"version\":2"),
            ("\"references\":[[0", "\"references\":[[1"),
            ("0]]}", "1]]}"),
        ] {
            assert!(text.contains(from), "{text}");
            let record = Record {
                key: "k".to_owned(),
                revision: Revision(1),
                value: text.replace(from, to).into_bytes(),
            };
            assert_eq!(Request::from_record(&record), None, "{from}");
        }
    }
}
