//! Foreign tools that read what we give.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Whether a tool is missing and may be: said loudly.
fn is_missing(what: &str, is_here: bool) -> bool {
    if !is_here {
        assert!(
            std::env::var_os("PACS_REQUIRE_PEERS").is_none_or(|value| value != "1"),
            "{what} is needed"
        );
        eprintln!("SKIPPED: {what} is not here");
    }
    !is_here
}

/// Runs a program to its end, which has to be a good one; what it said.
pub(crate) fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}{errors}");
    said
}

/// Whether DCMTK is here.
pub(crate) fn has_dcmtk() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_here = std::env::split_paths(&path).any(|folder| folder.join("getscu").is_file());
    !is_missing("DCMTK", is_here)
}

/// A program of DCMTK.
pub(crate) fn dcmtk(name: &str) -> Command {
    let mut command = Command::new(name);
    // It waits 40 ms for each answer else.
    command.env("TCP_NODELAY", "1");
    command
}

/// The Python with pydicom.
fn python() -> Option<PathBuf> {
    let test = std::env::current_exe().unwrap();
    let mut folders = test.ancestors();
    let python = folders.find_map(|folder| {
        let python = folder.join("tools/venv/bin/python");
        python.is_file().then_some(python)
    });
    if is_missing("the Python with pydicom", python.is_some()) {
        return None;
    }
    python
}

/// What pydicom reads of a file.
const SCRIPT: &str = r#"
import json, sys, pydicom
ds = pydicom.dcmread(sys.argv[1])
original = ds.get("OriginalAttributesSequence", [])
print(json.dumps({
    "charset": ds.get("SpecificCharacterSet", ""),
    "name": str(ds.PatientName), "id": ds.PatientID, "issuer": ds.get("IssuerOfPatientID", ""),
    "birth": ds.get("PatientBirthDate", ""), "sex": ds.get("PatientSex", ""),
    "accession": ds.get("AccessionNumber", ""), "series": ds.get("SeriesDescription", ""),
    "study": ds.get("StudyDescription", ""), "institution": ds.get("InstitutionName", ""),
    "uids": [ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID],
    "request": [item.RequestedProcedureID for item in ds.get("RequestAttributesSequence", [])],
    "pixels": ds.PixelData.hex(),
    "original": [{
        "name": str(item.ModifiedAttributesSequence[0].get("PatientName", "")),
        "id": item.ModifiedAttributesSequence[0].get("PatientID", ""),
        "system": item.ModifyingSystem, "reason": item.ReasonForTheAttributeModification,
    } for item in original],
}))
"#;

/// What pydicom reads of `file`; `None` where it is not here.
pub(crate) fn read(file: &Path) -> Option<serde_json::Value> {
    let said = run(Command::new(python()?).args(["-c", SCRIPT]).arg(file));
    Some(serde_json::from_str(&said).unwrap())
}
