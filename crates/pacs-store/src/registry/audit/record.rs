//! One record of the trail, as it stands on disk.

use super::{VERSION, damaged};
use crate::records::{Kind, Record};
use crate::registry::{DocumentError, read, write};
use pacs_core::audit::{AuditEvent, StateDigest};
use serde::{Deserialize, Serialize};

/// The records; a key is a number of 20 digits.
pub(super) const RECORD: Kind = Kind::new("audit");

/// In front of the digest and behind it, at the end of a record.
const BEFORE_DIGEST: &str = ",\"digest\":\"";
const AFTER_DIGEST: &str = "\"}";
const DIGEST_CHARS: usize = 64;

/// A record of the trail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRecord {
    /// Its number, from 1 on, without gaps.
    pub number: u64,
    /// What it tells of.
    pub event: AuditEvent,
    /// Of the record before it.
    pub previous: StateDigest,
    /// Its own.
    pub digest: StateDigest,
}

#[derive(Serialize)]
struct Body<'a> {
    version: u32,
    number: u64,
    previous: StateDigest,
    event: &'a AuditEvent,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Whole {
    version: u32,
    number: u64,
    previous: StateDigest,
    event: AuditEvent,
    digest: StateDigest,
}

pub(super) fn key_of(number: u64) -> String {
    format!("{number:020}")
}

/// The number that a key stands for.
pub(super) fn number_of(key: &str) -> Option<u64> {
    let number = key.parse().ok()?;
    (key_of(number) == key).then_some(number)
}

/// A record and its digest.
pub(super) fn write_record(
    number: u64,
    previous: StateDigest,
    event: &AuditEvent,
) -> Result<(Vec<u8>, StateDigest), DocumentError> {
    let body = Body {
        version: VERSION,
        number,
        previous,
        event,
    };
    let mut value = write(RECORD, &body)?;
    // The brace at the end comes after the digest.
    value.pop();
    let digest = StateDigest(*blake3::hash(&value).as_bytes());
    value.extend_from_slice(BEFORE_DIGEST.as_bytes());
    value.extend_from_slice(digest.to_string().as_bytes());
    value.extend_from_slice(AFTER_DIGEST.as_bytes());
    Ok((value, digest))
}

/// Reads a record, and sees that it is whole: that its digest is its own, and its number that of
/// its key.
pub(super) fn read_record(record: &Record) -> Result<AuditRecord, DocumentError> {
    let wrong = damaged(RECORD);
    let end = BEFORE_DIGEST.len() + DIGEST_CHARS + AFTER_DIGEST.len();
    let body_bytes = record.value.len().checked_sub(end).ok_or(wrong)?;
    let (body, end) = record.value.split_at_checked(body_bytes).ok_or(wrong)?;
    let digest = StateDigest(*blake3::hash(body).as_bytes());
    let expected = format!("{BEFORE_DIGEST}{digest}{AFTER_DIGEST}");
    if end != expected.as_bytes() {
        return Err(wrong);
    }
    let whole: Whole = read(RECORD, &record.value)?;
    let is_in_place = number_of(&record.key) == Some(whole.number);
    if whole.version != VERSION || whole.digest != digest || !is_in_place {
        return Err(wrong);
    }
    Ok(AuditRecord {
        number: whole.number,
        event: whole.event,
        previous: whole.previous,
        digest,
    })
}
