//! C-GET and C-MOVE as a service class provider.
use super::session::{Outcome, Session};
use crate::dimse::CommandSet;
use crate::link::{ByteStream, Ending};
use crate::negotiation::Context;
use crate::status::RetrieveStatus;

impl<S: ByteStream> Session<S> {
    pub(super) async fn get(
        &mut self,
        context: &Context,
        command: &CommandSet,
    ) -> Result<Outcome, Ending> {
        self.drain_data_set(command).await?;
        let status = RetrieveStatus::SOP_CLASS_NOT_SUPPORTED;
        let response = command.response(status.code());
        self.link.send_command(context.id, &response).await?;
        Ok(Outcome::of(status.code()))
    }
    pub(super) async fn move_to(
        &mut self,
        context: &Context,
        command: &CommandSet,
    ) -> Result<Outcome, Ending> {
        self.get(context, command).await
    }
}
