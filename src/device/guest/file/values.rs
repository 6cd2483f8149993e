//! Values of the guest file that the rest of the program works with, and their grammar.

use core::fmt;
use core::str::FromStr;
use std::net::Ipv4Addr;

use serde::Deserialize;
use serde::de::{self, Deserializer, SeqAccess, Visitor};

use super::keys::{Kind, NAME_LIMIT, SIZE_END};
use crate::device::bus::usb::UsbSpec;

/// Text that is not a value of its kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" is not {}: expected {kind}", kind.noun())]
pub struct ValueError {
    /// The text.
    pub text: String,
    /// What it has to be.
    pub kind: Kind,
}

impl ValueError {
    fn new(text: &str, kind: Kind) -> Self {
        Self { text: text.to_owned(), kind }
    }
}

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
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        let starts = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
        if starts && text.len() <= NAME_LIMIT && text.bytes().all(fits) {
            return Ok(Self(text.to_owned()));
        }
        Err(ValueError::new(text, Kind::Name))
    }
}

/// A number of bytes, written `2G` or `512M`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

impl Size {
    /// One mebibyte, in bytes.
    pub(crate) const MIB: u64 = 1 << 20;

    /// In mebibytes, rounded up.
    pub(crate) fn mib(self) -> u64 {
        self.0.div_ceil(Self::MIB)
    }
}

impl FromStr for Size {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let unit = match unit.trim().trim_end_matches("iB") {
            "M" => Some(Self::MIB),
            "G" => Some(Self::MIB << 10),
            _ => None,
        };
        let bytes = unit.and_then(|unit| number.parse::<u64>().ok()?.checked_mul(unit));
        bytes
            .filter(|bytes| (1..SIZE_END).contains(bytes))
            .map(Self)
            .ok_or_else(|| ValueError::new(text, Kind::Size))
    }
}

/// A processor architecture that has KVM and VFIO.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Arch {
    /// 64-bit ARM.
    Aarch64,
    /// 64-bit x86.
    #[serde(rename = "x86_64")]
    X86_64,
}

impl Arch {
    /// That of a machine as `uname -m` has it.
    pub fn of_machine(name: &str) -> Option<Self> {
        match name {
            "aarch64" => Some(Self::Aarch64),
            "x86_64" => Some(Self::X86_64),
            _ => None,
        }
    }

    /// As QEMU and `uname -m` call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Aarch64 => "aarch64",
            Self::X86_64 => "x86_64",
        }
    }
}

/// The pages that the guest's memory is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Hugepages {
    /// The best there is: hugetlb, else transparent, else ordinary pages.
    #[default]
    Auto,
    /// hugetlb pages, or no start.
    Hugetlb,
    /// Transparent huge pages where the kernel has some left.
    Transparent,
    /// Whatever the system is set to.
    None,
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
    type Err = ValueError;

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
        parse().ok_or_else(|| ValueError::new(text, Kind::Forwards))
    }
}

/// Deserializes through [`FromStr`], so that the error has the position of the value.
macro_rules! from_text {
    ($type:ty, $kind:expr) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;
                impl Visitor<'_> for Text {
                    type Value = $type;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        write!(f, "{} in quotes: {}", $kind.noun(), $kind)
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

from_text!(Name, Kind::Name);
from_text!(Size, Kind::Size);
from_text!(Forward, Kind::Forwards);
from_text!(UsbSpec, Kind::UsbDevices);

impl<'de> Deserialize<'de> for Cluster {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Choice;
        impl<'de> Visitor<'de> for Choice {
            type Value = Cluster;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", Kind::Cpus)
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
                    return Err(de::Error::custom("an empty list of CPUs"));
                }
                Ok(Cluster::List(list))
            }
        }
        deserializer.deserialize_any(Choice)
    }
}
