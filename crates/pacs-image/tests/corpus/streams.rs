//! What holds for frames of random bytes. The fuzz targets `code_stream` and `frame_map` and the
//! replay of their corpora share it.

use pacs_core::TransferSyntaxUid;
use pacs_core::convert::{Photometric, PixelForm};
use pacs_core::limits::ScanLimits;
use pacs_image::{Decoders, FrameMap, ImageLimits, PixelDataPlace, ReadAt};

/// Frames that are larger take too long here.
const PIXELS_MAX: u32 = 1 << 16;

fn uid(name: &str) -> TransferSyntaxUid {
    TransferSyntaxUid::parse(name).expect("a known UID")
}

/// A frame of JPEG, JPEG lossless or JPEG-LS, behind the checks that stand before every decoder.
/// The first byte chooses codec and form; rows, columns and components are those that the bytes
/// say, so that what is behind the checks is reached. Whether it was decoded: to as many bytes as
/// the form says.
pub(crate) fn code_stream(input: &[u8]) -> bool {
    let Some((&choice, encoded)) = input.split_first() else {
        return false;
    };
    let Some((rows, columns, components)) = size(encoded) else {
        return false;
    };
    if u32::from(rows) * u32::from(columns) > PIXELS_MAX {
        return false;
    }
    let (bits_allocated, bits_stored) = if choice & 4 == 0 { (8, 8) } else { (16, 12) };
    let form = PixelForm {
        rows,
        columns,
        samples_per_pixel: u16::from(components),
        bits_allocated,
        bits_stored,
        is_signed: choice & 8 != 0,
        photometric: if choice & 16 == 0 {
            Photometric::YbrFull422
        } else {
            Photometric::Rgb
        },
        is_planar: choice & 32 != 0,
        is_subsampled: false,
        frames: 1,
    };
    let syntax = uid([
        "1.2.840.10008.1.2.4.50",
        "1.2.840.10008.1.2.4.51",
        "1.2.840.10008.1.2.4.70",
        "1.2.840.10008.1.2.4.80",
    ][usize::from(choice & 3)]);
    let decoders = Decoders::in_process(ImageLimits::default());
    let decoded = decoders.decode_frame(&syntax, &form, encoded.to_vec());
    if let Ok(frame) = &decoded {
        assert_eq!(frame.len() as u64, form.frame_bits().div_ceil(8));
    }
    decoded.is_ok()
}

/// What the first frame header says.
fn size(encoded: &[u8]) -> Option<(u16, u16, u8)> {
    let is_header = |bytes: &[u8]| bytes[0] == 0xFF && matches!(bytes[1], 0xC0..=0xC3 | 0xF7);
    let at = encoded.windows(2).position(is_header)?;
    let [r0, r1, c0, c1, components] = *encoded.get(at + 5..)?.first_chunk()?;
    let rows = u16::from_be_bytes([r0, r1]);
    Some((rows, u16::from_be_bytes([c0, c1]), components))
}

/// The frames of a data set: whatever its tables say, a frame is no more than the bytes that were
/// read for it. Whether all were found.
pub(crate) fn frame_map(input: &[u8]) -> bool {
    let Some(([choice, frames, columns], data_set)) = input.split_first_chunk() else {
        return false;
    };
    let syntax = uid([
        "1.2.840.10008.1.2.5",
        "1.2.840.10008.1.2.4.50",
        "1.2.840.10008.1.2",
        "1.2.840.10008.1.2.2",
    ][usize::from(choice & 3)]);
    let bits_allocated = [1, 8, 16, 32][usize::from(choice >> 2 & 3)];
    let form = PixelForm {
        rows: 3,
        columns: u16::from(*columns),
        samples_per_pixel: 1,
        bits_allocated,
        bits_stored: bits_allocated,
        is_signed: false,
        photometric: Photometric::Monochrome2,
        is_planar: false,
        is_subsampled: false,
        frames: u32::from(*frames) + 1,
    };
    let Ok(Some(place)) = PixelDataPlace::of_head(data_set, &syntax, &ScanLimits::default()) else {
        return false;
    };
    let limits = ImageLimits::default();
    let Ok(map) = FrameMap::locate(&data_set, &place, &form, &limits) else {
        return false;
    };
    let found = |number| {
        let Some(location) = map.frame(number) else {
            return false;
        };
        let length = usize::try_from(location.length_bytes).unwrap_or(usize::MAX);
        let Ok(bytes) = data_set.read_at(location.offset, length);
        let read = bytes.len();
        let Ok(frame) = location.frame(bytes) else {
            return false;
        };
        assert!(frame.len() <= read);
        if !location.is_encoded() {
            assert_eq!(frame.len() as u64, form.frame_bits().div_ceil(8));
        }
        true
    };
    (1..=map.frames()).all(found)
}
