//! The register behind a security server of X-Road, over REST (PR-REST 1.0).
//!
//! No description of a REST service of the register was found, so that the path, and what of the
//! question stands in it, is the configuration's. Answers are JSON with the members that the SOAP
//! services have.

use super::tunduk_soap::{of_carrier, of_status};
use super::{ANSWER_BOUNDS, CitizenRegister};
use crate::carrier::{Endpoint, Reply, encoded};
use async_trait::async_trait;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, Request, StatusCode, header};
use pacs_core::register::answer::{Members, of_members};
use pacs_core::register::xroad::{Circumstances, ServiceCodes, XRoad, of_fault};
use pacs_core::register::{Outcome, Question, Service};
use serde_json::Value;
use std::collections::BTreeMap;

/// Arrays and objects within others.
const DEPTH_MAX: usize = 32;

/// What stands behind the codes of a service. `{pin}` and other members of the question in braces
/// stand for what is asked; without any the question is sent as JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestPath(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Member(String),
    Text(String),
}

/// A text that is no path of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a path is of letters, digits, -._~/?=& and members in braces, as in persons/{{pin}}")]
pub struct RestPathError;

impl RestPath {
    /// Reads a path.
    ///
    /// # Errors
    /// [`RestPathError`].
    pub fn parse(text: &str) -> Result<Self, RestPathError> {
        let is_plain = |text: &str| {
            text.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-._~/?=&".contains(&b))
        };
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, from)) = rest.split_once('{') {
            let (member, after) = from.split_once('}').ok_or(RestPathError)?;
            let is_member = !member.is_empty() && member.bytes().all(|b| b.is_ascii_alphabetic());
            if !is_member {
                return Err(RestPathError);
            }
            pieces.push(Piece::Text(before.to_owned()));
            pieces.push(Piece::Member(member.to_owned()));
            rest = after;
        }
        pieces.push(Piece::Text(rest.to_owned()));
        let all_plain = pieces.iter().all(|piece| match piece {
            Piece::Member(_) => true,
            Piece::Text(text) => is_plain(text),
        });
        if text.len() > 500 || text.contains("..") || !all_plain {
            return Err(RestPathError);
        }
        Ok(Self(pieces))
    }

    fn has_members(&self) -> bool {
        self.0.iter().any(|piece| matches!(piece, Piece::Member(_)))
    }

    fn filled(&self, question: &Question) -> Option<String> {
        let members = question.members();
        let mut path = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => path.push_str(text),
                Piece::Member(name) => {
                    let (_, value) = members.iter().find(|(of, _)| of == name)?;
                    path.push_str(&encoded(value));
                }
            }
        }
        Some(path)
    }
}

/// A register that is asked over REST.
#[derive(Debug, Clone)]
pub struct TundukRest {
    endpoint: Endpoint,
    xroad: XRoad,
    paths: BTreeMap<Service, RestPath>,
}

impl TundukRest {
    /// The one whose services `xroad` names, behind the security server at `endpoint`.
    #[must_use]
    pub const fn new(endpoint: Endpoint, xroad: XRoad, paths: BTreeMap<Service, RestPath>) -> Self {
        Self {
            endpoint,
            xroad,
            paths,
        }
    }

    fn request(&self, question: &Question, of: &Circumstances) -> Option<Request<Body>> {
        let service = self.xroad.services.get(&question.service())?;
        let path = self.paths.get(&question.service())?;
        let base = self.endpoint.path.trim_end_matches('/');
        let target = format!("{base}/r1/{}/{}", codes(service), path.filled(question)?);
        let builder = if path.has_members() {
            Request::get(target)
        } else {
            Request::post(target)
        };
        let client = self.xroad.client.codes().map(encoded).join("/");
        let builder = builder
            .header("X-Road-Client", client)
            .header("X-Road-Id", &of.message_id)
            .header("X-Road-UserId", header_text(&of.user_id))
            .header("X-Road-Issue", header_text(&of.issue))
            .header(header::ACCEPT, "application/json");
        if path.has_members() {
            return builder.body(Body::empty()).ok();
        }
        let members = question.members().into_iter();
        let members = members.map(|(name, value)| (name.to_owned(), Value::from(value)));
        let body = Value::Object(members.collect()).to_string();
        let builder = builder.header(header::CONTENT_TYPE, "application/json");
        builder.body(Body::from(body)).ok()
    }

    fn answer(&self, question: &Question, message_id: &str, reply: &Reply) -> Outcome {
        let said = |name: &str| text_of(&reply.headers, name);
        // Without one, or with another: it is not the answer to this question.
        if let Some(error) = said("x-road-error") {
            return of_fault(&error, &self.xroad.not_found_codes);
        }
        match reply.status {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Outcome::NotFound,
            status => return of_status(status),
        }
        if said("x-road-id").as_deref() != Some(message_id) {
            return Outcome::fault("OTHER_ID");
        }
        let Ok(json) = serde_json::from_slice::<Value>(&reply.body) else {
            return Outcome::fault("BAD_JSON");
        };
        let mut members = Members::default();
        if gather(&json, "", 0, &mut members).is_err() {
            return Outcome::fault("TOO_MUCH");
        }
        if let Some(code) = members.first(&["faultcode"]) {
            return of_fault(code, &self.xroad.not_found_codes);
        }
        if members.first(&["faultstring"]).is_some() {
            return of_fault("", &self.xroad.not_found_codes);
        }
        of_members(question, &members, &self.xroad.sex_codes)
    }
}

fn codes(service: &ServiceCodes) -> String {
    let mut codes: Vec<String> = service.of.codes().map(encoded).to_vec();
    codes.push(encoded(&service.service));
    codes.join("/")
}

/// What can stand in a header: other letters go as percent signs.
fn header_text(text: &str) -> String {
    if text.bytes().all(|b| b.is_ascii_graphic()) {
        text.to_owned()
    } else {
        encoded(text)
    }
}

fn text_of(headers: &HeaderMap, name: &str) -> Option<String> {
    let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
    let value = headers.get(name)?.to_str();
    Some(value.unwrap_or_default().trim().to_owned())
}

/// Takes the members of an answer, however deep they stand. `serde_json` bounds the depth too.
fn gather(value: &Value, name: &str, depth: usize, members: &mut Members) -> Result<(), ()> {
    if depth > DEPTH_MAX {
        return Err(());
    }
    match value {
        Value::Null => Ok(()),
        Value::Bool(flag) => members.add(name, &flag.to_string()).map_err(|_| ()),
        Value::Number(number) => members.add(name, &number.to_string()).map_err(|_| ()),
        Value::String(text) => members.add(name, text).map_err(|_| ()),
        Value::Array(values) => values
            .iter()
            .try_for_each(|value| gather(value, name, depth + 1, members)),
        Value::Object(object) => object
            .iter()
            .filter(|(name, _)| *name != "request")
            .try_for_each(|(name, value)| gather(value, name, depth + 1, members)),
    }
}

#[async_trait]
impl CitizenRegister for TundukRest {
    async fn ask(&self, question: &Question, of: &Circumstances) -> Outcome {
        let Some(request) = self.request(question, of) else {
            return Outcome::fault("NO_SERVICE");
        };
        match self.endpoint.carry(request, ANSWER_BOUNDS).await {
            Ok(reply) => self.answer(question, &of.message_id, &reply),
            Err(error) => of_carrier(&error),
        }
    }
}
