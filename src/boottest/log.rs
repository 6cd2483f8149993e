//! The kernel's log on the serial line, as events.

use std::borrow::Cow;

use serde::Serialize;

use crate::bootfile::DeviceSpec;
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

impl Event {
    /// Who says it, and what, in short.
    pub fn parts(&self) -> (&'static str, Cow<'_, str>) {
        match self {
            Event::Kernel(text) | Event::Booted(text) | Event::NotStarted(text) => {
                ("kernel", text.into())
            }
            Event::FirstProgram(program) => ("kernel", format!("starts {program}").into()),
            Event::Vfioboot(text) => ("vfiorun", text.into()),
            Event::Panic(text) => ("kernel", format!("panic: {text}").into()),
        }
    }
}

/// `run_init_process` in `init/main.c`.
const RUN: (&str, &str) = ("Run ", " as init process");

impl Line {
    /// Read a line; None if it says nothing of what matters.
    pub fn read(text: &str) -> Option<Self> {
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
/// (`[    1.234567][    T1] `). A clock that is set back during the boot counts nanoseconds below 0, which
/// the kernel prints without their sign.
pub fn time(text: &str) -> (Option<f64>, &str) {
    let Some((time, rest)) = text.strip_prefix('[').and_then(|rest| rest.split_once(']')) else {
        return (None, text);
    };
    let Ok(mut seconds) = time.trim().parse::<f64>() else { return (None, text) };
    if seconds * 1e9 > i64::MAX as f64 {
        seconds -= 2f64.powi(64) / 1e9;
    }
    let rest = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((thread, rest)) if thread.trim_start().starts_with(['T', 'C']) => rest,
        _ => rest,
    };
    (Some(seconds), rest)
}

/// A PCI device in a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Device {
    pub address: DeviceSpec,
    pub id: DeviceSpec,
    /// The last driver that said something of it.
    pub driver: Option<String>,
}

impl Device {
    pub(super) fn is(&self, spec: &DeviceSpec) -> bool {
        *spec == self.id || *spec == self.address
    }
}

/// The devices that a log names. A message of a device begins with its driver, or with its bus
/// (`dev_driver_string`).
pub(super) fn devices(log: &str) -> Vec<Device> {
    let mut devices: Vec<Device> = Vec::new();
    for line in log.lines() {
        let Some((driver, rest)) = time(line).1.trim_start().split_once(' ') else { continue };
        let Some((address, text)) = rest.split_once(": ") else { continue };
        let Ok(address @ DeviceSpec::Address { .. }) = address.parse() else { continue };
        let known = devices.iter_mut().find(|device| device.address == address);
        // pci 0000:00:01.0: [1b36:0010] type 00 class 0x010802
        let id = text.strip_prefix('[').and_then(|text| text.split_once(']'));
        match (driver, known, id.and_then(|(id, _)| id.parse().ok())) {
            ("pci", None, Some(id)) => devices.push(Device { address, id, driver: None }),
            ("pci", ..) | (_, None, _) => {}
            (driver, Some(device), _) => device.driver = Some(driver.to_owned()),
        }
    }
    devices
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_with_the_last_driver_that_says_so() {
        let log = "[    0.1] pci 0000:00:00.0: [1b36:0008] type 00 class 0x060000\n\
                   [    0.2] pci 0000:00:01.0: [1b36:0010] type 00 class 0x010802\r\n\
                   [    0.2] pci 0000:00:01.0: BAR 0 [mem 0x8000000000-0x8000003fff 64bit]: assigned\n\
                   [    0.3] nvme 0000:00:01.0: Adding to iommu group 0\n\
                   [    0.3] nvme nvme0: pci function 0000:00:01.0\n\
                   [    0.4][    T1] vfio-pci 0000:00:01.0: enabling device\n";
        let found = devices(log);
        assert!(found[0].is(&"1b36:0008".parse().unwrap()) && found[0].driver.is_none());
        assert!(found[1].is(&"0000:00:01.0".parse().unwrap()) && !found[1].is(&found[0].id));
        assert_eq!((found[1].driver.as_deref(), found.len()), (Some("vfio-pci"), 2));
    }

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
