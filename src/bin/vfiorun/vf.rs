//! `vfiorun vf`.

use std::sync::Arc;

use serde_json::json;
use vfioboot::device::bind::functions::{self, Wanted};
use vfioboot::device::bus::pci::PciAddress;
use vfioboot::usage::{Matches, UsageError};

use crate::global::{Global, Waiting};
use crate::outcome::{Answer, Failure, Outcome};
use crate::{interrupt, output, writes};

pub struct Arguments {
    physical: Option<PciAddress>,
    wanted: Wanted,
    dry_run: bool,
    json: bool,
    waiting: Waiting,
}

impl Arguments {
    pub fn of(given: &Matches) -> Result<Self, UsageError> {
        let count = given.parsed("count")?.pop().unwrap_or_default();
        let (macs, vlans) = (given.parsed("mac")?, given.parsed("vlan")?);
        Ok(Self {
            physical: given.parsed("DEV")?.pop(),
            wanted: Wanted { count, macs, vlans },
            dry_run: given.has("dry-run"),
            json: given.has("json"),
            waiting: Waiting::of(given)?,
        })
    }
}

pub fn run(global: &Global, arguments: &Arguments) -> Outcome {
    let Arguments { wanted, dry_run, .. } = arguments;
    let Some(physical) = arguments.physical else { return Err(Failure::new("DEV is missing")) };
    let host = global.host_within(&arguments.waiting, Arc::new(interrupt::count));
    let planned = functions::plan(&host, physical, wanted)?;
    let made = match dry_run {
        true => Vec::new(),
        false => {
            interrupt::listen();
            functions::make(&host, &global.state(), physical, wanted)?
        }
    };
    let addresses = output::texts(&made);
    if arguments.json {
        output::print_json(&json!({
            "format": 1,
            "physical": physical.to_string(),
            "dry_run": dry_run,
            "writes": writes::json(&planned),
            "functions": addresses,
        }))?;
    } else if *dry_run {
        output::print(&writes::text(&physical.to_string(), &planned))?;
    } else {
        let text = match addresses.as_slice() {
            [] => format!("{physical}: no virtual functions\n"),
            addresses => addresses.iter().map(|address| format!("{address}\n")).collect(),
        };
        output::print(&text)?;
    }
    Ok(Answer::Yes)
}
