//! What of the package is made: manual pages, completions, Debian's changelog, and the licences of
//! what is linked into it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::run::{Workspace, ask, must};

/// Completion scripts: the name of the shell, and of the file that it looks for.
const COMPLETIONS: [(&str, &str); 3] = [("bash", "pacs"), ("zsh", "_pacs"), ("fish", "pacs.fish")];

/// Makes everything in `folder`, with the binaries in `binaries`.
pub(super) fn make(workspace: &Workspace, binaries: &Path, folder: &Path) -> anyhow::Result<()> {
    if folder.exists() {
        std::fs::remove_dir_all(folder)?;
    }
    std::fs::create_dir_all(folder)?;
    let tool = binaries.join("pacs");
    let pages = folder.join("man");
    must(Command::new(&tool).arg("man").arg(&pages))?;
    for page in std::fs::read_dir(pages)? {
        compress(&page?.path())?;
    }
    for (shell, name) in COMPLETIONS {
        let script = ask(Command::new(&tool).args(["completions", shell]));
        let script = script.with_context(|| format!("completions for {shell}"))?;
        let directory = folder.join(shell);
        std::fs::create_dir_all(&directory)?;
        std::fs::write(directory.join(name), script)?;
    }
    let metadata = metadata(workspace)?;
    let log = folder.join("changelog.Debian");
    std::fs::write(&log, changelog(workspace, &metadata)?)?;
    compress(&log)?;
    let notices = notices(workspace, &metadata)?;
    std::fs::write(folder.join("third-party-licences.txt"), notices)?;
    Ok(())
}

/// As Debian wants it: as small as possible, without name and date.
fn compress(file: &Path) -> anyhow::Result<()> {
    let compressed = ask(Command::new("gzip").arg("-9n").arg(file));
    compressed.with_context(|| format!("gzip {}", file.display()))?;
    Ok(())
}

fn metadata(workspace: &Workspace) -> anyhow::Result<Value> {
    let host = ask(Command::new("rustc").arg("-vV")).context("rustc -vV")?;
    let host = host.lines().find_map(|line| line.strip_prefix("host: "));
    let host = host.context("rustc names its host")?;
    let arguments = ["metadata", "--format-version=1", "--filter-platform", host];
    let text = ask(&mut workspace.cargo(arguments)).context("cargo metadata")?;
    Ok(serde_json::from_str(&text)?)
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// One entry, of the day of the last commit: what has changed stands in CHANGELOG.md.
fn changelog(workspace: &Workspace, metadata: &Value) -> anyhow::Result<String> {
    let package = list(&metadata["packages"]).find(|it| text(it, "name") == "reference-server");
    let version = text(package.context("reference-server")?, "version");
    let mut git = Command::new("git");
    git.current_dir(&workspace.root);
    let date = ask(git.args(["log", "-1", "--format=%cD"]))
        .or_else(|| ask(Command::new("date").arg("-R")))
        .context("a date")?;
    Ok(format!(
        "pacs-server ({version}-1) unstable; urgency=medium\n\n  \
         * As CHANGELOG.md tells.\n\n \
         -- pacs contributors <contributors@pacs.invalid>  {}\n",
        date.trim()
    ))
}

/// Name and version of all that is linked into the server and the tool. `cargo metadata` does not
/// know which optional dependencies are really taken.
fn linked(workspace: &Workspace) -> anyhow::Result<BTreeSet<(String, String)>> {
    let tree = ask(&mut workspace.cargo([
        "tree",
        "--package",
        "reference-server",
        "--edges",
        "normal,no-proc-macro",
        "--prefix",
        "none",
    ]));
    let mut linked = BTreeSet::new();
    for line in tree.context("cargo tree")?.lines() {
        let mut words = line.split(' ');
        if let (Some(name), Some(version)) = (words.next(), words.next()) {
            let version = version.trim_start_matches('v');
            linked.insert((name.to_owned(), version.to_owned()));
        }
    }
    Ok(linked)
}

/// The licences of all that is linked in, each text once, with the crates that carry it.
fn notices(workspace: &Workspace, metadata: &Value) -> anyhow::Result<String> {
    let linked = linked(workspace)?;
    let mut crates = String::new();
    let mut texts: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let foreign = list(&metadata["packages"]).filter(|it| {
        let key = (text(it, "name").to_owned(), text(it, "version").to_owned());
        linked.contains(&key) && !it["source"].is_null()
    });
    for package in foreign {
        let name = format!("{} {}", text(package, "name"), text(package, "version"));
        writeln!(crates, "{name}: {}", text(package, "license"))?;
        let folder = Path::new(text(package, "manifest_path")).parent();
        for entry in std::fs::read_dir(folder.context("a manifest stands in a folder")?)? {
            let path = entry?.path();
            let file = path.file_name().and_then(|file| file.to_str());
            let file = file.unwrap_or_default().to_uppercase();
            let is_licence = ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE"];
            if path.is_file() && is_licence.iter().any(|word| file.starts_with(word)) {
                let licence = String::from_utf8_lossy(&std::fs::read(&path)?).into_owned();
                let licence = licence.replace("\r\n", "\n").trim().to_owned();
                texts.entry(licence).or_default().insert(name.clone());
            }
        }
    }
    ensure!(
        !crates.is_empty(),
        "no foreign crate is linked in, which cannot be"
    );
    let mut notices = format!(
        "The programs of this package contain the Rust standard library (MIT OR Apache-2.0) and \
         these crates:\n\n{crates}\nWhat they carry with them:\n"
    );
    for (licence, names) in texts {
        let names: Vec<String> = names.into_iter().collect();
        let line = "-".repeat(80);
        write!(
            notices,
            "\n{line}\n{}\n{line}\n\n{licence}\n",
            names.join(", ")
        )?;
    }
    Ok(notices)
}
