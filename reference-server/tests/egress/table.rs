//! Tables that tests assert cell by cell: text that people read, in parts that begin with `[NAME]`.
//! A part of routes has a line for each: `METHOD PATH = CELLS`.

use std::collections::BTreeSet;

const METHODS: [&str; 6] = ["DELETE", "GET", "OPTIONS", "PATCH", "POST", "PUT"];

/// A table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Table {
    file: &'static str,
    text: &'static str,
}

impl Table {
    /// The one in `file`, which is this text.
    pub(crate) const fn new(file: &'static str, text: &'static str) -> Self {
        Self { file, text }
    }

    /// The lines of a part, without comments.
    pub(crate) fn part(self, name: &str) -> impl Iterator<Item = &'static str> {
        let begins = format!("[{name}]");
        let lines = self.text.lines().map(str::trim);
        let lines = lines.skip_while(move |line| *line != begins).skip(1);
        let lines = lines.take_while(|line| !line.starts_with('['));
        lines.filter(|line| !line.is_empty() && !line.starts_with('#'))
    }

    /// The words of a part.
    pub(crate) fn words(self, name: &str) -> Vec<&'static str> {
        self.part(name).flat_map(str::split_whitespace).collect()
    }

    /// The routes of a part, each with what stands behind the sign.
    pub(crate) fn routes(self, name: &str) -> Vec<(&'static str, &'static str, &'static str)> {
        let route = |line: &'static str| {
            let (route, cells) = line.split_once(" = ").unwrap();
            let (method, path) = route.trim().split_once(' ').unwrap();
            (method, path.trim(), cells.trim())
        };
        self.part(name).map(route).collect()
    }

    /// Fails where one of the routes that there are has no line in these parts, and where a line is
    /// of none.
    pub(crate) fn has_all(self, parts: &[&str], known: &BTreeSet<(String, String)>) {
        let file = self.file;
        let lines: Vec<_> = parts.iter().flat_map(|name| self.routes(name)).collect();
        let count = lines.len();
        let lines = lines.into_iter();
        let lines = lines.map(|(method, path, _)| (method.to_owned(), path.to_owned()));
        let lines: BTreeSet<_> = lines.collect();
        assert_eq!(lines.len(), count, "a route stands twice in {file}");
        let missing: Vec<_> = known.difference(&lines).collect();
        assert!(
            missing.is_empty(),
            "routes without a cell in {file}: {missing:?}"
        );
        let gone: Vec<_> = lines.difference(known).collect();
        assert!(
            gone.is_empty(),
            "routes of {file} that are no more: {gone:?}"
        );
    }
}

/// Methods and paths of an `OpenAPI` document.
pub(crate) fn operations(document: &serde_json::Value) -> BTreeSet<(String, String)> {
    let paths = document["paths"].as_object().unwrap().iter();
    paths
        .flat_map(|(path, item)| {
            let methods = item.as_object().unwrap().keys();
            methods.map(move |method| (method.to_uppercase(), path.clone()))
        })
        .filter(|(method, _)| METHODS.contains(&method.as_str()))
        .collect()
}
