//! Pictures of eight bits as JPEG files (ITU-T T.81, baseline).
//!
//! One function, in a crate of its own. The encoder behind it is generic over where it writes, so
//! that its loops are compiled in the crate that calls it, with that crate's settings. All else
//! that is ours checks every addition for overflow in release builds too, since it adds what peers
//! declare; the encoder gets samples and sizes that were made here, and with the checks it needs
//! half as long again. The workspace's profile turns them off for this crate alone.

/// What the samples of a picture are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Samples<'a> {
    /// One byte for each pixel: 0 is black.
    Grey(&'a [u8]),
    /// Three bytes for each pixel: red, green, blue.
    Rgb(&'a [u8]),
}

/// A picture that has no JPEG file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no JPEG file of {width} x {height} pixels from {samples} samples")]
pub struct EncodeError {
    /// Columns.
    pub width: u16,
    /// Rows.
    pub height: u16,
    /// Bytes that were given.
    pub samples: usize,
}

/// The JPEG file of a picture, its rows one after another from the top; `quality` as IJG counts
/// it, what is beyond 1 to 100 counts as its end.
///
/// # Errors
/// [`EncodeError`] where there is no pixel, or fewer samples than pixels need.
pub fn encode(
    samples: Samples<'_>,
    width: u16,
    height: u16,
    quality: u8,
) -> Result<Vec<u8>, EncodeError> {
    let (bytes, kind) = match samples {
        Samples::Grey(bytes) => (bytes, jpeg_encoder::ColorType::Luma),
        Samples::Rgb(bytes) => (bytes, jpeg_encoder::ColorType::Rgb),
    };
    let mut out = Vec::new();
    let encoder = jpeg_encoder::Encoder::new(&mut out, quality.clamp(1, 100));
    let encoded = encoder.encode(bytes, width, height, kind);
    encoded.map_err(|_| EncodeError {
        width,
        height,
        samples: bytes.len(),
    })?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_becomes_a_baseline_file_of_its_size() {
        let file = encode(Samples::Grey(&[7; 6 * 4]), 6, 4, 90).unwrap();
        assert!(file.starts_with(&[0xFF, 0xD8, 0xFF]));
        assert!(file.ends_with(&[0xFF, 0xD9]));
        // SOF0, its length, eight bits, rows, columns, one component (T.81 B.2.2).
        let frame = [0xFF, 0xC0, 0, 11, 8, 0, 4, 0, 6, 1];
        assert!(file.windows(frame.len()).any(|part| part == frame));

        let colour = encode(Samples::Rgb(&[7; 6 * 4 * 3]), 6, 4, 255).unwrap();
        let frame = [0xFF, 0xC0, 0, 17, 8, 0, 4, 0, 6, 3];
        assert!(colour.windows(frame.len()).any(|part| part == frame));
    }

    #[test]
    fn too_few_samples_and_no_pixel_are_refused() {
        let refused = encode(Samples::Rgb(&[0; 6 * 4]), 6, 4, 90).unwrap_err();
        let message = "no JPEG file of 6 x 4 pixels from 24 samples";
        assert_eq!(refused.to_string(), message);
        assert!(encode(Samples::Grey(&[]), 0, 4, 90).is_err());
    }
}
