//! Named steps at which a test can stop the world.

use std::fmt;
use std::sync::Arc;

/// Called at each named step of a commit and of recovery; does nothing unless a test gave it
/// something to do.
///
/// In order: `before-append`, `after-append`, `after-sync`, `after-keep` (of large packs),
/// `after-stage`, `before-answer` for a group, and beside the last `after-commit`;
/// `before-flush`, `after-flush` for the index; `large-begun`, `large-written`, `large-synced` for
/// an instance in a pack of its own; `erase-begun`, `erase-marked`, `erase-zeroed`,
/// `erase-discarded` for each pack in which something erased is destroyed, and at the end
/// `erase-told`; and at opening `recovery-begun`, `recovery-applied`,
/// `recovery-cut`, `recovery-swept`, `recovery-flushed`.
#[derive(Clone, Default)]
pub struct FailPoints(Option<Arc<dyn Fn(&'static str) + Send + Sync>>);

impl FailPoints {
    /// Calls `hook` with the name of each step.
    pub fn new(hook: impl Fn(&'static str) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(hook)))
    }

    pub(crate) fn reach(&self, step: &'static str) {
        if let Some(hook) = &self.0 {
            hook(step);
        }
    }
}

impl fmt::Debug for FailPoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FailPoints")
            .field(&self.0.is_some())
            .finish()
    }
}
