//! A checker of rc files: it reports what init ignores, refuses, or may not do.
//!
//! | file | subject |
//! |---|---|
//! | `finding` | what it reports |
//! | `checker` | what it knows while it reads a file |
//! | `action`, `service` | the two kinds of sections |
//! | `command` | commands and options: arguments, versions, and what init may not do |
//! | `domain` | SELinux domains of programs |

mod action;
mod checker;
mod command;
mod domain;
mod finding;
mod service;

use std::collections::BTreeMap;

use super::language::Language;
use super::lexer::{End, Script, Statement};
use crate::root_manager::RcOverlay;
use checker::{Checker, Section};

pub use checker::Platform;
pub use finding::Finding;

/// The faults of `text`, sorted by line.
pub fn check(text: &[u8], platform: Platform) -> Vec<Finding> {
    let Some(language) = Language::built_in() else { return Vec::new() };
    let script = Script::read(text);
    let mut checker = Checker {
        language,
        platform,
        section: Section::None,
        findings: Vec::new(),
        services: BTreeMap::new(),
        triggers: action::triggers(&script),
    };
    for statement in &script.statements {
        checker.statement(statement);
    }
    checker.end_section();
    checker.end(script.end);
    let mut findings = checker.findings;
    findings.sort_by_key(|finding| finding.line);
    findings
}

impl Checker<'_> {
    fn statement(&mut self, statement: &Statement) {
        let line = statement.line;
        for other in self.other_overlays() {
            let RcOverlay { variable, manager, .. } = other;
            if statement.words.iter().any(|word| word.contains(variable)) {
                let why = format!(
                    "only {} replaces it, and this ramdisk is not patched by {manager}",
                    other.init()
                );
                let fix = "write the full path: vfiorun is /sbin/vfiorun";
                self.error(line, variable, &why, fix);
            }
        }
        match statement.words[0].as_str() {
            "on" => self.action(statement),
            "service" => self.service(statement),
            "import" => self.import(statement),
            _ => self.line(statement),
        }
    }

    fn import(&mut self, statement: &Statement) {
        self.end_section();
        self.section = Section::Import;
        if statement.words.len() != 2 {
            self.error(
                statement.line,
                "import takes one path",
                "init ignores the line",
                "write one import line for each file",
            );
        } else if !statement.words[1].starts_with(['/', '$']) {
            self.error(
                statement.line,
                &format!("import {}: the path is not absolute", statement.words[1]),
                "init looks for it in its own working directory, the root",
                "start the path with /",
            );
        }
    }

    /// A line in a section.
    fn line(&mut self, statement: &Statement) {
        let (language, line) = (self.language, statement.line);
        let name = statement.words[0].as_str();
        let (command, option) = (language.commands.get(name), language.options.get(name));
        match &mut self.section {
            Section::Broken => {}
            Section::None | Section::Import => self.error(
                line,
                &format!("\"{name}\" outside of a section"),
                "init ignores lines before the first on or service, and after an import",
                "start a section first: on TRIGGER, or service NAME /PATH",
            ),
            Section::Action => match (command, option) {
                (Some(keyword), _) => self.command(line, &statement.words, *keyword),
                (None, Some(_)) => self.error(
                    line,
                    &format!("\"{name}\" in an action"),
                    "it is an option of services: init ignores the line",
                    "move it to the section of the service",
                ),
                (None, None) => self.unknown(line, name, "command"),
            },
            Section::Service(service) => {
                service.options.push(name.to_owned());
                match (option, command) {
                    (Some(keyword), _) => self.option(line, &statement.words, *keyword),
                    (None, Some(_)) => self.error(
                        line,
                        &format!("\"{name}\" in a service"),
                        "it is a command, and a service has options: init ignores the line",
                        "move it to an action (on TRIGGER), or write it after onrestart",
                    ),
                    (None, None) => self.unknown(line, name, "option"),
                }
            }
        }
    }

    fn end(&mut self, end: End) {
        match end {
            End::Whole => {}
            End::Nul { line, offset } => self.error(
                line,
                &format!("a NUL byte at offset {offset}"),
                "init ignores the line and everything after it",
                "save the file as plain text",
            ),
            End::OpenQuote { line } => self.error(
                line,
                "a quote that is not closed",
                "init drops the line and everything after it",
                "add the second \"",
            ),
            End::Backslash { line } => self.error(
                line,
                "a backslash at the end of the file",
                "it joins the line with the next one: without a next line, init drops this one",
                "remove the backslash",
            ),
        }
    }
}
