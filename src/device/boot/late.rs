//! Devices that appear after PID 1 has started: the driver of their host bridge probes
//! asynchronously, waits for the link, or was only just loaded.
//!
//! The kernel announces a new device with a uevent on netlink (`lib/kobject_uevent.c`). Where the
//! socket cannot be opened, sysfs is polled.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::netlink::{KOBJECT_UEVENT, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType};

/// The multicast group of the kernel's own uevents; udev's are in group 2.
const KERNEL_GROUP: u32 = 1;
/// How long to wait for a uevent before looking anyway: a device shows in sysfs a little
/// before, and a driver is bound to it a little after its event.
const TICK: Duration = Duration::from_millis(50);

/// Listens for new PCI devices. Opened before the first look at sysfs, so that none is missed in
/// between.
pub(crate) struct Arrivals {
    socket: Option<OwnedFd>,
    until: Instant,
}

impl Arrivals {
    /// Listens for `time` from now on.
    pub(crate) fn listen(time: Duration) -> Self {
        let socket = || {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let family = AddressFamily::NETLINK;
            let socket =
                rustix::net::socket_with(family, SocketType::DGRAM, flags, Some(KOBJECT_UEVENT))?;
            rustix::net::bind(&socket, &SocketAddrNetlink::new(0, KERNEL_GROUP))?;
            Ok::<_, rustix::io::Errno>(socket)
        };
        Self { socket: socket().ok(), until: Instant::now() + time }
    }

    /// Waits until it is worth looking again. `false` when time is over.
    pub(crate) fn wait(&self) -> bool {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        let tick = Instant::now() + TICK.min(left);
        loop {
            let left = tick.saturating_duration_since(Instant::now());
            let timeout =
                Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos() as _ };
            let Some(socket) = self.socket.as_ref().filter(|_| !left.is_zero()) else {
                std::thread::sleep(left);
                return true;
            };
            let mut watched = [PollFd::new(socket, PollFlags::IN)];
            if !matches!(rustix::event::poll(&mut watched, Some(&timeout)), Ok(1..)) {
                continue;
            }
            let mut buffer = [0u8; 2048];
            match rustix::net::recv(socket, &mut buffer, RecvFlags::empty()) {
                Ok((read, _)) if is_pci(buffer.get(..read).unwrap_or_default()) => return true,
                // Another subsystem's event. The socket overran (ENOBUFS): the tick will do.
                _ => {}
            }
        }
    }
}

/// Whether a uevent is about a PCI device: `ACTION@DEVPATH`, then `KEY=VALUE`, each ending in NUL.
fn is_pci(event: &[u8]) -> bool {
    event.split(|byte| *byte == 0).any(|pair| pair == b"SUBSYSTEM=pci")
}
