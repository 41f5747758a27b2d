//! The table of the family, and its schemas.

use super::{erasing, holding, list as list_studies, read as read_study, rejecting, sending};
use crate::api::openapi::{list, nothing_or, object, reference, several, text, time};
use crate::api::page::{CURSOR, LIMIT};
use crate::api::routes::{Basis, Family, Operation, Parameter, Route};
use axum::routing::{delete, get, post, put};
use pacs_core::role::Permission;
use serde_json::{Value, json};

pub(in crate::api) const FAMILY: Family = Family {
    routes: &[
        Route {
            path: "/studies",
            operations: &[STUDIES],
        },
        Route {
            path: "/studies/{study}",
            operations: &[STUDY],
        },
        Route {
            path: "/studies/{study}/hold",
            operations: &[holding::HOLD, holding::SET_HOLD],
        },
        Route {
            path: "/studies/{study}/hold/lifting",
            operations: &[holding::LIFT_HOLD],
        },
        Route {
            path: "/studies/{study}/rejections",
            operations: &[REJECT],
        },
        Route {
            path: "/studies/{study}/sendings",
            operations: &[SEND],
        },
        Route {
            path: "/rejections",
            operations: &[REJECTIONS],
        },
        Route {
            path: "/rejections/{id}",
            operations: &[REJECTION],
        },
        Route {
            path: "/rejections/{id}/instances",
            operations: &[REJECTED],
        },
        Route {
            path: "/rejections/{id}/instances/{instance}/preview",
            operations: &[PREVIEW],
        },
        Route {
            path: "/rejections/{id}/restoration",
            operations: &[RESTORE],
        },
        Route {
            path: "/rejection-notes",
            operations: &[NOTES],
        },
        Route {
            path: "/rejection-notes/{instance}",
            operations: &[NOTE],
        },
        Route {
            path: "/rejection-notes/{instance}/dismissal",
            operations: &[DISMISS],
        },
        Route {
            path: "/rejection-notes/{instance}/reopening",
            operations: &[REOPEN],
        },
        Route {
            path: "/rejection-notes/{instance}/rejection",
            operations: &[FOLLOW],
        },
        Route {
            path: "/studies/{study}/erasure",
            operations: &[PROPOSE_ERASURE],
        },
        Route {
            path: "/erasures",
            operations: &[ERASURES],
        },
        Route {
            path: "/erasures/{id}",
            operations: &[ERASURE],
        },
        Route {
            path: "/erasures/{id}/agreement",
            operations: &[AGREE],
        },
        Route {
            path: "/erasures/{id}/giving-up",
            operations: &[GIVE_UP],
        },
        Route {
            path: "/retention",
            operations: &[RETENTION, SET_RETENTION],
        },
        Route {
            path: "/sendings/{id}",
            operations: &[SENDING, CANCEL],
        },
    ],
    schemas,
};

const ORGANISATION: Parameter = Parameter {
    name: "organisation",
    summary: "the three digits of an organisation",
    schema: r#"{"type": "string", "pattern": "^[0-9]{3}$"}"#,
};

const ORGANISATION_OR_NONE: Parameter = Parameter {
    name: "organisation",
    summary: "the three digits of an organisation, or `none` for what nobody knows whose it is",
    schema: r#"{"type": "string", "pattern": "^([0-9]{3}|none)$"}"#,
};

const EXAMINATION: Parameter = Parameter {
    name: "examination",
    summary: "of the images of this examination alone",
    schema: r#"{"type": "string"}"#,
};

const PATIENT: Parameter = Parameter {
    name: "patient",
    summary: "of the images of this patient alone, by a number of the archive",
    schema: r#"{"type": "string"}"#,
};

const FROM: Parameter = Parameter {
    name: "from",
    summary: "rejected on this day or later",
    schema: r#"{"type": "string", "format": "date"}"#,
};

const TO: Parameter = Parameter {
    name: "to",
    summary: "rejected on this day or earlier",
    schema: r#"{"type": "string", "format": "date"}"#,
};

const STUDIES: Operation = Operation::get("studies", "Studies in sight, newest first", || {
    get(list_studies)
})
.asks(&[ORGANISATION, CURSOR, LIMIT])
.gives(200, "Studies")
.refuses(&[422, 503])
.needs(&[
    Permission::ImageRestore,
    Permission::ImageView,
    Permission::Reconcile,
]);

const STUDY: Operation = Operation::get(
    "study",
    "One study, with its series, what is out of sight of it, and what is sent",
    || get(read_study),
)
.gives(200, "Study")
.refuses(&[404, 422, 503])
.needs(&[
    Permission::ImageRestore,
    Permission::ImageView,
    Permission::Reconcile,
]);

const REJECT: Operation = Operation::post(
    "rejectImages",
    "Take a study, a series or instances out of sight",
    || post(rejecting::reject),
)
.takes("NewRejection")
.gives(201, "Rejection")
.tagged()
.refuses(&[404, 409])
.once()
.needs(&[Permission::ImageReject]);

const SEND: Operation = Operation::post(
    "sendStudy",
    "Send a study, or a series of it, to an AE, in the background",
    || post(sending::send),
)
.takes("NewSending")
.gives(202, "Sending")
.tagged()
.refuses(&[404, 409])
.once()
.needs(&[Permission::Export]);

const REJECTIONS: Operation = Operation::get(
    "rejections",
    "What was taken out of sight, newest first",
    || get(rejecting::list),
)
.asks(&[
    ORGANISATION_OR_NONE,
    EXAMINATION,
    PATIENT,
    FROM,
    TO,
    CURSOR,
    LIMIT,
])
.gives(200, "Rejections")
.refuses(&[422])
.needs(&[Permission::ImageReject, Permission::ImageRestore]);

const REJECTION: Operation = Operation::get("rejection", "One rejection", || get(rejecting::read))
    .gives(200, "Rejection")
    .tagged()
    .refuses(&[404, 422])
    .needs(&[Permission::ImageReject, Permission::ImageRestore]);

const REJECTED: Operation = Operation::get(
    "rejectedInstances",
    "The instances of a rejection, each with where a picture of it is",
    || get(rejecting::instances),
)
.asks(&[CURSOR, LIMIT])
.gives(200, "RejectedInstances")
.refuses(&[404])
.needs(&[Permission::ImageReject, Permission::ImageRestore]);

const PREVIEW: Operation = Operation::get(
    "rejectedPreview",
    "A small picture of a rejected instance",
    || get(rejecting::preview),
)
.gives_as("image/jpeg", "Picture")
.refuses(&[404])
.needs(&[Permission::ImageReject, Permission::ImageRestore]);

const RESTORE: Operation = Operation::post(
    "restoreImages",
    "Bring what was rejected back into sight",
    || post(rejecting::restore),
)
.takes("WithReason")
.gives(200, "Rejection")
.tagged()
.based(Basis::Optional)
.refuses(&[404, 409])
.needs(&[Permission::ImageRestore]);

const NOTES: Operation = Operation::get(
    "rejectionNotes",
    "What devices propose to reject, and nobody has looked at, newest first",
    || get(rejecting::notes),
)
.asks(&[ORGANISATION_OR_NONE, CURSOR, LIMIT])
.gives(200, "RejectionNotes")
.refuses(&[422])
.needs(&[Permission::ImageReject, Permission::ImageRestore]);

const NOTE: Operation = Operation::get("rejectionNote", "One note of a device", || {
    get(rejecting::note)
})
.gives(200, "RejectionNote")
.tagged()
.refuses(&[404, 422])
.needs(&[Permission::ImageReject, Permission::ImageRestore]);

const REOPEN: Operation = Operation::post(
    "reopenRejectionNote",
    "Have a note that was dismissed wait again",
    || post(rejecting::reopen),
)
.gives(200, "RejectionNote")
.tagged()
.based(Basis::Optional)
.refuses(&[404, 409, 422])
.needs(&[Permission::ImageReject, Permission::ImageRestore]);

const DISMISS: Operation = Operation::post(
    "dismissRejectionNote",
    "Reject nothing of what is proposed",
    || post(rejecting::dismiss),
)
.takes("WithReason")
.gives(200, "RejectionNote")
.tagged()
.based(Basis::Optional)
.refuses(&[404, 409])
.needs(&[Permission::ImageReject, Permission::ImageRestore]);

const FOLLOW: Operation = Operation::post("followRejectionNote", "Reject what is proposed", || {
    post(rejecting::follow)
})
.takes("WithReason")
.gives(200, "RejectionNote")
.tagged()
.based(Basis::Optional)
.refuses(&[404, 409])
.needs(&[Permission::ImageReject]);

const SENDING: Operation = Operation::get(
    "sending",
    "How far a sending is: what was taken, what was refused, and why",
    || get(sending::read),
)
.gives(200, "Sending")
.tagged()
.refuses(&[404, 422])
.needs(&[Permission::Export]);

const CANCEL: Operation = Operation::delete("cancelSending", "Break a sending off", || {
    delete(sending::cancel)
})
.gives(200, "Sending")
.tagged()
.based(Basis::Optional)
.refuses(&[404, 409, 422])
.needs(&[Permission::Export]);

const PROPOSE_ERASURE: Operation = Operation::post(
    "proposeErasure",
    "Propose to erase a study that is out of sight, or whose term is over",
    || post(erasing::propose),
)
.takes("WithReason")
.gives(201, "Erasure")
.tagged()
.refuses(&[404, 409])
.once()
.needs(&[Permission::ImageErasePropose]);

const ERASURES: Operation =
    Operation::get("erasures", "What waits to be erased", || get(erasing::list))
        .gives(200, "Erasures")
        .needs(&[Permission::ImageEraseApprove, Permission::ImageErasePropose]);

const ERASURE: Operation = Operation::get("erasure", "One erasure", || get(erasing::read))
    .gives(200, "Erasure")
    .tagged()
    .refuses(&[404, 422])
    .needs(&[Permission::ImageEraseApprove, Permission::ImageErasePropose]);

const AGREE: Operation = Operation::post(
    "agreeToErasure",
    "Agree to what somebody else proposed to erase",
    || post(erasing::agree),
)
.gives(200, "Erasure")
.tagged()
.based(Basis::Optional)
.refuses(&[404, 409, 422])
.needs(&[Permission::ImageEraseApprove]);

const GIVE_UP: Operation = Operation::post(
    "giveUpErasure",
    "Give up an erasure that is not final",
    || post(erasing::give_up),
)
.takes("WithReason")
.gives(200, "Erasure")
.tagged()
.based(Basis::Optional)
.refuses(&[404, 409])
.needs(&[Permission::ImageEraseApprove, Permission::ImageErasePropose]);

const RETENTION: Operation = Operation::get(
    "retention",
    "For how long images are kept; without rules for ever",
    || get(erasing::retention),
)
.gives(200, "Retention")
.tagged();

const SET_RETENTION: Operation = Operation::put(
    "setRetention",
    "Say for how long images are kept from now on",
    || put(erasing::set_retention),
)
.takes("Retention")
.gives(200, "Retention")
.tagged()
.based(Basis::Needed)
.needs(&[Permission::OrganisationsManage]);

fn erasure() -> Value {
    let members = [
        ("id", text()),
        ("etag", text()),
        ("study", text()),
        ("organisation", nothing_or(text())),
        ("ground", json!({"enum": ["rejected", "term_over"]})),
        ("reason", text()),
        ("by", text()),
        ("at", time()),
        (
            "state",
            json!({"enum": ["agreed", "final", "given_up", "proposed"]}),
        ),
        ("agreed_by", nothing_or(text())),
        ("not_before", nothing_or(time())),
        ("final_at", nothing_or(time())),
        ("destroyed_at", nothing_or(time())),
        ("given_up_by", nothing_or(text())),
    ];
    object(&members, &[])
}

fn retention() -> Value {
    let rule = [
        ("organisation", nothing_or(text())),
        ("modality", nothing_or(text())),
        ("age", nothing_or(json!({"enum": ["adult", "child"]}))),
        ("keep_days", whole()),
    ];
    let rule = object(&rule, &["organisation", "modality", "age"]);
    object(&[("rules", several(rule)), ("waiting_days", whole())], &[])
}

fn whole() -> Value {
    json!({"type": "integer", "minimum": 0})
}

fn titles() -> Value {
    json!({"enum": ["patient_safety", "quality", "retention_expired", "worklist_entry"]})
}

fn study_members() -> Vec<(&'static str, Value)> {
    vec![
        ("uid", text()),
        ("organisation", nothing_or(text())),
        ("examination", nothing_or(text())),
        ("date", nothing_or(text())),
        ("time", nothing_or(text())),
        ("description", nothing_or(text())),
        ("modalities", several(text())),
        ("series_count", whole()),
        ("instances_count", whole()),
    ]
}

fn rejection() -> Value {
    let members = [
        ("id", text()),
        ("etag", text()),
        ("study", text()),
        ("series", nothing_or(text())),
        ("part", json!({"enum": ["instances", "series", "study"]})),
        ("organisation", nothing_or(text())),
        ("examination", nothing_or(text())),
        ("instances_count", whole()),
        ("title", titles()),
        ("quality", nothing_or(text())),
        ("reason", text()),
        ("by", text()),
        ("at", time()),
        ("note", nothing_or(text())),
        (
            "state",
            json!({"enum": ["applied", "ordered", "restored", "restoring"]}),
        ),
        ("restored", nothing_or(reference("Undone"))),
    ];
    object(&members, &[])
}

fn note() -> Value {
    let named = [
        ("study", text()),
        ("series", text()),
        ("instances", several(text())),
    ];
    let members = [
        ("instance", text()),
        ("etag", text()),
        ("study", text()),
        ("sender", text()),
        ("organisation", nothing_or(text())),
        ("received_at", time()),
        ("asks", text()),
        ("quality", nothing_or(text())),
        ("rejected", several(object(&named, &[]))),
        ("left_out_count", whole()),
        (
            "state",
            json!({"enum": ["dismissed", "followed", "waiting"]}),
        ),
        ("rejections", several(text())),
        ("dismissed", nothing_or(reference("Undone"))),
    ];
    object(&members, &[])
}

fn sending_schema() -> Value {
    let refused = [("instance", text()), ("status", whole()), ("why", text())];
    let members = [
        ("id", text()),
        ("etag", text()),
        ("study", text()),
        ("series", nothing_or(text())),
        ("destination", text()),
        ("by", text()),
        ("at", time()),
        (
            "state",
            json!({"enum": ["cancelled", "done", "given_up", "open"]}),
        ),
        ("instances_count", whole()),
        ("taken_count", whole()),
        ("warned_count", whole()),
        ("refused_count", whole()),
        ("refused", several(object(&refused, &["status"]))),
        ("attempts_count", whole()),
        ("failure", nothing_or(text())),
        ("changed_at", time()),
    ];
    object(&members, &[])
}

fn schemas() -> Vec<(&'static str, Value)> {
    let series = [
        ("uid", text()),
        ("modality", nothing_or(text())),
        ("number", nothing_or(text())),
        ("description", nothing_or(text())),
        ("instances_count", whole()),
    ];
    let mut study = study_members();
    study.extend([
        ("series", several(object(&series, &[]))),
        ("flags", several(text())),
        ("rejections", several(reference("Rejection"))),
        ("sendings", several(reference("Sending"))),
    ]);
    let new_rejection = [
        ("series", nothing_or(text())),
        ("instances", nothing_or(several(text()))),
        ("title", titles()),
        ("quality", nothing_or(text())),
        ("reason", text()),
    ];
    let optional = ["series", "instances", "quality"];
    let new_sending = [("destination", text()), ("series", nothing_or(text()))];
    let undone = [("by", text()), ("at", time()), ("reason", text())];
    vec![
        ("StudyListed", object(&study_members(), &[])),
        ("Studies", list("StudyListed")),
        ("Study", object(&study, &[])),
        ("NewRejection", object(&new_rejection, &optional)),
        ("Undone", object(&undone, &[])),
        ("Rejection", rejection()),
        ("Rejections", list("Rejection")),
        (
            "RejectedInstance",
            object(&[("instance", text()), ("preview", text())], &[]),
        ),
        ("RejectedInstances", list("RejectedInstance")),
        ("Picture", json!({"type": "string", "format": "binary"})),
        ("WithReason", object(&[("reason", text())], &[])),
        ("RejectionNote", note()),
        ("RejectionNotes", list("RejectionNote")),
        ("Erasure", erasure()),
        ("Erasures", list("Erasure")),
        ("Hold", holding::schema()),
        ("Retention", retention()),
        ("NewSending", object(&new_sending, &["series"])),
        ("Sending", sending_schema()),
    ]
}
