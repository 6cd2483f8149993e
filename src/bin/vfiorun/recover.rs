//! `vfiorun recover`.

use std::sync::Arc;

use serde_json::{Value, json};
use vfioboot::device::bind::lease::Report;
use vfioboot::device::bind::recover::{self, Leftover, Verdict};
use vfioboot::device::guest::run::record;
use vfioboot::text;
use vfioboot::usage::{Matches, UsageError};

use crate::global::{Global, Waiting};
use crate::outcome::{Answer, Failure, Outcome};
use crate::{interrupt, output};

pub struct Arguments {
    force: bool,
    dry_run: bool,
    json: bool,
    waiting: Waiting,
}

impl Arguments {
    pub fn of(given: &Matches) -> Result<Self, UsageError> {
        Ok(Self {
            force: given.has("force"),
            dry_run: given.has("dry-run"),
            json: given.has("json"),
            waiting: Waiting::of(given)?,
        })
    }
}

pub fn run(global: &Global, arguments: &Arguments) -> Outcome {
    let host = global.host_within(&arguments.waiting, Arc::new(interrupt::count));
    let state = global.state();
    if !arguments.dry_run {
        interrupt::listen();
    }
    let all: Vec<(Leftover, Report)> = match arguments.dry_run {
        true => {
            let found = recover::survey(&host, &state)?;
            found.into_iter().map(|found| (found, Report::default())).collect()
        }
        false => {
            let all = recover::recover(&host, &state, arguments.force)?;
            record::sweep(&host, &state);
            all
        }
    };
    let clean = all.iter().all(|(_, report)| report.is_clean());
    let refused = all.iter().any(|(found, _)| matches!(found.verdict, Verdict::Alive(_)));
    if arguments.json {
        let journals: Vec<Value> = all.iter().map(document).collect();
        output::print_json(&json!({
            "format": 1, "dry_run": arguments.dry_run, "journals": journals,
        }))?;
    } else if all.is_empty() {
        output::print("nothing to recover\n")?;
    } else {
        let text: Vec<String> = all.iter().map(|one| page(one, arguments.dry_run)).collect();
        output::print(&text.concat())?;
    }
    match (clean, refused) {
        (false, _) => Err(Failure::new("not everything could be undone; recover tries again")),
        (true, true) => Ok(Answer::No),
        (true, false) => Ok(Answer::Yes),
    }
}

fn page((found, report): &(Leftover, Report), dry_run: bool) -> String {
    // One line, whatever the journal of another program says.
    let what = text::visible(if found.what.is_empty() { &found.name } else { &found.what });
    let mut text = match &found.verdict {
        Verdict::Undo if dry_run => format!("\"{what}\" did not finish; to be undone:\n"),
        Verdict::Undo => format!("\"{what}\" did not finish; undone:\n"),
        Verdict::Discard => {
            format!("\"{what}\" is from an earlier boot or did nothing: discarded\n")
        }
        Verdict::Kept => {
            format!("\"{what}\" is complete and stays (vfiorun release gives the devices back)\n")
        }
        Verdict::Alive(owner) => {
            format!("\"{what}\" is still running ({owner}): left alone (--force ends it)\n")
        }
    };
    if found.verdict == Verdict::Undo && dry_run {
        for step in &found.steps {
            text += &format!("  {step}\n");
        }
    }
    for (step, ending) in &report.steps {
        text += &format!("  {step}: {ending}\n");
    }
    text
}

fn document((found, report): &(Leftover, Report)) -> Value {
    let verdict = match found.verdict {
        Verdict::Undo => "undo",
        Verdict::Discard => "discard",
        Verdict::Kept => "kept",
        Verdict::Alive(_) => "alive",
    };
    let steps: Vec<Value> = report
        .steps
        .iter()
        .map(|(step, ending)| json!({ "step": step.to_string(), "ending": ending.to_string() }))
        .collect();
    let open: Vec<String> = output::texts(&found.steps);
    json!({
        "name": found.name,
        "what": found.what,
        "verdict": verdict,
        "open": open,
        "steps": steps,
    })
}
