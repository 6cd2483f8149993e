//! `vfioboot completions`: completion scripts for the shells.

use std::process::ExitCode;

use vfioboot::usage;

use super::runtime_command;

/// Print a completion script for a shell
#[derive(clap::Args)]
pub struct Args {
    /// The shell
    shell: clap_complete::Shell,
    /// The program that is completed
    #[arg(default_value = VFIOBOOT, value_parser = [VFIOBOOT, usage::PROGRAM])]
    program: String,
}

const VFIOBOOT: &str = "vfioboot";

pub fn run(args: &Args, program: clap::Command) -> anyhow::Result<ExitCode> {
    let mut program = match args.program == usage::PROGRAM {
        true => runtime_command::command(),
        false => program,
    };
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut program, args.program.as_str(), &mut script);
    super::print::bytes(&script)?;
    Ok(ExitCode::SUCCESS)
}
