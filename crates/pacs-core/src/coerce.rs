//! Attribute coercion on the way out: the data set of a study says who the archive knows the
//! patient to be, and what it was ordered for, while the stored bytes stay as they came.
//!
//! A [`Coercer`] takes the stored bytes by [`Coercer::push`] and gives those that are sent by
//! [`Coercer::read`], in one pass and in bounded memory, in the stored transfer syntax or another
//! that [`crate::convert`] can write. What an [`Overlay`] wants is compared with what stands there:
//! - where all of it is said already, bytes come out as they went in;
//! - where something changes, the previous values are appended to Original Attributes Sequence
//!   (0400,0561), in the bytes and under the character set that they were in; those that were never
//!   legal go to Nonconforming Modified Attributes Sequence (0400,0551);
//! - then all text is UTF-8 (`ISO_IR 192`), that of items too. Bytes that do not follow their
//!   declared set are guessed, and counted. Private elements of unknown VR stay as they are.
//!
//! Pixel data, UIDs, times, dose and private groups are never touched. As after any conversion,
//! sequences have undefined lengths and group lengths are left out. Digital signatures over what
//! changes do not hold any more.
//!
//! PS3.3 C.12.1, PS3.4 B.4.1.3 and C.4.3.1.3.

pub(crate) mod edits;
mod head;
mod overlay;
mod plan;
mod text;
mod tree;

pub use overlay::{Change, Code, Correction, Demographics, Order, Overlay, Reason, Request};
pub use text::{OverlayError, PersonName};

use crate::charset::Undeclared;
use crate::convert::input::{Input, Refilled};
use crate::convert::machinery::Machinery;
use crate::convert::{ConvertError, PixelDecoder, PixelEncoder, Progress, TARGETS, is_native};
use crate::encode::Layout;
use crate::limits::CoerceLimits;
use crate::scan::{Encoding, ScanError};
use crate::tag::Tag;
use crate::uid::TransferSyntaxUid;
use flate2::write::DeflateEncoder;
use head::Head;
use plan::{Data, plan, tags_of};
use std::io::Write as _;
use std::sync::Arc;

/// Bytes that are deflated in one go.
const DEFLATED_PIECE_BYTES: usize = 64 << 10;

/// Why a data set cannot be given other attributes. No value is shown. Whoever sends it may send
/// it as it is, or refuse to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CoerceError {
    /// [`CoerceLimits::head_bytes_max`].
    #[error("attributes before those that may change have more than {limit_bytes} bytes")]
    HeadTooLarge {
        /// The limit.
        limit_bytes: usize,
    },
    /// An attribute that may change stands in two places, or not where it has to.
    #[error("{tag} is out of order")]
    Order {
        /// Which.
        tag: Tag,
    },
    /// [`CoerceLimits::text_bytes_max`].
    #[error("text of {tag} has more than {limit_bytes} bytes")]
    TextTooLong {
        /// Of which attribute.
        tag: Tag,
        /// The limit.
        limit_bytes: usize,
    },
    /// An attribute has bytes where it has items, or the other way round.
    #[error("{tag} cannot be read")]
    Unreadable {
        /// Which.
        tag: Tag,
    },
}

/// What a coercion came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    /// Attributes that were changed, in order; nothing where bytes stayed as they were.
    pub changed: Vec<Tag>,
    /// Texts whose character set was guessed, because they did not follow the declared one.
    pub guessed_texts: u64,
}

/// Coerces one data set. After an error it gives nothing more that is of use.
///
/// `Debug` shows where it stands, and no value.
pub struct Coercer {
    stage: Stage,
    to: Layout,
    deflater: Option<DeflateEncoder<Vec<u8>>>,
    is_done: bool,
    changed: Vec<Tag>,
}

enum Stage {
    /// Nothing changes: what was pushed and not read yet.
    Passing {
        bytes: Vec<u8>,
        from: usize,
        has_ended: bool,
    },
    Planning(Box<Planning>),
    Rewriting(Box<Machinery>),
}

/// An encoder, and the lengths of the frames that it makes, where they are known.
type EncoderWithLengths = (Box<dyn PixelEncoder>, Option<Arc<[u64]>>);

/// All that is needed until it is known what changes.
struct Planning {
    from: Encoding,
    /// Whether the transfer syntax stays the same.
    stays: bool,
    decoder: Option<Box<dyn PixelDecoder>>,
    encoder: Option<EncoderWithLengths>,
    overlay: Arc<Overlay>,
    undeclared: Option<Undeclared>,
    limits: CoerceLimits,
    length_bytes: Option<u64>,
    head: Head,
    /// What was pushed.
    held: Vec<u8>,
    /// What that inflates to.
    inflated: Option<Input>,
    has_ended: bool,
}

impl std::fmt::Debug for Coercer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Coercer")
            .field("changed", &self.changed)
            .field("bytes_held", &self.bytes_held())
            .finish_non_exhaustive()
    }
}

impl Coercer {
    /// For a data set in `from` that is to be in `to`, which may be the same: encapsulated pixel
    /// data then passes as it is. `decoder` is for the pixel data where it does not.
    ///
    /// # Errors
    /// [`ConvertError::Unsupported`].
    pub fn new(
        from: &TransferSyntaxUid,
        to: &TransferSyntaxUid,
        decoder: Option<Box<dyn PixelDecoder>>,
        overlay: Arc<Overlay>,
        limits: &CoerceLimits,
    ) -> Result<Self, ConvertError> {
        let stays = from == to;
        if !stays && !TARGETS.contains(&to.as_str()) {
            return Err(ConvertError::Unsupported);
        }
        Self::build(from, Layout::of(to), stays, decoder, overlay, limits)
    }

    /// For a data set in `from` whose frames `encoder` is to encode: as
    /// [`crate::convert::Converter::encoding`].
    ///
    /// # Errors
    /// [`ConvertError::Unsupported`].
    pub fn encoding(
        from: &TransferSyntaxUid,
        decoder: Option<Box<dyn PixelDecoder>>,
        encoder: Box<dyn PixelEncoder>,
        lengths: Option<Arc<[u64]>>,
        overlay: Arc<Overlay>,
        limits: &CoerceLimits,
    ) -> Result<Self, ConvertError> {
        let to = Layout::ExplicitLittle;
        let mut coercer = Self::build(from, to, false, decoder, overlay, limits)?;
        if let Stage::Planning(planning) = &mut coercer.stage {
            planning.encoder = Some((encoder, lengths));
        }
        Ok(coercer)
    }

    fn build(
        from: &TransferSyntaxUid,
        to: Layout,
        stays: bool,
        decoder: Option<Box<dyn PixelDecoder>>,
        overlay: Arc<Overlay>,
        limits: &CoerceLimits,
    ) -> Result<Self, ConvertError> {
        let encoding = Encoding::of(from);
        let is_decodable =
            is_native(from) || (decoder.is_some() && encoding == Encoding::ExplicitLittleEndian);
        if !stays && !is_decodable {
            return Err(ConvertError::Unsupported);
        }
        let is_deflated = encoding == Encoding::Deflated;
        let level = flate2::Compression::default();
        let planning = Planning {
            from: encoding,
            stays,
            decoder: decoder.filter(|_| !stays && !is_native(from)),
            encoder: None,
            head: Head::new(encoding, tags_of(&overlay), &limits.scan),
            overlay,
            undeclared: None,
            limits: *limits,
            length_bytes: None,
            held: Vec::new(),
            inflated: is_deflated.then(|| Input::new(true, &limits.scan)),
            has_ended: false,
        };
        Ok(Self {
            stage: Stage::Planning(Box::new(planning)),
            to,
            deflater: (is_deflated && stays).then(|| DeflateEncoder::new(Vec::new(), level)),
            is_done: false,
            changed: Vec::new(),
        })
    }

    /// Says what bytes beyond ASCII of this device probably are where they do not follow what the
    /// data set declares.
    #[must_use]
    pub fn with_undeclared(mut self, undeclared: Option<Undeclared>) -> Self {
        if let Stage::Planning(planning) = &mut self.stage {
            planning.undeclared = undeclared;
        }
        self
    }

    /// Says how long the data set is as it is stored, where that is known beforehand: what does not
    /// fit it is then found out earlier.
    #[must_use]
    pub fn with_length(mut self, length_bytes: u64) -> Self {
        if let Stage::Planning(planning) = &mut self.stage {
            planning.length_bytes = Some(length_bytes);
        }
        self
    }

    /// Takes the next bytes of the data set: at the beginning, and when [`Self::read`] needs them.
    pub fn push(&mut self, bytes: Vec<u8>) {
        match &mut self.stage {
            Stage::Passing {
                bytes: held, from, ..
            } => {
                held.drain(..*from);
                *from = 0;
                held.extend_from_slice(&bytes);
            }
            Stage::Planning(planning) => planning.push(bytes),
            Stage::Rewriting(work) => work.push(bytes),
        }
    }

    /// Says that there are no more bytes.
    pub fn end(&mut self) {
        match &mut self.stage {
            Stage::Passing { has_ended, .. } => *has_ended = true,
            Stage::Planning(planning) => {
                planning.has_ended = true;
                if let Some(inflated) = &mut planning.inflated {
                    inflated.end();
                }
            }
            Stage::Rewriting(work) => work.end(),
        }
    }

    /// Writes bytes behind what `out` holds, until that has `bytes_max` or some more.
    ///
    /// # Errors
    /// [`ConvertError`], [`CoerceError`] among them. What was read before stands: where all has to
    /// be right or nothing sent, a first pass tells.
    pub fn read(&mut self, out: &mut Vec<u8>, bytes_max: usize) -> Result<Progress, ConvertError> {
        self.decide()?;
        match &mut self.stage {
            Stage::Passing {
                bytes,
                from,
                has_ended,
            } => {
                let rest = bytes.get(*from..).unwrap_or_default();
                let count = rest.len().min(bytes_max.saturating_sub(out.len()));
                out.extend_from_slice(rest.get(..count).unwrap_or_default());
                *from = from.saturating_add(count);
                Ok(match (*from < bytes.len(), *has_ended) {
                    (true, _) => Progress::Full,
                    (false, true) => Progress::Done,
                    (false, false) => Progress::NeedsInput,
                })
            }
            Stage::Planning(_) => Ok(Progress::NeedsInput),
            Stage::Rewriting(work) => match &mut self.deflater {
                None => work.read(out, bytes_max),
                Some(deflater) if !self.is_done => {
                    let progress = deflate(work, deflater, out, bytes_max)?;
                    self.is_done = progress == Progress::Done;
                    Ok(progress)
                }
                Some(_) => Ok(Progress::Done),
            },
        }
    }

    /// Whether bytes come out as they went in, as soon as what was pushed says so: then they need
    /// not go through here at all.
    ///
    /// # Errors
    /// [`ConvertError`].
    pub fn passes(&mut self) -> Result<Option<bool>, ConvertError> {
        self.decide()?;
        Ok(match self.stage {
            Stage::Passing { .. } => Some(true),
            Stage::Planning(_) => None,
            Stage::Rewriting(_) => Some(false),
        })
    }

    /// Goes on to the next stage, where all is here that it needs.
    fn decide(&mut self) -> Result<(), ConvertError> {
        if let Stage::Planning(planning) = &mut self.stage
            && planning.is_complete()?
        {
            (self.stage, self.changed) = planning.decide(self.to)?;
        }
        Ok(())
    }

    /// Bytes that it holds at the moment.
    #[must_use]
    pub fn bytes_held(&self) -> u64 {
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        match &self.stage {
            Stage::Passing { bytes, .. } => count(bytes.len()),
            Stage::Planning(planning) => {
                let inflated = planning.inflated.as_ref().map_or(0, Input::bytes_held);
                inflated.saturating_add(count(planning.held.len()))
            }
            Stage::Rewriting(work) => work.bytes_held(),
        }
    }

    /// Bytes of each frame that was encoded so far, in order and without padding.
    #[must_use]
    pub fn frame_lengths(&self) -> &[u64] {
        match &self.stage {
            Stage::Rewriting(work) => work.frame_lengths(),
            Stage::Passing { .. } | Stage::Planning(_) => &[],
        }
    }

    /// What it came to so far; all of it once [`Self::read`] is done.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        let guessed_texts = match &self.stage {
            Stage::Rewriting(work) => work.edits().map_or(0, edits::Edits::guessed),
            Stage::Passing { .. } | Stage::Planning(_) => 0,
        };
        Outcome {
            changed: self.changed.clone(),
            guessed_texts,
        }
    }
}

/// Rewrites, and deflates what comes out.
fn deflate(
    work: &mut Machinery,
    deflater: &mut DeflateEncoder<Vec<u8>>,
    out: &mut Vec<u8>,
    bytes_max: usize,
) -> Result<Progress, ConvertError> {
    // Writing to memory does not fail.
    let failed = |_| ConvertError::Scan(ScanError::Deflate);
    let mut plain = Vec::new();
    loop {
        plain.clear();
        let progress = work.read(&mut plain, DEFLATED_PIECE_BYTES)?;
        deflater.write_all(&plain).map_err(failed)?;
        if progress == Progress::Done {
            deflater.try_finish().map_err(failed)?;
        }
        out.append(deflater.get_mut());
        match progress {
            Progress::Done => {
                // PS3.5 A.5.
                if deflater.total_out() & 1 == 1 {
                    out.push(0);
                }
                return Ok(Progress::Done);
            }
            Progress::NeedsInput => return Ok(Progress::NeedsInput),
            Progress::Full if out.len() >= bytes_max => return Ok(Progress::Full),
            Progress::Full => {}
        }
    }
}

impl Planning {
    fn push(&mut self, bytes: Vec<u8>) {
        self.held.extend_from_slice(&bytes);
        if let Some(inflated) = &mut self.inflated {
            inflated.push(bytes);
        }
    }

    /// Whether all is here that may be changed.
    fn is_complete(&mut self) -> Result<bool, ConvertError> {
        let limit_bytes = self.limits.head_bytes_max;
        let Some(inflated) = &mut self.inflated else {
            let is_complete = self.head.search(&self.held, self.has_ended)?;
            if !is_complete && self.held.len() > limit_bytes {
                return Err(CoerceError::HeadTooLarge { limit_bytes }.into());
            }
            return Ok(is_complete);
        };
        loop {
            let refilled = inflated.refill()?;
            if refilled == Refilled::Nothing {
                return Ok(false);
            }
            let is_whole = refilled == Refilled::Ended;
            if self.head.search(inflated.bytes(), is_whole)? {
                return Ok(true);
            }
            if inflated.bytes().len() > limit_bytes {
                return Err(CoerceError::HeadTooLarge { limit_bytes }.into());
            }
        }
    }

    /// What comes now, and which attributes change.
    fn decide(&mut self, to: Layout) -> Result<(Stage, Vec<Tag>), ConvertError> {
        let data = Data {
            bytes: match &self.inflated {
                Some(inflated) => inflated.bytes(),
                None => &self.held,
            },
            encoding: self.from,
            found: self.head.found(),
            to,
            undeclared: self.undeclared,
            limits: self.limits,
        };
        let plan = plan(&data, &self.overlay)?;
        let held = std::mem::take(&mut self.held);
        let (from, scan) = (self.from, &self.limits.scan);
        let decoder = self.decoder.take();
        let (mut work, changed) = match plan {
            None if self.stays => {
                let passing = Stage::Passing {
                    bytes: held,
                    from: 0,
                    has_ended: self.has_ended,
                };
                return Ok((passing, Vec::new()));
            }
            None => (Machinery::new(from, to, decoder, scan), Vec::new()),
            Some(plan) => {
                let edits = Box::new(plan.edits);
                let work = Machinery::with_edits(from, to, decoder, edits, scan);
                (work, plan.changed)
            }
        };
        if let Some((encoder, lengths)) = self.encoder.take() {
            work.encapsulate(self.from, encoder, lengths, scan);
        }
        if let Some(length_bytes) = self.length_bytes {
            work.set_length(length_bytes);
        }
        work.push(held);
        if self.has_ended {
            work.end();
        }
        Ok((Stage::Rewriting(Box::new(work)), changed))
    }
}

/// Coerces a data set that is all in memory, in its own transfer syntax.
///
/// # Errors
/// [`ConvertError`].
pub fn coerce(
    data_set: &[u8],
    transfer_syntax: &TransferSyntaxUid,
    overlay: &Arc<Overlay>,
    limits: &CoerceLimits,
) -> Result<(Vec<u8>, Outcome), ConvertError> {
    let overlay = Arc::clone(overlay);
    let mut coercer = Coercer::new(transfer_syntax, transfer_syntax, None, overlay, limits)?;
    coercer.push(data_set.to_vec());
    coercer.end();
    let mut out = Vec::new();
    match coercer.read(&mut out, usize::MAX)? {
        Progress::Done => Ok((out, coercer.outcome())),
        Progress::Full | Progress::NeedsInput => {
            let offset = u64::try_from(data_set.len()).unwrap_or(u64::MAX);
            Err(ScanError::Truncated { offset }.into())
        }
    }
}
