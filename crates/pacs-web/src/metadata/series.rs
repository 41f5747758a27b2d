//! The document of one series: its instances in the JSON model with commas between them.
//!
//! As derived data it is a CRC-32 and the length of the text, little endian, and the text deflated,
//! ending at a byte and without an end (RFC 1951), so that documents can be joined: see
//! [`super::gzip`].

use super::unreadable;
use crate::content::{self, Content};
use crate::derived::{Key, Kind};
use crate::error::Failure;
use crate::json;
use crate::model::{Model, ModelOptions};
use crate::resource::path_of;
use crate::service::Web;
use crate::walk::WalkError;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::DeflateEncoder;
use pacs_core::Permit;
use pacs_core::access::Get;
use pacs_store::index::{Results, StoredInstance};
use std::io::Write as _;
use std::sync::Arc;

/// Bytes of CRC-32 and length.
const HEADER_BYTES: usize = 4 + 8;

/// Instances of one series among those that were found.
#[derive(Debug, Clone)]
pub(super) struct Series {
    pub(super) web: Web,
    pub(super) permit: Permit<Get>,
    pub(super) base: Arc<str>,
    pub(super) found: Arc<Results<StoredInstance>>,
    /// Where its instances are in `found`.
    pub(super) places: Vec<usize>,
}

/// A document that was kept.
#[derive(Debug, Clone)]
pub(super) struct Document {
    pub(super) crc: u32,
    pub(super) length_bytes: u64,
    pub(super) deflated: Bytes,
}

impl Document {
    /// From derived data.
    pub(super) fn of(body: &Bytes) -> Option<Self> {
        let (crc, rest) = body.split_first_chunk::<4>()?;
        let (length, _) = rest.split_first_chunk::<8>()?;
        Some(Self {
            crc: u32::from_le_bytes(*crc),
            length_bytes: u64::from_le_bytes(*length),
            deflated: body.slice(HEADER_BYTES..),
        })
    }
}

impl Series {
    /// All that the document depends on.
    pub(super) fn key(&self) -> Key {
        let limits = self.web.limits();
        let limits = [
            limits.inline_bytes_max,
            limits.value_bytes_max,
            limits.inflated_bytes_max,
        ];
        let limits: Vec<u8> = limits.iter().flat_map(|n| n.to_le_bytes()).collect();
        let paths: Vec<String> = self.instances().map(path_of).collect();
        let mut parts: Vec<&[u8]> = vec![self.base.as_bytes(), &limits, self.web.said()];
        for (stored, path) in self.instances().zip(&paths) {
            parts.push(path.as_bytes());
            parts.push(stored.instance.transfer_syntax.as_str().as_bytes());
            parts.push(&stored.digest.0);
        }
        Key::of(Kind::Metadata, &parts)
    }

    fn instances(&self) -> impl Iterator<Item = &StoredInstance> {
        self.places.iter().filter_map(|at| self.found.get(*at))
    }

    /// Whether it is small enough to be made in memory, as far as the heads say.
    pub(super) fn is_small(&self, bytes_max: u64) -> bool {
        self.heads_bytes() <= bytes_max
    }

    /// Bytes of all heads: a document, deflated, seldom has more.
    pub(super) fn heads_bytes(&self) -> u64 {
        let heads = self.instances().map(|stored| stored.instance.head_bytes);
        heads.fold(0, u64::saturating_add)
    }

    /// The document, kept or made.
    ///
    /// # Errors
    /// [`Failure::TooLarge`] where it has to be written piece by piece.
    pub(super) async fn document(&self) -> Result<Document, Failure> {
        let series = self.clone();
        let make = move |turn| async move {
            let making = tokio::task::spawn_blocking(move || {
                let _turn = turn;
                series.make()
            });
            making.await.map_err(|_panicked| Failure::Internal)?
        };
        let derived = self.web.derived();
        let body = derived.get_or_make(&self.permit, self.key(), make).await?;
        Document::of(&body).ok_or(Failure::Internal)
    }

    fn make(self) -> Result<Bytes, Failure> {
        let bytes_max = self.web.limits().document_bytes_max;
        let mut crc = crc32fast::Hasher::new();
        let (mut length, mut out) = (0_u64, vec![0; HEADER_BYTES]);
        let mut deflate = DeflateEncoder::new(&mut out, Compression::default());
        let mut writer = Writer::new(self);
        while let Some(piece) = writer.piece()? {
            crc.update(&piece);
            length = length.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
            deflate.write_all(&piece).map_err(|_| Failure::Internal)?;
            let written = deflate.get_ref().len();
            // What cannot be read now may be repaired: it is looked at each time.
            if u64::try_from(written).unwrap_or(u64::MAX) > bytes_max || !writer.is_whole {
                let detail = "metadata that is not kept".to_owned();
                return Err(Failure::TooLarge { detail });
            }
        }
        // To a byte, and not to an end, which would come when it is dropped.
        deflate.flush().map_err(|_| Failure::Internal)?;
        let length_written = deflate.get_ref().len();
        drop(deflate);
        out.truncate(length_written);
        let header = [&crc.finalize().to_le_bytes()[..], &length.to_le_bytes()].concat();
        for (place, byte) in out.iter_mut().zip(header) {
            *place = byte;
        }
        out.shrink_to_fit();
        Ok(out.into())
    }
}

/// Writes a document piece by piece.
#[derive(Debug)]
pub(super) struct Writer {
    series: Series,
    next: usize,
    open: Option<Model<Content>>,
    /// Whether every instance so far could be read.
    is_whole: bool,
}

impl Writer {
    pub(super) const fn new(series: Series) -> Self {
        Self {
            series,
            next: 0,
            open: None,
            is_whole: true,
        }
    }

    /// The next piece; `None` at the end. Blocks.
    ///
    /// # Errors
    /// Want of memory ends the document.
    pub(super) fn piece(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        let piece_bytes = self.series.web.limits().piece_bytes;
        let mut out = Vec::new();
        while out.len() < piece_bytes {
            if let Some(model) = &mut self.open {
                if model.write(&mut out, piece_bytes) {
                    self.open = None;
                }
                continue;
            }
            let at = self.series.places.get(self.next).copied();
            let Some(stored) = at.and_then(|at| self.series.found.get(at)) else {
                break;
            };
            let model = self.model(stored);
            if self.next > 0 {
                out.push(b',');
            }
            self.next = self.next.saturating_add(1);
            match model {
                Ok(model) => self.open = Some(model),
                Err(error) if unreadable::is_lasting(&error) => {
                    unreadable::tell(stored, &error);
                    json::write_attributes(&mut out, &unreadable::known_of(stored));
                    self.is_whole = false;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok((!out.is_empty()).then_some(out))
    }

    fn model(&self, stored: &StoredInstance) -> Result<Model<Content>, WalkError> {
        let Series {
            web, permit, base, ..
        } = &self.series;
        let limits = web.limits();
        let options = ModelOptions {
            bulk_url: format!("{base}{}/bulkdata", path_of(stored)),
            inline_bytes_max: limits.inline_bytes_max,
            value_bytes_max: limits.value_bytes_max,
            fragments_max: limits.fragments_max,
        };
        Ok(Model::new(
            content::walk_corrected(web, permit, stored)?,
            options,
        ))
    }
}
