//! Structured reports and key object selections (PS3.3 A.35 and C.17.3) as text for people: a page
//! of HTML, or plain text.
//!
//! The page has no scripts and loads nothing; every character of the data set is escaped.

use super::picture::head_of;
use crate::error::Failure;
use crate::retrieve::guarded;
use crate::service::Web;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use pacs_core::access::Get;
use pacs_core::tag::tags;
use pacs_core::{Permit, Tag};
use pacs_image::DataSet;
use pacs_store::index::StoredInstance;

/// Nesting that is shown; the scanner has a bound of its own.
const DEPTH_MAX: usize = 64;

/// What a page of a report may load, and do: nothing.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'self'; sandbox";

/// The report of `stored`, as HTML or as plain text.
pub(super) async fn answer(
    web: &Web,
    permit: &Permit<Get>,
    stored: &StoredInstance,
    is_html: bool,
) -> Result<Response, Failure> {
    let turn = web.rendering().turn().await?;
    let (web, permit, stored) = (web.clone(), permit.clone(), stored.clone());
    let task = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        let head = head_of(&web, &permit, &stored)?;
        let bytes_max = web.limits().rendering.report_bytes_max;
        let report = Report::of(&head.root());
        let text = if is_html {
            report.html()
        } else {
            report.plain()
        };
        if text.len() > bytes_max {
            let detail = format!("the report has more than {bytes_max} bytes");
            return Err(Failure::TooLarge { detail });
        }
        Ok(text)
    });
    let text = task.await.map_err(|_| Failure::Internal)??;
    let kind = if is_html {
        "text/html; charset=utf-8"
    } else {
        "text/plain; charset=utf-8"
    };
    let mut response = guarded(([(header::CONTENT_TYPE, kind)], text).into_response());
    let policy = HeaderValue::from_static(POLICY);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    Ok(response)
}

/// A report, line by line.
#[derive(Debug, Default, PartialEq, Eq)]
struct Report {
    title: String,
    /// Names and values of what stands above.
    about: Vec<(&'static str, String)>,
    lines: Vec<Line>,
}

#[derive(Debug, PartialEq, Eq)]
struct Line {
    depth: usize,
    name: String,
    value: String,
    is_heading: bool,
}

/// What is said of patient and study.
const ABOUT: [(&str, Tag); 12] = [
    ("Patient", tags::PATIENT_NAME),
    ("Patient ID", tags::PATIENT_ID),
    ("Born", tags::PATIENT_BIRTH_DATE),
    ("Sex", tags::PATIENT_SEX),
    ("Study date", tags::STUDY_DATE),
    ("Study", tags::STUDY_DESCRIPTION),
    ("Accession number", tags::ACCESSION_NUMBER),
    ("Referring physician", tags::REFERRING_PHYSICIAN_NAME),
    ("Institution", tags::INSTITUTION_NAME),
    ("Date of the report", tags::CONTENT_DATE),
    ("Completion", tags::COMPLETION_FLAG),
    ("Verification", tags::VERIFICATION_FLAG),
];

impl Report {
    fn of(root: &DataSet<'_>) -> Self {
        let about = ABOUT.iter().filter_map(|(name, tag)| {
            let text = root.text(*tag)?;
            Some((*name, readable(*tag, &text)))
        });
        let mut report = Self {
            title: name_of(root).unwrap_or_else(|| "Report".to_owned()),
            about: about.collect(),
            lines: Vec::new(),
        };
        for item in root.items(tags::VERIFYING_OBSERVER_SEQUENCE) {
            let name = item.text(tags::VERIFYING_OBSERVER_NAME).unwrap_or_default();
            let name = readable(tags::VERIFYING_OBSERVER_NAME, &name);
            report.about.push(("Verified by", name));
        }
        report.content(root, 0);
        report
    }

    fn content(&mut self, item: &DataSet<'_>, depth: usize) {
        if depth > DEPTH_MAX {
            return;
        }
        for child in item.items(tags::CONTENT_SEQUENCE) {
            let kind = child.text(tags::VALUE_TYPE).unwrap_or_default();
            let name = name_of(&child).unwrap_or_default();
            let value = value_of(&child, &kind);
            if !(name.is_empty() && value.is_empty()) {
                self.lines.push(Line {
                    depth,
                    name,
                    value,
                    is_heading: kind == "CONTAINER",
                });
            }
            self.content(&child, depth.saturating_add(1));
        }
    }

    fn html(&self) -> String {
        let mut out = String::from(
            "<!DOCTYPE html>\n<html><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width\"><title>",
        );
        escape(&self.title, &mut out);
        out.push_str(
            "</title><style>body{font-family:sans-serif;max-width:50em;margin:1em auto;\
             padding:0 1em}th{text-align:left;font-weight:normal;color:#555;padding-right:1em;\
             vertical-align:top}ul{list-style:none;padding-left:1.2em}\
             .n{color:#555}.v{white-space:pre-wrap}</style></head>\n<body><h1>",
        );
        escape(&self.title, &mut out);
        out.push_str("</h1>\n<table>\n");
        for (name, value) in &self.about {
            out.push_str("<tr><th>");
            escape(name, &mut out);
            out.push_str("</th><td><bdi>");
            escape(value, &mut out);
            out.push_str("</bdi></td></tr>\n");
        }
        out.push_str("</table>\n<ul>\n");
        let mut depth: usize = 0;
        for line in &self.lines {
            while depth < line.depth {
                out.push_str("<ul>\n");
                depth = depth.saturating_add(1);
            }
            while depth > line.depth {
                out.push_str("</ul>\n");
                depth = depth.saturating_sub(1);
            }
            line.html(&mut out);
        }
        for _ in 0..=depth {
            out.push_str("</ul>\n");
        }
        out.push_str("</body></html>\n");
        out
    }

    fn plain(&self) -> String {
        let mut out = String::new();
        clean(&self.title, &mut out);
        out.push_str("\n\n");
        for (name, value) in &self.about {
            out.push_str(name);
            out.push_str(": ");
            clean(value, &mut out);
            out.push('\n');
        }
        out.push('\n');
        for line in &self.lines {
            out.push_str(&"  ".repeat(line.depth));
            clean(&line.name, &mut out);
            if !line.value.is_empty() {
                out.push_str(if line.name.is_empty() { "" } else { ": " });
                clean(&line.value, &mut out);
            }
            out.push('\n');
        }
        out
    }
}

impl Line {
    fn html(&self, out: &mut String) {
        out.push_str("<li>");
        if self.is_heading {
            out.push_str("<b><bdi>");
            escape(&self.name, out);
            out.push_str("</bdi></b>");
        } else if !self.name.is_empty() {
            out.push_str("<span class=\"n\"><bdi>");
            escape(&self.name, out);
            out.push_str("</bdi>:</span> ");
        }
        if !self.value.is_empty() {
            out.push_str("<span class=\"v\"><bdi>");
            escape(&self.value, out);
            out.push_str("</bdi></span>");
        }
        out.push_str("</li>\n");
    }
}

/// The meaning of the code that names an item.
fn name_of(item: &DataSet<'_>) -> Option<String> {
    meaning(item, tags::CONCEPT_NAME_CODE_SEQUENCE)
}

/// The meaning of the first code of a sequence, or else its value.
fn meaning(item: &DataSet<'_>, sequence: Tag) -> Option<String> {
    let code = item.first(sequence)?;
    let text = |tag| code.text(tag);
    text(tags::CODE_MEANING)
        .or_else(|| text(tags::CODE_VALUE))
        .or_else(|| text(tags::LONG_CODE_VALUE))
}

/// The value of an item, by its value type (PS3.3 C.17.3.2).
fn value_of(item: &DataSet<'_>, kind: &str) -> String {
    let text = |tag: Tag| item.text(tag).map(|text| readable(tag, &text));
    let value = match kind {
        "TEXT" => text(tags::TEXT_VALUE),
        "CODE" => meaning(item, tags::CONCEPT_CODE_SEQUENCE),
        "NUM" => item
            .first(tags::MEASURED_VALUE_SEQUENCE)
            .filter(|measured| measured.text(tags::NUMERIC_VALUE).is_some())
            .map(|measured| {
                let number = measured.text(tags::NUMERIC_VALUE).unwrap_or_default();
                let unit = measured.first(tags::MEASUREMENT_UNITS_CODE_SEQUENCE);
                let unit = unit.and_then(|unit| unit.text(tags::CODE_VALUE));
                match unit.filter(|unit| unit != "1") {
                    Some(unit) => format!("{number} {unit}"),
                    None => number,
                }
            })
            // Why there is no number.
            .or_else(|| meaning(item, tags::NUMERIC_VALUE_QUALIFIER_CODE_SEQUENCE)),
        "DATE" => text(tags::DATE),
        "TIME" => text(tags::TIME),
        "DATETIME" => text(tags::DATE_TIME),
        "PNAME" => text(tags::PERSON_NAME),
        "UIDREF" => text(tags::UID),
        "SCOORD" | "SCOORD3D" => text(tags::GRAPHIC_TYPE),
        "TCOORD" => text(tags::TEMPORAL_RANGE_TYPE),
        "COMPOSITE" | "IMAGE" | "WAVEFORM" => item
            .first(tags::REFERENCED_SOP_SEQUENCE)
            .and_then(|reference| reference.text(tags::REFERENCED_SOP_INSTANCE_UID)),
        _ => None,
    };
    value.unwrap_or_default()
}

/// A value as people write it: names without carets, dates with dashes.
fn readable(tag: Tag, text: &str) -> String {
    let vr = pacs_core::tag::vr_of(tag);
    if vr == pacs_core::Vr::PN {
        let group = text.split('=').find(|group| !group.is_empty());
        let parts = group.unwrap_or_default().split('^').map(str::trim);
        let parts: Vec<&str> = parts.filter(|part| !part.is_empty()).collect();
        return parts.join(" ");
    }
    let is_date = text.len() == 8 && text.bytes().all(|b| b.is_ascii_digit());
    if vr == pacs_core::Vr::DA && is_date {
        let (year, rest) = text.split_at(4);
        let (month, day) = rest.split_at(2);
        return format!("{year}-{month}-{day}");
    }
    text.to_owned()
}

/// The letters of a text: lines end with a line feed however they did, and nothing changes the
/// direction of what follows.
fn letters(text: &str) -> impl Iterator<Item = char> + '_ {
    let mut before = None;
    text.chars().filter_map(move |letter| {
        let is_pair = before.replace(letter) == Some('\r') && letter == '\n';
        match letter {
            '\r' => Some('\n'),
            '\n' if is_pair => None,
            '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' => None,
            other => Some(other),
        }
    })
}

/// Writes `text` so that it is nothing but text in HTML.
fn escape(text: &str, out: &mut String) {
    for letter in letters(text) {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(letter),
            other if other.is_control() => out.push(char::REPLACEMENT_CHARACTER),
            other => out.push(other),
        }
    }
}

/// Writes `text` without what would steer a terminal.
fn clean(text: &str, out: &mut String) {
    out.extend(
        letters(text).filter(|letter| !letter.is_control() || matches!(letter, '\n' | '\t')),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_report_is_markup() {
        let report = Report {
            title: "<script>alert(1)</script>".to_owned(),
            about: vec![("Patient", "\"><img src=x onerror='a'>&\u{1b}".to_owned())],
            lines: vec![Line {
                depth: 3,
                name: "</ul></body>".to_owned(),
                value: "a < b".to_owned(),
                is_heading: false,
            }],
        };
        let page = report.html();
        for wrong in ["<script", "<img", "'a'", "</ul></body>:", "\u{1b}", "a < b"] {
            assert!(!page.contains(wrong), "{wrong}");
        }
        assert_eq!(page.matches("<ul>").count(), page.matches("</ul>").count());
        assert!(!report.plain().contains('\u{1b}'));
    }

    #[test]
    fn lines_stay_lines_and_nothing_turns_the_text_around() {
        let text = "normal.\rNo\r\nfinding\n\u{202E}x\u{2066}y";
        let (mut page, mut plain) = (String::new(), String::new());
        escape(text, &mut page);
        clean(text, &mut plain);
        assert_eq!(page, "normal.\nNo\nfinding\nxy");
        assert_eq!(plain, page);
    }

    #[test]
    fn names_and_dates_are_as_people_write_them() {
        assert_eq!(
            readable(tags::PATIENT_NAME, "Test^Anna^^Dr."),
            "Test Anna Dr."
        );
        assert_eq!(readable(tags::PATIENT_NAME, "=山田^太郎"), "山田 太郎");
        assert_eq!(readable(tags::STUDY_DATE, "20260115"), "2026-01-15");
        assert_eq!(readable(tags::STUDY_DATE, "2026.01.15"), "2026.01.15");
    }
}
