//! From a stored instance to the bytes of a picture.
//!
//! Reading, rendering and encoding run in threads that may block, a bounded number at a time and
//! within a budget of memory (see [`super::budget`]); frames are decoded by the worker processes.

use super::Wanted;
use super::budget::Share;
use crate::content::Content;
use crate::derived::Turn;
use crate::error::Failure;
use crate::limits::{RenderingLimits, WebLimits};
use crate::pixels::Source;
use crate::service::Web;
use crate::walk::DataSet as _;
use pacs_core::access::Get;
use pacs_core::convert::PixelForm;
use pacs_core::limits::ScanLimits;
use pacs_core::tag::tags;
use pacs_core::{Permit, TransferSyntaxUid};
use pacs_image::render::{
    self, Animation, NativeFrame, Picture, PictureFormat, Presentation, PresentationKind, Region,
    RenderError,
};
use pacs_image::{
    Decoders, FrameMap, Head, ImageLimits, PixelDataPlace, RenderLimits, native_form,
};
use pacs_store::index::StoredInstance;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// The tag, VR and length of pixel data, behind the head.
const PIXEL_DATA_HEADER_BYTES: u64 = 12;

/// Hundredths of a second that a picture of an animation is shown, where nothing says it.
const DELAY_DEFAULT: f64 = 10.0;

/// What is shown: frames, from 1 on, of an instance. More than one make an animation.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    pub(crate) stored: Arc<StoredInstance>,
    pub(crate) frames: Vec<u32>,
    /// The presentation state that is applied.
    pub(crate) presentation: Option<Arc<StoredInstance>>,
}

/// Makes a picture. What comes out depends on the arguments and the stored bytes alone, so that it
/// can be kept under the digest of the instance, the frames, what is wanted and the format.
///
/// # Errors
/// [`Failure`].
pub(crate) async fn render(
    web: &Web,
    (permit, turn_of_kind): (&Permit<Get>, Turn),
    subject: Subject,
    wanted: &Wanted,
    format: PictureFormat,
) -> Result<Vec<u8>, Failure> {
    let limits = web.limits().rendering;
    let most = limits.render.animation_frames_max;
    if subject.frames.len() > usize::try_from(most).unwrap_or(usize::MAX) {
        let detail = format!("more than {most} frames: ask for fewer at once");
        return Err(Failure::TooLarge { detail });
    }
    let rendering = web.rendering();
    // Who has a turn waits for nothing.
    let estimate = estimate(&subject, wanted, web.limits());
    let mut memory = rendering.memory(estimate).await?;
    let turn = if subject.frames.len() > 1 {
        rendering.turn_to_animate().await?
    } else {
        rendering.turn().await?
    };
    // Threads go on where nobody waits for them any more: turn and memory go with them.
    let is_gone = Arc::new(AtomicBool::new(false));
    let _gone = Gone(Arc::clone(&is_gone));
    let (web_too, permit, wanted) = (web.clone(), permit.clone(), wanted.clone());
    let work = tokio::task::spawn_blocking(move || {
        let _turns = (turn, turn_of_kind);
        let web = web_too;
        let Subject {
            stored,
            frames,
            presentation,
        } = subject;
        let first = frames.first().copied().unwrap_or(1);
        let mut opened = Opened::open(&web, &permit, &stored, first, &limits.render)?;
        if let Some(state) = presentation {
            let kind = PresentationKind::of(state.instance.sop_class.as_str());
            let kind = kind.ok_or(Failure::Internal)?;
            opened.state = Some((kind, head_of(&web, &permit, &state)?));
        }
        let bytes = opened.bytes_needed(&wanted, frames.len(), &limits.render)?;
        memory.need(bytes)?;
        memory.keep(bytes);
        let work = Work {
            opened,
            memory,
            bytes,
            decoders: web.rendering().decoders.clone(),
            wanted,
            limits,
            is_gone,
        };
        work.run(&frames, format)
    });
    work.await.map_err(|_| Failure::Internal)?
}

/// Says that nobody waits any more, when it is dropped.
struct Gone(Arc<AtomicBool>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The memory that a picture will take, as far as the index knows; see [`Opened::bytes_needed`].
fn estimate(subject: &Subject, wanted: &Wanted, limits: &WebLimits) -> u64 {
    let stored = &subject.stored;
    let number = |tag, default| {
        let text = stored.instance.attributes.text(tag);
        let number = text.and_then(|text| text.trim().parse::<u16>().ok());
        u64::from(number.unwrap_or(default))
    };
    let (rows, columns) = (number(tags::ROWS, 0), number(tags::COLUMNS, 0));
    let pixels = rows.saturating_mul(columns);
    let bits = number(tags::BITS_ALLOCATED, 16).saturating_mul(number(tags::SAMPLES_PER_PIXEL, 1));
    let native = pixels.saturating_mul(bits).div_ceil(8);
    let shown = wanted.render.viewport.map_or(pixels, |viewport| {
        let most = u64::from(viewport.width).saturating_mul(viewport.height.into());
        let is_whole = viewport.region == Region::default() && wanted.render.part.is_none();
        let high = u64::from(viewport.height).saturating_pow(2);
        let wide = u64::from(viewport.width).saturating_pow(2);
        let high = high.saturating_mul(columns).checked_div(rows);
        let wide = wide.saturating_mul(rows).checked_div(columns);
        match (high, wide) {
            (Some(high), Some(wide)) if is_whole => most.min(high).min(wide),
            _ => most,
        }
    });
    let shown = shown.min(limits.rendering.render.picture_pixels_max);
    let state = subject.presentation.as_ref().map_or(0, |state| {
        let source = limits.rendering.report_source_bytes_max;
        state.location.length_bytes.min(source)
    });
    let head = stored.instance.head_bytes.saturating_add(state);
    bytes_needed(head, native, pixels, shown)
}

/// A head and what was read of it; the frame, encoded and native; the picture in colour, half
/// scaled, as it is shown, and in the encoder. What was inflated counts for itself.
fn bytes_needed(head: u64, native: u64, pixels: u64, shown: u64) -> u64 {
    head.saturating_mul(2)
        .saturating_add(native.saturating_mul(2))
        .saturating_add(pixels.max(shown).saturating_mul(3))
        .saturating_add(pixels.saturating_mul(3))
        .saturating_add(shown.saturating_mul(7))
}

/// The whole of an instance without pixel data: a report, or a presentation state.
pub(super) fn head_of(
    web: &Web,
    permit: &Permit<Get>,
    stored: &StoredInstance,
) -> Result<Head, Failure> {
    let limits = web.limits().rendering;
    let content = Content::open_corrected(web, permit, stored, limits.report_source_bytes_max)?;
    let length = content.length_bytes();
    if length > limits.report_source_bytes_max {
        let detail = "the instance is too large to be shown".to_owned();
        return Err(Failure::TooLarge { detail });
    }
    let bytes = content.read(&(0..length))?;
    Ok(Head::read(
        bytes,
        &stored.instance.transfer_syntax,
        1,
        &limits.render,
    )?)
}

/// An instance whose head was read.
struct Opened {
    content: Content,
    syntax: TransferSyntaxUid,
    head: Head,
    form: PixelForm,
    place: PixelDataPlace,
    /// SOP Instance UID.
    instance: String,
    /// The presentation state that is applied.
    state: Option<(PresentationKind, Head)>,
}

impl Opened {
    fn open(
        web: &Web,
        permit: &Permit<Get>,
        stored: &StoredInstance,
        frame: u32,
        limits: &RenderLimits,
    ) -> Result<Self, Failure> {
        let inflated_bytes_max = web.limits().inflated_bytes_max;
        let content = Content::open_corrected(web, permit, stored, inflated_bytes_max)?;
        let (syntax, length) = if let Some(head_bytes) = content.head_bytes(stored) {
            let length = head_bytes.saturating_add(PIXEL_DATA_HEADER_BYTES);
            (stored.instance.transfer_syntax.clone(), length)
        } else {
            let inflated = TransferSyntaxUid::parse_legacy(EXPLICIT_LITTLE_ENDIAN);
            (
                inflated.map_err(|_| Failure::Internal)?,
                limits.head_bytes_max,
            )
        };
        if length
            > limits
                .head_bytes_max
                .saturating_add(PIXEL_DATA_HEADER_BYTES)
        {
            let detail = "the head is too large to be rendered".to_owned();
            return Err(Failure::TooLarge { detail });
        }
        let bytes = content.read(&(0..length))?;
        let head = Head::read(bytes, &syntax, frame, limits)?;
        let place = PixelDataPlace::of_head(head.bytes(), &syntax, &ScanLimits::default())?;
        let place = place.ok_or(Failure::NotFound { what: "pixel data" })?;
        let form = head.pixel_form().ok_or_else(|| Failure::Conflict {
            detail: "the data set does not say what its pixels are".to_owned(),
        })?;
        Ok(Self {
            content,
            syntax,
            head,
            form,
            place,
            instance: stored.instance.instance.as_str().to_owned(),
            state: None,
        })
    }

    /// The memory that is taken to make a picture of `frames` frames.
    fn bytes_needed(
        &self,
        wanted: &Wanted,
        frames: usize,
        limits: &RenderLimits,
    ) -> Result<u64, Failure> {
        let native = self.form.frame_bits().div_ceil(8);
        let pixels = u64::from(self.form.rows).saturating_mul(self.form.columns.into());
        let shown = render::shown_size(&self.head, &self.form, &wanted.render, limits)?;
        let shown = u64::from(shown.0).saturating_mul(shown.1.into());
        let frames = u64::try_from(frames).unwrap_or(u64::MAX);
        let most = limits.animation_pixels_max;
        if frames > 1 && shown.saturating_mul(frames) > most {
            let detail = format!("more than {most} pixels: ask for fewer frames or a viewport");
            return Err(Failure::TooLarge { detail });
        }
        let state = self.state.as_ref();
        let state = state.map_or(0, |(_, state)| state.bytes().len());
        let head = self.head.bytes().len().saturating_add(state);
        let head = u64::try_from(head).unwrap_or(u64::MAX);
        Ok(bytes_needed(head, native, pixels, shown))
    }
}

/// What an inflated data set is in.
const EXPLICIT_LITTLE_ENDIAN: &str = "1.2.840.10008.1.2.1";

/// All that is needed to make a picture; blocks.
struct Work {
    opened: Opened,
    memory: Share,
    /// What it takes of the memory, whatever the frame.
    bytes: u64,
    decoders: Option<Decoders>,
    wanted: Wanted,
    limits: RenderingLimits,
    /// Whether nobody waits for the picture any more.
    is_gone: Arc<AtomicBool>,
}

impl Work {
    fn run(mut self, frames: &[u32], format: PictureFormat) -> Result<Vec<u8>, Failure> {
        let Opened {
            content,
            place,
            form,
            ..
        } = &self.opened;
        let source = Source(content);
        let limits = ImageLimits::default();
        let map = FrameMap::locate(&source, place, form, &limits)?;
        if let [only] = *frames {
            let picture = self.picture(&map, only)?;
            return Ok(picture.encode(format, &self.limits.render)?);
        }
        let begun = Instant::now();
        self.wanted.render.range = self.spread(&map, frames, begun)?;
        let mut animation = Animation::new(self.delay(), self.limits.render);
        for frame in frames {
            self.turn_to(*frame, begun)?;
            let picture = self.picture(&map, *frame)?;
            animation.add(&picture)?;
        }
        Ok(animation.finish()?)
    }

    /// What all frames together are shown from and to, where nothing says it: each by itself would
    /// flicker.
    fn spread(
        &mut self,
        map: &FrameMap,
        frames: &[u32],
        begun: Instant,
    ) -> Result<Option<(f64, f64)>, Failure> {
        if self.wanted.render.window.is_some() {
            return Ok(None);
        }
        let mut all: Option<(f64, f64)> = None;
        for frame in frames {
            self.turn_to(*frame, begun)?;
            let limits = self.limits.render;
            let spread = self.with_native(map, *frame, |opened, native, presentation| {
                render::spread(&opened.head, native, presentation, &limits)
            })?;
            let Some((least, most)) = spread else {
                return Ok(None);
            };
            let (smallest, greatest) = all.unwrap_or((least, most));
            all = Some((smallest.min(least), greatest.max(most)));
        }
        Ok(all)
    }

    /// Goes on to `frame` of an animation, while somebody waits for it and there is time.
    fn turn_to(&mut self, frame: u32, begun: Instant) -> Result<(), Failure> {
        if self.is_gone.load(Ordering::Relaxed) {
            return Err(Failure::Internal);
        }
        if begun.elapsed() > self.limits.animation_duration_max {
            let detail = "the animation takes too long: ask for fewer frames".to_owned();
            return Err(Failure::TooLarge { detail });
        }
        let Opened { head, syntax, .. } = &mut self.opened;
        Ok(head.turn_to(syntax, frame, &self.limits.render)?)
    }

    fn picture(&mut self, map: &FrameMap, frame: u32) -> Result<Picture, Failure> {
        let (wanted, limits) = (self.wanted.render, self.limits.render);
        self.with_native(map, frame, |opened, native, presentation| {
            render::render(&opened.head, native, &wanted, presentation, &limits)
        })
    }

    /// Reads and decodes a frame, and has it looked at.
    fn with_native<T, L>(&mut self, map: &FrameMap, frame: u32, look: L) -> Result<T, Failure>
    where
        L: FnOnce(&Opened, NativeFrame<'_>, Option<&Presentation<'_>>) -> Result<T, RenderError>,
    {
        let opened = &self.opened;
        let no_frame = Failure::NotFound { what: "frame" };
        let at = map.frame(frame).ok_or(no_frame)?;
        let length_max = self.limits.render.native_frame_bytes_max;
        if at.length_bytes > length_max {
            let detail = "the frame is too large to be rendered".to_owned();
            return Err(Failure::TooLarge { detail });
        }
        let native = opened.form.frame_bits().div_ceil(8);
        let surplus = at.length_bytes.saturating_sub(native).saturating_mul(2);
        self.memory.need(self.bytes.saturating_add(surplus))?;
        let end = at.offset.saturating_add(at.length_bytes);
        let bytes = opened.content.read(&(at.offset..end))?;
        let mut native = at.frame(bytes)?;
        let mut form = opened.form;
        if at.is_encoded() {
            let decoders = self.decoders.as_ref();
            let decoders = decoders.ok_or_else(|| Failure::NotAcceptable {
                available: "application/dicom".to_owned(),
            })?;
            native = decoders.decode_frame(&opened.syntax, &form, native)?;
            form = native_form(&opened.syntax, &form);
        }
        let native_frame = NativeFrame {
            form: &form,
            bytes: &native,
            is_float: opened.place.tag != tags::PIXEL_DATA,
            number: frame,
        };
        let presentation = opened.state.as_ref().map(|(kind, state)| Presentation {
            kind: *kind,
            state,
            instance: &opened.instance,
            frame: native_frame.number,
        });
        Ok(look(opened, native_frame, presentation.as_ref())?)
    }

    /// Hundredths of a second between two frames (PS3.3 C.7.6.5).
    fn delay(&self) -> u16 {
        let root = self.opened.head.root();
        let of_rate = |tag| {
            root.number(tag)
                .filter(|rate| *rate > 0.0)
                .map(|rate| 100.0 / rate)
        };
        let milliseconds = root.number(tags::FRAME_TIME).filter(|time| *time > 0.0);
        let delay = of_rate(tags::RECOMMENDED_DISPLAY_FRAME_RATE)
            .or_else(|| of_rate(tags::CINE_RATE))
            .or_else(|| milliseconds.map(|time| time / 10.0));
        let delay = delay.unwrap_or(DELAY_DEFAULT).clamp(2.0, 1000.0).round();
        format!("{delay}").parse().unwrap_or(10)
    }
}
