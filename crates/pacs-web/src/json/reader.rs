//! Reads JSON (RFC 8259), token by token: numbers keep the digits they were written with, and
//! nesting is bounded, which is what the DICOM JSON model needs of a reader.

use std::borrow::Cow;

/// Why bytes are not the JSON that they should be. What stands there is never shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JsonError {
    /// Objects and arrays stand deeper in one another than the reader was told to follow.
    #[error("JSON is nested too deep at byte {offset}")]
    Depth {
        /// Where.
        offset: usize,
    },
    /// No JSON.
    #[error("no JSON at byte {offset}")]
    Syntax {
        /// Where.
        offset: usize,
    },
}

/// A token. Commas and colons are looked at, and not given.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are the words of RFC 8259")]
pub enum Token<'t> {
    ArrayBegin,
    ArrayEnd,
    Bool(bool),
    /// The name of a member, whose value comes next.
    Name(Cow<'t, str>),
    Null,
    /// As it is written.
    Number(&'t str),
    ObjectBegin,
    ObjectEnd,
    String(Cow<'t, str>),
}

/// Reads one value, with all that stands in it.
#[derive(Debug, Clone)]
pub struct JsonReader<'t> {
    text: &'t str,
    at: usize,
    depth_max: usize,
    open: Vec<Open>,
    expected: Expected,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    Array,
    Object,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    /// A comma, or the end of what is open.
    CommaOrEnd,
    /// Nothing but blanks.
    End,
    /// The name of a member.
    Name,
    /// A name, or the end of an object without members.
    NameOrEnd,
    Value,
    /// A value, or the end of an array without values.
    ValueOrEnd,
}

impl<'t> JsonReader<'t> {
    /// Of `bytes`, in which at most `depth_max` objects and arrays may stand in one another.
    ///
    /// # Errors
    /// [`JsonError::Syntax`] where they are not UTF-8.
    pub fn new(bytes: &'t [u8], depth_max: usize) -> Result<Self, JsonError> {
        // Some programs begin with a byte order mark, which RFC 8259 8.1 lets a reader pass over.
        let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
        let text = std::str::from_utf8(bytes).map_err(|error| JsonError::Syntax {
            offset: error.valid_up_to(),
        })?;
        Ok(Self {
            text,
            at: 0,
            depth_max,
            open: Vec::new(),
            expected: Expected::Value,
        })
    }

    /// Where the next token begins, or a blank or comma before it.
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.at
    }

    /// How many objects and arrays are open.
    #[must_use]
    pub const fn depth(&self) -> usize {
        self.open.len()
    }

    /// The next token; `None` behind the value.
    ///
    /// # Errors
    /// [`JsonError`], after which nothing more is to be read.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator of results goes on behind an error"
    )]
    pub fn next(&mut self) -> Result<Option<Token<'t>>, JsonError> {
        self.skip_blanks();
        if self.expected == Expected::CommaOrEnd && self.peek() == Some(b',') {
            self.advance(1);
            self.skip_blanks();
            self.expected = match self.open.last() {
                Some(Open::Object) => Expected::Name,
                Some(Open::Array) | None => Expected::Value,
            };
        }
        let Some(byte) = self.peek() else {
            let is_end = self.expected == Expected::End;
            return is_end.then_some(None).ok_or_else(|| self.wrong());
        };
        match (self.expected, byte) {
            (Expected::ValueOrEnd | Expected::CommaOrEnd, b']') => self.close(Open::Array),
            (Expected::NameOrEnd | Expected::CommaOrEnd, b'}') => self.close(Open::Object),
            (Expected::Name | Expected::NameOrEnd, b'"') => self.name(),
            (Expected::Value | Expected::ValueOrEnd, _) => self.value(byte),
            _ => Err(self.wrong()),
        }
        .map(Some)
    }

    /// Passes over the value that comes next, with all that stands in it.
    ///
    /// # Errors
    /// [`JsonError`].
    pub fn skip(&mut self) -> Result<(), JsonError> {
        let depth = self.depth();
        loop {
            if self.next()?.is_none() {
                return Err(self.wrong());
            }
            if self.depth() <= depth {
                return Ok(());
            }
        }
    }

    const fn wrong(&self) -> JsonError {
        JsonError::Syntax { offset: self.at }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn advance(&mut self, bytes: usize) {
        self.at = self.at.saturating_add(bytes);
    }

    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.advance(1);
        }
    }

    fn begin(&mut self, what: Open) -> Result<(), JsonError> {
        if self.open.len() >= self.depth_max {
            return Err(JsonError::Depth { offset: self.at });
        }
        self.advance(1);
        self.open.push(what);
        self.expected = match what {
            Open::Array => Expected::ValueOrEnd,
            Open::Object => Expected::NameOrEnd,
        };
        Ok(())
    }

    fn close(&mut self, what: Open) -> Result<Token<'t>, JsonError> {
        if self.open.last() != Some(&what) {
            return Err(self.wrong());
        }
        self.open.pop();
        self.advance(1);
        self.value_ended();
        Ok(match what {
            Open::Array => Token::ArrayEnd,
            Open::Object => Token::ObjectEnd,
        })
    }

    fn value_ended(&mut self) {
        self.expected = if self.open.is_empty() {
            Expected::End
        } else {
            Expected::CommaOrEnd
        };
    }

    fn name(&mut self) -> Result<Token<'t>, JsonError> {
        let name = self.string()?;
        self.skip_blanks();
        if self.peek() != Some(b':') {
            return Err(self.wrong());
        }
        self.advance(1);
        self.expected = Expected::Value;
        Ok(Token::Name(name))
    }

    fn value(&mut self, first: u8) -> Result<Token<'t>, JsonError> {
        let token = match first {
            b'{' => return self.begin(Open::Object).map(|()| Token::ObjectBegin),
            b'[' => return self.begin(Open::Array).map(|()| Token::ArrayBegin),
            b'"' => Token::String(self.string()?),
            b't' => self.word("true", Token::Bool(true))?,
            b'f' => self.word("false", Token::Bool(false))?,
            b'n' => self.word("null", Token::Null)?,
            _ => Token::Number(self.number()?),
        };
        self.value_ended();
        Ok(token)
    }

    fn word(&mut self, word: &str, token: Token<'t>) -> Result<Token<'t>, JsonError> {
        if !self.rest().starts_with(word) {
            return Err(self.wrong());
        }
        self.advance(word.len());
        Ok(token)
    }

    /// RFC 8259 6.
    fn number(&mut self) -> Result<&'t str, JsonError> {
        let rest = self.rest();
        let end = rest.bytes().position(|b| !is_of_number(b));
        let number = rest
            .get(..end.unwrap_or(rest.len()))
            .filter(|number| is_number(number))
            .ok_or_else(|| self.wrong())?;
        self.advance(number.len());
        Ok(number)
    }

    fn string(&mut self) -> Result<Cow<'t, str>, JsonError> {
        self.advance(1);
        let rest = self.rest();
        let end = memchr::memchr2(b'"', b'\\', rest.as_bytes()).ok_or_else(|| self.wrong())?;
        let plain = rest.get(..end).unwrap_or_default();
        if plain.bytes().any(|b| b < 0x20) {
            return Err(self.wrong());
        }
        self.advance(end);
        if self.peek() == Some(b'"') {
            self.advance(1);
            return Ok(Cow::Borrowed(plain));
        }
        let mut text = plain.to_owned();
        loop {
            let rest = self.rest();
            let end = memchr::memchr2(b'"', b'\\', rest.as_bytes()).ok_or_else(|| self.wrong())?;
            let plain = rest.get(..end).unwrap_or_default();
            if plain.bytes().any(|b| b < 0x20) {
                return Err(self.wrong());
            }
            text.push_str(plain);
            self.advance(end);
            if self.peek() == Some(b'"') {
                self.advance(1);
                return Ok(Cow::Owned(text));
            }
            self.advance(1);
            text.push(self.escaped()?);
        }
    }

    /// The character that an escape stands for; a half of a surrogate pair alone is none.
    fn escaped(&mut self) -> Result<char, JsonError> {
        let byte = self.peek().ok_or_else(|| self.wrong())?;
        self.advance(1);
        Ok(match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{C}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let first = self.unit()?;
                let mut units = vec![first];
                if (0xD800..0xDC00).contains(&first) {
                    if !self.rest().starts_with("\\u") {
                        return Err(self.wrong());
                    }
                    self.advance(2);
                    units.push(self.unit()?);
                }
                let mut read = char::decode_utf16(units);
                let character = read.next().and_then(Result::ok);
                character
                    .filter(|_| read.next().is_none())
                    .ok_or_else(|| self.wrong())?
            }
            _ => return Err(self.wrong()),
        })
    }

    fn unit(&mut self) -> Result<u16, JsonError> {
        let digits = self.rest().get(..4).ok_or_else(|| self.wrong())?;
        let is_hex = digits.bytes().all(|b| b.is_ascii_hexdigit());
        let unit = u16::from_str_radix(digits, 16).ok().filter(|_| is_hex);
        let unit = unit.ok_or_else(|| self.wrong())?;
        self.advance(4);
        Ok(unit)
    }
}

const fn is_of_number(byte: u8) -> bool {
    byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E')
}

fn is_number(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let text = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && fraction.is_none_or(digits)
        && exponent
            .is_none_or(|exponent| digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The value that `text` holds, written again without blanks.
    fn again(text: &str) -> Result<String, JsonError> {
        let mut reader = JsonReader::new(text.as_bytes(), 8)?;
        let mut out = String::new();
        while let Some(token) = reader.next()? {
            let is_end = matches!(token, Token::ArrayEnd | Token::ObjectEnd);
            if !is_end && !out.is_empty() && !out.ends_with(['[', '{', ':']) {
                out.push(',');
            }
            match token {
                Token::ArrayBegin => out.push('['),
                Token::ArrayEnd => out.push(']'),
                Token::Bool(value) => out.push_str(&value.to_string()),
                Token::Name(name) => out.push_str(&format!("{name:?}:")),
                Token::Null => out.push_str("null"),
                Token::Number(number) => out.push_str(number),
                Token::ObjectBegin => out.push('{'),
                Token::ObjectEnd => out.push('}'),
                Token::String(text) => out.push_str(&format!("{text:?}")),
            }
        }
        Ok(out)
    }

    #[test]
    fn every_token_comes_as_it_is_written() {
        for (text, expected) in [
            (" [ ] ", "[]"),
            (
                "{\"a\" : [1.50, -0, 1E+9], \"b\":{}}",
                "{\"a\":[1.50,-0,1E+9],\"b\":{}}",
            ),
            ("\u{FEFF}[true,false , null]", "[true,false,null]"),
            (r#""\u0041\ud83d\ude00\/Ы""#, "\"A\u{1F600}/Ы\""),
            ("7", "7"),
        ] {
            assert_eq!(again(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for text in [
            "",
            "[",
            "]",
            "[1,]",
            "[,1]",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{a:1}",
            "01",
            "1.",
            ".5",
            "+1",
            "1e",
            "--1",
            "tru",
            "nul",
            "\"",
            "\"\\x\"",
            "\"\\ud800\"",
            "\"\\ud800\\u0041\"",
            "\"\\udc00\"",
            "\"\\u+123\"",
            "\"\n\"",
            "1 2",
            "[1 2]",
            "[}",
            "{]",
            "\"a\" \"b\"",
            "NaN",
            "[1}",
            "'a'",
        ] {
            assert!(again(text).is_err(), "{text}");
        }
        assert!(JsonReader::new(b"\"\xFF\"", 8).is_err());
        let deep = again("[[[[[[[[[0]]]]]]]]]");
        assert_eq!(deep, Err(JsonError::Depth { offset: 8 }));
    }

    #[test]
    fn a_value_is_passed_over_whole() {
        let text = br#"[{"a":[1,{"b":2}]},"c",3]"#;
        let mut reader = JsonReader::new(text, 8).unwrap();
        assert_eq!(reader.next().unwrap(), Some(Token::ArrayBegin));
        reader.skip().unwrap();
        reader.skip().unwrap();
        assert_eq!(reader.next().unwrap(), Some(Token::Number("3")));
        assert_eq!(reader.next().unwrap(), Some(Token::ArrayEnd));
        assert!(reader.skip().is_err());
    }

    proptest! {
        #[test]
        fn it_takes_what_serde_json_takes(text in "[\\[\\]{}\",:0-9a-e.\\-+ntrufls\\\\ ]{0,24}") {
            let theirs = serde_json::from_str::<serde_json::Value>(&text);
            // A number beyond a double is one all the same.
            let is_long = theirs.as_ref().is_err_and(|e| e.to_string().contains("out of range"));
            prop_assert_eq!(again(&text).is_ok(), theirs.is_ok() || is_long, "{}", text);
        }
    }
}
