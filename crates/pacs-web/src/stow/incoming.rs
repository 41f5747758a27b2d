//! One DICOM file on its way from a request into the archive.
//!
//! A deposit has to know what it is before its first byte, and a file says so in its head: up to
//! [`WebLimits::file_meta_bytes_max`] and then [`WebLimits::head_held_bytes_max`] bytes are held
//! until that is read. The data set decides, not the File Meta Information, as for files that are
//! imported; only where the head is longer than what is held, its beginning has to do.

use super::answer::{Named, Reason, Verdict};
use crate::limits::WebLimits;
use crate::multipart::PartHead;
use crate::record::{self, ProgramSent};
use crate::service::Web;
use bytes::{Bytes, BytesMut};
use pacs_core::access::Store;
use pacs_core::instance::InstanceError;
use pacs_core::limits::ScanLimits;
use pacs_core::scan::file::{self, FileForm};
use pacs_core::scan::preamble::SuspectPreamble;
use pacs_core::scan::{Encoding, Event, HeadReader, HeadState, ScanError, Scanner};
use pacs_core::tag::tags;
use pacs_core::{Instance, Permit, SopClassUid, SopInstanceUid, StudyUid, Tag, TransferSyntaxUid};
use pacs_store::{Announced, Deposit, DepositError, Outcome, Receipt};

/// Where the instances of a request go.
#[derive(Debug, Clone)]
pub(super) struct Deposits {
    pub(super) web: Web,
    pub(super) permit: Permit<Store>,
    /// The study that the path names: no instance of another one is taken.
    pub(super) study: Option<StudyUid>,
    pub(super) limits: WebLimits,
}

impl Deposits {
    /// For a part with this head.
    pub(super) fn begin(&self, head: &PartHead) -> Incoming {
        let mut incoming = self.begin_single();
        let is_dicom = match head.content_type() {
            Ok(None) => true,
            Ok(Some(kind)) => kind.is("application/dicom"),
            Err(_) => false,
        };
        if !is_dicom {
            incoming.stage = Stage::Failed(Reason::CANNOT_UNDERSTAND);
        }
        incoming
    }

    /// For a body that is one file.
    pub(super) fn begin_single(&self) -> Incoming {
        Incoming {
            deposits: self.clone(),
            named: Named::default(),
            suspect: None,
            stage: Stage::Meta(Gathered::default()),
        }
    }
}

/// One file that arrives.
pub(super) struct Incoming {
    deposits: Deposits,
    named: Named,
    /// Its preamble, until it is recorded that it came.
    suspect: Option<SuspectPreamble>,
    stage: Stage,
}

enum Stage {
    /// It cannot be kept; what still comes of it is thrown away.
    Failed(Reason),
    /// The head of the data set is read, and held.
    Head(Box<Head>),
    /// Nothing is known yet.
    Meta(Gathered),
    /// The archive takes it.
    Storing(Box<Storing>),
}

struct Head {
    form: FileForm,
    reader: HeadReader,
    held: Vec<Bytes>,
    held_bytes: usize,
}

struct Storing {
    deposit: Deposit,
    /// Reads the head where that was too long to be held: the study is looked at in the end.
    reader: Option<HeadReader>,
}

impl Incoming {
    /// Takes the next bytes of the file.
    pub(super) async fn write(&mut self, bytes: Bytes) {
        let stage = std::mem::replace(&mut self.stage, Stage::Failed(Reason::PROCESSING));
        let next = match stage {
            Stage::Failed(reason) => Err(reason),
            Stage::Meta(mut gathered) => {
                gathered.push(bytes);
                if gathered.is_to_be_read(&self.deposits.limits) {
                    self.meta(gathered, false).await
                } else {
                    Ok(Stage::Meta(gathered))
                }
            }
            Stage::Head(head) => self.head(head, bytes).await,
            Stage::Storing(storing) => self.storing(storing, bytes).await,
        };
        self.stage = next.unwrap_or_else(Stage::Failed);
    }

    /// Whether nothing more of it is of any use.
    pub(super) const fn has_failed(&self) -> bool {
        matches!(self.stage, Stage::Failed(_))
    }

    /// The file has come to its end; it is made durable.
    pub(super) async fn end(mut self) -> Verdict {
        match self.finish().await {
            Ok(()) => Verdict::stored(self.named),
            Err(reason) => {
                self.tell_of_preamble().await.ok();
                Verdict::failed(self.named, reason)
            }
        }
    }

    /// The file was cut: nothing is kept of it.
    pub(super) async fn cut(mut self) -> Verdict {
        self.tell_of_preamble().await.ok();
        let reason = match self.stage {
            Stage::Failed(reason) => reason,
            Stage::Head(_) | Stage::Meta(_) | Stage::Storing(_) => Reason::CANNOT_UNDERSTAND,
        };
        Verdict::failed(self.named, reason)
    }

    async fn finish(&mut self) -> Result<(), Reason> {
        let mut stage = std::mem::replace(&mut self.stage, Stage::Failed(Reason::PROCESSING));
        if let Stage::Meta(gathered) = stage {
            stage = self.meta(gathered, true).await?;
        }
        if let Stage::Head(head) = stage {
            stage = self.identified(head).await?;
        }
        match stage {
            Stage::Failed(reason) => Err(reason),
            Stage::Storing(storing) => {
                let Storing { deposit, reader } = *storing;
                if let Some(reader) = reader {
                    let instance = reader
                        .finish()
                        .map_err(|error| self.not_an_instance(&error))?;
                    self.check(&instance)?;
                }
                let sealed = deposit.seal().await;
                let receipt = sealed.map_err(|error| self.refused(&error))?;
                tell(&self.named, receipt);
                Ok(())
            }
            Stage::Head(_) | Stage::Meta(_) => Err(Reason::PROCESSING),
        }
    }

    /// Reads the File Meta Information; where that is not all there, waits for more.
    async fn meta(&mut self, mut gathered: Gathered, is_end: bool) -> Result<Stage, Reason> {
        let bytes = gathered.take();
        self.suspect = SuspectPreamble::of(&bytes);
        let form = match file::read(&bytes) {
            Ok(form) => form,
            Err(_) if !is_end && bytes.len() < self.deposits.limits.file_meta_bytes_max => {
                return Ok(Stage::Meta(Gathered::unread(bytes)));
            }
            Err(error) => {
                tracing::warn!(%error, caller = ?self.caller(), "a client sent no instance");
                return Err(Reason::CANNOT_UNDERSTAND);
            }
        };
        self.suspect = self
            .suspect
            .filter(|_| form.data_set.start > file::PREAMBLE_BYTES);
        self.named.sop_class.clone_from(&form.sop_class);
        self.named.sop_instance.clone_from(&form.sop_instance);
        let limits = ScanLimits::default();
        let head = Head {
            reader: HeadReader::new(&form.transfer_syntax, &limits),
            held: Vec::new(),
            held_bytes: 0,
            form,
        };
        let start = head.form.data_set.start.min(bytes.len());
        self.head(Box::new(head), bytes.slice(start..)).await
    }

    async fn head(&mut self, mut head: Box<Head>, bytes: Bytes) -> Result<Stage, Reason> {
        let state = head.reader.push(&bytes);
        head.held_bytes = head.held_bytes.saturating_add(bytes.len());
        head.held.push(bytes);
        let state = state.map_err(|error| self.unreadable(error, &head))?;
        let limits = &self.deposits.limits;
        let is_piecemeal = head.held.len() > limits.head_pieces_max;
        if is_piecemeal {
            // Each piece may keep a whole buffer of the connection.
            let all = head.held.concat();
            head.held = vec![all.into()];
        }
        match state {
            HeadState::Complete => self.identified(head).await,
            HeadState::NeedMore if head.held_bytes > limits.head_held_bytes_max => {
                self.identified_early(head).await
            }
            HeadState::NeedMore => Ok(Stage::Head(head)),
        }
    }

    /// The head is all there.
    async fn identified(&mut self, head: Box<Head>) -> Result<Stage, Reason> {
        let Head {
            form, reader, held, ..
        } = *head;
        let instance = reader.finish().map_err(|error| {
            self.name_from(&held, &form.transfer_syntax);
            self.not_an_instance(&error)
        })?;
        self.named.sop_class = Some(instance.sop_class.clone());
        self.named.sop_instance = Some(instance.instance.clone());
        self.check(&instance)?;
        self.deposit(form.transfer_syntax, held, None).await
    }

    /// The head is longer than what is held; its beginning says what it is of.
    async fn identified_early(&mut self, head: Box<Head>) -> Result<Stage, Reason> {
        let Head {
            form, reader, held, ..
        } = *head;
        self.name_from(&held, &form.transfer_syntax);
        self.deposit(form.transfer_syntax, held, Some(reader)).await
    }

    async fn deposit(
        &mut self,
        transfer_syntax: TransferSyntaxUid,
        held: Vec<Bytes>,
        reader: Option<HeadReader>,
    ) -> Result<Stage, Reason> {
        let named = self
            .named
            .sop_class
            .clone()
            .zip(self.named.sop_instance.clone());
        let (sop_class, sop_instance) = named.ok_or(Reason::CANNOT_UNDERSTAND)?;
        let announced = Announced {
            sop_class,
            sop_instance,
            transfer_syntax,
        };
        // Before it is kept: who sent it is then on record.
        self.tell_of_preamble().await?;
        let Deposits { web, permit, .. } = &self.deposits;
        let archive = web.archive();
        let provenance = archive.provenance_of(permit);
        let deposit = archive.deposit(permit, announced, provenance);
        let mut deposit = deposit.map_err(|error| self.refused(&error))?;
        for bytes in held {
            let written = deposit.write(bytes).await;
            written.map_err(|error| self.refused(&error))?;
        }
        Ok(Stage::Storing(Box::new(Storing { deposit, reader })))
    }

    async fn storing(&mut self, mut storing: Box<Storing>, bytes: Bytes) -> Result<Stage, Reason> {
        if let Some(reader) = &mut storing.reader {
            let read = reader.push(&bytes);
            read.map_err(|error| self.not_an_instance(&error.into()))?;
        }
        let written = storing.deposit.write(bytes).await;
        written.map_err(|error| self.refused(&error))?;
        Ok(Stage::Storing(storing))
    }

    /// An instance of another study than the path names is not taken (PS3.18 10.5.1.1).
    fn check(&mut self, instance: &Instance) -> Result<(), Reason> {
        self.named.study = Some(instance.study.clone());
        self.named.series = Some(instance.series.clone());
        let wanted = self.deposits.study.as_ref();
        if wanted.is_none_or(|study| *study == instance.study) {
            return Ok(());
        }
        tracing::warn!(
            caller = ?self.caller(), "an instance of another study than the path names is refused"
        );
        Err(Reason::OTHER_STUDY)
    }

    /// Records, and tells in the log, that the preamble of the file may make it a program.
    async fn tell_of_preamble(&mut self) -> Result<(), Reason> {
        let Some(preamble) = self.suspect.take() else {
            return Ok(());
        };
        let Deposits { web, permit, .. } = &self.deposits;
        let sent = ProgramSent {
            preamble: &preamble,
            study: self.named.study.as_ref(),
            sop_class: self.named.sop_class.as_ref(),
            sop_instance: self.named.sop_instance.as_ref(),
        };
        record::program_sent(web, permit, sent)
            .await
            .map_err(|_unrecorded| Reason::PROCESSING)
    }

    fn caller(&self) -> &pacs_core::Caller {
        self.deposits.permit.caller()
    }

    /// Learns from what came of the data set what it is.
    fn name_from(&mut self, held: &[Bytes], transfer_syntax: &TransferSyntaxUid) {
        let encoding = Encoding::of(transfer_syntax);
        if encoding == Encoding::Deflated {
            // What the File Meta Information says has to do.
            return;
        }
        let all = held.concat();
        let text = |tag| uid_at(&all, encoding, tag);
        let class = text(tags::SOP_CLASS_UID);
        if let Some(class) = class.and_then(|text| SopClassUid::parse_legacy(&text).ok()) {
            self.named.sop_class = Some(class);
        }
        let instance = text(tags::SOP_INSTANCE_UID);
        if let Some(uid) = instance.and_then(|text| SopInstanceUid::parse_legacy(&text).ok()) {
            self.named.sop_instance = Some(uid);
        }
    }

    fn unreadable(&mut self, error: ScanError, head: &Head) -> Reason {
        self.name_from(&head.held, &head.form.transfer_syntax);
        self.not_an_instance(&error.into())
    }

    fn not_an_instance(&self, error: &InstanceError) -> Reason {
        tracing::warn!(%error, caller = ?self.caller(), "an instance was not kept");
        Reason::CANNOT_UNDERSTAND
    }

    fn refused(&self, error: &DepositError) -> Reason {
        tracing::warn!(%error, caller = ?self.caller(), "an instance was not kept");
        Reason::of(error)
    }
}

fn tell(named: &Named, receipt: Receipt) {
    if let Outcome::Conflict { version } = receipt.outcome {
        let instance = named.sop_instance.as_ref().map(SopInstanceUid::as_str);
        tracing::warn!(
            version, instance, digest = ?receipt.digest,
            "other content came under a known SOP Instance UID; both are kept"
        );
    }
}

/// The value of a UID in the beginning of a data set.
fn uid_at(data_set: &[u8], encoding: Encoding, wanted: Tag) -> Option<String> {
    let mut scanner = Scanner::of_head(data_set, encoding, &ScanLimits::default());
    loop {
        let depth = scanner.depth();
        let event = scanner.next()?.ok()?;
        let Event::Element(element) = event else {
            continue;
        };
        if depth == 0 && element.tag == wanted {
            let text = std::str::from_utf8(scanner.bytes(&element.value)).ok()?;
            return Some(text.trim_end_matches(['\0', ' ']).to_owned());
        }
        if depth == 0 && element.tag > wanted {
            return None;
        }
    }
}

/// The beginning of a file, put together once there is enough of it.
#[derive(Default)]
struct Gathered {
    pieces: Vec<Bytes>,
    bytes: usize,
    /// How much was there the last time that it was not enough.
    unread_bytes: usize,
}

impl Gathered {
    fn unread(bytes: Bytes) -> Self {
        Self {
            unread_bytes: bytes.len(),
            bytes: bytes.len(),
            pieces: vec![bytes],
        }
    }

    fn push(&mut self, bytes: Bytes) {
        self.bytes = self.bytes.saturating_add(bytes.len());
        match self.pieces.last_mut() {
            // A crumb may keep a whole buffer of the connection.
            Some(last) if last.len() < CRUMB_BYTES => {
                let mut both = BytesMut::with_capacity(CRUMB_BYTES.saturating_mul(2));
                both.extend_from_slice(last);
                both.extend_from_slice(&bytes);
                *last = both.freeze();
            }
            Some(_) | None => self.pieces.push(bytes),
        }
    }

    fn is_to_be_read(&self, limits: &WebLimits) -> bool {
        self.bytes
            >= limits
                .file_start_bytes
                .max(self.unread_bytes.saturating_mul(2))
    }

    fn take(&mut self) -> Bytes {
        match self.pieces.as_slice() {
            [only] => only.clone(),
            pieces => pieces.concat().into(),
        }
    }
}

/// Shorter pieces are put together.
const CRUMB_BYTES: usize = 1 << 10;
