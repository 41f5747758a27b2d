//! Media types as they stand in `Content-Type` and `Accept` (RFC 9110 8.3.1, 12.5.1).
//!
//! Read leniently where clients are known to err: a parameter value may hold `/` without quotes, as
//! in `type=application/dicom`. A parameter that is named twice is refused: of two boundaries the
//! wrong one could be believed.

use crate::limits::{MEDIA_PARAMETERS_MAX, MEDIA_TYPE_BYTES_MAX};

/// A media type with its parameters. Type, subtype and parameter names are in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaType {
    kind: String,
    subtype: String,
    parameters: Vec<(String, String)>,
}

/// Why a text is no media type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MediaTypeError {
    /// A parameter stands twice.
    #[error("a parameter of the media type stands twice")]
    Repeated,
    /// It is not TYPE/SUBTYPE with parameters.
    #[error("not a media type")]
    Syntax,
    /// Longer than [`MEDIA_TYPE_BYTES_MAX`], or more than [`MEDIA_PARAMETERS_MAX`] parameters.
    #[error("media type is too long")]
    TooLong,
}

impl MediaType {
    /// Reads a whole header value.
    ///
    /// # Errors
    /// [`MediaTypeError`].
    pub fn parse(text: &str) -> Result<Self, MediaTypeError> {
        let (parsed, rest) = Self::parse_start(text, false)?;
        if rest.is_empty() {
            Ok(parsed)
        } else {
            Err(MediaTypeError::Syntax)
        }
    }

    /// Reads from the beginning of `text`; in a list, up to a comma. What is behind it comes back.
    pub(crate) fn parse_start(text: &str, in_list: bool) -> Result<(Self, &str), MediaTypeError> {
        if !in_list && text.len() > MEDIA_TYPE_BYTES_MAX {
            return Err(MediaTypeError::TooLong);
        }
        let (kind, rest) = token(text.trim_start_matches(BLANKS));
        let rest = rest.strip_prefix('/').ok_or(MediaTypeError::Syntax)?;
        let (subtype, rest) = token(rest);
        if kind.is_empty() || subtype.is_empty() {
            return Err(MediaTypeError::Syntax);
        }
        let mut parsed = Self {
            kind: kind.to_ascii_lowercase(),
            subtype: subtype.to_ascii_lowercase(),
            parameters: Vec::new(),
        };
        let mut rest = rest.trim_start_matches(BLANKS);
        while let Some(after) = rest.strip_prefix(';') {
            rest = parsed.parameter_start(after.trim_start_matches(BLANKS), in_list)?;
            rest = rest.trim_start_matches(BLANKS);
        }
        Ok((parsed, rest))
    }

    /// Reads one parameter, which may be empty, as behind a semicolon too many.
    fn parameter_start<'t>(
        &mut self,
        text: &'t str,
        in_list: bool,
    ) -> Result<&'t str, MediaTypeError> {
        let (name, rest) = token(text);
        if name.is_empty() {
            return Ok(rest);
        }
        let rest = rest.strip_prefix('=').ok_or(MediaTypeError::Syntax)?;
        let (value, rest) = match rest.strip_prefix('"') {
            Some(quoted) => unquote(quoted)?,
            None => {
                let ends =
                    |c: char| BLANKS.contains(&c) || c == ';' || c == '"' || (in_list && c == ',');
                let (value, rest) = rest.split_at(rest.find(ends).unwrap_or(rest.len()));
                (value.to_owned(), rest)
            }
        };
        let name = name.to_ascii_lowercase();
        if self.parameter(&name).is_some() {
            return Err(MediaTypeError::Repeated);
        }
        if self.parameters.len() >= MEDIA_PARAMETERS_MAX {
            return Err(MediaTypeError::TooLong);
        }
        self.parameters.push((name, value));
        Ok(rest)
    }

    /// The part before the slash.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The part behind the slash.
    #[must_use]
    pub fn subtype(&self) -> &str {
        &self.subtype
    }

    /// Whether it is `essence`, as in `application/dicom`, whatever its parameters.
    #[must_use]
    pub fn is(&self, essence: &str) -> bool {
        essence
            .split_once('/')
            .is_some_and(|(kind, subtype)| self.kind == kind && self.subtype == subtype)
    }

    /// The value of the parameter `name`, which is in lower case.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let mut parameters = self.parameters.iter();
        parameters
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }
}

/// What may stand between the parts.
const BLANKS: [char; 2] = [' ', '\t'];

/// The token at the beginning (RFC 9110 5.6.2), and what is behind it.
fn token(text: &str) -> (&str, &str) {
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    text.split_at(text.find(|c| !is_token(c)).unwrap_or(text.len()))
}

/// The rest of a quoted string, and what is behind it.
fn unquote(text: &str) -> Result<(String, &str), MediaTypeError> {
    let mut value = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => return Ok((value, characters.as_str())),
            '\\' => value.push(characters.next().ok_or(MediaTypeError::Syntax)?),
            other if other.is_control() && other != '\t' => return Err(MediaTypeError::Syntax),
            other => value.push(other),
        }
    }
    Err(MediaTypeError::Syntax)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_found_quoted_or_not_in_any_case() {
        let text = "Multipart/Related; TYPE=\"application/dicom\" ;boundary=a=b/c;; x=\"\\\"\"; ";
        let parsed = MediaType::parse(text).unwrap();

        assert!(parsed.is("multipart/related"));
        assert_eq!(parsed.parameter("type"), Some("application/dicom"));
        assert_eq!(parsed.parameter("boundary"), Some("a=b/c"));
        assert_eq!(parsed.parameter("x"), Some("\""));
        let bare = MediaType::parse("multipart/related;type=application/dicom").unwrap();
        assert_eq!(bare.parameter("type"), Some("application/dicom"));
    }

    #[test]
    fn what_is_no_media_type_is_refused() {
        for text in [
            "",
            "a",
            "a/",
            "/b",
            "a/b c",
            "a/b;c",
            "a/b;c=\"",
            "a/b;c=\"\\",
            "a/b, c/d",
        ] {
            assert_eq!(
                MediaType::parse(text),
                Err(MediaTypeError::Syntax),
                "{text}"
            );
        }
        let twice = MediaType::parse("multipart/related; boundary=a; Boundary=b");
        assert_eq!(twice, Err(MediaTypeError::Repeated));
        let long = format!("a/b{}", ";c=d".repeat(MEDIA_TYPE_BYTES_MAX));
        assert_eq!(MediaType::parse(&long), Err(MediaTypeError::TooLong));
        let many: String = (0..=MEDIA_PARAMETERS_MAX)
            .map(|n| format!(";p{n}=x"))
            .collect();
        let many = MediaType::parse(&format!("a/b{many}"));
        assert_eq!(many, Err(MediaTypeError::TooLong));
    }
}
