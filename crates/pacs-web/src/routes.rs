//! The table of what there is to be asked: the router, the capabilities (PS3.18 8.9) and the
//! `OpenAPI` document are made of it, so that none of them knows what another does not.

mod workitems;

use crate::service::Web;
use crate::{
    bulk, capabilities, commitment, frames, hide, metadata, qido, rendered, retrieve, stow,
};
use axum::Router;
use axum::routing::{MethodRouter, delete, get, options, post};

/// A resource.
#[derive(Debug)]
pub(crate) struct Route {
    /// Its path below the service, as axum has it.
    pub(crate) path: &'static str,
    pub(crate) operations: &'static [Operation],
}

/// What can be done to it.
#[derive(Debug)]
pub(crate) struct Operation {
    /// In lower case.
    pub(crate) method: &'static str,
    /// For programs.
    pub(crate) id: &'static str,
    pub(crate) summary: &'static str,
    /// Which parameters a query may have.
    pub(crate) query: Query,
    /// Media types of the request's body; none: it has none.
    pub(crate) takes: &'static [&'static str],
    /// Statuses of success, each with the media types of its body.
    pub(crate) gives: &'static [(u16, &'static [&'static str])],
    /// Statuses of refusals beside those that everything has.
    pub(crate) refuses: &'static [u16],
    handler: fn() -> MethodRouter<Web>,
}

/// The parameters of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Query {
    /// `accept` alone (PS3.18 8.3.3.1).
    Accept,
    Nothing,
    /// Those of pictures (8.3.5).
    Picture,
    /// Those of a search (8.3.4).
    Search,
    /// The Transaction UID of whoever has a workitem (11.6.1.2).
    Transaction,
    /// Those of WADO-URI (9.1).
    Uri,
    /// Those of a search for workitems (11.9).
    Workitems,
}

/// The path as a template: how axum marks the last parameter is no matter of others.
pub(crate) fn template(path: &str) -> String {
    path.replace("{*", "{")
}

/// The routes of the table.
pub(crate) fn router() -> Router<Web> {
    let router = ROUTES.iter().fold(Router::new(), |router, route| {
        let methods = route.operations.iter().map(|of| (of.handler)());
        let methods = methods.reduce(MethodRouter::merge);
        methods.map_or(router.clone(), |methods| router.route(route.path, methods))
    });
    workitems::refused(router)
}

const LISTS: &[&str] = &[
    "application/dicom+json",
    "application/json",
    "multipart/related; type=\"application/dicom+xml\"",
];
const FILES: &[&str] = &[
    "multipart/related; type=\"application/dicom\"",
    "application/dicom",
];
/// Frames, and pixel data that is compressed. Several come in parts.
const FRAMES: &[&str] = &[
    "multipart/related; type=\"application/octet-stream\"",
    "application/octet-stream",
    "multipart/related; type=\"image/jpeg\"",
    "image/jpeg",
    "multipart/related; type=\"image/jls\"",
    "image/jls",
    "multipart/related; type=\"image/jp2\"",
    "image/jp2",
    "multipart/related; type=\"image/jpx\"",
    "image/jpx",
    "multipart/related; type=\"image/jphc\"",
    "image/jphc",
    "multipart/related; type=\"image/jxl\"",
    "image/jxl",
    "multipart/related; type=\"image/dicom-rle\"",
    "image/dicom-rle",
    "multipart/related; type=\"video/mpeg\"",
    "video/mpeg",
    "multipart/related; type=\"video/mp4\"",
    "video/mp4",
];
/// A part of a value that is not compressed.
const BYTES: &[&str] = &["application/octet-stream"];
/// One picture.
const SMALL: &[&str] = &["image/jpeg", "image/png", "image/gif"];
const RENDERED: &[&str] = &[
    "image/jpeg",
    "image/png",
    "image/gif",
    "application/pdf",
    "text/html",
    "text/plain",
    "video/mp4",
    "multipart/related; type=\"image/jpeg\"",
    "multipart/related; type=\"image/png\"",
    "multipart/related; type=\"image/gif\"",
];
/// What is given in parts where a Range asks for one.
const IN_RANGES: &[&str] = &["application/pdf", "video/mp4"];
const BY_URI: &[&str] = &[
    "application/dicom",
    "image/jpeg",
    "image/png",
    "image/gif",
    "application/pdf",
    "text/html",
    "text/plain",
    "video/mp4",
];
const WADL: &[&str] = &["application/vnd.sun.wadl+xml"];
/// Of a request to store.
const STORED: &[&str] = &[
    "multipart/related; type=\"application/dicom\"",
    "multipart/related; type=\"application/dicom+json\"",
    "multipart/related; type=\"application/dicom+xml\"",
    "application/dicom",
    "application/dicom+json",
    "application/dicom+xml",
];
/// Of a request for storage commitment.
const ASKED: &[&str] = &["application/dicom+json", "application/dicom+xml"];
/// Of what is said then.
const VERDICTS: &[&str] = &[
    "application/dicom+json",
    "application/json",
    "application/dicom+xml",
];

/// As good as everything can be refused so.
pub(crate) const REFUSALS: [u16; 6] = [400, 401, 403, 429, 500, 503];

const fn search(
    id: &'static str,
    summary: &'static str,
    handler: fn() -> MethodRouter<Web>,
) -> Operation {
    Operation {
        method: "get",
        id,
        summary,
        query: Query::Search,
        takes: &[],
        gives: &[(200, LISTS), (204, &[])],
        refuses: &[404, 406, 413],
        handler,
    }
}

const fn given(
    id: &'static str,
    summary: &'static str,
    gives: &'static [(u16, &'static [&'static str])],
    handler: fn() -> MethodRouter<Web>,
) -> Operation {
    Operation {
        method: "get",
        id,
        summary,
        query: Query::Accept,
        takes: &[],
        gives,
        refuses: &[404, 406, 409, 413],
        handler,
    }
}

const fn pictured(
    id: &'static str,
    summary: &'static str,
    handler: fn() -> MethodRouter<Web>,
) -> Operation {
    Operation {
        method: "get",
        id,
        summary,
        query: Query::Picture,
        takes: &[],
        gives: &[(200, SMALL), (304, &[])],
        refuses: &[404, 406, 409, 413],
        handler,
    }
}

const fn rendered_of(
    id: &'static str,
    summary: &'static str,
    handler: fn() -> MethodRouter<Web>,
) -> Operation {
    Operation {
        gives: &[(200, RENDERED), (206, IN_RANGES), (304, &[])],
        refuses: &[404, 406, 409, 413, 416],
        ..pictured(id, summary, handler)
    }
}

const fn metadata_of(
    id: &'static str,
    summary: &'static str,
    handler: fn() -> MethodRouter<Web>,
) -> Operation {
    given(id, summary, &[(200, LISTS), (304, &[])], handler)
}

const fn hiding(
    id: &'static str,
    summary: &'static str,
    handler: fn() -> MethodRouter<Web>,
) -> Operation {
    Operation {
        method: "delete",
        id,
        summary,
        query: Query::Nothing,
        takes: &[],
        gives: &[(204, &[])],
        refuses: &[404, 409],
        handler,
    }
}

const fn committing(
    method: &'static str,
    id: &'static str,
    summary: &'static str,
    (takes, refuses): (&'static [&'static str], &'static [u16]),
    handler: fn() -> MethodRouter<Web>,
) -> Operation {
    Operation {
        method,
        id,
        summary,
        query: Query::Accept,
        takes,
        gives: &[(200, VERDICTS), (202, &[])],
        refuses,
        handler,
    }
}

const fn storing(
    id: &'static str,
    summary: &'static str,
    handler: fn() -> MethodRouter<Web>,
) -> Operation {
    Operation {
        method: "post",
        id,
        summary,
        query: Query::Accept,
        takes: STORED,
        gives: &[(200, VERDICTS), (202, VERDICTS)],
        refuses: &[404, 406, 408, 409, 413, 415],
        handler,
    }
}

/// All of it.
pub(crate) const ROUTES: &[Route] = &[
    Route {
        path: "/",
        operations: &[
            Operation {
                method: "get",
                id: "retrieveCapabilities",
                summary: "What the service can do (PS3.18 8.9)",
                query: Query::Nothing,
                takes: &[],
                gives: &[(200, WADL)],
                refuses: &[],
                handler: || get(capabilities::get),
            },
            Operation {
                method: "options",
                id: "describe",
                summary: "What the service can do, and with which methods",
                query: Query::Nothing,
                takes: &[],
                gives: &[(200, WADL), (204, &[])],
                refuses: &[],
                handler: || options(capabilities::options),
            },
        ],
    },
    Route {
        path: "/studies",
        operations: &[
            search("searchForStudies", "Search for studies", || {
                get(qido::studies)
            }),
            storing("storeInstances", "Store instances", || post(stow::store)),
        ],
    },
    Route {
        path: "/series",
        operations: &[search("searchForSeries", "Search for series", || {
            get(qido::series)
        })],
    },
    Route {
        path: "/instances",
        operations: &[search("searchForInstances", "Search for instances", || {
            get(qido::instances)
        })],
    },
    Route {
        path: "/studies/{study}",
        operations: &[
            given(
                "retrieveStudy",
                "A study",
                &[(200, FILES), (304, &[])],
                || get(retrieve::get),
            ),
            storing(
                "storeInstancesOfStudy",
                "Store instances of one study",
                || post(stow::store_to_study),
            ),
            hiding("deleteStudy", "Hide a study; nothing is erased", || {
                delete(hide::delete)
            }),
        ],
    },
    Route {
        path: "/studies/{study}/metadata",
        operations: &[metadata_of(
            "retrieveStudyMetadata",
            "The instances of a study without their pixel data",
            || get(metadata::get),
        )],
    },
    Route {
        path: "/studies/{study}/series",
        operations: &[search(
            "searchForSeriesOfStudy",
            "Search for series of a study",
            || get(qido::series),
        )],
    },
    Route {
        path: "/studies/{study}/instances",
        operations: &[search(
            "searchForInstancesOfStudy",
            "Search for instances of a study",
            || get(qido::instances),
        )],
    },
    Route {
        path: "/studies/{study}/series/{series}",
        operations: &[
            given(
                "retrieveSeries",
                "A series",
                &[(200, FILES), (304, &[])],
                || get(retrieve::get),
            ),
            hiding("deleteSeries", "Hide a series; nothing is erased", || {
                delete(hide::delete)
            }),
        ],
    },
    Route {
        path: "/studies/{study}/series/{series}/metadata",
        operations: &[metadata_of(
            "retrieveSeriesMetadata",
            "The instances of a series without their pixel data",
            || get(metadata::get),
        )],
    },
    Route {
        path: "/studies/{study}/series/{series}/instances",
        operations: &[search(
            "searchForInstancesOfSeries",
            "Search for instances of a series",
            || get(qido::instances),
        )],
    },
    Route {
        path: "/studies/{study}/series/{series}/instances/{instance}",
        operations: &[
            given(
                "retrieveInstance",
                "An instance",
                &[(200, FILES), (304, &[])],
                || get(retrieve::get),
            ),
            hiding(
                "deleteInstance",
                "Hide an instance; nothing is erased",
                || delete(hide::delete),
            ),
        ],
    },
    Route {
        path: "/studies/{study}/series/{series}/instances/{instance}/metadata",
        operations: &[metadata_of(
            "retrieveInstanceMetadata",
            "An instance without its pixel data",
            || get(metadata::get),
        )],
    },
    Route {
        path: "/studies/{study}/series/{series}/instances/{instance}/frames/{frames}",
        operations: &[given(
            "retrieveFrames",
            "Frames, by their numbers from 1 on with commas between them",
            &[(200, FRAMES), (304, &[])],
            || get(frames::frames),
        )],
    },
    Route {
        path: "/studies/{study}/series/{series}/instances/{instance}/bulkdata/{*path}",
        operations: &[Operation {
            method: "get",
            id: "retrieveBulkData",
            summary: "A value that metadata names by a BulkDataURI",
            query: Query::Accept,
            takes: &[],
            gives: &[(200, FRAMES), (206, BYTES), (304, &[])],
            refuses: &[404, 406, 409, 413, 416],
            handler: || get(bulk::bulk_data),
        }],
    },
    Route {
        path: "/commitment-requests/{transaction}",
        operations: &[
            committing(
                "post",
                "requestStorageCommitment",
                "Ask whether instances are kept safely (PS3.18 13.4)",
                (ASKED, &[406, 408, 409, 413, 415]),
                || post(commitment::transactions::request),
            ),
            committing(
                "get",
                "checkStorageCommitment",
                "What came of such a request (PS3.18 13.5)",
                (&[], &[404, 406]),
                || get(commitment::transactions::result),
            ),
        ],
    },
    Route {
        path: "/workitems",
        operations: &[workitems::SEARCH],
    },
    Route {
        path: "/workitems/{workitem}",
        operations: &[workitems::RETRIEVE, workitems::UPDATE],
    },
    Route {
        path: "/workitems/{workitem}/state",
        operations: &[workitems::CHANGE_STATE],
    },
    Route {
        path: "/workitems/{workitem}/cancelrequest",
        operations: &[workitems::REQUEST_CANCELLATION],
    },
    Route {
        path: "/wado",
        operations: &[Operation {
            query: Query::Uri,
            gives: &[(200, BY_URI), (206, IN_RANGES), (304, &[])],
            refuses: &[404, 406, 409, 413, 416],
            ..pictured(
                "retrieveByUri",
                "One instance by WADO-URI (PS3.18 9)",
                || get(rendered::uri::wado),
            )
        }],
    },
    Route {
        path: "/studies/{study}/rendered",
        operations: &[rendered_of(
            "retrieveRenderedStudy",
            "A study as it is to be seen",
            || get(rendered::get),
        )],
    },
    Route {
        path: "/studies/{study}/thumbnail",
        operations: &[pictured(
            "retrieveStudyThumbnail",
            "A study as a small picture",
            || get(rendered::thumbnail),
        )],
    },
    Route {
        path: "/studies/{study}/series/{series}/rendered",
        operations: &[rendered_of(
            "retrieveRenderedSeries",
            "A series as it is to be seen",
            || get(rendered::get),
        )],
    },
    Route {
        path: "/studies/{study}/series/{series}/thumbnail",
        operations: &[pictured(
            "retrieveSeriesThumbnail",
            "A series as a small picture",
            || get(rendered::thumbnail),
        )],
    },
    Route {
        path: "/studies/{study}/series/{series}/instances/{instance}/rendered",
        operations: &[rendered_of(
            "retrieveRenderedInstance",
            "An instance as it is to be seen",
            || get(rendered::get),
        )],
    },
    Route {
        path: "/studies/{study}/series/{series}/instances/{instance}/thumbnail",
        operations: &[pictured(
            "retrieveInstanceThumbnail",
            "An instance as a small picture",
            || get(rendered::thumbnail),
        )],
    },
    Route {
        path: "/studies/{study}/series/{series}/instances/{instance}/frames/{frames}/rendered",
        operations: &[rendered_of(
            "retrieveRenderedFrames",
            "Frames as it is to be seen",
            || get(rendered::of_frames),
        )],
    },
    Route {
        path: "/studies/{study}/series/{series}/instances/{instance}/frames/{frames}/thumbnail",
        operations: &[pictured(
            "retrieveFramesThumbnail",
            "Frames as a small picture",
            || get(rendered::frames_thumbnail),
        )],
    },
];
