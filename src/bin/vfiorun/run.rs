//! `vfiorun run`.

use std::ffi::c_int;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;
use vfioboot::bootfile::DeviceSpec;
use vfioboot::device::bind::lease::Report;
use vfioboot::device::bind::recover::{self, Leftover};
use vfioboot::device::guest::file::{self, Guest};
use vfioboot::device::guest::log::LogFile;
use vfioboot::device::guest::qemu::probe;
use vfioboot::device::guest::qemu::qmp::{self, ShutdownCause};
use vfioboot::device::guest::run::preflight::{Options, Start};
use vfioboot::device::guest::run::record;
use vfioboot::device::guest::run::restart::Restarts;
use vfioboot::device::guest::run::signals::Signals;
use vfioboot::device::guest::run::supervise::{GuestExit, Notice};
use vfioboot::device::guest::run::{self, Context, Progress};
use vfioboot::device::sys::cpu_list;
use vfioboot::device::sys::host::{Host, errno_text};
use vfioboot::device::sys::machine;
use vfioboot::device::sys::state::StateDir;
use vfioboot::usage::{Matches, UsageError};

use crate::global::{Global, Waiting};
use crate::outcome::{Answer, Failure, Outcome};
use crate::{output, remedy};

pub struct Arguments {
    file: PathBuf,
    dry_run: bool,
    libvirt: bool,
    json: bool,
    force: Vec<DeviceSpec>,
    allow_protected: bool,
    quiet: bool,
    log: Option<PathBuf>,
    waiting: Waiting,
}

impl Arguments {
    pub fn of(given: &Matches) -> Result<Self, UsageError> {
        Ok(Self {
            file: given.value("GUEST.toml").unwrap_or_default().into(),
            dry_run: given.has("dry-run"),
            libvirt: given.has("libvirt"),
            json: given.has("json"),
            force: given.parsed("force")?,
            allow_protected: given.has("allow-protected"),
            quiet: given.has("quiet"),
            log: given.value("log").map(PathBuf::from),
            waiting: Waiting::of(given)?,
        })
    }
}

pub fn run(global: &Global, arguments: &Arguments) -> Outcome {
    // Before anything is done that a signal could interrupt.
    let signals = Arc::new(Signals::hold()?);
    let counted = Arc::clone(&signals);
    let host = global.host_within(&arguments.waiting, Arc::new(move || counted.stops()));
    let state = global.state();
    let guest = file::read(&arguments.file)?;
    if let Some(path) = &arguments.log {
        let opened = LogFile::open(path, &guest.log);
        output::to_log(opened.map_err(|error| cannot_log(path, &error))?);
    }
    let options = Options {
        force: arguments.force.clone(),
        allow_protected: arguments.allow_protected,
        path: std::env::var("PATH").ok(),
        machine: machine::of(&host),
    };
    if arguments.libvirt || arguments.dry_run {
        let start = Start::new(&host, &state, &guest, &options);
        return match arguments.libvirt {
            true => libvirt(&host, &guest, &start),
            false => dry_run(&host, &state, &guest, &start, arguments.json),
        };
    }
    let file = std::path::absolute(&arguments.file).unwrap_or_else(|_| arguments.file.clone());
    let log =
        arguments.log.as_ref().map(|log| std::path::absolute(log).unwrap_or_else(|_| log.clone()));
    let (host, state, signals, log) = (&host, &state, &*signals, log.as_deref());
    let mut restarts = Restarts::new(guest.restart);
    loop {
        restarts.begin();
        let context = Context { host, state, signals, restarts: &restarts, log };
        let (ended, outcome) = match once(context, &guest, &file, &options, arguments) {
            Ok(finished) => {
                let ended = Ended::of(&finished.ended);
                (ended, finish(&guest, &finished, arguments))
            }
            Err(failure) => (Ended::without(&failure), Err(failure)),
        };
        let Ended { status, reason, ran } = ended;
        let Some(pause) = restarts.ended(status, &reason, ran, signals) else {
            record::forget(host, state, &guest.name);
            return outcome;
        };
        if let Err(failure) = outcome {
            failure.report();
        }
        let (name, seconds) = (&guest.name, pause.as_secs());
        output::complain(&format!("guest {name} is started again in {seconds} s"));
        let mut notify = |progress: &Progress| show(progress, arguments.quiet);
        let context = Context { host, state, signals, restarts: &restarts, log };
        if !run::wait_to_start_again(context, &guest, &file, pause, &mut notify) {
            record::forget(host, state, &guest.name);
            return Ok(Answer::Status(status));
        }
    }
}

fn cannot_log(path: &Path, error: &io::Error) -> Failure {
    Failure::new(format!("{}: {}", path.display(), errno_text(error)))
}

fn libvirt(host: &Host, guest: &Guest, start: &Start) -> Outcome {
    let devices = start.devices(host, guest);
    output::print(&guest.domain(start.arch, &start.qemu, &devices)?)?;
    Ok(Answer::Yes)
}

/// How a start ended, for the next one.
struct Ended {
    status: c_int,
    reason: String,
    /// Whether the guest ran.
    ran: bool,
}

impl Ended {
    fn of(ended: &GuestExit) -> Self {
        Self { status: ended.code(), reason: ended.to_string(), ran: ended.ran }
    }

    fn without(failure: &Failure) -> Self {
        Self { status: 2, reason: failure.to_string(), ran: false }
    }
}

/// Starts the guest and stays until it has ended.
fn once(
    context: Context<'_>,
    guest: &Guest,
    file: &Path,
    options: &Options,
    arguments: &Arguments,
) -> Result<run::RunReport, Failure> {
    let Context { host, state, .. } = context;
    if let Some((found, report)) = recover::recover_one(host, state, guest.name.as_str())? {
        output::complain(&recovered(&found, &report));
        if !report.is_clean() {
            return Err(Failure::new(
                "not everything could be undone: vfiorun recover tries again",
            ));
        }
    }
    let start = Start::new(host, state, guest, options);
    if !start.refusals.is_empty() {
        let refusals: Vec<String> = start.refusals.iter().map(remedy::start).collect();
        refusals.iter().flat_map(|refusal| refusal.lines()).for_each(output::complain);
        let name = &guest.name;
        return Err(Failure::new(format!("guest {name} is not started, nothing was changed")));
    }
    for warning in &start.warnings {
        output::complain(&format!("warning: {warning}"));
    }
    let finished = run::run(context, guest, file, &start, &mut |progress| {
        show(progress, arguments.quiet);
    })?;
    let run::RunReport { ended, reason, .. } = &finished;
    if let Some(reason) = reason {
        output::complain(&reason.with_fix());
    } else if !ended.ran
        && ended.escalation.is_none()
        && let Some(explain) = probe::explain(
            &start.qemu,
            guest.chroot.as_deref().map(Path::new),
            !guest.devices.is_empty(),
        )
    {
        output::complain(&explain);
    }
    Ok(finished)
}

/// What a dead vfiorun had left of the guest.
fn recovered(found: &Leftover, report: &Report) -> String {
    let mut text = format!("\"{}\" was killed; undone:", found.what);
    for (step, ending) in &report.steps {
        text += &format!("\n  {step}: {ending}");
    }
    text
}

fn finish(guest: &Guest, finished: &run::RunReport, arguments: &Arguments) -> Outcome {
    let run::RunReport { ended, reason, report } = finished;
    if arguments.json {
        output::print_json(&json!({
            "format": 1,
            "name": guest.name.as_str(),
            "ended": ended.to_string(),
            "status": ended.code(),
            "qemu_status": ended.status.code(),
            "reason": ended.reason.as_ref().map(ShutdownCause::name),
            "panicked": ended.panicked,
            "cause": reason.as_ref().map(|reason| {
                json!({ "id": reason.cause.id, "found": reason.to_string(), "fix": reason.cause.fix })
            }),
            "undone": report.steps.iter().map(|(step, ending)| {
                json!({ "step": step.to_string(), "result": ending.to_string() })
            }).collect::<Vec<_>>(),
        }))?;
    }
    if !arguments.quiet || ended.code() != 0 {
        output::complain(&ended.to_string());
    }
    if !report.is_clean() {
        output::complain(&report.to_string());
        return Err(Failure::new("not everything could be undone: vfiorun recover tries again"));
    }
    if !arguments.quiet {
        report.told().for_each(|line| output::complain(&line));
    }
    Ok(Answer::Status(ended.code()))
}

fn show(progress: &Progress, quiet: bool) {
    let text = match progress {
        Progress::Warning(text) => format!("warning: {text}"),
        Progress::Notice(Notice::Said(line)) => return output::pass_on(line),
        Progress::Notice(Notice::Console(bytes)) => return output::console(bytes),
        Progress::Notice(Notice::MonitorLost(reason) | Notice::Plugged(Err(reason))) => {
            format!("warning: {reason}")
        }
        _ if quiet => return,
        Progress::Step(text) => text.clone(),
        Progress::Notice(notice) => match notice {
            Notice::Running(version) => format!("the guest runs (QEMU {version})"),
            Notice::Event(qmp::Event::Reset) => "the guest is being reset".to_owned(),
            Notice::Event(qmp::Event::Panicked) => "the guest panicked".to_owned(),
            Notice::Event(_)
            | Notice::MonitorLost(_)
            | Notice::Plugged(Err(_))
            | Notice::Said(_)
            | Notice::Console(_) => return,
            Notice::PoweringDown(time) => {
                format!("asked the guest to power down; it has {} s", time.as_secs())
            }
            Notice::Quitting(time) => format!("asked QEMU to quit; it has {} s", time.as_secs()),
            Notice::Killing => "killing QEMU".to_owned(),
            Notice::Terminal(key) => {
                format!("the terminal is the guest's; {key} asks the guest to power down")
            }
            Notice::Plugged(Ok(text)) => text.clone(),
        },
    };
    output::complain(&text);
}

fn dry_run(host: &Host, state: &StateDir, guest: &Guest, start: &Start, as_json: bool) -> Outcome {
    let argv = start.argv(host, guest);
    let left = recover::left_by(host, state, guest.name.as_str())?;
    let undone: Vec<String> = left.iter().flat_map(|left| output::texts(&left.steps)).collect();
    let refusals: Vec<String> = start.refusals.iter().map(remedy::start).collect();
    let devices = start.devices(host, guest);
    if as_json {
        output::print_json(&json!({
            "format": 1,
            "name": guest.name.as_str(),
            "undo_first": undone,
            "refusals": refusals,
            "warnings": output::texts(&start.warnings),
            "devices": devices.iter().map(|(a, _)| a.to_string()).collect::<Vec<_>>(),
            "cpus": start.cpus,
            "steps": start.steps(guest.chroot.as_deref()),
            "chroot": guest.chroot,
            "qemu": start.qemu,
            "argv": argv,
        }))?;
    } else {
        let first: String = undone.iter().map(|step| format!("# first: {step}\n")).collect();
        output::print(&(first + &text(guest, start, &refusals, &argv)))?;
    }
    Ok(if refusals.is_empty() { Answer::Yes } else { Answer::No })
}

/// The plan as a shell script that people can read.
fn text(guest: &Guest, start: &Start, refusals: &[String], argv: &[String]) -> String {
    let mut text = String::new();
    for refusal in refusals.iter().flat_map(|refusal| refusal.lines()) {
        text.push_str(&format!("# refused: {refusal}\n"));
    }
    for warning in &start.warnings {
        text.push_str(&format!("# warning: {warning}\n"));
    }
    for step in start.steps(guest.chroot.as_deref()) {
        text.push_str(&format!("{step}\n"));
    }
    if let Some(cpus) = &start.cpus {
        text.push_str(&format!("# on CPUs {}\n", cpu_list::format(cpus)));
    }
    if let Some(chroot) = &guest.chroot {
        text.push_str(&format!("# in a mount namespace of its own:\nchroot {} ", quoted(chroot)));
    }
    text.push_str(&quoted(&start.qemu));
    for word in argv {
        // An option begins a line.
        let option = word.starts_with('-') && Path::new(word).components().count() == 1;
        text.push_str(if option { " \\\n    " } else { " " });
        text.push_str(&quoted(word));
    }
    text.push('\n');
    text
}

/// A word as a shell reads it.
fn quoted(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./:=,@+%".contains(&b);
    match !word.is_empty() && word.bytes().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}
