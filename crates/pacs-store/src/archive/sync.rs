//! The thread that syncs, while the one that asked does something else.

use crate::disk::DiskFile;
use std::io;
use std::sync::{Arc, mpsc};

/// Syncs one file at a time.
#[derive(Debug)]
pub(super) struct Syncer {
    files: mpsc::Sender<Arc<dyn DiskFile>>,
    results: mpsc::Receiver<io::Result<()>>,
}

impl Syncer {
    pub(super) fn start() -> io::Result<Self> {
        let (files, queue) = mpsc::channel::<Arc<dyn DiskFile>>();
        let (reply, results) = mpsc::channel();
        std::thread::Builder::new()
            .name("pacs-sync".to_owned())
            .spawn(move || {
                while let Ok(file) = queue.recv() {
                    if reply.send(file.sync_data()).is_err() {
                        break;
                    }
                }
            })?;
        Ok(Self { files, results })
    }

    /// Begins to sync `file`. [`Self::wait`] is to be called before the next.
    pub(super) fn begin(&self, file: Arc<dyn DiskFile>) {
        // If the thread is gone, `wait` says so.
        self.files.send(file).ok();
    }

    /// The result of what was begun.
    pub(super) fn wait(&self) -> io::Result<()> {
        self.results
            .recv()
            .unwrap_or_else(|_| Err(io::Error::other("the thread that syncs is gone")))
    }
}
