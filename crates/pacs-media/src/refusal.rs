//! Why something that was found is not taken.

use crate::content::Place;
use crate::file_id::FileIdError;
use crate::folder::OpenError;
use crate::zip::ZipError;
use pacs_core::instance::InstanceError;
use pacs_core::scan::file::FileError;
use std::io;

/// Something that is not taken, and why.
#[derive(Debug)]
pub struct Refused {
    /// Where it stands.
    pub place: Place,
    /// Why it is not taken.
    pub why: Refusal,
}

/// Why something is not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// It is the directory of a file-set, which is no instance.
    #[error("it is a DICOMDIR, not an instance")]
    Directory,
    /// A DICOMDIR cannot be read.
    #[error("DICOMDIR cannot be read")]
    Dicomdir(#[source] crate::dicomdir::DirectoryError),
    /// It says that it is a DICOM file, but is broken.
    #[error("File Meta Information is broken")]
    File(#[source] FileError),
    /// A DICOMDIR names a file in a way that cannot be followed.
    #[error("File ID in the DICOMDIR cannot be followed")]
    FileId(#[source] FileIdError),
    /// A DICOMDIR names a file that is not there.
    #[error("the DICOMDIR names it, but it is not there")]
    Missing,
    /// A folder within more folders than are followed.
    #[error("folders are nested too deeply")]
    Nested,
    /// It is no DICOM file.
    #[error("not a DICOM file")]
    NotDicom,
    /// It is a DICOM file, but no instance that can be kept.
    #[error("not an instance")]
    NotAnInstance(#[source] InstanceError),
    /// An image of an Orthanc storage without its pixel data: Orthanc keeps such beginnings of
    /// files beside the files.
    #[error("it is the beginning of an image without its pixel data")]
    NoPixelData,
    /// It cannot be opened.
    #[error("cannot be opened")]
    Open(#[source] OpenError),
    /// It cannot be read.
    #[error("cannot be read")]
    Read(#[source] io::Error),
    /// A ZIP archive, or an entry of one, is not as it must be.
    #[error("ZIP archive")]
    Zip(#[source] ZipError),
}

impl Refusal {
    /// Whether it is nothing that anybody would miss in an archive: no DICOM file, or a DICOMDIR.
    #[must_use]
    pub const fn is_skip(&self) -> bool {
        matches!(self, Self::Directory | Self::NotDicom)
    }

    /// A word for it that programs may look for.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Directory => "dicomdir",
            Self::Dicomdir(_) => "dicomdir-broken",
            Self::File(_) => "file-meta",
            Self::FileId(_) => "file-id",
            Self::Missing => "missing",
            Self::Nested => "nested",
            Self::NotDicom => "not-dicom",
            Self::NotAnInstance(_) => "not-an-instance",
            Self::NoPixelData => "no-pixel-data",
            Self::Open(_) => "open",
            Self::Read(_) => "read",
            Self::Zip(_) => "zip",
        }
    }
}
