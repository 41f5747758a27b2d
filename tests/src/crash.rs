//! The kill -9 campaign.
/// Entry.
pub fn main() {}
