//! What a subcommand and an argument are.

/// What the program is called.
pub const PROGRAM: &str = "vfiorun";

/// A subcommand.
#[derive(Clone, Copy, Debug)]
pub struct Subcommand {
    /// Its name, of one word or two: `service install`.
    pub name: &'static str,
    /// What it does, in a line.
    pub about: &'static str,
    /// What more there is to say; empty when nothing.
    pub more: &'static str,
    /// Its arguments.
    pub arguments: &'static [Argument],
}

/// An argument.
#[derive(Clone, Copy, Debug)]
pub struct Argument {
    /// The long name of an option, without dashes; what an operand is called.
    pub name: &'static str,
    /// The letter that says the same.
    pub short: Option<char>,
    /// What follows it.
    pub kind: Kind,
    /// What it does.
    pub help: &'static str,
    /// Whether it has to be given.
    pub required: bool,
    /// Whether it may be given more than once.
    pub many: bool,
    /// The options that it cannot be given with.
    pub conflicts: &'static [&'static str],
}

/// What an argument is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An option without a value.
    Flag,
    /// An option with a value, which is called so.
    Value(&'static str),
    /// A word that is no option.
    Operand,
}

const fn argument(name: &'static str, kind: Kind, help: &'static str) -> Argument {
    Argument { name, short: None, kind, help, required: false, many: false, conflicts: &[] }
}

/// An option without a value.
pub(super) const fn flag(name: &'static str, help: &'static str) -> Argument {
    argument(name, Kind::Flag, help)
}

/// An option with a value.
pub(super) const fn option(
    name: &'static str,
    value: &'static str,
    help: &'static str,
) -> Argument {
    argument(name, Kind::Value(value), help)
}

/// A word that is no option.
pub(super) const fn operand(name: &'static str, help: &'static str) -> Argument {
    argument(name, Kind::Operand, help)
}

impl Argument {
    pub(super) const fn short(self, letter: char) -> Self {
        Self { short: Some(letter), ..self }
    }

    pub(super) const fn required(self) -> Self {
        Self { required: true, ..self }
    }

    pub(super) const fn many(self) -> Self {
        Self { many: true, ..self }
    }

    pub(super) const fn not_with(self, conflicts: &'static [&'static str]) -> Self {
        Self { conflicts, ..self }
    }
}
