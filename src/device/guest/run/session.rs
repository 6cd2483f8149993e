//! The conversation with QEMU's monitor: what QEMU says of the guest, and what is asked of it, by us and through
//! us by other commands. Each of those is answered when QEMU has answered it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use serde_json::{Value, json};

use super::console::Console;
use super::notice::Notice;
use super::requests::{ATTACH, CONSOLE, DETACH, Request, Requests};
use crate::device::guest::qemu::agent;
use crate::device::guest::qemu::argv::MONITOR;
use crate::device::guest::qemu::qmp::{self, Event, Message, Monitor, ShutdownCause};

/// How long a guest has to let go of a device when nobody says otherwise.
const UNPLUG_TIME: Duration = Duration::from_secs(30);

/// A device as QEMU is told to add it.
#[derive(Debug)]
pub struct Addition {
    /// Its id in QEMU.
    pub id: String,
    /// The properties for `device_add`.
    pub properties: Value,
    /// A file that it is opened through, and the number of the set that it is put into for that.
    pub file: Option<(u32, OwnedFd)>,
}

/// Why a device is not given to the guest, or not taken from it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct PlugError(pub String);

/// What is given to a guest while it runs.
pub trait Plugs {
    /// The guest runs: what is to be given to it now.
    fn running(&mut self) -> Vec<Result<Addition, PlugError>>;

    /// Has a device ready for the guest; `log` hears each step. With `force` also one that the system needs.
    ///
    /// # Errors
    /// When it cannot be had. What was done for it is undone.
    fn prepare(
        &mut self,
        device: &str,
        force: bool,
        log: &mut dyn FnMut(&str),
    ) -> Result<Addition, PlugError>;

    /// QEMU has added it, or has `refused` to, and then it is given back. Says what has come of it.
    ///
    /// # Errors
    /// When it was refused.
    fn added(&mut self, id: &str, refused: Option<&str>) -> Result<String, PlugError>;

    /// The id of a device of the guest.
    ///
    /// # Errors
    /// When the guest has no such device.
    fn id_of(&mut self, device: &str) -> Result<String, PlugError>;

    /// QEMU does not have this one any more: it is given back. Says what has come of it; nothing for what was not
    /// the host's.
    fn removed(&mut self, id: &str) -> Option<Result<String, PlugError>>;
}

enum Connection {
    /// QEMU has not made the socket.
    NotYet,
    Open(Monitor),
    Lost,
}

/// A command whose answer somebody waits for.
struct Waiting {
    /// The number that it has in the answer.
    number: u64,
    /// Who waits; nobody for our own.
    client: Option<u64>,
    what: What,
    /// When it is not waited for any longer.
    until: Option<Instant>,
}

/// What is waited for.
enum What {
    /// The answer, which is passed on with the id that was given.
    Answer(Option<Value>),
    /// That this device is added.
    Added(String),
    /// That this device is taken out.
    Removed(String),
}

/// The conversation.
pub(super) struct Session<'a> {
    path: PathBuf,
    plugs: &'a mut dyn Plugs,
    monitor: Connection,
    next: u64,
    waiting: Vec<Waiting>,
    /// Whether the guest ran.
    pub ran: bool,
    /// Whether it panicked.
    pub panicked: bool,
    /// Whether its agent listens.
    pub agent: bool,
    /// Why it was shut down.
    pub reason: Option<ShutdownCause>,
}

impl<'a> Session<'a> {
    /// With the monitor of the guest in `directory`.
    pub(super) fn new(directory: &Path, plugs: &'a mut dyn Plugs) -> Self {
        Self {
            path: directory.join(MONITOR),
            plugs,
            monitor: Connection::NotYet,
            next: 0,
            waiting: Vec::new(),
            ran: false,
            panicked: false,
            agent: false,
            reason: None,
        }
    }

    /// To wait for.
    pub(super) fn poll_fd(&self) -> Option<PollFd<'_>> {
        match &self.monitor {
            Connection::Open(monitor) => Some(PollFd::new(monitor, PollFlags::IN)),
            Connection::NotYet | Connection::Lost => None,
        }
    }

    /// When something is not waited for any longer.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.waiting.iter().filter_map(|waiting| waiting.until).min()
    }

    /// Whether there is a monitor to ask.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.monitor, Connection::Open(_))
    }

    /// Whether the monitor took a command.
    pub(super) fn send(&mut self, command: &str) -> bool {
        self.request(&json!({ "execute": command }), None).is_ok()
    }

    fn request(&mut self, request: &Value, file: Option<&OwnedFd>) -> io::Result<()> {
        match &mut self.monitor {
            Connection::Open(monitor) => monitor.send_request(request, file.map(AsFd::as_fd)),
            Connection::NotYet | Connection::Lost => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Hears what QEMU has to say.
    pub(super) fn listen(&mut self, requests: &mut Requests, notify: &mut dyn FnMut(&Notice)) {
        if matches!(self.monitor, Connection::NotYet) {
            let connected = Monitor::connect(&self.path).and_then(|mut monitor| {
                monitor.send("qmp_capabilities")?;
                Ok(monitor)
            });
            if let Ok(monitor) = connected {
                self.monitor = Connection::Open(monitor);
            }
        }
        if let Connection::Open(monitor) = &mut self.monitor {
            match monitor.receive() {
                Ok(messages) => {
                    for message in messages {
                        self.handle(message, requests, notify);
                    }
                }
                Err(error) => self.lost(&error, requests, notify),
            }
        }
        self.give_up(requests);
    }

    fn lost(
        &mut self,
        error: &qmp::QmpError,
        requests: &mut Requests,
        notify: &mut dyn FnMut(&Notice),
    ) {
        self.monitor = Connection::Lost;
        for waiting in std::mem::take(&mut self.waiting) {
            reply(requests, &waiting, Err(PlugError(error.to_string())));
        }
        match error {
            // Its end comes next.
            qmp::QmpError::Io(error)
                if [io::ErrorKind::UnexpectedEof, io::ErrorKind::ConnectionReset]
                    .contains(&error.kind()) => {}
            error => notify(&Notice::MonitorLost(error.to_string())),
        }
    }

    fn handle(
        &mut self,
        message: Message,
        requests: &mut Requests,
        notify: &mut dyn FnMut(&Notice),
    ) {
        match message {
            Message::Greeting(version) => {
                self.ran = true;
                notify(&Notice::Running(version));
                for addition in self.plugs.running() {
                    let begun = addition.and_then(|addition| self.add(addition, None));
                    if let Err(error) = begun {
                        notify(&Notice::Plugged(Err(error.to_string())));
                    }
                }
            }
            Message::Return(_) | Message::Refused(_) => {}
            Message::Answer(number, answer) => self.answered(number, answer, requests, notify),
            Message::Event(event) => {
                match &event {
                    Event::Panicked => self.panicked = true,
                    Event::Shutdown(reason) => self.reason = Some(reason.clone()),
                    Event::Port(id, open) if id == agent::PORT => self.agent = *open,
                    Event::Deleted(id) => self.deleted(id, requests, notify),
                    Event::NotDeleted(id) => self.not_deleted(id, requests),
                    Event::Reset | Event::Port(..) | Event::Step(_) | Event::Other(_) => {}
                }
                notify(&Notice::Event(event));
            }
        }
    }

    fn answered(
        &mut self,
        number: u64,
        mut answer: Value,
        requests: &mut Requests,
        notify: &mut dyn FnMut(&Notice),
    ) {
        let Some(position) = self.waiting.iter().position(|one| one.number == number) else {
            return;
        };
        let refused = answer.pointer("/error/desc").and_then(Value::as_str).map(str::to_owned);
        if refused.is_none()
            && let Some(Waiting { what: What::Removed(_), .. }) = self.waiting.get(position)
        {
            // Only asked: the guest has to let go of it.
            return;
        }
        let waiting = self.waiting.remove(position);
        match (&waiting.what, refused) {
            (What::Answer(id), _) => {
                if let Some(answer) = answer.as_object_mut() {
                    answer.remove("id");
                    answer.extend(id.clone().map(|id| ("id".to_owned(), id)));
                }
                if let Some(client) = waiting.client {
                    requests.say(client, &answer);
                }
            }
            (What::Added(id), refused) => {
                let result = self.plugs.added(id, refused.as_deref());
                let told = result.as_ref().map_err(PlugError::to_string).cloned();
                notify(&Notice::Plugged(told));
                reply(requests, &waiting, result);
            }
            (What::Removed(_), refused) => {
                reply(requests, &waiting, Err(PlugError(refused.unwrap_or_default())));
            }
        }
    }

    fn deleted(&mut self, id: &str, requests: &mut Requests, notify: &mut dyn FnMut(&Notice)) {
        let Some(result) = self.plugs.removed(id) else { return };
        notify(&Notice::Plugged(result.as_ref().map_err(PlugError::to_string).cloned()));
        if let Some(waiting) = self.removal(id) {
            reply(requests, &waiting, result);
        }
    }

    fn not_deleted(&mut self, id: &str, requests: &mut Requests) {
        if let Some(waiting) = self.removal(id) {
            let text = "the guest does not let go of the device".to_owned();
            reply(requests, &waiting, Err(PlugError(text)));
        }
    }

    /// Who waits for the removal of a device.
    fn removal(&mut self, id: &str) -> Option<Waiting> {
        let is_it = |one: &Waiting| matches!(&one.what, What::Removed(removed) if removed == id);
        let position = self.waiting.iter().position(is_it)?;
        Some(self.waiting.remove(position))
    }

    /// What takes too long.
    fn give_up(&mut self, requests: &mut Requests) {
        let now = Instant::now();
        let late = |one: &mut Waiting| one.until.is_some_and(|until| until <= now);
        for waiting in self.waiting.extract_if(.., late) {
            let text = "the guest has not let go of the device in time, and keeps it; when it does it goes back to the host".to_owned();
            reply(requests, &waiting, Err(PlugError(text)));
        }
    }

    /// Carries out a request, or begins to.
    pub(super) fn serve(
        &mut self,
        request: &Request,
        requests: &mut Requests,
        console: &Console,
        notify: &mut dyn FnMut(&Notice),
    ) {
        let client = request.client;
        let flag = |name| request.argument(name).and_then(Value::as_bool).unwrap_or_default();
        let device = request.argument("device").and_then(Value::as_str).unwrap_or_default();
        let begun = match request.command() {
            CONSOLE => {
                return requests.watch(client, flag("write"), flag("take"), console.recent());
            }
            _ if !self.is_open() => Err(PlugError("QEMU's monitor does not answer".to_owned())),
            ATTACH => {
                let mut log = |line: &str| {
                    requests.step(client, line);
                    notify(&Notice::Plugged(Ok(line.to_owned())));
                };
                let ready = self.plugs.prepare(device, flag("force"), &mut log);
                ready.and_then(|addition| self.add(addition, Some(client)))
            }
            DETACH => {
                let seconds = request.argument("timeout").and_then(Value::as_u64);
                let limit = seconds.map_or(UNPLUG_TIME, Duration::from_secs);
                self.plugs.id_of(device).and_then(|id| {
                    let delete = json!({ "execute": "device_del", "arguments": { "id": id } });
                    self.begin(delete, Some(client), What::Removed(id), Some(limit))
                })
            }
            _ => {
                let what = What::Answer(request.message.get("id").cloned());
                self.begin(request.message.clone(), Some(client), what, None)
            }
        };
        if let Err(error) = begun {
            requests.answer(client, Err(error.to_string()));
        }
    }

    /// Has QEMU add a device.
    fn add(&mut self, addition: Addition, client: Option<u64>) -> Result<(), PlugError> {
        let Addition { id, properties, file } = addition;
        let set = |(set, _): &(u32, OwnedFd)| json!({ "fdset-id": *set });
        if let Some((file, set)) = file.as_ref().map(|file| (&file.1, set(file))) {
            let add = json!({ "execute": "add-fd", "arguments": set });
            _ = self.request(&add, Some(file));
        }
        let add = json!({ "execute": "device_add", "arguments": properties });
        let begun = self.begin(add, client, What::Added(id.clone()), None);
        if let Some(set) = file.as_ref().map(set) {
            // The device has its own copy by then.
            _ = self.request(&json!({ "execute": "remove-fd", "arguments": set }), None);
        }
        begun.map_err(|error| match self.plugs.added(&id, Some(&error.to_string())) {
            Err(error) => error,
            Ok(_) => error,
        })
    }

    /// Sends a command whose answer is waited for.
    fn begin(
        &mut self,
        mut request: Value,
        client: Option<u64>,
        what: What,
        limit: Option<Duration>,
    ) -> Result<(), PlugError> {
        let number = self.next;
        self.next += 1;
        if let Some(request) = request.as_object_mut() {
            request.insert("id".to_owned(), number.into());
        }
        self.request(&request, None)
            .map_err(|error| PlugError(qmp::QmpError::Io(error).to_string()))?;
        let until = limit.map(|limit| Instant::now() + limit);
        self.waiting.push(Waiting { number, client, what, until });
        Ok(())
    }
}

/// Tells who waits.
fn reply(requests: &mut Requests, waiting: &Waiting, result: Result<String, PlugError>) {
    if let Some(client) = waiting.client {
        let result = result.map(Value::from).map_err(|error| error.to_string());
        requests.answer(client, result);
    }
}
