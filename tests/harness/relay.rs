//! A socket before a daemon's, which passes on what the daemon says up to a place, and then falls
//! silent: so a client is met in the middle of something.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::daemon::Daemon;
use crate::patience::PATIENCE;

/// A socket that falls silent.
#[derive(Debug)]
pub struct Relay {
    socket: PathBuf,
    silent: Receiver<()>,
}

impl Relay {
    /// A relay that passes on so many of the daemon's bytes.
    ///
    /// # Panics
    /// If it cannot listen.
    #[must_use]
    pub fn before(daemon: &Daemon, bytes: usize) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let socket = daemon.folder().join(format!("relay-{number}.sock"));
        let listener = UnixListener::bind(&socket).expect("the relay listens");
        let (sender, silent) = sync_channel(1);
        let (behind, left) = (daemon.socket(), Arc::new(Mutex::new(bytes)));
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                relay(&client, &behind, &left, &sender);
            }
        });
        Self { socket, silent }
    }

    /// Its socket.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Waits until it has fallen silent.
    ///
    /// # Panics
    /// If it does not.
    pub fn wait_until_silent(&self) {
        self.silent.recv_timeout(PATIENCE).expect("the relay falls silent");
    }
}

fn relay(client: &UnixStream, behind: &Path, left: &Arc<Mutex<usize>>, silent: &SyncSender<()>) {
    let daemon = UnixStream::connect(behind).expect("the daemon listens");
    let mut asks = client.try_clone().expect("a descriptor");
    let mut asked = daemon.try_clone().expect("a descriptor");
    thread::spawn(move || {
        let _ = std::io::copy(&mut asks, &mut asked);
        let _ = asked.shutdown(Shutdown::Both);
    });
    let (mut says, mut told) = (daemon, client.try_clone().expect("a descriptor"));
    let (left, silent) = (Arc::clone(left), silent.clone());
    thread::spawn(move || {
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(bytes @ 1..) = says.read(&mut buffer) {
            let mut left = left.lock().expect("not poisoned");
            let passed = bytes.min(*left);
            *left -= passed;
            if told.write_all(&buffer[..passed]).is_err() {
                return;
            }
            if *left == 0 {
                // Nobody may wait for it.
                let _ = silent.try_send(());
                // Until one of them has gone; what is asked meanwhile is not answered.
                let _ = std::io::copy(&mut says, &mut std::io::sink());
                break;
            }
        }
        let _ = told.shutdown(Shutdown::Both);
    });
}
