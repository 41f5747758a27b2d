//! `cargo xtask`: the only door to the workspace's chores. No other tool is needed first.
//!
//! It decides what is to be run and runs it; it holds no test, no benchmark and no build rule of
//! its own. CONTRIBUTING.md says when to use which command.

mod bench;
mod check;
mod crash;
mod day;
mod edges;
mod fuzz;
mod package;
mod run;
mod setup;
mod upkeep;
mod viewer;

use clap::{Parser, Subcommand};
use run::Workspace;

/// Chores of the workspace.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Debug, Subcommand)]
enum Chore {
    /// Installs what the tests need and says what it does
    Setup(setup::Options),
    /// Builds the server and runs it; what follows is given to it
    Serve {
        /// Arguments of pacs-server
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Runs every check and every test
    Test(check::Options),
    /// Measures the server side by side with its peers
    Bench(bench::Options),
    /// Fuzzes one target, or all of them in turn
    Fuzz(fuzz::Options),
    /// Makes backups under load, loses the archive, restores it and asks for everything
    Drill(upkeep::Drills),
    /// Changes single bits of an archive; every one has to be noticed
    Flip(upkeep::Flips),
    /// Puts old, foreign, rebuilt and no indexes beside archives, and compares every answer
    Indexes(upkeep::Indexes),
    /// Kills the server again and again and asks for everything it acknowledged
    Crash(crash::Options),
    /// Tries the limits at the edges: huge objects, crowds, a full or failing disk, a bad network
    Edges(edges::Options),
    /// Has a day in eleven hospitals: mistyped IDs, wrong patients, broken lines, restarts; an
    /// oracle asks for everything at the end
    SimulateDay(day::Options),
    /// Makes the Debian package; with --try, has an administrator's day with it on bare machines
    Package(package::Options),
}

fn main() -> anyhow::Result<()> {
    let workspace = Workspace::find()?;
    match Arguments::parse().chore {
        Chore::Setup(options) => setup::run(&workspace, &options),
        Chore::Serve { arguments } => serve(&workspace, &arguments),
        Chore::Test(options) => check::run(&workspace, &options),
        Chore::Bench(options) => bench::run(&workspace, &options),
        Chore::Fuzz(options) => fuzz::run(&workspace, &options),
        Chore::Drill(options) => upkeep::drill(&workspace, &options),
        Chore::Flip(options) => upkeep::flip(&workspace, &options),
        Chore::Indexes(options) => upkeep::indexes(&workspace, &options),
        Chore::Crash(options) => crash::run(&workspace, &options),
        Chore::Edges(options) => edges::run(&workspace, &options),
        Chore::SimulateDay(options) => day::run(&workspace, &options),
        Chore::Package(options) => package::run(&workspace, &options),
    }
}

fn serve(workspace: &Workspace, arguments: &[String]) -> anyhow::Result<()> {
    let server = workspace.release_server()?;
    // The server stays in the caller's folder, so that ./pacs-data is where the caller expects it.
    let mut command = std::process::Command::new(server);
    command.args(arguments);
    run::replace_with(&mut command)
}
