//! What PID 1 did in this boot, by the kernel log.

use std::io;

use super::Check;
use crate::bootlog::TAG;
use crate::device::sys::host::errno_text;
use crate::device::sys::kernel_log::Message;

pub(super) fn check(log: &Result<Vec<Message>, io::Error>) -> Check {
    let check = |status: fn(&'static str, &'static str, String) -> Check, found| {
        status("boot", "PID 1 at boot", found)
    };
    let log = match log {
        Ok(log) => log,
        Err(error) => {
            let found = format!("/dev/kmsg cannot be read: {}", errno_text(error));
            let fix = match error.kind() {
                io::ErrorKind::NotFound => {
                    "dmesg shows the kernel log, if the kernel keeps one (CONFIG_PRINTK)"
                }
                _ => "run it as root",
            };
            return check(Check::warning, found).fix(fix);
        }
    };
    let ours: Vec<(bool, &str)> = last_boot(log)
        .iter()
        .filter_map(|message| Some((message.warns, message.text.strip_prefix(TAG)?)))
        .collect();
    let found = folded(ours.iter().map(|(_, text)| *text));
    if ours.is_empty() {
        let found =
            "nothing from it in the kernel log: it did not run, or its lines were overwritten";
        check(Check::ok, found.to_owned())
    } else if ours.iter().any(|(warns, _)| *warns) {
        check(Check::warning, found)
            .fix("dmesg shows the kernel's own messages just above these lines")
    } else {
        check(Check::ok, found)
    }
}

/// What the kernel says first (`linux_banner` of `init/version.c`).
const BANNER: &str = "Linux version ";
/// What is shown of the lines of PID 1.
const SHOWN: usize = 12;

/// The messages of the last boot: a log that is kept in memory has those of earlier ones too.
fn last_boot(log: &[Message]) -> &[Message] {
    let begin = log.iter().rposition(|message| message.text.starts_with(BANNER)).unwrap_or(0);
    log.get(begin..).unwrap_or_default()
}

/// Lines as one, each once with how often it came, and not all of very many.
fn folded<'l>(lines: impl Iterator<Item = &'l str>) -> String {
    let mut counted: Vec<(&str, usize)> = Vec::new();
    for line in lines {
        match counted.iter_mut().find(|(text, _)| *text == line) {
            Some((_, count)) => *count += 1,
            None => counted.push((line, 1)),
        }
    }
    let text = |(line, count): &(&str, usize)| match count {
        1 => (*line).to_owned(),
        count => format!("{line} ({count} times)"),
    };
    let mut texts: Vec<String> = counted.iter().take(SHOWN).map(text).collect();
    if let Some(more) = counted.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        texts.push(format!("and {more} other lines (dmesg has them)"));
    }
    texts.join("; ")
}
