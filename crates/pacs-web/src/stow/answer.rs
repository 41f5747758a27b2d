//! The Store Instances Response (PS3.18 10.5.3, annex I): a verdict for each instance, in JSON or
//! XML, and the status that sums them up.

use super::Ended;
use super::body::Stopped;
use crate::error::Failure;
use crate::single::Form;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use pacs_core::tag::tags;
use pacs_core::{Attributes, SopClassUid, SopInstanceUid, StudyUid, Value, Vr};
use pacs_store::DepositError;
use std::collections::BTreeSet;

/// Warnings that tell why instances failed: heads of responses are not long.
const FAILURES_TOLD_MAX: usize = 8;

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

    /// Failure Reason (0008,1197).
    #[cfg(test)]
    pub(super) const fn code(self) -> u16 {
        self.code
    }

    /// The same codes that C-STORE answers with (PS3.4 B.2.3).
    pub(super) const fn of(error: &DepositError) -> Self {
        let (code, blame) = match error {
            DepositError::Backend { .. } => (0x0110, Blame::Instance),
            DepositError::Busy | DepositError::Closed | DepositError::Full => (0xA700, Blame::Busy),
            DepositError::NotAnInstance(_) => (0xC000, Blame::Instance),
            DepositError::Rejected => (0x0124, Blame::Instance),
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
        let body = form.write(&self.data_set());
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

    /// Annex I.2.
    fn data_set(&self) -> Attributes {
        let mut failed = Vec::new();
        let mut others = Vec::new();
        let mut stored = Vec::new();
        for verdict in &self.verdicts {
            let Some(reason) = verdict.failure else {
                stored.push(self.reference(&verdict.named));
                continue;
            };
            let named = references(&verdict.named);
            let items = if named.is_some() {
                &mut failed
            } else {
                &mut others
            };
            let mut item = named.unwrap_or_default();
            item.insert_text(tags::FAILURE_REASON, Vr::US, reason.code.to_string());
            items.push(item);
        }
        let mut data_set = Attributes::new();
        if let Some(url) = self.study_url() {
            data_set.insert_text(tags::RETRIEVE_URL, Vr::UR, url);
        }
        let sequences = [
            (tags::FAILED_SOP_SEQUENCE, failed),
            (tags::REFERENCED_SOP_SEQUENCE, stored),
            (tags::OTHER_FAILURES_SEQUENCE, others),
        ];
        for (tag, items) in sequences {
            if !items.is_empty() {
                data_set.insert(tag, Vr::SQ, Value::Items(items));
            }
        }
        data_set
    }

    fn reference(&self, named: &Named) -> Attributes {
        let mut item = references(named).unwrap_or_default();
        let place = named.study.as_ref().zip(named.series.as_ref());
        if let Some(((study, series), instance)) = place.zip(named.sop_instance.as_ref()) {
            let study = self.url_of(study);
            let (series, instance) = (series.as_str(), instance.as_str());
            let url = format!("{study}/series/{series}/instances/{instance}");
            item.insert_text(tags::RETRIEVE_URL, Vr::UR, url);
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
fn references(named: &Named) -> Option<Attributes> {
    let class = named.sop_class.as_ref()?.as_str();
    let instance = named.sop_instance.as_ref()?.as_str();
    let mut item = Attributes::new();
    item.insert_text(tags::REFERENCED_SOP_CLASS_UID, Vr::UI, class);
    item.insert_text(tags::REFERENCED_SOP_INSTANCE_UID, Vr::UI, instance);
    Some(item)
}
