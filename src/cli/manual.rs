//! Examples and exit statuses: in manual.toml, for the help, the manual pages and the book.

use std::collections::BTreeMap;

use clap::Command;
use serde::Deserialize;

/// What is said of a subcommand besides its options.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Page {
    /// A status and what it means, such as "0 done".
    #[serde(default)]
    pub exit: Vec<String>,
    /// A command and what it is for.
    #[serde(default)]
    pub examples: Vec<(String, String)>,
}

/// The pages by command, such as "vfioboot ramdisk ls".
pub struct Pages(BTreeMap<String, Page>);

impl Pages {
    /// Those of both programs.
    pub fn read() -> anyhow::Result<Self> {
        Ok(Pages(toml::from_str(include_str!("manual.toml"))?))
    }

    /// The examples of a command.
    pub fn examples(&self, command: &str) -> &[(String, String)] {
        self.0.get(command).map_or(&[], |page| &page.examples)
    }

    /// The exit statuses of a command: its own, or its program's.
    pub fn exit(&self, command: &str) -> &[String] {
        let program = command.split(' ').next().unwrap_or_default();
        let own = [command, program].into_iter().filter_map(|name| self.0.get(name));
        own.map(|page| &page.exit[..]).find(|exit| !exit.is_empty()).unwrap_or_default()
    }

    /// The program, whose long help and that of its subcommands has both.
    pub fn extend(&self, program: Command) -> Command {
        let name = program.get_name().to_owned();
        self.extend_one(program, &name)
    }

    fn extend_one(&self, command: Command, name: &str) -> Command {
        let below = |sub: Command| {
            let name = format!("{name} {}", sub.get_name());
            self.extend_one(sub, &name)
        };
        command.after_long_help(self.text(name)).mut_subcommands(below)
    }

    fn text(&self, command: &str) -> String {
        let mut text = String::new();
        let examples = self.examples(command);
        if !examples.is_empty() {
            text += "Examples:\n";
        }
        for (example, what) in examples {
            text += &format!("  {example}\n      {what}\n");
        }
        text += "\nExit status:\n";
        for status in self.exit(command) {
            text += &format!("  {status}\n");
        }
        text.trim().to_owned()
    }
}
