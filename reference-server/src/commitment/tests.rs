//! Requests and reports over time: a clock that is turned, peers that are not there.

use super::*;
use crate::config::{Config, Options};
use crate::forwarding::Desks;
use crate::metrics::Metrics;
use crate::scp::commitment::CommitmentService;
use async_trait::async_trait;
use bytes::Bytes;
use pacs_core::access::{Hide, PermitAll, Store};
use pacs_core::commitment::{CommitmentReport, FailureReason};
use pacs_core::encode::write_data_set;
use pacs_core::limits::CommitmentLimits;
use pacs_core::tag::{Vr, tags};
use pacs_core::uid::TransactionUid;
use pacs_core::{Attributes, SopClassUid, SopInstanceUid, TransferSyntaxUid};
use pacs_net::service::{CommitmentScu, EventReport, Peer};
use pacs_net::sop_class::{EXPLICIT_VR_LITTLE_ENDIAN, STORAGE_COMMITMENT_PUSH};
use pacs_net::status::EventStatus;
use pacs_net::{Acceptor, ByteStream, Requestor, RequestorError};
use pacs_store::Announced;
use pacs_store::index::Target;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::Duration;
use tokio::io::{DuplexStream, duplex};
use tokio::sync::mpsc;

/// Where reports are tried to be brought: each attempt is told, with when it was made.
#[derive(Debug)]
struct Nobody(mpsc::UnboundedSender<Instant>);

#[async_trait]
impl Connector for Nobody {
    async fn connect(&self, address: &str, called: &AeTitle) -> io::Result<Box<dyn ByteStream>> {
        assert_eq!((address, called.as_str()), ("192.0.2.7:104", "CT1"));
        self.0.send(Instant::now()).ok();
        Err(io::ErrorKind::ConnectionRefused.into())
    }
}

/// A peer that takes reports, and answers them with one status after the other.
#[derive(Debug)]
struct Somebody {
    reports: mpsc::UnboundedSender<CommitmentReport>,
    answers: Mutex<Vec<EventStatus>>,
}

#[async_trait]
impl CommitmentScu for Somebody {
    async fn report(&self, peer: &Peer, report: EventReport) -> EventStatus {
        assert_eq!(peer.calling_ae_title.as_str(), "PACS");
        let (bytes, syntax) = (&report.information, &report.transfer_syntax);
        let read = CommitmentReport::read(bytes, syntax, &CommitmentLimits::default()).unwrap();
        assert_eq!(read.event_type(), report.event_type);
        self.reports.send(read).ok();
        let answer = self.answers.lock().unwrap().pop();
        answer.unwrap_or(EventStatus::SUCCESS)
    }
}

#[async_trait]
impl Connector for Somebody {
    async fn connect(&self, _address: &str, _called: &AeTitle) -> io::Result<Box<dyn ByteStream>> {
        let (ours, theirs) = duplex(64 << 10);
        let scu = Self {
            reports: self.reports.clone(),
            answers: Mutex::new(std::mem::take(&mut *self.answers.lock().unwrap())),
        };
        let acceptor = Acceptor::builder(title("CT1")).commitment_reports(Arc::new(scu));
        let acceptor = acceptor.build().unwrap();
        tokio::spawn(async move {
            let _ending = acceptor
                .serve_stream(theirs, ([192, 0, 2, 7], 9).into())
                .await;
        });
        Ok(Box::new(ours))
    }
}

fn title(text: &str) -> AeTitle {
    AeTitle::parse(text).unwrap()
}

fn config(more: &str) -> Config {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let toml = "[[dicom.ae]]\ntitle = \"CT1\"\naddress = \"192.0.2.7:104\"\nallow = [\"commit\"]\n";
    file.write_all(toml.as_bytes()).unwrap();
    file.write_all(more.as_bytes()).unwrap();
    let options = Options {
        config: Some(file.path().into()),
        ..Options::default()
    };
    Config::load(&options).unwrap()
}

/// Commitment over an archive that holds nothing, in `folder`.
async fn commitments(
    folder: &Path,
    connector: Arc<dyn Connector>,
    change: impl FnOnce(&mut CommitmentBounds),
) -> Commitments {
    configured(folder, connector, change, "").await
}

/// The same with `more` settings; nothing is sent on anywhere, whatever they say.
async fn configured(
    folder: &Path,
    connector: Arc<dyn Connector>,
    change: impl FnOnce(&mut CommitmentBounds),
    more: &str,
) -> Commitments {
    let mut bounds = CommitmentBounds::default();
    change(&mut bounds);
    let (archive, config) = (crate::local::open(folder).await.unwrap(), config(more));
    let metrics = Metrics::new().unwrap();
    let desks = Desks::open(&config, &archive, &metrics).await.unwrap();
    let confirmations = desks.confirmations(&archive).unwrap();
    let commitments = Commitments::open(Parts {
        archive,
        access: Arc::new(Access::new(&config)),
        our_title: title("PACS"),
        connector,
        confirmations,
        counters: Counters::new(&prometheus::Registry::new()).unwrap(),
        bounds,
    });
    let commitments = commitments.await.unwrap();
    commitments.start();
    commitments
}

async fn close(commitments: Commitments) {
    commitments.stop().await;
    commitments.shared.parts.archive.close().await;
}

/// An association of `calling` that asks.
async fn asking(commitments: &Commitments, calling: &str) -> Requestor<DuplexStream> {
    let (ours, theirs) = duplex(64 << 10);
    let access = Arc::clone(&commitments.shared.parts.access);
    let service = CommitmentService::new(commitments.clone(), access);
    let acceptor = Acceptor::builder(title("PACS")).commitment(Arc::new(service));
    let acceptor = acceptor.build().unwrap();
    tokio::spawn(async move {
        let _ending = acceptor
            .serve_stream(theirs, ([192, 0, 2, 7], 9).into())
            .await;
    });
    Requestor::builder(title(calling), title("PACS"))
        .context(STORAGE_COMMITMENT_PUSH, &[EXPLICIT_VR_LITTLE_ENDIAN])
        .connect_stream(ours)
        .await
        .unwrap()
}

fn request(transaction: u32, instances: &[u32]) -> CommitmentRequest {
    let reference = |number: &u32| Reference {
        sop_class: SopClassUid::parse("1.2.840.10008.5.1.4.1.1.2").unwrap(),
        sop_instance: SopInstanceUid::parse(&format!("1.2.3.{number}")).unwrap(),
    };
    CommitmentRequest {
        transaction: TransactionUid::parse(&format!("2.25.{transaction}")).unwrap(),
        references: instances.iter().map(reference).collect(),
    }
}

async fn ask(
    association: &mut Requestor<DuplexStream>,
    request: &CommitmentRequest,
) -> Result<(), RequestorError> {
    let context = association.context(STORAGE_COMMITMENT_PUSH).unwrap();
    let information = request.to_data_set(&context.transfer_syntax).unwrap();
    let (reports, _none) = mpsc::unbounded_channel();
    let scu = Somebody {
        reports,
        answers: Mutex::default(),
    };
    association
        .request_commitment(Bytes::from(information), &scu)
        .await
}

/// Asks and goes away.
async fn ask_and_leave(commitments: &Commitments, request: &CommitmentRequest) {
    let mut association = asking(commitments, "CT1").await;
    ask(&mut association, request).await.unwrap();
    association.release().await.unwrap();
}

fn somebody() -> (Arc<Somebody>, mpsc::UnboundedReceiver<CommitmentReport>) {
    let (reports, taken) = mpsc::unbounded_channel();
    let somebody = Somebody {
        reports,
        answers: Mutex::default(),
    };
    (Arc::new(somebody), taken)
}

/// Waits until nothing is open any more, on a clock that runs ahead where nothing happens.
async fn all_closed(commitments: &Commitments) {
    while commitments.counts().0 > 0 {
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_report_is_tried_for_a_day_with_longer_pauses_and_then_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let (told, mut attempts) = mpsc::unbounded_channel();
    let commitments = commitments(folder.path(), Arc::new(Nobody(told)), |_| ()).await;
    let began = Instant::now();

    ask_and_leave(&commitments, &request(1, &[1, 2])).await;
    all_closed(&commitments).await;

    let after = began.elapsed();
    let hour = Duration::from_secs(3600);
    assert!(after > 23 * hour && after < 25 * hour, "{after:?}");
    let mut times = Vec::new();
    while let Ok(at) = attempts.try_recv() {
        times.push(at.duration_since(began).as_secs());
    }
    let pauses: Vec<u64> = times.windows(2).map(|two| two[1] - two[0]).collect();
    assert!(pauses.starts_with(&[5, 10, 20, 40, 80]), "{pauses:?}");
    assert!(
        pauses.is_sorted() && pauses.last() == Some(&1800),
        "{pauses:?}"
    );
    // It is shown, also after a restart, and the device may ask again.
    assert_eq!(commitments.counts(), (0, 1));
    close(commitments).await;
    let (somebody, mut taken) = somebody();
    let commitments = self::commitments(folder.path(), somebody, |_| ()).await;
    assert_eq!(commitments.counts(), (0, 1));
    ask_and_leave(&commitments, &request(1, &[1, 2])).await;
    assert_eq!(taken.recv().await.unwrap().failed.len(), 2);
    all_closed(&commitments).await;
    assert_eq!(commitments.counts(), (0, 0));
    close(commitments).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_open_at_a_restart_is_reported_after_it_however_long_it_took() {
    let folder = tempfile::tempdir().unwrap();
    let (told, mut attempts) = mpsc::unbounded_channel();
    let at_first = commitments(folder.path(), Arc::new(Nobody(told)), |_| ()).await;
    ask_and_leave(&at_first, &request(1, &[1, 2])).await;
    attempts.recv().await.unwrap();
    assert_eq!(at_first.counts(), (1, 0));
    close(at_first).await;

    let (somebody, mut taken) = somebody();
    // All the time there was is over already.
    let later = commitments(folder.path(), somebody, |bounds| {
        bounds.retry_for = Duration::ZERO;
    });
    let later = later.await;
    let report = taken.recv().await.unwrap();

    assert_eq!(report.transaction.as_str(), "2.25.1");
    assert_eq!(report.retrieve_ae_title, Some(title("PACS")));
    let reason = FailureReason::NO_SUCH_OBJECT_INSTANCE;
    assert!(report.failed.iter().all(|(_, found)| *found == reason));
    assert_eq!((report.committed.len(), report.failed.len()), (0, 2));
    all_closed(&later).await;
    close(later).await;
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_cannot_take_it_now_gets_it_again_and_one_that_will_not_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let (somebody, mut taken) = somebody();
    let last_first = [
        EventStatus::NO_SUCH_SOP_INSTANCE,
        EventStatus::RESOURCE_LIMITATION,
        EventStatus::PROCESSING_FAILURE,
    ];
    somebody.answers.lock().unwrap().push(last_first[2].clone());
    let commitments = commitments(folder.path(), Arc::clone(&somebody) as _, |_| ()).await;

    ask_and_leave(&commitments, &request(1, &[1])).await;
    for answer in last_first[..2].iter().rev() {
        taken.recv().await.unwrap();
        assert_eq!(commitments.counts(), (1, 0));
        somebody.answers.lock().unwrap().push(answer.clone());
    }
    taken.recv().await.unwrap();
    all_closed(&commitments).await;

    assert_eq!(commitments.counts(), (0, 0));
    assert!(taken.try_recv().is_err());
    close(commitments).await;
}

#[tokio::test(start_paused = true)]
async fn what_was_checked_too_long_ago_is_checked_again_before_it_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let (somebody, mut taken) = somebody();
    let commitments = commitments(folder.path(), somebody, |bounds| {
        bounds.checked_for = Duration::from_millis(200);
        bounds.checks_max = 0;
    });
    let commitments = commitments.await;
    ask_and_leave(&commitments, &request(1, &[1])).await;
    // The check is held back until it is older than it may be.
    tokio::time::sleep(Duration::from_millis(300)).await;
    commitments.shared.checks.add_permits(1);

    let report = taken.recv().await.unwrap();

    assert_eq!(report.failed.len(), 1);
    let checked = commitments.shared.parts.counters.checked_count("0112");
    assert_eq!(checked, 2);
    all_closed(&commitments).await;
    close(commitments).await;
}

#[tokio::test(start_paused = true)]
async fn more_than_an_ae_may_have_open_is_refused_and_others_are_not_in_its_way() {
    let folder = tempfile::tempdir().unwrap();
    let (told, _attempts) = mpsc::unbounded_channel();
    let commitments = commitments(folder.path(), Arc::new(Nobody(told)), |bounds| {
        bounds.open_per_ae_max = 3;
        bounds.references_per_ae_max = 10;
        bounds.open_max = 4;
    });
    let commitments = commitments.await;
    let limited = |asked: Result<(), RequestorError>| {
        matches!(asked, Err(RequestorError::Status { code: 0x0213, .. }))
    };

    let mut association = asking(&commitments, "CT1").await;
    ask(&mut association, &request(1, &[1])).await.unwrap();
    ask(&mut association, &request(2, &[1, 2, 3, 4]))
        .await
        .unwrap();
    let too_long: Vec<u32> = (0..6).collect();
    assert!(limited(ask(&mut association, &request(3, &too_long)).await));
    // The same instance twice is one.
    ask(&mut association, &request(3, &[1; 100])).await.unwrap();
    assert!(limited(ask(&mut association, &request(4, &[1])).await));
    // What is open already takes no more room.
    ask(&mut association, &request(2, &[4, 3, 2, 1]))
        .await
        .unwrap();
    assert_eq!(commitments.counts(), (3, 0));

    association.abort().await;
    close(commitments).await;
}

#[tokio::test(start_paused = true)]
async fn a_transaction_uid_in_use_for_something_else_fails_as_a_whole() {
    let folder = tempfile::tempdir().unwrap();
    let (told, _attempts) = mpsc::unbounded_channel();
    let at_first = commitments(folder.path(), Arc::new(Nobody(told)), |_| ()).await;
    ask_and_leave(&at_first, &request(1, &[1, 2])).await;
    ask_and_leave(&at_first, &request(1, &[3])).await;
    ask_and_leave(&at_first, &request(1, &[2, 1])).await;
    ask_and_leave(&at_first, &request(1, &[3])).await;
    assert_eq!(at_first.counts(), (2, 0));
    close(at_first).await;

    let (somebody, mut taken) = somebody();
    let later = commitments(folder.path(), somebody, |_| ()).await;
    let (one, other) = (taken.recv().await.unwrap(), taken.recv().await.unwrap());

    let duplicate = FailureReason::DUPLICATE_TRANSACTION_UID;
    let of = |report: &CommitmentReport| {
        let all = report.failed.iter().map(|(_, reason)| *reason);
        (report.failed.len(), all.collect::<BTreeSet<_>>())
    };
    let mut both = [of(&one), of(&other)];
    both.sort();
    assert_eq!(both[0], (1, BTreeSet::from([duplicate])));
    let unknown = FailureReason::NO_SUCH_OBJECT_INSTANCE;
    assert_eq!(both[1], (2, BTreeSet::from([unknown])));
    all_closed(&later).await;
    close(later).await;
}

/// Puts instance `number` into the archive.
pub(crate) async fn deposit(archive: &Archive, number: u32) -> SopInstanceUid {
    let store = permit::<Store>(&PermitAll, Caller::System { task: "test" }).unwrap();
    let reference = request(1, &[number]).references.remove(0);
    let mut attributes = Attributes::new();
    for (tag, uid) in [
        (tags::SOP_CLASS_UID, reference.sop_class.as_str()),
        (tags::SOP_INSTANCE_UID, reference.sop_instance.as_str()),
        (tags::STUDY_INSTANCE_UID, "1.2.3"),
        (tags::SERIES_INSTANCE_UID, "1.2.3.0"),
    ] {
        attributes.insert_text(tag, Vr::UI, uid);
    }
    let announced = Announced {
        sop_class: reference.sop_class,
        sop_instance: reference.sop_instance.clone(),
        transfer_syntax: TransferSyntaxUid::parse(EXPLICIT_VR_LITTLE_ENDIAN).unwrap(),
    };
    let data_set = write_data_set(&attributes, &announced.transfer_syntax).unwrap();
    let provenance = archive.provenance(store.caller());
    let mut deposit = archive.deposit(&store, announced, provenance).unwrap();
    deposit.write(data_set.into()).await.unwrap();
    deposit.seal().await.unwrap();
    reference.sop_instance
}

/// A gateway whose centre is away.
const GATEWAY: &str = "[[dicom.ae]]\ntitle = \"CENTRE\"\naddress = \"192.0.2.8:104\"\n\
                       sees = \"everything\"\n[[forward]]\nto = \"CENTRE\"\nconfirm = true\n";

#[tokio::test(start_paused = true)]
async fn what_the_centre_has_not_confirmed_is_put_off_for_as_long_as_is_said_and_then_fails() {
    let folder = tempfile::tempdir().unwrap();
    let (somebody, mut taken) = somebody();
    let gateway = configured(folder.path(), Arc::clone(&somebody) as _, |_| (), GATEWAY).await;
    deposit(&gateway.shared.parts.archive, 1).await;
    ask_and_leave(&gateway, &request(1, &[1])).await;

    // Longer than a report is tried that can be brought.
    tokio::time::sleep(Duration::from_secs(48 * 3_600)).await;

    assert_eq!(gateway.counts(), (1, 0));
    assert!(taken.try_recv().is_err(), "nobody has said anything");
    close(gateway).await;
    let shorter = |bounds: &mut CommitmentBounds| bounds.put_off_for = Duration::ZERO;
    let gateway = configured(folder.path(), somebody, shorter, GATEWAY).await;
    let report = taken.recv().await.unwrap();
    assert_eq!((report.committed.len(), report.failed.len()), (0, 1));
    assert_eq!(report.failed[0].1, FailureReason::RESOURCE_LIMITATION);
    all_closed(&gateway).await;
    close(gateway).await;
}

/// Nobody can retrieve it, and whoever put it into the trash may mean to erase it.
#[tokio::test(start_paused = true)]
async fn what_is_in_the_trash_is_not_committed_until_it_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let (somebody, mut taken) = somebody();
    let commitments = commitments(folder.path(), somebody, |_| ()).await;
    let archive = commitments.shared.parts.archive.clone();
    let hide = permit::<Hide>(&PermitAll, Caller::System { task: "test" }).unwrap();
    let shown = deposit(&archive, 1).await;
    let hidden = deposit(&archive, 2).await;
    let target = || Target::Instance(hidden.clone());
    archive
        .hide(&hide, target(), "wrong patient")
        .await
        .unwrap();

    ask_and_leave(&commitments, &request(1, &[1, 2])).await;
    let report = taken.recv().await.unwrap();
    assert_eq!(report.committed[0].sop_instance, shown);
    let (failed, reason) = &report.failed[0];
    assert_eq!(failed.sop_instance, hidden);
    assert_eq!(*reason, FailureReason::NO_SUCH_OBJECT_INSTANCE);

    archive.restore(&hide, target()).await.unwrap();
    ask_and_leave(&commitments, &request(2, &[1, 2])).await;
    assert_eq!(taken.recv().await.unwrap().committed.len(), 2);
    close(commitments).await;
}

#[tokio::test(start_paused = true)]
async fn whoever_may_not_ask_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (told, _attempts) = mpsc::unbounded_channel();
    let commitments = commitments(folder.path(), Arc::new(Nobody(told)), |_| ()).await;
    // Its title is configured for this address, and another one is not CT1's.
    let (ours, theirs) = duplex(64 << 10);
    let access = Arc::clone(&commitments.shared.parts.access);
    let service = CommitmentService::new(commitments.clone(), access);
    let acceptor = Acceptor::builder(title("PACS")).commitment(Arc::new(service));
    let acceptor = acceptor.build().unwrap();
    tokio::spawn(async move {
        let _ending = acceptor
            .serve_stream(theirs, ([10, 0, 0, 9], 9).into())
            .await;
    });
    let mut association = Requestor::builder(title("CT1"), title("PACS"))
        .context(STORAGE_COMMITMENT_PUSH, &[EXPLICIT_VR_LITTLE_ENDIAN])
        .connect_stream(ours)
        .await
        .unwrap();

    let refused = ask(&mut association, &request(1, &[1])).await.unwrap_err();

    assert!(matches!(
        refused,
        RequestorError::Status { code: 0x0124, .. }
    ));
    close(commitments).await;
}
