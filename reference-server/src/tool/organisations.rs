//! `pacs organisations`: the healthcare organisations of an archive. A server that has it open
//! stores them itself.

use super::backup::{ask, expect};
use super::failure::Failure;
use super::maintain;
use super::output::Output;
use super::{Local, OrganisationsCommand};
use crate::control::{Reply, Request};
use crate::limits::ORGANISATIONS_FILE_BYTES_MAX;
use crate::place;
use pacs_core::role::{Agent, Licence, duty::OrganisationsManage};
use pacs_store::registry::Imported;
use pacs_store::registry::organisations::Organisation;
use pacs_store::{Archive, OpenError};
use serde::Deserialize;
use serde_json::json;
use std::io::Read as _;
use std::path::Path;

/// A list of organisations.
#[derive(Deserialize)]
struct List {
    organisations: Vec<Organisation>,
}

pub(super) async fn organisations(
    command: &OrganisationsCommand,
    output: &Output,
) -> Result<(), Failure> {
    match command {
        OrganisationsCommand::Import { file, local } => import(file, local, output).await,
    }
}

/// Where the organisations go.
enum Target<'a> {
    Here(Archive),
    Served(&'a Path),
}

async fn import(file: &Path, local: &Local, output: &Output) -> Result<(), Failure> {
    let list = read(file)?;
    let target = match maintain::open_here(local).await? {
        Ok(archive) => Target::Here(archive),
        Err(OpenError::Locked) => Target::Served(&local.data),
        Err(error) => return Err(Failure::archive(&error)),
    };
    let done = import_all(list, &target, output).await;
    if let Target::Here(archive) = target {
        archive.close().await;
    }
    let [added, changed, same] = done?;
    let text = format!("{added} added, {changed} changed, {same} as they were");
    let value = json!({ "added": added, "changed": changed, "same": same });
    output.summary(&text, &value);
    Ok(())
}

async fn import_all(
    list: Vec<Organisation>,
    target: &Target<'_>,
    output: &Output,
) -> Result<[u64; 3], Failure> {
    let mut counts = [0_u64; 3];
    for organisation in list {
        let (code, name) = (organisation.code, organisation.name_ru.clone());
        let imported = match target {
            Target::Here(archive) => import_here(archive, &organisation).await,
            Target::Served(data) => import_served(data, organisation).await,
        };
        let imported = imported.map_err(|failure| {
            if let Failure::Archive(why) = &failure {
                Failure::Archive(format!("organisation {code}: {why}"))
            } else {
                failure
            }
        })?;
        let (word, count) = match imported {
            Imported::Added => ("added", &mut counts[0]),
            Imported::Changed => ("changed", &mut counts[1]),
            Imported::Same => ("same", &mut counts[2]),
        };
        *count = count.saturating_add(1);
        let value = json!({ "code": code.to_string(), "name": name, "imported": word });
        output.result(&format!("{code}\t{word}\t{name}"), &value);
    }
    Ok(counts)
}

async fn import_here(archive: &Archive, organisation: &Organisation) -> Result<Imported, Failure> {
    let licence = licence().map_err(|error| Failure::archive(&error))?;
    let registry = archive.registry();
    let imported = registry.import_organisation(&licence, organisation, place::now());
    imported.await.map_err(|error| Failure::archive(&error))
}

async fn import_served(data: &Path, organisation: Organisation) -> Result<Imported, Failure> {
    let request = Request::Organisation(Box::new(organisation));
    let mut asked = ask(data, request).await?;
    let reply = expect(&mut asked).await?;
    if let Reply::Imported(imported) = reply {
        Ok(imported)
    } else {
        Err(super::backup::unexpected(&reply))
    }
}

/// Whoever holds the data directory, or may open the socket in it, looks after organisations.
pub(crate) fn licence() -> Result<Licence<OrganisationsManage>, pacs_core::role::Unlicensed> {
    Agent::system("pacs organisations").national_licence()
}

fn read(file: &Path) -> Result<Vec<Organisation>, Failure> {
    let mut text = String::new();
    std::fs::File::open(file)
        .and_then(|opened| {
            let mut opened = opened.take(ORGANISATIONS_FILE_BYTES_MAX.saturating_add(1));
            opened.read_to_string(&mut text)
        })
        .map_err(|error| Failure::file(file, error))?;
    if text.len() as u64 > ORGANISATIONS_FILE_BYTES_MAX {
        let why = format!("longer than {ORGANISATIONS_FILE_BYTES_MAX} bytes");
        return Err(Failure::file(file, why));
    }
    let list: List = serde_json::from_str(&text).map_err(|error| Failure::file(file, error))?;
    Ok(list.organisations)
}
