//! The content tree (PS3.16 TID 2000, TID 1001, 1002, 1005, 1204, 2002).

use super::{SignedReport, SrError, items, long, person};
use pacs_core::tag::tags;
use pacs_core::{Attributes, Tag, Vr};

/// Characters of a Code Value (SH, PS3.5 6.2).
const SHORT_CHARS_MAX: usize = 16;

/// A coded concept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Code<'a> {
    value: &'a str,
    scheme: &'a str,
    meaning: &'a str,
}

impl<'a> Code<'a> {
    pub(super) const fn new(value: &'a str, scheme: &'a str, meaning: &'a str) -> Self {
        Self {
            value,
            scheme,
            meaning,
        }
    }

    const fn dcm(value: &'a str, meaning: &'a str) -> Self {
        Self::new(value, "DCM", meaning)
    }

    const fn loinc(value: &'a str, meaning: &'a str) -> Self {
        Self::new(value, "LN", meaning)
    }

    pub(super) fn item(self) -> Attributes {
        let mut item = Attributes::new();
        // Longer ones have an attribute of their own (PS3.3 8.1).
        if self.value.chars().count() > SHORT_CHARS_MAX {
            item.insert_text(tags::LONG_CODE_VALUE, Vr::UC, self.value);
        } else {
            item.insert_text(tags::CODE_VALUE, Vr::SH, self.value);
        }
        item.insert_text(tags::CODING_SCHEME_DESIGNATOR, Vr::SH, self.scheme);
        let meaning: String = self.meaning.chars().take(super::LONG_CHARS_MAX).collect();
        item.insert_text(tags::CODE_MEANING, Vr::LO, meaning);
        item
    }
}

/// What a report of images of `modality` is called (CID 7000).
pub(super) fn title_of(modality: &str) -> Code<'static> {
    match modality {
        "CT" => Code::loinc("25045-6", "CT Report"),
        "MR" => Code::loinc("25056-3", "MRI Report"),
        "CR" | "DX" | "PX" | "IO" => Code::loinc("43468-8", "X-Ray Report"),
        "RF" => Code::loinc("49512-7", "Fluoroscopy Study Report"),
        "US" => Code::loinc("25061-3", "Ultrasound Report"),
        _ => Code::loinc("18748-4", "Diagnostic Imaging Report"),
    }
}

/// A section: its heading (CID 7001), and what its text is (CID 7002).
struct Part<'a> {
    heading: Code<'static>,
    concept: Code<'static>,
    text: &'a str,
}

fn parts<'a>(report: &SignedReport<'a>) -> [Part<'a>; 6] {
    let text = report.text;
    let part = |heading, concept, text| Part {
        heading,
        concept,
        text,
    };
    [
        part(
            Code::loinc("55752-0", "Clinical Information"),
            Code::loinc("55108-5", "Patient Presentation"),
            report.complaints,
        ),
        part(
            Code::loinc("11329-0", "History"),
            Code::loinc("11329-0", "History"),
            report.anamnesis,
        ),
        part(
            Code::loinc("59776-5", "Findings"),
            Code::dcm("121071", "Finding"),
            &text.description,
        ),
        part(
            Code::loinc("19005-8", "Impressions"),
            Code::dcm("121073", "Impression"),
            &text.conclusion,
        ),
        part(
            Code::loinc("18783-1", "Recommendations"),
            Code::dcm("121075", "Recommendation"),
            &text.recommendations,
        ),
        part(
            Code::loinc("55107-7", "Addendum"),
            Code::loinc("55112-7", "Summary"),
            &text.addendum,
        ),
    ]
}

/// The items below the root, in the order of the template.
pub(super) fn content(report: &SignedReport<'_>) -> Result<Vec<Attributes>, SrError> {
    let mut all = Vec::new();
    for code in report.subject.items(tags::PROCEDURE_CODE_SEQUENCE) {
        let mut reported = item(
            "HAS CONCEPT MOD",
            "CODE",
            Code::dcm("121058", "Procedure reported"),
        );
        items(
            &mut reported,
            tags::CONCEPT_CODE_SEQUENCE,
            vec![code.clone()],
        );
        all.push(reported);
    }
    all.push(language(report));
    all.extend(observer(report)?);
    let id = report.examination.to_string();
    let uid = Code::dcm("121018", "Procedure Study Instance UID");
    let mut study = item("HAS OBS CONTEXT", "UIDREF", uid);
    study.insert_text(tags::UID, Vr::UI, report.study.as_str());
    all.push(study);
    let accession = Code::dcm("121022", "Accession Number");
    all.push(said("HAS OBS CONTEXT", accession, &id)?);
    for part in parts(report) {
        if !part.text.trim().is_empty() {
            all.push(section(&part)?);
        }
    }
    Ok(all)
}

/// TID 1204.
fn language(report: &SignedReport<'_>) -> Attributes {
    let country = Code::new("KG", "ISO3166_1", "Kyrgyzstan");
    let of = Code::dcm("121046", "Country of Language");
    let country = coded("HAS CONCEPT MOD", of, country);
    let language = report.text.language;
    let language = Code::new(language.code(), "RFC5646", language.meaning());
    let of = Code::dcm("121049", "Language of Content Item and Descendants");
    let mut item = coded("HAS CONCEPT MOD", of, language);
    items(&mut item, tags::CONTENT_SEQUENCE, vec![country]);
    item
}

/// TID 1001 and 1002: whoever signed.
fn observer(report: &SignedReport<'_>) -> Result<[Attributes; 3], SrError> {
    const CONTEXT: &str = "HAS OBS CONTEXT";
    let kind = Code::dcm("121005", "Observer Type");
    let kind = coded(CONTEXT, kind, Code::dcm("121006", "Person"));
    let of = Code::dcm("121008", "Person Observer Name");
    let mut name = item(CONTEXT, "PNAME", of);
    name.insert_text(tags::PERSON_NAME, Vr::PN, person(report.author)?);
    let of = Code::dcm("121009", "Person Observer's Organization Name");
    let organisation = long(report.organisation, "organisation")?;
    Ok([kind, name, said(CONTEXT, of, &organisation)?])
}

fn section(part: &Part<'_>) -> Result<Attributes, SrError> {
    let text = said("CONTAINS", part.concept, part.text)?;
    let mut section = item("CONTAINS", "CONTAINER", part.heading);
    section.insert_text(tags::CONTINUITY_OF_CONTENT, Vr::CS, "SEPARATE");
    items(&mut section, tags::CONTENT_SEQUENCE, vec![text]);
    Ok(section)
}

/// A content item (PS3.3 C.17.3.2) without its value.
fn item(relationship: &str, kind: &str, concept: Code<'_>) -> Attributes {
    let mut all = Attributes::new();
    all.insert_text(tags::RELATIONSHIP_TYPE, Vr::CS, relationship);
    all.insert_text(tags::VALUE_TYPE, Vr::CS, kind);
    items(
        &mut all,
        tags::CONCEPT_NAME_CODE_SEQUENCE,
        vec![concept.item()],
    );
    all
}

fn coded(relationship: &str, concept: Code<'_>, value: Code<'_>) -> Attributes {
    let mut all = item(relationship, "CODE", concept);
    items(&mut all, tags::CONCEPT_CODE_SEQUENCE, vec![value.item()]);
    all
}

/// A text; lines end as PS3.5 6.2 has it of UT.
fn said(relationship: &str, concept: Code<'_>, text: &str) -> Result<Attributes, SrError> {
    const TEXT: Tag = tags::TEXT_VALUE;
    let is_wrong = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    if text.contains(is_wrong) {
        return Err(SrError::Text { what: "text" });
    }
    let mut all = item(relationship, "TEXT", concept);
    // A tab is no character of UT.
    let text = text.trim().replace('\t', "    ").replace('\n', "\r\n");
    all.insert_text(TEXT, Vr::UT, text);
    Ok(all)
}
