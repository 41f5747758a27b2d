//! What tells whoever serves that it is to come to an end.

use tokio::sync::watch;

/// Begins an end; so does dropping it.
#[derive(Debug)]
pub struct Drain(watch::Sender<bool>);

/// Waits for an end to begin.
#[derive(Clone, Debug)]
pub struct Draining(watch::Receiver<bool>);

/// An end that has not begun.
#[must_use]
pub fn drain() -> (Drain, Draining) {
    let (begin, begun) = watch::channel(false);
    (Drain(begin), Draining(begun))
}

impl Drain {
    /// The end begins now.
    pub fn begin(&self) {
        self.0.send_replace(true);
    }
}

impl Draining {
    /// Resolves when the end has begun.
    pub async fn begun(mut self) {
        // A closed channel means that the other side is gone, which is an end too.
        self.0.wait_for(|begun| *begun).await.ok();
    }
}
