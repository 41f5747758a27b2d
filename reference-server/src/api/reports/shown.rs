//! Reports as pages see them.

use crate::api::conditional::etag;
use chrono::{DateTime, FixedOffset};
use pacs_core::OrganisationCode;
use pacs_core::examination::Status;
use pacs_core::examination::progress::Revision;
use pacs_core::report::{Language, ReportText};
use pacs_store::registry::Stored;
use pacs_store::registry::examinations::Examination;
use pacs_store::registry::reports::{Delivery, ReportDraft, ReportShown, ReportVersion};
use serde::Serialize;

type Moment = DateTime<FixedOffset>;

/// What is written.
#[derive(Serialize)]
struct Said {
    language: Language,
    description: String,
    conclusion: String,
    recommendations: String,
    addendum: String,
}

impl From<&ReportText> for Said {
    fn from(text: &ReportText) -> Self {
        Self {
            language: text.language,
            description: text.description.clone(),
            conclusion: text.conclusion.clone(),
            recommendations: text.recommendations.clone(),
            addendum: text.addendum.clone(),
        }
    }
}

/// By what it is known who signed what.
#[derive(Serialize)]
struct Signature {
    /// The archive itself, to which whoever signed proved anew who they are.
    kind: &'static str,
    /// BLAKE3 of what was signed, which the audit record has too.
    digest: String,
}

/// Where the document of a version is.
#[derive(Serialize)]
struct Where {
    study: String,
    series: String,
    instance: String,
}

/// A version that is signed.
#[derive(Serialize)]
pub(super) struct ShownVersion {
    number: u32,
    revision: Option<Revision>,
    status_key: &'static str,
    reason: Option<String>,
    text: Said,
    author: String,
    author_name: String,
    signed_at: Moment,
    signature: Signature,
    document: Where,
}

/// The key in the glossary of what a version is.
const fn status_key(revision: Option<Revision>) -> &'static str {
    match revision {
        None => "report.status.final",
        Some(Revision::Amendment) => "report.status.amended",
        Some(Revision::Addendum) => "report.status.addendum",
    }
}

impl From<&Stored<ReportVersion>> for ShownVersion {
    fn from(stored: &Stored<ReportVersion>) -> Self {
        let version = &stored.value;
        Self {
            number: version.number,
            revision: version.revision,
            status_key: status_key(version.revision),
            reason: version.reason.as_ref().map(|why| why.reveal().to_owned()),
            text: (&version.text).into(),
            author: version.author.clone(),
            author_name: version.author_name.clone(),
            signed_at: version.signed_at,
            signature: Signature {
                kind: "system",
                digest: stored.digest_signed(),
            },
            document: Where {
                study: version.study.to_string(),
                series: version.series.to_string(),
                instance: version.instance.to_string(),
            },
        }
    }
}

/// What whoever asks wrote and has not signed.
#[derive(Serialize)]
pub(super) struct ShownDraft {
    etag: String,
    text: Said,
    based_on: u32,
    revision: Option<Revision>,
    changed_at: Moment,
}

impl From<&Stored<ReportDraft>> for ShownDraft {
    fn from(stored: &Stored<ReportDraft>) -> Self {
        let draft = &stored.value;
        Self {
            etag: etag(stored.revision),
            text: (&draft.text).into(),
            based_on: draft.based_on,
            revision: draft.revision,
            changed_at: draft.changed_at,
        }
    }
}

/// Who opened it at an organisation.
#[derive(Serialize)]
struct ShownOpening {
    by: String,
    at: Moment,
    number: u32,
}

/// What an organisation was sent.
#[derive(Serialize)]
pub(super) struct ShownDelivery {
    organisation: OrganisationCode,
    number: u32,
    sent_by: String,
    sent_at: Moment,
    reason: Option<String>,
    opened: Option<ShownOpening>,
}

impl From<&Delivery> for ShownDelivery {
    fn from(sent: &Delivery) -> Self {
        Self {
            organisation: sent.organisation,
            number: sent.number,
            sent_by: sent.sent_by.clone(),
            sent_at: sent.sent_at,
            reason: sent.reason.as_ref().map(|why| why.reveal().to_owned()),
            opened: sent.opened.as_ref().map(|opened| ShownOpening {
                by: opened.by.clone(),
                at: opened.at,
                number: opened.version,
            }),
        }
    }
}

/// A report, as far as whoever asks reads it.
#[derive(Serialize)]
pub(super) struct ShownReport {
    examination: String,
    status: Status,
    /// It is being amended or added to: what is shown stands until the next version is signed.
    revision: Option<Revision>,
    /// What is said above a version that is not the first.
    banner_key: Option<&'static str>,
    /// The newest first.
    versions: Vec<ShownVersion>,
    draft: Option<ShownDraft>,
    deliveries: Vec<ShownDelivery>,
}

impl From<&ReportShown> for ShownReport {
    fn from(report: &ReportShown) -> Self {
        let examination = &report.examination.value;
        let newest = report.versions.last();
        let revision = newest.and_then(|newest| newest.value.revision);
        Self {
            examination: examination.id.to_string(),
            status: examination.status(),
            revision: examination.progress.revision(),
            banner_key: revision.map(|revision| status_key(Some(revision))),
            versions: report.versions.iter().rev().map(Into::into).collect(),
            draft: report.draft.as_ref().map(Into::into),
            deliveries: report
                .deliveries
                .iter()
                .map(|sent| (&sent.value).into())
                .collect(),
        }
    }
}

/// A report in the list of those that an organisation was sent: nothing of what it says.
#[derive(Serialize)]
pub(super) struct SentReport {
    examination: String,
    examination_grouped: String,
    performing: OrganisationCode,
    ordering: OrganisationCode,
    #[serde(flatten)]
    delivery: ShownDelivery,
    /// Nobody of the organisation has opened the version that it was sent last.
    is_new: bool,
}

impl SentReport {
    pub(super) fn of(sent: &Delivery, examination: &Examination) -> Self {
        let opened = sent.opened.as_ref().map(|opened| opened.version);
        Self {
            examination: examination.id.to_string(),
            examination_grouped: examination.id.grouped(),
            performing: examination.performing,
            ordering: examination.ordering,
            delivery: sent.into(),
            is_new: opened != Some(sent.number),
        }
    }
}
