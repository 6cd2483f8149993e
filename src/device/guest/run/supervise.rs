//! Stays with QEMU from its start to its end.

use std::io;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal as KillSignal, kill_process};

use super::console::Console;
pub use super::notice::Notice;
use super::requests::Requests;
use super::session::{Plugs, Session};
use super::signals::{Signal, Signals};
use super::stderr::Stderr;
use super::terminal::LEAVE_NAME;
use crate::device::guest::file::Shutdown;
use crate::device::guest::qemu::agent::{self, AGENT};
use crate::device::guest::qemu::qmp::ShutdownCause;

/// How often a monitor that does not listen yet is tried again, and how often a QEMU that closed
/// it is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// How long a guest agent has to shut the guest down, until the power button is pressed as well; at most half
/// of the time that the guest has.
const AGENT_TIME: Duration = Duration::from_secs(15);

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

/// What a guest is supervised with.
pub struct Supervised<'a> {
    /// Its directory, with the sockets.
    pub directory: &'a Path,
    /// How it is ended.
    pub shutdown: &'a Shutdown,
    /// The signals that end it.
    pub signals: &'a Signals,
    /// What is given to it while it runs.
    pub plugs: &'a mut dyn Plugs,
    /// Whether its console is shown on our standard output.
    pub here: bool,
}

/// Stays with QEMU until it has ended.
///
/// A `Signal::Stop` begins to end it: the guest is asked, after `shutdown.timeout` QEMU is
/// asked, after `shutdown.quit_timeout` it is killed. Another one starts the next of these at
/// once.
///
/// # Errors
/// When waiting itself fails. QEMU has been killed then.
pub fn supervise(
    mut child: Child,
    guest: Supervised<'_>,
    notify: &mut dyn FnMut(&Notice),
) -> io::Result<GuestExit> {
    let Supervised { directory, shutdown, signals, plugs, here } = guest;
    let mut stderr = Stderr::of(&mut child);
    let mut console = Console::of(&mut child, here);
    let mut requests = Requests::listen(directory);
    let mut session = Session::new(directory, plugs);
    let mut ending = Ending {
        pid: Pid::from_child(&child),
        directory,
        shutdown,
        escalation: None,
        deadline: None,
        button: None,
        agent: None,
    };
    if console.has_terminal() {
        notify(&Notice::Terminal(LEAVE_NAME));
    }
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
        wait(signals, &stderr, &console, &requests, &session, &ending);
        stderr.pass_on(&mut |line| notify(&Notice::Said(line.to_owned())));
        show(&mut console, &mut requests, notify);
        if console.keyboard() {
            // As if it were Ctrl-C, for whoever counts the signals.
            _ = kill_process(rustix::process::getpid(), KillSignal::INT);
        }
        while let Some(signal) = signals.next() {
            if signal == Signal::Stop {
                ending.escalate(&mut session, notify);
            }
        }
        ending.go_on(&mut session, notify);
        session.listen(&mut requests, notify);
        for request in requests.arrived(&mut console) {
            session.serve(&request, &mut requests, &console, notify);
        }
    };
    // What it said last.
    show(&mut console, &mut requests, notify);
    let said = stderr.end(&mut |line| notify(&Notice::Said(line.to_owned())));
    session.listen(&mut requests, notify);
    let Session { ran, panicked, reason, .. } = session;
    let panicked = panicked || reason == Some(ShutdownCause::GuestPanic);
    Ok(GuestExit { status, ran, panicked, reason, escalation: ending.escalation, said })
}

/// Shows what the guest has written.
fn show(console: &mut Console, requests: &mut Requests, notify: &mut dyn FnMut(&Notice)) {
    console.pass_on(&mut |bytes| {
        requests.show(bytes);
        notify(&Notice::Console(bytes.to_owned()));
    });
}

/// Waits for a signal, a message, a request, or the time for something.
fn wait(
    signals: &Signals,
    stderr: &Stderr,
    console: &Console,
    requests: &Requests,
    session: &Session<'_>,
    ending: &Ending<'_>,
) {
    let times = [ending.deadline, ending.button, session.deadline()].into_iter().flatten();
    let left = times.map(|at| at.saturating_duration_since(Instant::now()));
    let look = session.poll_fd().is_none().then_some(POLL_INTERVAL);
    let limit = left.chain(look).min();
    let limit = limit.and_then(|limit| Timespec::try_from(limit).ok());
    let (stdout, stdin) = (io::stdout(), io::stdin());
    let mut fds = vec![PollFd::new(signals, PollFlags::IN)];
    fds.extend(console.poll_fds(&stdout, &stdin));
    fds.extend(stderr.poll_fd().into_iter().chain(session.poll_fd()));
    fds.extend(requests.poll_fds());
    // Whatever it says: all that could have happened is looked at next.
    _ = poll(&mut fds, limit.as_ref());
}

/// How a guest is being ended.
struct Ending<'a> {
    pid: Pid,
    directory: &'a Path,
    shutdown: &'a Shutdown,
    escalation: Option<Escalation>,
    /// When to go on to the next escalation.
    deadline: Option<Instant>,
    /// When to press the power button of a guest whose agent was asked.
    button: Option<Instant>,
    /// The connection on which the agent was asked.
    agent: Option<UnixStream>,
}

impl Ending<'_> {
    /// What is due.
    fn go_on(&mut self, session: &mut Session<'_>, notify: &mut dyn FnMut(&Notice)) {
        let now = Instant::now();
        if self.button.is_some_and(|button| button <= now) {
            self.button = None;
            session.send("system_powerdown");
        }
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            self.escalate(session, notify);
        }
    }

    /// Asks the guest to power down: by its agent where one listens, by the power button otherwise.
    fn ask_guest(&mut self, session: &mut Session<'_>, time: Duration) -> bool {
        if session.agent && session.is_open() {
            self.agent = agent::shut_down(&self.directory.join(AGENT)).ok();
        }
        if self.agent.is_none() {
            return session.send("system_powerdown");
        }
        self.button = Some(Instant::now() + AGENT_TIME.min(time / 2));
        true
    }

    fn escalate(&mut self, session: &mut Session<'_>, notify: &mut dyn FnMut(&Notice)) {
        let (powerdown, quit) = (
            Duration::from_secs(self.shutdown.timeout.into()),
            Duration::from_secs(self.shutdown.quit_timeout.into()),
        );
        if self.escalation.is_none() && self.ask_guest(session, powerdown) {
            notify(&Notice::PoweringDown(powerdown));
            self.deadline = Some(Instant::now() + powerdown);
            self.escalation = Some(Escalation::PowerDown);
            return;
        }
        self.button = None;
        let next = match self.escalation {
            None | Some(Escalation::PowerDown) => {
                notify(&Notice::Quitting(quit));
                if !session.send("quit") {
                    _ = kill_process(self.pid, KillSignal::TERM);
                }
                self.deadline = Some(Instant::now() + quit);
                Escalation::Quit
            }
            Some(Escalation::Quit | Escalation::Kill) => {
                if self.escalation != Some(Escalation::Kill) {
                    notify(&Notice::Killing);
                }
                _ = kill_process(self.pid, KillSignal::KILL);
                // Its end is checked for again even when its signal is lost.
                self.deadline = Some(Instant::now() + AFTER_KILL);
                Escalation::Kill
            }
        };
        self.escalation = Some(next);
    }
}
