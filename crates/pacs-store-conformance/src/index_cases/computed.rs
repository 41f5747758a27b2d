//! Attributes that are computed from what is visible.

use crate::log::Log;
use crate::samples::{
    CT_IMAGE, MR_IMAGE, Sample, hide, query, restore, series_uid, single, study_uid, wildcard,
};
use pacs_core::tag::tags;
use pacs_core::{Level, Matching};
use pacs_store::index::{Index, Target};
use std::sync::Arc;

const SR: &str = "1.2.840.10008.5.1.4.1.1.88.11";

/// Each once and in order; what is hidden does not count.
pub async fn modalities_and_classes_are_those_of_visible_series(index: Arc<dyn Index>) {
    let log = Log::new(index);
    log.add(vec![
        Sample::new(1, 1, 1).of_class(MR_IMAGE, "MR").record(),
        Sample::new(1, 2, 1).record(),
        Sample::new(1, 3, 1).record(),
        Sample::new(1, 4, 1).of_class(SR, "").record(),
        Sample::new(1, 5, 1).without(tags::MODALITY).record(),
        Sample::new(1, 2, 2).of_class(SR, "SR").record(),
    ])
    .await;
    let asked = query(
        Level::Study,
        [
            tags::MODALITIES_IN_STUDY,
            tags::SOP_CLASSES_IN_STUDY,
            tags::INSTANCE_AVAILABILITY,
        ]
        .map(|tag| (tag, Matching::Universal)),
    );
    let shown = async || {
        let found = log.search(&asked).await;
        let text = |tag| found[0].attributes.text(tag).unwrap_or_default().to_owned();
        assert_eq!(text(tags::INSTANCE_AVAILABILITY), "ONLINE");
        (
            text(tags::MODALITIES_IN_STUDY),
            text(tags::SOP_CLASSES_IN_STUDY),
        )
    };
    let classes = |classes: &[&str]| classes.join("\\");
    assert_eq!(
        shown().await,
        ("CT\\MR".to_owned(), classes(&[CT_IMAGE, MR_IMAGE, SR]))
    );

    log.add(vec![hide(Target::Series(series_uid(1, 1)))]).await;
    assert_eq!(shown().await, ("CT".to_owned(), classes(&[CT_IMAGE, SR])));

    for series in 2..=5 {
        log.add(vec![hide(Target::Series(series_uid(1, series)))])
            .await;
    }
    log.add(vec![restore(Target::Series(series_uid(1, 1)))])
        .await;
    assert_eq!(shown().await, ("MR".to_owned(), classes(&[MR_IMAGE])));
}

/// Computed keys are keys like others.
pub async fn matching_a_computed_key_works(index: Arc<dyn Index>) {
    let log = Log::new(index);
    log.add(vec![
        Sample::new(1, 1, 1).record(),
        Sample::new(1, 2, 1).of_class(MR_IMAGE, "MR").record(),
        Sample::new(2, 1, 1).of_class(MR_IMAGE, "MR").record(),
        Sample::new(3, 1, 1).record(),
    ])
    .await;
    let count = async |tag, matching| {
        log.search(&query(Level::Study, [(tag, matching)]))
            .await
            .len()
    };

    assert_eq!(count(tags::MODALITIES_IN_STUDY, single("MR")).await, 2);
    assert_eq!(count(tags::MODALITIES_IN_STUDY, single("CT")).await, 2);
    assert_eq!(count(tags::MODALITIES_IN_STUDY, single("US")).await, 0);
    assert_eq!(count(tags::MODALITIES_IN_STUDY, wildcard("*T")).await, 2);
    assert_eq!(count(tags::SOP_CLASSES_IN_STUDY, single(CT_IMAGE)).await, 2);
    let series = tags::NUMBER_OF_STUDY_RELATED_SERIES;
    assert_eq!(count(series, single("2")).await, 1);

    log.add(vec![hide(Target::Series(series_uid(1, 2)))]).await;
    assert_eq!(count(tags::MODALITIES_IN_STUDY, single("MR")).await, 1);
    assert_eq!(count(series, single("2")).await, 0);

    let both = query(
        Level::Study,
        [
            (tags::STUDY_INSTANCE_UID, single(study_uid(1).as_str())),
            (tags::MODALITIES_IN_STUDY, single("CT")),
        ],
    );
    assert_eq!(log.search(&both).await.len(), 1);
}
