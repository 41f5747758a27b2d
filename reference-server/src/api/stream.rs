//! Server-sent events (WHATWG HTML 9.2): a body that a task writes for as long as somebody reads.

use crate::draining::Draining;
use crate::limits::{API_STREAM_EVENTS_MAX, API_STREAM_LIFE_MAX};
use axum::body::Body;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame};
use serde::Serialize;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// The media type.
pub(super) const KIND: &str = "text/event-stream";

/// Nobody reads any more.
#[derive(Debug)]
pub(super) struct Gone;

/// Where events go.
pub(super) struct Events(Sender<Bytes>);

impl Events {
    /// Sends an event; `id` is what the reader gives back when it comes again.
    pub(super) async fn send<T: Serialize>(
        &self,
        name: &str,
        id: Option<u64>,
        data: &T,
    ) -> Result<(), Gone> {
        let data = serde_json::to_string(data).unwrap_or_default();
        let id = id.map(|id| format!("id: {id}\n")).unwrap_or_default();
        self.put(format!("{id}event: {name}\ndata: {data}\n\n"))
            .await
    }

    /// Says that there is somebody, and nothing new.
    pub(super) async fn keep_alive(&self) -> Result<(), Gone> {
        self.put(":\n\n".to_owned()).await
    }

    async fn put(&self, text: String) -> Result<(), Gone> {
        self.0.send(text.into()).await.map_err(|_closed| Gone)
    }
}

/// What a reader saw last, as it says. What is no number is nothing.
pub(super) fn last_event_id(headers: &HeaderMap) -> Option<u64> {
    let shown = headers.get("last-event-id")?;
    shown.to_str().ok()?.trim().parse().ok()
}

/// The answer whose events `produce` sends, until it returns, nobody reads, the server ends, or it
/// was long enough: then the reader comes again.
pub(super) fn respond<P, F>(draining: Draining, produce: P) -> Response
where
    P: FnOnce(Events) -> F,
    F: Future<Output = Result<(), Gone>> + Send + 'static,
{
    let (sender, receiver) = channel(API_STREAM_EVENTS_MAX);
    let produced = produce(Events(sender));
    let task = tokio::spawn(async move {
        tokio::select! {
            _end = timeout(API_STREAM_LIFE_MAX, produced) => {}
            () = draining.begun() => {}
        }
    });
    let body = Body::new(Streamed { receiver, task });
    let headers = [
        (header::CONTENT_TYPE.as_str(), KIND),
        // A proxy would gather them.
        ("x-accel-buffering", "no"),
    ];
    (headers, body).into_response()
}

struct Streamed {
    receiver: Receiver<Bytes>,
    task: JoinHandle<()>,
}

impl HttpBody for Streamed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = ready!(self.receiver.poll_recv(context));
        if piece.is_none() {
            // As the bodies of pacs-web: hyper that comes upon the end late closes the connection
            // when it is woken next, and nobody else may see to that.
            context.waker().wake_by_ref();
        }
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }
}

impl Drop for Streamed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::{Wake, Waker};

    #[derive(Debug, Default)]
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    #[tokio::test]
    async fn whoever_comes_upon_the_end_is_woken_once_more() {
        let (sender, receiver) = channel(1);
        let task = tokio::spawn(async {});
        let mut body = Streamed { receiver, task };
        sender.send(Bytes::from_static(b":\n\n")).await.unwrap();
        drop(sender);
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let mut context = Context::from_waker(&waker);

        let first = Pin::new(&mut body).poll_frame(&mut context);
        assert!(matches!(first, Poll::Ready(Some(Ok(_)))));
        assert!(!woken.0.load(Ordering::Relaxed));

        let end = Pin::new(&mut body).poll_frame(&mut context);
        assert!(matches!(end, Poll::Ready(None)));
        assert!(woken.0.load(Ordering::Relaxed));
    }
}
