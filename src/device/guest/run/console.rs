//! The guest's console: QEMU's standard input and output, which are piped to us. What the guest writes is shown,
//! what is typed at our own terminal or by a command goes to it.

use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::AsFd;
use std::process::{Child, ChildStdin, ChildStdout};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::terminal::Terminal;

/// What is passed on at a time: a pipe that can be written to takes as much.
const PIECE: usize = 4096;
/// How much of what was shown a new viewer sees.
const RECENT: usize = 8192;

/// The console of a QEMU.
#[derive(Debug)]
pub(super) struct Console {
    output: Option<ChildStdout>,
    input: Option<ChildStdin>,
    /// Whether it is shown on our standard output.
    here: bool,
    /// Whether our standard output takes nothing at the moment.
    full: bool,
    terminal: Option<Terminal>,
    recent: Vec<u8>,
}

impl Console {
    /// Takes it from the child. As for standard error, reading must not block. `here` says that it is shown on
    /// our standard output; where that and standard input are our terminal, it is the guest's.
    pub(super) fn of(child: &mut Child, here: bool) -> Self {
        let output =
            child.stdout.take().filter(|pipe| rustix::io::ioctl_fionbio(pipe, true).is_ok());
        let input = child.stdin.take().filter(|pipe| rustix::io::ioctl_fionbio(pipe, true).is_ok());
        let terminal =
            if here && io::stdout().is_terminal() { Terminal::take_over() } else { None };
        Self { output, input, here, full: false, terminal, recent: Vec::new() }
    }

    /// Whether our terminal is the guest's.
    pub(super) fn has_terminal(&self) -> bool {
        self.terminal.is_some()
    }

    /// To wait for: what the guest writes, unless there is no room for that, and what is typed here.
    pub(super) fn poll_fds<'f>(
        &'f self,
        stdout: &'f io::Stdout,
        stdin: &'f io::Stdin,
    ) -> impl Iterator<Item = PollFd<'f>> {
        let output = match self.full {
            true => Some(PollFd::new(stdout, PollFlags::OUT)),
            false => self.output.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::IN)),
        };
        let keyboard = self.terminal.as_ref().map(|_| PollFd::new(stdin, PollFlags::IN));
        output.into_iter().chain(keyboard)
    }

    /// Passes on what is there, as far as it can be shown.
    pub(super) fn pass_on(&mut self, show: &mut dyn FnMut(&[u8])) {
        let mut buffer = [0; PIECE];
        while let Some(pipe) = &mut self.output {
            self.full = self.here && !is_ready(&io::stdout(), PollFlags::OUT);
            if self.full {
                return;
            }
            match pipe.read(&mut buffer) {
                Ok(0) => self.output = None,
                Ok(length) => {
                    let piece = buffer.get(..length).unwrap_or_default();
                    self.recent.extend_from_slice(piece);
                    let old = self.recent.len().saturating_sub(RECENT);
                    self.recent.drain(..old);
                    show(piece);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => self.output = None,
            }
        }
    }

    /// What the guest wrote last.
    pub(super) fn recent(&self) -> &[u8] {
        &self.recent
    }

    /// Types at the guest's console. One that does not read loses what there is no room for.
    pub(super) fn write(&mut self, bytes: &[u8]) {
        if let Some(pipe) = self.input.as_mut().filter(|_| !bytes.is_empty()) {
            _ = pipe.write(bytes);
        }
    }

    /// Passes on what is typed at our terminal; `true` when the key was pressed that ends that.
    pub(super) fn keyboard(&mut self) -> bool {
        let Some(terminal) = &mut self.terminal else { return false };
        if !is_ready(&io::stdin(), PollFlags::IN) {
            return false;
        }
        let (typed, ends, gone) = terminal.read();
        if gone {
            self.terminal = None;
        }
        self.write(&typed);
        ends
    }
}

/// Whether a descriptor can be read or written at once. One that is broken can: that is found out then.
fn is_ready(descriptor: &impl AsFd, flags: PollFlags) -> bool {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut [PollFd::new(descriptor, flags)], Some(&now)).is_ok_and(|ready| ready > 0)
}
