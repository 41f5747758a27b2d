//! The body of a request as it arrives: bounded, and not slower than a floor.

use crate::limits::WebLimits;
use axum::body::Body;
use bytes::Bytes;
use http_body::Body as _;
use std::pin::Pin;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// Why a body is not read any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stopped {
    /// The connection broke, or what came was no HTTP.
    Broken,
    /// More than [`WebLimits::request_bytes_max`].
    TooLong,
    /// It arrived slower than [`WebLimits::arriving_bytes_per_second_min`].
    TooSlow,
}

/// Gives the chunks of a body.
pub(crate) struct Arriving {
    body: Body,
    limits: WebLimits,
    received_bytes: u64,
    /// How long the client has been waited for. What we take to store does not count.
    waited: Duration,
}

impl Arriving {
    pub(crate) const fn new(body: Body, limits: &WebLimits) -> Self {
        Self {
            body,
            limits: *limits,
            received_bytes: 0,
            waited: Duration::ZERO,
        }
    }

    /// The next chunk; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Stopped> {
        loop {
            let rate = self.limits.arriving_bytes_per_second_min;
            let earned = Duration::from_secs(self.received_bytes.checked_div(rate).unwrap_or(0));
            let allowed = self.limits.arriving_grace.saturating_add(earned);
            let left = allowed.saturating_sub(self.waited);
            // What was earned buys slowness, never silence.
            let patience = left.min(self.limits.arriving_grace);
            let began = Instant::now();
            let frame =
                std::future::poll_fn(|context| Pin::new(&mut self.body).poll_frame(context));
            let frame = timeout(patience, frame).await;
            self.waited = self.waited.saturating_add(began.elapsed());
            let frame = match frame {
                Err(_elapsed) => return Err(Stopped::TooSlow),
                Ok(None) => return Ok(None),
                Ok(Some(Err(error))) => {
                    tracing::debug!(%error, "the body of a request broke off");
                    return Err(Stopped::Broken);
                }
                Ok(Some(Ok(frame))) => frame,
            };
            // Trailers say nothing that is needed.
            let Ok(chunk) = frame.into_data() else {
                continue;
            };
            let length = u64::try_from(chunk.len()).unwrap_or(u64::MAX);
            self.received_bytes = self.received_bytes.saturating_add(length);
            if self.received_bytes > self.limits.request_bytes_max {
                return Err(Stopped::TooLong);
            }
            return Ok(Some(chunk));
        }
    }

    pub(crate) const fn received_bytes(&self) -> u64 {
        self.received_bytes
    }

    /// Reads what follows the last boundary, if it is little, so that the connection can be used
    /// again.
    pub(crate) async fn drain(&mut self) {
        let limit = self.limits.multipart.preamble_bytes_max;
        let end = self.received_bytes.saturating_add(limit);
        while self.received_bytes <= end && matches!(self.next().await, Ok(Some(_))) {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body::Frame;
    use std::task::{Context, Poll};
    use tokio::time::{Sleep, sleep};

    /// Gives a kilobyte each time that some time has passed.
    struct Drip {
        every: Duration,
        sleep: Pin<Box<Sleep>>,
    }

    impl http_body::Body for Drip {
        type Data = Bytes;
        type Error = std::io::Error;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
            std::task::ready!(self.sleep.as_mut().poll(context));
            self.sleep = Box::pin(sleep(self.every));
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[0; 1 << 10])))))
        }
    }

    fn dripping(every: Duration, limits: &WebLimits) -> Arriving {
        let sleep = Box::pin(sleep(every));
        Arriving::new(Body::new(Drip { every, sleep }), limits)
    }

    async fn read_to_the_end(mut arriving: Arriving) -> (u64, Stopped) {
        loop {
            if let Err(stopped) = arriving.next().await {
                return (arriving.received_bytes >> 10, stopped);
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_came_fast_and_falls_silent_is_given_up_after_the_grace() {
        let limits = WebLimits::default();
        let mut arriving = dripping(Duration::ZERO, &limits);
        let earning = limits.arriving_bytes_per_second_min.saturating_mul(3_600);
        while arriving.received_bytes() < earning {
            arriving.next().await.unwrap();
        }
        arriving.body = dripping(Duration::from_secs(86_400), &limits).body;
        let silent_since = Instant::now();

        assert_eq!(arriving.next().await, Err(Stopped::TooSlow));

        let silence = silent_since.elapsed();
        assert!(silence >= limits.arriving_grace && silence < limits.arriving_grace * 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_drips_is_given_up_and_one_at_the_floor_is_not() {
        let limits = WebLimits {
            request_bytes_max: 1 << 20,
            ..WebLimits::default()
        };
        let slow = dripping(Duration::from_millis(1_100), &limits);
        let silent = dripping(Duration::from_secs(3_600), &limits);
        let steady = dripping(Duration::from_millis(990), &limits);
        // Each kilobyte earns a second, and takes a tenth more.
        let (kilobytes, stopped) = read_to_the_end(slow).await;
        assert_eq!(stopped, Stopped::TooSlow);
        assert!((280..=300).contains(&kilobytes), "{kilobytes}");
        let silent_since = Instant::now();
        assert_eq!(read_to_the_end(silent).await, (0, Stopped::TooSlow));
        assert!(silent_since.elapsed() >= limits.arriving_grace);
        assert_eq!(read_to_the_end(steady).await, (1_025, Stopped::TooLong));
    }
}
