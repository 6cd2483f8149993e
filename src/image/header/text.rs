//! Text fields of headers: NUL-terminated bytes of a fixed size.

use super::Error;

/// The text in a field: its bytes up to the first NUL, or all bytes.
pub fn text_of(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    &field[..end]
}

/// Write `text` of at most `capacity` bytes to `place`, followed by zeros.
pub(super) fn fill(
    place: &mut [u8],
    text: &[u8],
    field: &'static str,
    capacity: usize,
) -> Result<(), Error> {
    if text.contains(&0) {
        return Err(Error::NulInText { field });
    }
    if text.len() > capacity {
        let value = String::from_utf8_lossy(text).into_owned();
        return Err(Error::TextTooLong { field: field.to_owned(), capacity, value });
    }
    // The bytes after the NULs of both texts are kept.
    let old = text_of(place).len();
    if place[..old] != *text {
        let end = old.max((text.len() + 1).min(place.len()));
        place[..text.len()].copy_from_slice(text);
        place[text.len()..end].fill(0);
    }
    Ok(())
}

/// Write one command line field: NUL-terminated, unless the line is the one that fills it already.
pub(super) fn fill_cmdline(place: &mut [u8], line: &[u8]) -> Result<(), Error> {
    if text_of(place) == line {
        return Ok(());
    }
    let capacity = place.len() - 1;
    if line.len() > capacity {
        return Err(Error::CmdlineTooLong { field: "cmdline", capacity, needed: line.len() });
    }
    fill(place, line, "cmdline", capacity)
}

/// Write `cmdline` and `extra_cmdline` of v0–v2, which bootloaders concatenate. Where both are used,
/// an edit of one leaves the other as it is.
pub(super) fn fill_split(first: &mut [u8], extra: &mut [u8], line: &[u8]) -> Result<(), Error> {
    if [text_of(first), text_of(extra)].concat() == line {
        return Ok(());
    }
    let (room, extra_room) = (first.len() - 1, extra.len() - 1);
    // Some tools fill the first field without a NUL and go on in the other.
    let goes_on = !text_of(extra).is_empty() || text_of(first).len() == first.len();
    if goes_on {
        if let Some(tail) = line.strip_prefix(text_of(first))
            && tail.len() <= extra_room
        {
            return fill(extra, tail, "extra_cmdline", extra_room);
        }
        if let Some(head) = line.strip_suffix(text_of(extra))
            && head.len() <= room
        {
            return fill(first, head, "cmdline", room);
        }
    }
    if line.len() > room + extra_room {
        return Err(Error::CmdlineTooLong {
            field: "cmdline with extra_cmdline",
            capacity: room + extra_room,
            needed: line.len(),
        });
    }
    let (head, tail) = line.split_at(split_point(line, room, extra_room));
    fill(first, head, "cmdline", room)?;
    fill(extra, tail, "extra_cmdline", extra_room)
}

/// Where to split the line: after a space, so that the first part has whole parameters. If the rest
/// would not fit then, a parameter is split, as in AOSP's mkbootimg.
fn split_point(line: &[u8], room: usize, extra_room: usize) -> usize {
    if line.len() <= room {
        return line.len();
    }
    let space = line[..room].iter().rposition(|byte| *byte == b' ');
    let whole_words = space.map(|space| space + 1);
    whole_words.filter(|split| line.len() - split <= extra_room).unwrap_or(room)
}

/// `os_version` of a boot header: Android version in the upper 21 bits (7 each for A.B.C),
/// patch level in the lower 11 (7 for the year from 2000, 4 for the month).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OsVersion(pub u32);

impl OsVersion {
    /// `A.B.C`, or None when the field is empty.
    pub fn version(self) -> Option<String> {
        let bits = self.0 >> 11;
        (bits != 0).then(|| format!("{}.{}.{}", bits >> 14, bits >> 7 & 0x7f, bits & 0x7f))
    }

    /// The first number of the version, or None when the field is empty.
    pub(crate) fn major(self) -> Option<u32> {
        let bits = self.0 >> 11;
        (bits != 0).then_some(bits >> 14)
    }

    /// `YYYY-MM`, or None when the field is empty.
    pub fn patch_level(self) -> Option<String> {
        let bits = self.0 & 0x7ff;
        (bits != 0).then(|| format!("{:04}-{:02}", 2000 + (bits >> 4), bits & 0xf))
    }

    /// Build the field from `A[.B[.C]]` and `YYYY-MM`; both may be empty.
    pub(crate) fn from_parts(version: &str, patch_level: &str) -> Option<Self> {
        let mut bits = 0;
        if !version.is_empty() {
            let mut parts = version.split('.');
            for _ in 0..3 {
                let part: u32 = parts.next().map_or(Some(0), |part| part.parse().ok())?;
                bits = bits << 7 | (part < 128).then_some(part)?;
            }
            parts.next().is_none().then_some(())?;
        }
        let mut level = 0;
        if !patch_level.is_empty() {
            let mut parts = patch_level.splitn(3, '-');
            let year: u32 = parts.next()?.parse().ok()?;
            let month: u32 = parts.next()?.parse().ok()?;
            let year = year.checked_sub(2000).filter(|year| *year < 128)?;
            level = year << 4 | (1..=12).contains(&month).then_some(month)?;
        }
        Some(OsVersion(bits << 11 | level))
    }
}
