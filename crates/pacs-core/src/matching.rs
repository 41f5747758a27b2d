//! The reference matcher: what a query means.
