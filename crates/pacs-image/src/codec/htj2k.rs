//! High-Throughput JPEG 2000, lossless, the other way: by openjph-core (ISO/IEC 15444-15).
//!
//! One tile, the reversible wavelet, resolutions one after the other (RPCL), no transformation of
//! colour: Photometric Interpretation stays what it is. PS3.5 A.4.14 and 10.17.

use openjph_core::codestream::Codestream;
use openjph_core::file::MemOutfile;
use openjph_core::types::{Point, Size};
use pacs_core::convert::{PixelError, PixelForm};

/// The lowest resolution has at most so many rows and columns.
const LOWEST_MAX: u16 = 64;

/// Resolutions below the full one, where the image is not too small for them.
const DECOMPOSITIONS: u32 = 5;

/// How often the image is halved: five times where it can be, and as often as it takes to the
/// lowest resolution.
fn decompositions(form: &PixelForm) -> u32 {
    let (shorter, longer) = (form.rows.min(form.columns), form.rows.max(form.columns));
    let possible = shorter.max(1).ilog2().min(DECOMPOSITIONS);
    let needed = longer.div_ceil(LOWEST_MAX).next_power_of_two().ilog2();
    possible.max(needed)
}

/// Encodes `planes`, one for each sample, of `precision` bits, in code blocks of `block` rows and
/// columns.
pub(super) fn encode(
    form: &PixelForm,
    precision: u32,
    planes: &[Vec<i32>],
    block: u32,
) -> Result<Vec<u8>, PixelError> {
    let failed = |_error| PixelError::Unsupported {
        what: "a frame that the encoder of HTJ2K is not for",
    };
    let (columns, rows) = (u32::from(form.columns), u32::from(form.rows));
    let count = u32::try_from(planes.len()).unwrap_or(u32::MAX);
    let mut stream = Codestream::new();
    let size = stream.access_siz_mut();
    size.set_image_extent(Point::new(columns, rows));
    size.set_tile_size(Size::new(columns, rows));
    size.set_num_components(count);
    for component in 0..count {
        size.set_comp_info(component, Point::new(1, 1), precision, form.is_signed);
    }
    let style = stream.access_cod_mut();
    style.set_reversible(true);
    style.set_color_transform(false);
    style.set_block_dims(block, block);
    style.set_num_decomposition(decompositions(form));
    style.set_progression_order("RPCL").map_err(failed)?;
    stream.request_tlm_marker(true);
    stream.set_planar(0);
    let mut file = MemOutfile::new();
    stream.write_headers(&mut file, &[]).map_err(failed)?;
    let columns = usize::from(form.columns);
    let mut lines: Vec<_> = planes.iter().map(|plane| plane.chunks(columns)).collect();
    for _ in 0..rows {
        for (component, lines) in (0..).zip(&mut lines) {
            let line = lines.next().unwrap_or_default();
            stream.exchange(line, component).map_err(failed)?;
        }
    }
    stream.flush(&mut file).map_err(failed)?;
    Ok(file.get_data().to_vec())
}
