//! Who searched, saw, got and sent what stands in the audit trail, once for each study; and what
//! cannot be recorded is not given.

use crate::devices::{Counting, answers, associate, of_study};
use crate::people::{code, organisation};
use crate::policy::{Shows, bound, grant};
use crate::site::{Sent, Site, now};
use async_trait::async_trait;
use pacs_core::audit::{Act, ActorKind, AuditEvent};
use pacs_core::patient::PatientKey;
use pacs_core::role::{Agent, Role};
use pacs_core::{AeTitle, Caller, Phi};
use pacs_net::sop_class::{STUDY_ROOT_FIND, STUDY_ROOT_GET};
use pacs_store::records::memory::MemoryRecords;
use pacs_store::records::{Change, Kind, Record, Records, RecordsError, Revision, Take};
use pacs_store::registry::Registry;
use reference_server::directory::Directory;
use reference_server::recorder::alerts::Alerts;
use reference_server::recorder::arrivals::Arrivals;
use reference_server::recorder::{NotRecorded, Recorder};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const STUDY: &str = "2.25.6";

/// The events of one kind.
pub(crate) async fn events(site: &Site, act: Act) -> Vec<AuditEvent> {
    let trail = site.registry.audit_trail();
    let records = trail.after(0, 1_000).await.unwrap();
    let events = records.into_iter().map(|record| record.event);
    events.filter(|event| event.act == act).collect()
}

/// One search of the user and one of the device, without the PIN that was searched for.
async fn searches(site: &Site) {
    let queries = events(site, Act::Queried).await;
    let of = |kind: ActorKind| {
        queries
            .iter()
            .filter(|it| it.actor.kind == kind)
            .collect::<Vec<_>>()
    };
    let [by_user] = of(ActorKind::User)[..] else {
        panic!("one search of the user")
    };
    let asked = by_user.object.query.as_ref().unwrap().reveal();
    assert!(
        asked.starts_with("STUDY; PatientID=2") && asked.ends_with("9907"),
        "{asked}"
    );
    assert!(!asked.contains("20101199099907"), "no PIN");
    let [by_device] = of(ActorKind::Device)[..] else {
        panic!("one search of the device")
    };
    assert_eq!(by_device.actor.organisation, Some(code("006")));
}

/// «Кто смотрел мои данные».
async fn witnesses(site: &Site, patient: PatientKey) {
    let licence = Agent::system("test").national_licence().unwrap();
    let seen = site
        .registry
        .who_saw(&licence, patient, (None, 100), now())
        .await
        .unwrap();
    let acts: Vec<Act> = seen
        .records
        .iter()
        .map(|about| about.record.event.act)
        .collect();
    let expected = [
        Act::AuditRead,
        Act::ImagesSent,
        Act::TransferBegun,
        Act::ImagesViewed,
    ];
    assert_eq!(acts, expected);
    assert_eq!(seen.next, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_looked_and_who_got_a_study_is_recorded_once() {
    let site = Site::open("").await;
    let patient = bound(&site, STUDY, "006", "NATHOS_CT1", "Асанов").await;
    let secret = site
        .sign_in("reader", grant(Role::Radiologist, "006"), true)
        .await;
    let reader = Shows::Session(secret);

    for path in [
        "metadata",
        "metadata",
        "series/2.25.6.1/metadata",
        "thumbnail",
    ] {
        let path = format!("/dicomweb/studies/{STUDY}/{path}");
        assert_eq!(reader.ask(&site, "GET", &path).await.status, 200);
    }
    let search = "/dicomweb/studies?PatientID=20101199099907";
    for _ in 0..2 {
        assert_eq!(reader.ask(&site, "GET", search).await.status, 204);
    }
    let mut device = associate(&site, ("NATHOS_CT1", None)).await;
    answers(&mut device, STUDY_ROOT_FIND, of_study(STUDY))
        .await
        .unwrap();
    let storage = Arc::new(Counting::default());
    let get = device
        .get(STUDY_ROOT_GET, of_study(STUDY), storage)
        .await
        .unwrap();
    assert_eq!(get.finish().await.unwrap().status, 0);
    device.release().await.unwrap();

    let viewed = events(&site, Act::ImagesViewed).await;
    assert_eq!(viewed.len(), 1, "not of each request");
    let event = &viewed[0];
    assert_eq!(event.actor.name, "reader");
    assert_eq!(event.actor.roles, [Role::Radiologist]);
    assert_eq!(event.actor.organisation, Some(code("006")));
    assert!(event.actor.session.is_some() && event.from.is_some());
    assert_eq!(event.object.patient, Some(Phi::new(patient)));
    assert_eq!(event.object.studies[0].study.as_str(), STUDY);
    searches(&site).await;
    let begun = events(&site, Act::TransferBegun).await;
    assert_eq!(begun.len(), 1);
    let sent = site
        .until(async || events(&site, Act::ImagesSent).await.into_iter().next())
        .await;
    assert_eq!(sent.object.studies[0].instances_count, 1);
    assert_eq!(sent.actor.name, "NATHOS_CT1");

    witnesses(&site, patient).await;
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_in_is_recorded_by_study_after_it_was_answered() {
    let site = Site::open("").await;
    let arrivals = Arrivals::new(&site.archive, site.directory()).unwrap();
    let mut cursor = arrivals.cursor().await.unwrap();
    for (study, count) in [("2.25.6", 3), ("2.25.7", 2)] {
        for number in 1..=count {
            let sent = Sent {
                modality: "CT",
                sender: "NATHOS_CT1",
                study,
                number,
                accession: "",
                patient: ("", ""),
            };
            site.send(&sent).await;
        }
    }

    assert_eq!(arrivals.step(&mut cursor).await.unwrap(), 5);

    let mut received: Vec<(String, u64)> = Vec::new();
    for event in events(&site, Act::ImagesReceived).await {
        assert_eq!(event.actor.name, "NATHOS_CT1");
        assert_eq!(event.actor.organisation, Some(code("006")));
        let study = &event.object.studies[0];
        received.push((study.study.as_str().to_owned(), study.instances_count));
    }
    received.sort();
    received.dedup();
    assert_eq!(
        received,
        [("2.25.6".to_owned(), 3), ("2.25.7".to_owned(), 2)]
    );
    site.close().await;
}

/// Records whose disk is full, once it is.
#[derive(Debug, Default)]
struct Full {
    inner: MemoryRecords,
    is_full: AtomicBool,
}

#[async_trait]
impl Records for Full {
    async fn get(&self, kind: Kind, key: &str) -> Result<Option<Record>, RecordsError> {
        self.inner.get(kind, key).await
    }

    async fn list(
        &self,
        kind: Kind,
        prefix: &str,
        after: Option<&str>,
        count_max: usize,
    ) -> Result<Vec<Record>, RecordsError> {
        self.inner.list(kind, prefix, after, count_max).await
    }

    async fn apply(&self, changes: Vec<Change>) -> Result<Vec<Revision>, RecordsError> {
        if self.is_full.load(Ordering::SeqCst) {
            return Err(RecordsError::Backend {
                operation: "write",
                source: "the disk is full".into(),
            });
        }
        self.inner.apply(changes).await
    }

    async fn each(&self, take: Take) -> Result<(), RecordsError> {
        self.inner.each(take).await
    }
}

#[tokio::test]
async fn what_cannot_be_recorded_is_not_done() {
    let records = Arc::new(Full::default());
    let registry = Registry::new(Arc::clone(&records) as Arc<dyn Records>);
    let licence = Agent::system("test").national_licence().unwrap();
    let new = organisation("006", "NATHOS");
    registry
        .save_organisation(&licence, &new, None, now())
        .await
        .unwrap();
    let directory = Directory::default();
    directory.learn(&registry).await.unwrap();
    let recorder =
        Recorder::start(&registry, directory, Alerts::new(registry.audit_trail())).unwrap();
    let caller = Caller::Device {
        ae_title: AeTitle::parse("NATHOS_CT1").unwrap(),
        address: [127, 0, 0, 1].into(),
        user: None,
    };
    let query = |text: &str| Phi::new(text.to_owned());
    recorder.search(&caller, &query("STUDY")).await.unwrap();

    records.is_full.store(true, Ordering::SeqCst);

    let refused = recorder.search(&caller, &query("STUDY; PatientID=1")).await;
    assert_eq!(refused, Err(NotRecorded));
    records.is_full.store(false, Ordering::SeqCst);
    recorder
        .search(&caller, &query("STUDY; PatientID=1"))
        .await
        .unwrap();
}
