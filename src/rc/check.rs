//! A checker of rc files: it reports what init ignores, refuses, or may not do.

use std::collections::BTreeMap;
use std::fmt;

use super::language::{Keyword, Language, Level};
use super::lexer::{End, Script, Statement};
use crate::root_manager::RcOverlay;

/// Service names up to Android 6 (`valid_name` in `init_parser.c`).
const OLD_NAME_MAX: usize = 16;

/// The init that reads the file.
#[derive(Clone, Copy, Debug)]
pub struct Platform {
    /// The overlay of the root manager that reads the file; None for init itself.
    pub overlay: Option<&'static RcOverlay>,
    /// The oldest possible Android version; None when unknown.
    pub oldest: Option<u32>,
    /// The newest possible Android version; None when unknown.
    pub newest: Option<u32>,
}

/// A fault in an rc file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Line number, from 1.
    pub line: usize,
    /// Severity.
    pub level: Level,
    /// What is wrong.
    pub what: String,
    /// Why it is wrong, or the consequence.
    pub why: String,
    /// What to do.
    pub fix: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Error => "error",
            Level::Warning => "warning",
        };
        let Finding { line, what, why, fix, .. } = self;
        write!(f, "{line}: {level}: {what}: {why}; {fix}")
    }
}

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
        triggers: triggers(&script),
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

/// The events that the file itself triggers.
fn triggers(script: &Script) -> Vec<&str> {
    let events = script.statements.iter().filter_map(|statement| match &statement.words[..] {
        [command, event] if command == "trigger" => Some(event.as_str()),
        _ => None,
    });
    events.collect()
}

enum Section {
    /// No section has begun.
    None,
    /// The first line of the section is wrong, so its other lines are not checked.
    Broken,
    Import,
    Action,
    Service(Service),
}

struct Service {
    line: usize,
    name: String,
    program: String,
    options: Vec<String>,
}

struct Checker<'s> {
    language: &'static Language,
    platform: Platform,
    section: Section,
    findings: Vec<Finding>,
    /// The line of each service's definition.
    services: BTreeMap<String, usize>,
    triggers: Vec<&'s str>,
}

impl Checker<'_> {
    fn report(&mut self, line: usize, level: Level, what: &str, why: &str, fix: &str) {
        let [what, why, fix] = [what, why, fix].map(str::to_owned);
        self.findings.push(Finding { line, level, what, why, fix });
    }

    fn error(&mut self, line: usize, what: &str, why: &str, fix: &str) {
        self.report(line, Level::Error, what, why, fix);
    }

    fn warning(&mut self, line: usize, what: &str, why: &str, fix: &str) {
        self.report(line, Level::Warning, what, why, fix);
    }

    /// The overlays of root managers that do not read the file.
    fn other_overlays(&self) -> impl Iterator<Item = &'static RcOverlay> + use<> {
        let own = self.platform.overlay;
        RcOverlay::all().filter(move |overlay| own != Some(*overlay))
    }

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

    fn action(&mut self, statement: &Statement) {
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

    fn service(&mut self, statement: &Statement) {
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

    fn unknown(&mut self, line: usize, name: &str, what: &str) {
        let known = match what {
            "command" => &self.language.commands,
            _ => &self.language.options,
        };
        let alike = known.keys().find(|known| is_alike(known, name));
        let fix = match alike {
            Some(alike) => format!("did you mean {alike}?"),
            None => "see system/core/init/README.md of AOSP for the valid ones".to_owned(),
        };
        let why = "no init since Android 5 knows it: init ignores the line";
        self.error(line, &format!("unknown {what} \"{name}\""), why, &fix);
    }

    /// Check the number of arguments and the Android versions of a command or an option.
    fn keyword(&mut self, line: usize, words: &[String], keyword: Keyword) {
        let (name, count) = (&words[0], words.len() - 1);
        if count < keyword.min || keyword.max.is_some_and(|max| count > max) {
            let takes = match (keyword.min, keyword.max) {
                (0, Some(0)) => "none".to_owned(),
                (min, Some(max)) if min == max => format!("{min}"),
                (min, Some(max)) => format!("{min} to {max}"),
                (min, None) => format!("{min} or more"),
            };
            self.error(
                line,
                &format!("{name} with {count} arguments"),
                &format!("it takes {takes}: init ignores the line"),
                "quote arguments that contain spaces",
            );
        }
        let newest = self.platform.newest;
        if let (Some(since), Some(newest)) = (keyword.since, newest)
            && newest < since
        {
            self.warning(
                line,
                &format!("{name} needs Android {since} or later"),
                &format!("this device has at most Android {newest}, whose init ignores the line"),
                "remove the line",
            );
        }
        if let (Some(until), None) = (keyword.until, newest) {
            self.warning(
                line,
                &format!("{name} was removed after Android {until}"),
                "init of later versions ignores the line",
                "do not use it on later versions",
            );
        }
    }

    fn command(&mut self, line: usize, words: &[String], keyword: Keyword) {
        self.keyword(line, words, keyword);
        match (words[0].as_str(), &words[1..]) {
            ("write", [path, ..]) | ("copy" | "copy_per_line", [_, path, ..]) => {
                self.write(line, &words[0], path);
            }
            ("exec" | "exec_background", arguments) => self.exec(line, &words[0], arguments),
            _ => {}
        }
    }

    fn write(&mut self, line: usize, command: &str, path: &str) {
        let Some(rule) = self.language.write_rule(path) else { return };
        // The policy of an older version may allow it.
        let Platform { oldest, newest, .. } = self.platform;
        let may = rule.since.is_some_and(|since| {
            newest.is_some_and(|newest| newest < since || oldest.is_none_or(|o| o < since))
        });
        let level = if may { Level::Warning } else { rule.level };
        self.report(line, level, &format!("{command} {path}"), &rule.why, &rule.fix);
    }

    /// `exec [SECLABEL [USER [GROUP…]]] -- COMMAND [ARGUMENT…]`, or the command alone.
    fn exec(&mut self, line: usize, name: &str, arguments: &[String]) {
        let split = arguments.iter().position(|word| word == "--");
        let (before, command) = match split {
            Some(at) => (&arguments[..at], arguments.get(at + 1)),
            None => (&arguments[..0], arguments.first()),
        };
        let Some(command) = command else {
            return self.error(
                line,
                &format!("{name} without a program"),
                "the program follows --",
                "write exec SECLABEL USER GROUP -- /PATH ARGUMENTS",
            );
        };
        if !command.starts_with(['/', '$']) {
            self.error(
                line,
                &format!("{name}: the path {command} is not absolute"),
                "init does not search for programs, it executes the path as given",
                "write the absolute path",
            );
        }
        match before.first().filter(|label| *label != "-") {
            Some(label) => self.label(line, label),
            None => self.no_label(line, &format!("{name} {command}"), command),
        }
    }

    fn option(&mut self, line: usize, words: &[String], keyword: Keyword) {
        self.keyword(line, words, keyword);
        match (words[0].as_str(), &words[1..]) {
            ("seclabel", [label]) => self.label(line, label),
            ("onrestart", [name, ..]) => match self.language.commands.get(name) {
                Some(keyword) => self.command(line, &words[1..], *keyword),
                None => self.unknown(line, name, "command"),
            },
            _ => {}
        }
    }

    fn label(&mut self, line: usize, label: &str) {
        if label.splitn(4, ':').filter(|part| !part.is_empty()).count() != 4 {
            self.error(
                line,
                &format!("seclabel \"{label}\""),
                "a context is USER:ROLE:TYPE:LEVEL: init does not start the program",
                "write it as u:r:su:s0",
            );
        } else if let Some(other) = self.other_overlays().find(|own| own.has_type_of(label)) {
            let manager = other.manager;
            let why = format!(
                "{manager}'s policy adds this domain, and this ramdisk is not patched by {manager}"
            );
            let fix = format!("patch it with {manager} first, or use a domain of the ROM");
            self.warning(line, label, &why, &fix);
        } else if let Some(rule) = self.language.domain_rule(label) {
            self.warning(line, label, &rule.why, &rule.fix);
        }
    }

    fn no_label(&mut self, line: usize, what: &str, program: &str) {
        let own = RcOverlay::all().find(|own| {
            program.strip_prefix(own.variable).is_some_and(|rest| rest.starts_with('/'))
        });
        let why = match (own, self.language.missing_transition(program)) {
            (Some(own), _) => format!(
                "the policy has no domain transition for a file in {}'s tmpfs, and init may not run a \
                 program in its own domain: neverallow init … execute_no_trans (init.te)",
                own.manager
            ),
            (None, Some(why)) => why.to_owned(),
            (None, None) => return,
        };
        let fix = match self.platform.overlay {
            Some(overlay) => format!("add seclabel {}", overlay.context),
            None => "add a seclabel whose domain may run it".to_owned(),
        };
        self.error(line, &format!("{what}: no seclabel"), &why, &fix);
    }

    fn end_section(&mut self) {
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

/// Whether two words differ in one letter, or in two swapped letters.
fn is_alike(known: &str, word: &str) -> bool {
    let (a, b): (Vec<char>, Vec<char>) = (known.chars().collect(), word.chars().collect());
    let same = std::iter::zip(&a, &b).take_while(|(a, b)| a == b).count();
    let (a, b) = (&a[same..], &b[same..]);
    let rest = |slice: &[char], skip: usize| slice.get(skip..).map(<[char]>::to_vec);
    match (a, b) {
        ([], [_]) | ([_], []) => true,
        ([a1, a2, ..], [b1, b2, ..]) if a1 == b2 && a2 == b1 => rest(a, 2) == rest(b, 2),
        _ => {
            (!a.is_empty() && !b.is_empty() && rest(a, 1) == rest(b, 1))
                || rest(a, 1).as_deref() == Some(b)
                || rest(b, 1).as_deref() == Some(a)
        }
    }
}
