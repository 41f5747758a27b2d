//! A refusal as a browser shows it that came by itself: a page without scripts, styles or images,
//! in three languages; for programs it is the problem.

use crate::api::Problem;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use std::fmt::Write as _;

/// What people read of each key that the glossary of the portal lacks.
const MESSAGES: &str = include_str!("../../../messages.tsv");

/// The languages of the columns behind the key.
const LANGUAGES: [&str; 3] = ["ru", "ky", "en"];

/// A problem, and whether it is shown as a page.
pub(super) struct Refusal {
    problem: Problem,
    is_page: bool,
}

impl Refusal {
    /// For whoever asks with these headers.
    pub(super) fn new(problem: Problem, headers: &HeaderMap) -> Self {
        let accepted = headers.get(header::ACCEPT);
        let accepted = accepted.and_then(|accepted| accepted.to_str().ok());
        Self {
            problem,
            is_page: accepted.is_some_and(|accepted| accepted.contains("text/html")),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        if !self.is_page {
            return self.problem.into_response();
        }
        let page = page(&self.problem);
        // Status and Retry-After are those of the problem.
        let (mut head, _) = self.problem.into_response().into_parts();
        let kind = HeaderValue::from_static("text/html; charset=utf-8");
        head.headers.insert(header::CONTENT_TYPE, kind);
        head.headers.remove(header::CONTENT_LENGTH);
        (head, page).into_response()
    }
}

fn page(problem: &Problem) -> String {
    let code = problem.code();
    let mut page = "<!doctype html>\n<html lang=\"ru\">\n<meta charset=\"utf-8\">\n\
                    <title>PACS</title>\n"
        .to_owned();
    let of_key = |line: &&str| line.split('\t').next() == Some(code.key);
    let words = MESSAGES.lines().find(of_key).unwrap_or_default();
    // Writing to a string does not fail.
    for (language, words) in LANGUAGES.into_iter().zip(words.split('\t').skip(1)) {
        writeln!(page, "<p lang=\"{language}\">{}</p>", escaped(words)).ok();
    }
    writeln!(page, "<p><code>{}</code></p>", code.code).ok();
    if let Some(subject) = problem.member("subject") {
        writeln!(page, "<p><code>{}</code></p>", escaped(subject)).ok();
    }
    page.push_str("<p><a href=\"/\">PACS</a></p>\n");
    page
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            letter => out.push(letter),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::problem::codes;

    #[test]
    fn a_page_has_words_in_three_languages_and_nothing_that_runs() {
        let problem = codes::NOT_LINKED.with("subject", "<script>alert('1')</script>&\"");
        let page = page(&problem);
        assert!(!page.contains("<script"), "{page}");
        assert!(page.contains("&lt;script&gt;alert(&#39;1&#39;)"), "{page}");
        assert_eq!(page.matches("<p lang=").count(), 3, "{page}");
        assert!(page.contains("NOT_LINKED"));
    }

    #[tokio::test]
    async fn a_program_gets_the_problem_and_a_browser_the_page() {
        let mut headers = HeaderMap::new();
        let refused = |headers: &HeaderMap| {
            Refusal::new(codes::NOT_LINKED.problem(), headers).into_response()
        };
        let kind = |response: &Response| response.headers()[header::CONTENT_TYPE].clone();
        assert_eq!(kind(&refused(&headers)), "application/problem+json");
        let accepted = HeaderValue::from_static("text/html,application/xhtml+xml");
        headers.insert(header::ACCEPT, accepted);
        let page = refused(&headers);
        assert_eq!(kind(&page), "text/html; charset=utf-8");
        assert_eq!(page.status(), 403);
    }
}
