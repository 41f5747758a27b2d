//! What is accepted, what is not, and what is answered.

use super::*;
use crate::pdu::{UserIdentity, UserIdentityKind};
use crate::sop_class::{
    PATIENT_ROOT_FIND, STUDY_ROOT_FIND, STUDY_ROOT_GET, STUDY_ROOT_MOVE, VERIFICATION,
};

const CT: &str = "1.2.840.10008.5.1.4.1.1.2";
const PRIVATE: &str = "1.3.46.670589.11.0.0.12.1";
const JPEG: &str = "1.2.840.10008.1.2.4.50";

fn request(contexts: &[(&str, &[&str])]) -> AssociateRequest {
    let ids = (1..=255).step_by(2);
    let contexts = ids
        .zip(contexts)
        .map(|(id, (class, names))| ProposedContext {
            id,
            abstract_syntax: (*class).to_owned(),
            transfer_syntaxes: names.iter().map(|name| (*name).to_owned()).collect(),
        });
    AssociateRequest {
        protocol_version: 1,
        calling_ae_title: "SCU".into(),
        called_ae_title: "SCP".into(),
        application_context: APPLICATION_CONTEXT.into(),
        contexts: contexts.collect(),
        user: UserInformation::own(16_384),
    }
}

fn agree(request: &AssociateRequest, services: Services) -> (AssociateAccept, Negotiated) {
    negotiate(request, services, &NetLimits::default(), None).unwrap()
}

fn reason(class: &str, names: &[&str], services: Services) -> ContextReason {
    agree(&request(&[(class, names)]), services).0.contexts[0].reason
}

#[test]
fn storage_keeps_what_the_sender_has_whatever_it_is() {
    let names = ["1.2.840.10008.1.2.4.202", "1.2.3.4.5.6", JPEG];
    for class in [CT, PRIVATE, "1.2.840.10008.5.1.4.1.1.12345"] {
        let (accept, negotiated) = agree(&request(&[(class, &names)]), Services::ALL);

        assert_eq!(accept.contexts[0].transfer_syntax, names[0]);
        assert_eq!(negotiated.contexts()[0].service, ServiceClass::Storage);
    }
}

#[test]
fn messages_are_encoded_explicitly_where_the_peer_can() {
    let little = [IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN];
    let (accept, _) = agree(&request(&[(STUDY_ROOT_FIND, &little)]), Services::ALL);
    assert_eq!(
        accept.contexts[0].transfer_syntax,
        EXPLICIT_VR_LITTLE_ENDIAN
    );
    for only in [
        IMPLICIT_VR_LITTLE_ENDIAN,
        EXPLICIT_VR_BIG_ENDIAN,
        DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    ] {
        let (accept, _) = agree(&request(&[(STUDY_ROOT_FIND, &[only])]), Services::ALL);
        assert_eq!(accept.contexts[0].transfer_syntax, only);
    }
}

#[test]
fn each_refusal_has_its_reason() {
    use ContextReason as Reason;
    let implicit = &[IMPLICIT_VR_LITTLE_ENDIAN][..];
    let echo_only = Services {
        verification: true,
        ..Services::default()
    };
    let cases = [
        (CT, implicit, echo_only, Reason::AbstractSyntaxNotSupported),
        (VERIFICATION, implicit, echo_only, Reason::Acceptance),
        (
            STUDY_ROOT_GET,
            implicit,
            echo_only,
            Reason::AbstractSyntaxNotSupported,
        ),
        (
            STUDY_ROOT_MOVE,
            implicit,
            echo_only,
            Reason::AbstractSyntaxNotSupported,
        ),
        (
            "1.2.840.10008.5.1.4.34.6.3",
            implicit,
            Services::ALL,
            Reason::AbstractSyntaxNotSupported,
        ),
        (
            "not a uid/..",
            implicit,
            Services::ALL,
            Reason::AbstractSyntaxNotSupported,
        ),
        (CT, &[], Services::ALL, Reason::TransferSyntaxesNotSupported),
        (
            CT,
            &[".."],
            Services::ALL,
            Reason::TransferSyntaxesNotSupported,
        ),
        (
            PATIENT_ROOT_FIND,
            &[JPEG],
            Services::ALL,
            Reason::TransferSyntaxesNotSupported,
        ),
    ];
    for (class, names, services, wanted) in cases {
        assert_eq!(reason(class, names, services), wanted, "{class} {names:?}");
    }
}

/// PS3.7 D.3.3.4.
#[test]
fn roles_are_those_that_were_asked_and_are_offered() {
    let get_only = Services {
        storage: false,
        ..Services::ALL
    };
    let role = |scu, scp| Roles { scu, scp };
    let cases = [
        (Services::ALL, None, Some(Roles::DEFAULT)),
        (
            Services::ALL,
            Some(role(true, true)),
            Some(role(true, true)),
        ),
        (
            Services::ALL,
            Some(role(false, true)),
            Some(role(false, true)),
        ),
        (get_only, Some(role(true, true)), Some(role(false, true))),
        (get_only, None, None),
        (Services::ALL, Some(role(false, false)), None),
    ];
    for (services, asked, wanted) in cases {
        let mut request = request(&[(CT, &[JPEG])]);
        request.user.roles = asked
            .map(|asked| (CT.to_owned(), asked))
            .into_iter()
            .collect();

        let (accept, negotiated) = agree(&request, services);

        let found = negotiated.context(1).map(|context| context.requestor_roles);
        assert_eq!(found, wanted, "{services:?} {asked:?}");
        let answered = accept.user.roles.first().map(|(_, roles)| *roles);
        assert_eq!(answered, asked.and(wanted));
    }
}

#[test]
fn what_we_do_not_do_is_refused_politely() {
    let mut request = request(&[
        (STUDY_ROOT_FIND, &[IMPLICIT_VR_LITTLE_ENDIAN]),
        (CT, &[JPEG]),
    ]);
    request.user.asynchronous_operations = Some((0, 8));
    request.user.extended = vec![
        (STUDY_ROOT_FIND.into(), vec![1, 1, 1, 1]),
        (CT.into(), vec![2, 0, 1]),
        ("1.2.3".into(), vec![1]),
    ];

    let (accept, negotiated) = agree(&request, Services::ALL);

    assert_eq!(accept.user.asynchronous_operations, Some((1, 1)));
    let extended = vec![(STUDY_ROOT_FIND.to_owned(), vec![1, 0, 0, 0])];
    assert_eq!(accept.user.extended, extended);
    assert!(negotiated.context(1).unwrap().relational);
    assert!(!negotiated.context(3).unwrap().relational);
}

#[test]
fn an_identity_is_answered_if_and_only_if_it_asks_and_was_verified() {
    for asks in [true, false] {
        let mut request = request(&[(VERIFICATION, &[IMPLICIT_VR_LITTLE_ENDIAN])]);
        request.user.identity = Some(UserIdentity {
            kind: UserIdentityKind::Username,
            positive_response_requested: asks,
            primary: b"u".to_vec(),
            secondary: Vec::new(),
        });
        let limits = NetLimits::default();
        let (accept, _) = negotiate(&request, Services::ALL, &limits, Some(vec![1])).unwrap();

        assert_eq!(accept.user.identity_response, asks.then(|| vec![1]));
        // Where nobody has verified it, nobody says that it is right.
        let (accept, _) = negotiate(&request, Services::ALL, &limits, None).unwrap();
        assert_eq!(accept.user.identity_response, None);
    }
}

#[test]
fn a_request_that_is_no_request_is_rejected() {
    let good = request(&[(VERIFICATION, &[IMPLICIT_VR_LITTLE_ENDIAN])]);
    let mut version = good.clone();
    version.protocol_version = 2;
    let mut context = good.clone();
    context.application_context = "1.2".into();
    let mut empty = good.clone();
    empty.contexts.clear();
    let mut even = good.clone();
    even.contexts[0].id = 2;
    let mut zero = good.clone();
    zero.contexts[0].id = 0;
    let mut twice = good.clone();
    twice.contexts.push(good.contexts[0].clone());
    let mut tiny = good.clone();
    tiny.user.pdu_bytes_max = 5;
    let cases = [
        (version, RejectReason::ProtocolVersionNotSupported),
        (context, RejectReason::ApplicationContextNotSupported),
        (empty, RejectReason::ProviderNoReason),
        (even, RejectReason::ProviderNoReason),
        (zero, RejectReason::ProviderNoReason),
        (twice, RejectReason::ProviderNoReason),
        (tiny, RejectReason::ProviderNoReason),
    ];
    for (request, wanted) in cases {
        let rejection = negotiate(&request, Services::ALL, &NetLimits::default(), None).err();
        assert_eq!(rejection, Some(Rejection::permanent(wanted)));
    }
}

#[test]
fn lengths_are_clamped_to_what_is_of_use() {
    for (announced, wanted) in [
        (0, 1 << 20),
        (64, 64),
        (16_384, 16_384),
        (u32::MAX, 1 << 20),
    ] {
        let mut request = request(&[(VERIFICATION, &[IMPLICIT_VR_LITTLE_ENDIAN])]);
        request.user.pdu_bytes_max = announced;

        assert_eq!(agree(&request, Services::ALL).1.sent_pdu_bytes_max, wanted);
    }
}

#[test]
fn an_answer_to_what_was_not_asked_is_a_fault() {
    let asked = request(&[(CT, &[JPEG, IMPLICIT_VR_LITTLE_ENDIAN])]);
    let limits = NetLimits::default();
    let (good, negotiated) = agree(&asked, Services::ALL);
    let confirmed = confirm(&asked, &good, &limits).unwrap();
    assert_eq!(confirmed.contexts(), negotiated.contexts());
    let mut other_context = good.clone();
    other_context.contexts[0].id = 3;
    let mut other_syntax = good.clone();
    other_syntax.contexts[0].transfer_syntax = EXPLICIT_VR_LITTLE_ENDIAN.into();
    let mut twice = good.clone();
    twice.contexts.push(good.contexts[0].clone());
    let mut tiny = good;
    tiny.user.pdu_bytes_max = 3;

    for accept in [other_context, other_syntax, twice, tiny] {
        assert!(confirm(&asked, &accept, &limits).is_err());
    }
}

#[test]
fn a_refusal_is_remembered_with_its_reason() {
    let asked = request(&[(CT, &[]), (VERIFICATION, &[IMPLICIT_VR_LITTLE_ENDIAN])]);
    let (accept, _) = agree(&asked, Services::ALL);

    let negotiated = confirm(&asked, &accept, &NetLimits::default()).unwrap();

    let wanted = Some(ContextReason::TransferSyntaxesNotSupported);
    assert_eq!(
        (negotiated.refusal(1), negotiated.refusal(3)),
        (wanted, None)
    );
}

#[test]
fn commitment_is_offered_in_the_roles_that_there_are() {
    let class = crate::sop_class::STORAGE_COMMITMENT_PUSH;
    let (user, provider, both) = ((true, false), (false, true), (true, true));
    let agreed = |services: Services, asked: Option<(bool, bool)>| {
        let mut request = request(&[(class, &[IMPLICIT_VR_LITTLE_ENDIAN])]);
        if let Some((scu, scp)) = asked {
            request.user.roles = vec![(class.to_owned(), Roles { scu, scp })];
        }
        let (accept, negotiated) = agree(&request, services);
        let roles = |roles: Roles| (roles.scu, roles.scp);
        let context = negotiated.contexts().first();
        let found = context.map(|context| roles(context.requestor_roles));
        let answered = accept.user.roles.first().map(|(_, of)| roles(*of));
        assert_eq!(answered, found.filter(|_| asked.is_some()));
        found
    };
    let taking = Services {
        commitment: true,
        ..Services::default()
    };
    let reported_to = Services {
        commitment_reports: true,
        ..Services::default()
    };

    assert_eq!(agreed(taking, None), Some(user));
    assert_eq!(agreed(taking, Some(both)), Some(user));
    assert_eq!(agreed(taking, Some(provider)), None);
    assert_eq!(agreed(reported_to, Some(provider)), Some(provider));
    assert_eq!(agreed(reported_to, Some(both)), Some(provider));
    assert_eq!(agreed(reported_to, Some(user)), None);
    assert_eq!(agreed(reported_to, None), Some(provider));
    assert_eq!(agreed(Services::ALL, Some(both)), Some(both));
    assert_eq!(agreed(Services::ALL, None), Some(user));
    assert_eq!(agreed(Services::default(), None), None);
}
