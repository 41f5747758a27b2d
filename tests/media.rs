//! Media: what `pacs import`, `pacs store` and `pacs export` read and write beside the network, and
//! what hostile media try.

#[path = "media/broken_off.rs"]
mod broken_off;
#[path = "media/hostile.rs"]
mod hostile;

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use pacs_tests::forged_media::{Trick, bomb, dicomdir, zip};
use pacs_tests::peers::{files_below, has_dcmtk, python, run};
use pacs_tests::samples::{Slice, write_study};
use pacs_tests::server::{Options, Server};
use pacs_tests::wire::sink::Takes;
use pacs_tests::wire::{Sink, uid};
use pacs_tests::workspace;
use serde_json::Value;

/// What a command with `--json` came to.
struct Done {
    code: Option<i32>,
    lines: Vec<Value>,
    errors: String,
}

impl Done {
    fn summary(&self) -> &Value {
        let mut kinds = self.lines.iter();
        let summary = kinds.find(|line| line["kind"] == "summary");
        summary.unwrap_or_else(|| panic!("no summary: {:?} {}", self.lines, self.errors))
    }

    fn count(&self, what: &str) -> u64 {
        self.summary()[what].as_u64().expect("a number")
    }

    /// The reasons that were told, in order of the alphabet.
    fn reasons(&self) -> Vec<&str> {
        let problems = self.lines.iter().filter(|line| line["kind"] == "problem");
        let mut reasons: Vec<&str> = problems
            .filter_map(|line| line["reason"].as_str())
            .collect();
        reasons.sort_unstable();
        reasons
    }
}

fn pacs<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Done {
    done(Command::new(workspace::binary("pacs")).args(arguments))
}

fn done(command: &mut Command) -> Done {
    let output = command
        .arg("--json")
        .stdin(Stdio::null())
        .output()
        .expect("it runs");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let line = |line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
    Done {
        code: output.status.code(),
        lines: text.lines().map(line).collect(),
        errors: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Imports into `data`, which may be there already.
fn import(data: &Path, what: &Path) -> Done {
    let arguments: [&OsStr; 4] = [
        "import".as_ref(),
        what.as_ref(),
        "--data".as_ref(),
        data.as_ref(),
    ];
    pacs(arguments)
}

/// Writes `content` to a file below `folder`.
fn put(folder: &Path, name: &str, content: &[u8]) -> PathBuf {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    std::fs::write(&path, content).expect("a file");
    path
}

fn instances_in(data: &Path) -> u64 {
    let verified = pacs(["verify".as_ref(), "--data".as_ref(), data.as_os_str()]);
    assert_eq!(verified.code, Some(0), "{:?}", verified.lines);
    verified.count("instances")
}

#[test]
fn import_takes_folders_and_archives_tells_what_it_refuses_and_can_be_searched() {
    let mut server = Server::start(Options::default());
    server.stop();
    let medium = server.home().join("medium");
    assert_eq!(write_study(&medium.join("a/b"), 1, 3).len(), 3);
    let slice = Slice::new(2, 1).file();
    put(
        &medium,
        "c/more.ZIP",
        &zip(&[("x/1.dcm", &slice, Trick::ForgedSize)]),
    );
    put(&medium, "c/readme.txt", b"nothing to see");
    put(&medium, "c/cut.dcm", &slice[..slice.len() / 40]);
    let report = server.home().join("report.jsonl");

    let imported = pacs([
        "import".as_ref(),
        medium.as_os_str(),
        "--data".as_ref(),
        server.data().as_os_str(),
        "--report".as_ref(),
        report.as_os_str(),
    ]);

    assert_eq!(imported.code, Some(4), "{}", imported.errors);
    assert_eq!(imported.count("imported"), 4);
    assert_eq!(
        (imported.count("refused"), imported.count("skipped")),
        (1, 1)
    );
    assert_eq!(imported.reasons(), ["file-meta", "not-dicom"]);
    let report = std::fs::read_to_string(report).expect("a report");
    let told: Vec<Value> = report
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(told.len(), 2);
    assert!(told.iter().all(|line| line["path"].as_str().is_some()));
    server.restart();
    let peer = format!("PACS@{}", server.dicom());
    let found = pacs(["find", &peer, "-k", "PatientID=TEST00002"]);
    assert_eq!(found.count("count"), 1);
}

#[test]
fn import_refuses_an_archive_that_a_server_holds() {
    let server = Server::start(Options::default());
    let medium = server.home().join("medium");
    assert_eq!(write_study(&medium, 1, 1).len(), 1);

    let imported = import(&server.data(), &medium);

    assert_eq!(imported.code, Some(1));
    assert!(
        imported.errors.contains("stop the server"),
        "{}",
        imported.errors
    );
}

#[test]
fn an_import_again_takes_what_was_refused_and_leaves_what_was_taken() {
    let home = workspace::temporary_folder();
    let (data, medium) = (home.path().join("data"), home.path().join("medium"));
    assert_eq!(write_study(&medium, 1, 3).len(), 3);
    let slice = Slice::new(1, 4).file();
    let cut = put(&medium, "cut.dcm", &slice[..200]);
    let first = import(&data, &medium);
    std::fs::write(cut, slice).expect("a file");

    let second = import(&data, &medium);
    let third = import(&data, &medium);

    assert_eq!((first.code, first.count("imported")), (Some(4), 3));
    assert_eq!((second.code, second.count("imported")), (Some(0), 1));
    assert_eq!(second.count("already"), 3);
    // Nothing was left to do: the next one begins anew, and does no harm.
    assert_eq!((third.count("same"), third.count("already")), (4, 0));
    assert_eq!(instances_in(&data), 4);
}

#[test]
fn a_dicomdir_opens_nothing_outside_its_folder_whatever_it_says() {
    let home = workspace::temporary_folder();
    let root = home.path().join("medium");
    // Outside: an instance that would be imported, were it opened.
    let outside = put(home.path(), "OUTSIDE/IM1", &Slice::new(9, 1).file());
    put(&root, "DIR/IM1", &Slice::new(1, 1).file());
    put(&root, "dir2/im2.;1", &Slice::new(1, 2).file());
    std::os::unix::fs::symlink(outside.parent().expect("a folder"), root.join("LINK"))
        .expect("a link");
    std::os::unix::fs::symlink(&outside, root.join("DIR/FILELINK")).expect("a link");
    let absolute = outside.to_str().expect("UTF-8").to_owned();
    let backslashes = absolute.replace('/', "\\");
    let long = "A\\".repeat(40) + "A";
    let hostile: [&[u8]; 24] = [
        b"..\\OUTSIDE\\IM1",
        b"DIR\\..\\..\\OUTSIDE\\IM1",
        b"../OUTSIDE/IM1",
        b"DIR/../../OUTSIDE/IM1",
        absolute.as_bytes(),
        backslashes.as_bytes(),
        b"C:\\OUTSIDE\\IM1",
        b"C:IM1",
        b"\\\\HOST\\SHARE\\IM1",
        b"LINK\\IM1",
        b"DIR\\FILELINK",
        b".",
        b"..",
        b"...",
        b"DIR",
        b"DIR\\.",
        b"DIR\\\\IM1",
        b"\\DIR\\IM1",
        b"IM1\0",
        b"..\0\\OUTSIDE\\IM1",
        b"..\xc0\xafOUTSIDE\xc0\xafIM1",
        b"%2e%2e\\OUTSIDE\\IM1",
        b"CON",
        long.as_bytes(),
    ];
    let honest: [&[u8]; 2] = [b"DIR\\IM1", b"DIR2\\IM2"];
    put(
        &root,
        "DICOMDIR",
        &dicomdir(&[&hostile[..], &honest[..]].concat()),
    );
    let (by_dicomdir, by_folder) = (home.path().join("data1"), home.path().join("data2"));

    let directly = import(&by_dicomdir, &root.join("DICOMDIR"));
    let by_walk = import(&by_folder, &root);

    for done in [&directly, &by_walk] {
        assert_eq!(done.code, Some(4), "{}", done.errors);
        assert_eq!(done.count("imported"), 2, "{:?}", done.lines);
    }
    assert_eq!(directly.count("refused"), 24, "{:?}", directly.reasons());
    for data in [by_dicomdir, by_folder] {
        for file in files_below(&data) {
            let bytes = std::fs::read(file).expect("a file");
            let needle = &Slice::new(9, 1).data_set()[1000..1100];
            let holds = bytes.windows(needle.len()).any(|window| window == needle);
            assert!(!holds, "something outside was opened");
        }
    }
}

#[test]
fn a_zip_archive_that_is_hostile_costs_little_and_writes_nothing() {
    let home = workspace::temporary_folder();
    let slice = Slice::new(1, 1).file();
    let content = slice.as_slice();
    let names = [
        "../escaped.dcm",
        "a/../../escaped.dcm",
        "/tmp/escaped.dcm",
        "C:\\escaped.dcm",
        "..\\escaped.dcm",
        "\\\\host\\share\\escaped.dcm",
        "a\0b.dcm",
    ];
    let hostile: Vec<_> = names
        .iter()
        .map(|name| (*name, content, Trick::None))
        .collect();
    let inner = zip(&[("1.dcm", content, Trick::None)]);
    let tricks = [
        ("encrypted.dcm", content, Trick::Encrypted),
        ("link.dcm", b"/etc/passwd".as_slice(), Trick::Link),
        ("inner.zip", inner.as_slice(), Trick::None),
        ("good.dcm", content, Trick::None),
    ];
    let named = put(home.path(), "named.zip", &zip(&hostile));
    let tricked = put(home.path(), "tricked.zip", &zip(&tricks));
    let overlap = [("a", content, Trick::None), ("b", content, Trick::Overlap)];
    let overlapping = put(home.path(), "overlapping.zip", &zip(&overlap));
    let mut cut = zip(&tricks);
    cut.truncate(cut.len() - 10);
    let cut = put(home.path(), "cut.zip", &cut);
    let data = home.path().join("data");

    let by_name = import(&data, &named);
    let by_trick = import(&data, &tricked);
    let by_overlap = import(&data, &overlapping);
    let by_cut = import(&data, &cut);

    assert_eq!(
        (by_name.count("imported"), by_name.count("refused")),
        (0, 7)
    );
    assert_eq!(
        (by_trick.count("imported"), by_trick.count("refused")),
        (1, 3)
    );
    assert_eq!(
        (by_overlap.count("imported"), by_overlap.count("refused")),
        (0, 1)
    );
    assert_eq!((by_cut.count("imported"), by_cut.count("refused")), (0, 1));
    let escaped = files_below(home.path())
        .into_iter()
        .filter(|path| path.to_string_lossy().contains("escaped"));
    assert_eq!(escaped.count(), 0);
    assert!(!Path::new("/tmp/escaped.dcm").exists());
}

/// 4 GiB out of 4 MB, in a process that may have 2 GiB of addresses.
#[test]
fn a_zip_bomb_is_refused_in_bounded_memory() {
    let home = workspace::temporary_folder();
    let path = put(home.path(), "bomb.zip", &bomb(4096));
    let data = home.path().join("data");
    let pacs = workspace::binary("pacs");
    let script = "ulimit -v 2097152; exec \"$@\"";

    let imported = done(
        Command::new("bash")
            .args(["-c", script, "limited"])
            .arg(pacs)
            .arg("import")
            .arg(path)
            .arg("--data")
            .arg(&data),
    );

    assert_eq!(imported.code, Some(4), "{}", imported.errors);
    assert_eq!(
        (imported.count("imported"), imported.count("refused")),
        (0, 1)
    );
    let told = imported.lines.iter().any(|line| {
        let message = line["message"].as_str().unwrap_or_default();
        message.contains("inflates too far")
    });
    assert!(told, "{:?}", imported.lines);
    assert_eq!(instances_in(&data), 0);
}

#[test]
fn the_file_sets_of_the_test_data_are_imported_whatever_their_dicomdir_is_like() {
    let Some(test_data) = workspace::test_data() else {
        return;
    };
    let folder = test_data.join("dicomdir");
    let home = workspace::temporary_folder();
    let tiny = folder.join("TINY_ALPHA");
    let data = home.path().join("data");

    let by_dicomdir = import(&data, &tiny.join("DICOMDIR"));
    let by_folder = import(&home.path().join("data2"), &tiny);
    let all = import(&home.path().join("data3"), &folder);

    assert_eq!(by_dicomdir.code, Some(0), "{:?}", by_dicomdir.lines);
    assert_eq!(by_dicomdir.count("imported"), by_folder.count("imported"));
    assert!(by_dicomdir.count("imported") > 10);
    assert!(all.count("imported") > by_folder.count("imported"));
    // Directories of other kinds beside the first one are no instances.
    assert!(all.reasons().contains(&"dicomdir"), "{:?}", all.reasons());
    for line in all.lines.iter().filter(|line| line["reason"] == "missing") {
        let path = line["path"].as_str().expect("a path");
        assert!(!Path::new(path).exists(), "{path} is there");
    }
}

#[test]
fn an_exported_file_set_is_one_for_dcmtk_and_pydicom_and_comes_back_byte_for_byte() {
    let home = workspace::temporary_folder();
    let (data, out) = (home.path().join("data"), home.path().join("out"));
    let medium = home.path().join("medium");
    assert_eq!(write_study(&medium.join("1"), 1, 3).len(), 3);
    assert_eq!(write_study(&medium.join("2"), 2, 2).len(), 2);
    let mut count = 5;
    if let Some(test_data) = workspace::test_data() {
        let imported = import(&data, &test_data.join("modality"));
        count += imported.count("imported") - imported.count("same") - imported.count("conflicts");
    }
    assert_eq!(import(&data, &medium).code, Some(0));
    let export = |more: &[&OsStr]| {
        let data = data.as_os_str();
        let first: [&OsStr; 5] = [
            "export".as_ref(),
            "--data".as_ref(),
            data,
            "-k".as_ref(),
            "PatientName".as_ref(),
        ];
        pacs(first.iter().chain(more))
    };

    let exported = export(&[
        "--out".as_ref(),
        out.as_os_str(),
        "--label".as_ref(),
        "t 1".as_ref(),
    ]);
    let again = export(&["--out".as_ref(), out.as_os_str()]);
    let archive = home.path().join("out.zip");
    let zipped = export(&["--out".as_ref(), archive.as_os_str(), "--zip".as_ref()]);
    let zipped_again = export(&["--out".as_ref(), archive.as_os_str(), "--zip".as_ref()]);

    assert_eq!(exported.code, Some(0), "{}", exported.errors);
    assert_eq!(exported.count("exported"), count);
    assert_eq!((again.code, zipped_again.code), (Some(1), Some(1)));
    assert_eq!(zipped.count("exported"), count);
    let names_are_good = files_below(&out).iter().all(|path| {
        let path = path.strip_prefix(&out).expect("below");
        let good = |part: &OsStr| {
            let part = part.to_str().expect("ASCII");
            let is_good = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
            part.len() <= 8 && part.chars().all(is_good)
        };
        path.iter().count() <= 8 && path.iter().all(good)
    });
    assert!(names_are_good, "{:?}", files_below(&out));
    judged_by_dcmtk(&out);
    judged_by_python(&out, &archive, count);
    for (at, what) in [out.join("DICOMDIR"), archive].iter().enumerate() {
        let back = home.path().join(format!("back{at}"));
        assert_eq!(import(&back, what).count("imported"), count);
        // Equal bytes are not another version.
        let known = import(&data, what);
        assert_eq!((known.count("same"), known.count("conflicts")), (count, 0));
    }
}

fn judged_by_dcmtk(out: &Path) {
    if !has_dcmtk() {
        return;
    }
    let dumped = run(Command::new("dcmdump").arg(out.join("DICOMDIR"))).succeeded();
    assert!(!dumped.text.contains("E:"), "{}", dumped.text);
    assert!(dumped.text.contains("[T1]"), "{}", dumped.text);
    let wanted = Slice::new(1, 1).data_set();
    let mut files = files_below(out).into_iter();
    let slice = files.find(|file| std::fs::read(file).expect("a file").ends_with(&wanted));
    let slice = slice.expect("it was exported");
    let slice = slice.strip_prefix(out).expect("below");
    // It appends to the directory, and so has to understand all of it.
    let copied = out.join("DIRCOPY");
    std::fs::copy(out.join("DICOMDIR"), &copied).expect("a copy");
    let appended = run(Command::new("dcmgpdir").current_dir(out).args([
        "--append",
        "--output-file",
        "DIRCOPY",
        "--invent",
        slice.to_str().expect("ASCII"),
    ]));
    std::fs::remove_file(copied).expect("the copy");
    assert!(appended.success, "{}", appended.text);
}

fn judged_by_python(out: &Path, archive: &Path, count: u64) {
    let Some(python) = python() else {
        return;
    };
    let script = "
import sys, warnings, zipfile
warnings.simplefilter('ignore')
from pydicom.fileset import FileSet
found = 0
for instance in FileSet(sys.argv[1] + '/DICOMDIR'):
    loaded = instance.load()
    assert loaded.SOPInstanceUID == instance.ReferencedSOPInstanceUIDInFile
    syntax = loaded.file_meta.TransferSyntaxUID
    assert syntax == instance.ReferencedTransferSyntaxUIDInFile
    assert not loaded.get('PatientID') or loaded.PatientID == instance.PatientID
    found += 1
archive = zipfile.ZipFile(sys.argv[2])
assert archive.testzip() is None
assert len(archive.namelist()) == found + 1
print('found', found)
";
    let mut command = Command::new(python);
    let said = run(command.args(["-c", script]).arg(out).arg(archive)).succeeded();
    assert!(
        said.text.contains(&format!("found {count}")),
        "{}",
        said.text
    );
}

#[test]
fn export_takes_what_any_key_names_from_a_peer() {
    let server = Server::start(Options::default());
    let sent = server.home().join("sent");
    assert_eq!(write_study(&sent, 1, 3).len(), 3);
    assert_eq!(write_study(&sent, 2, 2).len(), 2);
    let peer = format!("PACS@{}", server.dicom());
    let out = server.home().join("out");
    assert_eq!(
        pacs(["store".as_ref(), peer.as_ref(), sent.as_os_str()]).code,
        Some(0)
    );

    let exported = pacs([
        "export".as_ref(),
        peer.as_ref(),
        "-k".as_ref(),
        "PatientName=test^patient2".as_ref(),
        "--out".as_ref(),
        out.as_os_str(),
    ]);

    assert_eq!(exported.code, Some(0), "{}", exported.errors);
    assert_eq!(exported.count("exported"), 2);
    let data = server.home().join("other");
    assert_eq!(import(&data, &out.join("DICOMDIR")).count("imported"), 2);
}

#[test]
fn store_goes_on_where_it_was_broken_off() {
    let home = workspace::temporary_folder();
    let medium = home.path().join("medium");
    assert_eq!(write_study(&medium, 1, 40).len(), 40);
    put(&medium, "notes.txt", b"not an instance");
    let sink = Sink::start(Takes::Everything);
    let peer = format!("SINK@{}", sink.address());
    let journal = home.path().join("journal");
    let store = |more: &[&str]| {
        let mut command = Command::new(workspace::binary("pacs"));
        let command = command.args(["store", &peer, "--associations", "3", "--journal"]);
        done(command.arg(&journal).arg(&medium).args(more))
    };

    sink.break_off_after(17);
    let first = store(&[]);
    let taken = sink.take().len();
    sink.break_off_after(i64::MAX);
    let second = store(&[]);
    let rest = sink.take().len();
    let journal_is_gone = !journal.exists();
    let third = store(&[]);

    assert_eq!(first.code, Some(3), "{}", first.errors);
    assert_eq!((first.count("stored"), taken), (17, 17));
    assert_eq!((second.code, second.count("stored")), (Some(0), 23));
    assert_eq!((second.count("already"), second.count("skipped")), (17, 1));
    assert_eq!(rest, 23);
    assert!(journal_is_gone, "all is done");
    assert_eq!(third.count("stored"), 40);
}

#[test]
fn ae_test_names_the_layer_that_fails() {
    let server = Server::start(Options::default());
    let tested = |peer: &str, more: &[&str]| {
        let done = pacs(["ae", "test", peer, "--timeout", "5"].iter().chain(more));
        let results = done.lines.iter().filter(|line| line["kind"] == "result");
        let layers: Vec<(String, bool)> = results
            .map(|line| {
                let layer = line["layer"].as_str().expect("a layer").to_owned();
                (layer, line["ok"] == true)
            })
            .collect();
        (done.code, layers)
    };
    let config = server.home().join("aes.toml");
    let address = server.dicom();
    let mut file = std::fs::File::create(&config).expect("a file");
    writeln!(
        file,
        "[[dicom.ae]]\ntitle = \"WS1\"\naddress = \"{address}\""
    )
    .expect("a line");
    let config = config.to_str().expect("UTF-8");
    let strict = Server::start(Options {
        arguments: vec!["--dicom".to_owned(), "0.0.0.0:0".to_owned()],
        config: "[dicom]\ninsecure = true\n".to_owned(),
        ..Options::default()
    });
    let strict = format!("PACS@127.0.0.1:{}", strict.dicom().port());
    let picky = Sink::start(Takes::Only(uid::JPEG_BASELINE));
    let free = pacs_tests::peers::free_port();

    let (code, layers) = tested("WS1", &["--config", config]);
    let names: Vec<&str> = layers.iter().map(|(layer, _)| layer.as_str()).collect();
    let expected = [
        "name",
        "TCP",
        "association",
        "presentation context",
        "C-ECHO",
    ];
    assert_eq!((code, names), (Some(0), expected.to_vec()));
    let failing = [
        ("X@no-such-host.invalid:104".to_owned(), 3, "name"),
        (format!("X@127.0.0.1:{free}"), 3, "TCP"),
        (strict, 3, "association"),
        (format!("X@{}", picky.address()), 1, "presentation context"),
    ];
    for (peer, code_expected, layer) in failing {
        let (code, layers) = tested(&peer, &[]);
        assert_eq!(code, Some(code_expected), "{peer}");
        assert_eq!(layers.last(), Some(&(layer.to_owned(), false)), "{peer}");
    }
    let listed = pacs(["ae", "list", "--config", config]);
    assert_eq!(
        (listed.count("count"), &listed.lines[0]["title"]),
        (1, &"WS1".into())
    );
}
