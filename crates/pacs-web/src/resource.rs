//! What a path names: a study, a series of it, an instance of that (PS3.18 10.1.1).

use crate::error::Failure;
use crate::service::Web;
use pacs_core::access::Get;
use pacs_core::tag::tags;
use pacs_core::{Key, Level, Matching, Permit, Query, Tag, Uid, Vr};
pub(crate) use pacs_store::index::Target;
use pacs_store::index::{Results, StoredInstance};

/// A study, series or instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Resource {
    level: Level,
    uids: Vec<(Tag, Uid)>,
}

/// A UID of a path. What is none names nothing that could be here.
pub(crate) fn uid(text: &str) -> Result<Uid, Failure> {
    Uid::parse_legacy(text).map_err(|_| Failure::NotFound { what: "resource" })
}

impl Resource {
    /// The study of these UIDs, or what they name within it.
    pub(crate) fn new(
        study: &str,
        series: Option<&str>,
        instance: Option<&str>,
    ) -> Result<Self, Failure> {
        let mut resource = Self {
            level: Level::Study,
            uids: vec![(tags::STUDY_INSTANCE_UID, uid(study)?)],
        };
        if let Some(series) = series {
            resource.level = Level::Series;
            resource
                .uids
                .push((tags::SERIES_INSTANCE_UID, uid(series)?));
        }
        if let Some(instance) = instance {
            resource.level = Level::Instance;
            resource.uids.push((tags::SOP_INSTANCE_UID, uid(instance)?));
        }
        Ok(resource)
    }

    /// What it is.
    pub(crate) const fn level(&self) -> Level {
        self.level
    }

    /// What it is, in a word.
    pub(crate) const fn what(&self) -> &'static str {
        match self.level {
            Level::Patient | Level::Study => "study",
            Level::Series => "series",
            Level::Instance => "instance",
        }
    }

    /// Its own UID.
    pub(crate) fn last_uid(&self) -> Option<&Uid> {
        self.uids.last().map(|(_, uid)| uid)
    }

    /// Itself, as what is hidden.
    pub(crate) fn target(&self) -> Result<Target, Failure> {
        let uid = self.last_uid().cloned().ok_or(Failure::Internal)?;
        Ok(match self.level {
            Level::Patient | Level::Study => Target::Study(uid.into()),
            Level::Series => Target::Series(uid.into()),
            Level::Instance => Target::Instance(uid.into()),
        })
    }

    fn query(&self) -> Query {
        self.query_by(&self.uids)
    }

    fn query_by(&self, uids: &[(Tag, Uid)]) -> Query {
        let mut query = Query::new(self.level);
        for (tag, uid) in uids {
            query = query.with(Key {
                tag: *tag,
                vr: Vr::UI,
                matching: Matching::SingleValue(uid.as_str().to_owned()),
            });
        }
        query
    }

    /// Its instances.
    ///
    /// # Errors
    /// [`Failure::NotFound`] where there is none.
    pub(crate) async fn instances(
        &self,
        web: &Web,
        permit: &Permit<Get>,
    ) -> Result<Results<StoredInstance>, Failure> {
        let found = web.archive().select(permit, &self.query()).await?;
        if found.is_empty() {
            return Err(Failure::NotFound { what: self.what() });
        }
        Ok(found)
    }

    /// Whether its own UID also stands below other parents than the path names.
    pub(crate) async fn stands_elsewhere(
        &self,
        web: &Web,
        permit: &Permit<Get>,
    ) -> Result<bool, Failure> {
        if matches!(self.level, Level::Patient | Level::Study) {
            return Ok(false);
        }
        let own = self.uids.last().map(std::slice::from_ref);
        let own = self.query_by(own.ok_or(Failure::Internal)?);
        let found = web.archive().select(permit, &own).await?;
        let is_here = |stored: &StoredInstance| {
            let head = &stored.instance;
            let theirs = [head.study.as_str(), head.series.as_str()];
            let parents = self.uids.len().saturating_sub(1);
            let named = self.uids.iter().take(parents).map(|(_, uid)| uid.as_str());
            named.zip(theirs).all(|(ours, theirs)| ours == theirs)
        };
        Ok(!found.iter().all(is_here))
    }
}

/// The path of an instance below the root of the service.
pub(crate) fn path_of(stored: &StoredInstance) -> String {
    let head = &stored.instance;
    format!(
        "/studies/{}/series/{}/instances/{}",
        head.study.as_str(),
        head.series.as_str(),
        head.instance.as_str()
    )
}
