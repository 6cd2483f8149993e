//! The command line of `vfioboot`: one file a subcommand.

mod avb;
mod boot_test;
mod bus_error;
mod check;
mod check_files;
mod cmdline;
mod completions;
mod config;
mod exit;
mod extract;
mod flow;
mod image_set;
mod info;
mod input;
mod install;
mod interrupt;
mod keys;
mod limit;
mod man;
mod manual;
mod module;
mod module_files;
mod output;
mod patch;
mod platform;
mod print;
mod progress;
mod ramdisk;
mod repack;
mod report;
mod runtime_command;
mod spill;
mod style;
mod unpack;
mod unpatch;
mod verify;

use std::io;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use vfioboot::compression::Budget;

use exit::EXIT_FAILURE;
use report::{report_avb, report_packing, report_problems};

/// Patch Android and ARM boot images so that PCI devices are on vfio-pci before /init runs.
///
/// A boot image goes in, a patched one comes out, and `unpatch` gives the original back byte for
/// byte. An input file is never written to.
#[derive(Parser)]
#[command(name = "vfioboot", version, propagate_version = true, arg_required_else_help = true)]
struct Cli {
    /// How much a run may unpack, such as 4G; by default far more than any real image of that size
    /// needs
    #[arg(long, global = true, value_name = "SIZE", value_parser = limit::parse)]
    limit: Option<Budget>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Info(info::Args),
    Unpack(unpack::Args),
    Repack(repack::Args),
    Config(config::Args),
    Check(check::Args),
    Cmdline(cmdline::Args),
    Patch(patch::Args),
    #[command(visible_alias = "undo")]
    Unpatch(unpatch::Args),
    BootTest(boot_test::Args),
    Module(module::Args),
    Verify(verify::Args),
    Extract(extract::Args),
    Ramdisk(ramdisk::Args),
    Completions(completions::Args),
    Man(man::Args),
}

/// Parse the arguments, run the subcommand, report the error; the value is the exit status.
pub fn run() -> ExitCode {
    let cli = match parse() {
        Ok(cli) => cli,
        Err(error) => return status(usage(&error)),
    };
    let _scope = cli.limit.unwrap_or(Budget::for_input(0)).enter();
    status(match cli.command {
        Command::Info(args) => info::run(&args),
        Command::Unpack(args) => unpack::run(&args),
        Command::Repack(args) => repack::run(&args),
        Command::Config(args) => config::run(&args),
        Command::Check(args) => check::run(&args, cli.limit),
        Command::Cmdline(args) => cmdline::run(&args),
        Command::Patch(args) => patch::run(&args),
        Command::Unpatch(args) => unpatch::run(&args),
        Command::BootTest(args) => boot_test::run(&args),
        Command::Module(args) => module::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Extract(args) => extract::run(&args),
        Command::Ramdisk(args) => ramdisk::run(&args),
        Command::Completions(args) => completions::run(&args, Cli::command()),
        Command::Man(args) => man::run(&args, Cli::command()),
    })
}

fn parse() -> Result<Cli, clap::Error> {
    let program = Cli::command();
    let program = match manual::Pages::read() {
        Ok(pages) => pages.extend(program),
        Err(_) => program,
    };
    let mut matches = program.try_get_matches()?;
    Cli::from_arg_matches_mut(&mut matches)
}

/// Print what clap says: the help and the version are such errors, too.
fn usage(error: &clap::Error) -> anyhow::Result<ExitCode> {
    print::usage(error)?;
    if let (ErrorKind::InvalidSubcommand, Some(ContextValue::String(word))) =
        (error.kind(), error.get(ContextKind::InvalidSubcommand))
        && std::path::Path::new(word).exists()
    {
        let file = vfioboot::text::shell_word(word);
        print::complain(format_args!("{word} is a file: vfioboot info {file} shows what it is"));
    }
    Ok(ExitCode::from(u8::from(error.use_stderr()) * EXIT_FAILURE))
}

fn status(result: anyhow::Result<ExitCode>) -> ExitCode {
    match result {
        Ok(status) => status,
        // `vfioboot … | head` is not a failure.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            print::complain_of(&error);
            ExitCode::from(EXIT_FAILURE)
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}
