//! What the guest writes to its console, where that does not go to our standard output by itself.

use std::io::{self, Read};
use std::process::{Child, ChildStdout};

use rustix::event::{PollFd, PollFlags};

/// What is passed on at a time.
const PIECE: usize = 4096;

/// The standard output of a QEMU, as far as it is piped to us.
#[derive(Debug)]
pub(super) struct Console(Option<ChildStdout>);

impl Console {
    /// Takes it from the child. As for standard error, reading must not block.
    pub(super) fn of(child: &mut Child) -> Self {
        Self(child.stdout.take().filter(|pipe| rustix::io::ioctl_fionbio(pipe, true).is_ok()))
    }

    /// To wait for.
    pub(super) fn poll_fd(&self) -> Option<PollFd<'_>> {
        self.0.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::IN))
    }

    /// Passes on what is there.
    pub(super) fn pass_on(&mut self, show: &mut dyn FnMut(&[u8])) {
        let mut buffer = [0; PIECE];
        while let Some(pipe) = &mut self.0 {
            match pipe.read(&mut buffer) {
                Ok(0) => self.0 = None,
                Ok(length) => show(buffer.get(..length).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => self.0 = None,
            }
        }
    }
}
