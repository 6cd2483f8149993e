//! The table `network`.

use serde::Deserialize;

use super::keys::{
    Conflict,
    Example::{Default as ByDefault, Set, Unset},
    Key, KeyConflict, Kind, row,
};
use super::needs::Needs;
use super::values::Forward;
use crate::device::guest::libvirt::Xml;
use crate::device::guest::qemu::argv::{Argv, value};

/// The guest's network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Network {
    /// Its kind.
    pub mode: NetworkMode,
    /// Ports of the host that lead into a `user` network.
    pub forwards: Vec<Forward>,
    /// The host's interface for `tap`, which must exist.
    pub tap: Option<String>,
    /// The guest's MAC address; QEMU's choice when not given.
    pub mac: Option<String>,
}

/// A kind of network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkMode {
    /// Outwards through QEMU itself; needs nothing of the host.
    #[default]
    User,
    /// A tap interface of the host.
    Tap,
    /// None.
    None,
}

/// Its keys.
#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    row("network.mode", Kind::Choice(&["user", "tap", "none"]), ByDefault("\"user\""), "or \"tap\", \"none\""),
    row("network.forwards", Kind::Forwards, Set("[\"2222:22\"]"), "[tcp:|udp:][ADDRESS:]HOSTPORT:GUESTPORT"),
    row("network.tap", Kind::Text, Unset("\"tap0\""), "with mode = \"tap\": an interface that exists"),
    row("network.mac", Kind::Text, Unset("\"52:54:00:12:34:56\""), "default: QEMU's choice"),
];

impl Network {
    pub(super) fn conflict(&self) -> Option<KeyConflict> {
        let Self { mode, forwards, tap, mac: _ } = self;
        if *mode != NetworkMode::User && !forwards.is_empty() {
            Some(("network.forwards", Conflict::Forwards))
        } else if (*mode == NetworkMode::Tap) != tap.is_some() {
            Some(("network.tap", Conflict::Tap))
        } else {
            None
        }
    }

    pub(super) fn without_effect(&self) -> Option<&'static str> {
        (self.mac.is_some() && self.mode == NetworkMode::None).then_some("network.mac")
    }

    pub(super) fn needs<'g>(&'g self, needs: &mut Needs<'g>) {
        // QEMU says which ports are taken.
        let Self { mode: _, forwards: _, tap, mac: _ } = self;
        needs.tap = tap.as_deref();
    }

    pub(super) fn arguments(&self, argv: &mut Argv) {
        let Self { mode, forwards, tap, mac } = self;
        let backend = match mode {
            NetworkMode::None => return,
            NetworkMode::User => {
                let mut backend = "user,id=net0".to_owned();
                for Forward { protocol, address, host, guest } in forwards {
                    let protocol = protocol.name();
                    backend.push_str(&format!(",hostfwd={protocol}:{address}:{host}-:{guest}"));
                }
                backend
            }
            NetworkMode::Tap => format!(
                "tap,id=net0,ifname={},script=no,downscript=no",
                value(tap.as_deref().unwrap_or_default())
            ),
        };
        argv.pair("-netdev", backend);
        let mac = mac.as_ref().map(|mac| format!(",mac={}", value(mac))).unwrap_or_default();
        argv.pair("-device", format!("virtio-net-pci,netdev=net0{mac}"));
    }

    /// A network with forwards is none of libvirt's: of its own only passt has them, which has to be installed and
    /// which libvirt 9.0 does not take. QEMU's has them everywhere.
    pub(super) fn is_qemus(&self) -> bool {
        self.mode == NetworkMode::User && !self.forwards.is_empty()
    }

    pub(super) fn domain(&self, xml: &mut Xml) {
        let Self { mode, forwards: _, tap, mac } = self;
        let kind = match mode {
            NetworkMode::None => return,
            NetworkMode::User if self.is_qemus() => return,
            NetworkMode::User => "user",
            NetworkMode::Tap => "ethernet",
        };
        xml.within("interface", &[("type", kind)], |xml| {
            if let Some(mac) = mac {
                xml.empty("mac", &[("address", mac)]);
            }
            if let Some(tap) = tap {
                xml.empty("target", &[("dev", tap), ("managed", "no")]);
            }
            xml.empty("model", &[("type", "virtio")]);
        });
    }

    /// What libvirt passes on to QEMU.
    pub(super) fn passed_on(&self, xml: &mut Xml) {
        if self.is_qemus() {
            let mut argv = Argv::default();
            self.arguments(&mut argv);
            xml.within("qemu:commandline", &[], |xml| {
                for word in argv.followed_by(&[]) {
                    xml.empty("qemu:arg", &[("value", &word)]);
                }
            });
        }
    }
}
