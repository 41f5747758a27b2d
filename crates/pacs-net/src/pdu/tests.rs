//! PDUs written and read back, and what is refused.

use super::*;
use bytes::{BufMut, Bytes};
use proptest::prelude::*;

fn request() -> AssociateRequest {
    let mut user = UserInformation::own(16_384);
    user.asynchronous_operations = Some((5, 0));
    user.roles = vec![(
        "1.2.840.10008.5.1.4.1.1.2".into(),
        Roles {
            scu: false,
            scp: true,
        },
    )];
    user.extended = vec![("1.2.840.10008.5.1.4.1.2.2.1".into(), vec![1, 0, 1])];
    user.identity = Some(UserIdentity {
        kind: UserIdentityKind::JsonWebToken,
        positive_response_requested: true,
        primary: b"token".to_vec(),
        secondary: Vec::new(),
    });
    AssociateRequest {
        protocol_version: 1,
        calling_ae_title: "SCU".into(),
        called_ae_title: "A TITLE WITH 16".into(),
        application_context: APPLICATION_CONTEXT.into(),
        contexts: vec![
            ProposedContext {
                id: 1,
                abstract_syntax: "1.2.840.10008.1.1".into(),
                transfer_syntaxes: vec!["1.2.840.10008.1.2".into(), "1.2.840.10008.1.2.1".into()],
            },
            ProposedContext {
                id: 255,
                abstract_syntax: "1.3.6.1".into(),
                transfer_syntaxes: Vec::new(),
            },
        ],
        user,
    }
}

fn accept() -> AssociateAccept {
    let mut user = UserInformation::own(0);
    user.identity_response = Some(b"ticket".to_vec());
    AssociateAccept {
        calling_ae_title: "SCU".into(),
        called_ae_title: "SCP".into(),
        contexts: vec![
            ContextResult {
                id: 1,
                reason: ContextReason::Acceptance,
                transfer_syntax: "1.2.840.10008.1.2".into(),
            },
            ContextResult {
                id: 3,
                reason: ContextReason::TransferSyntaxesNotSupported,
                transfer_syntax: String::new(),
            },
        ],
        user,
    }
}

fn read(bytes: &[u8]) -> Result<Taken, PduError> {
    take(&mut BytesMut::from(bytes), &NetLimits::default())
}

#[test]
fn every_pdu_that_is_written_is_read_back() {
    let mut pdus = vec![
        Pdu::AssociateRq(Box::new(request())),
        Pdu::AssociateAc(Box::new(accept())),
        Pdu::ReleaseRq,
        Pdu::ReleaseRp,
        Pdu::Abort(AbortSource::ServiceUser),
        Pdu::Abort(AbortSource::Reserved),
    ];
    for reason in [
        AbortReason::NotSpecified,
        AbortReason::UnrecognizedPdu,
        AbortReason::UnexpectedPdu,
        AbortReason::Reserved,
        AbortReason::UnrecognizedPduParameter,
        AbortReason::UnexpectedPduParameter,
        AbortReason::InvalidPduParameter,
    ] {
        pdus.push(Pdu::Abort(AbortSource::ServiceProvider(reason)));
    }
    for reason in [
        RejectReason::NoReason,
        RejectReason::ApplicationContextNotSupported,
        RejectReason::CallingAeTitleNotRecognized,
        RejectReason::CalledAeTitleNotRecognized,
        RejectReason::ProviderNoReason,
        RejectReason::ProtocolVersionNotSupported,
        RejectReason::TemporaryCongestion,
        RejectReason::LocalLimitExceeded,
        RejectReason::Reserved {
            source_code: 3,
            reason: 7,
        },
    ] {
        pdus.push(Pdu::AssociateRj(Rejection::permanent(reason)));
        pdus.push(Pdu::AssociateRj(Rejection::transient(reason)));
    }
    for pdu in pdus {
        let bytes = write(&pdu).unwrap();

        assert_eq!(read(&bytes), Ok(Taken::Whole(pdu)));
    }
}

/// PS3.8 9.3.3.2: its transfer syntax is not significant, and some peers leave it out (dicom-ul
/// fails).
#[test]
fn a_refused_context_may_lack_its_transfer_syntax() {
    let bytes = write(&Pdu::AssociateAc(Box::new(accept()))).unwrap();
    let needle = [0x21, 0, 0, 8, 3, 0, 4, 0, 0x40, 0, 0, 0];
    let at = bytes
        .windows(12)
        .position(|window| window == needle)
        .unwrap();
    let mut cut = bytes.to_vec();
    cut.drain(at + 8..at + 12);
    cut[at + 3] = 4;
    cut[5] -= 4;

    let Ok(Taken::Whole(Pdu::AssociateAc(read))) = read(&cut) else {
        panic!("not read");
    };
    assert_eq!(*read, accept());
}

#[test]
fn an_accepted_context_must_have_its_transfer_syntax() {
    let mut accept = accept();
    accept.contexts[1].reason = ContextReason::Acceptance;
    let bytes = write(&Pdu::AssociateAc(Box::new(accept))).unwrap();
    let needle = [0x21, 0, 0, 8, 3, 0, 0, 0, 0x40, 0, 0, 0];
    let at = bytes
        .windows(12)
        .position(|window| window == needle)
        .unwrap();
    let mut cut = bytes.to_vec();
    cut.drain(at + 8..at + 12);
    cut[at + 3] = 4;
    cut[5] -= 4;

    assert!(matches!(read(&cut), Err(PduError::Invalid { kind: 2, .. })));
}

#[test]
fn lengths_are_refused_at_the_header() {
    let limits = NetLimits::default();
    for (kind, limit_bytes) in [
        (1, limits.association_request_bytes_max),
        (2, limits.association_request_bytes_max),
        (3, 4),
        (4, limits.pdu_bytes_max),
        (5, 4),
        (6, 4),
        (7, 4),
    ] {
        let header = |length: u32| {
            let mut bytes = vec![kind, 0];
            bytes.put_u32(length);
            bytes
        };
        let length_bytes = limit_bytes + 1;
        let wanted = PduError::TooLong {
            kind,
            length_bytes,
            limit_bytes,
        };
        assert_eq!(read(&header(length_bytes)), Err(wanted));
        assert!(matches!(
            read(&header(limit_bytes)),
            Ok(Taken::Partial { .. })
        ));
    }
    assert_eq!(read(b"G"), Err(PduError::UnrecognizedPdu { kind: b'G' }));
}

#[test]
fn more_contexts_than_there_are_numbers_are_refused() {
    let mut many = request();
    many.contexts = vec![many.contexts[1].clone(); 129];
    let bytes = write(&Pdu::AssociateRq(Box::new(many))).unwrap();

    assert!(matches!(
        read(&bytes),
        Err(PduError::Invalid { kind: 1, .. })
    ));
}

#[test]
fn credentials_do_not_show() {
    assert!(!format!("{:?}", request()).contains("token"));
    assert!(!format!("{:?}", request()).contains("116"));
}

#[test]
fn values_are_slices_of_what_was_read() {
    let body = Bytes::from_static(&[0, 0, 0, 4, 1, 3, 7, 8, 0, 0, 0, 3, 5, 0, 9]);
    let values: Vec<Pdv> = DataPdu::parse(body.clone()).unwrap().collect();

    assert_eq!(values.len(), 2);
    assert_eq!(values[0].fragment.as_ptr(), body[6..].as_ptr());
    assert_eq!((values[0].is_command, values[0].is_last), (true, true));
    assert_eq!((values[1].context_id, values[1].is_last), (5, false));
    assert_eq!(values[1].fragment, &[9][..]);
}

#[test]
fn malformed_values_are_refused_whole() {
    for body in [
        &[][..],
        &[0, 0, 0][..],
        &[0, 0, 0, 1, 1][..],
        &[0, 0, 0, 2, 1][..],
        &[0, 0, 0, 2, 1, 3, 0][..],
        &[0xff, 0xff, 0xff, 0xff, 1, 3][..],
    ] {
        assert!(
            DataPdu::parse(Bytes::copy_from_slice(body)).is_err(),
            "{body:?}"
        );
    }
}

proptest! {
    /// What is framed for a peer's length comes back whole, in PDUs within that length, and no
    /// fragment but the last has an odd length, whatever the pieces have.
    #[test]
    fn framing_keeps_payload_and_length(
        pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..700), 1..8),
        pdu_bytes_max in 8_u32..3000,
        copied in any::<bool>(),
    ) {
        let payload = pieces.concat();
        let mut wire = BytesMut::new();
        if copied {
            data::frame_copied(3, false, &payload, pdu_bytes_max, &mut wire);
        } else {
            let mut framer = data::Framer::default();
            let count = pieces.len();
            for (at, piece) in pieces.into_iter().enumerate() {
                let is_last = at + 1 == count;
                framer.frame(3, is_last, piece.into(), pdu_bytes_max, |bytes| wire.put(bytes));
            }
        }
        let mut got = Vec::new();
        let mut last = false;
        while let Taken::Whole(pdu) = take(&mut wire, &NetLimits::default()).unwrap() {
            prop_assert!(!last);
            let Pdu::Data(mut data) = pdu else { panic!("not data") };
            let pdv = data.next().unwrap();
            prop_assert!(pdv.fragment.len() + 6 <= usize::try_from(pdu_bytes_max).unwrap());
            last = pdv.is_last;
            prop_assert!(last || pdv.fragment.len().is_multiple_of(2));
            got.extend_from_slice(&pdv.fragment);
        }
        prop_assert!(last);
        prop_assert_eq!(got, payload);
    }

    /// A request in which any byte is changed is read or refused; it does not panic.
    #[test]
    fn a_mutated_request_is_read_or_refused(
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = write(&Pdu::AssociateRq(Box::new(request()))).unwrap().to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _read_or_refused = read(&bytes);
    }
}
