//! `vfioboot`: the desktop program. Arguments in, library calls, print out.

#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used))]

mod cli;

fn main() -> std::process::ExitCode {
    cli::run()
}
