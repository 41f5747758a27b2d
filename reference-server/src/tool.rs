//! `pacs`, the tool: the commands of someone who looks after an archive.
//!
//! A command is a module with one `async fn` that takes what was typed and an [`output::Output`],
//! and fails with a [`failure::Failure`], which names the layer and decides the exit code
//! ([`exit::Exit`]).

mod ae;
mod audit;
mod backup;
pub mod commit;
mod connect;
pub(crate) mod devices;
pub mod exit;
mod export;
pub mod failure;
mod find;
mod gather;
mod import;
mod journal;
mod maintain;
mod manual;
pub mod mpps;
pub(crate) mod organisations;
pub mod output;
mod owner;
pub mod peer;
pub mod person;
mod registering;
mod retrieve;
pub mod send;
mod store;
mod tally;
pub mod tls;
mod token;
mod users;
pub mod worklist;

use crate::limits::{ASSOCIATIONS_MAX, DEPOSITS_MAX};
use clap::{Args, Parser, Subcommand};
use exit::Exit;
use failure::Failure;
use output::Output;
use pacs_core::patient::PatientKey;
use pacs_core::{AeTitle, Phi};
use pacs_store::registry::audit::Anchor;
use std::path::PathBuf;
use std::time::Duration;
pub use users::UsersCommand;

/// The command line of `pacs`.
#[derive(Debug, Parser)]
#[command(name = "pacs", version, about = "Tool for DICOM archives", after_help = Exit::table())]
pub struct Cli {
    /// Print one JSON object a line
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// What the tool can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// The AEs of a configuration, and the way to one of them
    #[command(subcommand)]
    Ae(AeCommand),
    /// The audit trail of an archive; the server may be running
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Copy an archive to a folder, or what came since the last time; the server may be running
    Backup {
        /// The archive
        #[command(flatten)]
        local: Local,
        /// Folder of the backup, made if absent; always the same for one archive
        #[arg(value_name = "FOLDER")]
        to: PathBuf,
        /// Also read everything that was copied before, and compare digests
        #[arg(long)]
        check: bool,
    },
    /// Ask a peer to commit to instances, so that they may be deleted here (storage commitment)
    Commit(commit::Commit),
    /// Print what a shell needs to complete command lines
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// The modalities, workstations and gateways of an archive; the server may be running
    #[command(subcommand)]
    Devices(DevicesCommand),
    /// Verify the connection to a peer (C-ECHO)
    Echo(Connection),
    /// Write what a query names as a file-set with a DICOMDIR, in a folder or in a ZIP archive:
    /// from a peer (C-GET), or from an archive of this machine whose server is stopped
    Export(Exporting),
    /// Search a peer (C-FIND); prints one line for each result
    Find(Search),
    /// Retrieve from a peer over this connection (C-GET)
    Get {
        /// What to retrieve
        #[command(flatten)]
        search: Search,
        /// Directory for the files, made if absent
        #[arg(long, value_name = "DIR", default_value = ".")]
        out: PathBuf,
    },
    /// Take files, folders, ZIP archives, file-sets (DICOMDIR) or an Orthanc storage into an
    /// archive of this machine; the server must be stopped. For a running one: pacs store
    Import(Importing),
    /// Write manual pages
    Man {
        /// Directory for the pages, made if absent
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
    /// Have a peer send instances to another AE (C-MOVE)
    Move {
        /// What to send
        #[command(flatten)]
        search: Search,
        /// AE title of the destination, as the peer knows it
        #[arg(long, value_name = "AE", value_parser = peer::parse_title)]
        to: AeTitle,
    },
    /// Tell a peer of a procedure step, as a console does (Modality Performed Procedure Step)
    #[command(subcommand)]
    Mpps(mpps::Mpps),
    /// The healthcare organisations of an archive; the server may be running
    #[command(subcommand)]
    Organisations(OrganisationsCommand),
    /// Remake the index of an archive from its packs; the server must be stopped
    Rebuild(Local),
    /// Write again what is damaged in an archive, from a backup or another copy of its directory;
    /// the server may be running
    Repair {
        /// The archive
        #[command(flatten)]
        local: Local,
        /// Folder of a backup, or a copy of the data directory
        #[arg(value_name = "FOLDER")]
        from: PathBuf,
    },
    /// Restore a backup to an empty place, and verify it
    Restore {
        /// Folder of the backup
        #[arg(value_name = "FOLDER")]
        from: PathBuf,
        /// Data directory to make
        #[arg(value_name = "DIR")]
        to: PathBuf,
    },
    /// Have the running server of an archive send a study to an AE, in the background
    Send(send::Send),
    /// Send files, folders, ZIP archives, file-sets (DICOMDIR) or an Orthanc storage to a peer
    /// (C-STORE)
    Store(Sending),
    /// The tokens by which clients of DICOMweb are known; the server may be running
    #[command(subcommand)]
    Token(TokenCommand),
    /// The accounts of people; the server may be running
    #[command(subcommand)]
    Users(UsersCommand),
    /// Read every instance of an archive and compare digests; the server may be running
    Verify(Local),
    /// Show the worklist of a peer (C-FIND); prints one line for each step
    Worklist(worklist::Worklist),
}

/// What can be done about devices.
#[derive(Debug, Subcommand)]
pub enum DevicesCommand {
    /// Take in a list of devices: what is new is added, what differs is changed, what is not in the
    /// list stays
    Import {
        /// JSON with an array `devices`
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// The archive
        #[command(flatten)]
        local: Local,
    },
}

/// What can be done about organisations.
#[derive(Debug, Subcommand)]
pub enum OrganisationsCommand {
    /// Take in a list of organisations: what is new is added, what differs is changed, what is not
    /// in the list stays
    Import {
        /// JSON with an array `organisations`
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// The archive
        #[command(flatten)]
        local: Local,
    },
}

/// What can be done about the audit trail.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// List records, newest first; that they were read is one of them
    List(AuditListing),
    /// Read all records, and name the first that is not what it was
    Verify {
        /// A record that was noted elsewhere, as an earlier run printed it
        #[arg(long, value_name = "NUMBER:DIGEST")]
        noted: Option<Anchor>,
        /// File with the public keys (PEM) that must have signed it, as `audit.signing_key` does
        #[arg(long, value_name = "FILE")]
        signed_by: Option<PathBuf>,
        /// The archive
        #[command(flatten)]
        local: Local,
    },
}

/// Which records.
#[derive(Debug, Clone, Args)]
pub struct AuditListing {
    /// About one patient alone: who has looked at their data
    #[arg(long, value_name = "NUMBER", value_parser = audit::parse_patient)]
    pub patient: Option<Phi<PatientKey>>,
    /// Before the record of this number
    #[arg(long, value_name = "NUMBER")]
    pub before: Option<u64>,
    /// How many at most
    #[arg(long, value_name = "N", default_value = "100")]
    pub count: usize,
    /// As DICOM audit messages (PS3.15 A.5), a line each
    #[arg(long)]
    pub message: bool,
    /// The archive
    #[command(flatten)]
    pub local: Local,
}

/// What can be done about tokens.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token, and print its secret this once
    Create {
        /// Name of the client: letters, digits and -_.@
        #[arg(value_name = "NAME")]
        name: String,
        /// What the client may do
        #[arg(long, value_enum, value_delimiter = ',', required = true)]
        scope: Vec<TokenScope>,
        /// For how long: days, hours or minutes, as in 90d, 12h, 30m
        #[arg(long, value_name = "TIME", default_value = "365d", value_parser = token::parse_life)]
        expires: Duration,
        /// Of which studies
        #[command(flatten)]
        sight: TokenSees,
        /// The archive
        #[command(flatten)]
        local: Local,
    },
    /// List the tokens
    List {
        /// The archive
        #[command(flatten)]
        local: Local,
    },
    /// Make a token useless, from the next request on
    Revoke {
        /// Its name
        #[arg(value_name = "NAME")]
        name: String,
        /// The archive
        #[command(flatten)]
        local: Local,
    },
}

/// What the client of a token sees, in an archive that knows organisations: without either,
/// nothing.
#[derive(Debug, Clone, Args)]
pub struct TokenSees {
    /// The studies that this organisation makes, by its code of three digits
    #[arg(long, value_name = "CODE", conflicts_with = "everything",
          value_parser = pacs_core::OrganisationCode::parse)]
    pub organisation: Option<pacs_core::OrganisationCode>,
    /// Every study
    #[arg(long)]
    pub everything: bool,
}

/// What the client of a token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum TokenScope {
    /// Ask for storage commitment
    Commit,
    /// Search (QIDO-RS)
    Find,
    /// Retrieve (WADO-RS)
    Get,
    /// Hide studies
    Hide,
    /// Store (STOW-RS)
    Store,
}

/// What can be done about AEs.
#[derive(Debug, Subcommand)]
pub enum AeCommand {
    /// List the AEs of a configuration
    List(AeListing),
    /// Test the way to an AE layer by layer: name, TCP, TLS, association, context, C-ECHO
    Test(AeTest),
}

/// Whose AEs.
#[derive(Debug, Clone, Args)]
pub struct AeListing {
    /// TOML file with the settings of the server
    #[arg(long, value_name = "FILE", env = "PACS_CONFIG")]
    pub config: PathBuf,
}

/// Which AE.
#[derive(Debug, Clone, Args)]
pub struct AeTest {
    /// A title of the configuration, or `[AE@]HOST:PORT`
    #[arg(value_name = "PEER")]
    pub peer: String,
    /// TOML file with the settings of the server
    #[arg(long, value_name = "FILE", env = "PACS_CONFIG")]
    pub config: Option<PathBuf>,
    /// Our own AE title [default: that of the configuration, if one is given]
    #[arg(long, value_name = "AE", value_parser = peer::parse_title)]
    pub ae_title: Option<AeTitle>,
    /// Seconds to wait for each layer
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = peer::parse_seconds)]
    pub timeout: Duration,
    /// How to connect; an AE of the configuration says so itself
    #[command(flatten)]
    pub tls: tls::TlsArgs,
}

/// What to send, where to, and how.
#[derive(Debug, Clone, Args)]
pub struct Sending {
    /// Where to
    #[command(flatten)]
    pub connection: Connection,
    /// Files and folders
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Associations to send over at once
    #[arg(long, value_name = "N", default_value = "4",
          value_parser = clap::value_parser!(u16).range(1..=i64::from(ASSOCIATIONS_MAX)))]
    pub associations: u16,
    /// File that remembers what was stored, until all is [default: one in the state folder]
    #[arg(long, value_name = "FILE")]
    pub journal: Option<PathBuf>,
    /// Send all, also what an interrupted run has stored
    #[arg(long)]
    pub restart: bool,
    /// File for what is refused and why, one JSON object a line
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
}

/// What to take into an archive.
#[derive(Debug, Clone, Args)]
pub struct Importing {
    /// Files and folders
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Where to
    #[command(flatten)]
    pub local: Local,
    /// Deposits to make at once
    #[arg(long, value_name = "N", default_value = "32",
          value_parser = clap::value_parser!(u16).range(1..=i64::from(DEPOSITS_MAX)))]
    pub deposits: u16,
    /// Read all, also what an interrupted run has imported
    #[arg(long)]
    pub restart: bool,
    /// File for what is refused and why, one JSON object a line
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
}

/// What to export, from where, and to where.
#[derive(Debug, Clone, Args)]
pub struct Exporting {
    /// From which peer, as `[AE@]HOST:PORT`; without one, from the archive in --data
    #[arg(value_name = "PEER", value_parser = peer::Peer::parse)]
    pub peer: Option<peer::Peer>,
    /// Our own AE title
    #[arg(long, value_name = "AE", default_value = "PACS_TOOL", value_parser = peer::parse_title)]
    pub ae_title: AeTitle,
    /// Seconds to wait for the connection and for each answer
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = peer::parse_seconds)]
    pub timeout: Duration,
    /// From which archive
    #[command(flatten)]
    pub local: Local,
    /// What
    #[command(flatten)]
    pub wanted: Wanted,
    /// Folder for the file-set, or with --zip the archive; there may be none there yet
    #[arg(long, value_name = "PATH")]
    pub out: PathBuf,
    /// Write a ZIP archive
    #[arg(long)]
    pub zip: bool,
    /// Write data sets of the archive as they are stored, whatever the registry knows of them
    #[arg(long, conflicts_with = "peer")]
    pub as_stored: bool,
    /// File-set ID: up to 16 letters, digits and underscores
    #[arg(long, value_name = "LABEL")]
    pub label: Option<String>,
    /// As whom
    #[command(flatten)]
    pub person: person::PersonArgs,
    /// TLS
    #[command(flatten)]
    pub tls: tls::TlsArgs,
}

/// A peer and how to call it.
#[derive(Debug, Clone, Args)]
pub struct Connection {
    /// The peer, as `[AE@]HOST:PORT`; without AE its title is ANY-SCP
    #[arg(value_name = "PEER", value_parser = peer::Peer::parse)]
    pub peer: peer::Peer,
    /// Our own AE title
    #[arg(long, value_name = "AE", default_value = "PACS_TOOL", value_parser = peer::parse_title)]
    pub ae_title: AeTitle,
    /// Seconds to wait for the connection and for each answer
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = peer::parse_seconds)]
    pub timeout: Duration,
    /// As whom
    #[command(flatten)]
    pub person: person::PersonArgs,
    /// TLS
    #[command(flatten)]
    pub tls: tls::TlsArgs,
}

/// What to look for at a peer.
#[derive(Debug, Clone, Args)]
pub struct Search {
    /// Whom to ask
    #[command(flatten)]
    pub connection: Connection,
    /// What for
    #[command(flatten)]
    pub wanted: Wanted,
}

/// What is wanted.
#[derive(Debug, Clone, Args)]
pub struct Wanted {
    /// Query/retrieve level
    #[arg(long, value_enum, default_value = "study")]
    pub level: peer::LevelName,
    /// A key, as KEYWORD=VALUE or GGGG,EEEE=VALUE; without value it is only returned
    #[arg(short, long = "key", value_name = "KEY", value_parser = peer::QueryKey::parse)]
    pub keys: Vec<peer::QueryKey>,
    /// Ask in the Patient Root model instead of Study Root
    #[arg(long)]
    pub patient_root: bool,
}

/// An archive on this machine.
#[derive(Debug, Clone, Args)]
pub struct Local {
    /// Directory of the archive
    #[arg(
        long,
        value_name = "DIR",
        env = "PACS_DATA",
        default_value = "./pacs-data"
    )]
    pub data: PathBuf,
}

/// Does what the command line says. Results go to standard output, problems and the failure to
/// standard error.
pub async fn run(cli: &Cli) -> Exit {
    let output = Output::new(cli.json);
    let done = command(&cli.command, &output).await;
    // Also where it failed: what it has made must not keep the server from starting.
    let done = done.and(owner::restore_owners(&cli.command));
    match done {
        Ok(()) => Exit::Done,
        Err(failure) => {
            output.failure(&failure);
            failure.exit()
        }
    }
}

async fn command(command: &Command, output: &Output) -> Result<(), Failure> {
    match command {
        Command::Ae(AeCommand::List(listing)) => ae::list(listing, output),
        Command::Ae(AeCommand::Test(test)) => ae::test(test, output).await,
        Command::Audit(command) => audit::audit(command, output).await,
        Command::Backup { local, to, check } => backup::backup(local, to, *check, output).await,
        Command::Commit(commit) => commit::commit(commit, output).await,
        Command::Completions { shell } => {
            manual::completions(*shell, output);
            Ok(())
        }
        Command::Devices(command) => devices::devices(command, output).await,
        Command::Echo(connection) => find::echo(connection, output).await,
        Command::Export(exporting) => export::export(exporting, output).await,
        Command::Find(search) => find::find(search, output).await,
        Command::Get { search, out } => retrieve::get(search, out, output).await,
        Command::Import(importing) => import::import(importing, output).await,
        Command::Man { directory } => manual::man(directory, output),
        Command::Move { search, to } => retrieve::send_to(search, to, output).await,
        Command::Mpps(mpps) => mpps::mpps(mpps, output).await,
        Command::Organisations(command) => organisations::organisations(command, output).await,
        Command::Rebuild(local) => maintain::rebuild(local, output).await,
        Command::Repair { local, from } => backup::repair(local, from, output).await,
        Command::Restore { from, to } => backup::restore(from, to, output).await,
        Command::Send(send) => send::send(send, output).await,
        Command::Store(sending) => store::store(sending, output).await,
        Command::Token(command) => token::token(command, output).await,
        Command::Users(command) => users::users(command, output).await,
        Command::Verify(local) => maintain::verify(local, output).await,
        Command::Worklist(worklist) => worklist::worklist(worklist, output).await,
    }
}
