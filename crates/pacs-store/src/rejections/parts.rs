//! Queries and targets of rejections, and what their failures are.

use super::{Facts, Meant, RejectError};
use crate::error::{EraseError, HideError};
use crate::index::{IndexError, StoredInstance, Target};
use crate::limits::TURNED_AT_ONCE_MAX;
use crate::registry::rejections::Part;
use chrono::NaiveDate;
use pacs_core::query::Matching;
use pacs_core::tag::{tags, vr_of};
use pacs_core::uid::{SeriesUid, StudyUid};
use pacs_core::{Attributes, Key, Query, SopInstanceUid, Tag};
use std::collections::BTreeSet;

pub(super) fn key(tag: Tag, matching: Matching) -> Key {
    Key {
        tag,
        vr: vr_of(tag),
        matching,
    }
}

pub(super) fn of_study(study: &StudyUid) -> Key {
    let uid = Matching::SingleValue(study.as_str().to_owned());
    key(tags::STUDY_INSTANCE_UID, uid)
}

/// What of the instances in sight is meant, each with its series.
pub(super) fn meant(
    meant: &Meant,
    visible: &[StoredInstance],
) -> Result<(Part, Vec<(SopInstanceUid, SeriesUid)>), RejectError> {
    let all = visible.iter().map(|stored| &stored.instance);
    let named: BTreeSet<&SopInstanceUid> = match meant {
        Meant::Instances(named) | Meant::InstancesInSight(named) => named.iter().collect(),
        Meant::Series(_) | Meant::Study => BTreeSet::new(),
    };
    let instances = all.filter(|instance| match meant {
        Meant::Instances(_) | Meant::InstancesInSight(_) => named.contains(&instance.instance),
        Meant::Series(series) => instance.series == *series,
        Meant::Study => true,
    });
    let mut instances: Vec<_> = instances
        .map(|instance| (instance.instance.clone(), instance.series.clone()))
        .collect();
    let part = match meant {
        Meant::Instances(_) if instances.len() != named.len() => return Err(RejectError::NotFound),
        Meant::Instances(_) => {
            instances.sort();
            Part::Instances
        }
        Meant::InstancesInSight(_) => Part::Instances,
        Meant::Series(series) => Part::Series(series.clone()),
        Meant::Study => Part::Study,
    };
    if instances.is_empty() {
        return Err(RejectError::NotFound);
    }
    Ok((part, instances))
}

pub(super) fn targets<'a>(
    study: &'a StudyUid,
    instances: &'a [SopInstanceUid],
) -> impl Iterator<Item = Target> + 'a {
    let chunks = instances.chunks(TURNED_AT_ONCE_MAX);
    chunks.map(|instances| Target::InstancesIn {
        study: study.clone(),
        instances: instances.to_vec(),
    })
}

/// The archive did not do what was written down; it will be asked again.
pub(super) fn failed(error: HideError) -> RejectError {
    RejectError::Index(IndexError::Backend {
        operation: "turn instances",
        source: Box::new(error),
    })
}

pub(super) fn not_erased(error: EraseError) -> RejectError {
    if matches!(error, EraseError::InSight) {
        return RejectError::InSight;
    }
    RejectError::Index(IndexError::Backend {
        operation: "erase a study",
        source: Box::new(error),
    })
}

/// `query`, asking for what the policy asks of a study.
pub(super) fn asking_facts(query: Query) -> Query {
    [
        tags::MODALITIES_IN_STUDY,
        tags::STUDY_DATE,
        tags::PATIENT_BIRTH_DATE,
    ]
    .into_iter()
    .filter(|tag| query.keys.iter().all(|key| key.tag != *tag))
    .collect::<Vec<_>>()
    .into_iter()
    .fold(query, |query, tag| {
        query.with(key(tag, Matching::Universal))
    })
}

/// What the policy asks of a study.
pub(super) fn facts_of(attributes: &Attributes) -> Facts {
    let text = |tag| attributes.text(tag).unwrap_or_default().trim();
    let date = |tag| NaiveDate::parse_from_str(text(tag), "%Y%m%d").ok();
    let modalities = text(tags::MODALITIES_IN_STUDY).split('\\');
    Facts {
        modalities: modalities.map(|one| one.trim().to_owned()).collect(),
        study_date: date(tags::STUDY_DATE),
        born: date(tags::PATIENT_BIRTH_DATE),
    }
}
