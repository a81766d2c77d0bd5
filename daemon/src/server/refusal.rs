//! A connection that is refused: the peer greets, is told why, and is left.
//!
//! **Invariants.** A socket is closed only after the greeting has been read, or sending that would
//! fail instead; but a peer that does not greet is not waited for long, and told nevertheless.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use memod_protocol::handshake::{MAGIC, VERSIONS, Welcome};
use memod_protocol::{Frame, WireError};
use tokio::net::UnixStream;

use super::budget::Budgets;
use super::frames::FrameReader;
use super::stream::PeerStream;

/// How long all of it may take.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Tells a peer why it is not served.
pub(crate) async fn refuse(stream: UnixStream, budgets: &Budgets, error: WireError) {
    let Ok(stream) = PeerStream::new(stream).map(Arc::new) else { return };
    let mut reader = FrameReader::new(Arc::clone(&stream), budgets.clone(), TIMEOUT);
    let greeted = async {
        // Whatever it says, the answer is the same.
        if reader.begun().await.unwrap_or(false) {
            let _ = reader.rest().await;
        }
    };
    let _ = tokio::time::timeout(TIMEOUT, greeted).await;
    say(stream.socket(), error);
}

/// The same at once, to a peer that may not have greeted.
pub(crate) fn refuse_at_once(stream: UnixStream, error: WireError) {
    if let Ok(stream) = stream.into_std() {
        say(&stream, error);
    }
}

/// A socket on which nothing has been sent takes this without waiting. A peer that is gone is told
/// nothing.
fn say(mut socket: &std::os::unix::net::UnixStream, error: WireError) {
    let welcome = Welcome::Refused { magic: MAGIC, versions: VERSIONS.to_vec(), error };
    let frame = Frame::bare(&welcome).expect("a welcome fits into a frame");
    if let Err(error) = socket.write_all(&frame.head()) {
        tracing::debug!("a peer is not told that it is refused: {error}");
    }
}
