//! Proposes to erase what the policy says is over.

use super::parts::{asking_facts, facts_of, key};
use super::{RejectError, Rejections};
use crate::index::Page;
use crate::limits::{DUE_LOOKED_AT_ONCE, DUE_PROPOSED_MAX};
use crate::registry::Moment;
use crate::registry::erasures::Ground;
use pacs_core::examination::Reason;
use pacs_core::query::Matching;
use pacs_core::role::Agent;
use pacs_core::tag::tags;
use pacs_core::uid::StudyUid;
use pacs_core::{Level, Query};

/// Who proposes it.
const RETENTION: &str = "retention";

impl Rejections {
    /// Proposes to erase studies that are in sight and whose term is over (IOCM, 113039): nothing
    /// goes before two people did what they do, the one who agrees and, until it is final, whoever
    /// could have given it up. What is held, or is proposed already, is left; so is all of it while
    /// as many proposals wait as people can look at. How many were proposed.
    ///
    /// # Errors
    /// [`RejectError`]; what was proposed is.
    pub async fn propose_due(
        &self,
        reason: &Reason,
        random: [u8; 8],
        at: Moment,
    ) -> Result<u64, RejectError> {
        let system = Agent::system(RETENTION);
        let (policy, _) = self.registry.retention().await?;
        let Some(until) = policy.made_until(at.date_naive()) else {
            return Ok(0);
        };
        let made = Matching::Range {
            from: None,
            to: Some(until.format("%Y%m%d").to_string()),
        };
        let query = asking_facts(Query::new(Level::Study).with(key(tags::STUDY_DATE, made)));
        let mut page = Page {
            count_max: DUE_LOOKED_AT_ONCE,
            ..Page::default()
        };
        let waiting = self.registry.open_erasures(&system).await?;
        let mut left = DUE_PROPOSED_MAX.saturating_sub(waiting.len());
        let (mut number, mut count) = (u64::from_be_bytes(random), 0_u64);
        loop {
            let found = self.archive.search_page(&self.find, &query, &page).await?;
            let Some(found) = found else {
                return Ok(count);
            };
            for study in &found.matches {
                let text = study.attributes.text(tags::STUDY_INSTANCE_UID);
                let Ok(uid) = StudyUid::parse_legacy(text.unwrap_or_default()) else {
                    continue;
                };
                page.after = Some(vec![uid.as_str().to_owned()]);
                if left == 0 {
                    return Ok(count);
                }
                let facts = facts_of(&study.attributes);
                let organisation = self.registry.belonging(&uid).await?.organisation;
                let erasure = self.registry.erasure_of_study(&uid).await?;
                if !self.is_term_over(organisation, &facts, at).await?
                    || erasure.is_some_and(|erasure| !erasure.value.is_done())
                    || self.registry.hold_of_study(&uid).await?.is_some()
                {
                    continue;
                }
                let over = (&uid, Ground::TermOver);
                number = number.wrapping_add(1);
                let random = number.to_be_bytes();
                let _turn = self.turn.lock().await;
                self.registry
                    .propose_erasure(&system, over, reason, random, at)
                    .await?;
                left = left.saturating_sub(1);
                count = count.saturating_add(1);
            }
            if !found.has_more {
                return Ok(count);
            }
        }
    }
}
