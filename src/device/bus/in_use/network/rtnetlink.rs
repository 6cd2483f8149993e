//! Routes, rules and addresses of the running system, by rtnetlink (`rtnetlink(7)`,
//! `include/uapi/linux/rtnetlink.h`): every table, of any size.

use std::net::IpAddr;

use super::interfaces::Interfaces;
use super::netlink::{DUMP, address, ask, attribute, attributes, u16_at, u32_at};
use super::table::{Addresses, MAIN, Route};

const NEW_ADDRESS: u16 = 20;
const GET_ADDRESS: u16 = 22;
const NEW_ROUTE: u16 = 24;
const GET_ROUTE: u16 = 26;
const NEW_RULE: u16 = 32;
const GET_RULE: u16 = 34;

const ROUTE_HEADER: usize = 12;
const RULE_HEADER: usize = 12;
const ADDRESS_HEADER: usize = 8;
const NEXT_HOP_HEADER: usize = 8;

/// Attributes of a route.
const TO: u16 = 1;
const INTERFACE: u16 = 4;
const GATEWAY: u16 = 5;
const METRIC: u16 = 6;
const MULTIPATH: u16 = 9;
const TABLE: u16 = 15;
const MARK: u16 = 16;
const VIA: u16 = 18;
/// Attributes of an address.
const ADDRESS: u16 = 1;
const LOCAL: u16 = 2;
/// `RTN_UNICAST`, `RTM_F_CLONED`, `RTNH_F_DEAD | RTNH_F_LINKDOWN`, `FR_ACT_TO_TBL`.
const UNICAST: u8 = 1;
const CLONED: u32 = 0x200;
const NO_LINK: u32 = 1 | 16;
const TO_TABLE: u8 = 1;
/// `RT_TABLE_DEFAULT`; without rules of their own, tables of an interface (VRF) are used too.
const DEFAULT: u32 = 253;
const OF_INTERFACE: u16 = 19;

/// All routes that a rule leads to, and the machine's own addresses.
pub(crate) fn tables(links: &Interfaces) -> Option<(Vec<Route>, Addresses)> {
    let dump = |kind| ask(kind, DUMP, &[0; ROUTE_HEADER]);
    let mut routes: Vec<Route> = dump(GET_ROUTE)?
        .iter()
        .filter(|(kind, _)| *kind == NEW_ROUTE)
        .flat_map(|(_, message)| route(message, links))
        .collect();
    if let Some(tables) = dump(GET_RULE).and_then(|rules| in_use(&rules)) {
        routes.retain(|route| tables.contains(&route.table));
    }
    let addresses = dump(GET_ADDRESS).unwrap_or_default();
    let addresses = addresses.iter().filter(|(kind, _)| *kind == NEW_ADDRESS);
    let addresses = addresses.filter_map(|(_, message)| {
        let found = attributes(message, ADDRESS_HEADER);
        let of = |kind| found.iter().find(|(of, _)| *of == kind).and_then(|(_, at)| address(at));
        let interface = links.indexed(u32_at(message, 4)?)?;
        Some((of(LOCAL).or(of(ADDRESS))?, interface.to_owned()))
    });
    Some((routes, addresses.collect()))
}

/// The tables that rules lead to; `None` when a rule lets interfaces choose.
fn in_use(rules: &[(u16, Vec<u8>)]) -> Option<Vec<u32>> {
    let mut tables = vec![MAIN, DEFAULT];
    for (_, message) in rules.iter().filter(|(kind, _)| *kind == NEW_RULE) {
        let found = attributes(message, RULE_HEADER);
        if found.iter().any(|(kind, _)| *kind == OF_INTERFACE) {
            return None;
        }
        if message.get(7) == Some(&TO_TABLE) {
            let named = found.iter().find(|(kind, _)| *kind == TABLE);
            let named = named.and_then(|(_, table)| u32_at(table, 0));
            tables.extend(named.or(message.get(4).map(|table| u32::from(*table))));
        }
    }
    Some(tables)
}

/// A route, once for each interface it leads through.
fn route(message: &[u8], links: &Interfaces) -> Vec<Route> {
    let [family, length, _, _, table, _, _, kind, ..] = message else { return Vec::new() };
    let flags = u32_at(message, 8).unwrap_or_default();
    if *kind != UNICAST || flags & (CLONED | NO_LINK) != 0 {
        return Vec::new();
    }
    let found = attributes(message, ROUTE_HEADER);
    let of = |wanted| found.iter().find(|(kind, _)| *kind == wanted).map(|(_, value)| *value);
    let number = |wanted| u32_at(of(wanted)?, 0);
    let any: IpAddr = match i32::from(*family) {
        libc::AF_INET => [0; 4].into(),
        libc::AF_INET6 => [0; 16].into(),
        _ => return Vec::new(),
    };
    let mut hops: Vec<u32> = number(INTERFACE).into_iter().collect();
    let mut rest = of(MULTIPATH).unwrap_or_default();
    while let Some((size, interface)) = u16_at(rest, 0).zip(u32_at(rest, 4)) {
        if rest.get(2).is_some_and(|flags| u32::from(*flags) & NO_LINK == 0) {
            hops.push(interface);
        }
        let next = usize::from(size).max(NEXT_HOP_HEADER).next_multiple_of(4);
        rest = rest.get(next..).unwrap_or_default();
    }
    let route = |index: u32| {
        Some(Route {
            to: of(TO).and_then(address).unwrap_or(any),
            length: *length,
            interface: links.indexed(index)?.to_owned(),
            metric: number(METRIC).unwrap_or_default(),
            table: number(TABLE).unwrap_or(u32::from(*table)),
            direct: of(GATEWAY).is_none() && of(VIA).is_none(),
        })
    };
    hops.into_iter().filter_map(route).collect()
}

/// The index of the interface that the kernel sends packets with `mark` to `address` by.
pub(crate) fn route_to(address: IpAddr, mark: u32) -> Option<u32> {
    let (family, bytes) = match address {
        IpAddr::V4(address) => (libc::AF_INET, address.octets().to_vec()),
        IpAddr::V6(address) => (libc::AF_INET6, address.octets().to_vec()),
    };
    let mut body = vec![0_u8; ROUTE_HEADER];
    body.splice(..2, [family as u8, bytes.len() as u8 * 8]);
    body.extend(attribute(TO, &bytes));
    if mark != 0 {
        body.extend(attribute(MARK, &mark.to_ne_bytes()));
    }
    let answers = ask(GET_ROUTE, 0, &body)?;
    let (_, message) = answers.iter().find(|(kind, _)| *kind == NEW_ROUTE)?;
    let found = attributes(message, ROUTE_HEADER);
    found.iter().find(|(kind, _)| *kind == INTERFACE).and_then(|(_, index)| u32_at(index, 0))
}
