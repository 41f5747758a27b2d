//! Files of descriptions that need nothing beside them, as those of reports.

use super::bulk::BulkParts;
use super::layout::{Piece, compose};
use super::{Described, DescribedError, json, xml};
use crate::limits::{ModelLimits, WebLimits};

/// Why no file is made of a description. Shows no values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct ComposeError(#[from] DescribedError);

/// The files (PS3.10) of the data sets that `text` describes in the DICOM JSON model (PS3.18 F):
/// what STOW-RS makes of it. Bulk data that stands elsewhere is never fetched.
///
/// # Errors
/// [`ComposeError`] of the text as a whole, or of one of its data sets.
pub fn files_of_json(
    text: &[u8],
    limits: &WebLimits,
) -> Result<Vec<Result<Vec<u8>, ComposeError>>, ComposeError> {
    let places = json::find(text, limits.metadata_nodes_max, limits.multipart.parts_max)?;
    let files = places.into_iter().map(|place| {
        let text = text.get(place.text).unwrap_or_default();
        file(&json::read(text)?)
    });
    Ok(files.collect())
}

/// The file of the data set that `text` describes in the Native DICOM Model (PS3.19 A.1).
///
/// # Errors
/// [`ComposeError`].
pub fn file_of_xml(text: &[u8], limits: &ModelLimits) -> Result<Vec<u8>, ComposeError> {
    file(&xml::read(text, limits)?)
}

fn file(described: &Described) -> Result<Vec<u8>, ComposeError> {
    let mut out = Vec::new();
    for piece in compose(described, &mut BulkParts::default())? {
        match piece {
            Piece::Bytes(bytes) => out.extend(bytes),
            // Of no parts there is none.
            Piece::Bulk(_) => {}
        }
    }
    Ok(out)
}
