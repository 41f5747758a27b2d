//! The table of portal.txt against the server: each route of the API for everybody, for what is of
//! their own organisation, of another one, and of nobody, because it never was.

mod country;
mod examinations;
mod looked;
mod people;
mod reports;
mod studies;

use crate::policy::{Shows, grant, token};
use crate::site::Reply;
use crate::table::{Table, operations};
use country::Country;
use pacs_core::role::Role;
use pacs_store::registry::Revision;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};

const TABLE: Table = Table::new("portal.txt", include_str!("portal.txt"));

/// Its parts, in the groups that are tested beside one another.
const PEOPLE: [&str; 3] = ["accounts", "administration", "patients"];
const EXAMINATIONS: [&str; 2] = ["examinations", "unmatched"];
const REPORTS: [&str; 1] = ["reports"];
const STUDIES: [&str; 1] = ["studies"];

/// The organisation of everybody, and another one.
pub(crate) const OWN: &str = "006";
pub(crate) const FOREIGN: &str = "001";

/// A request, and what is known of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asked {
    path: String,
    /// The same of what never was.
    never: Option<String>,
    fields: Vec<(&'static str, String)>,
    body: Value,
    /// Stands in the answer where it shows what it is about.
    mark: Option<String>,
    /// Who asks, where it is not whom the column is of.
    by: Option<Shows>,
    /// It is for one column alone, whatever becomes of it.
    is_alone: bool,
}

impl Asked {
    pub(crate) fn at(path: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            ..Self::default()
        }
    }

    /// A path with `{}` for the name of what is asked for, and of what never was.
    pub(crate) fn of(path: &str, name: &str, never: &str) -> Self {
        Self {
            never: Some(path.replace("{}", never)),
            ..Self::at(path.replace("{}", name))
        }
    }

    pub(crate) fn with(self, body: Value) -> Self {
        Self { body, ..self }
    }

    /// Based on a state.
    pub(crate) fn based(mut self, Revision(number): Revision) -> Self {
        self.fields.push(("If-Match", format!("\"{number:x}\"")));
        self
    }

    pub(crate) fn marked(self, mark: impl Into<String>) -> Self {
        let mark = Some(mark.into());
        Self { mark, ..self }
    }

    pub(crate) fn by(self, shows: Shows) -> Self {
        Self {
            by: Some(shows),
            ..self.alone()
        }
    }

    pub(crate) fn alone(self) -> Self {
        Self {
            is_alone: true,
            ..self
        }
    }
}

/// A column: somebody, or nobody in two ways.
#[derive(Debug)]
pub(crate) struct Column {
    name: &'static str,
    pub(crate) role: Option<Role>,
    shows: Vec<Shows>,
}

impl Column {
    /// What their session says they are called.
    pub(crate) const fn user(&self) -> &'static str {
        self.name
    }
}

/// For whom, and of which organisation.
#[derive(Clone, Copy)]
pub(crate) struct Case<'a> {
    pub(crate) country: &'a Country,
    pub(crate) column: &'a Column,
    pub(crate) of: &'static str,
}

async fn columns(country: &Country) -> Vec<Column> {
    let mut all = Vec::new();
    for line in TABLE.part("columns") {
        let (name, word) = line.split_once(" = ").unwrap();
        let role = serde_json::from_value::<Role>(serde_json::json!(word)).ok();
        let shows = match role {
            Some(role) => {
                let site = &country.site;
                let is_doctor = is_doctor(role);
                let secret = site.sign_in(name, grant(role, OWN), is_doctor).await;
                vec![Shows::Session(secret)]
            }
            None => {
                let everything = token(&country.site, "program", &["--everything"]);
                vec![Shows::Nothing, Shows::Token(everything)]
            }
        };
        all.push(Column { name, role, shows });
    }
    all
}

/// Whether whoever has a role is one here.
pub(crate) const fn is_doctor(role: Role) -> bool {
    matches!(role, Role::Expert | Role::Radiologist | Role::Referrer)
}

/// What a cell expects of one organisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Expected {
    status: u16,
    shows: Option<bool>,
}

impl Expected {
    fn parse(text: &str) -> Self {
        let shows = match text.as_bytes().last() {
            Some(b'+') => Some(true),
            Some(b'-') => Some(false),
            _ => None,
        };
        let digits = text.trim_end_matches(['+', '-']);
        Self {
            status: digits.parse().unwrap(),
            shows,
        }
    }

    /// Of what is of one's own organisation, and of another's.
    fn cell(text: &str) -> [Self; 2] {
        let (own, foreign) = text.split_once('/').unwrap_or((text, text));
        [own, foreign].map(Self::parse)
    }
}

/// One route, for all columns.
struct Row<'a> {
    country: &'a Country,
    method: &'static str,
    path: &'static str,
    /// What was made to be asked for, and nobody has changed.
    kept: BTreeMap<&'static str, Asked>,
    wrong: Vec<String>,
}

impl Row<'_> {
    async fn asked(&mut self, column: &Column, of: &'static str) -> Asked {
        if let Some(kept) = self.kept.get(of) {
            return kept.clone();
        }
        let case = Case {
            country: self.country,
            column,
            of,
        };
        let route = (self.method, self.path);
        let asked = if let Some(asked) = people::asked(route, case).await {
            asked
        } else if let Some(asked) = reports::asked(route, case).await {
            asked
        } else if let Some(asked) = examinations::asked(route, case).await {
            asked
        } else {
            studies::asked(route, case).await
        };
        let has_name = self.path.contains('{');
        assert_eq!(has_name, asked.never.is_some(), "{route:?}");
        if !asked.is_alone {
            self.kept.insert(of, asked.clone());
        }
        asked
    }

    async fn send(&self, by: &Shows, asked: &Asked, path: &str) -> Reply {
        static KEYS: AtomicU32 = AtomicU32::new(0);
        let key = format!("request-{:08}", KEYS.fetch_add(1, Ordering::Relaxed));
        let mut fields = asked.fields.clone();
        fields.push(("Idempotency-Key", key));
        let path = format!("/api/v1{path}");
        let by = asked.by.as_ref().unwrap_or(by);
        let site = &self.country.site;
        by.send(site, (self.method, path.as_str()), &fields, &asked.body)
            .await
    }

    /// Whether an answer, with all the parts of a list, has the mark.
    async fn shows(&self, by: &Shows, asked: &Asked, first: &Reply) -> bool {
        let mark = asked.mark.as_deref().unwrap();
        let has = |body: &[u8]| body.windows(mark.len()).any(|at| at == mark.as_bytes());
        let mut is_shown = has(&first.body);
        let mut next = first.json()["next"].as_str().map(str::to_owned);
        while let Some(cursor) = next {
            let sign = if asked.path.contains('?') { '&' } else { '?' };
            let path = format!("{}{sign}cursor={cursor}", asked.path);
            let part = self.send(by, asked, &path).await;
            assert_eq!(part.status, 200, "{path}");
            is_shown |= has(&part.body);
            next = part.json()["next"].as_str().map(str::to_owned);
        }
        is_shown
    }

    fn fault(&mut self, column: &Column, what: &str) {
        let (method, path) = (self.method, self.path);
        self.wrong
            .push(format!("{method} {path} by {}: {what}", column.name));
    }

    async fn cell(&mut self, column: &Column, cell: &str) {
        for shows in &column.shows {
            let mut refusals = Vec::new();
            for (of, expected) in [OWN, FOREIGN].into_iter().zip(Expected::cell(cell)) {
                let asked = self.asked(column, of).await;
                let reply = self.send(shows, &asked, &asked.path).await;
                let said = String::from_utf8_lossy(&reply.body).into_owned();
                if reply.status != expected.status {
                    let what =
                        format!("of {of}: {}, not {}: {said}", reply.status, expected.status);
                    self.fault(column, &what);
                } else if let Some(is_shown) = expected.shows
                    && self.shows(shows, &asked, &reply).await != is_shown
                {
                    self.fault(
                        column,
                        &format!("of {of}: it is not as {cell} says: {said}"),
                    );
                }
                if reply.status < 300 && self.method != "GET" {
                    self.kept.remove(of);
                }
                if let Some(never) = &asked.never
                    && of == FOREIGN
                {
                    let other = self.send(shows, &asked, never).await;
                    let is_refused = [401, 403, 404].contains(&reply.status);
                    let is_same = (other.status, &other.body) == (reply.status, &reply.body);
                    if (is_refused && !is_same) || (!is_refused && other.status != 404) {
                        let never = String::from_utf8_lossy(&other.body);
                        let what = format!("what never was is told apart: {said} {never}");
                        self.fault(column, &what);
                    }
                }
                if [401, 403].contains(&reply.status) {
                    refusals.push(said);
                }
            }
            if let [own, foreign] = refusals.as_slice()
                && own != foreign
            {
                self.fault(column, &format!("whose it is is told: {own} {foreign}"));
            }
        }
    }
}

/// Asserts every cell of these parts.
async fn assert_parts(parts: &[&str]) {
    let country = Country::open().await;
    let columns = columns(&country).await;
    let mut wrong = Vec::new();
    for (method, path, cells) in parts.iter().flat_map(|part| TABLE.routes(part)) {
        let mut row = Row {
            country: &country,
            method,
            path,
            kept: BTreeMap::new(),
            wrong: Vec::new(),
        };
        let cells: Vec<_> = cells.split_whitespace().collect();
        assert_eq!(cells.len(), columns.len(), "cells of {method} {path}");
        for (column, cell) in columns.iter().zip(cells) {
            row.cell(column, cell).await;
        }
        wrong.append(&mut row.wrong);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    country.site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_of_the_portal_has_a_row_and_every_row_a_route() {
    let country = Country::open().await;
    let document = country.site.http("GET", "/api/v1/openapi.json", &[]).await;
    let parts = [&PEOPLE[..], &EXAMINATIONS, &REPORTS, &STUDIES].concat();
    TABLE.has_all(&parts, &operations(&document.json()));
    country.site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_administration_and_patients_are_for_those_whom_the_table_names() {
    assert_parts(&PEOPLE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn examinations_and_what_waits_for_one_are_for_those_whom_the_table_names() {
    assert_parts(&EXAMINATIONS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_are_for_those_whom_the_table_names() {
    assert_parts(&REPORTS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn studies_and_what_is_taken_out_of_sight_are_for_those_whom_the_table_names() {
    assert_parts(&STUDIES).await;
}
