//! `pacs store`: files, or all files below folders, to a peer.

use super::Connection;
use super::failure::Failure;
use super::output::Output;
use async_trait::async_trait;
use bytes::Bytes;
use pacs_core::instance::InstanceError;
use pacs_core::limits::ScanLimits;
use pacs_core::scan::file::{self, FileForm};
use pacs_core::scan::{HeadReader, HeadState};
use pacs_core::{Instance, SopClassUid, TransferSyntaxUid};
use pacs_net::requestor::{RequestorError, StoreResponse};
use pacs_net::service::{DataSetSource, OutgoingInstance, SourceError, SubOperations};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

/// Presentation contexts of one association, PS3.8 9.3.2.2.
const CONTEXTS_MAX: usize = 128;

/// Bytes read at once.
const CHUNK_BYTES: usize = 1 << 20;

/// Folders within folders.
const DEPTH_MAX: usize = 64;

/// A file that can be sent.
#[derive(Debug, Clone)]
struct Sendable {
    path: PathBuf,
    form: FileForm,
    instance: Instance,
    length_bytes: u64,
}

/// What became of the files.
#[derive(Debug, Clone)]
struct Tally {
    stored_count: usize,
    failed_count: usize,
    output: Output,
}

pub(super) async fn store(
    connection: &Connection,
    paths: &[PathBuf],
    output: &Output,
) -> Result<(), Failure> {
    let mut tally = Tally {
        stored_count: 0,
        failed_count: 0,
        output: output.clone(),
    };
    let mut files = Vec::new();
    for path in paths {
        gather(path, 0, &mut files, &mut tally);
    }
    let mut sendable = Vec::new();
    for path in files {
        match inspect(&path) {
            Ok(file) => sendable.push(file),
            Err(failure) => tally.fail(&failure),
        }
    }
    let all_count = tally.failed_count + sendable.len();
    let mut sent = Ok(());
    for (kinds, files) in associations(sendable) {
        sent = send(connection, &kinds, files, &mut tally).await;
        if sent.is_err() {
            break;
        }
    }
    // What an association that was lost did not come to.
    tally.failed_count = all_count - tally.stored_count;
    let (stored, failed) = (tally.stored_count, tally.failed_count);
    let value = serde_json::json!({ "stored": stored, "failed": failed });
    output.summary(&format!("{stored} stored, {failed} failed"), &value);
    sent?;
    if tally.failed_count == 0 {
        return Ok(());
    }
    Err(Failure::Partly(format!(
        "{} files were not stored",
        tally.failed_count
    )))
}

impl Tally {
    fn fail(&mut self, failure: &Failure) {
        self.failed_count += 1;
        let text = failure.to_string();
        self.output
            .problem(&text, &serde_json::json!({ "why": text }));
    }
}

/// All files at or below `path`, in order of their names; links are not followed. What cannot be
/// read is told and counted.
fn gather(path: &Path, depth: usize, files: &mut Vec<PathBuf>, tally: &mut Tally) {
    let meta = if depth == 0 {
        path.metadata()
    } else {
        path.symlink_metadata()
    };
    let meta = match meta {
        Ok(meta) => meta,
        Err(error) => return tally.fail(&Failure::file(path, error)),
    };
    if meta.is_file() {
        files.push(path.to_owned());
    }
    if !meta.is_dir() {
        return;
    }
    if depth >= DEPTH_MAX {
        return tally.fail(&Failure::file(path, "folders are nested too deeply"));
    }
    let names: std::io::Result<Vec<PathBuf>> = std::fs::read_dir(path)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
    match names {
        Ok(mut names) => {
            names.sort();
            for name in names {
                gather(&name, depth + 1, files, tally);
            }
        }
        Err(error) => tally.fail(&Failure::file(path, error)),
    }
}

/// Reads the head of a file: what it is, and where its data set stands.
fn inspect(path: &Path) -> Result<Sendable, Failure> {
    let fail = |error: std::io::Error| Failure::file(path, error);
    let mut opened = File::open(path).map_err(fail)?;
    let file_bytes = opened.metadata().map_err(fail)?.len();
    let mut beginning = Vec::new();
    opened
        .by_ref()
        .take(CHUNK_BYTES as u64)
        .read_to_end(&mut beginning)
        .map_err(fail)?;
    let form = file::read(&beginning).map_err(|error| Failure::file(path, error))?;
    let mut head = HeadReader::new(&form.transfer_syntax, &ScanLimits::default());
    let no_instance = |error: InstanceError| Failure::file(path, error);
    let mut state = head
        .push(beginning.get(form.data_set.start..).unwrap_or_default())
        .map_err(|error| no_instance(error.into()))?;
    let mut chunk = vec![0; CHUNK_BYTES];
    while state == HeadState::NeedMore {
        let length = opened.read(&mut chunk).map_err(fail)?;
        if length == 0 {
            break;
        }
        state = head
            .push(chunk.get(..length).unwrap_or_default())
            .map_err(|error| no_instance(error.into()))?;
    }
    let instance = head.finish().map_err(no_instance)?;
    let length_bytes = file_bytes.saturating_sub(form.data_set.start as u64);
    Ok(Sendable {
        path: path.to_owned(),
        form,
        instance,
        length_bytes,
    })
}

type Kind = (SopClassUid, TransferSyntaxUid);

/// Shares the files out to associations, so that each needs no more contexts than there are.
fn associations(files: Vec<Sendable>) -> Vec<(Vec<Kind>, Vec<Sendable>)> {
    let mut by_kind: BTreeMap<Kind, Vec<Sendable>> = BTreeMap::new();
    for file in files {
        let kind = (
            file.instance.sop_class.clone(),
            file.form.transfer_syntax.clone(),
        );
        by_kind.entry(kind).or_default().push(file);
    }
    let kinds: Vec<_> = by_kind.into_iter().collect();
    kinds
        .chunks(CONTEXTS_MAX)
        .map(|chunk| {
            let of_chunk = chunk.iter().map(|(kind, _)| kind.clone()).collect();
            (
                of_chunk,
                chunk.iter().flat_map(|(_, files)| files.clone()).collect(),
            )
        })
        .collect()
}

async fn send(
    connection: &Connection,
    kinds: &[Kind],
    files: Vec<Sendable>,
    tally: &mut Tally,
) -> Result<(), Failure> {
    let mut builder = connection.builder();
    for (class, transfer_syntax) in kinds {
        builder = builder.context(class.as_str(), &[transfer_syntax.as_str()]);
    }
    let mut association = connection.connect(&builder).await?;
    let paths: Vec<PathBuf> = files.iter().map(|file| file.path.clone()).collect();
    let mut paths = paths.iter();
    let mut source = Files {
        kinds: kinds.to_vec(),
        rest: files.into_iter(),
    };
    let report = |_: &_, response: &Result<StoreResponse, RequestorError>| {
        let path = paths.next().map_or(Path::new(""), PathBuf::as_path);
        match response {
            Ok(response) => {
                tally.stored_count += 1;
                if response.is_warning() {
                    let status = format!("{:04X}", response.status);
                    let text = format!("file {}: warning {status}H", path.display());
                    let value = serde_json::json!({ "path": path, "status": status });
                    tally.output.problem(&text, &value);
                }
            }
            Err(error) => {
                let text = format!("file {}: {error}", path.display());
                let value = serde_json::json!({ "path": path, "why": error.to_string() });
                tally.output.problem(&text, &value);
            }
        }
    };
    association.store_all(&mut source, report).await?;
    association.release().await?;
    Ok(())
}

struct Files {
    kinds: Vec<Kind>,
    rest: std::vec::IntoIter<Sendable>,
}

#[async_trait]
impl SubOperations for Files {
    fn count(&self) -> usize {
        self.rest.len()
    }

    fn kinds(&self) -> Vec<Kind> {
        self.kinds.clone()
    }

    async fn next(&mut self) -> Option<OutgoingInstance> {
        let file = self.rest.next()?;
        Some(OutgoingInstance {
            sop_class: file.instance.sop_class,
            sop_instance: file.instance.instance,
            transfer_syntax: file.form.transfer_syntax,
            length_bytes: file.length_bytes,
            source: Box::new(Source::New(file.path, file.form.data_set.start as u64)),
        })
    }
}

/// The data set of a file, opened when it is needed.
enum Source {
    New(PathBuf, u64),
    Open(File),
}

impl Source {
    fn read(&mut self) -> std::io::Result<Option<Bytes>> {
        if let Self::New(path, start) = self {
            let mut file = File::open(path)?;
            file.seek(SeekFrom::Start(*start))?;
            *self = Self::Open(file);
        }
        let Self::Open(file) = self else {
            return Ok(None);
        };
        let mut chunk = Vec::with_capacity(CHUNK_BYTES);
        file.take(CHUNK_BYTES as u64).read_to_end(&mut chunk)?;
        Ok((!chunk.is_empty()).then(|| chunk.into()))
    }
}

#[async_trait]
impl DataSetSource for Source {
    async fn next(&mut self) -> Result<Option<Bytes>, SourceError> {
        self.read().map_err(|error| SourceError(Box::new(error)))
    }
}
