//! Requests that are done once, lists with filters, and who is told of changes.

use crate::examinations::{act, new_for, operator, order};
use crate::rig::{Rig, code, now, user};
use chrono::TimeDelta;
use pacs_core::examination::progress::Completion;
use pacs_core::examination::reconcile::Kind;
use pacs_core::examination::{Event, Status};
use pacs_core::role::Role;
use pacs_store::registry::examinations::{
    ListOrder, Listed, NewExamination, Priority, Reader, Scope,
};
use pacs_store::registry::requests::Request;
use pacs_store::registry::{Refusal, RegistryError};

#[tokio::test]
async fn a_request_makes_one_examination_however_often_it_comes() {
    let rig = Rig::on_disk().await;
    let new = new_for(&rig).await;
    let licence = operator().licence(new.ordering).unwrap();
    let request = |name: &str, content: &str| Request::new("op", name, &[content.as_bytes()]);
    let first = request("a", "form");
    assert_eq!(rig.registry.outcome(&first).await.unwrap(), None);
    let order = |at: u8| {
        let (registry, licence, new) = (rig.registry.once(first.clone()), &licence, &new);
        async move {
            registry
                .order_examination(licence, new, [at; 16], now())
                .await
        }
    };
    let (one, two, three) = tokio::join!(order(1), order(2), order(3));
    let mut made = Vec::new();
    let mut repeated = Vec::new();
    for outcome in [one, two, three] {
        match outcome {
            Ok(examination) => made.push(examination.value.id.to_string()),
            Err(RegistryError::Refused(Refusal::Repeated(outcome))) => repeated.push(outcome),
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!((made.len(), repeated.len()), (1, 2));
    assert!(
        repeated
            .iter()
            .all(|outcome| outcome.made == made[0] && outcome.is_same)
    );
    let known = rig.registry.outcome(&first).await.unwrap().unwrap();
    assert_eq!((known.made, known.is_same), (made[0].clone(), true));
    let other = rig.registry.outcome(&request("a", "other")).await.unwrap();
    assert!(!other.unwrap().is_same);
    let somebody_else = Request::new("other", "a", &[b"form"]);
    assert_eq!(rig.registry.outcome(&somebody_else).await.unwrap(), None);

    // What is refused uses no name up.
    let refused = request("b", "form");
    let strict = NewExamination {
        is_meant_twice: false,
        ..new.clone()
    };
    let again = rig.registry.once(refused.clone());
    let again = again
        .order_examination(&licence, &strict, [4; 16], now())
        .await;
    assert!(matches!(
        again,
        Err(RegistryError::Refused(Refusal::Transition(_)))
    ));
    assert_eq!(rig.registry.outcome(&refused).await.unwrap(), None);

    assert_eq!(rig.registry.forget_requests(now()).await.unwrap(), 0);
    let later = now() + TimeDelta::seconds(1);
    assert_eq!(rig.registry.forget_requests(later).await.unwrap(), 1);
    assert_eq!(rig.registry.outcome(&first).await.unwrap(), None);
}

#[tokio::test]
async fn what_waits_is_listed_by_urgency_and_changes_are_told() {
    let rig = Rig::new().await;
    let new = new_for(&rig).await;
    let licence = operator().licence(new.ordering).unwrap();
    let mut told = rig.registry.changed_examinations();
    let mut ids = Vec::new();
    for (at, priority) in (0_u8..).zip([Priority::Routine, Priority::Stat, Priority::High]) {
        let new = NewExamination {
            order: pacs_store::registry::examinations::Order {
                priority,
                ..order()
            },
            ..new.clone()
        };
        let at_time = now() + TimeDelta::seconds(at.into());
        let registry = &rig.registry;
        let made = registry
            .order_examination(&licence, &new, [at; 16], at_time)
            .await
            .unwrap();
        assert_eq!(told.recv().await.unwrap(), made.value.id);
        ids.push(made.value.id);
    }
    let agent = operator();
    let reader = Reader::new(&agent);
    let scope = Scope::Performing(code("006"));
    let listed = |status, order| Listed {
        order,
        ..Listed::all(scope.clone(), status)
    };
    let urgent = listed(Some(Status::Scheduled), ListOrder::Urgent);
    let registry = &rig.registry;
    let page = registry
        .listed_examinations(&reader, &urgent, None, 2, now())
        .await
        .unwrap();
    let of = |page: &pacs_store::registry::examinations::ExaminationPage| {
        let found = page.examinations.iter();
        found.map(|found| found.value.id).collect::<Vec<_>>()
    };
    assert_eq!(of(&page), [ids[1], ids[2]]);
    let rest = registry
        .listed_examinations(&reader, &urgent, page.next.as_deref(), 2, now())
        .await
        .unwrap();
    assert_eq!(of(&rest), [ids[0]]);
    let over = listed(Some(Status::Cancelled), ListOrder::Urgent);
    let over = registry
        .listed_examinations(&reader, &over, None, 2, now())
        .await;
    assert!(matches!(
        over,
        Err(RegistryError::Refused(Refusal::Unfit { .. }))
    ));
    let mr = Listed {
        kind: Some(Kind::Mr),
        ..listed(None, ListOrder::Newest)
    };
    let none = registry
        .listed_examinations(&reader, &mr, None, 9, now())
        .await
        .unwrap();
    assert_eq!(of(&none), []);
}

#[tokio::test]
async fn whose_images_are_there_is_seen_by_those_who_read_for_the_organisation() {
    let rig = Rig::new().await;
    let new = new_for(&rig).await;
    let licence = operator().licence(new.ordering).unwrap();
    let registry = &rig.registry;
    let made = registry
        .order_examination(&licence, &new, [1; 16], now())
        .await;
    let ids = [made.unwrap().value.id];
    let system = pacs_core::role::Agent::system("test");
    let complete = Event::Complete {
        by: Completion::Declared,
        images_kept: 1,
    };
    let expert = user("ex", Role::Expert, "006");
    let pools = ["006"];
    let expert = Reader {
        pools: &pools,
        ..Reader::new(&expert)
    };
    let unseen = registry.examination(&expert, ids[0], now()).await;
    assert!(matches!(unseen, Err(RegistryError::NotFound { .. })));
    for event in [Event::ImagesArrive, complete] {
        act(registry, &system, ids[0], event).await.unwrap();
    }
    assert!(registry.examination(&expert, ids[0], now()).await.is_ok());
    let pool = Scope::Pool("006".to_owned());
    let counts = registry
        .count_examinations(&expert, &pool, now())
        .await
        .unwrap();
    let count = |status| counts.iter().find(|of| of.status == status).unwrap().count;
    assert_eq!(
        (count(Status::ImagesReceived), count(Status::Scheduled)),
        (1, 0)
    );
}
