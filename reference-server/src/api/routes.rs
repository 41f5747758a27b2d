//! The table of the API: what there is, what it takes and gives. The router and the `OpenAPI`
//! document are made of it, so that neither has what the other has not.

use super::{Api, emergency, openapi, session, set_up};
use axum::Router;
use axum::routing::{MethodRouter, delete, get, post, put};

/// An operation.
pub(super) struct Operation {
    /// As HTTP names it, in small letters.
    pub(super) method: &'static str,
    /// Its name in the document.
    pub(super) id: &'static str,
    /// One sentence.
    pub(super) summary: &'static str,
    /// Whether somebody has to be signed in.
    pub(super) is_signed: bool,
    /// The schema of its body.
    pub(super) takes: Option<&'static str>,
    /// Status and schema of what it gives.
    pub(super) gives: (u16, Option<&'static str>),
    /// Statuses of refusals, beside those that all have.
    pub(super) refuses: &'static [u16],
    handler: fn() -> MethodRouter<Api>,
}

/// A path, below the prefix.
pub(super) struct Route {
    pub(super) path: &'static str,
    pub(super) operations: &'static [Operation],
}

macro_rules! operation {
    ($method:ident $id:literal $summary:literal, $signed:literal, $takes:expr, $gives:expr,
     $refuses:expr, $handler:path) => {
        Operation {
            method: stringify!($method),
            id: $id,
            summary: $summary,
            is_signed: $signed,
            takes: $takes,
            gives: $gives,
            refuses: &$refuses,
            handler: || $method($handler),
        }
    };
}

/// All of it.
pub(super) const ROUTES: &[Route] = &[
    Route {
        path: "/openapi.json",
        operations: &[operation!(get "openapi" "This document", false, None,
            (200, Some("Document")), [], openapi::openapi)],
    },
    Route {
        path: "/set-up",
        operations: &[
            operation!(post "setUp" "Make the first account, by the token that the \
            server printed", false, Some("First"), (201, None), [403, 429, 503],
            set_up::set_up),
        ],
    },
    Route {
        path: "/session",
        operations: &[
            operation!(get "whoAmI" "Who is signed in", true, None, (200, Some("Session")),
                [], session::read),
            operation!(post "signIn" "Sign in", false, Some("Credentials"),
                (201, Some("Session")), [401, 403, 429, 503], session::sign_in),
            operation!(delete "signOut" "Sign out", true, None, (204, None), [503],
                session::sign_out),
        ],
    },
    Route {
        path: "/session/password",
        operations: &[
            operation!(put "changePassword" "Choose another password; all other \
            sessions end", true, Some("NewPassword"), (200, Some("Session")), [429, 503],
            session::change_password),
        ],
    },
    Route {
        path: "/session/second-factor",
        operations: &[
            operation!(post "offerSecondFactor" "Begin to set up a second factor", true,
                Some("WithPassword"), (201, Some("Offered")), [429, 503],
                session::offer_second_factor),
            operation!(put "confirmSecondFactor" "Confirm a second factor by its first code",
                true, Some("WithCode"), (204, None), [404, 429, 503],
                session::confirm_second_factor),
            operation!(delete "removeSecondFactor" "Take the second factor away", true,
                Some("WithBoth"), (204, None), [404, 429, 503], session::remove_second_factor),
        ],
    },
    Route {
        path: "/session/break-glass",
        operations: &[
            operation!(get "openPatients" "Whom I have open in an emergency", true, None,
                (200, Some("Emergencies")), [], emergency::read),
            operation!(post "openPatient" "Open one patient in an emergency, for an hour", true,
                Some("Emergency"), (201, Some("Opened")), [429, 503], emergency::open),
            operation!(delete "closePatients" "Close whom I have open", true, None, (204, None),
                [503], emergency::close),
        ],
    },
    Route {
        path: "/break-glass",
        operations: &[
            operation!(get "emergenciesToReview" "Emergencies that nobody has looked \
            at", true, None, (200, Some("Emergencies")), [], emergency::to_review),
        ],
    },
    Route {
        path: "/break-glass/{id}/review",
        operations: &[operation!(put "reviewEmergency" "Judge an emergency", true,
            Some("Judged"), (200, Some("Opened")), [404, 409, 503], emergency::review)],
    },
];

/// The routes of the table.
pub(super) fn table(mut router: Router<Api>) -> Router<Api> {
    for route in ROUTES {
        let mut methods = MethodRouter::new();
        for operation in route.operations {
            methods = methods.merge((operation.handler)());
        }
        router = router.route(route.path, methods);
    }
    router
}
