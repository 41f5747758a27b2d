//! What must hold for any bytes: used by the fuzz targets, and by the replay of their corpora.

use bytes::{Bytes, BytesMut};
use pacs_net::NetLimits;
use pacs_net::association::{Indication, UpperLayer};
use pacs_net::dimse::{Assembler, CommandSet};
use pacs_net::negotiation::{Services, negotiate};
use pacs_net::pdu::{
    self, APPLICATION_CONTEXT, AbortSource, AssociateRequest, Pdu, Pdv, ProposedContext,
    RejectReason, Rejection, Taken, UserInformation,
};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A stream of PDUs: each is refused, or read as something that can be written and read again.
pub fn pdu(bytes: &[u8]) {
    let limits = NetLimits::default();
    let mut buffer = BytesMut::from(bytes);
    while let Ok(Taken::Whole(pdu)) = pdu::take(&mut buffer, &limits) {
        if let Pdu::Data(data) = pdu {
            let payload: usize = data.map(|pdv| pdv.fragment.len()).sum();
            assert!(payload <= bytes.len());
            continue;
        }
        let Ok(written) = pdu::write(&pdu) else {
            continue;
        };
        match pdu::take(&mut BytesMut::from(&written[..]), &limits) {
            Ok(Taken::Whole(again)) => assert_eq!(again, pdu),
            // Our own items may make it longer than we take from others.
            other => assert!(written.len() > 100_000, "{other:?}"),
        }
    }
}

/// Command sets, and fragments of them.
pub fn command_set(bytes: &[u8]) {
    if let Ok(set) = CommandSet::parse(bytes) {
        let again = CommandSet::parse(&set.to_bytes());
        assert_eq!(again.map(|again| normalised(&again)), Ok(normalised(&set)));
    }
    let mut assembler = Assembler::new(4096);
    let mut out = VecDeque::new();
    let mut rest = bytes;
    while let Some((&[control, length], after)) = rest.split_first_chunk::<2>() {
        let (fragment, after) = after.split_at(usize::from(length).min(after.len()));
        rest = after;
        let pdv = Pdv {
            context_id: control >> 4 | 1,
            is_command: control & 1 != 0,
            is_last: control & 2 != 0,
            fragment: Bytes::copy_from_slice(fragment),
        };
        if assembler.receive(pdv, &mut out).is_err() {
            return;
        }
        assert!(out.len() <= 2);
        out.clear();
    }
}

/// Texts that lose something on the way: an odd length is padded, and what is no UTF-8 is replaced.
fn normalised(set: &CommandSet) -> CommandSet {
    let mut set = set.clone();
    set.error_comment = None;
    set
}

fn request() -> AssociateRequest {
    AssociateRequest {
        protocol_version: 1,
        calling_ae_title: "SCU".into(),
        called_ae_title: "SCP".into(),
        application_context: APPLICATION_CONTEXT.into(),
        contexts: vec![ProposedContext {
            id: 1,
            abstract_syntax: "1.2.840.10008.1.1".into(),
            transfer_syntaxes: vec!["1.2.840.10008.1.2".into()],
        }],
        user: UserInformation::own(16_384),
    }
}

/// A script for the upper layer: bytes from the network, requests of the user, and time.
pub fn association(script: &[u8]) {
    let Some((&first, mut rest)) = script.split_first() else {
        return;
    };
    let limits = Arc::new(NetLimits::default());
    let mut now = Instant::now();
    let mut upper = if first & 1 == 0 {
        UpperLayer::acceptor(Arc::clone(&limits), now)
    } else {
        UpperLayer::requestor(request(), Arc::clone(&limits), now)
    };
    let mut buffer = BytesMut::new();
    let mut asked = None;
    while let Some((&operation, after)) = rest.split_first() {
        rest = after;
        match operation {
            0 => upper.transport_closed(now),
            1 => {
                if let Some(request) = asked.take()
                    && let Ok((accept, agreed)) = negotiate(&request, Services::ALL, &limits, None)
                {
                    let _misuse = upper.accept(accept, Arc::new(agreed), now);
                }
            }
            2 => {
                let rejection = Rejection::transient(RejectReason::LocalLimitExceeded);
                let _misuse = upper.reject(rejection, now);
            }
            3 => drop(upper.release(now)),
            4 => drop(upper.respond_release(now)),
            5 => drop(upper.abort(AbortSource::ServiceUser, now)),
            6 => drop(upper.send_command(1, b"command!")),
            7 => {
                now += Duration::from_secs(7);
                upper.expire(now);
            }
            length => {
                let (bytes, after) = rest.split_at(usize::from(length).min(rest.len()));
                rest = after;
                buffer.extend_from_slice(bytes);
                upper.receive(&mut buffer, now);
            }
        }
        while let Some(indication) = upper.next_indication() {
            if let Indication::AssociateRequested(request) = indication {
                asked = Some(*request);
            }
        }
        let queued: usize = upper.transmits().iter().map(Bytes::len).sum();
        assert!(queued < 100_000);
        upper.transmits().clear();
        assert!((1..=13).contains(&upper.state().number()));
    }
}
