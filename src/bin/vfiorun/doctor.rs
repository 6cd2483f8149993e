//! `vfiorun doctor`.

use std::fmt::Write;

use serde_json::json;
use vfioboot::device::doctor::{self, Check, Status};

use crate::cli::{Answer, Global, Outcome};
use crate::output::{self, Palette};

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
        false => output::print(&text(&checks, verdict, output::palette())?)?,
    }
    Ok(if verdict == Status::Problem { Answer::No } else { Answer::Yes })
}

fn text(checks: &[Check], verdict: Status, colours: Palette) -> Result<String, std::fmt::Error> {
    let Palette { good, note, bad, head, dim, end } = colours;
    let mut text = String::new();
    for check in checks {
        let (colour, mark) = match check.status {
            Status::Ok => (good, "ok     "),
            Status::Warning => (note, "warning"),
            Status::Problem => (bad, "problem"),
        };
        let Check { title, found, .. } = check;
        writeln!(text, "{colour}{mark}{end}  {head}{title}{end}: {found}")?;
        if let Some(fix) = &check.fix {
            writeln!(text, "         {dim}fix:{end} {fix}")?;
        }
    }
    let count = |status| checks.iter().filter(|check| check.status == status).count();
    let (problems, warnings) = (count(Status::Problem), count(Status::Warning));
    let (colour, said) = match verdict {
        Status::Problem => (bad, "passthrough does not work on this system as it is"),
        Status::Warning => (note, "nothing stands in the way of passthrough"),
        Status::Ok => (good, "everything that passthrough needs is there"),
    };
    let many =
        |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let (problems, warnings) = (many(problems, "problem"), many(warnings, "warning"));
    writeln!(text, "{colour}{said}{end}: {problems}, {warnings}")?;
    Ok(text)
}

fn document(checks: &[Check], verdict: Status) -> serde_json::Value {
    let check = |check: &Check| {
        json!({
            "id": check.id,
            "title": check.title,
            "status": check.status.name(),
            "found": check.found,
            "fix": check.fix,
        })
    };
    let checks: Vec<_> = checks.iter().map(check).collect();
    json!({ "format": 1, "verdict": verdict.name(), "checks": checks })
}
