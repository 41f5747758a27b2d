//! The Python whose pydicom the tests ask.

use super::testdata::is_required;
use std::path::Path;
use std::process::{Command, Stdio};

/// The interpreter that is named, else that of the tests' environment, else the system's.
pub(crate) fn python() -> String {
    let named = std::env::var("PACS_PYTHON").ok();
    let tools = std::env::var("PACS_TOOLS")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/tools").to_owned());
    let environment = format!("{tools}/venv/bin/python");
    named
        .or_else(|| Path::new(&environment).is_file().then_some(environment))
        .unwrap_or_else(|| "python3".to_owned())
}

pub(crate) fn has_pydicom() -> bool {
    let here = Command::new(python())
        .args(["-c", "import pydicom"])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    assert!(here || !is_required(), "pydicom is required and absent");
    if !here {
        eprintln!("SKIPPED: {} has no pydicom (set PACS_PYTHON)", python());
    }
    here
}
