//! What consoles send: worklist identifiers, and attribute lists of performed procedure steps.
//! Whatever the bytes, they are refused, or answered for any device, or become a step that is kept
//! and read again. The first byte chooses the encoding.
#![no_main]

use chrono::NaiveDate;
use libfuzzer_sys::fuzz_target;
use pacs_core::decode::read_data_set;
use pacs_core::device::{DeviceCharset, DeviceProfile, NameStyle};
use pacs_core::examination::StepId;
use pacs_core::limits::{DataSetLimits, QueryLimits};
use pacs_core::mpps::ProcedureStep;
use pacs_core::patient::{PatientKey, PatientNumber};
use pacs_core::worklist::{
    Institution, Procedure, Spelled, StepStatus, WorklistItem, WorklistPatient, WorklistQuery,
};
use pacs_core::{AeTitle, ExaminationId, StudyUid, TransferSyntaxUid};
use std::sync::LazyLock;

const SYNTAXES: [&str; 4] = [
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2.2",
    "1.2.840.10008.1.2.1.99",
];

static ITEM: LazyLock<WorklistItem> = LazyLock::new(|| {
    let examination = ExaminationId::parse("250060004329").expect("an ID");
    let day = NaiveDate::from_ymd_opt(2026, 11, 26).expect("a day");
    WorklistItem {
        examination,
        step: StepId::first(examination),
        planned_study: StudyUid::parse("2.25.77").expect("a UID"),
        scheduled_at: day.and_hms_opt(9, 5, 0).expect("a time"),
        modality: "CT".into(),
        stations: Vec::new(),
        status: StepStatus::Scheduled,
        procedure: Procedure {
            description: Spelled::new("КТ: грудная клетка"),
            ..Procedure::default()
        },
        patient: WorklistPatient {
            key: PatientKey::Known(PatientNumber::from_serial(572).expect("a number")),
            name: Spelled::new("Жээнбеков^Үсөн^Өмүрбекович"),
            pin: None,
            birth_date: None,
            sex: None,
            weight_g: Some(72_500),
            height_mm: None,
            pregnancy: None,
            confidentiality: Spelled::default(),
            state: Spelled::default(),
            alerts: Spelled::default(),
            allergies: Spelled::default(),
            special_needs: Spelled::default(),
            history: Spelled::default(),
        },
        institution: Institution::default(),
    }
});

fn ask(bytes: &[u8], syntax: &TransferSyntaxUid) {
    let Ok(query) = WorklistQuery::read(bytes, syntax, &QueryLimits::default()) else {
        return;
    };
    let calling = AeTitle::parse("CT1").expect("a title");
    for (charset, name_style) in [
        (DeviceCharset::Ascii, NameStyle::Own),
        (DeviceCharset::Cyrillic, NameStyle::LatinAndOwn),
        (DeviceCharset::Utf8, NameStyle::Own),
    ] {
        let profile = DeviceProfile {
            charset,
            name_style,
            name_chars_max: 16,
            ..DeviceProfile::default()
        };
        let _ = query.days(&profile, ITEM.scheduled_at.date());
        let Some(answer) = query.answer(&ITEM, &profile, &calling) else {
            continue;
        };
        let written = WorklistQuery::write_answer(&answer, &profile, syntax);
        let written = written.expect("what a device gets is in its characters");
        let read = read_data_set(&written, syntax, &DataSetLimits::default());
        assert_eq!(read.as_ref(), Ok(&answer));
    }
}

fn tell(bytes: &[u8], syntax: &TransferSyntaxUid) {
    let Ok(told) = read_data_set(bytes, syntax, &DataSetLimits::default()) else {
        return;
    };
    let Ok(step) = ProcedureStep::create(told.clone()) else {
        return;
    };
    assert!(!step.state().is_final());
    let kept = ProcedureStep::kept(step.attributes().clone());
    assert_eq!(kept.as_ref(), Some(&step));
    let _ = (step.scheduled(), step.station(), step.instances());
    let _ = step.discontinuation_reason();
    let (_, kept) = step.set(&told).expect("what was told may be told again");
    assert!(kept.is_empty());
}

fuzz_target!(|data: &[u8]| {
    let Some((choice, bytes)) = data.split_first() else {
        return;
    };
    let syntax = TransferSyntaxUid::parse(SYNTAXES[usize::from(choice & 3)]).expect("a UID");
    ask(bytes, &syntax);
    tell(bytes, &syntax);
});
