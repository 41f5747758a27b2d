//! What a process opens, makes, renames and removes, as strace sees it (T2).

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

pub use crate::edges::io_errors::can_trace;
use crate::edges::io_errors::launcher;

/// Calls that name a file to open, make, rename or remove it; where a machine has no such call it
/// is left out.
const CALLS: &str = "trace=?open,openat,?openat2,?creat,?mkdir,mkdirat,?mknod,mknodat,?rename,\
                     ?renameat,renameat2,?link,linkat,?symlink,symlinkat,?unlink,unlinkat,?rmdir,\
                     truncate";

/// The command that becomes the one behind it, and writes its calls to `list`.
#[must_use]
pub fn traced(list: &Path) -> Vec<String> {
    let list = list.to_str().expect("UTF-8");
    launcher(&[
        "-qq",
        "--seccomp-bpf",
        "-A",
        "-s",
        "4096",
        "-y",
        "-o",
        list,
        "-e",
        CALLS,
    ])
}

/// The files of `list` that are not below `root`, found or not, and not of the process itself
/// (`/proc`).
///
/// # Panics
/// When there is no list, or nothing in it is below `root`: then something is read wrongly.
#[must_use]
pub fn outside(list: &Path, root: &Path) -> BTreeSet<PathBuf> {
    let text = std::fs::read_to_string(list).expect("a list of calls");
    let all: BTreeSet<PathBuf> = text.lines().flat_map(files_of).collect();
    let (inside, mut outside): (BTreeSet<_>, BTreeSet<_>) =
        all.into_iter().partition(|file| file.starts_with(root));
    assert!(!inside.is_empty(), "nothing is opened at all: {outside:?}");
    outside.retain(|file| !file.starts_with("/proc"));
    outside
}

/// The files that a call names: `renameat2(3</a>, "b", AT_FDCWD</c>, "/d", 0) = 0` names `/a/b` and
/// `/d`. None of a line that only ends a call.
fn files_of(line: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let Some((_, mut rest)) = line.split_once('(') else {
        return files;
    };
    while let Some((before, after)) = rest.split_once('"') {
        let (name, after) = quoted(after);
        files.push(plain(&folder_of(before).join(name)));
        rest = after;
    }
    files
}

/// The folder that a descriptor before a name stands for, such as `, 5</data/packs>, `.
fn folder_of(before: &str) -> PathBuf {
    let folder = before.rsplit_once('<').and_then(|(_, folder)| {
        let (folder, behind) = folder.split_once('>')?;
        (behind == ", ").then_some(folder)
    });
    folder.map_or_else(PathBuf::new, PathBuf::from)
}

/// A string without its quotes, as far as strace writes it in ASCII, and what is behind it.
fn quoted(text: &str) -> (String, &str) {
    let mut is_escaped = false;
    let end = text.find(|letter: char| {
        let is_end = letter == '"' && !is_escaped;
        is_escaped = letter == '\\' && !is_escaped;
        is_end
    });
    let (name, rest) = text.split_at(end.unwrap_or(text.len()));
    (name.to_owned(), rest.strip_prefix('"').unwrap_or(rest))
}

/// A path without `.` and `..`: where it leads if no part of it is a link.
fn plain(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => drop(out.pop()),
            part => out.push(part),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::files_of;
    use std::path::Path;

    #[test]
    fn the_files_of_a_call_are_where_they_lead() {
        let line = r#"17 renameat2(3</a>, "b/../../c", AT_FDCWD</d>, "/e \"f", 0) = 0"#;
        assert_eq!(files_of(line), [Path::new("/c"), Path::new(r#"/e \"f"#)]);
        assert_eq!(
            files_of(r#"17 openat(AT_FDCWD</d>, "x", O_RDONLY <unfinished ...>"#),
            [Path::new("/d/x")]
        );
        assert!(files_of("17 <... openat resumed>) = 3</d/x>").is_empty());
    }
}
