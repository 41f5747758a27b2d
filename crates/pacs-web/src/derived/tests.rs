//! Derived data: made once, kept, bounded, and never out of date or torn.

use super::*;
use pacs_core::access::{Action, permit};
use pacs_core::{Caller, Policy};
use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicUsize;
use tokio::sync::Notify;

#[derive(Debug)]
struct All;

impl Policy for All {
    fn sight(&self, _caller: &Caller, _action: Action) -> pacs_core::role::sight::Sight {
        pacs_core::role::sight::Sight::Everything
    }

    fn permits(&self, _: &Caller, _: Action) -> bool {
        true
    }
}

fn may() -> Permit<Get> {
    permit(&All, Caller::System { task: "test" }).expect("all may")
}

fn limits() -> DerivedLimits {
    DerivedLimits {
        free_bytes_min: 0,
        ..DerivedLimits::default()
    }
}

fn key(name: &str) -> Key {
    Key::of(Kind::Frame, &[name.as_bytes()])
}

/// What gives `body` and counts that it did.
fn maker(body: &str, made: &Arc<AtomicUsize>) -> Make {
    let (body, made) = (Bytes::from(body.to_owned()), Arc::clone(made));
    let making = async move {
        made.fetch_add(1, Ordering::Relaxed);
        Ok(body)
    };
    Box::new(|_turn| Box::pin(making))
}

/// Asks, and waits until nothing is on its way any more: what was made is kept then.
async fn ask(derived: &Derived, name: &str, body: &str, made: &Arc<AtomicUsize>) -> Bytes {
    let permit = may();
    let given = derived.get_or_make(&permit, key(name), maker(body, made));
    let given = given.await.expect("it is made");
    while !derived.inner.flights().is_empty() {
        tokio::task::yield_now().await;
    }
    given
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for shard in fs::read_dir(folder).expect("the folder").flatten() {
        let inside = fs::read_dir(shard.path()).expect("a shard").flatten();
        files.extend(inside.map(|file| file.path()));
    }
    files
}

#[test]
fn keys_differ_where_parts_are_cut_elsewhere() {
    let key = |parts: &[&[u8]]| Key::of(Kind::Frame, parts);
    assert_ne!(key(&[b"a", b"bc"]), key(&[b"ab", b"c"]));
    assert_ne!(key(&[b"b", b"c"]), key(&[b"bc"]));
    assert_ne!(key(&[b"b"]), Key::of(Kind::Picture, &[b"b"]));
    assert_eq!(key(&[b"b", b"c"]), key(&[b"b", b"c"]));
}

#[tokio::test]
async fn a_thing_is_made_once_and_outlives_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let made = Arc::default();
    let derived = Derived::in_folder(folder.path().join("derived"), &limits()).unwrap();
    for _ in 0..3 {
        assert_eq!(ask(&derived, "a", "body", &made).await, "body");
    }
    assert_eq!(made.load(Ordering::Relaxed), 1);
    let counts = derived.counts();
    assert_eq!((counts.hits, counts.misses, counts.entries), (2, 1, 1));

    let again = Derived::in_folder(folder.path().join("derived"), &limits()).unwrap();
    assert_eq!(ask(&again, "a", "other", &made).await, "body");
    assert_eq!(made.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn many_who_ask_at_once_have_it_made_once_and_who_goes_away_ends_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let derived = Derived::in_folder(folder.path().to_owned(), &limits()).unwrap();
    let (begun, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let first = tokio::spawn({
        let (derived, begun, go_on) = (derived.clone(), Arc::clone(&begun), Arc::clone(&go_on));
        async move {
            let make = async move {
                begun.notify_one();
                go_on.notified().await;
                Ok(Bytes::from_static(b"body"))
            };
            derived.get_or_make(&may(), key("a"), |_turn| make).await
        }
    });
    begun.notified().await;
    let others: Vec<_> = (0..20)
        .map(|_| {
            let derived = derived.clone();
            tokio::spawn(async move {
                let never = async { panic!("made a second time") };
                derived.get_or_make(&may(), key("a"), |_turn| never).await
            })
        })
        .collect();
    while derived.counts().shared < 20 {
        tokio::task::yield_now().await;
    }
    first.abort();
    assert!(first.await.is_err());
    go_on.notify_one();
    for other in others {
        assert_eq!(other.await.unwrap().unwrap(), "body");
    }
    assert_eq!(derived.counts().misses, 1);
}

#[tokio::test]
async fn what_nobody_waits_for_any_more_is_not_begun() {
    let limits = DerivedLimits {
        makers_max: 1,
        ..limits()
    };
    let derived = Derived::not_kept(&limits);
    let go_on = Arc::new(Notify::new());
    let busy = tokio::spawn({
        let (derived, go_on) = (derived.clone(), Arc::clone(&go_on));
        async move {
            let make = async move {
                go_on.notified().await;
                Ok(Bytes::new())
            };
            derived.get_or_make(&may(), key("busy"), |_turn| make).await
        }
    });
    while derived.counts().misses < 1 {
        tokio::task::yield_now().await;
    }
    let made: Arc<AtomicUsize> = Arc::default();
    let gone = tokio::spawn({
        let (derived, make) = (derived.clone(), maker("body", &made));
        async move { derived.get_or_make(&may(), key("gone"), make).await }
    });
    while derived.inner.flights().len() < 2 {
        tokio::task::yield_now().await;
    }
    gone.abort();
    while derived.inner.flights().len() > 1 {
        tokio::task::yield_now().await;
    }
    go_on.notify_one();
    busy.await.unwrap().unwrap();
    assert_eq!(made.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn what_nobody_waits_for_any_more_ends_and_its_thread_keeps_its_turn() {
    let limits = DerivedLimits {
        makers_max: 1,
        ..limits()
    };
    let derived = Derived::not_kept(&limits);
    let (begun, mut has_begun) = tokio::sync::mpsc::channel::<Turn>(1);
    let (held, is_held) = tokio::sync::oneshot::channel::<()>();
    let waiting = tokio::spawn({
        let derived = derived.clone();
        let make = move |turn| async move {
            // As a thread that cannot be stopped has it.
            begun.send(turn).await.ok();
            std::future::pending::<()>().await;
            drop(held);
            Ok(Bytes::new())
        };
        async move { derived.get_or_make(&may(), key("a"), make).await }
    });
    let turn_of_thread = has_begun.recv().await.unwrap();
    waiting.abort();
    // Its other end goes when the making is given up.
    assert!(is_held.await.is_err());
    while !derived.inner.flights().is_empty() {
        tokio::task::yield_now().await;
    }
    let turns = derived.inner.makers.of(Kind::Frame);
    assert_eq!(turns.available_permits(), 0);
    drop(turn_of_thread);
    assert_eq!(turns.available_permits(), 1);
    assert_eq!(ask(&derived, "a", "body", &Arc::default()).await, "body");
}

#[tokio::test(start_paused = true)]
async fn an_animation_keeps_no_picture_waiting_and_the_next_one_not_for_ever() {
    let derived = Derived::not_kept(&limits());
    let of = |kind, name: &str| Key::of(kind, &[name.as_bytes()]);
    let (first, second) = (of(Kind::Animation, "a"), of(Kind::Animation, "b"));
    let endless = |_turn| std::future::pending();
    let (others, permit) = (derived.clone(), may());
    let first = tokio::spawn(async move { others.get_or_make(&permit, first, endless).await });
    while derived.counts().misses < 1 {
        tokio::task::yield_now().await;
    }
    let picture = maker("picture", &Arc::default());
    let permit = may();
    let picture = derived.get_or_make(&permit, of(Kind::Picture, "a"), picture);
    assert_eq!(picture.await.unwrap(), "picture");
    let never = maker("never", &Arc::default());
    let second = derived.get_or_make(&may(), second, never).await;
    assert!(matches!(second, Err(Failure::Unavailable { .. })));
    first.abort();
}

#[tokio::test]
async fn a_failure_and_a_panic_reach_all_who_wait_and_are_not_kept() {
    let folder = tempfile::tempdir().unwrap();
    let derived = Derived::in_folder(folder.path().to_owned(), &limits()).unwrap();
    let failing = async { Err(Failure::NotFound { what: "frame" }) };
    let failed = derived.get_or_make(&may(), key("a"), |_turn| failing).await;
    assert!(matches!(failed, Err(Failure::NotFound { .. })));
    let panicking = async { panic!("a fault") };
    let failed = derived
        .get_or_make(&may(), key("b"), |_turn| panicking)
        .await;
    assert!(matches!(failed, Err(Failure::Internal)));
    let made = Arc::default();
    assert_eq!(ask(&derived, "a", "body", &made).await, "body");
    assert_eq!(ask(&derived, "b", "body", &made).await, "body");
    assert_eq!(made.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn damage_is_noticed_wherever_it_is_and_the_thing_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let derived = Derived::in_folder(folder.path().to_owned(), &limits()).unwrap();
    let made = Arc::default();
    ask(&derived, "a", "body", &made).await;
    let [file] = &*files(folder.path()) else {
        panic!("one file");
    };
    let whole = fs::read(file).unwrap();
    let mut tries: Vec<Vec<u8>> = (0..whole.len())
        .map(|at| {
            let mut flipped = whole.clone();
            flipped[at] ^= 1;
            flipped
        })
        .collect();
    tries.push(Vec::new());
    tries.push(whole[..whole.len() - 1].to_vec());
    tries.push([&whole[..], b"x"].concat());
    let count = tries.len();
    for bytes in tries {
        fs::write(file, bytes).unwrap();
        assert_eq!(ask(&derived, "a", "body", &made).await, "body");
    }
    assert_eq!(derived.counts().damaged, count as u64);
    assert_eq!(made.load(Ordering::Relaxed), count + 1);
    assert_eq!(fs::read(file).unwrap(), whole);
}

#[tokio::test]
async fn what_was_used_longest_ago_goes_when_there_is_no_room() {
    let folder = tempfile::tempdir().unwrap();
    let limits = DerivedLimits {
        bytes_max: 3 * 5_000,
        ..limits()
    };
    let derived = Derived::in_folder(folder.path().to_owned(), &limits).unwrap();
    let made = Arc::default();
    for name in ["a", "b", "c", "a", "d"] {
        ask(&derived, name, name, &made).await;
    }
    let counts = derived.counts();
    assert_eq!((counts.evictions, counts.entries), (1, 3));
    assert!(counts.bytes <= limits.bytes_max);
    assert_eq!(files(folder.path()).len(), 3);
    ask(&derived, "a", "a", &made).await;
    assert_eq!(made.load(Ordering::Relaxed), 4);
    ask(&derived, "b", "b", &made).await;
    assert_eq!(made.load(Ordering::Relaxed), 5);
}

#[test]
fn what_an_earlier_run_kept_is_counted_and_bounded_and_foreign_files_stay() {
    let folder = tempfile::tempdir().unwrap();
    let keep = |limits: &DerivedLimits, names: &[&str]| {
        let folder = Folder::open(folder.path().to_owned(), limits).unwrap();
        for name in names {
            folder.keep(&key(name), b"body");
        }
        folder
    };
    keep(&limits(), &["a", "b", "c", "d"]);
    let foreign = folder.path().join("a0").join("notes.txt");
    fs::create_dir_all(foreign.parent().unwrap()).unwrap();
    fs::write(&foreign, "mine").unwrap();
    let torn = folder.path().join("new").join("17");
    fs::write(&torn, "half").unwrap();

    let limits = DerivedLimits {
        entries_max: 2,
        ..limits()
    };
    let again = keep(&limits, &[]);
    again.count();
    assert_eq!((again.counts().entries, again.counts().evictions), (2, 2));
    assert!(!torn.exists());
    assert_eq!(fs::read_to_string(foreign).unwrap(), "mine");
}

#[tokio::test]
async fn a_folder_that_takes_nothing_fails_no_request() {
    let folder = tempfile::tempdir().unwrap();
    let no_room = DerivedLimits {
        free_bytes_min: u64::MAX,
        ..limits()
    };
    let full = Derived::in_folder(folder.path().join("full"), &no_room).unwrap();
    let gone = Derived::in_folder(folder.path().join("gone"), &limits()).unwrap();
    fs::remove_dir_all(folder.path().join("gone")).unwrap();
    for derived in [full, gone] {
        let made = Arc::default();
        for _ in 0..2 {
            assert_eq!(ask(&derived, "a", "body", &made).await, "body");
        }
        assert_eq!(made.load(Ordering::Relaxed), 2);
        assert_eq!(derived.counts().not_kept, 2);
        assert_eq!(derived.counts().entries, 0);
    }
}

#[test]
fn where_the_disk_runs_low_what_is_kept_gives_way() {
    let folder = tempfile::tempdir().unwrap();
    let keeping = Folder::open(folder.path().to_owned(), &limits()).unwrap();
    for name in ["a", "b", "c"] {
        keeping.keep(&key(name), b"body");
    }
    keeping.give_way().unwrap();
    assert_eq!(keeping.counts().entries, 3, "there is room");
    let full = DerivedLimits {
        free_bytes_min: u64::MAX,
        ..limits()
    };
    let full = Folder::open(folder.path().to_owned(), &full).unwrap();
    full.count();
    assert_eq!(full.counts().entries, 3);

    full.give_way().unwrap();

    assert_eq!((full.counts().entries, full.counts().evictions), (0, 3));
    assert!(keeping.read(&key("a")).is_none());
}

#[tokio::test]
async fn what_is_cleared_is_gone_also_what_an_earlier_run_kept() {
    let folder = tempfile::tempdir().unwrap();
    let made = Arc::default();
    let earlier = Derived::in_folder(folder.path().to_owned(), &limits()).unwrap();
    ask(&earlier, "a", "body", &made).await;
    drop(earlier);
    let derived = Derived::in_folder(folder.path().to_owned(), &limits()).unwrap();
    ask(&derived, "b", "body", &made).await;
    assert_eq!(files(folder.path()).len(), 2);

    derived.clear().await.unwrap();

    assert_eq!(files(folder.path()).len(), 0);
    ask(&derived, "b", "body", &made).await;
    assert_eq!(made.load(Ordering::Relaxed), 3);
}
