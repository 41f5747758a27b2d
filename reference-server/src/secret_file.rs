//! Secrets that the settings name by a file.

use crate::limits::SECRET_FILE_BYTES_MAX;
use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// Mode bits of the file that nobody but owner and group may have.
const OTHERS: u32 = 0o007;

/// A secret. `Debug` does not show it.
#[derive(Clone)]
pub(crate) struct Secret(pub(crate) String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// Why a file has no secret.
#[derive(Debug, thiserror::Error)]
#[error("{of}: {path} has no secret")]
pub struct SecretFileError {
    /// The key of the settings.
    of: &'static str,
    /// Which file.
    path: String,
    /// Why, where it could not be read; else it is empty, or too long for one.
    source: Option<std::io::Error>,
}

/// The secret in the file that the settings name under the key `of`.
///
/// # Errors
/// [`SecretFileError`].
pub(crate) fn read(of: &'static str, path: &Path) -> Result<Secret, SecretFileError> {
    let fault = |source| SecretFileError {
        of,
        path: path.display().to_string(),
        source,
    };
    let mut text = String::new();
    let file = File::open(path).map_err(|error| fault(Some(error)))?;
    let is_open = file.metadata();
    let is_open = is_open.is_ok_and(|of| of.permissions().mode() & OTHERS != 0);
    let mut file = file.take(SECRET_FILE_BYTES_MAX + 1);
    let read = file.read_to_string(&mut text);
    let count = read.map_err(|error| fault(Some(error)))?;
    let secret = text.trim();
    if secret.is_empty() || count as u64 > SECRET_FILE_BYTES_MAX {
        return Err(fault(None));
    }
    if is_open {
        tracing::warn!(file = %path.display(), "others may read or change the secret");
    }
    Ok(Secret(secret.to_owned()))
}
