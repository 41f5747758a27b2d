//! One attempt to tell an AE all that it is owed.

use super::Shared;
use super::counters::Ended;
use crate::config::RemoteAe;
use crate::limits::ANNOUNCED_PAGE_COUNT;
use crate::notes::facts_of;
use crate::tool::failure::chain;
use pacs_core::availability::{Availability, AvailabilityNotice};
use pacs_core::commitment::Reference;
use pacs_core::role::sight::Studied;
use pacs_core::uid::{SeriesUid, StudyUid, text_of_random};
use pacs_core::{AeTitle, SopClassUid, SopInstanceUid};
use pacs_net::sop_class::{
    EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN, INSTANCE_AVAILABILITY_NOTIFICATION,
    MODALITY_PERFORMED_PROCEDURE_STEP,
};
use pacs_net::{Requestor, RequestorError};
use pacs_store::registry::announcements::OwedAnnouncement;
use pacs_store::registry::{RegistryError, Stored};
use pacs_store::rejections::InstanceAvailability;
use std::collections::BTreeSet;
use std::error::Error;
use std::sync::Arc;

/// What fails at the peer for now: Processing Failure, and Resource Limitation (PS3.7 Annex C).
const PASSING: [u16; 2] = [0x0110, 0x0213];

/// What an AE answered.
enum Answered {
    /// It will take it another time; why not now.
    Later(String),
    /// It does not want it, and why.
    Refused(String),
    /// It knows.
    Taken,
}

/// What an AE is told of a study.
enum Composed {
    /// Nothing now: its images are being turned, and it will be owed anew.
    Later,
    /// This, which is nothing where it does not see the study, or nothing is left of it.
    Notices(Vec<AvailabilityNotice>),
}

impl Shared {
    /// What is owed to an AE of studies after one, as much as is read at once.
    pub(super) async fn page(
        &self,
        title: &AeTitle,
        after: Option<&StudyUid>,
    ) -> Result<Vec<Stored<OwedAnnouncement>>, RegistryError> {
        let registry = &self.parts.registry;
        let page = registry.owed_announcements(title, after, ANNOUNCED_PAGE_COUNT);
        page.await
    }

    /// Tells an AE all that it is owed; why, where that has to be tried again.
    pub(super) async fn tell_all(&self, ae: &RemoteAe) -> Result<(), String> {
        let mut association = None;
        let told = self.tell_over(ae, &mut association).await;
        if let Some(association) = association
            && association.is_established()
            && let Err(error) = association.release().await
        {
            tracing::debug!(called = %ae.title, %error, "release failed");
        }
        told
    }

    /// The same over `association`, which is opened once there is something to tell.
    async fn tell_over(
        &self,
        ae: &RemoteAe,
        association: &mut Option<Requestor>,
    ) -> Result<(), String> {
        let failed = |error: RegistryError| chain(&error);
        let (mut after, mut again) = (None, None);
        loop {
            let page = self.page(&ae.title, after.as_ref()).await.map_err(failed)?;
            let Some(last) = page.last() else {
                return again.map_or(Ok(()), Err);
            };
            after = Some(last.value.study.clone());
            for owed in page {
                let composed = self.compose(&ae.title, &owed.value.study).await;
                let notices = match composed.map_err(|error| chain(&*error))? {
                    Composed::Later => continue,
                    Composed::Notices(notices) => notices,
                };
                if !notices.is_empty() {
                    let open = match association {
                        Some(open) => open,
                        None => association.insert(self.associate(ae).await?),
                    };
                    match self.send(open, &notices).await? {
                        Answered::Later(why) => {
                            again = Some(why);
                            continue;
                        }
                        Answered::Refused(why) => {
                            self.parts.counters.ended(Ended::Refused, 1);
                            tracing::warn!(
                                called = %ae.title, study = %owed.value.study, why,
                                "a notification of instances was refused for good"
                            );
                        }
                        Answered::Taken => self.parts.counters.ended(Ended::Delivered, 1),
                    }
                }
                self.settle(&owed).await.map_err(failed)?;
            }
        }
    }

    async fn associate(&self, ae: &RemoteAe) -> Result<Requestor, String> {
        let parts = &self.parts;
        let builder = Requestor::builder(parts.our_title.clone(), ae.title.clone())
            .context(
                INSTANCE_AVAILABILITY_NOTIFICATION,
                &[EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN],
            )
            .connector(Arc::clone(&parts.connector))
            .limits(self.net_limits.clone());
        let connected = builder.connect(&ae.address.to_string()).await;
        connected.map_err(|error| chain(&error))
    }

    /// Tells of one study; why, where the association is of no use any more.
    async fn send(
        &self,
        association: &mut Requestor,
        notices: &[AvailabilityNotice],
    ) -> Result<Answered, String> {
        let context = association.context(INSTANCE_AVAILABILITY_NOTIFICATION);
        let syntax = context.map_err(|error| chain(&error))?.transfer_syntax;
        for notice in notices {
            let attributes = notice.to_data_set(&syntax).map_err(|error| chain(&error))?;
            // What is told again has another name.
            let random = self.parts.world.random().map_err(|error| chain(&error))?;
            let uid = SopInstanceUid::parse(&text_of_random(random));
            let uid = uid.map_err(|error| chain(&error))?;
            let told = association.notify_availability(&uid, attributes.into());
            match told.await {
                Ok(()) => {}
                Err(ref error @ RequestorError::Status { code, .. }) if PASSING.contains(&code) => {
                    return Ok(Answered::Later(chain(error)));
                }
                Err(error @ RequestorError::Status { .. }) => {
                    return Ok(Answered::Refused(chain(&error)));
                }
                Err(error) => return Err(chain(&error)),
            }
        }
        Ok(Answered::Taken)
    }

    /// What an AE is told of a study now.
    async fn compose(
        &self,
        title: &AeTitle,
        study: &StudyUid,
    ) -> Result<Composed, Box<dyn Error + Send + Sync>> {
        if !self.is_seen(title, study).await? {
            return Ok(Composed::Notices(Vec::new()));
        }
        let Some(all) = self.parts.rejections.availability(study).await? else {
            return Ok(Composed::Later);
        };
        let step = self.step_of(study).await?;
        let notices = all.chunks(self.parts.bounds.instances_max.max(1));
        let notices = notices.map(|instances| AvailabilityNotice {
            step: step.clone(),
            study: study.clone(),
            retrieve_ae_title: self.parts.our_title.clone(),
            series: by_series(instances),
        });
        Ok(Composed::Notices(notices.collect()))
    }

    /// Whether an AE sees a study, in sight or not: of one that nobody has matched, only those who
    /// see everything are told.
    async fn is_seen(&self, title: &AeTitle, study: &StudyUid) -> Result<bool, RegistryError> {
        let sight = self.parts.access.sight_of(title);
        if !sight.is_narrowed() {
            return Ok(true);
        }
        let registry = &self.parts.registry;
        let known = registry.known_study(&self.licence, study).await?;
        let facts = known.as_ref().and_then(facts_of);
        Ok(facts.is_some_and(|facts| sight.sees(Studied::Known(&facts, &BTreeSet::new()))))
    }

    /// The one performed procedure step that names the study, where it is one.
    async fn step_of(&self, study: &StudyUid) -> Result<Option<Reference>, RegistryError> {
        let registry = &self.parts.registry;
        let Some(organisation) = registry.belonging(study).await?.organisation else {
            return Ok(None);
        };
        let steps = registry.steps_of_study(organisation, study).await?;
        let [step] = &*steps else {
            return Ok(None);
        };
        let sop_class = SopClassUid::parse(MODALITY_PERFORMED_PROCEDURE_STEP).ok();
        Ok(sop_class.map(|sop_class| Reference {
            sop_class,
            sop_instance: step.value.sop_instance.clone(),
        }))
    }
}

/// The instances of each series, in whose order they come.
fn by_series(
    instances: &[InstanceAvailability],
) -> Vec<(SeriesUid, Vec<(Reference, Availability)>)> {
    let series = instances.chunk_by(|one, other| one.series == other.series);
    let series = series.filter_map(|of_it| {
        let told = of_it
            .iter()
            .map(|of| (of.reference.clone(), of.availability));
        Some((of_it.first()?.series.clone(), told.collect()))
    });
    series.collect()
}
