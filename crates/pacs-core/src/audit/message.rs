//! Events as DICOM audit messages (PS3.15 A.5.1, the schema; A.5.3, what each event holds).
//!
//! What the schema has no place for (session, correlation, digests) stands in the details of the
//! first object, or of an object that stands for the event itself where there is no other.

use super::act::{
    APPLICATION, APPLICATION_LAUNCHER, DESTINATION, NODE_ID, QUERY, SOURCE, STUDY_UID,
};
use super::document::name_of;
use super::{Act, Actor, ActorKind, AuditEvent, Code, Outcome, StudyTouched};
use crate::{Role, SopClassUid};
use chrono::SecondsFormat;
use std::borrow::Cow;

/// The scheme of codes that are the archive's own.
const OURS: &str = "99PACS";

/// An element of XML, made from the outside in.
struct Xml(String);

impl Xml {
    fn element(
        &mut self,
        name: &str,
        attributes: &[(&str, &str)],
        content: impl FnOnce(&mut Self),
    ) {
        self.begin(name, attributes);
        let at = self.0.len();
        self.0.push('>');
        content(self);
        if self.0.len() == at.saturating_add(1) {
            self.0.truncate(at);
            self.0.push_str("/>");
        } else {
            self.0.extend(["</", name, ">"]);
        }
    }

    fn empty(&mut self, name: &str, attributes: &[(&str, &str)]) {
        self.element(name, attributes, |_| ());
    }

    fn begin(&mut self, name: &str, attributes: &[(&str, &str)]) {
        self.0.extend(["<", name]);
        for (name, value) in attributes {
            self.0.extend([" ", name, "=\"", &escaped(value), "\""]);
        }
    }

    fn text(&mut self, text: &str) {
        self.0.push_str(&escaped(text));
    }

    fn code(&mut self, element: &str, code: Code) {
        self.coded(element, code.value, "DCM", code.meaning);
    }

    fn coded(&mut self, element: &str, value: &str, scheme: &str, meaning: &str) {
        let attributes = [
            ("csd-code", value),
            ("codeSystemName", scheme),
            ("originalText", meaning),
        ];
        self.empty(element, &attributes);
    }
}

/// What may not stand in XML as it is; controls that may not stand there at all are replaced.
fn escaped(text: &str) -> Cow<'_, str> {
    let is_plain = |c: char| !matches!(c, '<' | '>' | '&' | '"' | '\'') && is_safe(c);
    if text.chars().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            c if is_safe(c) => out.push(c),
            _ => out.push(char::REPLACEMENT_CHARACTER),
        }
    }
    Cow::Owned(out)
}

/// XML 1.0 2.2, without controls.
fn is_safe(c: char) -> bool {
    !c.is_control() && !matches!(c, '\u{fffe}' | '\u{ffff}')
}

/// RFC 4648 4.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for three in bytes.chunks(3) {
        let byte = |at: usize| u32::from(three.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for (at, shift) in [18_u32, 12, 6, 0].into_iter().enumerate() {
            let digit = usize::try_from(bits >> shift & 63).unwrap_or_default();
            let digit = DIGITS.get(digit).copied().filter(|_| at <= three.len());
            out.push(digit.map_or('=', char::from));
        }
    }
    out
}

/// `event` as an audit message, whose source is `source`: the name of this archive in its
/// enterprise.
#[must_use]
pub fn message(event: &AuditEvent, source: &str) -> String {
    message_of(event, source, None)
}

/// The same, where the source also says of which enterprise, or part of one, it is.
pub(super) fn message_of(event: &AuditEvent, source: &str, site: Option<&str>) -> String {
    // What is beyond the bounds is left out of both forms alike.
    let event = AuditEvent::try_from(super::document::Document::from(event.clone()));
    let Ok(event) = event else {
        // An event that was made of types is one.
        return String::new();
    };
    let mut xml = Xml("<?xml version=\"1.0\" encoding=\"UTF-8\"?>".to_owned());
    xml.element("AuditMessage", &[], |xml| {
        identification(xml, &event);
        participants(xml, &event, source);
        let mut of = Vec::new();
        of.extend(site.map(|site| ("AuditEnterpriseSiteID", site)));
        of.push(("AuditSourceID", source));
        xml.empty("AuditSourceIdentification", &of);
        objects(xml, &event);
    });
    xml.0
}

fn identification(xml: &mut Xml, event: &AuditEvent) {
    let mut action = [0; 4];
    let at = event.at.to_rfc3339_opts(SecondsFormat::Millis, false);
    let outcome = event.outcome.indicator().to_string();
    let attributes = [
        (
            "EventActionCode",
            &*event.act.action().encode_utf8(&mut action),
        ),
        ("EventDateTime", &at),
        ("EventOutcomeIndicator", &outcome),
    ];
    xml.element("EventIdentification", &attributes, |xml| {
        xml.code("EventID", event.act.event());
        if let Some(kind) = event.act.kind() {
            xml.code("EventTypeCode", kind);
        }
        let own = event.act.name();
        xml.coded("EventTypeCode", &own, OURS, &own.replace('_', " "));
        if let (false, Some(reason)) = (event.outcome == Outcome::Success, &event.reason) {
            xml.element("EventOutcomeDescription", &[], |xml| xml.text(reason));
        }
    });
}

/// Which way the bytes go, if some do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    In,
    Nowhere,
    Out,
}

fn way(act: Act) -> Way {
    let comes_in = [Act::ImagesReceived, Act::ImagesReplaced, Act::Imported];
    let goes_out = [
        Act::Exported,
        Act::ImagesSent,
        Act::ReportSent,
        Act::TransferBegun,
    ];
    if comes_in.contains(&act) {
        Way::In
    } else if goes_out.contains(&act) {
        Way::Out
    } else {
        Way::Nowhere
    }
}

/// Who asked, the archive, and the other side where that is somebody else.
fn participants(xml: &mut Xml, event: &AuditEvent, source: &str) {
    let is_start = matches!(event.act, Act::ApplicationStarted | Act::ApplicationStopped);
    let way = way(event.act);
    let other = event.object.node.as_deref().filter(|_| way != Way::Nowhere);
    let role = match (way, other) {
        _ if is_start => Some(APPLICATION_LAUNCHER),
        (Way::In, None) => Some(SOURCE),
        (Way::Out, None) => Some(DESTINATION),
        _ => None,
    };
    requestor(xml, event, role);
    let role = match way {
        Way::In => Some(DESTINATION),
        Way::Out => Some(SOURCE),
        Way::Nowhere => is_start.then_some(APPLICATION),
    };
    participant(xml, source, role);
    if let Some(other) = other {
        let role = if way == Way::In { SOURCE } else { DESTINATION };
        participant(xml, other, Some(role));
    }
}

fn participant(xml: &mut Xml, name: &str, role: Option<Code>) {
    let attributes = [("UserID", name), ("UserIsRequestor", "false")];
    xml.element("ActiveParticipant", &attributes, |xml| {
        if let Some(role) = role {
            xml.code("RoleIDCode", role);
        }
    });
}

fn requestor(xml: &mut Xml, event: &AuditEvent, role: Option<Code>) {
    let Actor { kind, name, .. } = &event.actor;
    let address = event.from.map(|address| address.to_string());
    let mut attributes = vec![("UserID", name.as_str()), ("UserIsRequestor", "true")];
    if let Some(address) = &address {
        attributes.push(("NetworkAccessPointID", address));
        attributes.push(("NetworkAccessPointTypeCode", "2"));
    }
    xml.element("ActiveParticipant", &attributes, |xml| {
        if let Some(role) = role {
            xml.code("RoleIDCode", role);
        }
        let kind = match kind {
            ActorKind::Device => "device",
            ActorKind::Nobody => "nobody",
            ActorKind::Program => "program",
            ActorKind::System => "system",
            ActorKind::User => "user",
        };
        xml.coded("RoleIDCode", kind, OURS, kind);
        for role in &event.actor.roles {
            let role = name_of_role(*role);
            xml.coded("RoleIDCode", &role, OURS, &role.replace('_', " "));
        }
    });
}

fn name_of_role(role: Role) -> String {
    // As JSON names them.
    let mut name = String::new();
    for letter in format!("{role:?}").chars() {
        if letter.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_lowercase());
    }
    name
}

/// What something was done to (PS3.15 A.5.1.2, RFC 3881 5.5).
struct Target<'a> {
    id: &'a str,
    /// Code, scheme and meaning of what `id` is.
    kind: (&'a str, &'a str, &'a str),
    /// Person, system object, organisation, other: 1 to 4.
    of: &'a str,
    role: &'a str,
    query: Option<&'a str>,
}

fn objects(xml: &mut Xml, event: &AuditEvent) {
    let object = &event.object;
    let mut details = details(event);
    let mut put = |target: &Target<'_>, content: &dyn Fn(&mut Xml)| {
        target_element(xml, target, &std::mem::take(&mut details), content);
    };
    let nothing = |_: &mut Xml| ();
    for study in &object.studies {
        let accession = object.examination.map(|id| id.to_string());
        let target = Target {
            id: study.study.as_str(),
            kind: (STUDY_UID.value, "DCM", STUDY_UID.meaning),
            of: "2",
            role: "3",
            query: None,
        };
        put(&target, &|xml| described(xml, study, accession.as_deref()));
    }
    for patient in event.patients() {
        let id = name_of(patient);
        put(&rfc3881(&id, "2", "Patient Number", ("1", "1")), &nothing);
    }
    if let (Some(id), true) = (object.examination, object.studies.is_empty()) {
        let id = id.to_string();
        put(&rfc3881(&id, "8", "Order Number", ("2", "3")), &nothing);
    }
    if let Some(report) = &object.report {
        put(&rfc3881(report, "9", "Report Number", ("2", "3")), &nothing);
    }
    if let Some(user) = &object.user {
        put(
            &rfc3881(user, "11", "User Identifier", ("1", "6")),
            &nothing,
        );
    }
    if let (Some(node), Way::Nowhere) = (&object.node, way(event.act)) {
        let kind = (NODE_ID.value, "DCM", NODE_ID.meaning);
        put(&system_object(node, kind, "4"), &nothing);
    }
    if let Some(setting) = &object.setting {
        let kind = ("setting", OURS, "Setting");
        put(&system_object(setting, kind, "13"), &nothing);
    }
    if let Some(query) = &object.query {
        let kind = (QUERY.value, "DCM", QUERY.meaning);
        let target = Target {
            query: Some(query.reveal()),
            ..system_object(QUERY.value, kind, "24")
        };
        put(&target, &nothing);
    }
    if !details.is_empty() {
        let own = event.act.name();
        let kind = ("event", OURS, "Event");
        let target = system_object(&own, kind, "26");
        target_element(xml, &target, &details, &nothing);
    }
}

const fn rfc3881<'a>(
    id: &'a str,
    code: &'a str,
    meaning: &'a str,
    (of, role): (&'a str, &'a str),
) -> Target<'a> {
    Target {
        id,
        kind: (code, "RFC-3881", meaning),
        of,
        role,
        query: None,
    }
}

const fn system_object<'a>(
    id: &'a str,
    kind: (&'a str, &'a str, &'a str),
    role: &'a str,
) -> Target<'a> {
    Target {
        id,
        kind,
        of: "2",
        role,
        query: None,
    }
}

fn target_element(
    xml: &mut Xml,
    target: &Target<'_>,
    details: &[(&'static str, String)],
    content: &dyn Fn(&mut Xml),
) {
    let attributes = [
        ("ParticipantObjectID", target.id),
        ("ParticipantObjectTypeCode", target.of),
        ("ParticipantObjectTypeCodeRole", target.role),
    ];
    xml.element("ParticipantObjectIdentification", &attributes, |xml| {
        let (code, scheme, meaning) = target.kind;
        xml.coded("ParticipantObjectIDTypeCode", code, scheme, meaning);
        match target.query {
            Some(query) => xml.element("ParticipantObjectQuery", &[], |xml| {
                xml.text(&base64(query.as_bytes()));
            }),
            None => xml.element("ParticipantObjectName", &[], |xml| xml.text(target.id)),
        }
        for (name, value) in details {
            let value = base64(value.as_bytes());
            let attributes = [("type", *name), ("value", value.as_str())];
            xml.empty("ParticipantObjectDetail", &attributes);
        }
        content(xml);
    });
}

fn described(xml: &mut Xml, study: &StudyTouched, accession: Option<&str>) {
    xml.element("ParticipantObjectDescription", &[], |xml| {
        if let Some(accession) = accession {
            xml.empty("Accession", &[("Number", accession)]);
        }
        let count = study.instances_count.to_string();
        let mut attributes = vec![("NumberOfInstances", count.as_str())];
        let kind = study.sop_class.as_ref().map(SopClassUid::as_str);
        attributes.extend(kind.map(|kind| ("UID", kind)));
        xml.element("SOPClass", &attributes, |xml| {
            for instance in &study.instances {
                xml.empty("Instance", &[("UID", instance.as_str())]);
            }
        });
    });
}

fn details(event: &AuditEvent) -> Vec<(&'static str, String)> {
    let mut details = Vec::new();
    let actor = &event.actor;
    let mut put = |name, value: Option<String>| details.extend(value.map(|value| (name, value)));
    put(
        "organisation",
        actor.organisation.map(|code| code.to_string()),
    );
    put("session", actor.session.clone());
    put(
        "purpose",
        event.purpose.map(|purpose| purpose.name().to_owned()),
    );
    put("reason", event.reason.clone());
    put("correlation", event.correlation.clone());
    put("times", (event.times != 1).then(|| event.times.to_string()));
    let change = event.change.unwrap_or_default();
    put("before_blake3", change.before.map(String::from));
    put("after_blake3", change.after.map(String::from));
    if event.object.studies_left_out > 0 {
        put(
            "studies_left_out",
            Some(event.object.studies_left_out.to_string()),
        );
    }
    details
}
