//! The desk at which questions to the citizen register are handed in.

use super::CitizenRegister;
use super::cache::{Asked, Cache, Kept};
use super::throttle::Throttle;
use crate::clock::{NoRandomness, World};
use crate::limits::{REGISTER_ANSWERS_KEPT_MAX, REGISTER_QUEUE_DURATION_MAX};
use chrono::{DateTime, TimeDelta, Utc};
use pacs_core::audit;
use pacs_core::patient::PatientKey;
use pacs_core::register::breaker::{Breaker, BreakerRules};
use pacs_core::register::xroad::Circumstances;
use pacs_core::register::{Agreement, Declared, Found, Outcome, Question, RegisteredPerson};
use pacs_core::role::duty::PatientSearch;
use pacs_core::role::{AgentKind, Licence};
use pacs_core::{ExaminationId, Phi};
use pacs_store::registry::patients::{AskedOfRegister, Identity, Particulars};
use pacs_store::registry::{Registry, RegistryError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// What can be set of asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RegisterRules {
    /// How long the register may take for one question.
    pub answer_duration_max: Duration,
    /// Questions under way at once.
    pub under_way_max: usize,
    /// How long an answer is good for whoever asked, on the same behalf.
    pub answer_age_max: TimeDelta,
    /// Questions that one person may ask within a minute.
    pub per_minute_max: u32,
    /// When a register that is down is left in peace.
    pub breaker: BreakerRules,
    /// How often it is asked about patients whom it did not know, or could not be asked about.
    pub rechecked_every: Duration,
}

impl Default for RegisterRules {
    fn default() -> Self {
        Self {
            answer_duration_max: Duration::from_secs(5),
            under_way_max: 4,
            answer_age_max: TimeDelta::minutes(15),
            per_minute_max: 30,
            breaker: BreakerRules::default(),
            rechecked_every: Duration::from_secs(600),
        }
    }
}

/// What a question is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Somebody's particulars are put right.
    Correction,
    /// The archive asks again about somebody who was typed in.
    Recheck,
    /// Somebody is registered.
    Registration,
}

impl Purpose {
    /// As the audit record has it.
    const fn code(self) -> &'static str {
        match self {
            Self::Correction => "CORRECTION",
            Self::Recheck => "RECHECK",
            Self::Registration => "REGISTRATION",
        }
    }

    /// As the register has it, where no examination is named.
    const fn issue(self) -> &'static str {
        match self {
            Self::Recheck => "patient-recheck",
            Self::Correction | Self::Registration => "patient-search",
        }
    }
}

/// Why nothing was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// The system has no randomness for the id of a message.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// What is to be recorded of it cannot be.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// This person has asked too much.
    #[error("too much was asked; wait")]
    Wait {
        /// For how long.
        seconds: u64,
    },
}

/// What came of a question.
#[derive(Debug, Clone)]
pub struct Told {
    /// What.
    pub outcome: Outcome,
    /// When the register said so; of no answer, when it was asked.
    pub at: DateTime<Utc>,
    /// It was said a moment ago, and not asked again.
    pub is_kept: bool,
    /// The id by which the register knows the question; `None` where nothing was sent.
    pub message_id: Option<String>,
    /// The patient here who has the PIN, or the document.
    pub patient: Option<PatientKey>,
}

/// The register, or that there is none. Clones are the same.
#[derive(Debug, Clone)]
pub struct Register {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    asked: Option<Box<dyn CitizenRegister>>,
    registry: Registry,
    rules: RegisterRules,
    places: Semaphore,
    state: Mutex<State>,
    world: World,
}

#[derive(Debug, Default)]
struct State {
    breaker: Breaker,
    cache: Cache,
    throttle: Throttle,
}

/// One question, by whom and what for.
struct Asking<'a> {
    licence: &'a Licence<PatientSearch>,
    question: &'a Question,
    purpose: Purpose,
    examination: Option<ExaminationId>,
}

impl Asking<'_> {
    fn circumstances(&self, message_id: &str) -> Circumstances {
        let organisation = self.licence.organisation();
        let organisation = organisation.map(|code| format!("{code}."));
        let issue = self.examination.map(|id| id.to_string());
        Circumstances {
            message_id: message_id.to_owned(),
            user_id: organisation.unwrap_or_default() + &self.licence.agent().name,
            issue: issue.unwrap_or_else(|| self.purpose.issue().to_owned()),
        }
    }
}

impl Register {
    /// The desk before `asked`, beside the `registry` in which it is recorded who asks; `None`:
    /// there is no register, and every answer is that it cannot be reached.
    #[must_use]
    pub fn new(
        asked: Option<Box<dyn CitizenRegister>>,
        registry: Registry,
        rules: RegisterRules,
        world: World,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                asked,
                registry,
                rules,
                places: Semaphore::new(rules.under_way_max),
                state: Mutex::default(),
                world,
            }),
        }
    }

    /// Whether there is one.
    #[must_use]
    pub fn is_set_up(&self) -> bool {
        self.inner.asked.is_some()
    }

    pub(super) fn rules(&self) -> RegisterRules {
        self.inner.rules
    }

    pub(super) fn registry(&self) -> &Registry {
        &self.inner.registry
    }

    pub(super) fn world(&self) -> &World {
        &self.inner.world
    }

    /// Asks, after it is recorded who does, and what for. It ends within the time for an answer
    /// and the short wait for a place.
    ///
    /// # Errors
    /// [`AskError`]: then nothing was asked.
    pub async fn ask(
        &self,
        licence: &Licence<PatientSearch>,
        question: &Question,
        purpose: Purpose,
        examination: Option<ExaminationId>,
    ) -> Result<Told, AskError> {
        let asking = Asking {
            licence,
            question,
            purpose,
            examination,
        };
        let now = self.inner.world.now();
        if let Some(kept) = self.kept(&asking, now)? {
            let id = Some(&*kept.message_id);
            let patient = self.record(&asking, "KEPT", true, id).await?;
            return Ok(Told {
                outcome: kept.outcome,
                at: kept.at,
                is_kept: true,
                message_id: Some(kept.message_id),
                patient,
            });
        }
        let Some((register, _place)) = self.admitted(now).await else {
            let patient = self.record(&asking, "UNAVAILABLE", false, None).await?;
            return Ok(Told {
                outcome: Outcome::Unavailable,
                at: now,
                is_kept: false,
                message_id: None,
                patient,
            });
        };
        let id = uuid(self.inner.world.random::<16>()?);
        let patient = self.record(&asking, "ASKED", true, Some(&id)).await?;
        let circumstances = asking.circumstances(&id);
        let answer = register.ask(question, &circumstances);
        let outcome = timeout(self.inner.rules.answer_duration_max, answer).await;
        let outcome = outcome.unwrap_or(Outcome::TimedOut);
        self.heard(&asking, &outcome, &id);
        if !outcome.is_answer() {
            let code = outcome.code().map(|code| format!(" {code}"));
            let name = outcome.name().to_uppercase();
            let reason = format!("{name}{}", code.unwrap_or_default());
            tracing::warn!(
                reason,
                message_id = id,
                "the citizen register gave no answer"
            );
            self.record(&asking, &reason, false, Some(&id)).await?;
        }
        Ok(Told {
            outcome,
            at: self.inner.world.now(),
            is_kept: false,
            message_id: Some(id),
            patient,
        })
    }

    /// Counts a question, and gives what was answered to it a moment ago.
    fn kept(&self, asking: &Asking<'_>, now: DateTime<Utc>) -> Result<Option<Kept>, AskError> {
        let rules = &self.inner.rules;
        let agent = asking.licence.agent();
        let mut state = self.state();
        if agent.kind == AgentKind::User {
            let counted = state.throttle.count(&agent.name, rules.per_minute_max, now);
            counted.map_err(|seconds| AskError::Wait { seconds })?;
        }
        let asked = Asked::of(asking.licence, asking.question);
        Ok(state.cache.get(&asked, rules.answer_age_max, now))
    }

    /// What is said of a patient, with what the register said of the holder of the PIN, or of a
    /// foreign document where there is none, a moment ago, to whoever holds `licence` and on the
    /// same behalf. Without such an answer, or where the identity is settled, it stays as it is,
    /// and is asked about later. Nothing is asked; that an answer was used is on record like any
    /// look-up.
    ///
    /// # Errors
    /// [`RegistryError`] where it cannot be recorded.
    pub async fn judged(
        &self,
        licence: &Licence<PatientSearch>,
        purpose: Purpose,
        particulars: Particulars,
    ) -> Result<Particulars, RegistryError> {
        let questions = match (particulars.identity, &particulars.pin) {
            (Identity::Declared, Some(pin)) => vec![Question::Person(pin.clone())],
            (Identity::Declared, None) => {
                let documents = particulars.documents.iter();
                documents.map(Question::foreigner).collect()
            }
            (Identity::Mismatch | Identity::Unidentified | Identity::Verified, _) => Vec::new(),
        };
        let (age_max, now) = (self.inner.rules.answer_age_max, self.inner.world.now());
        let kept = questions.into_iter().find_map(|question| {
            let asked = Asked::of(licence, &question);
            let kept = self.state().cache.get(&asked, age_max, now);
            kept.map(|kept| (question, kept))
        });
        let Some((question, kept)) = kept else {
            return Ok(particulars);
        };
        let Outcome::Found(Found::Person(person)) = kept.outcome else {
            return Ok(particulars);
        };
        let asking = Asking {
            licence,
            question: &question,
            purpose,
            examination: None,
        };
        let id = Some(&*kept.message_id);
        self.record(&asking, "KEPT", true, id).await?;
        let at = crate::clock::local(kept.at);
        Ok(judged_by(particulars, &person, at))
    }

    async fn record(
        &self,
        asking: &Asking<'_>,
        reason: &str,
        is_success: bool,
        message_id: Option<&str>,
    ) -> Result<Option<PatientKey>, RegistryError> {
        let record = AskedOfRegister {
            of: asking.question.identifier(),
            question: Phi::new(asking.question.masked()),
            examination: asking.examination,
            reason: format!("{} {reason}", asking.purpose.code()),
            outcome: if is_success {
                audit::Outcome::Success
            } else {
                audit::Outcome::MinorFailure
            },
            message_id: message_id.map(str::to_owned),
        };
        let at = self.inner.world.moment();
        let registry = &self.inner.registry;
        registry.register_asked(asking.licence, record, at).await
    }

    /// The register and a place at it, where it is not left in peace and a place comes free soon.
    async fn admitted(
        &self,
        now: DateTime<Utc>,
    ) -> Option<(&dyn CitizenRegister, tokio::sync::SemaphorePermit<'_>)> {
        let register = self.inner.asked.as_deref()?;
        let place = timeout(REGISTER_QUEUE_DURATION_MAX, self.inner.places.acquire()).await;
        let place = place.ok()?.ok()?;
        let is_admitted = self.state().breaker.admits(self.inner.rules.breaker, now);
        is_admitted.then_some((register, place))
    }

    /// Remembers what came of a question.
    fn heard(&self, asking: &Asking<'_>, outcome: &Outcome, message_id: &str) {
        let now = self.inner.world.now();
        let rules = self.inner.rules;
        let is_down = matches!(outcome, Outcome::TimedOut | Outcome::Unavailable);
        let mut state = self.state();
        if state.breaker.told(!is_down, rules.breaker, now) {
            tracing::warn!("the citizen register is down; it is left in peace for a while");
        }
        // That nobody is known is not kept: it may be a number that was typed wrong.
        if matches!(outcome, Outcome::Found(_)) {
            let kept = Kept {
                outcome: outcome.clone(),
                at: now,
                message_id: message_id.to_owned(),
            };
            let count_max = REGISTER_ANSWERS_KEPT_MAX;
            let asked = Asked::of(asking.licence, asking.question);
            state
                .cache
                .keep(asked, kept, rules.answer_age_max, count_max);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        let state = &self.inner.state;
        state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is said of a patient, with what the register says of the holder of the PIN.
pub(super) fn judged_by(
    particulars: Particulars,
    person: &RegisteredPerson,
    at: pacs_store::registry::Moment,
) -> Particulars {
    let agreement = person.agreement(&Declared {
        family: &particulars.name.family,
        given: &particulars.name.given,
        birth_date: particulars.birth_date,
        sex: particulars.sex,
    });
    let mut judged = Particulars {
        checked_at: Some(at),
        is_pin_blocked: person.is_pin_blocked,
        died_on: person.died_on.or(particulars.died_on),
        ..particulars
    };
    if agreement == Agreement::Contradicts {
        judged.identity = Identity::Mismatch;
        return judged;
    }
    judged.identity = Identity::Verified;
    judged.sex = judged.sex.or(person.sex);
    judged.address = judged.address.or_else(|| person.address.clone());
    let is_country =
        |text: &&String| text.len() == 3 && text.bytes().all(|b| b.is_ascii_uppercase());
    let citizenship = person.citizenship.as_ref().filter(is_country).cloned();
    judged.citizenship = judged.citizenship.or(citizenship);
    if judged.name.given.is_empty() {
        judged.name.given.clone_from(&person.given);
    }
    if judged.name.patronymic.is_empty() {
        judged.name.patronymic.clone_from(&person.patronymic);
    }
    judged
}

/// A random id in the form of RFC 9562 (version 4).
fn uuid(mut random: [u8; 16]) -> String {
    if let Some(byte) = random.get_mut(6) {
        *byte = *byte & 0x0f | 0x40;
    }
    if let Some(byte) = random.get_mut(8) {
        *byte = *byte & 0x3f | 0x80;
    }
    let mut text = String::new();
    for (at, byte) in random.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}
