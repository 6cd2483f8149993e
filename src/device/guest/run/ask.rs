//! The other end of [`requests`](super::requests): asks a supervisor.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::requests::{CONSOLE, SOCKET};
use crate::device::guest::qemu::qmp::{self, Message, Monitor, QmpError};

/// The longest line that says how a console was connected.
const LINE_LIMIT: usize = 4096;

/// Has the supervisor of the guest in `directory` carry out a request, or pass it on to QEMU; `told` hears the
/// steps. Returns the answer.
///
/// # Errors
/// When it refuses, or does not answer within `limit`.
pub fn ask(
    directory: &Path,
    request: &Value,
    limit: Duration,
    told: &mut dyn FnMut(&str),
) -> Result<Value, QmpError> {
    let mut supervisor = Monitor::connect(&directory.join(SOCKET))?;
    supervisor.send_request(request, None)?;
    let command = request.get("execute").and_then(Value::as_str).unwrap_or_default();
    supervisor.answer(command, limit, told)
}

/// Connects to the console of the guest in `directory`: to write to it too with `write`, with `take` instead of
/// who does so now. Returns the console, and whether it can be written to.
///
/// # Errors
/// When the supervisor does not answer.
pub fn console(directory: &Path, write: bool, take: bool) -> Result<(UnixStream, bool), QmpError> {
    let mut stream = UnixStream::connect(directory.join(SOCKET))?;
    let arguments = json!({ "write": write, "take": take });
    writeln!(stream, "{}", json!({ "execute": CONSOLE, "arguments": arguments }))?;
    let mut line = Vec::new();
    let mut byte = [0];
    // Not one byte more: what follows is the console's.
    while byte != *b"\n" && line.len() < LINE_LIMIT {
        if stream.read(&mut byte)? == 0 {
            return Err(QmpError::Io(io::ErrorKind::UnexpectedEof.into()));
        }
        line.extend(byte);
    }
    match qmp::parse(&line) {
        Some(Message::Return(answer)) => {
            let writes = answer.get("writes").and_then(Value::as_bool).unwrap_or_default();
            Ok((stream, writes))
        }
        Some(Message::Refused(reason)) => {
            Err(QmpError::Refused { command: CONSOLE.to_owned(), reason })
        }
        _ => Err(QmpError::Message(String::from_utf8_lossy(&line).trim_end().to_owned())),
    }
}
