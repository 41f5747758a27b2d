//! The corpora of the fuzz targets `code_stream`, `convert`, `frame_map`, `render` and
//! `rle`, replayed.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test says so by a panic, and the file on standard output"
)]

#[path = "corpus/checks.rs"]
mod checks;
#[path = "corpus/pictures.rs"]
mod pictures;
#[path = "corpus/streams.rs"]
mod streams;

use std::path::Path;

/// For how many inputs of the corpus of `target` the check said yes.
fn replay(target: &str, check: fn(&[u8]) -> bool) -> usize {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    let entries = std::fs::read_dir(folder.join(target)).unwrap();
    let holds = |path: &Path| {
        println!("{}", path.display());
        check(&std::fs::read(path).unwrap())
    };
    entries
        .filter(|entry| holds(&entry.as_ref().unwrap().path()))
        .count()
}

#[test]
fn what_was_converted_does_not_change_when_it_is_converted_again() {
    let converted = replay("convert", checks::converted);

    assert!(converted >= 18, "{converted}");
}

#[test]
fn no_more_pixels_come_out_than_the_attributes_say() {
    let decoded = replay("rle", checks::rle);

    assert!(decoded >= 4, "{decoded}");
}

#[test]
fn frames_are_found_where_tables_and_fragments_say() {
    let found = replay("frame_map", streams::frame_map);

    assert!(found >= 5, "{found}");
}

#[test]
fn heads_and_pixels_of_any_kind_become_pictures_within_limits() {
    let pictures = replay("render", pictures::rendered);

    assert!(pictures >= 8, "{pictures}");
}

#[test]
fn code_streams_are_decoded_and_damage_makes_nothing_panic() {
    assert!(replay("code_stream", streams::code_stream) >= 10);

    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/code_stream");
    let entries = std::fs::read_dir(folder).unwrap();
    let mut inputs: Vec<Vec<u8>> = entries
        .map(|entry| std::fs::read(entry.unwrap().path()).unwrap())
        .collect();
    inputs.sort();
    // A fixed sequence of damage: bytes replaced, cut out and put in.
    let mut state = 1_u64;
    let mut random = |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % below.max(1)
    };
    let mut decoded = 0;
    for round in 0..3000 {
        let mut damaged = inputs[round % inputs.len()].clone();
        for _ in 0..=random(4) {
            let at = random(damaged.len());
            match random(4) {
                0 => damaged.truncate(at.max(20)),
                1 => drop(damaged.remove(at)),
                2 => damaged.insert(at, [0, 0xFF, 0x80, 1][random(4)]),
                _ => damaged[at] = u8::try_from(random(256)).unwrap(),
            }
        }
        decoded += usize::from(streams::code_stream(&damaged));
    }
    assert!(decoded > 100 && decoded < 2500, "{decoded}");
}
