//! Presentation states, and the images they are for.

use super::frames::Kind;
use super::picture::head_of;
use crate::error::Failure;
use crate::resource::Resource;
use crate::service::Web;
use pacs_core::Permit;
use pacs_core::access::Get;
use pacs_core::tag::tags;
use pacs_store::index::StoredInstance;

impl Failure {
    /// The same; where there is no such thing, it is said of `what`.
    fn of(self, what: &'static str) -> Self {
        if matches!(self, Self::NotFound { .. }) {
            return Self::NotFound { what };
        }
        self
    }
}

/// The state that a client names by SOP Instance UID and Series Instance UID: of the study of
/// `shown`.
pub(super) async fn named(
    web: &Web,
    permit: &Permit<Get>,
    shown: &StoredInstance,
    named: Option<&(String, String)>,
) -> Result<Option<StoredInstance>, Failure> {
    let Some((instance, series)) = named else {
        return Ok(None);
    };
    let study = shown.instance.study.as_str();
    let resource = Resource::new(study, Some(series), Some(instance))?;
    let what = "presentation state";
    let found = resource.instances(web, permit).await;
    let (_, mut found) = found.map_err(|error| error.of(what))?;
    let state = found.pop().ok_or(Failure::NotFound { what })?;
    if Kind::of(&state) == Kind::Presentation {
        return Ok(Some(state));
    }
    let class = state.instance.sop_class.as_str();
    if class.starts_with(STATES) {
        let detail = format!(
            "a presentation state of SOP class {class} cannot be applied: those of {STATES}1 \
             (grayscale), {STATES}2 (color) and {STATES}3 (pseudo-color) can"
        );
        return Err(Failure::Conflict { detail });
    }
    Err(Failure::NotFound { what })
}

/// How the SOP classes of presentation states begin (PS3.4 B.5).
const STATES: &str = "1.2.840.10008.5.1.4.1.1.11.";

/// The first image that `state` refers to, and the frame of it.
pub(super) async fn image(
    web: &Web,
    permit: &Permit<Get>,
    state: &StoredInstance,
) -> Result<(StoredInstance, u32), Failure> {
    let turn = web.rendering().turn().await?;
    let (web_too, permit_too, stored) = (web.clone(), permit.clone(), state.clone());
    let read = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        let head = head_of(&web_too, &permit_too, &stored)?;
        let series = head.root().items(tags::REFERENCED_SERIES_SEQUENCE);
        let reference = series.filter_map(|series| {
            let image = series.first(tags::REFERENCED_IMAGE_SEQUENCE)?;
            let frame = image.text(tags::REFERENCED_FRAME_NUMBER);
            let frame = frame.and_then(|frame| frame.split('\\').next()?.trim().parse().ok());
            Some((
                series.text(tags::SERIES_INSTANCE_UID)?,
                image.text(tags::REFERENCED_SOP_INSTANCE_UID)?,
                frame.unwrap_or(1),
            ))
        });
        Ok::<_, Failure>(reference.take(1).last())
    });
    const WHAT: &str = "image that the presentation state is for";
    const GONE: Failure = Failure::NotFound { what: WHAT };
    let reference = read.await.map_err(|_| Failure::Internal)??;
    let (series, instance, frame) = reference.ok_or(GONE)?;
    let study = state.instance.study.as_str();
    let resource = Resource::new(study, Some(&series), Some(&instance))?;
    let found = resource.instances(web, permit).await;
    let (_, mut found) = found.map_err(|error| error.of(WHAT))?;
    let image = found.pop().filter(|image| Kind::of(image) == Kind::Image);
    Ok((image.ok_or(GONE)?, frame))
}
