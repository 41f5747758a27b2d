//! The scanner: the gate for every byte from outside. Placeholder header, completed with the module.

pub mod head;

/// Why bytes are not a data set within the limits. Offsets count from the start of the scanned bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ScanError {
    /// An element, item or fragment claims more bytes than there are.
    #[error("value at offset {offset} is longer than what is left")]
    Overrun {
        /// Where.
        offset: u64,
    },
}
