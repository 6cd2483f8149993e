//! What a service manager is told (`sd_notify(3)`).

use std::env;
use std::ffi::OsString;

use rustix::net::{AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType};

/// Where a service manager listens; not for programs that are started here.
pub const SOCKET: &str = "NOTIFY_SOCKET";

/// The manager that started this process as a service and waits for it, if one did.
#[derive(Debug)]
pub struct Manager(OsString);

impl Manager {
    /// By the environment.
    pub fn find() -> Option<Self> {
        env::var_os(SOCKET).filter(|socket| !socket.is_empty()).map(Self)
    }

    /// Tells it. One that does not listen any more misses nothing that it could use.
    pub fn tell(&self, text: &str) {
        let name = self.0.as_encoded_bytes();
        let address = match name.strip_prefix(b"@") {
            Some(name) => SocketAddrUnix::new_abstract_name(name),
            None => SocketAddrUnix::new(name),
        };
        let (unix, datagram) = (AddressFamily::UNIX, SocketType::DGRAM);
        let socket = rustix::net::socket_with(unix, datagram, SocketFlags::CLOEXEC, None);
        if let (Ok(socket), Ok(address)) = (socket, address) {
            _ = rustix::net::sendto(socket, text.as_bytes(), SendFlags::empty(), &address);
        }
    }
}
