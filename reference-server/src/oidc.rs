//! Sign-in by an OpenID provider: it says who somebody is, and nothing of what they may do.
//!
//! OpenID Connect Core 1.0 with the code flow, PKCE (RFC 7636, S256), state and nonce, and the
//! issuer in answers (RFC 9207). What is asked stays here, bound to a cookie of the browser that
//! began; no token of the provider reaches a browser, a log or the disk. Whom a subject is an
//! account of is for [`crate::accounts`]. docs/decisions/0027-the-provider-says-who.md.

mod asking;
mod base64;
mod id_token;
mod keys;
mod pending;
mod return_to;
mod signature;
#[cfg(test)]
mod tests;

pub use id_token::TokenError;
pub(crate) use id_token::is_subject;
pub use return_to::ReturnTo;

use crate::accounts::is_secret;
use crate::carrier::Endpoint;
use crate::clock::{NoRandomness, World};
use crate::config::oidc::OidcConfig;
use crate::limits::{
    AUDIT_NAME_CHARS_MAX, OIDC_CLOCK_SKEW_S_MAX, OIDC_LEAVE_DURATION_MAX, OIDC_PARAMETER_CHARS_MAX,
    OIDC_SIGN_IN_LIFE,
};
use crate::secret_file::{self, SecretFileError};
use crate::tls::{TlsFileError, outgoing};
use asking::{Asking, pairs};
use id_token::{Expected, Subject, Unverified};
use pending::{Flow, Pending};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;
use tokio::time::timeout;

/// Bytes of whatever nobody may guess.
const RANDOM_BYTES: usize = 32;

/// Why a provider cannot be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OidcOpenError {
    /// The file of the secret cannot be read, is empty, or is too long for one.
    #[error(transparent)]
    Secret(#[from] SecretFileError),
    /// The certificates by which it is known are of no use.
    #[error("accounts.oidc")]
    Tls(#[from] TlsFileError),
}

/// Why somebody is not signed in. Exhaustive on purpose: each has a status and a code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OidcError {
    /// The provider gives no tokens for this code: it is none of this sign-in, or was used.
    #[error("the provider gives no tokens for this code")]
    BadCode,
    /// Too many ask the provider at once.
    #[error("too much at once")]
    Busy,
    /// The answer has neither a code nor an error.
    #[error("the answer has neither a code nor an error")]
    Empty,
    /// No such sign-in is under way in this browser: it is over, was answered, or is none.
    #[error("no such sign-in is under way in this browser")]
    Gone,
    /// Nothing secret can be made.
    #[error("the server could not do it")]
    Internal,
    /// The answer names another issuer, or none where it should (RFC 9207).
    #[error("the answer is of another issuer")]
    MixedUp,
    /// The provider says no.
    #[error("the provider says no: {0}")]
    Refused(TellApart),
    /// The provider cannot be asked, or what it says is of no use.
    #[error("the provider cannot be asked")]
    Unavailable,
    /// The token is none for this sign-in.
    #[error("the token of the provider is none for this sign-in")]
    Untrusted(#[from] TokenError),
    /// They did not prove who they are as the settings demand it.
    #[error("the provider did not ask for as much as is demanded here")]
    Weak(Box<Identity>),
}

impl OidcError {
    /// For the audit trail.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::BadCode => "PROVIDER_BAD_CODE",
            Self::Busy => "PROVIDER_BUSY",
            Self::Empty => "PROVIDER_EMPTY",
            Self::Gone => "SIGN_IN_GONE",
            Self::Internal => "INTERNAL",
            Self::MixedUp => "PROVIDER_MIXED_UP",
            Self::Refused(_) => "PROVIDER_REFUSED",
            Self::Unavailable => "PROVIDER_UNAVAILABLE",
            Self::Untrusted(error) => error.code(),
            Self::Weak(_) => "PROVIDER_WEAK",
        }
    }

    /// Whether the answer looks like one that somebody forged, or took from another sign-in. All
    /// else happens to whoever means no harm, or can be brought about by any page.
    #[must_use]
    pub const fn is_forgery(&self) -> bool {
        matches!(self, Self::BadCode | Self::MixedUp | Self::Untrusted(_))
    }
}

impl From<NoRandomness> for OidcError {
    fn from(error: NoRandomness) -> Self {
        tracing::error!(%error, "nothing secret can be made");
        Self::Internal
    }
}

/// A code of an error of a provider (RFC 6749 4.1.2.1), as far as it is one: it comes through a
/// browser, and goes into logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TellApart(String);

impl TellApart {
    fn of(text: &str) -> Self {
        let is_code = |letter: &char| letter.is_ascii_lowercase() || *letter == '_';
        Self(text.chars().filter(is_code).take(64).collect())
    }

    fn is(&self, code: &str) -> bool {
        self.0 == code
    }
}

impl fmt::Display for TellApart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A provider. Clones are the same.
#[derive(Debug, Clone)]
pub struct Provider {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: OidcConfig,
    asking: Asking,
    flows: Pending<Flow>,
    /// Those who still have to say the code of their second factor.
    waiting: Pending<Waiting>,
    world: World,
}

/// What a browser has that begins; what is no secret of ours is as if it was not there.
#[derive(Clone, Default)]
pub struct Browser {
    /// The secret of the cookie of a sign-in, of this tab or another one.
    pub sign_in: Option<String>,
    /// The secret of its session, which ends.
    pub session: Option<String>,
}

impl fmt::Debug for Browser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Browser").finish_non_exhaustive()
    }
}

/// What a browser is told to begin.
pub struct Begun {
    /// Where it goes.
    pub location: String,
    /// The secret of its cookie.
    pub secret: String,
}

impl fmt::Debug for Begun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Begun").finish_non_exhaustive()
    }
}

/// What a browser brings from the provider. `Debug` shows nothing of it.
#[derive(Clone, Default)]
pub struct Brought {
    /// The code.
    pub code: Option<String>,
    /// The state that it was sent with.
    pub state: Option<String>,
    /// The issuer (RFC 9207).
    pub issuer: Option<String>,
    /// Why there is no code.
    pub error: Option<String>,
}

impl fmt::Debug for Brought {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Brought").finish_non_exhaustive()
    }
}

/// Somebody, as the provider knows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Whose subject it is.
    pub issuer: String,
    /// The subject.
    pub subject: String,
    /// What tells an administrator who it is: the claim that is configured, else the subject.
    pub shown: String,
}

/// Somebody who came from the provider.
pub struct Came {
    /// Who.
    pub identity: Identity,
    /// Where the browser goes.
    pub return_to: ReturnTo,
    /// The secret of the session that the browser had.
    pub old: Option<String>,
}

impl fmt::Debug for Came {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Came").finish_non_exhaustive()
    }
}

/// Where a browser goes to end its session at the provider too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaving {
    /// The address.
    pub location: String,
    /// What the provider has the browser bring when it sends it to the page of the settings;
    /// `None`: it sends it nowhere.
    pub state: Option<String>,
}

/// Somebody who came, and has to say the code of their second factor.
#[derive(Clone)]
pub struct Waiting {
    /// Who.
    pub identity: Identity,
    /// The secret of the session that the browser had.
    pub old: Option<String>,
}

impl fmt::Debug for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiting").finish_non_exhaustive()
    }
}

impl Provider {
    /// The one of `config`. It is not asked anything before somebody signs in.
    ///
    /// # Errors
    /// [`OidcOpenError`].
    pub fn open(config: &OidcConfig, world: World) -> Result<Self, OidcOpenError> {
        let secret = config.client_secret_file.as_deref();
        let secret = secret.map(|path| secret_file::read("accounts.oidc.client_secret_file", path));
        let tls = config.endpoint.tls.as_ref();
        let tls = tls.map(|tls| outgoing("accounts.oidc", tls)).transpose()?;
        let endpoint = Endpoint {
            address: config.endpoint.address.clone(),
            path: config.endpoint.path.clone(),
            tls,
        };
        let asking = Asking::new(config, endpoint, secret.transpose()?);
        Ok(Self {
            inner: Arc::new(Inner {
                config: config.clone(),
                asking,
                flows: Pending::default(),
                waiting: Pending::default(),
                world,
            }),
        })
    }

    /// What it is called where people choose how to sign in.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.config.name
    }

    /// As it names itself.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.inner.config.issuer
    }

    /// Whether what the provider asks for replaces the second factor of an account: where the
    /// settings demand how somebody proves who they are.
    #[must_use]
    pub fn is_second_factor(&self) -> bool {
        let config = &self.inner.config;
        !config.require_acr.is_empty() || !config.require_amr.is_empty()
    }

    /// Begins: remembers what is asked, and says where the browser goes.
    ///
    /// # Errors
    /// [`OidcError::Unavailable`], [`OidcError::Busy`], [`OidcError::Internal`].
    pub async fn begin(
        &self,
        return_to: ReturnTo,
        browser: Browser,
        from: IpAddr,
    ) -> Result<Begun, OidcError> {
        let about = self.inner.asking.about().await?;
        // Of several tabs each comes back with the same cookie.
        let secret = match browser.sign_in.filter(|secret| is_random(secret)) {
            Some(secret) => secret,
            None => self.random()?,
        };
        let state = self.random()?;
        let flow = Flow {
            nonce: self.random()?,
            verifier: self.random()?,
            return_to,
            old: browser.session.filter(|session| is_secret(session)),
            asked_at: self.inner.world.now().timestamp(),
        };
        let config = &self.inner.config;
        let challenge = signature::challenge(&flow.verifier);
        let mut asked = vec![
            ("response_type", "code"),
            ("client_id", &*config.client_id),
            ("redirect_uri", &*config.redirect_url),
            ("scope", &*config.scope),
            ("state", &*state),
            ("nonce", &*flow.nonce),
            ("code_challenge", &*challenge),
            ("code_challenge_method", "S256"),
        ];
        let contexts = config.require_acr.join(" ");
        if !contexts.is_empty() {
            asked.push(("acr_values", &*contexts));
        }
        let age_max = config.auth_age_s_max.map(|seconds| seconds.to_string());
        if let Some(seconds) = &age_max {
            asked.push(("max_age", seconds));
        }
        let location = with_pairs(&about.authorization_endpoint, &asked);
        let names = (&*state, &*secret);
        self.inner.flows.put(names, from, Instant::now(), flow);
        Ok(Begun { location, secret })
    }

    /// Finishes what the browser with `secret` began: whoever it brings an answer about.
    ///
    /// # Errors
    /// [`OidcError`]. Whatever it is, the same answer does not count again.
    pub async fn finish(&self, brought: &Brought, secret: &str) -> Result<Came, OidcError> {
        let state = brought.state.as_deref().filter(|state| is_short(state));
        let flow = state.and_then(|state| {
            let flows = &self.inner.flows;
            flows.take(state, secret, Instant::now())
        });
        let flow = flow.ok_or(OidcError::Gone)?;
        let about = self.inner.asking.about().await?;
        let config = &self.inner.config;
        match brought.issuer.as_deref() {
            Some(issuer) if issuer != config.issuer => return Err(OidcError::MixedUp),
            None if about.names_issuer => return Err(OidcError::MixedUp),
            _ => {}
        }
        if let Some(error) = &brought.error {
            return Err(OidcError::Refused(TellApart::of(error)));
        }
        let code = brought.code.as_deref();
        let code = code.filter(|code| !code.is_empty() && is_short(code));
        let code = code.ok_or(OidcError::Empty)?;
        let asking = &self.inner.asking;
        let tokens = asking.tokens(&about, code, &flow.verifier).await?;
        let unverified = Unverified::read(&tokens.id_token)?;
        let keys = asking.keys(&about, |keys| unverified.is_signed_by(keys));
        let keys = keys.await?;
        let expected = Expected {
            issuer: &config.issuer,
            client_id: &config.client_id,
            nonce: &flow.nonce,
            access_token: &tokens.access_token,
            now: self.inner.world.now().timestamp(),
        };
        let subject = unverified.verify(&keys, &expected)?;
        let is_proved = self.has_proved(&subject, flow.asked_at);
        let identity = self.identity(subject);
        if !is_proved {
            return Err(OidcError::Weak(Box::new(identity)));
        }
        Ok(Came {
            identity,
            return_to: flow.return_to,
            old: flow.old,
        })
    }

    /// Whether somebody proved who they are as the settings demand it of a sign-in that began at
    /// `asked_at`.
    fn has_proved(&self, subject: &Subject, asked_at: i64) -> bool {
        let config = &self.inner.config;
        let is_taken = |context: &String| config.require_acr.contains(context);
        let has_context = config.require_acr.is_empty() || subject.context.iter().any(is_taken);
        let mut needed = config.require_amr.iter();
        // OpenID Connect Core 1.0, 3.1.2.1: who signs in again at the provider is newer than what
        // was asked. The time that they take for it is not held against them.
        let is_recent = config.auth_age_s_max.is_none_or(|seconds| {
            let earliest = asked_at.saturating_sub_unsigned(seconds);
            let earliest = earliest.saturating_sub(OIDC_CLOCK_SKEW_S_MAX);
            subject.proved_at.is_some_and(|at| at >= earliest)
        });
        has_context && is_recent && needed.all(|method| subject.methods.contains(method))
    }

    fn identity(&self, subject: Subject) -> Identity {
        let config = &self.inner.config;
        let shown = config.show_claim.as_deref();
        let shown = shown.and_then(|claim| subject.claims.get(claim)?.as_str());
        let shown = shown.unwrap_or(&subject.subject).chars();
        let shown = shown.filter(|letter| !letter.is_control());
        Identity {
            issuer: config.issuer.clone(),
            shown: shown.take(AUDIT_NAME_CHARS_MAX).collect(),
            subject: subject.subject,
        }
    }

    /// Where a browser goes whose session here is over, so that the one at the provider ends as
    /// well (OpenID Connect RP-Initiated Logout 1.0, 2). `None` where the provider has no such
    /// address, or does not say so soon.
    ///
    /// It knows the archive by `client_id`. No ID token is kept to be a hint, which would go
    /// through the browser: so that it asks whoever leaves whether they mean it, as it must without
    /// one.
    pub async fn leave(&self) -> Option<Leaving> {
        let about = timeout(OIDC_LEAVE_DURATION_MAX, self.inner.asking.about()).await;
        let about = about.ok()?.ok()?;
        let endpoint = about.end_session_endpoint.as_ref()?;
        let config = &self.inner.config;
        let page = config.post_logout_redirect_url.as_deref();
        let state = page.map(|_| self.random()).transpose();
        let state = state.map_err(OidcError::from).ok()?;
        let mut asked = vec![("client_id", &*config.client_id)];
        asked.extend(page.map(|page| ("post_logout_redirect_uri", page)));
        asked.extend(state.as_deref().map(|state| ("state", state)));
        Some(Leaving {
            location: with_pairs(endpoint, &asked),
            state,
        })
    }

    /// Remembers that somebody in the browser with `secret` has to say a code.
    pub fn wait_for_code(&self, waiting: Waiting, secret: &str, from: IpAddr) {
        let names = (secret, secret);
        self.inner.waiting.put(names, from, Instant::now(), waiting);
    }

    /// Whoever has to say a code in the browser with `secret`.
    #[must_use]
    pub fn waiting_for_code(&self, secret: &str) -> Option<Waiting> {
        self.inner.waiting.look(secret, secret, Instant::now())
    }

    /// Forgets it: the code was right.
    pub fn said_code(&self, secret: &str) {
        self.inner.waiting.take(secret, secret, Instant::now());
    }

    fn random(&self) -> Result<String, NoRandomness> {
        Ok(base64::encode(&self.inner.world.random::<RANDOM_BYTES>()?))
    }
}

/// Whether this can be of [`Provider::random`].
fn is_random(text: &str) -> bool {
    base64::decode(text).is_some_and(|bytes| bytes.len() == RANDOM_BYTES)
}

/// How long the cookie of a browser lives that has begun.
#[must_use]
pub const fn sign_in_life_s() -> u64 {
    OIDC_SIGN_IN_LIFE.as_secs()
}

/// An endpoint, asked for this.
fn with_pairs(endpoint: &str, asked: &[(&str, &str)]) -> String {
    let mark = if endpoint.contains('?') { '&' } else { '?' };
    format!("{endpoint}{mark}{}", pairs(asked))
}

fn is_short(text: &str) -> bool {
    text.len() <= OIDC_PARAMETER_CHARS_MAX
}
