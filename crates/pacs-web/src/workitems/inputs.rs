//! Input Information Sequence: the instances that are to be read, and where they can be had (PS3.3
//! Table 10-3b, Referenced Instances and Access Macro).

use crate::error::Failure;
use crate::service::Web;
use pacs_core::access::Find;
use pacs_core::tag::{tags, vr_of};
use pacs_core::uid::{SeriesUid, StudyUid};
use pacs_core::workitem::{Input, InputSeries, Workitem};
use pacs_core::{AeTitle, Attributes, Key, Level, Matching, Permit, Query, Tag, Value, Vr};
use pacs_store::index::Page;
use std::collections::{BTreeMap, BTreeSet};

/// What is to be read.
pub(super) struct Named {
    /// An item for each series.
    pub(super) items: Vec<Attributes>,
    /// There is more.
    pub(super) is_cut: bool,
}

/// References of instances, by their series.
type BySeries = BTreeMap<SeriesUid, Vec<Attributes>>;

/// What `permit` sees of what is to be read for `workitem`. `base` is what URLs begin with, and
/// peers of DICOM retrieve from `title`.
pub(super) async fn of(
    web: &Web,
    permit: &Permit<Find>,
    workitem: &Workitem,
    (base, title): (&str, &AeTitle),
) -> Result<Named, Failure> {
    let mut named = Named {
        items: Vec::new(),
        is_cut: false,
    };
    let mut left = web.limits().workitem_instances_max;
    for input in &workitem.inputs {
        let (series, is_cut) = instances(web, permit, input, left).await?;
        named.is_cut |= is_cut;
        left = left.saturating_sub(series.values().map(Vec::len).sum());
        for (uid, references) in series {
            let item = item((&input.study, &uid), references, (base, title));
            named.items.push(item);
        }
    }
    Ok(named)
}

/// Puts it where it stands.
pub(super) fn put(into: &mut Attributes, items: Vec<Attributes>) {
    into.insert(
        tags::INPUT_INFORMATION_SEQUENCE,
        Vr::SQ,
        Value::Items(items),
    );
}

/// Up to `count_max` instances of what is to be read of a study, and whether there are more. Where
/// that is a part of the study, each series of it is asked for by itself: what others have of the
/// study does not count.
async fn instances(
    web: &Web,
    permit: &Permit<Find>,
    input: &Input,
    count_max: usize,
) -> Result<(BySeries, bool), Failure> {
    let study = key(tags::STUDY_INSTANCE_UID, input.study.as_str());
    let (own, mut is_cut) = match &input.series {
        InputSeries::AllBut(others) if others.is_empty() => {
            return references(web, permit, vec![study], count_max).await;
        }
        InputSeries::AllBut(others) => {
            let (mut all, is_cut) = series_of(web, permit, study.clone(), others.len()).await?;
            all.retain(|series| !others.contains(series));
            (all, is_cut)
        }
        InputSeries::Only(these) => (these.clone(), false),
    };
    let mut found = BySeries::new();
    let mut left = count_max;
    for series in own {
        let keys = vec![
            study.clone(),
            key(tags::SERIES_INSTANCE_UID, series.as_str()),
        ];
        let (of_series, has_more) = references(web, permit, keys, left).await?;
        is_cut |= has_more;
        left = left.saturating_sub(of_series.values().map(Vec::len).sum());
        found.extend(of_series);
    }
    Ok((found, is_cut))
}

fn key(tag: Tag, uid: &str) -> Key {
    Key {
        tag,
        vr: Vr::UI,
        matching: Matching::SingleValue(uid.to_owned()),
    }
}

/// The series of a study: as many as there can be instances to be named, besides `others_count`
/// that are not. Whether there are more.
async fn series_of(
    web: &Web,
    permit: &Permit<Find>,
    study: Key,
    others_count: usize,
) -> Result<(BTreeSet<SeriesUid>, bool), Failure> {
    let query = Query::new(Level::Series)
        .with(study)
        .returning(tags::SERIES_INSTANCE_UID);
    let page = Page {
        after: None,
        offset: 0,
        count_max: web
            .limits()
            .workitem_instances_max
            .saturating_add(others_count),
    };
    let found = web.archive().search_page(permit, &query, &page).await?;
    let Some(found) = found else {
        return Ok((BTreeSet::new(), false));
    };
    let uids = found.matches.iter().filter_map(|result| {
        let uid = result.attributes.text(tags::SERIES_INSTANCE_UID);
        SeriesUid::parse_legacy(uid.unwrap_or_default()).ok()
    });
    Ok((uids.collect(), found.has_more))
}

/// References of up to `count_max` instances with these keys, and whether there are more.
async fn references(
    web: &Web,
    permit: &Permit<Find>,
    keys: Vec<Key>,
    count_max: usize,
) -> Result<(BySeries, bool), Failure> {
    let query = keys
        .into_iter()
        .fold(Query::new(Level::Instance), Query::with);
    let query = query
        .returning(tags::SOP_CLASS_UID)
        .returning(tags::SOP_INSTANCE_UID)
        .returning(tags::SERIES_INSTANCE_UID);
    let page = Page {
        after: None,
        offset: 0,
        count_max,
    };
    let found = web.archive().search_page(permit, &query, &page).await?;
    let Some(found) = found else {
        return Ok((BySeries::new(), false));
    };
    let mut series = BySeries::new();
    for result in found.matches {
        let said = result.attributes;
        let uid = |tag| said.text(tag).unwrap_or_default();
        let Ok(of) = SeriesUid::parse_legacy(uid(tags::SERIES_INSTANCE_UID)) else {
            continue;
        };
        let mut reference = Attributes::new();
        let class = uid(tags::SOP_CLASS_UID);
        reference.insert_text(tags::REFERENCED_SOP_CLASS_UID, Vr::UI, class);
        let instance = uid(tags::SOP_INSTANCE_UID);
        reference.insert_text(tags::REFERENCED_SOP_INSTANCE_UID, Vr::UI, instance);
        series.entry(of).or_default().push(reference);
    }
    Ok((series, found.has_more))
}

fn item(
    (study, series): (&StudyUid, &SeriesUid),
    references: Vec<Attributes>,
    (base, title): (&str, &AeTitle),
) -> Attributes {
    let mut item = Attributes::new();
    item.insert_text(tags::TYPE_OF_INSTANCES, Vr::CS, "DICOM");
    item.insert_text(tags::STUDY_INSTANCE_UID, Vr::UI, study.as_str());
    item.insert_text(tags::SERIES_INSTANCE_UID, Vr::UI, series.as_str());
    let references = Value::Items(references);
    item.insert(tags::REFERENCED_SOP_SEQUENCE, Vr::SQ, references);
    let url = format!("{base}/studies/{study}/series/{series}");
    for (sequence, tag, value) in [
        (
            tags::DICOM_RETRIEVAL_SEQUENCE,
            tags::RETRIEVE_AE_TITLE,
            title.as_str(),
        ),
        (tags::WADORS_RETRIEVAL_SEQUENCE, tags::RETRIEVE_URL, &url),
    ] {
        item.insert(sequence, Vr::SQ, Value::Items(vec![way(tag, value)]));
    }
    item
}

fn way(tag: Tag, value: &str) -> Attributes {
    let mut way = Attributes::new();
    way.insert_text(tag, vr_of(tag), value);
    way
}
