//! Values that cannot leave as they are kept, piece by piece: of big endian words, of frames that
//! begin within a byte, of data sets that had to be inflated.

use crate::content::Content;
use crate::pixels::shifted;
use crate::stream::{Gone, Pieces};
use crate::walk::DataSet as _;
use pacs_store::ReadError;
use std::ops::Range;

/// Bytes of a piece: a multiple of every word.
const PIECE_BYTES: u64 = 256 << 10;

/// Bytes behind a piece that are needed to shift it: the longest word.
const BEHIND_BYTES: u64 = 8;

/// What has to be done to the bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Turn {
    /// Bytes of the words that are to be turned to little endian; 1: none are.
    pub(crate) word: usize,
    /// Bits to be left out at the beginning, and how many there are behind them.
    pub(crate) bits: Option<(u32, u64)>,
}

/// Sends the bytes of `range`; `content` comes back for the next.
pub(crate) async fn send(
    pieces: &Pieces,
    mut content: Content,
    range: &Range<u64>,
    mut turn: Turn,
) -> Result<Content, Gone> {
    let mut from = range.start;
    while from < range.end && turn.bits.is_none_or(|(_, left)| left > 0) {
        let to = from.saturating_add(PIECE_BYTES).min(range.end);
        let (here, end) = (from..to, range.end);
        let task = tokio::task::spawn_blocking(move || {
            let piece = piece(&content, here, end, turn);
            (content, piece)
        });
        let (back, piece) = task.await.map_err(|error| cut(&error))?;
        let piece = piece.map_err(|error| cut(&error))?;
        if let Some((_, left)) = &mut turn.bits {
            let sent = u64::try_from(piece.len()).unwrap_or(u64::MAX);
            *left = left.saturating_sub(sent.saturating_mul(8));
        }
        if piece.is_empty() {
            return Err(Gone);
        }
        content = back;
        pieces.put(piece.into()).await?;
        from = to;
    }
    Ok(content)
}

fn piece(content: &Content, here: Range<u64>, end: u64, turn: Turn) -> Result<Vec<u8>, ReadError> {
    let length = here.end.saturating_sub(here.start);
    let behind = if turn.bits.is_some() { BEHIND_BYTES } else { 0 };
    let to = here.end.saturating_add(behind).min(end);
    let mut bytes = content.read(&(here.start..to))?;
    if turn.word > 1 {
        for word in bytes.chunks_exact_mut(turn.word) {
            word.reverse();
        }
    }
    Ok(match turn.bits {
        Some((shift_bits, left)) => shifted(&bytes, shift_bits, left.min(length.saturating_mul(8))),
        None => bytes,
    })
}

fn cut(error: &(dyn std::error::Error + Sync)) -> Gone {
    tracing::error!(%error, "a value cannot be given back");
    Gone
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::WebLimits;
    use crate::stream;
    use axum::body::to_bytes;

    async fn sent(bytes: Vec<u8>, range: Range<u64>, turn: Turn) -> Vec<u8> {
        let body = stream::body(&WebLimits::default(), None, |pieces| async move {
            let content = Content::of_bytes(bytes);
            send(&pieces, content, &range, turn).await.map(drop)
        });
        to_bytes(body, usize::MAX).await.unwrap().to_vec()
    }

    #[tokio::test]
    async fn pieces_are_what_the_whole_would_be() {
        let bytes: Vec<u8> = (0..700_001_u32)
            .map(|n| (n * 7 + n / 256).to_le_bytes()[0])
            .collect();
        let whole = 0..700_000;
        let turn = Turn {
            word: 2,
            bits: None,
        };
        let mut swapped = bytes[..700_000].to_vec();
        for word in swapped.chunks_exact_mut(2) {
            word.reverse();
        }
        assert!(sent(bytes.clone(), whole.clone(), turn).await == swapped);
        for (word, source, shift) in [(1, &bytes, 5), (2, &swapped, 5), (2, &swapped, 13)] {
            let bits = 700_000 * 8 - 13;
            let turn = Turn {
                word,
                bits: Some((shift, bits)),
            };
            let expected = shifted(&source[..700_000], shift, bits);
            assert!(sent(bytes.clone(), whole.clone(), turn).await == expected);
        }
    }
}
