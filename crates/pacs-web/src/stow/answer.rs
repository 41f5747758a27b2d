//! The Store Instances Response (PS3.18 10.5.3, annex I): a verdict for each instance, in JSON or
//! XML, and the status that sums them up.

use super::Ended;
use super::body::Stopped;
use crate::error::Failure;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use pacs_core::tag::tags;
use pacs_core::{SopClassUid, SopInstanceUid, StudyUid, Tag};
use pacs_store::DepositError;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// Retrieve URL (0008,1190).
const RETRIEVE_URL: Tag = Tag(0x0008, 0x1190);
/// Failure Reason (0008,1197).
const FAILURE_REASON: Tag = Tag(0x0008, 0x1197);
/// Failed SOP Sequence (0008,1198).
const FAILED_SOP: Tag = Tag(0x0008, 0x1198);
/// Referenced SOP Sequence (0008,1199).
const REFERENCED_SOP: Tag = Tag(0x0008, 0x1199);
/// Other Failures Sequence (0008,119A): of what says not what it is.
const OTHER_FAILURES: Tag = Tag(0x0008, 0x119A);

/// Warnings that tell why instances failed: heads of responses are not long.
const FAILURES_TOLD_MAX: usize = 8;

/// How a response is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Json,
    /// The same, for clients that know no more than the general media type.
    PlainJson,
    Xml,
}

impl Form {
    /// The favourite first.
    pub(super) const ALL: [Self; 3] = [Self::Json, Self::Xml, Self::PlainJson];

    pub(super) const fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/dicom+json",
            Self::PlainJson => "application/json",
            Self::Xml => "application/dicom+xml",
        }
    }
}

/// Why an instance was not stored (PS3.18 table I.2-2), with what the status depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reason {
    code: u16,
    blame: Blame,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blame {
    /// The archive cannot take it now.
    Busy,
    /// The instance itself, or a fault of ours that concerns it alone.
    Instance,
    /// The instance is longer than any may be.
    TooLong,
}

impl Reason {
    /// A700H: there is no room for it at the moment.
    pub(super) const BUSY: Self = Self {
        code: 0xA700,
        blame: Blame::Busy,
    };
    /// C000H: it cannot be understood.
    pub(super) const CANNOT_UNDERSTAND: Self = Self::of_instance(0xC000);
    /// A901H, in the range of «data set does not match»: it is not of the study of the path.
    pub(super) const OTHER_STUDY: Self = Self::of_instance(0xA901);
    /// 0110H: processing failure.
    pub(super) const PROCESSING: Self = Self::of_instance(0x0110);

    const fn of_instance(code: u16) -> Self {
        Self {
            code,
            blame: Blame::Instance,
        }
    }

    /// The same codes that C-STORE answers with (PS3.4 B.2.3).
    pub(super) const fn of(error: &DepositError) -> Self {
        let (code, blame) = match error {
            DepositError::Backend { .. } => (0x0110, Blame::Instance),
            DepositError::Busy | DepositError::Closed | DepositError::Full => (0xA700, Blame::Busy),
            DepositError::NotAnInstance(_) => (0xC000, Blame::Instance),
            DepositError::TooLong { .. } => (0xA700, Blame::TooLong),
            DepositError::UidMismatch { .. } => (0xA900, Blame::Instance),
        };
        Self { code, blame }
    }
}

/// What is known of an instance that came.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Named {
    pub(super) study: Option<StudyUid>,
    pub(super) sop_class: Option<SopClassUid>,
    pub(super) sop_instance: Option<SopInstanceUid>,
    pub(super) series: Option<pacs_core::SeriesUid>,
}

/// What became of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    named: Named,
    failure: Option<Reason>,
    /// More than the reason says, in words; without values of the request.
    told: Option<String>,
}

impl Verdict {
    pub(super) const fn stored(named: Named) -> Self {
        Self {
            named,
            failure: None,
            told: None,
        }
    }

    pub(super) const fn failed(named: Named, reason: Reason) -> Self {
        Self {
            named,
            failure: Some(reason),
            told: None,
        }
    }

    /// Failed, and why.
    pub(super) const fn told(named: Named, reason: Reason, told: String) -> Self {
        Self {
            named,
            failure: Some(reason),
            told: Some(told),
        }
    }

    pub(super) const fn is_failure(&self) -> bool {
        self.failure.is_some()
    }

    /// Of an instance whose task ended by itself.
    pub(super) fn broken() -> Self {
        Self::failed(Named::default(), Reason::PROCESSING)
    }
}

/// What a request is answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) verdicts: Vec<Verdict>,
    pub(super) ended: Ended,
    /// The study of the path.
    pub(super) study: Option<StudyUid>,
    /// What the URLs in it begin with.
    pub(super) base_url: String,
}

impl Answer {
    /// The response; a plain refusal where no instance was seen.
    pub(super) fn respond(&self, form: Form) -> Result<Response, Failure> {
        let status = self.status();
        if self.verdicts.is_empty() {
            return match self.ended {
                Ended::Whole => Err(Failure::bad_request("there is no instance in the request")),
                Ended::Malformed(error) => Err(Failure::bad_request(error.to_string())),
                Ended::Stopped(Stopped::TooLong) => Err(Failure::TooLarge {
                    detail: "more than may be in one request".to_owned(),
                }),
                Ended::Stopped(Stopped::Broken) => Err(Failure::bad_request("request broke off")),
                Ended::Stopped(Stopped::TooSlow) => Ok(StatusCode::REQUEST_TIMEOUT.into_response()),
            };
        }
        let data_set = self.data_set();
        let body = match form {
            Form::Json | Form::PlainJson => Value::Object(json_of(&data_set)).to_string(),
            Form::Xml => xml_of(&data_set),
        };
        let kind = [(header::CONTENT_TYPE, form.media_type())];
        let mut response = (status, kind, body).into_response();
        let headers = response.headers_mut();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("10"));
        }
        for told in self.told().into_iter().chain(self.failures_told()) {
            let warning = format!("299 pacs \"{told}\"");
            if let Ok(warning) = HeaderValue::from_str(&warning) {
                headers.append(header::WARNING, warning);
            }
        }
        Ok(response)
    }

    /// What was wrong with the request as a whole.
    fn told(&self) -> Option<String> {
        match self.ended {
            Ended::Malformed(error) => Some(error.to_string()),
            Ended::Stopped(Stopped::TooLong) => Some("request is too long".to_owned()),
            Ended::Stopped(Stopped::TooSlow) => Some("request came too slowly".to_owned()),
            Ended::Stopped(Stopped::Broken) | Ended::Whole => None,
        }
    }

    /// What was wrong with the first few instances that failed, where more is known than the
    /// reason says, by their numbers among all.
    fn failures_told(&self) -> impl Iterator<Item = String> {
        let numbered = (1_u32..).zip(&self.verdicts);
        let told = numbered.filter_map(|(number, verdict)| {
            let told = verdict.told.as_ref()?;
            Some(format!("instance {number}: {told}"))
        });
        told.take(FAILURES_TOLD_MAX)
    }

    /// PS3.18 table 10.5.3-1.
    fn status(&self) -> StatusCode {
        let failed = self.verdicts.iter().filter_map(|verdict| verdict.failure);
        let failed: Vec<Blame> = failed.map(|reason| reason.blame).collect();
        let all = |blame| failed.iter().all(|known| *known == blame);
        match self.ended {
            Ended::Stopped(Stopped::TooSlow) => StatusCode::REQUEST_TIMEOUT,
            Ended::Whole if failed.is_empty() => StatusCode::OK,
            _ if failed.len() < self.verdicts.len() => StatusCode::ACCEPTED,
            Ended::Stopped(Stopped::TooLong) => StatusCode::PAYLOAD_TOO_LARGE,
            Ended::Malformed(_) | Ended::Stopped(Stopped::Broken) => StatusCode::BAD_REQUEST,
            Ended::Whole if all(Blame::Busy) => StatusCode::SERVICE_UNAVAILABLE,
            Ended::Whole if all(Blame::TooLong) => StatusCode::PAYLOAD_TOO_LARGE,
            Ended::Whole => StatusCode::CONFLICT,
        }
    }

    /// Annex I.2, in the order of the tags.
    fn data_set(&self) -> Vec<Element> {
        let mut failed = Vec::new();
        let mut others = Vec::new();
        let mut stored = Vec::new();
        for verdict in &self.verdicts {
            match verdict.failure {
                None => stored.push(self.reference(&verdict.named)),
                Some(reason) => {
                    let reason = Element::number(FAILURE_REASON, "FailureReason", reason.code);
                    match references(&verdict.named) {
                        Some(mut item) => {
                            item.push(reason);
                            failed.push(item);
                        }
                        None => others.push(vec![reason]),
                    }
                }
            }
        }
        let mut data_set = Vec::new();
        data_set.extend(self.study_url().map(Element::url));
        let sequences = [
            (FAILED_SOP, "FailedSOPSequence", failed),
            (REFERENCED_SOP, "ReferencedSOPSequence", stored),
            (OTHER_FAILURES, "OtherFailuresSequence", others),
        ];
        for (tag, keyword, items) in sequences {
            if !items.is_empty() {
                data_set.push(Element {
                    tag,
                    keyword,
                    vr: "SQ",
                    value: Content::Items(items),
                });
            }
        }
        data_set
    }

    fn reference(&self, named: &Named) -> Vec<Element> {
        let mut item = references(named).unwrap_or_default();
        let place = named.study.as_ref().zip(named.series.as_ref());
        if let Some(((study, series), instance)) = place.zip(named.sop_instance.as_ref()) {
            let study = self.url_of(study);
            let (series, instance) = (series.as_str(), instance.as_str());
            let url = format!("{study}/series/{series}/instances/{instance}");
            item.push(Element::url(url));
        }
        item
    }

    /// The URL of the one study that there is to be retrieved.
    pub(super) fn study_url(&self) -> Option<String> {
        let stored = self.verdicts.iter().filter(|v| v.failure.is_none());
        let studies: BTreeSet<&str> = stored
            .filter_map(|verdict| verdict.named.study.as_ref().map(StudyUid::as_str))
            .collect();
        match (&self.study, studies.len()) {
            (_, 0) => None,
            (Some(study), _) => Some(self.url_of(study)),
            (None, 1) => {
                let base = &self.base_url;
                studies
                    .first()
                    .map(|study| format!("{base}/studies/{study}"))
            }
            (None, _) => None,
        }
    }

    fn url_of(&self, study: &StudyUid) -> String {
        format!("{}/studies/{}", self.base_url, study.as_str())
    }
}

/// Referenced SOP Class and Instance UID, where both are known.
fn references(named: &Named) -> Option<Vec<Element>> {
    let class = named.sop_class.as_ref()?.as_str();
    let instance = named.sop_instance.as_ref()?.as_str();
    let uid = |tag, keyword, uid: &str| Element {
        tag,
        keyword,
        vr: "UI",
        value: Content::Text(uid.to_owned()),
    };
    Some(vec![
        uid(
            tags::REFERENCED_SOP_CLASS_UID,
            "ReferencedSOPClassUID",
            class,
        ),
        uid(
            tags::REFERENCED_SOP_INSTANCE_UID,
            "ReferencedSOPInstanceUID",
            instance,
        ),
    ])
}

/// An element of a response.
#[derive(Debug)]
struct Element {
    tag: Tag,
    keyword: &'static str,
    vr: &'static str,
    value: Content,
}

#[derive(Debug)]
enum Content {
    Items(Vec<Vec<Element>>),
    Number(u16),
    Text(String),
}

impl Element {
    const fn number(tag: Tag, keyword: &'static str, value: u16) -> Self {
        Self {
            tag,
            keyword,
            vr: "US",
            value: Content::Number(value),
        }
    }

    const fn url(url: String) -> Self {
        Self {
            tag: RETRIEVE_URL,
            keyword: "RetrieveURL",
            vr: "UR",
            value: Content::Text(url),
        }
    }

    fn tag_text(&self) -> String {
        format!("{:04X}{:04X}", self.tag.group(), self.tag.element())
    }
}

/// The DICOM JSON model (PS3.18 annex F).
fn json_of(data_set: &[Element]) -> Map<String, Value> {
    let object = |element: &Element| {
        let values: Vec<Value> = match &element.value {
            Content::Items(items) => items
                .iter()
                .map(|item| Value::Object(json_of(item)))
                .collect(),
            Content::Number(number) => vec![json!(number)],
            Content::Text(text) => vec![json!(text)],
        };
        (
            element.tag_text(),
            json!({ "vr": element.vr, "Value": values }),
        )
    };
    data_set.iter().map(object).collect()
}

/// The Native DICOM Model (PS3.19 annex A).
fn xml_of(data_set: &[Element]) -> String {
    let mut out = String::from(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<NativeDicomModel \
         xmlns=\"http://dicom.nema.org/PS3.19/models/NativeDICOM\" xml:space=\"preserve\">",
    );
    write_xml(data_set, &mut out);
    out.push_str("</NativeDicomModel>\n");
    out
}

fn write_xml(data_set: &[Element], out: &mut String) {
    for element in data_set {
        let (tag, vr, keyword) = (element.tag_text(), element.vr, element.keyword);
        // Writing to a text does not fail.
        write!(
            out,
            "<DicomAttribute tag=\"{tag}\" vr=\"{vr}\" keyword=\"{keyword}\">"
        )
        .ok();
        match &element.value {
            Content::Items(items) => {
                for (number, item) in (1_u32..).zip(items) {
                    write!(out, "<Item number=\"{number}\">").ok();
                    write_xml(item, out);
                    out.push_str("</Item>");
                }
            }
            Content::Number(number) => {
                write!(out, "<Value number=\"1\">{number}</Value>").ok();
            }
            Content::Text(text) => {
                out.push_str("<Value number=\"1\">");
                for character in text.chars() {
                    match character {
                        '&' => out.push_str("&amp;"),
                        '<' => out.push_str("&lt;"),
                        '>' => out.push_str("&gt;"),
                        other => out.push(other),
                    }
                }
                out.push_str("</Value>");
            }
        }
        out.push_str("</DicomAttribute>");
    }
}
