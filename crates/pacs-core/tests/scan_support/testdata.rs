//! Finds the shared test data and reads its manifest.

use std::path::PathBuf;
use std::sync::OnceLock;

/// One line of the manifest.
#[allow(dead_code, reason = "not every test looks at every column")]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) expected: String,
    pub(crate) sop_instance_uid: String,
    pub(crate) note: String,
    pub(crate) pixel_sha256: String,
}

#[allow(dead_code, reason = "not every test needs all of them")]
impl Entry {
    pub(crate) fn path(&self) -> PathBuf {
        directory().join(&self.name)
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        std::fs::read(self.path()).unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }
}

pub(crate) fn directory() -> PathBuf {
    std::env::var_os("PACS_TESTDATA").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/testdata"),
        PathBuf::from,
    )
}

/// Whether what a test needs from outside has to be there.
pub(crate) fn is_required() -> bool {
    std::env::var_os("PACS_REQUIRE_PEERS").is_some_and(|value| value == "1")
}

/// All DICOM files of the manifest; none, said loudly, where the test data is absent.
pub(crate) fn entries() -> &'static [Entry] {
    static ENTRIES: OnceLock<Vec<Entry>> = OnceLock::new();
    ENTRIES.get_or_init(|| {
        let path = directory().join("MANIFEST.tsv");
        let manifest = match std::fs::read(&path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if is_required() => panic!("{}: {error}", path.display()),
            Err(_) => {
                eprintln!("SKIPPED: no test data at {}", path.display());
                return Vec::new();
            }
        };
        let mut lines = manifest.lines();
        let names: Vec<&str> = lines.next().unwrap_or_default().split('\t').collect();
        let column = |name| names.iter().position(|n| *n == name).unwrap();
        let columns = [
            column("file"),
            column("expected"),
            column("sop_instance_uid"),
            column("note"),
            column("pixel_sha256"),
        ];
        lines
            .filter_map(|line| {
                let cells: Vec<&str> = line.split('\t').collect();
                let [name, expected, uid, note, pixels] =
                    columns.map(|at| cells.get(at).copied().unwrap_or_default().to_owned());
                let is_dicom =
                    ["valid", "odd-accept", "incomplete", "malformed"].contains(&&*expected);
                is_dicom.then_some(Entry {
                    name,
                    expected,
                    sop_instance_uid: uid,
                    note,
                    pixel_sha256: pixels,
                })
            })
            .collect()
    })
}
