//! Flattened device trees (see the Devicetree Specification): after a kernel
//! (`cat Image.gz a.dtb b.dtb > Image.gz-dtb`) or in a separate section.

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
    const BEGIN_NODE: u32 = 1;
    const END_NODE: u32 = 2;
    const PROPERTY: u32 = 3;
    const NOTHING: u32 = 4;
    let dtb = bytes.get(..size(bytes)?)?;
    let cell =
        |at: usize| -> Option<u32> { Some(u32::from_be_bytes(*dtb.get(at..)?.first_chunk()?)) };
    let name = |at: usize| -> Option<&[u8]> {
        let rest = dtb.get(at..)?;
        rest.get(..rest.iter().position(|byte| *byte == 0)?)
    };
    let (mut at, strings) = (cell(8)? as usize, cell(12)? as usize);
    let (mut depth, mut chosen) = (0usize, false);
    loop {
        let token = cell(at)?;
        at += 4;
        match token {
            BEGIN_NODE => {
                let node = name(at)?;
                depth += 1;
                // The root node is the first level.
                chosen = depth == 2 && node == b"chosen";
                at += (node.len() + 1).next_multiple_of(4);
            }
            END_NODE => {
                depth = depth.checked_sub(1)?;
                chosen = false;
            }
            PROPERTY => {
                let (length, offset) = (cell(at)? as usize, cell(at + 4)? as usize);
                at += 8;
                let value = dtb.get(at..at.checked_add(length)?)?;
                if chosen && name(strings.checked_add(offset)?)? == b"bootargs" {
                    let text = value.split(|byte| *byte == 0).next().unwrap_or_default();
                    return Some(String::from_utf8_lossy(text).into_owned());
                }
                at += length.next_multiple_of(4);
            }
            NOTHING => {}
            _ => return None,
        }
    }
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
