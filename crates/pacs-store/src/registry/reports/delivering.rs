//! «Отправить в ОЗ»: which organisations have which version of a report, and who opened it there.

use super::{ReportVersion, State, told};
use crate::limits::{REPORT_RECIPIENTS_MAX, REPORTS_SENT_SCANNED_MAX};
use crate::records::Kind;
use crate::registry::batch::Batch;
use crate::registry::document::Document;
use crate::registry::examinations::{Action, Examination, Random, as_system, newest_first};
use crate::registry::{Moment, Refusal, Registry, RegistryError, Stored};
use pacs_core::audit::Act;
use pacs_core::examination::{Event, Reason, Status};
use pacs_core::role::{Agent, Extent, Permission};
use pacs_core::{ExaminationId, OrganisationCode};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Reports that an organisation was sent, the newest sending first.
const INBOX: Kind = Kind::new("report-inbox");

/// Between the parts of a key.
const BETWEEN: char = '\u{1f}';

/// That somebody of an organisation opened what it was sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opening {
    /// The user.
    pub by: String,
    /// When.
    pub at: Moment,
    /// Which version.
    pub version: u32,
}

/// What an organisation was sent of a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// Of which examination.
    pub examination: ExaminationId,
    /// To whom.
    pub organisation: OrganisationCode,
    /// The last version that was sent.
    pub number: u32,
    /// Who sent it.
    pub sent_by: String,
    /// When.
    pub sent_at: Moment,
    /// Why to this organisation, where it neither ordered nor made the examination.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// Who opened the last version that was opened there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opened: Option<Opening>,
}

impl Document for Delivery {
    const KIND: Kind = Kind::new("report-delivery");
    const NAME: &'static str = "delivery of a report";
}

impl Delivery {
    fn key(&self) -> String {
        key_of(self.examination, self.organisation)
    }

    fn keys(&self) -> BTreeSet<(Kind, String)> {
        let (organisation, id) = (self.organisation, self.examination);
        let at = newest_first(self.sent_at);
        BTreeSet::from([(INBOX, format!("{organisation}{BETWEEN}{at}{BETWEEN}{id}"))])
    }
}

fn key_of(id: ExaminationId, organisation: OrganisationCode) -> String {
    format!("{id}/{organisation}")
}

/// To whom a report is sent.
#[derive(Debug, Clone, Copy)]
pub struct Recipients<'a> {
    /// Organisations, beside the one that ordered the examination and those that had a version.
    pub further: &'a BTreeSet<OrganisationCode>,
    /// Why to such as neither ordered nor made it.
    pub reason: Option<&'a Reason>,
    /// What the examination must be at; `None`: whatever it is at.
    pub expected: Option<State>,
}

/// A part of what an organisation was sent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeliveryPage {
    /// What it was sent, the newest first, with the examination.
    pub deliveries: Vec<(Stored<Delivery>, Examination)>,
    /// Where the next part begins; `None` after the last.
    pub next: Option<String>,
}

/// Whether `agent` reads for `organisation` what it was sent of `examination`.
pub(super) fn may_read(
    agent: &Agent,
    organisation: OrganisationCode,
    examination: &Examination,
) -> bool {
    let (grants, permission) = (&agent.grants, Permission::ReportView);
    let works = examination.works_at(organisation);
    let mut extents = works.flat_map(|work| grants.extents_over(permission, organisation, work));
    extents.any(|extent| reads(agent, extent, examination)) && !examination.is_kept_from(agent)
}

/// Whether a role that reads reports as far as `extent` reads this one.
pub(super) fn reads(agent: &Agent, extent: Extent, examination: &Examination) -> bool {
    let is_own = || examination.requester == agent.name;
    extent == Extent::Whole || (extent == Extent::OwnOrders && is_own())
}

impl Registry {
    /// Sends the report that stands to the organisation that ordered the examination, to whoever
    /// had an older version, and to whom it is to go besides.
    ///
    /// # Errors
    /// [`Refusal::Transition`]; [`Refusal::Unfit`] where a reason is missing, or there are too
    /// many;
    /// [`RegistryError::NotFound`] for an organisation that is not there, and for whoever has
    /// nothing to do with the examination; [`RegistryError::Changed`]; [`RegistryError`].
    pub async fn send_report(
        &self,
        agent: &Agent,
        id: ExaminationId,
        recipients: &Recipients<'_>,
        at: Moment,
    ) -> Result<Stored<Examination>, RegistryError> {
        let _turn = self.turn().await;
        let before = self.examination_of_id(id).await?;
        let (what, found) = ("examination", &before.value);
        if agent.actors_at(found.performing, found.work()).is_empty() || found.is_kept_from(agent) {
            return Err(RegistryError::NotFound { what });
        }
        let expected = recipients.expected;
        if expected.is_some_and(|expected| expected != before.revision) {
            return Err(RegistryError::Changed);
        }
        let had = self.deliveries_of(id).await?;
        let all = self.recipients(found, recipients, &had).await?;
        let event = Event::Send {
            recipients: all.len(),
        };
        let mut batch = Batch::default();
        let after = self
            .add_event(&mut batch, agent, &before, event, at)
            .await?;
        let versions = self.report_versions(id).await?;
        let standing = versions.last();
        let standing = standing.ok_or(RegistryError::NotFound { what: "report" })?;
        for organisation in all {
            let old = had
                .iter()
                .find(|old| old.value.organisation == organisation);
            let is_of_it = [found.ordering, found.performing].contains(&organisation);
            let reason = recipients.reason.filter(|_| !is_of_it).cloned();
            let delivery = Delivery {
                examination: id,
                organisation,
                number: standing.value.number,
                sent_by: agent.name.clone(),
                sent_at: at,
                reason: reason.or_else(|| old.and_then(|old| old.value.reason.clone())),
                opened: old.and_then(|old| old.value.opened.clone()),
            };
            let key = delivery.key();
            batch.put(&key, &delivery, old.map(|old| old.revision))?;
            let had = old.map(|old| old.value.keys()).unwrap_or_default();
            self.reindex(&mut batch, &had, &delivery.keys(), &key)
                .await?;
        }
        let record = told(Act::ReportSent, agent, &after, at);
        let states = self.commit(batch, record).await?;
        let state = states.first().copied().ok_or(RegistryError::Changed)?;
        Stored::of(after, state)
    }

    async fn add_event(
        &self,
        batch: &mut Batch,
        agent: &Agent,
        before: &Stored<Examination>,
        event: Event,
        at: Moment,
    ) -> Result<Examination, RegistryError> {
        let action = Action {
            event: event.clone(),
            order: None,
            expected: None,
            random: Random::default(),
        };
        let step = self.add_step(batch, agent, before, (&event, &action), at);
        Ok(step.await?.0)
    }

    async fn recipients(
        &self,
        examination: &Examination,
        wanted: &Recipients<'_>,
        had: &[Stored<Delivery>],
    ) -> Result<BTreeSet<OrganisationCode>, RegistryError> {
        let (ordering, performing) = (examination.ordering, examination.performing);
        for organisation in wanted.further {
            self.organisation(*organisation).await?;
            let is_of_it = [ordering, performing].contains(organisation);
            if !is_of_it && wanted.reason.is_none() {
                return Err(Refusal::Unfit { what: "reason" }.into());
            }
        }
        let had = had.iter().map(|had| had.value.organisation);
        let further = wanted.further.iter().copied();
        let all: BTreeSet<_> = had.chain(further).chain([ordering]).collect();
        if all.len() > REPORT_RECIPIENTS_MAX {
            return Err(Refusal::Unfit { what: "recipients" }.into());
        }
        Ok(all)
    }

    /// What organisations were sent of a report.
    pub(super) async fn deliveries_of(
        &self,
        id: ExaminationId,
    ) -> Result<Vec<Stored<Delivery>>, RegistryError> {
        self.list(&format!("{id}/"), None, REPORT_RECIPIENTS_MAX)
            .await
    }

    /// Takes note that `agent` opened for `organisation` what it was sent. Where that is the one
    /// that ordered the examination, the report that stands is delivered.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`] where it was sent nothing, or `agent` does not read it there;
    /// [`RegistryError`].
    pub async fn acknowledge_report(
        &self,
        agent: &Agent,
        (id, organisation): (ExaminationId, OrganisationCode),
        at: Moment,
    ) -> Result<Stored<Delivery>, RegistryError> {
        let _turn = self.turn().await;
        let key = key_of(id, organisation);
        let before = self.find::<Delivery>(&key).await?;
        let missing = || RegistryError::NotFound {
            what: Delivery::NAME,
        };
        let before = before.ok_or_else(missing)?;
        let examination = self.examination_of_id(id).await?;
        if !may_read(agent, organisation, &examination.value) {
            return Err(missing());
        }
        let version = before.value.number;
        let opened = before.value.opened.as_ref();
        if opened.is_some_and(|opened| opened.version == version) {
            return Ok(before);
        }
        let mut after = before.value.clone();
        after.opened = Some(Opening {
            by: agent.name.clone(),
            at,
            version,
        });
        let mut batch = Batch::default();
        batch.main(&key, &after, Some(&before))?;
        let versions = self.report_versions(id).await?;
        let standing = versions.last().map(|standing| &standing.value);
        let is_current = standing.is_some_and(|standing| standing.number == version);
        if is_current && delivers(agent, &after, &examination.value, standing) {
            let event = Event::Acknowledge {
                is_current_version: true,
            };
            let system = as_system(agent);
            self.add_event(&mut batch, &system, &examination, event, at)
                .await?;
        }
        let mut record = told(Act::ReportRead, agent, &examination.value, at);
        record.actor.organisation = Some(organisation);
        let states = self.commit(batch, record).await?;
        let state = states.first().copied().ok_or(RegistryError::Changed)?;
        Stored::of(after, state)
    }

    /// What an organisation was sent, the newest first, as far as `agent` reads it there, from
    /// where a former part says.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn reports_sent_to(
        &self,
        agent: &Agent,
        organisation: OrganisationCode,
        (after, count_max): (Option<&str>, usize),
    ) -> Result<DeliveryPage, RegistryError> {
        let prefix = format!("{organisation}{BETWEEN}");
        let mut page = DeliveryPage::default();
        let scanned = self
            .records()
            .list(INBOX, &prefix, after, REPORTS_SENT_SCANNED_MAX)
            .await?;
        let is_last = scanned.len() < REPORTS_SENT_SCANNED_MAX;
        for record in scanned {
            let to = String::from_utf8(record.value);
            let damaged = |_| RegistryError::Damaged { what: INBOX.name() };
            let delivery = self.read::<Delivery>(&to.map_err(damaged)?).await?;
            let examination = self.examination_of_id(delivery.value.examination).await?;
            if may_read(agent, organisation, &examination.value) {
                page.deliveries.push((delivery, examination.value));
            }
            page.next = Some(record.key);
            if page.deliveries.len() >= count_max {
                return Ok(page);
            }
        }
        if is_last {
            page.next = None;
        }
        Ok(page)
    }
}

/// Whether the report is delivered now: somebody else than its author has it at the organisation
/// that ordered it, and it was on its way.
fn delivers(
    agent: &Agent,
    delivery: &Delivery,
    examination: &Examination,
    standing: Option<&ReportVersion>,
) -> bool {
    let is_author = standing.is_some_and(|standing| standing.author == agent.name);
    let is_on_its_way =
        examination.status() == Status::Sent || examination.progress.is_revised_from(Status::Sent);
    delivery.organisation == examination.ordering && !is_author && is_on_its_way
}
