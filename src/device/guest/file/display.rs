//! The table `display`.

use serde::Deserialize;

use super::keys::{
    Example::{Default as ByDefault, Unset},
    Key, Kind, row,
};
use super::needs::Needs;
use super::values::Arch;
use crate::device::guest::libvirt::Xml;
use crate::device::guest::qemu::argv::{Argv, Resources, VNC, value};

/// The guest's screen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Display {
    /// Its kind.
    #[serde(rename = "type")]
    pub kind: DisplayKind,
    /// The Unix socket that VNC listens on; `vnc.sock` in the guest's state directory when not
    /// given.
    pub socket: Option<String>,
}

/// A kind of screen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DisplayKind {
    /// None: the console is all there is.
    #[default]
    None,
    /// VNC on a Unix socket, with keyboard and tablet.
    Vnc,
}

/// Its keys.
#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    row("display.type", Kind::Choice(&["none", "vnc"]), ByDefault("\"none\""), "or \"vnc\", on a Unix socket"),
    row("display.socket", Kind::Path, Unset("\"/run/debian.vnc\""), "default: vnc.sock in the guest's state directory"),
];

impl Display {
    pub(super) fn without_effect(&self) -> Option<&'static str> {
        (self.socket.is_some() && self.kind != DisplayKind::Vnc).then_some("display.socket")
    }

    pub(super) fn needs<'g>(&'g self, needs: &mut Needs<'g>) {
        needs.sockets.extend(self.own_socket().map(|path| ("display.socket", path)));
    }

    /// The socket that is made for it elsewhere than in the guest's directory.
    pub(crate) fn own_socket(&self) -> Option<&str> {
        self.socket.as_deref().filter(|_| self.kind == DisplayKind::Vnc)
    }

    pub(super) fn arguments(&self, argv: &mut Argv, resources: &Resources<'_>) {
        let Self { kind, socket } = self;
        match kind {
            DisplayKind::None => argv.pair("-display", "none"),
            DisplayKind::Vnc => {
                let socket = match socket {
                    Some(socket) => value(socket),
                    None => format!("{}/{VNC}", value(resources.directory)),
                };
                argv.pair("-display", format!("vnc=unix:{socket}"));
                let screen = match resources.arch {
                    Arch::Aarch64 => "virtio-gpu-pci",
                    // Its firmware knows no other than VGA.
                    Arch::X86_64 => "virtio-vga",
                };
                let input = ["qemu-xhci,id=usb", "usb-kbd,bus=usb.0", "usb-tablet,bus=usb.0"];
                for device in [screen].into_iter().chain(input) {
                    argv.pair("-device", device);
                }
            }
        }
    }

    pub(super) fn domain(&self, xml: &mut Xml) {
        let Self { kind, socket } = self;
        match (kind, socket) {
            (DisplayKind::None, _) => {}
            (DisplayKind::Vnc, Some(socket)) => {
                xml.empty("graphics", &[("type", "vnc"), ("socket", socket)]);
            }
            (DisplayKind::Vnc, None) => xml.empty("graphics", &[("type", "vnc")]),
        }
    }
}
