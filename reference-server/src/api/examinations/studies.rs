//! The images of an examination: its studies and their series, and where they can be had.

use super::{Id, Seeing, examination_id};
use crate::api::asked::Asked;
use crate::api::guard::Signed;
use crate::api::images::{Series, dicomweb};
use crate::api::page::{List, Page};
use crate::api::{Api, Problem};
use axum::Json;
use axum::extract::State;
use serde::Serialize;

/// A study.
#[derive(Serialize)]
pub(super) struct Study {
    study: String,
    /// It has the UID that the worklist gave out.
    is_planned: bool,
    instances_count: u64,
    series: Vec<Series>,
    /// Where it can be had.
    dicomweb: String,
}

pub(super) async fn studies(
    State(api): State<Api>,
    signed: Signed,
    id: Id,
    mut asked: Asked,
) -> Result<Json<List<Study>>, Problem> {
    let id = examination_id(&id?.0)?;
    let page = Page::take(&mut asked, (&api, &signed), &format!("studies of {id}"))?;
    asked.done()?;
    let seeing = Seeing::of(&api, &signed).await?;
    let pools = seeing.pools();
    let reader = seeing.reader(&pools);
    let at = api.world.moment();
    let found = api.registry.open_examination(&reader, id, at).await?;
    let found = found.examination;
    let (studies, next) = page.part(found.value.studies.clone())?;
    let mut items = Vec::with_capacity(studies.len());
    for study in studies {
        let series = api.images.series(&study).await?;
        let counts = series.iter().map(|series| series.instances_count);
        items.push(Study {
            is_planned: study == found.value.planned_study,
            instances_count: counts.fold(0, u64::saturating_add),
            dicomweb: dicomweb(&study),
            study: study.as_str().to_owned(),
            series,
        });
    }
    Ok(Json(page.of(items, next.as_deref())))
}
