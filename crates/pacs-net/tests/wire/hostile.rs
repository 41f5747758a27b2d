//! Peers that are slow, silent, wrong or hostile (security.md T8, T9). The clock is paused: waits
//! are exact and cost nothing.

use crate::archive::{MemoryArchive, Told, builder};
use crate::raw::{CT, Raw, raw, raw_to, request};
use crate::services::{asking, instance, title};
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use pacs_net::dimse::CommandSet;
use pacs_net::negotiation::Services;
use pacs_net::pdu::data::{Framer, frame_copied};
use pacs_net::pdu::{
    self, AbortReason, AbortSource, AssociateRequest, Pdu, ProposedContext, RejectReason, Rejection,
};
use pacs_net::service::{
    Admission, AssociationPolicy, DataSetSource, Destination, OutgoingInstance, Peer,
    RetrieveRequest, RetrieveScp, SourceError, SubOperations,
};
use pacs_net::sop_class::{EXPLICIT_VR_LITTLE_ENDIAN, STUDY_ROOT_FIND};
use pacs_net::status::RetrieveStatus;
use pacs_net::{Acceptor, NetLimits};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::sync::mpsc;
use tokio::time::Instant;

#[tokio::test(start_paused = true)]
async fn a_silent_connection_is_closed_after_artim() {
    let began = Instant::now();
    let mut raw = raw();

    assert_eq!(raw.receive().await, None);

    assert_eq!(began.elapsed().as_secs(), 10);
    let told = raw.told.recv().await.unwrap();
    assert_eq!(told, "nobody ended: peer was silent for too long");
}

#[tokio::test(start_paused = true)]
async fn an_http_client_is_aborted_after_little_has_been_read() {
    let mut raw = raw();
    let flood = b"GET / HTTP/1.1\r\nHost: pacs\r\n".repeat(4000);
    raw.send(&flood).await;

    assert_eq!(raw.aborted().await, AbortSource::ServiceUser);
    assert_eq!(raw.receive().await, None);

    assert!(raw.read.load(Ordering::SeqCst) <= 8192);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_drips_is_aborted() {
    let began = Instant::now();
    let mut raw = raw();
    let request = pdu::write(&Pdu::AssociateRq(Box::new(request()))).unwrap();
    for byte in request.iter().take(3) {
        raw.send(&[*byte]).await;
        tokio::time::sleep(Duration::from_secs(3)).await;
    }

    assert_eq!(raw.receive().await, None);
    assert_eq!(began.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_data_pdu_that_drips_is_aborted_after_its_time() {
    let mut raw = raw();
    raw.associate().await;
    let began = Instant::now();
    raw.send(&[4, 0, 0, 0, 1, 0]).await;
    for _ in 0..29 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        raw.send(&[0]).await;
    }

    let reason = AbortSource::ServiceProvider(AbortReason::NotSpecified);
    assert_eq!(raw.aborted().await, reason);
    assert_eq!(began.elapsed().as_secs(), 30);
}

#[tokio::test(start_paused = true)]
async fn an_idle_association_is_aborted() {
    let mut raw = raw();
    raw.associate().await;
    let began = Instant::now();

    assert_eq!(raw.aborted().await, AbortSource::ServiceUser);

    assert_eq!(began.elapsed().as_secs(), 60);
    let told = raw.told.recv().await;
    // The acceptor waits for us to close, as PS3.8 says, before the association has ended for it.
    assert_eq!(told.unwrap(), "RAW ended: peer was silent for too long");
    assert_eq!(began.elapsed().as_secs(), 70);
}

/// Bears another silence of everyone.
#[derive(Debug)]
struct Patient(Duration);

#[async_trait]
impl AssociationPolicy for Patient {
    async fn decide(
        &self,
        _request: &AssociateRequest,
        _peer: &Peer,
    ) -> Result<Admission, Rejection> {
        Ok(Admission {
            idle_duration_max: Some(self.0),
            ..Admission::to(Services::ALL)
        })
    }
}

#[tokio::test(start_paused = true)]
async fn an_association_is_idle_for_as_long_as_the_policy_says() {
    for patience in [Duration::from_secs(5), Duration::from_secs(600)] {
        let archive = Arc::default();
        let (tell, told) = mpsc::unbounded_channel();
        let acceptor = builder(&archive)
            .observer(Arc::new(Told(tell)))
            .policy(Arc::new(Patient(patience)));
        let mut raw = raw_to(acceptor.build().unwrap(), archive, told);
        raw.associate().await;
        let began = Instant::now();

        assert_eq!(raw.aborted().await, AbortSource::ServiceUser);

        assert_eq!(began.elapsed().as_secs(), patience.as_secs());
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_vanishes_in_a_data_set_leaves_nothing() {
    let mut raw = raw();
    raw.associate().await;
    raw.request(1, 1, true).await;
    let mut out = BytesMut::new();
    let piece = Bytes::from_static(&[7; 9000]);
    Framer::default().frame(1, false, piece, 16_384, |bytes| {
        out.extend_from_slice(&bytes)
    });
    raw.send(&out).await;

    let Raw {
        stream,
        mut told,
        archive,
        ..
    } = raw;
    drop(stream);

    let told = told.recv().await.unwrap();
    assert_eq!(told, "RAW ended: peer closed the connection");
    assert!(archive.stored.lock().unwrap().is_empty());
}

/// PS3.8 9.2: what a peer must not send, and what we say about it.
#[tokio::test(start_paused = true)]
async fn every_fault_has_its_abort() {
    let mut command_without_end = vec![4, 0, 0, 0, 0x40, 2, 0, 0, 0x3f, 0xfe, 1, 1];
    command_without_end.resize(12 + 0x3ffc, 0);
    let flood = command_without_end.repeat(5);
    let release_response = pdu::write(&Pdu::ReleaseRp).unwrap();
    let provider = AbortSource::ServiceProvider;
    let cases: [(&str, &[u8], AbortSource); 7] = [
        (
            "unknown PDU",
            &[9, 0, 0, 0, 0, 4],
            provider(AbortReason::UnrecognizedPdu),
        ),
        (
            "PDU over our length",
            &[4, 0, 0, 0x10, 0, 0],
            provider(AbortReason::InvalidPduParameter),
        ),
        (
            "value beyond its PDU",
            &[4, 0, 0, 0, 0, 6, 0, 0, 0, 9, 1, 3],
            provider(AbortReason::InvalidPduParameter),
        ),
        (
            "context 7",
            &[4, 0, 0, 0, 0, 6, 0, 0, 0, 2, 7, 3],
            provider(AbortReason::InvalidPduParameter),
        ),
        (
            "data without command",
            &[4, 0, 0, 0, 0, 6, 0, 0, 0, 2, 1, 2],
            provider(AbortReason::UnexpectedPduParameter),
        ),
        (
            "release answer",
            &release_response,
            provider(AbortReason::UnexpectedPdu),
        ),
        ("command of 80 KB", &flood, AbortSource::ServiceUser),
    ];
    for (what, bytes, wanted) in cases {
        let mut raw = raw();
        raw.associate().await;
        raw.send(bytes).await;

        assert_eq!(raw.aborted().await, wanted, "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn commands_that_are_not_served_are_answered_and_their_data_sets_drained() {
    let mut raw = raw();
    raw.associate().await;

    // N-DELETE, with a data set.
    raw.request(1, 0x0150, true).await;
    raw.send_values(1, false, &[7; 40_000]).await;
    assert_eq!(raw.status().await, 0x0211);
    // N-CREATE and N-SET on a storage context.
    for command in [0x0140, 0x0120] {
        raw.request(1, command, true).await;
        raw.send_values(1, false, &[7; 40_000]).await;
        assert_eq!(raw.status().await, 0x0118);
    }
    // C-FIND on a storage context.
    raw.request(1, 0x0020, true).await;
    raw.send_values(1, false, &[7; 40]).await;
    assert_eq!(raw.status().await, 0x0122);
    // C-STORE on a query context.
    raw.request(3, 0x0001, true).await;
    raw.send_values(3, false, &[7; 40]).await;
    assert_eq!(raw.status().await, 0x0122);
    // C-STORE without a data set.
    raw.request(1, 0x0001, false).await;
    assert_eq!(raw.status().await, 0x0212);
    // A C-CANCEL of nothing has no answer; the echo after it has.
    raw.request(3, 0x0fff, false).await;
    raw.request(1, 0x0030, false).await;
    assert_eq!(raw.status().await, 0x0122);
}

/// A context is agreed for its class, and for no other.
#[tokio::test(start_paused = true)]
async fn a_command_that_names_another_class_than_its_context_is_refused() {
    let mut raw = raw();
    raw.associate().await;
    let long = "1.2".repeat(10_000);
    for class in ["1.2.840.10008.5.1.4.1.1.4", "no UID", &long] {
        for (context_id, command_field) in [(1, 0x0001), (3, 0x0020), (5, 0x0010)] {
            raw.request_of(class, context_id, command_field, true).await;
            raw.send_values(context_id, false, &[7; 40]).await;
            let response = raw.response().await;

            assert_eq!(response.status, Some(0x0122), "{command_field:04X}H");
            let echoed = response.affected_sop_class;
            assert!(echoed.is_none_or(|class| class.len() <= 64));
        }
    }
    assert!(raw.archive.stored.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_identifier_over_the_limit_is_refused_and_the_association_lives() {
    let mut raw = raw();
    raw.associate().await;
    let long = vec![7; (1 << 20) + 2];

    raw.request(3, 0x0020, true).await;
    raw.send_values(3, false, &long).await;
    assert_eq!(raw.status().await, 0xa700);
    raw.request(5, 0x0010, true).await;
    raw.send_values(5, false, &long).await;
    assert_eq!(raw.status().await, 0xa701);
}

#[tokio::test(start_paused = true)]
async fn a_maximum_length_too_small_to_use_is_rejected() {
    for bytes in [1, 2, 3, 4, 5, 6, 63] {
        let mut raw = raw();
        let mut request = request();
        request.user.pdu_bytes_max = bytes;
        raw.send_pdu(&Pdu::AssociateRq(Box::new(request))).await;

        let wanted = Rejection::permanent(RejectReason::ProviderNoReason);
        assert_eq!(raw.receive().await, Some(Pdu::AssociateRj(wanted)));
    }
}

/// The requestor refuses PDUs over its own length, so that this shows that the acceptor keeps to
/// it.
#[tokio::test]
async fn a_small_maximum_length_is_obeyed() {
    let limits = NetLimits {
        pdu_bytes_max: 64,
        ..NetLimits::default()
    };
    let archive = Arc::new(MemoryArchive::default());
    let matches = vec![Bytes::from_static(&[7; 1000]); 3];
    archive.matches.lock().unwrap().clone_from(&matches);
    let acceptor = builder(&archive).build().unwrap();
    let (ours, theirs) = duplex(1 << 16);
    tokio::spawn(async move {
        let _ending = acceptor
            .serve_stream(theirs, ([127, 0, 0, 1], 1).into())
            .await;
    });
    let mut requestor = asking().limits(limits).connect_stream(ours).await.unwrap();

    let key = Bytes::from_static(b"key!");
    let mut find = requestor.find(STUDY_ROOT_FIND, key).await.unwrap();
    let mut found = Vec::new();
    while let Some(identifier) = find.next().await.unwrap() {
        found.push(identifier);
    }

    assert_eq!(found, matches);
}

/// Larger than the maximum PDU length of most implementations, and legal.
#[tokio::test(start_paused = true)]
async fn a_request_of_128_contexts_with_20_transfer_syntaxes_is_taken() {
    let mut raw = raw();
    let mut request = request();
    let names = (0..20).map(|at| format!("1.2.840.10008.1.2.4.{at}"));
    let names: Vec<String> = names.collect();
    let context = |id| ProposedContext {
        id,
        abstract_syntax: CT.into(),
        transfer_syntaxes: names.clone(),
    };
    request.contexts = (1..=255).step_by(2).map(context).collect();
    raw.send_pdu(&Pdu::AssociateRq(Box::new(request))).await;

    let Some(Pdu::AssociateAc(accept)) = raw.receive().await else {
        panic!("not accepted");
    };

    assert_eq!(accept.contexts.len(), 128);
    let first = |result: &pdu::ContextResult| result.transfer_syntax == names[0];
    assert!(accept.contexts.iter().all(first));
}

/// Gives pieces without end, and counts them.
#[derive(Debug, Clone)]
struct Endless(Arc<AtomicUsize>);

#[async_trait]
impl RetrieveScp for Endless {
    async fn get(
        &self,
        _peer: &Peer,
        _request: RetrieveRequest,
    ) -> Result<Box<dyn SubOperations>, RetrieveStatus> {
        Ok(Box::new(self.clone()))
    }

    async fn move_to(
        &self,
        _peer: &Peer,
        _request: RetrieveRequest,
        _destination: &pacs_core::AeTitle,
    ) -> Result<(Destination, Box<dyn SubOperations>), RetrieveStatus> {
        Err(RetrieveStatus::MOVE_DESTINATION_UNKNOWN)
    }
}

#[async_trait]
impl SubOperations for Endless {
    fn count(&self) -> usize {
        usize::MAX
    }

    fn kinds(&self) -> Vec<(pacs_core::SopClassUid, pacs_core::TransferSyntaxUid)> {
        Vec::new()
    }

    async fn next(&mut self) -> Option<OutgoingInstance> {
        let like = instance(1, EXPLICIT_VR_LITTLE_ENDIAN, 0);
        Some(OutgoingInstance {
            sop_class: like.sop_class,
            sop_instance: like.sop_instance,
            transfer_syntax: like.transfer_syntax,
            length_bytes: u64::MAX,
            source: Box::new(self.clone()),
        })
    }
}

#[async_trait]
impl DataSetSource for Endless {
    async fn next(&mut self) -> Result<Option<Bytes>, SourceError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(Some(Bytes::from_static(&[7; 1 << 20])))
    }
}

/// An association on which instances without end are under way.
async fn retrieving(endless: &Endless) -> Raw {
    let (tell, told) = mpsc::unbounded_channel();
    let acceptor = Acceptor::builder(title("PACS"))
        .retrieve(Arc::new(endless.clone()))
        .observer(Arc::new(Told(tell)))
        .build()
        .unwrap();
    let mut raw = raw_to(acceptor, Arc::default(), told);
    raw.associate_to_retrieve().await;
    raw.request(5, 0x0010, true).await;
    raw.send_values(5, false, b"key!").await;
    raw
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_read_costs_few_pieces_and_its_association() {
    let endless = Endless(Arc::default());
    let began = Instant::now();
    let mut raw = retrieving(&endless).await;

    let told = raw.told.recv().await.unwrap();

    assert_eq!(told, "RAW ended: peer was silent for too long");
    assert!(began.elapsed().as_secs() <= 80, "{:?}", began.elapsed());
    // Two of this instance, two of the next, and what the pipe took.
    assert!(endless.0.load(Ordering::SeqCst) <= 6);
}

#[tokio::test(start_paused = true)]
async fn an_abort_right_after_a_release_request_is_told_as_an_abort() {
    let mut raw = raw();
    raw.associate().await;
    let abort = Pdu::Abort(AbortSource::ServiceUser);
    let both = [Pdu::ReleaseRq, abort].map(|pdu| pdu::write(&pdu).unwrap());
    raw.send(&both.concat()).await;

    let told = raw.told.recv().await.unwrap();
    assert_eq!(told, "RAW ended: peer: aborted by the service user");
}

/// C-CANCELs of nothing do not make the answer to a sub-operation come later.
#[tokio::test(start_paused = true)]
async fn a_requestor_that_cancels_again_and_again_is_aborted() {
    let began = Instant::now();
    let mut raw = raw();
    let stored = instance(1, EXPLICIT_VR_LITTLE_ENDIAN, 100);
    raw.archive.stored.lock().unwrap().push(stored);
    raw.associate_to_retrieve().await;
    raw.request(5, 0x0010, true).await;
    raw.send_values(5, false, b"key!").await;
    let cancel = CommandSet {
        command_field: 0x0fff,
        message_id_responded: Some(77),
        ..CommandSet::default()
    };
    let mut pdu = BytesMut::new();
    frame_copied(5, true, &cancel.to_bytes(), 16_384, &mut pdu);
    let cancelling = async {
        while raw.stream.write_all(&pdu).await.is_ok() {
            tokio::time::sleep(Duration::from_secs(200)).await;
        }
    };

    tokio::time::timeout(Duration::from_secs(10_000), cancelling)
        .await
        .expect("the association must end");

    assert_eq!(
        raw.told.recv().await.unwrap(),
        "RAW ended: peer was silent for too long"
    );
    assert!(began.elapsed().as_secs() <= 600, "{:?}", began.elapsed());
}

/// Silence for less than the idle time, again and again, with hardly anything between.
#[tokio::test(start_paused = true)]
async fn a_data_set_that_drips_costs_its_association() {
    let mut raw = raw();
    raw.associate().await;
    raw.request(1, 1, true).await;
    let began = Instant::now();
    let dripping = async {
        loop {
            let mut pdu = BytesMut::new();
            let piece = Bytes::from_static(b"ab");
            let transmit = |bytes: Bytes| pdu.extend_from_slice(&bytes);
            Framer::default().frame(1, false, piece, 16_384, transmit);
            if raw.stream.write_all(&pdu).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_secs(50)).await;
        }
    };

    tokio::time::timeout(Duration::from_secs(1000), dripping)
        .await
        .expect("the association must end");

    assert_eq!(
        raw.told.recv().await.unwrap(),
        "RAW ended: peer was silent for too long"
    );
    assert!(began.elapsed().as_secs() <= 150, "{:?}", began.elapsed());
}

/// At a slow but steady rate, anything can be sent.
#[tokio::test(start_paused = true)]
async fn a_data_set_over_a_slow_line_arrives() {
    let mut raw = raw();
    raw.associate().await;
    raw.request(1, 1, true).await;
    let mut pdus = BytesMut::new();
    frame_copied(1, false, &[7; 500_000], 16_384, &mut pdus);
    for piece in pdus.chunks(2000) {
        tokio::time::sleep(Duration::from_secs(1)).await;
        raw.send(piece).await;
    }

    assert_eq!(raw.status().await, 0);
    assert_eq!(raw.archive.stored.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_a_byte_now_and_then_costs_its_association() {
    let endless = Endless(Arc::default());
    let began = Instant::now();
    let Raw {
        mut stream,
        mut told,
        ..
    } = retrieving(&endless).await;
    let reading = tokio::spawn(async move {
        let mut every = tokio::time::interval(Duration::from_secs(50));
        while stream.read_u8().await.is_ok() {
            every.tick().await;
        }
    });

    let ended = tokio::time::timeout(Duration::from_secs(1000), told.recv()).await;

    let ended = ended.expect("the association must end").unwrap();
    assert_eq!(ended, "RAW ended: peer was silent for too long");
    assert!(began.elapsed().as_secs() <= 150, "{:?}", began.elapsed());
    reading.abort();
}

/// What it sends is no sign that it reads.
#[tokio::test(start_paused = true)]
async fn a_peer_that_sends_but_does_not_read_costs_its_association_too() {
    let endless = Endless(Arc::default());
    let began = Instant::now();
    let Raw {
        stream, mut told, ..
    } = retrieving(&endless).await;
    let (_read, mut write) = tokio::io::split(stream);
    let sending = tokio::spawn(async move {
        let echo = CommandSet {
            command_field: 0x30,
            message_id: Some(2),
            ..CommandSet::default()
        };
        let mut pdu = BytesMut::new();
        frame_copied(1, true, &echo.to_bytes(), 16_384, &mut pdu);
        let mut every_second = tokio::time::interval(Duration::from_secs(1));
        while write.write_all(&pdu).await.is_ok() {
            every_second.tick().await;
        }
    });

    let ended = tokio::time::timeout(Duration::from_secs(1000), told.recv()).await;

    let ended = ended.expect("the association must end").unwrap();
    assert_eq!(ended, "RAW ended: peer was silent for too long");
    assert!(began.elapsed().as_secs() <= 80, "{:?}", began.elapsed());
    sending.abort();
}

#[tokio::test(start_paused = true)]
async fn a_requestor_gives_up_on_an_acceptor_that_says_nothing() {
    let (ours, _theirs) = duplex(1 << 16);
    let began = Instant::now();

    let error = asking().connect_stream(ours).await.unwrap_err();

    assert_eq!(
        error.to_string(),
        "time-out waiting for the answer to an association request or release"
    );
    // The wait for the answer, and the wait for the peer to close after the abort.
    assert!(began.elapsed() <= Duration::from_secs(41));
}
