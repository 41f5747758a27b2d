//! The matcher over candidates of an index, the folding of a name, and the writing of one answer.

use criterion::{Criterion, criterion_group, criterion_main};
use pacs_core::encode::write_data_set_into;
use pacs_core::fold::matching_key;
use pacs_core::matching::Matcher;
use pacs_core::tag::{Vr, tags};
use pacs_core::{Attributes, Level, Query, QueryError, TransferSyntaxUid};
use std::hint::black_box;

/// Patterns that find something and patterns that must look at all of a name first.
const PATTERNS: [&str; 7] = [
    "Иванова^Анна",
    "Иван*",
    "*ова*",
    "*щщ*",
    "?ванов?^*",
    "Иванов^*^*",
    "*а*а*а*а*а*а*а*а*ю",
];

fn study(name: &str) -> Attributes {
    let mut study = Attributes::new();
    study.insert_text(tags::STUDY_DATE, Vr::DA, "20260115");
    study.insert_text(tags::STUDY_TIME, Vr::TM, "101500.000");
    study.insert_text(tags::ACCESSION_NUMBER, Vr::SH, "KR26-0001234");
    study.insert_text(tags::MODALITIES_IN_STUDY, Vr::CS, "CT\\SR");
    study.insert_text(tags::STUDY_DESCRIPTION, Vr::LO, "CT HEAD");
    study.insert_text(tags::PATIENT_NAME, Vr::PN, name);
    study.insert_text(tags::PATIENT_ID, Vr::LO, "12345678901234");
    study.insert_text(tags::PATIENT_BIRTH_DATE, Vr::DA, "19700101");
    study.insert_text(tags::STUDY_INSTANCE_UID, Vr::UI, "1.2.840.113619.2.55.3.1");
    study.insert_text(tags::NUMBER_OF_STUDY_RELATED_INSTANCES, Vr::IS, "500");
    study
}

fn benches(criterion: &mut Criterion) {
    let name = "ИВАНОВА^Анна^Фёдоровна";
    let latin = "ZHEENBEKOV^USON^OMURBEKOVICH";
    let (cyrillic_study, latin_study) = (study(name), study(latin));
    let folded = matching_key(Vr::PN, name).into_owned();

    for pattern in PATTERNS {
        let query = Query::new(Level::Study).key(tags::PATIENT_NAME, pattern);
        let Ok(query): Result<Query, QueryError> = query else {
            continue;
        };
        let matcher = Matcher::new(&query);
        criterion.bench_function(&format!("matches_key {pattern}"), |b| {
            b.iter(|| matcher.matches_key(tags::PATIENT_NAME, black_box(&folded)));
        });
        criterion.bench_function(&format!("matches {pattern}"), |b| {
            b.iter(|| matcher.matches(black_box(&cyrillic_study)));
        });
    }
    criterion.bench_function("fold a cyrillic name", |b| {
        b.iter(|| matching_key(Vr::PN, black_box(name)));
    });
    criterion.bench_function("fold a latin name", |b| {
        b.iter(|| matching_key(Vr::PN, black_box(latin)));
    });
    for (what, answer) in [("cyrillic", &cyrillic_study), ("latin", &latin_study)] {
        for uid in ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1"] {
            let Ok(syntax) = TransferSyntaxUid::parse(uid) else {
                continue;
            };
            let mut out = Vec::new();
            criterion.bench_function(&format!("write a {what} answer {uid}"), |b| {
                b.iter(|| {
                    out.clear();
                    write_data_set_into(&mut out, black_box(answer), &syntax).is_ok()
                });
            });
        }
    }
}

criterion_group!(group, benches);
criterion_main!(group);
