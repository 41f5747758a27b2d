//! The door for whoever looks after the archive on this machine: a socket in the data directory.
//!
//! Only the user that the server runs as, and root, may open it. A request is a line of JSON, and
//! so is each part of the answer; one request for each connection. What is asked is small: `pacs`
//! reads and writes packs itself, beside the server, which only says up to where they do not change
//! any more.

pub mod accounts;
pub mod audit;
pub mod sending;

use crate::access::MaintenanceOnly;
use crate::accounts::Accounts;
use crate::limits::{
    CONTROL_CONNECTIONS_MAX, CONTROL_LINE_BYTES_MAX, CONTROL_REQUEST_BYTES_MAX,
    CONTROL_WAIT_DURATION_MAX,
};
use crate::sending::Sendings;
use crate::upkeep::Upkeep;
use pacs_core::access::{Maintain, permit};
use pacs_core::{Caller, Permit};
use pacs_store::backup::{Document, Made};
use pacs_store::index::Committed;
use pacs_store::registry::Imported;
use pacs_store::registry::devices::Device;
use pacs_store::registry::organisations::Organisation;
use pacs_store::registry::sendings::Sending;
use pacs_store::{Archive, Progress};
use serde::{Deserialize, Serialize};
use std::fs::{File, Permissions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixSocket, UnixStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Its name in the data directory.
const SOCKET: &str = "control.sock";

/// Parts of an answer that wait to be sent.
const WAITING_COUNT: usize = 64;

/// What can be asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Something about accounts.
    Accounts(Box<accounts::Asked>),
    /// Something about the audit trail.
    Audit(audit::Asked),
    /// Make a device what this says.
    Device(Box<Device>),
    /// Make an organisation what this says.
    Organisation(Box<Organisation>),
    /// The documents of the records, then up to where the packs can be copied.
    Point,
    /// A backup was made.
    Made(Made),
    /// Damage may have been repaired.
    Repaired,
    /// Something about sending studies.
    Send(Box<sending::Asked>),
    /// Read everything, and say what is damaged.
    Verify,
}

/// A part of an answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// What became of an account, or an account of a list.
    Accounts(accounts::Told),
    /// Something of the audit trail.
    Audit(Box<audit::Told>),
    /// One document.
    Document(Document),
    /// It was done.
    Done,
    /// It was not done.
    Failed {
        /// Why.
        why: String,
    },
    /// What became of a device or an organisation.
    Imported(Imported),
    /// Up to where the packs can be copied.
    Point(Committed),
    /// A problem that was found.
    Problem(String),
    /// How far the work has come.
    Progress {
        /// Bytes that are behind.
        bytes: u64,
    },
    /// How far a sending is.
    Sending(Box<Sending>),
    /// What was read, at the end.
    Verified {
        /// Versions of the index.
        instances: u64,
        /// Their bytes.
        bytes: u64,
        /// Entries of the log.
        log_entries: u64,
        /// Problems, all of them.
        problems: u64,
    },
}

/// The socket, open.
#[derive(Debug)]
pub struct Door {
    listener: UnixListener,
}

/// A path that fits into the address of a socket, and what has to be kept for it. Such an address
/// has 108 bytes, and data directories may have longer names.
fn socket_path(data: &Path) -> io::Result<(PathBuf, File)> {
    let directory = File::open(data)?;
    let short = format!("/proc/self/fd/{}", directory.as_raw_fd());
    let path = if Path::new(&short).exists() {
        Path::new(&short).join(SOCKET)
    } else {
        data.join(SOCKET)
    };
    Ok((path, directory))
}

impl Door {
    /// Opens the door of the data directory `data`, which is locked.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn open(data: &Path) -> io::Result<Self> {
        let (path, _directory) = socket_path(data)?;
        // Nobody else has the directory: what is there is left over.
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let socket = UnixSocket::new_stream()?;
        socket.bind(&path)?;
        // Nobody is let in before this.
        std::fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        let listener = socket.listen(CONTROL_CONNECTIONS_MAX)?;
        Ok(Self { listener })
    }

    /// Answers until the task is dropped.
    pub(crate) async fn serve(
        self,
        archive: Archive,
        upkeep: Arc<Upkeep>,
        (accounts, sendings): (Accounts, Sendings),
    ) {
        let places = Arc::new(Semaphore::new(CONTROL_CONNECTIONS_MAX as usize));
        let mut connections = JoinSet::new();
        loop {
            // The semaphore is never closed.
            let Ok(place) = Arc::clone(&places).acquire_owned().await else {
                return;
            };
            while connections.try_join_next().is_some() {}
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "control connection could not be accepted");
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                    continue;
                }
            };
            let (archive, upkeep) = (archive.clone(), Arc::clone(&upkeep));
            let people = (accounts.clone(), sendings.clone());
            connections.spawn(async move {
                let _place = place;
                if let Err(error) = answer(stream, &archive, &upkeep, &people).await {
                    tracing::debug!(%error, "control connection ended");
                }
            });
        }
    }
}

/// Whether whoever asks is the user that this process runs as, or root.
fn is_trusted(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream
        .peer_cred()
        .is_ok_and(|peer| peer.uid() == own || peer.uid() == 0)
}

async fn answer(
    mut stream: UnixStream,
    archive: &Archive,
    upkeep: &Upkeep,
    people: &(Accounts, Sendings),
) -> io::Result<()> {
    if !is_trusted(&stream) {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let mut line = Vec::new();
    {
        let mut reader = BufReader::new((&mut stream).take(CONTROL_REQUEST_BYTES_MAX));
        timeout(
            CONTROL_WAIT_DURATION_MAX,
            reader.read_until(b'\n', &mut line),
        )
        .await??;
    }
    let request: Request = serde_json::from_slice(&line)?;
    let permit = permit::<Maintain>(&MaintenanceOnly, Caller::System { task: "control" })
        .map_err(io::Error::other)?;
    let (replies, mut waiting) = mpsc::channel(WAITING_COUNT);
    let work = async {
        let parts = (archive, upkeep, people);
        let last = match work(request, parts, &permit, &replies).await {
            Ok(last) => last,
            Err(error) => Reply::Failed {
                why: crate::tool::failure::chain(&*error),
            },
        };
        replies.send(last).await.ok();
        drop(replies);
    };
    let write = async {
        while let Some(reply) = waiting.recv().await {
            let mut line = serde_json::to_vec(&reply)?;
            line.push(b'\n');
            timeout(CONTROL_WAIT_DURATION_MAX, stream.write_all(&line)).await??;
        }
        stream.shutdown().await
    };
    let ((), written) = tokio::join!(work, write);
    written
}

async fn work(
    request: Request,
    (archive, upkeep, (accounts, sendings)): (&Archive, &Upkeep, &(Accounts, Sendings)),
    permit: &Permit<Maintain>,
    replies: &mpsc::Sender<Reply>,
) -> Result<Reply, Box<dyn std::error::Error + Send + Sync>> {
    match request {
        Request::Accounts(asked) => {
            let told = accounts::answer(accounts, *asked).await?;
            Ok(Reply::Accounts(told))
        }
        Request::Audit(asked) => {
            let told = audit::answer(&archive.registry(), asked).await?;
            Ok(Reply::Audit(Box::new(told)))
        }
        Request::Device(device) => {
            let stored = crate::tool::devices::store(&archive.registry(), &device).await;
            Ok(Reply::Imported(stored?))
        }
        Request::Organisation(organisation) => {
            let licence = crate::tool::organisations::licence()?;
            let registry = archive.registry();
            let imported =
                registry.import_organisation(&licence, &organisation, crate::place::now());
            Ok(Reply::Imported(imported.await?))
        }
        Request::Point => {
            let documents = replies.clone();
            let take = move |kind: &str, record| {
                let document = Reply::Document(Document::new(kind, record));
                // The records are read on a thread that may wait.
                documents.blocking_send(document).is_ok()
            };
            archive.documents(permit, Box::new(take)).await?;
            Ok(Reply::Point(archive.committed(permit).await?))
        }
        Request::Made(made) => {
            archive.note_backup(permit, made).await?;
            upkeep.backup_was_made(made);
            Ok(Reply::Done)
        }
        Request::Repaired => {
            archive.look_again(permit);
            Ok(Reply::Done)
        }
        Request::Send(asked) => {
            let sending = sending::answer(sendings, *asked).await?;
            Ok(Reply::Sending(Box::new(sending)))
        }
        Request::Verify => {
            let told = replies.clone();
            let progress = move |progress: Progress| {
                let bytes = progress.bytes;
                // The next one says more.
                told.try_send(Reply::Progress { bytes }).ok();
            };
            let report = archive.verify(permit, progress).await?;
            for problem in &report.problems {
                let problem = Reply::Problem(format!("{problem:?}"));
                replies.send(problem).await.ok();
            }
            Ok(Reply::Verified {
                instances: report.versions_count,
                bytes: report.bytes,
                log_entries: report.entries_count,
                problems: report.problems_count,
            })
        }
    }
}

/// A request to the server that has a data directory open, and what it answers.
#[derive(Debug)]
pub struct Asked {
    reader: BufReader<UnixStream>,
}

impl Asked {
    /// Asks.
    ///
    /// # Errors
    /// Those of the operating system: [`io::ErrorKind::PermissionDenied`] for other users,
    /// [`io::ErrorKind::ConnectionRefused`] or [`io::ErrorKind::NotFound`] where nobody answers.
    pub async fn new(data: &Path, request: Request) -> io::Result<Self> {
        let (path, _directory) = socket_path(data)?;
        let mut stream = UnixStream::connect(&path).await?;
        let mut line = serde_json::to_vec(&request)?;
        line.push(b'\n');
        stream.write_all(&line).await?;
        Ok(Self {
            reader: BufReader::new(stream),
        })
    }

    /// The next part of the answer; `None` after the last.
    ///
    /// # Errors
    /// Those of the operating system.
    pub async fn next(&mut self) -> io::Result<Option<Reply>> {
        let mut line = Vec::new();
        let mut reader = (&mut self.reader).take(CONTROL_LINE_BYTES_MAX);
        if reader.read_until(b'\n', &mut line).await? == 0 {
            return Ok(None);
        }
        Ok(Some(serde_json::from_slice(&line)?))
    }
}
