//! Micro-benchmarks of the parts; the side-by-side ones against peers are `cargo xtask bench`.
