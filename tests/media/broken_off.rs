//! An import that is killed in the middle, as often as you like.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use pacs_tests::corpus::Parts;
use pacs_tests::peers::files_below;
use pacs_tests::samples::{Slice, digests_sent};
use pacs_tests::wire::digest;
use pacs_tests::workspace;
use serde_json::Value;

use super::{import, instances_in, pacs, put};

/// Folders of the medium; in each, what is no instance stands behind the instances.
const FOLDERS: u32 = 4;

/// Instances in each.
const PER_FOLDER: u32 = 100;

/// Imports, and is killed once it has come to the `count`th file that is no instance; whether that
/// was in the middle.
fn killed(data: &Path, medium: &Path, count: usize) -> bool {
    let mut command = Command::new(workspace::binary("pacs"));
    command.args(["--json", "import"]).arg(medium);
    command.arg("--data").arg(data).args(["--deposits", "8"]);
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let mut child = child.expect("it runs");
    let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut skipped = lines.map_while(Result::ok).filter(|line| {
        let line: Value = serde_json::from_str(line).expect("JSON");
        line["reason"] == "not-dicom"
    });
    skipped.nth(count - 1).expect("it tells what it skips");
    child.kill().expect("a child can be killed");
    let status = child.wait().expect("it ends");
    status.signal() == Some(9)
}

#[test]
fn an_import_that_is_killed_in_the_middle_goes_on_and_nothing_is_lost_or_there_twice() {
    let home = workspace::temporary_folder();
    let (data, medium) = (home.path().join("data"), home.path().join("medium"));
    for folder in 0..FOLDERS {
        for number in 1..=PER_FOLDER {
            let number = folder * PER_FOLDER + number;
            let name = format!("{folder}/{number:04}.dcm");
            put(&medium, &name, &Slice::new(1, number).file());
        }
        put(&medium, &format!("{folder}/notes.txt"), b"no instance");
    }
    let all = u64::from(FOLDERS * PER_FOLDER);

    let kills = (1..4).filter(|count| killed(&data, &medium, *count));
    assert_ne!(kills.count(), 0, "none was in the middle");
    let last = import(&data, &medium);

    assert_eq!(last.code, Some(0), "{} {:?}", last.errors, last.lines);
    assert_eq!(last.count("imported") + last.count("already"), all);
    assert_eq!((last.count("conflicts"), last.count("refused")), (0, 0));
    assert!(last.count("already") > 0, "it begins where it was");
    assert_eq!(instances_in(&data), all);
    let out = home.path().join("out");
    let exported = pacs([
        "export".as_ref(),
        "--data".as_ref(),
        data.as_os_str(),
        "--as-stored".as_ref(),
        "-k".as_ref(),
        "PatientID=TEST00001".as_ref(),
        "--out".as_ref(),
        out.as_os_str(),
    ]);
    assert_eq!(exported.count("exported"), all, "{:?}", exported.lines);
    let images = files_below(&out).into_iter();
    let images = images.filter(|path| !path.ends_with("DICOMDIR"));
    let mut digests: Vec<String> = images
        .map(|path| {
            let file = std::fs::read(path).expect("a file");
            digest(&file[Parts::of(&file).data_set_offset..])
        })
        .collect();
    digests.sort();
    assert_eq!(digests, digests_sent(1, FOLDERS * PER_FOLDER));
    let different: BTreeSet<&String> = digests.iter().collect();
    assert_eq!(different.len(), digests.len());
}
