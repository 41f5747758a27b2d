//! A worker process on its own, for programs that do not want to be their own workers.

use std::process::ExitCode;

fn main() -> ExitCode {
    pacs_image::worker::run_if_asked().unwrap_or(ExitCode::from(2))
}
