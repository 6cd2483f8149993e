//! The TCP connections of processes (`/proc/net/tcp`, `proc(5)`).

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::device::sys::host::Host;

/// An established connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Connection {
    /// Our end.
    pub local: IpAddr,
    /// The other end.
    pub remote: IpAddr,
    inode: u64,
}

/// All established connections, as the network namespace has them.
pub(crate) fn established(host: &Host) -> Vec<Connection> {
    let tables = ["proc/net/tcp", "proc/net/tcp6"];
    let texts = tables.map(|table| host.read_table(table).unwrap_or_default());
    texts.iter().flat_map(|text| text.lines().skip(1)).filter_map(Connection::parse).collect()
}

impl Connection {
    /// `0: 0100007F:0016 0200000A:C350 01 …`: number, local, remote, state, five more, inode.
    fn parse(line: &str) -> Option<Self> {
        const ESTABLISHED: &str = "01";
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, local, remote, ESTABLISHED, _, _, _, _, _, inode, ..] = fields.as_slice() else {
            return None;
        };
        let (local, remote) = (address(local)?, address(remote)?);
        Some(Self { local, remote, inode: inode.parse().ok()? })
    }
}

/// Words of 32 bits as the processor has them, and the port.
fn address(text: &str) -> Option<IpAddr> {
    let (address, _) = text.split_once(':')?;
    let word = |text: &str| u32::from_str_radix(text, 16).ok().map(u32::to_le_bytes);
    if address.len() == 8 {
        return Some(Ipv4Addr::from(word(address)?).into());
    }
    let mut bytes = Vec::new();
    for at in [0, 8, 16, 24] {
        bytes.extend(word(address.get(at..at + 8)?)?);
    }
    let bytes: [u8; 16] = bytes.try_into().ok()?;
    Some(IpAddr::from(Ipv6Addr::from(bytes)).to_canonical())
}

/// Those of `connections` that a process has open.
pub(crate) fn of_process(host: &Host, pid: &str, connections: &[Connection]) -> Vec<Connection> {
    let mut found = Vec::new();
    for descriptor in fs::read_dir(host.path(format!("proc/{pid}/fd"))).into_iter().flatten() {
        let Ok(target) = descriptor.and_then(|one| fs::read_link(one.path())) else { continue };
        // socket:[12345]
        let inode = target.to_str().and_then(|text| text.strip_prefix("socket:["));
        let Some(inode) = inode.and_then(|text| text.strip_suffix(']')?.parse::<u64>().ok()) else {
            continue;
        };
        found.extend(connections.iter().filter(|connection| connection.inode == inode));
    }
    found
}
