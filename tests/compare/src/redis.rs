//! redis over its Unix socket: GET and SET in RESP 2.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::name::Name;
use crate::rival::{Found, Place, Rival};

/// A server that says nothing for this long is stuck.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The server that listens there.
pub(crate) struct Server(pub(crate) PathBuf);

impl Place for Server {
    fn connect(&self) -> Result<Box<dyn Rival>> {
        let stream = UnixStream::connect(&self.0).context("no redis")?;
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
    fn ask(&mut self, words: &[&[u8]]) -> Result<&str> {
        self.request.clear();
        write!(self.request, "*{}\r\n", words.len())?;
        for word in words {
            write!(self.request, "${}\r\n", word.len())?;
            self.request.extend_from_slice(word);
            self.request.extend_from_slice(b"\r\n");
        }
        self.stream.get_mut().write_all(&self.request)?;
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
        let name = std::mem::take(&mut self.name);
        let said = self.ask(&[b"SET", name.bytes(), content])?;
        if said != "+OK" {
            bail!("redis: {said}");
        }
        self.name = name;
        Ok(())
    }

    fn get(&mut self, expected: &[u8]) -> Result<Found> {
        let name = std::mem::take(&mut self.name);
        let said = self.ask(&[b"GET", name.bytes()])?;
        let found = match said.strip_prefix('$') {
            Some("-1") => Found::Miss,
            Some(bytes) => {
                let bytes: usize = bytes.parse().context("the length of a value")?;
                let value = owned(&mut self.stream, bytes)?;
                Found::compare(Some(&value), expected)
            }
            None => bail!("redis: {said}"),
        };
        self.name = name;
        Ok(found)
    }
}

/// Reads a value and the end of its line into memory of its own, as client libraries do.
pub(crate) fn owned(stream: &mut impl Read, bytes: usize) -> Result<Vec<u8>> {
    const END: usize = 2;
    let mut value = Vec::with_capacity(bytes + END);
    stream.take((bytes + END) as u64).read_to_end(&mut value)?;
    if value.len() < bytes + END {
        bail!("the server has hung up");
    }
    value.truncate(bytes);
    Ok(value)
}
