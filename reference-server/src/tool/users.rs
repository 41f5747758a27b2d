//! `pacs users`: accounts of people. A server that has the archive open does it itself.

use super::Local;
use super::ae;
use super::backup::{ask, expect, unexpected};
use super::failure::{Failure, chain};
use super::maintain;
use super::output::Output;
use crate::accounts::external::Named;
use crate::accounts::manage::{FirstPassword, Listed, NewUser, parse_grant, shown};
use crate::accounts::{AccountRules, Accounts};
use crate::clock::World;
use crate::control::accounts::{Asked, Told, answer};
use crate::control::{Reply, Request};
use crate::limits::FIRST_PASSWORD_LIFE_DAYS;
use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use pacs_core::account::UserName;
use pacs_core::role::{Grant, Grants};
use pacs_store::OpenError;
use serde_json::json;
use std::path::PathBuf;

/// What can be done about accounts.
#[derive(Debug, Subcommand)]
pub enum UsersCommand {
    /// Make an account, and print its first password this once
    Add {
        /// How they sign in: letters a-z, digits and . _ -
        #[arg(value_name = "NAME", value_parser = parse_name)]
        name: UserName,
        /// What others call them
        #[arg(long, value_name = "TEXT")]
        display_name: String,
        /// A role and where it is held, as in operator@006 or auditor@national, or
        /// radiologist@006:ct,mr for these kinds of images alone, or radiologist@006/RAD for these
        /// departments alone, or both, as in radiologist@006:ct/RAD,ER; several times
        #[arg(long, value_name = "ROLE@ORGANISATION", required = true,
              value_parser = parse_grant)]
        role: Vec<Grant>,
        /// They are a doctor
        #[arg(long)]
        doctor: bool,
        /// What its password costs to hash
        #[command(flatten)]
        settings: Settings,
        /// The archive
        #[command(flatten)]
        local: Local,
    },
    /// Let somebody in no more; their sessions end
    Disable {
        /// Whom
        #[arg(value_name = "NAME", value_parser = parse_name)]
        name: UserName,
        /// The archive
        #[command(flatten)]
        local: Local,
    },
    /// Let somebody in again
    Enable {
        /// Whom
        #[arg(value_name = "NAME", value_parser = parse_name)]
        name: UserName,
        /// The archive
        #[command(flatten)]
        local: Local,
    },
    /// Link somebody with an identity at the OpenID provider, by which they sign in then
    Link {
        /// Whom
        #[arg(value_name = "NAME", value_parser = parse_name)]
        name: UserName,
        /// Whose identity it is, and which
        #[command(flatten)]
        identity: Identity,
        /// The archive
        #[command(flatten)]
        local: Local,
    },
    /// List the accounts
    List {
        /// The archive
        #[command(flatten)]
        local: Local,
    },
    /// Give somebody a new first password and take their second factor away; their sessions end
    Reset {
        /// Whom
        #[arg(value_name = "NAME", value_parser = parse_name)]
        name: UserName,
        /// What its password costs to hash
        #[command(flatten)]
        settings: Settings,
        /// The archive
        #[command(flatten)]
        local: Local,
    },
    /// Give somebody these roles in place of those they have
    Roles {
        /// Whom
        #[arg(value_name = "NAME", value_parser = parse_name)]
        name: UserName,
        /// A role and where it is held; several times
        #[arg(long, value_name = "ROLE@ORGANISATION", required = true,
              value_parser = parse_grant)]
        role: Vec<Grant>,
        /// The archive
        #[command(flatten)]
        local: Local,
    },
    /// Take an identity at the OpenID provider from somebody; their sessions end
    Unlink {
        /// Whom
        #[arg(value_name = "NAME", value_parser = parse_name)]
        name: UserName,
        /// Whose identity it is, and which
        #[command(flatten)]
        identity: Identity,
        /// The archive
        #[command(flatten)]
        local: Local,
    },
}

/// The settings by which passwords are hashed where no server does it.
#[derive(Debug, Clone, Default, Args)]
pub struct Settings {
    /// TOML file with the settings of the server, which hashes by them itself where it runs
    #[arg(long, value_name = "FILE", env = "PACS_CONFIG")]
    pub config: Option<PathBuf>,
}

impl Settings {
    fn rules(&self) -> Result<AccountRules, Failure> {
        match &self.config {
            Some(config) => Ok(ae::load(Some(config))?.accounts),
            None => Ok(AccountRules::default()),
        }
    }
}

/// An identity at an OpenID provider.
#[derive(Debug, Clone, Args)]
pub struct Identity {
    /// The provider, as accounts.oidc.issuer has it
    #[arg(long, value_name = "URL")]
    pub issuer: String,
    /// Whom it means: the claim `sub` of its tokens
    #[arg(long, value_name = "TEXT")]
    pub subject: String,
}

impl Identity {
    fn named(&self) -> Result<Named, Failure> {
        let named = Named::parse(&self.issuer, &self.subject);
        named.ok_or_else(|| {
            let what = "an issuer is a URL, and a subject has 1 to 255 characters of ASCII";
            Failure::CommandLine(what.to_owned())
        })
    }
}

pub(super) async fn users(command: &UsersCommand, output: &Output) -> Result<(), Failure> {
    match command {
        UsersCommand::Add {
            name,
            display_name,
            role,
            doctor,
            settings,
            local,
        } => {
            let new = NewUser {
                name: name.clone(),
                display_name: display_name.clone(),
                is_doctor: *doctor,
                grants: grants(role)?,
            };
            let told = run_by(settings, Asked::Add(new), local).await?;
            password(name, told, output)
        }
        UsersCommand::Link {
            name,
            identity,
            local,
        } => link(name, identity, true, (local, output)).await,
        UsersCommand::Unlink {
            name,
            identity,
            local,
        } => link(name, identity, false, (local, output)).await,
        UsersCommand::List { local } => list(local, output).await,
        UsersCommand::Disable { name, local } => disable(name, true, local, output).await,
        UsersCommand::Enable { name, local } => disable(name, false, local, output).await,
        UsersCommand::Reset {
            name,
            settings,
            local,
        } => {
            let asked = Asked::Reset { name: name.clone() };
            let told = run_by(settings, asked, local).await?;
            password(name, told, output)
        }
        UsersCommand::Roles { name, role, local } => {
            let asked = Asked::Grant {
                name: name.clone(),
                grants: grants(role)?,
            };
            run(asked, local).await?;
            let text = format!("{name} has these roles now");
            output.summary(&text, &json!({ "name": name.as_str() }));
            Ok(())
        }
    }
}

/// Reads the name of a user.
fn parse_name(text: &str) -> Result<UserName, String> {
    UserName::parse(text).map_err(|error| error.to_string())
}

fn grants(roles: &[Grant]) -> Result<Grants, Failure> {
    let grants = Grants::new(roles.to_vec());
    grants.map_err(|error| Failure::CommandLine(error.to_string()))
}

/// Has done by whoever has the archive what hashes no password.
async fn run(asked: Asked, local: &Local) -> Result<Told, Failure> {
    run_by(&Settings::default(), asked, local).await
}

/// Has it done by whoever has the archive: by these settings where that is nobody else.
async fn run_by(settings: &Settings, asked: Asked, local: &Local) -> Result<Told, Failure> {
    let archive = match maintain::open_here(local).await? {
        Ok(archive) => archive,
        Err(OpenError::Locked) => {
            let request = Request::Accounts(Box::new(asked));
            let mut answered = ask(&local.data, request).await?;
            let reply = expect(&mut answered).await?;
            if let Reply::Accounts(told) = reply {
                return Ok(told);
            }
            return Err(unexpected(&reply));
        }
        Err(error) => return Err(Failure::archive(&error)),
    };
    let trail = archive.registry().audit_trail();
    let told = async {
        let rules = settings.rules()?;
        let told = async {
            let accounts = Accounts::new(trail, rules, World::real())?;
            answer(&accounts, asked).await
        };
        told.await.map_err(|error| Failure::Archive(chain(&error)))
    };
    let told = told.await;
    archive.close().await;
    told
}

fn password(name: &UserName, told: Told, output: &Output) -> Result<(), Failure> {
    let Told::FirstPassword(FirstPassword(password)) = told else {
        return Err(Failure::Archive("no password was made".to_owned()));
    };
    output.note(&format!(
        "This is shown once: the password of {name}, who has to choose another one first, within \
         {FIRST_PASSWORD_LIFE_DAYS} days:"
    ));
    let value = json!({ "name": name.as_str(), "password": password });
    output.result(&password, &value);
    Ok(())
}

async fn disable(
    name: &UserName,
    is_disabled: bool,
    local: &Local,
    output: &Output,
) -> Result<(), Failure> {
    let asked = Asked::Disable {
        name: name.clone(),
        is_disabled,
    };
    run(asked, local).await?;
    let how = if is_disabled { "no more" } else { "again" };
    let value = json!({ "name": name.as_str(), "disabled": is_disabled });
    output.summary(&format!("{name} is let in {how}"), &value);
    Ok(())
}

async fn link(
    name: &UserName,
    identity: &Identity,
    is_linked: bool,
    (local, output): (&Local, &Output),
) -> Result<(), Failure> {
    let asked = Asked::Link {
        name: name.clone(),
        named: identity.named()?,
        is_linked,
    };
    run(asked, local).await?;
    let how = if is_linked { "now" } else { "no more" };
    let value = json!({ "name": name.as_str(), "linked": is_linked });
    output.summary(&format!("{name} signs in by this identity {how}"), &value);
    Ok(())
}

async fn list(local: &Local, output: &Output) -> Result<(), Failure> {
    output.note("NAME\tROLES\tSTATE\tDISPLAY NAME");
    let mut after = None;
    let mut count = 0_u64;
    loop {
        let Told::Page(page) = run(Asked::List { after }, local).await? else {
            break;
        };
        let Some(last) = page.last() else {
            break;
        };
        after = Some(last.name.clone());
        for user in &page {
            count = count.saturating_add(1);
            let text = format!(
                "{}\t{}\t{}\t{}",
                user.name,
                shown(&user.grants),
                state(user, World::real().now()),
                user.display_name.replace(char::is_control, "\u{fffd}")
            );
            output.result(&text, user);
        }
    }
    output.summary("", &json!({ "count": count }));
    Ok(())
}

/// What is to be known of an account at `now`.
fn state(user: &Listed, now: DateTime<Utc>) -> &'static str {
    match (
        user.is_disabled,
        user.must_change_password,
        user.has_second_factor,
    ) {
        (true, _, _) => "disabled",
        (_, true, _) if user.first_password_until.is_some_and(|until| until <= now) => {
            "first password is over"
        }
        (_, true, _) => "must choose a password",
        (_, _, true) => "with a second factor",
        _ => "active",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pacs_store::registry::accounts::{AccountStore, User};

    #[tokio::test]
    async fn without_a_server_passwords_are_hashed_as_it_is_configured_to() {
        let folder = tempfile::tempdir().unwrap();
        let local = Local {
            data: folder.path().join("data"),
        };
        let config = folder.path().join("pacs.toml");
        let text = "[accounts]\npassword_memory_mib = 19\npassword_passes = 2\n";
        std::fs::write(&config, text).unwrap();
        let settings = Settings {
            config: Some(config.clone()),
        };
        let name = UserName::parse("b.osmonova").unwrap();
        let output = Output::new(false);
        let made = crate::local::open(&local.data).await.unwrap();
        made.close().await;
        drop(made);
        let add = UsersCommand::Add {
            name: name.clone(),
            display_name: "B. Osmonova".to_owned(),
            role: vec![parse_grant("radiologist@006").unwrap()],
            doctor: true,
            settings: settings.clone(),
            local: local.clone(),
        };
        let reset = UsersCommand::Reset {
            name: name.clone(),
            settings,
            local: local.clone(),
        };
        for command in [add, reset] {
            users(&command, &output).await.unwrap();
            let archive = crate::local::open(&local.data).await.unwrap();
            let accounts = AccountStore::new(archive.registry().audit_trail());
            let kept = accounts.get::<User>(name.as_str()).await.unwrap().unwrap();
            archive.close().await;
            let cost = (kept.value.password.memory_kib, kept.value.password.passes);
            assert_eq!(cost, (19 << 10, 2));
        }
        std::fs::write(&config, "[accounts]\npassword_passes = 1\n").unwrap();
        let wrong = Settings {
            config: Some(config),
        };
        assert!(matches!(wrong.rules(), Err(Failure::CommandLine(_))));
    }
}
