//! What the device of a network card is needed for.

use std::net::IpAddr;
use std::path::Path;

use super::footing::{Footing, Ground};
use super::interfaces::{Interfaces, Signal};
use super::routes::Routes;
use super::servers;
use super::session;
use crate::device::bus::in_use::blocks::Blocks;
use crate::device::bus::in_use::carriers::Functions;
use crate::device::bus::in_use::disks::DiskUse;
use crate::device::bus::in_use::mounts::Mount;
use crate::device::bus::in_use::need::{InUse, Need};
use crate::device::bus::pci::PciAddress;
use crate::device::sys::host::Host;

/// Everything that needs the network, with what it stands on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Network {
    links: Interfaces,
    routes: Routes,
    /// The interfaces that lead out of here.
    ways: Vec<(String, Footing)>,
    /// What needs its way whatever other ways there are.
    fixed: Vec<(Use, Footing)>,
}

/// What is needed.
#[derive(Clone, Debug)]
enum Use {
    Session { peer: IpAddr, source: String },
    Server(servers::Remote),
}

impl Network {
    pub(crate) fn read(
        host: &Host,
        functions: &Functions,
        mounts: &[Mount],
        blocks: &Blocks,
        used: &DiskUse,
    ) -> Self {
        let links = Interfaces::read(host, functions);
        let routes = Routes::read(host, &links);
        let ground = Ground { links: &links, routes: &routes };
        let ways = ways_out(ground);
        let mut fixed = Vec::new();
        for (session, source) in session::sessions(host) {
            let own = session.local.and_then(|local| routes.of_own(local));
            let mut interfaces = vec![own, routes.to(session.peer, &links)];
            interfaces.dedup();
            for interface in interfaces.into_iter().flatten().filter(|name| *name != "lo") {
                if let Some(number) = links.named(interface) {
                    let it = Use::Session { peer: session.peer, source: source.clone() };
                    fixed.push((it, ground.footing(number)));
                }
            }
        }
        for remote in servers::in_use(host, mounts, blocks, used) {
            let footing = match remote.address {
                Some(address) if address.is_loopback() => continue,
                Some(address) => routes
                    .to(address, &links)
                    .and_then(|interface| links.named(interface))
                    .map(|number| ground.footing(number)),
                None => None,
            };
            let unknown = || Footing::Unknown(ground.carrying());
            fixed.push((Use::Server(remote), footing.unwrap_or_else(unknown)));
        }
        Self { links, routes, ways, fixed }
    }

    /// What the device is needed for when `gone` are taken, it among them.
    pub(crate) fn of(&self, address: PciAddress, gone: &[PciAddress]) -> Vec<InUse> {
        let ground = Ground { links: &self.links, routes: &self.routes };
        let mut found: Vec<InUse> = Vec::new();
        let mut add = |need: Need, source: &str, function: Option<PciAddress>| {
            let used = InUse { need, source: source.to_owned(), function };
            if !found.contains(&used) {
                found.push(used);
            }
        };
        for (it, footing) in &self.fixed {
            if ground.stands(footing, gone) {
                continue;
            }
            let Some((link, function, known)) = ground.card_on(footing, address) else { continue };
            let card = link.name.clone();
            match it {
                Use::Session { peer, source } => {
                    add(Need::Session { card, peer: peer.to_string(), known }, source, function);
                }
                Use::Server(servers::Remote { what, server, source, .. }) => {
                    let (what, server) = (what.clone(), server.clone());
                    add(Need::Server { what, server, card, known }, source, function);
                }
            }
        }
        if !self.ways.iter().any(|(_, footing)| ground.stands(footing, gone)) {
            for (interface, footing) in &self.ways {
                if let Some((link, function, known)) = ground.card_on(footing, address) {
                    let (interface, card) = (interface.clone(), link.name.clone());
                    let need = Need::Uplink { interface, card, known };
                    add(need, self.routes.source, function);
                }
            }
        }
        found
    }
}

impl Network {
    /// The only ways out of here, of which the card is at or below a place of sysfs.
    pub(crate) fn of_place(&self, place: &Path) -> Option<InUse> {
        let is_there = |name: &str| {
            let link = self.links.named(name).and_then(|number| self.links.get(number));
            link.is_some_and(|link| link.place.starts_with(place))
        };
        let interface = self.ways.first()?.0.clone();
        let all = self.ways.iter().all(|(interface, _)| is_there(interface));
        let need = Need::Uplink { card: interface.clone(), interface, known: true };
        all.then(|| InUse::new(need, self.routes.source))
    }
}

/// The interfaces of default routes that have a link; where no table that we can read has such a
/// route, the cards that have one.
fn ways_out(ground: Ground<'_>) -> Vec<(String, Footing)> {
    let with = |signals: &[Signal], name: &str| {
        let number = ground.links.named(name)?;
        let link = ground.links.get(number)?;
        signals.contains(&link.signal).then(|| (name.to_owned(), ground.footing(number)))
    };
    let routes = ground.routes.ways_out();
    let alive = [Signal::Up, Signal::Unknown];
    if !routes.is_empty() {
        return routes.into_iter().filter_map(|name| with(&alive, name)).collect();
    }
    let cards = ground.links.all.iter().filter(|link| link.card);
    cards.filter_map(|link| with(&[Signal::Up], &link.name)).collect()
}
