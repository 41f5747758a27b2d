//! The table of examinations.

use super::{acts, assigning, progress, restricting, schemas, studies};
use super::{change, counts, events, list, of_patient, read, save};
use crate::api::page::{CURSOR, LIMIT};
use crate::api::patients::ORGANISATION;
use crate::api::routes::{Basis, Family, Operation, Parameter, Route};
use crate::api::stream::KIND;
use axum::routing::{get, post, put};
use pacs_core::role::Permission;

pub(in crate::api) const FAMILY: Family = Family {
    routes: &[
        Route {
            path: "/examinations",
            operations: &[LIST, SAVE],
        },
        Route {
            path: "/examinations/counts",
            operations: &[COUNTS],
        },
        Route {
            path: "/examinations/progress",
            operations: &[PROGRESS_OF_LIST],
        },
        Route {
            path: "/examinations/{id}",
            operations: &[READ, CHANGE],
        },
        Route {
            path: "/examinations/{id}/events",
            operations: &[EVENTS],
        },
        Route {
            path: "/examinations/{id}/studies",
            operations: &[STUDIES],
        },
        Route {
            path: "/examinations/{id}/progress",
            operations: &[PROGRESS],
        },
        Route {
            path: "/examinations/{id}/assign",
            operations: &[ASSIGN],
        },
        Route {
            path: "/examinations/{id}/unassign",
            operations: &[UNASSIGN],
        },
        Route {
            path: "/examinations/{id}/restrict",
            operations: &[RESTRICT],
        },
        Route {
            path: "/examinations/{id}/unrestrict",
            operations: &[UNRESTRICT],
        },
        Route {
            path: "/examinations/{id}/claim",
            operations: &[CLAIM],
        },
        Route {
            path: "/examinations/{id}/release",
            operations: &[RELEASE],
        },
        Route {
            path: "/examinations/{id}/return",
            operations: &[RETURN],
        },
        Route {
            path: "/examinations/{id}/cancel",
            operations: &[CANCEL],
        },
        Route {
            path: "/examinations/{id}/complete",
            operations: &[COMPLETE],
        },
        Route {
            path: "/examinations/{id}/discontinue",
            operations: &[DISCONTINUE],
        },
        Route {
            path: "/examinations/{id}/reschedule",
            operations: &[RESCHEDULE],
        },
        Route {
            path: "/examinations/{id}/reopen",
            operations: &[REOPEN],
        },
        Route {
            path: "/examinations/{id}/dismiss-late-images",
            operations: &[DISMISS],
        },
        Route {
            path: "/patients/{number}/examinations",
            operations: &[OF_PATIENT],
        },
    ],
    schemas: schemas::schemas,
};

const SCOPE: Parameter = Parameter {
    name: "scope",
    summary: "made by the organisation, ordered by it, waiting there to be read, or assigned to me",
    schema: r#"{"enum": ["performing", "ordering", "queue", "assigned"], "default": "performing"}"#,
};

const STATUS: Parameter = Parameter {
    name: "status",
    summary: "of this status alone",
    schema: r#"{"enum": ["scheduled", "in_progress", "images_received", "under_review",
        "reported", "sent", "delivered", "discontinued", "rejected", "cancelled"]}"#,
};

const SORT: Parameter = Parameter {
    name: "sort",
    summary: "the newest first, or of one status that waits for somebody the most urgent",
    schema: r#"{"enum": ["newest", "urgent"], "default": "newest"}"#,
};

const KIND_OF_IMAGES: Parameter = Parameter {
    name: "kind",
    summary: "of this kind of images alone: ct, mr, xray, or another Modality",
    schema: r#"{"type": "string", "minLength": 1}"#,
};

const PRIORITY: Parameter = Parameter {
    name: "priority",
    summary: "of this urgency alone",
    schema: r#"{"enum": ["routine", "high", "stat"]}"#,
};

const FROM: Parameter = Parameter {
    name: "from",
    summary: "from this day on",
    schema: r#"{"type": "string", "format": "date"}"#,
};

const TO: Parameter = Parameter {
    name: "to",
    summary: "until this day",
    schema: r#"{"type": "string", "format": "date"}"#,
};

const MINE: Parameter = Parameter {
    name: "mine",
    summary: "those alone that I have in work",
    schema: r#"{"type": "boolean", "default": false}"#,
};

const FLAGGED: Parameter = Parameter {
    name: "flagged",
    summary: "those alone to which images came late or of which some are missing",
    schema: r#"{"type": "boolean", "default": false}"#,
};

const LIST: Operation = Operation::get(
    "listExaminations",
    "«На рассмотрении»: the examinations of a list that I see",
    || get(list),
)
.asks(&[
    SCOPE,
    ORGANISATION,
    STATUS,
    SORT,
    KIND_OF_IMAGES,
    PRIORITY,
    FROM,
    TO,
    MINE,
    FLAGGED,
    LIMIT,
    CURSOR,
])
.gives(200, "Examinations")
.needs(&[Permission::ImageView]);

const SAVE: Operation = Operation::post(
    "orderExamination",
    "«Сохранить»: gives the examination its ID",
    || post(save),
)
.takes("NewExamination")
.gives(201, "ExaminationStanding")
.tagged()
.refuses(&[404, 409])
.once()
.needs(&[Permission::OrderCreate]);

const COUNTS: Operation = Operation::get(
    "countExaminations",
    "How many examinations of each status I see in a list",
    || get(counts),
)
.asks(&[SCOPE, ORGANISATION])
.gives(200, "StatusCounts")
.needs(&[Permission::ImageView]);

const READ: Operation = Operation::get(
    "readExamination",
    "An examination by its ID, also as it is typed",
    || get(read),
)
.gives(200, "Examination")
.tagged()
.refuses(&[404])
.needs(&[Permission::ImageView]);

const CHANGE: Operation = Operation::put(
    "changeExamination",
    "Change the form, as long as there are no images",
    || put(change),
)
.takes("ExaminationForm")
.gives(200, "Examination")
.tagged()
.based(Basis::Needed)
.refuses(&[404, 409])
.needs(&[Permission::OrderEdit]);

const EVENTS: Operation = Operation::get(
    "examinationEvents",
    "What happened to an examination, oldest first",
    || get(events),
)
.asks(&[LIMIT, CURSOR])
.gives(200, "ExaminationEvents")
.refuses(&[404])
.needs(&[Permission::ImageView]);

const STUDIES: Operation = Operation::get(
    "examinationStudies",
    "The studies of an examination and their series, and where they can be had",
    || get(studies::studies),
)
.asks(&[LIMIT, CURSOR])
.gives(200, "ExaminationStudies")
.refuses(&[404])
.needs(&[Permission::ImageView]);

const PROGRESS: Operation = Operation::get(
    "examinationProgress",
    "What happens to an examination while I look: `state`, `instances`, `end`",
    || get(progress::of_one),
)
.gives_as(KIND, "ServerSentEvents")
.refuses(&[404, 429])
.needs(&[Permission::ImageView]);

const PROGRESS_OF_LIST: Operation = Operation::get(
    "examinationsProgress",
    "What happens to the examinations of a list while I look: `reset`, `changed`, `instances`, \
     `end`",
    || get(progress::of_list),
)
.asks(&[SCOPE, ORGANISATION])
.gives_as(KIND, "ServerSentEvents")
.refuses(&[429])
.needs(&[Permission::ImageView]);

const OF_PATIENT: Operation = Operation::get(
    "examinationsOfPatient",
    "The examinations of a patient that I see, newest first",
    || get(of_patient),
)
.gives(200, "Examinations")
.refuses(&[404])
.needs(&[Permission::ImageView]);

const ASSIGN: Operation = act(Operation::post(
    "assignExamination",
    "Say who is to read it; nobody else takes it into work then",
    || post(assigning::assign),
))
.takes("ExaminationReader")
.needs(&[Permission::OrderEdit, Permission::ReportWrite]);

const UNASSIGN: Operation = act(Operation::post(
    "unassignExamination",
    "It is for nobody in particular: whoever it was for gives it back so",
    || post(assigning::unassign),
))
.needs(&[Permission::OrderEdit, Permission::ReportWrite]);

const RESTRICT: Operation = act(Operation::post(
    "restrictExamination",
    "Only those see it from now on who are named",
    || post(restricting::restrict),
))
.takes("ExaminationRestriction")
.needs(&[Permission::OrderEdit]);

const UNRESTRICT: Operation = act(Operation::post(
    "unrestrictExamination",
    "Everybody sees it again who has to do with it",
    || post(restricting::unrestrict),
))
.takes("ExaminationReason")
.needs(&[Permission::OrderEdit]);

const CLAIM: Operation = act(Operation::post(
    "claimExamination",
    "«Взять в работу»",
    || post(acts::claim),
))
.needs(&[Permission::ReportWrite]);

const RELEASE: Operation = act(Operation::post(
    "releaseExamination",
    "Give back what I have in work",
    || post(acts::release),
))
.needs(&[Permission::ReportWrite]);

const RETURN: Operation = act(Operation::post(
    "returnExamination",
    "«Вернуть»: more images are wanted",
    || post(acts::send_back),
))
.takes("ExaminationReason")
.needs(&[Permission::ReportWrite]);

const CANCEL: Operation = act(Operation::post(
    "cancelExamination",
    "Withdraw an order that has no images",
    || post(acts::cancel),
))
.takes("ExaminationReason")
.needs(&[Permission::OrderCancel]);

const COMPLETE: Operation = act(Operation::post(
    "completeExamination",
    "«Завершить съёмку»",
    || post(acts::complete),
))
.needs(&[Permission::OrderEdit]);

const DISCONTINUE: Operation = act(Operation::post(
    "discontinueExamination",
    "Say that it was broken off",
    || post(acts::discontinue),
))
.takes("ExaminationReason")
.needs(&[Permission::OrderEdit]);

const RESCHEDULE: Operation = act(Operation::post(
    "rescheduleExamination",
    "It is to be made again",
    || post(acts::reschedule),
))
.needs(&[Permission::OrderEdit]);

const REOPEN: Operation = act(Operation::post(
    "reopenExamination",
    "One that waited too long is wanted after all",
    || post(acts::reopen),
))
.needs(&[Permission::OrderCancel]);

const DISMISS: Operation = act(Operation::post(
    "dismissLateImages",
    "Somebody looked at images that came late",
    || post(acts::dismiss_late_images),
))
.takes("ExaminationReason")
.needs(&[Permission::ReportWrite]);

/// What all acts have in common.
pub(in crate::api) const fn act(operation: Operation) -> Operation {
    operation
        .gives(200, "ExaminationStanding")
        .tagged()
        .based(Basis::Optional)
        .refuses(&[404, 409])
}
