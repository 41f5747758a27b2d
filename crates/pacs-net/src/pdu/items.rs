//! Rewrites the variable items of A-ASSOCIATE-RQ and -AC so that dicom-ul reads them.
//!
//! PS3.8 9.3.1 has a receiver ignore items it does not know, and 9.3.3.2 makes the transfer syntax
//! of a refused context insignificant; dicom-ul fails on both. Every length is checked here.

use super::PduError;

/// Fixed fields of A-ASSOCIATE-RQ and -AC after the PDU header.
const FIXED_BYTES: usize = 68;

/// Longest name in an item that we read: UIDs have 64 bytes, and some peers pad.
const NAME_BYTES_MAX: usize = 128;

/// Walks items: type, reserved, 16-bit length, value.
struct Items<'a> {
    kind: u8,
    rest: &'a [u8],
}

impl<'a> Iterator for Items<'a> {
    type Item = Result<(u8, &'a [u8]), PduError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let Some((&[item, _, high, low], after)) = self.rest.split_first_chunk::<4>() else {
            self.rest = &[];
            return Some(Err(invalid(self.kind, "item is cut")));
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        let Some((value, rest)) = after.split_at_checked(length) else {
            self.rest = &[];
            return Some(Err(invalid(self.kind, "item is longer than its PDU")));
        };
        self.rest = rest;
        Some(Ok((item, value)))
    }
}

const fn invalid(kind: u8, what: &'static str) -> PduError {
    PduError::Invalid { kind, what }
}

fn put(out: &mut Vec<u8>, item: u8, value: &[u8]) {
    // Values are never longer than the 16-bit lengths they were read with, plus one small sub-item.
    let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&[item, 0]);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(value);
}

/// The PDU with only items that dicom-ul knows, each well-formed. `body` comes after the PDU
/// header.
pub(super) fn normalise(kind: u8, body: &[u8], contexts_max: usize) -> Result<Vec<u8>, PduError> {
    let (fixed, rest) = body
        .split_at_checked(FIXED_BYTES)
        .ok_or(invalid(kind, "fixed fields are cut"))?;
    let mut out = Vec::with_capacity(body.len().saturating_add(64));
    out.extend_from_slice(&[kind, 0, 0, 0, 0, 0]);
    out.extend_from_slice(fixed);
    let mut contexts = 0_usize;
    let mut user = Vec::new();
    let mut application_context = false;
    for item in (Items { kind, rest }) {
        match item? {
            (0x10, name) if !application_context => {
                application_context = true;
                put(&mut out, 0x10, checked_name(kind, name)?);
            }
            (0x20, value) if kind == 0x01 => {
                contexts = contexts.saturating_add(1);
                put(&mut out, 0x20, &proposed(value)?);
            }
            (0x21, value) if kind == 0x02 => {
                contexts = contexts.saturating_add(1);
                put(&mut out, 0x21, &result(value)?);
            }
            (0x50, value) => user_information(kind, value, &mut user)?,
            _ => {}
        }
    }
    if !application_context {
        return Err(invalid(kind, "no application context"));
    }
    if contexts > contexts_max {
        return Err(invalid(kind, "too many presentation contexts"));
    }
    put(&mut out, 0x50, &user);
    let length = u32::try_from(out.len().saturating_sub(super::HEADER_BYTES)).unwrap_or(u32::MAX);
    if let Some(field) = out.get_mut(2..6) {
        field.copy_from_slice(&length.to_be_bytes());
    }
    Ok(out)
}

fn checked_name(kind: u8, name: &[u8]) -> Result<&[u8], PduError> {
    if name.len() > NAME_BYTES_MAX {
        return Err(invalid(kind, "name is too long"));
    }
    Ok(name)
}

/// A proposed presentation context (PS3.8 9.3.2.2).
fn proposed(value: &[u8]) -> Result<Vec<u8>, PduError> {
    let (fixed, rest) = value
        .split_at_checked(4)
        .ok_or(invalid(0x01, "presentation context is cut"))?;
    let mut out = fixed.to_vec();
    let mut abstract_syntax = false;
    for item in (Items { kind: 0x01, rest }) {
        match item? {
            (0x30, name) if !abstract_syntax => {
                abstract_syntax = true;
                put(&mut out, 0x30, checked_name(0x01, name)?);
            }
            (0x40, name) => put(&mut out, 0x40, checked_name(0x01, name)?),
            _ => {}
        }
    }
    if abstract_syntax {
        Ok(out)
    } else {
        Err(invalid(
            0x01,
            "presentation context without abstract syntax",
        ))
    }
}

/// The answer to a presentation context (PS3.8 9.3.3.2).
fn result(value: &[u8]) -> Result<Vec<u8>, PduError> {
    let (&[id, _, reason, _], rest) = value
        .split_first_chunk::<4>()
        .ok_or(invalid(0x02, "presentation context is cut"))?;
    // What the standard does not know is a refusal without reason.
    let reason = if reason > 4 { 2 } else { reason };
    let mut out = vec![id, 0, reason, 0];
    let transfer_syntax = if reason == 0 {
        Items { kind: 0x02, rest }
            .find_map(|item| match item {
                Ok((0x40, name)) => Some(checked_name(0x02, name)),
                Ok(_) => None,
                Err(fault) => Some(Err(fault)),
            })
            .unwrap_or(Err(invalid(
                0x02,
                "accepted context without transfer syntax",
            )))?
    } else {
        b""
    };
    put(&mut out, 0x40, transfer_syntax);
    Ok(out)
}

/// Sub-items of the user information (PS3.8 D.1, PS3.7 D.3.3), the last of each kind that occurs
/// once.
fn user_information(kind: u8, value: &[u8], out: &mut Vec<u8>) -> Result<(), PduError> {
    for item in (Items { kind, rest: value }) {
        let (item, value) = item?;
        match item {
            0x51 if value.len() != 4 => return Err(invalid(kind, "maximum length is not 4 bytes")),
            0x53 if value.len() != 4 => {
                return Err(invalid(kind, "operations window is not 4 bytes"));
            }
            0x52 | 0x55 => {
                checked_name(kind, value)?;
            }
            0x54 if named(value).is_none_or(|rest| rest.len() != 2) => {
                return Err(invalid(kind, "role selection is malformed"));
            }
            0x56 if named(value).is_none() => {
                return Err(invalid(kind, "extended negotiation is malformed"));
            }
            0x58 if !identity_is_whole(value) => {
                return Err(invalid(kind, "user identity is malformed"));
            }
            0x59 if named(value).is_none() => {
                return Err(invalid(kind, "user identity response is malformed"));
            }
            _ => {}
        }
        if matches!(item, 0x51..=0x56 | 0x58 | 0x59) {
            put(out, item, value);
        }
    }
    if out.len() > usize::from(u16::MAX) {
        return Err(invalid(kind, "user information is too long"));
    }
    Ok(())
}

/// What follows a field with a 16-bit length.
fn named(value: &[u8]) -> Option<&[u8]> {
    let (length, rest) = value.split_first_chunk::<2>()?;
    rest.get(usize::from(u16::from_be_bytes(*length))..)
}

fn identity_is_whole(value: &[u8]) -> bool {
    value
        .get(2..)
        .and_then(named)
        .and_then(named)
        .is_some_and(<[u8]>::is_empty)
}
