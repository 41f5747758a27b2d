//! What goes between the pool and a worker: fixed numbers, little endian, and bytes behind them
//! whose number is checked against a bound before they are read.

use crate::codec::Codec;
use pacs_core::convert::{Photometric, PixelError, PixelForm};
use std::io::{self, Read, Write};

/// Bytes of a request before the frame.
const REQUEST_BYTES: usize = 24;

/// Bytes of an answer before the frame.
pub(super) const ANSWER_BYTES: usize = 16;

/// All that decoding depends on, each at the place that is its number.
const PHOTOMETRICS: [Photometric; 11] = [
    Photometric::Other,
    Photometric::Monochrome1,
    Photometric::Monochrome2,
    Photometric::PaletteColor,
    Photometric::Rgb,
    Photometric::YbrFull,
    Photometric::YbrFull422,
    Photometric::YbrIct,
    Photometric::YbrPartial420,
    Photometric::YbrPartial422,
    Photometric::YbrRct,
];

/// What is to be done with a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Decode,
    Encode,
}

/// A frame to be decoded or encoded.
pub(super) struct Request {
    pub(super) operation: Operation,
    pub(super) codec: Codec,
    pub(super) form: PixelForm,
    pub(super) frame: Vec<u8>,
}

impl Request {
    /// The bytes that go before the frame.
    pub(super) fn header(
        operation: Operation,
        codec: Codec,
        form: &PixelForm,
        frame: &[u8],
    ) -> Vec<u8> {
        let photometric = PHOTOMETRICS.iter().position(|p| *p == form.photometric);
        let photometric = photometric.and_then(|at| u8::try_from(at).ok());
        let flags = [form.is_signed, form.is_planar, form.is_subsampled];
        let numbers = [
            form.rows,
            form.columns,
            form.samples_per_pixel,
            form.bits_allocated,
            form.bits_stored,
        ];
        let mut header = Vec::with_capacity(REQUEST_BYTES);
        header.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        header.extend(flags.map(u8::from));
        header.push(photometric.unwrap_or(0));
        header.push(codec.number());
        header.push(u8::from(operation == Operation::Encode));
        let length = u64::try_from(frame.len()).unwrap_or(u64::MAX);
        header.extend(length.to_le_bytes());
        header
    }

    /// The next one; `None` where there are no more.
    pub(super) fn read(input: &mut impl Read, bytes_max: u64) -> io::Result<Option<Self>> {
        let mut header = [0; REQUEST_BYTES];
        if input.read(header.get_mut(..1).unwrap_or_default())? == 0 {
            return Ok(None);
        }
        input.read_exact(header.get_mut(1..).unwrap_or_default())?;
        let wrong = || io::Error::from(io::ErrorKind::InvalidData);
        let (numbers, rest) = header.split_at(10);
        let mut numbers = numbers.as_chunks::<2>().0.iter();
        let mut number = || numbers.next().map(|two| u16::from_le_bytes(*two));
        let mut next = || number().ok_or_else(wrong);
        let ([signed, planar, subsampled, photometric, codec, operation], length) =
            rest.split_first_chunk().ok_or_else(wrong)?;
        let form = PixelForm {
            rows: next()?,
            columns: next()?,
            samples_per_pixel: next()?,
            bits_allocated: next()?,
            bits_stored: next()?,
            is_signed: *signed != 0,
            photometric: PHOTOMETRICS
                .get(usize::from(*photometric))
                .copied()
                .unwrap_or_default(),
            is_planar: *planar != 0,
            is_subsampled: *subsampled != 0,
            frames: 1,
        };
        let codec = Codec::numbered(*codec).ok_or_else(wrong)?;
        let length = u64::from_le_bytes(*length.first_chunk().ok_or_else(wrong)?);
        if length > bytes_max {
            return Err(wrong());
        }
        let mut frame = Vec::new();
        let read = input.take(length).read_to_end(&mut frame)?;
        if u64::try_from(read).unwrap_or(0) < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let operation = match operation {
            0 => Operation::Decode,
            _ => Operation::Encode,
        };
        Ok(Some(Self {
            operation,
            codec,
            form,
            frame,
        }))
    }
}

/// What came of a frame. Bytes of it follow where it was decoded or encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    Decoded { length_bytes: u64 },
    Damaged,
    Unsupported,
}

impl Answer {
    pub(super) fn of(decoded: &Result<Vec<u8>, PixelError>) -> Self {
        match decoded {
            Ok(frame) => Self::Decoded {
                length_bytes: u64::try_from(frame.len()).unwrap_or(u64::MAX),
            },
            Err(PixelError::Unsupported { .. }) => Self::Unsupported,
            Err(_) => Self::Damaged,
        }
    }

    pub(super) fn write(self, output: &mut impl Write) -> io::Result<()> {
        let (kind, length) = match self {
            Self::Decoded { length_bytes } => (0_u64, length_bytes),
            Self::Damaged => (1, 0),
            Self::Unsupported => (2, 0),
        };
        output.write_all(&[kind.to_le_bytes(), length.to_le_bytes()].concat())
    }

    pub(super) fn read(bytes: &[u8; ANSWER_BYTES]) -> Option<Self> {
        let mut numbers = bytes.as_chunks::<8>().0.iter();
        let kind = numbers.next().map(|eight| u64::from_le_bytes(*eight))?;
        let length_bytes = numbers.next().map(|eight| u64::from_le_bytes(*eight))?;
        match kind {
            0 => Some(Self::Decoded { length_bytes }),
            1 => Some(Self::Damaged),
            2 => Some(Self::Unsupported),
            _ => None,
        }
    }
}
