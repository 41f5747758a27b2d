//! Examinations that only those see who are named for it: what others can do about them, which is
//! nothing, until nobody is left who could.

use crate::examinations::{new_for, reason, save};
use crate::matching::{correcting, header, judge, kept, study, waiting};
use crate::rig::{Rig, code, now, user};
use chrono::{DateTime, Utc};
use pacs_core::ExaminationId;
use pacs_core::account::UserName;
use pacs_core::audit::{Act, Actor, AuditEvent};
use pacs_core::role::{Agent, Grants, Role};
use pacs_core::tag::tags;
use pacs_store::registry::accounts::{AccountStore, PasswordHash, User, put};
use pacs_store::registry::examinations::{Examination, Reader};
use pacs_store::registry::{RegistryError, Stored};
use std::collections::BTreeSet;

fn operator(name: &str) -> Agent {
    user(name, Role::Operator, "006")
}

/// Says who alone sees it, beside whoever says so; or that everybody does.
async fn restrict(
    rig: &Rig,
    who: &Agent,
    id: ExaminationId,
    named: Option<&BTreeSet<UserName>>,
) -> Result<Stored<Examination>, RegistryError> {
    let why = reason();
    let reader = Reader::new(who);
    rig.registry
        .restrict_examination(&reader, (id, named), (&why, None), now())
        .await
}

fn is_not_there<T>(outcome: Result<T, RegistryError>) -> bool {
    matches!(outcome, Err(RegistryError::NotFound { .. }))
}

#[tokio::test]
async fn who_is_not_named_neither_corrects_nor_assigns_nor_learns_of_it() {
    let rig = Rig::new().await;
    let registry = &rig.registry;
    let new = new_for(&rig).await;
    let id = save(registry, &new, 1).await.unwrap().value.id;
    let (named, other) = (operator("named"), operator("other"));
    let digits = id.to_string();
    let typed = [(tags::ACCESSION_NUMBER, digits.as_str())];
    judge(&rig, header("1.2.3", "006", &typed), "006", true)
        .await
        .unwrap();
    judge(&rig, header("1.2.4", "006", &[]), "006", true)
        .await
        .unwrap();
    let kept = kept(&[("1.2.3", 3), ("1.2.4", 2)]);
    let why = reason();
    let correct = async |who: &Agent| {
        let licence = who.licence(code("006")).unwrap();
        let how = |random| correcting(&licence, &kept, &why, random);
        let seen = registry
            .study_match(&licence, &study("1.2.3"))
            .await
            .map(drop);
        let bound = registry
            .bind_study(&how(7), &study("1.2.4"), id)
            .await
            .map(drop);
        let taken = registry
            .unbind_study(&how(8), &study("1.2.3"))
            .await
            .map(drop);
        [seen, bound, taken]
    };
    restrict(&rig, &named, id, Some(&BTreeSet::new()))
        .await
        .unwrap();

    assert!(correct(&other).await.into_iter().all(is_not_there));
    let assigned = registry.assign_examination(&other, (id, None), None, now());
    assert!(is_not_there(assigned.await));
    let [seen, bound, taken] = correct(&named).await;
    assert!(
        seen.is_ok() && bound.is_ok() && taken.is_ok(),
        "{bound:?} {taken:?}"
    );
    assert_eq!(waiting(&rig, "006").await, ["1.2.3"], "it was taken away");
}

pub(crate) fn account(name: &str, is_disabled: bool) -> User {
    let at: DateTime<Utc> = "2026-11-26T08:00:00Z".parse().unwrap();
    User {
        name: UserName::parse(name).unwrap(),
        display_name: name.to_owned(),
        is_doctor: false,
        grants: Grants::default(),
        password: PasswordHash {
            algorithm: "argon2id".to_owned(),
            memory_kib: 8,
            passes: 1,
            lanes: 1,
            salt: String::new(),
            hash: String::new(),
        },
        must_change_password: false,
        second_factor: None,
        is_disabled,
        epoch: 1,
        created_at: at,
        password_changed_at: at,
        external: Vec::new(),
    }
}

#[tokio::test]
async fn where_nobody_who_is_named_can_sign_in_any_more_the_restriction_can_be_lifted() {
    let rig = Rig::new().await;
    let new = new_for(&rig).await;
    let id = save(&rig.registry, &new, 1).await.unwrap().value.id;
    let accounts = AccountStore::new(rig.registry.audit_trail());
    let event = AuditEvent::new(Act::UserChanged, now(), Actor::system("test"));
    let made = vec![put("named", &account("named", false), None)];
    accounts
        .commit(made, std::slice::from_ref(&event))
        .await
        .unwrap();
    let (named, other) = (operator("named"), operator("other"));
    let gone = BTreeSet::from([UserName::parse("gone").unwrap()]);
    restrict(&rig, &named, id, Some(&gone)).await.unwrap();

    assert!(is_not_there(restrict(&rig, &other, id, None).await));
    let known = accounts.get::<User>("named").await.unwrap().unwrap();
    let disabled = known.changed_to(&account("named", true));
    accounts.commit(vec![disabled], &[event]).await.unwrap();
    let elsewhere = user("elsewhere", Role::Operator, "001");
    assert!(is_not_there(restrict(&rig, &elsewhere, id, None).await));
    assert!(is_not_there(restrict(&rig, &other, id, Some(&gone)).await));

    let lifted = restrict(&rig, &other, id, None).await.unwrap().value;
    assert!(!lifted.is_restricted && lifted.named.is_empty());
}
