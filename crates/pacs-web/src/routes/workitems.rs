//! Workitems in the table, and what is refused of them beside it.

use super::{ASKED, LISTS, Operation, Query, VERDICTS, search};
use crate::service::Web;
use crate::workitems;
use axum::Router;
use axum::routing::{MethodRouter, any, get, post, put};

pub(super) const SEARCH: Operation = Operation {
    query: Query::Workitems,
    gives: &[(200, LISTS), (204, &[])],
    refuses: &[406, 413],
    ..search(
        "searchForWorkitems",
        "Search for reading tasks (PS3.18 11.9)",
        || get(workitems::search),
    )
};

pub(super) const RETRIEVE: Operation = Operation {
    method: "get",
    id: "retrieveWorkitem",
    summary: "A reading task (PS3.18 11.5)",
    query: Query::Nothing,
    takes: &[],
    gives: &[(200, VERDICTS)],
    refuses: &[404, 406, 410],
    handler: || get(workitems::retrieve),
};

pub(super) const UPDATE: Operation = Operation {
    query: Query::Transaction,
    ..changing(
        "post",
        "updateWorkitem",
        "Say how far work at a reading task is (PS3.18 11.6)",
        || post(workitems::update),
    )
};

pub(super) const CHANGE_STATE: Operation = changing(
    "put",
    "changeWorkitemState",
    "Take a reading task into work, or give it up (PS3.18 11.7)",
    || put(workitems::change_state),
);

pub(super) const REQUEST_CANCELLATION: Operation = Operation {
    gives: &[(202, &[])],
    ..changing(
        "post",
        "requestWorkitemCancellation",
        "Ask that somebody else gives up a reading task (PS3.18 11.8)",
        || post(workitems::request_cancellation),
    )
};

const fn changing(
    method: &'static str,
    id: &'static str,
    summary: &'static str,
    handler: fn() -> MethodRouter<Web>,
) -> Operation {
    Operation {
        method,
        id,
        summary,
        query: Query::Nothing,
        takes: ASKED,
        gives: &[(200, &[])],
        refuses: &[404, 408, 409, 410, 413, 415],
        handler,
    }
}

/// The same, with what the standard has and this service does not: each is told so.
pub(super) fn refused(router: Router<Web>) -> Router<Web> {
    let subscribers = "/workitems/{workitem}/subscribers/{subscriber}";
    router
        .route("/workitems", post(workitems::create))
        .route(subscribers, any(workitems::subscribe))
        .route(&format!("{subscribers}/suspend"), any(workitems::subscribe))
        .route("/subscribers/{subscriber}", any(workitems::subscribe))
}
