//! What an interface stands on, down to the cards.

use std::fs;
use std::path::Path;

use super::interfaces::{Interface, Interfaces, Kind, Signal};
use super::routes::Routes;
use crate::device::bus::pci::PciAddress;

/// What an interface stands on.
#[derive(Clone, Debug)]
pub(crate) enum Footing {
    /// Nothing: it is a card, by number.
    Card(usize),
    /// All of these.
    All(Vec<Footing>),
    /// Any of these.
    Any(Vec<Footing>),
    /// It cannot be followed: perhaps any of these cards.
    Unknown(Vec<usize>),
}

/// The interfaces, and the routes that carry tunnels.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ground<'a> {
    /// All of the network namespace.
    pub links: &'a Interfaces,
    /// All of its tables.
    pub routes: &'a Routes,
}

impl<'a> Ground<'a> {
    /// What an interface stands on.
    pub(crate) fn footing(self, number: usize) -> Footing {
        self.follow(number, &mut Vec::new())
    }

    fn follow(self, number: usize, seen: &mut Vec<usize>) -> Footing {
        let Some(link) = self.links.get(number).filter(|_| !seen.contains(&number)) else {
            return Footing::Unknown(Vec::new());
        };
        if link.card && link.on.is_none() {
            return Footing::Card(number);
        }
        seen.push(number);
        let lower = self.lower(number, seen);
        let footings: Vec<Footing> = lower.iter().map(|lower| self.follow(*lower, seen)).collect();
        seen.pop();
        let mut known = footings;
        if link.card {
            // The port of a switch, behind the card that the switch is on.
            known.push(Footing::Card(number));
        }
        // Ports of guests and containers do not lead out of the machine.
        known.retain(|footing| !matches!(footing, Footing::Unknown(_)));
        match (known.is_empty(), link.kind) {
            (true, Kind::Tunnel) => Footing::Unknown(self.routed(number, seen)),
            (true, _) => Footing::Unknown(self.routed_or_shared(number, seen)),
            (false, Kind::Bond) => Footing::Any(known),
            (false, _) => Footing::All(known),
        }
    }

    /// The interfaces that one consists of, or is carried by.
    fn lower(self, number: usize, seen: &[usize]) -> Vec<usize> {
        let Some(link) = self.links.get(number) else { return Vec::new() };
        let mut names: Vec<String> = Vec::new();
        for (directory, prefix) in [("", "lower_"), ("brif", "")] {
            for entry in fs::read_dir(link.place.join(directory)).into_iter().flatten().flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                names.extend(name.strip_prefix(prefix).map(str::to_owned));
            }
        }
        let on = link.on.and_then(|index| self.links.indexed(index)).map(str::to_owned);
        names.extend(on);
        let vlans = self.links.vlans.iter().filter(|(name, _)| *name == link.name);
        names.extend(vlans.map(|(_, on)| on.clone()));
        if names.is_empty() && link.name.starts_with("ppp") {
            names.clone_from(&self.links.pppoe);
        }
        if names.is_empty() {
            // A far end that no route leads to carries nothing.
            let routes = link
                .remotes
                .iter()
                .filter_map(|remote| self.routes.marked(remote.address, remote.mark, self.links));
            names.extend(routes.map(str::to_owned));
        }
        if names.is_empty() && link.kind == Kind::Other {
            names = self.ports_beside(number);
        }
        let mut lower: Vec<usize> =
            names.iter().filter_map(|name| self.links.named(name)).collect();
        // Of a pair of virtual interfaces (veth) the other end may be a port of a bridge.
        let masters: Vec<usize> =
            lower.iter().filter_map(|end| self.master_of_pair(*end, number)).collect();
        lower.extend(masters);
        lower.retain(|lower| *lower != number && !seen.contains(lower));
        lower.sort_unstable();
        lower.dedup();
        lower
    }

    /// The master of the other end of a pair that `number` is the one end of.
    fn master_of_pair(self, end: usize, number: usize) -> Option<usize> {
        let (end, link) = (self.links.get(end)?, self.links.get(number)?);
        if end.on.is_none() || end.on != link.index {
            return None;
        }
        self.links.named(&master(&end.place)?)
    }

    /// The ports of Open vSwitch, for an interface that may be one of its internal ones: the kernel
    /// does not show which switch that is on.
    fn ports_beside(self, number: usize) -> Vec<String> {
        /// The device that stands for all switches of the datapath.
        const DATAPATH: &str = "ovs-system";
        if self.links.named(DATAPATH).is_none_or(|datapath| datapath == number) {
            return Vec::new();
        }
        let is_port = |link: &&Interface| master(&link.place).as_deref() == Some(DATAPATH);
        let mut ports: Vec<String> =
            self.links.all.iter().filter(is_port).map(|link| link.name.clone()).collect();
        ports.push(DATAPATH.to_owned());
        ports
    }

    /// The cards that anything may leave by.
    pub(crate) fn carrying(self) -> Vec<usize> {
        self.routed(usize::MAX, &[])
    }

    /// The cards that packets of a tunnel may leave by: those with routes.
    fn routed(self, number: usize, seen: &[usize]) -> Vec<usize> {
        let mut cards = Vec::new();
        for name in self.routes.interfaces() {
            let Some(other) = self.links.named(name).filter(|other| *other != number) else {
                continue;
            };
            if seen.contains(&other) {
                continue;
            }
            let mut seen = seen.to_vec();
            seen.push(number);
            cards.extend(self.follow(other, &mut seen).cards());
        }
        cards.sort_unstable();
        cards.dedup();
        if cards.is_empty() { self.links.cards() } else { cards }
    }

    /// The cards that frames of something unknown may leave by: those with routes, those that are a
    /// port of something, and those that somebody listens to.
    fn routed_or_shared(self, number: usize, seen: &[usize]) -> Vec<usize> {
        let is_shared = |card: &usize| {
            let link = self.links.get(*card);
            link.is_some_and(|link| link.promiscuous || master(&link.place).is_some())
        };
        let mut cards = self.routed(number, seen);
        cards.extend(self.links.cards().into_iter().filter(is_shared));
        cards.sort_unstable();
        cards.dedup();
        cards
    }

    /// Whether a footing is there when the devices `gone` are not: for certain.
    pub(crate) fn stands(self, footing: &Footing, gone: &[PciAddress]) -> bool {
        let goes = |number: &usize| {
            let carriers = self.links.get(*number).map(|link| link.carriers.as_slice());
            carriers.unwrap_or_default().iter().any(|carrier| gone.contains(&carrier.address))
        };
        let signal = |number: &usize| self.links.get(*number).map(|link| link.signal);
        match footing {
            Footing::Card(card) => signal(card) == Some(Signal::Up) && !goes(card),
            Footing::All(lower) => {
                // What has no link carries nothing already.
                let mut alive = lower.iter().filter(|footing| {
                    footing.cards().iter().any(|card| signal(card) != Some(Signal::Down))
                });
                let first = alive.next();
                first.is_some_and(|first| self.stands(first, gone))
                    && alive.all(|footing| self.stands(footing, gone))
            }
            Footing::Any(lower) => lower.iter().any(|footing| self.stands(footing, gone)),
            Footing::Unknown(cards) => !cards.is_empty() && !cards.iter().any(goes),
        }
    }

    /// The card of a footing that is on the device, and whether it is certain that it is needed.
    pub(crate) fn card_on(
        &self,
        footing: &Footing,
        address: PciAddress,
    ) -> Option<(&'a Interface, Option<PciAddress>, bool)> {
        footing.cards().into_iter().find_map(|number| {
            let link = self.links.get(number)?;
            let carrier = link.carriers.iter().find(|carrier| carrier.address == address)?;
            Some((link, carrier.function, footing.is_known()))
        })
    }
}

/// The interface that one is a port of.
fn master(place: &Path) -> Option<String> {
    let target = fs::read_link(place.join("master")).ok()?;
    Some(target.file_name()?.to_string_lossy().into_owned())
}

impl Footing {
    /// The cards, by number.
    pub(crate) fn cards(&self) -> Vec<usize> {
        match self {
            Self::Card(card) => vec![*card],
            Self::All(lower) | Self::Any(lower) => lower.iter().flat_map(Self::cards).collect(),
            Self::Unknown(cards) => cards.clone(),
        }
    }

    fn is_known(&self) -> bool {
        match self {
            Self::Card(_) => true,
            Self::All(lower) | Self::Any(lower) => lower.iter().all(Self::is_known),
            Self::Unknown(_) => false,
        }
    }
}
