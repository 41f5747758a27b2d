//! A pack of its own for one instance that is too long to be held in memory.
//!
//! It is written under a name that ends in `.part`, its headers last. It has a place in the log
//! when an entry there names it, and its final name after that; whatever is still called `.part`
//! when the log has been replayed belongs to nobody.

use super::entry::{self, EntryName, Filling, LARGE_RECORDS_BYTES, Label};
use super::name::{DIRECTORY, PackName};
use super::prepare::{END_BYTES, Remover};
use super::tar::{self, BLOCK};
use crate::disk::{Disk, DiskFile, OpenHow};
use crate::index::LogPosition;
use bytes::Bytes;
use std::io::{self, IoSlice};
use std::sync::Arc;

/// An instance on its way to a pack of its own; dropped before [`LargePack::leave`], its file goes.
#[derive(Debug)]
pub(crate) struct LargePack {
    disk: Arc<dyn Disk>,
    remover: Remover,
    number: u64,
    file: Arc<dyn DiskFile>,
    lead: Vec<u8>,
    data_bytes: u64,
    is_left: bool,
}

impl LargePack {
    pub(crate) fn create(
        disk: Arc<dyn Disk>,
        remover: Remover,
        number: u64,
        lead: Vec<u8>,
    ) -> io::Result<Self> {
        let file = disk.open(&PackName::Part(number).path(), OpenHow::CreateNew)?;
        Ok(Self {
            disk,
            remover,
            number,
            file,
            lead,
            data_bytes: 0,
            is_left: false,
        })
    }

    /// What the log calls it.
    pub(crate) const fn number(&self) -> u64 {
        self.number
    }

    pub(crate) const fn data_bytes(&self) -> u64 {
        self.data_bytes
    }

    /// Where its data set begins.
    pub(crate) const fn data_offset(&self) -> u64 {
        (2 * BLOCK + LARGE_RECORDS_BYTES + self.lead.len()) as u64
    }

    pub(crate) fn append(&mut self, parts: &[Bytes]) -> io::Result<()> {
        let slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
        let length: usize = parts.iter().map(Bytes::len).sum();
        let at = self.data_offset().saturating_add(self.data_bytes);
        self.file.write_vectored_at(&slices, at)?;
        self.data_bytes = self.data_bytes.saturating_add(length as u64);
        Ok(())
    }

    /// Writes what stands before the data set, and ends the tar.
    pub(crate) fn write_head(&self, name: &EntryName, label: &Label) -> io::Result<()> {
        let at = LogPosition {
            pack: PackName::Large(self.number).location(),
            offset: 0,
        };
        let head = entry::encode(
            at,
            name,
            label,
            &self.lead,
            self.data_bytes,
            Filling::Records(LARGE_RECORDS_BYTES),
        );
        self.file.write_at(&head, 0)?;
        let end = self.data_offset().saturating_add(self.data_bytes);
        self.file
            .set_length(tar::padded(end).saturating_add(END_BYTES))
    }

    /// Makes all of it durable, the `.part` name too.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()?;
        self.disk.sync_directory(DIRECTORY)
    }

    /// From here on the log may name it: only one who has read the log may remove it.
    pub(crate) fn leave(&mut self) {
        self.is_left = true;
    }

    /// The log does not name it after all.
    pub(crate) fn take_back(&mut self) {
        self.is_left = false;
    }

    /// Gives the final name, when the entry of the log is durable.
    pub(crate) fn keep(&self) -> io::Result<()> {
        keep(&*self.disk, self.number)
    }
}

/// Gives the large pack `number` its final name, durably.
pub(crate) fn keep(disk: &dyn Disk, number: u64) -> io::Result<()> {
    disk.rename(
        &PackName::Part(number).path(),
        &PackName::Large(number).path(),
    )?;
    disk.sync_directory(DIRECTORY)
}

impl Drop for LargePack {
    fn drop(&mut self) {
        if !self.is_left {
            self.remover.remove(PackName::Part(self.number));
        }
    }
}
