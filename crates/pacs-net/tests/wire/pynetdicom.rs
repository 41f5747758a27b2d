//! Against pynetdicom: what DCMTK cannot ask. Its side is `peers.py`.

use crate::archive::{Running, running};
use crate::services::instance;
use crate::tool;
use bytes::Bytes;
use pacs_net::NetLimits;
use std::sync::atomic::Ordering;

/// Runs a part of `peers.py` against `server` and gives what it printed; `None` without pynetdicom.
async fn peer(what: &str, server: &Running) -> Option<String> {
    let python = tool::python()?;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/wire/peers.py");
    let output = tool::run(&python, &[script, what, &server.port()]).await;
    assert!(output.status.success(), "{output:?}");
    Some(String::from_utf8(output.stdout).unwrap())
}

#[tokio::test]
async fn identity_window_and_extended_negotiation_are_answered() {
    let server = running(NetLimits::default()).await;

    let Some(printed) = peer("identity", &server).await else {
        return;
    };

    let wanted = "identity None\nwindow (1, 1)\nrelational b'\\x01\\x00\\x00'\necho 0x0\n";
    assert_eq!(printed, wanted);
}

#[tokio::test]
async fn roles_are_selected_and_instances_come_back() {
    let server = running(NetLimits::default()).await;
    for at in 0..5 {
        let stored = instance(at, "1.2.840.10008.1.2.1", 200_000);
        server.archive.stored.lock().unwrap().push(stored);
    }

    let Some(printed) = peer("get", &server).await else {
        return;
    };

    let bytes = "bytes 200000 200000 200000 200000 200000\n";
    assert_eq!(printed, format!("status 0x0 completed 5\n{bytes}"));
}

#[tokio::test]
async fn a_cancel_is_heard_between_matches() {
    let server = running(NetLimits::default()).await;
    // (0008,0052) CS STUDY
    let identifier = Bytes::from_static(b"\x08\0\x52\0CS\x06\0STUDY ");
    let matches = vec![identifier; 3];
    server.archive.matches.lock().unwrap().clone_from(&matches);
    server.archive.endless.store(true, Ordering::SeqCst);

    let Some(printed) = peer("cancel", &server).await else {
        return;
    };

    assert_eq!(printed, "matches 3 status 0xfe00\n");
}
