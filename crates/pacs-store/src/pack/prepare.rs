//! Work on packs that no reply waits for: the next pack, zeros ahead of the tail, sealing, removal.
//!
//! A sync of bytes that lie in blocks already written to costs half of one that also has to make
//! blocks the file's own, so zeros are written ahead of the tail: as much as came in since the
//! archive was opened, and to the end of the next pack once the current one is half full. They say
//! nothing: zeros end a tar.

use super::name::{DIRECTORY, PackName};
use super::read;
use crate::disk::{Disk, DiskFile, OpenHow};
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;

/// Zeros written and synced at a time: what a commit may have to wait for.
const STEP_BYTES: usize = 2 << 20;

static ZEROS: [u8; STEP_BYTES] = [0; STEP_BYTES];

/// A log pack, and how far it is filled with zeros.
#[derive(Debug)]
pub(crate) struct LogPack {
    pub(crate) number: u64,
    pub(crate) file: Arc<dyn DiskFile>,
    state: Mutex<FillState>,
    changed: Condvar,
}

#[derive(Debug)]
struct FillState {
    /// Up to here the file has been written to, by anyone.
    filled: u64,
    /// Up to here zeros are being written; equal to `filled` when none are.
    claimed: u64,
    /// Up to here zeros are wanted.
    wanted: u64,
    /// Whether the thread knows that they are.
    is_queued: bool,
}

impl LogPack {
    pub(crate) fn new(number: u64, file: Arc<dyn DiskFile>, tail: u64) -> Self {
        Self {
            number,
            file,
            state: Mutex::new(FillState {
                filled: tail,
                claimed: tail,
                wanted: tail,
                is_queued: false,
            }),
            changed: Condvar::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, FillState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// To be called before anything is written up to `end`: no zeros will come there from then on.
    pub(crate) fn claim(&self, end: u64) {
        let mut state = self.state();
        while end > state.filled && state.claimed > state.filled {
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        state.filled = state.filled.max(end);
        state.claimed = state.claimed.max(end);
    }

    /// To be called after the file was cut at `tail`.
    pub(crate) fn was_cut(&self, tail: u64) {
        let mut state = self.state();
        state.filled = tail;
        state.claimed = tail;
        state.wanted = tail;
    }

    /// Whether the thread has to be told that zeros are wanted up to `wanted`.
    fn want(&self, wanted: u64) -> bool {
        let mut state = self.state();
        state.wanted = state.wanted.max(wanted);
        let tell =
            !state.is_queued && state.wanted >= state.filled.saturating_add(STEP_BYTES as u64);
        state.is_queued |= tell;
        tell
    }

    /// No more zeros; returns when none are being written.
    pub(crate) fn stop_filling(&self) {
        let mut state = self.state();
        state.wanted = 0;
        while state.claimed > state.filled {
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Writes zeros as far as they are wanted, through a handle of its own: an error that the
    /// system reports once for each handle must not be taken from the commits.
    fn fill(&self, disk: &dyn Disk) -> io::Result<()> {
        let file = disk.open(&PackName::Log(self.number).path(), OpenHow::ReadWrite)?;
        loop {
            let (from, to) = {
                let mut state = self.state();
                let to = state
                    .wanted
                    .min(state.filled.saturating_add(STEP_BYTES as u64));
                if to <= state.filled {
                    state.is_queued = false;
                    return Ok(());
                }
                state.claimed = to;
                (state.filled, to)
            };
            let length = usize::try_from(to - from).unwrap_or(0);
            let zeros = ZEROS.get(..length).unwrap_or(&ZEROS);
            let result = file.write_at(zeros, from).and_then(|()| file.sync_data());
            let mut state = self.state();
            // After an error the zeros may be there or not; either way the tail is written over
            // them.
            state.filled = to;
            state.claimed = to;
            if result.is_err() {
                // `is_queued` stays, so that nobody asks again.
                state.wanted = 0;
            }
            drop(state);
            self.changed.notify_all();
            result?;
        }
    }
}

/// Why there is no new pack.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CreateError {
    /// It could not be made; another attempt may succeed.
    #[error("pack could not be made")]
    Refused(#[source] io::Error),
    /// Nobody knows whether its name is durable.
    #[error("name of a pack could not be made durable")]
    Unknown(#[source] io::Error),
}

impl From<CreateError> for io::Error {
    fn from(error: CreateError) -> Self {
        match error {
            CreateError::Refused(error) | CreateError::Unknown(error) => error,
        }
    }
}

/// A pack that is being made.
pub(crate) type Next = mpsc::Receiver<Result<Arc<LogPack>, CreateError>>;

enum Job {
    Create {
        number: u64,
        fill_to: u64,
        reply: mpsc::Sender<Result<Arc<LogPack>, CreateError>>,
    },
    Fill(Arc<LogPack>),
    Remove(PackName),
    Seal {
        pack: Arc<LogPack>,
        tail: u64,
    },
    Stop,
}

/// The thread, and what it is asked by.
#[derive(Debug)]
pub(crate) struct Preparer {
    jobs: mpsc::Sender<Job>,
    thread: Option<JoinHandle<()>>,
}

/// Asks the thread to remove packs.
#[derive(Debug, Clone)]
pub(crate) struct Remover(mpsc::Sender<Job>);

impl Remover {
    pub(crate) fn remove(&self, name: PackName) {
        // Where the thread is gone the archive is closed, and the next one to open it removes the
        // file.
        self.0.send(Job::Remove(name)).ok();
    }
}

impl Preparer {
    pub(crate) fn start(disk: Arc<dyn Disk>) -> io::Result<Self> {
        let (jobs, queue) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("pacs-prepare".to_owned())
            .spawn(move || {
                while let Ok(job) = queue.recv() {
                    if matches!(job, Job::Stop) {
                        break;
                    }
                    run(&*disk, job);
                }
            })?;
        Ok(Self {
            jobs,
            thread: Some(thread),
        })
    }

    pub(crate) fn remover(&self) -> Remover {
        Remover(self.jobs.clone())
    }

    /// Asks for a new log pack; the result comes when its name is durable, zeros up to `fill_to`
    /// after that.
    pub(crate) fn create(&self, number: u64, fill_to: u64) -> Next {
        let (reply, result) = mpsc::channel();
        self.jobs
            .send(Job::Create {
                number,
                fill_to,
                reply,
            })
            .ok();
        result
    }

    /// Asks for zeros up to `wanted`.
    pub(crate) fn fill(&self, pack: &Arc<LogPack>, wanted: u64) {
        if pack.want(wanted) {
            self.jobs.send(Job::Fill(Arc::clone(pack))).ok();
        }
    }

    /// Asks for the end of a pack that is not written to any more.
    pub(crate) fn seal(&self, pack: Arc<LogPack>, tail: u64) {
        pack.stop_filling();
        self.jobs.send(Job::Seal { pack, tail }).ok();
    }
}

impl Drop for Preparer {
    fn drop(&mut self) {
        self.jobs.send(Job::Stop).ok();
        if let Some(thread) = self.thread.take() {
            // The thread does not panic; were it so, its work is not needed.
            thread.join().ok();
        }
    }
}

fn run(disk: &dyn Disk, job: Job) {
    let result = match job {
        Job::Create {
            number,
            fill_to,
            reply,
        } => {
            let pack = create(disk, number);
            let filler = pack.as_ref().ok().map(Arc::clone);
            // Nobody may want it any more.
            reply.send(pack).ok();
            match filler.filter(|pack| pack.want(fill_to)) {
                Some(pack) => pack.fill(disk),
                None => Ok(()),
            }
        }
        Job::Fill(pack) => pack.fill(disk),
        Job::Remove(name) => disk.remove(&name.path()),
        Job::Seal { pack, tail } => seal(&*pack.file, tail),
        Job::Stop => Ok(()),
    };
    if let Err(error) = result {
        // No reply depends on any of this, and the commits see for themselves what the disk does.
        tracing::warn!(%error, "work ahead on packs failed");
    }
}

/// A new log pack with a durable name. An empty one that an attempt before this left is taken.
pub(crate) fn create(disk: &dyn Disk, number: u64) -> Result<Arc<LogPack>, CreateError> {
    let name = PackName::Log(number).path();
    let file = match disk.open(&name, OpenHow::CreateNew) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            reuse(disk, &name).map_err(CreateError::Refused)?
        }
        other => other.map_err(CreateError::Refused)?,
    };
    disk.sync_directory(DIRECTORY)
        .map_err(CreateError::Unknown)?;
    Ok(Arc::new(LogPack::new(number, file, 0)))
}

/// A pack that is there and has nothing in it but zeros, cut to nothing.
fn reuse(disk: &dyn Disk, name: &str) -> io::Result<Arc<dyn DiskFile>> {
    let file = disk.open(name, OpenHow::ReadWrite)?;
    if !read::is_zero_from(&*file, 0)? {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    file.set_length(0)?;
    file.sync_data()?;
    Ok(file)
}

/// Two blocks of zeros end a tar (POSIX.1-2017, pax).
pub(crate) const END_BYTES: u64 = 2 * super::tar::BLOCK as u64;

/// Ends a pack after `tail`.
pub(crate) fn seal(file: &dyn DiskFile, tail: u64) -> io::Result<()> {
    file.set_length(tail)?;
    file.set_length(tail.saturating_add(END_BYTES))?;
    file.sync_data()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::OsDisk;

    #[test]
    fn zeros_come_ahead_of_what_is_written_and_never_over_it() {
        let directory = tempfile::tempdir().unwrap();
        let disk: Arc<dyn Disk> = Arc::new(OsDisk::open(directory.path()).unwrap());
        disk.create_directory(DIRECTORY).unwrap();
        let preparer = Preparer::start(Arc::clone(&disk)).unwrap();
        let fill_to = 9 << 20;

        let pack = preparer.create(1, fill_to).recv().unwrap().unwrap();
        // Written while zeros are, in pieces that do not fit the steps.
        let piece = vec![7; 300_001];
        for number in 0..10 {
            let at = number * piece.len() as u64;
            pack.claim(at + piece.len() as u64);
            pack.file.write_at(&piece, at).unwrap();
        }
        drop(preparer);

        let length = pack.file.length_bytes().unwrap();
        assert!(
            length > fill_to - STEP_BYTES as u64 && length <= fill_to,
            "{length}"
        );
        let bytes = pack
            .file
            .read_vec(0, usize::try_from(length).unwrap())
            .unwrap();
        let (written, zeros) = bytes.split_at(10 * piece.len());
        assert!(written.iter().all(|byte| *byte == 7));
        assert!(zeros.iter().all(|byte| *byte == 0));
    }

    #[test]
    fn a_pack_that_is_there_is_taken_only_where_it_has_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let disk = OsDisk::open(directory.path()).unwrap();
        disk.create_directory(DIRECTORY).unwrap();
        let first = create(&disk, 2).unwrap();
        first.file.write_at(&[0; 5_000], 0).unwrap();

        let again = create(&disk, 2).unwrap();
        assert_eq!(again.file.length_bytes().unwrap(), 0);
        again.file.write_at(&[7; 5], 2_000).unwrap();
        let error = create(&disk, 2).unwrap_err();

        assert!(matches!(error, CreateError::Refused(_)), "{error:?}");
        assert_eq!(again.file.length_bytes().unwrap(), 2_005);
    }

    #[test]
    fn a_sealed_pack_ends_with_two_blocks_of_zeros_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let disk: Arc<dyn Disk> = Arc::new(OsDisk::open(directory.path()).unwrap());
        disk.create_directory(DIRECTORY).unwrap();
        let pack = create(&*disk, 1).unwrap();
        pack.file.write_at(&[7; 5_000], 0).unwrap();

        seal(&*pack.file, 512).unwrap();

        let mut expected = vec![7; 512];
        expected.resize(1_536, 0);
        assert_eq!(pack.file.length_bytes().unwrap(), 1_536);
        assert_eq!(pack.file.read_vec(0, 1_536).unwrap(), expected);
    }
}
