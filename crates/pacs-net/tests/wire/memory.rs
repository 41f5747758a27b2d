//! Admission by memory (security.md T3 and T8): newcomers are rejected for a while, nobody who is
//! there already waits for what others hold.

use crate::archive::{MemoryArchive, Storage, builder};
use crate::raw::{CT, Raw, raw_to, request};
use async_trait::async_trait;
use pacs_net::pdu::{AssociateRequest, Pdu, ProposedContext, RejectReason, Rejection};
use pacs_net::service::{Peer, StorageScp, StoreRequest, StoreSink};
use pacs_net::sop_class::{IMPLICIT_VR_LITTLE_ENDIAN, VERIFICATION};
use pacs_net::status::StoreStatus;
use pacs_net::{Acceptor, NetLimits};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::mpsc;

fn connected(acceptor: &Acceptor, archive: &Arc<MemoryArchive>) -> Raw {
    let (_, told) = mpsc::unbounded_channel();
    raw_to(acceptor.clone(), Arc::clone(archive), told)
}

/// What an association request comes to.
async fn asked(raw: &mut Raw, request: AssociateRequest) -> Result<(), Rejection> {
    raw.send_pdu(&Pdu::AssociateRq(Box::new(request))).await;
    match raw.receive().await {
        Some(Pdu::AssociateAc(_)) => Ok(()),
        Some(Pdu::AssociateRj(rejection)) => Err(rejection),
        other => panic!("{other:?} is no answer"),
    }
}

fn to_echo() -> AssociateRequest {
    AssociateRequest {
        contexts: vec![ProposedContext {
            id: 1,
            abstract_syntax: VERIFICATION.into(),
            transfer_syntaxes: vec![IMPLICIT_VR_LITTLE_ENDIAN.into()],
        }],
        ..request()
    }
}

/// As [`Storage`], and says what memory it has.
#[derive(Debug)]
struct Crammed(Storage, Arc<AtomicBool>);

#[async_trait]
impl StorageScp for Crammed {
    fn has_memory(&self) -> bool {
        self.1.load(Ordering::SeqCst)
    }

    async fn begin(
        &self,
        peer: &Peer,
        request: &StoreRequest,
    ) -> Result<Box<dyn StoreSink>, StoreStatus> {
        self.0.begin(peer, request).await
    }
}

const REJECTED: Rejection = Rejection::transient(RejectReason::LocalLimitExceeded);

#[tokio::test(start_paused = true)]
async fn where_the_archive_has_no_memory_senders_are_told_to_come_again() {
    let archive = Arc::new(MemoryArchive::default());
    let has_memory = Arc::new(AtomicBool::new(true));
    let storage = Crammed(Storage(Arc::clone(&archive)), Arc::clone(&has_memory));
    let acceptor = builder(&archive)
        .storage(Arc::new(storage))
        .build()
        .unwrap();
    let mut there = connected(&acceptor, &archive);
    there.associate().await;
    has_memory.store(false, Ordering::SeqCst);

    let sender = asked(&mut connected(&acceptor, &archive), request()).await;
    let echo = asked(&mut connected(&acceptor, &archive), to_echo()).await;
    // Who has an association is served.
    there.request(1, 0x01, true).await;
    there.send_values(1, false, &[7; 1000]).await;
    assert_eq!(there.status().await, 0);
    has_memory.store(true, Ordering::SeqCst);
    let again = asked(&mut connected(&acceptor, &archive), request()).await;

    assert_eq!((sender, echo, again), (Err(REJECTED), Ok(()), Ok(())));
}

#[tokio::test(start_paused = true)]
async fn where_buffers_take_all_memory_newcomers_are_rejected_and_the_others_go_on() {
    let archive = Arc::new(MemoryArchive::default());
    let limits = NetLimits {
        buffered_bytes_max: 1 << 20,
        ..NetLimits::default()
    };
    let acceptor = builder(&archive).limits(limits).build().unwrap();
    let mut there = connected(&acceptor, &archive);
    there.associate().await;
    // A PDU of 200 KiB each, but for its last byte.
    let mut held = Vec::new();
    let rejection = loop {
        assert!(held.len() < 20, "there is no limit");
        let mut raw = connected(&acceptor, &archive);
        if let Err(rejection) = asked(&mut raw, request()).await {
            break rejection;
        }
        raw.request(1, 0x01, true).await;
        let mut most = vec![4, 0, 0, 3, 0x20, 0, 0, 3, 0x1F, 0xFC, 1, 0];
        most.resize((200 << 10) + 5, 0);
        raw.send(&most).await;
        // The acceptor is to have read it.
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        held.push(raw);
    };

    assert_eq!(rejection, REJECTED);
    assert!(held.len() > 2, "{} were held", held.len());
    for number in 0..3_u8 {
        there.request_of(CT, 1, 0x01, true).await;
        there.send_values(1, false, &vec![number; 300_000]).await;
        assert_eq!(there.status().await, 0);
    }
    drop(held);
    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    asked(&mut connected(&acceptor, &archive), request())
        .await
        .unwrap();
    assert_eq!(archive.stored.lock().unwrap().len(), 3);
}
