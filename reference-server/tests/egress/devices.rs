//! How devices ask over DICOM, and the people at them, who are known by a passcode: the rows of
//! policy.txt about both, and what ends a passcode.

use crate::people::{code, title};
use crate::policy::{
    FOREIGN, OWN, Shows, TABLE, cell_of, classes, everybody, grant, site as open_site,
};
use crate::site::{CT, EXPLICIT, Site};
use async_trait::async_trait;
use bytes::Bytes;
use pacs_core::Attributes;
use pacs_core::audit::{Act, ActorKind, AuditEvent, Outcome};
use pacs_core::encode::write_data_set;
use pacs_core::role::Role;
use pacs_core::tag::{Vr, tags};
use pacs_core::uid::TransferSyntaxUid;
use pacs_core::worklist::WorklistKeys;
use pacs_net::pdu::{RejectReason, RejectResult, Rejection, Roles, UserIdentity, UserIdentityKind};
use pacs_net::service::{Peer, StorageScp, StoreRequest, StoreSink};
use pacs_net::sop_class::{
    MODALITY_WORKLIST_FIND, STUDY_ROOT_FIND, STUDY_ROOT_GET, STUDY_ROOT_MOVE,
};
use pacs_net::status::StoreStatus;
use pacs_net::{Acceptor, Requestor, RequestorError};
use pacs_store::registry::accounts::User;
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Receives what is sent, and counts.
#[derive(Debug, Default)]
pub(crate) struct Counting(Arc<AtomicUsize>);

struct Nowhere;

#[async_trait]
impl StorageScp for Counting {
    async fn begin(
        &self,
        _peer: &Peer,
        _request: &StoreRequest,
    ) -> Result<Box<dyn StoreSink>, StoreStatus> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(Box::new(Nowhere))
    }
}

#[async_trait]
impl StoreSink for Nowhere {
    async fn write(&mut self, _fragment: Bytes) -> Result<(), StoreStatus> {
        Ok(())
    }

    async fn end(self: Box<Self>) -> StoreStatus {
        StoreStatus::SUCCESS
    }
}

/// Somewhere to move to; its port.
pub(crate) async fn sink() -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = Acceptor::builder(title("SINK"))
        .storage(Arc::new(Counting::default()))
        .build()
        .unwrap();
    tokio::spawn(async move { acceptor.serve(listener, std::future::pending()).await });
    port
}

fn syntax() -> TransferSyntaxUid {
    TransferSyntaxUid::parse(EXPLICIT).unwrap()
}

pub(crate) fn of_study(study: &str) -> Bytes {
    let mut keys = Attributes::new();
    keys.insert_text(tags::QUERY_RETRIEVE_LEVEL, Vr::CS, "STUDY");
    keys.insert_text(tags::STUDY_INSTANCE_UID, Vr::UI, study);
    write_data_set(&keys, &syntax()).unwrap().into()
}

/// An AE, and what it shows of the person there.
pub(crate) type At<'a> = (&'a str, Option<&'a UserIdentity>);

pub(crate) async fn associate(site: &Site, at: At<'_>) -> Requestor {
    try_associate(site, at).await.unwrap()
}

async fn try_associate(
    site: &Site,
    (calling, identity): At<'_>,
) -> Result<Requestor, RequestorError> {
    let mut builder = Requestor::builder(title(calling), title("PACS"))
        .context(STUDY_ROOT_FIND, &[EXPLICIT])
        .context(STUDY_ROOT_GET, &[EXPLICIT])
        .context(STUDY_ROOT_MOVE, &[EXPLICIT])
        .context(MODALITY_WORKLIST_FIND, &[EXPLICIT])
        .context(CT, &[EXPLICIT])
        .roles(
            CT,
            Roles {
                scu: false,
                scp: true,
            },
        );
    if let Some(identity) = identity {
        builder = builder.identity(identity.clone());
    }
    builder.connect(&site.dicom.to_string()).await
}

pub(crate) async fn answers(
    association: &mut Requestor,
    class: &str,
    identifier: Bytes,
) -> Result<Vec<Bytes>, RequestorError> {
    let mut find = association.find(class, identifier).await?;
    let mut answers = Vec::new();
    while let Some(answer) = find.next().await? {
        answers.push(answer);
    }
    Ok(answers)
}

/// What a device, or the person there, gets of a study, as the table has it.
pub(crate) async fn asked(site: &Site, what: &str, at: At<'_>, study: &str) -> char {
    let mut association = associate(site, at).await;
    let class = match what {
        "C-FIND" => STUDY_ROOT_FIND,
        "C-GET" => STUDY_ROOT_GET,
        "C-MOVE" => STUDY_ROOT_MOVE,
        _ => MODALITY_WORKLIST_FIND,
    };
    if association.context(class).is_err() {
        return 'f';
    }
    let count = match what {
        "C-FIND" => {
            let found = answers(&mut association, STUDY_ROOT_FIND, of_study(study)).await;
            found.unwrap().len()
        }
        "C-GET" => {
            let storage = Counting::default();
            let count = Arc::clone(&storage.0);
            let get = association.get(STUDY_ROOT_GET, of_study(study), Arc::new(storage));
            let ended = get.await.unwrap().finish().await.unwrap();
            assert_eq!(ended.status, 0, "{:?}", ended.comment);
            count.load(Ordering::SeqCst)
        }
        "C-MOVE" => {
            let to = title("SINK");
            let moving = association.move_to(STUDY_ROOT_MOVE, of_study(study), &to);
            let ended = moving.await.unwrap().finish().await.unwrap();
            if ended.status == 0xA801 {
                return 'f';
            }
            assert_eq!(ended.status, 0, "{:?}", ended.comment);
            ended.progress.completed.unwrap_or_default().into()
        }
        _ => {
            let keys = WorklistKeys::all().to_identifier(&syntax()).unwrap();
            let Ok(found) = answers(&mut association, MODALITY_WORKLIST_FIND, keys.into()).await
            else {
                return 'f';
            };
            let family = if study == OWN { "ASANOV" } else { "SYDYKOV" };
            let shows = |answer: &Bytes| {
                answer
                    .windows(family.len())
                    .any(|at| at == family.as_bytes())
            };
            found.iter().filter(|answer| shows(answer)).count()
        }
    };
    association.release().await.unwrap();
    if count > 0 { 's' } else { 'n' }
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_get_what_the_table_says_and_nothing_else() {
    let site = open_site().await;
    let mut wrong = Vec::new();
    for line in TABLE.part("dimse") {
        let mut words = line.split_whitespace();
        let what = words.next().unwrap();
        for word in words {
            let (calling, cell) = word.split_once('=').unwrap();
            let (own, foreign) = cell_of(cell);
            for (study, expected) in [(OWN, own), (FOREIGN, foreign)] {
                let is = asked(&site, what, (calling, None), study).await;
                if is != expected {
                    wrong.push(format!(
                        "{what} of {study} by {calling}: {is}, not {expected}"
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    site.close().await;
}

/// What a device shows of whoever is signed in.
pub(crate) async fn passcode(site: &Site, shows: &Shows) -> UserIdentity {
    let path = ("POST", "/api/v1/session/passcode");
    let given = shows.send(site, path, &[], &Value::Null).await;
    assert_eq!(given.status, 201, "{}", given.json());
    let given = given.json();
    identity(
        given["user"].as_str().unwrap(),
        given["passcode"].as_str().unwrap(),
    )
}

fn identity(user: &str, passcode: &str) -> UserIdentity {
    UserIdentity {
        kind: UserIdentityKind::UsernameAndPassword,
        positive_response_requested: true,
        primary: user.as_bytes().to_vec(),
        secondary: passcode.as_bytes().to_vec(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn people_at_devices_get_what_the_table_says_whatever_the_device_sees() {
    let site = open_site().await;
    let classes = classes();
    let mut wrong = Vec::new();
    for (who, shows) in everybody(&site).await {
        if !matches!(shows, Shows::Session(_)) {
            continue;
        }
        let identity = passcode(&site, &shows).await;
        for line in TABLE.part("people at devices") {
            let mut words = line.split_whitespace();
            let what = words.next().unwrap();
            for word in words {
                let (calling, cell) = word.split_once('=').unwrap();
                let of_class = classes.get(cell).map(|cells| cells[who]);
                let (own, foreign) = of_class.unwrap_or_else(|| cell_of(cell));
                for (study, expected) in [(OWN, own), (FOREIGN, foreign)] {
                    let is = asked(&site, what, (calling, Some(&identity)), study).await;
                    if is != expected {
                        wrong.push(format!(
                            "{what} of {study} by {who} at {calling}: {is}, not {expected}"
                        ));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    site.close().await;
}

/// Whether an association is rejected as one with a wrong passcode is.
fn is_rejected(tried: Result<Requestor, RequestorError>) -> bool {
    match tried {
        Ok(_) => false,
        Err(error) => {
            let wanted = Rejection::permanent(RejectReason::NoReason);
            let is_it = matches!(error, RequestorError::Rejected(rejection) if rejection == wanted);
            assert!(is_it, "{error}");
            true
        }
    }
}

/// Who searches on an association that stands: how many they find, or the status.
async fn finds(association: &mut Requestor, study: &str) -> Result<usize, u16> {
    match answers(association, STUDY_ROOT_FIND, of_study(study)).await {
        Ok(found) => Ok(found.len()),
        Err(RequestorError::Status { code, .. }) => Err(code),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ends_a_session_ends_its_passcode_at_the_next_operation() {
    let site = open_site().await;
    let accounts = site.accounts();
    for how in ["sign out", "another passcode", "disabled", "no such role"] {
        let name = how.replace(' ', ".");
        let secret = site.sign_in(&name, grant(Role::Radiologist, "006"), true);
        let shows = Shows::Session(secret.await);
        let identity = passcode(&site, &shows).await;
        let at = ("CENTRE", Some(&identity));
        let mut association = associate(&site, at).await;
        let answered = association.negotiated().identity_response.as_deref();
        assert_eq!(answered, Some(&[][..]), "PS3.7 D.3.3.7.2");
        assert_eq!(finds(&mut association, OWN).await, Ok(1), "{how}");
        assert_eq!(finds(&mut association, FOREIGN).await, Ok(0), "{how}");

        let kept = accounts.get::<User>(&name).await.unwrap().unwrap();
        let mut user = kept.value.clone();
        match how {
            "sign out" => {
                let out = shows.ask(&site, "DELETE", "/api/v1/session").await;
                assert_eq!(out.status, 204);
            }
            "another passcode" => drop(passcode(&site, &shows).await),
            "disabled" => user.is_disabled = true,
            _ => user.grants = pacs_core::role::Grants::new(grant(Role::Auditor, "")).unwrap(),
        }
        if user != kept.value {
            let change = vec![kept.changed_to(&user)];
            let told = AuditEvent::new(
                Act::UserChanged,
                crate::site::now(),
                pacs_core::audit::Actor::system("test"),
            );
            accounts.commit(change, &[told]).await.unwrap();
        }

        assert_eq!(finds(&mut association, OWN).await, Err(0x0124), "{how}");
        association.release().await.unwrap();
        let again = try_associate(&site, at).await;
        if how == "no such role" {
            // They are known, and may not search.
            assert!(again.unwrap().context(STUDY_ROOT_FIND).is_err());
        } else {
            assert!(is_rejected(again), "{how}");
        }
    }
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_passcode_is_rejected_recorded_and_throttled_and_keeps_nobody_out() {
    let site = open_site().await;
    let secret = site.sign_in("reader", grant(Role::Radiologist, "006"), true);
    let right = passcode(&site, &Shows::Session(secret.await)).await;
    let shown = String::from_utf8(right.secondary.clone()).unwrap();
    let other = if shown.ends_with('0') { "1" } else { "0" };
    let near = format!("{}{other}", &shown[..shown.len() - 1]);
    let near = near.as_str();
    for (user, passcode) in [
        ("reader", near),
        ("reader", ""),
        ("reader", "0000-0000-0000-0000-0000-0000-0000"),
        ("nobody.here", shown.as_str()),
        ("", shown.as_str()),
        ("reader", "wooden bridge 71 goats"),
    ] {
        let wrong = identity(user, passcode);
        let tried = try_associate(&site, ("NATHOS_CT1", Some(&wrong))).await;
        assert!(is_rejected(tried), "{user}");
    }
    let wrong = identity("nobody.here", near);
    let is_told_to_wait = async || {
        let tried = try_associate(&site, ("NATHOS_CT1", Some(&wrong))).await;
        let Err(RequestorError::Rejected(rejection)) = tried else {
            panic!("{tried:?}");
        };
        rejection.result == RejectResult::Transient
    };
    let mut count = 0;
    while !is_told_to_wait().await {
        count += 1;
        assert!(count < 100, "nobody is told to wait");
    }
    // Whoever has the right one is not in their way, in whatever letters it is typed.
    let typed = identity("Reader", &shown.to_uppercase().replace('-', " "));
    for identity in [&right, &typed] {
        let at = ("NATHOS_CT1", Some(identity));
        assert_eq!(asked(&site, "C-FIND", at, OWN).await, 's');
    }

    let told = crate::trail::events(&site, Act::SignedIn).await;
    let (known, wrong): (Vec<_>, Vec<_>) = told
        .into_iter()
        .partition(|event| event.outcome == Outcome::Success);
    let known: Vec<_> = known
        .iter()
        .filter(|event| event.reason.as_deref() == Some("BY_PASSCODE"))
        .collect();
    assert_eq!(known.len(), 1, "once for a session there: {known:?}");
    assert_eq!(known[0].actor.name, "reader");
    assert_eq!(known[0].object.node.as_deref(), Some("NATHOS_CT1"));
    assert!(known[0].actor.session.is_some() && known[0].from.is_some());
    assert!(wrong.len() >= 6, "{wrong:?}");
    for event in &wrong {
        assert_eq!(event.actor.kind, ActorKind::Nobody);
        assert_eq!(event.object.node.as_deref(), Some("NATHOS_CT1"));
        // What was typed may be a password.
        let user = event.object.user.as_deref();
        assert!(user.is_none_or(|user| user == "reader"), "{event:?}");
    }
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_people_do_at_devices_is_recorded_of_them_with_the_device() {
    let site = open_site().await;
    let secret = site.sign_in("reader", grant(Role::Radiologist, "006"), true);
    let identity = passcode(&site, &Shows::Session(secret.await)).await;
    for what in ["C-FIND", "C-GET", "C-MOVE"] {
        let at = ("NATHOS_CT1", Some(&identity));
        assert_eq!(asked(&site, what, at, OWN).await, 's');
    }
    // They see what they see in the browser; the names of others are claims.
    let mut claimed = identity.clone();
    claimed.kind = UserIdentityKind::Username;
    claimed.secondary = Vec::new();
    let mut association = associate(&site, ("NATHOS_CT1", Some(&claimed))).await;
    assert_eq!(association.negotiated().identity_response, None);
    assert_eq!(finds(&mut association, OWN).await, Ok(1));
    association.release().await.unwrap();

    let searched = crate::trail::events(&site, Act::Queried).await;
    let who = |event: &AuditEvent| (event.actor.kind, event.actor.name.clone());
    let reader = (ActorKind::User, "reader".to_owned());
    let device = (ActorKind::Device, "NATHOS_CT1".to_owned());
    let by: Vec<_> = searched.iter().map(who).collect();
    assert!(by.contains(&reader) && by.contains(&device), "{by:?}");
    let sent = site
        .until(async || {
            let sent = crate::trail::events(&site, Act::ImagesSent).await;
            (sent.len() == 2).then_some(sent)
        })
        .await;
    let mut nodes: Vec<_> = sent
        .iter()
        .filter_map(|one| one.object.node.clone())
        .collect();
    nodes.sort();
    assert_eq!(nodes, ["NATHOS_CT1", "SINK"], "to whom it went");
    assert!(sent.iter().all(|event| who(event) == reader));
    let roles = sent.iter().map(|event| event.actor.roles.clone());
    assert!(roles.into_iter().all(|roles| roles == [Role::Radiologist]));
    let of = sent.iter().map(|event| event.actor.organisation);
    assert!(of.into_iter().all(|of| of == Some(code("006"))));
    site.close().await;
}
