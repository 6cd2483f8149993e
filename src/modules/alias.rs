//! Device aliases: patterns of the devices that a driver supports, written by `file2alias.c` of the
//! kernel's modpost.

/// Whether `pattern` matches all of `text`, as in fnmatch(3) without flags: `*`, `?` and `[…]`.
/// Outside brackets `-` equals `_`, as in kmod.
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

/// The length of the bracket expression at the start of `pattern`, if it matches `byte`.
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

/// How an alias matches a device of which only vendor and device ID are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MatchKind {
    /// The driver supports every device with this ID.
    Id,
    /// The driver supports some devices with this ID, depending on the subsystem ID.
    Subsystem,
    /// The driver supports every device of a class, with any ID.
    Class,
}

/// A parsed `pci:` alias (`do_pci_entry` in `scripts/mod/file2alias.c`). None matches any value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PciAlias {
    /// Vendor ID.
    pub vendor: Option<u32>,
    /// Device ID.
    pub device: Option<u32>,
    /// Whether it also restricts the subsystem IDs.
    pub subsystem: bool,
    /// Base class, subclass and programming interface.
    pub class: [Option<u8>; 3],
}

impl PciAlias {
    /// Parse `pci:v00001B36d00000010sv*sd*bc01sc08i02*`; None for any other alias.
    pub fn parse(alias: &str) -> Option<Self> {
        let mut rest = alias.strip_prefix("pci:")?;
        let mut fields = [None; 7];
        // The number of digits is needed because the key `d`, which follows the vendor, is a hex digit.
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

    /// How the alias matches the device `vendor:device`; None if it does not.
    pub fn match_kind(&self, vendor: u16, device: u16) -> Option<MatchKind> {
        let fits =
            |wanted: Option<u32>, id: u16| wanted.is_none_or(|wanted| wanted == u32::from(id));
        if !fits(self.vendor, vendor) || !fits(self.device, device) {
            return None;
        }
        let by_class = self.class.iter().any(Option::is_some);
        Some(match self.subsystem {
            true => MatchKind::Subsystem,
            false if by_class => MatchKind::Class,
            false => MatchKind::Id,
        })
    }

    /// The name of its device class, for classes that are commonly passed through.
    pub fn class_name(&self) -> Option<&'static str> {
        CLASSES.iter().find(|(class, _)| *class == self.class).map(|(_, name)| *name)
    }
}

/// Device classes that drivers support with any ID (`include/linux/pci_ids.h`).
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
