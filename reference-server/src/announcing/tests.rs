//! Telling over time: a clock that is turned, and an AE that is not there.

use super::*;
use crate::commitment::tests::deposit;
use crate::config::{Config, Options};
use async_trait::async_trait;
use chrono::TimeDelta;
use pacs_core::Caller;
use pacs_core::access::{PermitAll, permit};
use pacs_core::examination::Reason;
use pacs_core::rejection::Title;
use pacs_core::role::{AgentKind, Grant, Grants, Reach, Role};
use pacs_core::uid::StudyUid;
use pacs_net::ByteStream;
use pacs_store::Archive;
use pacs_store::rejections::{Meant, Wanted};
use std::io::{self, Write as _};
use tokio::sync::mpsc;

/// An AE that is not there: each attempt is told, with when it was made.
#[derive(Debug)]
struct Nobody(mpsc::UnboundedSender<Instant>);

#[async_trait]
impl Connector for Nobody {
    async fn connect(&self, address: &str, called: &AeTitle) -> io::Result<Box<dyn ByteStream>> {
        assert_eq!((address, called.as_str()), ("192.0.2.7:104", "HIS"));
        self.0.send(Instant::now()).ok();
        Err(io::ErrorKind::ConnectionRefused.into())
    }
}

fn access() -> Arc<Access> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let toml = "[[dicom.ae]]\ntitle = \"HIS\"\naddress = \"192.0.2.7:104\"\nnotify = true\n";
    file.write_all(toml.as_bytes()).unwrap();
    let options = Options {
        config: Some(file.path().into()),
        ..Options::default()
    };
    Arc::new(Access::new(&Config::load(&options).unwrap()))
}

/// Time as the runtime has it, which runs ahead where nothing happens.
fn turned() -> World {
    let (began, real) = (Instant::now(), World::real().now());
    World::at(move || real + TimeDelta::from_std(began.elapsed()).unwrap())
}

fn rejections(archive: &Archive) -> Rejections {
    let caller = || Caller::System { task: "test" };
    let permits = (
        permit(&PermitAll, caller()).unwrap(),
        permit(&PermitAll, caller()).unwrap(),
        permit(&PermitAll, caller()).unwrap(),
    );
    Rejections::new(archive, permits)
}

/// Takes an instance out of sight, of which others are to be told.
async fn reject(archive: &Archive, world: &World, number: u32) {
    let instance = deposit(archive, number).await;
    let grant = Grant::new(Role::ArchiveAdmin, Reach::National);
    let keeper = Agent::new(AgentKind::User, "keeper", Grants::single(grant));
    let wanted = Wanted {
        study: StudyUid::parse("1.2.3").unwrap(),
        meant: Meant::Instances(vec![instance]),
        title: Title::Quality,
        quality: None,
        reason: Reason::parse("blurred").unwrap(),
        note: None,
        random: world.random().unwrap(),
    };
    let rejections = rejections(archive);
    let rejected = rejections.reject(&keeper, wanted, world.moment());
    rejected.await.unwrap();
}

fn announcer(
    archive: &Archive,
    world: &World,
    attempts: mpsc::UnboundedSender<Instant>,
    change: impl FnOnce(&mut AnnouncingBounds),
) -> (Announcer, AnnouncingCounters) {
    let mut bounds = AnnouncingBounds::default();
    change(&mut bounds);
    let counters = AnnouncingCounters::new(&prometheus::Registry::new()).unwrap();
    let announcer = Announcer::new(Parts {
        registry: archive.registry(),
        rejections: rejections(archive),
        access: access(),
        our_title: AeTitle::parse("PACS").unwrap(),
        connector: Arc::new(Nobody(attempts)),
        counters: counters.clone(),
        world: world.clone(),
        bounds,
    });
    (announcer.unwrap(), counters)
}

#[tokio::test(start_paused = true)]
async fn an_ae_that_is_never_there_is_tried_for_days_with_longer_pauses_and_then_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let archive = crate::local::open(folder.path()).await.unwrap();
    let world = turned();
    let (attempts, mut made) = mpsc::unbounded_channel();
    let (announcer, counters) = announcer(&archive, &world, attempts, |_| ());
    reject(&archive, &world, 1).await;
    let began = Instant::now();

    let running = tokio::spawn(announcer.run());
    while counters.counts("given_up") != (1, 0) {
        sleep(Duration::from_secs(60)).await;
    }

    let hours = began.elapsed().as_secs() / 3600;
    assert!((71..74).contains(&hours), "{hours}");
    let mut times = Vec::new();
    while let Ok(at) = made.try_recv() {
        times.push(at);
    }
    let pauses = times.windows(2).map(|two| (two[1] - two[0]).as_secs());
    let pauses: Vec<u64> = pauses.collect();
    // The first attempt was made while changes were gathered.
    let after_the_first = pauses.get(1..).unwrap_or_default();
    assert!(
        after_the_first.starts_with(&[4, 8, 16, 32, 64]),
        "{pauses:?}"
    );
    assert_eq!(pauses.last(), Some(&600));
    running.abort();
    archive.close().await;
}

#[tokio::test(start_paused = true)]
async fn who_is_owed_as_much_as_may_be_is_owed_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let archive = crate::local::open(folder.path()).await.unwrap();
    let world = turned();
    let (attempts, mut made) = mpsc::unbounded_channel();
    let none = |bounds: &mut AnnouncingBounds| bounds.owed_max = 0;
    let (announcer, counters) = announcer(&archive, &world, attempts, none);
    reject(&archive, &world, 1).await;

    let running = tokio::spawn(announcer.run());
    while counters.counts("given_up") != (1, 0) {
        sleep(Duration::from_secs(1)).await;
    }

    assert!(made.try_recv().is_err());
    let owed = archive.registry().owed_announcement_counts().await.unwrap();
    assert_eq!(owed, BTreeMap::new());
    running.abort();
    archive.close().await;
}
