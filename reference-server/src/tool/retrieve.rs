//! `pacs get` and `pacs move`.

use super::Search;
use super::connect::UNCOMPRESSED;
use super::failure::Failure;
use super::find::ask;
use super::output::{Output, Unit, Work};
use async_trait::async_trait;
use bytes::Bytes;
use pacs_core::scan::file::file_meta;
use pacs_core::tag::tags;
use pacs_core::{AeTitle, Level, Query, Tag};
use pacs_net::pdu::Roles;
use pacs_net::requestor::{Progress, Requestor, RetrieveResponse, Step};
use pacs_net::service::{Peer, StorageScp, StoreRequest, StoreSink};
use pacs_net::sop_class::STUDY_ROOT_FIND;
use pacs_net::status::{StatusClass, StoreStatus};
use pacs_net::{ByteStream, requestor::Retrieval};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Contexts of one association that are left for storage.
const STORAGE_CONTEXTS_MAX: usize = 126;

/// Files of one instance in one folder.
const NAMES_MAX: u32 = 1_000;

/// Classes that are proposed where the peer does not say which it has: the common ones.
const COMMON_CLASSES: [&str; 18] = [
    "1.2.840.10008.5.1.4.1.1.2",
    "1.2.840.10008.5.1.4.1.1.4",
    "1.2.840.10008.5.1.4.1.1.1",
    "1.2.840.10008.5.1.4.1.1.1.1",
    "1.2.840.10008.5.1.4.1.1.7",
    "1.2.840.10008.5.1.4.1.1.6.1",
    "1.2.840.10008.5.1.4.1.1.1.2",
    "1.2.840.10008.5.1.4.1.1.12.1",
    "1.2.840.10008.5.1.4.1.1.12.2",
    "1.2.840.10008.5.1.4.1.1.3.1",
    "1.2.840.10008.5.1.4.1.1.2.1",
    "1.2.840.10008.5.1.4.1.1.4.1",
    "1.2.840.10008.5.1.4.1.1.20",
    "1.2.840.10008.5.1.4.1.1.128",
    "1.2.840.10008.5.1.4.1.1.88.11",
    "1.2.840.10008.5.1.4.1.1.88.22",
    "1.2.840.10008.5.1.4.1.1.88.59",
    "1.2.840.10008.5.1.4.1.1.104.1",
];

/// Transfer syntaxes in order of how often they are met; each gets a context of its own, because a
/// peer accepts only one of a context.
const TRANSFER_SYNTAXES: [&str; 26] = [
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.4.70",
    "1.2.840.10008.1.2.4.90",
    "1.2.840.10008.1.2.4.80",
    "1.2.840.10008.1.2.4.50",
    "1.2.840.10008.1.2.5",
    "1.2.840.10008.1.2.4.91",
    "1.2.840.10008.1.2.4.51",
    "1.2.840.10008.1.2.4.57",
    "1.2.840.10008.1.2.4.81",
    "1.2.840.10008.1.2.2",
    "1.2.840.10008.1.2.1.99",
    "1.2.840.10008.1.2.4.201",
    "1.2.840.10008.1.2.4.202",
    "1.2.840.10008.1.2.4.203",
    "1.2.840.10008.1.2.4.100",
    "1.2.840.10008.1.2.4.101",
    "1.2.840.10008.1.2.4.102",
    "1.2.840.10008.1.2.4.103",
    "1.2.840.10008.1.2.4.110",
    "1.2.840.10008.1.2.4.111",
    "1.2.840.10008.1.2.4.112",
    "1.2.840.10008.1.2.1.98",
    "1.2.840.10008.1.2.4.92",
    "1.2.840.10008.1.2.4.93",
];

pub(super) async fn get(search: &Search, directory: &Path, output: &Output) -> Result<(), Failure> {
    fs::create_dir_all(directory).map_err(|error| Failure::file(directory, error))?;
    let folder = Arc::new(Folder {
        path: directory.to_owned(),
        next: AtomicU64::new(1),
        output: output.clone(),
    });
    let response = get_into(search, search.query()?, folder, output).await?;
    report(&response, output)
}

/// Asks for everything that matches, by whatever keys, and has it sent to `storage`; how many
/// instances the peer could not send.
pub(super) async fn get_found(
    search: &Search,
    storage: Arc<dyn StorageScp>,
    output: &Output,
) -> Result<u64, Failure> {
    let mut query = search.query()?;
    if query.level == Level::Patient {
        // A patient's ID alone does not tell one patient from another; studies do.
        query.level = Level::Study;
    }
    let unique: &[Tag] = match query.level {
        Level::Patient | Level::Study => &[tags::STUDY_INSTANCE_UID],
        Level::Series => &[tags::STUDY_INSTANCE_UID, tags::SERIES_INSTANCE_UID],
        Level::Instance => &[
            tags::STUDY_INSTANCE_UID,
            tags::SERIES_INSTANCE_UID,
            tags::SOP_INSTANCE_UID,
        ],
    };
    let level = query.level;
    for tag in unique {
        query = query.returning(*tag);
    }
    let class = STUDY_ROOT_FIND;
    let connection = &search.connection;
    let builder = connection.builder().context(class, &UNCOMPRESSED);
    let mut association = connection.connect(&builder.relational(class)).await?;
    let answers = ask(&mut association, class, &query).await?;
    association.release().await?;
    let mut failed_count = 0;
    for answer in &answers {
        let mut named = Query::new(level);
        for tag in unique {
            let value = answer.get(tag).map_or("", String::as_str);
            let key = named.key(*tag, value);
            named = key.map_err(|error| Failure::Refused(format!("result of C-FIND: {error}")))?;
        }
        let response = get_into(search, named, Arc::clone(&storage), output).await?;
        failed_count += u64::from(response.progress.failed.unwrap_or(0));
        if let Some(failure) = refusal(&response) {
            return Err(failure);
        }
    }
    Ok(failed_count)
}

/// Why the peer did not even try, if it did not.
fn refusal(response: &RetrieveResponse) -> Option<Failure> {
    let comment = response
        .comment
        .as_deref()
        .map_or(String::new(), |text| format!(": {text}"));
    let status = format!("status {:04X}H{comment}", response.status);
    match StatusClass::of(response.status) {
        StatusClass::Success | StatusClass::Warning => None,
        StatusClass::Cancel | StatusClass::Failure | StatusClass::Pending => {
            Some(Failure::Refused(status))
        }
    }
}

/// Has everything that `query` names by unique keys sent to `storage`.
async fn get_into(
    search: &Search,
    query: Query,
    storage: Arc<dyn StorageScp>,
    output: &Output,
) -> Result<RetrieveResponse, Failure> {
    let classes = classes_of(search, &query).await?;
    let class = search.classes().get;
    let mut builder = search.connection.builder().context(class, &UNCOMPRESSED);
    let per_class = (STORAGE_CONTEXTS_MAX / classes.len().max(1)).max(1);
    for storage in classes.iter().take(STORAGE_CONTEXTS_MAX) {
        for transfer_syntax in TRANSFER_SYNTAXES.iter().take(per_class) {
            builder = builder.context(storage, &[transfer_syntax]);
        }
        builder = builder.roles(
            storage,
            Roles {
                scu: false,
                scp: true,
            },
        );
    }
    let mut association = search.connection.connect(&builder).await?;
    let identifier = identifier(&association, class, &query)?;
    let retrieval = association.get(class, identifier, storage).await?;
    let response = finish(retrieval, output).await?;
    association.release().await?;
    Ok(response)
}

pub(super) async fn send_to(
    search: &Search,
    destination: &AeTitle,
    output: &Output,
) -> Result<(), Failure> {
    let query = search.query()?;
    let class = search.classes().move_to;
    let builder = search.connection.builder().context(class, &UNCOMPRESSED);
    let mut association = search.connection.connect(&builder).await?;
    let identifier = identifier(&association, class, &query)?;
    let retrieval = association.move_to(class, identifier, destination).await?;
    let response = finish(retrieval, output).await?;
    association.release().await?;
    report(&response, output)
}

async fn finish<S: ByteStream>(
    mut retrieval: Retrieval<'_, S>,
    output: &Output,
) -> Result<RetrieveResponse, Failure> {
    let work = output.work("retrieving", Unit::Instances, None);
    loop {
        match retrieval.next().await? {
            Step::Ended(response) => return Ok(response),
            Step::Received(status) if StatusClass::of(status) != StatusClass::Success => {
                let text = format!("an instance was answered with {status:04X}H");
                let value = serde_json::json!({ "status": format!("{status:04X}") });
                output.problem(&text, &value);
            }
            Step::Pending(progress) => show(&work, &progress),
            Step::Received(_) => {}
        }
    }
}

fn show(work: &Work, progress: &Progress) {
    let known = [progress.completed, progress.failed, progress.warning];
    let done = known.into_iter().flatten().map(u64::from).sum();
    if let Some(remaining) = progress.remaining {
        work.set_total(done + u64::from(remaining));
    }
    work.set(done);
}

fn identifier<S: ByteStream>(
    association: &Requestor<S>,
    class: &str,
    query: &Query,
) -> Result<Bytes, Failure> {
    let transfer_syntax = association.context(class)?.transfer_syntax;
    let identifier = query.to_identifier(&transfer_syntax);
    identifier
        .map(Bytes::from)
        .map_err(|error| Failure::CommandLine(error.to_string()))
}

/// The SOP classes of what is asked for, as the peer tells them, else the common ones.
async fn classes_of(search: &Search, query: &Query) -> Result<Vec<String>, Failure> {
    let class = search.classes().find;
    let tag = match query.level {
        Level::Instance => tags::SOP_CLASS_UID,
        Level::Patient | Level::Study | Level::Series => tags::SOP_CLASSES_IN_STUDY,
    };
    let mut question = query.clone().returning(tag);
    if question.level == Level::Series {
        question.level = Level::Study;
        question
            .keys
            .retain(|key| key.tag != tags::SERIES_INSTANCE_UID);
    }
    if question.level == Level::Patient {
        question.level = Level::Study;
    }
    let builder = search
        .connection
        .builder()
        .context(class, &UNCOMPRESSED)
        .relational(class);
    let mut association = search.connection.connect(&builder).await?;
    let mut classes = BTreeSet::new();
    // A peer that cannot tell is asked with the common classes; its refusal is not ours to report.
    if let Ok(answers) = ask(&mut association, class, &question).await {
        let named = answers.iter().filter_map(|answer| answer.get(&tag));
        classes.extend(named.flat_map(|text| text.split('\\')).map(str::to_owned));
        classes.remove("");
    }
    if association.is_established() {
        association.release().await?;
    }
    if classes.is_empty() {
        return Ok(COMMON_CLASSES.map(str::to_owned).to_vec());
    }
    Ok(classes.into_iter().collect())
}

fn report(response: &RetrieveResponse, output: &Output) -> Result<(), Failure> {
    let completed = response.progress.completed.unwrap_or(0);
    let failed = response.progress.failed.unwrap_or(0);
    let value = serde_json::json!({
        "completed": completed,
        "failed": failed,
        "status": format!("{:04X}", response.status),
    });
    output.summary(&format!("{completed} completed, {failed} failed"), &value);
    if let Some(failure) = refusal(response) {
        return Err(failure);
    }
    if failed == 0 {
        return Ok(());
    }
    Err(Failure::Partly(format!("{failed} instances were not sent")))
}

/// A folder that instances are received into.
#[derive(Debug)]
struct Folder {
    path: PathBuf,
    next: AtomicU64,
    output: Output,
}

#[async_trait]
impl StorageScp for Folder {
    async fn begin(
        &self,
        _peer: &Peer,
        request: &StoreRequest,
    ) -> Result<Box<dyn StoreSink>, StoreStatus> {
        let meta = file_meta(
            &request.sop_class,
            &request.sop_instance,
            &request.transfer_syntax,
        );
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let part = self
            .path
            .join(format!(".{}-{number}.part", std::process::id()));
        let file = File::create_new(&part).and_then(|mut f| f.write_all(&meta).map(|()| f));
        match file {
            Ok(file) => Ok(Box::new(Part {
                file,
                path: self.name(request, number),
                part,
                output: self.output.clone(),
            })),
            Err(error) => Err(cannot_write(&part, &error, &self.output)),
        }
    }
}

impl Folder {
    /// A name that is made of nothing but digits and dots of the peer's.
    fn name(&self, request: &StoreRequest, number: u64) -> PathBuf {
        let uid = request.sop_instance.uid();
        self.path.join(if uid.is_conformant() {
            format!("{uid}.dcm")
        } else {
            format!("instance-{number}.dcm")
        })
    }
}

/// A file that is being received; it gets its name when it is whole.
struct Part {
    file: File,
    path: PathBuf,
    part: PathBuf,
    output: Output,
}

#[async_trait]
impl StoreSink for Part {
    async fn write(&mut self, fragment: Bytes) -> Result<(), StoreStatus> {
        self.file
            .write_all(&fragment)
            .map_err(|error| cannot_write(&self.part, &error, &self.output))
    }

    async fn end(self: Box<Self>) -> StoreStatus {
        match self.file.sync_data().and_then(|()| self.give_name()) {
            Ok(()) => StoreStatus::SUCCESS,
            Err(error) => cannot_write(&self.path, &error, &self.output),
        }
    }
}

impl Part {
    /// Gives the file its name, or the next that is free: nothing that is there is replaced.
    fn give_name(&self) -> std::io::Result<()> {
        let name = self.path.display().to_string();
        let stem = name.strip_suffix(".dcm").unwrap_or(&name);
        for number in 1..=NAMES_MAX {
            let path = if number == 1 {
                self.path.clone()
            } else {
                PathBuf::from(format!("{stem}-{number}.dcm"))
            };
            match fs::hard_link(&self.part, path) {
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                done => return done,
            }
        }
        Err(std::io::ErrorKind::AlreadyExists.into())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // Its other name, if it came whole, stays.
        fs::remove_file(&self.part).ok();
    }
}

fn cannot_write(path: &Path, error: &std::io::Error, output: &Output) -> StoreStatus {
    let value = serde_json::json!({ "path": path, "why": error.to_string() });
    output.problem(&Failure::file(path, error).to_string(), &value);
    StoreStatus::OUT_OF_RESOURCES
}
