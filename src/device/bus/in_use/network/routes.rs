//! The routing tables: of the running system by netlink, all that its rules use; of another tree
//! what proc shows, the main table.

use std::net::IpAddr;

use super::interfaces::Interfaces;
use super::rtnetlink;
use super::table::{self, Addresses, Route};
use crate::device::sys::host::Host;

/// All routes in use.
#[derive(Clone, Debug, Default)]
pub(crate) struct Routes {
    all: Vec<Route>,
    addresses: Addresses,
    live: bool,
    /// The file or call that they are from.
    pub source: &'static str,
}

impl Routes {
    pub(crate) fn read(host: &Host, links: &Interfaces) -> Self {
        if host.is_running_system()
            && let Some((all, addresses)) = rtnetlink::tables(links)
        {
            return Self { all, addresses, live: true, source: "rtnetlink" };
        }
        let read = |path: &str| host.read_table(path).unwrap_or_default();
        let mut all: Vec<Route> =
            read("proc/net/route").lines().skip(1).filter_map(table::version_4).collect();
        all.extend(read("proc/net/ipv6_route").lines().filter_map(table::version_6));
        let addresses = read("proc/net/if_inet6").lines().filter_map(table::own_address).collect();
        Self { all, addresses, live: false, source: "/proc/net/route" }
    }

    /// The interfaces of routes out of here, each once. A route to each half of all addresses is one
    /// to all of them: that is how a VPN goes before the default route and lets it stand.
    pub(crate) fn ways_out(&self) -> Vec<&str> {
        let out = self.all.iter().filter(|route| route.length <= 1);
        unique(out.map(|route| route.interface.as_str()))
    }

    /// The interfaces of all routes, each once.
    pub(crate) fn interfaces(&self) -> Vec<&str> {
        unique(self.all.iter().map(|route| route.interface.as_str()))
    }

    /// The interface that packets to `address` leave by.
    pub(crate) fn to<'a>(&'a self, address: IpAddr, links: &'a Interfaces) -> Option<&'a str> {
        self.marked(address, 0, links)
    }

    /// The interface that packets with `mark` leave by, which rules may look at.
    pub(crate) fn marked<'a>(
        &'a self,
        address: IpAddr,
        mark: u32,
        links: &'a Interfaces,
    ) -> Option<&'a str> {
        // The kernel knows its rules better; for it some addresses have no route without a mark.
        let asked = self.live.then(|| rtnetlink::route_to(address, mark)).flatten();
        if let Some(interface) = asked.and_then(|index| links.indexed(index)) {
            return Some(interface);
        }
        let matching = self.all.iter().filter(|route| route.covers(address));
        let best = matching.min_by_key(|route| (u8::MAX - route.length, route.metric))?;
        Some(&best.interface)
    }

    /// The interface that has `address`.
    pub(crate) fn of_own(&self, address: IpAddr) -> Option<&str> {
        if let Some((_, interface)) = self.addresses.iter().find(|(own, _)| *own == address) {
            return Some(interface);
        }
        let matching = self.all.iter().filter(|route| route.direct && route.covers(address));
        let best = matching.max_by_key(|route| route.length)?;
        Some(&best.interface)
    }
}

fn unique<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut names: Vec<&str> = names.filter(|name| *name != "lo").collect();
    names.sort_unstable();
    names.dedup();
    names
}
