//! What an association is agreed to be (PS3.8 7.1.1, PS3.7 D.3): contexts, roles, lengths.

use crate::limits::NetLimits;
use crate::pdu::{
    APPLICATION_CONTEXT, AssociateAccept, AssociateRequest, ContextReason, ContextResult, PduError,
    ProposedContext, RejectReason, Rejection, Roles, UserInformation,
};
use crate::sop_class::{
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_BIG_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN, ServiceClass, service_class,
};
use pacs_core::{SopClassUid, TransferSyntaxUid};

/// Services that an acceptor offers to one peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "services, each offered or not, are what this is"
)]
pub struct Services {
    /// C-ECHO
    pub verification: bool,
    /// C-STORE, of every storage SOP class
    pub storage: bool,
    /// C-FIND
    pub find: bool,
    /// C-GET
    pub get: bool,
    /// C-MOVE
    pub move_to: bool,
    /// N-ACTION of storage commitment
    pub commitment: bool,
    /// N-EVENT-REPORT of storage commitment that we asked for, with reversed roles
    pub commitment_reports: bool,
    /// C-FIND of modality worklists
    pub worklist: bool,
    /// N-CREATE and N-SET of modality performed procedure steps
    pub procedure_steps: bool,
}

impl Services {
    /// Every service.
    pub const ALL: Self = Self {
        verification: true,
        storage: true,
        find: true,
        get: true,
        move_to: true,
        commitment: true,
        commitment_reports: true,
        worklist: true,
        procedure_steps: true,
    };

    /// Those that both sides have.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            verification: self.verification && other.verification,
            storage: self.storage && other.storage,
            find: self.find && other.find,
            get: self.get && other.get,
            move_to: self.move_to && other.move_to,
            commitment: self.commitment && other.commitment,
            commitment_reports: self.commitment_reports && other.commitment_reports,
            worklist: self.worklist && other.worklist,
            procedure_steps: self.procedure_steps && other.procedure_steps,
        }
    }
}

/// An accepted presentation context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    /// Presentation context id.
    pub id: u8,
    /// Its SOP class.
    pub abstract_syntax: SopClassUid,
    /// How its data sets are encoded.
    pub transfer_syntax: TransferSyntaxUid,
    /// The service class of its SOP class.
    pub service: ServiceClass,
    /// Roles of the requestor of the association.
    pub requestor_roles: Roles,
    /// Whether relational queries or retrievals were agreed (PS3.4 C.5.1.1).
    pub relational: bool,
}

impl Context {
    /// Whether `affected_sop_class`, as a command names it, is that of this context. Some peers
    /// name none.
    pub(crate) fn is_of(&self, affected_sop_class: Option<&str>) -> bool {
        affected_sop_class.is_none_or(|text| {
            SopClassUid::parse_legacy(text).is_ok_and(|named| named == self.abstract_syntax)
        })
    }
}

/// An agreed association. `Debug` shows no answer to an identity: it may be a ticket.
#[derive(Clone, PartialEq, Eq)]
pub struct Negotiated {
    contexts: Vec<Context>,
    refused: Vec<(u8, ContextReason)>,
    /// Largest P-DATA-TF PDU that we may send.
    pub sent_pdu_bytes_max: u32,
    /// The peer's Implementation Class UID, as sent.
    pub implementation_class_uid: String,
    /// The peer's Implementation Version Name, as sent.
    pub implementation_version_name: String,
    /// The acceptor's answer to our user identity.
    pub identity_response: Option<Vec<u8>>,
}

impl std::fmt::Debug for Negotiated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Negotiated")
            .field("contexts", &self.contexts)
            .field("refused", &self.refused)
            .field("sent_pdu_bytes_max", &self.sent_pdu_bytes_max)
            .field("implementation_class_uid", &self.implementation_class_uid)
            .finish_non_exhaustive()
    }
}

impl Negotiated {
    /// The accepted context with this id.
    #[must_use]
    pub fn context(&self, id: u8) -> Option<&Context> {
        self.contexts.iter().find(|context| context.id == id)
    }

    /// Why the context with this id was not accepted.
    #[must_use]
    pub fn refusal(&self, id: u8) -> Option<ContextReason> {
        let mut refused = self.refused.iter();
        refused
            .find(|(refused, _)| *refused == id)
            .map(|(_, reason)| *reason)
    }

    /// All accepted contexts, in the order of the request.
    #[must_use]
    pub fn contexts(&self) -> &[Context] {
        &self.contexts
    }
}

/// Answers a request as an acceptor that offers `services`. `identity_response` is the policy's
/// answer to a user identity; it is sent only if one was asked for. Where there is none, nothing
/// was verified, and nothing is said.
///
/// # Errors
/// The [`Rejection`] that PS3.8 has for a request that cannot become an association.
pub fn negotiate(
    request: &AssociateRequest,
    services: Services,
    limits: &NetLimits,
    identity_response: Option<Vec<u8>>,
) -> Result<(AssociateAccept, Negotiated), Rejection> {
    check_request(request, limits)?;
    let mut contexts = Vec::with_capacity(request.contexts.len());
    let mut results = Vec::with_capacity(request.contexts.len());
    let mut user = UserInformation::own(limits.pdu_bytes_max);
    for proposed in &request.contexts {
        let roles = proposed_roles(request, &proposed.abstract_syntax);
        let result = match answer(proposed, roles, services) {
            Ok(mut context) => {
                context.relational = extended_bit(&request.user, &proposed.abstract_syntax);
                let result = result(
                    proposed,
                    ContextReason::Acceptance,
                    context.transfer_syntax.as_str(),
                );
                contexts.push(context);
                result
            }
            Err(reason) => {
                // The transfer syntax is not significant here; some peers want to see one.
                let name = proposed.transfer_syntaxes.first();
                result(proposed, reason, name.map_or("", String::as_str))
            }
        };
        results.push(result);
    }
    user.roles = answered_roles(request, &contexts);
    user.extended = answered_extended(request, &contexts);
    if request.user.asynchronous_operations.is_some() {
        user.asynchronous_operations = Some((1, 1));
    }
    let asked = request.user.identity.as_ref();
    if asked.is_some_and(|identity| identity.positive_response_requested) {
        user.identity_response = identity_response;
    }
    let accept = AssociateAccept {
        calling_ae_title: request.calling_ae_title.clone(),
        called_ae_title: request.called_ae_title.clone(),
        contexts: results,
        user,
    };
    let negotiated = negotiated(contexts, &accept.contexts, &request.user, limits);
    Ok((accept, negotiated))
}

fn result(proposed: &ProposedContext, reason: ContextReason, name: &str) -> ContextResult {
    ContextResult {
        id: proposed.id,
        reason,
        transfer_syntax: name.to_owned(),
    }
}

fn negotiated(
    contexts: Vec<Context>,
    results: &[ContextResult],
    peer: &UserInformation,
    limits: &NetLimits,
) -> Negotiated {
    let refused = results
        .iter()
        .filter(|result| result.reason != ContextReason::Acceptance);
    Negotiated {
        contexts,
        refused: refused.map(|result| (result.id, result.reason)).collect(),
        sent_pdu_bytes_max: match peer.pdu_bytes_max {
            0 => limits.sent_pdu_bytes_max,
            bytes => bytes.min(limits.sent_pdu_bytes_max),
        },
        implementation_class_uid: peer.implementation_class_uid.clone(),
        implementation_version_name: peer.implementation_version_name.clone(),
        identity_response: peer.identity_response.clone(),
    }
}

/// What the service provider itself refuses (PS3.8 AE-6).
fn check_request(request: &AssociateRequest, limits: &NetLimits) -> Result<(), Rejection> {
    if request.protocol_version & 1 == 0 {
        return Err(Rejection::permanent(
            RejectReason::ProtocolVersionNotSupported,
        ));
    }
    if request.application_context != APPLICATION_CONTEXT {
        return Err(Rejection::permanent(
            RejectReason::ApplicationContextNotSupported,
        ));
    }
    let mut seen = std::collections::HashSet::new();
    let ids_are_right = request
        .contexts
        .iter()
        .all(|context| context.id % 2 == 1 && seen.insert(context.id));
    let too_small = (1..limits.peer_pdu_bytes_min).contains(&request.user.pdu_bytes_max);
    if request.contexts.is_empty() || !ids_are_right || too_small {
        return Err(Rejection::permanent(RejectReason::ProviderNoReason));
    }
    Ok(())
}

fn proposed_roles(request: &AssociateRequest, abstract_syntax: &str) -> Option<Roles> {
    let mut roles = request.user.roles.iter();
    roles
        .find(|(uid, _)| uid == abstract_syntax)
        .map(|(_, roles)| *roles)
}

/// Whether the first byte of the extended negotiation of a query/retrieve class asks for relational
/// keys.
fn extended_bit(user: &UserInformation, abstract_syntax: &str) -> bool {
    let relational = |data: &Vec<u8>| data.first() == Some(&1);
    user.extended
        .iter()
        .any(|(uid, data)| uid == abstract_syntax && relational(data))
}

fn answer(
    proposed: &ProposedContext,
    roles: Option<Roles>,
    services: Services,
) -> Result<Context, ContextReason> {
    let abstract_syntax = SopClassUid::parse_legacy(&proposed.abstract_syntax)
        .map_err(|_not_a_uid| ContextReason::AbstractSyntaxNotSupported)?;
    let service = service_class(abstract_syntax.as_str());
    let offered = match service {
        ServiceClass::Commitment => services.commitment || services.commitment_reports,
        ServiceClass::Find(_) => services.find,
        ServiceClass::Get(_) => services.get,
        ServiceClass::Move(_) => services.move_to,
        ServiceClass::Other => false,
        ServiceClass::ProcedureStep => services.procedure_steps,
        ServiceClass::Storage => services.storage || services.get,
        ServiceClass::Verification => services.verification,
        ServiceClass::Worklist => services.worklist,
    };
    if !offered {
        return Err(ContextReason::AbstractSyntaxNotSupported);
    }
    let asked = roles.unwrap_or(Roles::DEFAULT);
    let requestor_roles = match service {
        ServiceClass::Storage => Roles {
            scu: asked.scu && services.storage,
            scp: asked.scp && services.get,
        },
        ServiceClass::Commitment => {
            // Where reports are all there is, some bring them without a word about roles.
            let brings = asked.scp || (roles.is_none() && !services.commitment);
            Roles {
                scu: asked.scu && services.commitment,
                scp: brings && services.commitment_reports,
            }
        }
        ServiceClass::Find(_)
        | ServiceClass::Get(_)
        | ServiceClass::Move(_)
        | ServiceClass::Other
        | ServiceClass::ProcedureStep
        | ServiceClass::Verification
        | ServiceClass::Worklist => Roles {
            scu: asked.scu,
            scp: false,
        },
    };
    if !requestor_roles.scu && !requestor_roles.scp {
        return Err(ContextReason::UserRejection);
    }
    let retrieves = requestor_roles.scp;
    let transfer_syntax = choose_transfer_syntax(service, retrieves, &proposed.transfer_syntaxes)
        .ok_or(ContextReason::TransferSyntaxesNotSupported)?;
    Ok(Context {
        id: proposed.id,
        abstract_syntax,
        transfer_syntax,
        service,
        requestor_roles,
        relational: false,
    })
}

/// Transfer syntaxes whose data sets can all be given in an uncompressed one: implicit, deflated,
/// encapsulated uncompressed, RLE.
const GIVES_WAY: [&str; 4] = [
    IMPLICIT_VR_LITTLE_ENDIAN,
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    "1.2.840.10008.1.2.1.98",
    "1.2.840.10008.1.2.5",
];

/// For storage the peer's first, so that data stay as they are; for messages the one we write best.
///
/// A peer that retrieves over the context and takes several gets the one in which most can be
/// given: an uncompressed one, explicit rather than implicit. Where it names big endian first, or
/// what cannot be converted (another compression), it gets that.
fn choose_transfer_syntax(
    service: ServiceClass,
    retrieves: bool,
    proposed: &[String],
) -> Option<TransferSyntaxUid> {
    let usable = proposed
        .iter()
        .filter_map(|name| TransferSyntaxUid::parse_legacy(name).ok());
    if service == ServiceClass::Storage {
        let first = usable.clone().next()?;
        if !retrieves || !GIVES_WAY.contains(&first.as_str()) {
            return Some(first);
        }
        let better = [EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN]
            .into_iter()
            .find_map(|ours| usable.clone().find(|name| name.as_str() == ours));
        return better.or(Some(first));
    }
    [
        EXPLICIT_VR_LITTLE_ENDIAN,
        IMPLICIT_VR_LITTLE_ENDIAN,
        EXPLICIT_VR_BIG_ENDIAN,
        DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    ]
    .into_iter()
    .find_map(|ours| usable.clone().find(|name| name.as_str() == ours))
}

/// The answer to each role selection (PS3.7 D.3.3.4): what was asked and at least one context
/// allows.
fn answered_roles(request: &AssociateRequest, contexts: &[Context]) -> Vec<(String, Roles)> {
    let accepted = |uid: &String| {
        contexts
            .iter()
            .find(|context| context.abstract_syntax.as_str() == uid)
            .map(|context| (uid.clone(), context.requestor_roles))
    };
    let mut seen = std::collections::HashSet::new();
    request
        .user
        .roles
        .iter()
        .filter(|(uid, _)| seen.insert(uid))
        .filter_map(|(uid, _)| accepted(uid))
        .collect()
}

/// The answer to extended negotiation of query/retrieve classes: relational yes, the rest no.
fn answered_extended(request: &AssociateRequest, contexts: &[Context]) -> Vec<(String, Vec<u8>)> {
    let mut seen = std::collections::HashSet::new();
    request
        .user
        .extended
        .iter()
        .filter(|(uid, _)| seen.insert(uid))
        .filter_map(|(uid, data)| {
            let context = contexts
                .iter()
                .find(|context| context.abstract_syntax.as_str() == uid)?;
            let is_query_retrieve = matches!(
                context.service,
                ServiceClass::Find(_) | ServiceClass::Get(_) | ServiceClass::Move(_)
            );
            let mut answer = vec![0; data.len().min(16)];
            *answer.first_mut()? = u8::from(context.relational);
            is_query_retrieve.then(|| (uid.clone(), answer))
        })
        .collect()
}

/// Reads the answer to our own `request`.
///
/// # Errors
/// [`PduError::Invalid`] for an answer to something that was not asked.
pub fn confirm(
    request: &AssociateRequest,
    accept: &AssociateAccept,
    limits: &NetLimits,
) -> Result<Negotiated, PduError> {
    let invalid = |what| PduError::Invalid { kind: 0x02, what };
    if (1..limits.peer_pdu_bytes_min).contains(&accept.user.pdu_bytes_max) {
        return Err(invalid("maximum length is too small to be of use"));
    }
    let mut contexts = Vec::new();
    for answered in &accept.contexts {
        let proposed = request
            .contexts
            .iter()
            .find(|proposed| proposed.id == answered.id)
            .ok_or(invalid("context that was not proposed"))?;
        if answered.reason != ContextReason::Acceptance {
            continue;
        }
        if !proposed
            .transfer_syntaxes
            .contains(&answered.transfer_syntax)
        {
            return Err(invalid("transfer syntax that was not proposed"));
        }
        let abstract_syntax = SopClassUid::parse_legacy(&proposed.abstract_syntax);
        let transfer_syntax = TransferSyntaxUid::parse_legacy(&answered.transfer_syntax);
        let (Ok(abstract_syntax), Ok(transfer_syntax)) = (abstract_syntax, transfer_syntax) else {
            return Err(invalid("syntax that is no UID"));
        };
        if contexts
            .iter()
            .any(|known: &Context| known.id == answered.id)
        {
            return Err(invalid("context that is answered twice"));
        }
        let service = service_class(abstract_syntax.as_str());
        let mut roles = accept.user.roles.iter();
        let requestor_roles = roles
            .find(|(uid, _)| *uid == proposed.abstract_syntax)
            .map_or(Roles::DEFAULT, |(_, roles)| *roles);
        contexts.push(Context {
            id: answered.id,
            relational: extended_bit(&accept.user, &proposed.abstract_syntax),
            abstract_syntax,
            transfer_syntax,
            service,
            requestor_roles,
        });
    }
    Ok(negotiated(contexts, &accept.contexts, &accept.user, limits))
}

#[cfg(test)]
mod tests;
