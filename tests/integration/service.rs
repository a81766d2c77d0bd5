//! The daemon as a service: what it tells systemd, the socket that it is given, and the system
//! calls that its unit leaves it.

mod activation;
mod filter;
mod logging;
mod notify;
mod reload;
mod restarts;
