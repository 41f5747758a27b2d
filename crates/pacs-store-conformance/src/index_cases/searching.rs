//! Queries at every level: what is found, what comes back, in which order, how much.

use crate::log::Log;
use crate::samples::{
    CT_IMAGE, MR_IMAGE, Sample, hide, instance_uid, query, range, series_uid, single, study_uid,
    uids, wildcard,
};
use pacs_core::tag::tags;
use pacs_core::{Attributes, Level, Matching, Query, Tag, Value, Vr};
use pacs_store::index::{Index, IndexError, Quota, ResultMemory, Target};
use std::sync::Arc;

/// Three studies of two patients.
async fn filled(index: Arc<dyn Index>) -> Log {
    let log = Log::new(index);
    let osmonov = |sample: Sample, date: &str| {
        sample
            .with(tags::PATIENT_NAME, "Осмонов^Нурлан")
            .with(tags::PATIENT_ID, "O7")
            .with(tags::STUDY_DATE, date)
    };
    log.add(vec![
        Sample::new(1, 1, 1).record(),
        osmonov(Sample::new(2, 1, 1), "20260401").record(),
        Sample::new(1, 2, 1).of_class(MR_IMAGE, "MR").record(),
        Sample::new(1, 1, 2).record(),
    ])
    .await;
    log.add(vec![
        osmonov(Sample::new(3, 1, 1), "20260501")
            .of_class(MR_IMAGE, "MR")
            .record(),
    ])
    .await;
    log
}

async fn values(log: &Log, query: &Query, tag: Tag) -> Vec<String> {
    log.search(query)
        .await
        .iter()
        .map(|m| m.attributes.text(tag).unwrap().to_owned())
        .collect()
}

/// Whatever the level, what belongs to it is found, by the keys of all levels down to it.
pub async fn each_level_finds_its_entities(index: Arc<dyn Index>) {
    let log = filled(index).await;
    let count =
        async |level, tag, matching| log.search(&query(level, [(tag, matching)])).await.len();
    let id = || single("O7");

    assert_eq!(count(Level::Patient, tags::PATIENT_ID, id()).await, 1);
    assert_eq!(count(Level::Study, tags::PATIENT_ID, id()).await, 2);
    assert_eq!(count(Level::Series, tags::PATIENT_ID, id()).await, 2);
    assert_eq!(count(Level::Instance, tags::PATIENT_ID, id()).await, 2);
    let uid = study_uid(1);
    let uid = || single(uid.as_str());
    assert_eq!(
        count(Level::Study, tags::STUDY_INSTANCE_UID, uid()).await,
        1
    );
    assert_eq!(
        count(Level::Series, tags::STUDY_INSTANCE_UID, uid()).await,
        2
    );
    assert_eq!(
        count(Level::Instance, tags::STUDY_INSTANCE_UID, uid()).await,
        3
    );
    assert_eq!(
        count(Level::Study, tags::ACCESSION_NUMBER, single("A2")).await,
        1
    );
    assert_eq!(
        count(Level::Study, tags::STUDY_DATE, single("20260314")).await,
        1
    );
    let nobody = single("nobody");
    assert_eq!(count(Level::Study, tags::PATIENT_ID, nobody).await, 0);
}

/// As PS3.4 C.4.1.3.2.1 wants it: no key of a level above is needed.
pub async fn a_relational_query_needs_no_keys_of_levels_above(index: Arc<dyn Index>) {
    let log = filled(index).await;
    let mr = query(Level::Series, [(tags::MODALITY, single("MR"))]);
    let ct = query(Level::Instance, [(tags::SOP_CLASS_UID, single(CT_IMAGE))]);
    let series = series_uid(1, 1);
    let of_series = query(
        Level::Instance,
        [
            (tags::SERIES_INSTANCE_UID, single(series.as_str())),
            (tags::INSTANCE_NUMBER, single("2")),
        ],
    );
    let mixed = query(
        Level::Instance,
        [
            (tags::PATIENT_NAME, wildcard("осмонов*")),
            (tags::MODALITY, single("MR")),
        ],
    );

    let found = values(&log, &mr, tags::SERIES_INSTANCE_UID).await;
    assert_eq!(
        found,
        [series_uid(1, 2).as_str(), series_uid(3, 1).as_str()]
    );
    assert_eq!(log.search(&ct).await.len(), 3);
    let found = values(&log, &of_series, tags::SOP_INSTANCE_UID).await;
    assert_eq!(found, [instance_uid(1, 1, 2).as_str()]);
    let found = values(&log, &mixed, tags::SOP_INSTANCE_UID).await;
    assert_eq!(found, [instance_uid(3, 1, 1).as_str()]);
}

/// Not more than asked for, never without the keys that name the entity.
pub async fn results_carry_only_what_was_asked_and_the_unique_keys(index: Arc<dyn Index>) {
    let log = filled(index).await;
    let unique = [
        tags::PATIENT_ID,
        tags::STUDY_INSTANCE_UID,
        tags::SERIES_INSTANCE_UID,
        tags::SOP_INSTANCE_UID,
    ];
    let levels = [Level::Patient, Level::Study, Level::Series, Level::Instance];
    for (at, level) in levels.into_iter().enumerate() {
        let asked = query(
            level,
            [
                (tags::PATIENT_NAME, Matching::Universal),
                // Nobody has it, and so nobody's result does.
                (tags::PATIENT_COMMENTS, Matching::Universal),
            ],
        );
        for found in log.search(&asked).await {
            let mut expected = unique[..=at].to_vec();
            expected.push(tags::PATIENT_NAME);
            expected.sort();
            let tags: Vec<Tag> = found.attributes.iter().map(|a| a.tag).collect();
            assert_eq!(tags, expected, "{level:?}");
        }
    }
}

/// The order of arrival of whole studies, of series in them, of instances in those.
pub async fn results_come_in_order_of_study_series_and_arrival(index: Arc<dyn Index>) {
    let log = filled(index).await;
    let expected = [
        instance_uid(1, 1, 1),
        instance_uid(1, 1, 2),
        instance_uid(1, 2, 1),
        instance_uid(2, 1, 1),
        instance_uid(3, 1, 1),
    ];
    let queries = [
        query(Level::Instance, []),
        // However the index comes to its candidates.
        query(Level::Instance, [(tags::PATIENT_NAME, wildcard("*"))]),
        query(Level::Instance, [(tags::STUDY_DATE, range("20260101", ""))]),
    ];
    for asked in &queries {
        let found = values(&log, asked, tags::SOP_INSTANCE_UID).await;
        let expected: Vec<&str> = expected.iter().map(|uid| uid.as_str()).collect();
        assert_eq!(found, expected);
        let selected = log.select(asked).await;
        let selected: Vec<&str> = selected
            .iter()
            .map(|s| s.instance.instance.as_str())
            .collect();
        assert_eq!(selected, expected);
    }
    let reversed = uids([study_uid(3).as_str(), study_uid(1).as_str()]);
    let listed = query(Level::Study, [(tags::STUDY_INSTANCE_UID, reversed)]);
    let found = values(&log, &listed, tags::STUDY_INSTANCE_UID).await;
    assert_eq!(found, [study_uid(1).as_str(), study_uid(3).as_str()]);
}

/// C-MOVE of chosen images names each.
pub async fn lists_of_uids_find_each(index: Arc<dyn Index>) {
    let log = filled(index).await;
    let (one, two, none) = (
        instance_uid(1, 1, 2),
        instance_uid(3, 1, 1),
        instance_uid(8, 8, 8),
    );
    let list = [one.as_str(), none.as_str(), two.as_str(), one.as_str()];
    let asked = query(Level::Instance, [(tags::SOP_INSTANCE_UID, uids(list))]);
    let found = values(&log, &asked, tags::SOP_INSTANCE_UID).await;
    assert_eq!(found, [one.as_str(), two.as_str()]);

    let series = [series_uid(2, 1), series_uid(1, 1)];
    let asked = query(
        Level::Series,
        [(
            tags::SERIES_INSTANCE_UID,
            uids(series.iter().map(|uid| uid.as_str())),
        )],
    );
    assert_eq!(log.search(&asked).await.len(), 2);
    assert_eq!(log.select(&asked).await.len(), 3);
}

/// PS3.4 C.2.2.2.5.
pub async fn date_ranges_are_inclusive_and_may_be_open(index: Arc<dyn Index>) {
    let log = filled(index).await;
    let undated = Sample::new(4, 1, 1).without(tags::STUDY_DATE);
    let empty = Sample::new(5, 1, 1).with(tags::STUDY_DATE, "");
    log.add(vec![undated.record(), empty.record()]).await;
    let found = async |from, to| {
        let asked = query(Level::Study, [(tags::STUDY_DATE, range(from, to))]);
        values(&log, &asked, tags::STUDY_DATE).await
    };

    assert_eq!(
        found("20260314", "20260401").await,
        ["20260314", "20260401"]
    );
    assert_eq!(found("20260315", "20260430").await, ["20260401"]);
    assert_eq!(found("", "20260401").await, ["20260314", "20260401"]);
    assert_eq!(found("20260401", "").await, ["20260401", "20260501"]);
    assert_eq!(found("20260601", "").await, Vec::<String>::new());
    assert_eq!(found("20260501", "20260401").await, Vec::<String>::new());
}

/// Names are found by their beginning and by what is in them; Kyrgyz letters count as Russian ones.
pub async fn wildcards_find_by_beginning_and_by_middle(index: Arc<dyn Index>) {
    let log = filled(index).await;
    let found = async |pattern| {
        let asked = query(Level::Study, [(tags::PATIENT_NAME, wildcard(pattern))]);
        log.search(&asked).await.len()
    };

    assert_eq!(found("Осмонов*").await, 2);
    assert_eq!(found("ОСМ*").await, 2);
    assert_eq!(found("*ова*").await, 1);
    assert_eq!(found("*НОВ*").await, 3);
    assert_eq!(found("асанова^айгул").await, 1);
    assert_eq!(found("?санова*").await, 1);
    assert_eq!(found("*Нурлан").await, 2);
    assert_eq!(found("Осмонов").await, 0);
    assert_eq!(found("*").await, 3);
    let id = query(Level::Study, [(tags::PATIENT_ID, wildcard("O*"))]);
    assert_eq!(log.search(&id).await.len(), 2);
}

/// Names of 64 characters are only the standard's idea.
pub async fn a_key_longer_than_any_index_key_is_found(index: Arc<dyn Index>) {
    let log = filled(index).await;
    let long = "Ы".repeat(8_000);
    let sample = Sample::new(7, 1, 1)
        .with(tags::PATIENT_NAME, &long)
        .with(tags::PATIENT_ID, &long)
        .with(tags::ACCESSION_NUMBER, &long);
    let other = Sample::new(8, 1, 1).with(tags::PATIENT_NAME, &format!("{long}Э"));
    log.add(vec![sample.record(), other.record()]).await;

    for tag in [tags::PATIENT_NAME, tags::PATIENT_ID, tags::ACCESSION_NUMBER] {
        let found = log
            .search(&query(Level::Study, [(tag, single(&long))]))
            .await;
        assert_eq!(found.len(), 1, "{tag}");
        assert_eq!(found[0].attributes.text(tags::PATIENT_ID), Some(&*long));
    }
    let prefix = query(
        Level::Study,
        [(tags::PATIENT_NAME, wildcard(&format!("{long}*")))],
    );
    assert_eq!(log.search(&prefix).await.len(), 2);
    assert_eq!(log.search(&query(Level::Patient, [])).await.len(), 4);
}

/// As many as allowed are given; one more is refused rather than cut off.
pub async fn a_limit_is_for_more_than_it_not_for_as_many(index: Arc<dyn Index>) {
    let log = filled(index).await;
    let hidden = Target::Instance(instance_uid(1, 1, 1));
    log.add(vec![hide(hidden)]).await;
    for (level, count) in [
        (Level::Patient, 2),
        (Level::Study, 3),
        (Level::Series, 4),
        (Level::Instance, 4),
    ] {
        let all = query(level, []);
        let found = log.index.search(&all, &Quota::of(count)).await.unwrap();
        assert_eq!(found.len(), count);
        let less = count - 1;
        let refused = log.index.search(&all, &Quota::of(less)).await;
        assert!(
            matches!(refused, Err(IndexError::TooMany { limit_count }) if limit_count == less),
            "{level:?}"
        );
        assert_eq!(
            log.index.select(&all, &Quota::of(4)).await.unwrap().len(),
            4
        );
        let refused = log.index.select(&all, &Quota::of(3)).await;
        assert!(matches!(
            refused,
            Err(IndexError::TooMany { limit_count: 3 })
        ));
    }
}

/// Memory for results is given back with them, and by a search that is refused for lack of it.
pub async fn results_beyond_the_memory_for_them_are_refused_and_take_none_of_it(
    index: Arc<dyn Index>,
) {
    let log = filled(index).await;
    let all = query(Level::Instance, []);
    let none = Quota::of(100).within(&ResultMemory::new(0, 0));
    let refused = log.index.search(&all, &none).await;
    assert!(matches!(refused, Err(IndexError::NoMemory)));
    let refused = log.index.select(&all, &none).await;
    assert!(matches!(refused, Err(IndexError::NoMemory)));

    let some = ResultMemory::new(1 << 20, 0);
    let quota = Quota::of(100).within(&some);
    let found = log.index.search(&all, &quota).await.unwrap();
    assert_eq!(found.len(), 5);
    assert!(some.left_bytes() < 1 << 20);
    let selected = log.index.select(&all, &quota).await.unwrap();
    assert_eq!(selected.len(), 5);
    drop((found, selected));
    let refused = log.index.search(&all, &Quota::of(4).within(&some)).await;
    assert!(matches!(refused, Err(IndexError::TooMany { .. })));
    assert_eq!(some.left_bytes(), 1 << 20);
}

/// Everything the retrieval needs, and of the attributes those of the instance.
pub async fn select_gives_instances_as_they_were_stored(index: Arc<dyn Index>) {
    let log = Log::new(index);
    let sample = Sample::new(1, 1, 1)
        .in_syntax("1.2.840.10008.1.2.4.70")
        .with(tags::ROWS, "512")
        .with(tags::IMAGE_TYPE, "ORIGINAL\\PRIMARY\\AXIAL");
    let other = Sample::new(1, 1, 2).of_class(MR_IMAGE, "MR");
    log.add(vec![sample.record(), other.record()]).await;

    let selected = log.select(&query(Level::Study, [])).await;

    assert_eq!(selected.len(), 2);
    for (selected, sample) in selected.iter().zip([sample, other]) {
        let mut expected = sample.stored();
        let head = expected.instance.clone();
        let attributes = &mut expected.instance.attributes;
        *attributes = head.attributes_of(Level::Instance);
        for (tag, uid) in [
            (tags::SOP_CLASS_UID, head.sop_class.as_str()),
            (tags::SOP_INSTANCE_UID, head.instance.as_str()),
            (tags::STUDY_INSTANCE_UID, head.study.as_str()),
            (tags::SERIES_INSTANCE_UID, head.series.as_str()),
        ] {
            attributes.insert_text(tag, Vr::UI, uid);
        }
        assert_eq!(*selected, expected);
    }
}

/// The instances of patients, studies, series, and single ones.
pub async fn select_serves_every_level(index: Arc<dyn Index>) {
    let log = filled(index).await;
    let count = async |asked: Query| log.select(&asked).await.len();
    let patient = query(Level::Patient, [(tags::PATIENT_ID, single("O7"))]);
    let uid = study_uid(1);
    let study = query(
        Level::Study,
        [(tags::STUDY_INSTANCE_UID, single(uid.as_str()))],
    );
    let uid = series_uid(1, 1);
    let series = query(
        Level::Series,
        [(tags::SERIES_INSTANCE_UID, single(uid.as_str()))],
    );
    let uid = instance_uid(1, 2, 1);
    let instance = query(
        Level::Instance,
        [(tags::SOP_INSTANCE_UID, single(uid.as_str()))],
    );

    assert_eq!(count(patient).await, 2);
    assert_eq!(count(study).await, 3);
    assert_eq!(count(series).await, 2);
    assert_eq!(count(instance).await, 1);
}

/// Nothing of a value gets lost on its way through the index.
pub async fn sequences_and_suspect_text_come_back_as_they_were(index: Arc<dyn Index>) {
    let log = Log::new(index);
    let mut inner = Attributes::new();
    inner.insert_text(tags::CODE_VALUE, Vr::SH, "КТ-1");
    inner.insert(tags::CODE_MEANING, Vr::LO, Value::Suspect("???".into()));
    let mut outer = Attributes::new();
    outer.insert_text(tags::SCHEDULED_PROCEDURE_STEP_ID, Vr::SH, "S1");
    outer.insert(
        tags::SCHEDULED_PROTOCOL_CODE_SEQUENCE,
        Vr::SQ,
        Value::Items(vec![inner.clone(), Attributes::new(), inner.clone()]),
    );
    let values = [
        (tags::REQUEST_ATTRIBUTES_SEQUENCE, Value::Items(vec![outer])),
        (tags::PROCEDURE_CODE_SEQUENCE, Value::Items(vec![inner])),
        (tags::CONCEPT_NAME_CODE_SEQUENCE, Value::Items(Vec::new())),
        (tags::STUDY_DESCRIPTION, Value::Suspect("\u{fffd}Т".into())),
        (tags::IMAGE_COMMENTS, Value::Text("".into())),
    ];
    let mut sample = Sample::new(1, 1, 1);
    for (tag, value) in values.clone() {
        sample = sample.with_value(tag, value);
    }
    log.add(vec![sample.record()]).await;

    let asked = values.clone().map(|(tag, _)| (tag, Matching::Universal));
    let found = log.search(&query(Level::Instance, asked)).await;

    for (tag, value) in values {
        let attribute = found[0].attributes.get(tag).unwrap();
        assert!(attribute.value == value, "{tag}");
        assert_eq!(attribute.vr, pacs_core::tag::vr_of(tag));
    }
}
