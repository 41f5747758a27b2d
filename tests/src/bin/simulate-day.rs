//! `cargo xtask simulate-day` runs this: the day in eleven hospitals of `pacs_tests::day`.

fn main() {
    pacs_tests::day::main();
}
