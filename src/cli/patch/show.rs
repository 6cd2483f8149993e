//! The plan of `vfioboot patch` as text: what, where, why; with --dry-run also what could go wrong
//! and how to undo it.

use std::io;
use std::path::PathBuf;

use vfioboot::audit::Outcome;
use vfioboot::modules::alias::MatchKind;
use vfioboot::patch::{
    BlockedDriver, DriverPlace, EditKind, HookKind, IommuMode, LoadedBy, ModulePlan, Outlook, Plan,
    PlannedDriver, PlannedVfioOption, Prospect, Unfit,
};

use super::next::Commands;
use super::{rc, remedy};
use crate::cli::flow;
use crate::cli::input::Input;
use crate::cli::print::say;
use crate::cli::style::{BAD, DIM, GOOD, HEAD, NOTE};

/// Print a plan. `advise`: include the advice, because nothing is written.
pub fn plan(plan: &Plan<'_>, inputs: &[&Input], advise: bool) -> io::Result<()> {
    if advise {
        flow::page(&plan.flow, inputs).print()?;
        say!("{HEAD}at boot{HEAD:#}: {}", plan.advice.chain.join(" → "))?;
        // With the other hook the edit shows it.
        if plan.hook.kind == HookKind::Rdinit {
            say!("  {DIM}{}{DIM:#}", plan.hook.reason)?;
        }
    }
    for index in 0..inputs.len() {
        image(plan, inputs, index)?;
    }
    kernel(plan)?;
    if advise || plan.iommu != IommuMode::Auto {
        let (name, says) = (plan.iommu.name(), plan.iommu.says());
        say!("{HEAD}IOMMU{HEAD:#} {name}: {DIM}{says}{DIM:#}")?;
    }
    if let Some(outlook) = &plan.avb {
        say!("{HEAD}AVB{HEAD:#}: what a device does with the result")?;
        let Outlook { green, yellow, orange } = outlook;
        print_prospect("locked (green)", green, &green.why.to_string())?;
        let why = remedy::yellow(yellow);
        print_prospect("locked with your own key (yellow)", yellow, &why)?;
        print_prospect("unlocked (orange)", orange, &orange.why.to_string())?;
    }
    print_modules(&plan.modules)?;
    rc::print(&plan.rc)?;
    for warning in &plan.warnings {
        say!("{NOTE}note:{NOTE:#} {}", remedy::warning(warning))?;
    }
    if advise {
        list("to see that it worked", &plan.advice.check)?;
        let risks: Vec<String> = plan.advice.risks.iter().map(remedy::risk).collect();
        list("what could go wrong", &risks)?;
        list("how to undo it", &plan.advice.undo)?;
        say!("dry run: nothing written")?;
    }
    Ok(())
}

/// Print what was written, and the commands that come next.
pub fn written(written: &[(usize, PathBuf)], next: &Commands) -> io::Result<()> {
    for (_, path) in written {
        say!("{GOOD}wrote{GOOD:#} {}", path.display())?;
    }
    next.print()
}

/// That no guest can use the devices, and why; `written` if it was written all the same.
pub fn unfit(unfit: &[Unfit], written: bool) -> String {
    let reasons: Vec<String> = unfit.iter().map(ToString::to_string).collect();
    let end = if written { "" } else { ". Nothing is written without --anyway" };
    format!(
        "no guest can use the devices, for want of: {}; vfioboot check says why{end}",
        reasons.join("; ")
    )
}

fn list(title: &str, lines: &[String]) -> io::Result<()> {
    say!("{HEAD}{title}{HEAD:#}")?;
    lines.iter().try_for_each(|line| say!("  · {line}"))
}

/// Print the result for one image.
fn image(plan: &Plan<'_>, inputs: &[&Input], index: usize) -> io::Result<()> {
    let image = &plan.images[index];
    let name = inputs[index].name();
    let what = match image.role.boots() {
        true => image.role.as_str(),
        false => image.kind.as_str(),
    };
    let mut edits: Vec<_> = plan.edits.iter().filter(|edit| edit.image == index).collect();
    // The segment comes before the change that makes the kernel run it.
    edits.sort_by_key(|edit| edit.change.kind() != EditKind::Ramdisk);
    if edits.is_empty() {
        let why = &image.decision;
        return say!("{HEAD}{name}{HEAD:#} ({what}): stays as it is  {DIM}{why}{DIM:#}");
    }
    let (before, after) = (image.size_before, image.size_after);
    say!(
        "{HEAD}{name}{HEAD:#} ({what}): {before} → {after} bytes  {DIM}{}{DIM:#}",
        image.decision
    )?;
    let (mut heading, mut last_why) = (None, image.decision.to_string());
    for edit in edits {
        let (kind, why) = (edit.change.kind(), edit.change.why());
        // The same reason is not repeated.
        let shown = if why == last_why { "" } else { &why };
        if heading != Some(kind) || !shown.is_empty() {
            say!("  {HEAD}{}{HEAD:#}  {DIM}{shown}{DIM:#}", kind.as_str())?;
        }
        say!("    {BAD}-{BAD:#} {}", edit.change.before())?;
        say!("    {GOOD}+{GOOD:#} {}", edit.change.after())?;
        if kind == EditKind::Cmdline {
            parameters(plan)?;
        }
        (heading, last_why) = (Some(kind), why);
    }
    Ok(())
}

/// The purpose of each parameter.
fn parameters(plan: &Plan<'_>) -> io::Result<()> {
    let parameters = &plan.parameters;
    let width = parameters.iter().map(|parameter| parameter.text.len()).max().unwrap_or_default();
    parameters.iter().try_for_each(|parameter| {
        say!("      {:<width$}  {DIM}{}{DIM:#}", parameter.text, parameter.why)
    })
}

fn kernel(plan: &Plan<'_>) -> io::Result<()> {
    if let Some(outcome) = plan.kernel.audit {
        let version = plan.kernel.version.as_deref().unwrap_or("of unknown version");
        let (style, text) = match outcome {
            Outcome::Pass => (GOOD, "it can do passthrough"),
            Outcome::Fail => (BAD, "it cannot do passthrough"),
            Outcome::Inconclusive => (NOTE, "whether it can do passthrough is not certain"),
        };
        let check = "see vfioboot check";
        say!("{HEAD}kernel{HEAD:#} {version}: {style}{text}{style:#} {DIM}({check}){DIM:#}")?;
    }
    Ok(())
}

fn print_prospect(state: &str, prospect: &Prospect, why: &str) -> io::Result<()> {
    let (style, boots) = match prospect.boots {
        Some(true) => (GOOD, "boots"),
        Some(false) => (BAD, "does not boot"),
        None => (NOTE, "may boot"),
    };
    say!("  {state}: {style}{boots}{style:#}: {why}")
}

/// Print the modules and their effect.
fn print_modules(plan: &ModulePlan) -> io::Result<()> {
    let nothing = plan.by.is_none() && plan.drivers.is_empty() && plan.host_bridges.is_empty();
    if nothing && plan.options.is_empty() && plan.blocked.is_empty() {
        return Ok(());
    }
    let who = match plan.by {
        Some(LoadedBy::Pid1) => "loaded by PID 1",
        Some(LoadedBy::Libmodprobe) => "loaded by first-stage init",
        None => "none has to be loaded",
    };
    say!("{HEAD}modules{HEAD:#}: {who}  {DIM}{}{DIM:#}", plan.reason)?;
    for module in &plan.load {
        let from = match &module.added_from {
            Some(file) => format!("added from {file}"),
            None => "in the ramdisk".to_owned(),
        };
        say!("    {} {DIM}{from}{DIM:#}", module.path)?;
    }
    for driver in &plan.drivers {
        say!("  {} {}", driver.device, rival(driver, plan.by))?;
    }
    for option in &plan.options {
        let PlannedVfioOption { module, name, value, evidence, .. } = option;
        say!("  option {module}.{name}={value}  {DIM}{evidence}{DIM:#}")?;
    }
    for driver in &plan.blocked {
        say!("  {} is kept away  {DIM}{}{DIM:#}", driver.name, block(driver))?;
    }
    Ok(())
}

/// Say what keeps a driver away.
fn block(driver: &BlockedDriver) -> String {
    match driver.place {
        DriverPlace::Listed => "first-stage init does not load it".to_owned(),
        DriverPlace::Module => "the kernel refuses the module".to_owned(),
        DriverPlace::BuiltIn => {
            format!("part of the kernel, which does not call {}", driver.initcalls.join(", "))
        }
    }
}

/// Describe how a driver matches a device, and why it does not bind it.
fn rival(driver: &PlannedDriver, by: Option<LoadedBy>) -> String {
    let class =
        driver.class.map_or("devices of its class".to_owned(), |name| format!("all {name}"));
    let wants = match driver.wants {
        MatchKind::Id => "drives it".to_owned(),
        MatchKind::Subsystem => "drives some with this id".to_owned(),
        MatchKind::Class => format!("drives {class}, and this device if it is one"),
    };
    let place = match (driver.in_ramdisk, driver.loaded_at_boot) {
        (false, _) => "part of the kernel",
        (true, true) => "a module of the ramdisk that first-stage init loads",
        (true, false) => "a module of the ramdisk",
    };
    let outcome = match (driver.in_ramdisk, by) {
        (true, Some(LoadedBy::Libmodprobe)) => "vfio-pci is loaded before it and has the id",
        (true, _) => "when it comes, the device is on vfio-pci and has driver_override set",
        (false, Some(LoadedBy::Libmodprobe)) => "it may be first",
        (false, _) => "PID 1 takes the device from it",
    };
    format!("{} ({place}) {wants}: {outcome}", driver.module)
}
