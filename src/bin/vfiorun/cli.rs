//! The command line: its subcommands, and which module carries each out.

use std::ffi::{OsString, c_int};

use clap::{Parser, Subcommand};

use crate::global::Global;
use crate::outcome::{Answer, Failure};
use crate::{
    autostart, bind, devices, doctor, output, recover, release, run as run_guest, status, stop,
};

/// Finishes on the device what vfioboot began on the desktop.
///
/// As PID 1, started by the kernel with rdinit=/vfioboot/init, it loads the modules and puts the
/// devices on vfio-pci that /vfioboot/boot.toml names, and executes the real init.
/// vfioboot.disable on the kernel command line turns that off. After boot it is this command.
///
/// Exit status: 0 done, 1 a negative answer, 2 invalid arguments or a failure.
#[derive(Parser)]
#[command(name = "vfiorun", version, subcommand_required = true, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Examine every prerequisite of passthrough, with the fix for each that is missing
    Doctor(doctor::Arguments),
    /// List the PCI devices by IOMMU group
    Devices(devices::Arguments),
    /// Put devices on vfio-pci, whole IOMMU groups only, until they are released
    Bind(bind::Arguments),
    /// Give devices on vfio-pci back to the drivers they came from
    Release(release::Arguments),
    /// Undo the steps of a vfiorun that was killed
    Recover(recover::Arguments),
    /// Start a guest with its devices, stay with it, and give them back when it has ended
    ///
    /// The exit status is QEMU's own; 1 when the guest panicked or had to be ended by force, 2
    /// when it was not started. SIGINT and SIGTERM ask the guest to power down; a second one
    /// asks QEMU to quit, a third kills it.
    Run(run_guest::Arguments),
    /// List the guests that are running
    Status(status::Arguments),
    /// Ask a guest to power down, and wait until everything is given back
    Stop(stop::Arguments),
    /// Start every guest in a directory with autostart = true, each in a process of its own
    Autostart(autostart::Arguments),
}

/// Runs the program; the result is its exit status.
pub fn run(arguments: &[OsString]) -> c_int {
    let mut cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            let status = error.exit_code();
            return if output::print_clap(&error).is_ok() { status } else { 2 };
        }
    };
    let _unpacked = match cli.global.unpack() {
        Ok(unpacked) => unpacked,
        Err(error) => return Failure::from(error).report(),
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
        Err(failure) => failure.report(),
    }
}
