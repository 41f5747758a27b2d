//! Asks the register again about patients who were typed in: while it was down, or without asking.
//!
//! Who they are is in the registry, so that a restart loses nobody. Where the register agrees the
//! patient is verified; where it contradicts somebody has to look; where it knows nobody it is
//! asked again, each time after twice as long.

use super::desk::{Purpose, Register, judged_by};
use chrono::{DateTime, TimeDelta, Utc};
use pacs_core::patient::PatientKey;
use pacs_core::register::{Found, Outcome, Question};
use pacs_core::role::duty::{PatientEdit, PatientSearch};
use pacs_core::role::{Agent, Licence, Unlicensed};
use pacs_store::registry::patients::{Identity, Particulars, Patient};
use pacs_store::registry::{RegistryError, Stored};

/// Pause before a patient of whom the register knew nothing is asked about again.
const AGAIN_FIRST: TimeDelta = TimeDelta::hours(24);

/// Patients of one part of the list.
const PAGE_COUNT: usize = 100;

/// How a round went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Round {
    pub(super) verified_count: u64,
    pub(super) mismatches_count: u64,
    pub(super) unknown_count: u64,
    /// The register could not be asked: the rest is for the next round.
    pub(super) is_broken_off: bool,
}

/// Asks about whoever waits, once in a while, until the task is dropped.
pub async fn recheck(register: Register) {
    if !register.is_set_up() {
        return;
    }
    let Ok(asker) = Asker::new(&register) else {
        return;
    };
    let mut ticks = tokio::time::interval(register.rules().rechecked_every);
    loop {
        ticks.tick().await;
        match asker.round().await {
            Ok(round) if round == Round::default() => {}
            Ok(round) => tracing::info!(
                verified = round.verified_count,
                mismatches = round.mismatches_count,
                unknown = round.unknown_count,
                broken_off = round.is_broken_off,
                "patients were held against the citizen register"
            ),
            Err(error) => {
                let error = crate::tool::failure::chain(&error);
                tracing::warn!(
                    error,
                    "patients cannot be held against the citizen register now"
                );
            }
        }
    }
}

/// The task, with what it may do.
pub(super) struct Asker<'r> {
    register: &'r Register,
    search: Licence<PatientSearch>,
    edit: Licence<PatientEdit>,
}

impl<'r> Asker<'r> {
    pub(super) fn new(register: &'r Register) -> Result<Self, Unlicensed> {
        let agent = Agent::system("register-recheck");
        Ok(Self {
            register,
            search: agent.national_licence()?,
            edit: agent.national_licence()?,
        })
    }

    /// Asks about everybody whose turn it is.
    pub(super) async fn round(&self) -> Result<Round, RegistryError> {
        let mut round = Round::default();
        let mut after: Option<PatientKey> = None;
        loop {
            let registry = self.register.registry();
            let now = self.register.world().now();
            let (search, at) = (&self.search, crate::clock::local(now));
            let page =
                registry.patients_by_identity(search, Identity::Declared, after, PAGE_COUNT, at);
            let (patients, last) = page.await?;
            for patient in patients {
                if is_due(&patient.value, now) && !self.settle(&patient, &mut round).await? {
                    round.is_broken_off = true;
                    return Ok(round);
                }
            }
            match last {
                Some(last) => after = Some(last),
                None => return Ok(round),
            }
        }
    }

    /// Asks about one patient. Says whether the register could be asked.
    async fn settle(
        &self,
        patient: &Stored<Patient>,
        round: &mut Round,
    ) -> Result<bool, RegistryError> {
        let particulars = &patient.value.particulars;
        let Some(pin) = &particulars.pin else {
            return Ok(true);
        };
        let question = Question::Person(pin.clone());
        let asked = self
            .register
            .ask(&self.search, &question, Purpose::Recheck, None);
        let told = match asked.await {
            Ok(told) => told,
            Err(super::AskError::Registry(error)) => return Err(error),
            Err(_) => return Ok(false),
        };
        let at = crate::clock::local(told.at);
        let (next, count) = match &told.outcome {
            Outcome::Found(Found::Person(person)) => {
                let next = judged_by(particulars.clone(), person, at);
                let count = if next.identity == Identity::Verified {
                    &mut round.verified_count
                } else {
                    &mut round.mismatches_count
                };
                (next, count)
            }
            Outcome::TimedOut | Outcome::Unavailable => return Ok(false),
            // Nobody is known, or it is not told, or makes no sense: of somebody else it may.
            Outcome::Fault(_) | Outcome::Found(_) | Outcome::NotFound | Outcome::Refused(_) => {
                let next = Particulars {
                    checked_at: Some(at),
                    ..particulars.clone()
                };
                (next, &mut round.unknown_count)
            }
        };
        *count = count.saturating_add(1);
        let of = (patient.value.key, patient.revision);
        let registry = self.register.registry();
        match registry
            .change_patient(&self.edit, of, next, None, at)
            .await
        {
            // Somebody changed it meanwhile: the next round looks again.
            Ok(_) | Err(RegistryError::Changed | RegistryError::Refused(_)) => Ok(true),
            Err(error) => Err(error),
        }
    }
}

/// Whether it is time to ask: at once, and then after each time twice as long as before.
fn is_due(patient: &Patient, now: DateTime<Utc>) -> bool {
    let Some(checked_at) = patient.particulars.checked_at else {
        return true;
    };
    let checked_at = checked_at.with_timezone(&Utc);
    let since_registered = checked_at.signed_duration_since(patient.registered_at);
    now.signed_duration_since(checked_at) >= since_registered.max(AGAIN_FIRST)
}
