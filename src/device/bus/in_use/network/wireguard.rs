//! The far ends of WireGuard's tunnels, by generic netlink (`include/uapi/linux/wireguard.h`,
//! `include/uapi/linux/genetlink.h`). Only its administrator may ask.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rustix::net::netlink;

use super::netlink::{DUMP, ask, ask_family, attribute, attributes, u16_at, u32_at};
use crate::device::sys::host::Host;

/// `GENL_ID_CTRL`, `CTRL_CMD_GETFAMILY` and two of its attributes.
const CONTROL: u16 = 16;
const GET_FAMILY: u8 = 3;
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;

/// `RTM_GETLINK`, its header, and `IFLA_LINK_NETNSID`.
const GET_LINK: u16 = 18;
const LINK_HEADER: usize = 16;
const LINK_NAMESPACE: u16 = 37;

/// Command, version, two reserved bytes.
const HEADER: usize = 4;

/// `WG_CMD_GET_DEVICE`, and attributes of a device and of its peers.
const GET_DEVICE: u8 = 0;
const INDEX: u16 = 1;
const MARK: u16 = 7;
const PEERS: u16 = 8;
const ENDPOINT: u16 = 4;

/// The far ends of the interface with this index of the running system, and the mark of its packets. None when
/// they cannot be asked for, or when their packets go by the routes of another network namespace.
pub(super) fn remotes(host: &Host, index: u32) -> Vec<(IpAddr, u32)> {
    if !host.is_running_system() || is_from_elsewhere(index) {
        return Vec::new();
    }
    asked(index).unwrap_or_default()
}

/// Whether an interface sends by the sockets of another network namespace, in which it was made.
fn is_from_elsewhere(index: u32) -> bool {
    let mut body = vec![0_u8; LINK_HEADER];
    body.splice(4..8, index.to_ne_bytes());
    let answers = ask(GET_LINK, 0, &body).unwrap_or_default();
    let of = |(_, message): &(u16, Vec<u8>)| {
        attributes(message, LINK_HEADER).iter().any(|(kind, _)| *kind == LINK_NAMESPACE)
    };
    answers.iter().any(of)
}

fn asked(index: u32) -> Option<Vec<(IpAddr, u32)>> {
    let name = attribute(FAMILY_NAME, b"wireguard\0");
    let family = call(CONTROL, 0, &[&[GET_FAMILY, 1, 0, 0], name.as_slice()].concat())?;
    let family = family.iter().flat_map(|answer| attributes(answer, HEADER));
    let family = family.filter(|(kind, _)| *kind == FAMILY_ID);
    let family = family.filter_map(|(_, id)| u16_at(id, 0)).next()?;
    let device = attribute(INDEX, &index.to_ne_bytes());
    let answers = call(family, DUMP, &[&[GET_DEVICE, 1, 0, 0], device.as_slice()].concat())?;
    let (mut mark, mut addresses) = (0, Vec::new());
    // Many peers come in several answers.
    for (kind, value) in answers.iter().flat_map(|answer| attributes(answer, HEADER)) {
        match kind {
            MARK => mark = u32_at(value, 0)?,
            PEERS => {
                let peers = attributes(value, 0).into_iter();
                let all = peers.flat_map(|(_, peer)| attributes(peer, 0));
                let endpoints = all.filter(|(kind, _)| *kind == ENDPOINT);
                addresses.extend(endpoints.filter_map(|(_, endpoint)| address(endpoint)));
            }
            _ => {}
        }
    }
    Some(addresses.into_iter().map(|address| (address, mark)).collect())
}

fn call(kind: u16, flags: u16, body: &[u8]) -> Option<Vec<Vec<u8>>> {
    let answers = ask_family(Some(netlink::GENERIC), kind, flags, body)?;
    Some(answers.into_iter().map(|(_, message)| message).collect())
}

/// That of a `struct sockaddr_in` or `sockaddr_in6`.
fn address(endpoint: &[u8]) -> Option<IpAddr> {
    match i32::from(u16_at(endpoint, 0)?) {
        libc::AF_INET => {
            let bytes: [u8; 4] = endpoint.get(4..8)?.try_into().ok()?;
            Some(Ipv4Addr::from(bytes).into())
        }
        libc::AF_INET6 => {
            let bytes: [u8; 16] = endpoint.get(8..24)?.try_into().ok()?;
            Some(Ipv6Addr::from(bytes).into())
        }
        _ => None,
    }
}
