//! Signals that are read, so that no step is interrupted.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};

/// A signal that means something to a supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// A child ended.
    Child,
    /// Somebody wants us to end: SIGINT, SIGTERM or SIGHUP.
    Stop,
}

/// The signals of this process from now on, held back until they are read (`signalfd(2)`).
#[derive(Debug)]
pub struct Signals {
    fd: OwnedFd,
    /// Signals to end that were counted and are still to be read.
    waiting: AtomicUsize,
    /// All signals to end so far.
    stops: AtomicUsize,
}

impl Signals {
    /// Holds them back.
    ///
    /// # Errors
    /// When the process has too many files open.
    pub fn hold() -> io::Result<Self> {
        let set = set();
        // SAFETY: `set` is a valid signal set; the process has one thread, whose mask this is.
        let fd = unsafe {
            if libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) != 0 {
                return Err(io::Error::last_os_error());
            }
            libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
        };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: signalfd returned a new descriptor, which nothing else owns.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self { fd, waiting: AtomicUsize::new(0), stops: AtomicUsize::new(0) })
    }

    /// How many signals to end have arrived so far. Those that are not read yet stay to be read.
    pub fn stops(&self) -> usize {
        while let Some(signal) = self.arrived() {
            self.waiting.fetch_add(usize::from(signal == Signal::Stop), Ordering::Relaxed);
        }
        self.stops.load(Ordering::Relaxed)
    }

    /// The next one that has arrived.
    pub(crate) fn next(&self) -> Option<Signal> {
        let less = |waiting: usize| waiting.checked_sub(1);
        match self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less) {
            Ok(_) => Some(Signal::Stop),
            Err(_) => self.arrived(),
        }
    }

    fn arrived(&self) -> Option<Signal> {
        let mut info = std::mem::MaybeUninit::<libc::signalfd_siginfo>::zeroed();
        let size = size_of::<libc::signalfd_siginfo>();
        // SAFETY: `info` has `size` bytes, and zeros are a valid value of it.
        let (read, info) = unsafe {
            let read = libc::read(self.fd.as_raw_fd(), info.as_mut_ptr().cast(), size);
            (read, info.assume_init())
        };
        if usize::try_from(read) != Ok(size) {
            return None;
        }
        Some(match info.ssi_signo as libc::c_int {
            libc::SIGCHLD => Signal::Child,
            _ => {
                self.stops.fetch_add(1, Ordering::Relaxed);
                Signal::Stop
            }
        })
    }

    /// Whether a signal to end has arrived; all others that have are dropped.
    pub(crate) fn stop_wanted(&self) -> bool {
        std::iter::from_fn(|| self.next()).any(|signal| signal == Signal::Stop)
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// For a child: lets them through again.
pub(super) fn release() -> io::Result<()> {
    let set = set();
    // SAFETY: as in `hold`.
    match unsafe { libc::sigprocmask(libc::SIG_UNBLOCK, &raw const set, std::ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn set() -> libc::sigset_t {
    let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset makes it a valid, empty set; sigaddset then only knows valid numbers.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for signal in [libc::SIGCHLD, libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
            // What `nohup` has it ignore stays ignored: held back it would arrive here.
            let mut old = std::mem::zeroed::<libc::sigaction>();
            let known = libc::sigaction(signal, std::ptr::null(), &raw mut old) == 0;
            if signal != libc::SIGHUP || !known || old.sa_sigaction != libc::SIG_IGN {
                libc::sigaddset(set.as_mut_ptr(), signal);
            }
        }
        set.assume_init()
    }
}
