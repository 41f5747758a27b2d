//! A walk over everything below a folder, in order of names, without recursion and without holding
//! more than one portion of each folder's names.

use crate::folder::{Folder, Named, Names, OpenError, Stat};
use crate::limits::MediaLimits;
use crate::refusal::Refusal;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

/// Walks over the regular files below a folder. Links are told and not followed.
pub(crate) struct Walk {
    root: Arc<Folder>,
    limits: MediaLimits,
    levels: Vec<Level>,
    is_begun: bool,
}

struct Level {
    relative: PathBuf,
    /// The portion at hand, sorted.
    portion: VecDeque<Named>,
    names: Names,
    /// Whether there is no further portion.
    is_read: bool,
}

/// A regular file that was come upon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Walked {
    /// Below the root.
    pub(crate) path: PathBuf,
    pub(crate) stat: Stat,
}

impl std::fmt::Debug for Walk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Walk")
            .field("root", &self.root)
            .finish_non_exhaustive()
    }
}

impl Walk {
    /// Below `root`.
    pub(crate) fn new(root: Arc<Folder>, limits: &MediaLimits) -> Self {
        Self {
            root,
            limits: *limits,
            levels: Vec::new(),
            is_begun: false,
        }
    }

    /// Goes into a folder.
    fn enter(&mut self, relative: PathBuf) -> Result<(), (PathBuf, Refusal)> {
        if self.levels.len() > self.limits.folder_depth_max {
            return Err((relative, Refusal::Nested));
        }
        match self.root.names(&relative) {
            Ok(names) => {
                self.levels.push(Level {
                    relative,
                    portion: VecDeque::new(),
                    names,
                    is_read: false,
                });
                Ok(())
            }
            Err(error) => Err((relative, Refusal::Open(error))),
        }
    }
}

impl Level {
    /// Reads the next portion of names, if there is one.
    fn refill(&mut self, names_max: usize) -> Result<(), std::io::Error> {
        let mut portion = Vec::new();
        for named in self.names.by_ref().take(names_max.max(1)) {
            portion.push(named?);
        }
        self.is_read = portion.len() < names_max;
        portion.sort_by(|a, b| a.name().cmp(b.name()));
        self.portion = portion.into();
        Ok(())
    }
}

impl Iterator for Walk {
    type Item = Result<Walked, (PathBuf, Refusal)>;

    fn next(&mut self) -> Option<Self::Item> {
        if !self.is_begun {
            self.is_begun = true;
            if let Err(refused) = self.enter(PathBuf::new()) {
                return Some(Err(refused));
            }
        }
        loop {
            let names_max = self.limits.names_max;
            let level = self.levels.last_mut()?;
            if level.portion.is_empty()
                && !level.is_read
                && let Err(error) = level.refill(names_max)
            {
                level.is_read = true;
                return Some(Err((level.relative.clone(), Refusal::Read(error))));
            }
            let Some(named) = level.portion.pop_front() else {
                if level.is_read {
                    self.levels.pop();
                }
                continue;
            };
            let path = level.relative.join(named.name());
            match named {
                Named::File(name) => {
                    return Some(match level.names.stat(&name) {
                        Ok(stat) => Ok(Walked { path, stat }),
                        Err(error) => Err((path, Refusal::Open(error))),
                    });
                }
                Named::Folder(_) => {
                    if let Err(refused) = self.enter(path) {
                        return Some(Err(refused));
                    }
                }
                Named::Link(_) => return Some(Err((path, Refusal::Open(OpenError::Link)))),
                Named::Other => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn walk(root: &Path, limits: &MediaLimits) -> Vec<Result<PathBuf, (PathBuf, Refusal)>> {
        let walk = Walk::new(Arc::new(Folder::open(root).unwrap()), limits);
        walk.map(|found| Ok(found?.path)).collect()
    }

    #[test]
    fn every_file_comes_in_order_of_names_and_links_are_told() {
        let home = tempfile::tempdir().unwrap();
        for path in ["b/2", "b/1", "a", "c/d/e"] {
            let path = home.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, b"").unwrap();
        }
        std::os::unix::fs::symlink("/", home.path().join("c/root")).unwrap();

        let found = walk(home.path(), &MediaLimits::default());

        let (files, links): (Vec<_>, Vec<_>) = found.into_iter().partition(Result::is_ok);
        let files: Vec<PathBuf> = files.into_iter().flatten().collect();
        assert_eq!(files, ["a", "b/1", "b/2", "c/d/e"].map(PathBuf::from));
        let [Err((path, Refusal::Open(OpenError::Link)))] = &links[..] else {
            panic!("{links:?}");
        };
        assert_eq!(path, Path::new("c/root"));
    }

    #[test]
    fn a_folder_with_more_names_than_are_held_at_a_time_is_walked_whole() {
        let home = tempfile::tempdir().unwrap();
        for number in 0..25 {
            std::fs::write(home.path().join(format!("{number:02}")), b"").unwrap();
        }
        let limits = MediaLimits {
            names_max: 5,
            ..MediaLimits::default()
        };

        let mut found: Vec<PathBuf> = walk(home.path(), &limits).into_iter().flatten().collect();

        found.sort();
        assert_eq!(found.len(), 25);
        found.dedup();
        assert_eq!(found.len(), 25);
    }

    #[test]
    fn folders_nested_too_deeply_are_refused_and_the_others_are_walked() {
        let home = tempfile::tempdir().unwrap();
        let deep: PathBuf = std::iter::repeat_n("d", 6).collect();
        std::fs::create_dir_all(home.path().join(&deep)).unwrap();
        std::fs::write(home.path().join("d/file"), b"").unwrap();
        let limits = MediaLimits {
            folder_depth_max: 3,
            ..MediaLimits::default()
        };

        let found = walk(home.path(), &limits);

        assert_eq!(found.iter().filter(|found| found.is_ok()).count(), 1);
        let nested = found
            .iter()
            .any(|found| matches!(found, Err((_, Refusal::Nested))));
        assert!(nested, "{found:?}");
    }
}
