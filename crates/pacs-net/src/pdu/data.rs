//! P-DATA-TF (PS3.8 9.3.5): presentation data values, split and framed without copying a payload.

use super::PduError;
use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Item length, presentation context id and message control header of a PDV.
pub const PDV_HEADER_BYTES: usize = 6;

/// PDU header and PDV header, as we send them: one PDV in each PDU.
pub const FRAME_HEADER_BYTES: usize = super::HEADER_BYTES + PDV_HEADER_BYTES;

/// The body of a P-DATA-TF PDU whose items have been checked to fill it exactly. `Debug` shows its
/// length: there are patients in it.
#[derive(Clone, PartialEq, Eq)]
pub struct DataPdu(Bytes);

impl std::fmt::Debug for DataPdu {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DataPdu")
            .field("bytes", &self.0.len())
            .finish()
    }
}

/// A presentation data value: a fragment of a command or of a data set.
#[derive(Clone, PartialEq, Eq)]
pub struct Pdv {
    /// Presentation context id.
    pub context_id: u8,
    /// Whether it belongs to a command; else to a data set.
    pub is_command: bool,
    /// Whether it ends its command or data set.
    pub is_last: bool,
    /// The fragment, a slice of what was read.
    pub fragment: Bytes,
}

impl std::fmt::Debug for Pdv {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pdv")
            .field("context_id", &self.context_id)
            .field("is_command", &self.is_command)
            .field("is_last", &self.is_last)
            .field("bytes", &self.fragment.len())
            .finish()
    }
}

impl DataPdu {
    /// Checks the items of a PDU body.
    ///
    /// # Errors
    /// [`PduError::Invalid`] for no item at all, an item shorter than its header or longer than the
    /// PDU.
    pub fn parse(body: Bytes) -> Result<Self, PduError> {
        let invalid = |what| PduError::Invalid { kind: 0x04, what };
        let mut rest: &[u8] = &body;
        if rest.is_empty() {
            return Err(invalid("no presentation data value"));
        }
        while !rest.is_empty() {
            let (length, after) = rest
                .split_first_chunk::<4>()
                .ok_or(invalid("presentation data value is cut"))?;
            let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
            if length < 2 {
                return Err(invalid("presentation data value without its header"));
            }
            rest = after
                .get(length..)
                .ok_or(invalid("presentation data value is longer than its PDU"))?;
        }
        Ok(Self(body))
    }
}

impl Iterator for DataPdu {
    type Item = Pdv;

    fn next(&mut self) -> Option<Pdv> {
        let &[a, b, c, d, context_id, control] = self.0.first_chunk::<PDV_HEADER_BYTES>()?;
        let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).ok()?;
        let payload = length.checked_sub(2)?;
        self.0.advance(PDV_HEADER_BYTES);
        if self.0.len() < payload {
            return None;
        }
        Some(Pdv {
            context_id,
            is_command: control & 1 != 0,
            is_last: control & 2 != 0,
            fragment: self.0.split_to(payload),
        })
    }
}

/// Frames a data set that comes in pieces of any length. Fragments have an even length (PS3.8
/// Annex E), so the last byte of an odd piece goes out with the next one. `Debug` does not show it.
#[derive(Default)]
pub struct Framer {
    /// A byte that waits.
    held: Option<u8>,
}

impl std::fmt::Debug for Framer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Framer").finish_non_exhaustive()
    }
}

impl Framer {
    /// Frames `piece` as P-DATA-TF PDUs of at most `pdu_bytes_max`, one PDV in each, and gives
    /// `out` headers and slices of the piece in turn. The last piece, which may be empty, has a PDV
    /// that carries `is_last`, and nothing waits behind it.
    pub fn frame(
        &mut self,
        context_id: u8,
        is_last: bool,
        mut piece: Bytes,
        pdu_bytes_max: u32,
        mut out: impl FnMut(Bytes),
    ) {
        let mut first = self.held.take();
        let is_odd = (piece.len() % 2 == 1) != first.is_some();
        if is_odd && !is_last {
            self.held = piece.last().copied().or_else(|| first.take());
            piece.truncate(piece.len().saturating_sub(1));
        }
        if piece.is_empty() && first.is_none() && !is_last {
            return;
        }
        let fragment_max = fragment_bytes_max(pdu_bytes_max);
        let fragments = piece.len().div_ceil(fragment_max).saturating_add(1);
        let mut headers = BytesMut::with_capacity(fragments.saturating_mul(FRAME_HEADER_BYTES));
        loop {
            let room = fragment_max.saturating_sub(usize::from(first.is_some()));
            let fragment = piece.split_to(piece.len().min(room));
            let length = fragment.len().saturating_add(usize::from(first.is_some()));
            let ends = piece.is_empty();
            put_header(
                &mut headers,
                context_id,
                u8::from(is_last && ends) << 1,
                length,
            );
            if let Some(byte) = first.take() {
                headers.put_u8(byte);
            }
            out(headers.split().freeze());
            if !fragment.is_empty() {
                out(fragment);
            }
            if ends {
                return;
            }
        }
    }
}

/// Appends a small `payload`, whole, to `out` as [`Framer::frame`] would frame it, copied, so that
/// one write sends it.
pub fn frame_copied(
    context_id: u8,
    is_command: bool,
    mut payload: &[u8],
    pdu_bytes_max: u32,
    out: &mut BytesMut,
) {
    let fragment_max = fragment_bytes_max(pdu_bytes_max);
    loop {
        let (fragment, rest) = payload.split_at(payload.len().min(fragment_max));
        let control = u8::from(is_command) | (u8::from(rest.is_empty()) << 1);
        put_header(out, context_id, control, fragment.len());
        out.put_slice(fragment);
        payload = rest;
        if payload.is_empty() {
            return;
        }
    }
}

/// Largest fragment in a PDU of `pdu_bytes_max`: fragments have an even length (PS3.8 Annex E).
fn fragment_bytes_max(pdu_bytes_max: u32) -> usize {
    let pdu_bytes_max = usize::try_from(pdu_bytes_max).unwrap_or(usize::MAX);
    (pdu_bytes_max.saturating_sub(PDV_HEADER_BYTES) & !1).max(2)
}

fn put_header(out: &mut BytesMut, context_id: u8, control: u8, fragment_bytes: usize) {
    // A fragment is no longer than `sent_pdu_bytes_max`, which is a u32.
    let length = u32::try_from(fragment_bytes)
        .unwrap_or(u32::MAX)
        .saturating_add(2);
    out.put_slice(&[0x04, 0]);
    out.put_u32(length.saturating_add(4));
    out.put_u32(length);
    out.put_slice(&[context_id, control]);
}
