//! The guest that a subcommand is about.

use std::path::PathBuf;

use vfioboot::device::guest::run::record::{self, Record};
use vfioboot::usage::Matches;

use crate::global::Global;
use crate::outcome::Failure;

/// The name that was given, if one was.
pub fn named(given: &Matches) -> Option<String> {
    given.value("NAME").map(|name| name.to_string_lossy().into_owned())
}

/// The guest that is called so; without a name the one that is running.
pub fn choose(global: &Global, name: Option<&str>) -> Result<Record, Failure> {
    let mut running = record::running(&global.host(), &global.state());
    let names: Vec<String> = running.iter().map(|record| record.name.clone()).collect();
    let names = names.join(", ");
    match name {
        _ if running.is_empty() => Err(Failure::new("no guest is running")),
        None if running.len() == 1 => Ok(running.remove(0)),
        None => Err(Failure::new(format!("name one of the guests that are running: {names}"))),
        Some(name) => match running.iter().position(|record| record.name == name) {
            Some(position) => Ok(running.remove(position)),
            None => Err(Failure::new(format!("guest {name} is not running; running: {names}"))),
        },
    }
}

/// The directory of its sockets.
pub fn directory(global: &Global, record: &Record) -> PathBuf {
    record::directory(&global.state(), &record.name.parse().unwrap_or_default())
}
