//! What QEMU writes to its standard error: passed on line by line, and the last lines kept, because
//! they say why it ended.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::process::{Child, ChildStderr};

use rustix::event::{PollFd, PollFlags};

/// How many lines are kept; the reason is among the last.
const KEPT: usize = 64;
/// A line that is longer is passed on in pieces.
const LONG: usize = 4096;

/// The standard error of a QEMU, as far as it is piped to us.
#[derive(Debug)]
pub(super) struct Stderr {
    pipe: Option<ChildStderr>,
    begun: Vec<u8>,
    kept: VecDeque<String>,
}

impl Stderr {
    /// Takes it from the child. The pipe must not block who reads it: a helper of QEMU may keep it
    /// open for longer than QEMU lives.
    pub(super) fn of(child: &mut Child) -> Self {
        let pipe = child.stderr.take().filter(|pipe| rustix::io::ioctl_fionbio(pipe, true).is_ok());
        Self { pipe, begun: Vec::new(), kept: VecDeque::new() }
    }

    /// To wait for.
    pub(super) fn poll_fd(&self) -> Option<PollFd<'_>> {
        self.pipe.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::IN))
    }

    /// Passes on what is there.
    pub(super) fn pass_on(&mut self, show: &mut dyn FnMut(&str)) {
        let mut buffer = [0; LONG];
        while let Some(pipe) = &mut self.pipe {
            match pipe.read(&mut buffer) {
                Ok(0) => {
                    self.pipe = None;
                    self.line(show);
                }
                Ok(length) => {
                    for byte in buffer.iter().take(length) {
                        match byte {
                            b'\n' => self.line(show),
                            byte => self.begun.push(*byte),
                        }
                        if self.begun.len() >= LONG {
                            self.line(show);
                        }
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => self.pipe = None,
            }
        }
    }

    fn line(&mut self, show: &mut dyn FnMut(&str)) {
        if self.begun.is_empty() {
            return;
        }
        let line = String::from_utf8_lossy(&self.begun).trim_end().to_owned();
        self.begun.clear();
        show(&line);
        if self.kept.len() == KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(line);
    }

    /// Passes on what is left of a QEMU that has ended, and gives the last lines.
    pub(super) fn end(mut self, show: &mut dyn FnMut(&str)) -> Vec<String> {
        self.pass_on(show);
        self.line(show);
        self.kept.into()
    }
}
