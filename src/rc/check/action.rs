//! Actions: `on` and its triggers.

use super::checker::{Checker, Section};
use crate::rc::lexer::{Script, Statement};

/// The events that the file itself triggers.
pub(super) fn triggers(script: &Script) -> Vec<&str> {
    let events = script.statements.iter().filter_map(|statement| match &statement.words[..] {
        [command, event] if command == "trigger" => Some(event.as_str()),
        _ => None,
    });
    events.collect()
}

impl Checker<'_> {
    pub(super) fn action(&mut self, statement: &Statement) {
        self.end_section();
        self.section = Section::Action;
        let line = statement.line;
        let words = &statement.words[1..];
        if words.is_empty() {
            self.section = Section::Broken;
            return self.error(
                line,
                "\"on\" without a trigger",
                "init ignores the section",
                "name one: on boot, on property:sys.boot_completed=1",
            );
        }
        let mut events = 0;
        for (number, word) in words.iter().enumerate() {
            if number % 2 == 1 {
                if word != "&&" {
                    self.section = Section::Broken;
                    return self.error(
                        line,
                        &format!("\"{word}\" instead of &&"),
                        "triggers are joined by &&: init ignores the section",
                        "write on TRIGGER && TRIGGER",
                    );
                }
                continue;
            }
            match word.strip_prefix("property:") {
                Some(property) => self.property(line, property),
                None => {
                    events += 1;
                    self.event(line, word);
                }
            }
        }
        if words.len().is_multiple_of(2) {
            self.error(
                line,
                "&& at the end",
                "a trigger must follow: init ignores the section",
                "add the trigger or remove &&",
            );
        }
        if events > 1 {
            self.error(
                line,
                "two events in one section",
                "an action may have several property: triggers but only one event: init ignores the \
                 section",
                "write two sections",
            );
        }
    }

    fn property(&mut self, line: usize, property: &str) {
        let usual = |c: char| c.is_ascii_alphanumeric() || "._-:@".contains(c);
        let valid = property.split_once('=').is_some_and(|(name, _)| {
            !name.is_empty() && name.chars().all(usual) && !name.starts_with('.')
        });
        if !valid {
            self.error(
                line,
                &format!("property:{property}"),
                "a property trigger is property:NAME=VALUE, or property:NAME=* for any change: init \
                 ignores the section",
                "add the value of the property",
            );
        }
    }

    fn event(&mut self, line: usize, name: &str) {
        let language = self.language;
        if let Some(meant) = language.triggers.mistakes.get(name) {
            self.error(
                line,
                &format!("no event is called {name}"),
                "init never triggers it, so the section never runs",
                &format!("write on {meant}"),
            );
        } else if name == "&&" {
            self.error(
                line,
                "&& instead of a trigger",
                "init ignores the section",
                "name a trigger",
            );
        } else if !language.triggers.has(name) && !self.triggers.contains(&name) {
            self.warning(
                line,
                &format!("event {name}"),
                "neither init nor AOSP's init.rc nor this file triggers it",
                "check that another rc file of the device triggers it (trigger NAME)",
            );
        }
    }
}
