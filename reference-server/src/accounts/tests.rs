//! Accounts with a clock that the tests move.

mod apart;
mod emergency;
mod external;
mod guesses;
mod passcodes;

use super::manage::{FirstUser, NewUser, parse_grant, shown};
use super::*;
use chrono::{DateTime, TimeDelta, Utc};
use pacs_core::account::UserName;
use pacs_core::audit::Outcome;
use pacs_core::role::Grants;
use pacs_store::records::Records;
use pacs_store::records::memory::MemoryRecords;
use std::sync::Mutex;

const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));
const PASSWORD: &str = "wooden bridge 71 goats";
const OTHER: &str = "seven yellow kettles";

/// Accounts over records in memory, at a time that stands still until it is moved.
struct Rig {
    records: Arc<dyn Records>,
    now: Arc<Mutex<DateTime<Utc>>>,
    accounts: Accounts,
}

impl Rig {
    fn new() -> Self {
        let now: DateTime<Utc> = "2026-11-26T08:00:00Z".parse().unwrap();
        let records: Arc<dyn Records> = Arc::new(MemoryRecords::new());
        let now = Arc::new(Mutex::new(now));
        let accounts = opened(&records, &now);
        Self {
            records,
            now,
            accounts,
        }
    }

    fn pass(&self, time: TimeDelta) {
        *self.now.lock().unwrap() += time;
    }

    /// As after a restart.
    fn restarted(&self) -> Accounts {
        opened(&self.records, &self.now)
    }

    /// Makes an account and chooses its password.
    async fn user(&self, name: &str, role: &str, is_doctor: bool) -> SignedIn {
        let new = NewUser {
            name: UserName::parse(name).unwrap(),
            display_name: name.to_owned(),
            is_doctor,
            grants: Grants::new(vec![parse_grant(role).unwrap()]).unwrap(),
        };
        let first = self.accounts.add(new, Actor::system("test")).await.unwrap();
        let signed_in = self.sign_in(name, &first.0, None).await.unwrap();
        let who = self.who(&signed_in).await;
        let changed = self
            .accounts
            .change_password(&who, &first.0, PASSWORD, HERE);
        changed.await.unwrap()
    }

    async fn sign_in(
        &self,
        user: &str,
        password: &str,
        code: Option<String>,
    ) -> Result<SignedIn, Refused> {
        let typed = credentials(user, password, code);
        self.accounts.sign_in(&typed, None, HERE).await
    }

    async fn who(&self, signed_in: &SignedIn) -> Who {
        self.accounts.who(&signed_in.secret).await.unwrap()
    }

    async fn lives(&self, signed_in: &SignedIn) -> bool {
        match self.accounts.who(&signed_in.secret).await {
            Ok(_) => true,
            Err(refused) => {
                assert_eq!(refused, Refused::NotSignedIn);
                false
            }
        }
    }

    /// Acts, outcomes and reasons, newest first.
    async fn trail(&self, count: usize) -> Vec<(Act, Outcome, Option<String>)> {
        let page = self.accounts.trail().page(None, count).await.unwrap();
        let told = page.into_iter().map(|record| record.event);
        told.map(|event| (event.act, event.outcome, event.reason))
            .collect()
    }
}

fn opened(records: &Arc<dyn Records>, now: &Arc<Mutex<DateTime<Utc>>>) -> Accounts {
    let now = Arc::clone(now);
    let rules = AccountRules {
        cost: HashCost {
            memory_kib: 64,
            passes: 1,
        },
        ..AccountRules::default()
    };
    let world = World::at(move || *now.lock().unwrap());
    Accounts::new(AuditTrail::new(Arc::clone(records)), rules, world).unwrap()
}

fn credentials(user: &str, password: &str, code: Option<String>) -> Credentials {
    Credentials {
        user: user.to_owned(),
        password: password.to_owned(),
        code,
    }
}

/// What a telephone shows.
fn code_at(secret: pacs_core::account::totp::TotpSecret, now: DateTime<Utc>) -> String {
    secret.shown_at(u64::try_from(now.timestamp()).unwrap())
}

#[tokio::test]
async fn who_has_a_first_password_chooses_another_and_every_other_session_ends() {
    let rig = Rig::new();
    let now = rig.user("b.osmonova", "radiologist@006", true).await;
    assert!(rig.lives(&now).await && !now.user.must_change_password);

    let again = rig.sign_in(" B.Osmonova", PASSWORD, None).await.unwrap();
    assert_ne!(again.secret, now.secret);
    let who = rig.who(&again).await;
    for (current, new, why) in [
        ("wrong", OTHER, Refused::WrongCredentials),
        (PASSWORD, PASSWORD, PasswordError::Guessable.into()),
        (
            PASSWORD,
            "short",
            PasswordError::TooShort { chars_min: 15 }.into(),
        ),
    ] {
        let refused = rig.accounts.change_password(&who, current, new, HERE).await;
        assert_eq!(refused.unwrap_err(), why);
    }
    let changed = rig
        .accounts
        .change_password(&who, PASSWORD, OTHER, HERE)
        .await
        .unwrap();

    assert!(rig.lives(&changed).await);
    assert!(!rig.lives(&again).await && !rig.lives(&now).await);
    assert_eq!(
        rig.sign_in("b.osmonova", PASSWORD, None).await.unwrap_err(),
        Refused::WrongCredentials
    );
    assert!(rig.sign_in("b.osmonova", OTHER, None).await.is_ok());
}

#[tokio::test]
async fn wrong_names_and_wrong_passwords_are_told_alike_and_what_was_typed_is_not_kept() {
    let rig = Rig::new();
    let _unused = rig.user("b.osmonova", "operator@006", false).await;
    for user in ["b.osmonova", "nobody", "CANARY password", ""] {
        let refused = rig.sign_in(user, "CANARY", None).await.unwrap_err();
        assert_eq!(refused, Refused::WrongCredentials, "{user}");
    }
    let long = "x".repeat(1 << 20);
    assert_eq!(
        rig.sign_in("b.osmonova", &long, None).await.unwrap_err(),
        Refused::WrongCredentials
    );

    let failed = (
        Act::SignedIn,
        Outcome::MinorFailure,
        Some("WRONG_CREDENTIALS".to_owned()),
    );
    assert_eq!(rig.trail(5).await, vec![failed; 5]);
    let told = rig.accounts.trail().page(None, 5).await.unwrap();
    let users: Vec<_> = told
        .iter()
        .map(|it| it.event.object.user.as_deref())
        .collect();
    assert_eq!(
        users,
        [Some("b.osmonova"), None, None, None, Some("b.osmonova")]
    );
    let all = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&all);
    let take = move |_: &str, record: pacs_store::records::Record| {
        let mut kept = kept.lock().unwrap();
        kept.extend(record.key.into_bytes());
        kept.extend(record.value);
        true
    };
    rig.records.each(Box::new(take)).await.unwrap();
    let text = String::from_utf8_lossy(&all.lock().unwrap()).into_owned();
    assert!(!text.contains("CANARY") && !text.contains("goats"));
}

#[tokio::test]
async fn guesses_are_throttled_and_a_restart_forgives_nothing() {
    let rig = Rig::new();
    let signed_in = rig.user("b.osmonova", "operator@006", false).await;
    for _ in 0..10 {
        let refused = rig.sign_in("b.osmonova", "wrong", None).await.unwrap_err();
        assert_eq!(refused, Refused::WrongCredentials);
    }
    let right = credentials("b.osmonova", PASSWORD, None);
    let wait = |refused| matches!(refused, Err(Refused::Wait { seconds: 1..=41 }));
    assert!(
        wait(rig.accounts.sign_in(&right, None, HERE).await),
        "not even the right one"
    );
    let restarted = rig.restarted();
    assert!(wait(restarted.sign_in(&right, None, HERE).await));
    // From elsewhere neither: it is the account that is guessed at. Who is in stays in.
    assert!(wait(
        restarted.sign_in(&right, None, [192, 0, 2, 8].into()).await
    ));
    assert!(rig.lives(&signed_in).await);
    let told = rig.trail(20).await;

    rig.pass(TimeDelta::seconds(41));

    assert!(restarted.sign_in(&right, None, HERE).await.is_ok());
    let failures = told
        .iter()
        .filter(|(_, outcome, _)| *outcome == Outcome::MinorFailure);
    assert_eq!(failures.count(), 10, "what was not looked at is not told");
}

/// Guesses at once are no more than guesses one by one.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_hundred_guesses_at_once_ten_are_looked_at() {
    let rig = Rig::new();
    let _unused = rig.user("b.osmonova", "operator@006", false).await;
    let mut guesses = tokio::task::JoinSet::new();
    for n in 0..100 {
        let accounts = rig.accounts.clone();
        guesses.spawn(async move {
            let typed = credentials("b.osmonova", &format!("guess {n}"), None);
            accounts.sign_in(&typed, None, HERE).await.unwrap_err()
        });
    }
    let refused = guesses.join_all().await;
    let looked_at = refused
        .iter()
        .filter(|it| **it == Refused::WrongCredentials)
        .count();
    assert_eq!(looked_at, 10, "{refused:?}");
    let found = rig.accounts.trail().verify(None, |_| {}).await.unwrap();
    assert_eq!(found.problem, None);
}

#[tokio::test]
async fn one_network_cannot_try_many_names() {
    let rig = Rig::new();
    let mut looked_at = 0;
    for n in 0..200 {
        let refused = rig
            .sign_in(&format!("user{n}"), "wrong", None)
            .await
            .unwrap_err();
        looked_at += u32::from(refused == Refused::WrongCredentials);
    }
    assert_eq!(looked_at, 50);
    let typed = credentials("a", "b", None);
    let elsewhere = rig.accounts.sign_in(&typed, None, [192, 0, 2, 8].into());
    assert_eq!(elsewhere.await.unwrap_err(), Refused::WrongCredentials);
}

#[tokio::test]
async fn sessions_end_by_idleness_by_age_by_signing_out_and_by_disabling() {
    let rig = Rig::new();
    let first = rig.user("b.osmonova", "operator@006", false).await;
    // Used every 20 minutes for twelve hours.
    for _ in 0..35 {
        rig.pass(TimeDelta::minutes(20));
        assert!(rig.lives(&first).await);
    }
    rig.pass(TimeDelta::minutes(20));
    assert!(!rig.lives(&first).await, "after twelve hours");

    let second = rig.sign_in("b.osmonova", PASSWORD, None).await.unwrap();
    rig.pass(TimeDelta::minutes(31));
    assert!(!rig.lives(&second).await, "after half an hour of nothing");

    let third = rig.sign_in("b.osmonova", PASSWORD, None).await.unwrap();
    rig.accounts.sign_out(&third.secret, HERE).await.unwrap();
    assert!(!rig.lives(&third).await);
    assert_eq!(
        rig.accounts.sign_out(&third.secret, HERE).await,
        Err(Refused::NotSignedIn)
    );

    let fourth = rig.sign_in("b.osmonova", PASSWORD, None).await.unwrap();
    let name = UserName::parse("b.osmonova").unwrap();
    let by = || Actor::system("test");
    rig.accounts.set_disabled(&name, true, by()).await.unwrap();
    assert!(!rig.lives(&fourth).await);
    let refused = rig.sign_in("b.osmonova", PASSWORD, None).await.unwrap_err();
    assert_eq!(refused, Refused::WrongCredentials);
    rig.accounts.set_disabled(&name, false, by()).await.unwrap();
    assert!(!rig.lives(&fourth).await, "what has ended stays ended");
    assert!(rig.sign_in("b.osmonova", PASSWORD, None).await.is_ok());
    assert_eq!(
        rig.accounts.who("short").await.unwrap_err(),
        Refused::NotSignedIn
    );
}

#[tokio::test]
async fn what_is_over_is_taken_away_and_told() {
    let rig = Rig::new();
    let _unused = rig.user("b.osmonova", "operator@006", false).await;
    let _unused = rig.sign_in("nobody", "wrong", None).await;
    rig.pass(TimeDelta::hours(13));

    rig.accounts.sweep().await.unwrap();

    let left = rig
        .records
        .list(
            pacs_store::records::Kind::new("account-session"),
            "",
            None,
            9,
        )
        .await;
    assert_eq!(left.unwrap(), []);
    let left = rig
        .records
        .list(
            pacs_store::records::Kind::new("account-throttle"),
            "",
            None,
            9,
        )
        .await;
    assert_eq!(left.unwrap(), []);
    let expired = (Act::SignedOut, Outcome::Success, Some("EXPIRED".to_owned()));
    assert_eq!(rig.trail(2).await, [expired.clone(), expired]);
}

#[tokio::test]
async fn a_session_is_always_a_new_one_and_the_old_one_of_the_browser_ends() {
    let rig = Rig::new();
    let old = rig.user("b.osmonova", "operator@006", false).await;
    let typed = credentials("b.osmonova", PASSWORD, None);
    let planted = "a".repeat(64);
    let first = rig
        .accounts
        .sign_in(&typed, Some(&planted), HERE)
        .await
        .unwrap();
    assert_ne!(first.secret, planted);
    assert!(rig.accounts.who(&planted).await.is_err());

    let second = rig
        .accounts
        .sign_in(&typed, Some(&old.secret), HERE)
        .await
        .unwrap();

    assert!(!rig.lives(&old).await && rig.lives(&first).await && rig.lives(&second).await);
}

#[tokio::test]
async fn a_second_factor_is_asked_for_and_each_code_counts_once() {
    let rig = Rig::new();
    let signed_in = rig.user("b.osmonova", "operator@006", false).await;
    let who = rig.who(&signed_in).await;
    let wrong = rig.accounts.offer_second_factor(&who, "wrong", HERE).await;
    assert_eq!(wrong.unwrap_err(), Refused::WrongCredentials);
    let secret = rig
        .accounts
        .offer_second_factor(&who, PASSWORD, HERE)
        .await
        .unwrap();
    assert!(
        rig.sign_in("b.osmonova", PASSWORD, None).await.is_ok(),
        "not before it is confirmed"
    );
    let code = code_at(secret, *rig.now.lock().unwrap());
    let who = rig.who(&signed_in).await;
    let wrong = rig
        .accounts
        .confirm_second_factor(&who, "000 000 0", HERE)
        .await;
    assert_eq!(wrong, Err(Refused::WrongCredentials));
    rig.accounts
        .confirm_second_factor(&who, &code, HERE)
        .await
        .unwrap();

    let of = |code: Option<&str>| rig.sign_in("b.osmonova", PASSWORD, code.map(str::to_owned));
    assert_eq!(of(None).await.unwrap_err(), Refused::CodeNeeded);
    assert_eq!(
        of(Some(&code)).await.unwrap_err(),
        Refused::WrongCredentials,
        "used already"
    );
    rig.pass(TimeDelta::seconds(30));
    let code = code_at(secret, *rig.now.lock().unwrap());
    assert!(of(Some(&code)).await.is_ok());
    assert_eq!(
        of(Some(&code)).await.unwrap_err(),
        Refused::WrongCredentials
    );
    let wrong = rig.sign_in("b.osmonova", "wrong", None).await.unwrap_err();
    assert_eq!(
        wrong,
        Refused::WrongCredentials,
        "the code is asked for after the password"
    );

    rig.pass(TimeDelta::seconds(30));
    let code = code_at(secret, *rig.now.lock().unwrap());
    let who = rig.who(&signed_in).await;
    assert_eq!(
        rig.accounts
            .offer_second_factor(&who, PASSWORD, HERE)
            .await
            .unwrap_err(),
        Refused::NotPermitted
    );
    rig.accounts
        .remove_second_factor(&who, PASSWORD, &code, HERE)
        .await
        .unwrap();
    assert!(of(None).await.is_ok());
}

#[tokio::test]
async fn the_first_account_is_made_once_by_a_token_of_a_quarter_of_an_hour() {
    let rig = Rig::new();
    let first = |token: &str| FirstUser {
        token: token.to_owned(),
        name: UserName::parse("admin.one").unwrap(),
        display_name: "Admin".to_owned(),
        password: PASSWORD.to_owned(),
    };
    let old = rig.accounts.set_up_token().await.unwrap().unwrap();
    let token = rig.accounts.set_up_token().await.unwrap().unwrap();
    for wrong in [old.as_str(), "", "set_up_"] {
        let refused = rig.accounts.set_up(&first(wrong), HERE).await;
        assert_eq!(refused, Err(Refused::SetUpOver));
    }
    rig.pass(TimeDelta::minutes(15));
    assert_eq!(
        rig.accounts.set_up(&first(&token), HERE).await,
        Err(Refused::SetUpOver)
    );
    let token = rig.accounts.set_up_token().await.unwrap().unwrap();
    let weak = FirstUser {
        password: "short".to_owned(),
        ..first(&token)
    };
    assert!(matches!(
        rig.accounts.set_up(&weak, HERE).await,
        Err(Refused::Password(_))
    ));

    rig.accounts.set_up(&first(&token), HERE).await.unwrap();

    assert_eq!(
        rig.accounts.set_up(&first(&token), HERE).await,
        Err(Refused::SetUpOver)
    );
    assert_eq!(rig.accounts.set_up_token().await.unwrap(), None);
    let signed_in = rig.sign_in("admin.one", PASSWORD, None).await.unwrap();
    assert_eq!(shown(&signed_in.user.grants), "moh_admin@national");
}

#[tokio::test]
async fn an_account_is_reset_without_the_old_password_and_a_name_is_taken_once() {
    let rig = Rig::new();
    let signed_in = rig.user("b.osmonova", "operator@006", false).await;
    let name = UserName::parse("b.osmonova").unwrap();
    let password = rig
        .accounts
        .reset(&name, Actor::system("test"))
        .await
        .unwrap();
    assert!(!rig.lives(&signed_in).await);
    assert_eq!(password.0.len(), 23);
    let again = rig.sign_in("b.osmonova", &password.0, None).await.unwrap();
    assert!(again.user.must_change_password);
    let new = NewUser {
        name,
        display_name: String::new(),
        is_doctor: false,
        grants: Grants::default(),
    };
    assert_eq!(
        rig.accounts
            .add(new, Actor::system("test"))
            .await
            .unwrap_err(),
        Refused::Taken
    );
    let unknown = UserName::parse("nobody").unwrap();
    assert_eq!(
        rig.accounts
            .reset(&unknown, Actor::system("test"))
            .await
            .unwrap_err(),
        Refused::NotFound
    );
    let listed = rig.accounts.page(None, 9).await.unwrap();
    assert_eq!(
        (listed.len(), shown(&listed[0].grants).as_str()),
        (1, "operator@006")
    );
}

#[test]
fn roles_are_read_as_they_are_shown() {
    for text in [
        "operator@006",
        "moh_admin@national",
        "archive_admin@011",
        "radiologist@006:ct",
        "expert@national:ct,xray,US",
        "radiologist@006/RAD",
        "radiologist@006:ct,mr/ER,RAD",
    ] {
        let grants = Grants::new(vec![parse_grant(text).unwrap()]).unwrap();
        assert_eq!(shown(&grants), text);
    }
    for text in [
        "operator",
        "operator@6",
        "operator@",
        "king@006",
        "device@006",
        "service@national",
        "radiologist@006:",
        "radiologist@006:ct,",
        "radiologist@006:CT",
        "radiologist@006:sr",
        "radiologist@006/",
        "radiologist@006/RAD,",
        "radiologist@006/rad",
        "radiologist@006/RAD:ct",
    ] {
        assert!(parse_grant(text).is_err(), "{text}");
    }
}
