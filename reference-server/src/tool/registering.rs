//! What the commands that take a list into the registry share: reading it, finding the archive or
//! the server that has it open, and telling what became of each entry.

use super::Local;
use super::backup::{ask, expect, unexpected};
use super::failure::Failure;
use super::maintain;
use super::output::Output;
use crate::control::{Reply, Request};
use pacs_store::registry::Imported;
use pacs_store::{Archive, OpenError};
use serde::de::DeserializeOwned;
use serde_json::json;
use std::fmt::Display;
use std::io::Read as _;
use std::path::Path;

/// The list in a JSON file of at most `bytes_max`.
pub(super) fn read<T: DeserializeOwned>(file: &Path, bytes_max: u64) -> Result<T, Failure> {
    let mut text = String::new();
    std::fs::File::open(file)
        .and_then(|opened| {
            let mut opened = opened.take(bytes_max.saturating_add(1));
            opened.read_to_string(&mut text)
        })
        .map_err(|error| Failure::file(file, error))?;
    if text.len() as u64 > bytes_max {
        let why = format!("longer than {bytes_max} bytes");
        return Err(Failure::file(file, why));
    }
    serde_json::from_str(&text).map_err(|error| Failure::file(file, error))
}

/// Where the entries go.
pub(super) enum Target<'a> {
    /// To the archive, which is open here.
    Here(Archive),
    /// To the server that has the archive in this directory open.
    Served(&'a Path),
}

impl<'a> Target<'a> {
    pub(super) async fn open(local: &'a Local) -> Result<Self, Failure> {
        match maintain::open_here(local).await? {
            Ok(archive) => Ok(Self::Here(archive)),
            Err(OpenError::Locked) => Ok(Self::Served(&local.data)),
            Err(error) => Err(Failure::archive(&error)),
        }
    }

    pub(super) async fn close(self) {
        if let Self::Here(archive) = self {
            archive.close().await;
        }
    }
}

/// Has the server of the archive in `data` store an entry.
pub(super) async fn served(data: &Path, request: Request) -> Result<Imported, Failure> {
    let mut asked = ask(data, request).await?;
    let reply = expect(&mut asked).await?;
    if let Reply::Imported(imported) = reply {
        Ok(imported)
    } else {
        Err(unexpected(&reply))
    }
}

/// A failure of the archive, with the entry that it was about.
pub(super) fn about(entry: impl Display, failure: Failure) -> Failure {
    if let Failure::Archive(why) = &failure {
        Failure::Archive(format!("{entry}: {why}"))
    } else {
        failure
    }
}

/// How many entries became what.
#[derive(Default)]
pub(super) struct Counts {
    added: u64,
    changed: u64,
    same: u64,
}

impl Counts {
    /// Counts an entry, and gives the word for what became of it.
    pub(super) fn count(&mut self, imported: Imported) -> &'static str {
        let (word, count) = match imported {
            Imported::Added => ("added", &mut self.added),
            Imported::Changed => ("changed", &mut self.changed),
            Imported::Same => ("same", &mut self.same),
        };
        *count = count.saturating_add(1);
        word
    }

    pub(super) fn tell(&self, output: &Output) {
        let Self {
            added,
            changed,
            same,
        } = self;
        let text = format!("{added} added, {changed} changed, {same} as they were");
        let value = json!({ "added": added, "changed": changed, "same": same });
        output.summary(&text, &value);
    }
}
