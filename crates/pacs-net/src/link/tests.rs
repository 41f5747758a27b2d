//! Tests of what a link does when it is not waited for to the end.

use super::*;
use crate::dimse::CommandSet;
use crate::negotiation::{Services, negotiate};
use crate::pdu::{self, Pdu};
use crate::pdu::{APPLICATION_CONTEXT, ProposedContext, UserInformation};
use crate::strangers::Strangers;
use tokio::io::{DuplexStream, ReadBuf, duplex};

/// A stream whose end takes for ever, and that takes bytes or breaks.
struct Stubborn(DuplexStream, bool);

impl AsyncRead for Stubborn {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Stubborn {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if !self.1 {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

/// A link with an association, and the other end of its stream.
async fn associated() -> (Link<Stubborn>, DuplexStream) {
    let limits = Arc::new(NetLimits::default());
    let (ours, mut theirs) = duplex(1 << 16);
    let stranger = Strangers::default().enter([10, 0, 0, 1].into(), &limits);
    let mut link = Link::acceptor(
        Stubborn(ours, true),
        Arc::new(stranger),
        Buffered::default(),
        Arc::clone(&limits),
    );
    let request = AssociateRequest {
        protocol_version: 1,
        calling_ae_title: "SCU".into(),
        called_ae_title: "PACS".into(),
        application_context: APPLICATION_CONTEXT.into(),
        contexts: vec![ProposedContext {
            id: 1,
            abstract_syntax: "1.2.840.10008.1.1".into(),
            transfer_syntaxes: vec!["1.2.840.10008.1.2".into()],
        }],
        user: UserInformation::own(16_384),
    };
    let request = pdu::write(&Pdu::AssociateRq(Box::new(request))).unwrap();
    theirs.write_all(&request).await.unwrap();
    let Ok(Happening::AssociateRequested(request)) = link.next(Duration::MAX).await else {
        panic!("no request");
    };
    let (accept, negotiated) = negotiate(&request, Services::ALL, &limits, None).unwrap();
    let negotiated = Arc::new(negotiated);
    link.established(Arc::clone(&negotiated), None);
    link.upper().accept(accept, negotiated, std_now()).unwrap();
    link.flush().await.unwrap();
    (link, theirs)
}

/// Waits for what happens next for as long as nothing else happens.
async fn glance(link: &mut Link<Stubborn>) -> Option<Result<Happening, Ending>> {
    timeout(Duration::ZERO, link.next(Duration::MAX)).await.ok()
}

#[tokio::test(start_paused = true)]
async fn the_end_of_an_association_is_told_though_a_wait_for_it_was_given_up() {
    let (mut link, mut theirs) = associated().await;
    let abort = pdu::write(&Pdu::Abort(AbortSource::ServiceUser)).unwrap();
    theirs.write_all(&abort).await.unwrap();

    assert!(glance(&mut link).await.is_none());

    let next = link.next(Duration::MAX).await;
    assert_eq!(next.unwrap_err(), Ending::Aborted(AbortSource::ServiceUser));
}

#[tokio::test(start_paused = true)]
async fn a_pdu_is_not_slow_while_nobody_waits_for_it() {
    let (mut link, mut theirs) = associated().await;
    let release = pdu::write(&Pdu::ReleaseRq).unwrap();
    let (begin, end) = release.split_at(3);
    theirs.write_all(begin).await.unwrap();
    for _ in 0..3 {
        assert!(glance(&mut link).await.is_none());
        tokio::time::advance(Duration::from_secs(20)).await;
    }
    theirs.write_all(end).await.unwrap();

    let next = link.next(Duration::MAX).await;
    assert!(matches!(next, Ok(Happening::ReleaseRequested)));
}

#[tokio::test(start_paused = true)]
async fn an_abort_behind_a_write_that_fails_is_told() {
    let source = AbortSource::ServiceProvider(pdu::AbortReason::UnexpectedPdu);
    let abort = pdu::write(&Pdu::Abort(source)).unwrap();
    for (sent, wanted) in [
        (&abort[..], Ending::Aborted(source)),
        (&[], Ending::Transport(io::ErrorKind::BrokenPipe)),
    ] {
        let (mut link, mut theirs) = associated().await;
        theirs.write_all(sent).await.unwrap();
        link.stream.1 = false;

        let sent = link.send_command(1, &CommandSet::default()).await;

        assert_eq!(sent.unwrap_err(), wanted);
    }
}
