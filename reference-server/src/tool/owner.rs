//! What root's commands leave behind: files go to the owner of the directory they stand in.
//!
//! An administrator restores or verifies as root, and the server runs as a user of its own: a file
//! that root made would keep it from starting. Only files of root are given away, never a link or
//! what has another name elsewhere, and nothing outside the directory is reached, whatever its
//! owner does meanwhile.

use super::failure::Failure;
use super::{
    AuditCommand, AuditListing, Command, DevicesCommand, Exporting, OrganisationsCommand,
    TokenCommand, UsersCommand,
};
use rustix::fs::{Dir, FileType, Mode, OFlags, fchown, fstat, open, openat};
use rustix::process::{Gid, Uid, geteuid};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// Files that say that a directory is an archive, or a backup of one. Nothing else is touched.
const MARKS: [&str; 3] = ["FORMAT", "MANIFEST", "RESTORING"];

/// Directories below one another that are looked into; an archive has two.
const DEPTH_MAX: usize = 4;

/// After `command`: its directories belong wholly to who owned them before.
pub(super) fn restore_owners(command: &Command) -> Result<(), Failure> {
    if !geteuid().is_root() {
        return Ok(());
    }
    for directory in directories(command) {
        if MARKS.iter().any(|mark| directory.join(mark).is_file()) {
            give(directory).map_err(|error| {
                let why = format!("files of root could not be given to its owner: {error}");
                Failure::file(directory, why)
            })?;
        }
    }
    Ok(())
}

/// Where `command` may have made files of an archive or a backup.
fn directories(command: &Command) -> Vec<&Path> {
    match command {
        Command::Backup { local, to, .. } => vec![&local.data, to],
        Command::Export(Exporting {
            peer: None, local, ..
        }) => vec![&local.data],
        Command::Import(importing) => vec![&importing.local.data],
        Command::Audit(
            AuditCommand::List(AuditListing { local, .. }) | AuditCommand::Verify { local, .. },
        )
        | Command::Devices(DevicesCommand::Import { local, .. })
        | Command::Organisations(OrganisationsCommand::Import { local, .. })
        | Command::Rebuild(local)
        | Command::Repair { local, .. }
        | Command::Token(
            TokenCommand::Create { local, .. }
            | TokenCommand::List { local }
            | TokenCommand::Revoke { local, .. },
        )
        | Command::Users(
            UsersCommand::Add { local, .. }
            | UsersCommand::Disable { local, .. }
            | UsersCommand::Enable { local, .. }
            | UsersCommand::Link { local, .. }
            | UsersCommand::List { local }
            | UsersCommand::Reset { local, .. }
            | UsersCommand::Roles { local, .. }
            | UsersCommand::Unlink { local, .. },
        )
        | Command::Verify(local) => vec![&local.data],
        Command::Restore { to, .. } => vec![to],
        Command::Send(send) => vec![&send.local().data],
        Command::Ae(_)
        | Command::Commit(_)
        | Command::Completions { .. }
        | Command::Echo(_)
        | Command::Export(_)
        | Command::Find(_)
        | Command::Get { .. }
        | Command::Man { .. }
        | Command::Move { .. }
        | Command::Mpps(_)
        | Command::Store(_)
        | Command::Worklist(_) => Vec::new(),
    }
}

/// Gives the empty directory `to`, if root owns it, to the owner of `from`.
pub(super) fn follow(from: &Path, to: &Path) -> io::Result<()> {
    if !geteuid().is_root() {
        return Ok(());
    }
    let (to, from) = (
        open(to, DIRECTORY, NO_MODE)?,
        open(from, DIRECTORY, NO_MODE)?,
    );
    let source = fstat(&from)?;
    if fstat(&to)?.st_uid == 0 && source.st_uid != 0 {
        let (uid, gid) = (Uid::from_raw(source.st_uid), Gid::from_raw(source.st_gid));
        fchown(&to, Some(uid), Some(gid))?;
    }
    Ok(())
}

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC);

const NO_MODE: Mode = Mode::empty();

/// Gives what root owns in `directory` to the owner of it.
fn give(directory: &Path) -> io::Result<()> {
    let directory = open(directory, DIRECTORY, NO_MODE)?;
    let owner = fstat(&directory)?;
    if owner.st_uid == 0 {
        return Ok(());
    }
    let owner = (Uid::from_raw(owner.st_uid), Gid::from_raw(owner.st_gid));
    give_below(&directory, owner, DEPTH_MAX)
}

fn give_below(directory: &OwnedFd, owner: (Uid, Gid), depth: usize) -> io::Result<()> {
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if [c".", c".."].contains(&name) {
            continue;
        }
        let is_directory = entry.file_type() == FileType::Directory;
        if !is_directory && entry.file_type() != FileType::RegularFile {
            continue;
        }
        // Whatever has taken its place meanwhile: no link is followed, and no pipe waited for.
        let kind = if is_directory {
            OFlags::DIRECTORY
        } else {
            OFlags::NONBLOCK
        };
        let how = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | kind;
        let opened = match openat(directory, name, how, NO_MODE) {
            Ok(opened) => opened,
            Err(rustix::io::Errno::NOENT) => continue,
            Err(error) => return Err(error.into()),
        };
        let found = fstat(&opened)?;
        if found.st_uid == 0 && (is_directory || found.st_nlink == 1) {
            fchown(opened.as_fd(), Some(owner.0), Some(owner.1))?;
        }
        if let (true, Some(depth)) = (is_directory, depth.checked_sub(1)) {
            give_below(&opened, owner, depth)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::os::unix::fs::{MetadataExt as _, chown, symlink};

    /// Only root can give files away; without it there is nothing to test.
    fn is_root() -> bool {
        let is_root = geteuid().is_root();
        if !is_root {
            writeln!(io::stderr(), "SKIPPED: only root can give files away").ok();
        }
        is_root
    }

    #[test]
    fn files_of_root_go_to_the_owner_of_the_directory_and_nothing_else_does() {
        if !is_root() {
            return;
        }
        let outside = tempfile::tempdir().unwrap();
        let secret = outside.path().join("secret");
        std::fs::write(&secret, "").unwrap();
        let folder = tempfile::tempdir_in(outside.path()).unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("packs")).unwrap();
        for name in ["packs/0.tar", "theirs"] {
            std::fs::write(at(name), "").unwrap();
        }
        std::fs::hard_link(&secret, at("hard")).unwrap();
        symlink(&secret, at("soft")).unwrap();
        chown(at("theirs"), Some(7), Some(7)).unwrap();
        chown(folder.path(), Some(5), Some(6)).unwrap();

        give(folder.path()).unwrap();

        let owner = |path: &Path| {
            let of = path.symlink_metadata().unwrap();
            (of.uid(), of.gid())
        };
        assert_eq!(owner(&at("packs")), (5, 6));
        assert_eq!(owner(&at("packs/0.tar")), (5, 6));
        assert_eq!(owner(&at("theirs")), (7, 7));
        assert_eq!(owner(&at("soft")), (0, 0));
        assert_eq!(owner(&secret), (0, 0));
    }

    #[test]
    fn an_empty_directory_of_root_follows_the_owner_of_the_backup() {
        if !is_root() {
            return;
        }
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        chown(from.path(), Some(5), Some(6)).unwrap();

        follow(from.path(), to.path()).unwrap();
        chown(from.path(), Some(8), Some(8)).unwrap();
        follow(from.path(), to.path()).unwrap();

        let of = to.path().metadata().unwrap();
        assert_eq!((of.uid(), of.gid()), (5, 6));
    }
}
