//! `cargo xtask drill` runs this: backups under load, and what they restore.

fn main() {
    pacs_tests::drill::main();
}
