//! The only place that names dicom-ul: its PDU codec reads and writes everything but P-DATA-TF.

use super::associate::{
    APPLICATION_CONTEXT, AbortReason, AbortSource, AssociateAccept, AssociateRequest,
    ContextReason, ContextResult, ProposedContext, RejectReason, RejectResult, Rejection, Roles,
    UserIdentity, UserIdentityKind, UserInformation,
};
use super::{Pdu, PduError, items};
use crate::limits::NetLimits;
use bytes::Bytes;
use dicom_ul::pdu as ul;

/// Reads a whole PDU with its header; its length has been checked.
pub(super) fn read(kind: u8, pdu: &[u8], limits: &NetLimits) -> Result<Pdu, PduError> {
    let invalid = |what| PduError::Invalid { kind, what };
    let body = pdu.get(super::HEADER_BYTES..).unwrap_or_default();
    let rewritten;
    let pdu = match kind {
        0x01 | 0x02 => {
            rewritten = items::normalise(kind, body, limits.presentation_contexts_max)?;
            &rewritten
        }
        0x07 => {
            // Reasons that the standard does not know are no reason to misread an abort.
            let &[_, _, source, reason] = body.first_chunk().ok_or(invalid("too short"))?;
            return Ok(Pdu::Abort(abort_source(source, reason)));
        }
        0x03 => {
            let &[_, result, source, reason] = body.first_chunk().ok_or(invalid("too short"))?;
            return Ok(Pdu::AssociateRj(rejection(result, source, reason)));
        }
        _ => pdu,
    };
    let length_max = limits.association_request_bytes_max.saturating_add(4096);
    match ul::read_pdu(pdu, length_max, true) {
        Ok(Some(ul::Pdu::AssociationRQ(rq))) => Ok(Pdu::AssociateRq(Box::new(request(rq)))),
        Ok(Some(ul::Pdu::AssociationAC(ac))) => Ok(Pdu::AssociateAc(Box::new(accept(ac)))),
        Ok(Some(ul::Pdu::ReleaseRQ)) => Ok(Pdu::ReleaseRq),
        Ok(Some(ul::Pdu::ReleaseRP)) => Ok(Pdu::ReleaseRp),
        Ok(_) => Err(invalid("not the PDU that its type says")),
        Err(_) => Err(invalid("malformed")),
    }
}

fn abort_source(source: u8, reason: u8) -> AbortSource {
    match source {
        0 => AbortSource::ServiceUser,
        2 => AbortSource::ServiceProvider(match reason {
            1 => AbortReason::UnrecognizedPdu,
            2 => AbortReason::UnexpectedPdu,
            3 => AbortReason::Reserved,
            4 => AbortReason::UnrecognizedPduParameter,
            5 => AbortReason::UnexpectedPduParameter,
            6 => AbortReason::InvalidPduParameter,
            _ => AbortReason::NotSpecified,
        }),
        _ => AbortSource::Reserved,
    }
}

fn rejection(result: u8, source: u8, reason: u8) -> Rejection {
    let reason = match (source, reason) {
        (1, 1) => RejectReason::NoReason,
        (1, 2) => RejectReason::ApplicationContextNotSupported,
        (1, 3) => RejectReason::CallingAeTitleNotRecognized,
        (1, 7) => RejectReason::CalledAeTitleNotRecognized,
        (2, 1) => RejectReason::ProviderNoReason,
        (2, 2) => RejectReason::ProtocolVersionNotSupported,
        (3, 1) => RejectReason::TemporaryCongestion,
        (3, 2) => RejectReason::LocalLimitExceeded,
        (source_code, reason) => RejectReason::Reserved {
            source_code,
            reason,
        },
    };
    if result == 2 {
        Rejection::transient(reason)
    } else {
        Rejection::permanent(reason)
    }
}

fn unpadded(text: &str) -> String {
    let is_padding = |c: char| c == '\0' || c.is_whitespace();
    text.trim_matches(is_padding).to_owned()
}

fn request(rq: ul::AssociationRQ) -> AssociateRequest {
    AssociateRequest {
        protocol_version: rq.protocol_version,
        calling_ae_title: unpadded(&rq.calling_ae_title),
        called_ae_title: unpadded(&rq.called_ae_title),
        application_context: unpadded(&rq.application_context_name),
        contexts: rq
            .presentation_contexts
            .into_iter()
            .map(|context| ProposedContext {
                id: context.id,
                abstract_syntax: unpadded(&context.abstract_syntax),
                transfer_syntaxes: context
                    .transfer_syntaxes
                    .iter()
                    .map(|name| unpadded(name))
                    .collect(),
            })
            .collect(),
        user: user_information(rq.user_variables),
    }
}

fn accept(ac: ul::AssociationAC) -> AssociateAccept {
    use ul::PresentationContextResultReason as Reason;
    AssociateAccept {
        calling_ae_title: unpadded(&ac.calling_ae_title),
        called_ae_title: unpadded(&ac.called_ae_title),
        contexts: ac
            .presentation_contexts
            .into_iter()
            .map(|context| ContextResult {
                id: context.id,
                reason: match context.reason {
                    Reason::Acceptance => ContextReason::Acceptance,
                    Reason::UserRejection => ContextReason::UserRejection,
                    Reason::NoReason => ContextReason::NoReason,
                    Reason::AbstractSyntaxNotSupported => ContextReason::AbstractSyntaxNotSupported,
                    Reason::TransferSyntaxesNotSupported => {
                        ContextReason::TransferSyntaxesNotSupported
                    }
                },
                transfer_syntax: unpadded(&context.transfer_syntax),
            })
            .collect(),
        user: user_information(ac.user_variables),
    }
}

fn user_information(variables: Vec<ul::UserVariableItem>) -> UserInformation {
    let mut user = UserInformation {
        pdu_bytes_max: 0,
        implementation_class_uid: String::new(),
        implementation_version_name: String::new(),
        asynchronous_operations: None,
        roles: Vec::new(),
        extended: Vec::new(),
        identity: None,
        identity_response: None,
    };
    for variable in variables {
        match variable {
            ul::UserVariableItem::MaxLength(bytes) => user.pdu_bytes_max = bytes,
            ul::UserVariableItem::ImplementationClassUID(uid) => {
                user.implementation_class_uid = unpadded(&uid);
            }
            ul::UserVariableItem::ImplementationVersionName(name) => {
                user.implementation_version_name = unpadded(&name);
            }
            ul::UserVariableItem::SopClassExtendedNegotiationSubItem(uid, data) => {
                user.extended.push((unpadded(&uid), data));
            }
            ul::UserVariableItem::ScuScpRoleSelectionSubItem(uid, roles) => {
                let (scu, scp) = (roles.scu, roles.scp);
                user.roles.push((unpadded(&uid), Roles { scu, scp }));
            }
            ul::UserVariableItem::UserIdentityItem(identity) => {
                user.identity = identity_of(&identity);
            }
            ul::UserVariableItem::Unknown(0x53, data) => {
                if let Ok([a, b, c, d]) = <[u8; 4]>::try_from(data) {
                    let window = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
                    user.asynchronous_operations = Some(window);
                }
            }
            ul::UserVariableItem::Unknown(0x59, data) => {
                user.identity_response = data.get(2..).map(<[u8]>::to_vec);
            }
            ul::UserVariableItem::Unknown(..) => {}
        }
    }
    user
}

fn identity_of(identity: &ul::UserIdentity) -> Option<UserIdentity> {
    use ul::UserIdentityType as Type;
    let kind = match identity.identity_type() {
        Type::Username => UserIdentityKind::Username,
        Type::UsernamePassword => UserIdentityKind::UsernameAndPassword,
        Type::KerberosServiceTicket => UserIdentityKind::KerberosTicket,
        Type::SamlAssertion => UserIdentityKind::SamlAssertion,
        Type::Jwt => UserIdentityKind::JsonWebToken,
        _ => return None,
    };
    Some(UserIdentity {
        kind,
        positive_response_requested: identity.positive_response_requested(),
        primary: identity.primary_field(),
        secondary: identity.secondary_field(),
    })
}

/// Why our own PDU cannot be written: a title or item of the caller is too long for its field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("PDU has a field that is too long for it")]
pub struct WriteError;

/// Writes any PDU but P-DATA-TF, which [`super::data::Framer`] writes.
///
/// # Errors
/// [`WriteError`] for a title over 16 bytes or an item over 65,535.
pub fn write(pdu: &Pdu) -> Result<Bytes, WriteError> {
    let pdu = match pdu {
        Pdu::Abort(source) => return Ok(abort_bytes(*source)),
        Pdu::AssociateAc(ac) => ul::Pdu::AssociationAC(written_accept(ac)),
        Pdu::AssociateRj(rejection) => return Ok(rejection_bytes(*rejection)),
        Pdu::AssociateRq(rq) => ul::Pdu::AssociationRQ(written_request(rq)),
        Pdu::Data(_) => return Err(WriteError),
        Pdu::ReleaseRp => ul::Pdu::ReleaseRP,
        Pdu::ReleaseRq => ul::Pdu::ReleaseRQ,
    };
    let mut out = Vec::with_capacity(512);
    ul::write_pdu(&mut out, &pdu).map_err(|_too_long| WriteError)?;
    Ok(out.into())
}

fn abort_bytes(source: AbortSource) -> Bytes {
    let (source, reason) = match source {
        AbortSource::ServiceUser => (0, 0),
        AbortSource::Reserved => (1, 0),
        AbortSource::ServiceProvider(reason) => {
            let reason = match reason {
                AbortReason::NotSpecified => 0,
                AbortReason::UnrecognizedPdu => 1,
                AbortReason::UnexpectedPdu => 2,
                AbortReason::Reserved => 3,
                AbortReason::UnrecognizedPduParameter => 4,
                AbortReason::UnexpectedPduParameter => 5,
                AbortReason::InvalidPduParameter => 6,
            };
            (2, reason)
        }
    };
    Bytes::copy_from_slice(&[0x07, 0, 0, 0, 0, 4, 0, 0, source, reason])
}

fn rejection_bytes(rejection: Rejection) -> Bytes {
    let result = match rejection.result {
        RejectResult::Permanent => 1,
        RejectResult::Transient => 2,
    };
    let (source, reason) = match rejection.reason {
        RejectReason::NoReason => (1, 1),
        RejectReason::ApplicationContextNotSupported => (1, 2),
        RejectReason::CallingAeTitleNotRecognized => (1, 3),
        RejectReason::CalledAeTitleNotRecognized => (1, 7),
        RejectReason::ProviderNoReason => (2, 1),
        RejectReason::ProtocolVersionNotSupported => (2, 2),
        RejectReason::TemporaryCongestion => (3, 1),
        RejectReason::LocalLimitExceeded => (3, 2),
        RejectReason::Reserved {
            source_code,
            reason,
        } => (source_code, reason),
    };
    Bytes::copy_from_slice(&[0x03, 0, 0, 0, 0, 4, 0, result, source, reason])
}

fn written_request(rq: &AssociateRequest) -> ul::AssociationRQ {
    ul::AssociationRQ {
        protocol_version: rq.protocol_version,
        calling_ae_title: rq.calling_ae_title.clone(),
        called_ae_title: rq.called_ae_title.clone(),
        application_context_name: rq.application_context.clone(),
        presentation_contexts: rq
            .contexts
            .iter()
            .map(|context| ul::PresentationContextProposed {
                id: context.id,
                abstract_syntax: context.abstract_syntax.clone(),
                transfer_syntaxes: context.transfer_syntaxes.clone(),
            })
            .collect(),
        user_variables: written_user(&rq.user),
    }
}

fn written_accept(ac: &AssociateAccept) -> ul::AssociationAC {
    use ul::PresentationContextResultReason as Reason;
    ul::AssociationAC {
        protocol_version: 1,
        calling_ae_title: ac.calling_ae_title.clone(),
        called_ae_title: ac.called_ae_title.clone(),
        application_context_name: APPLICATION_CONTEXT.to_owned(),
        presentation_contexts: ac
            .contexts
            .iter()
            .map(|context| ul::PresentationContextResult {
                id: context.id,
                reason: match context.reason {
                    ContextReason::Acceptance => Reason::Acceptance,
                    ContextReason::UserRejection => Reason::UserRejection,
                    ContextReason::NoReason => Reason::NoReason,
                    ContextReason::AbstractSyntaxNotSupported => Reason::AbstractSyntaxNotSupported,
                    ContextReason::TransferSyntaxesNotSupported => {
                        Reason::TransferSyntaxesNotSupported
                    }
                },
                transfer_syntax: context.transfer_syntax.clone(),
            })
            .collect(),
        user_variables: written_user(&ac.user),
    }
}

fn written_user(user: &UserInformation) -> Vec<ul::UserVariableItem> {
    let mut items = vec![
        ul::UserVariableItem::MaxLength(user.pdu_bytes_max),
        ul::UserVariableItem::ImplementationClassUID(user.implementation_class_uid.clone()),
    ];
    if let Some((invoked, performed)) = user.asynchronous_operations {
        let window = [invoked.to_be_bytes(), performed.to_be_bytes()].concat();
        items.push(ul::UserVariableItem::Unknown(0x53, window));
    }
    for (uid, Roles { scu, scp }) in &user.roles {
        let roles = ul::RequestorRoles {
            scu: *scu,
            scp: *scp,
        };
        items.push(ul::UserVariableItem::ScuScpRoleSelectionSubItem(
            uid.clone(),
            roles,
        ));
    }
    let name = user.implementation_version_name.clone();
    items.push(ul::UserVariableItem::ImplementationVersionName(name));
    for (uid, data) in &user.extended {
        items.push(ul::UserVariableItem::SopClassExtendedNegotiationSubItem(
            uid.clone(),
            data.clone(),
        ));
    }
    if let Some(identity) = &user.identity {
        items.push(ul::UserVariableItem::UserIdentityItem(written_identity(
            identity,
        )));
    }
    if let Some(response) = &user.identity_response {
        let length = u16::try_from(response.len()).unwrap_or(u16::MAX);
        let mut item = length.to_be_bytes().to_vec();
        item.extend(response.iter().take(usize::from(length)));
        items.push(ul::UserVariableItem::Unknown(0x59, item));
    }
    items
}

fn written_identity(identity: &UserIdentity) -> ul::UserIdentity {
    use ul::UserIdentityType as Type;
    ul::UserIdentity::new(
        identity.positive_response_requested,
        match identity.kind {
            UserIdentityKind::Username => Type::Username,
            UserIdentityKind::UsernameAndPassword => Type::UsernamePassword,
            UserIdentityKind::KerberosTicket => Type::KerberosServiceTicket,
            UserIdentityKind::SamlAssertion => Type::SamlAssertion,
            UserIdentityKind::JsonWebToken => Type::Jwt,
        },
        identity.primary.clone(),
        identity.secondary.clone(),
    )
}
