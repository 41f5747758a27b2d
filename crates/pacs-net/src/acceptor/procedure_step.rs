//! Modality Performed Procedure Step as a service class provider (PS3.4 F.7, PS3.7 10.1.3 and
//! 10.1.5).

use super::session::{Outcome, Session};
use crate::dimse::CommandSet;
use crate::link::{ByteStream, Ending, Gathered};
use crate::negotiation::Context;
use crate::service::{ProcedureStepScp, StepChange, StepCreation};
use crate::sop_class::ServiceClass;
use crate::status::{CreateStatus, SetStatus};
use bytes::Bytes;
use pacs_core::SopInstanceUid;
use std::sync::Arc;

/// What both commands may lack, before either is looked at.
enum Lack {
    /// No such service here, or not on this context.
    Service,
    /// The data set.
    DataSet,
    /// Room for it.
    Room,
}

impl<S: ByteStream> Session<S> {
    pub(super) async fn create_step(
        &mut self,
        context: &Context,
        command: &CommandSet,
    ) -> Result<Outcome, Ending> {
        let bytes_max = self.link.limits().procedure_step_bytes_max;
        let gathered = self.link.gather(command, bytes_max).await?;
        let created = match self.creation(context, command, gathered) {
            Err(status) => Err(status),
            Ok((scp, request)) => scp.create(&self.peer, request).await,
        };
        let (status, instance) = match created {
            Ok(instance) => (CreateStatus::SUCCESS, Some(instance)),
            Err(status) => (status, None),
        };
        let mut response = command.response(status.code());
        if let Some(instance) = instance {
            response.affected_sop_instance = Some(instance.as_str().to_owned());
        }
        status.fill(&mut response);
        self.link.send_command(context.id, &response).await?;
        Ok(Outcome::of(status.code()))
    }

    pub(super) async fn set_step(
        &mut self,
        context: &Context,
        command: &CommandSet,
    ) -> Result<Outcome, Ending> {
        let bytes_max = self.link.limits().procedure_step_bytes_max;
        let gathered = self.link.gather(command, bytes_max).await?;
        let status = match self.change(context, command, gathered) {
            Err(status) => status,
            Ok((scp, request)) => scp.set(&self.peer, request).await,
        };
        let mut response = command.response(status.code());
        status.fill(&mut response);
        self.link.send_command(context.id, &response).await?;
        Ok(Outcome::of(status.code()))
    }

    fn creation(
        &self,
        context: &Context,
        command: &CommandSet,
        gathered: Gathered,
    ) -> Result<(Arc<dyn ProcedureStepScp>, StepCreation), CreateStatus> {
        let named = command.affected_sop_class.as_deref();
        let (scp, attributes) =
            self.asked(context, named, gathered)
                .map_err(|lack| match lack {
                    Lack::Service => CreateStatus::NO_SUCH_SOP_CLASS,
                    Lack::DataSet => {
                        CreateStatus::MISTYPED_ARGUMENT.with_comment("N-CREATE without a data set")
                    }
                    Lack::Room => {
                        CreateStatus::RESOURCE_LIMITATION.with_comment("attribute list is too long")
                    }
                })?;
        let instance = command.affected_sop_instance.as_deref();
        let sop_instance = instance
            .map(SopInstanceUid::parse_legacy)
            .transpose()
            .map_err(|_not_a_uid| CreateStatus::INVALID_SOP_INSTANCE)?;
        let request = StepCreation {
            sop_instance,
            attributes,
            transfer_syntax: context.transfer_syntax.clone(),
        };
        Ok((scp, request))
    }

    fn change(
        &self,
        context: &Context,
        command: &CommandSet,
        gathered: Gathered,
    ) -> Result<(Arc<dyn ProcedureStepScp>, StepChange), SetStatus> {
        let named = command.requested_sop_class.as_deref();
        let (scp, modifications) =
            self.asked(context, named, gathered)
                .map_err(|lack| match lack {
                    Lack::Service => SetStatus::NO_SUCH_SOP_CLASS,
                    Lack::DataSet => {
                        SetStatus::MISTYPED_ARGUMENT.with_comment("N-SET without a data set")
                    }
                    Lack::Room => {
                        SetStatus::RESOURCE_LIMITATION.with_comment("modification list is too long")
                    }
                })?;
        let instance = command
            .requested_sop_instance
            .as_deref()
            .unwrap_or_default();
        let sop_instance = SopInstanceUid::parse_legacy(instance)
            .map_err(|_not_a_uid| SetStatus::INVALID_SOP_INSTANCE)?;
        let request = StepChange {
            sop_instance,
            modifications,
            transfer_syntax: context.transfer_syntax.clone(),
        };
        Ok((scp, request))
    }

    /// The provider that is asked over `context`, and the data set.
    fn asked(
        &self,
        context: &Context,
        sop_class: Option<&str>,
        gathered: Gathered,
    ) -> Result<(Arc<dyn ProcedureStepScp>, Bytes), Lack> {
        let scp = self.shared.procedure_steps.as_ref().map(Arc::clone);
        let may = context.service == ServiceClass::ProcedureStep && context.requestor_roles.scu;
        let scp = scp
            .filter(|_| may && context.is_of(sop_class))
            .ok_or(Lack::Service)?;
        match gathered {
            Gathered::TooLong => Err(Lack::Room),
            Gathered::Whole(data_set) if data_set.is_empty() => Err(Lack::DataSet),
            Gathered::Whole(data_set) => Ok((scp, data_set)),
        }
    }
}
