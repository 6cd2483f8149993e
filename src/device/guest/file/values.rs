//! Values of the guest file that are more than a word.

use core::fmt;
use core::str::FromStr;
use std::net::Ipv4Addr;

use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de::value::MapAccessDeserializer};

use crate::bootfile::DeviceSpec;

/// The longest [`Name`], in bytes: sockets live below a directory of that name, and the path of
/// a socket has 107.
const NAME_LIMIT: usize = 32;

/// What a guest is called: a name for files, so letters, digits, `.`, `_` and `-`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Name(String);

impl Name {
    /// The text; empty when none was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        let starts = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
        if starts && text.len() <= NAME_LIMIT && text.bytes().all(fits) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!(
            "\"{text}\" is no name: expected 1 to {NAME_LIMIT} letters, digits, \".\", \"_\" or \"-\", the first a letter or digit"
        ))
    }
}

/// A number of bytes, written `2G` or `512M`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

impl Size {
    /// One mebibyte, in bytes.
    pub const MIB: u64 = 1 << 20;

    /// In mebibytes, rounded up.
    pub fn mib(self) -> u64 {
        self.0.div_ceil(Self::MIB)
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let shift = match unit.trim().trim_end_matches("iB") {
            "M" => 20,
            "G" => 30,
            _ => 64,
        };
        let bytes = number.parse::<u64>().ok().filter(|n| *n > 0 && shift < 64);
        bytes
            .and_then(|n| n.checked_mul(1u64.checked_shl(shift)?))
            .filter(|bytes| *bytes < 1 << 48)
            .map(Self)
            .ok_or_else(|| {
                format!("\"{text}\" is no size: expected a number and M or G, as in \"2G\"")
            })
    }
}

/// On which of the host's processors a guest runs. KVM does not let a vCPU move to a core of
/// another type (`EINVAL` from `KVM_RUN`), so it is always one type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Cluster {
    /// The fastest type that has enough of them.
    #[default]
    Any,
    /// The fastest type.
    Big,
    /// The slowest type.
    Little,
    /// These.
    List(Vec<u32>),
}

/// A protocol that has ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// As QEMU and libvirt call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// A port of the host that leads to one of the guest: `[PROTOCOL:][ADDRESS:]HOST:GUEST`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    /// `tcp` when not given.
    pub protocol: Protocol,
    /// The host's address that is listened on; only the host itself when not given.
    pub address: Ipv4Addr,
    /// The host's port.
    pub host: u16,
    /// The guest's port.
    pub guest: u16,
}

impl FromStr for Forward {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || -> Option<Self> {
            let mut parts: Vec<&str> = text.split(':').collect();
            let protocol = match *parts.first()? {
                "tcp" => Some(Protocol::Tcp),
                "udp" => Some(Protocol::Udp),
                _ => None,
            };
            if protocol.is_some() {
                parts.remove(0);
            }
            let (address, host, guest) = match parts.as_slice() {
                [host, guest] => (Ipv4Addr::LOCALHOST, host, guest),
                [address, host, guest] => (address.parse().ok()?, host, guest),
                _ => return None,
            };
            let port = |text: &str| text.parse().ok().filter(|port| *port != 0);
            Some(Self {
                protocol: protocol.unwrap_or(Protocol::Tcp),
                address,
                host: port(host)?,
                guest: port(guest)?,
            })
        };
        parse().ok_or_else(|| {
            format!(
                "\"{text}\" is no forward: expected [tcp:|udp:][ADDRESS:]HOSTPORT:GUESTPORT, as in \"2222:22\""
            )
        })
    }
}

/// A device of the host: its name alone, or a table with options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Which.
    pub spec: DeviceSpec,
    /// A file with its option ROM, in place of its own.
    pub romfile: Option<String>,
    /// Whether it sits behind a root port of its own instead of on the root bus: for drivers
    /// that expect a link above their device.
    pub root_port: bool,
    /// More properties of QEMU's vfio-pci, each `NAME=VALUE`.
    pub options: Vec<String>,
}

/// Deserializes through [`FromStr`], so that the error gets the place of the value.
macro_rules! from_text {
    ($type:ty, $expected:literal) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;
                impl Visitor<'_> for Text {
                    type Value = $type;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expected)
                    }

                    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(Text)
            }
        }
    };
}

from_text!(Name, "a name");
from_text!(Size, "a size in quotes, as in \"2G\"");
from_text!(Forward, "a forward in quotes, as in \"2222:22\"");

impl<'de> Deserialize<'de> for Cluster {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Choice;
        impl<'de> Visitor<'de> for Choice {
            type Value = Cluster;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"any\", \"big\", \"little\" or a list of CPU numbers")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Cluster, E> {
                match text {
                    "any" => Ok(Cluster::Any),
                    "big" => Ok(Cluster::Big),
                    "little" => Ok(Cluster::Little),
                    _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
                }
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut numbers: A) -> Result<Cluster, A::Error> {
                let mut list = Vec::new();
                while let Some(cpu) = numbers.next_element()? {
                    list.push(cpu);
                }
                list.sort_unstable();
                list.dedup();
                if list.is_empty() {
                    return Err(de::Error::custom("a list of CPUs with none in it"));
                }
                Ok(Cluster::List(list))
            }
        }
        deserializer.deserialize_any(Choice)
    }
}

impl<'de> Deserialize<'de> for Device {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Table {
            device: String,
            romfile: Option<String>,
            #[serde(default)]
            root_port: bool,
            #[serde(default)]
            options: Vec<String>,
        }

        struct NameOrTable;
        impl<'de> Visitor<'de> for NameOrTable {
            type Value = Device;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a device in quotes, as in \"1b36:0010\", or a table with \"device\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Device, E> {
                let spec = text.parse().map_err(E::custom)?;
                Ok(Device { spec, romfile: None, root_port: false, options: Vec::new() })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Device, A::Error> {
                let table = Table::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Device {
                    spec: table.device.parse().map_err(de::Error::custom)?,
                    romfile: table.romfile,
                    root_port: table.root_port,
                    options: table.options,
                })
            }
        }
        deserializer.deserialize_any(NameOrTable)
    }
}
