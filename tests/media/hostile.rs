//! Files that are more than they seem: programs in the preamble (T6), and deflated data sets that
//! do not end (T7).

use std::path::Path;
use std::process::Command;

use pacs_tests::forged_media::{
    Burst, PROGRAMS, deflate_bomb, program, said_of_programs, with_preamble,
};
use pacs_tests::peers::files_below;
use pacs_tests::samples::{Slice, part10};
use pacs_tests::wire::uid;
use pacs_tests::workspace;

use super::{Done, done, import, instances_in, pacs, put};

#[test]
fn t6_a_program_in_a_preamble_is_not_imported_and_is_on_record() {
    let home = workspace::temporary_folder();
    let (data, medium) = (home.path().join("data"), home.path().join("medium"));
    for (number, (name, magic)) in (1..).zip(PROGRAMS) {
        let file = with_preamble(&Slice::new(1, number).file(), &program(magic));
        put(&medium, &format!("{number:02}-{name}.dcm"), &file);
    }
    // A TIFF is what the preamble is for.
    let tiff = with_preamble(&Slice::new(1, 99).file(), &program(b"II*\0"));
    put(&medium, "99.dcm", &tiff);

    let imported = import(&data, &medium);

    assert_eq!(imported.code, Some(0), "{}", imported.errors);
    assert_eq!(imported.count("imported"), PROGRAMS.len() as u64 + 1);
    assert_eq!(imported.reasons(), ["preamble"; PROGRAMS.len()]);
    let instances: Vec<_> = (1..)
        .zip(PROGRAMS)
        .map(|(number, _)| Slice::new(1, number).instance)
        .collect();
    let mut said = said_of_programs(&data);
    said.sort_by(|(one, _), (other, _)| one.cmp(other));
    let mut expected: Vec<_> = PROGRAMS
        .iter()
        .zip(instances)
        .map(|((name, magic), instance)| (instance, *name, program(magic)))
        .collect();
    expected.sort();
    assert_eq!(said.len(), expected.len());
    for (said, (instance, name, preamble)) in said.iter().zip(&expected) {
        assert_eq!(said.0, *instance);
        said.1.is_of(name, preamble, ("system", "pacs import"));
    }
    let out = home.path().join("out");
    let exported = pacs([
        "export".as_ref(),
        "--data".as_ref(),
        data.as_os_str(),
        "-k".as_ref(),
        "PatientID=TEST00001".as_ref(),
        "--out".as_ref(),
        out.as_os_str(),
    ]);
    assert_eq!(exported.count("exported"), PROGRAMS.len() as u64 + 1);
    for path in files_below(&out) {
        let file = std::fs::read(&path).expect("a file");
        assert_eq!(file[..128], [0; 128], "{}", path.display());
        assert_eq!(&file[128..132], b"DICM");
    }
}

/// `pacs` with these words, in a process that may have 2 GiB of addresses.
fn limited(words: &[&str], data: &Path) -> Done {
    let script = "ulimit -v 2097152; exec \"$@\"";
    let mut bash = Command::new("bash");
    bash.args(["-c", script, "limited"]);
    done(
        bash.arg(workspace::binary("pacs"))
            .args(words)
            .arg("--data")
            .arg(data),
    )
}

#[test]
fn t7_a_deflate_bomb_in_a_file_is_refused_or_never_inflated() {
    let home = workspace::temporary_folder();
    let data = home.path().join("data");
    let slice = Slice::new(7, 1);
    let file = |burst| {
        let of = (uid::CT_IMAGE_STORAGE, slice.instance.as_str());
        part10(
            of,
            uid::DEFLATED_LITTLE_ENDIAN,
            &deflate_bomb(&slice, burst),
        )
    };
    let early = put(home.path(), "early.dcm", &file(Burst::BeforeStudy));
    let late = put(home.path(), "late.dcm", &file(Burst::InPixelData));

    let refused = limited(&["import", early.to_str().expect("UTF-8")], &data);
    let kept = limited(&["import", late.to_str().expect("UTF-8")], &data);

    assert_eq!(refused.code, Some(4), "{}", refused.errors);
    assert_eq!(
        (refused.count("imported"), refused.reasons()),
        (0, vec!["not-an-instance"])
    );
    // What says who it is before it bursts is kept as it came, and inflated no further.
    assert_eq!(kept.code, Some(0), "{}", kept.errors);
    assert_eq!(limited(&["rebuild"], &data).code, Some(0));
    assert_eq!(instances_in(&data), 1);
}
