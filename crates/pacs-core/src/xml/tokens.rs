//! A document of XML 1.0, tag by tag: as much of XML as is taken from outside.
//!
//! No DOCTYPE and so no entities but the five predefined ones; one pass, nothing is looked at
//! twice, and what stands in a document is copied at most once.

use super::text::is_character;
use std::borrow::Cow;

/// Attributes of one element.
const ATTRIBUTES_MAX: usize = 16;

/// Bytes of a reference, as in `&#x10FFFF;`.
const REFERENCE_BYTES_MAX: usize = 16;

/// What stands in a document. Names are without the prefix of their namespace. It shows what it
/// holds: it is for readers, not for logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token<'t> {
    /// The end of an element.
    End(&'t str),
    /// The beginning of one.
    Start {
        /// Of the element.
        name: &'t str,
        /// Names and values, each name once; declarations of namespaces are among them.
        attributes: Vec<(&'t str, Cow<'t, str>)>,
        /// It is its end too.
        is_empty: bool,
    },
    /// Text between tags.
    Text(Cow<'t, str>),
}

/// Why a text is no document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// It declares a document type, which could declare entities.
    #[error("a DOCTYPE is not taken")]
    Doctype,
    /// It breaks a rule of XML.
    #[error("it is not well-formed")]
    Malformed,
    /// It refers to an entity that is not one of the five, or to no character.
    #[error("it refers to an entity or a character that there is not")]
    Reference,
}

/// The tokens of a document. Comments and processing instructions are passed over. Whether
/// elements are closed in their order is for whoever takes the tokens.
#[derive(Debug)]
pub struct Tokens<'t> {
    rest: &'t str,
    has_begun: bool,
}

impl<'t> Tokens<'t> {
    /// Those of `text`.
    #[must_use]
    pub fn new(text: &'t str) -> Self {
        Self {
            rest: text.strip_prefix('\u{FEFF}').unwrap_or(text),
            has_begun: false,
        }
    }

    /// The next token; `None` at the end.
    ///
    /// # Errors
    /// [`Broken`]; what is behind it is not to be asked for.
    #[expect(
        clippy::should_implement_trait,
        reason = "it fails, and is not asked again then"
    )]
    pub fn next(&mut self) -> Result<Option<Token<'t>>, Broken> {
        if !std::mem::replace(&mut self.has_begun, true)
            && let Some(declaration) = self.rest.strip_prefix("<?xml")
        {
            self.rest = declared(declaration)?;
        }
        loop {
            if self.rest.is_empty() {
                return Ok(None);
            }
            let Some(markup) = self.rest.strip_prefix('<') else {
                let end = self.rest.find('<').unwrap_or(self.rest.len());
                let (text, rest) = self.rest.split_at(end);
                self.rest = rest;
                return Ok(Some(Token::Text(resolved(text, false)?)));
            };
            if let Some(comment) = markup.strip_prefix("!--") {
                self.rest = behind(comment, "-->")?;
            } else if let Some(instruction) = markup.strip_prefix('?') {
                self.rest = behind(instruction, "?>")?;
            } else if let Some(text) = markup.strip_prefix("![CDATA[") {
                let (text, rest) = text.split_once("]]>").ok_or(Broken::Malformed)?;
                self.rest = rest;
                return Ok(Some(Token::Text(plain(text)?)));
            } else if markup.starts_with('!') {
                return Err(Broken::Doctype);
            } else if let Some(end) = markup.strip_prefix('/') {
                let (name, rest) = name(end)?;
                let rest = rest.trim_start_matches(is_space);
                self.rest = rest.strip_prefix('>').ok_or(Broken::Malformed)?;
                return Ok(Some(Token::End(name)));
            } else {
                return self.start(markup).map(Some);
            }
        }
    }

    fn start(&mut self, markup: &'t str) -> Result<Token<'t>, Broken> {
        let (element, mut rest) = name(markup)?;
        let mut attributes: Vec<(&str, Cow<'_, str>)> = Vec::new();
        loop {
            let next = rest.trim_start_matches(is_space);
            for (end, is_empty) in [("/>", true), (">", false)] {
                if let Some(after) = next.strip_prefix(end) {
                    self.rest = after;
                    return Ok(Token::Start {
                        name: element,
                        attributes,
                        is_empty,
                    });
                }
            }
            let is_apart = next.len() < rest.len();
            if !is_apart || attributes.len() >= ATTRIBUTES_MAX {
                return Err(Broken::Malformed);
            }
            let (attribute, value, after) = attribute(next)?;
            if attributes.iter().any(|(known, _)| *known == attribute) {
                return Err(Broken::Malformed);
            }
            attributes.push((attribute, value));
            rest = after;
        }
    }
}

/// Name, value, and what is behind them.
fn attribute(text: &str) -> Result<(&str, Cow<'_, str>, &str), Broken> {
    let (name, rest) = name(text)?;
    let rest = rest.trim_start_matches(is_space);
    let rest = rest.strip_prefix('=').ok_or(Broken::Malformed)?;
    let rest = rest.trim_start_matches(is_space);
    let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''));
    let quote = quote.ok_or(Broken::Malformed)?;
    let rest = rest.strip_prefix(quote).ok_or(Broken::Malformed)?;
    let (value, rest) = rest.split_once(quote).ok_or(Broken::Malformed)?;
    if value.contains('<') {
        return Err(Broken::Malformed);
    }
    Ok((name, resolved(value, true)?, rest))
}

const fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

/// A name, without the prefix of its namespace.
fn name(text: &str) -> Result<(&str, &str), Broken> {
    let is_of_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | ':' | '-' | '.');
    let end = text.find(|c| !is_of_name(c)).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let is_begun = name.starts_with(|c: char| c.is_alphabetic() || matches!(c, '_'));
    let local = name.rsplit(':').next().unwrap_or(name);
    if !is_begun || local.is_empty() {
        return Err(Broken::Malformed);
    }
    Ok((local, rest))
}

/// What is behind `end`.
fn behind<'t>(text: &'t str, end: &str) -> Result<&'t str, Broken> {
    let (passed, rest) = text.split_once(end).ok_or(Broken::Malformed)?;
    if !passed.chars().all(is_character) {
        return Err(Broken::Malformed);
    }
    Ok(rest)
}

/// What is behind the declaration, where it declares nothing else than what the text is.
fn declared(declaration: &str) -> Result<&str, Broken> {
    let (declared, rest) = declaration.split_once("?>").ok_or(Broken::Malformed)?;
    if !declared.starts_with(is_space) {
        return Err(Broken::Malformed);
    }
    let mut left = declared.trim_start_matches(is_space);
    while !left.is_empty() {
        let (name, value, after) = attribute(left)?;
        let is_right = match name {
            "version" => value.starts_with("1."),
            "encoding" => ["UTF-8", "US-ASCII"]
                .iter()
                .any(|e| value.eq_ignore_ascii_case(e)),
            "standalone" => true,
            _ => false,
        };
        if !is_right {
            return Err(Broken::Malformed);
        }
        left = after.trim_start_matches(is_space);
    }
    Ok(rest)
}

/// Text as it stands, with line ends as XML has them (2.11).
fn plain(text: &str) -> Result<Cow<'_, str>, Broken> {
    if !text.chars().all(is_character) {
        return Err(Broken::Malformed);
    }
    if !text.contains('\r') {
        return Ok(Cow::Borrowed(text));
    }
    Ok(Cow::Owned(text.replace("\r\n", "\n").replace('\r', "\n")))
}

/// Text with its references resolved; of an attribute white space becomes spaces (3.3.3).
fn resolved(text: &str, is_attribute: bool) -> Result<Cow<'_, str>, Broken> {
    let text = plain(text)?;
    let spaced = is_attribute && text.contains(['\n', '\t']);
    let text = if spaced {
        Cow::Owned(text.replace(['\n', '\t'], " "))
    } else {
        text
    };
    if !text.contains('&') {
        return Ok(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest: &str = &text;
    while let Some((before, from)) = rest.split_once('&') {
        out.push_str(before);
        let (reference, after) = from.split_once(';').ok_or(Broken::Reference)?;
        out.push(referred(reference)?);
        rest = after;
    }
    out.push_str(rest);
    Ok(Cow::Owned(out))
}

fn referred(reference: &str) -> Result<char, Broken> {
    let named = match reference {
        "amp" => Some('&'),
        "apos" => Some('\''),
        "gt" => Some('>'),
        "lt" => Some('<'),
        "quot" => Some('"'),
        _ => None,
    };
    if let Some(named) = named {
        return Ok(named);
    }
    let number = reference.strip_prefix('#').ok_or(Broken::Reference)?;
    let (digits, radix) = match number.strip_prefix('x') {
        Some(digits) => (digits, 16),
        None => (number, 10),
    };
    let are_digits =
        digits.len() <= REFERENCE_BYTES_MAX && digits.chars().all(|c| c.is_digit(radix));
    let code = u32::from_str_radix(digits, radix)
        .ok()
        .filter(|_| are_digits);
    let character = code.and_then(char::from_u32).filter(|c| is_character(*c));
    character.ok_or(Broken::Reference)
}
