//! A signed report as a Basic Text SR Document (PS3.3 A.35.1) with the content of TID 2000, "Basic
//! Diagnostic Imaging Report" (PS3.16).
//!
//! ```text
//! CONTAINER  CT Report                                       (by modality, CID 7000)
//!   HAS CONCEPT MOD  CODE    Language of Content Item and Descendants, with its country
//!   HAS OBS CONTEXT  CODE    Observer Type = Person          (TID 1001, 1002)
//!   HAS OBS CONTEXT  PNAME   Person Observer Name
//!   HAS OBS CONTEXT  TEXT    Person Observer's Organization Name
//!   HAS OBS CONTEXT  UIDREF  Procedure Study Instance UID    (TID 1005)
//!   HAS OBS CONTEXT  TEXT    Accession Number
//!   CONTAINS         CONTAINER  Findings, …                  (CID 7001)
//!     CONTAINS       TEXT       Finding, …                   (CID 7002)
//! ```

mod content;

use chrono::{DateTime, FixedOffset};
use content::{Code, content, title_of};
use pacs_core::report::ReportText;
use pacs_core::tag::tags;
use pacs_core::uid::{SeriesUid, SopClassUid, SopInstanceUid, StudyUid};
use pacs_core::{Attributes, ExaminationId, Value, Vr};

/// Basic Text SR Storage (PS3.4 B.5).
pub const BASIC_TEXT_SR: &str = "1.2.840.10008.5.1.4.1.1.88.11";

/// Series Number (0020,0011) of the series in which all versions of a report are.
const SERIES_NUMBER: &str = "9001";

/// Characters of a name or text of short VRs (LO, PS3.5 6.2).
const LONG_CHARS_MAX: usize = 64;

/// Why no document can be made of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SrError {
    /// It says nothing.
    #[error("a report without a description and a conclusion is no document")]
    Empty,
    /// A text has a character that data sets cannot hold.
    #[error("{what} of a report cannot be written as DICOM")]
    Text {
        /// Which.
        what: &'static str,
    },
}

/// Images of a series that were there to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvidenceSeries {
    /// Which series.
    pub series: SeriesUid,
    /// Its instances.
    pub instances: Vec<(SopClassUid, SopInstanceUid)>,
}

/// A version of a report that is signed, and what is known besides.
#[derive(Debug, Clone)]
pub struct SignedReport<'a> {
    /// The attributes of patient and study: what data sets of the study say of them.
    pub subject: &'a Attributes,
    /// The ID of the examination.
    pub examination: ExaminationId,
    /// The Modality (0008,0060) of its images.
    pub modality: &'a str,
    /// What it says.
    pub text: &'a ReportText,
    /// «Жалобы», as the form has them; empty: none.
    pub complaints: &'a str,
    /// «Анамнез».
    pub anamnesis: &'a str,
    /// The study that it is of.
    pub study: &'a StudyUid,
    /// The series of the versions of this report.
    pub series: &'a SeriesUid,
    /// This version.
    pub instance: &'a SopInstanceUid,
    /// Which version it is, from 1 on.
    pub version: u32,
    /// The one before.
    pub predecessor: Option<&'a SopInstanceUid>,
    /// Who signed it, as a PN.
    pub author: &'a str,
    /// By what they sign in.
    pub author_id: &'a str,
    /// The organisation where they read.
    pub organisation: &'a str,
    /// When.
    pub signed_at: DateTime<FixedOffset>,
    /// What was there to be read.
    pub evidence: &'a [EvidenceSeries],
}

/// The data set of `report`.
///
/// # Errors
/// [`SrError`].
pub fn data_set(report: &SignedReport<'_>) -> Result<Attributes, SrError> {
    let text = report.text;
    if text.description.is_empty() && text.conclusion.is_empty() && text.addendum.is_empty() {
        return Err(SrError::Empty);
    }
    let mut all = report.subject.clone();
    document(&mut all, report)?;
    let title = title_of(report.modality);
    all.insert_text(tags::VALUE_TYPE, Vr::CS, "CONTAINER");
    items(
        &mut all,
        tags::CONCEPT_NAME_CODE_SEQUENCE,
        vec![title.item()],
    );
    all.insert_text(tags::CONTINUITY_OF_CONTENT, Vr::CS, "SEPARATE");
    let mut template = Attributes::new();
    template.insert_text(tags::MAPPING_RESOURCE, Vr::CS, "DCMR");
    template.insert_text(tags::TEMPLATE_IDENTIFIER, Vr::CS, "2000");
    items(&mut all, tags::CONTENT_TEMPLATE_SEQUENCE, vec![template]);
    items(&mut all, tags::CONTENT_SEQUENCE, content(report)?);
    Ok(all)
}

/// SR Document Series, General Equipment, SR Document General and SOP Common (PS3.3 C.17.1,
/// C.7.5.1, C.17.2, C.12.1).
fn document(all: &mut Attributes, report: &SignedReport<'_>) -> Result<(), SrError> {
    let date = report.signed_at.format("%Y%m%d").to_string();
    let time = report.signed_at.format("%H%M%S").to_string();
    let version = report.version.to_string();
    for (tag, vr, value) in [
        (tags::SPECIFIC_CHARACTER_SET, Vr::CS, "ISO_IR 192"),
        (tags::INSTANCE_CREATION_DATE, Vr::DA, &date),
        (tags::INSTANCE_CREATION_TIME, Vr::TM, &time),
        (tags::SOP_CLASS_UID, Vr::UI, BASIC_TEXT_SR),
        (tags::SOP_INSTANCE_UID, Vr::UI, report.instance.as_str()),
        (tags::CONTENT_DATE, Vr::DA, &date),
        (tags::CONTENT_TIME, Vr::TM, &time),
        (tags::MODALITY, Vr::CS, "SR"),
        (tags::MANUFACTURER, Vr::LO, "pacs"),
        (tags::STUDY_INSTANCE_UID, Vr::UI, report.study.as_str()),
        (tags::SERIES_INSTANCE_UID, Vr::UI, report.series.as_str()),
        (tags::SERIES_NUMBER, Vr::IS, SERIES_NUMBER),
        (tags::INSTANCE_NUMBER, Vr::IS, &version),
        (tags::COMPLETION_FLAG, Vr::CS, "COMPLETE"),
        (tags::VERIFICATION_FLAG, Vr::CS, "VERIFIED"),
        (tags::PRELIMINARY_FLAG, Vr::CS, "FINAL"),
    ] {
        all.insert_text(tag, vr, value);
    }
    let offset = report.signed_at.format("%z").to_string();
    all.insert_text(tags::TIMEZONE_OFFSET_FROM_UTC, Vr::SH, offset);
    // Who of the device made the step is known where it told; here it may be nobody.
    items(
        all,
        tags::REFERENCED_PERFORMED_PROCEDURE_STEP_SEQUENCE,
        Vec::new(),
    );
    items(all, tags::PERFORMED_PROCEDURE_CODE_SEQUENCE, Vec::new());
    items(
        all,
        tags::VERIFYING_OBSERVER_SEQUENCE,
        vec![verifier(report)?],
    );
    items(
        all,
        tags::REFERENCED_REQUEST_SEQUENCE,
        vec![request(report)],
    );
    if let Some(predecessor) = report.predecessor {
        let series = EvidenceSeries {
            series: report.series.clone(),
            instances: vec![(class(), predecessor.clone())],
        };
        let study = of_study(report.study, &[series]);
        items(all, tags::PREDECESSOR_DOCUMENTS_SEQUENCE, vec![study]);
    }
    if !report.evidence.is_empty() {
        let study = of_study(report.study, report.evidence);
        let tag = tags::CURRENT_REQUESTED_PROCEDURE_EVIDENCE_SEQUENCE;
        items(all, tag, vec![study]);
    }
    Ok(())
}

fn class() -> SopClassUid {
    SopClassUid::parse(BASIC_TEXT_SR).unwrap_or_else(|_| unreachable!("it is a UID"))
}

/// PS3.3 C.17.2: Verifying Observer Sequence.
fn verifier(report: &SignedReport<'_>) -> Result<Attributes, SrError> {
    let mut verifier = Attributes::new();
    let organisation = long(report.organisation, "organisation")?;
    verifier.insert_text(tags::VERIFYING_ORGANIZATION, Vr::LO, organisation);
    let at = report.signed_at.format("%Y%m%d%H%M%S%z").to_string();
    verifier.insert_text(tags::VERIFICATION_DATE_TIME, Vr::DT, at);
    let author = person(report.author)?;
    verifier.insert_text(tags::VERIFYING_OBSERVER_NAME, Vr::PN, author);
    let id = long(report.author_id, "author")?;
    let code = Code::new(&id, "99KGPACS", report.author);
    let tag = tags::VERIFYING_OBSERVER_IDENTIFICATION_CODE_SEQUENCE;
    items(&mut verifier, tag, vec![code.item()]);
    Ok(verifier)
}

/// PS3.3 C.17.2: Referenced Request Sequence.
fn request(report: &SignedReport<'_>) -> Attributes {
    let mut request = Attributes::new();
    let id = report.examination.to_string();
    let said = |tag| report.subject.text(tag).unwrap_or_default().to_owned();
    request.insert_text(tags::ACCESSION_NUMBER, Vr::SH, &*id);
    items(&mut request, tags::REFERENCED_STUDY_SEQUENCE, Vec::new());
    request.insert_text(tags::STUDY_INSTANCE_UID, Vr::UI, report.study.as_str());
    let description = said(tags::STUDY_DESCRIPTION);
    request.insert_text(tags::REQUESTED_PROCEDURE_DESCRIPTION, Vr::LO, description);
    let codes = report.subject.items(tags::PROCEDURE_CODE_SEQUENCE).to_vec();
    items(&mut request, tags::REQUESTED_PROCEDURE_CODE_SEQUENCE, codes);
    request.insert_text(tags::REQUESTED_PROCEDURE_ID, Vr::SH, &*id);
    let empty = "";
    let placer = tags::PLACER_ORDER_NUMBER_IMAGING_SERVICE_REQUEST;
    request.insert_text(placer, Vr::LO, empty);
    let filler = tags::FILLER_ORDER_NUMBER_IMAGING_SERVICE_REQUEST;
    request.insert_text(filler, Vr::LO, id);
    request
}

/// An item of the Hierarchical SOP Instance Reference Macro (PS3.3 C.17-3).
fn of_study(study: &StudyUid, series: &[EvidenceSeries]) -> Attributes {
    let series = series.iter().map(|series| {
        let instances = series.instances.iter().map(|(class, instance)| {
            let mut item = Attributes::new();
            item.insert_text(tags::REFERENCED_SOP_CLASS_UID, Vr::UI, class.as_str());
            item.insert_text(tags::REFERENCED_SOP_INSTANCE_UID, Vr::UI, instance.as_str());
            item
        });
        let mut item = Attributes::new();
        items(
            &mut item,
            tags::REFERENCED_SOP_SEQUENCE,
            instances.collect(),
        );
        item.insert_text(tags::SERIES_INSTANCE_UID, Vr::UI, series.series.as_str());
        item
    });
    let mut item = Attributes::new();
    items(
        &mut item,
        tags::REFERENCED_SERIES_SEQUENCE,
        series.collect(),
    );
    item.insert_text(tags::STUDY_INSTANCE_UID, Vr::UI, study.as_str());
    item
}

fn items(all: &mut Attributes, tag: pacs_core::Tag, items: Vec<Attributes>) {
    all.insert(tag, Vr::SQ, Value::Items(items));
}

/// As much of a text as an LO holds.
fn long(text: &str, what: &'static str) -> Result<String, SrError> {
    let is_wrong = |c: char| c.is_control() || c == '\\';
    if text.contains(is_wrong) {
        return Err(SrError::Text { what });
    }
    Ok(text.trim().chars().take(LONG_CHARS_MAX).collect())
}

/// A name in one component group, its components between carets.
fn person(name: &str) -> Result<String, SrError> {
    if name.contains('=') {
        return Err(SrError::Text { what: "author" });
    }
    long(name, "author")
}

#[cfg(test)]
mod tests;
