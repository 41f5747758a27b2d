//! A bad network (R11): a sender sees failure or success truthfully, sending again does no harm,
//! and nothing is left on the server of what broke off.

use std::time::Duration;

use super::{Kept, questions, storing, until};
use crate::proxy::{Proxy, Weather};
use crate::samples::{Random, Slice};
use crate::server::{Options, Server};
use crate::wire::association::dial;
use crate::wire::{Association, Keys, WireError, identifier, uid};

/// What the weather did to one C-STORE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Success.
    Success,
    /// Anything else.
    Failure,
}

/// The silence that a test's own peer bears: longer than what the server bears.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server that loses its patience soon.
#[must_use]
pub fn impatient() -> Server {
    Server::start(Options {
        config: "[dicom]\nidle_seconds = 2\n".to_owned(),
        ..Options::default()
    })
}

fn store(server: &Server, weather: Weather, slice: &Slice) -> (Seen, u64) {
    let proxy = Proxy::start(server.dicom(), weather);
    let stored = || -> Result<u16, WireError> {
        let stream = dial(proxy.address())?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut association = Association::over(stream, &storing())?;
        let (class, syntax) = (uid::CT_IMAGE_STORAGE, uid::EXPLICIT_LITTLE_ENDIAN);
        association.store(class, &slice.instance, syntax, &slice.data_set())
    };
    let seen = match stored() {
        Ok(0) => Seen::Success,
        Ok(_) | Err(_) => Seen::Failure,
    };
    (seen, proxy.forwarded())
}

/// Stores `slice` through `weather`, then again in fair weather. What was told is true, and
/// sending again ends with Success.
fn again(server: &Server, kept: &Kept, weather: Weather, slice: &Slice) -> Seen {
    let (seen, _) = store(server, weather, slice);
    if seen == Seen::Success {
        assert_eq!(count(server, slice), 1, "{weather:?}: Success was not true");
    }
    let mut association = Association::connect(server.dicom(), &storing()).expect("fair weather");
    let status = kept.store(&mut association, slice).expect("fair weather");
    assert_eq!(status, 0, "{weather:?}: sent again");
    association.release().expect("fair weather");
    assert_eq!(count(server, slice), 1, "{weather:?}: a duplicate");
    seen
}

/// How often C-FIND knows the instance.
pub(super) fn count(server: &Server, slice: &Slice) -> usize {
    let mut association = server.associate(questions()).expect("an association");
    let keys = Keys::instance(&slice.study, &slice.series, &slice.instance);
    let keys = keys.with(identifier::tag::SOP_INSTANCE, &slice.instance);
    let found = association.find(uid::STUDY_ROOT_FIND, &keys);
    found.expect("an answer").0.len()
}

/// No association is open, and as many files as before.
pub(super) fn nothing_is_left(server: &Server) {
    until(
        Duration::from_secs(20),
        "the end of all associations",
        || {
            let metrics = server.get("/metrics").1;
            metrics.contains("pacs_associations_open 0").then_some(())
        },
    );
}

/// How many bytes a sender sends for one slice, association and all.
fn whole(server: &Server) -> u64 {
    let (seen, bytes) = store(server, Weather::Fair, &Slice::new(900, 1));
    assert_eq!(seen, Seen::Success);
    bytes
}

/// Resets after every `step`th byte, then at random; half-closes and black holes at some.
///
/// # Panics
/// When the server tells anything untrue, or keeps anything.
pub fn breaks(step: usize, random_count: u32, seed: u64) {
    let server = impatient();
    let kept = Kept::default();
    let bytes = whole(&server);
    let mut random = Random::new(seed);
    let early = (0..bytes.min(4_096)).step_by(step);
    let later: Vec<u64> = (0..random_count)
        .map(|_| random.below(bytes + 200))
        .collect();
    let mut failures = 0_u32;
    for (number, at) in (1..).zip(early.chain(later)) {
        let slice = Slice::new(number % 50 + 1, number);
        let seen = again(&server, &kept, Weather::ResetAfter(at), &slice);
        failures += u32::from(seen == Seen::Failure);
    }
    assert!(failures > 0, "no reset was seen");
    for (number, at) in (1..).zip([0, 3, 100, 300, bytes / 2, bytes - 1]) {
        let slice = Slice::new(800, number);
        let seen = again(&server, &kept, Weather::HalfClosedAfter(at), &slice);
        assert_eq!(seen, Seen::Failure, "half closed after {at}");
    }
    kept.check(&server);
    nothing_is_left(&server);
}

/// Waits, all at once: the server's patience is what is tried.
///
/// # Panics
/// As [`breaks`].
pub fn waits() {
    let server = impatient();
    let kept = Kept::default();
    let bytes = whole(&server);
    let slow = [
        (Weather::Delayed(Duration::from_millis(5)), Seen::Success),
        (Weather::Delayed(Duration::from_millis(200)), Seen::Success),
        (Weather::Delayed(Duration::from_millis(600)), Seen::Success),
        (Weather::Delayed(Duration::from_secs(5)), Seen::Failure),
        (Weather::Dripping(Duration::from_secs(1)), Seen::Failure),
        (Weather::Dripping(Duration::from_millis(20)), Seen::Failure),
        (Weather::BlackHoleAfter(0), Seen::Failure),
        (Weather::BlackHoleAfter(120), Seen::Failure),
        (Weather::BlackHoleAfter(bytes / 2), Seen::Failure),
        (Weather::BlackHoleAfter(bytes - 1), Seen::Failure),
    ];
    std::thread::scope(|scope| {
        for (number, (weather, expected)) in (1..).zip(slow) {
            let (server, kept) = (&server, &kept);
            scope.spawn(move || {
                let seen = again(server, kept, weather, &Slice::new(700, number));
                assert_eq!(seen, expected, "{weather:?}");
            });
        }
    });
    kept.check(&server);
    nothing_is_left(&server);
}

/// A reset after each of the first 4 KiB, and later at random.
///
/// # Panics
/// As [`breaks`].
pub fn campaign(seed: u64) {
    breaks(1, 1_000, seed);
    println!("edges: 4,096 resets early and 1,000 later, half-closed lines: nothing untrue");
    waits();
    println!("edges: delays, drips and black holes: nothing untrue, nothing left");
}
