//! Device aliases: patterns, written by `file2alias.c` of the kernel's modpost, of the devices that
//! a driver takes.

/// `pattern` matches all of `text`, as fnmatch(3) without flags has it: `*`, `?` and `[…]`. `-` and
/// `_` are the same outside of brackets, as for kmod.
pub fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    // Where to retry, one character further, when what follows the last star does not match.
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        let step = match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p + 1, t));
                p += 1;
                continue;
            }
            Some(b'?') => Some(p + 1),
            Some(b'[') => bracket(&pattern[p..], text[t]).map(|length| p + length),
            Some(byte) => (same(*byte, text[t])).then_some(p + 1),
            None => None,
        };
        match (step, retry) {
            (Some(next), _) => (p, t) = (next, t + 1),
            (None, Some((after, at))) => {
                retry = Some((after, at + 1));
                (p, t) = (after, at + 1);
            }
            (None, None) => return false,
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

fn same(a: u8, b: u8) -> bool {
    let plain = |byte| if byte == b'-' { b'_' } else { byte };
    plain(a) == plain(b)
}

/// The length of the bracket expression that `pattern` starts with, when `byte` is in it.
fn bracket(pattern: &[u8], byte: u8) -> Option<usize> {
    let close = 2 + pattern.get(2..)?.iter().position(|byte| *byte == b']')?;
    let negated = matches!(pattern.get(1), Some(b'!' | b'^'));
    let mut set = &pattern[1 + usize::from(negated)..close];
    let mut inside = false;
    while let Some((first, rest)) = set.split_first() {
        match rest {
            [b'-', last, rest @ ..] => {
                inside |= (*first..=*last).contains(&byte);
                set = rest;
            }
            _ => {
                inside |= *first == byte;
                set = rest;
            }
        }
    }
    (inside != negated).then_some(close + 1)
}

/// How sure it is that a driver takes a device when only its vendor and device id are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Wants {
    /// It takes every device with this id.
    Id,
    /// It takes some with this id, by the subsystem's id.
    Subsystem,
    /// It takes every device of a class, with any id.
    Class,
}

/// A parsed `pci:` alias (`do_pci_entry` in `scripts/mod/file2alias.c`). What is None
/// matches everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PciAlias {
    /// Vendor id.
    pub vendor: Option<u32>,
    /// Device id.
    pub device: Option<u32>,
    /// It names the subsystem's ids too.
    pub subsystem: bool,
    /// Base class, subclass and programming interface.
    pub class: [Option<u8>; 3],
}

impl PciAlias {
    /// Parse `pci:v00001B36d00000010sv*sd*bc01sc08i02*`; None for any other alias.
    pub fn parse(alias: &str) -> Option<Self> {
        let mut rest = alias.strip_prefix("pci:")?;
        let mut fields = [None; 7];
        // Each with its number of digits, because the key `d`, which follows the vendor, is a digit too.
        let keys = [("v", 8), ("d", 8), ("sv", 8), ("sd", 8), ("bc", 2), ("sc", 2), ("i", 2)];
        for ((key, width), field) in keys.into_iter().zip(&mut fields) {
            rest = rest.strip_prefix(key)?;
            if let Some(after) = rest.strip_prefix('*') {
                rest = after;
                continue;
            }
            let (number, after) = rest.split_at_checked(width)?;
            *field = Some(u32::from_str_radix(number, 16).ok()?);
            rest = after;
        }
        let [vendor, device, subvendor, subdevice, class @ ..] = fields;
        Some(PciAlias {
            vendor,
            device,
            subsystem: subvendor.is_some() || subdevice.is_some(),
            class: class.map(|byte| byte.map(|byte| byte as u8)),
        })
    }

    /// How sure it is that the driver takes the device `vendor:device`; None when it does not.
    pub fn wants(&self, vendor: u16, device: u16) -> Option<Wants> {
        let fits =
            |wanted: Option<u32>, id: u16| wanted.is_none_or(|wanted| wanted == u32::from(id));
        if !fits(self.vendor, vendor) || !fits(self.device, device) {
            return None;
        }
        let by_class = self.class.iter().any(Option::is_some);
        Some(match self.subsystem {
            true => Wants::Subsystem,
            false if by_class => Wants::Class,
            false => Wants::Id,
        })
    }

    /// The name of the devices of its class, for the classes that are commonly passed through.
    pub fn class_name(&self) -> Option<&'static str> {
        CLASSES.iter().find(|(class, _)| *class == self.class).map(|(_, name)| *name)
    }
}

/// Classes that drivers take as a whole (`include/linux/pci_ids.h`).
const CLASSES: &[([Option<u8>; 3], &str)] = &[
    ([Some(0x01), Some(0x06), Some(0x01)], "AHCI SATA controllers"),
    ([Some(0x01), Some(0x08), Some(0x02)], "NVM Express controllers"),
    ([Some(0x04), Some(0x03), Some(0x00)], "HD Audio devices"),
    ([Some(0x06), Some(0x04), Some(0x00)], "PCI bridges"),
    ([Some(0x06), Some(0x04), Some(0x01)], "PCI bridges"),
    ([Some(0x08), Some(0x05), Some(0x01)], "SD host controllers"),
    ([Some(0x0c), Some(0x03), Some(0x10)], "OHCI USB controllers"),
    ([Some(0x0c), Some(0x03), Some(0x20)], "EHCI USB controllers"),
    ([Some(0x0c), Some(0x03), Some(0x30)], "xHCI USB controllers"),
];
