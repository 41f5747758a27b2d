//! Drives one association over a byte stream: the only place where reading, writing and waiting
//! happen.
//!
//! One task owns a link. It reads only when nothing that was read is left to be handled, so that
//! back-pressure is the absence of a read; what is sent waits in one queue, which is written out
//! before more is put in. Waiting for an event is cancel-safe: whatever has arrived stays in the
//! link.

mod allowance;
mod blocks;
mod buffered;
mod message;
mod reading;
mod sending;

pub(crate) use buffered::Buffered;
pub(crate) use message::Gathered;

use crate::association::{Indication, State, UpperLayer};
use crate::dimse::{self, Assembler};
use crate::error::{Fault, Misuse};
use crate::limits::NetLimits;
use crate::negotiation::Negotiated;
use crate::pdu::{AbortSource, AssociateRequest, DataPdu, Rejection};
use crate::security::TlsError;
use crate::strangers::Stranger;
use allowance::Allowance;
use blocks::Blocks;
use buffered::Share;
use bytes::{Buf, BytesMut};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, Sleep, sleep, timeout};

/// Slices given to one vectored write.
const SLICES_MAX: usize = 64;

/// Bytes read at once between messages.
const COMMAND_READ_BYTES: usize = 16 << 10;

/// Silence after which an association gives its read buffer back.
const SHRINK_AFTER: Duration = Duration::from_secs(1);

/// Wait for an abort after a write has failed, and bytes that may come before it.
const LAST_WORDS_WAIT: Duration = Duration::from_secs(1);
const LAST_WORDS_BYTES: u64 = 64 << 10;

/// A stream that an association can run over: a TCP or TLS connection, or a pipe in memory.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for T {}

/// How an association ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Ending {
    /// The peer aborted.
    #[error("peer: {0}")]
    Aborted(AbortSource),
    /// The peer closed the transport without a word.
    #[error("peer closed the connection")]
    Closed,
    /// The peer broke the protocol; we aborted.
    #[error("peer broke the protocol: {0}")]
    Faulted(#[from] Fault),
    /// Our own side gave up; we aborted.
    #[error("aborted by this side")]
    GivenUp,
    /// The peer was silent, or did not read; we aborted.
    #[error("peer was silent for too long")]
    Idle,
    /// We were used wrongly; we aborted.
    #[error("misuse: {0}")]
    Misused(#[from] Misuse),
    /// Both sides agreed.
    #[error("released")]
    Released,
    /// TLS failed.
    #[error("TLS: {0}")]
    Tls(TlsError),
    /// The transport failed.
    #[error("connection failed: {0}")]
    Transport(io::ErrorKind),
}

/// What a link has to tell.
#[derive(Debug)]
pub(crate) enum Happening {
    /// The peer asks for an association.
    AssociateRequested(Box<AssociateRequest>),
    /// Our request was accepted.
    Confirmed(Arc<Negotiated>),
    /// A part of a message.
    Message(dimse::Event),
    /// Our request was rejected.
    Rejected(Rejection),
    /// The peer asks to release.
    ReleaseRequested,
}

/// One association over one stream.
pub(crate) struct Link<S> {
    stream: S,
    upper: UpperLayer,
    inbox: BytesMut,
    /// Where the inbox gets its memory while data sets come.
    blocks: Blocks,
    /// What the inbox and an identifier take of the memory of all.
    share: Share,
    /// The PDU whose values are being handed out.
    data: Option<DataPdu>,
    assembler: Assembler,
    events: VecDeque<dimse::Event>,
    limits: Arc<NetLimits>,
    sleep: Pin<Box<Sleep>>,
    negotiated: Option<Arc<Negotiated>>,
    /// Accounts for the request of whoever is no association yet.
    stranger: Option<Arc<Stranger>>,
    bytes_received: u64,
    bytes_sent: u64,
    /// Whether the stream may hold back some of what was written, as TLS does.
    unflushed: bool,
    /// Since when nobody waits for what happens next.
    left_at: Option<Instant>,
    /// How the association has ended, once it has and there is nothing left to say.
    ending: Option<Ending>,
    /// Time left to the peer for the data set that is under way.
    data_set: Option<Allowance>,
    /// When an empty read buffer that has grown is given back.
    shrink_at: Option<Instant>,
}

impl<S> std::fmt::Debug for Link<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link")
            .field("state", self.upper.state())
            .finish_non_exhaustive()
    }
}

fn std_now() -> std::time::Instant {
    Instant::now().into_std()
}

impl<S: ByteStream> Link<S> {
    /// Over a connection that was accepted from `stranger`.
    pub(crate) fn acceptor(
        stream: S,
        stranger: Arc<Stranger>,
        buffered: Buffered,
        limits: Arc<NetLimits>,
    ) -> Self {
        let upper = UpperLayer::acceptor(Arc::clone(&limits), std_now());
        Self {
            stranger: Some(stranger),
            share: Share::of(buffered),
            ..Self::new(stream, upper, limits)
        }
    }

    /// Over a connection that was opened, to ask `request`.
    pub(crate) fn requestor(stream: S, request: AssociateRequest, limits: Arc<NetLimits>) -> Self {
        let upper = UpperLayer::requestor(request, Arc::clone(&limits), std_now());
        Self::new(stream, upper, limits)
    }

    fn new(stream: S, upper: UpperLayer, limits: Arc<NetLimits>) -> Self {
        Self {
            stream,
            upper,
            inbox: BytesMut::new(),
            blocks: Blocks::new(limits.read_bytes),
            share: Share::default(),
            data: None,
            assembler: Assembler::new(limits.command_set_bytes_max),
            events: VecDeque::new(),
            sleep: Box::pin(sleep(limits.artim)),
            limits,
            negotiated: None,
            stranger: None,
            bytes_received: 0,
            bytes_sent: 0,
            unflushed: false,
            left_at: None,
            ending: None,
            data_set: None,
            shrink_at: None,
        }
    }

    pub(crate) fn upper(&mut self) -> &mut UpperLayer {
        &mut self.upper
    }

    pub(crate) const fn limits(&self) -> &Arc<NetLimits> {
        &self.limits
    }

    /// Bytes read from and written to the transport so far.
    pub(crate) const fn bytes(&self) -> (u64, u64) {
        (self.bytes_received, self.bytes_sent)
    }

    /// Notes what was agreed, so that fragments can be held against it, and how long this peer may
    /// be silent where that is said of it alone.
    pub(crate) fn established(
        &mut self,
        negotiated: Arc<Negotiated>,
        idle_duration_max: Option<Duration>,
    ) {
        self.negotiated = Some(negotiated);
        self.stranger = None;
        if let Some(idle_duration_max) = idle_duration_max {
            Arc::make_mut(&mut self.limits).idle_duration_max = idle_duration_max;
        }
    }

    /// Waits for what happens next, writing what is queued meanwhile. `patience` is how long the
    /// peer may be silent. Cancel-safe.
    pub(crate) async fn next(&mut self, patience: Duration) -> Result<Happening, Ending> {
        let ending = match self.ending {
            Some(ending) => ending,
            None => {
                let next = Waiting(self).0.wait(patience).await;
                match next {
                    Err(ending) if self.upper.wants_close() => ending,
                    next => return next,
                }
            }
        };
        // It is kept, because the close may be given up when it is not waited for.
        self.ending = Some(ending);
        self.close().await;
        Err(ending)
    }

    async fn wait(&mut self, patience: Duration) -> Result<Happening, Ending> {
        let now = Instant::now();
        if let Some(left_at) = self.left_at.take() {
            // Nothing is slow for the time in which we did not read.
            let away = now.saturating_duration_since(left_at);
            self.upper.suspended(away);
            if let Some(allowance) = &mut self.data_set {
                allowance.suspended(away);
            }
        }
        let mut until = now.checked_add(patience);
        loop {
            if let Some(happening) = self.next_ready()? {
                if let Happening::Message(dimse::Event::Command { .. }) = happening {
                    self.data_set = None;
                }
                return Ok(happening);
            }
            if self.upper.wants_close() {
                return Err(if self.upper.has_expired() {
                    Ending::Idle
                } else {
                    Ending::Closed
                });
            }
            let has_grown = self.inbox.capacity() > COMMAND_READ_BYTES;
            let is_idle = self.inbox.is_empty() && (has_grown || self.blocks.kept_bytes() > 0);
            self.shrink_at = is_idle
                .then(|| Instant::now().checked_add(SHRINK_AFTER))
                .flatten();
            let received_before = self.bytes_received;
            let deadline = [until, self.data_set_until(), self.shrink_at];
            match self
                .step(true, deadline.into_iter().flatten().min())
                .await?
            {
                Step::Read => {
                    until = Instant::now().checked_add(patience);
                    if let Some(allowance) = &mut self.data_set {
                        allowance.earn(self.bytes_received.saturating_sub(received_before));
                    }
                }
                Step::Moved => {}
                Step::Late if self.shrink_at.is_some_and(|at| at <= Instant::now()) => {
                    self.inbox = BytesMut::new();
                    self.blocks.clear();
                    self.share.read_buffer(0);
                    self.shrink_at = None;
                }
                Step::Late => return Err(self.give_up(Ending::Idle)),
            }
        }
    }

    /// When the data set that is under way must have come further.
    fn data_set_until(&mut self) -> Option<Instant> {
        if !self.assembler.expects_data() {
            return None;
        }
        let limits = &self.limits;
        self.data_set
            .get_or_insert_with(|| {
                Allowance::new(limits.idle_duration_max, limits.bytes_per_second_min)
            })
            .until()
    }

    /// What has happened already.
    pub(crate) fn next_ready(&mut self) -> Result<Option<Happening>, Ending> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(Some(Happening::Message(event)));
            }
            if let Some(data) = &mut self.data {
                let Some(pdv) = data.next() else {
                    self.data = None;
                    continue;
                };
                let is_known = self
                    .negotiated
                    .as_ref()
                    .is_some_and(|agreed| agreed.context(pdv.context_id).is_some());
                if !self.assembler.is_within_message() && !is_known {
                    return Err(self.fault(Fault::UnknownContext { id: pdv.context_id }));
                }
                if let Err(fault) = self.assembler.receive(pdv, &mut self.events) {
                    return Err(self.fault(fault));
                }
                continue;
            }
            return match self.upper.next_indication() {
                None => Ok(None),
                Some(Indication::Data(data)) => {
                    self.data = Some(data);
                    continue;
                }
                Some(Indication::AssociateRequested(request)) => {
                    Ok(Some(Happening::AssociateRequested(request)))
                }
                Some(Indication::AssociateConfirmed(negotiated)) => {
                    self.negotiated = Some(Arc::clone(&negotiated));
                    Ok(Some(Happening::Confirmed(negotiated)))
                }
                Some(Indication::Rejected(rejection)) => Ok(Some(Happening::Rejected(rejection))),
                Some(Indication::ReleaseRequested) => Ok(Some(Happening::ReleaseRequested)),
                Some(Indication::Released) => Err(Ending::Released),
                Some(Indication::Aborted(source)) => Err(Ending::Aborted(source)),
                Some(Indication::Closed) => Err(Ending::Closed),
                Some(Indication::Faulted(fault)) => Err(Ending::Faulted(fault)),
            };
        }
    }

    /// Aborts because of what the peer sent; the A-ABORT goes out with [`Self::finish`].
    pub(crate) fn fault(&mut self, fault: Fault) -> Ending {
        // An association that has ended meanwhile needs no abort.
        let _ended: Result<(), Misuse> = self.upper.abort(fault.abort_source(), std_now());
        self.data = None;
        self.events.clear();
        Ending::Faulted(fault)
    }

    /// Aborts for a reason of our own; the A-ABORT goes out with [`Self::finish`].
    pub(crate) fn give_up(&mut self, ending: Ending) -> Ending {
        let source = AbortSource::ServiceUser;
        let _ended: Result<(), Misuse> = self.upper.abort(source, std_now());
        ending
    }

    /// Writes out all that is queued.
    pub(crate) async fn flush(&mut self) -> Result<(), Ending> {
        let limits = &self.limits;
        let mut allowance = Allowance::new(limits.write_duration_max, limits.bytes_per_second_min);
        while self.has_to_write() {
            let sent_before = self.bytes_sent;
            match self.step(false, allowance.until()).await? {
                Step::Read | Step::Moved => {
                    allowance.earn(self.bytes_sent.saturating_sub(sent_before));
                }
                Step::Late => return Err(self.give_up(Ending::Idle)),
            }
        }
        Ok(())
    }

    fn has_to_write(&mut self) -> bool {
        self.unflushed || !self.upper.transmits().is_empty()
    }

    /// Whether the association can still carry messages.
    pub(crate) const fn is_established(&self) -> bool {
        self.upper.is_established()
    }

    /// Ends the transport side: aborts what still stands, writes what is queued, waits for the peer
    /// to close as PS3.8 says, closes. All that takes `artim` twice at most, whatever the peer
    /// does.
    pub(crate) async fn finish(&mut self) {
        // It does nothing where there is no association any more, or none yet.
        let _ended: Result<(), Misuse> = self.upper.abort(AbortSource::ServiceUser, std_now());
        let until = Instant::now().checked_add(self.limits.artim.saturating_mul(2));
        // Nobody is owed a wait who has not even asked.
        while !matches!(self.upper.state(), State::AwaitRequest { .. }) {
            while self.upper.next_indication().is_some() {}
            self.data = None;
            self.events.clear();
            if self.upper.wants_close() && !self.has_to_write() {
                break;
            }
            match self.step(!self.upper.wants_close(), until).await {
                Ok(Step::Read | Step::Moved) => {}
                Ok(Step::Late) | Err(_) => break,
            }
        }
        self.close().await;
    }

    async fn close(&mut self) {
        let close = pin!(self.stream.shutdown());
        // Whether it went well makes no difference to anyone.
        let _late_or_closed = timeout(self.limits.artim, close).await;
    }

    /// One turn: writes, reads if `reads`, looks at the clock.
    async fn step(&mut self, reads: bool, until: Option<Instant>) -> Result<Step, Ending> {
        match poll_fn(|cx| self.poll_step(cx, reads, until)).await {
            Ok(step) => Ok(step),
            Err(Failure::Read(error)) => Err(self.transport_failed(&error)),
            Err(Failure::Write(error)) => {
                self.read_last_words().await;
                Err(self.transport_failed(&error))
            }
        }
    }

    /// A write that fails is often the echo of an abort that waits to be read, and that says more.
    async fn read_last_words(&mut self) {
        self.upper.transmits().clear();
        let bytes_max = self.bytes_received.saturating_add(LAST_WORDS_BYTES);
        let reading = async {
            while !self.upper.wants_close() && self.bytes_received < bytes_max {
                if poll_fn(|cx| self.poll_read(cx)).await.is_err() {
                    break;
                }
            }
        };
        // What has not come by then will not come.
        let _late = timeout(LAST_WORDS_WAIT, reading).await;
    }

    fn poll_step(
        &mut self,
        cx: &mut Context<'_>,
        reads: bool,
        until: Option<Instant>,
    ) -> Poll<Result<Step, Failure>> {
        match self.poll_write(cx) {
            Poll::Ready(Ok(false)) | Poll::Pending => {}
            Poll::Ready(Ok(true)) => return Poll::Ready(Ok(Step::Moved)),
            Poll::Ready(Err(error)) => return Poll::Ready(Err(Failure::Write(error))),
        }
        if reads && let Poll::Ready(result) = self.poll_read(cx) {
            return Poll::Ready(match result {
                Ok(()) => Ok(Step::Read),
                Err(error) => Err(Failure::Read(error)),
            });
        }
        // A PDU is not slow for as long as it is not read.
        let machine = (reads || !self.is_established())
            .then(|| self.upper.deadline().map(Instant::from_std))
            .flatten();
        let Some(deadline) = [machine, until].into_iter().flatten().min() else {
            return Poll::Pending;
        };
        loop {
            if Instant::now() >= deadline {
                if machine.is_some_and(|machine| machine <= Instant::now()) {
                    self.upper.expire(std_now());
                    return Poll::Ready(Ok(Step::Moved));
                }
                return Poll::Ready(Ok(Step::Late));
            }
            // A timer that fires early is set again; moving it for every byte would cost more.
            if self.sleep.is_elapsed() || self.sleep.deadline() > deadline {
                self.sleep.as_mut().reset(deadline);
            }
            ready!(self.sleep.as_mut().poll(cx));
        }
    }

    fn transport_failed(&mut self, error: &io::Error) -> Ending {
        self.upper.transmits().clear();
        self.unflushed = false;
        self.upper.transport_closed(std_now());
        let mut ending = match TlsError::within(error) {
            Some(error) => Ending::Tls(error),
            None => Ending::Transport(error.kind()),
        };
        while let Some(indication) = self.upper.next_indication() {
            if let Indication::Aborted(source) = indication {
                ending = Ending::Aborted(source);
            }
        }
        ending
    }

    /// Whether something went out.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let transmits = self.upper.transmits();
        if transmits.is_empty() {
            if self.unflushed {
                ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
                self.unflushed = false;
                return Poll::Ready(Ok(true));
            }
            return Poll::Ready(Ok(false));
        }
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let mut used = 0_usize;
        for (slice, bytes) in slices.iter_mut().zip(transmits.iter()) {
            *slice = IoSlice::new(bytes);
            used = used.saturating_add(1);
        }
        let slices = slices.get(..used).unwrap_or_default();
        let mut written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, slices))?;
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        let total = written;
        while written > 0
            && let Some(front) = transmits.front_mut()
        {
            let taken = written.min(front.len());
            front.advance(taken);
            written = written.saturating_sub(taken);
            if front.is_empty() {
                transmits.pop_front();
            }
        }
        self.unflushed = true;
        self.bytes_sent = self.bytes_sent.saturating_add(total as u64);
        Poll::Ready(Ok(true))
    }
}

/// Notes when a wait has ended, dropped or not.
struct Waiting<'a, S>(&'a mut Link<S>);

impl<S> Drop for Waiting<'_, S> {
    fn drop(&mut self) {
        self.0.left_at = Some(Instant::now());
    }
}

/// Which way the transport failed.
enum Failure {
    Read(io::Error),
    Write(io::Error),
}

enum Step {
    Read,
    Moved,
    Late,
}

#[cfg(test)]
mod tests;
