//! Frames in another transfer syntax than they are stored in: decoded, or encoded again without
//! loss. They are derived data: each is made once for all who want it at the same time, and a
//! viewer that shows a study again has it from the disk.

use crate::content::{self, Content};
use crate::derived::{Key, Kind, Turn};
use crate::error::Failure;
use crate::pixels::{Frame, shifted};
use crate::service::Web;
use bytes::Bytes;
use pacs_core::access::Get;
use pacs_core::convert::{PixelForm, is_native, pixel_form};
use pacs_core::scan::Encoding;
use pacs_core::tag::tags;
use pacs_core::{Permit, Tag, TransferSyntaxUid};
use pacs_image::{ENCODED, PixelDataPlace, is_decoded, is_encoded, native_form};
use pacs_store::index::StoredInstance;
use std::sync::Arc;

use super::EXPLICIT_LITTLE_ENDIAN;
use crate::walk::DataSet as _;

/// Pixel data whose frames can be made anew.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(super) web: Web,
    pub(super) permit: Permit<Get>,
    pub(super) stored: StoredInstance,
    pub(super) content: Arc<Content>,
    /// Bytes of the words that are to be turned to little endian; 1: none are.
    pub(super) word: usize,
    /// Form of the frames as they are stored.
    pub(super) form: PixelForm,
}

/// The form of the pixel data of `stored`, where frames of it can be made anew: not where its
/// samples are of floating point (PS3.5 8.2: these are never encapsulated).
pub(crate) fn form_of(web: &Web, content: &Content, stored: &StoredInstance) -> Option<PixelForm> {
    let syntax = &stored.instance.transfer_syntax;
    web.conversions().decoders()?;
    if !is_native(syntax) && !is_decoded(syntax) {
        return None;
    }
    let head_bytes = stored.instance.head_bytes;
    if head_bytes > web.limits().offset_table_bytes_max {
        return None;
    }
    let head = content
        .read(&(0..head_bytes.saturating_add(TAG_BYTES)))
        .ok()?;
    let head_length = usize::try_from(head_bytes).ok()?;
    let (head, element) = head.split_at_checked(head_length)?;
    if tag_of(element, syntax) != Some(tags::PIXEL_DATA) {
        return None;
    }
    let limits = content::scan_limits(web.limits());
    // What was inflated is explicit VR little endian.
    let inflated = TransferSyntaxUid::parse(EXPLICIT_LITTLE_ENDIAN).ok()?;
    let syntax = if content.is_as_stored() {
        syntax
    } else {
        &inflated
    };
    let form = pixel_form(head, syntax, &limits).ok().flatten()?;
    (form.frame_bits() > 0).then_some(form)
}

/// Bytes of a tag.
const TAG_BYTES: u64 = 4;

/// The tag of the element that `bytes` begin with.
fn tag_of(bytes: &[u8], syntax: &TransferSyntaxUid) -> Option<Tag> {
    let [a, b, c, d] = *bytes.first_chunk()?;
    Some(if Encoding::of(syntax) == Encoding::ExplicitBigEndian {
        Tag(u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]))
    } else {
        Tag(u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]))
    })
}

/// Whether the samples of `stored` are of floating point.
pub(crate) fn has_float_pixels(web: &Web, content: &Content, stored: &StoredInstance) -> bool {
    let tag = if let Some(head_bytes) = content.head_bytes(stored) {
        let element = content.read(&(head_bytes..head_bytes.saturating_add(TAG_BYTES)));
        element
            .ok()
            .and_then(|element| tag_of(&element, &stored.instance.transfer_syntax))
    } else {
        place_inflated(web, content)
    };
    [tags::FLOAT_PIXEL_DATA, tags::DOUBLE_FLOAT_PIXEL_DATA]
        .map(Some)
        .contains(&tag)
}

/// The tag of the pixel data of what was inflated, where it comes early enough.
fn place_inflated(web: &Web, content: &Content) -> Option<Tag> {
    let most = web.limits().offset_table_bytes_max;
    let head = content.read(&(0..content.length_bytes().min(most))).ok()?;
    let syntax = TransferSyntaxUid::parse(EXPLICIT_LITTLE_ENDIAN).ok()?;
    let limits = content::scan_limits(web.limits());
    let place = PixelDataPlace::of_head(&head, &syntax, &limits).ok()??;
    Some(place.tag)
}

/// What frames that are stored in `stored` with `form` can be encoded for, the best first.
pub(super) fn targets(
    stored: &TransferSyntaxUid,
    form: &PixelForm,
) -> impl Iterator<Item = TransferSyntaxUid> {
    let native = native_form(stored, form);
    let others = ENCODED.into_iter().filter(|name| *name != stored.as_str());
    let others = others.filter_map(|name| TransferSyntaxUid::parse(name).ok());
    others.filter(move |target| is_encoded(target, &native))
}

impl Source {
    /// Of frames of this form in `content`, which stand there in their own byte order.
    pub(crate) fn new(
        web: &Web,
        permit: &Permit<Get>,
        stored: &StoredInstance,
        (content, form): (Arc<Content>, PixelForm),
    ) -> Self {
        Self {
            web: web.clone(),
            permit: permit.clone(),
            stored: stored.clone(),
            content,
            word: 1,
            form,
        }
    }

    /// Frame `number`, which is where `frame` says, in `target`.
    ///
    /// # Errors
    /// [`Failure::Conflict`] where it cannot be decoded, or not be encoded without loss.
    pub(crate) async fn frame(
        &self,
        frame: Frame,
        number: u64,
        target: &TransferSyntaxUid,
    ) -> Result<Bytes, Failure> {
        let source = self.clone();
        let to = target.clone();
        let make = move |turn: Turn| async move {
            let conversions = source.web.clone();
            let conversions = conversions.conversions();
            // Read, decoded, encoded, and compared with what that decodes to.
            let bytes = native_bytes(&source.form).saturating_mul(4);
            let share = conversions.share(source.permit.caller(), bytes).await?;
            let making = tokio::task::spawn_blocking(move || {
                // Until it is done, whether or not anybody still waits for it.
                let _held = (turn, share);
                source.make(&frame, &to)
            });
            making.await.map_err(|_panicked| Failure::Internal)?
        };
        let key = frame_key(&self.stored, target, number);
        let derived = self.web.derived();
        derived.get_or_make(&self.permit, key, make).await
    }

    fn make(&self, frame: &Frame, target: &TransferSyntaxUid) -> Result<Bytes, Failure> {
        let stored = &self.stored.instance.transfer_syntax;
        let decoders = self.web.conversions().decoders().ok_or(Failure::Internal)?;
        let bytes = held(&self.content, frame, self.word)?;
        let native = if is_native(stored) {
            bytes
        } else {
            decoders.decode_frame(stored, &self.form, bytes)?
        };
        if target.as_str() == EXPLICIT_LITTLE_ENDIAN {
            return Ok(native.into());
        }
        let form = native_form(stored, &self.form);
        Ok(decoders.encode_frame(target, &form, &native)?.into())
    }
}

/// A frame in memory, as its codec or its pixels are: little endian, and from a byte on.
fn held(content: &Content, frame: &Frame, word: usize) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    for range in frame.ranges.iter() {
        bytes.extend(content.read(range)?);
    }
    if word > 1 {
        for word in bytes.chunks_exact_mut(word) {
            word.reverse();
        }
    }
    Ok(match frame.bits {
        Some(bits) => shifted(&bytes, frame.shift_bits, bits),
        None => bytes,
    })
}

/// By what frame `number` of `stored`, made for `target`, is known.
pub(crate) fn frame_key(stored: &StoredInstance, target: &TransferSyntaxUid, number: u64) -> Key {
    Key::of(
        Kind::Frame,
        &[
            &stored.digest.0,
            stored.instance.transfer_syntax.as_str().as_bytes(),
            target.as_str().as_bytes(),
            &number.to_le_bytes(),
        ],
    )
}

fn native_bytes(form: &PixelForm) -> u64 {
    form.frame_bits().div_ceil(8)
}
