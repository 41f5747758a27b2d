//! As whom the tool asks a peer.

use super::failure::{Failure, chain};
use crate::secret_file;
use clap::Args;
use pacs_net::pdu::{UserIdentity, UserIdentityKind};
use std::path::PathBuf;

/// The user at this end (PS3.7 D.3.3.7).
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "User")]
pub struct PersonArgs {
    /// Be known to the peer as this user; it must say that it knows them
    #[arg(long, value_name = "NAME", requires = "passcode_file")]
    pub user: Option<String>,
    /// File with the passcode of the user
    #[arg(long, value_name = "FILE", requires = "user")]
    pub passcode_file: Option<PathBuf>,
}

impl PersonArgs {
    /// What an association shows, where a user is named.
    pub(super) fn identity(&self) -> Result<Option<UserIdentity>, Failure> {
        let Some((user, path)) = self.user.as_ref().zip(self.passcode_file.as_deref()) else {
            return Ok(None);
        };
        let passcode = secret_file::read("--passcode-file", path);
        let passcode = passcode.map_err(|error| Failure::CommandLine(chain(&error)))?;
        Ok(Some(UserIdentity {
            kind: UserIdentityKind::UsernameAndPassword,
            positive_response_requested: true,
            primary: user.clone().into_bytes(),
            secondary: passcode.0.into_bytes(),
        }))
    }
}
