//! Where metrics are served.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

/// An address that only this machine reaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MetricsAddress {
    /// Nowhere.
    Off,
    /// A Unix socket.
    Socket(PathBuf),
    /// A loopback address.
    Loopback(SocketAddr),
}

impl MetricsAddress {
    /// An address as it is written.
    ///
    /// # Errors
    /// If it is none, or one that others reach.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let path = PathBuf::from(text);
        if text == "off" {
            return Ok(Self::Off);
        }
        if path.is_absolute() {
            return Ok(Self::Socket(path));
        }
        match text.parse::<SocketAddr>() {
            Ok(address) if address.ip().is_loopback() => Ok(Self::Loopback(address)),
            Ok(address) => Err(format!(
                "{} is not this machine's alone: a loopback address such as \"127.0.0.1:9877\" is \
                 wanted",
                address.ip()
            )),
            Err(_) => Err("\"off\", an absolute path of a socket or a loopback address such as \
                           \"127.0.0.1:9877\" is wanted"
                .to_owned()),
        }
    }
}

impl fmt::Display for MetricsAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => formatter.write_str("off"),
            Self::Socket(path) => path.display().fmt(formatter),
            Self::Loopback(address) => address.fmt(formatter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_this_machines_alone() {
        for text in ["off", "/run/a.sock", "127.0.0.1:9877", "127.9.9.9:0", "[::1]:9877"] {
            let address = MetricsAddress::parse(text).expect(text);
            assert_eq!(address.to_string(), text);
        }
        for text in ["", "on", "a.sock", "localhost:1", "127.0.0.1", "0.0.0.0:1", "[::]:1"] {
            assert!(MetricsAddress::parse(text).is_err(), "{text}");
        }
        let problem = MetricsAddress::parse("10.0.0.1:9877").expect_err("others reach it");
        assert!(problem.contains("10.0.0.1 is not this machine's alone"), "{problem}");
    }
}
