//! The flips: single bits of an archive are changed, and all of them noticed.
//!
//! A bit of the packs, of the index, which holds the change sequence, or of the records is changed
//! while the server is stopped. `pacs verify` then says that something is damaged, or says of the
//! index when it opens it that it makes it again. In the files of index and records there are pages
//! that were used once and are not now; a bit of those may go unnoticed, and then every answer is
//! as before, and the audit trail whole. The change sequence has no answer of its own: it lies in
//! pages of the index, and `pacs verify` compares the checksum of every page that is used.

use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use crate::crash::Oracle;
use crate::drill::{done, pacs};
use crate::peers::files_below;
use crate::samples::{Random, Slice};
use crate::server::Server;
use crate::wire::{Association, Context, Proposal, digest, uid};

/// Images that the archive holds, beside one that has a pack of its own.
const IMAGES: u32 = 120;

/// Side of an image above the size at which an instance gets a pack of its own.
const LARGE_SIDE: u16 = 2_200;

/// What was found, when nothing went wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Bits that were changed in packs, all of which were noticed.
    pub packs: u32,
    /// Bits that were changed in the index, and noticed.
    pub index: u32,
    /// Bits that were changed in the records, and noticed.
    pub records: u32,
    /// Bits of index and records that nothing uses: every answer was as before.
    pub unused: u32,
    /// Those of them that stood in bytes of zeros.
    pub zeros: u32,
}

impl Report {
    /// Bits that were noticed.
    const fn noticed(&self) -> u32 {
        self.packs + self.index + self.records
    }
}

/// One in so many bits of index and records may stand in a byte of zeros, of which most are of no
/// page.
const ZEROS_ONE_IN: u64 = 8;

/// An archive, as it was, and where its bits are changed.
struct Bench {
    server: Server,
    oracle: Oracle,
    /// The files, as they are.
    whole: Vec<(PathBuf, Vec<u8>)>,
}

/// Changes one bit near the end of a data set in the packs of a stopped archive.
///
/// # Panics
/// When it is in no pack.
pub fn damage(data: &Path, data_set: &[u8]) {
    for pack in files_below(&data.join("packs")) {
        let mut bytes = std::fs::read(&pack).expect("a pack");
        let at = bytes.windows(data_set.len()).position(|of| of == data_set);
        if let Some(at) = at {
            bytes[at + data_set.len() - 16] ^= 0x10;
            std::fs::write(&pack, bytes).expect("a pack");
            return;
        }
    }
    panic!("the data set is in no pack");
}

/// Changes bits until `count` were noticed, one at a time.
///
/// # Panics
/// When one is not noticed and says something.
#[must_use]
pub fn flip(count: u32, seed: u64) -> Report {
    println!("flips: seed {seed}");
    let mut bench = Bench::new();
    let mut random = Random::new(seed);
    let mut report = Report::default();
    while report.noticed() < count {
        let is_table = random.below(4) > 0;
        let (file, at) = bench.place(&mut random, is_table);
        let bit = u8::try_from(random.below(8)).expect("small");
        let is_noticed = bench.is_noticed(file, at, bit);
        let name = bench.whole[file].0.clone();
        match (is_table, is_noticed) {
            (true, true) if name.ends_with("index.redb") => report.index += 1,
            (true, true) => report.records += 1,
            (false, true) => report.packs += 1,
            (true, false) => {
                bench.assert_equal();
                report.unused += 1;
                report.zeros += u32::from(bench.whole[file].1[at] == 0);
            }
            (false, false) => panic!("bit {bit} of byte {at} of {} unnoticed", name.display()),
        }
        bench.put_back(file);
        if report.noticed() % 100 == 0 {
            println!("flips: {report:?}");
        }
    }
    report
}

impl Bench {
    fn new() -> Self {
        let mut server = crate::web_server::open_server();
        let mut oracle = Oracle::default();
        let syntax = uid::EXPLICIT_LITTLE_ENDIAN;
        let context = Context::new(uid::CT_IMAGE_STORAGE, syntax);
        let proposal = Proposal::new(vec![context]);
        let mut association = Association::connect(server.dicom(), &proposal).expect("accepted");
        for number in 0..=IMAGES {
            let mut slice = Slice::new(number % 5 + 1, number + 1);
            slice.side = if number == IMAGES {
                LARGE_SIDE
            } else {
                u16::try_from(16 + number).expect("small")
            };
            let data_set = slice.data_set();
            oracle.note_sent(&slice, digest(&data_set));
            let status =
                association.store(uid::CT_IMAGE_STORAGE, &slice.instance, syntax, &data_set);
            assert_eq!(status.expect("the server answers"), 0);
            oracle.note_acknowledged(&slice);
            if number == 7 {
                // Another version of it, which is kept and not served.
                slice.seed += 1;
                let other = slice.data_set();
                let status =
                    association.store(uid::CT_IMAGE_STORAGE, &slice.instance, syntax, &other);
                status.expect("the server answers");
            }
        }
        association.release().expect("the server releases in order");
        assert!(server.stop().success());
        let data = server.data();
        let mut whole: Vec<_> = ["index.redb", "records.redb"]
            .iter()
            .map(|name| data.join(name))
            .chain(files_below(&data.join("packs")))
            .map(|file| (file.clone(), std::fs::read(&file).expect("a file")))
            .collect();
        whole.sort();
        Self {
            server,
            oracle,
            whole,
        }
    }

    /// A byte of a file that says something, or may.
    fn place(&self, random: &mut Random, is_table: bool) -> (usize, usize) {
        let may_be_zero = random.below(ZEROS_ONE_IN) == 0;
        loop {
            let file = usize::try_from(random.below(self.whole.len() as u64)).expect("small");
            let (path, bytes) = &self.whole[file];
            if path.extension().is_some_and(|end| end == "redb") != is_table {
                continue;
            }
            // The two blocks of zeros that end a tar are no part of the log.
            let end = bytes.len() - if is_table { 0 } else { 1_024 };
            let at = usize::try_from(random.below(end as u64)).expect("small");
            if !is_table || may_be_zero || bytes[at] != 0 {
                return (file, at);
            }
        }
    }

    fn is_noticed(&self, file: usize, at: usize, bit: u8) -> bool {
        let (path, bytes) = &self.whole[file];
        let mut changed = bytes.clone();
        changed[at] ^= 1 << bit;
        std::fs::write(path, changed).expect("a stopped archive");
        let data = self.server.data();
        let (code, _) = pacs(&["verify", "--data", data.to_str().expect("Unicode")]);
        code != Some(0) || !set_aside(&data).is_empty()
    }

    /// The archive as it was.
    fn put_back(&mut self, file: usize) {
        for aside in set_aside(&self.server.data()) {
            std::fs::remove_file(aside).expect("a file");
        }
        for (at, (path, bytes)) in self.whole.iter().enumerate() {
            let is_small = bytes.len() < 4 << 20;
            if at == file || is_small {
                std::fs::write(path, bytes).expect("a stopped archive");
            }
        }
    }

    /// Asks for everything, and reads the audit trail.
    fn assert_equal(&mut self) {
        let data = self.server.data();
        done(&["audit", "verify", "--data", data.to_str().expect("Unicode")]);
        self.server.restart();
        let all = self.oracle.studies();
        assert_eq!(self.oracle.ask(&self.server, &all), 0);
        assert!(self.server.stop().success());
    }
}

/// What was set aside at opening, and said so: a damaged index, or the end of the log.
fn set_aside(data: &Path) -> Vec<PathBuf> {
    let is_aside = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.starts_with("cut-") || name.ends_with(".damaged"))
    };
    files_below(data).into_iter().filter(is_aside).collect()
}

/// Reads a command line of two numbers: how often, and the seed.
///
/// # Panics
/// When it is none.
#[must_use]
pub fn two_numbers(names: [&str; 2], count: u64) -> (u64, u64) {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let seed = now.map_or(1, |since| u64::from(since.subsec_nanos()) ^ since.as_secs());
    let mut numbers = [count, seed];
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    for pair in arguments.chunks(2) {
        let at = names.iter().position(|name| *name == pair[0]);
        let at = at.unwrap_or_else(|| panic!("unknown argument {}", pair[0]));
        let value = pair.get(1).and_then(|value| value.parse().ok());
        numbers[at] = value.unwrap_or_else(|| panic!("{} needs a number", pair[0]));
    }
    (numbers[0], numbers[1])
}

/// Reads the command line of the campaign and runs it.
///
/// # Panics
/// When the command line is wrong, or as [`flip`].
pub fn main() {
    let (count, seed) = two_numbers(["--count", "--seed"], 1_000);
    let begun = Instant::now();
    let report = flip(u32::try_from(count).expect("a number of flips"), seed);
    println!("flips: all noticed, {report:?}, in {:?}", begun.elapsed());
}
