//! The guest agent: a program in the guest that answers on a serial port (QEMU's `docs/interop/qemu-ga.rst`).

use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::qmp::{Monitor, QmpError};

/// The socket of its port.
pub const AGENT: &str = "agent.sock";
/// The id of its port.
pub(crate) const PORT: &str = "agent";

/// Asks it to shut the guest down, which it does not answer. The connection has to stay open until it has read
/// that.
///
/// # Errors
/// When QEMU does not listen at `path`.
pub(crate) fn shut_down(path: &Path) -> io::Result<UnixStream> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_nonblocking(true)?;
    // 0xff has it forget what another one has left half written.
    stream.write_all(b"\xff{\"execute\": \"guest-shutdown\"}\n")?;
    Ok(stream)
}

/// The addresses of the guest that others can reach, as the agent that answers at `path` says.
///
/// # Errors
/// When no answer comes within `limit`.
pub fn addresses(path: &Path, limit: Duration) -> Result<Vec<String>, QmpError> {
    let started = Instant::now();
    let left = || limit.saturating_sub(started.elapsed());
    let mut agent = Monitor::connect(path)?;
    let number = std::process::id();
    agent.send_request(&json!({ "execute": "guest-sync", "arguments": { "id": number } }), None)?;
    // What it still had to say to others comes first.
    while agent.answer("guest-sync", left(), &mut |_| {})? != json!(number) {}
    agent.ask("guest-ping", left())?;
    let interfaces = agent.ask("guest-network-get-interfaces", left())?;
    let of_each = interfaces.as_array().into_iter().flatten().filter_map(|one| {
        let name = one.get("name")?.as_str()?;
        (name != "lo").then(|| one.get("ip-addresses")?.as_array())?
    });
    let text = |one: &Value| Some(one.get("ip-address")?.as_str()?.to_owned());
    let addresses = of_each.flatten().filter_map(text);
    Ok(addresses.filter(|address| !address.starts_with("fe80:")).collect())
}
