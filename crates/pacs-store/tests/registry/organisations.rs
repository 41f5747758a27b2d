//! Organisations.

use crate::rig::{Rig, code, now, organisation, user};
use pacs_core::role::{Agent, AgentKind, Grant, Grants, Reach, Role, duty::OrganisationsManage};
use pacs_store::records::Kind;
use pacs_store::registry::organisations::Organisation;
use pacs_store::registry::{Imported, Refusal, RegistryError};

/// Those of the pilot, as the ministry ordered.
const LIST: &str = include_str!("../../../../reference-server/organisations.json");

#[tokio::test]
async fn the_organisations_of_the_pilot_are_imported_once() {
    #[derive(serde::Deserialize)]
    struct List {
        organisations: Vec<Organisation>,
    }
    for rig in [Rig::new().await, Rig::on_disk().await] {
        let list: List = serde_json::from_str(LIST).unwrap();
        let licence = Agent::system("test").national_licence().unwrap();
        let mut outcomes = Vec::new();
        for _ in 0..2 {
            for organisation in &list.organisations {
                let imported = rig
                    .registry
                    .import_organisation(&licence, organisation, now());
                outcomes.push(imported.await.unwrap());
            }
        }
        let mut expected = vec![Imported::Added; 11];
        // The rig has made two of that code and prefix.
        (expected[0], expected[5]) = (Imported::Changed, Imported::Changed);
        expected.extend([Imported::Same; 11]);
        assert_eq!(outcomes, expected);
        let all = rig.registry.organisations().await.unwrap();
        let all: Vec<_> = all.into_iter().map(|stored| stored.value).collect();
        assert_eq!(all, list.organisations);
    }
}

#[tokio::test]
async fn an_organisation_is_changed_by_the_ministry_alone_and_not_unseen() {
    let rig = Rig::new().await;
    let ministry = Grants::single(Grant::new(Role::MohAdmin, Reach::National));
    let ministry = Agent::new(AgentKind::User, "m", ministry);
    let licence = ministry.national_licence().unwrap();
    let stored = rig.registry.organisation(code("006")).await.unwrap();
    let mut changed = stored.value.clone();
    changed.name_en = "Another".to_owned();
    let save = async |expected| {
        let saved = rig
            .registry
            .save_organisation(&licence, &changed, expected, now());
        saved.await
    };

    save(Some(stored.revision)).await.unwrap();

    let late = save(Some(stored.revision)).await;
    assert!(matches!(late, Err(RegistryError::Changed)), "{late:?}");
    let as_new = save(None).await;
    assert!(matches!(as_new, Err(RegistryError::Changed)), "{as_new:?}");
    let read = rig.registry.organisation(code("006")).await.unwrap();
    assert_eq!(read.value, changed);
    let administrator = user("a", Role::OrgAdmin, "006");
    assert!(
        administrator
            .licence::<OrganisationsManage>(code("006"))
            .is_err()
    );
    let gone = rig.registry.organisation(code("007")).await;
    assert!(matches!(gone, Err(RegistryError::NotFound { .. })));
}

#[tokio::test]
async fn two_organisations_do_not_share_a_prefix_of_titles() {
    let rig = Rig::new().await;
    let licence = Agent::system("test").national_licence().unwrap();
    let import = async |organisation: Organisation| {
        let imported = rig
            .registry
            .import_organisation(&licence, &organisation, now());
        imported.await
    };
    let refused = import(organisation("007", "KRKL")).await;
    let taken = Refusal::Taken { what: "ae_prefix" };
    assert!(matches!(refused, Err(RegistryError::Refused(why)) if why == taken));

    // One that is given up is free again.
    import(organisation("001", "OTHER")).await.unwrap();
    import(organisation("007", "KRKL")).await.unwrap();
    let all = rig.registry.organisations().await.unwrap();
    assert_eq!(all.len(), 3);
}

#[tokio::test]
async fn what_could_not_be_sent_to_a_device_is_refused_by_name() {
    let rig = Rig::new().await;
    let licence = Agent::system("test").national_licence().unwrap();
    type Change = fn(&mut Organisation);
    let changes: [(&str, Change); 6] = [
        ("ae_prefix", |o| o.ae_prefix = "TOOLONG".to_owned()),
        ("key", |o| o.key = "Key".to_owned()),
        ("dicom_institution_name", |o| {
            o.dicom_institution_name = "x".repeat(65);
        }),
        ("dicom_institution_name_ascii", |o| {
            o.dicom_institution_name_ascii = "Больница".to_owned();
        }),
        ("name_ru", |o| o.name_ru = " ".to_owned()),
        ("text", |o| o.notes = "a\nb".to_owned()),
    ];
    for (part, change) in changes {
        let mut organisation = organisation("007", "OK7");
        change(&mut organisation);
        let refused = rig
            .registry
            .import_organisation(&licence, &organisation, now());
        let refused = refused.await;
        let why = Refusal::Unfit { what: part };
        assert!(
            matches!(&refused, Err(RegistryError::Refused(found)) if *found == why),
            "{part}: {refused:?}"
        );
    }
}

#[tokio::test]
async fn a_damaged_document_and_one_of_another_version_are_refused() {
    let rig = Rig::new().await;
    let kind = Kind::new("organisation");
    let mut revision = rig
        .records
        .get(kind, "006")
        .await
        .unwrap()
        .unwrap()
        .revision;
    for value in [&b"{"[..], b"{\"version\":2}", b"{\"version\":1}", b"[]"] {
        let put = rig.records.put(kind, "006", value.to_vec(), Some(revision));
        revision = put.await.unwrap();
        let refused = rig.registry.organisation(code("006")).await;
        assert!(matches!(refused, Err(RegistryError::Damaged { .. })));
        assert!(rig.registry.organisations().await.is_err());
    }
}

#[tokio::test]
async fn every_change_stands_in_the_audit_trail_and_nothing_else_does() {
    let rig = Rig::new().await;
    let trail = rig.registry.audit_trail();
    let before = trail.page(None, 99).await.unwrap().len();
    let licence = Agent::system("somebody").national_licence().unwrap();
    for _ in 0..2 {
        let organisation = organisation("007", "OK7");
        let imported = rig
            .registry
            .import_organisation(&licence, &organisation, now());
        imported.await.unwrap();
    }
    let records = trail.page(None, 99).await.unwrap();
    assert_eq!(records.len(), before + 1);
    let event = &records[0].event;
    assert_eq!(event.actor.name, "somebody");
    assert_eq!(event.object.setting.as_deref(), Some("organisations/007"));
    assert!(
        event
            .change
            .is_some_and(|c| c.before.is_none() && c.after.is_some())
    );
}
