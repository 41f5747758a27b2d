//! The files of a command, found and looked at ahead of those who take them.

use super::tally::Tally;
use crate::limits::FOUND_AHEAD_MAX;
use pacs_media::{Found, MediaLimits, Sources};
use std::collections::HashSet;
use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Finds what is at or below `paths`, leaves out what was done before, and hands the rest to
/// `make` and then to the queue, in order. What `make` says nothing of is left out.
pub(super) fn gather<T: Send + 'static>(
    paths: Vec<PathBuf>,
    limits: MediaLimits,
    done: HashSet<[u8; 16]>,
    tally: &Arc<Tally>,
    make: impl Fn(Found, &Tally) -> Option<T> + Send + 'static,
) -> mpsc::Receiver<T> {
    let (sender, receiver) = mpsc::channel(FOUND_AHEAD_MAX);
    measure(paths.clone(), limits, tally);
    let tally = Arc::clone(tally);
    tokio::task::spawn_blocking(move || {
        for found in Sources::new(paths, &limits) {
            let made = match found {
                Ok(found) if done.contains(&found.identity.0) => {
                    tally.already(found.size_bytes);
                    continue;
                }
                Ok(found) => make(found, &tally),
                Err(refused) => {
                    tally.refuse(&refused, false);
                    continue;
                }
            };
            if let Some(made) = made
                && sender.blocking_send(made).is_err()
            {
                // Nobody takes any more.
                return;
            }
        }
    });
    receiver
}

/// Tells the bar how much there is, where there is a bar.
fn measure(paths: Vec<PathBuf>, limits: MediaLimits, tally: &Arc<Tally>) {
    if !std::io::stderr().is_terminal() {
        return;
    }
    let tally = Arc::downgrade(tally);
    tokio::task::spawn_blocking(move || {
        let total = Sources::measure(&paths, &limits, || tally.strong_count() > 0);
        if let (Some(total), Some(tally)) = (total, tally.upgrade()) {
            tally.work.set_total(total);
        }
    });
}
