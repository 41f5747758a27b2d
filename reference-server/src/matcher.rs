//! Keeps the matcher of the archive at work.

use crate::access::SystemMay;
use crate::place;
use pacs_core::access::permit;
use pacs_core::{Action, Caller};
use pacs_store::Archive;
use pacs_store::limits::MatcherLimits;
use pacs_store::matcher::Matcher;
use std::time::Duration;

/// How long is waited where it failed, before it goes on.
const RETRY_DURATION: Duration = Duration::from_secs(10);

/// Says of what comes into `archive` which examination it is of, until the archive is closed.
pub(crate) async fn follow(archive: Archive) {
    let policy = SystemMay(&[Action::Get, Action::Maintain]);
    let caller = Caller::System { task: "matcher" };
    let (Ok(maintain), Ok(get)) = (permit(&policy, caller.clone()), permit(&policy, caller)) else {
        return;
    };
    let limits = MatcherLimits::default();
    let matcher = match Matcher::new(&archive, (maintain, get), place::offset(), limits) {
        Ok(matcher) => matcher,
        Err(error) => {
            tracing::error!(%error, "images are not matched");
            return;
        }
    };
    while let Err(error) = matcher.run().await {
        let error = crate::tool::failure::chain(&error);
        tracing::warn!(error, "images cannot be matched now: it is tried again");
        tokio::time::sleep(RETRY_DURATION).await;
    }
}
