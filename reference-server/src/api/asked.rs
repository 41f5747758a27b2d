//! What a request asks for behind the question mark. Parameters that are not known are refused, as
//! members of bodies are, and so are those that stand there twice.

use super::{Api, Problem};
use crate::limits::API_PARAMETERS_MAX;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use std::collections::BTreeMap;
use std::str::FromStr;

/// The parameters. A handler takes those that it knows, and then calls [`Asked::done`].
pub(super) struct Asked(BTreeMap<String, String>);

impl FromRequestParts<Api> for Asked {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Api) -> Result<Self, Problem> {
        Self::parse(parts.uri.query().unwrap_or_default()).ok_or(Problem::Malformed)
    }
}

impl Asked {
    pub(super) fn parse(query: &str) -> Option<Self> {
        let mut parameters = BTreeMap::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let is_new = parameters.insert(decoded(name)?, decoded(value)?).is_none();
            if !is_new || parameters.len() > API_PARAMETERS_MAX {
                return None;
            }
        }
        Some(Self(parameters))
    }

    /// The value of a parameter; `None` where it is not there.
    pub(super) fn take<T: FromStr>(&mut self, name: &str) -> Result<Option<T>, Problem> {
        self.take_by(name, |text| text.parse().ok())
    }

    /// The same, read by `read`.
    pub(super) fn take_by<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, Problem> {
        let Some(text) = self.0.remove(name) else {
            return Ok(None);
        };
        read(&text).map(Some).ok_or(Problem::Malformed)
    }

    /// The same of a value that its type reads as a text of JSON.
    pub(super) fn take_named<T: serde::de::DeserializeOwned>(
        &mut self,
        name: &str,
    ) -> Result<Option<T>, Problem> {
        self.take_by(name, |text| {
            serde_json::from_value(serde_json::Value::String(text.to_owned())).ok()
        })
    }

    /// Refuses whatever nobody took.
    pub(super) fn done(self) -> Result<(), Problem> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(Problem::Malformed)
        }
    }
}

/// A part of a query (application/x-www-form-urlencoded) as a text.
fn decoded(part: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(part.len());
    let mut left = part.bytes();
    while let Some(byte) = left.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(left.next()?).to_digit(16);
                u8::try_from(digit()?.checked_mul(16)?.checked_add(digit()?)?).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded_and_each_stands_there_once() {
        let mut asked = Asked::parse("a=1&text=%D0%96+%26&b").unwrap();
        assert_eq!(asked.take::<u32>("a").unwrap(), Some(1));
        assert_eq!(asked.take::<u32>("a").unwrap(), None);
        assert_eq!(asked.take::<String>("text").unwrap().unwrap(), "Ж &");
        assert_eq!(asked.take::<String>("b").unwrap().unwrap(), "");
        asked.done().unwrap();
        for wrong in ["a=1&a=2", "a=%", "a=%4", "a=%zz", "a=%ff"] {
            assert!(Asked::parse(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn what_nobody_knows_and_what_is_none_is_refused() {
        let asked = Asked::parse("unknown=1").unwrap();
        assert!(asked.done().is_err());
        let mut asked = Asked::parse("a=x").unwrap();
        assert!(asked.take::<u32>("a").is_err());
        let many: Vec<String> = (0..=API_PARAMETERS_MAX).map(|n| format!("p{n}=")).collect();
        assert!(Asked::parse(&many.join("&")).is_none());
    }
}
