//! What PID 1 says in the kernel log. `vfiorun` writes these lines, `vfioboot boot-test` reads them.

use core::fmt;

/// What every line begins with.
pub const TAG: &str = "vfioboot: ";

/// One line, without [`TAG`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'m> {
    /// PID 1 begins its work.
    Starts {
        /// The version of vfiorun.
        version: &'m str,
    },
    /// PID 1 leaves everything as it is.
    Idle {
        /// The version of vfiorun.
        version: &'m str,
        /// Why.
        reason: &'m str,
    },
    /// The work is done.
    Done {
        /// Since PID 1 was started, in milliseconds.
        ms: u128,
        /// Devices on vfio-pci.
        bound: usize,
        /// Everything that did not work.
        problems: usize,
    },
    /// PID 1 becomes another program.
    Next {
        /// Its path.
        program: &'m str,
    },
    /// It could not.
    NotExecuted {
        /// The path of the program.
        program: &'m str,
        /// Why.
        why: &'m str,
    },
    /// What was done with a device or a module.
    Step(&'m str),
}

const STARTS: &str = " starts";
const IDLE: &str = ": doing nothing: ";
const NEXT: &str = "next program: ";
const NOT_EXECUTED: &str = ": not executed: ";

impl fmt::Display for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Message::Starts { version } => write!(f, "{version}{STARTS}"),
            Message::Idle { version, reason } => write!(f, "{version}{IDLE}{reason}"),
            Message::Done { ms, bound, problems } => {
                write!(f, "done in {ms} ms: {bound} on vfio-pci, {problems} problems")
            }
            Message::Next { program } => write!(f, "{NEXT}{program}"),
            Message::NotExecuted { program, why } => write!(f, "{program}{NOT_EXECUTED}{why}"),
            Message::Step(text) => f.write_str(text),
        }
    }
}

#[cfg(feature = "desktop")]
impl<'m> Message<'m> {
    /// Read a line, without [`TAG`].
    pub fn parse(text: &'m str) -> Self {
        if let Some(program) = text.strip_prefix(NEXT) {
            return Message::Next { program };
        }
        if let Some((program, why)) = text.split_once(NOT_EXECUTED) {
            return Message::NotExecuted { program, why };
        }
        if let Some((version, reason)) = text.split_once(IDLE) {
            return Message::Idle { version, reason };
        }
        match text.strip_suffix(STARTS) {
            Some(version) if !version.contains(' ') => Message::Starts { version },
            _ => Message::done(text).unwrap_or(Message::Step(text)),
        }
    }

    fn done(text: &str) -> Option<Self> {
        let (ms, rest) = text.strip_prefix("done in ")?.split_once(" ms: ")?;
        let (bound, rest) = rest.split_once(" on vfio-pci, ")?;
        let problems = rest.strip_suffix(" problems")?;
        let (ms, bound) = (ms.parse().ok()?, bound.parse().ok()?);
        Some(Message::Done { ms, bound, problems: problems.parse().ok()? })
    }
}

#[cfg(all(test, feature = "desktop"))]
mod tests {
    use super::Message;

    #[test]
    fn what_is_written_is_read() {
        let all = [
            Message::Starts { version: "0.1.0" },
            Message::Idle { version: "0.1.0", reason: "vfioboot.disable on the command line" },
            Message::Done { ms: 152, bound: 2, problems: 1 },
            Message::Next { program: "/init" },
            Message::NotExecuted { program: "/init", why: "ENOENT" },
            Message::Step("0000:00:02.0 (1b36:0010): was on nvme, IOMMU group 0"),
            Message::Step("done in a hurry"),
        ];
        for message in all {
            assert_eq!(Message::parse(&message.to_string()), message);
        }
    }
}
