//! Worklists and performed procedure steps from the console's side (PS3.4 Annexes F and K), in
//! Explicit VR Little Endian.

use super::command::{element, field};
use super::{Association, Command, Tree, WireError, uid};

impl Association {
    /// C-FIND of a model in Explicit VR Little Endian; the matches and the final status.
    ///
    /// # Errors
    /// When no context fits, the association ends, or an answer cannot be read.
    pub fn find_trees(&mut self, model: &str, keys: &Tree) -> Result<(Vec<Tree>, u16), WireError> {
        let syntax = uid::EXPLICIT_LITTLE_ENDIAN;
        let context = self.context_or_error(model, syntax)?;
        let message = self.next_message();
        let request = Command::request(field::FIND, model, message, true);
        self.send(context, &request, Some(&keys.encode()))?;
        let mut answers = Vec::new();
        loop {
            let response = self.receive()?;
            match response.command.get(element::STATUS) {
                0xFF00 | 0xFF01 => {
                    let answer = Tree::read(&response.data.unwrap_or_default());
                    let unreadable = || WireError::Unexpected("no data set".to_owned());
                    answers.push(answer.ok_or_else(unreadable)?);
                }
                status => return Ok((answers, status)),
            }
        }
    }

    /// N-CREATE of a performed procedure step; the status.
    ///
    /// # Errors
    /// When no context fits or the association ends.
    pub fn begin_step(&mut self, step: &str, told: &Tree) -> Result<u16, WireError> {
        let message = self.next_message();
        let request = Command::request(field::CREATE, uid::PROCEDURE_STEP, message, true).text(
            element::AFFECTED_INSTANCE,
            step,
            '\0',
        );
        self.tell(&request, told)
    }

    /// N-SET of a performed procedure step; the status.
    ///
    /// # Errors
    /// When no context fits or the association ends.
    pub fn set_step(&mut self, step: &str, told: &Tree) -> Result<u16, WireError> {
        let request = Command::default()
            .text(element::REQUESTED_CLASS, uid::PROCEDURE_STEP, '\0')
            .number(element::COMMAND_FIELD, field::SET)
            .number(element::MESSAGE_ID, self.next_message())
            .number(element::DATA_SET_TYPE, 1)
            .text(element::REQUESTED_INSTANCE, step, '\0');
        self.tell(&request, told)
    }

    fn tell(&mut self, request: &Command, told: &Tree) -> Result<u16, WireError> {
        let syntax = uid::EXPLICIT_LITTLE_ENDIAN;
        let context = self.context_or_error(uid::PROCEDURE_STEP, syntax)?;
        self.send(context, request, Some(&told.encode()))?;
        Ok(self.receive()?.command.get(element::STATUS))
    }
}
