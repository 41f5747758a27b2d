//! Where the server decodes pixel data: in processes of its own program, which a hostile frame may
//! bring down without anybody else noticing.

use pacs_image::{Decoders, ImageLimits, WorkerCommand, WorkerLimits, WorkerPool};
use std::io;
use std::sync::Arc;

/// The decoders of this server. `main` has to begin with [`pacs_image::worker::run_if_asked`].
///
/// # Errors
/// The path of this program is not known.
pub fn decoders() -> io::Result<Decoders> {
    let pool = WorkerPool::new(WorkerCommand::this_program()?, WorkerLimits::default());
    Ok(Decoders::with_workers(
        ImageLimits::default(),
        Arc::new(pool),
    ))
}
