//! Reads which files a DICOMDIR names.
//!
//! All records of the directory record sequence are read in the order they stand there; offsets
//! between them are not followed, so that neither wrong nor circular ones matter (PS3.3 F.2.2).

use crate::file_id::{FileId, FileIdError};
use crate::inspect::DIRECTORY_CLASS;
use crate::limits::MediaLimits;
use pacs_core::SopClassUid;
use pacs_core::scan::file::{self, FileError};
use pacs_core::scan::{Encoding, Event, ScanError, Scanner};
use pacs_core::tag::{Tag, tags};

/// Why a file is not read as a DICOMDIR.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DirectoryError {
    /// It is no DICOM file.
    #[error("it is not a DICOM file")]
    File(#[source] FileError),
    /// It is something else.
    #[error("it is not the directory of a file-set")]
    NotADirectory,
    /// It is longer, or has more records, than are read.
    #[error("it is too large")]
    TooLarge,
}

/// What a DICOMDIR says.
#[derive(Debug)]
pub struct Directory {
    /// The files that its active records name.
    pub references: Vec<Reference>,
    /// Why reading ended before the end, if it did.
    pub damage: Option<ScanError>,
}

/// A file that a DICOMDIR names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// How it names it.
    pub file_id: Result<FileId, FileIdError>,
}

/// Reads the bytes of a DICOMDIR.
///
/// # Errors
/// [`DirectoryError`]. Damage behind the beginning is told in [`Directory::damage`].
pub fn read(bytes: &[u8], limits: &MediaLimits) -> Result<Directory, DirectoryError> {
    let form = file::read(bytes).map_err(DirectoryError::File)?;
    let class = form.sop_class.as_ref().map(SopClassUid::as_str);
    if class.is_some_and(|class| class != DIRECTORY_CLASS) {
        return Err(DirectoryError::NotADirectory);
    }
    let data_set = bytes.get(form.data_set).unwrap_or_default();
    let encoding = Encoding::of(&form.transfer_syntax);
    let mut records = Records::default();
    let mut scanner = Scanner::new(data_set, encoding, &limits.scan);
    let mut damage = None;
    while let Some(event) = scanner.next() {
        match event {
            Ok(event) => records.on(&event, &scanner),
            Err(error) => damage = Some(error),
        }
        if records.count > limits.dicomdir_records_max {
            return Err(DirectoryError::TooLarge);
        }
    }
    if !records.has_sequence && damage.is_none() {
        return Err(DirectoryError::NotADirectory);
    }
    Ok(Directory {
        references: records.references,
        damage,
    })
}

/// What was read so far.
#[derive(Default)]
struct Records {
    references: Vec<Reference>,
    /// Sequences and items that are open, the directory record sequence itself left out.
    within: Vec<Container>,
    has_sequence: bool,
    count: usize,
    file_id: Option<Result<FileId, FileIdError>>,
    is_inactive: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Container {
    Item,
    Records,
    Sequence,
}

impl Records {
    fn on(&mut self, event: &Event, scanner: &Scanner<'_>) {
        match event {
            Event::SequenceBegin(element) => {
                let is_records =
                    self.within.is_empty() && element.tag == tags::DIRECTORY_RECORD_SEQUENCE;
                self.has_sequence |= is_records;
                self.within.push(if is_records {
                    Container::Records
                } else {
                    Container::Sequence
                });
            }
            Event::FragmentsBegin(_) => self.within.push(Container::Sequence),
            Event::SequenceEnd { .. } | Event::FragmentsEnd { .. } => {
                self.within.pop();
            }
            Event::ItemBegin { .. } => {
                if self.within[..] == [Container::Records] {
                    self.count = self.count.saturating_add(1);
                    self.file_id = None;
                    self.is_inactive = false;
                }
                self.within.push(Container::Item);
            }
            Event::ItemEnd { .. } => {
                self.within.pop();
                if self.within[..] == [Container::Records] {
                    self.record_ends();
                }
            }
            Event::Element(element) => {
                if self.within[..] == [Container::Records, Container::Item] {
                    self.element(element.tag, scanner.bytes(&element.value));
                }
            }
            Event::Fragment { .. } | Event::Trailing { .. } => {}
        }
    }

    fn element(&mut self, tag: Tag, value: &[u8]) {
        if tag == tags::REFERENCED_FILE_ID && !value.is_empty() {
            self.file_id = Some(FileId::parse(value));
        } else if tag == tags::RECORD_IN_USE_FLAG {
            self.is_inactive = !value.is_empty() && value.iter().all(|byte| *byte == 0);
        }
    }

    fn record_ends(&mut self) {
        if let Some(file_id) = self.file_id.take()
            && !self.is_inactive
        {
            self.references.push(Reference { file_id });
        }
    }
}
