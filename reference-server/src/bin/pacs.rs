//! The tool for DICOM archives. `pacs --help` tells its commands; docs/operations.md explains them.

use clap::Parser as _;
use reference_server::tool::exit::Exit;
use reference_server::tool::{self, Cli};
use std::io::Write as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            writeln!(std::io::stderr(), "pacs: no runtime: {error}").ok();
            return Exit::Failed.into();
        }
    };
    runtime.block_on(tool::run(&cli)).into()
}
