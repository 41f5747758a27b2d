//! What is kept apart: guesses of strangers and proofs of those who are in, changes of two people,
//! the sessions of one.

use super::*;
use crate::limits::SESSIONS_OF_USER_MAX;

#[tokio::test]
async fn guesses_of_strangers_are_in_nobodys_way_who_is_in() {
    let rig = Rig::new();
    let signed_in = rig.user("b.osmonova", "operator@006", false).await;
    let token = "set_up_x";
    for n in 0..60 {
        let name = if n < 11 { "b.osmonova" } else { "nobody" };
        rig.sign_in(name, "wrong", None).await.unwrap_err();
    }
    let right = credentials("b.osmonova", PASSWORD, None);
    let refused = rig.accounts.sign_in(&right, None, HERE).await.unwrap_err();
    assert!(matches!(refused, Refused::Wait { .. }), "{refused:?}");

    let who = rig.who(&signed_in).await;
    let offered = rig.accounts.offer_second_factor(&who, PASSWORD, HERE).await;
    let secret = offered.unwrap();
    let code = code_at(secret, *rig.now.lock().unwrap());
    let who = rig.who(&signed_in).await;
    let confirmed = rig.accounts.confirm_second_factor(&who, &code, HERE).await;
    confirmed.unwrap();
    let first = FirstUser {
        token: token.to_owned(),
        name: UserName::parse("admin.one").unwrap(),
        display_name: "Admin".to_owned(),
        password: PASSWORD.to_owned(),
    };
    let refused = rig.accounts.set_up(&first, HERE).await;
    assert_eq!(refused, Err(Refused::SetUpOver), "it was looked at");
}

#[tokio::test]
async fn codes_are_counted_apart_from_passwords() {
    let rig = Rig::new();
    let signed_in = rig.user("b.osmonova", "operator@006", false).await;
    let who = rig.who(&signed_in).await;
    let offered = rig.accounts.offer_second_factor(&who, PASSWORD, HERE).await;
    let secret = offered.unwrap();
    let code = code_at(secret, *rig.now.lock().unwrap());
    let who = rig.who(&signed_in).await;
    let confirmed = rig.accounts.confirm_second_factor(&who, &code, HERE).await;
    confirmed.unwrap();
    let wrong = || rig.sign_in("b.osmonova", PASSWORD, Some("000000".to_owned()));
    for _ in 0..10 {
        assert_eq!(wrong().await.unwrap_err(), Refused::WrongCredentials);
    }

    let refused = wrong().await.unwrap_err();

    assert!(matches!(refused, Refused::Wait { .. }), "{refused:?}");
    // Of the password nothing was wrong.
    let asked = rig.sign_in("b.osmonova", PASSWORD, None).await.unwrap_err();
    assert_eq!(asked, Refused::CodeNeeded);
    let who = rig.who(&signed_in).await;
    let other = rig.accounts.change_password(&who, PASSWORD, OTHER, HERE);
    assert!(other.await.is_ok());
}

#[tokio::test]
async fn a_change_of_an_administrator_is_not_overwritten_by_ones_own() {
    let rig = Rig::new();
    let signed_in = rig.user("b.osmonova", "operator@006", false).await;
    let who = rig.who(&signed_in).await;
    let name = UserName::parse("b.osmonova").unwrap();
    let by = Actor::system("test");
    rig.accounts.set_disabled(&name, true, by).await.unwrap();

    let refused = rig.accounts.change_password(&who, PASSWORD, OTHER, HERE);

    assert_eq!(refused.await.unwrap_err(), Refused::Busy);
    let listed = rig.accounts.page(None, 9).await.unwrap();
    assert!(listed[0].is_disabled);
}

#[tokio::test]
async fn another_password_and_its_session_are_one_change() {
    let rig = Rig::new();
    let signed_in = rig.user("b.osmonova", "operator@006", false).await;
    let who = rig.who(&signed_in).await;
    let changed = rig.accounts.change_password(&who, PASSWORD, OTHER, HERE);
    let changed = changed.await.unwrap();

    let told = rig.trail(2).await;
    assert_eq!(told[0].0, Act::SignedIn);
    assert_eq!(told[1].2.as_deref(), Some("PASSWORD_CHANGED"));
    assert!(rig.lives(&changed).await && !rig.lives(&signed_in).await);
}

#[tokio::test]
async fn all_roles_stand_in_the_trail_however_many_they_are() {
    let rig = Rig::new();
    let codes = (1..=40).map(|code| format!("operator@{code:03}"));
    let grants: Vec<_> = codes.map(|text| parse_grant(&text).unwrap()).collect();
    let grants = Grants::new(grants).unwrap();
    let new = NewUser {
        name: UserName::parse("a.many").unwrap(),
        display_name: "Many".to_owned(),
        is_doctor: false,
        grants: grants.clone(),
    };
    rig.accounts.add(new, Actor::system("test")).await.unwrap();

    let mut told = rig.trail(50).await;
    told.retain(|(act, _, _)| *act == Act::RolesChanged);
    told.reverse();
    let texts: Vec<String> = told
        .into_iter()
        .filter_map(|(_, _, reason)| reason)
        .collect();
    assert!(texts.len() > 1);
    assert_eq!(texts.join(" "), shown(&grants));
}

#[tokio::test]
async fn a_role_that_is_too_long_for_a_record_stands_in_the_trail_once_for_each_department() {
    let rig = Rig::new();
    let words = |letter: &str| {
        let words = (10..22).map(|number| format!("{letter}_LONGER_NAME_{number}"));
        words.collect::<Vec<_>>()
    };
    let (kinds, departments) = (words("K"), words("D"));
    let text = |departments: &str| format!("radiographer@006:{}/{departments}", kinds.join(","));
    let role = text(&departments.join(","));
    rig.user("a.many", &role, false).await;

    let mut told = rig.trail(50).await;
    told.retain(|(act, _, _)| *act == Act::RolesChanged);
    told.reverse();
    let told = told.into_iter().filter_map(|(_, _, reason)| reason);
    let expected: Vec<String> = departments.iter().map(|one| text(one)).collect();
    assert_eq!(told.collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn a_further_session_ends_the_oldest_where_there_are_too_many() {
    let rig = Rig::new();
    let first = rig.user("b.osmonova", "operator@006", false).await;
    let mut others = Vec::new();
    for _ in 1..SESSIONS_OF_USER_MAX {
        rig.pass(TimeDelta::seconds(1));
        others.push(rig.sign_in("b.osmonova", PASSWORD, None).await.unwrap());
    }
    // The first of all, with the password that was given, ended by the other password.
    assert!(!rig.lives(&first).await || rig.lives(&others[0]).await);

    rig.pass(TimeDelta::seconds(1));
    let last = rig.sign_in("b.osmonova", PASSWORD, None).await.unwrap();

    assert!(rig.lives(&last).await && rig.lives(others.last().unwrap()).await);
    assert!(!rig.lives(&first).await);
    let ended = rig.trail(9).await;
    let reason = Some("TOO_MANY_SESSIONS".to_owned());
    assert!(
        ended
            .iter()
            .any(|(act, _, why)| *act == Act::SignedOut && *why == reason)
    );
}
