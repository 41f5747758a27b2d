//! Reads the whole trail and names the first record that is not what it was.

use super::record::{RECORD, number_of, read_record};
use super::{
    Anchor, AuditError, AuditTrail, Head, NOTHING, OF_PATIENT, Pointer, VERSION, pointer_key,
};
use crate::limits::AUDIT_VERIFY_PAGE_COUNT;
use crate::registry::audit::AuditRecord;
use crate::registry::read;
use pacs_core::audit::StateDigest;

/// What a verification found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Records that were read and are what they were.
    pub records_count: u64,
    /// The first thing that is wrong.
    pub problem: Option<AuditProblem>,
    /// The last record, to be noted elsewhere; where nothing is wrong.
    pub anchor: Option<Anchor>,
}

/// What is wrong with a trail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuditProblem {
    /// It is not what it was when it was written.
    #[error("record {number} was changed")]
    Altered {
        /// Which.
        number: u64,
    },
    /// It is whole, but it or the record behind it is not the one that was written.
    #[error("record {number} is not the one that the record behind it was written after")]
    Replaced {
        /// Which.
        number: u64,
    },
    /// It is not there.
    #[error("record {number} is missing")]
    Missing {
        /// Which.
        number: u64,
    },
    /// It is not the one that was noted elsewhere.
    #[error("record {number} is not the one that was noted")]
    NotNoted {
        /// Which.
        number: u64,
    },
    /// It stands behind the end of the trail.
    #[error("record {number} stands behind the end of the trail")]
    Beyond {
        /// Which.
        number: u64,
    },
    /// A patient who asks would not be told of it.
    #[error("record {number} is not in the list of its patient")]
    Unlisted {
        /// Which.
        number: u64,
    },
    /// What says where the trail ends is damaged, or tells of another last record.
    #[error("the head of the trail is not what it was")]
    Head,
}

/// How far the reading has come.
struct Reading {
    last: u64,
    digest: StateDigest,
}

impl AuditTrail {
    /// Reads every record. `noted` is compared with the record of its number; `told` hears how many
    /// records are behind. Others may append meanwhile.
    ///
    /// # Errors
    /// [`AuditError::Records`] where something could not be read. What is wrong is no error.
    pub async fn verify(
        &self,
        noted: Option<Anchor>,
        mut told: impl FnMut(u64) + Send,
    ) -> Result<Verified, AuditError> {
        let end = match self.read_head().await {
            Ok(head) => head,
            Err(AuditError::Damaged(_)) => return self.without_head(noted).await,
            Err(error) => return Err(error),
        };
        if end.revision.is_none() && !self.is_empty().await? {
            return self.without_head(noted).await;
        }
        let mut reading = Reading {
            last: 0,
            digest: NOTHING,
        };
        while reading.last < end.number {
            let before = reading.last;
            let problem = self.read_on(&mut reading, end, noted).await?;
            told(reading.last);
            let problem = problem.or_else(|| {
                // Nothing more came.
                let number = before.saturating_add(1);
                (reading.last == before).then_some(AuditProblem::Missing { number })
            });
            if let Some(problem) = problem {
                return Ok(found(reading.last, problem));
            }
        }
        self.ended(&reading, end, noted).await
    }

    /// Whether there is neither a record nor, by now, a head.
    async fn is_empty(&self) -> Result<bool, AuditError> {
        let is_begun = !self.records.list(RECORD, "", None, 1).await?.is_empty();
        Ok(!is_begun || self.read_head().await.is_ok_and(|head| head.number > 0))
    }

    /// Reads a page.
    async fn read_on(
        &self,
        reading: &mut Reading,
        end: Head,
        noted: Option<Anchor>,
    ) -> Result<Option<AuditProblem>, AuditError> {
        let after = super::key_of(reading.last);
        let page = AUDIT_VERIFY_PAGE_COUNT;
        for record in self.records.list(RECORD, "", Some(&after), page).await? {
            let number = reading.last.saturating_add(1);
            if number > end.number {
                break;
            }
            let Ok(read) = read_record(&record) else {
                let is_later = number_of(&record.key).is_some_and(|of| of > number);
                return Ok(Some(if is_later {
                    AuditProblem::Missing { number }
                } else {
                    AuditProblem::Altered { number }
                }));
            };
            if read.number != number {
                return Ok(Some(AuditProblem::Missing { number }));
            }
            if read.previous != reading.digest {
                let number = reading.last.max(1);
                return Ok(Some(AuditProblem::Replaced { number }));
            }
            if noted.is_some_and(|noted| noted.number == number && noted.digest != read.digest) {
                return Ok(Some(AuditProblem::NotNoted { number }));
            }
            if !self.is_listed(&read).await? {
                return Ok(Some(AuditProblem::Unlisted { number }));
            }
            reading.last = number;
            reading.digest = read.digest;
        }
        Ok(None)
    }

    async fn is_listed(&self, record: &AuditRecord) -> Result<bool, AuditError> {
        for patient in record.event.patients() {
            let key = pointer_key(patient, record.number);
            let pointer = self.records.get(OF_PATIENT, &key).await?;
            let pointer = pointer.and_then(|it| read::<Pointer>(OF_PATIENT, &it.value).ok());
            let is_right = |it: Pointer| it.version == VERSION && it.number == record.number;
            if !pointer.is_some_and(is_right) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Compares the end of the trail with its head, and with what was noted.
    async fn ended(
        &self,
        reading: &Reading,
        end: Head,
        noted: Option<Anchor>,
    ) -> Result<Verified, AuditError> {
        let (number, digest) = (reading.last, reading.digest);
        if digest != end.digest {
            let problem = match self.records.get(RECORD, &super::key_of(number)).await? {
                // It is whole: so the head is not, or both were made anew.
                Some(_) => AuditProblem::Head,
                None => AuditProblem::Missing { number },
            };
            return Ok(found(number.saturating_sub(1), problem));
        }
        let after = super::key_of(number);
        let beyond = self.records.list(RECORD, "", Some(&after), 1).await?;
        if let Some(record) = beyond.first() {
            // Who appends writes the head with it.
            let now = self.read_head().await.ok().map_or(0, |head| head.number);
            let stands_at = number_of(&record.key).unwrap_or(u64::MAX);
            if stands_at > now {
                let number = number.saturating_add(1);
                return Ok(found(reading.last, AuditProblem::Beyond { number }));
            }
        }
        if let Some(noted) = noted.filter(|noted| noted.number > number) {
            let number = noted.number;
            return Ok(found(reading.last, AuditProblem::Missing { number }));
        }
        Ok(Verified {
            records_count: number,
            problem: None,
            anchor: (number > 0).then_some(Anchor { number, digest }),
        })
    }

    /// The head cannot be read: what is wrong before it is told first.
    async fn without_head(&self, noted: Option<Anchor>) -> Result<Verified, AuditError> {
        let unknown = Head {
            number: u64::MAX,
            digest: NOTHING,
            revision: None,
        };
        let mut reading = Reading {
            last: 0,
            digest: NOTHING,
        };
        loop {
            let before = reading.last;
            if let Some(problem) = self.read_on(&mut reading, unknown, noted).await? {
                return Ok(found(reading.last, problem));
            }
            if reading.last == before {
                return Ok(found(reading.last, AuditProblem::Head));
            }
        }
    }
}

const fn found(records_count: u64, problem: AuditProblem) -> Verified {
    Verified {
        records_count,
        problem: Some(problem),
        anchor: None,
    }
}
