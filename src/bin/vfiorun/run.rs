//! `vfiorun run`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;
use vfioboot::bootfile::DeviceSpec;
use vfioboot::device::bind::undo::Ending;
use vfioboot::device::guest::file::{self, Guest};
use vfioboot::device::guest::qemu::probe;
use vfioboot::device::guest::qemu::qmp::{self, ShutdownCause};
use vfioboot::device::guest::run::preflight::{Options, Start};
use vfioboot::device::guest::run::signals::Signals;
use vfioboot::device::guest::run::supervise::Notice;
use vfioboot::device::guest::run::{self, Context, Progress};
use vfioboot::device::sys::cpu_list;
use vfioboot::device::sys::host::Host;
use vfioboot::device::sys::machine;

use crate::global::{Global, Waiting};
use crate::outcome::{Answer, Failure, Outcome};
use crate::{output, remedy};

#[derive(clap::Args)]
pub struct Arguments {
    /// The guest file
    #[arg(value_name = "GUEST.toml")]
    file: PathBuf,
    /// Show every write and QEMU's arguments, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Print the guest as libvirt's domain XML, and change nothing
    #[arg(long, conflicts_with = "dry_run")]
    libvirt: bool,
    /// Print JSON: the plan with --dry-run, otherwise how the guest ended
    #[arg(long, conflicts_with = "libvirt")]
    json: bool,
    /// Take this device although the system needs it (may be repeated)
    #[arg(long, value_name = "DEV")]
    force: Vec<DeviceSpec>,
    /// Try it on a protected KVM
    #[arg(long)]
    allow_protected: bool,
    /// Report only what goes wrong; the guest's console is shown anyway
    #[arg(long, short)]
    quiet: bool,
    #[command(flatten)]
    waiting: Waiting,
}

pub fn run(global: &Global, arguments: &Arguments) -> Outcome {
    // Before anything is done that a signal could interrupt.
    let signals = Arc::new(Signals::hold()?);
    let counted = Arc::clone(&signals);
    let host = global.host_within(&arguments.waiting, Arc::new(move || counted.stops()));
    let state = global.state();
    let guest = file::read(&arguments.file)?;
    let options = Options {
        force: arguments.force.clone(),
        allow_protected: arguments.allow_protected,
        path: std::env::var("PATH").ok(),
        machine: machine::of(&host),
    };
    let start = Start::new(&host, &state, &guest, &options);
    if arguments.libvirt {
        let devices = start.devices(&host, &guest);
        output::print(&guest.domain(start.arch, &start.qemu, &devices)?)?;
        return Ok(Answer::Yes);
    }
    if arguments.dry_run {
        return dry_run(&host, &guest, &start, arguments.json);
    }
    if !start.refusals.is_empty() {
        let refusals: Vec<String> = start.refusals.iter().map(remedy::start).collect();
        refusals.iter().flat_map(|refusal| refusal.lines()).for_each(output::complain);
        let name = &guest.name;
        return Err(Failure::new(format!("guest {name} is not started, nothing was changed")));
    }
    for warning in &start.warnings {
        output::complain(&format!("warning: {warning}"));
    }
    let file = std::path::absolute(&arguments.file).unwrap_or_else(|_| arguments.file.clone());
    let context = Context { host: &host, state: &state, signals: &signals };
    let finished = run::run(context, &guest, &file, &start, &mut |progress| {
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
    finish(&guest, &finished, arguments)
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
    // That QEMU has ended was said.
    let undone = report.steps.iter().filter(|(_, ending)| !matches!(ending, Ending::Gone));
    if !arguments.quiet {
        for (step, ending) in undone {
            output::complain(&format!("{step}: {ending}"));
        }
    }
    Ok(Answer::Status(ended.code()))
}

fn show(progress: &Progress, quiet: bool) {
    let text = match progress {
        Progress::Warning(text) => format!("warning: {text}"),
        Progress::Notice(Notice::Said(line)) => return output::pass_on(line),
        Progress::Notice(Notice::MonitorLost(reason)) => format!("warning: {reason}"),
        _ if quiet => return,
        Progress::Step(text) => text.clone(),
        Progress::Notice(notice) => match notice {
            Notice::Running(version) => format!("the guest runs (QEMU {version})"),
            Notice::Event(qmp::Event::Reset) => "the guest is being reset".to_owned(),
            Notice::Event(qmp::Event::Panicked) => "the guest panicked".to_owned(),
            Notice::Event(_) | Notice::MonitorLost(_) | Notice::Said(_) => return,
            Notice::PoweringDown(time) => {
                format!("asked the guest to power down; it has {} s", time.as_secs())
            }
            Notice::Quitting(time) => format!("asked QEMU to quit; it has {} s", time.as_secs()),
            Notice::Killing => "killing QEMU".to_owned(),
        },
    };
    output::complain(&text);
}

fn dry_run(host: &Host, guest: &Guest, start: &Start, as_json: bool) -> Outcome {
    let argv = start.argv(host, guest);
    let refusals: Vec<String> = start.refusals.iter().map(remedy::start).collect();
    let devices = start.devices(host, guest);
    if as_json {
        output::print_json(&json!({
            "format": 1,
            "name": guest.name.as_str(),
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
        output::print(&text(guest, start, &refusals, &argv))?;
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
