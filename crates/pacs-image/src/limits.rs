//! Every bound on what pixel data can make us hold and wait for.

use std::time::Duration;

/// Bounds of the decoders. Over any of them decoding ends with
/// [`pacs_core::convert::PixelError::TooLarge`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageLimits {
    /// Bytes of one encoded frame, which is held while it is decoded. The largest real ones,
    /// mammograms and scanned films, have some ten million.
    pub encoded_frame_bytes_max: u64,
    /// Bytes of an offset table (PS3.5 A.4): four for each frame.
    pub offset_table_bytes_max: u64,
    /// Bytes of one native frame, for the codecs that decode frames whole: the frame is held, and
    /// several times as much while it is decoded. The largest real ones, scanned films and slices
    /// of tomosynthesis, have some ten million pixels.
    pub native_frame_bytes_max: u64,
    /// Frames that a [`crate::FrameMap`] lists: eight to sixteen bytes are held for each.
    pub frames_max: u32,
    /// Fragments that are walked to find frames where no table says where they are.
    pub fragments_max: u32,
}

impl Default for ImageLimits {
    fn default() -> Self {
        Self {
            encoded_frame_bytes_max: 64 << 20,
            offset_table_bytes_max: 4 << 20,
            native_frame_bytes_max: 128 << 20,
            frames_max: 1 << 20,
            fragments_max: 1 << 20,
        }
    }
}

/// Bounds of the worker processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkerLimits {
    /// Workers at a time, each with one frame. Over it a frame waits for `queue_duration_max`.
    pub workers_max: usize,
    /// Address space of a worker, its program included. Over it the allocation fails, and with it
    /// the frame. Has to hold about twelve times [`ImageLimits::native_frame_bytes_max`] for
    /// JPEG 2000 of that size; real frames need some hundred million bytes.
    pub memory_bytes_max: u64,
    /// From the frame being sent to its being decoded. Over it the worker is killed.
    pub frame_duration_max: Duration,
    /// How long a frame waits for a worker; after it
    /// [`PixelError::Worker`](pacs_core::convert::PixelError::Worker).
    pub queue_duration_max: Duration,
    /// Frames after which a worker is replaced, so that what one of them left behind does not stay.
    pub frames_max: u32,
}

impl Default for WorkerLimits {
    fn default() -> Self {
        Self {
            workers_max: crate::worker::processors().clamp(1, 16),
            memory_bytes_max: 2 << 30,
            frame_duration_max: Duration::from_secs(20),
            queue_duration_max: Duration::from_secs(30),
            frames_max: 1000,
        }
    }
}

/// Bounds of rendering.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RenderLimits {
    /// Bytes before the pixel data that are held to render an instance. Those of whole slide images
    /// with tens of thousands of frames have some ten million.
    pub head_bytes_max: u64,
    /// Elements of a head that are kept, those of the functional groups of other frames left out.
    pub head_elements_max: usize,
    /// Bytes of one native frame that is rendered.
    pub native_frame_bytes_max: u64,
    /// Pixels of a rendered picture, and of every one on the way to it.
    pub picture_pixels_max: u64,
    /// Pixels of an edge of a rendered picture: JPEG and GIF have no more.
    pub picture_edge_max: u32,
    /// Frames of an animation.
    pub animation_frames_max: u32,
    /// Pixels of all frames of an animation: choosing 256 colours takes a third of a second for
    /// each million.
    pub animation_pixels_max: u64,
    /// Bytes of an encoded animation.
    pub animation_bytes_max: usize,
    /// Overlays that are drawn: there are sixteen groups for them (PS3.3 C.9.2).
    pub overlays_max: usize,
    /// Characters of one line of annotation.
    pub annotation_chars_max: usize,
    /// Pixels that the graphics of a presentation state set, counted as often as they are set:
    /// what comes behind them is not drawn.
    pub graphic_pixels_max: u64,
    /// Lines of the texts of a presentation state that are written.
    pub graphic_lines_max: usize,
}

impl Default for RenderLimits {
    fn default() -> Self {
        Self {
            head_bytes_max: 64 << 20,
            head_elements_max: 200_000,
            native_frame_bytes_max: 128 << 20,
            picture_pixels_max: 64 << 20,
            picture_edge_max: 65_535,
            animation_frames_max: 500,
            animation_pixels_max: 128 << 20,
            animation_bytes_max: 64 << 20,
            overlays_max: 16,
            annotation_chars_max: 64,
            graphic_pixels_max: 32 << 20,
            graphic_lines_max: 500,
        }
    }
}
