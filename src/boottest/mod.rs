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
//! | `qemu` | one boot: started, watched, ended |
//! | `log` | the lines of the kernel's log that matter |
//! | `verdict` | what a log proves |
//! | `page` | a page to look at |
//! | `error` | why nothing is proven |

mod board;
mod devices;
mod error;
mod handover;
mod log;
mod page;
mod qemu;
mod verdict;

use std::io;
use std::time::Duration;

pub use board::Board;
pub use devices::Exchange;
pub use error::{Error, Undecided};
pub use handover::Handover;
pub use log::{Event, Line};
pub use qemu::End;
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

/// Boot a patched set, and its originals as a control: `originals`, or what undoing the patch gives.
///
/// # Errors
/// [`Error::NotPatched`], and why the set cannot be booted.
pub fn boot_test(
    set: &BootSet<'_>,
    originals: Option<&BootSet<'_>>,
    options: &Options,
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
    report.verdict = match report.run(set, file, originals, options) {
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
    ) -> Result<Verdict, Stop> {
        let arch = Handover::arch_of(set)?;
        let board = Board::of(arch).ok_or(Undecided::NoBoard(arch.name()))?;
        self.board = Some(board);
        let placed = devices::Devices::place(arch, &self.devices)?;
        self.exchanged = placed.exchanged;
        let instead = self.exchange(set, file)?;
        let mut handover = Handover::of(set, instead.as_ref())?;
        for Exchange { named, stand_in } in &self.exchanged {
            handover.cmdline = handover.cmdline.replace(&named.to_string(), &stand_in.to_string());
        }
        let boot = |handover: Handover, watch: fn(&str) -> qemu::Watch| {
            let boot =
                qemu::boot(board, &handover, &placed.arguments, options.time, &mut { watch });
            boot.map(|boot| Trial::of(boot, handover)).map_err(|error| not_installed(error, board))
        };
        let patched = self.patched.insert(boot(handover, verdict::watch_patched)?);
        if patched.log.trim().is_empty() {
            // The same kernel says no more with the originals.
            return Err(Undecided::Silent.into());
        }
        let control = match originals {
            Some(originals) => Some(Handover::of(originals, None)?),
            None => original_handover(set),
        };
        let control = control.map(|own| boot(own, verdict::watch_original)).transpose()?;
        let original = control.as_ref().and_then(Trial::first_program);
        let judged = verdict::judge_patched(set, patched, self.devices.len(), original);
        let works = control.as_ref().map(verdict::judge_original);
        self.control = control;
        match (judged, works) {
            (Ok(()), _) => Ok(Verdict::Proven),
            (Err(_), Some(Err(why))) => Ok(Verdict::Undecided(why)),
            (Err(fault), _) => Ok(Verdict::Fails(fault)),
        }
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
