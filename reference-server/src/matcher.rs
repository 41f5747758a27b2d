//! Keeps the matcher of the archive at work.

use crate::access::SystemMay;
use crate::place;
use pacs_core::access::permit;
use pacs_core::{Action, Caller};
use pacs_store::Archive;
use pacs_store::index::ChangeNumber;
use pacs_store::limits::MatcherLimits;
use pacs_store::matcher::{Matcher, MatcherError, Permits};
use std::time::Duration;

/// How long is waited where it failed, before it goes on.
const RETRY_DURATION: Duration = Duration::from_secs(10);

/// The matcher, and where the archive was before anybody could send to it.
#[derive(Debug)]
pub(crate) struct Follower {
    matcher: Matcher,
    from: ChangeNumber,
}

impl Follower {
    /// Begins to look after `archive`, to which nobody sends yet. `None`: images are not matched,
    /// and the log says why.
    pub(crate) async fn begin(archive: &Archive) -> Option<Self> {
        match Self::of(archive).await {
            Ok(follower) => Some(follower),
            Err(error) => {
                let error = crate::tool::failure::chain(&*error);
                tracing::error!(error, "images are not matched");
                None
            }
        }
    }

    async fn of(archive: &Archive) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let matcher = matcher(archive)?;
        let from = matcher.last_change().await?;
        Ok(Self { matcher, from })
    }

    /// Says of what comes into the archive which examination it is of, until it is closed.
    pub(crate) async fn follow(self) {
        while let Err(error) = self.matcher.run(self.from).await {
            tell(&error);
            tokio::time::sleep(RETRY_DURATION).await;
        }
    }
}

/// A matcher of `archive`: to follow what comes, or to show what waits to those who decide.
pub(crate) fn matcher(
    archive: &Archive,
) -> Result<Matcher, Box<dyn std::error::Error + Send + Sync>> {
    let policy = SystemMay(&[Action::Find, Action::Get, Action::Maintain]);
    let caller = Caller::System { task: "matcher" };
    let permits = Permits {
        maintain: permit(&policy, caller.clone())?,
        get: permit(&policy, caller.clone())?,
        find: permit(&policy, caller)?,
    };
    let limits = MatcherLimits::default();
    Ok(Matcher::new(archive, permits, place::offset(), limits)?)
}

fn tell(error: &MatcherError) {
    let error = crate::tool::failure::chain(error);
    tracing::warn!(error, "images cannot be matched now: it is tried again");
}
