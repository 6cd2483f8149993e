//! What happens while a guest runs.

use std::time::Duration;

use crate::device::guest::qemu::qmp;

/// Something that happens to a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The guest runs; QEMU's version.
    Running(String),
    /// QEMU wrote a line to its standard error.
    Said(String),
    /// The guest wrote to its console, which is piped to us.
    Console(Vec<u8>),
    /// Something happened to it.
    Event(qmp::Event),
    /// It was asked to power down.
    PoweringDown(Duration),
    /// QEMU is asked to quit: the guest did not power down in time, or could not be asked.
    Quitting(Duration),
    /// QEMU is being killed: it did not quit in time.
    Killing,
    /// The monitor cannot be used any more; the guest goes on.
    MonitorLost(String),
    /// Our terminal is the guest's from now on; the name of the key that ends the guest.
    Terminal(&'static str),
    /// A device was given to the guest, or taken from it, or could not be.
    Plugged(Result<String, String>),
}
