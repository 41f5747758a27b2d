//! Accounts that are linked with identities at a provider.

use super::*;
use crate::accounts::external::{Named, Shows};
use crate::accounts::manage::Listed;
use crate::limits::{EXTERNAL_IDENTITIES_MAX, FIRST_PASSWORD_LIFE_DAYS};
use crate::oidc::Identity;

const ISSUER: &str = "https://sso.example/realms/health";

fn named(subject: &str) -> Named {
    Named::parse(ISSUER, subject).unwrap()
}

fn identity(subject: &str) -> Identity {
    Identity {
        issuer: ISSUER.to_owned(),
        subject: subject.to_owned(),
        shown: format!("name of {subject}"),
    }
}

impl Rig {
    async fn link(&self, name: &str, subject: &str) -> Result<(), Refused> {
        let name = UserName::parse(name).unwrap();
        let by = Actor::system("test");
        self.accounts
            .set_linked(&name, &named(subject), true, by)
            .await
    }

    async fn come(&self, subject: &str, code: Option<&str>) -> Result<SignedIn, Refused> {
        let identity = identity(subject);
        let shows = Shows {
            identity: &identity,
            is_second_factor: false,
            code,
            old: None,
        };
        self.accounts.sign_in_by_provider(shows, HERE).await
    }
}

#[tokio::test]
async fn an_identity_is_of_one_account_and_an_account_has_a_few() {
    let rig = Rig::new();
    rig.user("first", "operator@006", false).await;
    rig.user("second", "operator@006", false).await;
    assert_eq!(rig.link("nobody", "s0").await, Err(Refused::NotFound));
    for n in 0..EXTERNAL_IDENTITIES_MAX {
        rig.link("first", &format!("s{n}")).await.unwrap();
    }
    assert_eq!(rig.link("first", "more").await, Err(Refused::TooMany));
    assert_eq!(rig.link("first", "s0").await, Err(Refused::Taken));
    assert_eq!(rig.link("second", "s0").await, Err(Refused::Taken));

    let who = rig.come("s7", None).await.unwrap();
    assert_eq!(who.user.name.as_str(), "first");
    assert_eq!(
        rig.come("more", None).await.unwrap_err(),
        Refused::NotLinked
    );
    let told = rig.trail(1).await.remove(0);
    let reason = "UNKNOWN_SUBJECT more (name of more)".to_owned();
    assert_eq!(told, (Act::SignedIn, Outcome::MinorFailure, Some(reason)));
    let page = rig.accounts.trail().page(None, 2).await.unwrap();
    let issuers: Vec<_> = page.iter().map(|it| it.event.object.node.clone()).collect();
    assert_eq!(issuers, [Some(ISSUER.to_owned()), Some(ISSUER.to_owned())]);
    assert_eq!(page[1].event.reason.as_deref(), Some("BY_PROVIDER s7"));
}

#[tokio::test]
async fn what_is_forged_counts_for_the_network_and_what_is_in_vain_does_not() {
    let rig = Rig::new();
    for _ in 0..60 {
        assert_eq!(rig.come("s", None).await.unwrap_err(), Refused::NotLinked);
    }
    let come = || rig.accounts.may_come_from_provider(HERE);
    let mut under_way = Vec::new();
    let refused = loop {
        match come().await {
            Ok(coming) => under_way.push(coming),
            Err(refused) => break refused,
        }
    };
    assert!(matches!(refused, Refused::Wait { .. }), "{refused:?}");
    assert_eq!(under_way.len(), 50, "as many as may be wrong at once");
    let elsewhere = IpAddr::from([198, 51, 100, 1]);
    assert!(rig.accounts.may_come_from_provider(elsewhere).await.is_ok());

    under_way.truncate(20);
    for coming in under_way.drain(..) {
        coming.was_forged("PROVIDER_MIXED_UP").await.unwrap();
    }
    for _ in 0..30 {
        let coming = come().await.unwrap();
        coming.was_forged("PROVIDER_MIXED_UP").await.unwrap();
    }
    assert!(matches!(come().await, Err(Refused::Wait { .. })));
    rig.pass(TimeDelta::seconds(10));
    assert!(come().await.is_ok());
}

#[tokio::test]
async fn of_two_who_link_the_same_identity_at_once_one_is_too_late() {
    let rig = Rig::new();
    rig.user("first", "operator@006", false).await;
    rig.user("second", "operator@006", false).await;
    let of = |name: &'static str| {
        let accounts = rig.accounts.clone();
        tokio::spawn(async move {
            let name = UserName::parse(name).unwrap();
            let known = accounts.known_user(&name).await.unwrap();
            let by = Actor::system("test");
            accounts.link(&known, &named("s"), by, None).await
        })
    };
    let (first, second) = tokio::join!(of("first"), of("second"));
    let both = [first.unwrap(), second.unwrap()];
    assert_eq!(both.iter().filter(|it| it.is_ok()).count(), 1, "{both:?}");
    let late = both.into_iter().find_map(Result::err).unwrap();
    assert!(matches!(late, Refused::Busy | Refused::Taken), "{late:?}");
    assert!(rig.come("s", None).await.is_ok());
}

#[tokio::test]
async fn a_first_password_is_in_nobodys_way_who_comes_from_the_provider() {
    let rig = Rig::new();
    let new = NewUser {
        name: UserName::parse("new.one").unwrap(),
        display_name: "New".to_owned(),
        is_doctor: false,
        grants: Grants::new(vec![parse_grant("operator@006").unwrap()]).unwrap(),
    };
    let first = rig.accounts.add(new, Actor::system("test")).await.unwrap();
    rig.link("new.one", "s").await.unwrap();

    let by_provider = rig.come("s", None).await.unwrap();
    assert!(!rig.who(&by_provider).await.must_change_password());
    let by_password = rig.sign_in("new.one", &first.0, None).await.unwrap();
    assert!(rig.who(&by_password).await.must_change_password());
}

#[tokio::test]
async fn the_code_of_an_account_counts_once_however_somebody_comes() {
    let rig = Rig::new();
    let signed_in = rig.user("b.osmonova", "radiologist@006", true).await;
    let who = rig.who(&signed_in).await;
    let offered = rig.accounts.offer_second_factor(&who, PASSWORD, HERE).await;
    let secret = offered.unwrap();
    let who = rig.who(&signed_in).await;
    let now = || *rig.now.lock().unwrap();
    let first = code_at(secret, now());
    let confirmed = rig.accounts.confirm_second_factor(&who, &first, HERE);
    confirmed.await.unwrap();
    rig.link("b.osmonova", "s").await.unwrap();
    rig.pass(TimeDelta::seconds(60));

    assert_eq!(rig.come("s", None).await.unwrap_err(), Refused::CodeNeeded);
    let code = code_at(secret, now());
    rig.come("s", Some(&code)).await.unwrap();
    let again = rig.come("s", Some(&code)).await;
    assert_eq!(again.unwrap_err(), Refused::WrongCredentials);
    let by_password = rig.sign_in("b.osmonova", PASSWORD, Some(code)).await;
    assert_eq!(by_password.unwrap_err(), Refused::WrongCredentials);
}

#[tokio::test]
async fn what_no_provider_says_is_no_identity() {
    assert!(Named::parse("http://127.0.0.1:8081", "1").is_some());
    for (issuer, subject) in [
        ("", "s"),
        ("sso.example", "s"),
        ("https://sso.example/ж", "s"),
        ("https://sso.example/\n", "s"),
        (ISSUER, ""),
        (ISSUER, " "),
        (ISSUER, "a\u{7f}"),
        (ISSUER, "ж"),
        (ISSUER, &*"x".repeat(256)),
        (&*format!("https://{}", "x".repeat(512)), "s"),
    ] {
        assert_eq!(Named::parse(issuer, subject), None, "{issuer} {subject}");
    }
}

#[tokio::test]
async fn a_first_password_that_nobody_used_ends_by_itself() {
    let rig = Rig::new();
    let name = UserName::parse("linked").unwrap();
    let new = NewUser {
        name: name.clone(),
        display_name: "linked".to_owned(),
        is_doctor: false,
        grants: Grants::new(vec![parse_grant("operator@006").unwrap()]).unwrap(),
    };
    let first = rig.accounts.add(new, Actor::system("test")).await.unwrap();
    rig.link("linked", "s").await.unwrap();
    rig.come("s", None).await.unwrap();
    let life = TimeDelta::days(FIRST_PASSWORD_LIFE_DAYS);
    rig.pass(life - TimeDelta::seconds(1));
    let early = rig.sign_in("linked", &first.0, None).await.unwrap();
    let who = rig.who(&early).await;
    assert!(who.must_change_password());

    rig.pass(TimeDelta::seconds(1));

    let over = Some("FIRST_PASSWORD_OVER".to_owned());
    let refused = rig.sign_in("linked", &first.0, None).await.unwrap_err();
    assert_eq!(refused, Refused::WrongCredentials, "nobody is told which");
    assert_eq!(rig.trail(1).await.remove(0).2, over);
    let change = rig.accounts.change_password(&who, &first.0, PASSWORD, HERE);
    assert_eq!(change.await.unwrap_err(), Refused::WrongCredentials);
    assert_eq!(rig.trail(1).await.remove(0).2, over);
    rig.come("s", None).await.unwrap();
    let listed = rig.accounts.page(None, 9).await.unwrap().remove(0);
    assert_eq!(listed.first_password_until, Some(*rig.now.lock().unwrap()));

    let by = Actor::system("test");
    let second = rig.accounts.reset(&name, by).await.unwrap();
    rig.sign_in("linked", &second.0, None).await.unwrap();
    // One that somebody chose has no end.
    let own = rig.user("own", "operator@006", false).await;
    rig.pass(life * 50);
    assert!(rig.sign_in("own", PASSWORD, None).await.is_ok());
    assert_eq!(Listed::from(&own.user).first_password_until, None);
}
