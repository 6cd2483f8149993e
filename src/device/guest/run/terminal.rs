//! Our terminal as that of a guest: every key goes to it, but one.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;

/// The key that leaves a console, Ctrl and `]`, as that of `telnet` and `virsh console`.
pub const LEAVE: u8 = 0x1d;
/// Its name.
pub const LEAVE_NAME: &str = "^]";

/// Standard input, from which every key comes at once and as it is. When it is dropped it is as it was.
#[derive(Debug)]
pub struct Terminal {
    before: libc::termios,
}

impl Terminal {
    /// Takes it over, if standard input is a terminal and this process is in front.
    pub fn take_over() -> Option<Self> {
        let descriptor = io::stdin().as_raw_fd();
        let mut before = MaybeUninit::<libc::termios>::uninit();
        // SAFETY: tcgetattr fills in all of `before` when it succeeds, and fails for what is no terminal.
        let before = unsafe {
            if libc::tcgetattr(descriptor, before.as_mut_ptr()) != 0 {
                return None;
            }
            before.assume_init()
        };
        // SAFETY: numbers alone.
        if unsafe { libc::tcgetpgrp(descriptor) != libc::getpgrp() } {
            return None;
        }
        let mut raw = before;
        // SAFETY: changes the fields of a valid termios.
        unsafe { libc::cfmakeraw(&raw mut raw) };
        // Lines that we write ourselves begin at the left.
        raw.c_oflag = before.c_oflag;
        set(&raw);
        Some(Self { before })
    }

    /// What was typed, up to the key that leaves; whether that was pressed; whether the terminal is gone.
    pub fn read(&mut self) -> (Vec<u8>, bool, bool) {
        let mut buffer = [0; 512];
        let typed = match rustix::io::read(io::stdin(), &mut buffer) {
            Ok(0) => return (Vec::new(), false, true),
            Ok(length) => buffer.get(..length).unwrap_or_default(),
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => &[],
            Err(_) => return (Vec::new(), false, true),
        };
        match typed.iter().position(|byte| *byte == LEAVE) {
            Some(end) => (typed.get(..end).unwrap_or_default().to_vec(), true, false),
            None => (typed.to_vec(), false, false),
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        set(&self.before);
    }
}

fn set(mode: &libc::termios) {
    // SAFETY: `mode` is valid; a terminal that is gone is an error, and no more.
    unsafe { libc::tcsetattr(io::stdin().as_raw_fd(), libc::TCSANOW, mode) };
}
