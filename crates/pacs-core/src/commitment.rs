//! Storage commitment: what a device asks before it deletes, and what it is told (PS3.4 Annex J).
//!
//! Both come as data sets of N-ACTION and N-EVENT-REPORT. What is read passes the scanner and
//! [`CommitmentLimits`].

use crate::ae_title::AeTitle;
use crate::attributes::{Attributes, Value};
use crate::encode::{EncodeError, write_data_set};
use crate::limits::{CommitmentLimits, ScanLimits};
use crate::scan::{Element, Encoding, Event, ScanError, Scanner, inflate};
use crate::tag::{Tag, Vr, tags};
use crate::uid::{
    SeriesUid, SopClassUid, SopInstanceUid, StudyUid, TransactionUid, TransferSyntaxUid,
};
use std::borrow::Cow;
use std::fmt;

/// An instance that is asked about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    /// Referenced SOP Class UID.
    pub sop_class: SopClassUid,
    /// Referenced SOP Instance UID.
    pub sop_instance: SopInstanceUid,
}

/// Where a reference says that its instance is, as those over the web may (PS3.18 J.1, Referenced
/// Study Sequence).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Study Instance UID.
    pub study: StudyUid,
    /// Series Instance UID.
    pub series: SeriesUid,
}

/// The action information of a request for storage commitment (PS3.4 J.3.2.1.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitmentRequest {
    /// Names the request in the report.
    pub transaction: TransactionUid,
    /// What is asked about, as often as it stands there.
    pub references: Vec<Reference>,
}

/// Failure Reason (0008,1197), PS3.3 C.14.1.1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FailureReason(pub u16);

/// The event information of a report (PS3.4 J.3.3.1.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitmentReport {
    /// The request that is answered.
    pub transaction: TransactionUid,
    /// The AE that the instances can be retrieved from, where it is said.
    pub retrieve_ae_title: Option<AeTitle>,
    /// What is committed.
    pub committed: Vec<Reference>,
    /// What is not.
    pub failed: Vec<(Reference, FailureReason)>,
}

/// Why a data set is no request or report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommitmentError {
    /// More bytes or references than [`CommitmentLimits`] allow.
    #[error("storage commitment exceeds {what}")]
    Limit {
        /// Which limit.
        what: &'static str,
    },
    /// An attribute that must be there is absent or empty.
    #[error("attribute {tag} is missing or empty")]
    Missing {
        /// Which.
        tag: Tag,
    },
    /// The bytes are not a data set.
    #[error("data set cannot be read")]
    Scan(#[from] ScanError),
    /// What should be a UID is none.
    #[error("attribute {tag} holds no UID")]
    Uid {
        /// Which.
        tag: Tag,
    },
}

impl FailureReason {
    /// Something went wrong with the instance at the provider.
    pub const PROCESSING_FAILURE: Self = Self(0x0110);
    /// The provider has no such instance to give.
    pub const NO_SUCH_OBJECT_INSTANCE: Self = Self(0x0112);
    /// The instance is there with another SOP class.
    pub const CLASS_INSTANCE_CONFLICT: Self = Self(0x0119);
    /// The SOP class is none that the provider stores.
    pub const SOP_CLASS_NOT_SUPPORTED: Self = Self(0x0122);
    /// The transaction UID is in use for another request.
    pub const DUPLICATE_TRANSACTION_UID: Self = Self(0x0131);
    /// The provider lacks resources.
    pub const RESOURCE_LIMITATION: Self = Self(0x0213);

    /// In words.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::PROCESSING_FAILURE => "processing failure",
            Self::NO_SUCH_OBJECT_INSTANCE => "no such object instance",
            Self::CLASS_INSTANCE_CONFLICT => "class/instance conflict",
            Self::SOP_CLASS_NOT_SUPPORTED => "referenced SOP class not supported",
            Self::DUPLICATE_TRANSACTION_UID => "duplicate transaction UID",
            Self::RESOURCE_LIMITATION => "resource limitation",
            Self(_) => "reason without a name",
        }
    }
}

impl fmt::Display for FailureReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04X}H {}", self.0, self.meaning())
    }
}

impl fmt::Debug for FailureReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04X}H", self.0)
    }
}

impl CommitmentRequest {
    /// Reads the data set of an N-ACTION request. Attributes without a part in it are passed over.
    ///
    /// # Errors
    /// [`CommitmentError`].
    pub fn read(
        bytes: &[u8],
        transfer_syntax: &TransferSyntaxUid,
        limits: &CommitmentLimits,
    ) -> Result<Self, CommitmentError> {
        let found = Found::read(bytes, transfer_syntax, limits)?;
        if found.referenced.is_empty() {
            let tag = tags::REFERENCED_SOP_SEQUENCE;
            return Err(CommitmentError::Missing { tag });
        }
        Ok(Self {
            transaction: transaction(found.transaction)?,
            references: references(found.referenced)?,
        })
    }

    /// The data set of an N-ACTION request.
    ///
    /// # Errors
    /// [`EncodeError`] where there is more than a data set can hold.
    pub fn to_data_set(&self, transfer_syntax: &TransferSyntaxUid) -> Result<Vec<u8>, EncodeError> {
        let items = self.references.iter().map(Reference::to_item).collect();
        let mut attributes = Attributes::new();
        attributes.insert_text(tags::TRANSACTION_UID, Vr::UI, self.transaction.as_str());
        attributes.insert(tags::REFERENCED_SOP_SEQUENCE, Vr::SQ, Value::Items(items));
        write_data_set(&attributes, transfer_syntax)
    }
}

impl CommitmentReport {
    /// The event type that an N-EVENT-REPORT with this has: 1 where all is committed, else 2.
    #[must_use]
    pub const fn event_type(&self) -> u16 {
        if self.failed.is_empty() { 1 } else { 2 }
    }

    /// Reads the data set of an N-EVENT-REPORT request. A failure without a reason gets
    /// [`FailureReason::PROCESSING_FAILURE`].
    ///
    /// # Errors
    /// [`CommitmentError`].
    pub fn read(
        bytes: &[u8],
        transfer_syntax: &TransferSyntaxUid,
        limits: &CommitmentLimits,
    ) -> Result<Self, CommitmentError> {
        let found = Found::read(bytes, transfer_syntax, limits)?;
        let reasons: Vec<_> = found.failed.iter().map(|item| item.reason).collect();
        let failed = references(found.failed)?.into_iter().zip(reasons);
        let title = found.retrieve_ae_title.as_deref();
        Ok(Self {
            transaction: transaction(found.transaction)?,
            retrieve_ae_title: title.and_then(|title| AeTitle::parse(title).ok()),
            committed: references(found.referenced)?,
            failed: failed
                .map(|(reference, reason)| {
                    let reason = reason.unwrap_or(FailureReason::PROCESSING_FAILURE);
                    (reference, reason)
                })
                .collect(),
        })
    }

    /// The data set of an N-EVENT-REPORT request.
    ///
    /// # Errors
    /// [`EncodeError`] where there is more than a data set can hold.
    pub fn to_data_set(&self, transfer_syntax: &TransferSyntaxUid) -> Result<Vec<u8>, EncodeError> {
        let mut attributes = Attributes::new();
        attributes.insert_text(tags::TRANSACTION_UID, Vr::UI, self.transaction.as_str());
        if let Some(title) = &self.retrieve_ae_title {
            attributes.insert_text(tags::RETRIEVE_AE_TITLE, Vr::AE, title.as_str());
        }
        if !self.failed.is_empty() {
            let items = self.failed.iter().map(|(reference, reason)| {
                let mut item = reference.to_item();
                item.insert_text(tags::FAILURE_REASON, Vr::US, reason.0.to_string());
                item
            });
            let items = Value::Items(items.collect());
            attributes.insert(tags::FAILED_SOP_SEQUENCE, Vr::SQ, items);
        }
        if !self.committed.is_empty() {
            let items = self.committed.iter().map(Reference::to_item).collect();
            attributes.insert(tags::REFERENCED_SOP_SEQUENCE, Vr::SQ, Value::Items(items));
        }
        write_data_set(&attributes, transfer_syntax)
    }
}

impl Reference {
    pub(crate) fn to_item(&self) -> Attributes {
        let mut item = Attributes::new();
        let (class, instance) = (self.sop_class.as_str(), self.sop_instance.as_str());
        item.insert_text(tags::REFERENCED_SOP_CLASS_UID, Vr::UI, class);
        item.insert_text(tags::REFERENCED_SOP_INSTANCE_UID, Vr::UI, instance);
        item
    }
}

/// An item of one of the two sequences, as it stands.
#[derive(Default)]
struct Item {
    sop_class: Option<String>,
    sop_instance: Option<String>,
    reason: Option<FailureReason>,
}

/// What a data set holds of what matters here.
#[derive(Default)]
struct Found {
    transaction: Option<String>,
    retrieve_ae_title: Option<String>,
    referenced: Vec<Item>,
    failed: Vec<Item>,
}

/// Elements that an item of either sequence has, and then some.
const ELEMENTS_PER_ITEM: usize = 16;

impl Found {
    fn read(
        bytes: &[u8],
        transfer_syntax: &TransferSyntaxUid,
        limits: &CommitmentLimits,
    ) -> Result<Self, CommitmentError> {
        if bytes.len() > limits.data_set_bytes_max {
            return Err(CommitmentError::Limit { what: "length" });
        }
        let scan_limits = ScanLimits {
            depth_max: limits.depth_max,
            elements_max: limits.references_max.saturating_mul(ELEMENTS_PER_ITEM),
            head_bytes_max: limits.data_set_bytes_max,
            inflated_bytes_max: u64::try_from(limits.data_set_bytes_max).unwrap_or(u64::MAX),
            ..ScanLimits::default()
        };
        let encoding = Encoding::of(transfer_syntax);
        let data_set = if encoding == Encoding::Deflated {
            Cow::Owned(inflate::inflate(bytes, &scan_limits)?)
        } else {
            Cow::Borrowed(bytes)
        };
        let mut scanner = Scanner::new(&data_set, encoding, &scan_limits);
        let mut found = Self::default();
        let mut around = Vec::new();
        while let Some(event) = scanner.next() {
            match event? {
                Event::SequenceBegin(element) => around.push(element.tag),
                Event::SequenceEnd { .. } => drop(around.pop()),
                Event::ItemBegin { .. } => found.begin_item(&around, limits)?,
                Event::Element(element) => {
                    let value = scanner.bytes(&element.value);
                    found.put(&around, &element, value);
                }
                Event::ItemEnd { .. }
                | Event::Fragment { .. }
                | Event::FragmentsBegin(_)
                | Event::FragmentsEnd { .. }
                | Event::Trailing { .. } => {}
            }
        }
        Ok(found)
    }

    fn items(&mut self, around: &[Tag]) -> Option<&mut Vec<Item>> {
        match around {
            [tags::REFERENCED_SOP_SEQUENCE] => Some(&mut self.referenced),
            [tags::FAILED_SOP_SEQUENCE] => Some(&mut self.failed),
            _ => None,
        }
    }

    fn begin_item(
        &mut self,
        around: &[Tag],
        limits: &CommitmentLimits,
    ) -> Result<(), CommitmentError> {
        let count = self.referenced.len().saturating_add(self.failed.len());
        let Some(items) = self.items(around) else {
            return Ok(());
        };
        if count >= limits.references_max {
            let what = "number of references";
            return Err(CommitmentError::Limit { what });
        }
        items.push(Item::default());
        Ok(())
    }

    fn put(&mut self, around: &[Tag], element: &Element, value: &[u8]) {
        if around.is_empty() {
            match element.tag {
                tags::TRANSACTION_UID => self.transaction = text(value),
                tags::RETRIEVE_AE_TITLE => self.retrieve_ae_title = text(value),
                _ => {}
            }
            return;
        }
        let Some(item) = self.items(around).and_then(|items| items.last_mut()) else {
            return;
        };
        match element.tag {
            tags::REFERENCED_SOP_CLASS_UID => item.sop_class = text(value),
            tags::REFERENCED_SOP_INSTANCE_UID => item.sop_instance = text(value),
            tags::FAILURE_REASON => {
                item.reason = value.first_chunk().map(|bytes| {
                    FailureReason(if element.big_endian {
                        u16::from_be_bytes(*bytes)
                    } else {
                        u16::from_le_bytes(*bytes)
                    })
                });
            }
            _ => {}
        }
    }
}

/// The text of a short value, without padding; `None` where there is none.
fn text(value: &[u8]) -> Option<String> {
    // What is longer is no UID and no title; a little more than one shows that.
    let value = value.get(..128).unwrap_or(value);
    let text = String::from_utf8_lossy(value);
    let text = text.trim_matches(['\0', ' ']);
    (!text.is_empty()).then(|| text.to_owned())
}

fn transaction(found: Option<String>) -> Result<TransactionUid, CommitmentError> {
    let tag = tags::TRANSACTION_UID;
    let text = found.ok_or(CommitmentError::Missing { tag })?;
    TransactionUid::parse_legacy(&text).map_err(|_| CommitmentError::Uid { tag })
}

fn references(items: Vec<Item>) -> Result<Vec<Reference>, CommitmentError> {
    let reference = |item: Item| {
        let tag = tags::REFERENCED_SOP_CLASS_UID;
        let text = item.sop_class.ok_or(CommitmentError::Missing { tag })?;
        let sop_class =
            SopClassUid::parse_legacy(&text).map_err(|_| CommitmentError::Uid { tag })?;
        let tag = tags::REFERENCED_SOP_INSTANCE_UID;
        let text = item.sop_instance.ok_or(CommitmentError::Missing { tag })?;
        let sop_instance =
            SopInstanceUid::parse_legacy(&text).map_err(|_| CommitmentError::Uid { tag })?;
        Ok(Reference {
            sop_class,
            sop_instance,
        })
    };
    items.into_iter().map(reference).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SYNTAXES: [&str; 4] = [
        "1.2.840.10008.1.2",
        "1.2.840.10008.1.2.1",
        "1.2.840.10008.1.2.2",
        "1.2.840.10008.1.2.1.99",
    ];

    fn reference(number: usize) -> Reference {
        Reference {
            sop_class: SopClassUid::parse("1.2.840.10008.5.1.4.1.1.2").unwrap(),
            sop_instance: SopInstanceUid::parse(&format!("1.2.3.{number}")).unwrap(),
        }
    }

    fn request(count: usize) -> CommitmentRequest {
        CommitmentRequest {
            transaction: TransactionUid::parse("2.25.77").unwrap(),
            references: (1..=count).map(reference).collect(),
        }
    }

    fn syntax(text: &str) -> TransferSyntaxUid {
        TransferSyntaxUid::parse(text).unwrap()
    }

    #[test]
    fn what_is_written_is_read_back_in_every_encoding() {
        let report = CommitmentReport {
            transaction: TransactionUid::parse("2.25.77").unwrap(),
            retrieve_ae_title: Some(AeTitle::parse("PACS").unwrap()),
            committed: vec![reference(1), reference(2)],
            failed: vec![(reference(3), FailureReason::NO_SUCH_OBJECT_INSTANCE)],
        };
        let limits = CommitmentLimits::default();
        for name in SYNTAXES {
            let syntax = syntax(name);
            let bytes = request(3).to_data_set(&syntax).unwrap();
            let read = CommitmentRequest::read(&bytes, &syntax, &limits);
            assert_eq!(read.unwrap(), request(3), "{name}");
            let bytes = report.to_data_set(&syntax).unwrap();
            let read = CommitmentReport::read(&bytes, &syntax, &limits);
            assert_eq!(read.unwrap(), report, "{name}");
        }
        assert_eq!(report.event_type(), 2);
    }

    #[test]
    fn as_many_references_as_allowed_fit_and_one_more_is_refused() {
        let syntax = syntax(SYNTAXES[1]);
        let limits = CommitmentLimits::default();
        let longest = format!("1.2.{}", "3".repeat(60));
        let mut most = request(limits.references_max);
        for reference in &mut most.references {
            reference.sop_class = SopClassUid::parse(&longest).unwrap();
            reference.sop_instance = SopInstanceUid::parse(&longest).unwrap();
        }

        let fits = most.to_data_set(&syntax).unwrap();
        assert!(CommitmentRequest::read(&fits, &syntax, &limits).is_ok());

        let over = request(limits.references_max + 1);
        let over = over.to_data_set(&syntax).unwrap();
        let refused = CommitmentRequest::read(&over, &syntax, &limits).unwrap_err();
        assert!(matches!(refused, CommitmentError::Limit { .. }));
    }

    #[test]
    fn a_request_without_its_parts_is_refused_by_their_tags() {
        let syntax = syntax(SYNTAXES[1]);
        let read = |attributes: &Attributes| {
            let bytes = write_data_set(attributes, &syntax).unwrap();
            CommitmentRequest::read(&bytes, &syntax, &CommitmentLimits::default()).unwrap_err()
        };
        let mut attributes = Attributes::new();
        let tag = tags::REFERENCED_SOP_SEQUENCE;
        assert_eq!(read(&attributes), CommitmentError::Missing { tag });
        let item = reference(1).to_item();
        attributes.insert(tag, Vr::SQ, Value::Items(vec![item]));
        let tag = tags::TRANSACTION_UID;
        assert_eq!(read(&attributes), CommitmentError::Missing { tag });
        attributes.insert_text(tag, Vr::UI, "../..");
        assert_eq!(read(&attributes), CommitmentError::Uid { tag });
        attributes.insert_text(tag, Vr::UI, "1.2");
        let item = Attributes::new();
        let sequence = tags::REFERENCED_SOP_SEQUENCE;
        attributes.insert(sequence, Vr::SQ, Value::Items(vec![item]));
        let tag = tags::REFERENCED_SOP_CLASS_UID;
        assert_eq!(read(&attributes), CommitmentError::Missing { tag });
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            for name in SYNTAXES {
                let limits = CommitmentLimits::default();
                CommitmentRequest::read(&bytes, &syntax(name), &limits).ok();
                CommitmentReport::read(&bytes, &syntax(name), &limits).ok();
            }
        }
    }
}
