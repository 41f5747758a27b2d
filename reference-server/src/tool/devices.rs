//! `pacs devices`: modalities, workstations and gateways of an archive, by their AE titles. A
//! server that has the archive open stores them itself.

use super::failure::Failure;
use super::output::Output;
use super::registering::{Counts, Target, about, read, served};
use super::{DevicesCommand, Local};
use crate::control::Request;
use crate::limits::{DEVICES_FILE_BYTES_MAX, REGISTRY_ATTEMPTS_MAX};
use crate::place;
use pacs_core::role::Agent;
use pacs_store::registry::devices::Device;
use pacs_store::registry::{Imported, Registry, RegistryError};
use serde::Deserialize;
use serde_json::json;
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
    let list: List = read(file, DEVICES_FILE_BYTES_MAX)?;
    let target = Target::open(local).await?;
    let done = import_all(list.devices, &target, output).await;
    target.close().await;
    done?.tell(output);
    Ok(())
}

async fn import_all(
    list: Vec<Device>,
    target: &Target<'_>,
    output: &Output,
) -> Result<Counts, Failure> {
    let mut counts = Counts::default();
    for device in list {
        let title = device.ae_title.clone();
        let imported = match target {
            Target::Here(archive) => store(&archive.registry(), &device)
                .await
                .map_err(|error| Failure::archive(&error)),
            Target::Served(data) => served(data, Request::Device(Box::new(device))).await,
        };
        let imported = imported.map_err(|failure| about(format!("device {title}"), failure))?;
        let word = counts.count(imported);
        let value = json!({ "ae_title": title.as_str(), "imported": word });
        output.result(&format!("{title}\t{word}"), &value);
    }
    Ok(counts)
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
