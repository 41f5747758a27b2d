//! Native frames in, encoded frames out: those of one data set, one after the other.

use crate::decoders::Decoders;
use crate::is_encoded_by_pixel;
use pacs_core::TransferSyntaxUid;
use pacs_core::convert::{PixelEncoder, PixelError, PixelForm};

/// The pixel data of one data set, frame after frame.
#[derive(Debug)]
pub(crate) struct Encoder {
    transfer_syntax: TransferSyntaxUid,
    decoders: Decoders,
    /// Of the pixel data that has begun.
    form: Option<PixelForm>,
}

impl Encoder {
    pub(crate) fn new(transfer_syntax: &TransferSyntaxUid, decoders: Decoders) -> Self {
        Self {
            transfer_syntax: transfer_syntax.clone(),
            decoders,
            form: None,
        }
    }
}

impl PixelEncoder for Encoder {
    fn is_by_pixel(&self) -> bool {
        is_encoded_by_pixel(&self.transfer_syntax)
    }

    fn begin(&mut self, native: &PixelForm) -> Result<(), PixelError> {
        self.decoders
            .check_encoding(&self.transfer_syntax, native)?;
        self.form = Some(*native);
        Ok(())
    }

    fn encode(&mut self, native: Vec<u8>) -> Result<Vec<u8>, PixelError> {
        let what = "a frame outside pixel data";
        let form = self.form.ok_or(PixelError::Damaged { what })?;
        let syntax = &self.transfer_syntax;
        self.decoders.encode_frame(syntax, &form, &native)
    }
}
