//! `vfioboot check`.

mod content;
mod gather;
mod text;
mod workers;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, anyhow, bail};
use vfioboot::audit::baseline::Baseline;
use vfioboot::audit::render::{self, Kind};
use vfioboot::audit::run::{self, Audited, Run};
use vfioboot::audit::{
    BUILTIN, CmdlinePart, Evidence, Facts, Level, Origin, Outcome, Profile, Provenance, Verdict,
    evaluate, fragment,
};
use vfioboot::compression::{Decoder, Format as Compression};
use vfioboot::kernel::KernelConfig;

use self::gather::{Modules, Set};
use super::config::kernel_payload;
use super::{EXIT_FAILURE, input::Input, output};

/// Check whether a kernel can hand PCI devices to a guest
///
/// Exit status: 0 when every required rule passes, 1 when one fails, 2 when an input cannot be
/// read, 3 when what is known does not decide it.
#[derive(clap::Args)]
pub struct Args {
    /// Boot images, bare kernels, .config files (also gzipped), directories with such files; `-`
    /// is standard input. A vendor_boot, init_boot, vbmeta or ramdisk belongs to the boot image or
    /// kernel before it, in its own directory first
    #[arg(required = true, value_name = "INPUT")]
    inputs: Vec<PathBuf>,
    #[arg(long, value_name = "NAME|FILE", default_value = BUILTIN[0].name, help = profile_help())]
    profile: String,
    /// The config of the kernels, instead of the one embedded in each
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// All modules there are beside the kernel: a directory, a ramdisk, an image with ramdisks, a
    /// tar archive (also compressed) or a .ko file; can be given several times
    #[arg(long, value_name = "DIR|FILE")]
    modules: Vec<PathBuf>,
    /// The kernel command line, instead of the one in the boot image
    #[arg(long, value_name = "STRING", allow_hyphen_values = true)]
    cmdline: Option<String>,
    /// How to report
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Write the report to this file
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write another report of the same run: `--report sarif=check.sarif`
    #[arg(long = "report", value_name = "FORMAT=FILE", value_parser = parse_report)]
    reports: Vec<(Format, PathBuf)>,
    /// Write the Kconfig fragment that makes failing rules pass
    #[arg(long, value_name = "FILE")]
    fragment: Option<PathBuf>,
    /// Down to which level rules decide the exit status
    #[arg(long, value_enum, value_name = "LEVEL", default_value_t = FailOn::Required)]
    fail_on: FailOn,
    /// Fail only on what is not in this file
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// Write what fails or is unknown now to this file, for --baseline
    #[arg(long, value_name = "FILE")]
    write_baseline: Option<PathBuf>,
    /// How many inputs to check at once; by default one for each processor
    #[arg(short, long, value_name = "N")]
    jobs: Option<NonZeroUsize>,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people
    Text,
    /// For programs: one document, with a schema
    Json,
    /// For programs: one line an input
    Jsonl,
    /// SARIF 2.1.0, for code scanning
    Sarif,
    /// JUnit XML
    Junit,
    /// Annotations in GitHub Actions
    Github,
    /// For a comment on a pull request
    Markdown,
    /// A page to look at
    Html,
}

impl Format {
    /// The library's report; None for text.
    fn kind(self) -> Option<Kind> {
        Some(match self {
            Format::Text => return None,
            Format::Json => Kind::Json,
            Format::Jsonl => Kind::Jsonl,
            Format::Sarif => Kind::Sarif,
            Format::Junit => Kind::Junit,
            Format::Github => Kind::Github,
            Format::Markdown => Kind::Markdown,
            Format::Html => Kind::Html,
        })
    }
}

fn parse_report(text: &str) -> Result<(Format, PathBuf), String> {
    let (format, file) = text.split_once('=').ok_or("expected FORMAT=FILE")?;
    let format = <Format as clap::ValueEnum>::from_str(format, false)?;
    Ok((format, file.into()))
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

/// What the options say about all inputs.
struct Given<'a> {
    profile: &'a Profile,
    config: Option<(KernelConfig, Provenance)>,
    cmdline: Option<&'a str>,
    modules: Option<Modules>,
}

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let profile = open_profile(&args.profile)?;
    let config = match &args.config {
        None => None,
        Some(path) => Some(open_config(path)?),
    };
    let baseline = match &args.baseline {
        None => None,
        Some(path) => Some(open_baseline(path)?),
    };
    refuse_inputs(args)?;
    let given = Given {
        profile: &profile,
        config,
        cmdline: args.cmdline.as_deref(),
        modules: Modules::open(&args.modules)?,
    };
    let fail_on = args.fail_on.level();
    let sets = gather::sets(&gather::expand(&args.inputs), args.jobs);
    let inputs = workers::map(&sets, args.jobs, |set| run::Input {
        name: set.main.display().to_string(),
        key: key(&set.main),
        result: check(set, &given)
            .map(|audited| Audited { fail_on, ..audited })
            .map_err(|error| format!("{error:#}")),
    });
    let (name, title) = (profile.name.clone(), profile.title.clone());
    let mut run = Run { profile: name.into_owned(), title: title.into_owned(), fail_on, inputs };
    if let Some(baseline) = &baseline {
        baseline.apply(&mut run);
    }

    let whole = |format: Format, with_errors| match format.kind() {
        Some(kind) => render::render(kind, &run),
        None => text::render(&run, with_errors),
    };
    for (format, path) in &args.reports {
        write(path, &whole(*format, true))?;
    }
    if let Some(path) = &args.fragment {
        write(path, &fragment::render(&run))?;
    }
    if let Some(path) = &args.write_baseline {
        write(path, &Baseline::of(&run).render())?;
    }
    match &args.output {
        Some(path) => write(path, &whole(args.format, true))?,
        None => {
            let report = whole(args.format, false);
            // Only text has colours to drop; a report for programs is what it is.
            if args.format == Format::Text {
                let mut stdout = anstream::stdout().lock();
                stdout.write_all(report.as_bytes())?;
                stdout.flush()?;
            } else {
                output::to_stdout(report.as_bytes())?;
            }
        }
    }
    for input in &run.inputs {
        if let Err(error) = &input.result {
            anstream::eprintln!("vfioboot: {}: {error}", text::plain(&input.name));
        }
    }
    if let Some(baseline) = &baseline {
        for entry in baseline.obsolete(&run) {
            let (rule, input) = (text::plain(&entry.rule), text::plain(&entry.input));
            anstream::eprintln!("vfioboot: the baseline no longer needs {rule} of {input}");
        }
    }
    Ok(exit_status(&run))
}

/// No output may be a file that is read.
fn refuse_inputs(args: &Args) -> anyhow::Result<()> {
    let others = [args.config.as_deref(), Some(Path::new(&args.profile)), args.baseline.as_deref()];
    let inputs = args.inputs.iter().chain(&args.modules).map(PathBuf::as_path);
    let read: Vec<&Path> = inputs.chain(others.into_iter().flatten()).collect();
    let reports = args.reports.iter().map(|(_, path)| path);
    for target in reports.chain(&args.output).chain(&args.fragment).chain(&args.write_baseline) {
        // A baseline may be brought up to date in place.
        let update = Some(target) == args.write_baseline.as_ref()
            && args.baseline.as_ref() == args.write_baseline.as_ref();
        if !update {
            output::refuse_inputs(target, read.iter().copied())?;
        }
    }
    Ok(())
}

/// Without escape sequences: it goes to a file.
fn write(path: &Path, report: &str) -> anyhow::Result<()> {
    let plain = anstream::adapter::strip_str(report).to_string();
    output::write_file(path, |file| file.write_all(plain.as_bytes()))
}

/// The path as it is named from the working directory, with no `./` in front.
fn key(path: &Path) -> String {
    let here = std::env::current_dir().ok();
    let path = here.and_then(|here| path.strip_prefix(here).ok()).unwrap_or(path);
    let path: PathBuf =
        path.components().filter(|part| *part != std::path::Component::CurDir).collect();
    path.display().to_string()
}

fn exit_status(run: &Run) -> ExitCode {
    if run.has_errors() {
        return ExitCode::from(EXIT_FAILURE);
    }
    ExitCode::from(match run.outcome() {
        Some(Outcome::Fail) => 1,
        Some(Outcome::Inconclusive) => 3,
        Some(Outcome::Pass) | None => 0,
    })
}

fn open_baseline(path: &Path) -> anyhow::Result<Baseline> {
    let input = Input::open(path)?;
    Baseline::parse(&input).with_context(|| input.name())
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
    let input = Input::open(path)?;
    let text = std::str::from_utf8(&input).with_context(|| format!("{name}: is no text"))?;
    Ok(Profile::parse(text, name)?)
}

fn open_config(path: &Path) -> anyhow::Result<(KernelConfig, Provenance)> {
    let input = Input::open(path)?;
    let config = match config_text(&input).with_context(|| input.name())? {
        Some(text) => KernelConfig::parse(&text),
        None => KernelConfig::parse(&input),
    };
    Ok((config.with_context(|| input.name())?, Provenance::File(input.name())))
}

fn check(set: &Set, given: &Given) -> anyhow::Result<Audited> {
    // Without the name, which the caller puts in front.
    let open = |path: &Path| Input::open(path).map_err(|error| anyhow!("{}", error.root_cause()));
    if set.main.is_dir() {
        bail!("is a directory without any boot image, kernel or config that can be read");
    }
    let input = open(&set.main)?;
    let name = input.name();
    let beside =
        set.beside.iter().map(|path| Input::open(path)).collect::<anyhow::Result<Vec<_>>>()?;
    let text = config_text(&input)?;
    let holds_kernel = text.is_none();
    let (what, mut facts, mut problems) = match text {
        Some(text) => {
            if given.config.is_some() {
                bail!("is a config itself; --config goes with a kernel or a boot image");
            }
            let mut facts = Facts::default();
            facts.set_config(KernelConfig::parse(&text)?, Provenance::File(name.clone()));
            ("config file".to_owned(), facts, Vec::new())
        }
        None => kernel_facts(&input, &name, given.config.as_ref())?,
    };
    if let Some(arch) = facts.arch.filter(|arch| !given.profile.covers(*arch)) {
        let (name, covered) = (&given.profile.name, &given.profile.arch);
        let covered: Vec<&str> = covered.iter().map(|arch| arch.name()).collect();
        bail!("is for {arch}; the profile {name} has rules for {} only", covered.join(" and "));
    }
    match given.cmdline {
        Some(line) => {
            facts.set_cmdline(vec![CmdlinePart { origin: Origin::Given, text: line.to_owned() }])
        }
        None => gather::add_cmdlines(&mut facts, &mut problems, &input, &beside),
    }
    if let Some(modules) = &given.modules {
        facts.modules = Some(modules.gathered.modules.clone());
        problems.extend(modules.gathered.problems.iter().cloned());
    }
    let mut report = evaluate(given.profile, &facts);
    // Ramdisks are unpacked only where their modules can decide something.
    if report.with(Verdict::Unknown).next().is_some() {
        let images = std::iter::once(&input).chain(&beside);
        gather::add_from_images(&mut facts, &mut problems, images)?;
        report = evaluate(given.profile, &facts);
    }
    if holds_kernel && report.findings.iter().any(|own| own.reason.module().is_some()) {
        let images = std::iter::once(&input).chain(&beside);
        gather::link(&mut facts, given.profile, &input, given.modules.as_ref(), images)?;
        report = evaluate(given.profile, &facts);
    }
    // Of a packed config or an embedded one there are no lines to show.
    let lines = if is_config(&input) { run::lines(&report, &input) } else { BTreeMap::new() };
    let (facts, known) = (facts.outline(), BTreeSet::new());
    Ok(Audited { what, facts, report, problems, fail_on: Level::Required, known, lines })
}

/// What a kernel tells about itself, its problems beside it.
fn kernel_facts(
    input: &[u8],
    name: &str,
    config: Option<&(KernelConfig, Provenance)>,
) -> anyhow::Result<(String, Facts, Vec<String>)> {
    let payload = match kernel_payload(input) {
        Err(error) if !content::begins_as_image(input) => match content::describe(input) {
            Some(what) => bail!("{what}"),
            None => return Err(error),
        },
        payload => payload?,
    };
    let kernel = payload.kernel()?;
    // The symbol table stands in for a config, and only then is a compressed kernel held in memory
    // as a whole.
    let (scan, names) = match config {
        Some(_) => (kernel.scan()?, None),
        None => kernel.scan_or_kallsyms()?,
    };
    let mut problems: Vec<String> = kernel.problems().iter().map(ToString::to_string).collect();
    if !scan.is_linux() && scan.complete {
        let summary = kernel.summary();
        if kernel.is_raw() && content::looks_encrypted(payload.bytes) {
            bail!("no kernel that can be read: it is encrypted, or compressed in an unknown way");
        }
        if payload.cmdline.is_none() {
            bail!("no Linux kernel: {summary} that holds neither a Linux banner nor a config");
        }
        problems.push("there is no Linux banner in it: it may be no Linux kernel".into());
    }
    let mut facts = Facts::from_scan(&scan, kernel.arch(), name);
    if let Some((config, provenance)) = config {
        if facts.config.is_some() {
            problems.push("the kernel has a config embedded; --config is used instead".into());
        }
        if let (Some(kernel), Some(other)) = (facts.arch, config.arch())
            && kernel != other
        {
            bail!("the kernel is for {kernel}, but {provenance} is for {other}");
        }
        facts.set_config(config.clone(), provenance.clone());
    }
    facts.evidence =
        names.map(|names| Evidence::collect(&names, facts.arch, facts.version(), name));
    if let Some(damage) = scan.damage {
        if facts.config.is_none() {
            return Err(damage.into());
        }
        problems.push(damage.to_string());
    }
    facts.cmdline = payload.cmdline;
    Ok((kernel.summary(), facts, problems))
}

/// The most that a config takes, unpacked, in bytes.
const MAX_CONFIG: u64 = 16 << 20;

/// The text of a config, when `input` is one, gzipped or plain. Told by its first bytes, so that
/// no kernel is unpacked for it.
fn config_text(input: &[u8]) -> anyhow::Result<Option<Vec<u8>>> {
    let Some(format) = Compression::detect(input) else {
        return Ok(is_config(input).then(|| input.to_vec()));
    };
    let mut head = Vec::new();
    let mut decoder = Decoder::new(format, input)?;
    // Damage is told when the rest is read, by whatever reads it.
    let _ = decoder.by_ref().take(HEAD as u64).read_to_end(&mut head);
    if !is_config(&head) {
        return Ok(None);
    }
    Ok(Some(Decoder::new(format, input)?.read_all(MAX_CONFIG)?))
}

/// How much of a file tells whether it is text, in bytes.
const HEAD: usize = 4096;

/// Text whose first line that is no comment sets a symbol, as far as it can be seen.
fn is_config(bytes: &[u8]) -> bool {
    let head = &bytes[..bytes.len().min(HEAD)];
    let text = content::is_text(head);
    let mut lines = head.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
    text && lines
        .find(|line| !line.starts_with(b"#") || line.starts_with(b"# CONFIG_"))
        .is_some_and(|line| line.starts_with(b"CONFIG_") || line.starts_with(b"# CONFIG_"))
}
