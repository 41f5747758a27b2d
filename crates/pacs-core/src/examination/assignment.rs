//! Who is to read an examination: who says so, of whom, and who may then take it.
//!
//! It is a fact beside where an examination stands, and no step of [`progress`](super::progress).
//! Who edits orders where it is made names its reader, and another one after that; a reader takes
//! what nobody has; whoever it is for gives it back. An examination that is for somebody is taken
//! into work by nobody else, as long as they read there. A reader reads such images where it is
//! made: an assignment opens nothing that a role does not.

use super::progress::{Actor, Guard};
use super::{Status, TransitionError};
use crate::OrganisationCode;
use crate::role::{Grants, Permission, Work};

/// What an event of it is called.
const ASSIGN: &str = "assign";

/// An examination, as far as it matters who reads it.
#[derive(Debug, Clone, Copy)]
pub struct Assignment<'a> {
    /// Where it stands.
    pub status: Status,
    /// Who makes it.
    pub performing: OrganisationCode,
    /// What of the work of that one it is.
    pub work: Work<'a>,
    /// Who is to read it.
    pub assigned_to: Option<&'a str>,
}

/// Somebody, with their roles.
#[derive(Debug, Clone, Copy)]
pub struct Person<'a> {
    /// Their name.
    pub name: &'a str,
    /// Their roles.
    pub grants: &'a Grants,
}

impl Person<'_> {
    fn has(&self, permission: Permission, of: &Assignment<'_>) -> bool {
        let grants = self.grants;
        grants.reach_over(permission, of.performing, of.work)
    }

    /// Whether they read it: such images, where it is made.
    fn reads(&self, of: &Assignment<'_>) -> bool {
        self.has(Permission::ReportWrite, of)
    }
}

impl Assignment<'_> {
    /// It, as far as it still holds; `assignee` is whom it is for, as they are now, and `None`:
    /// there is no such account, or it is disabled. Whoever does not read here any more is passed
    /// over, so that it waits for nobody who will not come.
    #[must_use]
    pub fn holding(self, assignee: Option<Person<'_>>) -> Self {
        let is_reader = |to: &&str| assignee.is_some_and(|one| one.name == *to && one.reads(&self));
        Self {
            assigned_to: self.assigned_to.filter(is_reader),
            ..self
        }
    }

    /// Whether `by` may say that it is for `to`; `None`: for nobody in particular.
    ///
    /// # Errors
    /// [`TransitionError::Actor`], as one of `actors`, for whoever may not;
    /// [`Guard::MayNotRead`] where `to` does not read here; [`TransitionError::Status`] where
    /// somebody has it in work, or it is over.
    pub fn change(
        &self,
        by: Person<'_>,
        actors: &[Actor],
        to: Option<Person<'_>>,
    ) -> Result<Actor, TransitionError> {
        let actor = actors.first().copied().unwrap_or(Actor::System);
        let is_system = actors.contains(&Actor::System);
        let names_readers = is_system || by.has(Permission::OrderEdit, self);
        let is_theirs = self.assigned_to == Some(by.name);
        let takes = to.is_some_and(|to| to.name == by.name);
        let is_free = self.assigned_to.is_none() || is_theirs;
        let may = match to {
            None => names_readers || is_theirs,
            Some(_) => names_readers || (takes && is_free && by.reads(self)),
        };
        if !may {
            return Err(TransitionError::Actor {
                actor,
                event: ASSIGN,
            });
        }
        let waits = matches!(
            self.status,
            Status::Scheduled | Status::InProgress | Status::ImagesReceived
        );
        if !waits {
            return Err(TransitionError::Status {
                status: self.status,
                event: ASSIGN,
            });
        }
        if to.is_some_and(|to| !to.reads(self)) {
            return Err(Guard::MayNotRead.into());
        }
        Ok(actor)
    }

    /// Whether `reader` may take it into work as far as it is for somebody.
    ///
    /// # Errors
    /// [`Guard::AssignedToAnother`].
    pub fn take(&self, reader: &str) -> Result<(), TransitionError> {
        let is_for_another = self.assigned_to.is_some_and(|to| to != reader);
        if is_for_another && self.status == Status::ImagesReceived {
            return Err(Guard::AssignedToAnother.into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::examination::reconcile::Kind;
    use crate::role::{Grant, Reach, Role};

    fn code(text: &str) -> OrganisationCode {
        OrganisationCode::parse(text).unwrap()
    }

    fn held(role: Role, at: &str) -> Grants {
        Grants::single(Grant::new(role, Reach::Organisation(code(at))))
    }

    fn waiting(assigned_to: Option<&'static str>) -> Assignment<'static> {
        Assignment {
            status: Status::ImagesReceived,
            performing: code("006"),
            work: Work::of_kind(&Kind::Ct),
            assigned_to,
        }
    }

    /// What comes of it that somebody of `role` at `at`, called `me`, assigns it.
    fn tried(
        of: Assignment<'_>,
        (role, at): (Role, &str),
        to: Option<(&str, Role, &str)>,
    ) -> Result<Actor, TransitionError> {
        let grants = held(role, at);
        let (by, actors) = (
            Person {
                name: "me",
                grants: &grants,
            },
            [Actor::User(role)],
        );
        match to {
            None => of.change(by, &actors, None),
            Some((name, role, at)) => {
                let grants = held(role, at);
                let grants = &grants;
                of.change(by, &actors, Some(Person { name, grants }))
            }
        }
    }

    #[test]
    fn nobody_is_named_or_waited_for_who_reads_other_kinds_of_images() {
        let kinds = crate::role::Kinds::new([Kind::Mr]).unwrap();
        let grant = Grant::new(Role::Expert, Reach::Organisation(code("006")));
        let grants = Grants::single(grant.limited_to(kinds));
        let expert = Person {
            name: "expert",
            grants: &grants,
        };
        let operator = held(Role::Operator, "006");
        let by = Person {
            name: "me",
            grants: &operator,
        };
        let named =
            |of: Assignment<'_>| of.change(by, &[Actor::User(Role::Operator)], Some(expert));
        assert_eq!(named(waiting(None)), Err(Guard::MayNotRead.into()));
        let of_mr = Assignment {
            work: Work::of_kind(&Kind::Mr),
            ..waiting(None)
        };
        assert!(named(of_mr).is_ok());
        assert_eq!(
            waiting(Some("expert")).holding(Some(expert)).assigned_to,
            None
        );
    }

    fn is_not_permitted(tried: &Result<Actor, TransitionError>) -> bool {
        matches!(tried, Err(TransitionError::Actor { .. }))
    }

    #[test]
    fn whoever_edits_orders_names_any_reader_of_the_place_and_a_reader_takes_what_is_free() {
        let expert = Some(("expert", Role::Expert, "006"));
        let me = Some(("me", Role::Expert, "006"));
        for role in [Role::Operator, Role::Radiographer, Role::Radiologist] {
            for assigned_to in [None, Some("other"), Some("me")] {
                for to in [None, expert] {
                    let tried = tried(waiting(assigned_to), (role, "006"), to);
                    assert_eq!(
                        tried,
                        Ok(Actor::User(role)),
                        "{role:?} {assigned_to:?} {to:?}"
                    );
                }
            }
        }
        let reads = (Role::Expert, "006");
        assert_eq!(
            tried(waiting(None), reads, me),
            Ok(Actor::User(Role::Expert))
        );
        assert!(
            tried(waiting(Some("me")), reads, None).is_ok(),
            "given back"
        );
        for (assigned_to, to) in [(Some("other"), me), (Some("other"), None), (None, expert)] {
            let tried = tried(waiting(assigned_to), reads, to);
            assert!(
                is_not_permitted(&tried),
                "{assigned_to:?} {to:?}: {tried:?}"
            );
        }
        for role in [
            Role::ArchiveAdmin,
            Role::Auditor,
            Role::MohAdmin,
            Role::OrgAdmin,
            Role::Referrer,
        ] {
            assert!(
                is_not_permitted(&tried(waiting(None), (role, "006"), expert)),
                "{role:?}"
            );
        }
        let elsewhere = tried(waiting(None), (Role::Operator, "001"), expert);
        assert!(is_not_permitted(&elsewhere));
    }

    #[test]
    fn nobody_is_named_who_does_not_read_there_and_nothing_that_is_in_work_or_over() {
        let operator = (Role::Operator, "006");
        for (role, at) in [(Role::Expert, "001"), (Role::Operator, "006")] {
            let tried = tried(waiting(None), operator, Some(("other", role, at)));
            assert_eq!(tried, Err(Guard::MayNotRead.into()), "{role:?} {at}");
        }
        let expert = Some(("expert", Role::Expert, "006"));
        for status in [
            Status::Cancelled,
            Status::Delivered,
            Status::Discontinued,
            Status::Registered,
            Status::Rejected,
            Status::Reported,
            Status::Sent,
            Status::UnderReview,
        ] {
            let of = Assignment {
                status,
                ..waiting(None)
            };
            let tried = tried(of, operator, expert);
            let is_refused = matches!(tried, Err(TransitionError::Status { .. }));
            assert!(is_refused, "{status:?}: {tried:?}");
        }
        for status in [Status::Scheduled, Status::InProgress] {
            let of = Assignment {
                status,
                ..waiting(None)
            };
            assert!(tried(of, operator, expert).is_ok(), "{status:?}");
        }
    }

    #[test]
    fn what_is_for_somebody_is_taken_by_nobody_else() {
        assert_eq!(waiting(None).take("me"), Ok(()));
        assert_eq!(waiting(Some("me")).take("me"), Ok(()));
        let refused = Err(Guard::AssignedToAnother.into());
        assert_eq!(waiting(Some("other")).take("me"), refused);
    }

    #[test]
    fn whoever_does_not_read_there_any_more_is_passed_over() {
        let now = |name, role, at| {
            waiting(Some("other")).holding(Some(Person {
                name,
                grants: &held(role, at),
            }))
        };
        let holds = now("other", Role::Expert, "006");
        assert_eq!(holds.take("me"), Err(Guard::AssignedToAnother.into()));
        for passed_over in [
            waiting(Some("other")).holding(None),
            now("other", Role::Expert, "001"),
            now("other", Role::Operator, "006"),
            now("another", Role::Expert, "006"),
        ] {
            assert_eq!(passed_over.take("me"), Ok(()));
            let me = Some(("me", Role::Expert, "006"));
            assert!(tried(passed_over, (Role::Expert, "006"), me).is_ok());
        }
    }
}
