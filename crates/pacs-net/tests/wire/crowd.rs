//! Crowds of connections that are no associations (security.md T8).

use crate::archive::{builder, running};
use crate::raw::{Raw, raw_to, request};
use crate::services::asking;
use pacs_net::pdu::Pdu;
use pacs_net::{Acceptor, NetLimits};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

fn acceptor(limits: NetLimits) -> Acceptor {
    builder(&Arc::default()).limits(limits).build().unwrap()
}

fn connected(acceptor: &Acceptor) -> Raw {
    let (_, told) = mpsc::unbounded_channel();
    raw_to(acceptor.clone(), Arc::default(), told)
}

#[tokio::test(start_paused = true)]
async fn silent_connections_of_an_address_make_room_and_a_healthy_one_gets_in() {
    let began = Instant::now();
    let acceptor = acceptor(NetLimits::default());
    let mut silent: Vec<Raw> = (0..1000).map(|_| connected(&acceptor)).collect();
    // The paused clock goes on once nothing else is left to do.
    sleep(Duration::from_secs(1)).await;

    let mut healthy = connected(&acceptor);
    healthy.associate().await;

    // 63 silent ones and the healthy one were left.
    for raw in silent.iter_mut().take(937) {
        assert_eq!(raw.receive().await, None);
    }
    assert_eq!(began.elapsed().as_secs(), 1);
    for raw in silent.iter_mut().skip(937) {
        assert_eq!(raw.receive().await, None);
    }
    assert_eq!(began.elapsed().as_secs(), 10);
    healthy.request(1, 0x30, false).await;
    assert_eq!(healthy.status().await, 0x0122);
}

#[tokio::test(start_paused = true)]
async fn long_requests_that_do_not_end_make_room_for_others() {
    let began = Instant::now();
    let acceptor = acceptor(NetLimits {
        association_requests_bytes_max: 400_000,
        ..NetLimits::default()
    });
    // All of a request of 128 KiB but its last byte.
    let mut most = vec![1, 0, 0, 2, 0, 0];
    most.resize((128 << 10) + 5, 0);
    let mut raws: Vec<Raw> = (0..5).map(|_| connected(&acceptor)).collect();
    for raw in &mut raws {
        raw.send(&most).await;
        while raw.read.load(std::sync::atomic::Ordering::SeqCst) < most.len() {
            tokio::task::yield_now().await;
        }
    }

    // Three of them fit.
    for raw in raws.iter_mut().take(2) {
        assert_eq!(raw.receive().await, None);
    }
    assert_eq!(began.elapsed().as_secs(), 0);
    let mut healthy = connected(&acceptor);
    healthy.associate().await;
    assert_eq!(raws[4].receive().await, None);
    assert_eq!(began.elapsed().as_secs(), 10);
}

/// A request that was rejected, and a peer that does not close: it can wait, but not in the way of
/// others.
#[tokio::test(start_paused = true)]
async fn connections_that_were_rejected_make_room_too() {
    let began = Instant::now();
    let acceptor = acceptor(NetLimits {
        strangers_per_address_max: 1,
        ..NetLimits::default()
    });
    let mut rejected = connected(&acceptor);
    let mut wrong = request();
    wrong.called_ae_title = "OTHER".into();
    rejected.send_pdu(&Pdu::AssociateRq(Box::new(wrong))).await;
    assert!(matches!(
        rejected.receive().await,
        Some(Pdu::AssociateRj(_))
    ));
    sleep(Duration::from_secs(1)).await;

    connected(&acceptor).associate().await;

    assert_eq!(rejected.receive().await, None);
    assert_eq!(began.elapsed().as_secs(), 1);
}

/// Every place is taken by somebody who says nothing.
#[tokio::test]
async fn a_healthy_peer_gets_in_where_all_places_are_taken_by_silent_ones() {
    let limits = NetLimits {
        connections_max: 100,
        artim: Duration::from_secs(3600),
        ..NetLimits::default()
    };
    let server = running(limits).await;
    let mut silent = Vec::new();
    for _ in 0..150 {
        silent.push(TcpStream::connect(server.address).await.unwrap());
    }

    let address = server.address.to_string();
    let mut requestor = asking().connect(&address).await.unwrap();
    requestor.echo().await.unwrap();

    // 99 silent ones and the healthy one were left.
    for stream in silent.iter_mut().take(51) {
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
    }
}

/// A hospital that comes back from a power cut: all modalities behind one address connect at once.
#[tokio::test]
async fn a_burst_of_proper_associations_from_one_address_gets_in() {
    let limits = NetLimits {
        associations_max: 1000,
        associations_per_ae_max: 1000,
        associations_per_address_max: 1000,
        ..NetLimits::default()
    };
    let server = running(limits).await;
    let address = server.address.to_string();
    let mut burst = JoinSet::new();
    for _ in 0..200 {
        let address = address.clone();
        burst.spawn(async move {
            let mut requestor = asking().connect(&address).await.unwrap();
            requestor.echo().await.unwrap();
            requestor
        });
    }

    assert_eq!(burst.join_all().await.len(), 200);
}

#[tokio::test]
async fn stopping_does_not_wait_for_connections_that_have_not_asked() {
    let limits = NetLimits {
        artim: Duration::from_secs(3600),
        drain_duration_max: Duration::from_secs(3600),
        ..NetLimits::default()
    };
    let server = running(limits).await;
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    // Connections are taken in order: the silent one has been before this one.
    let proper = asking().connect(&server.address.to_string()).await.unwrap();
    proper.release().await.unwrap();

    server.stop.send(()).unwrap();

    server.ended.await.unwrap();
    assert_eq!(silent.read(&mut [0]).await.unwrap(), 0);
}
