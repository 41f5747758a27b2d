//! Documents of signed reports.

use super::*;
use chrono::TimeZone as _;
use pacs_core::decode::read_data_set;
use pacs_core::encode::write_data_set;
use pacs_core::limits::{DataSetLimits, ScanLimits};
use pacs_core::report::Language;
use pacs_core::{Instance, TransferSyntaxUid};

const EXPLICIT_LITTLE: &str = "1.2.840.10008.1.2.1";

fn text() -> ReportText {
    ReportText {
        description: "Өпкө таза.\nТүйүн жок.".to_owned(),
        conclusion: "Патология жок".to_owned(),
        ..ReportText::empty(Language::Ky)
    }
}

struct Known {
    subject: Attributes,
    study: StudyUid,
    series: SeriesUid,
    instance: SopInstanceUid,
    evidence: Vec<EvidenceSeries>,
}

impl Known {
    fn new() -> Self {
        let mut subject = Attributes::new();
        subject.insert_text(tags::PATIENT_NAME, Vr::PN, "СЫНООВА^ӨСКӨН");
        subject.insert_text(tags::PATIENT_ID, Vr::LO, "P0000012");
        subject.insert_text(tags::STUDY_DESCRIPTION, Vr::LO, "КТ грудной клетки");
        let image = SopInstanceUid::parse("1.2.3.4.5").unwrap();
        let class = SopClassUid::parse("1.2.840.10008.5.1.4.1.1.2").unwrap();
        Self {
            subject,
            study: StudyUid::parse("1.2.3").unwrap(),
            series: SeriesUid::parse("1.2.3.9").unwrap(),
            instance: SopInstanceUid::parse("1.2.3.9.1").unwrap(),
            evidence: vec![EvidenceSeries {
                series: SeriesUid::parse("1.2.3.4").unwrap(),
                instances: vec![(class, image)],
            }],
        }
    }

    fn report<'a>(&'a self, text: &'a ReportText) -> SignedReport<'a> {
        SignedReport {
            subject: &self.subject,
            examination: ExaminationId::parse("250060004329").unwrap(),
            modality: "CT",
            text,
            complaints: "Кашель",
            anamnesis: "",
            study: &self.study,
            series: &self.series,
            instance: &self.instance,
            version: 1,
            predecessor: None,
            author: "Сыноо^Дарыгер",
            author_id: "expert",
            organisation: "Областная больница",
            signed_at: FixedOffset::east_opt(6 * 3_600)
                .unwrap()
                .with_ymd_and_hms(2026, 11, 27, 9, 5, 0)
                .unwrap(),
            evidence: &self.evidence,
        }
    }
}

/// A line for each item of content, deeper ones further in.
fn outline(of: &Attributes, indent: &str, out: &mut Vec<String>) {
    for item in of.items(tags::CONTENT_SEQUENCE) {
        let word = |tag| item.text(tag).unwrap_or_default().to_owned();
        let concept = item.items(tags::CONCEPT_NAME_CODE_SEQUENCE).first();
        let concept = concept.and_then(|code| code.text(tags::CODE_VALUE));
        let code = item.items(tags::CONCEPT_CODE_SEQUENCE).first();
        let code = code.and_then(|code| code.text(tags::CODE_VALUE));
        let values = [tags::TEXT_VALUE, tags::PERSON_NAME, tags::UID].map(word);
        out.push(format!(
            "{indent}{} {} {}={}{}",
            word(tags::RELATIONSHIP_TYPE),
            word(tags::VALUE_TYPE),
            concept.unwrap_or_default(),
            code.unwrap_or_default(),
            values.concat()
        ));
        outline(item, &format!("{indent}  "), out);
    }
}

#[test]
fn the_content_is_that_of_the_template_in_its_order_and_empty_sections_are_none() {
    let (known, text) = (Known::new(), text());
    let report = known.report(&text);
    let all = data_set(&report).unwrap();
    let mut lines = Vec::new();
    outline(&all, "", &mut lines);
    let id = format!("HAS OBS CONTEXT TEXT 121022={}", report.examination);
    assert_eq!(
        lines,
        [
            "HAS CONCEPT MOD CODE 121049=ky",
            "  HAS CONCEPT MOD CODE 121046=KG",
            "HAS OBS CONTEXT CODE 121005=121006",
            "HAS OBS CONTEXT PNAME 121008=Сыноо^Дарыгер",
            "HAS OBS CONTEXT TEXT 121009=Областная больница",
            "HAS OBS CONTEXT UIDREF 121018=1.2.3",
            &id,
            "CONTAINS CONTAINER 55752-0=",
            "  CONTAINS TEXT 55108-5=Кашель",
            "CONTAINS CONTAINER 59776-5=",
            "  CONTAINS TEXT 121071=Өпкө таза.\r\nТүйүн жок.",
            "CONTAINS CONTAINER 19005-8=",
            "  CONTAINS TEXT 121073=Патология жок",
        ]
    );
    let title = all.items(tags::CONCEPT_NAME_CODE_SEQUENCE);
    assert_eq!(title[0].text(tags::CODE_MEANING), Some("CT Report"));
}

#[test]
fn it_is_an_instance_of_its_study_and_read_back_says_the_same() {
    let (known, text) = (Known::new(), text());
    let all = data_set(&known.report(&text)).unwrap();
    let syntax = TransferSyntaxUid::parse(EXPLICIT_LITTLE).unwrap();
    let bytes = write_data_set(&all, &syntax).unwrap();
    let instance = Instance::parse(&bytes, &syntax, &ScanLimits::default()).unwrap();
    assert_eq!(instance.study, known.study);
    assert_eq!(instance.series, known.series);
    assert_eq!(instance.instance, known.instance);
    assert_eq!(instance.sop_class.as_str(), BASIC_TEXT_SR);
    let read = read_data_set(&bytes, &syntax, &DataSetLimits::default()).unwrap();
    let tags = [
        tags::PATIENT_NAME,
        tags::VERIFICATION_FLAG,
        tags::INSTANCE_NUMBER,
    ];
    for tag in tags {
        assert_eq!(read.text(tag), all.text(tag), "{tag}");
    }
    let (mut was, mut is) = (Vec::new(), Vec::new());
    outline(&all, "", &mut was);
    outline(&read, "", &mut is);
    assert_eq!(was, is);
}

#[test]
fn the_next_version_names_the_one_before_and_has_what_was_added() {
    let known = Known::new();
    let text = ReportText {
        addendum: "Сравнение с прошлым годом".to_owned(),
        ..text()
    };
    let before = SopInstanceUid::parse("1.2.3.9.0").unwrap();
    let report = SignedReport {
        version: 2,
        predecessor: Some(&before),
        ..known.report(&text)
    };
    let all = data_set(&report).unwrap();
    assert_eq!(all.text(tags::INSTANCE_NUMBER), Some("2"));
    let study = &all.items(tags::PREDECESSOR_DOCUMENTS_SEQUENCE)[0];
    let series = &study.items(tags::REFERENCED_SERIES_SEQUENCE)[0];
    let instance = &series.items(tags::REFERENCED_SOP_SEQUENCE)[0];
    let named = instance.text(tags::REFERENCED_SOP_INSTANCE_UID);
    assert_eq!(named, Some("1.2.3.9.0"));
    let mut lines = Vec::new();
    outline(&all, "", &mut lines);
    let added = "  CONTAINS TEXT 55112-7=Сравнение с прошлым годом";
    assert!(lines.iter().any(|line| line == added), "{lines:?}");
}

#[test]
fn nothing_that_a_data_set_cannot_hold_is_written() {
    let known = Known::new();
    let nothing = ReportText::empty(Language::Ru);
    assert_eq!(data_set(&known.report(&nothing)), Err(SrError::Empty));
    let text = text();
    for author in ["A=B", "A\\B", "A\u{1b}B"] {
        let wrong = SignedReport {
            author,
            ..known.report(&text)
        };
        let what = "author";
        assert_eq!(data_set(&wrong), Err(SrError::Text { what }), "{author:?}");
    }
    let wrong = SignedReport {
        complaints: "\u{7}",
        ..known.report(&text)
    };
    let what = "text";
    assert_eq!(data_set(&wrong), Err(SrError::Text { what }));
}
