//! Questions and answers as SOAP messages of X-Road (message protocol 4.0).
//!
//! An answer is read token by token, with bounds on its depth and its number of elements, and has
//! to repeat the id of the question. Faults come with any status, and inside of answers too.

use super::answer::{Members, of_members};
use super::xroad::{Circumstances, ServiceCodes, Subsystem, XRoad, of_fault};
use super::{Outcome, Question};
use crate::limits::REGISTER_ANSWER_BYTES_MAX;
use crate::xml::{Token, Tokens, write};

/// Elements within elements.
const DEPTH_MAX: usize = 32;

/// Elements of one answer.
const ELEMENTS_MAX: usize = 10_000;

/// Bytes of one text.
const TEXT_BYTES_MAX: usize = 16 << 10;

/// Writes a question; `None` where the set-up has no such service.
#[must_use]
pub fn question(xroad: &XRoad, question: &Question, of: &Circumstances) -> Option<Vec<u8>> {
    let service = xroad.services.get(&question.service())?;
    let mut out = Vec::with_capacity(2_048);
    let mut put = |text: &str| out.extend_from_slice(text.as_bytes());
    put(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<soapenv:Envelope \
         xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\" \
         xmlns:xro=\"http://x-road.eu/xsd/xroad.xsd\" \
         xmlns:iden=\"http://x-road.eu/xsd/identifiers\" xmlns:prod=\"",
    );
    write(&mut out, &xroad.producer_namespace);
    out.extend_from_slice(b"\"><soapenv:Header>");
    element(&mut out, "xro:protocolVersion", "4.0");
    element(&mut out, "xro:id", &of.message_id);
    element(&mut out, "xro:userId", &of.user_id);
    element(&mut out, "xro:issue", &of.issue);
    out.extend_from_slice(b"<xro:service iden:objectType=\"SERVICE\">");
    subsystem(&mut out, &service.of);
    element(&mut out, "iden:serviceCode", &service.service);
    if !service.version.is_empty() {
        element(&mut out, "iden:serviceVersion", &service.version);
    }
    out.extend_from_slice(b"</xro:service><xro:client iden:objectType=\"SUBSYSTEM\">");
    subsystem(&mut out, &xroad.client);
    out.extend_from_slice(b"</xro:client></soapenv:Header><soapenv:Body>");
    body(&mut out, service, question);
    out.extend_from_slice(b"</soapenv:Body></soapenv:Envelope>\n");
    Some(out)
}

fn element(out: &mut Vec<u8>, name: &str, value: &str) {
    out.extend_from_slice(format!("<{name}>").as_bytes());
    write(out, value);
    out.extend_from_slice(format!("</{name}>").as_bytes());
}

fn subsystem(out: &mut Vec<u8>, of: &Subsystem) {
    element(out, "iden:xRoadInstance", &of.instance);
    element(out, "iden:memberClass", &of.class);
    element(out, "iden:memberCode", &of.member);
    element(out, "iden:subsystemCode", &of.subsystem);
}

fn body(out: &mut Vec<u8>, service: &ServiceCodes, question: &Question) {
    // The name is one of XML: the set-up was checked.
    let name = &service.service;
    out.extend_from_slice(format!("<prod:{name}><prod:request>").as_bytes());
    for (member, value) in question.members() {
        element(out, &format!("prod:{member}"), &value);
    }
    out.extend_from_slice(format!("</prod:request></prod:{name}>").as_bytes());
}

/// Reads an answer to `question`, which was asked with the id `message_id`.
#[must_use]
pub fn answer(xroad: &XRoad, question: &Question, message_id: &str, bytes: &[u8]) -> Outcome {
    let Some(service) = xroad.services.get(&question.service()) else {
        return Outcome::fault("NO_SERVICE");
    };
    let read = match read(bytes) {
        Ok(read) => read,
        Err(code) => return Outcome::fault(code),
    };
    // Inside of answers too. Where the security server itself fails, nothing is repeated.
    if let Some(code) = &read.fault {
        return of_fault(code, &xroad.not_found_codes);
    }
    if read.id.as_deref() != Some(message_id) {
        return Outcome::fault("OTHER_ID");
    }
    let expected = format!("{}Response", service.service);
    let is_answered = read.answers.len() == 1 && read.answers.contains(&expected);
    if !is_answered
        || read
            .service
            .as_deref()
            .is_some_and(|s| s != service.service)
    {
        return Outcome::fault("OTHER_SERVICE");
    }
    of_members(question, &read.members, &xroad.sex_codes)
}

/// What stands in a message.
#[derive(Default)]
struct Message {
    id: Option<String>,
    service: Option<String>,
    /// The code of a fault, of SOAP or inside of an answer.
    fault: Option<String>,
    /// Names of the elements of the body.
    answers: Vec<String>,
    members: Members,
}

/// Reads a message, or says what is wrong with it.
fn read(bytes: &[u8]) -> Result<Message, &'static str> {
    if bytes.len() > REGISTER_ANSWER_BYTES_MAX {
        return Err("TOO_MUCH");
    }
    let text = str::from_utf8(bytes).map_err(|_| "BAD_XML")?;
    let mut reader = Reader::default();
    let mut tokens = Tokens::new(text);
    while let Some(token) = tokens.next().map_err(|_| "BAD_XML")? {
        match token {
            Token::Start { name, is_empty, .. } => {
                reader.start(name)?;
                if is_empty {
                    reader.end(name)?;
                }
            }
            Token::End(name) => reader.end(name)?,
            Token::Text(text) => reader.text(&text)?,
        }
    }
    if !reader.open.is_empty() || !reader.has_begun {
        return Err("BAD_XML");
    }
    Ok(reader.message)
}

#[derive(Default)]
struct Reader {
    message: Message,
    /// Names of the elements that are open.
    open: Vec<String>,
    elements_count: usize,
    has_begun: bool,
    /// Text since the last tag, of an element without others in it.
    text: String,
    is_leaf: bool,
}

impl Reader {
    fn start(&mut self, name: &str) -> Result<(), &'static str> {
        if self.open.is_empty() && std::mem::replace(&mut self.has_begun, true) {
            return Err("BAD_XML");
        }
        let expected = match self.open.len() {
            0 => Some("Envelope"),
            1 if name != "Header" => Some("Body"),
            _ => None,
        };
        if expected.is_some_and(|expected| expected != name) {
            return Err("NO_SOAP");
        }
        self.elements_count = self.elements_count.saturating_add(1);
        if self.open.len() >= DEPTH_MAX || self.elements_count > ELEMENTS_MAX {
            return Err("TOO_MUCH");
        }
        if self.open.len() == 2 && self.is_in("Body") {
            self.message.answers.push(name.to_owned());
        }
        self.open.push(name.to_owned());
        self.text.clear();
        self.is_leaf = true;
        Ok(())
    }

    fn text(&mut self, text: &str) -> Result<(), &'static str> {
        if self.open.is_empty() {
            return if text.trim().is_empty() {
                Ok(())
            } else {
                Err("BAD_XML")
            };
        }
        if self.text.len().saturating_add(text.len()) > TEXT_BYTES_MAX {
            return Err("TOO_MUCH");
        }
        self.text.push_str(text);
        Ok(())
    }

    fn end(&mut self, name: &str) -> Result<(), &'static str> {
        if self.open.last().map(String::as_str) != Some(name) {
            return Err("BAD_XML");
        }
        if std::mem::take(&mut self.is_leaf) {
            let text = std::mem::take(&mut self.text);
            self.leaf(name, text.trim())?;
        }
        self.open.pop();
        self.text.clear();
        Ok(())
    }

    /// An element without others in it.
    fn leaf(&mut self, name: &str, text: &str) -> Result<(), &'static str> {
        let (depth, message) = (self.open.len(), &mut self.message);
        if self.open.get(1).is_some_and(|of| of == "Header") {
            let slot = match (depth, name) {
                (3, "id") => &mut message.id,
                (4, "serviceCode") => &mut message.service,
                _ => return Ok(()),
            };
            if slot.replace(text.to_owned()).is_some() {
                return Err("BAD_HEADER");
            }
            return Ok(());
        }
        let is_fault = self.open.get(2).is_some_and(|of| of == "Fault");
        match name {
            "faultcode" if message.fault.is_none() => message.fault = Some(text.to_owned()),
            // A fault that says no code is one all the same.
            "faultstring" if message.fault.is_none() && !text.is_empty() => {
                message.fault = Some(String::new());
            }
            "faultcode" | "faultstring" => {}
            _ if is_fault => {}
            // Some services repeat what they were asked.
            _ if self.open.get(3).is_some_and(|of| of == "request") => {}
            _ => {
                let added = message.members.add(name, text);
                added.map_err(|_| "TOO_MUCH")?;
            }
        }
        Ok(())
    }

    fn is_in(&self, name: &str) -> bool {
        self.open.get(1).is_some_and(|of| of == name)
    }
}
