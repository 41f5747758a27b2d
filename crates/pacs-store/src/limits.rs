//! Every bound of the archive, in one place.

use pacs_core::limits::ScanLimits;
use std::time::Duration;

/// Damaged places that the report of a backup or a repair lists; all are counted.
pub const BACKUP_DAMAGE_COUNT_MAX: usize = 1_000;

/// Pieces of erased content that are destroyed together: each some 200 bytes of memory.
pub const DOOMED_AT_ONCE_MAX: usize = 1_000;

/// Packs that the log names when a study is erased: some ten bytes each, in a record that is read
/// at once. Of a study in more of them a backup looks through all that it has.
pub const ERASED_PACKS_NAMED_MAX: usize = 2_000;

/// Bytes of the manifest of a backup: some 130 for each pack.
pub const BACKUP_MANIFEST_BYTES_MAX: usize = 512 << 20;

/// How often an audit record is tried again after others appended in between.
pub const AUDIT_APPEND_ATTEMPTS_MAX: usize = 32;

/// Audit records that are read at once for somebody.
pub const AUDIT_PAGE_COUNT_MAX: usize = 1_000;

/// Audit records that a verification has in memory.
pub(crate) const AUDIT_VERIFY_PAGE_COUNT: usize = 64;

/// Bytes of the line of a document in a backup, of which each byte may take six characters.
pub const BACKUP_DOCUMENT_BYTES_MAX: usize = 16 << 20;

/// Bytes of the smallest disk that an archive is opened on: index and records are begun with, and
/// have ahead, a quarter of it, and what is left is enough to store, refuse and recover.
pub const DISK_BYTES_MIN: u64 = 4 << 20;

/// Characters of the name of a device.
pub const DEVICE_TEXT_CHARS_MAX: usize = 200;

/// Characters of a text about an organisation.
pub const ORGANISATION_TEXT_CHARS_MAX: usize = 1_000;

/// Organisations that are listed: their codes have three digits.
pub const ORGANISATIONS_MAX: usize = 999;

/// Performed procedure steps that one study or examination has, as far as they are looked at: a
/// device begins few.
pub const STEPS_LISTED_MAX: usize = 64;

/// Examinations that one performed procedure step is for, as far as the worklist heeds them.
pub const STEP_EXAMINATIONS_MAX: usize = 16;

/// Times that a change of the registry is tried where others change the same.
pub const REGISTRY_ATTEMPTS_MAX: usize = 32;

/// Orders of an organisation, of a patient or of a header that are thought of for one study.
pub const CANDIDATES_MAX: usize = 500;

/// Corrections of one study that are listed.
pub const CORRECTIONS_LISTED_MAX: usize = 100;

/// Studies that are put right together.
pub const STUDIES_CORRECTED_MAX: usize = 50;

/// Body parts of one examination.
pub const EXAMINATION_BODY_PARTS_MAX: usize = 8;

/// Characters of complaints.
pub const EXAMINATION_COMPLAINTS_CHARS_MAX: usize = 2_000;

/// Examinations that figures of one organisation are made of at once.
pub const EXAMINATIONS_IN_STATISTICS_MAX: usize = 50_000;

/// Events of one examination that are listed.
pub const EXAMINATION_EVENTS_MAX: usize = 10_000;

/// Characters of an anamnesis.
pub const EXAMINATION_HISTORY_CHARS_MAX: usize = 4_000;

/// Studies bound to one examination.
pub const EXAMINATION_STUDIES_MAX: usize = 1_000;

/// Users who are named for one restricted examination.
pub const EXAMINATION_NAMED_MAX: usize = 50;

/// Characters of a short text of an order.
pub const EXAMINATION_TEXT_CHARS_MAX: usize = 200;

/// Examinations of one status that are counted.
pub const EXAMINATIONS_COUNTED_MAX: usize = 300;

/// Changes of examinations that whoever listens may be behind.
pub const CHANGED_EXAMINATIONS_MAX: usize = 1_024;

/// Examinations of one patient that are read.
pub const EXAMINATIONS_OF_PATIENT_MAX: usize = 1_000;

/// Examinations of one part of a list.
pub const EXAMINATIONS_PAGE_MAX: usize = 200;

/// Examinations that one part of a list looks at, of which its reader may see few.
pub const EXAMINATIONS_SCANNED_MAX: usize = 1_000;

/// Readings of one examination that are kept, the last ones: what became of an older one nobody
/// asks.
pub const READINGS_KEPT_MAX: usize = 16;

/// Examinations of one list that a search for reading tasks reads in one go.
pub const READING_TASKS_LISTED_MAX: usize = 250;

/// Patients that went into one.
pub const PATIENT_ALIASES_MAX: usize = 100;

/// Patients that one search looks at.
pub const PATIENT_CANDIDATES_MAX: usize = 500;

/// Changes of one patient that are listed.
pub const PATIENT_HISTORY_MAX: usize = 10_000;

/// Identifiers of one patient.
pub const PATIENT_IDENTIFIERS_MAX: usize = 50;

/// Patients of whom it is not settled who they are, of one part of a list.
pub const PATIENTS_BY_IDENTITY_MAX: usize = 200;

/// Patients that one part of such a list looks at, of whom its reader may see few.
pub const PATIENTS_SCANNED_MAX: usize = 1_000;

/// Characters of a name that is searched.
pub const PATIENT_QUERY_CHARS_MAX: usize = 200;

/// Characters of an address or a telephone number.
pub const PATIENT_TEXT_CHARS_MAX: usize = 500;

/// Words of all forms of a name.
pub const PATIENT_WORDS_MAX: usize = 24;

/// Requests of one name wait for each other, and for as many others as share a turn with them: so
/// many turns there are.
pub(crate) const REQUEST_TURNS_COUNT: usize = 256;

/// Requests that were done and are looked through at once for those that are forgotten.
pub const REQUESTS_PAGE_COUNT: usize = 200;

/// Instances of a rejection that stand in one document.
pub(crate) const REJECTION_CHUNK_COUNT: usize = 2_500;

/// Instances of one rejection: as many as the changes of one commit hold.
pub const REJECTION_INSTANCES_MAX: usize = 25_000;

/// Rejections of one study: a person makes them.
pub const REJECTIONS_OF_STUDY_MAX: usize = 200;

/// Rejections that figures of one organisation are made of at once.
pub const REJECTIONS_IN_STATISTICS_MAX: usize = 50_000;

/// Rejections, or notes, of one part of a list.
pub const REJECTIONS_PAGE_MAX: usize = 200;

/// Rejections that one part of a list looks at, of which its reader may see few.
pub const REJECTIONS_SCANNED_MAX: usize = 1_000;

/// Erasures that are neither final nor given up.
pub const ERASURES_OPEN_MAX: usize = 500;

/// Erasures that wait for people, from which on nothing more is proposed because its term is over:
/// people can still propose as many again.
pub const DUE_PROPOSED_MAX: usize = ERASURES_OPEN_MAX / 2;

/// Studies that are looked at together to see whether their term is over.
pub const DUE_LOOKED_AT_ONCE: usize = 200;

/// Rules of the retention policy.
pub const RETENTION_RULES_MAX: usize = 200;

/// Refused instances of a sending that are listed; all are counted.
pub const SENDING_REFUSALS_LISTED_MAX: usize = 1_000;

/// Notices of one person that are listed.
pub const NOTICES_LISTED_MAX: usize = 1_000;

/// Organisations that a report is sent to.
pub const REPORT_RECIPIENTS_MAX: usize = 50;

/// Versions of a report.
pub const REPORT_VERSIONS_MAX: usize = 100;

/// Reports that an organisation was sent which are looked at for a part of their list.
pub const REPORTS_SENT_SCANNED_MAX: usize = 1_000;

/// Sendings that are not at their end, of all users together.
pub const SENDINGS_OPEN_MAX: usize = 500;

/// Instances that one entry of the log hides or brings back: its JSON has 64 KiB at most.
pub(crate) const TURNED_AT_ONCE_MAX: usize = 500;

/// Studies of one part of the queue of those that nobody knows.
pub const UNMATCHED_PAGE_MAX: usize = 200;

/// Examinations of one worklist.
pub const WORKLIST_MAX: usize = 500;

/// Bytes of keys and values of records that are changed at once: one commit holds them in memory.
pub const RECORD_CHANGES_BYTES_MAX: usize = 4 << 20;

/// Records that are changed at once.
pub const RECORD_CHANGES_COUNT_MAX: usize = 1_000;

/// Bytes of the key of a record.
pub const RECORD_KEY_BYTES_MAX: usize = 512;

/// Bytes of a record: a small document, not content.
pub const RECORD_VALUE_BYTES_MAX: usize = 1 << 20;

/// Bounds of the matcher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MatcherLimits {
    /// Changes that are judged in one go.
    pub changes_max: usize,
    /// How long they gather before.
    pub gather_duration: Duration,
    /// How long is waited before it is looked again whether there is an organisation.
    pub idle_duration: Duration,
    /// Instances of one study whose headers are read at once.
    pub instances_max: usize,
    /// How long is waited at least until what waits is judged again, because something changed that
    /// it rests on.
    pub judged_again_duration: Duration,
    /// Studies that wait at one organisation and are judged again, the newest first.
    pub judged_again_max: usize,
    /// How old they are at most: what is older is for a person alone.
    pub judged_again_days: i64,
    /// How long is waited at least until it is looked again how far examinations are.
    pub progressed_duration: Duration,
    /// How long is waited for that at most.
    pub tick_duration: Duration,
    /// When examinations are taken to be complete, or incomplete.
    pub times: ProgressTimes,
}

impl Default for MatcherLimits {
    fn default() -> Self {
        Self {
            changes_max: 5_000,
            gather_duration: Duration::from_secs(1),
            idle_duration: Duration::from_secs(5),
            instances_max: 64,
            judged_again_duration: Duration::from_secs(10),
            judged_again_max: 500,
            judged_again_days: 7,
            progressed_duration: Duration::from_secs(2),
            tick_duration: Duration::from_secs(15),
            times: ProgressTimes::default(),
        }
    }
}

/// When examinations are taken to be complete, or incomplete. To the quiet times comes what further
/// images are not noted for ([`IMAGES_NOTED_EVERY_SECONDS`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProgressTimes {
    /// How long no X-ray picture comes after the last.
    pub quiet_xray_seconds: i64,
    /// How long no image of another kind comes after the last.
    pub quiet_seconds: i64,
    /// How long images may be missing that a device named when it ended its step.
    pub missing_seconds: i64,
    /// How long a device may say nothing of a step that it began, and send nothing, until it is
    /// taken to have forgotten it.
    pub abandoned_seconds: i64,
}

impl Default for ProgressTimes {
    fn default() -> Self {
        Self {
            quiet_xray_seconds: 2 * 60,
            quiet_seconds: 10 * 60,
            missing_seconds: 30 * 60,
            abandoned_seconds: 12 * 3_600,
        }
    }
}

/// Studies that are dealt out at once to those who are told of them, each with its documents.
pub const ANNOUNCEMENTS_PAGE_COUNT: usize = 128;

/// Consents of one patient, with those that ended or were withdrawn.
pub const CONSENTS_OF_PATIENT_MAX: usize = 200;

/// Days for which a patient can agree at once: five years, after which they are asked again.
pub const CONSENT_DAYS_MAX: i64 = 5 * 366;

/// Characters of the number of a form, or of an article of a law.
pub const CONSENT_REFERENCE_CHARS_MAX: usize = 128;

/// Orders that are looked at in one go to see which of them expire, and examinations that are in
/// progress at one organisation.
pub const PROGRESS_PAGE_COUNT: usize = 200;

/// Different headers of one study that are kept in mind, and senders of one: more are hardly one
/// study.
pub const WITNESSES_MAX: usize = 32;

/// Named instances that are looked for one by one where they are not in sight.
pub const MISSING_LOOKED_FOR_MAX: usize = 1_000;

/// Studies that could not be judged, and are tried again in one go.
pub const UNJUDGED_PAGE_COUNT: usize = 100;

/// Versions of one instance among which the one that is served is looked for: there are hardly two.
pub const VERSIONS_LOOKED_AT_MAX: usize = 64;

/// Bytes of the head of an instance that the matcher reads.
pub const MATCHER_HEAD_BYTES_MAX: u64 = 1 << 20;

/// Searches at once that no index answers quickly; more wait. Each may hold a list of its
/// candidates: some 24 bytes for each instance of the archive at most.
pub const LONG_SEARCHES_MAX: u32 = 8;

/// Of these, searches of one caller.
pub const LONG_SEARCHES_OF_CALLER_MAX: u32 = 2;

/// How long such a search waits for its turn, before it is refused.
pub const LONG_SEARCH_WAIT_MAX: Duration = Duration::from_secs(30);

/// Rows that one search looks at: some twenty seconds. An archive of some five million studies is
/// gone through with that.
pub const SEARCH_ROWS_MAX: u64 = 20_000_000;

/// Seconds in which further images of an examination that is in progress make no row of their own.
pub const IMAGES_NOTED_EVERY_SECONDS: i64 = 30;

/// Bounds of an archive. `Default` is right for one machine with 1 GiB to spare.
#[derive(Debug, Clone)]
pub struct StoreLimits {
    /// Bytes of instances that are on their way and in memory, all together, beyond the
    /// [`Self::own_bytes`] that each of them may have. One deposit gets a sixteenth of what is left
    /// at most; what does not fit goes to disk early, and nobody waits for what others hold.
    pub budget_bytes: u32,
    /// How long a deposit waits for its turn, before it is refused (A700H): shorter than the
    /// patience of a modality.
    pub busy_wait: Duration,
    /// Bytes that one read gives; two of them are in memory for each reader.
    pub chunk_bytes: usize,
    /// Threads that read and digest in a verification or a rebuild; no more than there are
    /// processors.
    pub examining_threads_max: usize,
    /// Bytes of a commit group from which on it is made durable beside the writing of the next one,
    /// where that waits already, or is about to come since there are several senders.
    pub finished_beside_bytes_min: u64,
    /// So many groups are made durable beside the one that is written, at most.
    pub finished_beside_count_max: usize,
    /// How long a commit may stay in the index without being durable there; the log is replayed
    /// from the last durable one after a crash, so that this is also about how much is replayed.
    pub flush_interval: Duration,
    /// Bytes of one commit group, which is written at once. One more instance may pass it, by
    /// [`Self::large_bytes`] at most. What one sync makes durable may be several of them:
    /// [`Self::finished_beside_count_max`].
    pub group_bytes_max: u64,
    /// Instances of one commit group.
    pub group_count_max: usize,
    /// Bytes of one instance (PS3.5 knows no bound; multi-frame and whole-slide objects reach
    /// gigabytes).
    pub instance_bytes_max: u64,
    /// An instance longer than this is streamed into a pack of its own instead of being held in
    /// memory.
    pub large_bytes: u64,
    /// Packs held open for reading.
    pub open_packs_max: usize,
    /// Bytes of an instance on its way that are in memory whatever others hold; one fragment may
    /// pass it.
    pub own_bytes: u64,
    /// A pack is sealed once it is this long; one group more may be in it.
    pub pack_bytes: u64,
    /// Damaged or missing entries that a report lists; all are counted.
    pub problems_listed_max: usize,
    /// Sealed instances that wait for a commit group. What is full makes deposits wait.
    pub queue_count_max: usize,
    /// Characters of the reason given for hiding.
    pub reason_chars_max: usize,
    /// Records applied at once when the log is replayed.
    pub replay_count_max: usize,
    /// Bytes of the disk that instances leave free, for the index and for hides; less on a small
    /// disk, where it is one per cent. Beyond it deposits are refused (A700H).
    pub reserve_bytes_max: u64,
    /// Bytes of results that are held until they are sent, of all searches and selections together,
    /// beyond the [`Self::results_own_bytes`] of each. One gets half of what is left at most; what
    /// needs more is refused.
    pub results_bytes_max: usize,
    /// Bytes of results that one search or selection may hold whatever others do: some 100 results.
    pub results_own_bytes: usize,
    /// Results of one search or selection.
    pub results_count_max: usize,
    /// Bounds of reading an instance's head.
    pub scan: ScanLimits,
    /// Versions of one instance that a check of its safekeeping reads; one with more is not
    /// committed.
    pub versions_checked_max: usize,
}

impl Default for StoreLimits {
    fn default() -> Self {
        Self {
            budget_bytes: 256 << 20,
            busy_wait: Duration::from_secs(10),
            chunk_bytes: 1 << 20,
            examining_threads_max: 4,
            finished_beside_bytes_min: 256 << 10,
            finished_beside_count_max: 4,
            flush_interval: Duration::from_secs(1),
            group_bytes_max: 3 << 19,
            group_count_max: 256,
            instance_bytes_max: 16 << 30,
            large_bytes: 8 << 20,
            open_packs_max: 64,
            own_bytes: 64 << 10,
            pack_bytes: 256 << 20,
            problems_listed_max: 1_000,
            queue_count_max: 1_024,
            reason_chars_max: 1_024,
            replay_count_max: 200,
            reserve_bytes_max: 256 << 20,
            results_bytes_max: 256 << 20,
            results_own_bytes: 64 << 10,
            results_count_max: 1_000_000,
            scan: ScanLimits::default(),
            versions_checked_max: 100,
        }
    }
}

impl StoreLimits {
    /// Threads that read and digest: half of them wait for the disk.
    pub(crate) fn examining_threads(&self) -> usize {
        let there_are = std::thread::available_parallelism().map_or(1, usize::from);
        let wanted = there_are.saturating_mul(2);
        self.examining_threads_max.min(wanted).max(1)
    }
}
