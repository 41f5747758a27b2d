//! Workers that crash, hang or answer nonsense cost one frame: it is an error that says so, and the
//! next frame gets another worker.
#![expect(
    clippy::unwrap_used,
    reason = "what a test's own functions do is the test"
)]

use pacs_core::TransferSyntaxUid;
use pacs_core::convert::{Photometric, PixelError, PixelForm};
use pacs_image::{Decoders, ImageLimits, WorkerCommand, WorkerLimits, WorkerPool};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

const DEFLATED_FRAMES: &str = "1.2.840.10008.1.2.8.1";

fn form(rows: u16, columns: u16) -> PixelForm {
    PixelForm {
        rows,
        columns,
        samples_per_pixel: 1,
        bits_allocated: 8,
        bits_stored: 8,
        is_signed: false,
        photometric: Photometric::Monochrome2,
        is_planar: false,
        is_subsampled: false,
        frames: 1,
    }
}

/// `count` zeros, deflated: blocks of one byte that is repeated.
fn deflated_zeros(count: usize) -> Vec<u8> {
    use flate2::write::DeflateEncoder;
    use std::io::Write as _;
    let mut encoder = DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&vec![0; count]).unwrap();
    encoder.finish().unwrap()
}

fn pool(program: &str, arguments: &[&str], limits: WorkerLimits) -> (Decoders, Arc<WorkerPool>) {
    let arguments = arguments.iter().map(Into::into).collect();
    let command = WorkerCommand::new(PathBuf::from(program), arguments);
    let pool = Arc::new(WorkerPool::new(command, limits));
    let decoders = Decoders::with_workers(ImageLimits::default(), Arc::clone(&pool));
    (decoders, pool)
}

fn decode(decoders: &Decoders, form: &PixelForm, encoded: &[u8]) -> Result<Vec<u8>, PixelError> {
    let syntax = TransferSyntaxUid::parse(DEFLATED_FRAMES).unwrap();
    decoders.decode_frame(&syntax, form, encoded.to_vec())
}

const WORKER: &str = env!("CARGO_BIN_EXE_pacs-image-worker");

#[test]
fn frames_come_back_from_a_worker_and_refusals_cost_no_worker() {
    let (decoders, pool) = pool(WORKER, &[], WorkerLimits::default());
    let good = deflated_zeros(1_000_000);
    for _ in 0..3 {
        let frame = decode(&decoders, &form(1000, 1000), &good).unwrap();
        assert!(frame == vec![0; 1_000_000]);
        let refused = decode(&decoders, &form(1000, 1001), &good);
        assert!(matches!(refused, Err(PixelError::Damaged { .. })));
    }
    assert_eq!(pool.lost_count(), 0);
}

#[test]
fn a_worker_that_needs_more_memory_than_it_may_have_is_lost_alone() {
    // Enough to run, and too little for a frame of 64 MiB.
    let limits = WorkerLimits {
        memory_bytes_max: 48 << 20,
        ..WorkerLimits::default()
    };
    let (decoders, pool) = pool(WORKER, &[], limits);
    let large = decode(&decoders, &form(8192, 8192), &deflated_zeros(8192 * 8192));
    assert!(matches!(large, Err(PixelError::Worker { .. })), "{large:?}");
    assert_eq!(pool.lost_count(), 1);
    let small = decode(&decoders, &form(10, 10), &deflated_zeros(100));
    assert_eq!(small, Ok(vec![0; 100]));
}

#[test]
fn a_worker_that_hangs_is_killed() {
    // It never reads nor answers.
    let limits = WorkerLimits {
        frame_duration_max: Duration::from_millis(50),
        ..WorkerLimits::default()
    };
    let (decoders, pool) = pool("/bin/sh", &["-c", "exec /bin/sleep 1000", "sh"], limits);
    let expected = PixelError::Worker {
        what: "took too long",
    };
    let small = deflated_zeros(100);
    assert_eq!(decode(&decoders, &form(10, 10), &small), Err(expected));
    // More than the socket holds.
    let large: Vec<u8> = (0..4_000_000_u32)
        .map(|n| n.wrapping_mul(0x9E37_79B1).to_le_bytes()[3])
        .collect();
    assert_eq!(decode(&decoders, &form(10, 10), &large), Err(expected));
    assert_eq!(pool.lost_count(), 2);
}

#[test]
fn programs_that_end_or_answer_nonsense_are_errors() {
    let small = deflated_zeros(100);
    for (program, script) in [
        ("/bin/sh", "exit 0"),
        ("/bin/sh", "exec /bin/cat /proc/self/status"),
        ("/bin/sh", "kill -SEGV $$"),
        ("/nonexistent", ""),
    ] {
        let (decoders, _) = pool(program, &["-c", script, "sh"], WorkerLimits::default());
        let answer = decode(&decoders, &form(10, 10), &small);
        assert!(
            matches!(answer, Err(PixelError::Worker { .. })),
            "{script}: {answer:?}"
        );
    }
}

#[test]
fn a_frame_waits_for_a_worker_and_not_for_ever() {
    let limits = WorkerLimits {
        workers_max: 1,
        frame_duration_max: Duration::from_secs(60),
        queue_duration_max: Duration::from_millis(20),
        ..WorkerLimits::default()
    };
    // It takes the frame and never answers; it ends with its input, when the test does.
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("started");
    let script = format!("echo > {}; exec /bin/cat > /dev/null", pipe.display());
    let (decoders, _) = pool("/bin/sh", &["-c", &script, "sh"], limits);
    let small = deflated_zeros(100);
    let first = decoders.clone();
    let bytes = small.clone();
    let waiting = std::thread::spawn(move || decode(&first, &form(10, 10), &bytes));
    while !pipe.exists() {
        std::thread::yield_now();
    }
    let expected = PixelError::Worker {
        what: "is busy with other frames",
    };
    assert_eq!(decode(&decoders, &form(10, 10), &small), Err(expected));
    drop(waiting);
}
