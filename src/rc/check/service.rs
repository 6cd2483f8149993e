//! Services: the line that begins one, and its options as a whole.

use super::checker::{Checker, Section, Service};
use crate::rc::lexer::Statement;

/// Service names up to Android 6 (`valid_name` in `init_parser.c`).
const OLD_NAME_MAX: usize = 16;

impl Checker<'_> {
    pub(super) fn service(&mut self, statement: &Statement) {
        self.end_section();
        let line = statement.line;
        let [_, name, program, ..] = statement.words.as_slice() else {
            self.section = Section::Broken;
            return self.error(
                line,
                "a service needs a name and a program",
                "init ignores the section",
                "write service NAME /PATH ARGUMENTS",
            );
        };
        let usual = |c: char| c.is_ascii_alphanumeric() || "_-.@:".contains(c);
        if name.is_empty() || !name.chars().all(usual) {
            self.error(
                line,
                &format!("service name \"{name}\""),
                "it is part of the property init.svc.NAME, so only letters, digits, _ - . @ and : \
                 are valid: init ignores the section",
                "choose another name",
            );
        } else if name.len() > OLD_NAME_MAX
            && self.platform.newest.is_some_and(|newest| newest < 10)
        {
            self.warning(
                line,
                &format!("service name \"{name}\" of {} characters", name.len()),
                "init of Android 6 and earlier takes at most 16",
                "choose a shorter name",
            );
        }
        if !program.starts_with(['/', '$']) {
            self.error(
                line,
                &format!("service {name}: the path {program} is not absolute"),
                "init does not search for programs, it executes the path as given",
                "write the absolute path",
            );
        }
        self.section = Section::Service(Service {
            line,
            name: name.clone(),
            program: program.clone(),
            options: Vec::new(),
        });
    }

    pub(super) fn end_section(&mut self) {
        let Section::Service(service) = std::mem::replace(&mut self.section, Section::None) else {
            return;
        };
        let Service { line, name, program, options } = service;
        let has = |option: &str| options.iter().any(|given| given == option);
        if !has("seclabel") {
            self.no_label(line, &format!("service {name}"), &program);
        }
        if has("critical") && has("oneshot") {
            self.error(
                line,
                &format!("service {name} is critical and oneshot"),
                "from Android 11 on init ignores the section",
                "remove one of the two options",
            );
        }
        if !has("user") && self.platform.newest.is_none() {
            self.warning(
                line,
                &format!("service {name} has no user"),
                "it then runs as root, which init of devices launched with Android 16 refuses",
                "add user root if that is intended",
            );
        }
        match self.services.get(&name) {
            Some(first) if !has("override") => {
                let what = format!("service {name} is defined a second time");
                let why = format!("line {first} defines it, and init ignores this one");
                self.error(line, &what, &why, "rename it, or add override (Android 9 and later)");
            }
            _ => {
                self.services.insert(name, line);
            }
        }
    }
}
