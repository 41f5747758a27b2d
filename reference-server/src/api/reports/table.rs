//! The table of reports.

use super::{acknowledge, draft, read, revise, send, sent, sign};
use crate::api::examinations::act;
use crate::api::openapi::{flag, list, nothing_or, object, reference, several, text, time};
use crate::api::page::{CURSOR, LIMIT};
use crate::api::patients::ORGANISATION;
use crate::api::routes::{Basis, Family, Operation, Route};
use axum::routing::{get, post, put};
use pacs_core::role::Permission;
use serde_json::{Value, json};

pub(in crate::api) const FAMILY: Family = Family {
    routes: &[
        Route {
            path: "/reports",
            operations: &[SENT],
        },
        Route {
            path: "/examinations/{id}/report",
            operations: &[READ],
        },
        Route {
            path: "/examinations/{id}/report/draft",
            operations: &[DRAFT],
        },
        Route {
            path: "/examinations/{id}/report/sign",
            operations: &[SIGN],
        },
        Route {
            path: "/examinations/{id}/report/revise",
            operations: &[REVISE],
        },
        Route {
            path: "/examinations/{id}/report/send",
            operations: &[SEND],
        },
        Route {
            path: "/examinations/{id}/report/acknowledge",
            operations: &[ACKNOWLEDGE],
        },
    ],
    schemas,
};

const SENT: Operation = Operation::get(
    "listReports",
    "The reports that an organisation was sent and I read there, the newest first",
    || get(sent),
)
.asks(&[ORGANISATION, LIMIT, CURSOR])
.gives(200, "SentReports")
.needs(&[Permission::ReportView]);

const READ: Operation = Operation::get(
    "readReport",
    "The report of an examination: the versions that I may read, and my draft",
    || get(read),
)
.gives(200, "Report")
.refuses(&[404])
.needs(&[Permission::ReportView]);

const DRAFT: Operation = Operation::put(
    "saveReportDraft",
    "Keep what I wrote of a report that I have in work",
    || put(draft),
)
.takes("WrittenReport")
.gives(200, "ReportDraft")
.tagged()
.based(Basis::Optional)
.refuses(&[404, 409])
.needs(&[Permission::ReportWrite]);

const SIGN: Operation = Operation::post(
    "signReport",
    "Sign the draft that If-Match names, with the code of the second factor or the password",
    || post(sign),
)
.takes("ReportSignature")
.gives(201, "ReportVersion")
.based(Basis::Needed)
.refuses(&[404, 409, 429])
.needs(&[Permission::ReportWrite]);

const REVISE: Operation = act(Operation::post(
    "reviseReport",
    "«Исправить», «Дополнить»: take up a signed report again",
    || post(revise),
))
.takes("ReportRevision")
.needs(&[Permission::ReportWrite]);

const SEND: Operation = act(Operation::post(
    "sendReport",
    "«Отправить в ОЗ»",
    || post(send),
))
.takes("ReportRecipients")
.needs(&[Permission::ResultSend]);

const ACKNOWLEDGE: Operation = Operation::post(
    "acknowledgeReport",
    "Say that I opened for an organisation what it was sent",
    || post(acknowledge),
)
.takes("ReportOpening")
.gives(200, "ReportDelivery")
.refuses(&[404])
.needs(&[Permission::ReportView]);

fn revision() -> Value {
    json!({"enum": ["amendment", "addendum"]})
}

fn code() -> Value {
    json!({"type": "string", "pattern": "^[0-9]{3}$"})
}

fn count() -> Value {
    json!({"type": "integer", "minimum": 0})
}

fn said() -> [(&'static str, Value); 5] {
    [
        ("language", json!({"enum": ["ky", "ru", "en"]})),
        ("description", text()),
        ("conclusion", text()),
        ("recommendations", text()),
        ("addendum", text()),
    ]
}

fn version() -> Value {
    let signature = [("kind", json!({"enum": ["system"]})), ("digest", text())];
    let place = [("study", text()), ("series", text()), ("instance", text())];
    let members = [
        ("number", count()),
        ("revision", nothing_or(revision())),
        ("status_key", text()),
        ("reason", nothing_or(text())),
        ("text", object(&said(), &[])),
        ("author", text()),
        ("author_name", text()),
        ("signed_at", time()),
        ("signature", object(&signature, &[])),
        ("document", object(&place, &[])),
    ];
    object(&members, &[])
}

fn draft_shown() -> Value {
    let members = [
        ("etag", text()),
        ("text", object(&said(), &[])),
        ("based_on", count()),
        ("revision", nothing_or(revision())),
        ("changed_at", time()),
    ];
    object(&members, &[])
}

fn delivery() -> Vec<(&'static str, Value)> {
    let opened = [("by", text()), ("at", time()), ("number", count())];
    vec![
        ("organisation", code()),
        ("number", count()),
        ("sent_by", text()),
        ("sent_at", time()),
        ("reason", nothing_or(text())),
        ("opened", nothing_or(object(&opened, &[]))),
    ]
}

fn report() -> Value {
    let members = [
        ("examination", text()),
        ("status", text()),
        ("revision", nothing_or(revision())),
        ("banner_key", nothing_or(text())),
        ("versions", several(reference("ReportVersion"))),
        ("draft", nothing_or(reference("ReportDraft"))),
        ("deliveries", several(reference("ReportDelivery"))),
    ];
    object(&members, &[])
}

fn schemas() -> Vec<(&'static str, Value)> {
    let mut sent = vec![
        ("examination", text()),
        ("examination_grouped", text()),
        ("performing", code()),
        ("ordering", code()),
        ("is_new", flag()),
    ];
    sent.extend(delivery());
    let written = ["description", "conclusion", "recommendations", "addendum"];
    let signature = [
        ("is_identity_confirmed", flag()),
        ("has_seen_late_images", flag()),
        ("proof", text()),
    ];
    let taken_up = [("revision", revision()), ("reason", text())];
    let further = [
        ("organisations", several(code())),
        ("reason", nothing_or(text())),
    ];
    let optional = ["organisations", "reason"];
    vec![
        ("WrittenReport", object(&said(), &written)),
        (
            "ReportSignature",
            object(&signature, &["has_seen_late_images"]),
        ),
        ("ReportRevision", object(&taken_up, &[])),
        ("ReportRecipients", object(&further, &optional)),
        ("ReportOpening", object(&[("organisation", code())], &[])),
        ("ReportVersion", version()),
        ("ReportDraft", draft_shown()),
        ("ReportDelivery", object(&delivery(), &[])),
        ("Report", report()),
        ("SentReport", object(&sent, &[])),
        ("SentReports", list("SentReport")),
    ]
}
