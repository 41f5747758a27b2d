//! Folding of text.
