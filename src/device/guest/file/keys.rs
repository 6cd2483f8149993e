//! What a key of the guest file is. The keys themselves are in the file of the table that they
//! belong to, each a row of its `KEYS`; `docs/guest.toml` is made from these rows.

use core::fmt;

/// The longest name of a guest, in bytes: sockets are in a directory of that name, and the path of
/// a socket has at most 107 bytes.
pub(super) const NAME_LIMIT: usize = 32;
/// The first size that is too large, in bytes.
pub(super) const SIZE_END: u64 = 1 << 48;

/// A key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// With the table that it is in: `memory.size`.
    pub name: &'static str,
    /// What its value has to be.
    pub kind: Kind,
    /// Its line in `docs/guest.toml`.
    pub example: Example,
    /// What it does; empty where its name says it all.
    pub meaning: &'static str,
}

/// A value as `docs/guest.toml` shows it, in TOML.
#[derive(Clone, Copy, Debug)]
pub enum Example {
    /// Given.
    Set(&'static str),
    /// Commented out: the default.
    Default(&'static str),
    /// Commented out: an example of what is not set by default.
    Unset(&'static str),
    /// Shown with the list that it belongs to.
    Inside,
}

/// What a value has to be. As text: what an error says was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Flag,
    /// Any text.
    Text,
    /// A list of texts.
    Texts,
    /// A path.
    Path,
    /// A path that begins with `/`.
    AbsolutePath,
    /// A name for files.
    Name,
    /// A number of bytes.
    Size,
    /// A number within these limits, both included.
    Number(u32, u32),
    /// A number of seconds.
    Seconds,
    /// One of these.
    Choice(&'static [&'static str]),
    /// A PCI device.
    Device,
    /// A list of PCI devices.
    Devices,
    /// A list of PCI devices without options.
    HeldDevices,
    /// A list of USB devices.
    UsbDevices,
    /// Processors of the host.
    Cpus,
    /// A list of forwarded ports.
    Forwards,
}

impl Kind {
    /// Whether a number is within its limits; without limits every number is.
    pub(super) fn admits(self, number: u32) -> bool {
        if let Self::Number(first, last) = self { (first..=last).contains(&number) } else { true }
    }

    /// What one value of this kind is called.
    pub(crate) fn noun(self) -> &'static str {
        match self {
            Self::Flag => "a flag",
            Self::Text | Self::Texts => "a text",
            Self::Path | Self::AbsolutePath => "a path",
            Self::Name => "a name",
            Self::Size => "a size",
            Self::Number(..) | Self::Seconds => "a number",
            Self::Choice(_) => "a choice",
            Self::Device | Self::Devices | Self::HeldDevices => "a device",
            Self::UsbDevices => "a USB device",
            Self::Cpus => "a choice of processors",
            Self::Forwards => "a forward",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("true or false"),
            Self::Text => f.write_str("text in quotes"),
            Self::Texts => f.write_str("a list of texts in quotes"),
            Self::Path => f.write_str("a path in quotes"),
            Self::AbsolutePath => f.write_str("an absolute path"),
            Self::Name => write!(
                f,
                "1 to {NAME_LIMIT} letters, digits, \".\", \"_\" or \"-\", the first a letter or digit"
            ),
            Self::Size => f.write_str("a number and M or G, as in \"2G\""),
            Self::Number(first, last) => write!(f, "{first} to {last}"),
            Self::Seconds => f.write_str("a number of seconds"),
            Self::Choice(names) => {
                for (number, name) in names.iter().enumerate() {
                    write!(f, "{}\"{name}\"", if number == 0 { "" } else { " or " })?;
                }
                Ok(())
            }
            Self::Device | Self::Devices => f.write_str(
                "a device in quotes, as in \"1b36:0010\" or \"0000:00:02.0\", or a table with \"device\"",
            ),
            Self::HeldDevices => {
                f.write_str("a list of devices in quotes, as in [\"0000:00:1f.4\"]")
            }
            Self::UsbDevices => f.write_str(
                "VENDOR:PRODUCT, as in \"046d:c52b\", or the port, as in \"1-1.2\"",
            ),
            Self::Cpus => f.write_str("\"any\", \"big\", \"little\" or a list of CPU numbers"),
            Self::Forwards => {
                f.write_str("[tcp:|udp:][ADDRESS:]HOSTPORT:GUESTPORT, as in \"2222:22\"")
            }
        }
    }
}

/// A row of a table of keys.
pub(super) const fn row(
    name: &'static str,
    kind: Kind,
    example: Example,
    meaning: &'static str,
) -> Key {
    Key { name, kind, example, meaning }
}

/// What is wrong with a key whose value is right by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// The file has a name that a guest cannot have.
    #[error("must be given: the name of the file cannot be the name of a guest")]
    NameOfFile,
    /// An initial ramdisk without a kernel.
    #[error("there is no boot.kernel to load it")]
    InitrdAlone,
    /// A command line without a kernel.
    #[error("there is no boot.kernel to read it")]
    CmdlineAlone,
    /// Variables without firmware.
    #[error("there is no boot.firmware to use them")]
    VariablesAlone,
    /// Outside of the limits of its kind.
    #[error("expected {0}")]
    Expected(Kind),
    /// Forwards of another network than QEMU's own.
    #[error("only network.mode = \"user\" has forwards")]
    Forwards,
    /// A tap interface for another network, or none for this one.
    #[error("is for network.mode = \"tap\", which needs it")]
    Tap,
}

/// A key, and what is wrong with it.
pub(super) type KeyConflict = (&'static str, Conflict);
