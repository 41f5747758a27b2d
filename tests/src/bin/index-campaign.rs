//! `cargo xtask indexes` runs this: indexes that are rebuilt, old, foreign or lost, and what is
//! answered then.

fn main() {
    pacs_tests::indexes::main();
}
