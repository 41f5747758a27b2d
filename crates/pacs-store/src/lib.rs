//! Where everything lives: content in packs, what is known of it in an index.

pub mod disk;
pub mod index;
