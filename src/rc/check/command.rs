//! Commands and options: names, arguments and versions, and what init may not do.

use super::checker::{Checker, Platform};
use crate::rc::language::{Keyword, Level};

impl Checker<'_> {
    pub(super) fn command(&mut self, line: usize, words: &[String], keyword: Keyword) {
        self.keyword(line, words, keyword);
        match (words[0].as_str(), &words[1..]) {
            ("write", [path, ..]) | ("copy" | "copy_per_line", [_, path, ..]) => {
                self.write(line, &words[0], path);
            }
            ("exec" | "exec_background", arguments) => self.exec(line, &words[0], arguments),
            _ => {}
        }
    }

    pub(super) fn option(&mut self, line: usize, words: &[String], keyword: Keyword) {
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

    pub(super) fn unknown(&mut self, line: usize, name: &str, what: &str) {
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
