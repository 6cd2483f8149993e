//! Which module carries out each subcommand.

use std::ffi::{OsString, c_int};

use vfioboot::usage::{self, Matches, Parsed};

use crate::global::Global;
use crate::outcome::{Answer, Failure, Outcome};
use crate::{
    autostart, bind, console, devices, doctor, guest, log, monitor, output, recover, release, rom,
    run, service, status, stop, vf,
};

/// Runs the program; the result is its exit status.
pub fn run(arguments: &[OsString]) -> c_int {
    let outcome = match usage::parse(arguments.iter().skip(1).cloned()) {
        Ok(Parsed::Text(text)) => output::print(&text).map(|()| Answer::Yes).map_err(Failure::from),
        Ok(Parsed::Run(subcommand, given)) => carry_out(subcommand.name, &given),
        Err(error) => Err(error.into()),
    };
    match outcome {
        Ok(Answer::Yes) => 0,
        Ok(Answer::No) => 1,
        Ok(Answer::Status(status)) => status,
        Err(failure) => failure.report(),
    }
}

fn carry_out(name: &str, given: &Matches) -> Outcome {
    let mut global = Global::of(given);
    let _unpacked = global.unpack()?;
    let global = &global;
    match name {
        "doctor" => doctor::run(global, &doctor::Arguments::of(given)?),
        "devices" => devices::run(global, &devices::Arguments::of(given)),
        "bind" => bind::run(global, &bind::Arguments::of(given)?),
        "release" => release::run(global, &release::Arguments::of(given)?),
        "recover" => recover::run(global, &recover::Arguments::of(given)?),
        "run" => run::run(global, &run::Arguments::of(given)?),
        "status" => status::run(global, &status::Arguments::of(given)),
        "stop" => stop::run(global, &stop::Arguments::of(given)?),
        "autostart" => autostart::run(global, &autostart::Arguments::of(given)),
        "console" => console::run(global, &console::Arguments::of(given)),
        "log" => log::run(global, given),
        "monitor" => monitor::run(global, given),
        "attach" => monitor::attach(global, given),
        "detach" => monitor::detach(global, given),
        "vf" => vf::run(global, &vf::Arguments::of(given)?),
        "guest new" => guest::new(global, &guest::New::of(given)?),
        "guest check" => guest::check(global, &guest::Check::of(given)),
        "rom" => rom::run(global, &rom::Arguments::of(given)?),
        "service install" => service::install(global, &service::Install::of(given)?),
        "service remove" => service::remove(global),
        "service status" => service::status(global, given.has("json")),
        // A test runs every subcommand of the table.
        other => Err(Failure::new(format!("{other}: not carried out by this program"))),
    }
}
