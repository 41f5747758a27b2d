//! XML 1.0 from outside, and text written into it: the one reader of every door that takes XML.
//!
//! It knows no DOCTYPE and no entities but the five of XML, and asks for nothing elsewhere, so that
//! nothing can be expanded. Depth and number of elements are for the caller to bound: the reader
//! keeps none of them.

mod text;
mod tokens;

pub use text::write;
pub use tokens::{Broken, Token, Tokens};
