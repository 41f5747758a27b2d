//! From a stored instance to the bytes of a picture.
//!
//! Reading, rendering and encoding run in threads that may block, a bounded number at a time and
//! within a budget of memory; frames are decoded by the worker processes.

use super::Wanted;
use crate::content::Content;
use crate::error::Failure;
use crate::limits::WebLimits;
use crate::service::Web;
use crate::walk::DataSet as _;
use pacs_core::access::Get;
use pacs_core::convert::PixelForm;
use pacs_core::limits::ScanLimits;
use pacs_core::tag::tags;
use pacs_core::{Permit, TransferSyntaxUid};
use pacs_image::render::{self, Animation, NativeFrame, Picture, PictureFormat, Presentation};
use pacs_image::{
    Decoders, FrameMap, Head, ImageLimits, PixelDataPlace, ReadAt, RenderLimits, native_form,
};
use pacs_store::ReadError;
use pacs_store::index::StoredInstance;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Bytes of one permit of the budget.
const UNIT_BYTES: u64 = 1 << 20;

/// The tag, VR and length of pixel data, behind the head.
const PIXEL_DATA_HEADER_BYTES: u64 = 12;

/// Hundredths of a second that a picture of an animation is shown, where nothing says it.
const DELAY_DEFAULT: f64 = 10.0;

/// What all renderings share: turns to work, memory and decoders.
#[derive(Debug)]
pub(crate) struct Rendering {
    turns: Arc<Semaphore>,
    memory: Arc<Semaphore>,
    units: u32,
    queue_duration_max: Duration,
    decoders: Option<Decoders>,
}

const BUSY: Failure = Failure::Unavailable {
    detail: "too many pictures are being made at the moment",
};

impl Rendering {
    pub(crate) fn new(limits: &WebLimits, decoders: Option<Decoders>) -> Self {
        let limits = &limits.rendering;
        let units = u32::try_from(limits.memory_bytes_max / UNIT_BYTES).unwrap_or(1 << 20);
        let permits = usize::try_from(units).unwrap_or(1);
        Self {
            turns: Arc::new(Semaphore::new(limits.pictures_max.max(1))),
            memory: Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS))),
            units,
            queue_duration_max: limits.queue_duration_max,
            decoders,
        }
    }

    pub(super) async fn turn(&self) -> Result<OwnedSemaphorePermit, Failure> {
        let turn = Arc::clone(&self.turns).acquire_owned();
        let turn = timeout(self.queue_duration_max, turn).await;
        turn.map_err(|_elapsed| BUSY)?.map_err(|_closed| BUSY)
    }

    /// Memory for so many bytes, or for as many as there are.
    async fn memory(&self, bytes: u64) -> Result<OwnedSemaphorePermit, Failure> {
        let units = u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX);
        let units = units.clamp(1, self.units.max(1));
        let share = Arc::clone(&self.memory).acquire_many_owned(units);
        let share = timeout(self.queue_duration_max, share).await;
        share.map_err(|_elapsed| BUSY)?.map_err(|_closed| BUSY)
    }
}

/// What is shown: frames, from 1 on, of an instance. More than one make an animation.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    pub(crate) stored: StoredInstance,
    pub(crate) frames: Vec<u32>,
    /// The presentation state that is applied.
    pub(crate) presentation: Option<StoredInstance>,
}

/// Makes a picture. What comes out depends on the arguments and the stored bytes alone, so that it
/// can be kept under the digest of the instance, the frames, what is wanted and the format.
///
/// # Errors
/// [`Failure`].
pub(crate) async fn render(
    web: &Web,
    permit: &Permit<Get>,
    subject: Subject,
    wanted: &Wanted,
    format: PictureFormat,
) -> Result<Vec<u8>, Failure> {
    let rendering = web.rendering();
    let turn = rendering.turn().await?;
    let limits = web.limits().rendering.render;
    let (web_too, permit) = (web.clone(), permit.clone());
    let (stored, frames, state) = (subject.stored, subject.frames, subject.presentation);
    let first = frames.first().copied().unwrap_or(1);
    let opened = tokio::task::spawn_blocking(move || {
        let mut opened = Opened::open(&web_too, &permit, &stored, first, &limits)?;
        if let Some(state) = state {
            opened.state = Some(head_of(&web_too, &permit, &state)?);
        }
        Ok::<_, Failure>(opened)
    });
    let opened = opened.await.map_err(|_| Failure::Internal)??;
    let memory = rendering
        .memory(opened.bytes_needed(wanted, &limits)?)
        .await?;
    let decoders = rendering.decoders.clone();
    let wanted = wanted.clone();
    let handle = tokio::runtime::Handle::current();
    let work = tokio::task::spawn_blocking(move || {
        let _held = (turn, memory);
        let work = Work {
            opened,
            decoders,
            wanted,
            limits,
        };
        work.run(&frames, format, &handle)
    });
    work.await.map_err(|_| Failure::Internal)?
}

/// The whole of an instance without pixel data: a report, or a presentation state.
pub(super) fn head_of(
    web: &Web,
    permit: &Permit<Get>,
    stored: &StoredInstance,
) -> Result<Head, Failure> {
    let content = Content::open(web, permit, stored)?;
    let limits = web.limits().rendering;
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
    state: Option<Head>,
}

impl Opened {
    fn open(
        web: &Web,
        permit: &Permit<Get>,
        stored: &StoredInstance,
        frame: u32,
        limits: &RenderLimits,
    ) -> Result<Self, Failure> {
        let content = Content::open(web, permit, stored)?;
        let (syntax, length) = if content.is_as_stored() {
            let head_bytes = stored.instance.head_bytes;
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

    /// The frame, encoded and native; the picture in colour, as it is shown, and encoded.
    fn bytes_needed(&self, wanted: &Wanted, limits: &RenderLimits) -> Result<u64, Failure> {
        let native = self.form.frame_bits().div_ceil(8);
        let pixels = u64::from(self.form.rows).saturating_mul(self.form.columns.into());
        let shown = render::shown_size(&self.head, &self.form, &wanted.render, limits)?;
        let shown = u64::from(shown.0).saturating_mul(shown.1.into());
        let pictures = pixels
            .saturating_mul(3)
            .saturating_add(shown.saturating_mul(6));
        Ok(native.saturating_mul(2).saturating_add(pictures))
    }
}

/// What an inflated data set is in.
const EXPLICIT_LITTLE_ENDIAN: &str = "1.2.840.10008.1.2.1";

/// A data set that is read in threads that may block.
struct Source<'c>(&'c Content);

impl ReadAt for Source<'_> {
    type Error = ReadError;

    async fn read_at(&self, offset: u64, length: usize) -> Result<Vec<u8>, ReadError> {
        let end = offset.saturating_add(u64::try_from(length).unwrap_or(u64::MAX));
        self.0.read(&(offset..end))
    }
}

/// All that is needed to make a picture; blocks.
struct Work {
    opened: Opened,
    decoders: Option<Decoders>,
    wanted: Wanted,
    limits: RenderLimits,
}

impl Work {
    fn run(
        mut self,
        frames: &[u32],
        format: PictureFormat,
        handle: &tokio::runtime::Handle,
    ) -> Result<Vec<u8>, Failure> {
        let Opened {
            content,
            place,
            form,
            ..
        } = &self.opened;
        let source = Source(content);
        let limits = ImageLimits::default();
        let located = FrameMap::locate(&source, place, form, &limits);
        let map = handle.block_on(located)?;
        if let [only] = *frames {
            let picture = self.picture(&map, only)?;
            return Ok(picture.encode(format, &self.limits)?);
        }
        let mut animation = Animation::new(self.delay(), self.limits);
        for frame in frames {
            let (syntax, limits) = (&self.opened.syntax, &self.limits);
            self.opened.head = self.opened.head.of_frame(syntax, *frame, limits)?;
            let picture = self.picture(&map, *frame)?;
            animation.add(&picture)?;
        }
        Ok(animation.finish()?)
    }

    fn picture(&self, map: &FrameMap, frame: u32) -> Result<Picture, Failure> {
        let opened = &self.opened;
        let no_frame = Failure::NotFound { what: "frame" };
        let at = map.frame(frame).ok_or(no_frame)?;
        let length_max = self.limits.native_frame_bytes_max;
        if at.length_bytes > length_max {
            let detail = "the frame is too large to be rendered".to_owned();
            return Err(Failure::TooLarge { detail });
        }
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
        let presentation = opened.state.as_ref().map(|state| Presentation {
            state,
            instance: &opened.instance,
            frame: native_frame.number,
        });
        let (head, wanted) = (&opened.head, &self.wanted.render);
        let presentation = presentation.as_ref();
        Ok(render::render(
            head,
            native_frame,
            wanted,
            presentation,
            &self.limits,
        )?)
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
