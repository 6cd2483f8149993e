//! What only the running system can answer (KVM, VFIO, QEMU, the limits of a process), recorded in
//! a bundle and said again where the bundle is unpacked.

use serde::{Deserialize, Serialize};

use super::check::{Check, Status};
use crate::device::sys::host::Host;

/// The file of a bundle that says what it is.
pub(super) const FILE: &str = "vfiorun-bundle.json";

/// The layout of the file.
const FORMAT: u32 = 1;

/// The checks that no file of the tree can answer.
const LIVE: &[&str] = &["kvm", "vfio", "qemu", "memlock"];

/// What the file holds.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Record {
    format: u32,
    /// The architecture, as `uname -m` names it.
    machine: String,
    /// What is not in the bundle, for those who give it away.
    left_out: Vec<String>,
    answers: Vec<Answer>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    id: String,
    status: String,
    found: String,
    fix: Option<String>,
    /// It is only denied to the user who asked.
    denied: bool,
}

const PRIVILEGES: &str = "privileges";

/// The answers of this system.
pub(super) fn record(checks: &[Check], machine: String, left_out: Vec<String>) -> Record {
    let live = checks.iter().filter(|check| LIVE.contains(&check.id));
    let answers = live.map(|check| Answer {
        id: check.id.to_owned(),
        status: check.status.name().to_owned(),
        found: check.found.clone(),
        fix: check.fix.clone(),
        denied: check.follows_from == Some(PRIVILEGES),
    });
    Record { format: FORMAT, machine, left_out, answers: answers.collect() }
}

/// In the tree of a bundle the answers that were recorded take the place of what this machine
/// would say.
pub(super) fn replay(host: &Host, checks: &mut [Check]) {
    if host.is_running_system() {
        return;
    }
    let Ok(text) = host.read(FILE) else { return };
    let Ok(record) = serde_json::from_str::<Record>(&text) else { return };
    if record.format != FORMAT {
        return;
    }
    for check in checks.iter_mut().filter(|check| LIVE.contains(&check.id)) {
        let Some(answer) = record.answers.iter().find(|answer| answer.id == check.id) else {
            continue;
        };
        let status = [Status::Ok, Status::Warning, Status::Problem];
        let Some(status) = status.into_iter().find(|status| status.name() == answer.status) else {
            continue;
        };
        check.status = status;
        check.found.clone_from(&answer.found);
        check.fix.clone_from(&answer.fix);
        check.follows_from = answer.denied.then_some(PRIVILEGES);
    }
}
