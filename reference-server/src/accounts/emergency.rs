//! Break glass: a doctor opens one patient for an hour, says why, and somebody looks at it.

use super::own::Proves;
use super::{Accounts, Refused, Who, actor_of, hex};
use crate::clock::local;
use crate::limits::{
    ACCOUNTS_PAGE_COUNT, API_EMERGENCIES_SCANNED_MAX, BREAK_GLASS_OPEN_PER_USER_MAX,
};
use chrono::NaiveDate;
use pacs_core::account::UserName;
use pacs_core::account::break_glass::{BreakGlassReason, Verdict, explanation, review_due};
use pacs_core::audit::{Act, Actor, Purpose};
use pacs_core::patient::PatientKey;
use pacs_core::role::visibility::{BREAK_GLASS_DURATION, BreakGlass};
use pacs_core::role::{Grant, Permission, Reach, Role};
use pacs_core::{OrganisationCode, Phi};
use pacs_store::registry::accounts::{Emergency, Kept, Review, put};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// Whom a doctor wants to open, and why.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The patient.
    pub patient: PatientKey,
    /// From the list.
    pub reason: BreakGlassReason,
    /// In words.
    pub explanation: String,
    /// The code of the second factor, or where there is none the password.
    pub proof: String,
}

/// An emergency as it is shown.
#[derive(Debug, Clone)]
pub struct Shown {
    /// By this it is named.
    pub id: String,
    /// What is kept of it.
    pub emergency: Emergency,
    /// By when somebody has to look at it.
    pub review_due: NaiveDate,
}

impl From<Shown> for BreakGlass {
    fn from(shown: Shown) -> Self {
        Self::open(shown.emergency.patient, shown.emergency.opened_at)
    }
}

/// A part of those that somebody has to look at.
#[derive(Debug, Clone, Default)]
pub struct ToReview {
    /// They.
    pub emergencies: Vec<Shown>,
    /// Behind which one the next part begins; `None` after the last.
    pub next: Option<String>,
}

fn shown(kept: Kept<Emergency>) -> Shown {
    let opened = local(kept.value.opened_at).date_naive();
    Shown {
        id: kept.key,
        review_due: review_due(opened),
        emergency: kept.value,
    }
}

impl Accounts {
    /// Opens a patient.
    ///
    /// # Errors
    /// [`Refused::NotPermitted`] for whoever is no doctor with the permission, or has too many
    /// open; [`Refused::Explanation`]; [`Refused::WrongCredentials`] for the proof;
    /// [`Refused::Wait`], [`Refused::Busy`], [`Refused::Internal`].
    pub async fn open_in_emergency(
        &self,
        who: &Who,
        wanted: &Wanted,
        from: IpAddr,
    ) -> Result<Shown, Refused> {
        let user = &who.user.value;
        if !user.is_doctor || !user.grants.has(Permission::BreakGlass) {
            return Err(Refused::NotPermitted);
        }
        let explanation = explanation(&wanted.explanation)?;
        let open = self.open_emergencies(who).await?;
        if open.len() >= BREAK_GLASS_OPEN_PER_USER_MAX {
            return Err(Refused::NotPermitted);
        }
        let mut next = user.clone();
        if user
            .second_factor
            .as_ref()
            .is_some_and(|it| it.is_confirmed)
        {
            self.prove_by_code(&mut next, &wanted.proof, from).await?;
        } else {
            let proves = (Proves::Person, from);
            self.prove(who, &wanted.proof, proves).await?;
        }
        let now = self.inner.world.now();
        let random = hex(&self.inner.world.random::<4>()?);
        let key = format!(
            "{}~{:020}~{random}",
            user.name,
            now.timestamp_millis().max(0)
        );
        let emergency = Emergency {
            user: user.name.clone(),
            patient: wanted.patient,
            reason: wanted.reason,
            explanation,
            opened_at: now,
            closed_at: None,
            review: None,
        };
        let actor = actor_of(user, Some(&who.session.key));
        let mut event = self.event(Act::BreakGlassStarted, actor, Some(from));
        event.object.patient = Some(Phi::new(wanted.patient));
        event.purpose = Some(Purpose::Emergency);
        event.reason = Some(wanted.reason.name().to_owned());
        event.correlation = Some(key.clone());
        // The code is used up; and an account that was changed meanwhile, or opens another patient
        // at the same moment, opens nothing.
        let changes = vec![put(&key, &emergency, None), who.user.changed_to(&next)];
        self.inner.store.commit(changes, &[event]).await?;
        tracing::warn!(user = %user.name, id = key, "a patient was opened in an emergency");
        let kept = self.inner.store.get(&key).await?;
        kept.map(shown).ok_or(Refused::Internal)
    }

    /// What `who` has open now, for the rule of visibility.
    ///
    /// # Errors
    /// [`Refused::Internal`].
    pub async fn open_emergencies(&self, who: &Who) -> Result<Vec<Shown>, Refused> {
        let now = self.inner.world.now();
        // The keys hold the time, and those of an hour ago are over: a doctor may have had many.
        let prefix = format!("{}~", who.user.value.name);
        let since = now.checked_sub_signed(BREAK_GLASS_DURATION).unwrap_or(now);
        let after = format!("{prefix}{:020}", since.timestamp_millis().max(0));
        let store = &self.inner.store;
        let of_user = store.list::<Emergency>(&prefix, Some(&after), ACCOUNTS_PAGE_COUNT);
        let of_user = of_user.await?;
        let is_open = |kept: &Kept<Emergency>| {
            let Emergency { patient, .. } = kept.value;
            let glass = BreakGlass::open(patient, kept.value.opened_at);
            kept.value.closed_at.is_none() && glass.opens(patient, now)
        };
        Ok(of_user.into_iter().filter(is_open).map(shown).collect())
    }

    /// Closes whatever `who` has open, before the hour is over.
    ///
    /// # Errors
    /// [`Refused::Busy`], [`Refused::Internal`].
    pub async fn close_emergencies(&self, who: &Who, from: IpAddr) -> Result<(), Refused> {
        let actor = actor_of(&who.user.value, Some(&who.session.key));
        for open in self.open_emergencies(who).await? {
            let kept = self.inner.store.get::<Emergency>(&open.id).await?;
            if let Some(kept) = kept {
                self.close(&kept, actor.clone(), Some(from), "CLOSED")
                    .await?;
            }
        }
        Ok(())
    }

    pub(super) async fn close_if_over(&self, kept: &Kept<Emergency>) -> Result<(), Refused> {
        let glass = BreakGlass::open(kept.value.patient, kept.value.opened_at);
        let is_open = glass.opens(kept.value.patient, self.inner.world.now());
        if is_open || kept.value.closed_at.is_some() {
            return Ok(());
        }
        self.close(kept, Actor::system("accounts"), None, "EXPIRED")
            .await
    }

    async fn close(
        &self,
        kept: &Kept<Emergency>,
        actor: Actor,
        from: Option<IpAddr>,
        reason: &str,
    ) -> Result<(), Refused> {
        let next = Emergency {
            closed_at: Some(self.inner.world.now()),
            ..kept.value.clone()
        };
        let mut event = self.event(Act::BreakGlassStopped, actor, from);
        event.object.patient = Some(Phi::new(kept.value.patient));
        event.object.user = Some(kept.value.user.as_str().to_owned());
        event.reason = Some(reason.to_owned());
        event.correlation = Some(kept.key.clone());
        let change = kept.changed_to(&next);
        Ok(self.inner.store.commit(vec![change], &[event]).await?)
    }

    /// Up to `count_max` emergencies that nobody has looked at, of those whom `who` may judge, by
    /// the name of the doctor, from where a former part says. A part may have fewer than it could.
    /// The audit record has who asked.
    ///
    /// # Errors
    /// [`Refused::NotPermitted`], [`Refused::Busy`], [`Refused::Internal`].
    pub async fn emergencies_to_review(
        &self,
        who: &Who,
        (after, count_max): (Option<&str>, usize),
        from: IpAddr,
    ) -> Result<ToReview, Refused> {
        if !who.user.value.grants.has(Permission::AuditRead) {
            return Err(Refused::NotPermitted);
        }
        let actor = actor_of(&who.user.value, Some(&who.session.key));
        let mut event = self.event(Act::Queried, actor, Some(from));
        event.object.query = Some(Phi::new("emergencies to review".to_owned()));
        event.correlation = self.inner.world.correlation();
        let store = &self.inner.store;
        store.commit(Vec::new(), &[event]).await?;
        let mut part = ToReview {
            next: after.map(str::to_owned),
            ..ToReview::default()
        };
        let mut scanned_count = 0;
        while scanned_count < API_EMERGENCIES_SCANNED_MAX {
            let page = store.list::<Emergency>("", part.next.as_deref(), ACCOUNTS_PAGE_COUNT);
            let page = page.await?;
            let is_last = page.len() < ACCOUNTS_PAGE_COUNT;
            scanned_count += page.len();
            for kept in page {
                part.next = Some(kept.key.clone());
                if kept.value.review.is_none() && self.may_review(who, &kept.value).await? {
                    part.emergencies.push(shown(kept));
                }
                if part.emergencies.len() >= count_max {
                    return Ok(part);
                }
            }
            if is_last {
                part.next = None;
                break;
            }
        }
        Ok(part)
    }

    /// Judges an emergency.
    ///
    /// # Errors
    /// [`Refused::NotFound`], also where `who` may not; [`Refused::Taken`] where somebody has;
    /// [`Refused::Explanation`], [`Refused::Busy`], [`Refused::Internal`].
    pub async fn review_emergency(
        &self,
        who: &Who,
        id: &str,
        (verdict, text): (Verdict, &str),
        from: IpAddr,
    ) -> Result<Shown, Refused> {
        let kept = self.inner.store.get::<Emergency>(id).await?;
        let kept = kept.ok_or(Refused::NotFound)?;
        if !self.may_review(who, &kept.value).await? {
            return Err(Refused::NotFound);
        }
        if kept.value.review.is_some() {
            return Err(Refused::Taken);
        }
        let next = Emergency {
            review: Some(Review {
                by: who.user.value.name.clone(),
                at: self.inner.world.now(),
                verdict,
                explanation: explanation(text)?,
            }),
            ..kept.value.clone()
        };
        let actor = actor_of(&who.user.value, Some(&who.session.key));
        let mut event = self.event(Act::BreakGlassReviewed, actor, Some(from));
        event.object.patient = Some(Phi::new(kept.value.patient));
        event.object.user = Some(kept.value.user.as_str().to_owned());
        event.reason = Some(match verdict {
            Verdict::Justified => "JUSTIFIED".to_owned(),
            Verdict::Unjustified => "UNJUSTIFIED".to_owned(),
        });
        event.correlation = Some(kept.key.clone());
        let change = kept.changed_to(&next);
        self.inner.store.commit(vec![change], &[event]).await?;
        Ok(shown(Kept {
            value: next,
            ..kept
        }))
    }

    /// The organisations that somebody has roles at.
    ///
    /// # Errors
    /// [`Refused::Internal`].
    pub(crate) async fn organisations_of(
        &self,
        name: &UserName,
    ) -> Result<BTreeSet<OrganisationCode>, Refused> {
        let user = self.user(Some(name)).await?;
        let grants = user.map(|user| Vec::from(user.value.grants));
        let reaches = grants
            .unwrap_or_default()
            .into_iter()
            .map(|grant| grant.reach);
        Ok(reaches
            .filter_map(|reach| match reach {
                Reach::Organisation(code) => Some(code),
                Reach::National => None,
            })
            .collect())
    }

    /// An auditor may judge all, the administrator of an organisation those of its people; nobody
    /// their own.
    async fn may_review(&self, who: &Who, emergency: &Emergency) -> Result<bool, Refused> {
        let reviewer = &who.user.value;
        if reviewer.name == emergency.user {
            return Ok(false);
        }
        let grants: Vec<_> = reviewer.grants.clone().into();
        let of_all = |grant: &Grant| grant.role == Role::Auditor && grant.reach == Reach::National;
        if grants.iter().any(of_all) {
            return Ok(true);
        }
        let organisations = self.organisations_of(&emergency.user).await?;
        let reads = |code: &OrganisationCode| {
            let mut extents = reviewer.grants.extents(Permission::AuditRead, *code);
            extents.next().is_some()
        };
        Ok(organisations.iter().any(reads))
    }
}
