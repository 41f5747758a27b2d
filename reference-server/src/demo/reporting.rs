//! Reports of the demonstration: written, signed, sent and opened as people do it.

use super::fill::FillError;
use crate::clock::World;
use pacs_core::ExaminationId;
use pacs_core::OrganisationCode;
use pacs_core::report::{Language, ReportText};
use pacs_core::role::Agent;
use pacs_store::registry::reports::{Recipients, Signing};
use pacs_store::registry::{Moment, Registry, RegistryError};
use std::collections::BTreeSet;

/// How far a report is to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Until {
    /// Signed.
    Signed,
    /// Sent to the organisation that ordered the examination.
    Sent,
    /// Opened there.
    Opened,
}

/// Who does what.
pub(super) struct People {
    pub(super) author: Agent,
    pub(super) author_name: &'static str,
    pub(super) reader: Agent,
    pub(super) organisation: OrganisationCode,
}

/// What is written.
fn text() -> ReportText {
    ReportText {
        description: "Лёгочные поля прозрачны, очаговых и инфильтративных теней нет.\n\
                      Корни структурны, синусы свободны."
            .to_owned(),
        conclusion: "Патологических изменений не выявлено.".to_owned(),
        recommendations: "Контроль по показаниям.".to_owned(),
        ..ReportText::empty(Language::Ru)
    }
}

/// Writes and signs the report of an examination that the author has in work, and what follows.
pub(super) async fn report(
    registry: &Registry,
    world: &World,
    id: ExaminationId,
    (people, until): (&People, Until),
    at: Moment,
) -> Result<(), FillError> {
    let failed = |source: RegistryError| FillError::Registry {
        what: "a report",
        source,
    };
    let author = &people.author;
    let text = text();
    let draft = registry.save_report_draft(author, id, (&text, None), at);
    let draft = draft.await.map_err(failed)?;
    let signing = Signing {
        draft: draft.revision,
        author_name: people.author_name,
        is_identity_confirmed: true,
        has_seen_late_images: true,
        is_proved: true,
        random: [world.random()?, world.random()?],
    };
    let signed = registry.sign_report(author, id, &signing, at);
    signed.await.map_err(failed)?;
    if until >= Until::Sent {
        let recipients = Recipients {
            further: &BTreeSet::new(),
            reason: None,
            expected: None,
        };
        let sent = registry.send_report(author, id, &recipients, at);
        sent.await.map_err(failed)?;
    }
    if until >= Until::Opened {
        let of = (id, people.organisation);
        let opened = registry.acknowledge_report(&people.reader, of, at);
        opened.await.map_err(failed)?;
    }
    Ok(())
}
