//! What clients of DICOMweb show to say who they are: a token, as bearer token (RFC 6750) or as
//! password of HTTP Basic (RFC 7617).
//!
//! A right token always gets in. 256 random bits are not guessed, and behind a proxy or a router
//! one client must not lock out all others; wrong ones are counted for each network, and one that
//! shows too many is told to wait, with an alarm.

use crate::guessing::Guesses;
use crate::metrics::Metrics;
use crate::recorder::alerts::Alerts;
use crate::tokens::{Tokens, now_unix_s};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

/// Bytes of what is shown; more is no token of ours.
const SHOWN_BYTES: usize = 1_024;

/// Why somebody does not get in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stranger {
    /// What was shown is no token, or not any more.
    Unknown,
    /// The network has shown too much that was wrong.
    Guessing,
}

/// Knows clients by what they show.
#[derive(Debug)]
pub struct Clients {
    tokens: Arc<Tokens>,
    guesses: Guesses,
    metrics: Option<Arc<Metrics>>,
    alerts: Option<Alerts>,
}

impl Clients {
    /// Those who hold one of `tokens`.
    #[must_use]
    pub fn new(tokens: Arc<Tokens>, metrics: Option<Arc<Metrics>>, alerts: Option<Alerts>) -> Self {
        Self {
            tokens,
            guesses: Guesses::default(),
            metrics,
            alerts,
        }
    }

    /// The name of whoever shows `authorization` from `address`.
    ///
    /// # Errors
    /// [`Stranger`].
    pub fn name(&self, authorization: &str, address: IpAddr) -> Result<String, Stranger> {
        let found = Credentials::parse(authorization).and_then(|credentials| {
            let name = credentials.name.as_deref();
            self.tokens.find(name, &credentials.secret)
        });
        if let Some(token) = found {
            if !token.is_expired(now_unix_s()) {
                return Ok(token.name);
            }
            tracing::info!(%address, client = token.name, "a token has expired");
            return Err(Stranger::Unknown);
        }
        let guessed = self
            .guesses
            .evaluate(address, Instant::now(), || Err::<(), ()>(()));
        if let Some(metrics) = &self.metrics {
            metrics.refused("token");
        }
        if let Some(alerts) = &self.alerts {
            alerts.node_refused(address, None, "token");
        }
        let Err(turned_away) = guessed else {
            tracing::warn!(%address, "what a client shows is no token");
            return Err(Stranger::Unknown);
        };
        if let Some(turned_away) = turned_away.alarm {
            if let Some(metrics) = &self.metrics {
                metrics.guessing_alarm();
            }
            tracing::error!(
                alarm = "token_guessing",
                %address,
                turned_away,
                "an address tries out tokens"
            );
        }
        Err(Stranger::Guessing)
    }
}

/// What `Authorization` holds.
struct Credentials {
    name: Option<String>,
    secret: String,
}

impl Credentials {
    fn parse(authorization: &str) -> Option<Self> {
        if authorization.len() > SHOWN_BYTES {
            return None;
        }
        let (scheme, shown) = authorization.trim().split_once(' ')?;
        let shown = shown.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            return Some(Self {
                name: None,
                secret: shown.to_owned(),
            });
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let text = String::from_utf8(base64(shown)?).ok()?;
        let (name, secret) = text.split_once(':')?;
        Some(Self {
            name: Some(name.to_owned()),
            secret: secret.to_owned(),
        })
    }
}

/// The bytes that `text` stands for (RFC 4648 4).
fn base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut bits = 0_u32;
    let mut bits_count = 0_u32;
    for digit in text.trim_end_matches('=').bytes() {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6 | u32::from(value)) & 0xFFFF;
        bits_count += 6;
        if bits_count >= 8 {
            bits_count -= 8;
            bytes.push(u8::try_from(bits >> bits_count & 0xFF).ok()?);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::GUESSES_MAX;
    use crate::tokens::{Change, Token, hash_of};
    use pacs_core::Action;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));

    fn clients() -> (tempfile::TempDir, Clients) {
        let folder = tempfile::tempdir().unwrap();
        for (name, secret, life) in [("viewer", "s", 1_000), ("old", "o", 0)] {
            let token = Token {
                name: name.to_owned(),
                secret_blake3: hash_of(secret),
                scope: [Action::Find].into(),
                sees: None,
                created_unix_s: 0,
                expires_unix_s: now_unix_s() + life,
            };
            Tokens::change(folder.path(), Change::Create(token)).unwrap();
        }
        let tokens = Arc::new(Tokens::of(folder.path()));
        (folder, Clients::new(tokens, None, None))
    }

    #[test]
    fn a_token_is_shown_as_bearer_or_as_password() {
        let (_folder, clients) = clients();
        // Of viewer:s, other:s, viewer, and old:o.
        for (shown, name) in [
            ("Bearer s", Ok("viewer")),
            ("bearer  s ", Ok("viewer")),
            ("Basic dmlld2VyOnM=", Ok("viewer")),
            ("Basic b3RoZXI6cw==", Err(Stranger::Unknown)),
            ("Basic dmlld2Vy", Err(Stranger::Unknown)),
            ("Basic ?", Err(Stranger::Unknown)),
            ("Bearer o", Err(Stranger::Unknown)),
            ("Basic b2xkOm8=", Err(Stranger::Unknown)),
            ("Bearer", Err(Stranger::Unknown)),
            ("s", Err(Stranger::Unknown)),
            ("", Err(Stranger::Unknown)),
            ("Digest s", Err(Stranger::Unknown)),
        ] {
            assert_eq!(
                clients.name(shown, HERE),
                name.map(str::to_owned),
                "{shown}"
            );
        }
    }

    #[test]
    fn who_guesses_is_told_to_wait_and_keeps_nobody_out() {
        let (_folder, clients) = clients();
        let guess = || clients.name("Bearer wrong", HERE);
        for _ in 0..GUESSES_MAX {
            assert_eq!(guess(), Err(Stranger::Unknown));
        }

        assert_eq!(guess(), Err(Stranger::Guessing));
        assert_eq!(clients.name("Bearer s", HERE), Ok("viewer".to_owned()));
        let elsewhere = IpAddr::from([198, 51, 100, 1]);
        assert_eq!(
            clients.name("Bearer wrong", elsewhere),
            Err(Stranger::Unknown)
        );
    }

    #[test]
    fn base64_is_read_as_rfc_4648_has_it() {
        for (text, bytes) in [
            ("", Some(b"".as_slice())),
            ("Zg==", Some(b"f")),
            ("Zm8=", Some(b"fo")),
            ("Zm9v", Some(b"foo")),
            ("Zm9vYmFy", Some(b"foobar")),
            ("+/+/", Some(b"\xfb\xff\xbf")),
            ("Zm 9v", None),
            ("Zm9v\n", None),
        ] {
            assert_eq!(base64(text).as_deref(), bytes, "{text}");
        }
    }
}
