//! Waiting for a process to end.

use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use super::PATIENCE;

/// Waits for a child to end, at most [`PATIENCE`].
///
/// # Panics
/// When it does not.
pub fn wait_for_exit(child: &mut Child) -> ExitStatus {
    exit_within(child, PATIENCE).unwrap_or_else(|| {
        child.kill().ok();
        child.wait().ok();
        panic!("the process did not end within {PATIENCE:?}");
    })
}

/// Waits for a child to end, at most `patience`; `None` when it lives on.
pub(super) fn exit_within(child: &mut Child, patience: Duration) -> Option<ExitStatus> {
    // A process has no event to wait on without unsafe code, so this asks every few milliseconds.
    let deadline = Instant::now() + patience;
    loop {
        if let Some(status) = child.try_wait().expect("a child can be asked") {
            return Some(status);
        }
        if Instant::now() > deadline {
            return None;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
