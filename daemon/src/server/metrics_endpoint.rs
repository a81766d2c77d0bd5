//! Serves the metrics over HTTP, on a Unix socket or a loopback address.
//!
//! **Invariants.** One request to a connection. Connections, bytes of a request and its time are
//! bounded, so that who asks slowly does not keep Prometheus from asking. Who asks over a Unix
//! socket sees what it may read; who asks over a loopback address is nobody that is known, and is
//! told no names.
//!
//! **Does not** speak more of HTTP than Prometheus needs.

use std::net::TcpListener as StdTcpListener;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::accept::{self, Format};
use super::{BoundSocket, Peer};
use crate::metrics_address::MetricsAddress;
use crate::service::{Service, classic_metrics};

/// Connections at a time.
pub(crate) const METRICS_CONNECTIONS_MAX: usize = 64;
/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 8 * 1024;
/// Reads of what follows a head that is too long.
const LEFT_READS_MAX: usize = 64;
/// How long a connection may take to ask: who asks for metrics has its request at hand, and others
/// may be waiting.
const ASKING_PATIENCE: Duration = Duration::from_millis(500);
/// How long it may take to be answered.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two attempts to accept, after one that failed.
const BACKOFF: Duration = Duration::from_millis(500);
/// The format of the page.
const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// The older format, for who would rather have that.
const CLASSIC: &str = "text/plain; version=0.0.4; charset=utf-8";
/// What else is said.
const TEXT: &str = "text/plain; charset=utf-8";

/// The socket on which metrics are asked for.
#[derive(Debug)]
pub(crate) enum MetricsSocket {
    /// A Unix socket.
    Unix(BoundSocket),
    /// A loopback address.
    Loopback(StdTcpListener),
}

impl MetricsSocket {
    /// Binds the address, if it is one.
    ///
    /// # Errors
    /// If it cannot be bound; the message says what to do.
    pub(crate) fn bind(address: &MetricsAddress, mode: u32) -> anyhow::Result<Option<Self>> {
        Ok(match address {
            MetricsAddress::Off => None,
            MetricsAddress::Socket(path) => {
                let bound = BoundSocket::bind(path, mode, "another `metrics`")?;
                Some(Self::Unix(bound))
            }
            MetricsAddress::Loopback(address) => {
                let listener = StdTcpListener::bind(address).with_context(|| {
                    format!("cannot serve metrics on {address}: choose another `metrics`")
                })?;
                Some(Self::Loopback(listener))
            }
        })
    }

    /// Serves the metrics until told to stop.
    ///
    /// # Errors
    /// If the socket cannot be registered.
    pub(crate) async fn serve(
        self,
        service: Arc<Service>,
        stop: CancellationToken,
    ) -> std::io::Result<()> {
        let permits = Arc::new(Semaphore::new(METRICS_CONNECTIONS_MAX));
        let listener = Listener::of(&self)?;
        loop {
            let permit = Arc::clone(&permits).acquire_owned();
            let accepted = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                accepted = async { (permit.await, listener.accept().await) } => accepted,
            };
            let (Ok(permit), accepted) = accepted else { return Ok(()) };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!("cannot accept a connection for metrics: {error}");
                    tokio::time::sleep(BACKOFF).await;
                    continue;
                }
            };
            let service = Arc::clone(&service);
            tokio::spawn(async move {
                let answered = tokio::time::timeout(PATIENCE, answer(stream, peer, &service)).await;
                let late = |_| std::io::ErrorKind::TimedOut.into();
                if let Err(error) = answered.map_err(late).and_then(|answered| answered) {
                    tracing::debug!("metrics were not taken: {error}");
                }
                drop(permit);
            });
        }
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

enum Listener {
    Unix(UnixListener),
    Loopback(TcpListener),
}

impl Listener {
    fn of(socket: &MetricsSocket) -> std::io::Result<Self> {
        Ok(match socket {
            MetricsSocket::Unix(socket) => Self::Unix(socket.listen()?),
            MetricsSocket::Loopback(listener) => {
                let listener = listener.try_clone()?;
                listener.set_nonblocking(true)?;
                Self::Loopback(TcpListener::from_std(listener)?)
            }
        })
    }

    /// The next connection, and who is at its other end if that is known.
    async fn accept(&self) -> std::io::Result<(Box<dyn Stream>, Option<Peer>)> {
        match self {
            Self::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                let peer = Peer::of(&stream)?;
                Ok((Box::new(stream), Some(peer)))
            }
            Self::Loopback(listener) => {
                let (stream, _) = listener.accept().await?;
                Ok((Box::new(stream), None))
            }
        }
    }
}

/// Reads one request, and answers it.
async fn answer(
    mut stream: Box<dyn Stream>,
    peer: Option<Peer>,
    service: &Arc<Service>,
) -> std::io::Result<()> {
    let Ok(read) = tokio::time::timeout(ASKING_PATIENCE, read_head(&mut stream)).await else {
        return Err(std::io::ErrorKind::TimedOut.into());
    };
    let Some(head) = read? else {
        reply(&mut stream, "400 Bad Request", TEXT, "this is no request\n").await?;
        return leave(&mut stream).await;
    };
    let (status, kind, body) = match asks_for_metrics(&head) {
        Asked::Metrics => match service.metrics_page(peer.as_ref()).await {
            Ok(page) => match accept::wanted(&head) {
                Format::OpenMetrics => ("200 OK", CONTENT_TYPE, page),
                Format::Classic => ("200 OK", CLASSIC, classic_metrics(&page)),
            },
            Err(error) => ("500 Internal Server Error", TEXT, format!("{}\n", error.message)),
        },
        Asked::Elsewhere => ("404 Not Found", TEXT, "the metrics are at /metrics\n".to_owned()),
        Asked::Otherwise => ("405 Method Not Allowed", TEXT, "only GET is answered\n".to_owned()),
    };
    reply(&mut stream, status, kind, &body).await
}

/// The head of a request; none if it is none.
async fn read_head(stream: &mut Box<dyn Stream>) -> std::io::Result<Option<Vec<u8>>> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if head.len() >= HEAD_BYTES_MAX || stream.read_buf(&mut head).await? == 0 {
            return Ok(None);
        }
    }
    Ok(Some(head))
}

async fn reply(
    stream: &mut Box<dyn Stream>,
    status: &str,
    kind: &str,
    body: &str,
) -> std::io::Result<()> {
    let allow = if status.starts_with("405") { "Allow: GET\r\n" } else { "" };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n{allow}\
         Connection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}

/// Reads on for a while: what is left unread would have the kernel throw the reply away.
async fn leave(stream: &mut Box<dyn Stream>) -> std::io::Result<()> {
    let mut rest = [0; 4096];
    for _ in 0..LEFT_READS_MAX {
        if stream.read(&mut rest).await? == 0 {
            break;
        }
    }
    Ok(())
}

/// What a request asks for.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    Metrics,
    Elsewhere,
    Otherwise,
}

fn asks_for_metrics(head: &[u8]) -> Asked {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let mut words = line.split(|byte| *byte == b' ');
    if words.next() != Some(b"GET") {
        return Asked::Otherwise;
    }
    let target = words.next().unwrap_or_default();
    match target.split(|byte| *byte == b'?').next() {
        Some(b"/metrics") => Asked::Metrics,
        _ => Asked::Elsewhere,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_page_is_there() {
        for (head, wanted) in [
            ("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", Asked::Metrics),
            ("GET /metrics?x=1 HTTP/1.1\r\n\r\n", Asked::Metrics),
            ("GET / HTTP/1.1\r\n\r\n", Asked::Elsewhere),
            ("GET /metricsx HTTP/1.1\r\n\r\n", Asked::Elsewhere),
            ("GET\r\n\r\n", Asked::Elsewhere),
            ("POST /metrics HTTP/1.1\r\n\r\n", Asked::Otherwise),
            ("\r\n\r\n", Asked::Otherwise),
        ] {
            assert_eq!(asks_for_metrics(head.as_bytes()), wanted, "{head:?}");
        }
    }
}
