//! `pacs`, the tool: the commands of someone who looks after an archive.
//!
//! A command is a module with one `async fn` that takes what was typed and an [`output::Output`],
//! and fails with a [`failure::Failure`], which names the layer and decides the exit code
//! ([`exit::Exit`]).

mod backup;
mod connect;
pub mod exit;
pub mod failure;
mod find;
mod maintain;
mod manual;
pub mod output;
pub mod peer;
mod retrieve;
mod store;
pub mod tls;

use clap::{Args, Parser, Subcommand};
use exit::Exit;
use failure::Failure;
use output::Output;
use pacs_core::AeTitle;
use std::path::PathBuf;
use std::time::Duration;

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
    /// Print what a shell needs to complete command lines
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Verify the connection to a peer (C-ECHO)
    Echo(Connection),
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
    /// Send files, or all files below directories, to a peer (C-STORE)
    Store {
        /// Where to
        #[command(flatten)]
        connection: Connection,
        /// Files and directories
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<PathBuf>,
    },
    /// Read every instance of an archive and compare digests; the server may be running
    Verify(Local),
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
    match command(&cli.command, &output).await {
        Ok(()) => Exit::Done,
        Err(failure) => {
            output.failure(&failure);
            failure.exit()
        }
    }
}

async fn command(command: &Command, output: &Output) -> Result<(), Failure> {
    match command {
        Command::Backup { local, to, check } => backup::backup(local, to, *check, output).await,
        Command::Completions { shell } => {
            manual::completions(*shell);
            Ok(())
        }
        Command::Echo(connection) => find::echo(connection, output).await,
        Command::Find(search) => find::find(search, output).await,
        Command::Get { search, out } => retrieve::get(search, out, output).await,
        Command::Man { directory } => manual::man(directory, output),
        Command::Move { search, to } => retrieve::send_to(search, to, output).await,
        Command::Rebuild(local) => maintain::rebuild(local, output).await,
        Command::Repair { local, from } => backup::repair(local, from, output).await,
        Command::Restore { from, to } => backup::restore(from, to, output).await,
        Command::Store { connection, paths } => store::store(connection, paths, output).await,
        Command::Verify(local) => maintain::verify(local, output).await,
    }
}
