//! The command line of `vfiorun` as clap has one, for its completions and manual pages: `vfiorun` itself has to be
//! small.

use clap::builder::StyledStr;
use clap::{Arg, ArgAction, Command, ValueHint};
use vfioboot::usage::{
    ABOUT, Argument, GLOBAL, GROUPS, Kind, MORE, PROGRAM, SUBCOMMANDS, Subcommand,
};

/// The program.
pub fn command() -> Command {
    let command = Command::new(PROGRAM)
        .version(env!("CARGO_PKG_VERSION"))
        .about(ABOUT)
        .long_about(format!("{ABOUT}\n\n{MORE}"))
        .subcommand_required(true)
        .args(GLOBAL.iter().map(|one| argument(one).global(true)));
    let single = SUBCOMMANDS.iter().filter(|one| !one.name.contains(' '));
    let groups = GROUPS.iter().map(|(group, about)| {
        let own = SUBCOMMANDS.iter().filter_map(|one| {
            let (first, name) = one.name.split_once(' ')?;
            (first == *group).then(|| subcommand(one, name))
        });
        Command::new(*group).about(*about).subcommand_required(true).subcommands(own)
    });
    command.subcommands(single.map(|one| subcommand(one, one.name))).subcommands(groups)
}

fn subcommand(one: &'static Subcommand, name: &'static str) -> Command {
    let Subcommand { about, more, arguments, .. } = one;
    let command = Command::new(name).about(*about).args(arguments.iter().map(argument));
    match more.is_empty() {
        true => command,
        false => command.long_about(format!("{about}\n\n{more}")),
    }
}

fn argument(one: &'static Argument) -> Arg {
    let Argument { name, short, kind, help, required, many, .. } = *one;
    let argument = Arg::new(name).help(StyledStr::from(help)).required(required);
    let argument = match kind {
        Kind::Flag => argument.long(name).action(ArgAction::SetTrue),
        Kind::Value(value) => argument.long(name).value_name(value).value_hint(hint(value)),
        Kind::Operand => argument.value_name(name).value_hint(hint(name)),
    };
    let argument = match (kind, many) {
        (Kind::Flag, _) => argument,
        (Kind::Operand, true) => argument.num_args(1..).action(ArgAction::Append),
        (_, true) => argument.action(ArgAction::Append),
        (_, false) => argument.action(ArgAction::Set),
    };
    match short {
        Some(letter) => argument.short(letter),
        None => argument,
    }
}

/// What a value is, by what it is called.
fn hint(value: &str) -> ValueHint {
    match value {
        "DIR" => ValueHint::DirPath,
        "FILE" | "DIR|FILE" | "GUEST.toml" => ValueHint::AnyPath,
        _ => ValueHint::Other,
    }
}
