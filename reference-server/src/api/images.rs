//! What the archive has of the studies of examinations.

use super::Problem;
use super::problem::codes;
use crate::access::SystemMay;
use pacs_core::access::{Find, Get, Maintain, Policy, permit};
use pacs_core::role::sight::Sight;
use pacs_core::tag::{Tag, tags};
use pacs_core::{Action, Attributes, Caller, Key, Level, Matching, Permit, Query, StudyUid, Vr};
use pacs_store::Archive;
use pacs_store::index::{Change, ChangeNumber, IndexError, Match, Page, PageOfMatches, Results};
use serde::Serialize;

/// The archive, asked for whoever was found to see what is asked for.
#[derive(Debug, Clone)]
pub(super) struct Images {
    archive: Archive,
    find: Option<Permit<Find>>,
    get: Option<Permit<Get>>,
    maintain: Option<Permit<Maintain>>,
}

/// Lets be searched what somebody sees.
#[derive(Debug)]
struct Narrowed(Sight);

impl Policy for Narrowed {
    fn permits(&self, _: &Caller, action: Action) -> bool {
        action == Action::Find
    }

    fn sight(&self, _: &Caller, _: Action) -> Sight {
        self.0.clone()
    }
}

/// A series that is in sight.
#[derive(Debug, Serialize)]
pub(super) struct Series {
    pub(super) series: String,
    modality: Option<String>,
    number: Option<String>,
    description: Option<String>,
    pub(super) instances_count: u64,
    /// Where it can be had.
    dicomweb: String,
}

impl From<IndexError> for Problem {
    fn from(error: IndexError) -> Self {
        if matches!(error, IndexError::NoMemory) {
            return (&codes::BUSY).into();
        }
        let error = crate::tool::failure::chain(&error);
        tracing::error!(error, "the archive could not be asked");
        (&codes::INTERNAL).into()
    }
}

impl Images {
    pub(super) fn of(archive: &Archive) -> Self {
        let policy = SystemMay(&[Action::Find, Action::Get, Action::Maintain]);
        let caller = Caller::System { task: "api" };
        Self {
            archive: archive.clone(),
            find: permit(&policy, caller.clone()).ok(),
            get: permit(&policy, caller.clone()).ok(),
            maintain: permit(&policy, caller).ok(),
        }
    }

    fn find(&self) -> Result<&Permit<Find>, Problem> {
        self.find.as_ref().ok_or_else(|| (&codes::INTERNAL).into())
    }

    /// To read what somebody was found to see.
    pub(super) fn get(&self) -> Result<&Permit<Get>, Problem> {
        self.get.as_ref().ok_or_else(|| (&codes::INTERNAL).into())
    }

    fn maintain(&self) -> Result<&Permit<Maintain>, Problem> {
        let permit = self.maintain.as_ref();
        permit.ok_or_else(|| (&codes::INTERNAL).into())
    }

    /// What a query finds, for whoever may see it.
    pub(super) async fn search(&self, query: &Query) -> Result<Results<Match>, Problem> {
        Ok(self.archive.search(self.find()?, query).await?)
    }

    /// A part of what a query finds within `sight`; `None` where what the part begins behind is
    /// not there any more.
    pub(super) async fn search_page(
        &self,
        sight: &Sight,
        query: &Query,
        page: &Page,
    ) -> Result<Option<PageOfMatches>, Problem> {
        let policy = Narrowed(sight.clone());
        let find = permit::<Find>(&policy, Caller::System { task: "api" });
        let find = find.map_err(|_denied| &codes::INTERNAL)?;
        Ok(self.archive.search_page(&find, query, page).await?)
    }

    /// How many instances of a study are in sight.
    pub(super) async fn count(&self, study: &StudyUid) -> Result<u64, Problem> {
        let counted = tags::NUMBER_OF_STUDY_RELATED_INSTANCES;
        let query = query(Level::Study, study, &[(counted, Vr::IS)]);
        let found = self.archive.search(self.find()?, &query).await?;
        let first = found.into_iter().next();
        Ok(first.map_or(0, |found| number(&found.attributes, counted)))
    }

    /// The series of a study that are in sight.
    pub(super) async fn series(&self, study: &StudyUid) -> Result<Vec<Series>, Problem> {
        let counted = tags::NUMBER_OF_SERIES_RELATED_INSTANCES;
        let wanted = [
            (tags::MODALITY, Vr::CS),
            (tags::SERIES_NUMBER, Vr::IS),
            (tags::SERIES_DESCRIPTION, Vr::LO),
            (counted, Vr::IS),
        ];
        let query = query(Level::Series, study, &wanted);
        let found = self.archive.search(self.find()?, &query).await?;
        let base = dicomweb(study);
        let series = found.into_iter().map(|found| {
            let of = &found.attributes;
            let text = |tag| {
                let text = of.text(tag).map(str::trim).filter(|text| !text.is_empty());
                text.map(str::to_owned)
            };
            let series = text(tags::SERIES_INSTANCE_UID).unwrap_or_default();
            Series {
                modality: text(tags::MODALITY),
                number: text(tags::SERIES_NUMBER),
                description: text(tags::SERIES_DESCRIPTION),
                instances_count: number(of, counted),
                dicomweb: format!("{base}/series/{series}"),
                series,
            }
        });
        Ok(series.collect())
    }

    /// Changes after `after`, at most `count_max`.
    pub(super) async fn changes(
        &self,
        after: ChangeNumber,
        count_max: usize,
    ) -> Result<Vec<Change>, Problem> {
        Ok(self
            .archive
            .changes(self.maintain()?, after, count_max)
            .await?)
    }

    /// The last change.
    pub(super) async fn last_change(&self) -> Result<ChangeNumber, Problem> {
        Ok(self.archive.last_change(self.maintain()?).await?)
    }

    /// Returns when there is a change after `after`, or the archive is closed.
    pub(super) async fn wait(&self, after: ChangeNumber) -> Result<(), Problem> {
        Ok(self
            .archive
            .wait_for_change(self.maintain()?, after)
            .await?)
    }
}

/// Where a study can be had.
pub(super) fn dicomweb(study: &StudyUid) -> String {
    format!("{}/studies/{}", crate::web::PREFIX, study.as_str())
}

fn query(level: Level, study: &StudyUid, wanted: &[(Tag, Vr)]) -> Query {
    let key = |tag, vr, matching| Key { tag, vr, matching };
    let of_study = Matching::SingleValue(study.as_str().to_owned());
    let mut query = Query::new(level).with(key(tags::STUDY_INSTANCE_UID, Vr::UI, of_study));
    for (tag, vr) in wanted {
        query = query.with(key(*tag, *vr, Matching::Universal));
    }
    query
}

fn number(attributes: &Attributes, tag: Tag) -> u64 {
    let text = attributes.text(tag).unwrap_or_default();
    text.trim().parse().unwrap_or(0)
}
