//! Worker processes: where frames are decoded by code that hostile bytes may make crash, loop or
//! take all memory.
//!
//! A worker is a program of the embedder's that calls [`run`] when its first argument is
//! [`ARGUMENT`]; the same program as the server will do. It limits its own memory and processor
//! time, reads a frame from its standard input, writes the decoded frame to its standard output,
//! and so on until the input ends. It opens no file, has no environment and no other descriptor.
//!
//! ```no_run
//! use pacs_image::{Decoders, ImageLimits, WorkerCommand, WorkerLimits, WorkerPool, worker};
//!
//! fn main() -> std::process::ExitCode {
//!     if let Some(code) = worker::run_if_asked() {
//!         return code;
//!     }
//!     let command = WorkerCommand::this_program().expect("the path of this program");
//!     let pool = WorkerPool::new(command, WorkerLimits::default());
//!     let decoders = Decoders::with_workers(ImageLimits::default(), pool.into());
//!     // …
//!     std::process::ExitCode::SUCCESS
//! }
//! ```

mod message;
mod pool;

pub use pool::{WorkerCommand, WorkerPool};

use crate::limits::ImageLimits;
use landlock::Scope;
use landlock::{ABI, Access as _, AccessFs, AccessNet, Ruleset, RulesetAttr as _, RulesetError};
use message::{Answer, Operation, Request};
use pacs_core::convert::PixelError;
use rustix::process::{Resource, Rlimit, setrlimit};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufReader, Write as _};
use std::os::fd::AsFd as _;
use std::process::ExitCode;

/// The first argument of a program that is to be a worker.
pub const ARGUMENT: &str = "decode-frames";

/// Runs as a worker if the arguments of this program ask for one, until there are no more frames.
/// To be called before anything else is done.
#[must_use]
pub fn run_if_asked() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    (arguments.next()? == ARGUMENT).then(|| run(arguments))
}

/// Runs as a worker. `arguments` are those behind [`ARGUMENT`]: bytes of memory, and seconds of
/// processor time for each frame.
pub fn run(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let mut numbers = arguments.map(|argument| argument.to_str()?.parse::<u64>().ok());
    let (Some(Some(memory_bytes)), Some(Some(seconds))) = (numbers.next(), numbers.next()) else {
        return ExitCode::from(2);
    };
    match limit(memory_bytes).and_then(|()| serve(seconds)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Gives up what a decoder does not need.
fn limit(memory_bytes: u64) -> io::Result<()> {
    let set = |resource, most: u64| {
        let (current, maximum) = (Some(most), Some(most));
        setrlimit(resource, Rlimit { current, maximum })
    };
    set(Resource::As, memory_bytes)?;
    // A dump would hold pixels.
    set(Resource::Core, 0)?;
    set(Resource::Fsize, 0)?;
    // No more descriptors than there are: input and output, each twice, and errors.
    set(Resource::Nofile, 5)?;
    set(Resource::Nproc, 0)?;
    rustix::thread::set_no_new_privs(true)?;
    // As far as the system knows of it: the limits above hold without it.
    confine().map_err(io::Error::other)
}

/// Gives up the file system, TCP, and signals and sockets of others.
fn confine() -> Result<(), RulesetError> {
    Ruleset::default()
        .handle_access(AccessFs::from_all(ABI::V5))?
        .handle_access(AccessNet::from_all(ABI::V5))?
        .scope(Scope::from_all(ABI::V6))?
        .create()?
        .restrict_self()?;
    Ok(())
}

/// Lets this process run for `seconds` more of processor time; over it the system ends it, even if
/// nobody waits for it any more.
fn limit_time(seconds: u64) -> io::Result<()> {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let used = u64::try_from(used.tv_sec).unwrap_or(0);
    let current = Some(used.saturating_add(seconds).saturating_add(1));
    let maximum = None;
    Ok(setrlimit(Resource::Cpu, Rlimit { current, maximum })?)
}

fn serve(seconds: u64) -> io::Result<()> {
    let input = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut output = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    let mut input = BufReader::new(input);
    let limits = ImageLimits::default();
    let bytes_max = limits
        .encoded_frame_bytes_max
        .max(limits.native_frame_bytes_max);
    while let Some(request) = Request::read(&mut input, bytes_max)? {
        limit_time(seconds)?;
        let (codec, form) = (request.codec, request.form);
        let made = match request.operation {
            Operation::Decode => codec.decode(&form, request.frame),
            Operation::Encode => codec.encode(&form, &request.frame),
        };
        Answer::of(&made).write(&mut output)?;
        if let Ok(frame) = made {
            output.write_all(&frame)?;
        }
    }
    Ok(())
}

/// Processors that this process may use.
pub(crate) fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The error that a worker that is lost stands for.
const fn lost(what: &'static str) -> PixelError {
    PixelError::Worker { what }
}
