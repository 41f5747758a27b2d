//! The mark of an entry whose content is destroyed, or about to be.
//!
//! It is the names in the first header of the entry, which say nothing otherwise: that header is
//! one block under a checksum of its own, so that a disk has all of the mark or nothing of it, and
//! nothing else of the entry changes. What stands in the place of the content says nothing then.

use super::entry::EntryHead;
use super::tar::{self, BLOCK, Names};
use crate::disk::DiskFile;
use pacs_core::{SeriesUid, SopInstanceUid, StudyUid};
use std::io;

/// The name of a first header with a mark begins so.
const NAME: &str = "erased/";

/// Which instance it was: what the change sequence still tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) study: StudyUid,
    pub(crate) series: SeriesUid,
    pub(crate) instance: SopInstanceUid,
}

/// What the names of a first header say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Said {
    Mark(Mark),
    Nothing,
}

/// Reads the first header of an entry; `None` where it has half a mark, as no disk leaves it.
pub(crate) fn read(block: &[u8]) -> Option<Said> {
    let names = Names::of(block)?;
    let Some(instance) = names.name.strip_prefix(NAME) else {
        return Some(Said::Nothing);
    };
    Some(Said::Mark(Mark {
        study: StudyUid::parse_legacy(names.link).ok()?,
        series: SeriesUid::parse_legacy(names.prefix).ok()?,
        instance: SopInstanceUid::parse_legacy(instance).ok()?,
    }))
}

/// Marks the entry with this head.
pub(crate) fn write(file: &dyn DiskFile, head: &EntryHead, mark: &Mark) -> io::Result<()> {
    let block = file.read_vec(head.offset, BLOCK)?;
    let name = format!("{NAME}{}", mark.instance);
    let names = Names {
        prefix: mark.series.as_str(),
        name: &name,
        link: mark.study.as_str(),
    };
    let block = tar::renamed(&block, &names).ok_or(io::ErrorKind::InvalidData)?;
    file.write_at(&block, head.offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_as_it_was_written_also_with_the_longest_uids() {
        let header = tar::header("", "PaxHeaders/pacs", tar::RECORDS, 1_024, 7);
        assert_eq!(read(&header), Some(Said::Nothing));
        for length in [1, 64] {
            let uid = |first: &str| format!("{first}{}", "x".repeat(length - 1));
            let mark = Mark {
                study: StudyUid::parse_legacy(&uid("1")).unwrap(),
                series: SeriesUid::parse_legacy(&uid("2")).unwrap(),
                instance: SopInstanceUid::parse_legacy(&uid("3")).unwrap(),
            };
            let name = format!("{NAME}{}", mark.instance);
            let names = Names {
                prefix: mark.series.as_str(),
                name: &name,
                link: mark.study.as_str(),
            };

            let marked = tar::renamed(&header, &names).unwrap();

            assert_eq!(read(&marked), Some(Said::Mark(mark.clone())));
            let half = Names { link: "", ..names };
            assert_eq!(read(&tar::renamed(&header, &half).unwrap()), None);
        }
    }
}
