//! Messages of netlink (`netlink(7)`, `include/uapi/linux/netlink.h`): asking, and what answers consist of.

use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType};

/// `NLMSG_ERROR`, `NLMSG_DONE`.
const ERROR: u16 = 2;
const DONE: u16 = 3;
const REQUEST: u16 = 1;
const ACKNOWLEDGE: u16 = 4;
pub(super) const DUMP: u16 = 0x300;

/// Length, type, flags, sequence number, sender.
const HEADER: usize = 16;
/// The type of an attribute, without flags (`NLA_TYPE_MASK`).
const ATTRIBUTE: u16 = 0x3fff;

/// Asks `NETLINK_ROUTE`, and gives the message of every answer, with its type.
pub(super) fn ask(kind: u16, flags: u16, body: &[u8]) -> Option<Vec<(u16, Vec<u8>)>> {
    ask_family(None, kind, flags, body)
}

/// Asks another family than `NETLINK_ROUTE`, if one is given.
pub(super) fn ask_family(
    family: Option<Protocol>,
    kind: u16,
    flags: u16,
    body: &[u8],
) -> Option<Vec<(u16, Vec<u8>)>> {
    let socket = send(family, kind, flags, body).ok()?;
    let mut answers = Vec::new();
    // More than the kernel puts into one datagram (`netlink_dump`).
    let mut buffer = vec![0_u8; 64 * 1024];
    loop {
        let (read, _) =
            rustix::net::recv(&socket, buffer.as_mut_slice(), RecvFlags::empty()).ok()?;
        let mut rest = buffer.get(..read).unwrap_or_default();
        if rest.is_empty() {
            return None;
        }
        while let Some((length, kind)) = u32_at(rest, 0).zip(u16_at(rest, 4)) {
            let length = length as usize;
            let Some(message) = rest.get(HEADER..length) else { break };
            match kind {
                DONE => return Some(answers),
                ERROR => return None,
                _ => answers.push((kind, message.to_vec())),
            }
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        if flags & DUMP == 0 {
            return Some(answers);
        }
    }
}

/// Sends a request.
fn send(family: Option<Protocol>, kind: u16, flags: u16, body: &[u8]) -> io::Result<OwnedFd> {
    let socket: OwnedFd = rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        family,
    )?;
    let mut request = ((HEADER + body.len()) as u32).to_ne_bytes().to_vec();
    request.extend(kind.to_ne_bytes());
    request.extend((REQUEST | flags).to_ne_bytes());
    request.extend([0; 8]);
    request.extend(body);
    rustix::net::send(&socket, &request, SendFlags::empty())?;
    Ok(socket)
}

/// Has `NETLINK_ROUTE` change something.
///
/// # Errors
/// What the kernel answers.
pub(super) fn change(kind: u16, body: &[u8]) -> io::Result<()> {
    let socket = send(None, kind, ACKNOWLEDGE, body)?;
    let mut buffer = [0_u8; 4096];
    let (read, _) = rustix::net::recv(&socket, &mut buffer[..], RecvFlags::empty())?;
    let answer = buffer.get(..read).unwrap_or_default();
    // A number as in `errno`, negative; 0 for "done".
    match (u16_at(answer, 4), u32_at(answer, HEADER).map(|code| code as i32)) {
        (Some(ERROR), Some(0)) => Ok(()),
        (Some(ERROR), Some(code)) => Err(io::Error::from_raw_os_error(-code)),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// The attributes after a header of `start` bytes, `struct rtattr`.
pub(super) fn attributes(message: &[u8], start: usize) -> Vec<(u16, &[u8])> {
    let mut rest = message.get(start..).unwrap_or_default();
    let mut found = Vec::new();
    while let Some((length, kind)) = u16_at(rest, 0).zip(u16_at(rest, 2)) {
        let length = usize::from(length);
        let Some(value) = rest.get(4..length) else { break };
        found.push((kind & ATTRIBUTE, value));
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    found
}

pub(super) fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Some(four.into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from)
}

/// An attribute of `kind`, padded.
pub(super) fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = ((4 + value.len()) as u16).to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}
