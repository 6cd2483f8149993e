//! `vfioboot`: the desktop program. Arguments in, library calls, print out.

mod cli;

fn main() -> std::process::ExitCode {
    cli::run()
}
