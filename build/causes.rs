//! The table of causes, written as a constant: the device needs no reader of it, and a row that is
//! wrong breaks the build.

use std::path::Path;
use std::{env, fs};

use serde::Deserialize;

const TABLE: &str = "src/device/causes/causes.toml";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    cause: Vec<Row>,
}

/// A row as it is written; see the head of the table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    id: String,
    steps: Vec<String>,
    #[serde(default)]
    errnos: Vec<String>,
    #[serde(default)]
    lines: Vec<String>,
    fact: Option<String>,
    before: Option<String>,
    text: String,
    fix: String,
}

/// Reads the table and writes it to `out`: an expression of the type `&[Cause]`, in which the
/// compiler finds a step, a fact or an errno that does not exist.
pub fn write(out: &Path) {
    println!("cargo:rerun-if-changed={TABLE}");
    println!("cargo:rerun-if-changed=build");
    // Only the device has it.
    if env::var_os("CARGO_FEATURE_DEVICE").is_none() {
        return;
    }
    let text = fs::read_to_string(TABLE).unwrap_or_else(|error| panic!("{TABLE}: {error}"));
    let table: Table = toml::from_str(&text).unwrap_or_else(|error| panic!("{TABLE}: {error}"));
    let rows: Vec<String> = table.cause.iter().map(Row::source).collect();
    let source = format!("&[{}]", rows.join(", "));
    fs::write(out, source).unwrap_or_else(|error| panic!("{}: {error}", out.display()));
}

impl Row {
    fn source(&self) -> String {
        let Row { id, steps, errnos, lines, fact, before, text, fix } = self;
        assert!(
            !(errnos.is_empty() && lines.is_empty() && fact.is_none()),
            "{TABLE}: {id}: nothing would ever show it"
        );
        assert!(before.is_none() || fact.is_some(), "{TABLE}: {id}: `before` needs a fact");
        let list = |items: Vec<String>| format!("&[{}]", items.join(", "));
        let steps = list(steps.iter().map(|step| variant("Step", step)).collect());
        let errnos = list(errnos.iter().map(|errno| format!("libc::{errno}")).collect());
        let option = |kind: &str, name: &Option<String>| match name {
            Some(name) => format!("Some({})", variant(kind, name)),
            None => "None".to_owned(),
        };
        let (fact, before) = (option("Fact", fact), option("Before", before));
        format!(
            "Cause {{ id: {id:?}, steps: {steps}, errnos: {errnos}, lines: &{lines:?}, fact: {fact}, before: {before}, text: {text:?}, fix: {fix:?} }}"
        )
    }
}

/// `no-group` of `Fact` is `Fact::NoGroup`.
fn variant(kind: &str, name: &str) -> String {
    let words = name.split('-').map(|word| {
        let (first, rest) = word.split_at(1);
        first.to_uppercase() + rest
    });
    format!("{kind}::{}", words.collect::<String>())
}
