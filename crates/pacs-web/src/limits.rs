//! Every bound of the web services, in one place.

/// Bounds of requests and of what is held to answer them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WebLimits {
    /// Pieces of an answer that wait for a slow client.
    pub pieces_waiting_max: usize,
}

impl Default for WebLimits {
    fn default() -> Self {
        Self {
            pieces_waiting_max: 2,
        }
    }
}
