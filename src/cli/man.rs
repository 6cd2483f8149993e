//! `vfioboot man`: manual pages of both programs, one for each subcommand.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, italic, roman};

use super::manual::Pages;
use super::output;

/// Write the manual pages of vfioboot and vfiorun into a directory
#[derive(clap::Args)]
pub struct Args {
    /// The directory, made when missing
    dir: PathBuf,
}

pub fn run(args: &Args, program: Command) -> anyhow::Result<ExitCode> {
    let pages = Pages::read()?;
    std::fs::create_dir_all(&args.dir).with_context(|| args.dir.display().to_string())?;
    for program in [program, super::runtime_command::command()] {
        let mut program = program.disable_help_subcommand(true);
        program.build();
        let name = program.get_name().to_owned();
        write(&program, &name, &pages, &args.dir)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Write the page of a command and those of its subcommands.
fn write(command: &Command, name: &str, pages: &Pages, dir: &Path) -> anyhow::Result<()> {
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        write(sub, &format!("{name} {}", sub.get_name()), pages, dir)?;
    }
    let man = Man::new(command.clone());
    output::write_file(&dir.join(man.get_filename()), |file| page(&man, command, name, pages, file))
}

/// The sections in the order that man-pages(7) gives.
fn page(
    man: &Man,
    command: &Command,
    name: &str,
    pages: &Pages,
    mut out: &mut dyn io::Write,
) -> io::Result<()> {
    man.render_title(&mut out)?;
    man.render_name_section(&mut out)?;
    man.render_synopsis_section(&mut out)?;
    man.render_description_section(&mut out)?;
    if command.get_arguments().any(|argument| !argument.is_hide_set()) {
        man.render_options_section(&mut out)?;
    }
    if command.has_subcommands() {
        man.render_subcommands_section(&mut out)?;
    }
    let mut roff = Roff::default();
    roff.control("SH", ["EXIT STATUS"]);
    for status in pages.exit(name) {
        let (number, meaning) = status.split_once(' ').unwrap_or((status, ""));
        roff.control("TP", []).text([bold(number)]).text([roman(meaning)]);
    }
    roff.control("SH", ["EXAMPLES"]);
    for (example, what) in pages.examples(name) {
        roff.control("TP", []).text([italic(example)]).text([roman(what)]);
    }
    if let Some((above, _)) = name.rsplit_once(' ') {
        roff.control("SH", ["SEE ALSO"]);
        roff.text([bold(above.replace(' ', "-")), roman("(1)")]);
    }
    roff.to_writer(&mut out)?;
    match command.get_version() {
        Some(_) => man.render_version_section(&mut out),
        None => Ok(()),
    }
}
