//! The state table, cell by cell, and wire vectors: hex in, indications and hex out.

use super::*;
use crate::error::Fault;
use crate::negotiation::{Services, negotiate};
use crate::pdu::{
    APPLICATION_CONTEXT, AbortReason, PduError, ProposedContext, RejectReason, UserInformation,
};
use proptest::prelude::*;
use std::fmt::Write as _;
use std::time::Duration;

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

fn agreement() -> (AssociateAccept, Negotiated) {
    negotiate(&request(), Services::ALL, &NetLimits::default(), None).unwrap()
}

fn state(number: u8, until: Instant) -> State {
    let negotiated = || Arc::new(agreement().1);
    let request = Box::new(request());
    match number {
        1 => State::Idle,
        2 => State::AwaitRequest { artim: until },
        3 => State::AwaitDecision,
        4 => State::AwaitTransport { request },
        5 => State::AwaitResponse { request, until },
        6 => State::Established(negotiated()),
        7 => State::AwaitRelease { until },
        8 => State::ReleaseAsked(negotiated()),
        9 => State::CollisionRequestorAsked { until },
        10 => State::CollisionAcceptorAwaits { until },
        11 => State::CollisionRequestorAwaits { until },
        12 => State::CollisionAcceptorAsked { until },
        13 => State::AwaitClose { artim: until },
        _ => panic!("PS3.8 has 13 states"),
    }
}

fn data() -> DataPdu {
    DataPdu::parse(Bytes::from_static(&[0, 0, 0, 2, 1, 3])).unwrap()
}

/// `None` for Evt9, which is a question to the machine.
fn event(number: u8) -> Option<Event> {
    let (accept, negotiated) = agreement();
    let rejection = Rejection::permanent(RejectReason::NoReason);
    Some(match number {
        1 => Event::AssociateRequest(Box::new(request())),
        2 => Event::TransportConfirmed,
        3 => Event::AssociateAc(Box::new(accept)),
        4 => Event::AssociateRj(rejection),
        5 => Event::TransportIndicated,
        6 => Event::AssociateRq(Box::new(request())),
        7 => Event::Accept(Box::new(accept), Arc::new(negotiated)),
        8 => Event::Reject(rejection),
        9 => return None,
        10 => Event::Data(data()),
        11 => Event::ReleaseRequest,
        12 => Event::ReleaseRq,
        13 => Event::ReleaseRp,
        14 => Event::ReleaseResponse,
        15 => Event::AbortRequest(AbortSource::ServiceUser),
        16 => Event::Abort(AbortSource::ServiceUser),
        17 => Event::Closed,
        18 => Event::ArtimExpired,
        19 => Event::Invalid(PduError::UnrecognizedPdu { kind: 9 }.into()),
        _ => panic!("PS3.8 has 19 events"),
    })
}

/// Action and next state of a cell, `None` where it is empty.
fn cell(table: &str, event: u8, state: u8, role: Role) -> Option<(String, u8)> {
    let (event, state) = (format!("Evt{event}"), format!("Sta{state}"));
    table
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split('\t').collect::<Vec<_>>())
        .find(|fields| fields[0] == event && fields[1] == state)
        .map(|fields| {
            let mut next = fields[3].split('/');
            let first = next.next().unwrap();
            let next = match role {
                Role::Requestor => first,
                Role::Acceptor => next.next().unwrap_or(first),
            };
            (fields[2].replace('-', ""), next.parse().unwrap())
        })
}

/// PS3.8 9.2.1: whatever happens in whatever state, the machine does what Table 9-10 says.
#[test]
fn every_cell_of_table_9_10_holds() {
    let table = include_str!("../../testdata/table-9-10.tsv");
    let now = Instant::now();
    let until = now + Duration::from_secs(10);
    let mut failures = String::new();
    let mut cells = 0;
    for role in [Role::Acceptor, Role::Requestor] {
        for (number, sta) in (1..=19).flat_map(|evt| (1..=13).map(move |sta| (evt, sta))) {
            // The standard leaves the end of these waits to the implementation: tested below.
            if number == 18 && state(sta, until).deadline().is_some() && sta != 2 && sta != 13 {
                continue;
            }
            let mut upper = UpperLayer::new(role, Arc::new(NetLimits::default()));
            upper.state = state(sta, until);
            match event(number) {
                Some(event) => upper.on(event, now),
                None => drop(upper.may_send()),
            }
            let action = upper.output.action;
            let found = action.map(|action| (format!("{action:?}"), upper.state.number()));
            let wanted = cell(table, number, sta, role).map(|(a, n)| (a.to_lowercase(), n));
            let found = found.map(|(a, n)| (a.to_lowercase(), n));
            if found != wanted || (found.is_none() && upper.state.number() != sta) {
                let _written = writeln!(
                    failures,
                    "{role:?} Evt{number} Sta{sta}: {found:?}, not {wanted:?}"
                );
            }
            cells += usize::from(wanted.is_some());
        }
    }

    assert_eq!(failures, "");
    assert_eq!(cells, 2 * 123);
}

/// What each action sends, tells and starts (PS3.8 Tables 9-6 to 9-9).
#[test]
fn every_action_has_its_effect() {
    let now = Instant::now();
    let until = now + Duration::from_secs(99);
    let run = |sta, number| {
        let mut upper = UpperLayer::new(Role::Requestor, Arc::new(NetLimits::default()));
        upper.state = state(sta, until);
        upper.on(event(number).unwrap(), now);
        let sent = upper.output.transmits.front().map(|pdu| pdu[0]);
        (sent, upper.next_indication(), upper.deadline())
    };
    let artim = Some(now + NetLimits::default().artim);

    assert_eq!(run(1, 5), (None, None, artim)); // AE-5
    assert_eq!(run(4, 2).0, Some(0x01)); // AE-2
    assert!(matches!(
        run(5, 3).1,
        Some(Indication::AssociateConfirmed(_))
    )); // AE-3
    assert!(matches!(run(5, 4).1, Some(Indication::Rejected(_)))); // AE-4
    let (sent, told, timer) = run(2, 6); // AE-6
    assert!(matches!(told, Some(Indication::AssociateRequested(_))));
    assert_eq!((sent, timer), (None, None));
    assert_eq!(run(3, 7), (Some(0x02), None, None)); // AE-7
    assert_eq!(run(3, 8), (Some(0x03), None, artim)); // AE-8
    assert_eq!(run(6, 10).1, Some(Indication::Data(data()))); // DT-2
    assert_eq!(run(6, 11).0, Some(0x05)); // AR-1
    assert_eq!(run(6, 12).1, Some(Indication::ReleaseRequested)); // AR-2
    assert_eq!(run(7, 13), (None, Some(Indication::Released), None)); // AR-3
    assert_eq!(run(8, 14), (Some(0x06), None, artim)); // AR-4
    assert_eq!(run(13, 17), (None, None, None)); // AR-5
    assert_eq!(run(7, 10).1, Some(Indication::Data(data()))); // AR-6
    assert_eq!(run(7, 12).1, Some(Indication::ReleaseRequested)); // AR-8
    assert_eq!(run(9, 14).0, Some(0x06)); // AR-9
    assert_eq!(run(10, 13).1, Some(Indication::Released)); // AR-10
    assert_eq!(run(6, 15), (Some(0x07), None, artim)); // AA-1
    assert_eq!(run(2, 16), (None, None, None)); // AA-2
    let aborted = Indication::Aborted(AbortSource::ServiceUser);
    assert_eq!(run(6, 16), (None, Some(aborted), None)); // AA-3
    assert_eq!(run(6, 17), (None, Some(Indication::Closed), None)); // AA-4
    assert_eq!(run(13, 6), (Some(0x07), None, Some(until))); // AA-7
    let fault = Fault::UnexpectedPdu { state: 6 };
    assert_eq!(
        run(6, 6),
        (Some(0x07), Some(Indication::Faulted(fault)), artim)
    ); // AA-8
}

#[test]
fn a_wait_of_our_own_that_ends_is_an_abort() {
    for sta in [5, 7, 9, 10, 11, 12] {
        let now = Instant::now();
        let mut upper = UpperLayer::new(Role::Requestor, Arc::new(NetLimits::default()));
        upper.state = state(sta, now + Duration::from_secs(1));

        upper.expire(now);
        assert_eq!(upper.next_indication(), None, "Sta{sta}");
        upper.expire(now + Duration::from_secs(1));

        let fault = Fault::NoAnswer;
        assert_eq!(upper.next_indication(), Some(Indication::Faulted(fault)));
        assert_eq!(upper.state().number(), 13);
    }
}

#[test]
fn a_pdu_that_does_not_end_is_an_abort_even_if_it_drips() {
    let now = Instant::now();
    let mut upper = UpperLayer::acceptor(Arc::new(NetLimits::default()), now);
    upper.state = state(6, now);
    let mut buffer = BytesMut::from(&[4, 0, 0, 0, 0, 100][..]);
    upper.receive(&mut buffer, now);
    buffer.extend_from_slice(&[0]);
    upper.receive(&mut buffer, now + Duration::from_secs(29));
    assert_eq!(upper.next_indication(), None);

    upper.expire(now + Duration::from_secs(30));

    let fault = Fault::SlowPdu;
    assert_eq!(upper.next_indication(), Some(Indication::Faulted(fault)));
}

/// Runs a wire script: `>` hex is what the peer sends, `<` hex what we must send, `!` an indication
/// that we must give (its first word of `Debug`), `=` an answer of the user, `#` a comment.
fn check(script: &str) {
    let now = Instant::now();
    let mut upper = UpperLayer::acceptor(Arc::new(NetLimits::default()), now);
    let mut asked = None;
    for (at, line) in script.lines().enumerate() {
        let at = at + 1;
        let (kind, rest) = line.split_at_checked(1).unwrap_or(("#", ""));
        let rest = rest.split('#').next().unwrap_or("").trim();
        match kind {
            ">" => {
                let mut buffer = BytesMut::from(&unhex(rest)[..]);
                upper.receive(&mut buffer, now);
            }
            "<" => {
                let sent = upper.transmits().pop_front().map(|pdu| hex(&pdu));
                assert_eq!(sent.as_deref(), Some(&*rest.replace(' ', "")), "line {at}");
            }
            "!" => {
                let told = upper.next_indication();
                let debug = told
                    .as_ref()
                    .map(|told| format!("{told:?}"))
                    .unwrap_or_default();
                assert!(debug.starts_with(rest), "line {at}: {debug}, not {rest}");
                if let Some(Indication::AssociateRequested(request)) = told {
                    asked = Some(request);
                }
            }
            "=" => answer(&mut upper, rest, asked.as_deref(), now),
            "#" => {}
            _ => panic!("line {at}: unknown kind"),
        }
    }
    assert_eq!(
        upper.next_indication(),
        None,
        "an indication was not expected"
    );
    assert!(upper.transmits().is_empty(), "a PDU was not expected");
}

fn answer(upper: &mut UpperLayer, what: &str, asked: Option<&AssociateRequest>, now: Instant) {
    match what {
        "accept" => {
            let limits = NetLimits::default();
            match negotiate(asked.unwrap(), Services::ALL, &limits, None) {
                Ok((accept, agreed)) => upper.accept(accept, Arc::new(agreed), now).unwrap(),
                Err(rejection) => upper.reject(rejection, now).unwrap(),
            }
            if let Some(sent) = upper.transmits().front() {
                // The accept names our version, which changes: its type and contexts are enough.
                if sent[0] == 2 {
                    let short = sent.slice(..1);
                    upper.transmits()[0] = short;
                }
            }
        }
        "respond release" => upper.respond_release(now).unwrap(),
        "release" => upper.release(now).unwrap(),
        "abort" => upper.abort(AbortSource::ServiceUser, now).unwrap(),
        _ => panic!("unknown answer {what}"),
    }
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: String = text.split_whitespace().collect();
    digits
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _written = write!(text, "{byte:02x}");
        text
    })
}

macro_rules! wire_scripts {
    ($($name:ident: $file:literal;)*) => {$(
        #[test]
        fn $name() {
            check(include_str!(concat!("../../testdata/wire/", $file)));
        }
    )*};
}

wire_scripts! {
    an_echo_association_is_served_and_released: "echo-and-release.txt";
    unknown_items_and_sub_items_are_skipped: "unknown-items.txt";
    an_http_request_is_aborted_at_its_first_byte: "http-request.txt";
    a_length_over_the_limit_is_aborted_at_the_header: "too-long.txt";
    an_even_context_id_is_rejected: "even-context-id.txt";
    a_release_collision_is_resolved: "release-collision.txt";
    a_presentation_data_value_beyond_its_pdu_is_aborted: "pdv-too-long.txt";
}

fn any_pdu() -> impl Strategy<Value = Vec<u8>> {
    let kind = prop_oneof![Just(0_u8), 1_u8..=7, any::<u8>()];
    let body = proptest::collection::vec(any::<u8>(), 0..120);
    (kind, body, any::<bool>()).prop_map(|(kind, body, true_length)| {
        let length = if true_length {
            body.len()
        } else {
            body.len() * 7
        };
        let mut pdu = vec![kind, 0];
        pdu.extend(u32::try_from(length).unwrap().to_be_bytes());
        pdu.extend(body);
        pdu
    })
}

fn well_formed() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(pdu::write(&pdu::Pdu::ReleaseRq).unwrap().to_vec()),
        Just(pdu::write(&pdu::Pdu::ReleaseRp).unwrap().to_vec()),
        Just(
            pdu::write(&pdu::Pdu::Abort(AbortSource::ServiceUser))
                .unwrap()
                .to_vec()
        ),
        Just(
            pdu::write(&pdu::Pdu::AssociateRq(Box::new(request())))
                .unwrap()
                .to_vec()
        ),
        Just(
            pdu::write(&pdu::Pdu::AssociateAc(Box::new(agreement().0)))
                .unwrap()
                .to_vec()
        ),
        Just(vec![4, 0, 0, 0, 0, 8, 0, 0, 0, 4, 1, 2, 7, 7]),
        any_pdu(),
    ]
}

fn run(sta: u8, role: Role, chunks: &[&[u8]]) -> (Vec<Indication>, Vec<u8>, u8) {
    let now = Instant::now();
    let mut upper = UpperLayer::new(role, Arc::new(NetLimits::default()));
    upper.state = state(sta, now + Duration::from_secs(9));
    let mut buffer = BytesMut::new();
    for chunk in chunks {
        buffer.extend_from_slice(chunk);
        upper.receive(&mut buffer, now);
    }
    let told = std::iter::from_fn(|| upper.next_indication()).collect();
    let sent = upper.transmits().iter().flatten().copied().collect();
    (told, sent, upper.state.number())
}

proptest! {
    /// However the network cuts a stream, the same is told and sent.
    #[test]
    fn fragmentation_changes_nothing(
        sta in 2_u8..=13,
        pdus in proptest::collection::vec(well_formed(), 1..5),
        size in 1_usize..40,
    ) {
        prop_assume!(sta != 4);
        let stream = pdus.concat();
        let whole = run(sta, Role::Acceptor, &[&stream]);
        let cut = run(sta, Role::Acceptor, &stream.chunks(size).collect::<Vec<_>>());
        prop_assert_eq!(whole, cut);
    }

    /// Nothing that a peer sends, in any state, makes us panic or answer without end.
    #[test]
    fn any_pdus_in_any_state_are_answered_in_bounds(
        sta in 1_u8..=13,
        requestor in any::<bool>(),
        pdus in proptest::collection::vec(well_formed(), 0..40),
    ) {
        let role = if requestor { Role::Requestor } else { Role::Acceptor };
        let stream = pdus.concat();
        let (told, sent, _) = run(sta, role, &[&stream]);
        prop_assert!(told.len() <= pdus.len() + 1);
        prop_assert!(sent.len() <= 1024);
    }
}

#[test]
fn an_abort_of_ours_says_why() {
    let bytes = [0x04, 0, 0, 0, 0, 2, 0, 0];
    let (told, sent, sta) = run(6, Role::Acceptor, &[&bytes]);

    assert!(matches!(told[..], [Indication::Faulted(Fault::Pdu(_))]));
    let reason = AbortSource::ServiceProvider(AbortReason::InvalidPduParameter);
    assert_eq!(sent, pdu::write(&pdu::Pdu::Abort(reason)).unwrap());
    assert_eq!(sta, 13);
}
