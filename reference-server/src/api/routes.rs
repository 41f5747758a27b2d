//! The tables of the API: what there is, what it takes and gives. The router and the `OpenAPI`
//! document are made of them, so that neither has what the other has not.
//!
//! Each family of paths has a module with a [`Family`], which stands in [`FAMILIES`].

use super::guard::Door;
use super::{
    Api, accounts, devices, examinations, notices, oidc, openapi, organisations, patients,
    register, reports, statistics, studies, trail, unmatched, users, worklist,
};
use axum::routing::{MethodRouter, get};
use axum::{Extension, Router};
use pacs_core::role::Permission;
use serde_json::Value;

/// All of them.
pub(super) const FAMILIES: &[&Family] = &[
    &DOCUMENT,
    &accounts::FAMILY,
    &devices::FAMILY,
    &examinations::FAMILY,
    &notices::FAMILY,
    &oidc::FAMILY,
    &organisations::FAMILY,
    &patients::FAMILY,
    &register::FAMILY,
    &reports::FAMILY,
    &statistics::FAMILY,
    &studies::FAMILY,
    &trail::FAMILY,
    &unmatched::FAMILY,
    &users::FAMILY,
    &worklist::FAMILY,
];

/// Paths that belong together.
pub(super) struct Family {
    /// The paths.
    pub(super) routes: &'static [Route],
    /// Name and JSON schema of what they take and give.
    pub(super) schemas: fn() -> Vec<(&'static str, Value)>,
}

/// A path, below the prefix.
pub(super) struct Route {
    pub(super) path: &'static str,
    pub(super) operations: &'static [Operation],
}

/// A parameter behind the question mark.
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) summary: &'static str,
    /// Its JSON schema.
    pub(super) schema: &'static str,
}

/// An answer that is no refusal.
#[derive(Clone, Copy)]
pub(super) struct Given {
    pub(super) status: u16,
    /// The schema of its body; `None`: it has none.
    pub(super) schema: Option<&'static str>,
    pub(super) kind: &'static str,
    /// It says in `ETag` which state it shows.
    pub(super) is_tagged: bool,
}

/// Whether a change names the state that it is based on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Basis {
    /// It cannot.
    None,
    /// It may.
    Optional,
    /// It must.
    Needed,
}

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
    /// Whoever holds none of these anywhere is refused before it is looked whether there is what is
    /// asked for. Empty: it is for everybody who is signed in.
    pub(super) needs: &'static [Permission],
    /// What stands behind the question mark.
    pub(super) parameters: &'static [Parameter],
    /// The schema of its body.
    pub(super) takes: Option<&'static str>,
    /// What it gives.
    pub(super) gives: Given,
    /// What else it may give.
    pub(super) gives_also: Option<Given>,
    /// Statuses of refusals, beside those that all have.
    pub(super) refuses: &'static [u16],
    /// Whether it takes `If-Match`.
    pub(super) basis: Basis,
    /// Whether it needs an `Idempotency-Key`.
    pub(super) is_once: bool,
    handler: fn() -> MethodRouter<Api>,
}

/// An answer without a body.
const NOTHING: Given = Given {
    status: 204,
    schema: None,
    kind: "",
    is_tagged: false,
};

const fn json(status: u16, schema: &'static str) -> Given {
    Given {
        status,
        schema: Some(schema),
        kind: "application/json",
        is_tagged: false,
    }
}

impl Operation {
    /// Reads something, for somebody who is signed in.
    pub(super) const fn get(
        id: &'static str,
        summary: &'static str,
        handler: fn() -> MethodRouter<Api>,
    ) -> Self {
        Self::new("get", id, summary, handler)
    }

    /// Makes something or lets something happen, for somebody who is signed in.
    pub(super) const fn post(
        id: &'static str,
        summary: &'static str,
        handler: fn() -> MethodRouter<Api>,
    ) -> Self {
        Self::new("post", id, summary, handler)
    }

    /// Makes something what it says, for somebody who is signed in.
    pub(super) const fn put(
        id: &'static str,
        summary: &'static str,
        handler: fn() -> MethodRouter<Api>,
    ) -> Self {
        Self::new("put", id, summary, handler)
    }

    /// Takes something away, for somebody who is signed in.
    pub(super) const fn delete(
        id: &'static str,
        summary: &'static str,
        handler: fn() -> MethodRouter<Api>,
    ) -> Self {
        Self::new("delete", id, summary, handler)
    }

    const fn new(
        method: &'static str,
        id: &'static str,
        summary: &'static str,
        handler: fn() -> MethodRouter<Api>,
    ) -> Self {
        Self {
            method,
            id,
            summary,
            is_signed: true,
            needs: &[],
            parameters: &[],
            takes: None,
            gives: NOTHING,
            gives_also: None,
            refuses: &[],
            basis: Basis::None,
            is_once: false,
            handler,
        }
    }

    /// For anybody.
    pub(super) const fn unsigned(self) -> Self {
        Self {
            is_signed: false,
            ..self
        }
    }

    /// For whoever holds one of these permissions somewhere. Where it reaches is for the handler.
    pub(super) const fn needs(self, needs: &'static [Permission]) -> Self {
        Self { needs, ..self }
    }

    /// With these parameters.
    pub(super) const fn asks(self, parameters: &'static [Parameter]) -> Self {
        Self { parameters, ..self }
    }

    /// With a body of this schema.
    pub(super) const fn takes(self, schema: &'static str) -> Self {
        Self {
            takes: Some(schema),
            ..self
        }
    }

    /// Gives JSON of this schema; else nothing, with 204.
    pub(super) const fn gives(self, status: u16, schema: &'static str) -> Self {
        Self {
            gives: json(status, schema),
            ..self
        }
    }

    /// Gives nothing, with this status.
    pub(super) const fn gives_nothing(self, status: u16) -> Self {
        let gives = Given { status, ..NOTHING };
        Self { gives, ..self }
    }

    /// Gives something that is no JSON document.
    pub(super) const fn gives_as(self, kind: &'static str, schema: &'static str) -> Self {
        let gives = Given {
            kind,
            ..json(200, schema)
        };
        Self { gives, ..self }
    }

    /// May give this besides, of the same kind.
    pub(super) const fn or_gives(self, status: u16, schema: &'static str) -> Self {
        let also = Given {
            is_tagged: self.gives.is_tagged,
            ..json(status, schema)
        };
        Self {
            gives_also: Some(also),
            ..self
        }
    }

    /// What it gives says in `ETag` which state it shows.
    pub(super) const fn tagged(self) -> Self {
        let gives = Given {
            is_tagged: true,
            ..self.gives
        };
        Self { gives, ..self }
    }

    /// Refuses with these statuses, beside those that follow from the rest.
    pub(super) const fn refuses(self, refuses: &'static [u16]) -> Self {
        Self { refuses, ..self }
    }

    /// Takes `If-Match`.
    pub(super) const fn based(self, basis: Basis) -> Self {
        Self { basis, ..self }
    }

    /// Needs an `Idempotency-Key`.
    pub(super) const fn once(self) -> Self {
        Self {
            is_once: true,
            ..self
        }
    }
}

const DOCUMENT: Family = Family {
    routes: &[Route {
        path: "/openapi.json",
        operations: &[
            Operation::get("openapi", "This document", || get(openapi::openapi))
                .unsigned()
                .gives(200, "Document"),
        ],
    }],
    schemas: openapi::schemas,
};

/// The routes of the tables.
pub(super) fn table(mut router: Router<Api>) -> Router<Api> {
    for route in FAMILIES.iter().flat_map(|family| family.routes) {
        let mut methods = MethodRouter::new();
        for operation in route.operations {
            let door = Extension(Door(operation.needs));
            methods = methods.merge((operation.handler)().route_layer(door));
        }
        router = router.route(route.path, methods);
    }
    router
}
