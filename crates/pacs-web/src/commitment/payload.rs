//! The Storage Commitment Request and Response Modules (PS3.18 J.1, J.2). References stand in a
//! plain sequence, or below their studies and series; the answer to each stands where it did.

use super::Wanted;
use crate::compose::{Attribute, items_of, text_of};
use pacs_core::commitment::{FailureReason, Place, Reference};
use pacs_core::tag::{keyword_of, tags};
use pacs_core::{Attributes, SeriesUid, SopClassUid, SopInstanceUid, StudyUid, Tag, Value, Vr};
use std::collections::BTreeMap;

/// Why a data set is no request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum PayloadError {
    #[error("there is no reference in the request")]
    Empty,
    #[error("a {} is missing or no UID", keyword_of(*tag).unwrap_or("UID"))]
    Uid { tag: Tag },
    #[error("more references than may be in one request")]
    TooMany,
}

/// The references of a request, as often as they stand there.
pub(super) fn read(
    data_set: &[Attribute],
    references_max: usize,
) -> Result<Vec<Wanted>, PayloadError> {
    let mut wanted = Vec::new();
    let mut take = |of: Wanted| {
        wanted.push(of);
        if wanted.len() > references_max {
            return Err(PayloadError::TooMany);
        }
        Ok(())
    };
    for item in items_of(data_set, tags::REFERENCED_SOP_SEQUENCE) {
        let sop_class = class(item)?;
        take(Wanted {
            reference: reference(item, sop_class)?,
            place: None,
        })?;
    }
    for study in items_of(data_set, tags::REFERENCED_STUDY_SEQUENCE) {
        let tag = tags::STUDY_INSTANCE_UID;
        let study_uid = uid(study, tag, StudyUid::parse_legacy)?;
        for series in items_of(study, tags::REFERENCED_SERIES_SEQUENCE) {
            let tag = tags::SERIES_INSTANCE_UID;
            let place = Place {
                study: study_uid.clone(),
                series: uid(series, tag, SeriesUid::parse_legacy)?,
            };
            for of_class in items_of(series, tags::REFERENCED_INSTANCES_BY_SOP_CLASS_SEQUENCE) {
                let sop_class = class(of_class)?;
                for item in items_of(of_class, tags::REFERENCED_INSTANCE_SEQUENCE) {
                    take(Wanted {
                        reference: reference(item, sop_class.clone())?,
                        place: Some(place.clone()),
                    })?;
                }
            }
        }
    }
    if wanted.is_empty() {
        return Err(PayloadError::Empty);
    }
    Ok(wanted)
}

fn class(item: &[Attribute]) -> Result<SopClassUid, PayloadError> {
    let tag = tags::REFERENCED_SOP_CLASS_UID;
    uid(item, tag, SopClassUid::parse_legacy)
}

fn reference(item: &[Attribute], sop_class: SopClassUid) -> Result<Reference, PayloadError> {
    let tag = tags::REFERENCED_SOP_INSTANCE_UID;
    Ok(Reference {
        sop_class,
        sop_instance: uid(item, tag, SopInstanceUid::parse_legacy)?,
    })
}

fn uid<U, E>(
    item: &[Attribute],
    tag: Tag,
    parse: impl FnOnce(&str) -> Result<U, E>,
) -> Result<U, PayloadError> {
    let text = text_of(item, tag).unwrap_or_default();
    parse(text).map_err(|_| PayloadError::Uid { tag })
}

/// An instance and why it failed, if it did.
type Told<'a> = (&'a SopInstanceUid, Option<FailureReason>);

/// Instances below their studies, series and classes.
type Tree<'a> =
    BTreeMap<&'a StudyUid, BTreeMap<&'a SeriesUid, BTreeMap<&'a SopClassUid, Vec<Told<'a>>>>>;

/// The answer.
pub(super) fn write(outcome: &[(Wanted, Option<FailureReason>)]) -> Attributes {
    let (mut committed, mut failed) = (Vec::new(), Vec::new());
    let (mut committed_below, mut failed_below) = (Tree::new(), Tree::new());
    for (Wanted { reference, place }, reason) in outcome {
        let told = (&reference.sop_instance, *reason);
        let Some(place) = place else {
            let mut item = instance_item(told);
            let class = reference.sop_class.as_str();
            item.insert_text(tags::REFERENCED_SOP_CLASS_UID, Vr::UI, class);
            let items = match reason {
                Some(_) => &mut failed,
                None => &mut committed,
            };
            items.push(item);
            continue;
        };
        let tree = match reason {
            Some(_) => &mut failed_below,
            None => &mut committed_below,
        };
        let series = tree.entry(&place.study).or_default();
        let classes = series.entry(&place.series).or_default();
        classes.entry(&reference.sop_class).or_default().push(told);
    }
    let mut data_set = Attributes::new();
    let sequences = [
        (tags::REFERENCED_STUDY_SEQUENCE, studies(committed_below)),
        (tags::FAILED_SOP_SEQUENCE, failed),
        (tags::REFERENCED_SOP_SEQUENCE, committed),
        (tags::FAILED_STUDY_SEQUENCE, studies(failed_below)),
    ];
    for (tag, items) in sequences {
        if !items.is_empty() {
            data_set.insert(tag, Vr::SQ, Value::Items(items));
        }
    }
    data_set
}

fn instance_item((instance, reason): Told<'_>) -> Attributes {
    let mut item = Attributes::new();
    let tag = tags::REFERENCED_SOP_INSTANCE_UID;
    item.insert_text(tag, Vr::UI, instance.as_str());
    if let Some(reason) = reason {
        item.insert_text(tags::FAILURE_REASON, Vr::US, reason.0.to_string());
    }
    item
}

/// An item that is named by a UID, with a sequence in it.
fn item_of(tag: Tag, uid: &str, sequence: Tag, items: Vec<Attributes>) -> Attributes {
    let mut item = Attributes::new();
    item.insert_text(tag, Vr::UI, uid);
    item.insert(sequence, Vr::SQ, Value::Items(items));
    item
}

fn studies(tree: Tree<'_>) -> Vec<Attributes> {
    let of_class = |(class, told): (&SopClassUid, Vec<Told<'_>>)| {
        let (tag, sequence) = (
            tags::REFERENCED_SOP_CLASS_UID,
            tags::REFERENCED_INSTANCE_SEQUENCE,
        );
        let items = told.into_iter().map(instance_item).collect();
        item_of(tag, class.as_str(), sequence, items)
    };
    let of_series = |(series, classes): (&SeriesUid, BTreeMap<_, _>)| {
        let (tag, sequence) = (
            tags::SERIES_INSTANCE_UID,
            tags::REFERENCED_INSTANCES_BY_SOP_CLASS_SEQUENCE,
        );
        let items = classes.into_iter().map(of_class).collect();
        item_of(tag, series.as_str(), sequence, items)
    };
    let of_study = |(study, series): (&StudyUid, BTreeMap<_, _>)| {
        let (tag, sequence) = (tags::STUDY_INSTANCE_UID, tags::REFERENCED_SERIES_SEQUENCE);
        let items = series.into_iter().map(of_series).collect();
        item_of(tag, study.as_str(), sequence, items)
    };
    tree.into_iter().map(of_study).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compose::json;
    use serde_json::json;

    fn request(document: &serde_json::Value) -> Result<Vec<Wanted>, PayloadError> {
        let text = document.to_string();
        read(&json::read(text.as_bytes()).unwrap().attributes, 3)
    }

    fn ui(uid: &str) -> serde_json::Value {
        json!({"vr": "UI", "Value": [uid]})
    }

    fn sq(items: &[serde_json::Value]) -> serde_json::Value {
        json!({"vr": "SQ", "Value": items})
    }

    fn plain(instances: &[&str]) -> serde_json::Value {
        let item = |uid: &&str| json!({"00081150": ui("1.2.5"), "00081155": ui(uid)});
        let items: Vec<_> = instances.iter().map(item).collect();
        json!({"00081199": sq(&items)})
    }

    /// One instance below its study.
    fn below(tag: &str, instance: &serde_json::Value) -> serde_json::Value {
        let instances = sq(std::slice::from_ref(instance));
        let of_class = json!({"00081150": ui("1.2.5"), "0008114A": instances});
        let series = json!({"0020000E": ui("1.2.4"), "00081112": sq(&[of_class])});
        let study = json!({"0020000D": ui("1.2.3"), "00081115": sq(&[series])});
        json!({tag: sq(&[study])})
    }

    fn told(outcome: &[(Wanted, Option<FailureReason>)]) -> serde_json::Value {
        let mut out = Vec::new();
        crate::json::write_attributes(&mut out, &write(outcome));
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn each_reference_is_answered_in_the_form_it_was_asked_in() {
        let asked = request(&plain(&["1.2.6", "1.2.7"])).unwrap();
        let reason = Some(FailureReason::NO_SUCH_OBJECT_INSTANCE);
        let outcome: Vec<_> = asked.into_iter().zip([None, reason]).collect();
        let mut expected = plain(&["1.2.6"]);
        let mut failed = plain(&["1.2.7"])["00081199"].clone();
        failed["Value"][0]["00081197"] = json!({"vr": "US", "Value": [0x0112]});
        expected["00081198"] = failed;
        assert_eq!(told(&outcome), expected);

        let instance = json!({"00081155": ui("1.2.6")});
        let document = below("00081110", &instance);
        let asked = request(&document).unwrap().remove(0);
        assert_eq!(asked.place.as_ref().unwrap().series.as_str(), "1.2.4");
        assert_eq!(told(&[(asked.clone(), None)]), document);
        let instance = json!({
            "00081155": ui("1.2.6"),
            "00081197": {"vr": "US", "Value": [0x0112]},
        });
        assert_eq!(told(&[(asked, reason)]), below("0008119B", &instance));
    }

    #[test]
    fn what_is_no_request_is_refused() {
        assert_eq!(request(&json!({})), Err(PayloadError::Empty));
        assert_eq!(request(&plain(&[])), Err(PayloadError::Empty));
        let many = plain(&["1.2.6", "1.2.7", "1.2.8", "1.2.9"]);
        assert_eq!(request(&many), Err(PayloadError::TooMany));
        let tag = tags::REFERENCED_SOP_INSTANCE_UID;
        assert_eq!(request(&plain(&["../6"])), Err(PayloadError::Uid { tag }));
        let below = below("00081110", &json!({}));
        assert_eq!(request(&below), Err(PayloadError::Uid { tag }));
    }
}
