//! Bounds of the server itself; those of the wire and the store stand in their crates.

mod announcing;
mod commitment;
mod forwarding;
mod reports;

pub use announcing::{ANNOUNCED_PAGE_COUNT, AnnouncingBounds};
pub use commitment::CommitmentBounds;
pub use forwarding::{FORWARDS_COUNT, ForwardingBounds};
pub use reports::{REPORT_DOCUMENTS_AT_ONCE, REPORT_DOCUMENTS_LOOKED_AT_EVERY};

use std::time::Duration;

/// AE titles that get a label of their own in the metrics; titles come from the wire.
pub const AE_LABELS_MAX: usize = 200;

/// Results of one query, and instances of one retrieval; more are refused with a status, never cut
/// silently. A result takes up to about a kilobyte until it is sent.
pub const RESULTS_MAX: usize = 100_000;

/// Steps that one query of a worklist is answered with; where there are more, it ends with A700H.
/// A hospital that plans two hundred examinations a day has fewer in the nine days that a console
/// is shown.
pub const WORKLIST_STEPS_MAX: usize = 2_000;

/// Examinations that one query of a worklist looks at, so that no console has the server read
/// years; where there are more, it ends with A700H. A busy organisation has a few hundred open.
pub const WORKLIST_SCANNED_MAX: usize = 20_000;

/// Examinations of a worklist that are read at once.
pub const WORKLIST_PAGE_COUNT: usize = 200;

/// Bounds of sending studies back to AEs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SendingBounds {
    /// Sendings that are under way at once, each to another AE.
    pub at_once_max: usize,
    /// How often it is looked for what is to be sent where nobody says so.
    pub look_every: Duration,
    /// Answers after which they are written down.
    pub noted_count: usize,
    /// How long an answer waits to be written down while others come.
    pub noted_every: Duration,
    /// The pause after the first attempt that fails; each further one is twice as long.
    pub retry_first: Duration,
    /// The longest pause.
    pub retry_longest: Duration,
    /// How long it is tried.
    pub tried_for: Duration,
}

impl Default for SendingBounds {
    fn default() -> Self {
        Self {
            at_once_max: 4,
            look_every: Duration::from_secs(60),
            noted_count: 200,
            noted_every: Duration::from_secs(2),
            retry_first: Duration::from_secs(5),
            retry_longest: Duration::from_secs(600),
            tried_for: Duration::from_secs(24 * 3_600),
        }
    }
}

/// Studies that one part of a list looks at, of which its reader may see few.
pub const API_STUDIES_SCANNED_MAX: usize = 1_000;

/// Sessions of one user; a further one ends the oldest.
pub const SESSIONS_OF_USER_MAX: usize = 20;

/// How often it is looked whether a rejection was left undone, as where the disk was full.
pub const REJECTIONS_FINISHED_EVERY: Duration = Duration::from_secs(60);

/// How often it is looked which studies' term is over.
pub const RETENTION_LOOKED_AT_EVERY: Duration = Duration::from_secs(24 * 60 * 60);

/// Times that a change of a performed procedure step is tried where its device tells of it on
/// several associations at once.
pub const STEP_ATTEMPTS_MAX: usize = 8;

/// Bytes of a file of devices that is imported.
pub const DEVICES_FILE_BYTES_MAX: u64 = 16 << 20;

/// Times that a change of the registry is tried where others change the same.
pub const REGISTRY_ATTEMPTS_MAX: usize = 8;

/// Memory that all conversions for weaker peers take together. Over it a conversion waits for
/// [`CONVERSION_QUEUE_DURATION_MAX`] to begin, and one that needs more in the middle fails.
pub const CONVERSION_MEMORY_BYTES_MAX: u64 = 256 << 20;

/// How long a conversion waits for memory; after it its sub-operation fails.
pub const CONVERSION_QUEUE_DURATION_MAX: Duration = Duration::from_secs(30);

/// Bytes of a converted data set that are held until it is known that all of it can be converted.
/// What becomes longer is converted twice.
pub const CONVERTED_BYTES_HELD: usize = 2 << 20;

/// Bytes that a conversion gives at a time.
pub const CONVERTED_PIECE_BYTES: usize = 512 << 10;

/// Requests that wait to be recorded; more wait before they are taken.
pub const RECORDER_QUEUE_MAX: usize = 1_024;

/// Requests that are recorded in one write.
pub const RECORDED_AT_ONCE_MAX: usize = 256;

/// Alerts of one network that are recorded one by one; more are counted.
pub const ALERTS_ALONE_MAX: u32 = 16;

/// How long the alerts of a network are counted before a record tells how many there were.
pub const ALERTS_GATHERED_DURATION: Duration = Duration::from_secs(600);

/// Kinds of alerts that a record counts apart.
pub const ALERTS_KINDS_MAX: usize = 16;

/// Networks whose alerts are told apart; those of all others are counted together.
pub const ALERTS_NETWORKS_MAX: usize = 64;

/// How often it is looked whether counted alerts are to be recorded, and how long is waited where
/// they could not be.
pub const ALERTS_RETRY_DURATION: Duration = Duration::from_secs(10);

/// Alerts that wait to be recorded one by one while nothing can be written.
pub const ALERTS_WAITING_MAX: usize = 1_024;

/// How often it is looked whether a new day has begun, whose first the audit trail is signed.
pub const ANCHOR_LOOK_EVERY: Duration = Duration::from_secs(60);

/// Studies of one access whose patients are looked up.
pub const RECORDED_PATIENTS_MAX: usize = 64;

/// Searches and looks at studies that are remembered, so as not to record them again: 40 bytes
/// each.
pub const RECORDED_SIGHTS_MAX: usize = 16_384;

/// After how long the same search of the same caller is recorded again.
pub const SEARCHED_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// After how long it is recorded again that somebody looks at a study.
pub const SEEN_AGAIN_AFTER: Duration = Duration::from_secs(600);

/// Instances that came in and are recorded at once.
pub const ARRIVALS_AT_ONCE_MAX: usize = 1_000;

/// How long what comes in gathers before it is recorded: a study is one event then, or few.
pub const ARRIVALS_GATHERED_DURATION: Duration = Duration::from_secs(15);

/// How long is waited where what came in could not be recorded.
pub const ARRIVALS_RETRY_DURATION: Duration = Duration::from_secs(10);

/// Records of the audit trail, or studies, that are noted in the index at once.
pub const NOTES_PAGE_COUNT: usize = 256;

/// How often it is looked whether another process appended to the audit trail.
pub const NOTES_LOOK_EVERY: Duration = Duration::from_secs(5);

/// How long is waited where notes could not be taken.
pub const NOTES_RETRY_DURATION: Duration = Duration::from_secs(5);

/// Records of the audit trail that are read at once for a repository elsewhere.
pub const FORWARDED_PAGE_COUNT: usize = 32;

/// Records that a repository elsewhere is sent over one connection: only when that ends is it known
/// that they were taken.
pub const FORWARDED_AT_ONCE_MAX: u64 = 1_000;

/// After how long a connection to a repository is ended in order, so that it is known what was
/// taken.
pub const FORWARDED_CONFIRMED_EVERY: Duration = Duration::from_secs(10);

/// How long a connection to a repository may take to come about.
pub const FORWARD_CONNECT_DURATION_MAX: Duration = Duration::from_secs(10);

/// How long a repository may take nothing of what it is sent.
pub const FORWARD_WRITE_DURATION_MAX: Duration = Duration::from_secs(30);

/// How long a repository may take to end a connection once it is told that nothing more comes; it
/// has to read what it was sent before.
pub const FORWARD_END_DURATION_MAX: Duration = Duration::from_secs(30);

/// Bytes that a repository may say: syslog has no answers.
pub const FORWARD_SAID_BYTES_MAX: usize = 4 << 10;

/// Pause after a repository could not be reached; each further one is twice as long.
pub const FORWARD_RETRY_FIRST: Duration = Duration::from_secs(1);

/// Longest pause before a repository is tried again.
pub const FORWARD_RETRY_LONGEST: Duration = Duration::from_secs(60);

/// How often the log says again that a repository cannot be reached, for the same reason.
pub const FORWARD_TOLD_EVERY: Duration = Duration::from_secs(3_600);

/// How long a stop waits until a repository has what the trail says last.
pub const FORWARD_LAST_DURATION_MAX: Duration = Duration::from_secs(5);

/// Connections that the HTTP side has open at once; more wait in the listener's queue.
pub const HTTP_CONNECTIONS_MAX: usize = 256;

/// Connections of one network (an address; of IPv6 a /64) that the HTTP side has open at once; more
/// are closed. Half of all, since a whole hospital may come from one address. Programs of this
/// machine are not counted.
pub const HTTP_CONNECTIONS_OF_NETWORK_MAX: usize = 128;

/// How long a client of the HTTP side may take nothing of what it is sent.
pub const HTTP_WRITE_WAIT_MAX: Duration = Duration::from_secs(60);

/// Bytes of a request that are held before its head is complete, and of an answer before they are
/// written.
pub const HTTP_BUFFER_BYTES_MAX: usize = 128 << 10;

/// Bytes of the target of a request: path and query (414).
pub const HTTP_TARGET_BYTES_MAX: usize = 16 << 10;

/// Bytes of the header fields of a request, names and values (431).
pub const HTTP_FIELDS_BYTES_MAX: usize = 32 << 10;

/// Time in which the head of an HTTP request must be complete.
pub const HTTP_HEAD_DURATION_MAX: Duration = Duration::from_secs(10);

/// File descriptors that are kept for packs, index and HTTP when the rest is shared out to DICOM
/// connections.
pub const DESCRIPTORS_RESERVED: usize = 512;

/// DICOM connections that must be possible for a server to start.
pub const CONNECTIONS_MIN: usize = 64;

/// DICOM connections, however many descriptors there are.
pub const CONNECTIONS_MAX: usize = 16_384;

/// How often the archive is asked whether it has room, for metrics and log.
pub const ROOM_ASKED_EVERY: Duration = Duration::from_secs(1);

/// How often it is looked whether derived data has to make room for instances.
pub const DERIVED_GIVES_WAY_EVERY: Duration = Duration::from_secs(10);

/// How long running operations of associations may take to end after SIGTERM.
pub const DRAIN_MAX: Duration = Duration::from_secs(20);

/// How long requests over HTTP may take to end after that.
pub const HTTP_DRAIN_MAX: Duration = Duration::from_secs(10);

/// Wrong association requests that one address (of IPv6 a /64) may make at once; more are turned
/// away unseen. A device behind a router with others may be set up wrongly for a while.
pub const GUESSES_MAX: u32 = 10;

/// Time after which an address may be wrong once more.
pub const GUESS_RESTORED_AFTER: Duration = Duration::from_secs(1);

/// Addresses whose wrong requests are remembered; beyond that those that were wrong least are
/// forgotten.
pub const GUESSING_NETWORKS_MAX: usize = 4096;

/// Bytes of a PEM file; more is no certificate. A system's bundle has some 250 KB.
pub const PEM_BYTES_MAX: u64 = 4 << 20;

/// How often what is over of accounts is taken away: sessions, throttles, emergencies.
pub const ACCOUNTS_SWEPT_EVERY: Duration = Duration::from_secs(600);

/// Documents of accounts that are read at once.
pub const ACCOUNTS_PAGE_COUNT: usize = 500;

/// Audit records that `pacs audit` asks for at once.
pub const AUDIT_PAGE_COUNT: usize = 200;

/// Bytes of audit records in one part of an answer at the control socket.
pub const AUDIT_PAGE_BYTES_MAX: usize = 4 << 20;

/// Bytes of a request of the API: the form of an examination has 6,000 characters of text, each of
/// which may take six bytes.
pub const API_BODY_BYTES_MAX: usize = 64 << 10;

/// Entries of a part of a list, where whoever asks does not say how many.
pub const API_PAGE_COUNT: usize = 50;

/// Entries of a part of a list.
pub const API_PAGE_COUNT_MAX: usize = 200;

/// Parameters of a request of the API.
pub const API_PARAMETERS_MAX: usize = 20;

/// Parts of what comes in that somebody who looks at examinations may be behind.
pub const API_FEED_BATCHES_MAX: usize = 64;

/// Changes of one part of what comes in.
pub const API_FEED_CHANGES_MAX: usize = 500;

/// How long changes are gathered for those who look at examinations.
pub const API_FEED_GATHERED_FOR: Duration = Duration::from_millis(200);

/// Streams of events that are open at once.
pub const API_STREAMS_MAX: usize = 64;

/// Of these, those of one user.
pub const API_STREAMS_OF_USER_MAX: usize = 8;

/// Events that wait for whoever reads a stream.
pub const API_STREAM_EVENTS_MAX: usize = 16;

/// How long a stream lasts at most; then its reader comes again.
pub const API_STREAM_LIFE_MAX: Duration = Duration::from_secs(3_600);

/// How often it is looked whether whoever reads a stream is still signed in and may see it.
pub const API_STREAM_CHECKED_EVERY: Duration = Duration::from_secs(2);

/// How often a stream says that it is there.
pub const API_STREAM_KEPT_ALIVE_EVERY: Duration = Duration::from_secs(15);

/// Instances that one event lists; of those beyond it has the number.
pub const API_STREAM_INSTANCES_MAX: usize = 100;

/// Parts of what came in that are told again to whoever comes again.
pub const API_STREAM_REPLAYED_BATCHES_MAX: usize = 20;

/// Parts of a worklist that are read for one part of which a filter leaves few.
pub const WORKLIST_PARTS_MAX: usize = 20;

/// Characters of an `Idempotency-Key`.
pub const API_REQUEST_KEY_CHARS: std::ops::RangeInclusive<usize> = 8..=64;

/// Hours for which it is known that a request with an `Idempotency-Key` was done.
pub const API_REQUESTS_KNOWN_HOURS: i64 = 24;

/// How often requests that nobody repeats any more are forgotten.
pub const API_REQUESTS_SWEPT_EVERY: Duration = Duration::from_secs(3_600);

/// Devices that one part of a list looks at, of which its reader may see few.
pub const API_DEVICES_SCANNED_MAX: usize = 2_000;

/// Users that one part of a list looks at, of whom its reader may see few.
pub const API_USERS_SCANNED_MAX: usize = 2_000;

/// Emergencies that one part of a list looks at, of which most are judged: they are kept for ever.
pub const API_EMERGENCIES_SCANNED_MAX: usize = 2_000;

/// Audit records that one part of a list looks at, of which its reader may see few.
pub const API_AUDIT_SCANNED_MAX: usize = 2_000;

/// Days of one period that figures are given for.
pub const API_STATISTICS_DAYS_MAX: i64 = 92;

/// Time in which the body of a request of the API must be there.
pub const API_BODY_DURATION_MAX: Duration = Duration::from_secs(10);

/// Patients whom one doctor has open in an emergency at once.
pub const BREAK_GLASS_OPEN_PER_USER_MAX: usize = 5;

/// Characters of what others call a user.
pub const DISPLAY_NAME_CHARS_MAX: usize = 128;

/// Memory that the hash of a password may ask for, in KiB, whatever a document says.
pub const PASSWORD_HASH_MEMORY_KIB_MAX: u32 = 1 << 20;

/// Passes of the hash of a password.
pub const PASSWORD_HASH_PASSES_MAX: u32 = 16;

/// How long a sign-in waits for others to be hashed.
pub const PASSWORD_HASH_WAIT_MAX: Duration = Duration::from_secs(10);

/// Memory that all hashes of passwords together may ask for, in KiB, unless one alone asks for
/// more.
pub const PASSWORD_HASHES_KIB_MAX: usize = 1 << 20;

/// Passwords that are hashed at once, for each core.
pub const PASSWORD_HASHES_PER_CORE_MAX: usize = 2;

/// How often what could not be told to the audit trail at the start is tried again.
pub const TOLD_AGAIN_EVERY: Duration = Duration::from_secs(10);

/// Seconds after which it is kept that a session was used.
pub const SESSION_USE_KEPT_EVERY_S: i64 = 60;

/// How long the token is good by which the first account is made.
pub const SET_UP_TOKEN_LIFE_MINUTES: i64 = 15;

/// Days, for which a password that somebody else gave is good for choosing another one: whoever is
/// told theirs before a weekend or a holiday is in time, and one that nobody used, since they sign
/// in by a provider, is no way in for ever.
pub const FIRST_PASSWORD_LIFE_DAYS: i64 = 7;

/// How often a wrong password is tried to be kept, where others of the same network are wrong at
/// the same time.
pub const THROTTLE_ATTEMPTS_MAX: usize = 64;

/// Characters of the name of a token.
pub const TOKEN_NAME_CHARS_MAX: usize = 64;

/// Tokens of clients; each request compares with all of them.
pub const TOKENS_MAX: usize = 1_000;

/// Bytes of the file of tokens: some 300 for each.
pub const TOKENS_FILE_BYTES_MAX: u64 = 1 << 20;

/// Characters of a user's name that are kept of what a device names.
pub const USER_NAME_CHARS_MAX: usize = 64;

/// Connections to the control socket at once.
pub const CONTROL_CONNECTIONS_MAX: u32 = 4;

/// Bytes of the head of an answer of an OpenID provider.
pub const OIDC_HEAD_BYTES_MAX: usize = 32 << 10;

/// Bytes of what an OpenID provider says of itself.
pub const OIDC_DISCOVERY_BYTES_MAX: usize = 64 << 10;

/// Bytes of the keys of an OpenID provider.
pub const OIDC_KEYS_BYTES_MAX: usize = 256 << 10;

/// Keys of an OpenID provider; those beyond are not looked at.
pub const OIDC_KEYS_MAX: usize = 64;

/// Bytes of the tokens that an OpenID provider gives for a code.
pub const OIDC_TOKENS_BYTES_MAX: usize = 128 << 10;

/// How long it is believed what an OpenID provider says of itself and of its keys.
pub const OIDC_BELIEVED_FOR: Duration = Duration::from_secs(3_600);

/// How long the keys of an OpenID provider are not asked for again where one is not among them.
pub const OIDC_KEYS_ASKED_AGAIN_AFTER: Duration = Duration::from_secs(10);

/// How long an OpenID provider is left in peace that could not be asked.
pub const OIDC_PAUSE: Duration = Duration::from_secs(2);

/// Questions to an OpenID provider that are under way at once.
pub const OIDC_UNDER_WAY_MAX: usize = 16;

/// How long a sign-in waits for others to be answered by the OpenID provider.
pub const OIDC_QUEUE_DURATION_MAX: Duration = Duration::from_secs(5);

/// Time for which somebody who has signed out waits for the provider, where what it says of itself
/// is not known any more. They are signed out here, and think that nothing happened if it takes
/// longer.
pub const OIDC_LEAVE_DURATION_MAX: Duration = Duration::from_secs(3);

/// How long somebody may take at the OpenID provider.
pub const OIDC_SIGN_IN_LIFE: Duration = Duration::from_secs(600);

/// Sign-ins that are at the OpenID provider at once; of more the oldest are forgotten.
pub const OIDC_SIGN_INS_MAX: usize = 4_000;

/// Of these, those of one network.
pub const OIDC_SIGN_INS_OF_NETWORK_MAX: usize = 200;

/// Seconds by which the clock of an OpenID provider may be wrong.
pub const OIDC_CLOCK_SKEW_S_MAX: i64 = 60;

/// Seconds since an ID token was issued.
pub const OIDC_TOKEN_AGE_S_MAX: i64 = 600;

/// Characters of what an OpenID provider has a browser bring: code, state and the like.
pub const OIDC_PARAMETER_CHARS_MAX: usize = 2_048;

/// Bytes of a file with a secret that the archive shows others.
pub const SECRET_FILE_BYTES_MAX: u64 = 4 << 10;

/// Time in which a mail server takes one message.
pub const MAIL_DURATION_MAX: Duration = Duration::from_secs(60);

/// Addresses that e-mail may go to.
pub const MAIL_ADDRESSES_MAX: usize = 100;

/// Characters of where a browser goes once somebody is signed in.
pub const RETURN_TO_CHARS_MAX: usize = 1_024;

/// Characters of what the audit trail keeps of somebody whom an OpenID provider names and nobody
/// here knows.
pub const AUDIT_NAME_CHARS_MAX: usize = 64;

/// Identities of an OpenID provider that one account is linked with.
pub const EXTERNAL_IDENTITIES_MAX: usize = 8;

/// Characters of an issuer that an account is linked with.
pub const ISSUER_CHARS_MAX: usize = 512;

/// Characters of a subject (OpenID Connect Core 1.0, 2: 255 of ASCII).
pub const SUBJECT_CHARS_MAX: usize = 255;

/// Bytes of the head of an answer of the citizen register.
pub const REGISTER_HEAD_BYTES_MAX: usize = 64 << 10;

/// Answers of the citizen register that are kept for those who asked; of more the newest.
pub const REGISTER_ANSWERS_KEPT_MAX: usize = 2_000;

/// How long a question to the citizen register waits for others to be answered.
pub const REGISTER_QUEUE_DURATION_MAX: Duration = Duration::from_secs(5);

/// Bytes of a table of citizens: it is held in memory.
pub const REGISTER_FILE_BYTES_MAX: u64 = 256 << 20;

/// How often it is looked whether the table of citizens has changed.
pub const REGISTER_FILE_LOOKED_AT_EVERY: Duration = Duration::from_secs(2);

/// Bytes of a list of organisations.
pub const ORGANISATIONS_FILE_BYTES_MAX: u64 = 8 << 20;

/// Bytes of a request at the control socket; an organisation is the longest.
pub const CONTROL_REQUEST_BYTES_MAX: u64 = 64 << 10;

/// Bytes of a part of an answer at the control socket: a document has at most 1 MiB, and takes up
/// to six times that as JSON.
pub const CONTROL_LINE_BYTES_MAX: u64 = 8 << 20;

/// How long the control socket waits for a request, and for each part of an answer to be taken.
pub const CONTROL_WAIT_DURATION_MAX: Duration = Duration::from_secs(60);

/// Files that `pacs` has found and not yet sent or deposited.
pub const FOUND_AHEAD_MAX: usize = 256;

/// Files that a journal of `pacs` remembers; those beyond are done again. Each takes about 40
/// bytes of memory.
pub const JOURNAL_ENTRIES_MAX: usize = 20_000_000;

/// Associations over which `pacs store` sends at once.
pub const ASSOCIATIONS_MAX: u16 = 64;

/// Deposits that `pacs import` makes at once: as many share one sync.
pub const DEPOSITS_MAX: u16 = 256;

/// Bytes of the head of an instance that `pacs export` looks at for the directory.
pub const EXPORT_HEAD_BYTES_MAX: usize = 64 << 20;

/// How often a change of a workitem is tried while others change its examination.
pub const WORKITEM_ATTEMPTS_MAX: usize = 16;

/// Examinations that one search for reading tasks looks at, and each reading of a list counts as
/// one: about a tenth of a second. It is more than twice as many as there can be organisations.
pub const READING_TASKS_SCANNED_MAX: usize = 2_000;
