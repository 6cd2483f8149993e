//! Where the present session came from: SSH or adb, as the processes above us show.

use std::net::IpAddr;

use super::sockets;
use crate::device::sys::host::Host;

/// The two ends of the present session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Session {
    /// The address of this machine that it came in by; where that is known.
    pub local: Option<IpAddr>,
    /// Where it came from.
    pub peer: IpAddr,
}

/// How many processes above us are looked at.
const DEPTH: usize = 64;

/// The sessions that the process is in: `SSH_CONNECTION` of it and of its parents, which `sudo`
/// takes from it, and the connections that its parents have (sshd, adbd).
pub(crate) fn sessions(host: &Host) -> Vec<(Session, String)> {
    let connections = sockets::established(host);
    let mut found: Vec<(Session, String)> = Vec::new();
    let mut add = |session: Session, source: String| {
        let away = |address: &IpAddr| !address.is_loopback();
        if away(&session.peer)
            && session.local.as_ref().is_none_or(away)
            && !found.iter().any(|(known, _)| *known == session)
        {
            found.push((session, source));
        }
    };
    let mut entry = "self".to_owned();
    for _ in 0..DEPTH {
        let environment = format!("proc/{entry}/environ");
        if let Some(session) = host.read(&environment).ok().and_then(|text| of_ssh(&text)) {
            add(session, format!("SSH_CONNECTION in /{environment}"));
        }
        for connection in sockets::of_process(host, &entry, &connections) {
            let session = Session { local: Some(connection.local), peer: connection.remote };
            add(session, format!("/proc/{entry}/fd and /proc/net/tcp"));
        }
        match parent(host, &entry) {
            Some(pid) if pid > 1 => entry = pid.to_string(),
            _ => break,
        }
    }
    found
}

/// Field 4 of `/proc/PID/stat`; the name in brackets may hold anything.
fn parent(host: &Host, entry: &str) -> Option<u32> {
    let stat = host.read(&format!("proc/{entry}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

/// Client, its port, server, its port.
fn of_ssh(environment: &str) -> Option<Session> {
    let value = environment.split('\0').find_map(|word| word.strip_prefix("SSH_CONNECTION="))?;
    let mut words = value.split_whitespace();
    // fe80::1%eth0
    let mut address = || words.next()?.split('%').next()?.parse::<IpAddr>().ok();
    let peer = address()?.to_canonical();
    _ = words.next();
    let local = words.next().and_then(|word| word.split('%').next()?.parse::<IpAddr>().ok());
    Some(Session { local: local.map(|local| local.to_canonical()), peer })
}
