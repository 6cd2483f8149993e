//! Flattened device trees (see the Devicetree Specification): after a kernel
//! (`cat Image.gz a.dtb b.dtb > Image.gz-dtb`) or in a separate section.

use std::ops::Range;

/// `FDT_MAGIC`, big-endian in the file.
const MAGIC: [u8; 4] = [0xd0, 0x0d, 0xfe, 0xed];
/// `struct fdt_header` of version 17, in bytes.
const HEADER: usize = 40;

/// One device tree blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dtb {
    /// Offset in the input in bytes.
    pub offset: usize,
    /// `totalsize` of its header, in bytes.
    pub size: usize,
}

/// The DTBs in `bytes` from `start` on that are complete according to their headers.
pub(crate) fn find(bytes: &[u8], start: usize) -> Vec<Dtb> {
    let mut dtbs = Vec::new();
    let mut position = start;
    let finder = memchr::memmem::Finder::new(&MAGIC);
    while let Some(hit) = bytes.get(position..).and_then(|rest| finder.find(rest)) {
        let offset = position + hit;
        match size(&bytes[offset..]) {
            Some(size) => {
                dtbs.push(Dtb { offset, size });
                position = offset + size;
            }
            None => position = offset + MAGIC.len(),
        }
    }
    dtbs
}

/// `bootargs` in the node `/chosen` of the DTB at the start of `bytes`. None if there is no such
/// property, or if the DTB is damaged before it.
pub(crate) fn bootargs(bytes: &[u8]) -> Option<String> {
    let mut properties = properties(bytes)?;
    // The root node is the first level.
    let found = properties
        .find(|own| own.depth == 2 && own.node == b"chosen" && own.name == b"bootargs")?;
    let text = bytes.get(found.value)?.split(|byte| *byte == 0).next().unwrap_or_default();
    Some(String::from_utf8_lossy(text).into_owned())
}

/// A property of a node.
pub(crate) struct Property<'b> {
    /// The level of the node; that of the root is 1.
    pub depth: usize,
    /// The name of the node; empty after a node in it has ended.
    pub node: &'b [u8],
    pub name: &'b [u8],
    /// Where its value is.
    pub value: Range<usize>,
}

/// The properties of the DTB at the start of `bytes`, as far as it is not damaged.
pub(crate) fn properties(bytes: &[u8]) -> Option<Properties<'_>> {
    let dtb = bytes.get(..size(bytes)?)?;
    let (at, strings) = (cell(dtb, 8)? as usize, cell(dtb, 12)? as usize);
    Some(Properties { dtb, at, strings, depth: 0, node: &[] })
}

pub(crate) struct Properties<'b> {
    dtb: &'b [u8],
    at: usize,
    strings: usize,
    depth: usize,
    node: &'b [u8],
}

fn cell(dtb: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*dtb.get(at..)?.first_chunk()?))
}

fn name(dtb: &[u8], at: usize) -> Option<&[u8]> {
    let rest = dtb.get(at..)?;
    rest.get(..rest.iter().position(|byte| *byte == 0)?)
}

impl<'b> Iterator for Properties<'b> {
    type Item = Property<'b>;

    fn next(&mut self) -> Option<Self::Item> {
        const BEGIN_NODE: u32 = 1;
        const END_NODE: u32 = 2;
        const PROPERTY: u32 = 3;
        const NOTHING: u32 = 4;
        loop {
            let token = cell(self.dtb, self.at)?;
            self.at += 4;
            match token {
                BEGIN_NODE => {
                    self.node = name(self.dtb, self.at)?;
                    self.depth += 1;
                    self.at += (self.node.len() + 1).next_multiple_of(4);
                }
                END_NODE => {
                    self.depth = self.depth.checked_sub(1)?;
                    self.node = &[];
                }
                PROPERTY => {
                    let length = cell(self.dtb, self.at)? as usize;
                    let offset = cell(self.dtb, self.at + 4)? as usize;
                    let start = self.at + 8;
                    let value = start..start.checked_add(length)?;
                    self.dtb.get(value.clone())?;
                    self.at = start + length.next_multiple_of(4);
                    let name = name(self.dtb, self.strings.checked_add(offset)?)?;
                    return Some(Property { depth: self.depth, node: self.node, name, value });
                }
                NOTHING => {}
                _ => return None,
            }
        }
    }
}

/// The size of the DTB at the start of `bytes` without the room at its end.
#[cfg(feature = "boot-test")]
pub(crate) fn used(bytes: &[u8]) -> Option<u32> {
    let end = |at: usize, size: usize| cell(bytes, at)?.checked_add(cell(bytes, size)?);
    size(bytes)?;
    Some(end(8, 36)?.max(end(12, 32)?))
}

/// `totalsize` of the DTB at the start of `bytes`, if every block in its header is within the DTB
/// (`fdt_check_header` in `scripts/dtc/libfdt/fdt.c`) and the DTB is within `bytes`.
fn size(bytes: &[u8]) -> Option<usize> {
    let header = bytes.first_chunk::<HEADER>()?;
    let field = |index: usize| -> usize {
        let at = index * 4;
        u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]) as usize
    };
    let total = field(1);
    let (structure, strings, reserved) = (field(2), field(3), field(4));
    let (version, compatible) = (field(5), field(6));
    let (strings_size, structure_size) = (field(8), field(9));
    let fits =
        |offset: usize, size: usize| (HEADER..=total).contains(&offset) && size <= total - offset;
    let sound = (HEADER..=bytes.len()).contains(&total)
        && (16..=17).contains(&version)
        && compatible <= version
        && fits(strings, strings_size)
        && fits(structure, if version == 17 { structure_size } else { 0 })
        && fits(reserved, 0);
    sound.then_some(total)
}
