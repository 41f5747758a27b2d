//! A file-set that is being written, in a folder or in a ZIP archive.

use crate::limits::EXPORT_HEAD_BYTES_MAX;
use bytes::Bytes;
use pacs_core::limits::ScanLimits;
use pacs_core::scan::file::file_meta;
use pacs_core::scan::{Encoding, HeadReader, HeadState};
use pacs_core::{SopClassUid, SopInstanceUid, TransferSyntaxUid};
use pacs_media::dicomdir::{DirectoryWriter, Keys, Member};
use pacs_media::file_id::FileId;
use pacs_media::zip::ZipWriter;
use std::fs::{self, File};
use std::io::{self, BufWriter, Seek as _, Write};
use std::path::{Path, PathBuf};

const DICOMDIR: &str = "DICOMDIR";

/// Transfer syntaxes whose pixel data are not compressed, so that deflating them is worth it.
const UNCOMPRESSED: [&str; 3] = [
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2.2",
];

/// A file-set that is being written.
#[derive(Debug)]
pub(super) struct Medium {
    path: PathBuf,
    form: Form,
    directory: DirectoryWriter,
    written: Written,
}

#[derive(Debug)]
enum Form {
    Ended,
    Folder {
        /// The file that is being written, and where.
        open: Option<(BufWriter<File>, PathBuf)>,
    },
    Zip {
        writer: ZipWriter<BufWriter<File>>,
        /// Where it is until it is whole.
        part: PathBuf,
    },
}

/// How much was written.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Written {
    pub(super) count: u64,
    pub(super) bytes: u64,
}

impl Medium {
    /// Begins a file-set at `path`, where none may be.
    pub(super) fn begin(path: &Path, is_zip: bool) -> io::Result<Self> {
        let form = if is_zip {
            if path.symlink_metadata().is_ok() {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            let mut part = path.as_os_str().to_owned();
            part.push(".part");
            let part = PathBuf::from(part);
            let file = BufWriter::with_capacity(1 << 20, File::create(&part)?);
            Form::Zip {
                writer: ZipWriter::new(file)?,
                part,
            }
        } else {
            fs::create_dir_all(path)?;
            for name in [DICOMDIR, "DICOM"] {
                if path.join(name).symlink_metadata().is_ok() {
                    let why = format!("{name} is there already");
                    return Err(io::Error::new(io::ErrorKind::AlreadyExists, why));
                }
            }
            Form::Folder { open: None }
        };
        Ok(Self {
            path: path.to_owned(),
            form,
            directory: DirectoryWriter::new(),
            written: Written::default(),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Begins a file.
    fn open(&mut self, file_id: &FileId, deflate: bool, bytes_max: Option<u64>) -> io::Result<()> {
        match &mut self.form {
            Form::Ended => Err(io::ErrorKind::BrokenPipe.into()),
            Form::Folder { open } => {
                let path = file_id
                    .components()
                    .iter()
                    .fold(self.path.clone(), |p, c| p.join(c));
                if let Some(parent) = path.parent() {
                    fs::create_dir_all(parent)?;
                }
                let file = BufWriter::with_capacity(1 << 18, File::create_new(&path)?);
                *open = Some((file, path));
                Ok(())
            }
            Form::Zip { writer, .. } => writer.begin(&file_id.to_string(), deflate, bytes_max),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.written.bytes += bytes.len() as u64;
        match &mut self.form {
            Form::Folder {
                open: Some((file, _)),
            } => file.write_all(bytes),
            Form::Zip { writer, .. } => writer.write_all(bytes),
            Form::Ended | Form::Folder { open: None } => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn close(&mut self) -> io::Result<()> {
        self.written.count += 1;
        match &mut self.form {
            Form::Ended => Ok(()),
            Form::Folder { open } => open.take().map_or(Ok(()), |(mut file, _)| file.flush()),
            Form::Zip { writer, .. } => writer.end(),
        }
    }

    fn abandon(&mut self) -> io::Result<()> {
        match &mut self.form {
            Form::Ended => Ok(()),
            Form::Folder { open } => open
                .take()
                .map_or(Ok(()), |(_, path)| fs::remove_file(path)),
            Form::Zip { writer, .. } => writer.abandon(),
        }
    }

    /// Writes the directory: now it is whole.
    pub(super) fn end(&mut self, label: &str) -> io::Result<Written> {
        let directory = std::mem::take(&mut self.directory);
        let directory = directory.finish(label).map_err(io::Error::other)?;
        match std::mem::replace(&mut self.form, Form::Ended) {
            Form::Ended => {}
            Form::Folder { .. } => {
                let mut file = File::create_new(self.path.join(DICOMDIR))?;
                file.write_all(&directory)?;
                file.sync_all()?;
            }
            Form::Zip { mut writer, part } => {
                writer.begin(DICOMDIR, true, Some(directory.len() as u64))?;
                writer.write_all(&directory)?;
                let mut file = writer.finish()?.into_inner().map_err(io::Error::other)?;
                let length = file.stream_position()?;
                file.set_len(length)?;
                file.sync_all()?;
                // Fails where something came to be there meanwhile.
                fs::hard_link(&part, &self.path)?;
                fs::remove_file(&part)?;
            }
        }
        Ok(self.written)
    }

    /// Takes away what is not whole, as far as it is a file of its own.
    pub(super) fn give_up(&mut self) {
        if let Form::Zip { part, .. } = std::mem::replace(&mut self.form, Form::Ended) {
            fs::remove_file(part).ok();
        }
    }
}

/// An instance on its way to a medium. Its head is held until it is known where its file goes.
pub(super) struct Incoming {
    sop_class: SopClassUid,
    sop_instance: SopInstanceUid,
    transfer_syntax: TransferSyntaxUid,
    length_bytes: Option<u64>,
    head: HeadReader,
    held: Vec<Bytes>,
    held_bytes: usize,
    begun: Option<(FileId, Keys)>,
}

impl Incoming {
    pub(super) fn new(
        sop_class: &SopClassUid,
        sop_instance: &SopInstanceUid,
        transfer_syntax: &TransferSyntaxUid,
        length_bytes: Option<u64>,
    ) -> Self {
        Self {
            sop_class: sop_class.clone(),
            sop_instance: sop_instance.clone(),
            transfer_syntax: transfer_syntax.clone(),
            length_bytes,
            head: HeadReader::new(transfer_syntax, &ScanLimits::default()),
            held: Vec::new(),
            held_bytes: 0,
            begun: None,
        }
    }

    /// Takes the next bytes of the data set.
    pub(super) fn write(&mut self, medium: &mut Medium, piece: Bytes) -> io::Result<()> {
        if self.begun.is_some() {
            return medium.write(&piece);
        }
        // What cannot be read is written all the same: it is how it is stored.
        let state = self.head.push(&piece).unwrap_or(HeadState::Complete);
        self.held_bytes = self.held_bytes.saturating_add(piece.len());
        self.held.push(piece);
        if state == HeadState::Complete || self.held_bytes > EXPORT_HEAD_BYTES_MAX {
            self.begin(medium)?;
        }
        Ok(())
    }

    fn begin(&mut self, medium: &mut Medium) -> io::Result<()> {
        let held = std::mem::take(&mut self.held);
        let head = match held.as_slice() {
            [only] => only.clone(),
            several => several.concat().into(),
        };
        let keys = Keys::read(&head, &self.transfer_syntax, &ScanLimits::default());
        let file_id = medium.directory.next_file_id(&keys);
        let meta = file_meta(&self.sop_class, &self.sop_instance, &self.transfer_syntax);
        let deflate = UNCOMPRESSED.contains(&self.transfer_syntax.as_str())
            && Encoding::of(&self.transfer_syntax) != Encoding::Deflated;
        let bytes_max = self.length_bytes.map(|bytes| bytes + meta.len() as u64);
        medium.open(&file_id, deflate, bytes_max)?;
        medium.write(&meta)?;
        medium.write(&head)?;
        self.begun = Some((file_id, keys));
        Ok(())
    }

    /// The data set is whole; the path of its file on the medium.
    pub(super) fn end(mut self, medium: &mut Medium) -> io::Result<String> {
        if self.begun.is_none() {
            self.begin(medium)?;
        }
        let Some((file_id, keys)) = self.begun else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        medium.close()?;
        medium.directory.add(&Member {
            file_id: &file_id,
            sop_class: &self.sop_class,
            sop_instance: &self.sop_instance,
            transfer_syntax: &self.transfer_syntax,
            keys: &keys,
        });
        Ok(file_id.to_string())
    }

    /// The data set does not become whole.
    pub(super) fn abandon(self, medium: &mut Medium) -> io::Result<()> {
        if self.begun.is_some() {
            medium.abandon()
        } else {
            Ok(())
        }
    }
}
