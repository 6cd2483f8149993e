//! What a log proves.

use std::time::Duration;

use serde::Serialize;

use super::error::Undecided;
use super::handover::Handover;
use super::log::{self, Event, Line};
use super::qemu::{Boot, End, Source, Watch};
use crate::bootfile::{DeviceSpec, RUNTIME};
use crate::bootlog::Message;
use crate::bootset::{BootSet, Setting};

/// The driver's name in the kernel's log.
const VFIO_PCI: &str = "vfio-pci";

/// What the boots prove.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// PID 1 was vfiorun, it put every device on vfio-pci, and became the original program.
    Proven,
    /// It fails where the originals do not.
    Fails(Fault),
    /// The boots prove nothing.
    Undecided(Undecided),
}

/// Why a patched set does not do what it is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(tag = "fault", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Fault {
    /// The command line names the runtime, and no image has it.
    #[error(
        "rdinit= names {RUNTIME}, and no ramdisk of these images has it: flash all images that the patch \
         changed, or give them all"
    )]
    NoRuntime,
    /// The command line names the runtime, and the kernel stops before it.
    #[error(
        "rdinit= names {RUNTIME}, and the kernel does not come to its segment: it stops in {image}, \
         because {why}"
    )]
    NotReached {
        /// The file with the ramdisk.
        image: String,
        /// Why it stops.
        why: String,
    },
    /// The kernel starts something else.
    #[error("the kernel starts {program} and not {RUNTIME}: no rdinit= came to it")]
    NoWord {
        /// What it starts.
        program: String,
    },
    /// The kernel gave up.
    #[error("the kernel panics: {said}")]
    Panic {
        /// Its words.
        said: String,
    },
    /// PID 1 left everything as it is.
    #[error("vfiorun does nothing: {reason}")]
    Idle {
        /// Why.
        reason: String,
    },
    /// PID 1 did not get to the end of its work.
    #[error("vfiorun does not finish: {}", said.join("; "))]
    Unfinished {
        /// What it said.
        said: Vec<String>,
    },
    /// Something did not work.
    #[error("{bound} of {wanted} devices are on vfio-pci: {}", said.join("; "))]
    NotBound {
        /// Devices on vfio-pci.
        bound: usize,
        /// Devices that the patch names.
        wanted: usize,
        /// What vfiorun said.
        said: Vec<String>,
    },
    /// The modules of the original init get the device to another driver.
    #[error(
        "{driver} has {device}, and vfio-pci comes too late: the init of the images loads it first"
    )]
    DriverWins {
        /// As the patch names it.
        device: String,
        /// Its driver.
        driver: String,
    },
    /// Another program than the original one follows.
    #[error("vfiorun becomes {program}, and the originals start {original}")]
    OtherProgram {
        /// What it becomes.
        program: String,
        /// What the originals start.
        original: String,
    },
    /// The next program does not start.
    #[error("{program} does not start after vfiorun: {why}")]
    NotExecuted {
        /// The program.
        program: String,
        /// Why.
        why: String,
    },
    /// The time was over.
    #[error("nothing is decided within the time; the last line is: {last}")]
    Time {
        /// The last line of the log.
        last: String,
    },
}

/// What the processor may still do after vfiorun's last words: an exec that fails says so.
const EXEC: Duration = Duration::from_millis(300);

/// What an init may do until its first modules are loaded.
const MODULES: Duration = Duration::from_secs(10);

/// Whether to read on after a line of a patched set's log.
pub(super) fn watch_patched(line: &str) -> Watch {
    let Some(line) = Line::read(line) else { return Watch::On };
    match (&line.event, line.message()) {
        (Event::Panic(_), _) | (_, Some(Message::NotExecuted { .. })) => Watch::End,
        (_, Some(Message::Next { .. } | Message::Idle { .. })) => Watch::Last(EXEC),
        (_, Some(_)) => Watch::More,
        // Some other program: what follows is not ours, unless vfiorun is at its path.
        (Event::FirstProgram(program), _) if program != RUNTIME => Watch::Last(EXEC * 4),
        _ => Watch::On,
    }
}

/// The same for a set whose own init loads vfio-pci, after vfiorun.
pub(super) fn watch_modules(line: &str) -> Watch {
    match watch_patched(line) {
        Watch::Last(_) => Watch::Last(MODULES),
        watch => watch,
    }
}

/// The same for the originals: that their kernel starts a program is enough.
pub(super) fn watch_original(line: &str) -> Watch {
    match Line::read(line).map(|line| line.event) {
        Some(Event::Panic(_) | Event::FirstProgram(_)) => Watch::End,
        Some(Event::Booted(_)) => Watch::Last(EXEC * 4),
        _ => Watch::On,
    }
}

/// A boot that is over.
#[derive(Clone, Debug, Serialize)]
pub struct Trial {
    /// The lines that matter.
    pub lines: Vec<Line>,
    /// Why it ended.
    pub end: End,
    /// Where the log was read.
    pub source: Source,
    /// The whole log.
    #[serde(skip)]
    pub log: String,
    /// What was booted.
    #[serde(skip)]
    pub handover: Handover,
}

impl Trial {
    pub(super) fn of(boot: Boot, handover: Handover) -> Self {
        let mut lines: Vec<Line> = boot.log.lines().filter_map(Line::read).collect();
        // An early console that stays beside the real one says everything twice.
        lines.dedup();
        Trial { lines, end: boot.end, source: boot.source, log: boot.log, handover }
    }

    /// The program that the kernel started first.
    pub fn first_program(&self) -> Option<&str> {
        self.lines.iter().find_map(|line| match &line.event {
            Event::FirstProgram(program) => Some(program.as_str()),
            _ => None,
        })
    }

    fn panic(&self) -> Option<&str> {
        self.lines.iter().find_map(|line| match &line.event {
            Event::Panic(said) => Some(said.as_str()),
            _ => None,
        })
    }

    fn messages(&self) -> impl Iterator<Item = Message<'_>> {
        self.lines.iter().filter_map(Line::message)
    }

    fn said(&self) -> Vec<String> {
        let steps = self.messages().filter_map(|message| match message {
            Message::Step(text) => Some(text.to_owned()),
            _ => None,
        });
        steps.collect()
    }
}

/// Judge the boot of the originals.
///
/// # Errors
/// What it does not prove.
pub(super) fn judge_original(trial: &Trial) -> Result<(), Undecided> {
    if trial.log.trim().is_empty() {
        return Err(Undecided::Silent);
    }
    let booted = |line: &Line| matches!(line.event, Event::FirstProgram(_) | Event::Booted(_));
    let panic = trial.panic().filter(|_| trial.first_program().is_none());
    match (trial.lines.iter().find(|line| booted(line)), panic) {
        (Some(_), None) => Ok(()),
        (_, Some(said)) => Err(Undecided::Control(said.to_owned())),
        (None, None) => Err(Undecided::Control(last_line(&trial.log))),
    }
}

/// What a patched set is to do.
pub(super) struct Wanted<'w> {
    /// The devices, as they are on the board.
    pub devices: &'w [DeviceSpec],
    /// What the originals start.
    pub original: Option<&'w str>,
    /// Whether the init of the set loads vfio-pci, and not vfiorun.
    pub by_init: bool,
}

/// Judge the boot of a patched set.
///
/// # Errors
/// What is wrong.
pub(super) fn judge_patched(
    set: &BootSet<'_>,
    trial: &Trial,
    wanted: &Wanted<'_>,
) -> Result<(), Fault> {
    let said = trial.said();
    let (mut started, mut done, mut next) = (false, None, None);
    for message in trial.messages() {
        match message {
            Message::Starts { .. } => started = true,
            Message::Idle { reason, .. } => return Err(Fault::Idle { reason: reason.to_owned() }),
            Message::Done { bound, problems, .. } => done = Some((bound, problems)),
            Message::Next { program } => next = Some(program),
            Message::NotExecuted { program, why } => {
                return Err(Fault::NotExecuted {
                    program: program.to_owned(),
                    why: why.to_owned(),
                });
            }
            Message::Step(_) => {}
        }
    }
    if !started {
        return Err(not_started(set, trial));
    }
    let Some((bound, problems)) = done else { return Err(Fault::Unfinished { said }) };
    let all = wanted.devices.len();
    if bound < all || problems > 0 {
        let not_bound = Fault::NotBound { bound, wanted: all, said: said.clone() };
        match wanted.by_init {
            true => by_init(trial, wanted.devices, not_bound)?,
            false => return Err(not_bound),
        }
    }
    match (next, wanted.original) {
        (None, _) => Err(Fault::Unfinished { said }),
        (Some(program), Some(original)) if program != original => {
            let (program, original) = (program.to_owned(), original.to_owned());
            Err(Fault::OtherProgram { program, original })
        }
        (Some(_), _) => Ok(()),
    }
}

/// Whether the init of the set got every device to vfio-pci: `not_bound` is said where nobody has it.
fn by_init(trial: &Trial, wanted: &[DeviceSpec], not_bound: Fault) -> Result<(), Fault> {
    let devices = log::devices(&trial.log);
    for spec in wanted {
        let mut drivers = devices.iter().filter(|device| device.is(spec)).peekable();
        if drivers.peek().is_none_or(|device| device.driver.is_none()) {
            return Err(not_bound);
        }
        let rival =
            drivers.find_map(|device| device.driver.as_ref().filter(|own| *own != VFIO_PCI));
        if let Some(driver) = rival {
            return Err(Fault::DriverWins { device: spec.to_string(), driver: driver.clone() });
        }
    }
    Ok(())
}

/// Why the kernel did not start vfiorun.
fn not_started(set: &BootSet<'_>, trial: &Trial) -> Fault {
    let there = set.tree().is_ok_and(|tree| tree.find(RUNTIME.as_bytes(), false).is_some());
    if names_runtime(set) && !there {
        let initramfs = set.initramfs();
        let stops = initramfs.parts.iter().find_map(|part| Some((part.spot, part.stops?)));
        return stops.map_or(Fault::NoRuntime, |(spot, stop)| Fault::NotReached {
            image: set.name(spot.image).to_owned(),
            why: stop.to_string(),
        });
    }
    match (trial.first_program(), trial.panic()) {
        (Some(program), _) if program != RUNTIME => Fault::NoWord { program: program.to_owned() },
        (_, Some(said)) => Fault::Panic { said: said.to_owned() },
        _ => Fault::Time { last: last_line(&trial.log) },
    }
}

/// Whether the command line names the runtime.
pub(super) fn names_runtime(set: &BootSet<'_>) -> bool {
    match set.cmdline().setting("rdinit") {
        Setting::Values(values) => values.iter().any(|(program, _)| program == RUNTIME),
        Setting::Absent => false,
    }
}

fn last_line(log: &str) -> String {
    log.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default().trim().to_owned()
}
