//! Fragments in, native frames out: finds the frames and gives each to its codec.

use crate::bits::Joint;
use crate::codec::Codec;
use crate::decoders::{Decoders, Frame};
use crate::frames::Frames;
use pacs_core::convert::{Photometric, PixelDecoder, PixelError, PixelForm};

/// The pixel data of one data set, frame after frame.
#[derive(Debug)]
pub(crate) struct Decoder {
    codec: Codec,
    decoders: Decoders,
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
    pub(crate) const fn new(codec: Codec, decoders: Decoders) -> Self {
        Self {
            codec,
            decoders,
            current: None,
        }
    }

    fn current(&mut self) -> Result<&mut Current, PixelError> {
        let what = "fragments outside pixel data";
        self.current.as_mut().ok_or(PixelError::Damaged { what })
    }

    /// Begins to decode a frame that is whole.
    fn begin_frame(&mut self, encoded: Option<Vec<u8>>) -> Result<(), PixelError> {
        let (Some(encoded), Some(current)) = (encoded, &mut self.current) else {
            return Ok(());
        };
        let frame = self.decoders.begin(self.codec, &current.form, encoded)?;
        current.frame = Some(frame);
        if let Some((_, bits_left)) = &mut current.joint {
            *bits_left = current.form.frame_bits();
        }
        Ok(())
    }
}

impl PixelDecoder for Decoder {
    fn native_photometric(&self, photometric: Photometric) -> Option<&'static str> {
        self.codec.native_photometric(photometric)
    }

    fn begin(&mut self, form: &PixelForm) -> Result<(), PixelError> {
        self.decoders.check(self.codec, form)?;
        let is_joined = form.frame_bits() & 7 != 0;
        self.current = Some(Current {
            form: *form,
            frames: Frames::new(self.codec, form.frames, *self.decoders.limits()),
            is_first_fragment: true,
            frame: None,
            joint: is_joined.then(|| (Joint::default(), 0)),
            has_ended: false,
        });
        Ok(())
    }

    fn fragment(&mut self, length_bytes: u64) -> Result<(), PixelError> {
        let current = self.current()?;
        let is_first = std::mem::take(&mut current.is_first_fragment);
        let whole = current.frames.fragment(length_bytes, is_first)?;
        self.begin_frame(whole)
    }

    fn push(&mut self, bytes: &[u8]) -> Result<(), PixelError> {
        let whole = self.current()?.frames.push(bytes)?;
        self.begin_frame(whole)
    }

    fn end(&mut self) -> Result<(), PixelError> {
        let current = self.current()?;
        let whole = current.frames.end();
        current.has_ended = true;
        self.begin_frame(whole)
    }

    fn read(&mut self, out: &mut Vec<u8>, bytes_max: usize) -> Result<(), PixelError> {
        let current = self.current()?;
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
