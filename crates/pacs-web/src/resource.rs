//! What a path names: a study, a series of it, an instance of that (PS3.18 10.1.1).

use crate::error::Failure;
use crate::record::{self, Use};
use crate::service::Web;
use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
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

/// The study, and perhaps the series of it, below which a path leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Parents(Vec<(Tag, Uid)>);

impl Parents {
    /// From the study down.
    pub(crate) fn uids(&self) -> &[(Tag, Uid)] {
        &self.0
    }

    /// As a path leads to them; nothing where there are none.
    pub(crate) fn path(&self) -> String {
        let mut path = String::new();
        for (tag, uid) in &self.0 {
            path.push_str(if *tag == tags::STUDY_INSTANCE_UID {
                "/studies/"
            } else {
                "/series/"
            });
            path.push_str(uid.as_str());
        }
        path
    }
}

impl FromRequestParts<Web> for Parents {
    type Rejection = Failure;

    async fn from_request_parts(head: &mut Parts, web: &Web) -> Result<Self, Failure> {
        uids_of_path(head, web).await.map(Self)
    }
}

/// What a route names by `{study}`, `{series}` and `{instance}`.
impl FromRequestParts<Web> for Resource {
    type Rejection = Failure;

    async fn from_request_parts(head: &mut Parts, web: &Web) -> Result<Self, Failure> {
        let uids = uids_of_path(head, web).await?;
        let level = match uids.len() {
            0 | 1 => Level::Study,
            2 => Level::Series,
            _ => Level::Instance,
        };
        if uids.is_empty() {
            return Err(Failure::Internal);
        }
        Ok(Self { level, uids })
    }
}

/// What stands behind the resource in a path: the parameter of a route that is no UID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tail(pub(crate) String);

impl FromRequestParts<Web> for Tail {
    type Rejection = Failure;

    async fn from_request_parts(head: &mut Parts, web: &Web) -> Result<Self, Failure> {
        let parameters = parameters_of_path(head, web).await?;
        let tail = parameters.iter().find(|(name, _)| tag_of(name).is_none());
        tail.map(|(_, text)| Self(text.to_owned()))
            .ok_or(Failure::Internal)
    }
}

async fn parameters_of_path(head: &mut Parts, web: &Web) -> Result<RawPathParams, Failure> {
    // A path that is no text names nothing that could be here.
    let parameters = RawPathParams::from_request_parts(head, web).await;
    parameters.map_err(|_rejected| Failure::NotFound { what: "resource" })
}

async fn uids_of_path(head: &mut Parts, web: &Web) -> Result<Vec<(Tag, Uid)>, Failure> {
    let parameters = parameters_of_path(head, web).await?;
    let named = parameters.iter();
    let named = named.filter_map(|(name, text)| Some((tag_of(name)?, text)));
    named.map(|(tag, text)| Ok((tag, uid(text)?))).collect()
}

fn tag_of(parameter: &str) -> Option<Tag> {
    match parameter {
        "study" => Some(tags::STUDY_INSTANCE_UID),
        "series" => Some(tags::SERIES_INSTANCE_UID),
        "instance" => Some(tags::SOP_INSTANCE_UID),
        _ => None,
    }
}

/// A UID of a path. What is none names nothing that could be here.
fn uid(text: &str) -> Result<Uid, Failure> {
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

    /// Itself, as what is hidden: nothing that has the same UID below other parents.
    pub(crate) fn target(&self) -> Result<Target, Failure> {
        let mut uids = self.uids.iter().map(|(_, uid)| uid.clone());
        let study = uids.next().ok_or(Failure::Internal)?.into();
        Ok(match (uids.next(), uids.next()) {
            (None, _) => Target::Study(study),
            (Some(series), None) => Target::SeriesIn {
                study,
                series: series.into(),
            },
            (Some(series), Some(instance)) => Target::InstanceIn {
                study,
                series: series.into(),
                instance: instance.into(),
            },
        })
    }

    fn query(&self) -> Query {
        let mut query = Query::new(self.level);
        for (tag, uid) in &self.uids {
            query = query.with(Key {
                tag: *tag,
                vr: Vr::UI,
                matching: Matching::SingleValue(uid.as_str().to_owned()),
            });
        }
        query
    }

    /// Its instances, to be looked at, and the service that knows what they are to say on their way
    /// out.
    ///
    /// # Errors
    /// As [`Self::instances_for`].
    pub(crate) async fn instances(
        &self,
        web: &Web,
        permit: &Permit<Get>,
    ) -> Result<(Web, Results<StoredInstance>), Failure> {
        self.instances_for(web, permit, Use::Look).await
    }

    /// Its instances, for whoever does not give anything of them and records what is done.
    ///
    /// # Errors
    /// [`Failure::NotFound`] where there is none.
    pub(crate) async fn select(
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

    /// The same, for `what` they are wanted, which is recorded first.
    ///
    /// # Errors
    /// [`Failure::NotFound`] where there is none; [`Failure::Unavailable`] where it is not known
    /// what they are to say, or it cannot be recorded.
    pub(crate) async fn instances_for(
        &self,
        web: &Web,
        permit: &Permit<Get>,
        what: Use,
    ) -> Result<(Web, Results<StoredInstance>), Failure> {
        let found = self.select(web, permit).await?;
        let first = found.first().ok_or(Failure::Internal)?;
        // Of one study, whatever the resource is.
        let saying = web.saying(&first.instance.study).await?;
        record::used(web, permit, what, (&*found, self.level > Level::Study)).await?;
        Ok((saying, found))
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
