//! Why a device does not come into a guest, and what to do: one table for all that binds, starts,
//! lists and examines.
//!
//! | file | subject |
//! |---|---|
//! | `causes.toml` | the table: what was tried and what is seen, what that means, what to do |
//! | [`facts`] | what sysfs, procfs and the device tree show of a device |
//!
//! What is known of a failure is its step, its errno, the lines that the kernel or QEMU wrote, and
//! the facts. A line names the reason, a fact makes it likely, the errno alone is a guess.

pub mod facts;

use core::fmt;

use crate::device::bus::pci::PciDevice;
use crate::device::sys::host::Host;
use facts::{Fact, Known, Surroundings};

/// The table.
static CAUSES: &[Cause] = include!(concat!(env!("OUT_DIR"), "/causes.rs"));

/// A row of the table.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cause {
    /// Stable: `direct-regions`.
    pub id: &'static str,
    steps: &'static [Step],
    errnos: &'static [i32],
    lines: &'static [&'static str],
    fact: Option<Fact>,
    before: Option<Before>,
    /// What it is.
    pub text: &'static str,
    /// What to do about it.
    pub fix: &'static str,
}

/// What was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// vfio-pci was to take the device.
    Probe,
    /// The node of a group was opened.
    Open,
    /// A group was attached to the IOMMU.
    Attach,
    /// QEMU was started.
    Qemu,
    /// An attribute was written.
    Write,
}

/// What a fact is worth before anything is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    Refuse,
    Warn,
}

/// Why something failed, or will.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// The row of the table.
    pub cause: &'static Cause,
    /// What shows it in this case.
    pub shown_by: Option<String>,
}

impl fmt::Display for Reason {
    /// Without what to do.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.cause.text)?;
        match &self.shown_by {
            Some(shown) => write!(f, " ({shown})"),
            None => Ok(()),
        }
    }
}

impl Reason {
    /// With what to do.
    pub fn with_fix(&self) -> String {
        format!("{self}: {}", self.cause.fix)
    }

    /// The fact that the reason is, if it is one that can be seen beforehand.
    pub fn fact(&self) -> Option<Fact> {
        self.cause.fact
    }
}

/// What stands in the way of a device before anything is tried, by what can be seen of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outlook {
    /// What will fail.
    pub refused: Vec<Reason>,
    /// What may.
    pub doubtful: Vec<Reason>,
}

/// Looks at a device.
pub fn outlook(host: &Host, around: &Surroundings, device: &PciDevice) -> Outlook {
    let mut outlook = Outlook::default();
    let facts = facts::of(host, around, device);
    for cause in CAUSES {
        let Some(known) = facts.iter().find(|known| Some(known.fact) == cause.fact) else {
            continue;
        };
        let reason = Reason { cause, shown_by: Some(known.detail.clone()) };
        match cause.before {
            Some(Before::Refuse) => outlook.refused.push(reason),
            Some(Before::Warn) => outlook.doubtful.push(reason),
            None => {}
        }
    }
    outlook
}

/// What is known of a failure.
#[derive(Clone, Copy, Debug)]
pub struct Failure<'f> {
    /// What was tried.
    pub step: Step,
    /// What it returned.
    pub errno: Option<i32>,
    /// What was written meanwhile: by the kernel to its log, or by QEMU.
    pub lines: &'f [String],
    /// The facts about the devices that it is about.
    pub facts: &'f [Known],
}

impl Failure<'_> {
    /// The reason, as far as the table has one.
    pub fn reason(&self) -> Option<Reason> {
        let mut rows = CAUSES.iter().filter(|cause| cause.steps.contains(&self.step));
        let by_line = rows.clone().find_map(|cause| {
            let says = |line: &&String| cause.lines.iter().any(|pattern| matches(pattern, line));
            let line = self.lines.iter().find(says)?;
            Some(Reason { cause, shown_by: Some(format!("\"{}\"", line.trim())) })
        });
        let fits = |cause: &Cause| match self.errno {
            Some(errno) => cause.errnos.is_empty() || cause.errnos.contains(&errno),
            None => true,
        };
        let by_fact = || {
            rows.clone().filter(|cause| fits(cause)).find_map(|cause| {
                let known = self.facts.iter().find(|known| Some(known.fact) == cause.fact)?;
                Some(Reason { cause, shown_by: Some(known.detail.clone()) })
            })
        };
        let by_errno = |cause: &&Cause| {
            let nothing_else = cause.fact.is_none() && cause.lines.is_empty();
            nothing_else && self.errno.is_some() && fits(cause)
        };
        by_line
            .or_else(by_fact)
            .or_else(|| rows.find(by_errno).map(|cause| Reason { cause, shown_by: None }))
    }
}

/// Whether the pieces of a pattern, which `*` separates, stand in a line in this order.
fn matches(pattern: &str, line: &str) -> bool {
    let mut rest = line;
    pattern.split('*').map(str::trim).all(|piece| match rest.find(piece) {
        Some(at) => {
            rest = &rest[at + piece.len()..];
            true
        }
        None => false,
    })
}
