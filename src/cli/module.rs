//! `vfioboot module`: the zip that root managers install.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use vfioboot::kernel::Arch;
use vfioboot::patch::Runtimes;
use vfioboot::rootmodule::{self, Guest, Programs};

use super::input::Input;
use super::output;
use super::print::say;

/// Make the module that Magisk, KernelSU and APatch install: vfiorun, started with the system
///
/// Install the zip in the manager's app and reboot. vfiorun is a command then, and guest files in
/// /data/adb/vfioboot/guests with autostart = true start once the system is up. This is the way for
/// devices with two-stage init, whose ramdisk can start nothing later.
#[derive(clap::Args)]
pub struct Args {
    /// Write the zip to this file; `-` is standard output
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// The device's processor
    #[arg(long, value_enum, default_value_t)]
    arch: ModuleArch,
    /// A guest file to install, instead of the commented example
    #[arg(long, value_name = "FILE")]
    guest: Vec<PathBuf>,
    /// The vfiorun executable to put in, instead of the one inside vfioboot
    #[arg(long, value_name = "FILE")]
    runtime: Option<PathBuf>,
    /// The vfioboot executable to put in, so that the device can patch its own partitions; by default
    /// this program, if it runs there
    #[arg(long, value_name = "FILE")]
    vfioboot: Option<PathBuf>,
    /// Put vfiorun in alone, which makes the module smaller
    #[arg(long, conflicts_with = "vfioboot")]
    without_vfioboot: bool,
}

/// Processors that vfiorun runs on.
#[derive(Clone, Copy, Default, clap::ValueEnum)]
enum ModuleArch {
    /// 64-bit ARM
    #[default]
    Arm64,
    /// 64-bit x86
    #[value(name = "x86_64")]
    X86_64,
}

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let arch = match args.arch {
        ModuleArch::Arm64 => Arch::Arm64,
        ModuleArch::X86_64 => Arch::X86_64,
    };
    let runtime = args.runtime.as_deref().map(Input::open).transpose()?;
    let runtimes = runtime.as_ref().map_or_else(Runtimes::built_in, |file| Runtimes::given(file));
    let named = |error: vfioboot::patch::Error| match &runtime {
        Some(file) => anyhow!("{}: {error}", file.name()),
        None => anyhow!(error),
    };
    let vfiorun = runtimes.for_arch(Some(arch)).map_err(named)?.executable();
    let files = args.guest.iter().map(|path| Input::open(path)).collect::<Result<Vec<_>, _>>()?;
    let guests = files.iter().map(guest).collect::<anyhow::Result<Vec<_>>>()?;
    let vfioboot = vfioboot(args, arch)?;
    let sources = files.iter().chain(&runtime).chain(&vfioboot).map(|input| &*input.path);
    output::refuse_inputs(&args.output, sources)?;
    let programs = Programs { vfiorun, vfioboot: vfioboot.as_deref() };
    let zip = rootmodule::build(arch, programs, &guests)?;
    output::write_file(&args.output, |file| file.write_all(&zip))?;
    if !output::is_stdout(&args.output) {
        let size = zip.len();
        let place = args.output.display();
        say!("wrote {place}, {size} bytes: install it in Magisk, KernelSU or APatch, and reboot")?;
        if vfioboot.is_none() && !args.without_vfioboot {
            say!(
                "it has no vfioboot, because this one does not run there: name the one for {} with --vfioboot",
                arch.name()
            )?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The program for the device: the one that was named, or this one if it is a static program for `arch`.
fn vfioboot(args: &Args, arch: Arch) -> anyhow::Result<Option<Input>> {
    if args.without_vfioboot {
        return Ok(None);
    }
    let fits = |file: &Input| Runtimes::given(file).for_arch(Some(arch)).map(drop);
    if let Some(path) = &args.vfioboot {
        let file = Input::open(path)?;
        fits(&file).with_context(|| file.name())?;
        return Ok(Some(file));
    }
    let own = std::env::current_exe().and_then(|path| Input::read(&path));
    Ok(own.ok().filter(|file| fits(file).is_ok()))
}

fn guest(input: &Input) -> anyhow::Result<Guest> {
    let name = input.path.file_name().and_then(|name| name.to_str());
    let name = name.with_context(|| format!("{}: a guest file needs a name", input.name()))?;
    Ok(Guest { name: name.to_owned(), bytes: input.to_vec() })
}
