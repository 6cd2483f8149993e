//! `vfioboot check`.

mod earlier;
mod sink;

use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, anyhow, bail};
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use vfioboot::audit::baseline::{Baseline, BaselineError};
use vfioboot::audit::batch::Checked;
use vfioboot::audit::check::GivenModules;
use vfioboot::audit::group::Found;
use vfioboot::audit::render::{FORMATS, Format, rules_json, rules_text};
use vfioboot::audit::resume::Earlier;
use vfioboot::audit::run::{Input as Checkable, Run, Settings, Totals};
use vfioboot::audit::{
    BUILTIN, Batch, Given, Level, Options, Outcome, Profile, Provenance, fragment, group,
};
use vfioboot::compression::Budget;
use vfioboot::kernel::{Arch, KernelConfig, KernelVersion, config_file};

use super::check_files::CheckFiles;
use super::interrupt::Interrupt;
use super::module_files::ModuleFiles;
use super::print::{self, complain};
use super::progress::Progress;
use super::{EXIT_FAILURE, input::Input, output};
use sink::{Sink, Target};

/// Check whether a kernel supports PCI passthrough to a guest
///
/// Exit status: 0 if every required rule passes, 1 if one fails, 2 if an input cannot be read, 3 if
/// the result is inconclusive.
#[derive(clap::Args)]
pub struct Args {
    /// Boot images, bare kernels, .config files (also gzipped), directories with such files,
    /// containers with images (factory and OTA zips, tar archives, compressed images); `-` is
    /// standard input. A vendor_boot, init_boot, vbmeta or ramdisk belongs to the boot image or
    /// kernel before it, preferably in the same directory
    #[arg(required_unless_present = "rules", value_name = "INPUT")]
    inputs: Vec<PathBuf>,
    #[arg(long, value_name = "NAME|FILE", default_value = BUILTIN[0].name, help = profile_help())]
    profile: String,
    /// The config of the kernels, instead of the one embedded in each
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// All modules of the kernel: a directory, a ramdisk, an image with ramdisks, a zip file or tar
    /// archive (also compressed) with modules or with such images, or a .ko file; can be given several
    /// times
    #[arg(long, value_name = "DIR|FILE")]
    modules: Vec<PathBuf>,
    /// The kernel command line, instead of the one in the boot image
    #[arg(long, value_name = "STRING", allow_hyphen_values = true)]
    cmdline: Option<String>,
    /// The architecture of kernels and configs that do not tell theirs
    #[arg(long, value_name = "ARCH", value_parser = parse_arch)]
    arch: Option<Arch>,
    /// The version of kernels and configs that do not tell theirs, such as 6.1
    #[arg(long, value_name = "VERSION", value_parser = parse_version)]
    kernel_version: Option<KernelVersion>,
    /// Expand configs (a defconfig, a fragment) by `make olddefconfig` in this kernel source tree, which
    /// stays as it is, and judge the result
    #[arg(long, value_name = "KERNEL_TREE")]
    expand: Option<PathBuf>,
    /// The report format; by default text
    #[arg(long, value_parser = format_parser())]
    format: Option<&'static Format>,
    /// Write the report to this file
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Add JSON lines to this file, except for inputs that have theirs: after an interrupted run, or
    /// when there are more inputs. It is made when missing
    #[arg(long, value_name = "FILE", conflicts_with_all = ["reports", "fragment", "write_baseline"])]
    resume: Option<PathBuf>,
    /// Print the rules of the profile, which reports name by their ids; as JSON with --format json
    #[arg(long, conflicts_with_all = ["inputs", "resume", "output", "reports"])]
    rules: bool,
    /// Write another report of the same run: `--report sarif=check.sarif`
    #[arg(long = "report", value_name = "FORMAT=FILE", value_parser = parse_report)]
    reports: Vec<(&'static Format, PathBuf)>,
    /// Write the Kconfig fragment that makes failing rules pass
    #[arg(long, value_name = "FILE")]
    fragment: Option<PathBuf>,
    /// The lowest level of rules that affect the exit status
    #[arg(long, value_enum, value_name = "LEVEL", default_value_t = FailOn::Required)]
    fail_on: FailOn,
    /// Fail only on findings that are not in this file
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// Write what fails or is unknown now to this file, for --baseline
    #[arg(long, value_name = "FILE")]
    write_baseline: Option<PathBuf>,
    /// How many inputs to check at once; by default one for each processor
    #[arg(short, long, value_name = "N")]
    jobs: Option<NonZeroUsize>,
}

fn format_parser() -> impl TypedValueParser<Value = &'static Format> {
    let values = FORMATS.iter().map(|format| PossibleValue::new(format.name).help(format.about));
    PossibleValuesParser::new(values).try_map(|name| parse_format(&name))
}

fn parse_format(name: &str) -> Result<&'static Format, String> {
    let names = || FORMATS.iter().map(|format| format.name).collect::<Vec<_>>().join(", ");
    Format::named(name).ok_or_else(|| format!("expected one of {}", names()))
}

fn parse_arch(name: &str) -> Result<Arch, String> {
    Arch::from_name(name).ok_or_else(|| "expected an architecture such as arm64".to_owned())
}

fn parse_version(text: &str) -> Result<KernelVersion, String> {
    KernelVersion::parse(text).ok_or_else(|| "expected a version such as 6.1".to_owned())
}

fn parse_report(text: &str) -> Result<(&'static Format, PathBuf), String> {
    let (format, file) = text.split_once('=').ok_or("expected FORMAT=FILE")?;
    Ok((parse_format(format)?, file.into()))
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum FailOn {
    /// Required and forbidden
    Required,
    /// Recommended too
    Recommended,
}

impl FailOn {
    fn level(self) -> Level {
        match self {
            FailOn::Required => Level::Required,
            FailOn::Recommended => Level::Recommended,
        }
    }
}

pub fn run(args: &Args, limit: Option<Budget>) -> anyhow::Result<ExitCode> {
    if args.rules {
        return show_rules(args);
    }
    let baseline = args.baseline.as_deref().map(open_baseline).transpose()?;
    let modules: Vec<ModuleFiles> =
        args.modules.iter().map(|path| ModuleFiles::open(path)).collect::<Result<_, _>>()?;
    let mut options = options(args, &modules)?;
    options.budget = limit;
    refuse_inputs(args)?;
    let interrupt = Interrupt::watch();
    let settings = settings(args, &options)?;
    let (earlier, sinks) = sinks(args, &settings)?;
    let files = CheckFiles::new(&args.inputs);
    let Found { groups, left_out } = group::find(&args.inputs, &files, args.jobs, options.budget);
    for path in left_out {
        complain(format_args!(
            "{}: is left out: it has the name of a config, and does not begin like one",
            path.display()
        ));
    }
    let batch = Batch {
        groups: &groups,
        options: &options,
        jobs: args.jobs,
        files: &files,
        contents: formats(args).any(Format::has_contents),
        earlier: earlier.as_ref(),
    };
    let mut session = Session {
        needs_all: sinks.iter().any(Sink::is_whole)
            || args.fragment.is_some()
            || args.write_baseline.is_some(),
        baseline: baseline.as_ref(),
        sinks,
        interrupt,
        progress: Progress::of(groups.len() as u64, "inputs"),
        totals: Totals::default(),
        run: Run { settings: settings.clone(), inputs: Vec::new() },
        obsolete: Vec::new(),
    };
    let mut result = Ok(());
    batch.each(&mut |checked| {
        result = session.take(checked);
        match result {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    });
    result?;
    session.finish(args)
}

/// What the inputs have in common. What was given is read again only for reports that say it.
fn settings(args: &Args, options: &Options<'_>) -> anyhow::Result<Settings> {
    let mut settings = Settings::of(options);
    if formats(args).any(Format::has_contents) {
        settings.given = Given::of(options)?;
        if let Some(path) = &args.baseline {
            settings.given.add("baseline", &Input::text(path)?);
        }
    }
    Ok(settings)
}

/// The reports on their way, and the inputs so far.
struct Session<'s> {
    baseline: Option<&'s Baseline>,
    sinks: Vec<Sink<'s>>,
    interrupt: Interrupt,
    progress: Progress,
    totals: Totals,
    /// Whether a report needs all inputs at once; otherwise none is kept.
    needs_all: bool,
    run: Run,
    /// Entries that the baseline no longer needs.
    obsolete: Vec<String>,
}

impl Session<'_> {
    fn take(&mut self, checked: Checked) -> anyhow::Result<()> {
        match checked {
            Checked::Earlier(outcome) => self.totals.add(outcome),
            Checked::Now(mut input) => {
                if let Some(baseline) = self.baseline {
                    baseline.apply(&mut input);
                    let obsolete = baseline.obsolete(&input);
                    self.obsolete
                        .extend(obsolete.map(|own| format!("{} of {}", own.rule, own.input)));
                }
                self.totals.add(input.outcome());
                let Session { sinks, interrupt, progress, .. } = self;
                progress.around(|| {
                    let line = interrupt.line();
                    sinks.iter_mut().try_for_each(|sink| sink.input(&input))?;
                    drop(line);
                    complain_of(&input);
                    anyhow::Ok(())
                })?;
                if self.needs_all {
                    self.run.inputs.push(*input);
                }
            }
        }
        let Totals { pass, fail, .. } = self.totals;
        self.progress.advance(1, || format!(": {pass} pass, {fail} fail"));
        Ok(())
    }

    fn finish(self, args: &Args) -> anyhow::Result<ExitCode> {
        let Session { sinks, run, progress, .. } = self;
        drop(progress);
        for sink in sinks {
            sink.finish(&run)?;
        }
        if let Some(path) = &args.fragment {
            write(path, &fragment::render(&run))?;
        }
        if let Some(path) = &args.write_baseline {
            write(path, &Baseline::of(&run).render())?;
        }
        for entry in self.obsolete {
            complain(format_args!("the baseline no longer needs {entry}"));
        }
        Ok(exit_status(&self.totals))
    }
}

fn complain_of(input: &Checkable) {
    if let Err(error) = &input.result {
        complain(format_args!("{}: {error}", input.name));
    }
}

/// The format of the main report.
fn main_format(args: &Args) -> &'static Format {
    let name = if args.resume.is_some() { "jsonl" } else { "text" };
    args.format.or_else(|| Format::named(name)).unwrap_or(&FORMATS[0])
}

fn formats(args: &Args) -> impl Iterator<Item = &'static Format> {
    args.reports.iter().map(|(format, _)| *format).chain([main_format(args)])
}

/// What an earlier run wrote, and where all reports go. The main one is the last.
fn sinks<'s>(
    args: &Args,
    settings: &'s Settings,
) -> anyhow::Result<(Option<Earlier>, Vec<Sink<'s>>)> {
    let mut sinks = Vec::new();
    for (format, path) in &args.reports {
        sinks.push(Sink::new(format, Target::File(path.clone()), settings)?);
    }
    let format = main_format(args);
    let (earlier, target) = match (&args.resume, &args.output) {
        (Some(path), output) => {
            if format.name != "jsonl" {
                bail!("--resume adds lines of --format jsonl, not of --format {}", format.name);
            }
            if output.as_ref().is_some_and(|output| output != path) {
                bail!("--resume FILE is where the report goes: leave out --output");
            }
            let (earlier, file) = earlier::open(path, settings)?;
            (Some(earlier), Target::Growing(file))
        }
        (None, Some(path)) => (None, Target::File(path.clone())),
        (None, None) => (None, Target::Stdout),
    };
    sinks.push(Sink::new(format, target, settings)?);
    Ok((earlier, sinks))
}

fn show_rules(args: &Args) -> anyhow::Result<ExitCode> {
    let profile = open_profile(&args.profile)?;
    match main_format(args).name {
        "json" | "jsonl" => print::json(&rules_json(&profile))?,
        "text" => print::report(&rules_text(&profile))?,
        other => bail!("--rules prints text or json, not {other}"),
    }
    Ok(ExitCode::SUCCESS)
}

fn options<'a>(args: &Args, modules: &'a [ModuleFiles]) -> anyhow::Result<Options<'a>> {
    let mut options = Options::new(open_profile(&args.profile)?);
    options.fail_on = args.fail_on.level();
    options.config = args.config.as_deref().map(open_config).transpose()?;
    options.cmdline = args.cmdline.clone();
    options.arch = args.arch;
    options.version = args.kernel_version;
    options.expand = args.expand.clone();
    if !modules.is_empty() {
        let mut given = GivenModules::default();
        for module in modules {
            let name = || format!("--modules {}", module.path.display());
            given.add(module.sources()).with_context(name)?;
        }
        options.modules = Some(given);
    }
    Ok(options)
}

/// No output may be a file that is read.
fn refuse_inputs(args: &Args) -> anyhow::Result<()> {
    let others = [args.config.as_deref(), Some(Path::new(&args.profile)), args.baseline.as_deref()];
    let inputs = args.inputs.iter().chain(&args.modules).map(PathBuf::as_path);
    let read: Vec<&Path> = inputs.chain(others.into_iter().flatten()).collect();
    let reports = args.reports.iter().map(|(_, path)| path);
    let outputs = reports.chain(&args.output).chain(&args.resume);
    for target in outputs.chain(&args.fragment).chain(&args.write_baseline) {
        // A baseline may be brought up to date in place.
        let update = Some(target) == args.write_baseline.as_ref()
            && args.baseline.as_ref() == args.write_baseline.as_ref();
        if !update {
            output::refuse_inputs(target, read.iter().copied())?;
        }
    }
    Ok(())
}

fn write(path: &Path, report: &str) -> anyhow::Result<()> {
    output::write_file(path, |file| file.write_all(report.as_bytes()))
}

fn exit_status(totals: &Totals) -> ExitCode {
    if totals.errors > 0 {
        return ExitCode::from(EXIT_FAILURE);
    }
    ExitCode::from(match totals.outcome() {
        Some(Outcome::Fail) => 1,
        Some(Outcome::Inconclusive) => 3,
        Some(Outcome::Pass) | None => 0,
    })
}

fn open_baseline(path: &Path) -> anyhow::Result<Baseline> {
    let text = Input::text(path)?;
    let baseline = Baseline::parse(text.as_bytes()).map_err(|error| match error {
        error @ BaselineError::Format(_) => {
            anyhow!("{error}: write it again with --write-baseline")
        }
        error => error.into(),
    });
    baseline.with_context(|| path.display().to_string())
}

fn profile_help() -> String {
    let names = BUILTIN.iter().map(|builtin| format!("`{}`", builtin.name));
    format!("The rules: {}, or a TOML file", names.collect::<Vec<_>>().join(", "))
}

fn open_profile(name: &str) -> anyhow::Result<Profile> {
    let path = Path::new(name);
    match Profile::builtin(name) {
        Ok(profile) => return Ok(profile),
        // A bare name without a file is more likely mistyped than missing.
        Err(error) if !name.contains(['/', '.']) && !path.exists() => {
            return Err(anyhow!("{error}, or name a TOML file"));
        }
        Err(_) => {}
    }
    Ok(Profile::parse(&Input::text(path)?, name)?)
}

fn open_config(path: &Path) -> anyhow::Result<(KernelConfig, Provenance)> {
    let input = Input::open(path)?;
    let config = config_file::read(&input).with_context(|| input.name())?;
    Ok((config, Provenance::File(input.name())))
}
