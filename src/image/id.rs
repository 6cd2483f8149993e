//! The `id` of header v0–v2: SHA-1 over each section's bytes followed by its size as a
//! 32-bit little-endian number, in file order (`get_recovery_dtbo_offset` and `write_header`
//! of AOSP's mkbootimg.py). A section that the version has but the image lacks counts with
//! size 0.

use sha1::{Digest, Sha1};

use super::{Chunk, Header, Image, SectionName};

fn finish(hasher: Sha1) -> [u8; 32] {
    let mut id = [0; 32];
    id[..20].copy_from_slice(&hasher.finalize());
    id
}

fn names(header: &Header) -> Vec<SectionName> {
    header.sections().into_iter().map(|field| field.section).collect()
}

impl Image<'_> {
    /// Whether the `id` of a v0–v2 header is the one that AOSP's mkbootimg computes. None when the
    /// header has no id.
    pub fn id_is_right(&self) -> Option<bool> {
        let stated = self.header()?.id()?;
        Some(*stated == of(self))
    }
}

/// The id computed over the image.
fn of(image: &Image<'_>) -> [u8; 32] {
    let mut hasher = Sha1::new();
    for name in image.header().map(names).unwrap_or_default() {
        let bytes = image.raw_section(name).unwrap_or_default();
        hasher.update(bytes);
        hasher.update((bytes.len() as u32).to_le_bytes());
    }
    finish(hasher)
}

/// The ids of an image before and after sections were replaced. The common part, which is nearly
/// everything, is hashed once, because hashing dominates the cost.
pub(super) fn before_and_after<'a>(
    image: &Image<'a>,
    replaced: &[(SectionName, Vec<Chunk<'a>>)],
) -> ([u8; 32], [u8; 32]) {
    let mut before = Sha1::new();
    // None as long as nothing differs.
    let mut after: Option<Sha1> = None;
    for name in image.header().map(names).unwrap_or_default() {
        let old = image.raw_section(name).unwrap_or_default();
        let old_size = (old.len() as u32).to_le_bytes();
        let Some((_, chunks)) = replaced.iter().find(|(section, _)| *section == name) else {
            for hasher in [Some(&mut before), after.as_mut()].into_iter().flatten() {
                hasher.update(old);
                hasher.update(old_size);
            }
            continue;
        };
        let (shared, rest) = match chunks.split_first() {
            Some((Chunk::Bytes(first), rest))
                if std::ptr::eq(first.as_ptr(), old.as_ptr()) && first.len() == old.len() =>
            {
                (old, rest)
            }
            _ => (&old[..0], &chunks[..]),
        };
        if let Some(after) = &mut after {
            after.update(shared);
        }
        before.update(shared);
        let hasher = after.get_or_insert_with(|| before.clone());
        before.update(&old[shared.len()..]);
        before.update(old_size);
        for chunk in rest {
            let hashed: Result<(), std::convert::Infallible> = chunk.each(|bytes| {
                hasher.update(bytes);
                Ok(())
            });
            let Ok(()) = hashed;
        }
        let new_size: u64 = chunks.iter().map(Chunk::len).sum();
        hasher.update((new_size as u32).to_le_bytes());
    }
    let after = finish(after.unwrap_or_else(|| before.clone()));
    (finish(before), after)
}
