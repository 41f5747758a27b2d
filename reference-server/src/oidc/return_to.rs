//! Where a browser goes once somebody is signed in: a path of this server and nothing else.

use crate::limits::RETURN_TO_CHARS_MAX;

/// A path, perhaps with a query, that no browser takes for another place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReturnTo(String);

impl Default for ReturnTo {
    fn default() -> Self {
        Self("/".to_owned())
    }
}

impl ReturnTo {
    /// Reads it; `None` where it leads elsewhere, or could: two slashes and backslashes begin the
    /// name of a host, control characters are left out by browsers before they look, and dots lead
    /// upwards, also where they are encoded. The API is no page to go to.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (path, _) = text.split_once('?').unwrap_or((text, ""));
        let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"\\#\"<>^`{|}".contains(&byte);
        let is_path = path.starts_with('/')
            && !path.contains("//")
            && !path.split('/').any(|part| part == "." || part == "..")
            && !path.to_ascii_lowercase().contains("%2e")
            && !path.starts_with("/api/");
        let is_short = text.len() <= RETURN_TO_CHARS_MAX;
        (is_path && is_short && text.bytes().all(is_plain)).then(|| Self(text.to_owned()))
    }

    /// As it goes into `Location`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same, with a fragment that tells the page that the code of the second factor is needed.
    #[must_use]
    pub fn with_code_needed(&self) -> String {
        format!("{}#second_factor", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_is_sent_to_pages_of_this_server_alone() {
        for text in [
            "/",
            "/worklist",
            "/exams/1?tab=images&x=//y",
            "/exams?x=1%2e5",
            "/a%2F%2Fb",
        ] {
            assert_eq!(ReturnTo::parse(text).unwrap().as_str(), text);
        }
        for text in [
            "",
            "worklist",
            "//evil.example",
            "///evil.example",
            "/\\evil.example",
            "\\/evil.example",
            "/a//evil.example",
            "/.//evil.example",
            "/../x",
            "/x/%2e%2E/api/v1/session",
            "/%2e%2e/x",
            "/.%2E/x",
            "/x/%2e",
            "https://evil.example/",
            "javascript:alert(1)",
            "/\t/evil.example",
            "/x\r\nSet-Cookie: a=b",
            "/ x",
            "/x#y",
            "/api/v1/session/oidc",
            "/ж",
        ] {
            assert_eq!(ReturnTo::parse(text), None, "{text:?}");
        }
        let long = format!("/{}", "a".repeat(RETURN_TO_CHARS_MAX));
        assert_eq!(ReturnTo::parse(&long), None);
    }
}
