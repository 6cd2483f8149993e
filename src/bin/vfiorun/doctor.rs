//! `vfiorun doctor`.

use serde_json::json;
use vfioboot::device::doctor::{self, Check, Status};

use crate::global::Global;
use crate::outcome::{Answer, Outcome};
use crate::output::{self, Page, Style};

#[derive(clap::Args)]
pub struct Arguments {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(global: &Global, arguments: &Arguments) -> Outcome {
    let checks = doctor::examine(&global.host());
    let verdict = doctor::verdict(&checks);
    match arguments.json {
        true => output::print_json(&document(&checks, verdict))?,
        false => page(&checks, verdict).print()?,
    }
    Ok(if verdict == Status::Problem { Answer::No } else { Answer::Yes })
}

fn page(checks: &[Check], verdict: Status) -> Page {
    let mut page = Page::new();
    for check in checks {
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
    let check = |check: &Check| {
        json!({
            "id": check.id,
            "rule": check.rule,
            "title": check.title,
            "status": check.status.name(),
            "found": check.found,
            "fix": check.fix,
            "follows_from": check.follows_from,
        })
    };
    let checks: Vec<_> = checks.iter().map(check).collect();
    json!({ "format": 1, "verdict": verdict.name(), "checks": checks })
}
