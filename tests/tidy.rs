//! Tidiness: the rules of the house that a compiler does not check.
//!
//! ARCHITECTURE.md says who may import whom and which foreign crate stands behind which fence;
//! CONTRIBUTING.md says the rest. A failure names the file, the line and the rule.

#[path = "tidy/dependencies.rs"]
mod dependencies;

use std::path::{Path, PathBuf};
use std::process::Command;

use pacs_tests::workspace::root;

/// A source file, by its path below the root.
struct Source {
    path: String,
    text: String,
}

/// Every file of the tree, by its path below the root. Build output, the data of a server that was
/// tried out here and hidden folders are left out, except those that hold rules of the house.
fn files() -> Vec<PathBuf> {
    let root = root();
    let mut files = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .expect("UTF-8");
            if path.is_file() {
                files.push(
                    path.strip_prefix(&root)
                        .expect("below the root")
                        .to_path_buf(),
                );
            } else if !["target", "pacs-data"].contains(&name)
                && (!name.starts_with('.') || [".ci", ".cargo"].contains(&name))
            {
                folders.push(path);
            }
        }
    }
    files.sort();
    files
}

fn sources() -> Vec<Source> {
    files()
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| Source {
            text: std::fs::read_to_string(root().join(&path)).expect("source is UTF-8"),
            path: path.to_str().expect("UTF-8").to_owned(),
        })
        .collect()
}

/// Fails with every fault at once.
fn none(rule: &str, faults: &[String]) {
    assert!(faults.is_empty(), "{rule}:\n  {}", faults.join("\n  "));
}

/// Faults line by line: `judge` says what is wrong with a line, if anything.
fn faults_by_line(
    sources: &[Source],
    judge: impl Fn(&Source, &str) -> Option<String>,
) -> Vec<String> {
    let mut faults = Vec::new();
    for source in sources {
        for (index, line) in source.text.lines().enumerate() {
            if let Some(fault) = judge(source, line) {
                faults.push(format!("{}:{}: {fault}", source.path, index + 1));
            }
        }
    }
    faults
}

#[test]
fn every_source_file_begins_by_saying_what_it_is() {
    let faults: Vec<String> = sources()
        .into_iter()
        .filter(|source| {
            !source.text.starts_with("//! ") && !source.text.starts_with("#![no_main]")
        })
        .map(|source| source.path)
        .collect();

    none("the first line of a file is a //! comment", &faults);
}

#[test]
fn no_line_is_longer_than_a_hundred_columns() {
    let faults = faults_by_line(&sources(), |_, line| {
        let columns = line.chars().count();
        (columns > 100).then(|| format!("{columns} columns"))
    });

    none("at most 100 columns", &faults);
}

#[test]
fn no_file_has_a_name_that_could_hold_anything() {
    let forbidden = [
        "util", "utils", "common", "misc", "types", "helpers", "helper", "mod",
    ];
    let faults: Vec<String> = sources()
        .into_iter()
        .map(|source| source.path)
        .filter(|path| {
            Path::new(path)
                .iter()
                .filter_map(|part| part.to_str())
                .any(|part| forbidden.contains(&part.trim_end_matches(".rs")))
        })
        .collect();

    none(
        "no util, common, misc, types, helpers, and no mod.rs",
        &faults,
    );
}

#[test]
fn limits_stand_in_the_limits_files() {
    // A constant of the standard itself, which belongs to the type it bounds.
    let allowed = ["crates/pacs-core/src/uid.rs"];
    let faults = faults_by_line(&sources(), |source, line| {
        let in_place = source.path.ends_with("/limits.rs")
            || allowed.contains(&source.path.as_str())
            || !source.path.contains("/src/")
            || source.path.starts_with("tests/");
        let name = line
            .trim_start()
            .strip_prefix("pub const ")?
            .split(':')
            .next()?;
        (!in_place && name.ends_with("_MAX")).then(|| format!("{name} is not in limits.rs"))
    });

    none(
        "a public limit is a field or a constant of limits.rs",
        &faults,
    );
}

#[test]
fn what_is_left_to_do_names_its_issue() {
    // Put together, so that this file does not find itself.
    let marks = [["TO", "DO"].concat(), ["FIX", "ME"].concat()];
    let faults = faults_by_line(&sources(), |_, line| {
        let mark = marks.iter().find(|mark| line.contains(mark.as_str()))?;
        let has_issue = line
            .split(mark.as_str())
            .nth(1)
            .is_some_and(|rest| rest.trim_start_matches(['(', ' ', ':']).starts_with('#'));
        (!has_issue).then(|| format!("{mark} without an issue"))
    });

    none("it carries the number of an issue, as in (#12)", &faults);
}

#[test]
fn nothing_names_a_place_on_somebodys_machine() {
    let places = [
        ["/ho", "me/"].concat(),
        ["/wo", "rk/"].concat(),
        ["/ro", "ot/"].concat(),
    ];
    let mut faults = Vec::new();
    for path in files() {
        let is_text = path
            .extension()
            .and_then(|extension| extension.to_str())
            .is_some_and(|extension| {
                matches!(
                    extension,
                    "rs" | "toml" | "md" | "py" | "sh" | "yml" | "json"
                )
            });
        if !is_text && !path.starts_with(".ci") {
            continue;
        }
        let Ok(text) = std::fs::read_to_string(root().join(&path)) else {
            continue;
        };
        for (index, line) in text.lines().enumerate() {
            if places.iter().any(|place| line.contains(place.as_str())) {
                faults.push(format!("{}:{}", path.display(), index + 1));
            }
        }
    }

    none("no absolute path of a developer's machine", &faults);
}

/// Whether `line` names the crate `name` in code (`name::` or `use name`).
fn names_crate(line: &str, name: &str) -> bool {
    let code = line.trim_start();
    if code.starts_with("//") {
        return false;
    }
    let code = code.split(" // ").next().unwrap_or(code);
    let is_word = |character: char| character.is_alphanumeric() || character == '_';
    code.match_indices(name).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = &code[at + name.len()..];
        let whole = before.is_none_or(|character| !is_word(character) && character != '"')
            && !after.starts_with(is_word);
        // `crate::redb::x`, `index::redb::x` and the like name a module of ours.
        let ours = ["crate::", "self::", "super::", "index::", "records::"]
            .iter()
            .any(|own| code[..at].ends_with(own));
        let used = after.starts_with("::")
            || code[..at].trim_end().ends_with("use")
            || code[..at].ends_with("extern crate ");
        whole && used && !ours
    })
}

/// Signs the trail.
const SIGNING: &str = "reference-server/src/signing.rs";
/// A crate, and who may use it.
type Fence = (&'static str, fn(&str) -> bool);

const TLS: fn(&str) -> bool =
    |path| path.starts_with("crates/pacs-net/src/tls") || path == "tests/src/tls_listener.rs";
const HTTP: fn(&str) -> bool =
    |path| path.starts_with("crates/pacs-web/") || path.starts_with("reference-server/src/");
const JPEG_XL: fn(&str) -> bool = |path| path == "crates/pacs-image/src/codec/jpeg_xl.rs";
const ENCODE: fn(&str) -> bool = |path| path == "crates/pacs-image/src/render/encode.rs";

/// One module for each.
const FENCES: [Fence; 20] = [
    ("aws_lc_rs", |path| {
        let ours = ["signature.rs", "tests.rs"].map(|it| format!("reference-server/src/oidc/{it}"));
        path.starts_with("crates/pacs-net/src/tls")
            || path.starts_with("tests/")
            || path == SIGNING
            || ours.iter().any(|it| it == path)
    }),
    ("axum", |path| HTTP(path) || path == "examples/dicomweb.rs"),
    ("hyper", |path| {
        let users = [
            "crates/pacs-web/src/stream/tests.rs",
            "reference-server/src/carrier.rs",
            "reference-server/src/http.rs",
        ];
        users.contains(&path)
    }),
    // For keys in PEM, as TLS reads them.
    ("rustls", |path| {
        path.starts_with("crates/pacs-net/src/tls")
            || path == "tests/src/tls_listener.rs"
            || path == SIGNING
    }),
    ("tokio_rustls", TLS),
    ("x509_cert", TLS),
    ("rcgen", |path| {
        path == "crates/pacs-net/src/tls/tests.rs" || path.starts_with("tests/")
    }),
    ("dicom_ul", |path| {
        path.starts_with("crates/pacs-net/src/pdu") || path.starts_with("fuzz/")
    }),
    ("jpeg2k", |path| {
        path == "crates/pacs-image/src/codec/jpeg2000.rs"
    }),
    ("openjph_core", |path| {
        path == "crates/pacs-image/src/codec/htj2k.rs"
    }),
    ("jxl_bitstream", JPEG_XL),
    ("jxl_oxide", JPEG_XL),
    ("jxl_oxide_common", JPEG_XL),
    ("embedded_graphics", |path| {
        path == "crates/pacs-image/src/render/annotation.rs"
    }),
    ("gif", ENCODE),
    ("jpeg_encoder", |path| path == "crates/pacs-jpeg/src/lib.rs"),
    ("png", |path| {
        path == "crates/pacs-image/src/render/encode.rs" || path.starts_with("tests/")
    }),
    ("indicatif", |path| {
        path == "reference-server/src/tool/output.rs"
    }),
    ("redb", |path| {
        path.starts_with("crates/pacs-store/src/") && path.contains("redb")
    }),
    ("anyhow", |path| {
        path.starts_with("xtask/")
            || path.starts_with("reference-server/src/bin/")
            || path.starts_with("examples/")
            || path.starts_with("benches/")
            || path.ends_with("/main.rs")
    }),
];

#[test]
fn foreign_crates_stay_behind_their_fences() {
    let faults = faults_by_line(&sources(), |source, line| {
        let broken = FENCES
            .iter()
            .find(|(name, inside)| names_crate(line, name) && !inside(&source.path));
        broken.map(|(name, _)| format!("{name} is used outside its fence"))
    });

    none("one module for each fenced crate", &faults);
}

/// What each package of ours may depend on, among ours (ARCHITECTURE.md, code map).
const ARROWS: [(&str, &[&str]); 11] = [
    ("pacs-core", &[]),
    ("pacs-image", &["pacs-core", "pacs-jpeg"]),
    ("pacs-jpeg", &[]),
    ("pacs-media", &["pacs-core"]),
    ("pacs-net", &["pacs-core"]),
    ("pacs-report", &["pacs-core"]),
    ("pacs-store", &["pacs-core"]),
    ("pacs-store-conformance", &["pacs-core", "pacs-store"]),
    ("pacs-web", &["pacs-core", "pacs-image", "pacs-store"]),
    (
        "reference-server",
        &[
            "pacs-core",
            "pacs-image",
            "pacs-media",
            "pacs-net",
            "pacs-report",
            "pacs-store",
            "pacs-web",
        ],
    ),
    ("pacs-tests", &[]),
];

/// Packages that may depend on anything.
const FREE: [&str; 3] = ["pacs-examples", "pacs-benches", "xtask"];

fn metadata() -> serde_json::Value {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .current_dir(root())
        .args(["metadata", "--no-deps", "--offline", "--format-version=1"]);
    let output = cargo.output().expect("cargo runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON")
}

/// Name and dependencies of every package; dependencies for tests only are marked.
fn packages() -> Vec<(String, Vec<(String, bool)>)> {
    let metadata = metadata();
    let text = |value: &serde_json::Value| value.as_str().expect("text").to_owned();
    let packages = metadata["packages"].as_array().expect("packages").iter();
    packages
        .map(|package| {
            let dependencies = package["dependencies"]
                .as_array()
                .expect("dependencies")
                .iter();
            let dependencies = dependencies
                .map(|dependency| (text(&dependency["name"]), dependency["kind"] == "dev"))
                .collect();
            (text(&package["name"]), dependencies)
        })
        .collect()
}

#[test]
fn packages_import_only_along_the_arrows() {
    let packages = packages();
    let ours: Vec<&str> = packages.iter().map(|(name, _)| name.as_str()).collect();
    let mut faults = Vec::new();
    for (package, dependencies) in &packages {
        if FREE.contains(&package.as_str()) {
            continue;
        }
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| name == package) else {
            faults.push(format!("{package} has no arrows; add it to ARROWS"));
            continue;
        };
        for (dependency, only_for_tests) in dependencies {
            // The suite of a trait may test the crate that defines it, and every test may have
            // the rig of the black-box tests.
            let suites = ["pacs-store-conformance", "pacs-tests"];
            let is_suite = *only_for_tests && suites.contains(&dependency.as_str());
            let is_ours = ours.contains(&dependency.as_str());
            if is_ours && !allowed.contains(&dependency.as_str()) && !is_suite {
                faults.push(format!("{package} imports {dependency}"));
            }
        }
    }

    none("ARCHITECTURE.md, who may import whom", &faults);
}

#[test]
fn the_pure_crates_know_no_sockets_tasks_or_clocks() {
    let runtimes = [
        "tokio",
        "tokio-util",
        "axum",
        "hyper",
        "async-trait",
        "rustix",
        "redb",
    ];
    let mut faults: Vec<String> = packages()
        .into_iter()
        .filter(|(package, _)| package == "pacs-core")
        .flat_map(|(package, dependencies)| {
            let named = move |dependency| (package.clone(), dependency);
            dependencies.into_iter().map(named)
        })
        .filter(|(_, (dependency, for_tests))| {
            !for_tests && runtimes.contains(&dependency.as_str())
        })
        .map(|(package, (dependency, _))| format!("{package} depends on {dependency}"))
        .collect();
    let doors = [
        "TcpStream",
        "TcpListener",
        "UdpSocket",
        "std::fs",
        "std::thread",
        "tokio::",
        "Instant::now",
        "SystemTime::now",
    ];
    let sources: Vec<Source> = sources()
        .into_iter()
        .filter(|source| {
            let path = source.path.as_str();
            let is_pure = path.starts_with("crates/pacs-core/src/")
                // Its workers are processes; what runs in them is pure.
                || (path.starts_with("crates/pacs-image/src/")
                    && !path.starts_with("crates/pacs-image/src/worker"))
                || path.starts_with("crates/pacs-net/src/association")
                || path.starts_with("crates/pacs-net/src/dimse");
            is_pure && !path.ends_with("tests.rs")
        })
        .collect();
    faults.extend(faults_by_line(&sources, |source, line| {
        let tests_begin = source
            .text
            .find("#[cfg(test)]")
            .unwrap_or(source.text.len());
        let at = line.as_ptr() as usize - source.text.as_ptr() as usize;
        let door = doors.iter().find(|door| line.contains(*door))?;
        let is_code = at < tests_begin && !line.trim_start().starts_with("//");
        is_code.then(|| format!("{door} in a pure module"))
    }));

    none(
        "core, association and DIMSE have no I/O, time or tasks",
        &faults,
    );
}

/// Whatever a client names, there is nothing in them that could ask for it (T21).
#[test]
fn the_web_services_open_no_connections() {
    let clients = [
        "curl",
        "hyper",
        "hyper-util",
        "pacs-net",
        "reqwest",
        "socket2",
        "ureq",
    ];
    let mut faults: Vec<String> = packages()
        .into_iter()
        .filter(|(package, _)| package == "pacs-web")
        .flat_map(|(_, dependencies)| dependencies)
        .filter(|(dependency, for_tests)| !for_tests && clients.contains(&dependency.as_str()))
        .map(|(dependency, _)| format!("pacs-web depends on {dependency}"))
        .collect();
    let doors = [
        "TcpStream",
        "TcpListener",
        "TcpSocket",
        "UdpSocket",
        "UnixStream",
        "UnixDatagram",
        "ToSocketAddrs",
        "lookup_host",
        "tokio::net",
        "rustix::net",
        "axum::serve",
        "process::",
    ];
    let sources: Vec<Source> = sources()
        .into_iter()
        .filter(|source| source.path.starts_with("crates/pacs-web/src/"))
        .collect();
    assert!(sources.len() > 50, "{} files of pacs-web", sources.len());
    faults.extend(faults_by_line(&sources, |_, line| {
        let door = doors.iter().find(|door| line.contains(*door))?;
        Some(format!("{door} in the web services"))
    }));

    none("the web services ask for nothing", &faults);
}

#[test]
fn the_documented_format_version_is_the_one_in_the_code() {
    let in_code: Vec<u32> = sources()
        .iter()
        .filter(|source| source.path.starts_with("crates/pacs-store/src/"))
        .flat_map(|source| source.text.lines())
        .filter_map(|line| line.strip_prefix("pub const FORMAT_VERSION: "))
        .map(|line| {
            let value = line
                .split('=')
                .nth(1)
                .expect("a value")
                .trim()
                .trim_end_matches(';');
            value.parse().expect("a number")
        })
        .collect();
    let page = std::fs::read_to_string(root().join("docs/on-disk-format.md"))
        .expect("docs/on-disk-format.md");
    let documented: Vec<u32> = page
        .match_indices("FORMAT_VERSION")
        .filter_map(|(at, _)| {
            let digits =
                page[at + "FORMAT_VERSION".len()..].trim_start_matches([' ', '`', '=', ':']);
            let end = digits.find(|character: char| !character.is_ascii_digit());
            digits[..end.unwrap_or(digits.len())].parse().ok()
        })
        .collect();

    assert_eq!(in_code.len(), 1, "one FORMAT_VERSION in pacs-store");
    assert!(
        !documented.is_empty(),
        "docs/on-disk-format.md says `FORMAT_VERSION` = n"
    );
    assert!(
        documented.iter().all(|version| *version == in_code[0]),
        "docs/on-disk-format.md says {documented:?}, the code {}",
        in_code[0]
    );
}

#[test]
fn every_numeric_limit_tells_its_unit() {
    let units = [
        "bytes",
        "ms",
        "seconds",
        "us",
        "count",
        "max",
        "depth",
        "instances",
        "associations",
    ];
    let limits: Vec<Source> = sources()
        .into_iter()
        .filter(|source| source.path.ends_with("/limits.rs"))
        .collect();
    let faults = faults_by_line(&limits, |_, line| {
        let (field, kind) = line.strip_prefix("    pub ")?.split_once(": ")?;
        let is_number = ["u8", "u16", "u32", "u64", "usize"].contains(&kind.trim_end_matches(','));
        let told = field.split('_').any(|part| units.contains(&part));
        (is_number && !told).then(|| format!("{field} names no unit"))
    });

    none(
        "a limit ends in its unit, or in max where it counts things",
        &faults,
    );
}
