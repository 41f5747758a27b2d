//! What the host program is told of, to count it.

/// Is told what came of requests.
pub trait Observe: std::fmt::Debug + Send + Sync + 'static {
    /// A request to store came to its end.
    fn stored(&self, tally: Tally);
}

/// What came of a request to store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    /// Instances that are durable.
    pub stored: u64,
    /// Instances that are not.
    pub refused: u64,
    /// Bytes of the body that were read.
    pub bytes: u64,
}
