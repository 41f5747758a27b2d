//! What whoever looks after the machine asks about accounts.

use crate::accounts::external::Named;
use crate::accounts::manage::{FirstPassword, Listed, NewUser};
use crate::accounts::{Accounts, Refused};
use crate::limits::ACCOUNTS_PAGE_COUNT;
use pacs_core::account::UserName;
use pacs_core::audit::Actor;
use pacs_core::role::Grants;
use serde::{Deserialize, Serialize};

/// What can be asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Asked {
    /// Make an account.
    Add(NewUser),
    /// Let somebody in no more, or again.
    Disable {
        /// Whom.
        name: UserName,
        /// No more.
        is_disabled: bool,
    },
    /// Give somebody other roles.
    Grant {
        /// Whom.
        name: UserName,
        /// Which.
        grants: Grants,
    },
    /// Link somebody with an identity at a provider, or take it from them.
    Link {
        /// Whom.
        name: UserName,
        /// With which.
        named: Named,
        /// Link them.
        is_linked: bool,
    },
    /// A page of accounts.
    List {
        /// Whose names come after this.
        after: Option<UserName>,
    },
    /// Give somebody a new password, and take their second factor away.
    Reset {
        /// Whom.
        name: UserName,
    },
}

/// What becomes of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Told {
    /// It was done.
    Done,
    /// A password, this once.
    FirstPassword(FirstPassword),
    /// Accounts; none after the last page.
    Page(Vec<Listed>),
}

/// Does it.
///
/// # Errors
/// [`Refused`].
pub async fn answer(accounts: &Accounts, asked: Asked) -> Result<Told, Refused> {
    let by = Actor::system("pacs users");
    match asked {
        Asked::Add(new) => accounts.add(new, by).await.map(Told::FirstPassword),
        Asked::Disable { name, is_disabled } => {
            accounts.set_disabled(&name, is_disabled, by).await?;
            Ok(Told::Done)
        }
        Asked::Grant { name, grants } => {
            accounts.set_grants(&name, grants, by).await?;
            Ok(Told::Done)
        }
        Asked::Link {
            name,
            named,
            is_linked,
        } => {
            accounts.set_linked(&name, &named, is_linked, by).await?;
            Ok(Told::Done)
        }
        Asked::List { after } => {
            let after = after.as_ref().map(UserName::as_str);
            accounts
                .page(after, ACCOUNTS_PAGE_COUNT)
                .await
                .map(Told::Page)
        }
        Asked::Reset { name } => accounts.reset(&name, by).await.map(Told::FirstPassword),
    }
}
