//! memcached over its Unix socket: `get` and `set` of its text protocol.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::name::Name;
use crate::redis::{PATIENCE, owned};
use crate::rival::{Found, Place, Rival};

/// The server that listens there.
pub(crate) struct Server(pub(crate) PathBuf);

impl Place for Server {
    fn connect(&self) -> Result<Box<dyn Rival>> {
        let stream = UnixStream::connect(&self.0).context("no memcached")?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Box::new(Connection {
            stream: BufReader::new(stream),
            name: Name::default(),
            request: Vec::new(),
            line: Vec::new(),
        }))
    }
}

struct Connection {
    stream: BufReader<UnixStream>,
    name: Name,
    request: Vec<u8>,
    line: Vec<u8>,
}

impl Connection {
    fn send(&mut self) -> Result<&str> {
        self.stream.get_mut().write_all(&self.request)?;
        self.line()
    }

    fn line(&mut self) -> Result<&str> {
        self.line.clear();
        self.stream.read_until(b'\n', &mut self.line)?;
        Ok(std::str::from_utf8(&self.line)?.trim_end())
    }
}

impl Rival for Connection {
    fn aim(&mut self, group: &str, number: u64) {
        self.name.set(group, number);
    }

    fn put(&mut self, content: &[u8]) -> Result<()> {
        self.request.clear();
        self.request.extend_from_slice(b"set ");
        self.request.extend_from_slice(self.name.bytes());
        write!(self.request, " 0 0 {}\r\n", content.len())?;
        self.request.extend_from_slice(content);
        self.request.extend_from_slice(b"\r\n");
        match self.send()? {
            "STORED" => Ok(()),
            said => bail!("memcached: {said}"),
        }
    }

    fn get(&mut self, expected: &[u8]) -> Result<Found> {
        self.request.clear();
        self.request.extend_from_slice(b"get ");
        self.request.extend_from_slice(self.name.bytes());
        self.request.extend_from_slice(b"\r\n");
        let said = self.send()?;
        if said == "END" {
            return Ok(Found::Miss);
        }
        // VALUE <key> <flags> <bytes>
        let bytes = said.strip_prefix("VALUE ").and_then(|rest| rest.split(' ').nth(2));
        let Some(bytes) = bytes else { bail!("memcached: {said}") };
        let bytes: usize = bytes.parse().context("the length of a value")?;
        let value = owned(&mut self.stream, bytes)?;
        match self.line()? {
            "END" => Ok(Found::compare(Some(&value), expected)),
            said => bail!("memcached: {said}"),
        }
    }
}
