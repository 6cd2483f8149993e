//! A route, and the tables of proc.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A route to somewhere else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    /// The first address.
    pub to: IpAddr,
    /// How many bits of it count.
    pub length: u8,
    /// The interface it leaves by.
    pub interface: String,
    /// The smaller, the better.
    pub metric: u32,
    /// The table it is in.
    pub table: u32,
    /// Whether the addresses are on the interface's own network.
    pub direct: bool,
}

/// Addresses of this machine, each with its interface.
pub(crate) type Addresses = Vec<(IpAddr, String)>;

/// The table that everything uses unless a rule says otherwise (`RT_TABLE_MAIN`).
pub(crate) const MAIN: u32 = 254;

impl Route {
    /// Whether it is for this address.
    pub(crate) fn covers(&self, address: IpAddr) -> bool {
        let bits = |to: u128, address: u128, width: u32| {
            let shift = width.saturating_sub(self.length.into());
            to.checked_shr(shift) == address.checked_shr(shift)
        };
        match (self.to, address) {
            (IpAddr::V4(to), IpAddr::V4(address)) => {
                bits(to.to_bits().into(), address.to_bits().into(), 32)
            }
            (IpAddr::V6(to), IpAddr::V6(address)) => bits(to.to_bits(), address.to_bits(), 128),
            _ => false,
        }
    }
}

/// Whether the flags of a route say that it leads somewhere: `RTF_UP` without `RTF_REJECT`,
/// `include/uapi/linux/route.h`.
fn leads(flags: &str) -> bool {
    const UP: u32 = 0x1;
    const REJECT: u32 = 0x200;
    u32::from_str_radix(flags, 16).is_ok_and(|flags| flags & (UP | REJECT) == UP)
}

/// Iface Destination Gateway Flags RefCnt Use Metric Mask …, addresses as the processor has them.
pub(crate) fn version_4(line: &str) -> Option<Route> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [interface, to, via, flags, _, _, metric, mask, ..] = fields.as_slice() else {
        return None;
    };
    let number = |text: &str| u32::from_str_radix(text, 16).ok();
    leads(flags).then_some(())?;
    Some(Route {
        to: Ipv4Addr::from(number(to)?.to_le_bytes()).into(),
        length: number(mask)?.count_ones() as u8,
        interface: (*interface).to_owned(),
        metric: metric.parse().ok()?,
        table: MAIN,
        direct: number(via)? == 0,
    })
}

/// To, its length, from, its length, gateway, metric, references, uses, flags, interface.
pub(crate) fn version_6(line: &str) -> Option<Route> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [to, length, _, _, via, metric, _, _, flags, interface] = fields.as_slice() else {
        return None;
    };
    leads(flags).then_some(())?;
    let address = |text: &str| u128::from_str_radix(text, 16).ok().map(Ipv6Addr::from_bits);
    Some(Route {
        to: address(to)?.into(),
        length: u8::from_str_radix(length, 16).ok()?,
        interface: (*interface).to_owned(),
        metric: u32::from_str_radix(metric, 16).ok()?,
        table: MAIN,
        direct: address(via)?.is_unspecified(),
    })
}

/// `fe80… 02 40 20 80 eth0`
pub(crate) fn own_address(line: &str) -> Option<(IpAddr, String)> {
    let mut fields = line.split_whitespace();
    let address = u128::from_str_radix(fields.next()?, 16).ok()?;
    Some((Ipv6Addr::from_bits(address).into(), fields.last()?.to_owned()))
}
