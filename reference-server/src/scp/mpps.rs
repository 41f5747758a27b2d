//! N-CREATE and N-SET of performed procedure steps (PS3.4 Annex F): what a device tells is kept
//! before it is answered.

use super::caller;
use super::device::{KnownDevice, Unknown};
use crate::access::{Access, SystemMay};
use crate::limits::STEP_ATTEMPTS_MAX;
use crate::place;
use async_trait::async_trait;
use bytes::Bytes;
use pacs_core::access::{Find, Mpps, permit};
use pacs_core::decode::{DecodeError, read_data_set};
use pacs_core::limits::DataSetLimits;
use pacs_core::mpps::{Discontinuation, ProcedureStep, Refusal, StepState};
use pacs_core::uid::text_of_random;
use pacs_core::{Action, Attributes, Caller, SopInstanceUid, TransferSyntaxUid};
use pacs_net::service::{Peer, ProcedureStepScp, StepChange, StepCreation};
use pacs_net::status::{CreateStatus, SetStatus};
use pacs_store::Archive;
use pacs_store::index::IndexError;
use pacs_store::registry::examinations::KeptImages;
use pacs_store::registry::steps::PerformedStep;
use pacs_store::registry::{self, Registry, RegistryError};
use std::sync::Arc;

/// Takes performed procedure steps.
#[derive(Debug)]
pub struct StepService {
    archive: Archive,
    registry: Registry,
    access: Arc<Access>,
}

/// Why nothing was kept. Both services have the same statuses for it.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// The caller may not do this, or is no device that is known.
    #[error("{0}")]
    NotAuthorized(&'static str),
    /// There is a step with this UID.
    #[error("there is a step with this UID")]
    Duplicate,
    /// There is none, or it is another organisation's.
    #[error("there is no step with this UID")]
    NoSuchInstance,
    /// The disk is full: nothing was kept.
    #[error("disk is full")]
    Full,
    /// It is longer than steps may be.
    #[error("the step is too long")]
    TooLong,
    /// The data set cannot be read.
    #[error("the data set cannot be read")]
    Unreadable(#[source] DecodeError),
    /// The data set is not what the rules of MPPS ask for.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The registry failed.
    #[error("the registry failed")]
    Registry(#[source] RegistryError),
    /// The archive could not be searched.
    #[error("the archive failed")]
    Index(#[source] IndexError),
    /// The system has no random numbers.
    #[error("no random number for a UID")]
    Random,
}

impl StepService {
    /// Keeps steps in the registry of `archive`, under `access`.
    #[must_use]
    pub fn new(archive: Archive, access: Arc<Access>) -> Self {
        Self {
            registry: archive.registry(),
            archive,
            access,
        }
    }

    async fn device(&self, peer: &Peer) -> Result<KnownDevice, Failure> {
        if permit::<Mpps>(&*self.access, caller(peer)).is_err() {
            return Err(Failure::NotAuthorized("not permitted"));
        }
        match KnownDevice::find(&self.registry, peer).await {
            Ok(device) => Ok(device),
            Err(Unknown::Title) => Err(Failure::NotAuthorized(
                "no device of this AE title is registered",
            )),
            Err(Unknown::Registry(error)) => Err(error.into()),
        }
    }

    async fn begin(&self, peer: &Peer, request: StepCreation) -> Result<SopInstanceUid, Failure> {
        let device = self.device(peer).await?;
        let licence = device.licence()?;
        let told = read(&request.attributes, &request.transfer_syntax)?;
        let step = ProcedureStep::create(told)?;
        let sop_instance = match request.sop_instance {
            Some(uid) => uid,
            None => new_uid()?,
        };
        let now = place::now();
        let step = PerformedStep {
            sop_instance: sop_instance.clone(),
            organisation: device.organisation(),
            ae_title: peer.calling_ae_title.clone(),
            begun_at: now,
            changed_at: now,
            step,
        };
        self.registry.begin_step(&licence, &step).await?;
        Ok(sop_instance)
    }

    /// Changes a step, and gives the attributes that it leaves as they are.
    async fn change(
        &self,
        peer: &Peer,
        request: &StepChange,
    ) -> Result<Vec<pacs_core::Tag>, Failure> {
        let device = self.device(peer).await?;
        let licence = device.licence()?;
        let told = read(&request.modifications, &request.transfer_syntax)?;
        for _ in 0..STEP_ATTEMPTS_MAX {
            let kept = self.registry.step(&licence, &request.sop_instance).await?;
            let (step, left) = kept.value.step.set(&told)?;
            let next = PerformedStep {
                step,
                changed_at: place::now(),
                ..kept.value.clone()
            };
            let kept_images = self.kept_images(&next.step).await?;
            let random = random()?;
            let changed = self
                .registry
                .change_step(&licence, &kept, &next, (&kept_images, random));
            match changed.await {
                // Another association of the device told something in between.
                Err(RegistryError::Changed) => {}
                done => {
                    done?;
                    return Ok(left);
                }
            }
        }
        Err(RegistryError::Busy.into())
    }
}

impl StepService {
    /// The images of all studies that a step touches that takes them back.
    async fn kept_images(&self, step: &ProcedureStep) -> Result<KeptImages, Failure> {
        let takes_back = step.state() == StepState::Discontinued
            && step.discontinuation() == Discontinuation::IncorrectWorklistEntry;
        if !takes_back {
            return Ok(KeptImages::new());
        }
        let policy = SystemMay(&[Action::Find]);
        let permit = permit::<Find>(&policy, Caller::System { task: "mpps" });
        let permit = permit.map_err(|_denied| Failure::NotAuthorized("not permitted"))?;
        let scheduled = step.scheduled();
        let studies: Vec<_> = scheduled.iter().map(|one| one.study.clone()).collect();
        let examinations: Vec<_> = scheduled.iter().filter_map(|one| one.examination).collect();
        let all = self
            .registry
            .studies_beside(&studies, &examinations)
            .await?;
        let kept = self.archive.kept_images(&permit, all).await;
        kept.map_err(Failure::Index)
    }
}

impl From<RegistryError> for Failure {
    fn from(error: RegistryError) -> Self {
        match error {
            RegistryError::Full => Self::Full,
            RegistryError::NotFound { .. } => Self::NoSuchInstance,
            RegistryError::Refused(registry::Refusal::Taken { .. }) => Self::Duplicate,
            RegistryError::Refused(_) => Self::TooLong,
            RegistryError::Unlicensed(_) => Self::NotAuthorized("not permitted"),
            error @ (RegistryError::Backend(_)
            | RegistryError::Busy
            | RegistryError::Changed
            | RegistryError::Damaged { .. }) => Self::Registry(error),
        }
    }
}

#[async_trait]
impl ProcedureStepScp for StepService {
    async fn create(
        &self,
        peer: &Peer,
        request: StepCreation,
    ) -> Result<SopInstanceUid, CreateStatus> {
        self.begin(peer, request).await.map_err(|failure| {
            tell(peer, &failure);
            let status = match &failure {
                Failure::NotAuthorized(_) => CreateStatus::NOT_AUTHORIZED,
                Failure::Duplicate => CreateStatus::DUPLICATE_SOP_INSTANCE,
                Failure::Full | Failure::TooLong => CreateStatus::RESOURCE_LIMITATION,
                Failure::Unreadable(_) => CreateStatus::INVALID_ATTRIBUTE_VALUE,
                Failure::Refused(refusal) => {
                    let status = CreateStatus::of(refusal.status());
                    status.with_offending_elements(refusal.tag().into_iter().collect())
                }
                Failure::NoSuchInstance
                | Failure::Index(_)
                | Failure::Registry(_)
                | Failure::Random => CreateStatus::PROCESSING_FAILURE,
            };
            status.with_comment(failure.to_string())
        })
    }

    async fn set(&self, peer: &Peer, request: StepChange) -> SetStatus {
        let failure = match self.change(peer, &request).await {
            Ok(left) if left.is_empty() => return SetStatus::SUCCESS,
            Ok(left) => return SetStatus::ATTRIBUTE_LIST_ERROR.with_offending_elements(left),
            Err(failure) => failure,
        };
        tell(peer, &failure);
        let status = match &failure {
            Failure::NotAuthorized(_) => SetStatus::NOT_AUTHORIZED,
            Failure::NoSuchInstance => SetStatus::NO_SUCH_SOP_INSTANCE,
            Failure::Full | Failure::TooLong => SetStatus::RESOURCE_LIMITATION,
            Failure::Unreadable(_) => SetStatus::INVALID_ATTRIBUTE_VALUE,
            Failure::Refused(refusal) => {
                let status = SetStatus::of(refusal.status());
                let status = status.with_offending_elements(refusal.tag().into_iter().collect());
                match refusal.error_id() {
                    Some(error_id) => status.with_error_id(error_id),
                    None => status,
                }
            }
            Failure::Duplicate | Failure::Index(_) | Failure::Registry(_) | Failure::Random => {
                SetStatus::PROCESSING_FAILURE
            }
        };
        status.with_comment(failure.to_string())
    }
}

/// The log says what was not taken; of patients it says nothing.
fn tell(peer: &Peer, failure: &Failure) {
    let calling = &peer.calling_ae_title;
    match failure {
        Failure::Index(error) => {
            tracing::error!(%calling, %error, "the images of a step could not be looked for");
        }
        Failure::Registry(error) => {
            tracing::error!(%calling, %error, "a performed procedure step could not be kept");
        }
        Failure::NotAuthorized(_)
        | Failure::Duplicate
        | Failure::Full
        | Failure::NoSuchInstance
        | Failure::Random
        | Failure::Refused(_)
        | Failure::TooLong
        | Failure::Unreadable(_) => {
            let why = failure;
            tracing::warn!(%calling, %why, "a performed procedure step was not taken");
        }
    }
}

fn read(bytes: &Bytes, transfer_syntax: &TransferSyntaxUid) -> Result<Attributes, Failure> {
    let read = read_data_set(bytes, transfer_syntax, &DataSetLimits::default());
    read.map_err(|error| match error {
        DecodeError::TooLong { .. } => Failure::TooLong,
        error @ (DecodeError::Scan(_) | _) => Failure::Unreadable(error),
    })
}

fn random() -> Result<[u8; 16], Failure> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|_| Failure::Random)?;
    Ok(random)
}

/// A UID made of a random UUID (PS3.5 B.2).
fn new_uid() -> Result<SopInstanceUid, Failure> {
    SopInstanceUid::parse(&text_of_random(random()?)).map_err(|_| Failure::Random)
}
