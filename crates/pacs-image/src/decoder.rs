//! Fragments in, native frames out: finds the frames and gives each to its codec.

use crate::bits::Joint;
use crate::codec::{Codec, Frame};
use crate::frames::Frames;
use crate::limits::ImageLimits;
use pacs_core::convert::{PixelDecoder, PixelError, PixelForm};

/// The pixel data of one data set, frame after frame.
#[derive(Debug)]
pub(crate) struct Decoder {
    codec: Codec,
    limits: ImageLimits,
    /// The pixel data that has begun.
    current: Option<Current>,
}

#[derive(Debug)]
struct Current {
    form: PixelForm,
    frames: Frames,
    is_first_fragment: bool,
    /// Frames that are whole and not decoded: the one before the fragment that begins, or the last.
    frame: Option<Frame>,
    /// Where frames end within a byte.
    joint: Option<(Joint, u64)>,
    has_ended: bool,
}

impl Decoder {
    pub(crate) const fn new(codec: Codec, limits: &ImageLimits) -> Self {
        Self {
            codec,
            limits: *limits,
            current: None,
        }
    }

    fn current(&mut self) -> Result<(&mut Current, Codec), PixelError> {
        let what = "fragments outside pixel data";
        let current = self.current.as_mut().ok_or(PixelError::Damaged { what })?;
        Ok((current, self.codec))
    }
}

impl Current {
    fn begin(&mut self, codec: Codec, encoded: Option<Vec<u8>>) -> Result<(), PixelError> {
        if let Some(encoded) = encoded {
            self.frame = Some(codec.begin(&self.form, encoded)?);
            if let Some((_, bits_left)) = &mut self.joint {
                *bits_left = self.form.frame_bits();
            }
        }
        Ok(())
    }
}

impl PixelDecoder for Decoder {
    fn begin(&mut self, form: &PixelForm) -> Result<(), PixelError> {
        let what = "no pixels";
        if form.frame_bits() == 0 || form.frames == 0 {
            return Err(PixelError::Unsupported { what });
        }
        self.codec.check(form)?;
        let is_joined = form.frame_bits() & 7 != 0;
        self.current = Some(Current {
            form: *form,
            frames: Frames::new(form.frames, self.limits),
            is_first_fragment: true,
            frame: None,
            joint: is_joined.then(|| (Joint::default(), 0)),
            has_ended: false,
        });
        Ok(())
    }

    fn fragment(&mut self, length_bytes: u64) -> Result<(), PixelError> {
        let (current, codec) = self.current()?;
        let is_first = std::mem::take(&mut current.is_first_fragment);
        let whole = current.frames.fragment(length_bytes, is_first)?;
        current.begin(codec, whole)
    }

    fn push(&mut self, bytes: &[u8]) -> Result<(), PixelError> {
        let (current, _) = self.current()?;
        current.frames.push(bytes);
        Ok(())
    }

    fn end(&mut self) -> Result<(), PixelError> {
        let (current, codec) = self.current()?;
        let whole = current.frames.end();
        current.begin(codec, whole)?;
        current.has_ended = true;
        Ok(())
    }

    fn read(&mut self, out: &mut Vec<u8>, bytes_max: usize) -> Result<(), PixelError> {
        let (current, _) = self.current()?;
        if let Some(frame) = &mut current.frame {
            let Some((joint, bits_left)) = &mut current.joint else {
                if !frame.read(out, bytes_max)? {
                    current.frame = None;
                }
                return Ok(());
            };
            let mut piece = Vec::new();
            while frame.read(&mut piece, bytes_max)? {
                let before = out.len();
                joint.push(&piece, *bits_left, out);
                let bits = u64::try_from(piece.len()).unwrap_or(u64::MAX);
                *bits_left = bits_left.saturating_sub(bits.saturating_mul(8));
                if out.len() > before {
                    return Ok(());
                }
                piece.clear();
            }
            current.frame = None;
        }
        if current.has_ended
            && let Some((joint, _)) = &mut current.joint
        {
            joint.end(out);
        }
        Ok(())
    }

    fn bytes_held(&self) -> u64 {
        let held = self.current.as_ref().map_or(0, |current| {
            let frame = current.frame.as_ref().map_or(0, Frame::bytes_held);
            frame.saturating_add(current.frames.bytes_held())
        });
        u64::try_from(held).unwrap_or(u64::MAX)
    }
}
