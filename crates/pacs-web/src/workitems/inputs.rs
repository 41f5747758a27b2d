//! Input Information Sequence: the instances that are to be read, and where they can be had (PS3.3
//! Table 10-3b, Referenced Instances and Access Macro).

use crate::error::Failure;
use crate::service::Web;
use pacs_core::access::Find;
use pacs_core::tag::{tags, vr_of};
use pacs_core::uid::{SeriesUid, StudyUid};
use pacs_core::workitem::{Input, Workitem};
use pacs_core::{AeTitle, Attributes, Key, Level, Matching, Permit, Query, Tag, Value, Vr};
use pacs_store::index::Page;
use std::collections::BTreeMap;

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

/// Up to `count_max` instances of a study, and whether there are more.
async fn instances(
    web: &Web,
    permit: &Permit<Find>,
    input: &Input,
    count_max: usize,
) -> Result<(BySeries, bool), Failure> {
    let study = Key {
        tag: tags::STUDY_INSTANCE_UID,
        vr: Vr::UI,
        matching: Matching::SingleValue(input.study.as_str().to_owned()),
    };
    let query = Query::new(Level::Instance)
        .with(study)
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
        if !input.series.has(&of) {
            continue;
        }
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
