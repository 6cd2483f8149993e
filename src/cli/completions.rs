//! `vfioboot completions`: completion scripts for the shells.

use std::process::ExitCode;

/// Print a completion script for a shell
#[derive(clap::Args)]
pub struct Args {
    /// The shell
    shell: clap_complete::Shell,
}

pub fn run(args: &Args, program: &mut clap::Command) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, program, "vfioboot", &mut script);
    super::print::bytes(&script)?;
    Ok(ExitCode::SUCCESS)
}
