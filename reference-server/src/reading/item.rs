//! A reading of an examination as a workitem.

use crate::overlays::{demographics, order};
use pacs_core::account::UserName;
use pacs_core::coerce::OverlayError;
use pacs_core::workitem::{Input, Performed, Performer, State, Urgency, Workitem, worklist_label};
use pacs_store::registry::accounts::{AccountStore, User};
use pacs_store::registry::examinations::{Examination, FoundTask, Priority, Reading};
use std::collections::BTreeMap;

/// What people are called, each asked for once.
pub(super) struct People {
    store: AccountStore,
    known: BTreeMap<String, String>,
}

impl People {
    pub(super) const fn new(store: AccountStore) -> Self {
        Self {
            store,
            known: BTreeMap::new(),
        }
    }

    /// What others call `user`; how they sign in, where nobody knows.
    async fn name(&mut self, user: &str) -> String {
        if let Some(name) = self.known.get(user) {
            return name.clone();
        }
        let found = match UserName::parse(user) {
            Ok(key) => self.store.get::<User>(key.as_str()).await.ok().flatten(),
            Err(_) => None,
        };
        let name = found.map_or_else(|| user.to_owned(), |found| found.value.display_name);
        self.known.insert(user.to_owned(), name.clone());
        name
    }

    async fn performer(&mut self, user: &str, of: &Examination) -> Performer {
        Performer {
            name: self.name(user).await.into(),
            user: user.into(),
            organisation: of.performing.to_string().into(),
        }
    }
}

/// The workitem of a reading; `None` where a text cannot be told, of which the log has which.
pub(super) async fn workitem(
    found: &FoundTask,
    inputs: Vec<Input>,
    people: &mut People,
) -> Option<Workitem> {
    let of = &found.examination.value;
    let performed = performed(&found.reading, of, people).await;
    let meant_for = match &of.assigned_to {
        Some(user) => Some(people.performer(user, of).await),
        None => None,
    };
    match told(found, inputs, (meant_for, performed)) {
        Ok(workitem) => workitem,
        Err(error) => {
            tracing::error!(examination = %of.id, %error, "a reading task cannot be told of");
            None
        }
    }
}

async fn performed(reading: &Reading, of: &Examination, people: &mut People) -> Option<Performed> {
    let (by, began_at) = (reading.by.as_ref()?, reading.began_at?);
    Some(Performed {
        by: people.performer(by, of).await,
        began_at,
        ended_at: reading.ended_at,
        percent: reading.percent,
    })
}

fn told(
    found: &FoundTask,
    inputs: Vec<Input>,
    (meant_for, performed): (Option<Performer>, Option<Performed>),
) -> Result<Option<Workitem>, OverlayError> {
    let (of, reading) = (&found.examination.value, &found.reading);
    let Some(task) = of.task(reading.number) else {
        return Ok(None);
    };
    let ordered = &of.order;
    let is_in_work = reading.state == State::InProgress;
    Ok(Some(Workitem {
        task,
        state: reading.state,
        urgency: match ordered.priority {
            Priority::Stat => Urgency::High,
            Priority::High => Urgency::Medium,
            Priority::Routine => Urgency::Low,
        },
        worklist: worklist_label(of.performing).into(),
        scheduled_at: reading.opened_at,
        changed_at: reading.ended_at.unwrap_or(of.changed_at),
        expires_at: of.lock_ends_at().filter(|_| is_in_work),
        is_ready: !of.progress.is_incomplete(),
        inputs,
        meant_for,
        performed,
        patient: demographics(&found.patient.value)?,
        order: order(of)?,
        placer_number: ordered.placer_number.as_str().into(),
        department: ordered.department.as_str().into(),
        card_number: ordered.card_number.as_str().into(),
        complaints: ordered.complaints.as_str().into(),
        history: ordered.anamnesis.as_str().into(),
        allergies: ordered.allergies.as_str().into(),
        pregnancy: ordered.pregnancy,
    }))
}
