//! The kernel's log on the serial line, as events.

use serde::Serialize;

use crate::bootlog::{Message, TAG};

/// A line of the log that matters.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Line {
    /// Seconds since the kernel was started, by its own clock.
    pub seconds: Option<f64>,
    /// What it says.
    #[serde(flatten)]
    pub event: Event,
}

/// What a line says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event", content = "text", rename_all = "snake_case")]
pub enum Event {
    /// The kernel's first line.
    Kernel(String),
    /// The kernel has booted: it gives back the memory of its start. Kernels before 4.20 say no more.
    Booted(String),
    /// The kernel starts the first program.
    FirstProgram(String),
    /// The kernel could not start a program.
    NotStarted(String),
    /// A line of vfiorun.
    Vfioboot(String),
    /// The kernel has given up.
    Panic(String),
}

/// `run_init_process` in `init/main.c`.
const RUN: (&str, &str) = ("Run ", " as init process");

impl Line {
    /// Read a line; None if it says nothing of what matters.
    pub(super) fn read(text: &str) -> Option<Self> {
        let text = text.trim_end_matches(['\r', '\n']);
        let (seconds, rest) = time(text);
        let rest = rest.trim_start();
        let event = if let Some(own) = rest.strip_prefix(TAG) {
            Event::Vfioboot(own.to_owned())
        } else if rest.starts_with("Linux version ") {
            Event::Kernel(rest.to_owned())
        } else if rest.starts_with("Freeing unused kernel ") {
            Event::Booted(rest.to_owned())
        } else if let Some(program) =
            rest.strip_prefix(RUN.0).and_then(|rest| rest.strip_suffix(RUN.1))
        {
            Event::FirstProgram(program.to_owned())
        } else if rest.starts_with("Failed to execute ") || rest.starts_with("Starting init: ") {
            Event::NotStarted(rest.to_owned())
        } else {
            // After "---[ end" of an oops it is repeated.
            let panic = rest.strip_prefix("Kernel panic - not syncing: ")?;
            Event::Panic(panic.to_owned())
        };
        Some(Line { seconds, event })
    }

    /// What vfiorun says; None for a line of the kernel.
    pub(super) fn message(&self) -> Option<Message<'_>> {
        match &self.event {
            Event::Vfioboot(text) => Some(Message::parse(text)),
            _ => None,
        }
    }
}

/// The time of a line (`[    1.234567] `), and the rest. Other kernels have the thread in it as well
/// (`[    1.234567][    T1] `).
pub(super) fn time(text: &str) -> (Option<f64>, &str) {
    let Some((time, rest)) = text.strip_prefix('[').and_then(|rest| rest.split_once(']')) else {
        return (None, text);
    };
    let Ok(seconds) = time.trim().parse::<f64>() else { return (None, text) };
    let rest = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((thread, rest)) if thread.trim_start().starts_with(['T', 'C']) => rest,
        _ => rest,
    };
    (Some(seconds), rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_old_and_new_kernels_are_read() {
        let read = |text| Line::read(text).unwrap();
        let line = read("[    0.000000] Linux version 6.1.192 (a@b)\r\n");
        assert_eq!(line.event, Event::Kernel("Linux version 6.1.192 (a@b)".to_owned()));
        let line = read("[    0.512345][    T1] Run /vfioboot/init as init process");
        assert_eq!(line.event, Event::FirstProgram("/vfioboot/init".to_owned()));
        assert_eq!(line.seconds, Some(0.512_345));
        let line = read("[    0.6] vfioboot: next program: /init");
        assert_eq!(line.message(), Some(Message::Next { program: "/init" }));
        let line = read("Kernel panic - not syncing: No working init found.");
        assert_eq!(line.event, Event::Panic("No working init found.".to_owned()));
        assert_eq!(Line::read("[    0.6]   with arguments:"), None);
        assert_eq!(Line::read("[ 1.0] ---[ end Kernel panic - not syncing: x ]---"), None);
    }
}
