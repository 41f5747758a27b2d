//! `Idempotency-Key`: what makes something of which two would be wrong is done once for each key,
//! and whoever repeats the request gets what the first time made.

use super::guard::{Signed, bytes_of};
use super::problem::codes;
use super::{Api, Problem};
use crate::limits::{API_REQUEST_KEY_CHARS, API_REQUESTS_KNOWN_HOURS, API_REQUESTS_SWEPT_EVERY};
use axum::Json;
use axum::extract::{FromRequest, Request};
use axum::http::HeaderMap;
use bytes::Bytes;
use chrono::TimeDelta;
use pacs_store::registry::requests::{self, Outcome};
use pacs_store::registry::{Refusal, Registry, RegistryError};
use serde::de::DeserializeOwned;

/// The header.
pub(super) const HEADER: &str = "idempotency-key";

/// The body of a request that is done once.
pub(super) struct Once<T> {
    pub(super) body: T,
    key: String,
    /// Method and path.
    operation: String,
    bytes: Bytes,
}

impl<T: DeserializeOwned> FromRequest<Api> for Once<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Api) -> Result<Self, Problem> {
        let key = key(request.headers()).ok_or(&codes::KEY_NEEDED)?;
        let operation = format!("{} {}", request.method(), request.uri());
        let bytes = bytes_of(request, api).await?;
        let Json(body) = Json::<T>::from_bytes(&bytes)?;
        Ok(Self {
            body,
            key,
            operation,
            bytes,
        })
    }
}

/// What became of a request.
pub(super) enum First<T> {
    /// It was done now.
    Done(T),
    /// It was done before, and made the document of this key.
    Before(String),
}

impl<T> Once<T> {
    /// Does `work` with a registry that does it once, unless it was done before.
    pub(super) async fn first<M, F>(
        &self,
        api: &Api,
        signed: &Signed,
        work: impl FnOnce(Registry) -> F,
    ) -> Result<First<M>, Problem>
    where
        F: Future<Output = Result<M, RegistryError>>,
    {
        let user = signed.who.user.value.name.as_str();
        let content: [&[u8]; 2] = [self.operation.as_bytes(), &self.bytes];
        let request = requests::Request::new(user, &self.key, &content);
        let _turn = api.registry.turn_of(&request).await;
        if let Some(outcome) = api.registry.outcome(&request).await? {
            return before(outcome);
        }
        match work(api.registry.once(request)).await {
            Ok(made) => Ok(First::Done(made)),
            Err(RegistryError::Refused(Refusal::Repeated(outcome))) => before(outcome),
            Err(error) => Err(error.into()),
        }
    }
}

fn before<M>(outcome: Outcome) -> Result<First<M>, Problem> {
    if outcome.is_same {
        Ok(First::Before(outcome.made))
    } else {
        Err((&codes::KEY_REUSED).into())
    }
}

/// Letters, digits, hyphens and underscores, with or without the quotation marks of RFC 9651.
fn key(headers: &HeaderMap) -> Option<String> {
    let mut keys = headers.get_all(HEADER).iter();
    let (first, second) = (keys.next()?.to_str().ok()?, keys.next());
    let bare = first
        .strip_prefix('"')
        .and_then(|key| key.strip_suffix('"'));
    let key = bare.unwrap_or(first);
    let is_key = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    let fits = API_REQUEST_KEY_CHARS.contains(&key.len()) && key.bytes().all(is_key);
    (fits && second.is_none()).then(|| key.to_owned())
}

/// Forgets what nobody repeats any more, once in a while, until the task is dropped.
pub(crate) async fn forget(registry: Registry) {
    let mut ticks = tokio::time::interval(API_REQUESTS_SWEPT_EVERY);
    loop {
        ticks.tick().await;
        let known_for = TimeDelta::hours(API_REQUESTS_KNOWN_HOURS);
        let Some(before) = crate::place::now().checked_sub_signed(known_for) else {
            continue;
        };
        if let Err(error) = registry.forget_requests(before).await {
            tracing::warn!(%error, "requests that are over could not be forgotten");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn a_key_has_letters_and_digits_and_stands_there_once() {
        let read = |of: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in of {
                headers.append(HEADER, HeaderValue::from_str(value).unwrap());
            }
            key(&headers)
        };
        assert_eq!(read(&["a-b_c-123"]).as_deref(), Some("a-b_c-123"));
        assert_eq!(read(&["\"a-b_c-123\""]).as_deref(), Some("a-b_c-123"));
        let long = "a".repeat(65);
        for wrong in [
            &[][..],
            &["1234567"],
            &["12345 678"],
            &[&long],
            &["12345678"; 2],
        ] {
            assert_eq!(read(wrong), None, "{wrong:?}");
        }
    }
}
