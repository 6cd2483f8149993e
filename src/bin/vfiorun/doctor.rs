//! `vfiorun doctor`.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::json;
use vfioboot::bootfile::DeviceSpec;
use vfioboot::device::bus::names::Names;
use vfioboot::device::bus::pci::{self, PciDevice};
use vfioboot::device::doctor::{self, Check, Status, bundle};
use vfioboot::device::sys::host::{Host, errno_text};
use vfioboot::usage::{Matches, UsageError};

use crate::global::Global;
use crate::outcome::{Answer, Failure, Outcome};
use crate::output::{self, Page, Style};

pub struct Arguments {
    devices: Vec<DeviceSpec>,
    bundle: Option<PathBuf>,
    json: bool,
}

impl Arguments {
    pub fn of(given: &Matches) -> Result<Self, UsageError> {
        Ok(Self {
            devices: given.parsed("DEV")?,
            bundle: given.value("bundle").map(PathBuf::from),
            json: given.has("json"),
        })
    }
}

pub fn run(global: &Global, arguments: &Arguments) -> Outcome {
    let host = global.host();
    if let Some(file) = &arguments.bundle {
        return pack(&host, file);
    }
    if !arguments.devices.is_empty() {
        return devices(&host, arguments);
    }
    let checks = doctor::examine(&host);
    let verdict = doctor::verdict(&checks);
    match arguments.json {
        true => output::print_json(&document(&checks, verdict))?,
        false => page(&checks, verdict).print()?,
    }
    Ok(answer(verdict))
}

fn answer(verdict: Status) -> Answer {
    if verdict == Status::Problem { Answer::No } else { Answer::Yes }
}

/// Everything about some devices.
fn devices(host: &Host, arguments: &Arguments) -> Outcome {
    let all = pci::enumerate(host)?;
    let mut wanted: Vec<&PciDevice> = Vec::new();
    for spec in &arguments.devices {
        let found: Vec<&PciDevice> = all.iter().filter(|device| device.matches(spec)).collect();
        if found.is_empty() {
            return Err(Failure::new(format!(
                "{spec}: no such device (vfiorun devices lists them)"
            )));
        }
        wanted.extend(
            found.into_iter().filter(|device| !wanted.contains(device)).collect::<Vec<_>>(),
        );
    }
    let ids: Vec<(u16, u16)> = wanted.iter().map(|device| (device.vendor, device.device)).collect();
    let names = Names::find(host, &ids);
    let examined: Vec<(&PciDevice, Vec<Check>)> =
        wanted.iter().map(|device| (*device, doctor::device::examine(host, device))).collect();
    let worst = examined.iter().map(|(_, checks)| doctor::verdict(checks)).max();
    let worst = worst.unwrap_or(Status::Ok);
    if arguments.json {
        let device = |(device, checks): &(&PciDevice, Vec<Check>)| {
            json!({
                "address": device.address.to_string(),
                "vendor": format!("{:04x}", device.vendor),
                "device": format!("{:04x}", device.device),
                "verdict": doctor::verdict(checks).name(),
                "checks": checks.iter().map(check_document).collect::<Vec<_>>(),
            })
        };
        let devices: Vec<_> = examined.iter().map(device).collect();
        output::print_json(&json!({ "format": 1, "verdict": worst.name(), "devices": devices }))?;
        return Ok(answer(worst));
    }
    let mut page = Page::new();
    for (device, checks) in &examined {
        let PciDevice { vendor, device: id, .. } = *device;
        let name = [names.vendor(*vendor), names.device(*vendor, *id)];
        let name: String = name.into_iter().flatten().map(|name| format!(" {name}")).collect();
        page.styled(Style::Head, &device.address.to_string());
        page.put(&format!("{name} [{vendor:04x}:{id:04x}]\n"));
        checks.iter().for_each(|check| line(&mut page, check));
    }
    page.print()?;
    Ok(answer(worst))
}

/// Writes a bundle, for its owner alone.
fn pack(host: &Host, file: &Path) -> Outcome {
    let failed = |error| Failure::new(format!("{}: {}", file.display(), errno_text(&error)));
    let packed = bundle::pack(host);
    let mut out =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(file).map_err(failed)?;
    out.write_all(&packed.tar).and_then(|()| out.sync_all()).map_err(failed)?;
    let mut text = format!("{}: {} files and links\n", file.display(), packed.entries);
    for left_out in &packed.left_out {
        text.push_str(&format!("left out: {left_out}\n"));
    }
    text.push_str(&format!(
        "to look at it elsewhere: vfiorun --sysroot {} doctor\n",
        file.display()
    ));
    output::print(&text)?;
    Ok(Answer::Yes)
}

/// One check, with what to do about it.
fn line(page: &mut Page, check: &Check) {
    let (style, mark) = match (check.status, check.follows_from) {
        (Status::Ok, _) => (Style::Good, "ok     "),
        (Status::Warning, None) => (Style::Note, "warning"),
        (Status::Problem, None) => (Style::Bad, "problem"),
        (Status::Warning | Status::Problem, Some(_)) => (Style::Note, "  hence"),
    };
    page.styled(style, mark).put("  ").styled(Style::Head, check.title);
    page.put(": ").put(&check.found).put("\n");
    if let Some(fix) = check.fix.as_ref().filter(|_| check.follows_from.is_none()) {
        page.put("         ").styled(Style::Label, "fix:").put(" ").put(fix).put("\n");
    }
}

fn page(checks: &[Check], verdict: Status) -> Page {
    let mut page = Page::new();
    checks.iter().for_each(|check| line(&mut page, check));
    let (style, verdict) = match verdict {
        Status::Problem => (Style::Bad, "passthrough does not work on this system as it is"),
        Status::Warning => (Style::Note, "nothing prevents passthrough"),
        Status::Ok => (Style::Good, "everything that passthrough needs is present"),
    };
    let count = |status, noun: &str| {
        let own = |check: &&Check| check.status == status && check.follows_from.is_none();
        let count = checks.iter().filter(own).count();
        format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
    };
    let more = checks.iter().filter(|check| check.follows_from.is_some()).count();
    let more = if more > 0 { format!(", {more} that follow") } else { String::new() };
    let (problems, warnings) =
        (count(Status::Problem, "problem"), count(Status::Warning, "warning"));
    page.styled(style, verdict).put(&format!(": {problems}, {warnings}{more}\n"));
    page
}

fn document(checks: &[Check], verdict: Status) -> serde_json::Value {
    let checks: Vec<_> = checks.iter().map(check_document).collect();
    json!({ "format": 1, "verdict": verdict.name(), "checks": checks })
}

fn check_document(check: &Check) -> serde_json::Value {
    json!({
        "id": check.id,
        "rule": check.rule,
        "title": check.title,
        "status": check.status.name(),
        "found": check.found,
        "fix": check.fix,
        "follows_from": check.follows_from,
    })
}
