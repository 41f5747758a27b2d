//! What every build but those for crash campaigns has in place of `campaign`: nothing, and a
//! refusal where somebody expects otherwise.

use pacs_store::disk::{Disk, OsDisk};
use pacs_store::{FailPoints, OpenError};
use std::sync::Arc;

/// What only a build for crash campaigns obeys.
const OF_CAMPAIGNS: [&str; 2] = ["PACS_CRASH_AT", "PACS_WITHOUT_SYNCS"];

/// None.
pub(super) fn fail_points() -> FailPoints {
    FailPoints::default()
}

/// The disk as it is. A campaign that is run with this build would prove nothing, so it is told.
pub(super) fn for_campaigns(disk: OsDisk) -> Result<Arc<dyn Disk>, OpenError> {
    let set = OF_CAMPAIGNS
        .into_iter()
        .find(|name| std::env::var_os(name).is_some());
    match set {
        Some(name) => Err(OpenError::Disk {
            operation: "obey a setting of crash campaigns",
            source: std::io::Error::other(format!(
                "{name} is set, and this server was built without the feature `failpoints`"
            )),
        }),
        None => Ok(Arc::new(disk)),
    }
}
