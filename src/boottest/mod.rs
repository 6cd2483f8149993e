//! Boots a set of images in an emulator and reads from the kernel's own log what the patch does.
//!
//! The set is put together as a bootloader does it, on a board with an IOMMU and a device for each that
//! the patch names. The originals boot on the same board as a control, so that a patch that breaks
//! something and a kernel that does not run here are told apart.
//!
//! | file | subject |
//! |---|---|
//! | `handover` | what a bootloader gives the kernel |
//! | `board`, `boards.toml` | the machines, and the devices that stand in |
//! | `devices` | the devices of one board |
//! | `domain` | a board with another PCI domain than 0 |
//! | `qemu` | one boot: started, watched, ended |
//! | `host` | what only Linux has |
//! | `memory`, `ring` | the machine's memory, and the kernel's log in it |
//! | `log` | the lines of the kernel's log that matter |
//! | `verdict` | what a log proves |
//! | `page` | a page to look at |
//! | `error` | why nothing is proven |

mod board;
mod devices;
mod domain;
mod error;
mod handover;
mod host;
mod log;
mod memory;
mod page;
mod qemu;
mod ring;
mod verdict;

use std::io;
use std::time::Duration;

pub use board::Board;
pub use devices::Exchange;
pub use error::{Error, Undecided};
pub use handover::Handover;
pub use log::{Event, Line, time};
pub use qemu::{End, Source};
pub use verdict::{Fault, Trial, Verdict};

use crate::bootfile::{BootFile, DeviceSpec};
use crate::bootset::{BootSet, Spot};
use crate::image::Image;
use crate::patch;

/// What to boot, and for how long.
#[derive(Clone, Debug)]
pub struct Options {
    /// The devices that are on the board, if no image says which it is patched for.
    pub devices: Vec<DeviceSpec>,
    /// The time of the machine after which a boot is ended.
    pub time: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Options { devices: Vec::new(), time: Options::TIME }
    }
}

impl Options {
    /// Debian's kernel with a large initrd needs a third of it.
    pub const TIME: Duration = Duration::from_secs(60);
}

/// What the boots showed.
#[derive(Debug)]
#[non_exhaustive]
pub struct Report {
    /// The machine; None if there is none for the kernel.
    pub board: Option<&'static Board>,
    /// The devices that the patch names.
    pub devices: Vec<DeviceSpec>,
    /// Ids that other devices stood in for.
    pub exchanged: Vec<Exchange>,
    /// The boot of the set; None if it was not booted.
    pub patched: Option<Trial>,
    /// The boot of the originals; None if there are none, or they were not booted.
    pub control: Option<Trial>,
    /// What they prove.
    pub verdict: Verdict,
}

/// Which boot it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// That of the patched set.
    Patched,
    /// That of its originals.
    Originals,
}

/// Boot a patched set, and its originals as a control: `originals`, or what undoing the patch gives.
/// `seen` gets each line of their logs as it comes.
///
/// # Errors
/// [`Error::NotPatched`], and why the set cannot be booted.
pub fn boot_test(
    set: &BootSet<'_>,
    originals: Option<&BootSet<'_>>,
    options: &Options,
    seen: &mut dyn FnMut(Which, &str),
) -> Result<Report, Error> {
    let file = patch::boot_file(set)?;
    if file.is_none() && !verdict::names_runtime(set) {
        return Err(Error::NotPatched);
    }
    let devices = match &file {
        Some(file) => file.devices.iter().filter_map(|device| device.parse().ok()).collect(),
        None => options.devices.clone(),
    };
    let mut report = Report {
        board: None,
        devices,
        exchanged: Vec::new(),
        patched: None,
        control: None,
        verdict: Verdict::Proven,
    };
    report.verdict = match report.run(set, file, originals, options, seen) {
        Ok(verdict) => verdict,
        Err(Stop::Undecided(why)) => Verdict::Undecided(why),
        Err(Stop::Error(error)) => return Err(error),
    };
    Ok(report)
}

/// Why a test ends early.
enum Stop {
    Undecided(Undecided),
    Error(Error),
}

impl From<Undecided> for Stop {
    fn from(why: Undecided) -> Self {
        Stop::Undecided(why)
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Stop::Error(error)
    }
}

impl Report {
    fn run(
        &mut self,
        set: &BootSet<'_>,
        file: Option<BootFile>,
        originals: Option<&BootSet<'_>>,
        options: &Options,
        seen: &mut dyn FnMut(Which, &str),
    ) -> Result<Verdict, Stop> {
        if !host::BOOTS {
            return Err(Undecided::System.into());
        }
        let arch = Handover::arch_of(set)?;
        let board = Board::of(arch).ok_or(Undecided::NoBoard(arch.name()))?;
        self.board = Some(board);
        let placed = devices::Devices::place(arch, &self.devices)?;
        self.exchanged.clone_from(&placed.exchanged);
        let tree = match placed.domain {
            0 => None,
            domain => Some(domain::device_tree(board, &placed.arguments, domain)),
        };
        let tree = tree.transpose().map_err(|error| not_installed(error, board))?;
        let machine = qemu::Machine { board, devices: &placed.arguments, tree: tree.as_ref() };
        let by_init = file.as_ref().is_some_and(patch::leaves_vfio_to_init);
        if by_init && !self.exchanged.is_empty() {
            return Err(Undecided::ListedIds.into());
        }
        let instead = self.exchange(set, file)?;
        let mut handover = Handover::of(set, instead.as_ref())?;
        for Exchange { named, stand_in } in &self.exchanged {
            handover.cmdline = handover.cmdline.replace(&named.to_string(), &stand_in.to_string());
        }
        let mut boot = |which, handover: Handover, watch: fn(&str) -> qemu::Watch| {
            let watch = &mut |line: &str| {
                seen(which, line);
                watch(line)
            };
            let boot = qemu::boot(machine, &handover, options.time, watch);
            boot.map(|boot| Trial::of(boot, handover)).map_err(|error| not_installed(error, board))
        };
        let devices = &self.on_board();
        let watch = if by_init { verdict::watch_modules } else { verdict::watch_patched };
        let patched = self.patched.insert(boot(Which::Patched, handover, watch)?);
        if patched.log.trim().is_empty() {
            // The same kernel says no more with the originals.
            return Err(Undecided::Silent.into());
        }
        let control = match originals {
            Some(originals) => Some(Handover::of(originals, None)?),
            None => original_handover(set),
        };
        let control = control.map(|own| boot(Which::Originals, own, verdict::watch_original));
        let control = control.transpose()?;
        let original = control.as_ref().and_then(Trial::first_program);
        let judged =
            verdict::judge_patched(set, patched, &verdict::Wanted { devices, original, by_init });
        let works = control.as_ref().map(verdict::judge_original);
        self.control = control;
        match (judged, works) {
            (Ok(()), _) => Ok(Verdict::Proven),
            (Err(_), Some(Err(why))) => Ok(Verdict::Undecided(why)),
            (Err(fault), _) => Ok(Verdict::Fails(fault)),
        }
    }

    /// The devices as they are on the board.
    fn on_board(&self) -> Vec<DeviceSpec> {
        let on_board = |spec: &DeviceSpec| {
            let exchanged = self.exchanged.iter().find(|own| own.named == *spec);
            exchanged.map_or(spec, |own| &own.stand_in).clone()
        };
        self.devices.iter().map(on_board).collect()
    }

    /// The ramdisk with the ids of the devices on the board; None if they are the user's own.
    fn exchange(
        &self,
        set: &BootSet<'_>,
        file: Option<BootFile>,
    ) -> Result<Option<(Spot, Vec<u8>)>, Error> {
        let (Some(file), false) = (file, self.exchanged.is_empty()) else { return Ok(None) };
        let pairs: Vec<_> =
            self.exchanged.iter().map(|own| (own.named.clone(), own.stand_in.clone())).collect();
        let file = patch::exchanged(file, &pairs);
        patch::with_boot_file(set, &file).map(Some).map_err(Error::Originals)
    }
}

/// The originals of a patched set; None if they cannot be restored.
fn original_handover(set: &BootSet<'_>) -> Option<Handover> {
    let outputs = patch::unpatch(set).ok()?;
    let bytes: Vec<Option<Vec<u8>>> =
        outputs.into_iter().map(|output| Some(output?.to_vec())).collect();
    let images = std::iter::zip(&bytes, set.images()).map(|(bytes, image)| match bytes {
        Some(bytes) => Image::parse(bytes).ok(),
        None => Some(image.clone()),
    });
    let originals = set.successor(images.collect::<Option<_>>()?);
    Handover::of(&originals, None).ok()
}

fn not_installed(error: Error, board: &Board) -> Stop {
    match error {
        Error::Start { program, error } if error.kind() == io::ErrorKind::NotFound => {
            Undecided::NoQemu { program, package: board.package.clone() }.into()
        }
        error => error.into(),
    }
}
