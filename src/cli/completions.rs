//! `vfioboot completions`: completion scripts for the shells.

use std::process::ExitCode;

use clap::CommandFactory;

/// Print a completion script for a shell
#[derive(clap::Args)]
pub struct Args {
    /// The shell
    shell: clap_complete::Shell,
}

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::Cli::command(), "vfioboot", &mut script);
    super::print::bytes(&script)?;
    Ok(ExitCode::SUCCESS)
}
