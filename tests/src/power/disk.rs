//! A file system in a file, mounted by way of a loop device, whose power can be cut.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use tempfile::TempDir;

use crate::workspace;

/// Size of the image. It is sparse: only what is written takes room.
const IMAGE_BYTES: u64 = 3 << 30;

/// The file systems that know the ioctl.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileSystem {
    /// ext4.
    Ext4,
    /// XFS.
    Xfs,
}

impl FileSystem {
    /// The one with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "ext4" => Some(Self::Ext4),
            "xfs" => Some(Self::Xfs),
            _ => None,
        }
    }

    /// Its name, as the system has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
        }
    }

    /// What makes it, and what checks it without changing it.
    fn tools(self) -> [&'static [&'static str]; 2] {
        match self {
            Self::Ext4 => [
                &["mkfs.ext4", "-q", "-F", "-N", "4096"],
                &["e2fsck", "-f", "-n"],
            ],
            Self::Xfs => [&["mkfs.xfs", "-q", "-f"], &["xfs_repair", "-n"]],
        }
    }
}

/// Why the power of such a file system cannot be cut here; `None` where it can.
///
/// # Panics
/// When the build folder is not writable.
#[must_use]
pub fn why_not(file_system: FileSystem) -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("only root may mount".to_owned());
    }
    let [make, check] = file_system.tools();
    for tool in [
        make[0], check[0], "mount", "umount", "unshare", "setpriv", "python3",
    ] {
        if !crate::peers::has_tool(tool) {
            return Some(format!("{tool} is not installed"));
        }
    }
    // Whether loop devices, the file system and namespaces are allowed shows only a trial.
    let folder = workspace::temporary_folder();
    let image = folder.path().join("image");
    sparse(&image);
    let mounted = folder.path().join("mounted");
    std::fs::create_dir(&mounted).expect("a temporary folder is writable");
    let made = told(command(make).arg(&image));
    let trial = made.and_then(|()| {
        let mut trial = command(&["unshare", "--mount", "--propagation", "private"]);
        trial.args(["mount", "-o", "loop"]).arg(image).arg(mounted);
        told(&mut trial)
    });
    trial.err()
}

/// The image, and where it is mounted. Dropping it unmounts it, which frees its loop device.
#[derive(Debug)]
pub(crate) struct LoopDisk {
    file_system: FileSystem,
    mount_options: String,
    folder: TempDir,
    is_mounted: bool,
}

impl LoopDisk {
    /// An empty file system, mounted.
    pub(crate) fn new(file_system: FileSystem, mount_options: &str) -> Self {
        let mut disk = Self {
            file_system,
            mount_options: mount_options.to_owned(),
            folder: workspace::temporary_folder(),
            is_mounted: false,
        };
        std::fs::create_dir(disk.mount_point()).expect("a temporary folder is writable");
        sparse(&disk.image());
        let [make, _] = file_system.tools();
        must(command(make).arg(disk.image()));
        disk.mount();
        println!("image {}", disk.image().display());
        disk
    }

    /// Where it is mounted.
    pub(crate) fn mount_point(&self) -> PathBuf {
        self.folder.path().join("mounted")
    }

    fn image(&self) -> PathBuf {
        self.folder.path().join("image")
    }

    fn mount(&mut self) {
        let options = ["loop", &self.mount_options].join(",");
        let mut mount = command(&["mount", "-t", self.file_system.name(), "-o"]);
        must(
            mount
                .arg(options.trim_end_matches(','))
                .arg(self.image())
                .arg(self.mount_point()),
        );
        self.is_mounted = true;
    }

    /// Makes all that is on it durable.
    pub(crate) fn sync(&self) {
        must(command(&["sync", "--file-system"]).arg(self.mount_point()));
    }

    fn unmount(&mut self) {
        must(command(&["umount"]).arg(self.mount_point()));
        self.is_mounted = false;
    }

    /// What the next boot does after a loss of power: the journal is replayed by mounting. Then the
    /// file system is checked whole, and mounted for use.
    pub(crate) fn put_together(&mut self) {
        self.unmount();
        self.mount();
        self.unmount();
        let [_, check] = self.file_system.tools();
        must(command(check).arg(self.image()));
        self.mount();
    }
}

impl Drop for LoopDisk {
    fn drop(&mut self) {
        let lazily = command(&["umount", "--lazy"])
            .arg(self.mount_point())
            .status();
        if std::thread::panicking() {
            self.folder.disable_cleanup(true);
            eprintln!("the image is kept: {}", self.image().display());
        } else {
            lazily.expect("umount runs");
        }
    }
}

/// Stands beside a mounted [`LoopDisk`] and cuts its power when told to.
///
/// A small Python program does it, since an ioctl that has no safe wrapper would need unsafe code.
#[derive(Debug)]
pub(crate) struct Cutter {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Cutter {
    /// Returns when it is ready.
    pub(crate) fn new(disk: &LoopDisk) -> Self {
        let mut python = command(&["python3"]);
        python
            .arg(workspace::root().join("tests/power/cut.py"))
            .arg(disk.mount_point())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = python.spawn().expect("Python runs");
        let orders = child.stdin.take().expect("piped");
        let answers = BufReader::new(child.stdout.take().expect("piped"));
        let mut cutter = Self {
            child,
            orders,
            answers,
        };
        cutter.expect("ready");
        cutter
    }

    /// Cuts the power; nothing is written to the disk any more when this returns.
    pub(crate) fn cut(mut self) {
        self.orders.write_all(b"cut\n").expect("Python listens");
        self.expect("cut");
        self.child.wait().expect("Python ends");
    }

    fn expect(&mut self, answer: &str) {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("text");
        assert_eq!(line.trim_end(), answer, "cut.py says what it did");
    }
}

fn sparse(image: &Path) {
    let file = std::fs::File::create(image).expect("a temporary folder is writable");
    file.set_len(IMAGE_BYTES).expect("a sparse file");
}

fn command(words: &[&str]) -> Command {
    let mut command = Command::new(words[0]);
    // Tools of the administrator are not on everybody's path.
    let path = std::env::var("PATH").unwrap_or_default();
    command
        .env("PATH", format!("{path}:/usr/sbin:/sbin"))
        .args(&words[1..])
        .stdin(Stdio::null());
    command
}

/// Runs a command; what it said when it failed.
fn told(command: &mut Command) -> Result<(), String> {
    let output = command
        .output()
        .map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).trim().to_owned();
    Err(format!("{command:?}: {}: {said}", output.status))
}

fn must(command: &mut Command) {
    told(command).unwrap_or_else(|said| panic!("{said}"));
}
