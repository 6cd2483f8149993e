//! `vfioboot boot-test`: boot images in an emulator and see what the patch does.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, anyhow};
use serde_json::{Value as Json, json};
use vfioboot::bootfile::DeviceSpec;
use vfioboot::bootset::BootSet;
use vfioboot::boottest::{
    self, Error, Event, Line, Options, Report, Source, Trial, Verdict, Which,
};
use vfioboot::image::{Image, Output};
use vfioboot::patch::{self, Plan, Runtimes};

use super::exit::EXIT_UNDECIDED;
use super::image_set;
use super::output::{self, Links};
use super::patch::remedy;
use super::print::{self, say};
use super::progress::Progress;
use super::style::{BAD, DIM, GOOD, HEAD, NOTE};

/// Boot patched images in an emulator, and see what they do before they are flashed
///
/// Give all the images of the device: they are put together as its bootloader does it, and booted in QEMU,
/// on a board with an IOMMU and a device for each that the patch names. The kernel's own log decides: PID 1
/// must be vfiorun, put every device on vfio-pci, and become the original init. Then the originals boot in the
/// same way, as a control. Ends with 0 when it is proven, with 1 when the patch fails where the originals do
/// not, with 2 when an input cannot be read, with 3 when it cannot be decided here.
#[derive(clap::Args)]
pub struct Args {
    /// The images of one device, patched
    #[arg(required = true)]
    images: Vec<PathBuf>,
    /// For images that are not patched: patch them in memory, for these devices
    #[arg(long = "device", value_name = "DEVICE")]
    devices: Vec<DeviceSpec>,
    /// The time after which a boot is ended, by the clock of the emulated machine
    #[arg(long, value_name = "SECONDS", default_value_t = Options::TIME.as_secs(),
          value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: u64,
    /// Write the kernel's log to this file; that of the originals comes after it
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Write what was booted into this directory: kernel, initrd, command line, log
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Write the timeline of the boots as a page to look at: html=FILE
    #[arg(long, value_name = "html=FILE", value_parser = page)]
    report: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// The file of `html=FILE`.
fn page(text: &str) -> Result<PathBuf, String> {
    match text.split_once('=') {
        Some(("html", file)) if !file.is_empty() => Ok(PathBuf::from(file)),
        _ => Err("is not html=FILE".to_owned()),
    }
}

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let opened = image_set::open_each(&args.images)?;
    let (set, _) = image_set::boot_set(&opened)?;
    let time = Duration::from_secs(args.timeout);
    let options = Options { devices: args.devices.clone(), time };
    let report = match args.devices.is_empty() || patch::is_patched(&set)? {
        true => boot(&set, None, &options)?,
        false => {
            let patch = patch::Options::new(args.devices.clone(), Runtimes::built_in());
            let plan = patch::plan(&set, &patch).map_err(remedy::with_remedy)?;
            of_plan(&set, &plan, &options)?
        }
    };
    write_logs(args, &report)?;
    if args.json {
        print::json(&to_json(&report))?;
    } else {
        show(&report)?;
    }
    Ok(status(&report))
}

/// Boot what a plan makes of a set, and the originals.
pub fn of_plan(set: &BootSet<'_>, plan: &Plan<'_>, options: &Options) -> anyhow::Result<Report> {
    let bytes = plan.images.iter().map(|image| image.output.as_ref().map(Output::to_vec));
    let bytes: Vec<Option<Vec<u8>>> = bytes.collect();
    let images = std::iter::zip(&bytes, set.images()).map(|(bytes, image)| match bytes {
        Some(bytes) => Image::parse(bytes),
        None => Ok(image.clone()),
    });
    let patched = BootSet::from_images(&images.collect::<Result<Vec<_>, _>>()?);
    // A set that is patched already has its originals in it, as the result has.
    let originals = (!patch::is_patched(set)?).then_some(set);
    boot(&patched, originals, options)
}

/// Boot, and show meanwhile how far it is.
fn boot(
    set: &BootSet<'_>,
    originals: Option<&BootSet<'_>>,
    options: &Options,
) -> anyhow::Result<Report> {
    let progress = Progress::of_steps();
    let mut step = (None, String::new());
    let seen = &mut |which, line: &str| {
        if step.0 != Some(which) {
            step = (Some(which), "starts".to_owned());
        }
        if let Some(Line { event, .. }) = Line::read(line) {
            let (by, text) = event.parts();
            step.1 = format!("{by}: {text}");
        }
        if let (Some(seconds), _) = boottest::time(line) {
            progress.step(|| format!("{} {seconds:.1} s  {}", title(which), step.1));
        }
    };
    boottest::boot_test(set, originals, options, seen).map_err(with_remedy)
}

/// The name of a boot.
fn title(which: Which) -> &'static str {
    match which {
        Which::Patched => "patched",
        Which::Originals => "original",
    }
}

/// The exit status of a verdict.
pub fn status(report: &Report) -> ExitCode {
    match &report.verdict {
        Verdict::Proven => ExitCode::SUCCESS,
        Verdict::Fails(_) => ExitCode::FAILURE,
        Verdict::Undecided(_) => ExitCode::from(EXIT_UNDECIDED),
    }
}

fn with_remedy(error: Error) -> anyhow::Error {
    match error {
        Error::NotPatched => anyhow!("{error}: --device DEVICE patches it in memory first"),
        error => error.into(),
    }
}

/// The boots in order, with the name of each.
fn trials(report: &Report) -> impl Iterator<Item = (&'static str, &Trial)> {
    let all = [(Which::Patched, &report.patched), (Which::Originals, &report.control)];
    all.into_iter().filter_map(|(which, trial)| Some((title(which), trial.as_ref()?)))
}

fn write_logs(args: &Args, report: &Report) -> anyhow::Result<()> {
    let write = |path: &Path, bytes: &[u8]| -> anyhow::Result<()> {
        let staged = output::stage(path, Links::Follow, |file| io::Write::write_all(file, bytes))?;
        output::publish(vec![staged])
    };
    if let Some(path) = &args.log {
        let logs: String = trials(report).map(|(_, trial)| trial.log.as_str()).collect();
        write(path, logs.as_bytes())?;
    }
    if let Some(path) = &args.report {
        write(path, report.to_html().as_bytes())?;
    }
    let Some(dir) = &args.keep else { return Ok(()) };
    for (name, trial) in trials(report) {
        let dir = dir.join(name);
        std::fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
        let handover = &trial.handover;
        write(&dir.join("kernel"), &handover.kernel)?;
        write(&dir.join("initrd"), &handover.initrd)?;
        write(&dir.join("cmdline"), format!("{}\n", handover.cmdline).as_bytes())?;
        write(&dir.join("log"), trial.log.as_bytes())?;
    }
    Ok(())
}

/// Print what the boots showed.
pub fn show(report: &Report) -> io::Result<()> {
    if let Some(board) = report.board {
        say!("{HEAD}board{HEAD:#}: {}", board.name)?;
    }
    for exchange in &report.exchanged {
        let (named, stand_in) = (&exchange.named, &exchange.stand_in);
        say!("  {named}: {stand_in} stands in, in a copy of the boot file")?;
    }
    for (name, trial) in trials(report) {
        say!("{HEAD}{name}{HEAD:#}")?;
        if trial.source == Source::Memory {
            say!("  nothing on the serial line: this is the log in the memory of the machine")?;
        }
        for line in &trial.lines {
            let time = line.seconds.map(|seconds| format!("{seconds:9.3}")).unwrap_or_default();
            match &line.event {
                Event::Kernel(text) | Event::Booted(text) => {
                    say!("  {DIM}{time:>9}  {text}{DIM:#}")?;
                }
                Event::FirstProgram(program) => say!("  {time:>9}  the kernel starts {program}")?,
                Event::Vfioboot(text) => say!("  {time:>9}  vfiorun: {text}")?,
                Event::NotStarted(text) => say!("  {time:>9}  {NOTE}{text}{NOTE:#}")?,
                Event::Panic(text) => say!("  {time:>9}  {BAD}kernel panic: {text}{BAD:#}")?,
            }
        }
    }
    let control = match &report.control {
        Some(_) => "the originals start in the same way without it",
        None => "the originals are not there to compare",
    };
    match &report.verdict {
        Verdict::Proven => say!(
            "{GOOD}proven{GOOD:#}: every device is on vfio-pci, then the original init; {control}"
        ),
        Verdict::Fails(fault) => {
            print::alarm(format!("the patch fails: {fault}; {control}"));
            Ok(())
        }
        Verdict::Undecided(why) => say!("{NOTE}not decided{NOTE:#}: {why}"),
    }
}

/// What the boots showed, as JSON.
pub fn to_json(report: &Report) -> Json {
    let (verdict, reason) = match &report.verdict {
        Verdict::Proven => ("proven", None),
        Verdict::Fails(fault) => ("fails", Some(fault.to_string())),
        Verdict::Undecided(why) => ("undecided", Some(why.to_string())),
    };
    let fault = match &report.verdict {
        Verdict::Fails(fault) => json!(fault),
        _ => Json::Null,
    };
    let exchanged = report.exchanged.iter();
    json!({
        "format": 1,
        "verdict": verdict,
        "reason": reason,
        "fault": fault,
        "board": report.board.map(|board| &board.name),
        "devices": report.devices.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "stand_ins": exchanged
            .map(|own| json!({ "device": own.named.to_string(), "stand_in": own.stand_in.to_string() }))
            .collect::<Vec<_>>(),
        "patched": report.patched,
        "original": report.control,
    })
}
