//! Rendered pictures of the test data beside those of independent decoders: pydicom,
//! pylibjpeg, imagecodecs and numpy, which apply Modality LUT, VOI LUT, palettes and colour spaces
//! on their own.
//!
//! The Python side is `pictures/compare.py`. Of objects of several frames the first, the middle and
//! the last are compared. What comes of each file stands in the table of docs/rendering.md, which
//! this test keeps true: a picture without loss is equal to the bit, one with loss within the mean
//! error that is stated there, and what is not rendered is refused as it says.
//! `PACS_WRITE_FIXTURES=1` writes the table anew.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use pacs_tests::corpus::{self, Sample};
use pacs_tests::peers::{answers, python};
use pacs_tests::server::Server;
use pacs_tests::web::get;
use pacs_tests::web_server::{instance_path, open_server, store};
use pacs_tests::wire::digest;
use pacs_tests::workspace;
use serde_json::Value;

/// Where the independent decoders see something else, or nothing, and why.
const NOT_COMPARED: &[(&str, &str)] = &[
    ("dicomdir/98892001/CT2N/6293", NOT_SQUARE),
    ("dicomdir/98892001/CT2N/6924", NOT_SQUARE),
    ("modality/color-pl.dcm", NOT_SQUARE),
    ("modality/color-px.dcm", NOT_SQUARE),
    ("ts/rtdose_expb.dcm", WORDS),
];

const NOT_SQUARE: &str = "its pixels are not square: we show them so, pydicom does not";
const WORDS: &str = "pydicom turns samples of 32 bits around, PS3.5 6.2 words of 16";

/// Files whose names hold somebody's, by the beginning of the digest of their data set, which the
/// table has in place of the name.
const BY_DIGEST: [&str; 3] = ["751308c8", "05fd9380", "a81e576b"];

/// What lossy pictures may differ by, in levels of 256 on average: decoders of one code stream do.
const LOSSY_MEANS: [f64; 4] = [0.1, 0.3, 0.7, 1.5];

/// Pictures without loss that were equal, at least.
const EQUAL_MIN: usize = 240;

/// What stands before and behind the table.
const TABLE: [&str; 2] = [
    "<!-- the table: tests/interop_rendered.rs -->",
    "<!-- its end -->",
];

/// Syntaxes that lose something.
fn is_lossy(syntax: &str) -> bool {
    let short = syntax.trim_start_matches("1.2.840.10008.1.2.4.");
    ["50", "51", "81", "91", "111", "112", "203"].contains(&short)
}

/// What became of the rendering of a file.
#[derive(Clone, Debug, PartialEq)]
enum Verdict {
    /// Every sample is equal.
    Equal,
    /// The mean error is at most this one.
    Lossy(f64),
    /// It is shown, and not compared.
    NotCompared(String),
    /// It is refused.
    Refused(u16, String),
}

impl Verdict {
    /// As the table has it.
    fn text(&self) -> String {
        match self {
            Self::Equal => "equal".to_owned(),
            Self::Lossy(mean) => format!("mean error ≤ {mean}"),
            Self::NotCompared(why) => format!("not compared: {why}"),
            Self::Refused(status, why) => format!("{status}: {why}"),
        }
    }
}

/// A row of the table.
#[derive(Clone, Debug, PartialEq)]
struct Row {
    syntax: String,
    frames: String,
    verdict: String,
}

/// The table of docs/rendering.md.
fn documented(text: &str) -> BTreeMap<String, Row> {
    let rows = text
        .lines()
        .skip_while(|line| !line.starts_with(TABLE[0]))
        .take_while(|line| !line.starts_with(TABLE[1]))
        .filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [name, syntax, frames, verdict] = cells[..] else {
            panic!("{row}");
        };
        let row = Row {
            syntax: syntax.to_owned(),
            frames: frames.to_owned(),
            verdict: verdict.to_owned(),
        };
        (name.trim_matches('`').to_owned(), row)
    })
    .collect()
}

/// The page with another table.
fn with_table(text: &str, rows: &BTreeMap<String, Row>) -> String {
    let (before, rest) = text.split_once(TABLE[0]).expect("its beginning");
    let (_, after) = rest.split_once(TABLE[1]).expect("its end");
    let mut table =
        String::from("| file | transfer syntax | frames | picture |\n|---|---|---|---|\n");
    for (name, row) in rows {
        let Row {
            syntax,
            frames,
            verdict,
        } = row;
        table.push_str(&format!("| `{name}` | {syntax} | {frames} | {verdict} |\n"));
    }
    format!("{before}{}\n\n{table}\n{}{after}", TABLE[0], TABLE[1])
}

/// What the table calls a file.
fn name_of(sample: &Sample) -> String {
    let digest = digest(&sample.data_set);
    let short = digest.get(..8).unwrap_or_default();
    let folder = sample.name.rsplit_once('/');
    match folder.filter(|_| BY_DIGEST.contains(&short)) {
        Some((folder, _)) => format!("{folder}/{short}"),
        None => sample.name.clone(),
    }
}

/// The first, the middle and the last of `count` frames.
fn chosen(count: u32) -> BTreeSet<u32> {
    BTreeSet::from([1, count.div_ceil(2).max(1), count.max(1)])
}

/// A file on its way through the server.
struct Rendering<'s> {
    sample: &'s Sample,
    frames: BTreeSet<u32>,
    /// The PNG of each frame.
    pictures: Vec<(u32, PathBuf)>,
    refused: Option<(u16, String)>,
}

impl<'s> Rendering<'s> {
    fn of(server: &Server, sample: &'s Sample, folder: &Path) -> Self {
        let instance = &sample.sop_instance;
        let path = instance_path(server, instance).expect("it is there");
        let head = get(server.http(), &format!("/dicomweb{path}/metadata"), &[]);
        let head: Value = serde_json::from_slice(&head.body).unwrap_or_default();
        let count = head[0]["00280008"]["Value"][0].as_u64().unwrap_or(1);
        let mut rendering = Self {
            sample,
            frames: chosen(u32::try_from(count).unwrap_or(1)),
            pictures: Vec::new(),
            refused: None,
        };
        for frame in rendering.frames.clone() {
            let frames = match count {
                0 | 1 => String::new(),
                _ => format!("/frames/{frame}"),
            };
            let path = format!("/dicomweb{path}{frames}/rendered");
            let reply = get(server.http(), &path, &[("Accept", "image/png")]);
            if reply.status != 200 {
                let why: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
                let why = why["detail"].as_str().unwrap_or("no reason").to_owned();
                rendering.refused.get_or_insert((reply.status, why));
                continue;
            }
            let file = folder.join(format!("{instance}.{frame}.png"));
            std::fs::write(&file, &reply.body).expect("a file");
            rendering.pictures.push((frame, file));
        }
        rendering
    }

    /// What is asked of the Python side.
    fn pairs(&self, folder: &Path) -> impl Iterator<Item = String> {
        let name = folder.join(&self.sample.name);
        self.pictures.iter().map(move |(frame, picture)| {
            let syntax = &self.sample.transfer_syntax;
            let (name, picture) = (name.display(), picture.display());
            format!("{name}\t{syntax}\t{picture}\t{frame}")
        })
    }

    /// The row of it, by what the Python side says of its pictures; or what is wrong with it.
    fn row(&self, answers: &[Value]) -> Result<Row, String> {
        let frames: Vec<String> = self.frames.iter().map(u32::to_string).collect();
        Ok(Row {
            syntax: self.sample.transfer_syntax.clone(),
            frames: frames.join(", "),
            verdict: self.verdict(answers)?.text(),
        })
    }

    fn verdict(&self, answers: &[Value]) -> Result<Verdict, String> {
        let name = &self.sample.name;
        if let Some((status, why)) = &self.refused {
            if !self.pictures.is_empty() {
                return Err(format!("{name}: some frames are refused: {why}"));
            }
            return Ok(Verdict::Refused(*status, why.clone()));
        }
        let known = NOT_COMPARED.iter().find(|(known, _)| name.ends_with(known));
        if let Some((_, why)) = known {
            let key = if *why == NOT_SQUARE { "shape" } else { "most" };
            let is_as_said = |answer: &Value| {
                let found = answer.get(key);
                found.is_some_and(|found| found.as_i64() != Some(0))
            };
            if !answers.iter().all(is_as_said) {
                return Err(format!("{name}: it can be compared: {answers:?}"));
            }
            return Ok(Verdict::NotCompared((*why).to_owned()));
        }
        let mut worst: f64 = 0.0;
        for answer in answers {
            if let Some(why) = answer["cannot"].as_str() {
                return Err(format!("{name}: the other decoder cannot: {why}"));
            }
            let (Some(most), Some(mean)) = (answer["most"].as_i64(), answer["mean"].as_f64())
            else {
                return Err(format!("{name}: {answer}"));
            };
            if most > 0 && !is_lossy(&self.sample.transfer_syntax) {
                return Err(format!("{name}: not equal: {answer}"));
            }
            worst = worst.max(mean);
        }
        if !is_lossy(&self.sample.transfer_syntax) {
            return Ok(Verdict::Equal);
        }
        // Another version of a decoder may differ a little more.
        let bound = LOSSY_MEANS.iter().find(|bound| worst * 1.25 <= **bound);
        let bound = bound.ok_or_else(|| format!("{name}: mean error {worst}"))?;
        Ok(Verdict::Lossy(*bound))
    }
}

/// What the Python side says of each pair.
fn compared(pairs: &[String]) -> Option<Vec<Value>> {
    let mut script = Command::new(python()?);
    script.arg(workspace::root().join("tests/pictures/compare.py"));
    let answers = answers(&mut script, pairs);
    let read = |line: &String| serde_json::from_str(line).expect("JSON");
    Some(answers.iter().map(read).collect())
}

/// Whether `found` is what the table says: of a mean error, no more.
fn is_as_stated(stated: &Row, found: &Row) -> bool {
    let bound = |row: &Row| {
        row.verdict
            .strip_prefix("mean error ≤ ")?
            .parse::<f64>()
            .ok()
    };
    let is_within = match (bound(stated), bound(found)) {
        (Some(stated), Some(found)) => found <= stated,
        _ => stated.verdict == found.verdict,
    };
    is_within && (&stated.syntax, &stated.frames) == (&found.syntax, &found.frames)
}

#[test]
fn pictures_of_every_file_are_those_of_independent_decoders() {
    let (Some(_), Some(folder)) = (python(), workspace::test_data()) else {
        return;
    };
    // Several files have one UID, and a server has the first of those alone.
    let rounds = corpus::rounds(&folder);
    let pictures = workspace::temporary_folder();
    let mut renderings: Vec<Rendering<'_>> = Vec::new();
    for (number, samples) in rounds.iter().enumerate() {
        let server = open_server();
        let pictures = pictures.path().join(number.to_string());
        std::fs::create_dir(&pictures).expect("a folder");
        renderings.extend(samples.iter().map(|sample| {
            let (class, instance) = (&sample.sop_class, &sample.sop_instance);
            let syntax = &sample.transfer_syntax;
            assert_eq!(store(&server, class, instance, syntax, &sample.data_set), 0);
            Rendering::of(&server, sample, &pictures)
        }));
    }
    let pairs: Vec<String> = renderings
        .iter()
        .flat_map(|one| one.pairs(&folder))
        .collect();
    let answers = compared(&pairs).expect("the same Python");
    assert_eq!(answers.len(), pairs.len());

    let (mut answers, mut faults) = (answers.as_slice(), Vec::new());
    let mut rows = BTreeMap::new();
    for one in &renderings {
        let (own, rest) = answers.split_at(one.pictures.len());
        answers = rest;
        match one.row(own) {
            Ok(row) => assert!(rows.insert(name_of(one.sample), row).is_none()),
            Err(fault) => faults.push(fault),
        }
    }
    assert!(
        faults.is_empty(),
        "{} faults:\n{}",
        faults.len(),
        faults.join("\n")
    );

    let page = workspace::root().join("docs/rendering.md");
    let text = std::fs::read_to_string(&page).expect("the page");
    if std::env::var_os("PACS_WRITE_FIXTURES").is_some() {
        std::fs::write(&page, with_table(&text, &rows)).expect("the page");
        return;
    }
    let stated = documented(&text);
    let differ = rows.iter().filter(|(name, found)| {
        let stated = stated.get(*name);
        stated.is_none_or(|stated| !is_as_stated(stated, found))
    });
    let differ: Vec<_> = differ
        .map(|(name, row)| (name, row, stated.get(name)))
        .collect();
    assert!(differ.is_empty(), "docs/rendering.md: {differ:#?}");
    let names: BTreeSet<_> = rows.keys().collect();
    assert_eq!(
        stated.keys().collect::<BTreeSet<_>>(),
        names,
        "rows without a file"
    );
    let equal = rows.values().filter(|row| row.verdict == "equal").count();
    assert!(equal >= EQUAL_MIN, "{equal}");
    // Its elements have no VRs, though its transfer syntax has them.
    assert!(rows["ts/SC_rgb_jpeg.dcm"].verdict.starts_with("mean error"));
}
