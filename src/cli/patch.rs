//! `vfioboot patch`: plan, show, write.

mod avb;
mod next;
mod rc;
pub(super) mod remedy;
mod show;

use std::borrow::Cow;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use serde_json::json;
use vfioboot::bootfile::{BootFile, DeviceSpec};
use vfioboot::boottest::{self, Options as TestOptions, Verdict};
use vfioboot::modules::ModuleSource;
use vfioboot::modules::survey::is_module_name;
use vfioboot::patch::{
    self, AvbOptions, HookChoice, IommuMode, LoadedBy, ModuleOptions, Options, Plan, Runtimes,
    VfioOption,
};

use self::next::Commands;
use super::boot_test;
use super::image_set::{self, Destination, PATCHED};
use super::input::Input;
use super::module_files::ModuleFiles;
use super::print;

/// Patch a boot image so that PCI devices are on vfio-pci before /init runs
///
/// Give all the images there are (boot.img vendor_boot.img init_boot.img): what to change in
/// which is decided, shown, and only what changed is written. A segment with the runtime is
/// appended to the ramdisk and rdinit= added to the command line; everything else stays
/// byte-identical. Patching a patched image starts from its original; where another tool has rebuilt it
/// since, from that without the old patch. Root the device before, not after.
#[derive(clap::Args)]
pub struct Args {
    /// The images of one device, each kind once
    #[arg(required = true)]
    images: Vec<PathBuf>,
    /// A device to put on vfio-pci: VENDOR:DEVICE (every such one), DOMAIN:BUS:DEV.FN or its path
    /// below /sys; lspci -nn lists them
    #[arg(long = "device", required = true, value_name = "DEVICE")]
    devices: Vec<DeviceSpec>,
    #[command(flatten)]
    destination: Destination,
    /// Kernel modules to load before binding, in any order: .ko files, which are all added; or a
    /// directory, archive, ramdisk or image, of which only the modules for vfio-pci are added
    #[arg(long, value_name = "FILE", num_args = 1..)]
    add_module: Vec<PathBuf>,
    /// The program that loads the modules; by default chosen by the contents of the ramdisk
    #[arg(long, value_enum, value_name = "WHO")]
    modules_by: Option<ModulesBy>,
    /// A parameter to add to the kernel command line
    #[arg(long, value_name = "PARAMETER", value_parser = super::cmdline::parameters)]
    add_word: Vec<String>,
    /// A host driver to keep away from devices, by the name of its module: a line in the ramdisk's
    /// module lists, module_blacklist= or, if it is part of the kernel, initcall_blacklist=; refused
    /// for a driver that the device needs to boot
    #[arg(long, value_name = "NAME")]
    block_driver: Vec<String>,
    /// An option of a VFIO module: NAME=VALUE (disable_idle_d3=1), or MODULE.NAME=VALUE
    /// (vfio_iommu_type1.allow_unsafe_interrupts=1); checked against the kernel or the module
    #[arg(long, value_name = "NAME=VALUE")]
    vfio_option: Vec<VfioOption>,
    /// What the host's own devices have of the IOMMU; VFIO works in every mode, and
    /// it does not require iommu.passthrough=1
    #[arg(long, value_name = "MODE", default_value = IommuMode::TABLE[0].name, value_parser = iommu_parser())]
    iommu: IommuMode,
    /// Milliseconds that the runtime may take before it starts the original init
    #[arg(long, value_name = "MS", default_value_t = BootFile::DEFAULT_DEADLINE_MS,
          value_parser = clap::value_parser!(u32).range(100..=60_000))]
    deadline: u32,
    #[command(flatten)]
    partition: image_set::Partition,
    /// Milliseconds to wait for a missing device, within the deadline
    #[arg(long, value_name = "MS", default_value_t = BootFile::DEFAULT_WAIT_MS,
          value_parser = clap::value_parser!(u32).range(..=60_000))]
    wait: u32,
    /// How the kernel starts the runtime
    #[arg(long, value_name = "HOOK", default_value = HookChoice::TABLE[0].name, value_parser = hook_parser())]
    hook: HookChoice,
    /// An additional rc file for Android's init; refused if init would never read it
    #[arg(long, value_name = "FILE")]
    rc: Vec<PathBuf>,
    /// Do not let init start vfiorun autostart
    #[arg(long)]
    no_autostart: bool,
    /// The SELinux context of that service, for a ROM with a special domain
    #[arg(long, value_name = "CONTEXT", value_parser = rc::seclabel, conflicts_with = "no_autostart")]
    seclabel: Option<String>,
    /// The vfiorun executable to add, instead of the one in vfioboot
    #[arg(long, value_name = "FILE")]
    runtime: Option<PathBuf>,
    /// Write it although no guest can use the devices: without VFIO, KVM or an IOMMU nothing is
    /// written, and the exit status is 1
    #[arg(long)]
    anyway: bool,
    /// Boot the result in an emulator before it is written, as vfioboot boot-test does: nothing is
    /// written where it fails (exit status 1); where that cannot be decided it is (exit status 3)
    #[arg(long)]
    boot_test: bool,
    /// Show the plan and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Print the plan as JSON
    #[arg(long)]
    json: bool,
    // The last one, because its heading holds for all that follow.
    #[command(flatten)]
    avb: avb::AvbArgs,
}

/// The hooks in the library's table.
fn hook_parser() -> impl TypedValueParser<Value = HookChoice> {
    let values = HookChoice::TABLE.iter().map(|row| PossibleValue::new(row.name).help(row.help));
    PossibleValuesParser::new(values)
        .try_map(|name| HookChoice::from_name(&name).ok_or("is not the name of a hook"))
}

/// The modes in the library's table.
fn iommu_parser() -> impl TypedValueParser<Value = IommuMode> {
    let values = IommuMode::TABLE.iter().map(|row| PossibleValue::new(row.name).help(row.help));
    PossibleValuesParser::new(values)
        .try_map(|name| IommuMode::from_name(&name).ok_or("is not the name of a mode"))
}

/// The program that loads modules.
#[derive(Clone, Copy, clap::ValueEnum)]
enum ModulesBy {
    /// The runtime, before any other program
    Pid1,
    /// The ramdisk's first-stage init, by lines added to its modules.load
    Libmodprobe,
}

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let to_stdout = args.destination.is_stdout();
    if to_stdout && args.json && !args.dry_run {
        bail!("-o - and --json both write to standard output: name a file with -o");
    }
    let mut paths = args.images.clone();
    paths.extend(args.avb.vbmeta.clone());
    let opened = image_set::open_each(&paths)?;
    let (set, inputs) = image_set::boot_set(&opened)?;
    let keys = args.avb.keys()?;
    let avb = args.avb.options(&keys, &set, args.images.len())?;
    for (input, image) in inputs.iter().zip(set.images()) {
        super::report_problems(input, image);
    }

    let files = Files::open(args)?;
    let options = files.options(args, avb)?;
    let left_out = left_out(&options, files.runtime.as_ref());
    let plan = patch::plan(&set, &options)
        .map_err(|error| match error {
            patch::Error::Image(error) => image_set::with_remedy(error, || left_out.clone()),
            error => remedy::with_remedy(error),
        })
        .with_context(|| names(&paths))?;

    let changed: Vec<usize> =
        (0..inputs.len()).filter(|i| plan.images[*i].output.is_some()).collect();
    require_room(args, &plan, &inputs, &changed, &left_out)?;
    let cannot_work = !plan.unfit.is_empty() && !args.anyway;
    let tested = match args.boot_test && !cannot_work {
        true => Some(boot_test::of_plan(&set, &plan, &TestOptions::default())?),
        false => None,
    };
    let fails = tested.as_ref().is_some_and(|own| matches!(own.verdict, Verdict::Fails(_)));
    let writes = !args.dry_run && !cannot_work && !fails;
    if !args.dry_run {
        args.destination.place(PATCHED).check(
            &set,
            &inputs,
            &changed,
            files.all().chain(keys.files()),
        )?;
    }
    let mut written = Vec::new();
    if writes {
        let results =
            changed.iter().filter_map(|i| Some((inputs[*i], plan.images[*i].output.as_ref()?)));
        let paths = args.destination.place(PATCHED).write(&results.collect::<Vec<_>>())?;
        written = std::iter::zip(changed, paths).collect();
    }
    let (inputs, written, tested) = (&inputs[..], &written[..], tested.as_ref());
    Report { args, plan: &plan, inputs, written, tested, to_stdout }.print()?;
    Ok(match (cannot_work, tested) {
        (true, _) => ExitCode::FAILURE,
        (false, Some(tested)) => boot_test::status(tested),
        (false, None) => ExitCode::SUCCESS,
    })
}

/// What is said of a plan.
struct Report<'r> {
    args: &'r Args,
    plan: &'r Plan<'r>,
    inputs: &'r [&'r Input],
    /// Each image that was written, and its path.
    written: &'r [(usize, PathBuf)],
    tested: Option<&'r boottest::Report>,
    to_stdout: bool,
}

impl Report<'_> {
    fn print(&self) -> anyhow::Result<()> {
        let Report { args, plan, inputs, written, tested, to_stdout } = self;
        let next = match to_stdout {
            true => Commands::default(),
            false => Commands::new(plan, written, &args.destination),
        };
        if args.json {
            let files: Vec<_> = inputs.iter().map(|input| input.name()).collect();
            let paths: Vec<_> = written.iter().map(|(_, path)| path).collect();
            let plan = remedy::to_json(plan)?;
            print::json(&json!({
                "format": 1, "files": files, "plan": plan, "written": paths, "commands": next,
                "boot_test": tested.map(boot_test::to_json),
            }))?;
            return Ok(());
        }
        if !to_stdout || args.dry_run {
            show::plan(plan, inputs, args.dry_run)?;
            if let Some(tested) = tested {
                boot_test::show(tested)?;
            }
            show::written(written, &next)?;
        }
        if !plan.unfit.is_empty() {
            print::alarm(show::unfit(&plan.unfit, args.anyway));
        }
        Ok(())
    }
}

/// Refuse results that do not fit their partitions; `left_out` is the remedy.
fn require_room(
    args: &Args,
    plan: &Plan<'_>,
    inputs: &[&Input],
    changed: &[usize],
    left_out: &str,
) -> anyhow::Result<()> {
    if args.partition.partition_size.is_some() && changed.len() > 1 {
        bail!("--partition-size is that of one partition, and {} images change", changed.len());
    }
    for i in changed {
        let planned = &plan.images[*i];
        let (size, content) = (planned.size_after, planned.content_size);
        let known = inputs[*i].partition;
        args.partition
            .require_room(known, size, content, || left_out.to_owned())
            .with_context(|| inputs[*i].name())?;
    }
    Ok(())
}

/// The files to patch in.
struct Files {
    runtime: Option<Input>,
    /// Of `--add-module`: directories, and everything else.
    directories: Vec<PathBuf>,
    modules: Vec<ModuleFiles>,
    rc: Vec<Input>,
}

impl Files {
    fn open(args: &Args) -> anyhow::Result<Self> {
        let (directories, files): (Vec<PathBuf>, Vec<PathBuf>) =
            args.add_module.iter().cloned().partition(|path| path.is_dir());
        let open = |paths: &[PathBuf]| -> anyhow::Result<Vec<Input>> {
            paths.iter().map(|path| Input::open(path)).collect()
        };
        Ok(Files {
            runtime: args.runtime.as_deref().map(Input::open).transpose()?,
            directories,
            modules: files.iter().map(|path| ModuleFiles::open(path)).collect::<Result<_, _>>()?,
            rc: open(&args.rc)?,
        })
    }

    fn options<'o>(&'o self, args: &Args, avb: AvbOptions<'o>) -> anyhow::Result<Options<'o>> {
        let runtime = self.runtime.as_ref();
        let runtimes = runtime.map_or_else(Runtimes::built_in, |file| Runtimes::given(file));
        let mut options = Options::new(args.devices.clone(), runtimes);
        options.modules = modules(&self.directories, &self.modules, args.modules_by)?;
        options.parameters = args.add_word.clone();
        options.vfio_options = args.vfio_option.clone();
        options.block_drivers = args.block_driver.clone();
        options.iommu = args.iommu;
        options.deadline_ms = args.deadline;
        options.avb = avb;
        options.wait_ms = args.wait;
        options.hook = args.hook;
        options.rc = rc::options(&self.rc, !args.no_autostart, args.seclabel.as_ref())?;
        Ok(options)
    }

    fn all(&self) -> impl Iterator<Item = &Input> {
        let modules = self.modules.iter().filter_map(ModuleFiles::input);
        self.runtime.iter().chain(modules).chain(&self.rc)
    }
}

/// What to leave out of a patch that does not fit.
fn left_out(options: &Options<'_>, runtime: Option<&Input>) -> String {
    let modules: usize = options.modules.files.iter().map(|(_, bytes)| bytes.len()).sum();
    let mut parts = Vec::new();
    if modules > 0 || !options.modules.sources.is_empty() {
        parts.push(match modules {
            0 => "modules (--add-module)".to_owned(),
            _ => format!("modules (--add-module, {modules} bytes)"),
        });
    }
    let runtime = runtime.map(|file| format!(", now {} bytes", file.len())).unwrap_or_default();
    parts.push(format!("debug information from the runtime (--runtime{runtime})"));
    parts.push("files from the ramdisk (vfioboot ramdisk IMAGE rm)".to_owned());
    format!("what could be left out: {}", parts.join(", "))
}

fn names(paths: &[PathBuf]) -> String {
    let names: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
    names.join(", ")
}

/// A single `.ko` is always added; of other sources only the required modules.
fn modules<'i>(
    directories: &[PathBuf],
    given: &'i [ModuleFiles],
    by: Option<ModulesBy>,
) -> anyhow::Result<ModuleOptions<'i>> {
    let mut options = ModuleOptions {
        by: by.map(|by| match by {
            ModulesBy::Pid1 => LoadedBy::Pid1,
            ModulesBy::Libmodprobe => LoadedBy::Libmodprobe,
        }),
        ..ModuleOptions::default()
    };
    options.sources.extend(directories.iter().map(|path| ModuleSource::Directory(path.clone())));
    for given in given {
        let name = given.path.file_name().and_then(|name| name.to_str());
        match (name, given.input()) {
            (Some(name), Some(input)) if is_module_name(name) => {
                options.files.push((name.to_owned(), Cow::Borrowed(&**input)));
            }
            _ if given.path.extension().is_some_and(|extension| extension == "ko") => {
                bail!("{}: a module needs a file name in UTF-8", given.path.display())
            }
            _ => options.sources.extend(given.sources()),
        }
    }
    Ok(options)
}
