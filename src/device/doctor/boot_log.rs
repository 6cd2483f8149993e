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
            return check(Check::warning, found).fix("run it as root");
        }
    };
    let ours: Vec<(bool, &str)> = log
        .iter()
        .filter_map(|message| Some((message.warns, message.text.strip_prefix(TAG)?)))
        .collect();
    let found = ours.iter().map(|(_, text)| *text).collect::<Vec<_>>().join("; ");
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
