//! Readings of examinations: found in the order of their urgency, held by those who go on with
//! them, and known by what they were claimed with.

use crate::examinations::{act, new_for, receive, save};
use crate::follower::{Centre, sent};
use crate::rig::{Rig, code, now, user};
use pacs_core::examination::progress::{Guard, ReportCheck, Revision};
use pacs_core::examination::{Event, Reason, Status, TransitionError};
use pacs_core::role::{Agent, Role};
use pacs_core::uid::ClaimUid;
use pacs_core::workitem::{State, Task};
use pacs_core::worklist::WorklistSubject;
use pacs_core::{ExaminationId, OrganisationCode};
use pacs_store::matcher::Progressed;
use pacs_store::registry::examinations::{
    Action, Examination, FoundTasks, NewExamination, Period, Priority, Reader, WantedTasks,
};
use pacs_store::registry::{Moment, Refusal, Registry, RegistryError};

fn claim_uid(text: &str) -> ClaimUid {
    ClaimUid::parse(text).unwrap()
}

async fn claim(registry: &Registry, agent: &Agent, id: ExaminationId, uid: &str, at: Moment) {
    let action = Action {
        event: Event::Claim {
            is_locked: false,
            may_read: true,
            images_online: 1,
        },
        order: None,
        expected: None,
        random: [1; 16],
    };
    let on = (id, &claim_uid(uid));
    let taken = registry.claim_examination(agent, on, &action, at);
    taken.await.unwrap();
}

const SIGNED: ReportCheck = ReportCheck {
    has_description: true,
    has_conclusion: true,
    is_identity_confirmed: true,
    holds_lock: true,
    has_seen_late_images: true,
    is_resolved: true,
    is_signature_valid: true,
};

fn last(of: &Examination) -> Task {
    of.task(of.readings().last_number()).unwrap()
}

async fn found(
    registry: &Registry,
    agent: &Agent,
    organisations: &[&str],
    states: &[State],
) -> FoundTasks {
    found_within(registry, agent, (organisations, states), (None, 2_000)).await
}

async fn found_within(
    registry: &Registry,
    agent: &Agent,
    (organisations, states): (&[&str], &[State]),
    (subject, scanned_max): (Option<WorklistSubject>, usize),
) -> FoundTasks {
    let pool = ["006"];
    let reader = Reader {
        pools: &pool,
        ..Reader::new(agent)
    };
    let organisations = organisations.iter().map(|of| code(of));
    let wanted = WantedTasks {
        organisations: organisations.collect::<Vec<OrganisationCode>>(),
        has_assigned: true,
        states: states.to_vec(),
        subject,
        scanned_max,
    };
    let found = registry.reading_tasks(&reader, &wanted, now());
    found.await.unwrap()
}

#[tokio::test]
async fn what_waits_is_found_by_urgency_over_all_organisations_and_by_those_who_see_it() {
    for rig in [Rig::new().await, Rig::on_disk().await] {
        let registry = &rig.registry;
        let new = new_for(&rig).await;
        let mut ids = Vec::new();
        let priorities = [
            ("006", Priority::Routine),
            ("001", Priority::High),
            ("006", Priority::Stat),
            ("001", Priority::Routine),
        ];
        for (number, (performing, priority)) in (1..).zip(priorities) {
            let mut new = NewExamination {
                performing: code(performing),
                ..new.clone()
            };
            new.order.priority = priority;
            let id = save(registry, &new, number).await.unwrap().value.id;
            receive(registry, id).await;
            ids.push(id);
        }
        let both = ["001", "006"];
        let system = Agent::system("test");
        let all = found(registry, &system, &both, &State::ALL).await;
        // The last two are of one moment.
        assert_eq!(shown(&all), [ids[2], ids[1], ids[3], ids[0]]);
        assert!(!all.is_cut && all.tasks.iter().all(|task| task.reading.number == 1));

        let expert = user("expert", Role::Expert, "006");
        let own = found(registry, &expert, &both, &State::ALL).await;
        assert_eq!(shown(&own), [ids[2], ids[0]]);
        claim(registry, &expert, ids[2], "2.25.1", now()).await;
        let waiting = found(registry, &expert, &both, &[State::Scheduled]).await;
        assert_eq!(shown(&waiting), [ids[0]]);
        let in_work = found(registry, &expert, &both, &[State::InProgress]).await;
        assert_eq!(shown(&in_work), [ids[2]]);
        let operator = user("op", Role::Operator, "001");
        let theirs = found(registry, &operator, &["001"], &State::ALL).await;
        assert_eq!(shown(&theirs), [ids[1], ids[3]]);
    }
}

#[tokio::test]
async fn an_expert_counts_what_they_read_and_signed_and_others_count_everything() {
    let rig = Rig::new().await;
    let registry = &rig.registry;
    let new = new_for(&rig).await;
    let [first, second] = ["first", "second"].map(|name| user(name, Role::Expert, "006"));
    for (number, reader) in [(1, &first), (2, &first), (3, &second)] {
        let id = save(registry, &new, number).await.unwrap().value.id;
        receive(registry, id).await;
        claim(registry, reader, id, "2.25.1", now()).await;
        // What is in work is nobody's yet.
        if number > 1 {
            act(registry, reader, id, Event::Sign(SIGNED))
                .await
                .unwrap();
        }
    }
    let day = now().date_naive();
    let period = Period {
        from: day,
        until: day,
    };
    let counted = async |agent: &Agent| {
        let figures = registry.examination_figures(agent, code("006"), period, now());
        let figures = figures.await?;
        let all = figures.iter().map(|one| (one.status, one.count));
        Ok::<_, RegistryError>(all.collect::<Vec<_>>())
    };
    let reported = |count| vec![(Status::Reported, count)];
    assert_eq!(counted(&first).await.unwrap(), reported(1));
    assert_eq!(counted(&second).await.unwrap(), reported(1));
    let idle = user("idle", Role::Expert, "006");
    assert_eq!(counted(&idle).await.unwrap(), []);
    let operator = user("op", Role::Operator, "006");
    let all = counted(&operator).await.unwrap();
    assert_eq!(
        all.iter().map(|(_, count)| count).sum::<u64>(),
        3,
        "{all:?}"
    );
    // Technical figures are of what the archive holds, and of no examination.
    let keeper = user("keeper", Role::ArchiveAdmin, "006");
    assert_eq!(counted(&keeper).await.unwrap(), []);
    for (role, at) in [
        (Role::Expert, "001"),
        (Role::ArchiveAdmin, "001"),
        (Role::Referrer, "006"),
    ] {
        let refused = counted(&user("x", role, at)).await;
        let is_refused = matches!(refused, Err(RegistryError::Unlicensed(_)));
        assert!(is_refused, "{role:?} {at}: {refused:?}");
    }
}

fn shown(found: &FoundTasks) -> Vec<ExaminationId> {
    let tasks = found.tasks.iter();
    tasks.map(|task| task.examination.value.id).collect()
}

#[tokio::test]
async fn a_search_that_may_not_look_at_everything_finds_what_comes_first_of_all_of_it() {
    let rig = Rig::new().await;
    let registry = &rig.registry;
    let new = new_for(&rig).await;
    let mut ids = Vec::new();
    // One organisation has a dozen that can wait, and another the one that cannot.
    let many = std::iter::repeat_n(("001", Priority::Routine), 12);
    for (number, (performing, priority)) in (1..).zip(many.chain([("006", Priority::Stat)])) {
        let mut new = NewExamination {
            performing: code(performing),
            ..new.clone()
        };
        new.order.priority = priority;
        let id = save(registry, &new, number).await.unwrap().value.id;
        receive(registry, id).await;
        ids.push(id);
    }
    let system = Agent::system("test");
    let both: &[&str] = &["001", "006"];
    let search = async |states: &[State], subject, scanned_max| {
        found_within(registry, &system, (both, states), (subject, scanned_max)).await
    };
    let all = search(&State::ALL, None, 2_000).await;
    let expected: Vec<ExaminationId> = [ids[12]].into_iter().chain(ids[..12].to_vec()).collect();
    assert_eq!((shown(&all), all.is_cut), (expected.clone(), false));
    for scanned_max in 0..80 {
        let some = search(&[State::Scheduled], None, scanned_max).await;
        let count = some.tasks.len();
        assert_eq!(shown(&some), expected[..count], "{scanned_max}");
        assert!(some.is_cut || count == expected.len(), "{scanned_max}");
        assert_eq!(count == 0, scanned_max < 6, "{scanned_max}");
        assert!(
            count <= scanned_max && (count > 10 || scanned_max < 40),
            "{scanned_max}"
        );
    }

    let one = Some(WorklistSubject::Examination(ids[7]));
    let patient = all.tasks[0].examination.value.patient;
    let theirs = Some(WorklistSubject::Patient(patient));
    // It is looked up, and what was found is in order.
    assert_eq!(shown(&search(&State::ALL, one, 0).await), [ids[7]]);
    assert_eq!(shown(&search(&State::ALL, theirs, 0).await), expected);
    assert_eq!(shown(&search(&[State::Completed], one, 0).await), []);
    let elsewhere = (&["006"][..], &State::ALL[..]);
    let none = found_within(registry, &system, elsewhere, (one, 0)).await;
    assert_eq!(shown(&none), []);
}

/// Whether something was changed that the matcher looks at, since it was asked last.
async fn stir(registry: &Registry) -> bool {
    let stirred = tokio::time::timeout(std::time::Duration::from_millis(20), registry.stirred());
    stirred.await.is_ok()
}

#[tokio::test]
async fn whoever_goes_on_has_it_for_another_hour_and_nobody_else_goes_on() {
    let centre = Centre::new().await;
    let order = centre.order().await;
    centre.send(sent("1.2.3", 1, &order.id.to_string())).await;
    centre.step().await;
    centre.pass(3_600);
    centre.matcher.progress(centre.now()).await.unwrap();
    let registry = &centre.rig.registry;
    let radiologist = user("r", Role::Radiologist, "006");
    claim(registry, &radiologist, order.id, "2.25.1", centre.now()).await;
    let task = last(&centre.read(order.id).await);
    let go_on = async |agent: &Agent, task: Task, uid: &str, percent: Option<u8>| {
        let with = (task, &claim_uid(uid));
        registry
            .go_on_reading(agent, with, percent, centre.now())
            .await
    };
    centre.pass(50 * 60);
    go_on(&radiologist, task, "2.25.1", Some(40)).await.unwrap();
    let noted = centre.read(order.id).await.changed_at;
    centre.pass(59);
    // What says nothing new within a minute is not written, and nothing follows of what is.
    stir(registry).await;
    go_on(&radiologist, task, "2.25.1", None).await.unwrap();
    go_on(&radiologist, task, "2.25.1", Some(40)).await.unwrap();
    assert_eq!(centre.read(order.id).await.changed_at, noted);
    go_on(&radiologist, task, "2.25.1", Some(41)).await.unwrap();
    assert_eq!(centre.read(order.id).await.changed_at, centre.now());
    centre.pass(61);
    go_on(&radiologist, task, "2.25.1", None).await.unwrap();
    assert_eq!(centre.read(order.id).await.changed_at, centre.now());
    assert!(!stir(registry).await, "no order was changed");
    let other = user("other", Role::Radiologist, "006");
    let next = Task::new(task.examination(), task.made_unix_ms(), 2).unwrap();
    let elsewhere = Task::new(task.examination(), task.made_unix_ms() + 1, 1).unwrap();
    for (agent, task, uid) in [
        (&other, task, "2.25.1"),
        (&radiologist, task, "2.25.2"),
        (&radiologist, next, "2.25.1"),
        (&radiologist, elsewhere, "2.25.1"),
    ] {
        let refused = go_on(agent, task, uid, None).await;
        assert!(
            matches!(
                refused,
                Err(RegistryError::Refused(Refusal::Transition(
                    TransitionError::Guard(Guard::NotHolder)
                )))
            ),
            "{refused:?}"
        );
    }
    centre.pass(59 * 60);
    let progressed = centre.matcher.progress(centre.now()).await.unwrap();
    assert_eq!(progressed, Progressed::default(), "it was gone on with");
    let held = centre.read(order.id).await;
    assert_eq!(held.readings().present().unwrap().percent, Some(41));
    centre.pass(6 * 60);
    let progressed = centre.matcher.progress(centre.now()).await.unwrap();
    assert_eq!(progressed.released_count, 1);
    let free = centre.read(order.id).await;
    let readings = free.readings();
    assert_eq!(readings.get(1).unwrap().state, State::Canceled);
    let present = readings.present().unwrap();
    assert_eq!((present.number, present.state), (2, State::Scheduled));
    assert_eq!(
        (free.status(), free.lock_ends_at()),
        (Status::ImagesReceived, None)
    );
    assert!(go_on(&radiologist, task, "2.25.1", None).await.is_err());
}

#[tokio::test]
async fn an_examination_of_which_nothing_was_kept_yet_has_the_reading_that_its_status_says() {
    let rig = Rig::new().await;
    let registry = &rig.registry;
    let new = new_for(&rig).await;
    let saved = save(registry, &new, 1).await.unwrap().value;
    assert!(saved.readings().is_empty(), "nothing is to be read");
    receive(registry, saved.id).await;
    let reader = user("r", Role::Radiologist, "006");
    claim(registry, &reader, saved.id, "2.25.1", now()).await;
    let system = Agent::system("test");
    let all = Reader::new(&system);
    let read = registry.examination(&all, saved.id, now()).await;
    let kept = read.unwrap().value;

    // As a server before this one would have written it.
    let mut document = serde_json::to_value(&kept).unwrap();
    document
        .as_object_mut()
        .unwrap()
        .remove("readings")
        .unwrap();
    let older: Examination = serde_json::from_value(document).unwrap();
    let readings = older.readings();
    let present = readings.present().unwrap();
    assert_eq!((present.number, present.state), (1, State::InProgress));
    assert_eq!(present.by.as_deref(), Some("r"));
    assert!(!present.is_of("r", &claim_uid("2.25.1")), "by no UID");
    let uid = older.task(1).unwrap().uid().unwrap();
    assert_eq!(kept.task(1).unwrap().uid().unwrap(), uid);
    let task = Task::of_uid(&uid).unwrap();
    assert!(older.has_task(task));

    // And while a signed report of it is added to.
    let signed = act(registry, &reader, saved.id, Event::Sign(SIGNED)).await;
    signed.unwrap();
    let revise = Event::Revise {
        revision: Revision::Addendum,
        is_author_or_supervisor: true,
        reason: Reason::parse("проверка").unwrap(),
    };
    let revised = act(registry, &reader, saved.id, revise).await.unwrap();
    let mut document = serde_json::to_value(&revised.examination.value).unwrap();
    let fields = document.as_object_mut().unwrap();
    fields.remove("readings").unwrap();
    let older: Examination = serde_json::from_value(document).unwrap();
    let readings = older.readings();
    let states = [1, 2].map(|number| readings.get(number).unwrap().state);
    assert_eq!(states, [State::Completed, State::InProgress]);
    assert_eq!(readings.last_number(), 2);

    let release = Event::Release { holds_lock: true };
    let released = act(registry, &reader, saved.id, release).await.unwrap();
    assert_eq!(released.examination.value.readings().last_number(), 2);
    let readings = released.examination.value.readings();
    let present = readings.present().unwrap();
    assert_eq!((present.number, present.state), (1, State::Completed));
}
