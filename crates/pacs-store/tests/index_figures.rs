//! How fast the embedded index is: figures to read, not to pass or fail by.
//!
//! `cargo test --release -p pacs-store --test index_figures -- --ignored --nocapture`

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "the figures are what it is for"
)]

use pacs_core::tag::tags;
use pacs_core::{Level, Matching, Query, Tag};
use pacs_store::DataDirectory;
use pacs_store::disk::OsDisk;
use pacs_store::index::redb::{RedbIndex, RedbOptions};
use pacs_store::index::{DurableContent, Index, LogPosition, LogRecord, Page, Quota};
use pacs_store_conformance::samples::{Sample, query, range, single, wildcard};
use std::sync::Arc;
use std::time::{Duration, Instant};

const SURNAMES: [&str; 12] = [
    "Абдыкадыр уулу",
    "Бекмамбет кызы",
    "Жээнбек",
    "Касымалы",
    "Маматкул",
    "Ниязбек",
    "Өмүр",
    "Сыдык",
    "Токтогул",
    "Үсөн",
    "Чыңгыз",
    "Шаршенаалы",
];
const GIVEN: [&str; 8] = [
    "Айгүл",
    "Азиз",
    "Бакыт",
    "Гүлнара",
    "Жылдыз",
    "Нурлан",
    "Салтанат",
    "Эркин",
];

/// A study among many: names repeat little, one in a thousand has the part that is looked for,
/// dates are spread over 12 years.
fn study(study: u32, instance: u32) -> Sample {
    let at = study as usize;
    let surname = if study % 1_000 == 7 {
        "Асанова"
    } else {
        SURNAMES[at % 12]
    };
    let name = format!("{surname}{}^{}", study / 20, GIVEN[at / 12 % 8]);
    let day = study.wrapping_mul(2_654_435_761) % 4_380;
    let date = format!(
        "{:04}{:02}{:02}",
        2014 + day / 365,
        day % 365 / 31 + 1,
        day % 31 % 28 + 1
    );
    Sample::new(study, 1, instance)
        .with(tags::PATIENT_NAME, &name)
        .with(tags::PATIENT_ID, &format!("KG{:07}", study))
        .with(tags::STUDY_DATE, &date)
        .with(tags::REFERRING_PHYSICIAN_NAME, "Доктор^Один")
        .with(tags::INSTITUTION_NAME, "Национальный госпиталь")
        .with(tags::SERIES_DESCRIPTION, "AXIAL 5mm")
        .with(tags::IMAGE_TYPE, "ORIGINAL\\PRIMARY\\AXIAL")
        .with(tags::ROWS, "512")
        .with(tags::COLUMNS, "512")
        .with(tags::BITS_ALLOCATED, "16")
}

struct Archive {
    runtime: tokio::runtime::Runtime,
    index: RedbIndex,
    offset: u64,
    path: std::path::PathBuf,
    _directory: tempfile::TempDir,
}

impl Archive {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("index.redb");
        let disk = Arc::new(OsDisk::open(directory.path()).unwrap());
        let locked = DataDirectory::open(disk).unwrap();
        Self {
            runtime: tokio::runtime::Builder::new_multi_thread()
                .enable_all()
                .build()
                .unwrap(),
            index: RedbIndex::open(&locked, &RedbOptions::default()).unwrap(),
            offset: 0,
            path,
            _directory: directory,
        }
    }

    fn add(&mut self, group: Vec<LogRecord>) -> Duration {
        self.offset += 1;
        let end = LogPosition {
            pack: 1,
            offset: self.offset,
        };
        let start = Instant::now();
        self.runtime.block_on(async {
            let staged = self.index.stage(group, end).await.unwrap();
            staged.commit(DurableContent::synced_up_to(end)).unwrap();
        });
        start.elapsed()
    }

    fn flush(&self) -> Duration {
        let start = Instant::now();
        self.runtime.block_on(self.index.flush()).unwrap();
        start.elapsed()
    }

    /// All instances of a study, as a retrieval asks for them.
    fn select(&self, study: u32) {
        let uid = format!("1.2.99.{study}");
        let query = query(Level::Study, [(tags::STUDY_INSTANCE_UID, single(&uid))]);
        let mut times = Vec::new();
        let mut found = 0;
        for _ in 0..50 {
            let start = Instant::now();
            let selected = self
                .runtime
                .block_on(self.index.select(&query, &Quota::of(1_000_000)));
            found = selected.unwrap().len();
            times.push(start.elapsed());
        }
        println!("  select {found} instances    {}", spread(&mut times));
    }

    fn file_mib(&self) -> f64 {
        std::fs::metadata(&self.path).unwrap().len() as f64 / 1_048_576.0
    }

    fn ask_page(&self, what: &str, query: impl Fn(u32) -> Query) {
        let page = Page {
            count_max: 200,
            ..Page::default()
        };
        let mut times = Vec::new();
        let mut found = 0;
        for turn in 0..200 {
            let query = query(turn);
            let quota = Quota::of(1_000_000);
            let start = Instant::now();
            let page = self.index.search_page(&query, &page, &quota);
            let page = self.runtime.block_on(page).unwrap().unwrap();
            times.push(start.elapsed());
            found += page.matches.len();
        }
        println!(
            "  page of {what:<16} {} mean results {}",
            spread(&mut times),
            found / 200
        );
    }

    fn ask(&self, what: &str, query: impl Fn(u32) -> Query) {
        let mut times = Vec::new();
        let mut found = 0;
        for turn in 0..200 {
            let query = query(turn);
            let start = Instant::now();
            found += self
                .runtime
                .block_on(self.index.search(&query, &Quota::of(1_000_000)))
                .unwrap()
                .len();
            times.push(start.elapsed());
        }
        println!(
            "  {what:<24} {} mean results {}",
            spread(&mut times),
            found / 200
        );
    }
}

fn spread(times: &mut [Duration]) -> String {
    times.sort_unstable();
    let at = |part: usize| times[(times.len() - 1) * part / 100].as_secs_f64() * 1e6;
    format!(
        "p50 {:>8.1} us  p99 {:>8.1} us  max {:>8.1} us",
        at(50),
        at(99),
        at(100)
    )
}

fn resident_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS"))
        .unwrap();
    line.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<f64>()
        .unwrap()
        / 1_024.0
}

fn at_study_level(tag: Tag, matching: Matching) -> Query {
    let shown = [
        tags::STUDY_DATE,
        tags::STUDY_TIME,
        tags::ACCESSION_NUMBER,
        tags::MODALITIES_IN_STUDY,
        tags::STUDY_DESCRIPTION,
        tags::PATIENT_NAME,
        tags::PATIENT_ID,
        tags::STUDY_INSTANCE_UID,
        tags::NUMBER_OF_STUDY_RELATED_INSTANCES,
    ];
    let shown = shown.into_iter().filter(|other| *other != tag);
    let keys = shown.map(|tag| (tag, Matching::Universal));
    query(Level::Study, keys.chain([(tag, matching)]))
}

fn questions(archive: &Archive, studies_count: u32) {
    let pick = |turn: u32| turn.wrapping_mul(7_919) % studies_count + 1;
    archive.ask("patient id", |turn| {
        at_study_level(tags::PATIENT_ID, single(&format!("KG{:07}", pick(turn))))
    });
    archive.ask("study uid", |turn| {
        let uid = format!("1.2.99.{}", pick(turn));
        at_study_level(tags::STUDY_INSTANCE_UID, single(&uid))
    });
    archive.ask("name prefix", |turn| {
        let study = pick(turn);
        let surname = SURNAMES[study as usize % 12];
        let prefix = format!("{surname}{}^*", study / 20);
        at_study_level(tags::PATIENT_NAME, wildcard(&prefix))
    });
    archive.ask("seven days", |turn| {
        let month = turn % 12 + 1;
        let (from, to) = (format!("2020{month:02}10"), format!("2020{month:02}16"));
        at_study_level(tags::STUDY_DATE, range(&from, &to))
    });
    archive.ask("name *ова*", |_| {
        at_study_level(tags::PATIENT_NAME, wildcard("*ова*"))
    });
    archive.ask("description scan", |_| {
        at_study_level(tags::STUDY_DESCRIPTION, wildcard("nothing*"))
    });
}

/// Pages as DICOMweb asks for them where a client says nothing of their size.
fn page_questions(archive: &Archive, studies_count: u32) {
    let pick = |turn: u32| turn.wrapping_mul(7_919) % studies_count + 1;
    archive.ask_page("patient id", |turn| {
        at_study_level(tags::PATIENT_ID, single(&format!("KG{:07}", pick(turn))))
    });
    archive.ask_page("study uid", |turn| {
        let uid = format!("1.2.99.{}", pick(turn));
        at_study_level(tags::STUDY_INSTANCE_UID, single(&uid))
    });
    archive.ask_page("surname*", |turn| {
        let surname = format!("{}*", SURNAMES[turn as usize % 12]);
        at_study_level(tags::PATIENT_NAME, wildcard(&surname))
    });
    for (what, from, to) in [
        ("seven days", "20200110", "20200116"),
        ("a month", "20200101", "20200131"),
        ("a year", "20200101", "20201231"),
        ("all years", "20140101", "20261231"),
    ] {
        archive.ask_page(what, |_| at_study_level(tags::STUDY_DATE, range(from, to)));
    }
    for name in ["*ова*", "*Айгүл*"] {
        archive.ask_page(name, |_| at_study_level(tags::PATIENT_NAME, wildcard(name)));
    }
}

#[test]
#[ignore = "takes a minute and asserts nothing"]
fn pages() {
    let mut archive = Archive::new();
    let studies_count = 100_000;
    for first in (1..=studies_count).step_by(250) {
        let group = first..first + 250;
        archive.add(group.map(|of| study(of, 1).record()).collect());
    }
    archive.flush();
    page_questions(&archive, studies_count);
}

#[test]
#[ignore = "takes minutes and asserts nothing"]
fn memory_while_series_come_in() {
    let before = resident_mib();
    let mut archive = Archive::new();
    for group in 0..10_000_u32 {
        let record = |i: u32| study(group / 60 * 8 + i + 1, group % 60 + 1).record();
        archive.add((0..8).map(record).collect());
        if group % 500 == 499 {
            archive.flush();
        }
        if group % 2_000 == 1_999 {
            println!(
                "{} instances of {} studies: file {:.0} MiB, resident {:.0} MiB more than at first",
                (group + 1) * 8,
                group / 60 * 8 + 8,
                archive.file_mib(),
                resident_mib() - before
            );
        }
    }
}

#[test]
#[ignore = "takes minutes and asserts nothing"]
fn figures() {
    let mut archive = Archive::new();
    let mut next = 1;
    for studies_count in [1_000_u32, 100_000] {
        let start = Instant::now();
        while next <= studies_count {
            let last = (next + 255).min(studies_count);
            archive.add((next..=last).map(|s| study(s, 1).record()).collect());
            next = last + 1;
            if next % 8_192 < 256 {
                archive.flush();
            }
        }
        archive.flush();
        println!(
            "{studies_count} studies loaded in {:.1} s, file {:.0} MiB, resident {:.0} MiB",
            start.elapsed().as_secs_f64(),
            archive.file_mib(),
            resident_mib()
        );
        questions(&archive, studies_count);
        for (what, size) in [("groups of 8", 8), ("single ones", 1)] {
            let study_number = 1_000_000 + studies_count * 2 + size;
            let mut times = Vec::new();
            let mut flushes = Vec::new();
            for group in 0..2_000 {
                let records = (0..size).map(|i| study(study_number, 2 + group * size + i).record());
                times.push(archive.add(records.collect()));
                if group % 500 == 499 {
                    flushes.push(archive.flush());
                }
            }
            println!("  insert {what:<17} {}", spread(&mut times));
            println!("  flush after 500 of them   {}", spread(&mut flushes));
        }
        archive.select(1_000_000 + studies_count * 2 + 8);
        let mut times = Vec::new();
        for group in 0..2_000 {
            times.push(archive.add(vec![
                study(2_000_000 + studies_count * 2 + group, 1).record(),
            ]));
        }
        println!("  insert single new studies {}", spread(&mut times));
        let flush = archive.flush();
        println!(
            "  flush after 2,000         {:.1} ms",
            flush.as_secs_f64() * 1e3
        );
        println!(
            "  file {:.0} MiB, resident {:.0} MiB",
            archive.file_mib(),
            resident_mib()
        );
    }
}
