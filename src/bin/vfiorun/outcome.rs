//! How a subcommand ends.

use std::error::Error;
use std::ffi::c_int;
use std::io;

use vfioboot::device::sys::kvm::KvmError;

use crate::output::{self, OutputError};

/// How a subcommand that did not fail ended.
pub enum Answer {
    /// Done, or yes.
    Yes,
    /// A negative answer.
    No,
    /// The exit status of the program that it ran.
    Status(c_int),
}

/// The result of a subcommand. The reason of a failure goes to standard error.
pub type Outcome = Result<Answer, Failure>;

/// Why a subcommand failed.
pub struct Failure {
    text: String,
    cause: Cause,
}

/// What lies at the bottom of a failure, as far as that changes what is said about it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// Whoever reads our output has read enough: nothing is said.
    ClosedPipe,
    /// The kernel denies it to this user.
    NotPermitted,
    /// Anything else.
    Other,
}

impl Failure {
    /// A failure of the subcommand itself.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), cause: Cause::Other }
    }

    /// Says why on standard error; the result is the exit status.
    pub fn report(&self) -> c_int {
        match self.cause {
            Cause::ClosedPipe => {}
            Cause::NotPermitted if !rustix::process::geteuid().is_root() => {
                output::complain(&format!("{}: this needs root (sudo, su -c)", self.text));
            }
            Cause::NotPermitted | Cause::Other => output::complain(&self.text),
        }
        2
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl<E: Error + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self { text: error.to_string(), cause: cause(&error) }
    }
}

/// Looks for the cause along the sources of an error.
fn cause(error: &(dyn Error + 'static)) -> Cause {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(OutputError(error)) = error.downcast_ref() {
            return match error.kind() {
                io::ErrorKind::BrokenPipe => Cause::ClosedPipe,
                _ => Cause::Other,
            };
        }
        // It names a remedy of its own.
        if error.is::<KvmError>() {
            return Cause::Other;
        }
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return match error.kind() {
                io::ErrorKind::PermissionDenied => Cause::NotPermitted,
                _ => Cause::Other,
            };
        }
        next = error.source();
    }
    Cause::Other
}
