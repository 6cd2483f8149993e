//! What other commands ask of a supervisor, at a socket in the guest's directory: as QMP has it, a line of JSON
//! each. Commands that are not the supervisor's own are for QEMU. After [`CONSOLE`] the connection carries the
//! console, as it is.

use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags};
use serde_json::{Value, json};

use super::console::Console;
use crate::device::guest::qemu::qmp;

/// The socket.
pub const SOCKET: &str = "vfiorun.sock";
/// Shows the console, and lets one write to it.
pub const CONSOLE: &str = "vfiorun-console";
/// Gives a device to the guest.
pub const ATTACH: &str = "vfiorun-attach";
/// Takes a device from the guest.
pub const DETACH: &str = "vfiorun-detach";

/// How many may ask or watch at the same time.
const CLIENTS: usize = 32;
/// The longest request, in bytes; QEMU's socket takes it whole.
const REQUEST_LIMIT: usize = 64 * 1024;

/// Who has asked.
#[derive(Debug)]
struct Client {
    number: u64,
    stream: UnixStream,
    received: Vec<u8>,
    role: Role,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// It has asked for nothing yet, or waits for its answer.
    Asks,
    /// It sees the console.
    Watches,
    /// It writes to the console as well.
    Writes,
    /// It has gone.
    Gone,
}

/// The socket, and who has connected to it.
#[derive(Debug)]
pub(super) struct Requests {
    path: PathBuf,
    listener: Option<UnixListener>,
    clients: Vec<Client>,
    next: u64,
}

/// A request, and whose it is.
pub(super) struct Request {
    pub client: u64,
    pub message: Value,
}

impl Request {
    /// Which command it is.
    pub(super) fn command(&self) -> &str {
        self.message.get("execute").and_then(Value::as_str).unwrap_or_default()
    }

    /// An argument of the command.
    pub(super) fn argument(&self, name: &str) -> Option<&Value> {
        self.message.get("arguments")?.get(name)
    }
}

impl Requests {
    /// Listens in the guest's directory. Where that cannot be, nobody can ask.
    pub(super) fn listen(directory: &Path) -> Self {
        let path = directory.join(SOCKET);
        _ = fs::remove_file(&path);
        let listener = UnixListener::bind(&path).ok();
        let listener = listener.filter(|listener| listener.set_nonblocking(true).is_ok());
        Self { path, listener, clients: Vec::new(), next: 0 }
    }

    /// To wait for.
    pub(super) fn poll_fds(&self) -> impl Iterator<Item = PollFd<'_>> {
        let clients = self.clients.iter().map(|client| PollFd::new(&client.stream, PollFlags::IN));
        self.listener.iter().map(|listener| PollFd::new(listener, PollFlags::IN)).chain(clients)
    }

    /// What has been asked since. What is typed goes to the console.
    pub(super) fn arrived(&mut self, console: &mut Console) -> Vec<Request> {
        while let Some(Ok((stream, _))) = self.listener.as_ref().map(UnixListener::accept) {
            if self.clients.len() < CLIENTS && stream.set_nonblocking(true).is_ok() {
                let (number, received) = (self.next, Vec::new());
                self.clients.push(Client { number, stream, received, role: Role::Asks });
                self.next += 1;
            }
        }
        let mut requests = Vec::new();
        for client in &mut self.clients {
            client.read();
            match client.role {
                Role::Asks => requests.extend(client.requests()),
                Role::Writes => console.write(&client.received),
                Role::Watches | Role::Gone => {}
            }
            if client.role != Role::Asks {
                client.received.clear();
            }
        }
        self.clients.retain(|client| client.role != Role::Gone);
        requests
    }

    fn client(&mut self, number: u64) -> Option<&mut Client> {
        self.clients.iter_mut().find(|client| client.number == number)
    }

    /// Answers a request; `refused` says why it is not carried out.
    pub(super) fn answer(&mut self, client: u64, result: Result<Value, String>) {
        self.say(
            client,
            &match result {
                Ok(value) => json!({ "return": value }),
                Err(refused) => json!({ "error": { "class": "GenericError", "desc": refused } }),
            },
        );
    }

    /// Says that a step of what was asked for is made.
    pub(super) fn step(&mut self, client: u64, text: &str) {
        self.say(client, &json!({ "event": qmp::STEP, "data": { "text": text } }));
    }

    /// Sends a message to who has asked.
    pub(super) fn say(&mut self, client: u64, message: &Value) {
        if let Some(client) = self.client(client) {
            client.send(format!("{message}\n").as_bytes());
        }
    }

    /// Has who asked for it see the console; `writes` says that it wants to write, `takes` that nobody else
    /// writes from now on. Two cannot write: what they type would be mixed.
    pub(super) fn watch(&mut self, client: u64, writes: bool, takes: bool, recent: &[u8]) {
        let writer = self.clients.iter_mut().find(|client| client.role == Role::Writes);
        let role = match writer {
            _ if !writes => Role::Watches,
            Some(writer) if takes => {
                writer.role = Role::Watches;
                Role::Writes
            }
            Some(_) => Role::Watches,
            None => Role::Writes,
        };
        let answer = json!({ "writes": role == Role::Writes });
        self.answer(client, Ok(answer));
        if let Some(client) = self.client(client) {
            client.send(recent);
            client.role = role;
        }
    }

    /// Shows what the guest wrote.
    pub(super) fn show(&mut self, bytes: &[u8]) {
        let watching = |client: &&mut Client| matches!(client.role, Role::Watches | Role::Writes);
        self.clients.iter_mut().filter(watching).for_each(|client| client.send(bytes));
    }
}

impl Drop for Requests {
    fn drop(&mut self) {
        _ = fs::remove_file(&self.path);
    }
}

impl Client {
    fn read(&mut self) {
        let mut buffer = [0; 4096];
        while self.role != Role::Gone && self.received.len() < REQUEST_LIMIT {
            match self.stream.read(&mut buffer) {
                Ok(0) => self.role = Role::Gone,
                Ok(length) => {
                    self.received.extend_from_slice(buffer.get(..length).unwrap_or_default());
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => self.role = Role::Gone,
            }
        }
    }

    /// The whole lines that have come.
    fn requests(&mut self) -> Vec<Request> {
        let mut requests = Vec::new();
        while let Some(end) = self.received.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.received.drain(..=end).collect();
            match serde_json::from_slice::<Value>(&line) {
                Ok(message) if message.get("execute").is_some_and(Value::is_string) => {
                    requests.push(Request { client: self.number, message });
                }
                _ => self.role = Role::Gone,
            }
        }
        if self.received.len() >= REQUEST_LIMIT {
            self.role = Role::Gone;
        }
        requests
    }

    /// One that does not read misses what it has no room for.
    fn send(&mut self, bytes: &[u8]) {
        match self.stream.write(bytes) {
            Err(error) if broken(&error) => self.role = Role::Gone,
            _ => {}
        }
    }
}

fn broken(error: &io::Error) -> bool {
    !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
