//! `cargo xtask edges` runs this: the limits at the edges of `pacs_tests::edges`.

fn main() {
    pacs_tests::edges::main();
}
