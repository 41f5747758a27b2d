//! C-STORE as a service class provider.

use super::session::{Outcome, Session};
use crate::dimse::CommandSet;
use crate::link::{ByteStream, Ending};
use crate::negotiation::Context;
use crate::receiving::receive;
use crate::sop_class::ServiceClass;
use crate::status::StatusClass;

impl<S: ByteStream> Session<S> {
    pub(super) async fn store(
        &mut self,
        context: &Context,
        command: &CommandSet,
    ) -> Result<Outcome, Ending> {
        let takes_it = context.service == ServiceClass::Storage && context.requestor_roles.scu;
        let storage = self.shared.storage.as_deref().filter(|_| takes_it);
        let status = receive(&mut self.link, storage, &self.peer, context, command).await?;
        let kept = matches!(status.class(), StatusClass::Success | StatusClass::Warning);
        Ok(Outcome {
            status: status.code(),
            instances_count: u64::from(kept),
            failed_count: u64::from(!kept),
        })
    }
}
