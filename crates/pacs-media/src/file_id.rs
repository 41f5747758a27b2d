//! File IDs: how a DICOMDIR names a file of its file-set (PS3.10 8.2, PS3.3 F.3.2.2).
//!
//! Up to eight components of up to eight characters out of `[A-Z0-9_]`. Media in the wild have
//! lower case, dots and longer names; what could lead out of the folder is refused.

use crate::limits::{COMPONENT_BYTES_MAX, COMPONENTS_MAX};

/// Why a File ID is not followed. Its text is left out: it may hold anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FileIdError {
    /// No component, or an empty one.
    #[error("it has an empty component")]
    Empty,
    /// A component that names something else than a file or folder in the folder before it: `.`,
    /// `..`, a separator, a drive, a control character.
    #[error("it could lead out of its folder")]
    Leads,
    /// More or longer components than any file system has.
    #[error("it is too long")]
    TooLong,
}

/// The name of a file below a file-set's folder: one component for each folder, then the file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(Vec<String>);

impl FileId {
    /// Reads the value of Referenced File ID (0004,1500): components between backslashes.
    ///
    /// # Errors
    /// [`FileIdError`].
    pub fn parse(value: &[u8]) -> Result<Self, FileIdError> {
        let text = String::from_utf8_lossy(value);
        let text = text.trim_end_matches(['\0', ' ']);
        if text.is_empty() {
            return Err(FileIdError::Empty);
        }
        let mut components = Vec::new();
        for component in text.split('\\') {
            if components.len() == COMPONENTS_MAX {
                return Err(FileIdError::TooLong);
            }
            let component = component.trim_matches(' ');
            check(component)?;
            components.push(component.to_owned());
        }
        Ok(Self(components))
    }

    /// Of components that are known to be good.
    #[must_use]
    pub(crate) fn of(components: Vec<String>) -> Self {
        Self(components)
    }

    /// Its components; at least one.
    #[must_use]
    pub fn components(&self) -> &[String] {
        &self.0
    }
}

impl std::fmt::Display for FileId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.join("/"))
    }
}

fn check(component: &str) -> Result<(), FileIdError> {
    if component.is_empty() {
        return Err(FileIdError::Empty);
    }
    if component.len() > COMPONENT_BYTES_MAX {
        return Err(FileIdError::TooLong);
    }
    let leads = component.chars().all(|c| c == '.')
        || component
            .chars()
            .any(|c| matches!(c, '/' | '\\' | ':' | '\u{fffd}') || c.is_control());
    if leads {
        return Err(FileIdError::Leads);
    }
    Ok(())
}

/// Whether a file that is called `name` on a medium is what a File ID calls `wanted`: in any case,
/// with the version `;1` of ISO 9660, with the dot it ends in there.
pub(crate) fn is_called(name: &[u8], wanted: &str) -> bool {
    let bare = |name: &[u8]| {
        let end = name.iter().rposition(|byte| *byte == b';');
        let version = end.and_then(|end| name.get(end..)).unwrap_or_default();
        let is_version = version.len() > 1 && version.iter().skip(1).all(u8::is_ascii_digit);
        let name = match end {
            Some(end) if is_version => name.get(..end).unwrap_or(name),
            _ => name,
        };
        name.strip_suffix(b".").unwrap_or(name).to_ascii_uppercase()
    };
    bare(name) == bare(wanted.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_id_is_its_components_without_padding() {
        let id = FileId::parse(b"PATIENT\\STUDY1 \\im0001.dcm ").unwrap();

        assert_eq!(id.components(), ["PATIENT", "STUDY1", "im0001.dcm"]);
    }

    #[test]
    fn nothing_that_could_lead_out_of_the_folder_is_a_file_id() {
        let hostile: [&[u8]; 18] = [
            b"",
            b" ",
            b"..",
            b".",
            b"...",
            b"..\\..\\etc\\passwd",
            b"A\\..\\..\\B",
            b"\\A",
            b"A\\",
            b"A\\\\B",
            b"/etc/passwd",
            b"../../etc/passwd",
            b"A/B",
            b"C:\\IMAGE",
            b"C:IMAGE",
            b"A\0B",
            b"A\\\xc0\xaf\\B",
            b"A\nB",
        ];
        for value in hostile {
            assert!(FileId::parse(value).is_err(), "{}", value.escape_ascii());
        }
        let long = "A\\".repeat(COMPONENTS_MAX) + "A";
        assert_eq!(FileId::parse(long.as_bytes()), Err(FileIdError::TooLong));
        let wide = "A".repeat(COMPONENT_BYTES_MAX + 1);
        assert_eq!(FileId::parse(wide.as_bytes()), Err(FileIdError::TooLong));
    }

    #[test]
    fn names_of_iso_media_are_recognized() {
        for name in [
            "IM0001",
            "im0001",
            "IM0001.",
            "IM0001;1",
            "IM0001.;1",
            "Im0001.;12",
        ] {
            assert!(is_called(name.as_bytes(), "IM0001"), "{name}");
        }
        for name in ["IM00012", "IM0001;", "IM0001;x", "IM0001.dcm"] {
            assert!(!is_called(name.as_bytes(), "IM0001"), "{name}");
        }
    }
}
