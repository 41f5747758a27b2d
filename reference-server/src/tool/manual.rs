//! `pacs completions` and `pacs man`: what a shell and `man` want to know, made from the command
//! lines themselves.

use super::Cli;
use super::failure::Failure;
use super::output::Output;
use crate::config;
use clap::CommandFactory as _;
use clap_complete::Shell;
use std::path::Path;

/// Prints the completion script of `shell`; as JSON, it stands in one result.
pub(super) fn completions(shell: Shell, output: &Output) {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "pacs", &mut script);
    let script = String::from_utf8_lossy(&script);
    let value = serde_json::json!({ "shell": shell.to_string(), "script": script });
    output.result(script.trim_end(), &value);
}

/// Writes one manual page for each command, and that of the server, into `directory`.
pub(super) fn man(directory: &Path, output: &Output) -> Result<(), Failure> {
    std::fs::create_dir_all(directory).map_err(|error| Failure::file(directory, error))?;
    let mut count = 0;
    for command in [Cli::command(), config::Options::command()] {
        count += write(command.disable_help_subcommand(true), "", directory, output)?;
    }
    let text = format!("{count} pages in {}", directory.display());
    output.summary(&text, &serde_json::json!({ "pages": count }));
    Ok(())
}

/// The page of `command`, and those of the commands below it; how many that were.
fn write(
    command: clap::Command,
    above: &str,
    directory: &Path,
    output: &Output,
) -> Result<usize, Failure> {
    let name = if above.is_empty() {
        command.get_name().to_owned()
    } else {
        format!("{above}-{}", command.get_name())
    };
    let mut command = command
        .display_name(name.clone())
        .bin_name(name.replace('-', " "));
    if name == "pacs-server" {
        command = command.bin_name(name.clone());
    }
    command.build();
    let mut count = 1;
    for below in command.get_subcommands() {
        count += write(below.clone(), &name, directory, output)?;
    }
    let path = directory.join(format!("{name}.1"));
    let mut page = Vec::new();
    clap_mangen::Man::new(command)
        .render(&mut page)
        .and_then(|()| std::fs::write(&path, page))
        .map_err(|error| Failure::file(&path, error))?;
    let text = path.display().to_string();
    output.result("", &serde_json::json!({ "path": text }));
    Ok(count)
}
