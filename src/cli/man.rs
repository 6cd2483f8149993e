//! `vfioboot man`: manual pages of both programs, one for each subcommand.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;

/// Write the manual pages of vfioboot and vfiorun into a directory
#[derive(clap::Args)]
pub struct Args {
    /// The directory, made when missing
    dir: PathBuf,
}

pub fn run(args: &Args, program: clap::Command) -> anyhow::Result<ExitCode> {
    std::fs::create_dir_all(&args.dir)
        .and_then(|()| clap_mangen::generate_to(program, &args.dir))
        .and_then(|()| clap_mangen::generate_to(super::runtime_command::command(), &args.dir))
        .with_context(|| args.dir.display().to_string())?;
    Ok(ExitCode::SUCCESS)
}
