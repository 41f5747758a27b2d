//! The pool: starts workers, gives each a frame at a time, and ends those that fail.

use super::message::{ANSWER_BYTES, Answer, Operation, Request};
use super::{ARGUMENT, lost};
use crate::codec::Codec;
use crate::limits::WorkerLimits;
use pacs_core::convert::{PixelError, PixelForm};
use std::ffi::OsString;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Instant;

/// Bytes of an answer that are read at a time.
const PIECE_BYTES: usize = 1 << 20;

/// The program that workers run: see [`super::run`].
#[derive(Debug, Clone)]
pub struct WorkerCommand {
    program: PathBuf,
    arguments: Vec<OsString>,
}

impl WorkerCommand {
    /// A program, and what it needs to be told before [`ARGUMENT`].
    #[must_use]
    pub const fn new(program: PathBuf, arguments: Vec<OsString>) -> Self {
        Self { program, arguments }
    }

    /// The program that this process runs, whose `main` calls [`super::run_if_asked`].
    ///
    /// # Errors
    /// Its path is not known.
    pub fn this_program() -> io::Result<Self> {
        let running = PathBuf::from("/proc/self/exe");
        // This one stays right when the file is replaced while it runs.
        let program = if running.exists() {
            running
        } else {
            std::env::current_exe()?
        };
        Ok(Self::new(program, Vec::new()))
    }
}

/// A bounded number of worker processes. Dropping it ends them.
#[derive(Debug)]
pub struct WorkerPool {
    command: WorkerCommand,
    limits: WorkerLimits,
    state: Mutex<State>,
    freed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    idle: Vec<Worker>,
    /// Workers with a frame, or being started.
    busy: usize,
    lost: u64,
}

/// A process, and its input and output.
#[derive(Debug)]
struct Worker {
    child: Child,
    stream: UnixStream,
    frames: u32,
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _killed = self.child.kill();
        let _status = self.child.wait();
    }
}

/// Gives the place of a worker back, whatever becomes of it.
struct Place<'a>(&'a WorkerPool);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.busy = state.busy.saturating_sub(1);
        drop(state);
        self.0.freed.notify_one();
    }
}

impl WorkerPool {
    /// No process is started before a frame needs one.
    #[must_use]
    pub fn new(command: WorkerCommand, limits: WorkerLimits) -> Self {
        Self {
            command,
            limits,
            state: Mutex::default(),
            freed: Condvar::new(),
        }
    }

    /// Workers that were killed, crashed, took too long or gave nonsense since the beginning.
    #[must_use]
    pub fn lost_count(&self) -> u64 {
        self.state().lost
    }

    fn count_lost(&self) {
        let mut state = self.state();
        state.lost = state.lost.saturating_add(1);
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decodes a frame in a worker. Blocks.
    pub(crate) fn decode(
        &self,
        codec: Codec,
        form: &PixelForm,
        encoded: &[u8],
    ) -> Result<Vec<u8>, PixelError> {
        self.run(Operation::Decode, codec, form, encoded)
    }

    /// Encodes a native frame in a worker. Blocks.
    pub(crate) fn encode(
        &self,
        codec: Codec,
        form: &PixelForm,
        native: &[u8],
    ) -> Result<Vec<u8>, PixelError> {
        self.run(Operation::Encode, codec, form, native)
    }

    fn run(
        &self,
        operation: Operation,
        codec: Codec,
        form: &PixelForm,
        frame: &[u8],
    ) -> Result<Vec<u8>, PixelError> {
        let (place, mut idle) = self.place()?;
        if let Some(worker) = &mut idle
            && !worker.is_alive()
        {
            // Killed while it had nothing to do: no frame is to blame, and none pays for it.
            self.count_lost();
            idle = None;
        }
        let worker = match idle {
            Some(worker) => Ok(worker),
            None => self.start(),
        };
        let mut worker = worker.map_err(|_error| lost("cannot be started"))?;
        let deadline = Instant::now().checked_add(self.limits.frame_duration_max);
        let header = Request::header(operation, codec, form, frame);
        let answered = worker.run((operation, form), &header, frame, deadline);
        if let Err(Failure::Lost(_)) = answered {
            self.count_lost();
        } else if worker.frames < self.limits.frames_max {
            self.state().idle.push(worker);
        }
        drop(place);
        answered.map_err(|failure| match failure {
            Failure::Lost(what) => lost(what),
            Failure::Refused(error) => error,
        })
    }

    /// Waits for a place, and takes a worker that is idle.
    fn place(&self) -> Result<(Place<'_>, Option<Worker>), PixelError> {
        let most = self.limits.workers_max.max(1);
        let wait = self.limits.queue_duration_max;
        let is_full = |state: &mut State| state.busy >= most;
        let (mut state, waited) = self
            .freed
            .wait_timeout_while(self.state(), wait, is_full)
            .unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() {
            return Err(lost("is busy with other frames"));
        }
        state.busy = state.busy.saturating_add(1);
        let idle = state.idle.pop();
        drop(state);
        Ok((Place(self), idle))
    }

    fn start(&self) -> io::Result<Worker> {
        let (stream, theirs) = UnixStream::pair()?;
        let theirs = OwnedFd::from(theirs);
        let seconds = self.limits.frame_duration_max.as_secs().max(1);
        let child = Command::new(&self.command.program)
            .args(&self.command.arguments)
            .arg(ARGUMENT)
            .arg(self.limits.memory_bytes_max.to_string())
            .arg(seconds.to_string())
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(theirs.try_clone()?))
            .stdout(Stdio::from(theirs))
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Worker {
            child,
            stream,
            frames: 0,
        })
    }
}

/// Why there is no frame.
enum Failure {
    /// The worker is of no more use.
    Lost(&'static str),
    /// The decoder refused the frame.
    Refused(PixelError),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        let timed_out = [io::ErrorKind::WouldBlock, io::ErrorKind::TimedOut];
        Self::Lost(if timed_out.contains(&error.kind()) {
            "took too long"
        } else {
            "ended in the middle of a frame"
        })
    }
}

impl Worker {
    /// Whether its process runs.
    fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    fn run(
        &mut self,
        (operation, form): (Operation, &PixelForm),
        header: &[u8],
        frame: &[u8],
        deadline: Option<Instant>,
    ) -> Result<Vec<u8>, Failure> {
        self.frames = self.frames.saturating_add(1);
        self.write(header, deadline)?;
        self.write(frame, deadline)?;
        let mut answer = [0; ANSWER_BYTES];
        self.read(&mut answer, deadline)?;
        match Answer::read(&answer) {
            Some(Answer::Decoded { length_bytes }) => {
                let native_bytes = form.frame_bits().div_ceil(8);
                let is_possible = match operation {
                    // Nothing else is a native frame of this form.
                    Operation::Decode => length_bytes == native_bytes,
                    Operation::Encode => length_bytes <= encoded_bytes_max(native_bytes),
                };
                if !is_possible {
                    return Err(Failure::Lost("gave a frame of another size"));
                }
                let length = usize::try_from(length_bytes).unwrap_or(usize::MAX);
                let mut frame = vec![0; length];
                for piece in frame.chunks_mut(PIECE_BYTES) {
                    self.read(piece, deadline)?;
                }
                Ok(frame)
            }
            Some(Answer::Damaged) => {
                let what = "a code stream that cannot be decoded";
                Err(Failure::Refused(PixelError::Damaged { what }))
            }
            Some(Answer::Unsupported) => {
                let what = "a code stream of a kind that is not decoded";
                Err(Failure::Refused(PixelError::Unsupported { what }))
            }
            None => Err(Failure::Lost("gave no answer")),
        }
    }

    fn write(&mut self, mut bytes: &[u8], deadline: Option<Instant>) -> Result<(), Failure> {
        while !bytes.is_empty() {
            self.stream.set_write_timeout(Some(left(deadline)?))?;
            match self.stream.write(bytes) {
                Ok(0) => return Err(Failure::Lost("ended in the middle of a frame")),
                Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn read(&mut self, mut bytes: &mut [u8], deadline: Option<Instant>) -> Result<(), Failure> {
        while !bytes.is_empty() {
            self.stream.set_read_timeout(Some(left(deadline)?))?;
            match self.stream.read(bytes) {
                Ok(0) => return Err(Failure::Lost("ended in the middle of a frame")),
                Ok(count) => bytes = bytes.get_mut(count..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// Bytes that an encoder makes of a frame at most: half as much again, and headers.
const fn encoded_bytes_max(native_bytes: u64) -> u64 {
    native_bytes
        .saturating_add(native_bytes / 2)
        .saturating_add(64 << 10)
}

/// What is left of the time.
fn left(deadline: Option<Instant>) -> Result<std::time::Duration, Failure> {
    let left = deadline.and_then(|at| at.checked_duration_since(Instant::now()));
    left.filter(|left| !left.is_zero())
        .ok_or(Failure::Lost("took too long"))
}
