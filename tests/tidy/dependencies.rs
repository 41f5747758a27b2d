//! What the archive is made of: licences, sources, and one of each kind. Offline, from what cargo
//! has already resolved; known holes in dependencies are what `cargo deny` looks for.

use super::none;
use pacs_tests::workspace::root;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// A package of the dependency graph.
struct Package {
    name: String,
    version: String,
    licence: Option<String>,
    /// Where it comes from; `None` for our own.
    source: Option<String>,
}

fn cargo(arguments: &[&str]) -> String {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let output = cargo.current_dir(root()).args(arguments).output();
    let output = output.expect("cargo runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// All packages that are resolved for this machine, tests and tools included.
fn resolved() -> Vec<Package> {
    let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    let version = rustc.arg("-vV").output().expect("rustc runs").stdout;
    let version = String::from_utf8(version).expect("UTF-8");
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    let metadata = cargo(&[
        "metadata",
        "--offline",
        "--locked",
        "--all-features",
        "--format-version=1",
        "--filter-platform",
        host.expect("rustc names its host"),
    ]);
    let metadata: Value = serde_json::from_str(&metadata).expect("JSON");
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let packages = metadata["packages"].as_array().expect("packages").iter();
    let packages = packages.map(|package| Package {
        name: text(&package["name"]).expect("a name"),
        version: text(&package["version"]).expect("a version"),
        licence: text(&package["license"]),
        source: text(&package["source"]),
    });
    packages.collect()
}

/// What the server is linked with on this machine, by name. `cargo tree` knows which optional
/// dependencies are really taken, `cargo metadata` does not.
fn linked() -> BTreeMap<String, BTreeSet<String>> {
    let tree = cargo(&[
        "tree",
        "--offline",
        "--locked",
        "--package",
        "reference-server",
        "--all-features",
        "--edges",
        "normal,no-proc-macro",
        "--prefix",
        "none",
    ]);
    let mut linked: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in tree.lines() {
        let mut words = line.split(' ').map(str::to_owned);
        if let (Some(name), Some(version)) = (words.next(), words.next()) {
            linked.entry(name).or_default().insert(version);
        }
    }
    assert!(linked.contains_key("reference-server"), "{tree}");
    linked
}

/// The licences that deny.toml allows.
fn allowed() -> BTreeSet<String> {
    let text = std::fs::read_to_string(root().join("deny.toml")).expect("deny.toml");
    let list = text.split("[licenses]").nth(1).expect("[licenses]");
    let list = list.split("allow = [").nth(1).expect("allow");
    let list = list.split(']').next().expect("an end");
    list.split('"')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

/// Reads a licence expression (SPDX) and says whether `allowed` fulfils it.
struct Expression<'a> {
    words: Vec<&'a str>,
    at: usize,
    allowed: &'a BTreeSet<String>,
}

impl<'a> Expression<'a> {
    fn is_fulfilled(text: &str, allowed: &BTreeSet<String>) -> bool {
        // Before SPDX a stroke meant that one may choose.
        let text = text.replace('/', " OR ");
        let text = text.replace('(', " ( ").replace(')', " ) ");
        let words = text.split_whitespace().collect();
        let mut expression = Expression {
            words,
            at: 0,
            allowed,
        };
        expression.any() && expression.at == expression.words.len()
    }

    fn take(&mut self, word: &str) -> bool {
        let is_next = self.words.get(self.at) == Some(&word);
        self.at += usize::from(is_next);
        is_next
    }

    fn any(&mut self) -> bool {
        let mut is_fulfilled = self.all();
        while self.take("OR") {
            is_fulfilled |= self.all();
        }
        is_fulfilled
    }

    fn all(&mut self) -> bool {
        let mut is_fulfilled = self.one();
        while self.take("AND") {
            is_fulfilled &= self.one();
        }
        is_fulfilled
    }

    fn one(&mut self) -> bool {
        if self.take("(") {
            return self.any() & self.take(")");
        }
        let Some(name) = self.words.get(self.at) else {
            return false;
        };
        let mut name = (*name).to_owned();
        self.at += 1;
        if self.take("WITH") {
            name = format!("{name} WITH {}", self.words.get(self.at).unwrap_or(&""));
            self.at += 1;
        }
        self.allowed.contains(&name)
    }
}

#[test]
fn every_dependency_has_a_licence_that_deny_toml_allows() {
    let allowed = allowed();
    assert!(allowed.contains("MIT") && allowed.contains("Apache-2.0 WITH LLVM-exception"));
    let packages = resolved();
    let faults: Vec<String> = packages
        .iter()
        .filter(|package| package.source.is_some())
        .filter(|package| {
            let licence = package.licence.as_deref().unwrap_or_default();
            !Expression::is_fulfilled(licence, &allowed)
        })
        .map(|it| format!("{} {}: {:?}", it.name, it.version, it.licence))
        .collect();

    none("permissive licences only", &faults);
}

#[test]
fn licence_expressions_are_read_as_spdx_has_them() {
    let allowed: BTreeSet<String> = ["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"]
        .map(str::to_owned)
        .into();

    for (text, expected) in [
        ("MIT", true),
        ("GPL-3.0", false),
        ("", false),
        ("GPL-3.0 OR MIT", true),
        ("GPL-3.0/MIT", true),
        ("MIT AND GPL-3.0", false),
        ("MIT AND (GPL-3.0 OR ISC)", true),
        // AND binds closer.
        ("MIT OR ISC AND GPL-3.0", true),
        ("(MIT OR ISC) AND GPL-3.0", false),
        ("Apache-2.0 WITH LLVM-exception", true),
        ("Apache-2.0", false),
        ("MIT WITH LLVM-exception", false),
        ("(MIT", false),
        ("MIT)", false),
    ] {
        assert_eq!(Expression::is_fulfilled(text, &allowed), expected, "{text}");
    }
}

#[test]
fn dependencies_come_from_one_registry() {
    let packages = resolved();
    let sources: BTreeSet<&str> = packages
        .iter()
        .filter_map(|package| package.source.as_deref())
        .collect();
    let faults: Vec<String> = packages
        .iter()
        .filter(|it| {
            it.source
                .as_deref()
                .is_some_and(|it| !it.starts_with("registry+"))
        })
        .map(|it| format!("{} {}: {:?}", it.name, it.version, it.source))
        .collect();

    none("no dependency comes from git or from elsewhere", &faults);
    assert_eq!(sources.len(), 1, "{sources:?}");
}

#[test]
fn the_server_has_one_of_each_kind() {
    let kinds: [(&str, &str, &[&str]); 4] = [
        (
            "provider of cryptography",
            "aws-lc-rs",
            &[
                "boring",
                "mbedtls",
                "openssl",
                "openssl-sys",
                "ring",
                "rustls-openssl",
            ],
        ),
        (
            "TLS stack",
            "rustls",
            &["native-tls", "s2n-tls", "schannel"],
        ),
        (
            "HTTP stack",
            "hyper",
            &[
                "actix-http",
                "curl",
                "isahc",
                "rouille",
                "tiny_http",
                "ureq",
            ],
        ),
        (
            "runtime",
            "tokio",
            &["async-executor", "async-std", "glommio", "monoio", "smol"],
        ),
    ];
    let linked = linked();
    let mut faults = Vec::new();
    for (kind, ours, others) in kinds {
        if !linked.contains_key(ours) {
            faults.push(format!("{ours} is not the {kind}"));
        }
        let others = others.iter().filter(|name| linked.contains_key(**name));
        faults.extend(others.map(|name| format!("{name} is a second {kind}")));
    }

    none(
        "one provider, one TLS, one HTTP stack, one runtime",
        &faults,
    );
}

/// Two versions of one of these are twice the code, twice the holes, and types that do not meet.
const ONCE: [&str; 18] = [
    "aws-lc-rs",
    "aws-lc-sys",
    "axum",
    "blake3",
    "bytes",
    "clap",
    "dicom-core",
    "dicom-object",
    "http",
    "hyper",
    "redb",
    "rustix",
    "rustls",
    "rustls-webpki",
    "serde",
    "tokio",
    "tokio-rustls",
    "tracing",
];

#[test]
fn the_big_crates_are_linked_once() {
    let linked = linked();
    let faults: Vec<String> = linked
        .iter()
        .filter(|(name, versions)| versions.len() > 1 && ONCE.contains(&name.as_str()))
        .map(|(name, versions)| format!("{name}: {versions:?}"))
        .collect();

    none("one version of each", &faults);
}
