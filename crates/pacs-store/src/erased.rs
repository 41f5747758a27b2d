//! What the log of a data directory says was erased, for whoever copies packs.

use crate::disk::{Disk, DiskFile, OpenHow};
use crate::index::{LogPosition, LogRecord};
use crate::pack::entry::{EntryHead, Kind};
use crate::pack::examine::{Step, Walk};
use crate::pack::mark::Mark;
use crate::pack::name::PackName;
use crate::pack::read;
use pacs_core::StudyUid;
use pacs_core::limits::ScanLimits;
use std::collections::HashMap;
use std::io;

/// Studies that were erased, and up to where.
#[derive(Debug, Default)]
pub(crate) struct ErasedStudies(HashMap<StudyUid, LogPosition>);

impl ErasedStudies {
    /// Reads the log of `disk` up to `end`, entry after entry, but not what they hold.
    pub(crate) fn read(disk: &dyn Disk, end: LogPosition) -> io::Result<Self> {
        let mut erased = Self::default();
        for number in 1..=end.pack {
            let name = PackName::Log(number);
            let file = match disk.open(&name.path(), OpenHow::Read) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                other => other?,
            };
            let stop = if number == end.pack {
                end.offset
            } else {
                u64::MAX
            };
            let mut walk = Walk::new(&*file, name, 0, stop);
            while let Some(step) = walk.step()? {
                if let Step::Entry(head) = step
                    && head.label.kind == Kind::Erase
                    && read::is_whole(&*file, &head)
                    && let Some((study, _)) = read::erased(&*file, &head)
                {
                    erased.note(study, place_of(name, &head));
                }
            }
        }
        Ok(erased)
    }

    /// A study is erased at this place of the log.
    pub(crate) fn note(&mut self, study: StudyUid, at: LogPosition) {
        let known = self.0.entry(study).or_default();
        *known = at.max(*known);
    }

    /// Whether what came of a study at this place of the log is erased.
    pub(crate) fn covers(&self, study: &StudyUid, at: LogPosition) -> bool {
        self.0.get(study).is_some_and(|erased| at < *erased)
    }
}

/// Where an entry stands.
pub(crate) const fn place_of(name: PackName, head: &EntryHead) -> LogPosition {
    LogPosition {
        pack: name.location(),
        offset: head.offset,
    }
}

/// The mark for an entry that holds an instance and has none, if `is_erased` says so of its study.
pub(crate) fn mark_for(
    name: PackName,
    file: &dyn DiskFile,
    head: &EntryHead,
    is_erased: impl FnOnce(&StudyUid) -> bool,
) -> Option<Mark> {
    if head.label.kind != Kind::Instance || head.mark.is_some() {
        return None;
    }
    let record = read::instance_of(name, file, head, &ScanLimits::default());
    let Ok(LogRecord::Instance(stored)) = record else {
        return None;
    };
    let instance = stored.instance;
    if !is_erased(&instance.study) {
        return None;
    }
    Some(Mark {
        study: instance.study,
        series: instance.series,
        instance: instance.instance,
    })
}
