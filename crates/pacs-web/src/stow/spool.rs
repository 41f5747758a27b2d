//! Bulk data of one request, in a file without a name until the instances are composed: what
//! belongs before it may come behind it. The file is gone with the request, also where the process
//! ends in the middle.

use bytes::Bytes;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::Arc;

/// Bytes that are gathered before they are written.
const GATHERED_BYTES: usize = 1 << 20;

/// Why bytes are not kept.
#[derive(Debug, thiserror::Error)]
pub(super) enum SpoolError {
    #[error("bulk data cannot be kept for now")]
    Disk(#[from] io::Error),
    #[error("more bulk data than one request may have")]
    TooLong,
}

/// Keeps bytes, and gives them back.
#[derive(Debug)]
pub(super) struct Spool {
    /// Where the file has its blocks; the folder for temporary files, unless told otherwise.
    directory: Option<PathBuf>,
    bytes_max: u64,
    file: Option<Arc<File>>,
    gathered: Vec<u8>,
    written_bytes: u64,
}

impl Spool {
    pub(super) const fn new(directory: Option<PathBuf>, bytes_max: u64) -> Self {
        Self {
            directory,
            bytes_max,
            file: None,
            gathered: Vec::new(),
            written_bytes: 0,
        }
    }

    /// How many bytes were taken.
    pub(super) fn length_bytes(&self) -> u64 {
        let gathered = u64::try_from(self.gathered.len()).unwrap_or(u64::MAX);
        self.written_bytes.saturating_add(gathered)
    }

    /// Takes more; whether some of it went to the disk.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<bool, SpoolError> {
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if self.length_bytes().saturating_add(length) > self.bytes_max {
            return Err(SpoolError::TooLong);
        }
        self.gathered.extend_from_slice(bytes);
        if self.gathered.len() < GATHERED_BYTES {
            return Ok(false);
        }
        self.flush().await?;
        Ok(true)
    }

    /// Has everything written, so that it can be read.
    pub(super) async fn flush(&mut self) -> io::Result<()> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        let gathered = std::mem::take(&mut self.gathered);
        let (file, directory, at) = (self.file.take(), self.directory.clone(), self.written_bytes);
        let task = tokio::task::spawn_blocking(move || -> io::Result<_> {
            let file = match (file, directory) {
                (Some(file), _) => file,
                (None, Some(directory)) => Arc::new(tempfile::tempfile_in(directory)?),
                (None, None) => Arc::new(tempfile::tempfile()?),
            };
            file.write_all_at(&gathered, at)?;
            Ok((file, gathered.len()))
        });
        let (file, length) = task.await.map_err(io::Error::other)??;
        self.file = Some(file);
        let length = u64::try_from(length).unwrap_or(u64::MAX);
        self.written_bytes = self.written_bytes.saturating_add(length);
        Ok(())
    }

    /// The first `length_max` bytes of `range`, all of which was written.
    pub(super) async fn read(&self, range: Range<u64>, length_max: usize) -> io::Result<Bytes> {
        let length = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX);
        let length = length.min(length_max);
        if length == 0 {
            return Ok(Bytes::new());
        }
        let file = self.file.clone().ok_or(io::ErrorKind::UnexpectedEof)?;
        let task = tokio::task::spawn_blocking(move || -> io::Result<Bytes> {
            let mut bytes = vec![0; length];
            file.read_exact_at(&mut bytes, range.start)?;
            Ok(bytes.into())
        });
        task.await.map_err(io::Error::other)?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_written_comes_back_and_the_folder_stays_empty() {
        let home = tempfile::tempdir().unwrap();
        let mut spool = Spool::new(Some(home.path().to_owned()), 3 << 20);
        let all: Vec<u8> = (0..3_u32 << 20).map(|n| n.to_le_bytes()[1]).collect();
        for piece in all.chunks(300_000) {
            spool.write(piece).await.unwrap();
        }
        spool.flush().await.unwrap();

        let middle = spool.read(1_000_000..2_000_000, 500_000).await.unwrap();

        assert_eq!(middle, &all[1_000_000..1_500_000]);
        assert!(spool.read(5..5, 10).await.unwrap().is_empty());
        assert_eq!(home.path().read_dir().unwrap().count(), 0);
        assert!(matches!(spool.write(&[0]).await, Err(SpoolError::TooLong)));
    }
}
