//! `vfiorun monitor`, `attach` and `detach`: what a supervisor is asked for.

use std::time::Duration;

use serde_json::{Value, json};
use vfioboot::device::guest::run::ask;
use vfioboot::device::guest::run::requests::{ATTACH, DETACH};
use vfioboot::usage::Matches;

use crate::global::Global;
use crate::outcome::{Answer, Failure, Outcome};
use crate::{guests, output};

/// How long QEMU may take: some commands write all of a guest's memory.
const TIMEOUT: Duration = Duration::from_secs(600);

fn word(given: &Matches, name: &str) -> String {
    given.value(name).unwrap_or_default().to_string_lossy().into_owned()
}

/// `vfiorun monitor`.
pub fn run(global: &Global, given: &Matches) -> Outcome {
    let record = guests::choose(global, guests::named(given).as_deref())?;
    let text = word(given, "COMMAND");
    let request = match text.trim_start().starts_with('{') {
        false => json!({ "execute": text }),
        true => serde_json::from_str(&text)
            .map_err(|error| Failure::new(format!("{text}: this is not JSON: {error}")))?,
    };
    if !request.get("execute").is_some_and(Value::is_string) {
        return Err(Failure::new(format!(
            "{text}: a command of QMP is {{\"execute\": NAME, \"arguments\": {{...}}}}"
        )));
    }
    let answer = ask::ask(&guests::directory(global, &record), &request, TIMEOUT, &mut |_| {})?;
    if given.has("json") {
        output::print_json(&json!({
            "format": 1,
            "name": record.name,
            "command": request.get("execute"),
            "return": answer,
        }))?;
        return Ok(Answer::Yes);
    }
    // The human monitor answers in text.
    match answer.as_str() {
        Some(text) => output::print(&text.replace("\r\n", "\n"))?,
        None => output::print_json(&answer)?,
    }
    Ok(Answer::Yes)
}

/// `vfiorun attach`.
pub fn attach(global: &Global, given: &Matches) -> Outcome {
    let arguments = json!({ "device": word(given, "DEV"), "force": given.has("force") });
    change(global, given, ATTACH, &arguments, TIMEOUT)
}

/// `vfiorun detach`.
pub fn detach(global: &Global, given: &Matches) -> Outcome {
    let timeout: Option<u32> = given.parsed("timeout").map_err(Failure::from)?.pop();
    let arguments = json!({ "device": word(given, "DEV"), "timeout": timeout });
    change(global, given, DETACH, &arguments, TIMEOUT)
}

fn change(
    global: &Global,
    given: &Matches,
    command: &str,
    arguments: &Value,
    limit: Duration,
) -> Outcome {
    let record = guests::choose(global, guests::named(given).as_deref())?;
    let request = json!({ "execute": command, "arguments": arguments });
    let mut steps = Vec::new();
    let as_json = given.has("json");
    let done =
        ask::ask(&guests::directory(global, &record), &request, limit, &mut |step| match as_json {
            true => steps.push(step.to_owned()),
            false => output::complain(step),
        });
    let result = match done {
        Ok(result) => result,
        // That it is the supervisor's own command is nobody's business.
        Err(vfioboot::device::guest::qemu::qmp::QmpError::Refused { reason, .. }) => {
            return Err(Failure::new(reason));
        }
        Err(error) => return Err(error.into()),
    };
    let text = result.as_str().unwrap_or_default();
    if as_json {
        output::print_json(&json!({
            "format": 1,
            "name": record.name,
            "device": arguments.get("device"),
            "steps": steps,
            "result": text,
        }))?;
    } else {
        output::print(&format!("{text}\n"))?;
    }
    Ok(Answer::Yes)
}
