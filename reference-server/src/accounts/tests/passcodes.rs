//! Passcodes for associations: whose they are, for how long.

use super::*;
use pacs_store::registry::accounts::Session;

async fn known(accounts: &Accounts, name: &str, passcode: &str) -> Result<String, Refused> {
    let who = accounts.who_by_passcode(name.as_bytes(), passcode.as_bytes());
    who.await.map(|who| who.user.value.name.as_str().to_owned())
}

const NOBODY: Result<String, Refused> = Err(Refused::NotSignedIn);

#[tokio::test]
async fn a_passcode_is_of_one_session_of_one_person_and_is_not_kept_as_it_is() {
    let rig = Rig::new();
    let doctor = rig.user("doctor", "radiologist@006", true).await;
    let nurse = rig.user("nurse", "operator@006", false).await;
    let first = rig.sign_in("doctor", PASSWORD, None).await.unwrap();
    let mut shown = Vec::new();
    for session in [&doctor, &first, &nurse] {
        let who = rig.who(session).await;
        let given = rig.accounts.give_passcode(&who, HERE).await.unwrap();
        shown.push(given.shown());
    }
    let told = rig.trail(1).await;
    let reason = Some("PASSCODE_GIVEN".to_owned());
    assert_eq!(told, [(Act::UserChanged, Outcome::Success, reason)]);

    // After a restart, too, and in the letters that somebody types.
    let accounts = rig.restarted();
    for (name, passcode, whose) in [
        ("doctor", &shown[0], "doctor"),
        ("doctor", &shown[1], "doctor"),
        (
            " Doctor",
            &shown[1].to_uppercase().replace('-', " "),
            "doctor",
        ),
        ("nurse", &shown[2], "nurse"),
    ] {
        assert_eq!(known(&accounts, name, passcode).await, Ok(whose.to_owned()));
    }
    for (name, passcode) in [
        ("nurse", shown[0].as_str()),
        ("doctor", &shown[2]),
        ("nobody", &shown[2]),
        ("", &shown[2]),
        ("doctor", PASSWORD),
        ("doctor", &doctor.secret),
        ("doctor", ""),
    ] {
        assert_eq!(known(&accounts, name, passcode).await, NOBODY, "{name}");
    }
    // Nothing of it can be read out of what is kept, and it opens no session.
    let kept = rig
        .accounts
        .inner
        .store
        .list::<User>("", None, 9)
        .await
        .unwrap();
    let sessions = rig.accounts.inner.store.list::<Session>("", None, 9);
    let kept = format!("{kept:?}{:?}", sessions.await.unwrap());
    let bare: Vec<String> = shown.iter().map(|shown| shown.replace('-', "")).collect();
    assert!(bare.iter().all(|bare| !kept.contains(bare)), "{kept}");
    let signed_in = accounts.who(&bare[0]).await;
    assert_eq!(signed_in.map(drop), Err(Refused::NotSignedIn));
    assert!(rig.sign_in("doctor", &shown[0], None).await.is_err());
}

#[tokio::test]
async fn a_passcode_ends_with_its_session_which_its_use_keeps_alive() {
    let rig = Rig::new();
    let accounts = &rig.accounts;
    let session = rig.user("doctor", "radiologist@006", true).await;
    let given = |who: Who| async move {
        let given = accounts.give_passcode(&who, HERE).await;
        given.unwrap().shown()
    };
    let old = given(rig.who(&session).await).await;
    let passcode = given(rig.who(&session).await).await;
    let is_known = async |passcode: &str| known(accounts, "doctor", passcode).await.is_ok();
    assert!(!is_known(&old).await && is_known(&passcode).await);

    // Half an hour without any use ends a session; searching at a workstation is one.
    for _ in 0..4 {
        rig.pass(TimeDelta::minutes(20));
        assert!(is_known(&passcode).await);
    }
    assert!(rig.lives(&session).await);
    rig.pass(TimeDelta::minutes(31));
    assert!(!is_known(&passcode).await);
    accounts.sweep().await.unwrap();
    assert!(!is_known(&passcode).await);

    // Whatever is done, not longer than a session.
    let session = rig.sign_in("doctor", PASSWORD, None).await.unwrap();
    let passcode = given(rig.who(&session).await).await;
    for _ in 0..(12 * 3 - 1) {
        rig.pass(TimeDelta::minutes(20));
        assert!(is_known(&passcode).await);
    }
    rig.pass(TimeDelta::minutes(20));
    assert!(!is_known(&passcode).await);

    let session = rig.sign_in("doctor", PASSWORD, None).await.unwrap();
    let who = rig.who(&session).await;
    let passcode = given(who.clone()).await;
    assert!(is_known(&passcode).await);
    accounts.sign_out(&session.secret, HERE).await.unwrap();
    assert!(!is_known(&passcode).await);
    let late = accounts.give_passcode(&who, HERE).await;
    assert_eq!(late.map(drop), Err(Refused::NotSignedIn));

    // Another password ends all sessions.
    let session = rig.sign_in("doctor", PASSWORD, None).await.unwrap();
    let who = rig.who(&session).await;
    let passcode = given(who.clone()).await;
    let changed = accounts.change_password(&who, PASSWORD, OTHER, HERE).await;
    assert!(!is_known(&passcode).await);
    assert!(rig.lives(&changed.unwrap()).await);
}
