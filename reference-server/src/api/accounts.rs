//! The family of accounts: the first one, signing in and out, one's own account, emergencies.

use super::openapi::{
    day, department, flag, list, nothing_or, object, reference, several, text, time,
};
use super::page::{CURSOR, LIMIT};
use super::routes::{Family, Operation, Route};
use super::{emergency, session, set_up};
use axum::routing::{delete, get, post, put};
use pacs_core::limits::{DEPARTMENTS_OF_GRANT_MAX, KINDS_OF_GRANT_MAX};
use pacs_core::role::Permission;
use serde_json::{Value, json};

pub(super) const FAMILY: Family = Family {
    routes: &[
        Route {
            path: "/set-up",
            operations: &[SET_UP],
        },
        Route {
            path: "/session",
            operations: &[WHO_AM_I, SIGN_IN, SIGN_OUT],
        },
        Route {
            path: "/session/password",
            operations: &[CHANGE_PASSWORD],
        },
        Route {
            path: "/session/second-factor",
            operations: &[OFFER_FACTOR, CONFIRM_FACTOR, REMOVE_FACTOR],
        },
        Route {
            path: "/session/passcode",
            operations: &[GIVE_PASSCODE],
        },
        Route {
            path: "/session/break-glass",
            operations: &[OPEN_PATIENTS, OPEN_PATIENT, CLOSE_PATIENTS],
        },
        Route {
            path: "/break-glass",
            operations: &[EMERGENCIES_TO_REVIEW],
        },
        Route {
            path: "/break-glass/{id}/review",
            operations: &[REVIEW_EMERGENCY],
        },
    ],
    schemas,
};

const SET_UP: Operation = Operation::post(
    "setUp",
    "Make the first account, by the token that the server printed",
    || post(set_up::set_up),
)
.unsigned()
.takes("First")
.gives_nothing(201)
.refuses(&[429, 503]);

const WHO_AM_I: Operation =
    Operation::get("whoAmI", "Who is signed in", || get(session::read)).gives(200, "Session");

const SIGN_IN: Operation = Operation::post("signIn", "Sign in", || post(session::sign_in))
    .unsigned()
    .takes("Credentials")
    .gives(201, "Session")
    .refuses(&[401, 429, 503]);

const SIGN_OUT: Operation = Operation::delete(
    "signOut",
    "Sign out; who came by the OpenID provider is told where they sign out there",
    || delete(session::sign_out),
)
.or_gives(200, "SignedOut");

const CHANGE_PASSWORD: Operation = Operation::put(
    "changePassword",
    "Choose another password; all other sessions end",
    || put(session::change_password),
)
.takes("NewPassword")
.gives(200, "Session")
.refuses(&[429]);

const OFFER_FACTOR: Operation = Operation::post(
    "offerSecondFactor",
    "Begin to set up a second factor",
    || post(session::offer_second_factor),
)
.takes("WithPassword")
.gives(201, "Offered")
.refuses(&[429]);

const CONFIRM_FACTOR: Operation = Operation::put(
    "confirmSecondFactor",
    "Confirm a second factor by its first code",
    || put(session::confirm_second_factor),
)
.takes("WithCode")
.refuses(&[404, 429]);

const REMOVE_FACTOR: Operation =
    Operation::delete("removeSecondFactor", "Take the second factor away", || {
        delete(session::remove_second_factor)
    })
    .takes("WithBoth")
    .refuses(&[404, 429]);

const GIVE_PASSCODE: Operation = Operation::post(
    "givePasscode",
    "Get a passcode, by which workstations are known to be mine over DICOM until the session ends",
    || post(session::give_passcode),
)
.gives(201, "Passcode");

const OPEN_PATIENTS: Operation =
    Operation::get("openPatients", "Whom I have open in an emergency", || {
        get(emergency::read)
    })
    .gives(200, "Emergencies");

const OPEN_PATIENT: Operation = Operation::post(
    "openPatient",
    "Open one patient in an emergency, for an hour",
    || post(emergency::open),
)
.takes("Emergency")
.gives(201, "Opened")
.refuses(&[429])
.needs(&[Permission::BreakGlass]);

const CLOSE_PATIENTS: Operation =
    Operation::delete("closePatients", "Close whom I have open", || {
        delete(emergency::close)
    });

const EMERGENCIES_TO_REVIEW: Operation = Operation::get(
    "emergenciesToReview",
    "Emergencies that nobody has looked at",
    || get(emergency::to_review),
)
.asks(&[CURSOR, LIMIT])
.gives(200, "Emergencies")
.needs(&[Permission::AuditRead]);

const REVIEW_EMERGENCY: Operation = Operation::put("reviewEmergency", "Judge an emergency", || {
    put(emergency::review)
})
.takes("Judged")
.gives(200, "Opened")
.refuses(&[404, 409])
.needs(&[Permission::AuditRead]);

/// A role, where it is held, and for which part of the work alone.
fn grant() -> Value {
    json!({
        "type": "object",
        "required": ["role", "reach"],
        "properties": {
            "role": {"type": "string"},
            "reach": {"anyOf": [{"const": "national"}, {"type": "object"}]},
            "kinds": {
                "type": "array",
                "items": {"type": "string", "minLength": 1, "maxLength": 16},
                "maxItems": KINDS_OF_GRANT_MAX,
                "description": "for these kinds of images alone: ct, mr, xray, or another Modality",
            },
            "departments": {
                "type": "array",
                "items": department(),
                "maxItems": DEPARTMENTS_OF_GRANT_MAX,
                "description": "for these departments of the organisation alone",
            },
        },
    })
}

fn schemas() -> Vec<(&'static str, Value)> {
    let reasons = json!({"enum": [
        "emergency", "mass_casualty", "nobody_reachable", "other", "unconscious",
    ]});
    let verdict = json!({"enum": ["justified", "unjustified"]});
    let opened = object(
        &[
            ("id", text()),
            ("user", text()),
            ("patient", text()),
            ("reason", reasons.clone()),
            ("explanation", text()),
            ("opened_at", time()),
            ("closed_at", nothing_or(time())),
            ("review_due", day()),
            ("verdict", nothing_or(verdict.clone())),
        ],
        &[],
    );
    let grant = grant();
    let texts = |names: &[&str], optional: &[&str]| {
        let members: Vec<(&str, Value)> = names.iter().map(|name| (*name, text())).collect();
        object(&members, optional)
    };
    let credentials = [
        ("user", text()),
        ("password", text()),
        ("code", nothing_or(text())),
    ];
    let emergency = [
        ("patient", text()),
        ("reason", reasons),
        ("explanation", text()),
        ("proof", text()),
    ];
    let judged = [("verdict", verdict), ("explanation", text())];
    let signed_out = [("location", text()), ("state", nothing_or(text()))];
    vec![
        ("SignedOut", object(&signed_out, &[])),
        (
            "First",
            texts(&["token", "user", "display_name", "password"], &[]),
        ),
        ("Credentials", object(&credentials, &["code"])),
        ("NewPassword", texts(&["current", "new"], &[])),
        ("WithPassword", texts(&["password"], &[])),
        ("WithCode", texts(&["code"], &[])),
        ("WithBoth", texts(&["password", "code"], &[])),
        ("Offered", texts(&["secret", "uri"], &[])),
        ("Passcode", texts(&["user", "passcode"], &[])),
        ("Emergency", object(&emergency, &[])),
        ("Opened", opened),
        ("Emergencies", list("Opened")),
        ("Judged", object(&judged, &[])),
        ("Grant", grant),
        ("Session", session_schema()),
    ]
}

fn session_schema() -> Value {
    let members = [
        ("user", text()),
        ("display_name", text()),
        ("is_doctor", flag()),
        ("grants", several(reference("Grant"))),
        ("must_change_password", flag()),
        ("has_second_factor", flag()),
        (
            "signed_in_by",
            json!({"type": "string", "enum": ["password", "provider"]}),
        ),
        ("external", several(reference("LinkedIdentity"))),
        ("csrf_token", text()),
        ("ends_at", time()),
    ];
    object(&members, &[])
}
