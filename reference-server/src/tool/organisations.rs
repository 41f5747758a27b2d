//! `pacs organisations`: the healthcare organisations of an archive. A server that has it open
//! stores them itself.

use super::failure::Failure;
use super::output::Output;
use super::registering::{Counts, Target, about, read, served};
use super::{Local, OrganisationsCommand};
use crate::control::Request;
use crate::limits::ORGANISATIONS_FILE_BYTES_MAX;
use crate::place;
use pacs_core::role::{Agent, Licence, duty::OrganisationsManage};
use pacs_store::Archive;
use pacs_store::registry::Imported;
use pacs_store::registry::organisations::Organisation;
use serde::Deserialize;
use serde_json::json;
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

async fn import(file: &Path, local: &Local, output: &Output) -> Result<(), Failure> {
    let list: List = read(file, ORGANISATIONS_FILE_BYTES_MAX)?;
    let target = Target::open(local).await?;
    let done = import_all(list.organisations, &target, output).await;
    target.close().await;
    done?.tell(output);
    Ok(())
}

async fn import_all(
    list: Vec<Organisation>,
    target: &Target<'_>,
    output: &Output,
) -> Result<Counts, Failure> {
    let mut counts = Counts::default();
    for organisation in list {
        let (code, name) = (organisation.code, organisation.name_ru.clone());
        let imported = match target {
            Target::Here(archive) => import_here(archive, &organisation).await,
            Target::Served(data) => {
                served(data, Request::Organisation(Box::new(organisation))).await
            }
        };
        let imported =
            imported.map_err(|failure| about(format!("organisation {code}"), failure))?;
        let word = counts.count(imported);
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

/// Whoever holds the data directory, or may open the socket in it, looks after organisations.
pub(crate) fn licence() -> Result<Licence<OrganisationsManage>, pacs_core::role::Unlicensed> {
    Agent::system("pacs organisations").national_licence()
}
