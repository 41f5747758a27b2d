//! Protocol data units (PS3.8 9.3), as far as the tests need them.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::{Proposal, WireError, uid};

/// PDU types.
pub mod kind {
    /// A-ASSOCIATE-RQ.
    pub const ASSOCIATE_RQ: u8 = 1;
    /// A-ASSOCIATE-AC.
    pub const ASSOCIATE_AC: u8 = 2;
    /// A-ASSOCIATE-RJ.
    pub const ASSOCIATE_RJ: u8 = 3;
    /// P-DATA-TF.
    pub const P_DATA: u8 = 4;
    /// A-RELEASE-RQ.
    pub const RELEASE_RQ: u8 = 5;
    /// A-RELEASE-RP.
    pub const RELEASE_RP: u8 = 6;
    /// A-ABORT.
    pub const ABORT: u8 = 7;
}

/// The longest PDU these tests read; the servers under test are told less.
const READ_BYTES_MAX: u32 = 16 * 1024 * 1024;

/// A whole PDU: its type and its body.
#[derive(Clone, Debug)]
pub struct Pdu {
    /// See [`kind`].
    pub kind: u8,
    /// What follows the six byte header.
    pub body: Vec<u8>,
}

/// Reads one PDU.
///
/// # Errors
/// When the transport fails or the length is absurd.
pub fn read(stream: &mut TcpStream) -> Result<Pdu, WireError> {
    let mut head = [0; 6];
    stream.read_exact(&mut head)?;
    let length = u32::from_be_bytes([head[2], head[3], head[4], head[5]]);
    if length > READ_BYTES_MAX {
        return Err(WireError::Unexpected(format!("a PDU of {length} bytes")));
    }
    let mut body = vec![0; length as usize];
    stream.read_exact(&mut body)?;
    Ok(Pdu {
        kind: head[0],
        body,
    })
}

/// A PDU of `kind` around `body`.
#[must_use]
pub fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut pdu = vec![kind, 0];
    pdu.extend_from_slice(&u32::try_from(body.len()).expect("short").to_be_bytes());
    pdu.extend_from_slice(body);
    pdu
}

/// An item: type, reserved byte, two byte length, value.
#[must_use]
pub fn item(kind: u8, value: &[u8]) -> Vec<u8> {
    let mut item = vec![kind, 0];
    item.extend_from_slice(&u16::try_from(value.len()).expect("short").to_be_bytes());
    item.extend_from_slice(value);
    item
}

/// The items in `bytes`, as type and value; a torn last one is left out.
pub fn items(bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let head = rest.get(..4)?;
        let end = 4 + usize::from(u16::from_be_bytes([head[2], head[3]]));
        let value = rest.get(4..end)?;
        rest = &rest[end..];
        Some((head[0], value))
    })
}

/// A PDV in a P-DATA-TF of its own. `control`: bit 0 command, bit 1 last.
#[must_use]
pub fn p_data(context: u8, control: u8, fragment: &[u8]) -> Vec<u8> {
    let mut body = Vec::with_capacity(fragment.len() + 6);
    let length = u32::try_from(fragment.len() + 2).expect("a fragment is short");
    body.extend_from_slice(&length.to_be_bytes());
    body.push(context);
    body.push(control);
    body.extend_from_slice(fragment);
    frame(kind::P_DATA, &body)
}

/// The A-ASSOCIATE-RQ for `proposal`.
#[must_use]
pub fn associate_rq(proposal: &Proposal) -> Vec<u8> {
    let mut body = vec![0, 1, 0, 0];
    body.extend_from_slice(format!("{:<16.16}", proposal.called).as_bytes());
    body.extend_from_slice(format!("{:<16.16}", proposal.calling).as_bytes());
    body.extend_from_slice(&[0; 32]);
    body.extend(item(0x10, uid::APPLICATION_CONTEXT.as_bytes()));
    let mut roles = Vec::new();
    for (index, context) in proposal.contexts.iter().enumerate() {
        let mut value = vec![context_id(index), 0, 0, 0];
        value.extend(item(0x30, context.abstract_syntax.as_bytes()));
        for syntax in &context.transfer_syntaxes {
            value.extend(item(0x40, syntax.as_bytes()));
        }
        body.extend(item(0x20, &value));
        if context.scp_role {
            let class = context.abstract_syntax.as_bytes();
            let mut role = u16::try_from(class.len())
                .expect("short")
                .to_be_bytes()
                .to_vec();
            role.extend_from_slice(class);
            role.extend_from_slice(&[0, 1]);
            roles.extend(item(0x54, &role));
        }
    }
    let mut user = item(0x51, &proposal.pdu_bytes_max.to_be_bytes());
    user.extend(item(0x52, b"2.25.202611"));
    user.extend(item(0x55, b"PACS_TESTS"));
    user.extend(roles);
    user.extend_from_slice(&proposal.more_user_items);
    body.extend(item(0x50, &user));
    frame(kind::ASSOCIATE_RQ, &body)
}

/// The identifier of the `index`th presentation context: odd, from 1.
#[must_use]
pub fn context_id(index: usize) -> u8 {
    u8::try_from(index * 2 + 1).expect("at most 128 presentation contexts")
}

/// Sends all of `bytes`.
///
/// # Errors
/// When the transport fails.
pub fn send(stream: &mut TcpStream, bytes: &[u8]) -> Result<(), WireError> {
    stream.write_all(bytes)?;
    Ok(())
}
