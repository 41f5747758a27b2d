//! Devices.

use crate::rig::{Rig, code, now, user};
use pacs_core::device::{DeviceCharset, DeviceProfile};
use pacs_core::role::{Agent, Role};
use pacs_core::{AeTitle, DepartmentCode};
use pacs_store::registry::devices::Device;
use pacs_store::registry::{Refusal, RegistryError};

fn device(title: &str, organisation: &str) -> Device {
    Device {
        ae_title: AeTitle::parse(title).unwrap(),
        organisation: code(organisation),
        host: "10.0.0.7".to_owned(),
        port: 104,
        modality: "CT".to_owned(),
        department: None,
        name: "КТ в приёмном покое".to_owned(),
        mpps: true,
        commitment: true,
        profile: DeviceProfile {
            charset: DeviceCharset::Utf8,
            ..DeviceProfile::default()
        },
    }
}

#[tokio::test]
async fn a_device_serves_its_department_and_what_it_sends_is_of_it() {
    let rig = Rig::new().await;
    let licence = user("a", Role::OrgAdmin, "006");
    let licence = licence.licence(code("006")).unwrap();
    let department = |code: &str| DepartmentCode::parse(code).unwrap();
    let (rad, er) = (department("RAD"), department("ER"));
    let whole = device("NATHOS_CT1", "006");
    let own = Device {
        department: Some(rad.clone()),
        ..device("NATHOS_CT2", "006")
    };
    for new in [&whole, &own] {
        let saved = rig.registry.save_device(&licence, new, None, now());
        saved.await.unwrap();
    }

    assert!(
        [None, Some(&rad), Some(&er)]
            .iter()
            .all(|of| whole.serves(*of))
    );
    assert!(own.serves(None) && own.serves(Some(&rad)) && !own.serves(Some(&er)));
    let (here, elsewhere) = (Some(code("006")), Some(code("001")));
    for (sender, at, expected) in [
        ("NATHOS_CT2", here, Some(&rad)),
        ("NATHOS_CT1", here, None),
        ("NATHOS_CT3", here, None),
        // By what a program is called nothing is of a device, and what was stored for somebody
        // else is none of its department.
        ("006\\NATHOS_CT2", here, None),
        ("NATHOS_CT2", elsewhere, None),
    ] {
        let found = rig.registry.department_of_sender(sender, at).await;
        assert_eq!(found.unwrap().as_ref(), expected, "{sender}");
    }
}

#[tokio::test]
async fn a_device_is_kept_changed_listed_and_taken_away() {
    for rig in [Rig::new().await, Rig::on_disk().await] {
        let licence = user("a", Role::OrgAdmin, "006")
            .licence(code("006"))
            .unwrap();
        let registry = &rig.registry;
        let first = device("NATHOS_CT1", "006");
        let revision = registry
            .save_device(&licence, &first, None, now())
            .await
            .unwrap();
        let mut changed = first.clone();
        changed.mpps = false;
        let saved = registry.save_device(&licence, &changed, Some(revision), now());
        let present = saved.await.unwrap();

        let late = registry
            .save_device(&licence, &first, Some(revision), now())
            .await;
        assert!(matches!(late, Err(RegistryError::Changed)), "{late:?}");
        let read = registry.device(&first.ae_title).await.unwrap();
        assert_eq!((read.revision, read.value), (present, changed));

        let second = device("NATHOS_CT2", "006");
        registry
            .save_device(&licence, &second, None, now())
            .await
            .unwrap();
        let page = registry.devices(Some(&first.ae_title), 9).await.unwrap();
        assert_eq!(page.len(), 1);
        let late = registry.remove_device(&licence, &first.ae_title, revision, now());
        assert!(matches!(late.await, Err(RegistryError::Changed)));
        let removed = registry.remove_device(&licence, &first.ae_title, present, now());
        removed.await.unwrap();
        let gone = registry.device(&first.ae_title).await;
        assert!(matches!(gone, Err(RegistryError::NotFound { .. })));
        assert_eq!(registry.devices(None, 9).await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn an_administrator_changes_devices_of_the_own_organisation_alone() {
    let rig = Rig::new().await;
    let own = user("a", Role::OrgAdmin, "006")
        .licence(code("006"))
        .unwrap();
    let system = Agent::system("test").national_licence().unwrap();
    let other = device("KRKL_CT1", "001");
    let saved = rig.registry.save_device(&system, &other, None, now());
    let revision = saved.await.unwrap();

    let stolen = Device {
        organisation: code("006"),
        ..other.clone()
    };
    for (device, expected) in [
        (&other, Some(revision)),
        (&stolen, Some(revision)),
        (&device("KRKL_CT2", "001"), None),
        // What came under this title so far is of the organisation of its prefix.
        (&device("KRKL_CT2", "006"), None),
    ] {
        let refused = rig
            .registry
            .save_device(&own, device, expected, now())
            .await;
        assert!(matches!(refused, Err(RegistryError::Unlicensed(_))));
    }
    let refused = rig
        .registry
        .remove_device(&own, &other.ae_title, revision, now());
    assert!(matches!(refused.await, Err(RegistryError::Unlicensed(_))));
    let read = rig.registry.device(&other.ae_title).await.unwrap();
    assert_eq!(read.value, other);
}

#[tokio::test]
async fn a_device_of_no_organisation_or_without_a_way_to_it_is_refused() {
    let rig = Rig::new().await;
    let licence = Agent::system("test").national_licence().unwrap();
    let save = async |device: Device| {
        rig.registry
            .save_device(&licence, &device, None, now())
            .await
    };

    let homeless = save(device("X_CT1", "007")).await;
    assert!(matches!(homeless, Err(RegistryError::NotFound { .. })));
    type Change = fn(&mut Device);
    let changes: [(&str, Change); 5] = [
        ("host", |d| d.host = "a b".to_owned()),
        ("port", |d| d.port = 0),
        ("modality", |d| d.modality = "ct".to_owned()),
        ("name", |d| d.name = "x".repeat(201)),
        ("profile", |d| d.profile.name_chars_max = 0),
    ];
    for (part, change) in changes {
        let mut wrong = device("NATHOS_CT1", "006");
        change(&mut wrong);
        let why = Refusal::Unfit { what: part };
        let refused = save(wrong).await;
        assert!(
            matches!(&refused, Err(RegistryError::Refused(found)) if *found == why),
            "{part}: {refused:?}"
        );
    }
}
