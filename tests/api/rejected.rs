//! Examinations, and studies that wait for a person, of which all images are taken out of sight
//! and brought back (T16 and T17 of the design): what every list, worklist and search says then.

use pacs_tests::edges::until;
use pacs_tests::portal::{Browser, CT_OF_006, Portal, refusal, refused, slice_of};
use pacs_tests::samples::Slice;
use pacs_tests::server::PATIENCE;
use pacs_tests::stow::ask;
use pacs_tests::wire::{Association, Context, Proposal, Tree, uid};
use serde_json::{Value, json};

use crate::examinations::{form, ids, images_come, saved};
use crate::patients::{patient, registered};

/// A hospital with a CT that asks for its worklist, and those who work there.
struct Hospital {
    portal: Portal,
    operator: Browser,
    radiologist: Browser,
    expert: Browser,
    keeper: Browser,
    number: String,
}

impl Hospital {
    fn new() -> Self {
        let device = json!({"ae_title": CT_OF_006, "organisation": "006", "modality": "CT"});
        let ae = format!(
            "[[dicom.ae]]\ntitle = \"{CT_OF_006}\"\naddress = \"127.0.0.1:11999\"\n\
             allow = [\"echo\", \"store\", \"worklist\"]\n"
        );
        let portal = Portal::with(&[device], &ae);
        let operator = portal.user("operator", &["operator@006", "radiographer@006"]);
        Self {
            radiologist: portal.user("radiologist", &["radiologist@006"]),
            expert: portal.user("expert", &["expert@006"]),
            keeper: portal.user("keeper", &["archive_admin@national"]),
            number: registered(&operator, &patient()),
            portal,
            operator,
        }
    }

    /// Accession Numbers and Scheduled Procedure Step IDs that the device has in its worklist.
    fn worklist(&self) -> Vec<(String, String)> {
        let step = Tree::default()
            .text(0x0008_0060, "CS", "CT")
            .text(0x0040_0009, "SH", "");
        let keys = Tree::default()
            .items(0x0040_0100, vec![step])
            .text(0x0008_0050, "SH", "");
        let context = Context::new(uid::WORKLIST_FIND, uid::EXPLICIT_LITTLE_ENDIAN);
        let proposal = Proposal {
            calling: CT_OF_006.to_owned(),
            ..Proposal::new(vec![context])
        };
        let connected = Association::connect(self.portal.server.dicom(), &proposal);
        let mut association = connected.expect("an association");
        let found = association.find_trees(uid::WORKLIST_FIND, &keys);
        association.release().expect("a release in order");
        let (answers, status) = found.expect("answers");
        assert_eq!(status, 0, "C-FIND of the worklist");
        let of = |answer: &Tree| {
            let step = answer.items_of(0x0040_0100)[0].text_of(0x0040_0009);
            (answer.text_of(0x0008_0050), step)
        };
        answers.iter().map(of).collect()
    }

    /// What QIDO-RS tells of a study: how many instances it has, where it is there.
    fn searched(&self, who: &Browser, study: &str) -> Option<u64> {
        let path = format!("/dicomweb/studies?0020000D={study}&includefield=00201208");
        let fields = [("Cookie", &*who.cookie)];
        let found = ask(self.portal.server.http(), "GET", &path, &fields, &[]);
        let is_empty = found.status == 204 || found.body.is_empty();
        let found = (!is_empty).then(|| found.json());
        found?[0]["00201208"]["Value"][0].as_u64()
    }

    /// The reading tasks that an expert finds: UPS-RS.
    fn tasks(&self) -> usize {
        let path = "/dicomweb/workitems?ProcedureStepState=SCHEDULED";
        let fields = [("Cookie", &*self.expert.cookie)];
        let found = ask(self.portal.server.http(), "GET", path, &fields, &[]);
        match found.status {
            204 => 0,
            _ => found.json().as_array().expect("tasks").len(),
        }
    }

    fn reject(&self, who: &Browser, study: &str, part: &Value) -> String {
        let mut body = json!({"title": "quality", "reason": "смазано"});
        if let Some(part) = part.as_object() {
            body.as_object_mut()
                .expect("an object")
                .extend(part.clone());
        }
        let made = who.make(&format!("/studies/{study}/rejections"), &body);
        assert_eq!(made.status, 201, "{}", made.json());
        made.json()["id"].as_str().expect("an ID").to_owned()
    }

    fn restore(&self, rejection: &str) {
        let path = format!("/rejections/{rejection}/restoration");
        let restored = self.keeper.make(&path, &json!({"reason": "проверено"}));
        assert_eq!(restored.status, 200, "{}", restored.json());
    }

    /// What everybody is told of an examination whose status is `status` and of which `count` of
    /// the images of its study are in sight.
    fn shows(&self, id: &str, study: &str, (status, count): (&str, u64)) {
        let path = format!("/examinations/{id}");
        let shown = self.operator.get(&path).json();
        assert_eq!(shown["status"], status, "{shown}");
        assert_eq!(shown["studies"], json!([study]), "it stays of it");
        let studies = self.operator.get(&format!("{path}/studies")).json();
        assert_eq!(studies["items"][0]["instances_count"], count, "{studies}");
        let of_status = |status: &str| {
            let list = format!("/examinations?status={status}");
            ids(&self.operator.get(&list)).contains(&id.to_owned())
        };
        let statuses = ["in_progress", "images_received", "under_review", "rejected"];
        for one in statuses {
            assert_eq!(of_status(one), one == status, "{one}");
        }
        let counts = self.operator.get("/examinations/counts").json();
        let counts = counts["items"].as_array().expect("counts");
        for one in statuses {
            let mut of_it = counts.iter().filter(|count| count["status"] == one);
            let expected = u64::from(one == status);
            let counted = of_it
                .next()
                .map_or(0, |of| of["count"].as_u64().unwrap_or(0));
            assert_eq!(counted, expected, "{one}: {counts:?}");
        }
        let waits = status == "images_received";
        let queue = ids(&self
            .expert
            .get("/examinations?scope=queue&status=images_received"));
        assert_eq!(queue, vec![id; usize::from(waits)], "to be read");
        assert_eq!(self.tasks(), usize::from(waits), "UPS");
        let is_in_sight = (count > 0).then_some(count);
        for who in [&self.operator, &self.radiologist] {
            assert_eq!(self.searched(who, study), is_in_sight, "QIDO");
        }
        let kept = self.keeper.get(&format!("/studies/{study}")).json();
        assert_eq!(kept["instances_count"], count, "{kept}");
    }
}

#[test]
fn an_examination_is_rejected_with_its_last_image_and_is_again_what_it_was_with_the_first() {
    let hospital = Hospital::new();
    let id = saved(&hospital.operator, &form(&hospital.number));
    let first = format!("{id}-01");
    assert_eq!(hospital.worklist(), [(id.clone(), first.clone())]);
    images_come(&hospital.portal, &hospital.operator, &id, &hospital.number);
    let slices = [Slice::new(1, 1), Slice::new(1, 2)];
    let study = slices[0].study.clone();
    let second = slice_of(&slices[1], &id, &hospital.number);
    hospital
        .portal
        .store(CT_OF_006, &slices[1].instance, &second);
    hospital.shows(&id, &study, ("in_progress", 2));
    let in_worklist = hospital.worklist();

    // While it is made.
    let all = Value::Null;
    let rejection = hospital.reject(&hospital.operator, &study, &all);
    hospital.shows(&id, &study, ("rejected", 0));
    assert_eq!(hospital.worklist(), [], "nothing to be made");
    hospital.restore(&rejection);
    hospital.shows(&id, &study, ("in_progress", 2));
    assert_eq!(hospital.worklist(), in_worklist, "as it was");

    // Once it is complete, and while somebody reads it, in two goes.
    let path = format!("/examinations/{id}");
    let complete = hospital
        .operator
        .post(&format!("{path}/complete"), &Value::Null);
    assert_eq!(complete.status, 200, "{}", complete.json());
    hospital.shows(&id, &study, ("images_received", 2));
    let one = json!({"instances": [slices[0].instance]});
    let one = hospital.reject(&hospital.radiologist, &study, &one);
    hospital.shows(&id, &study, ("images_received", 1));
    let claimed = hospital.expert.post(&format!("{path}/claim"), &Value::Null);
    assert_eq!(claimed.json()["status"], "under_review");
    let rest = hospital.reject(&hospital.radiologist, &study, &all);
    hospital.shows(&id, &study, ("rejected", 0));
    let shown = hospital.operator.get(&path).json();
    assert_eq!(shown["lock"], Value::Null, "nobody has it in work");
    let claimed = hospital.expert.post(&format!("{path}/claim"), &Value::Null);
    assert!([404, 409].contains(&claimed.status), "{}", claimed.json());
    // The first that comes back brings the examination back.
    hospital.restore(&rest);
    hospital.shows(&id, &study, ("images_received", 1));
    hospital.restore(&one);
    hospital.shows(&id, &study, ("images_received", 2));
    let events = hospital.operator.get(&format!("{path}/events")).json();
    let events = events["items"].as_array().expect("events").iter();
    let events = events.filter_map(|event| event["event"].as_str());
    let events: Vec<&str> = events
        .filter(|event| ["reject", "restore"].contains(event))
        .collect();
    assert_eq!(
        events,
        ["reject", "restore", "reject", "restore", "restore"]
    );

    // To be made again: the device has it in its worklist as another step of the same examination.
    hospital.reject(&hospital.radiologist, &study, &all);
    let again = hospital
        .operator
        .post(&format!("{path}/reschedule"), &Value::Null);
    assert_eq!(again.status, 200, "{}", again.json());
    assert_eq!(again.json()["status"], "scheduled");
    assert_eq!(hospital.worklist(), [(id.clone(), format!("{id}-02"))]);
}

#[test]
fn a_study_that_waits_for_a_person_waits_for_nobody_while_all_of_it_is_rejected() {
    let hospital = Hospital::new();
    let slice = Slice::new(1, 1);
    let named_nobody = slice_of(&slice, "", "");
    let store = |slice: &Slice, data_set: &[u8]| {
        hospital.portal.store(CT_OF_006, &slice.instance, data_set);
    };
    store(&slice, &named_nobody);
    let queue = || {
        let queue = hospital.operator.get("/unmatched").json();
        let items = queue["items"].as_array().expect("items").iter();
        let studies = items.map(|item| item["study"].as_str().expect("a UID").to_owned());
        studies.collect::<Vec<String>>()
    };
    let waits = |expected: &[&str]| {
        until(PATIENCE, "the queue", || {
            (queue() == expected).then_some(())
        });
    };
    waits(&[&slice.study]);

    let rejection = hospital.reject(&hospital.operator, &slice.study, &Value::Null);
    assert_eq!(queue(), [""; 0]);
    assert_eq!(hospital.searched(&hospital.operator, &slice.study), None);
    hospital.restore(&rejection);
    assert_eq!(queue(), [slice.study.as_str()]);
    assert_eq!(hospital.searched(&hospital.operator, &slice.study), Some(1));

    // A further image of it is judged by nobody yet.
    hospital.reject(&hospital.operator, &slice.study, &Value::Null);
    assert_eq!(queue(), [""; 0]);
    let later = Slice::new(1, 2);
    store(&later, &slice_of(&later, "", ""));
    waits(&[&slice.study]);
    assert_eq!(hospital.searched(&hospital.operator, &slice.study), Some(1));
}

/// A JPEG begins so (ISO/IEC 10918-1 B.1.1.3: SOI, and the next marker).
const JPEG: [u8; 3] = [0xff, 0xd8, 0xff];

/// Figures of 006.
fn figures(who: &Browser) -> Value {
    who.get("/statistics?organisation=006").json()
}

impl Hospital {
    /// What the figures say of one rejection of two images, to whom.
    fn counts_one_rejection_of_two(&self) {
        let counted = figures(&self.keeper);
        assert_eq!(
            (&counted["total"], &counted["counts"]),
            (&json!(0), &json!([]))
        );
        let counted = &counted["rejections"][0];
        assert_eq!(counted["title"], "quality", "{counted}");
        assert_eq!(counted["quality"], "motion_blur");
        assert_eq!(
            (&counted["count"], &counted["instances_count"]),
            (&json!(1), &json!(2))
        );
        let of_all = figures(&self.radiologist);
        assert_eq!(
            (&of_all["total"], &of_all["rejections"][0]),
            (&json!(1), counted)
        );
        // Whose own work it was not.
        assert_eq!(figures(&self.expert)["rejections"], json!([]));
    }
}

#[test]
fn what_was_rejected_is_looked_at_by_those_who_judge_it_and_counted_for_those_who_see_figures() {
    let hospital = Hospital::new();
    let id = saved(&hospital.operator, &form(&hospital.number));
    images_come(&hospital.portal, &hospital.operator, &id, &hospital.number);
    let (study, second) = (Slice::new(1, 1).study, Slice::new(1, 2));
    let bytes = slice_of(&second, &id, &hospital.number);
    hospital.portal.store(CT_OF_006, &second.instance, &bytes);
    let blurred = json!({"quality": "motion_blur"});
    let rejection = hospital.reject(&hospital.radiologist, &study, &blurred);
    let path = format!("/rejections/{rejection}/instances");
    let listed = hospital.operator.get("/rejections").json();
    assert_eq!(listed["items"][0]["quality"], "motion_blur", "{listed}");

    let first = hospital.operator.get(&format!("{path}?limit=1")).json();
    let next = first["next"].as_str().expect("another").to_owned();
    let rest = hospital
        .operator
        .get(&format!("{path}?limit=1&cursor={next}"));
    assert_eq!(rest.json()["items"].as_array().map(Vec::len), Some(1));
    let instance = first["items"][0]["instance"].as_str().expect("a UID");
    let preview = format!("{path}/{instance}/preview");
    let shown = format!("/api/v1{preview}");
    assert_eq!(first["items"][0]["preview"], shown);
    // It is out of sight of all else.
    assert_eq!(hospital.searched(&hospital.radiologist, &study), None);
    for who in [&hospital.operator, &hospital.radiologist, &hospital.keeper] {
        let picture = who.get(&preview);
        assert_eq!(picture.status, 200, "{}", picture.head);
        assert!(
            picture.head.contains("content-type: image/jpeg"),
            "{}",
            picture.head
        );
        assert_eq!(picture.body[..3], JPEG);
    }
    let elsewhere = hospital.portal.user("elsewhere", &["radiologist@001"]);
    assert_eq!(refusal(&elsewhere.get(&preview)), refused(404, "NOT_FOUND"));
    let other = format!("{path}/1.2.3/preview");
    assert_eq!(
        refusal(&hospital.keeper.get(&other)),
        refused(404, "NOT_FOUND")
    );
    let auditor = hospital.portal.user("auditor", &["auditor@national"]);
    let trail = auditor.get("/audit?limit=200").json().to_string();
    assert!(
        trail.contains("REJECTED quality") && trail.contains(instance),
        "{trail}"
    );

    hospital.counts_one_rejection_of_two();

    // What endangers somebody is shown to nobody but those who may bring it back.
    hospital.restore(&rejection);
    assert_eq!(figures(&hospital.keeper)["rejections"], json!([]));
    let body = json!({"title": "patient_safety"});
    let rejection = hospital.reject(&hospital.radiologist, &study, &body);
    let preview = format!("/rejections/{rejection}/instances/{instance}/preview");
    let own = hospital.radiologist.get(&preview);
    assert_eq!(refusal(&own), refused(404, "NOT_FOUND"));
    assert_eq!(hospital.keeper.get(&preview).status, 200);
}
