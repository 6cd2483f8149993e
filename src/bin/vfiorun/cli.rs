//! The command line: global options, the subcommands, and how each of them ends.

use std::any::Any;
use std::ffi::{OsString, c_int};
use std::fmt::Display;
use std::io;
use std::path::PathBuf;

use clap::{Parser, Subcommand};
use vfioboot::device::sys::host::Host;
use vfioboot::device::sys::state::StateDir;

use crate::{
    autostart, bind, devices, doctor, output, recover, release, run as run_guest, status, stop,
};

/// Finishes on the device what vfioboot began on the desktop.
///
/// As PID 1, started by the kernel with rdinit=/vfioboot/init, it loads the modules and puts the
/// devices on vfio-pci that /vfioboot/boot.toml names, and executes the real init.
/// vfioboot.disable on the kernel command line turns that off. After boot it is this command.
///
/// Exit status: 0 done, 1 a negative answer, 2 a wrong command line or a failure.
#[derive(Parser)]
#[command(name = "vfiorun", version, subcommand_required = true, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// The options of every subcommand.
#[derive(clap::Args)]
pub struct Global {
    /// Look at this tree instead of the running system
    #[arg(long, global = true, value_name = "DIR", default_value = "/")]
    pub sysroot: PathBuf,
    /// Where journals are kept [default: /data/adb/vfioboot/state on a rooted Android device, else
    /// /run/vfioboot]
    #[arg(long, global = true, value_name = "DIR")]
    pub state: Option<PathBuf>,
}

/// A test aid: the number of journal records after which the process kills itself.
const CRASH_AFTER: &str = "VFIORUN_CRASH_AFTER";

impl Global {
    /// The system to look at.
    pub fn host(&self) -> Host {
        Host::new(&self.sysroot)
    }

    /// Where the journals are.
    pub fn state(&self) -> StateDir {
        let state = self.state.as_ref().map_or_else(|| StateDir::of(&self.host()), StateDir::new);
        let records = std::env::var(CRASH_AFTER).ok().and_then(|text| text.parse().ok());
        match records {
            Some(records) => state.crash_after(records),
            None => state,
        }
    }
}

#[derive(Subcommand)]
enum Command {
    /// Look at every prerequisite of passthrough, and say what to do about those that are missing
    Doctor(doctor::Arguments),
    /// The PCI devices by IOMMU group
    Devices(devices::Arguments),
    /// Put devices on vfio-pci, whole IOMMU groups only, until they are released
    Bind(bind::Arguments),
    /// Give devices on vfio-pci back to the drivers they came from
    Release(release::Arguments),
    /// Undo what a vfiorun that was killed left behind
    Recover(recover::Arguments),
    /// Start a guest with its devices, stay with it, and give them back when it has ended
    ///
    /// The exit status is QEMU's own; 1 when the guest panicked or had to be ended by force, 2
    /// when it was not started. SIGINT and SIGTERM ask the guest to power down; a second one
    /// tells QEMU to quit, a third kills it.
    Run(run_guest::Arguments),
    /// The guests that are running
    Status(status::Arguments),
    /// Ask a guest to power down, and wait until everything is given back
    Stop(stop::Arguments),
    /// Start every guest of a directory that has autostart = true, each on its own
    Autostart(autostart::Arguments),
}

/// How a subcommand that did not fail ended.
pub enum Answer {
    /// Done, or yes.
    Yes,
    /// A negative answer.
    No,
    /// The result of what was run.
    Status(c_int),
}

/// The reason of a failure goes to standard error.
pub type Outcome = Result<Answer, Failure>;

/// Why a subcommand failed, as it is said. A `Box<dyn Error>` would carry along every error's `Debug`,
/// which nobody reads.
pub struct Failure {
    text: String,
    /// Whoever reads what we print has read enough.
    broken_pipe: bool,
}

impl<E: Display + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        let io = (&error as &dyn Any).downcast_ref::<io::Error>();
        let broken_pipe = io.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe);
        Self { text: error.to_string(), broken_pipe }
    }
}

/// Runs the program; the result is its exit status.
pub fn run(words: &[OsString]) -> c_int {
    let cli = match Cli::try_parse_from(words) {
        Ok(cli) => cli,
        Err(error) => {
            let status = error.exit_code();
            return if error.print().is_ok() { status } else { 2 };
        }
    };
    let outcome = match &cli.command {
        Command::Doctor(arguments) => doctor::run(&cli.global, arguments),
        Command::Devices(arguments) => devices::run(&cli.global, arguments),
        Command::Bind(arguments) => bind::run(&cli.global, arguments),
        Command::Release(arguments) => release::run(&cli.global, arguments),
        Command::Recover(arguments) => recover::run(&cli.global, arguments),
        Command::Run(arguments) => run_guest::run(&cli.global, arguments),
        Command::Status(arguments) => status::run(&cli.global, arguments),
        Command::Stop(arguments) => stop::run(&cli.global, arguments),
        Command::Autostart(arguments) => autostart::run(&cli.global, arguments),
    };
    match outcome {
        Ok(Answer::Yes) => 0,
        Ok(Answer::No) => 1,
        Ok(Answer::Status(status)) => status,
        Err(Failure { text, broken_pipe }) => {
            if !broken_pipe {
                let needs_root = if lacks_root(&text) { NEEDS_ROOT } else { "" };
                output::complain(&format!("{text}{needs_root}"));
            }
            2
        }
    }
}

const NEEDS_ROOT: &str = ": this needs root (sudo, su -c)";

/// Whether a failure that does not speak of root is one for want of it.
fn lacks_root(failure: &str) -> bool {
    ["EACCES", "EPERM"].iter().any(|name| failure.contains(name))
        && !failure.contains("root")
        && !rustix::process::geteuid().is_root()
}
