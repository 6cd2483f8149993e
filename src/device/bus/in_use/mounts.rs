//! What is mounted, in the mount namespace of every process (`/proc/PID/mountinfo`, `proc(5)`).

use std::collections::BTreeSet;

use crate::device::bus::users::User;
use crate::device::sys::host::Host;

/// A mounted filesystem.
#[derive(Clone, Debug)]
pub(crate) struct Mount {
    /// Where.
    pub place: String,
    /// The number of its device, `259:1`.
    pub number: String,
    /// `ext4`.
    pub kind: String,
    /// What was mounted: a node, a server, a pool.
    pub source: String,
    /// The filesystem's own options.
    pub options: String,
    /// The file that says so.
    pub file: String,
    /// A process in whose namespace it is, when that is neither ours nor init's.
    pub process: Option<User>,
}

impl Mount {
    /// `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue`
    fn parse(line: &str, file: &str, process: Option<&User>) -> Option<Self> {
        let (front, back) = line.split_once(" - ")?;
        let mut front = front.split(' ').skip(2);
        let (number, place) = (front.next()?, front.nth(1)?);
        let mut back = back.split(' ');
        let mut next = || back.next().unwrap_or_default();
        Some(Self {
            place: unescape(place),
            number: number.to_owned(),
            kind: next().to_owned(),
            source: unescape(next()),
            options: next().to_owned(),
            file: format!("/{file}"),
            process: process.cloned(),
        })
    }
}

/// All mounts of all processes; each namespace is read once, ours and init's first.
pub(crate) fn all(host: &Host) -> Vec<Mount> {
    let mut mounts = Vec::new();
    let mut seen = BTreeSet::new();
    let own = ["self", "1"].map(str::to_owned);
    let others = host.list("proc").unwrap_or_default();
    let others = others.into_iter().filter(|name| name != "1" && name.parse::<u32>().is_ok());
    for entry in own.into_iter().chain(others) {
        // Without the right to know the namespace there is none to read its mounts either.
        match host.link_name(&format!("proc/{entry}/ns/mnt")) {
            Ok(Some(namespace)) if !seen.insert(namespace.clone()) => continue,
            Err(_) if entry != "self" && entry != "1" => continue,
            _ => {}
        }
        let file = format!("proc/{entry}/mountinfo");
        let Ok(text) = host.read_table(&file) else { continue };
        let process = entry.parse().ok().filter(|pid| *pid != 1).map(|pid| User {
            pid,
            name: host.read(&format!("proc/{entry}/comm")).unwrap_or_default(),
        });
        mounts.extend(text.lines().filter_map(|line| Mount::parse(line, &file, process.as_ref())));
    }
    mounts
}

/// `\040` is a space (`mangle_path` in `fs/seq_file.c`).
pub(crate) fn unescape(text: &str) -> String {
    let mut plain = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let octal = tail
            .get(..3)
            .filter(|_| *first == b'\\')
            .and_then(|digits| u8::from_str_radix(str::from_utf8(digits).ok()?, 8).ok());
        plain.push(octal.unwrap_or(*first));
        rest = if octal.is_some() { tail.get(3..).unwrap_or_default() } else { tail };
    }
    String::from_utf8_lossy(&plain).into_owned()
}
