//! `cargo xtask flip` runs this: single bits of an archive are changed, and all of them noticed.

fn main() {
    pacs_tests::flip::main();
}
