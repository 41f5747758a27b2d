//! Reading tasks: workitems of DICOMweb over the examinations of the registry.
//!
//! A workitem is a reading of an examination. Whoever takes one over the portal or as a workitem
//! has the same lock, and loses it in the same way. People take tasks, by their own roles; programs
//! see those of their organisation.

mod item;

use crate::access::SystemMay;
use crate::clock::World;
use crate::directory::Directory;
use crate::limits::{READING_TASKS_SCANNED_MAX, WORKITEM_ATTEMPTS_MAX};
use crate::tool::failure::chain;
use async_trait::async_trait;
use item::People;
use pacs_core::access::{Claim, Find, Right, permit};
use pacs_core::examination::progress::Guard;
use pacs_core::examination::{Event, TransitionError};
use pacs_core::role::sight::Sight;
use pacs_core::role::visibility::{BreakGlass, pools_of};
use pacs_core::role::{
    Agent, AgentKind, Grant, Grants, Licence, Permission, Reach, Role, Work, duty::Reconcile,
};
use pacs_core::uid::{ClaimUid, StudyUid};
use pacs_core::workitem::{Input, InputSeries, Outcome, State, StateError, Task, Wish, Workitem};
use pacs_core::{Action, AeTitle, Caller, Key, Level, Matching, OrganisationCode, Permit, Query};
use pacs_core::{Vr, tag::tags};
use pacs_store::Archive;
use pacs_store::index::Page;
use pacs_store::registry::accounts::AccountStore;
use pacs_store::registry::examinations::{
    Action as Act, Examination, FoundTask, Reader, Reading, WantedTasks,
};
use pacs_store::registry::{Refusal as Forbidden, Registry, RegistryError, Stored};
use pacs_web::workitems::{Progress, Refusal, Wanted, Workitems, Worklist};
use std::collections::BTreeSet;
use std::error::Error;

/// What the archive itself may here: see whether images can be had.
const MAY: SystemMay = SystemMay(&[Action::Find]);

/// Reading tasks of an archive.
#[derive(Debug)]
pub(crate) struct ReadingTasks {
    archive: Archive,
    registry: Registry,
    directory: Directory,
    title: AeTitle,
    find: Permit<Find>,
    licence: Licence<Reconcile>,
    world: World,
}

/// Whoever asks, as the registry knows them.
struct Asking {
    agent: Agent,
    pools: Vec<String>,
    is_doctor: bool,
    opened: Vec<BreakGlass>,
}

impl Asking {
    fn pools(&self) -> Vec<&str> {
        self.pools.iter().map(String::as_str).collect()
    }

    /// Refuses programs: they sign no reports, and so take nothing to be read.
    fn only_people(&self) -> Result<(), Refusal> {
        if self.agent.kind == AgentKind::User {
            Ok(())
        } else {
            Err(Refusal::NotPermitted)
        }
    }

    fn reader<'a>(&'a self, pools: &'a [&'a str]) -> Reader<'a> {
        Reader {
            pools,
            is_doctor: self.is_doctor,
            break_glass: &self.opened,
            ..Reader::new(&self.agent)
        }
    }
}

impl ReadingTasks {
    /// Those of `archive`, which peers call `title`.
    ///
    /// # Errors
    /// Where the policy or the table of roles does not know the archive's own task.
    pub(crate) fn new(
        archive: &Archive,
        directory: Directory,
        title: AeTitle,
    ) -> Result<Self, Box<dyn Error + Send + Sync>> {
        Ok(Self {
            registry: archive.registry(),
            archive: archive.clone(),
            directory,
            title,
            find: permit(&MAY, Caller::System { task: "workitems" })?,
            licence: Agent::system("workitems").national_licence()?,
            world: World::real(),
        })
    }

    /// Whoever asks; what this request does is tied together in rows and audit records.
    fn asking<R: Right>(&self, permit: &Permit<R>) -> Asking {
        let mut asking = self.known(permit);
        asking.agent.correlation = self.world.correlation();
        asking
    }

    fn known<R: Right>(&self, permit: &Permit<R>) -> Asking {
        let nobody = |agent| Asking {
            agent,
            pools: Vec::new(),
            is_doctor: false,
            opened: Vec::new(),
        };
        match permit.caller() {
            Caller::User(user) => {
                let mut agent = Agent::new(AgentKind::User, &user.name, user.grants.clone());
                agent.address = Some(user.address);
                agent.session.clone_from(&user.session);
                Asking {
                    pools: pools_of(&agent.grants, self.directory.organisations()),
                    is_doctor: user.is_doctor,
                    opened: user.break_glass.clone(),
                    agent,
                }
            }
            Caller::Client { address, name } => {
                let name = name.as_deref().unwrap_or("loopback");
                let mut agent = Agent::new(AgentKind::Program, name, seen_by(permit.sight()));
                agent.address = Some(*address);
                nobody(agent)
            }
            Caller::Device { .. } | Caller::System { .. } | _ => {
                nobody(Agent::new(AgentKind::Program, "", Grants::default()))
            }
        }
    }

    /// The examination of a task and the reading that it is, where whoever asks sees it.
    async fn seen(
        &self,
        asking: &Asking,
        task: Task,
    ) -> Result<(Stored<Examination>, Reading), Refusal> {
        let pools = asking.pools();
        let reader = asking.reader(&pools);
        let at = self.world.moment();
        let found = self.registry.examination(&reader, task.examination(), at);
        let found = found.await.map_err(|error| refusal(&error))?;
        if !found.value.has_task(task) {
            return Err(Refusal::Unknown);
        }
        let readings = found.value.readings();
        match readings.get(task.number()).cloned() {
            Some(reading) => Ok((found, reading)),
            None if task.number() <= readings.last_number() => Err(Refusal::Gone),
            None => Err(Refusal::Unknown),
        }
    }

    /// How many of the studies of an examination have an image that can be had.
    async fn online(&self, studies: &[StudyUid]) -> Result<u64, Refusal> {
        let page = Page {
            after: None,
            offset: 0,
            count_max: 1,
        };
        let mut count = 0_u64;
        for study in studies {
            let query = Query::new(Level::Instance).with(Key {
                tag: tags::STUDY_INSTANCE_UID,
                vr: Vr::UI,
                matching: Matching::SingleValue(study.as_str().to_owned()),
            });
            let found = self.archive.search_page(&self.find, &query, &page).await;
            let found = found.map_err(|error| failed(&error))?;
            let has_image = found.is_some_and(|page| page.matches.into_iter().next().is_some());
            count = count.saturating_add(u64::from(has_image));
        }
        Ok(count)
    }

    /// Has it begun or given up, if it is still as it was seen.
    async fn act(
        &self,
        agent: &Agent,
        seen: &Stored<Examination>,
        (begins, claim): (bool, &ClaimUid),
    ) -> Result<(), Stopped> {
        let examination = &seen.value;
        let event = if begins {
            let grants = &agent.grants;
            let (permission, of) = (Permission::ReportWrite, examination.performing);
            let mut reads = grants.extents_over(permission, of, examination.work());
            Event::Claim {
                // The registry knows.
                is_locked: false,
                may_read: reads.next().is_some(),
                images_online: self.online(&examination.studies).await?,
            }
        } else {
            Event::Release { holds_lock: false }
        };
        let action = Act {
            event,
            order: None,
            expected: Some(seen.revision),
            random: [0; 16],
        };
        let on = (examination.id, claim);
        let at = self.world.moment();
        let acted = self.registry.claim_examination(agent, on, &action, at);
        Ok(acted.await.map(drop)?)
    }

    /// What is to be read: of a study that a person has split, the series that are of it.
    async fn inputs(&self, of: &Examination) -> Result<Vec<Input>, Refusal> {
        let mut inputs = Vec::with_capacity(of.studies.len());
        for study in &of.studies {
            let known = self.registry.known_study(&self.licence, study).await;
            let known = known.map_err(|error| refusal(&error))?;
            let mut others = BTreeSet::new();
            let mut own = BTreeSet::new();
            let mut has_rest = true;
            if let Some(known) = known {
                has_rest = known.study.examination() == Some(of.id);
                for part in known.parts {
                    if part.bound.examination.id == of.id {
                        own.extend(part.series);
                    } else {
                        others.extend(part.series);
                    }
                }
            }
            inputs.push(Input {
                study: study.clone(),
                series: if has_rest {
                    InputSeries::AllBut(others)
                } else {
                    InputSeries::Only(own)
                },
            });
        }
        Ok(inputs)
    }

    fn people(&self) -> People {
        People::new(AccountStore::new(self.registry.audit_trail()))
    }
}

/// The studies of an examination whole, where nobody reads them yet.
fn whole(studies: &[StudyUid]) -> Vec<Input> {
    let whole = |study: &StudyUid| Input {
        study: study.clone(),
        series: InputSeries::AllBut(BTreeSet::new()),
    };
    studies.iter().map(whole).collect()
}

/// Roles that see of examinations what a program sees of studies.
fn seen_by(sight: &Sight) -> Grants {
    match sight {
        Sight::Everything => Grants::single(Grant::new(Role::Device, Reach::National)),
        Sight::Narrowed(onlooker) => onlooker.grants.clone(),
    }
}

/// What stopped something.
enum Stopped {
    Registry(RegistryError),
    Refused(Refusal),
}

impl From<RegistryError> for Stopped {
    fn from(error: RegistryError) -> Self {
        Self::Registry(error)
    }
}

impl From<Refusal> for Stopped {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

fn failed(error: &(dyn Error + 'static)) -> Refusal {
    let error = chain(error);
    tracing::error!(error, "reading tasks could not be asked for or changed");
    Refusal::Failed
}

fn refusal(error: &RegistryError) -> Refusal {
    match error {
        RegistryError::Busy | RegistryError::Changed => Refusal::Busy,
        RegistryError::Full => Refusal::Full,
        RegistryError::NotFound { .. } => Refusal::Unknown,
        RegistryError::Unlicensed(_)
        | RegistryError::Refused(Forbidden::Transition(
            TransitionError::Actor { .. }
            | TransitionError::Guard(Guard::AssignedToAnother | Guard::MayNotRead),
        )) => Refusal::NotPermitted,
        RegistryError::Refused(Forbidden::Transition(TransitionError::Guard(Guard::NotOnline))) => {
            Refusal::NotReady
        }
        RegistryError::Refused(Forbidden::Transition(TransitionError::Guard(Guard::NotHolder))) => {
            Refusal::State(StateError::NotOwner)
        }
        RegistryError::Refused(Forbidden::Transition(_)) => {
            Refusal::State(StateError::AlreadyInProgress)
        }
        RegistryError::Backend(_) | RegistryError::Damaged { .. } | RegistryError::Refused(_) => {
            failed(error)
        }
    }
}

#[async_trait]
impl Workitems for ReadingTasks {
    fn title(&self) -> &AeTitle {
        &self.title
    }

    async fn worklist(&self, permit: &Permit<Find>, wanted: &Wanted) -> Result<Worklist, Refusal> {
        let asking = self.asking(permit);
        let pools = asking.pools();
        let reader = asking.reader(&pools);
        let has_role = |of: &OrganisationCode| !asking.agent.actors_at(*of, Work::Any).is_empty();
        let organisations = self.directory.organisations().into_iter();
        let is_wanted = |of: &OrganisationCode| wanted.organisation.is_none_or(|it| it == *of);
        let wanted = WantedTasks {
            organisations: organisations.filter(is_wanted).filter(has_role).collect(),
            has_assigned: asking.agent.kind == AgentKind::User,
            states: wanted.states.clone(),
            subject: wanted.subject,
            scanned_max: READING_TASKS_SCANNED_MAX,
        };
        let at = self.world.moment();
        let found = self.registry.reading_tasks(&reader, &wanted, at).await;
        let found = found.map_err(|error| refusal(&error))?;
        let mut people = self.people();
        let mut workitems = Vec::with_capacity(found.tasks.len());
        for task in &found.tasks {
            let inputs = whole(&task.examination.value.studies);
            // One that cannot be told of keeps nobody from the others.
            match item::workitem(task, inputs, &mut people).await {
                Some(workitem) => workitems.push(workitem),
                None => continue,
            }
        }
        Ok(Worklist {
            workitems,
            is_cut: found.is_cut,
        })
    }

    async fn workitem(&self, permit: &Permit<Find>, task: Task) -> Result<Workitem, Refusal> {
        let asking = self.asking(permit);
        self.seen(&asking, task).await?;
        let pools = asking.pools();
        let reader = asking.reader(&pools);
        let at = self.world.moment();
        // The record of who is told of whom is written here.
        let opened = self
            .registry
            .open_examination(&reader, task.examination(), at);
        let opened = opened.await.map_err(|error| refusal(&error))?;
        let readings = opened.examination.value.readings();
        let reading = readings.get(task.number()).cloned();
        let found = FoundTask {
            reading: reading.ok_or(Refusal::Gone)?,
            examination: opened.examination,
            patient: opened.patient,
        };
        let inputs = self.inputs(&found.examination.value).await?;
        let workitem = item::workitem(&found, inputs, &mut self.people()).await;
        workitem.ok_or(Refusal::Failed)
    }

    async fn change(
        &self,
        permit: &Permit<Claim>,
        task: Task,
        (wish, claim): (Wish, &ClaimUid),
    ) -> Result<Outcome, Refusal> {
        let asking = self.asking(permit);
        for _ in 0..WORKITEM_ATTEMPTS_MAX {
            let (seen, reading) = self.seen(&asking, task).await?;
            asking.only_people()?;
            // It was seen, so that it is there: they have no role that reads there.
            let of_it = &seen.value;
            let actors = asking.agent.actors_at(of_it.performing, of_it.work());
            if actors.is_empty() {
                return Err(Refusal::NotPermitted);
            }
            let is_owner = reading.is_of(&asking.agent.name, claim);
            if reading.state.change(wish, is_owner)? == Outcome::IsSo {
                return Ok(Outcome::IsSo);
            }
            if wish == Wish::Complete {
                return Err(StateError::NoReport.into());
            }
            let begins = wish == Wish::Begin;
            match self.act(&asking.agent, &seen, (begins, claim)).await {
                Ok(()) => return Ok(Outcome::Changes),
                // Somebody did something with it meanwhile: it is looked at again.
                Err(Stopped::Registry(RegistryError::Changed)) => {}
                Err(Stopped::Registry(error)) => return Err(refusal(&error)),
                Err(Stopped::Refused(refusal)) => return Err(refusal),
            }
        }
        Err(Refusal::Busy)
    }

    async fn go_on(
        &self,
        permit: &Permit<Claim>,
        task: Task,
        (claim, progress): (&ClaimUid, Progress),
    ) -> Result<(), Refusal> {
        let asking = self.asking(permit);
        let (_, reading) = self.seen(&asking, task).await?;
        asking.only_people()?;
        match reading.state {
            State::Canceled | State::Completed => return Err(StateError::Over.into()),
            State::Scheduled => return Err(StateError::NotInProgress.into()),
            State::InProgress => {}
        }
        let at = self.world.moment();
        let (agent, percent) = (&asking.agent, progress.percent);
        let gone_on = self
            .registry
            .go_on_reading(agent, (task, claim), percent, at);
        gone_on.await.map_err(|error| refusal(&error))
    }

    async fn request_cancellation(
        &self,
        permit: &Permit<Claim>,
        task: Task,
    ) -> Result<Outcome, Refusal> {
        let (_, reading) = self.seen(&self.asking(permit), task).await?;
        Ok(reading.state.request_cancellation()?)
    }
}
