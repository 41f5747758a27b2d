//! What a hide or restore is about.

use pacs_core::tag::tags;
use pacs_core::{Key, Level, Matching, Query, SeriesUid, SopInstanceUid, StudyUid, Tag, Uid, Vr};

/// What a hide or restore is about.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Target {
    /// One instance.
    Instance(SopInstanceUid),
    /// Every instance of a series that is known at that moment.
    Series(SeriesUid),
    /// Every instance of a study that is known at that moment.
    Study(StudyUid),
    /// One instance, if its served version is in this series of this study.
    InstanceIn {
        /// Of which study.
        study: StudyUid,
        /// Of which series.
        series: SeriesUid,
        /// Which.
        instance: SopInstanceUid,
    },
    /// Those of these instances that are known at that moment in this study.
    InstancesIn {
        /// Of which study.
        study: StudyUid,
        /// Which.
        instances: Vec<SopInstanceUid>,
    },
    /// Every instance of a series that is known at that moment in this study, and none that the
    /// same Series UID has in another.
    SeriesIn {
        /// Of which study.
        study: StudyUid,
        /// Which.
        series: SeriesUid,
    },
}

impl Target {
    /// What finds its instances that are in sight.
    pub(crate) fn query(&self) -> Query {
        if let Self::InstancesIn { study, instances } = self {
            let named = instances.iter().map(|instance| instance.uid().clone());
            let key = |tag, matching| Key {
                tag,
                vr: Vr::UI,
                matching,
            };
            let of_study = Matching::SingleValue(study.as_str().to_owned());
            return Query::new(Level::Instance)
                .with(key(tags::STUDY_INSTANCE_UID, of_study))
                .with(key(
                    tags::SOP_INSTANCE_UID,
                    Matching::UidList(named.collect()),
                ));
        }
        let (level, uids): (Level, Vec<(Tag, &Uid)>) = match self {
            Self::Instance(instance) => (
                Level::Instance,
                vec![(tags::SOP_INSTANCE_UID, instance.uid())],
            ),
            Self::Series(series) => (
                Level::Series,
                vec![(tags::SERIES_INSTANCE_UID, series.uid())],
            ),
            Self::InstancesIn { study, .. } | Self::Study(study) => {
                (Level::Study, vec![(tags::STUDY_INSTANCE_UID, study.uid())])
            }
            Self::InstanceIn {
                study,
                series,
                instance,
            } => (
                Level::Instance,
                vec![
                    (tags::STUDY_INSTANCE_UID, study.uid()),
                    (tags::SERIES_INSTANCE_UID, series.uid()),
                    (tags::SOP_INSTANCE_UID, instance.uid()),
                ],
            ),
            Self::SeriesIn { study, series } => (
                Level::Series,
                vec![
                    (tags::STUDY_INSTANCE_UID, study.uid()),
                    (tags::SERIES_INSTANCE_UID, series.uid()),
                ],
            ),
        };
        uids.into_iter()
            .fold(Query::new(level), |query, (tag, uid)| {
                query.with(Key {
                    tag,
                    vr: Vr::UI,
                    matching: Matching::SingleValue(uid.as_str().to_owned()),
                })
            })
    }
}
