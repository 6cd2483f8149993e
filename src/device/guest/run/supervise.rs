//! Stays with QEMU from its start to its end.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal as KillSignal};

use super::console::Console;
use super::signals::{Signal, Signals};
use super::stderr::Stderr;
use crate::device::guest::file::Shutdown;
use crate::device::guest::qemu::qmp::{self, Message, Monitor, ShutdownCause};

/// How often a monitor that does not listen yet is tried again, and how often a QEMU that closed
/// it is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// What happens while a guest runs.
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
}

/// How a guest ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestExit {
    /// QEMU's own result.
    pub status: ExitStatus,
    /// Whether QEMU got so far that the guest ran.
    pub ran: bool,
    /// Whether the guest's kernel panicked.
    pub panicked: bool,
    /// Why it was shut down, as far as QEMU said.
    pub reason: Option<ShutdownCause>,
    /// How far we had to go to end it; `None` when it ended by itself.
    pub escalation: Option<Escalation>,
    /// The last lines that QEMU wrote to its standard error.
    pub said: Vec<String>,
}

/// How long a killed QEMU may take to go before it is checked and killed again.
const AFTER_KILL: Duration = Duration::from_secs(1);

/// How hard a guest is made to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Escalation {
    /// It was asked: `system_powerdown`, the power button.
    PowerDown,
    /// QEMU was asked: `quit`.
    Quit,
    /// QEMU was killed.
    Kill,
}

impl GuestExit {
    /// The result for a shell: QEMU's own, 128 and the signal when one ended it; 1 for a guest
    /// that panicked and for one that had to be ended by force.
    pub fn code(&self) -> i32 {
        let hard = self.escalation.is_some_and(|escalation| escalation > Escalation::PowerDown);
        if self.panicked || hard {
            return 1;
        }
        let signal = self.status.signal().map(|signal| 128 + signal);
        self.status.code().or(signal).unwrap_or(2)
    }
}

impl std::fmt::Display for GuestExit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.escalation, &self.reason) {
            (Some(Escalation::Kill), _) => return f.write_str("QEMU had to be killed"),
            (Some(Escalation::Quit), _) => {
                return f.write_str("the guest did not power down, QEMU had to quit");
            }
            _ if self.panicked => return f.write_str("the guest panicked"),
            (_, Some(ShutdownCause::GuestPanic)) => return f.write_str("the guest panicked"),
            (_, Some(ShutdownCause::GuestReset)) => f.write_str("the guest asked for a reset")?,
            (_, Some(ShutdownCause::GuestShutdown)) => f.write_str("the guest powered down")?,
            (_, Some(ShutdownCause::HostQuit)) => f.write_str("QEMU was asked to quit")?,
            (_, Some(ShutdownCause::HostSignal)) => f.write_str("a signal ended QEMU")?,
            _ if !self.ran => f.write_str("QEMU ended before the guest ran")?,
            _ => f.write_str("QEMU ended")?,
        }
        match (self.status.code(), self.status.signal()) {
            (Some(0), _) => Ok(()),
            (Some(code), _) => write!(f, ", with status {code}"),
            (None, Some(signal)) => write!(f, ", by signal {signal}"),
            (None, None) => Ok(()),
        }
    }
}

/// Stays with QEMU until it has ended. `monitor` is the path of its QMP socket.
///
/// A `Signal::Stop` begins to end it: the guest is asked, after `shutdown.timeout` QEMU is
/// asked, after `shutdown.quit_timeout` it is killed. Another one starts the next of these at
/// once.
///
/// # Errors
/// When waiting itself fails. QEMU has been killed then.
pub fn supervise(
    mut child: Child,
    monitor: &Path,
    shutdown: &Shutdown,
    signals: &Signals,
    notify: &mut dyn FnMut(&Notice),
) -> io::Result<GuestExit> {
    let (mut stderr, mut console) = (Stderr::of(&mut child), Console::of(&mut child));
    let mut guest = Supervision {
        pid: Pid::from_child(&child),
        path: monitor,
        shutdown,
        monitor: Connection::NotYet,
        ran: false,
        panicked: false,
        reason: None,
        escalation: None,
        deadline: None,
    };
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) => {}
            Err(error) => {
                _ = child.kill();
                _ = child.wait();
                return Err(error);
            }
        }
        guest.wait(signals, [stderr.poll_fd(), console.poll_fd()]);
        stderr.pass_on(&mut |line| notify(&Notice::Said(line.to_owned())));
        console.pass_on(&mut |bytes| notify(&Notice::Console(bytes.to_owned())));
        while let Some(signal) = signals.next() {
            if signal == Signal::Stop {
                guest.escalate(notify);
            }
        }
        if guest.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            guest.escalate(notify);
        }
        guest.listen(notify);
    };
    // What it said last.
    console.pass_on(&mut |bytes| notify(&Notice::Console(bytes.to_owned())));
    let said = stderr.end(&mut |line| notify(&Notice::Said(line.to_owned())));
    guest.listen(notify);
    let Supervision { ran, panicked, reason, escalation, .. } = guest;
    let panicked = panicked || reason == Some(ShutdownCause::GuestPanic);
    Ok(GuestExit { status, ran, panicked, reason, escalation, said })
}

enum Connection {
    /// QEMU has not made the socket.
    NotYet,
    Open(Monitor),
    Lost,
}

struct Supervision<'a> {
    pid: Pid,
    path: &'a Path,
    shutdown: &'a Shutdown,
    monitor: Connection,
    ran: bool,
    panicked: bool,
    reason: Option<ShutdownCause>,
    escalation: Option<Escalation>,
    /// When to go on to the next escalation.
    deadline: Option<Instant>,
}

impl Supervision<'_> {
    /// Waits for a signal, a message, or the time for something.
    fn wait<'f>(&'f self, signals: &'f Signals, pipes: [Option<PollFd<'f>>; 2]) {
        let left = self.deadline.map(|at| at.saturating_duration_since(Instant::now()));
        let look = !matches!(self.monitor, Connection::Open(_));
        let limit = left.into_iter().chain(look.then_some(POLL_INTERVAL)).min();
        let limit = limit.and_then(|limit| Timespec::try_from(limit).ok());
        let mut fds = vec![PollFd::new(signals, PollFlags::IN)];
        fds.extend(pipes.into_iter().flatten());
        if let Connection::Open(monitor) = &self.monitor {
            fds.push(PollFd::new(monitor, PollFlags::IN));
        }
        // Whatever it says: all that could have happened is looked at next.
        _ = poll(&mut fds, limit.as_ref());
    }

    fn listen(&mut self, notify: &mut dyn FnMut(&Notice)) {
        if matches!(self.monitor, Connection::NotYet) {
            let connected = Monitor::connect(self.path).and_then(|mut monitor| {
                monitor.send("qmp_capabilities")?;
                Ok(monitor)
            });
            if let Ok(monitor) = connected {
                self.monitor = Connection::Open(monitor);
            }
        }
        let Connection::Open(monitor) = &mut self.monitor else { return };
        match monitor.receive() {
            Ok(messages) => messages.into_iter().for_each(|message| self.handle(message, notify)),
            Err(qmp::QmpError::Io(error))
                if [io::ErrorKind::UnexpectedEof, io::ErrorKind::ConnectionReset]
                    .contains(&error.kind()) =>
            {
                // Its end comes next.
                self.monitor = Connection::Lost;
            }
            Err(error) => {
                self.monitor = Connection::Lost;
                notify(&Notice::MonitorLost(error.to_string()));
            }
        }
    }

    fn handle(&mut self, message: Message, notify: &mut dyn FnMut(&Notice)) {
        match message {
            Message::Greeting(version) => {
                self.ran = true;
                notify(&Notice::Running(version));
            }
            Message::Return(_) | Message::Refused(_) => {}
            Message::Event(event) => {
                match &event {
                    qmp::Event::Panicked => self.panicked = true,
                    qmp::Event::Shutdown(reason) => self.reason = Some(reason.clone()),
                    qmp::Event::Reset | qmp::Event::Other(_) => {}
                }
                notify(&Notice::Event(event));
            }
        }
    }

    fn escalate(&mut self, notify: &mut dyn FnMut(&Notice)) {
        let (powerdown, quit) = (
            Duration::from_secs(self.shutdown.timeout.into()),
            Duration::from_secs(self.shutdown.quit_timeout.into()),
        );
        if self.escalation.is_none() && self.send("system_powerdown") {
            notify(&Notice::PoweringDown(powerdown));
            self.deadline = Some(Instant::now() + powerdown);
            self.escalation = Some(Escalation::PowerDown);
            return;
        }
        let next = match self.escalation {
            None | Some(Escalation::PowerDown) => {
                notify(&Notice::Quitting(quit));
                if !self.send("quit") {
                    _ = rustix::process::kill_process(self.pid, KillSignal::TERM);
                }
                self.deadline = Some(Instant::now() + quit);
                Escalation::Quit
            }
            Some(Escalation::Quit | Escalation::Kill) => {
                if self.escalation != Some(Escalation::Kill) {
                    notify(&Notice::Killing);
                }
                _ = rustix::process::kill_process(self.pid, KillSignal::KILL);
                // Its end is checked for again even when its signal is lost.
                self.deadline = Some(Instant::now() + AFTER_KILL);
                Escalation::Kill
            }
        };
        self.escalation = Some(next);
    }

    /// Whether the monitor took a command.
    fn send(&mut self, command: &str) -> bool {
        match &mut self.monitor {
            Connection::Open(monitor) => monitor.send(command).is_ok(),
            Connection::NotYet | Connection::Lost => false,
        }
    }
}
