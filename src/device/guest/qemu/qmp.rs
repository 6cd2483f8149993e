//! QMP, the monitor of QEMU: lines of JSON on a Unix socket (QEMU's `docs/interop/qmp-spec.rst`).

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use serde_json::{Value, json};

/// The event by which a supervisor says what it does, to who asked for it.
pub(crate) const STEP: &str = "VFIORUN_STEP";

/// The longest message that is read, in bytes. Those that we ask for have some hundreds.
const MESSAGE_LIMIT: usize = 1 << 20;

/// A message from QEMU.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// The first one: QEMU's version, `7.2.0`.
    Greeting(String),
    /// The answer to a command.
    Return(Value),
    /// The refusal of a command: what QEMU says about it.
    Refused(String),
    /// The answer to the command of this number (its `id`), as it came.
    Answer(u64, Value),
    /// Something happened.
    Event(Event),
}

/// Something that happened to the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// It is being reset.
    Reset,
    /// It has been shut down.
    Shutdown(ShutdownCause),
    /// Its kernel reported a panic (pvpanic).
    Panicked,
    /// A device was taken out; its id.
    Deleted(String),
    /// The guest does not let go of a device; its id.
    NotDeleted(String),
    /// A program in the guest opened or closed a serial port: its id, and whether it is open.
    Port(String, bool),
    /// A step of what a supervisor was asked for.
    Step(String),
    /// Any other.
    Other(String),
}

/// Why a guest was shut down (QEMU's `ShutdownCause`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShutdownCause {
    /// It powered down.
    GuestShutdown,
    /// It asked for a reset, and QEMU was started not to do one.
    GuestReset,
    /// It panicked.
    GuestPanic,
    /// `quit` of the monitor.
    HostQuit,
    /// A signal to QEMU.
    HostSignal,
    /// Any other, as QEMU calls it; empty when it does not say.
    Other(String),
}

impl ShutdownCause {
    fn new(name: &str) -> Self {
        match name {
            "guest-shutdown" => Self::GuestShutdown,
            "guest-reset" => Self::GuestReset,
            "guest-panic" => Self::GuestPanic,
            "host-qmp-quit" => Self::HostQuit,
            "host-signal" => Self::HostSignal,
            other => Self::Other(other.to_owned()),
        }
    }

    /// QEMU's name for it.
    pub fn name(&self) -> &str {
        match self {
            Self::GuestShutdown => "guest-shutdown",
            Self::GuestReset => "guest-reset",
            Self::GuestPanic => "guest-panic",
            Self::HostQuit => "host-qmp-quit",
            Self::HostSignal => "host-signal",
            Self::Other(name) => name,
        }
    }
}

/// A monitor that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum QmpError {
    /// The socket failed, or QEMU closed it.
    #[error("QEMU's monitor: {0}")]
    Io(#[from] io::Error),
    /// What came is not QMP.
    #[error("QEMU's monitor: \"{0}\" is not a QMP message")]
    Message(String),
    /// It does not answer.
    #[error("QEMU's monitor does not answer within {} s", .0.as_secs())]
    Timeout(Duration),
    /// QEMU refuses a command.
    #[error("QEMU refuses {command}: {reason}")]
    Refused {
        /// The command.
        command: String,
        /// What QEMU says about it.
        reason: String,
    },
}

/// The message in one line. `None` for JSON that is not QMP.
pub fn parse(line: &[u8]) -> Option<Message> {
    let value: Value = serde_json::from_slice(line).ok()?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    if let Some(version) = value.pointer("/QMP/version/qemu") {
        let part = |name: &str| version.get(name).and_then(Value::as_u64).unwrap_or(0);
        let version = format!("{}.{}.{}", part("major"), part("minor"), part("micro"));
        return Some(Message::Greeting(version));
    }
    if let Some(number) = value.get("id").and_then(Value::as_u64) {
        return Some(Message::Answer(number, value));
    }
    if let Some(answer) = value.get("return") {
        return Some(Message::Return(answer.clone()));
    }
    if let Some(error) = value.get("error") {
        return Some(Message::Refused(text(error.get("desc")?)));
    }
    let data = |name: &str| value.get("data").and_then(|data| data.get(name));
    let named = |name: &str| data(name).map(text).unwrap_or_default();
    Some(Message::Event(match value.get("event")?.as_str()? {
        "RESET" => Event::Reset,
        "SHUTDOWN" => Event::Shutdown(ShutdownCause::new(&named("reason"))),
        "GUEST_PANICKED" => Event::Panicked,
        "DEVICE_DELETED" => Event::Deleted(named("device")),
        "DEVICE_UNPLUG_GUEST_ERROR" => Event::NotDeleted(named("device")),
        "VSERPORT_CHANGE" => {
            Event::Port(named("id"), data("open").and_then(Value::as_bool).unwrap_or_default())
        }
        STEP => Event::Step(named("text")),
        other => Event::Other(other.to_owned()),
    }))
}

/// A connection to the monitor. It never blocks.
#[derive(Debug)]
pub(crate) struct Monitor {
    stream: UnixStream,
    received: Vec<u8>,
    /// What came together with an answer, after it.
    waiting: Vec<Message>,
}

impl Monitor {
    /// Connects to the monitor at `path`.
    ///
    /// # Errors
    /// When QEMU does not listen there (yet).
    pub(crate) fn connect(path: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(path)?;
        stream.set_nonblocking(true)?;
        Ok(Self { stream, received: Vec::new(), waiting: Vec::new() })
    }

    /// Sends a command without arguments. Its answer comes as a [`Message::Return`].
    ///
    /// # Errors
    /// When QEMU is gone.
    pub(crate) fn send(&mut self, command: &str) -> io::Result<()> {
        self.send_request(&json!({ "execute": command }), None)
    }

    /// Sends a command, with an open file if it is about one. With an `id`, which is a number, its answer
    /// comes as a [`Message::Answer`].
    ///
    /// # Errors
    /// When QEMU is gone.
    pub(crate) fn send_request(
        &mut self,
        request: &Value,
        file: Option<BorrowedFd<'_>>,
    ) -> io::Result<()> {
        // Smaller than a socket's buffer, so it is taken whole.
        let line = format!("{request}\n");
        let Some(file) = file else { return self.stream.write_all(line.as_bytes()) };
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut message = SendAncillaryBuffer::new(&mut space);
        let files = [file];
        message.push(SendAncillaryMessage::ScmRights(&files));
        let parts = [IoSlice::new(line.as_bytes())];
        rustix::net::sendmsg(&self.stream, &parts, &mut message, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// The messages that have arrived.
    ///
    /// # Errors
    /// When QEMU closed the connection ([`ErrorKind::UnexpectedEof`]), or sends what is not QMP.
    pub(crate) fn receive(&mut self) -> Result<Vec<Message>, QmpError> {
        if !self.waiting.is_empty() {
            return Ok(std::mem::take(&mut self.waiting));
        }
        let mut buffer = [0; 4096];
        let end = loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => break Some(ErrorKind::UnexpectedEof.into()),
                Ok(n) => self.received.extend_from_slice(&buffer[..n]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break None,
                Err(error) => break Some(error),
            }
            if self.received.len() > MESSAGE_LIMIT {
                return Err(QmpError::Message(format!("{MESSAGE_LIMIT} bytes without an end")));
            }
        };
        let mut messages = Vec::new();
        while let Some(end) = self.received.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.received.drain(..=end).collect();
            match parse(&line) {
                Some(message) => messages.push(message),
                None => {
                    let text = String::from_utf8_lossy(&line);
                    return Err(QmpError::Message(text.trim_end().chars().take(80).collect()));
                }
            }
        }
        match end {
            // What came before the end is not lost.
            Some(error) if messages.is_empty() => Err(QmpError::Io(error)),
            _ => Ok(messages),
        }
    }

    /// Waits for the next [`Message::Return`], and passes over events; `told` hears the steps of a supervisor.
    ///
    /// # Errors
    /// When none comes within `limit`, or QEMU refuses `command`.
    pub(crate) fn answer(
        &mut self,
        command: &str,
        limit: Duration,
        told: &mut dyn FnMut(&str),
    ) -> Result<Value, QmpError> {
        let started = Instant::now();
        while let Some(left) = limit.checked_sub(started.elapsed()) {
            if self.waiting.is_empty() {
                wait(self.stream.as_fd(), left)?;
            }
            let mut messages = self.receive()?.into_iter();
            while let Some(message) = messages.next() {
                match message {
                    Message::Return(value) => {
                        self.waiting = messages.collect();
                        return Ok(value);
                    }
                    Message::Refused(reason) => {
                        self.waiting = messages.collect();
                        return Err(QmpError::Refused { command: command.to_owned(), reason });
                    }
                    Message::Event(Event::Step(text)) => told(&text),
                    Message::Greeting(_) | Message::Event(_) | Message::Answer(..) => {}
                }
            }
        }
        Err(QmpError::Timeout(limit))
    }

    /// Sends a command without arguments and waits for its answer.
    ///
    /// # Errors
    /// As [`answer`](Self::answer).
    pub(crate) fn ask(&mut self, command: &str, limit: Duration) -> Result<Value, QmpError> {
        self.send(command)?;
        self.answer(command, limit, &mut |_| {})
    }
}

impl AsFd for Monitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

fn wait(fd: BorrowedFd<'_>, limit: Duration) -> io::Result<()> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let limit = Timespec::try_from(limit).map_err(io::Error::other)?;
    match poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&limit)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Asks the monitor at `path` what the guest is doing: `running`, `paused`, `shutdown`
/// (QEMU's `RunState`).
///
/// # Errors
/// When no answer comes within `limit`.
pub fn status(path: &Path, limit: Duration) -> Result<String, QmpError> {
    let mut monitor = Monitor::connect(path)?;
    monitor.ask("qmp_capabilities", limit)?;
    let answer = monitor.ask("query-status", limit)?;
    let status = answer.get("status").and_then(Value::as_str);
    status.map(str::to_owned).ok_or_else(|| QmpError::Message(answer.to_string()))
}
