//! What the Worklist Service has and this one does not: workitems that come from outside, and
//! subscriptions (PS3.18 11.4, 11.10 to 11.14). Neither is in the table of routes: what a service
//! describes is what it does.

use crate::access::Allowed;
use crate::error::Failure;
use pacs_core::access::Find;

/// `POST /workitems`
pub(crate) async fn create(Allowed(_permit): Allowed<Find>) -> Failure {
    Failure::NotAllowed {
        allow: "GET, HEAD",
        detail: "workitems are made by the archive, of examinations whose images are there",
    }
}

/// Subscriptions, with every method.
pub(crate) async fn subscribe(Allowed(_permit): Allowed<Find>) -> Failure {
    Failure::NotImplemented {
        detail: "there are no subscriptions: search the worklist instead",
    }
}
