//! Whose turn it is with what is done to all of the content.

use std::sync::Arc;
use tokio::sync::Mutex;

/// The locks of long work.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    /// Held by a verification and by a rebuild: one would not find what the other forgot.
    pub(crate) maintenance: Arc<Mutex<()>>,
    /// Held by whoever destroys what is erased.
    pub(super) erasing: Mutex<()>,
}
