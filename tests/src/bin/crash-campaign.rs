//! `cargo xtask crash` runs this: the kill -9 campaign of `pacs_tests::crash`.

fn main() {
    pacs_tests::crash::main();
}
