//! `vfiorun autostart`.
//!
//! | file | subject |
//! |---|---|
//! | `directory` | where guest files are |
//! | `child` | the vfiorun of a guest |
//! | `wait` | until the guests run, and until a service is ended |

pub mod child;
mod directory;
mod wait;

use std::path::PathBuf;

use vfioboot::bootfile;
use vfioboot::cmdline::Cmdline;
use vfioboot::device::sys::notify::Manager;
use vfioboot::usage::Matches;

use crate::global::Global;
use crate::interrupt;
use crate::outcome::{Answer, Failure, Outcome};
use crate::output::{self, StepWriter};
use child::Started;

pub use directory::usual_directory;

pub struct Arguments {
    directory: Option<PathBuf>,
    at_boot: bool,
    stay: bool,
}

impl Arguments {
    pub fn of(given: &Matches) -> Self {
        Self {
            directory: given.value("DIR").map(PathBuf::from),
            at_boot: given.has("at-boot"),
            stay: given.has("stay"),
        }
    }
}

pub fn run(global: &Global, arguments: &Arguments) -> Outcome {
    let host = global.host();
    if arguments.at_boot
        && bootfile::is_disabled(&Cmdline::new(host.read("proc/cmdline").unwrap_or_default()))
    {
        let name = bootfile::DISABLE_PARAMETER;
        output::print(&format!("{name} is on the kernel command line: nothing is started\n"))?;
        if arguments.stay {
            // Ended before it is ready, it would have failed.
            Manager::find().inspect(|manager| manager.tell("READY=1\n"));
        }
        return Ok(Answer::Yes);
    }
    let manager = if arguments.stay { Manager::find() } else { None };
    if arguments.stay {
        interrupt::listen();
    }
    let directory = directory::directory(&host, arguments.directory.as_deref())?;
    let files = directory::guest_files(&directory)?;
    let mut writer = StepWriter::new();
    let (mut guests, mut failed, mut wanted) = (Vec::new(), 0, false);
    for file in &files {
        let outcome = child::start(global, file, arguments.stay);
        wanted |= !matches!(outcome, Ok(None));
        match outcome {
            Ok(None) => {}
            Ok(Some(Started::Already(line))) => writer.print(&line),
            Ok(Some(Started::Child(guest))) => guests.push(guest),
            Err(error) => {
                failed += 1;
                output::complain(&error.to_string());
            }
        }
    }
    if !wanted {
        writer.print(&format!("{}: no guest has to be started\n", directory.display()));
    }
    failed += wait::wait_for_all(global, &mut guests, &mut writer);
    writer.finish()?;
    if arguments.stay {
        wait::stay(manager.as_ref(), &mut guests, failed);
        return Ok(Answer::Yes);
    }
    if failed > 0 {
        return Err(Failure::new(format!("{failed} of {} guest files failed", files.len())));
    }
    Ok(Answer::Yes)
}
