//! `pacs devices`: modalities, workstations and gateways of an archive, by their AE titles. A
//! server that has the archive open stores them itself.

use super::backup::{ask, expect, unexpected};
use super::failure::Failure;
use super::maintain;
use super::output::Output;
use super::{DevicesCommand, Local};
use crate::control::{Reply, Request};
use crate::limits::{DEVICES_FILE_BYTES_MAX, REGISTRY_ATTEMPTS_MAX};
use crate::place;
use pacs_core::role::Agent;
use pacs_store::registry::devices::Device;
use pacs_store::registry::{Imported, Registry, RegistryError};
use pacs_store::{Archive, OpenError};
use serde::Deserialize;
use serde_json::json;
use std::io::Read as _;
use std::path::Path;

/// A list of devices.
#[derive(Deserialize)]
struct List {
    devices: Vec<Device>,
}

pub(super) async fn devices(command: &DevicesCommand, output: &Output) -> Result<(), Failure> {
    match command {
        DevicesCommand::Import { file, local } => import(file, local, output).await,
    }
}

async fn import(file: &Path, local: &Local, output: &Output) -> Result<(), Failure> {
    let list = read(file)?;
    let archive = match maintain::open_here(local).await? {
        Ok(archive) => Some(archive),
        Err(OpenError::Locked) => None,
        Err(error) => return Err(Failure::archive(&error)),
    };
    let done = import_all(list, archive.as_ref(), &local.data, output).await;
    if let Some(archive) = archive {
        archive.close().await;
    }
    let [added, changed, same] = done?;
    let text = format!("{added} added, {changed} changed, {same} as they were");
    let value = json!({ "added": added, "changed": changed, "same": same });
    output.summary(&text, &value);
    Ok(())
}

/// Stores one after the other: here, or by the server that has the archive open.
async fn import_all(
    list: Vec<Device>,
    archive: Option<&Archive>,
    data: &Path,
    output: &Output,
) -> Result<[u64; 3], Failure> {
    let mut counts = [0_u64; 3];
    for device in list {
        let title = device.ae_title.clone();
        let imported = match archive {
            Some(archive) => store(&archive.registry(), &device)
                .await
                .map_err(|error| Failure::archive(&error)),
            None => served(data, device).await,
        };
        let imported = imported.map_err(|failure| {
            if let Failure::Archive(why) = &failure {
                Failure::Archive(format!("device {title}: {why}"))
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
        let value = json!({ "ae_title": title.as_str(), "imported": word });
        output.result(&format!("{title}\t{word}"), &value);
    }
    Ok(counts)
}

async fn served(data: &Path, device: Device) -> Result<Imported, Failure> {
    let mut asked = ask(data, Request::Device(Box::new(device))).await?;
    let reply = expect(&mut asked).await?;
    if let Reply::Imported(imported) = reply {
        Ok(imported)
    } else {
        Err(unexpected(&reply))
    }
}

/// Makes a device of the registry what `device` says. Whoever holds the data directory, or may open
/// the socket in it, looks after devices.
pub(crate) async fn store(registry: &Registry, device: &Device) -> Result<Imported, RegistryError> {
    let licence = Agent::system("pacs devices").national_licence()?;
    for _ in 0..REGISTRY_ATTEMPTS_MAX {
        let before = match registry.device(&device.ae_title).await {
            Ok(before) => Some(before),
            Err(RegistryError::NotFound { .. }) => None,
            Err(error) => return Err(error),
        };
        let expected = before.as_ref().map(|before| before.revision);
        let imported = match before {
            None => Imported::Added,
            Some(before) if before.value == *device => return Ok(Imported::Same),
            Some(_) => Imported::Changed,
        };
        match registry
            .save_device(&licence, device, expected, place::now())
            .await
        {
            // Somebody else changed it in between.
            Err(RegistryError::Changed) => {}
            done => return done.map(|_revision| imported),
        }
    }
    Err(RegistryError::Busy)
}

fn read(file: &Path) -> Result<Vec<Device>, Failure> {
    let mut text = String::new();
    std::fs::File::open(file)
        .and_then(|opened| {
            let mut opened = opened.take(DEVICES_FILE_BYTES_MAX.saturating_add(1));
            opened.read_to_string(&mut text)
        })
        .map_err(|error| Failure::file(file, error))?;
    if text.len() as u64 > DEVICES_FILE_BYTES_MAX {
        let why = format!("longer than {DEVICES_FILE_BYTES_MAX} bytes");
        return Err(Failure::file(file, why));
    }
    let list: List = serde_json::from_str(&text).map_err(|error| Failure::file(file, error))?;
    Ok(list.devices)
}
