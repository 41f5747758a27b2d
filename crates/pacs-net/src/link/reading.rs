//! Reading from the transport: how much at once, and into which memory.

use super::{ByteStream, COMMAND_READ_BYTES, Link, std_now};
use std::io;
use std::pin::pin;
use std::task::{Context, Poll, ready};
use tokio::io::AsyncReadExt;

/// Bytes read at once before there is an association: a stranger's first bytes.
const FIRST_READ_BYTES: usize = 2 << 10;

/// Bytes of a request that any connection may take without being held to account.
const SMALL_REQUEST_BYTES: usize = 4 << 10;

impl<S: ByteStream> Link<S> {
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.make_room();
        // Nothing is lost when this future is dropped: `read_buf` holds no bytes of its own.
        let read = pin!(self.stream.read_buf(&mut self.inbox));
        let read = ready!(read.poll(cx))?;
        if read == 0 {
            self.upper.transport_closed(std_now());
            return Poll::Ready(Ok(()));
        }
        self.bytes_received = self.bytes_received.saturating_add(read as u64);
        self.upper.receive(&mut self.inbox, std_now());
        self.account();
        Poll::Ready(Ok(()))
    }

    /// Says what the memory is that is read into.
    fn account(&mut self) {
        let bytes = self.inbox.capacity();
        let bytes = bytes.saturating_add(self.blocks.kept_bytes());
        self.share.read_buffer(bytes);
    }

    /// Room for the PDU that is under way, and for more where a data set is and there is memory.
    fn make_room(&mut self) {
        if self.inbox.is_empty() {
            self.blocks.rewind(&mut self.inbox);
        }
        let at_once = match &self.negotiated {
            None => FIRST_READ_BYTES,
            Some(_) if self.assembler.expects_data() => {
                let most = self.share.most(&self.limits);
                self.limits.read_bytes.min(most).max(COMMAND_READ_BYTES)
            }
            Some(_) => COMMAND_READ_BYTES,
        };
        let needed = self.upper.needed_bytes().saturating_sub(self.inbox.len());
        if self.inbox.capacity().saturating_sub(self.inbox.len()) < needed.max(at_once / 4) {
            if let Some(stranger) = &self.stranger
                && self.upper.needed_bytes() > SMALL_REQUEST_BYTES
            {
                stranger.hold(self.upper.needed_bytes(), &self.limits);
            }
            if self.share.most(&self.limits) < self.limits.read_bytes {
                self.blocks.clear();
            }
            if at_once >= self.limits.read_bytes {
                let needed = needed.max(at_once / 4);
                self.blocks.make_room(&mut self.inbox, needed);
            } else {
                let needed = needed.max(at_once);
                self.blocks.make_room_elsewhere(&mut self.inbox, needed);
            }
            self.account();
        }
    }
}
