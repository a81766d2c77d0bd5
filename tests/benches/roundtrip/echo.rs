//! The references: an echo and a stream on tokio, in a process of their own.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// When set, this program is the echo server on that socket.
pub(crate) const SOCKET_VARIABLE: &str = "MEMOD_BENCH_ECHO";
/// Replies are written in pieces of this size, as memod writes its chunks.
const PIECE_BYTES: usize = 1024 * 1024;

/// Serves echoes: a connection first says how long its requests and the replies are.
pub(crate) fn serve(socket: &Path) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let listener = tokio::net::UnixListener::bind(socket).expect("bound");
        println!("ready");
        loop {
            let (stream, _) = listener.accept().await.expect("accepted");
            // A client that leaves ends its connection, nothing else.
            tokio::spawn(async move { connection(stream).await.ok() });
        }
    });
}

async fn connection(mut stream: tokio::net::UnixStream) -> std::io::Result<()> {
    let mut request = vec![0; usize::try_from(stream.read_u64_le().await?).expect("small")];
    let reply_bytes = usize::try_from(stream.read_u64_le().await?).expect("small");
    let piece = vec![7; reply_bytes.min(PIECE_BYTES)];
    loop {
        stream.read_exact(&mut request).await?;
        let mut rest = reply_bytes;
        while rest > 0 {
            let bytes = rest.min(PIECE_BYTES);
            stream.write_all(&piece[..bytes]).await?;
            rest -= bytes;
        }
    }
}

/// The running server.
pub(crate) struct Echo {
    child: Child,
    socket: PathBuf,
}

impl Echo {
    /// Starts it.
    pub(crate) fn start(folder: &Path) -> Self {
        let socket = folder.join("echo.sock");
        let mut child = Command::new(std::env::current_exe().expect("a path"))
            .env(SOCKET_VARIABLE, &socket)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the echo server starts");
        let mut ready = [0; 6];
        child.stdout.as_mut().expect("piped").read_exact(&mut ready).expect("ready");
        Self { child, socket }
    }

    /// Connects for requests and replies of these lengths.
    pub(crate) fn connect(&self, request_bytes: usize, reply_bytes: usize) -> EchoClient {
        EchoClient::connect(&self.socket, request_bytes, reply_bytes)
    }

    /// Where it listens.
    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A blocking client of it.
pub(crate) struct EchoClient {
    stream: UnixStream,
    request: Vec<u8>,
    reply: Vec<u8>,
    reply_bytes: usize,
}

impl EchoClient {
    /// Connects to an echo for requests and replies of these lengths.
    pub(crate) fn connect(socket: &Path, request_bytes: usize, reply_bytes: usize) -> Self {
        let mut stream = UnixStream::connect(socket).expect("connected");
        for bytes in [request_bytes, reply_bytes] {
            stream.write_all(&(bytes as u64).to_le_bytes()).expect("sent");
        }
        let request = vec![7; request_bytes];
        Self { stream, request, reply: vec![0; reply_bytes.min(PIECE_BYTES)], reply_bytes }
    }

    /// One round trip.
    pub(crate) fn ask(&mut self) {
        self.stream.write_all(&self.request).expect("sent");
        let mut rest = self.reply_bytes;
        while rest > 0 {
            let bytes = rest.min(self.reply.len());
            self.stream.read_exact(&mut self.reply[..bytes]).expect("echoed");
            rest -= bytes;
        }
    }
}
