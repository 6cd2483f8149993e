//! Network interfaces.

use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;

use super::wireguard;
use crate::device::bus::in_use::carriers::{Carrier, Functions};
use crate::device::sys::host::Host;

/// The directory with one link for each interface.
const INTERFACES: &str = "sys/class/net";

/// Whether an interface has a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    Up,
    Down,
    /// The kernel does not say.
    Unknown,
}

/// A network interface.
#[derive(Clone, Debug)]
pub(crate) struct Interface {
    /// `eth0`.
    pub name: String,
    /// Its number.
    pub index: Option<u32>,
    /// That of the interface it was made on, or of the other end of a pair.
    pub on: Option<u32>,
    /// Where it really is in sysfs.
    pub place: PathBuf,
    /// Whether it is the interface of a piece of hardware.
    pub card: bool,
    /// The PCI devices of a card.
    pub carriers: Vec<Carrier>,
    /// Whether it has a link.
    pub signal: Signal,
    /// Whether somebody gets everything that arrives.
    pub promiscuous: bool,
    /// The far ends of a tunnel over IP.
    pub remotes: Vec<Remote>,
    /// What decides what it stands on.
    pub kind: Kind,
}

/// A far end of a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Remote {
    pub address: IpAddr,
    /// What the packets that carry the tunnel are marked with, for rules of routing.
    pub mark: u32,
}

/// What decides which of the lower interfaces are needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One of them is enough.
    Bond,
    /// Everything else.
    Other,
    /// A device of a program: what is below is the program's business.
    Tun,
    /// It has no hardware address: it is carried by routes.
    Tunnel,
}

/// All interfaces of the network namespace.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interfaces {
    /// In the order of their names.
    pub all: Vec<Interface>,
    /// Cards that PPP over Ethernet is spoken on.
    pub pppoe: Vec<String>,
    /// VLANs and the interfaces they are on, where sysfs does not say.
    pub vlans: Vec<(String, String)>,
}

impl Interface {
    fn read(host: &Host, functions: &Functions, name: &str) -> Option<Self> {
        let place = host.real(&format!("{INTERFACES}/{name}"))?;
        let read = |attribute: &str| {
            let text = fs::read_to_string(place.join(attribute)).ok()?;
            Some(text.trim().to_owned())
        };
        let number = |attribute: &str| read(attribute)?.parse::<u32>().ok();
        let signal = match (read("carrier").as_deref(), read("operstate").as_deref()) {
            (Some("1"), _) => Signal::Up,
            (Some(_), _) | (None, Some("down" | "notpresent" | "lowerlayerdown")) => Signal::Down,
            (None, _) => Signal::Unknown,
        };
        let kind_of = number("type");
        let uevent = read("uevent").unwrap_or_default();
        let bond = host.exists(&format!("proc/net/bonding/{name}"))
            || place.join("bonding").exists()
            || has_type(&uevent, "bond");
        let kind = match kind_of {
            _ if bond => Kind::Bond,
            // ARPHRD_ETHER, include/uapi/linux/if_arp.h
            Some(1) | None if place.join("tun_flags").exists() => Kind::Tun,
            Some(1) | None => Kind::Other,
            Some(_) => Kind::Tunnel,
        };
        let index = number("ifindex");
        // IFF_PROMISC, include/uapi/linux/if.h
        let promiscuous = read("flags")
            .and_then(|flags| u32::from_str_radix(flags.strip_prefix("0x")?, 16).ok())
            .is_some_and(|flags| flags & 0x100 != 0);
        let card = place.join("device").exists();
        Some(Self {
            name: name.to_owned(),
            index,
            on: number("iflink").filter(|on| *on != 0 && Some(*on) != index),
            carriers: if card { functions.carriers(&place) } else { Vec::new() },
            card,
            signal,
            promiscuous,
            remotes: match (kind, index) {
                (Kind::Tunnel, Some(index)) if has_type(&uevent, "wireguard") => {
                    let remotes = wireguard::remotes(host, index).into_iter();
                    remotes.map(|(address, mark)| Remote { address, mark }).collect()
                }
                // dev->broadcast of ipip, GRE, SIT and their IPv6 relatives (`ip_tunnel_init_net`).
                (Kind::Tunnel, _) => read("broadcast")
                    .and_then(|text| address(&text))
                    .into_iter()
                    .filter(|remote| !remote.is_unspecified())
                    .map(|address| Remote { address, mark: 0 })
                    .collect(),
                _ => Vec::new(),
            },
            kind,
            place,
        })
    }
}

/// Whether the uevent of an interface says that it is one of these.
fn has_type(uevent: &str, kind: &str) -> bool {
    uevent.lines().any(|line| line.strip_prefix("DEVTYPE=") == Some(kind))
}

/// Four or sixteen bytes as a hardware address is written: `cb:00:71:09`.
fn address(text: &str) -> Option<IpAddr> {
    let bytes: Option<Vec<u8>> =
        text.split(':').map(|byte| u8::from_str_radix(byte, 16).ok()).collect();
    let bytes = bytes?;
    if let Ok(four) = <[u8; 4]>::try_from(bytes.as_slice()) {
        return Some(four.into());
    }
    <[u8; 16]>::try_from(bytes.as_slice()).ok().map(IpAddr::from)
}

impl Interfaces {
    pub(crate) fn read(host: &Host, functions: &Functions) -> Self {
        let names = host.list(INTERFACES).unwrap_or_default();
        let all = names.iter().filter_map(|name| Interface::read(host, functions, name)).collect();
        let table = |path: &str| host.read_table(path).unwrap_or_default();
        // Id Address Device
        let pppoe = table("proc/net/pppoe");
        let pppoe = pppoe.lines().skip(1).filter_map(|line| line.split_whitespace().last());
        // eth0.5 | 5 | eth0
        let vlans = table("proc/net/vlan/config");
        let vlans = vlans.lines().skip(2).filter_map(|line| {
            let mut fields = line.split('|').map(str::trim);
            Some((fields.next()?.to_owned(), fields.nth(1)?.to_owned()))
        });
        Self { all, pppoe: pppoe.map(str::to_owned).collect(), vlans: vlans.collect() }
    }

    pub(crate) fn get(&self, number: usize) -> Option<&Interface> {
        self.all.get(number)
    }

    /// The number of an interface by its name.
    pub(crate) fn named(&self, name: &str) -> Option<usize> {
        self.all.iter().position(|link| link.name == name)
    }

    /// The name of the interface with an index of the kernel.
    pub(crate) fn indexed(&self, index: u32) -> Option<&str> {
        let link = self.all.iter().find(|link| link.index == Some(index))?;
        Some(&link.name)
    }

    /// The cards that may carry something, by number.
    pub(crate) fn cards(&self) -> Vec<usize> {
        let numbered = self.all.iter().enumerate();
        let cards = numbered.filter(|(_, link)| link.card && link.signal != Signal::Down);
        cards.map(|(number, _)| number).collect()
    }
}
