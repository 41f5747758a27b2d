//! A destination that takes, refuses, breaks off and confirms as it is told.

use super::ledger::Content;
use super::*;
use crate::accounts::{AccountRules, Accounts};
use crate::clock::World;
use crate::commitment::tests::deposit;
use crate::config::Options;
use crate::decoding::decoders;
use crate::overlays::RegistryOverlays;
use crate::recorder::alerts::Alerts;
use crate::scp::ConversionCounters;
use crate::scp::person::People;
use async_trait::async_trait;
use bytes::Bytes;
use pacs_core::access::{Hide, PermitAll};
use pacs_core::commitment::{CommitmentReport, CommitmentRequest, FailureReason};
use pacs_core::limits::CommitmentLimits;
use pacs_core::{SopInstanceUid, TransferSyntaxUid};
use pacs_net::service::{
    ActionRequest, CommitmentScp, EventLine, EventReport, Peer, StorageScp, StoreRequest, StoreSink,
};
use pacs_net::status::{ActionStatus, EventStatus, StoreStatus};
use pacs_net::{Acceptor, ByteStream, NetLimits};
use pacs_store::index::Target;
use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::{Mutex, MutexGuard};
use tokio::io::duplex;
use tokio::time::{Instant, sleep};

/// What the centre makes of an instance.
#[derive(Debug, Clone)]
enum Meets {
    Status(StoreStatus),
    BreaksOff,
}

/// What it says of a request for commitment.
#[derive(Debug, Clone, Copy)]
enum Says {
    Nothing,
    NotThere,
}

#[derive(Debug, Default)]
struct State {
    /// How often each instance came whole.
    came: BTreeMap<String, usize>,
    /// What is made of the next times that one comes; of others it takes all.
    meets: BTreeMap<String, VecDeque<Meets>>,
    /// What is said of the next requests; of others that all is safe.
    says: VecDeque<Says>,
    asked_count: usize,
}

/// A destination in memory. Clones are the same.
#[derive(Debug, Clone, Default)]
struct Centre(Arc<Mutex<State>>);

impl Centre {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    fn meets(&self, instance: &SopInstanceUid, how: Meets, count: usize) {
        let all = std::iter::repeat_n(how, count).collect();
        self.state().meets.insert(instance.to_string(), all);
    }

    fn came(&self, instance: &SopInstanceUid) -> usize {
        let came = self.state().came.get(instance.as_str()).copied();
        came.unwrap_or_default()
    }
}

#[async_trait]
impl Connector for Centre {
    async fn connect(&self, _address: &str, _called: &AeTitle) -> io::Result<Box<dyn ByteStream>> {
        let (ours, theirs) = duplex(64 << 10);
        let acceptor = Acceptor::builder(title("CENTRE"))
            .storage(Arc::new(self.clone()))
            .commitment(Arc::new(self.clone()))
            .limits(NetLimits {
                event_quiet: Duration::ZERO,
                ..NetLimits::default()
            });
        let acceptor = acceptor.build().unwrap();
        tokio::spawn(async move {
            let _ending = acceptor
                .serve_stream(theirs, ([192, 0, 2, 7], 9).into())
                .await;
        });
        Ok(Box::new(ours))
    }
}

#[async_trait]
impl StorageScp for Centre {
    async fn begin(
        &self,
        _peer: &Peer,
        request: &StoreRequest,
    ) -> Result<Box<dyn StoreSink>, StoreStatus> {
        let instance = request.sop_instance.to_string();
        Ok(Box::new(Coming(self.clone(), instance)))
    }
}

/// An instance on its way.
struct Coming(Centre, String);

#[async_trait]
impl StoreSink for Coming {
    async fn write(&mut self, _fragment: Bytes) -> Result<(), StoreStatus> {
        Ok(())
    }

    async fn end(self: Box<Self>) -> StoreStatus {
        let Self(centre, instance) = *self;
        let meets = {
            let mut state = centre.state();
            *state.came.entry(instance.clone()).or_default() += 1;
            state.meets.get_mut(&instance).and_then(VecDeque::pop_front)
        };
        match meets {
            None => StoreStatus::SUCCESS,
            Some(Meets::Status(status)) => status,
            Some(Meets::BreaksOff) => panic!("the association breaks off"),
        }
    }
}

#[async_trait]
impl CommitmentScp for Centre {
    async fn request(&self, _peer: &Peer, request: ActionRequest, line: EventLine) -> ActionStatus {
        let limits = CommitmentLimits::default();
        let (bytes, syntax) = (&request.information, &request.transfer_syntax);
        let request = CommitmentRequest::read(bytes, syntax, &limits).unwrap();
        let says = {
            let mut state = self.state();
            state.asked_count += 1;
            state.says.pop_front()
        };
        if matches!(says, Some(Says::Nothing)) {
            return ActionStatus::SUCCESS;
        }
        let mut report = report_of(&request, &[]);
        if matches!(says, Some(Says::NotThere)) {
            let all = std::mem::take(&mut report.committed).into_iter();
            let reason = FailureReason::NO_SUCH_OBJECT_INSTANCE;
            report.failed = all.map(|reference| (reference, reason)).collect();
        }
        tokio::spawn(async move {
            let information = report.to_data_set(line.transfer_syntax()).unwrap();
            line.report(report.event_type(), information.into())
                .await
                .ok();
        });
        ActionStatus::SUCCESS
    }
}

fn report_of(request: &CommitmentRequest, without: &[usize]) -> CommitmentReport {
    let references = request.references.iter().enumerate();
    let committed = references.filter(|(at, _)| !without.contains(at));
    CommitmentReport {
        transaction: request.transaction.clone(),
        retrieve_ae_title: None,
        committed: committed.map(|(_, reference)| reference.clone()).collect(),
        failed: Vec::new(),
    }
}

fn title(text: &str) -> AeTitle {
    AeTitle::parse(text).unwrap()
}

fn access() -> Arc<Access> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let toml = "[[dicom.ae]]\ntitle = \"CENTRE\"\naddress = \"192.0.2.7:104\"\n\
                sees = \"everything\"\n[[forward]]\nto = \"CENTRE\"\nconfirm = true\n";
    file.write_all(toml.as_bytes()).unwrap();
    let options = Options {
        config: Some(file.path().into()),
        ..Options::default()
    };
    Arc::new(Access::new(&Config::load(&options).unwrap()))
}

/// Nothing is waited for.
fn hasty() -> ForwardingBounds {
    ForwardingBounds {
        look_every: Duration::from_millis(20),
        retry_first: Duration::from_millis(1),
        retry_longest: Duration::from_millis(1),
        again_first: Duration::ZERO,
        again_longest: Duration::ZERO,
        gathered_for: Duration::ZERO,
        ..ForwardingBounds::default()
    }
}

struct Gateway {
    archive: Archive,
    desk: Arc<Desk>,
    confirmations: Option<Confirmations>,
    tasks: JoinSet<()>,
}

/// A gateway whose archive is in `folder`.
async fn gateway(folder: &Path, centre: &Centre, bounds: ForwardingBounds) -> Gateway {
    let archive = crate::local::open(folder).await.unwrap();
    begun(archive, centre, true, bounds).await
}

async fn begun(
    archive: Archive,
    centre: &Centre,
    confirm: bool,
    bounds: ForwardingBounds,
) -> Gateway {
    let (access, metrics) = (access(), prometheus::Registry::new());
    let forward = Forward {
        to: title("CENTRE"),
        confirm,
    };
    let desks = Desks::of(&[forward], &archive, &metrics).await.unwrap();
    let (registry, directory) = (archive.registry(), access.directory());
    let alerts = Alerts::new(registry.audit_trail());
    let recorder = Recorder::start(&registry, directory, alerts).unwrap();
    let (trail, rules) = (registry.audit_trail(), AccountRules::default());
    let accounts = Accounts::new(trail, rules, World::real()).unwrap();
    let people = People::new(accounts, registry.clone());
    let overlays = RegistryOverlays::new(registry).unwrap();
    let conversions = ConversionCounters::new(&metrics).unwrap();
    let services = Services::new(
        archive.clone(),
        Arc::clone(&access),
        title("GATEWAY"),
        (conversions, decoders().unwrap()),
        (Arc::new(overlays), recorder.clone(), people),
    );
    let parts = Parts {
        services,
        access,
        our_title: title("GATEWAY"),
        connector: Arc::new(centre.clone()),
        recorder,
        bounds,
    };
    let forwarding = Forwarding::open(&desks, parts).await.unwrap();
    let mut tasks = JoinSet::new();
    forwarding.begin(&mut tasks);
    Gateway {
        confirmations: desks.confirmations(&archive).unwrap(),
        desk: Arc::clone(&desks.all[0]),
        archive,
        tasks,
    }
}

impl Gateway {
    async fn standing(&self, instance: &SopInstanceUid) -> Standing {
        let confirmations = self.confirmations.as_ref().unwrap();
        confirmations.standing(instance).await.unwrap()
    }

    /// Waits until an instance stands so.
    async fn stands(&self, instance: &SopInstanceUid, standing: Standing) {
        until(async || self.standing(instance).await == standing).await;
    }

    async fn close(mut self) {
        self.tasks.shutdown().await;
        self.archive.close().await;
    }
}

async fn until(is_so: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so().await {
        assert!(Instant::now() < deadline, "it does not become so");
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_on_which_associations_end_keeps_no_other_from_going() {
    let (folder, centre) = (tempfile::tempdir().unwrap(), Centre::default());
    let archive = crate::local::open(folder.path()).await.unwrap();
    let [first, bad, last] = [1, 2, 3].map(|number| deposit(&archive, number));
    let (first, bad, last) = (first.await, bad.await, last.await);
    centre.meets(&bad, Meets::BreaksOff, usize::MAX >> 40);
    let bounds = ForwardingBounds {
        again_first: Duration::from_secs(3_600),
        again_longest: Duration::from_secs(3_600),
        ..hasty()
    };

    let gateway = begun(archive, &centre, true, bounds).await;

    gateway.stands(&last, Standing::Confirmed).await;
    gateway.stands(&first, Standing::Confirmed).await;
    assert_eq!(gateway.standing(&bad).await, Standing::Waiting);
    assert_eq!(gateway.desk.counters.count("aside"), 1);
    assert_eq!(centre.came(&last), 1);
    gateway.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_there_is_no_room_for_goes_when_there_is() {
    let (folder, centre) = (tempfile::tempdir().unwrap(), Centre::default());
    let gateway = gateway(folder.path(), &centre, hasty()).await;
    let probe = SopInstanceUid::parse("1.2.3.1").unwrap();
    centre.meets(&probe, Meets::Status(StoreStatus::OUT_OF_RESOURCES), 40);
    let (first, second) = (
        deposit(&gateway.archive, 1).await,
        deposit(&gateway.archive, 2).await,
    );
    assert_eq!(first, probe);

    // More often than others are tried: it says nothing of the instance.
    gateway.stands(&first, Standing::Confirmed).await;
    gateway.stands(&second, Standing::Confirmed).await;

    assert_eq!(centre.came(&first), 41);
    assert_eq!(gateway.desk.counters.count("failed"), 0);
    assert_eq!(gateway.desk.counters.count("sent"), 2);
    gateway.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_there_is_never_room_for_keeps_nothing_that_comes_waiting() {
    let (folder, centre) = (tempfile::tempdir().unwrap(), Centre::default());
    let bounds = ForwardingBounds {
        // Longer than the test.
        retry_longest: Duration::from_secs(3_600),
        ..hasty()
    };
    let gateway = gateway(folder.path(), &centre, bounds).await;
    let large = SopInstanceUid::parse("1.2.3.1").unwrap();
    centre.meets(
        &large,
        Meets::Status(StoreStatus::OUT_OF_RESOURCES),
        usize::MAX >> 40,
    );
    assert_eq!(deposit(&gateway.archive, 1).await, large);

    for number in 2..=5 {
        let next = deposit(&gateway.archive, number).await;
        gateway.stands(&next, Standing::Confirmed).await;
    }

    assert_eq!(gateway.standing(&large).await, Standing::Waiting);
    gateway.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_or_not_confirmed_fails_until_the_next_start() {
    let (folder, centre) = (tempfile::tempdir().unwrap(), Centre::default());
    let bounds = ForwardingBounds {
        again_count_max: 3,
        ..hasty()
    };
    let at_first = gateway(folder.path(), &centre, bounds).await;
    let refused = SopInstanceUid::parse("1.2.3.1").unwrap();
    centre.meets(&refused, Meets::Status(StoreStatus::CANNOT_UNDERSTAND), 1);
    assert_eq!(deposit(&at_first.archive, 1).await, refused);
    at_first.stands(&refused, Standing::Failed).await;
    centre.state().says.extend([Says::NotThere; 3]);
    let lost = deposit(&at_first.archive, 2).await;
    at_first.stands(&lost, Standing::Failed).await;
    assert_eq!(centre.came(&lost), 3, "it was sent again each time");
    assert_eq!(at_first.desk.counters.count("failed"), 2);
    at_first.close().await;

    let again = gateway(folder.path(), &centre, bounds).await;

    again.stands(&refused, Standing::Confirmed).await;
    again.stands(&lost, Standing::Confirmed).await;
    assert_eq!((centre.came(&refused), centre.came(&lost)), (2, 4));
    again.close().await;
    // What is confirmed stays so, and is not sent again.
    let later = gateway(folder.path(), &centre, bounds).await;
    assert_eq!(later.standing(&lost).await, Standing::Confirmed);
    assert_eq!(centre.came(&lost), 4);
    later.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_that_does_not_come_is_asked_for_anew() {
    let (folder, centre) = (tempfile::tempdir().unwrap(), Centre::default());
    centre.state().says.extend([Says::Nothing, Says::Nothing]);
    let bounds = ForwardingBounds {
        report_here: Duration::from_millis(10),
        report_wait: Duration::from_millis(20),
        ..hasty()
    };
    let gateway = gateway(folder.path(), &centre, bounds).await;

    let instance = deposit(&gateway.archive, 1).await;

    gateway.stands(&instance, Standing::Confirmed).await;
    assert_eq!(centre.came(&instance), 1);
    assert_eq!(centre.state().asked_count, 3);
    gateway.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_longer_written_down_is_asked_about_and_not_sent_again() {
    let (folder, centre) = (tempfile::tempdir().unwrap(), Centre::default());
    let bounds = ForwardingBounds {
        noted_for: Duration::ZERO,
        swept_every: Duration::ZERO,
        ..hasty()
    };
    let gateway = gateway(folder.path(), &centre, bounds).await;
    let instance = deposit(&gateway.archive, 1).await;
    let content = until_swept(&gateway, &instance).await;
    assert!(!gateway.desk.is_confirmed(&content).await.unwrap());

    gateway.stands(&instance, Standing::Confirmed).await;

    assert_eq!(centre.came(&instance), 1);
    assert_eq!(centre.state().asked_count, 2);
    gateway.close().await;
}

/// Waits until an instance was confirmed and that was forgotten.
async fn until_swept(gateway: &Gateway, instance: &SopInstanceUid) -> Content {
    let maintain = permit(&PermitAll, Caller::System { task: "test" }).unwrap();
    let versions = gateway.archive.versions(&maintain, instance).await.unwrap();
    let content = Content::of(&versions.stored[0]);
    until(async || {
        let was_confirmed = gateway.desk.counters.count("confirmed") == 1;
        was_confirmed && !gateway.desk.is_confirmed(&content).await.unwrap()
    })
    .await;
    content
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_out_of_sight_goes_to_an_archive_and_not_to_a_workstation() {
    for confirm in [true, false] {
        let (folder, centre) = (tempfile::tempdir().unwrap(), Centre::default());
        let archive = crate::local::open(folder.path()).await.unwrap();
        // It begins where a workstation begins.
        let at_first = begun(archive.clone(), &centre, confirm, hasty()).await;
        let mut tasks = at_first.tasks;
        tasks.shutdown().await;
        let (hidden, shown) = (deposit(&archive, 1).await, deposit(&archive, 2).await);
        let hide = permit::<Hide>(&PermitAll, Caller::System { task: "test" }).unwrap();
        let target = Target::Instance(hidden.clone());
        archive.hide(&hide, target, "wrong patient").await.unwrap();

        let gateway = begun(archive, &centre, confirm, hasty()).await;

        until(async || centre.came(&shown) == 1).await;
        until(async || {
            gateway.desk.counters.count("sent") + gateway.desk.counters.count("skipped") == 2
        })
        .await;
        assert_eq!(centre.came(&hidden), usize::from(confirm));
        gateway.close().await;
    }
}

#[tokio::test]
async fn a_report_is_taken_from_whom_it_was_asked_and_once() {
    let reports = Reports::default();
    let (told, mut comes) = mpsc::channel(2);
    reports.goes_to(&title("CENTRE"), told, 2);
    let syntax = TransferSyntaxUid::parse("1.2.840.10008.1.2").unwrap();
    let content = |number: u32| Content {
        sop_class: pacs_core::SopClassUid::parse("1.2.840.10008.5.1.4.1.1.2").unwrap(),
        instance: SopInstanceUid::parse(&format!("1.2.3.{number}")).unwrap(),
        digest: String::new(),
    };
    let contents = vec![content(1), content(2)];
    let request = CommitmentRequest {
        transaction: pacs_core::uid::TransactionUid::parse("2.25.1").unwrap(),
        references: contents.iter().map(reports::reference_to).collect(),
    };
    reports.expect(&title("CENTRE"), &request.transaction, contents);
    // It says nothing of the second.
    let information = report_of(&request, &[1]).to_data_set(&syntax).unwrap();
    let bring = async |calling: &str, bytes: &[u8]| {
        let peer = Peer {
            calling_ae_title: title(calling),
            called_ae_title: title("GATEWAY"),
            address: ([192, 0, 2, 7], 9).into(),
            channel: pacs_net::security::Channel::Plain,
            implementation_class_uid: String::new(),
            implementation_version_name: String::new(),
            user_identity: None,
        };
        let report = EventReport {
            event_type: 1,
            information: Bytes::copy_from_slice(bytes),
            transfer_syntax: syntax.clone(),
        };
        reports.report(&peer, report).await.code()
    };
    let unknown = EventStatus::NO_SUCH_SOP_INSTANCE.code();

    assert_eq!(bring("OTHER", &information).await, unknown);
    assert_eq!(
        bring("CENTRE", b"no report").await,
        EventStatus::INVALID_ARGUMENT_VALUE.code()
    );
    assert_eq!(bring("CENTRE", &information).await, 0);
    assert_eq!(bring("CENTRE", &information).await, unknown);

    let reported = comes.recv().await.unwrap();
    assert_eq!(reported.committed, [content(1)]);
    assert_eq!(reported.failed, [(content(2), None)]);
}
