//! `pacs users`: accounts of people. A server that has the archive open does it itself.

use super::backup::{ask, expect, unexpected};
use super::failure::{Failure, chain};
use super::maintain;
use super::output::Output;
use super::{Local, UsersCommand};
use crate::accounts::manage::{FirstPassword, Listed, NewUser, shown};
use crate::accounts::{AccountRules, Accounts};
use crate::clock::World;
use crate::control::accounts::{Asked, Told, answer};
use crate::control::{Reply, Request};
use pacs_core::account::UserName;
use pacs_core::role::{Grant, Grants};
use pacs_store::OpenError;
use serde_json::json;

pub(super) async fn users(command: &UsersCommand, output: &Output) -> Result<(), Failure> {
    match command {
        UsersCommand::Add {
            name,
            display_name,
            role,
            doctor,
            local,
        } => {
            let new = NewUser {
                name: name.clone(),
                display_name: display_name.clone(),
                is_doctor: *doctor,
                grants: grants(role)?,
            };
            let told = run(Asked::Add(new), local).await?;
            password(name, told, output)
        }
        UsersCommand::List { local } => list(local, output).await,
        UsersCommand::Disable { name, local } => disable(name, true, local, output).await,
        UsersCommand::Enable { name, local } => disable(name, false, local, output).await,
        UsersCommand::Reset { name, local } => {
            let asked = Asked::Reset { name: name.clone() };
            let told = run(asked, local).await?;
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
pub(super) fn parse_name(text: &str) -> Result<UserName, String> {
    UserName::parse(text).map_err(|error| error.to_string())
}

fn grants(roles: &[Grant]) -> Result<Grants, Failure> {
    let grants = Grants::new(roles.to_vec());
    grants.map_err(|error| Failure::CommandLine(error.to_string()))
}

/// Has it done by whoever has the archive.
async fn run(asked: Asked, local: &Local) -> Result<Told, Failure> {
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
        let accounts = Accounts::new(trail, AccountRules::default(), World::real())?;
        answer(&accounts, asked).await
    };
    let told = told.await.map_err(|error| Failure::Archive(chain(&error)));
    archive.close().await;
    told
}

fn password(name: &UserName, told: Told, output: &Output) -> Result<(), Failure> {
    let Told::FirstPassword(FirstPassword(password)) = told else {
        return Err(Failure::Archive("no password was made".to_owned()));
    };
    output.note(&format!(
        "This is shown once: the password of {name}, who has to choose another one first:"
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
                state(user),
                user.display_name.replace(char::is_control, "\u{fffd}")
            );
            output.result(&text, user);
        }
    }
    output.summary("", &json!({ "count": count }));
    Ok(())
}

fn state(user: &Listed) -> &'static str {
    match (
        user.is_disabled,
        user.must_change_password,
        user.has_second_factor,
    ) {
        (true, _, _) => "disabled",
        (_, true, _) => "must choose a password",
        (_, _, true) => "with a second factor",
        _ => "active",
    }
}
