//! The buffer of the kernel's log, found by what is in it: `struct printk_ringbuffer` since 5.10
//! (`kernel/printk/printk_ringbuffer.h`), and `struct printk_log` before it (`kernel/printk/printk.c`).

use memchr::memmem;

/// What every kernel says near the start of its log.
const BANNER: &[u8] = b"Linux version ";
/// How far what [`look`] looks at reaches.
pub(super) const REACH: u64 = 4096;
/// The largest buffer that is read, and the longest line in it (`PRINTKRB_RECORD_MAX` with its header).
const BUFFER: u64 = 4 << 20;
const LINE: usize = 2048;

/// The bits of an id (`DESC_FLAGS_MASK` is above them).
const IDS: u64 = 1 << 62;
/// The first id is the number of descriptors, at most this, below the end of the ids: of those in 32 bits,
/// because `_DESCS_COUNT` is an `unsigned int`, or of all.
const ENDS: [u64; 2] = [1 << 32, IDS];
const DESCRIPTORS: u64 = 1 << 20;
/// `struct printk_info`: its size by version of the kernel, and where its fields are.
const INFO_SIZES: [usize; 3] = [88, 96, 112];
const INFO_TIME: usize = 8;
const INFO_LENGTH: usize = 16;

/// Where parts of buffers may be.
#[derive(Default)]
pub(super) struct Found {
    /// The id of a line that begins with the banner, and where the id is.
    lines: Vec<(u64, u64)>,
    /// The first `struct printk_info` and the size of one.
    infos: Vec<(u64, usize)>,
    /// A `struct printk_log` and the size of its header.
    old: Vec<(u64, usize)>,
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<u64> {
    let mut all = [0; 8];
    all[..N].copy_from_slice(bytes.get(at..at.checked_add(N)?)?);
    Some(u64::from_le_bytes(all))
}

/// How far an id is below the end; None if it cannot be one of the first.
fn below_end(id: u64) -> Option<u64> {
    let mut below = ENDS.into_iter().filter_map(|end| end.checked_sub(id));
    below.find(|below| (1..=DESCRIPTORS).contains(below))
}

/// Look for parts of buffers that begin in the first `size` bytes, which are at `at` in the memory.
pub(super) fn look(bytes: &[u8], at: u64, size: u64, found: &mut Found) {
    for text in memmem::find_iter(bytes, BANNER) {
        let id_at = text.checked_sub(8).filter(|at| at.is_multiple_of(8));
        let id = id_at.and_then(|at| number::<8>(bytes, at));
        if let Some(id) = id.filter(|id| below_end(*id).is_some()) {
            found.lines.push((id, at + text as u64 - 8));
        }
        for header in [16, 20, 24] {
            let start = text.checked_sub(header);
            if start.and_then(|start| old_line(bytes, start, header)).is_some() {
                found.old.push((at + (text - header) as u64, header));
            }
        }
    }
    // The second info has number 1; the first one, before it, has 0.
    let words = bytes.chunks_exact(8).enumerate();
    for (word, _) in words.filter(|(_, word)| **word == [1, 0, 0, 0, 0, 0, 0, 0]) {
        for info in INFO_SIZES {
            let Some(first) = (word * 8).checked_sub(info).filter(|first| (*first as u64) < size)
            else {
                continue;
            };
            let is = |index: u64| number::<8>(bytes, first + index as usize * info) == Some(index);
            if (0..4).all(is) {
                found.infos.push((at + first as u64, info));
            }
        }
    }
}

/// Reads memory: where, how much.
type Read<'r> = &'r dyn Fn(u64, u64) -> Vec<u8>;

impl Found {
    /// The lines of the longest log: an early buffer is copied to a larger one, and stays behind.
    pub(super) fn longest(&self, read: Read<'_>) -> Vec<String> {
        let new = self.lines.iter().flat_map(|(id, at)| {
            let infos = self.infos.iter();
            infos
                .map(|(infos, size)| new_log(*id, &read(*at, BUFFER), &read(*infos, BUFFER), *size))
        });
        let old = self.old.iter().map(|(at, header)| old_log(&read(*at, BUFFER), *header));
        new.chain(old).max_by_key(Vec::len).unwrap_or_default()
    }
}

/// The lines from the one with `id` on, with which `buffer` starts. The infos of all lines are in `infos`.
fn new_log(id: u64, buffer: &[u8], infos: &[u8], size: usize) -> Vec<String> {
    let mut lines = Vec::new();
    // That number is a power of two.
    let Some(below) = below_end(id) else { return lines };
    let first = below.next_power_of_two() - below;
    let (mut id, mut at) = (id, 0);
    for index in first.. {
        let id_after = (id + 1) % IDS;
        let ends = (8..LINE).step_by(8).map(|more| at + more);
        let end = ends
            .take_while(|end| *end < buffer.len())
            .find(|end| number::<8>(buffer, *end) == Some(id_after));
        // The last line has none after it.
        let room = end.map_or(LINE, |end| end - at - 8);
        let info = |field| (index as usize).checked_mul(size).map(|info| info + field);
        let field = |field| info(field).and_then(|at| number::<8>(infos, at));
        let length = info(INFO_LENGTH).and_then(|at| number::<2>(infos, at)).unwrap_or(0) as usize;
        let text = buffer.get(at + 8..).and_then(|rest| rest.get(..length));
        let (Some(time), Some(text)) = (field(INFO_TIME), text) else { break };
        if field(0) != Some(index) || length > room {
            break;
        }
        lines.extend(console(time, text));
        let Some(end) = end else { break };
        (id, at) = (id_after, end);
    }
    lines
}

/// The time, the text and the size of the `struct printk_log` at `at`.
fn old_line(bytes: &[u8], at: usize, header: usize) -> Option<(u64, &[u8], usize)> {
    let size = number::<2>(bytes, at + 8)? as usize;
    let (text, more) =
        (number::<2>(bytes, at + 10)? as usize, number::<2>(bytes, at + 12)? as usize);
    // `LOG_ALIGN` is 4 or 8.
    let fits =
        size.is_multiple_of(4) && (header + text + more..header + text + more + 8).contains(&size);
    let text = bytes.get(at + header..at + header + text)?;
    (fits && size > header).then_some((number::<8>(bytes, at)?, text, size))
}

fn old_log(buffer: &[u8], header: usize) -> Vec<String> {
    let (mut lines, mut at) = (Vec::new(), 0);
    while let Some((time, text, size)) = old_line(buffer, at, header) {
        lines.extend(console(time, text));
        at += size;
    }
    lines
}

/// The lines of a record as a console has them.
fn console(nanoseconds: u64, text: &[u8]) -> Vec<String> {
    let (seconds, micros) = (nanoseconds / 1_000_000_000, nanoseconds / 1000 % 1_000_000);
    let text = String::from_utf8_lossy(text);
    text.lines().map(|line| format!("[{seconds:5}.{micros:06}] {line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXTS: [&str; 4] = [
        "Booting Linux",
        "Linux version 6.1.99",
        "vfioboot: 0.1.0 starts",
        "Run /init as init process",
    ];
    const WANTED: [&str; 3] = [
        "[    1.000001] Linux version 6.1.99\n",
        "[    2.000002] vfioboot: 0.1.0 starts\n",
        "[    3.000003] Run /init as init process\n",
    ];

    fn log_in(memory: &[u8]) -> Vec<String> {
        let mut found = Found::default();
        look(memory, 0, memory.len() as u64, &mut found);
        found.longest(&|at, size| {
            let rest = memory.get(at as usize..).unwrap_or_default();
            rest[..rest.len().min(size as usize)].to_vec()
        })
    }

    /// A buffer since 5.10 with 16 descriptors, whose ids are below `end`, of which the lines are not written yet from `until` on.
    fn new(end: u64, until: usize) -> Vec<u8> {
        let mut memory = vec![0; 256];
        let mut infos = vec![0; 64];
        for (index, text) in TEXTS.iter().enumerate().take(until) {
            memory.extend((end - 16 + index as u64).to_le_bytes());
            // A level before the text is taken away, and leaves its end twice.
            memory.extend(text.as_bytes());
            memory.extend(&text.as_bytes()[text.len() - 2..]);
            memory.extend(b"\n\0");
            memory.resize(memory.len().next_multiple_of(8), 0);
            let mut info = vec![0; 88];
            info[..8].copy_from_slice(&(index as u64).to_le_bytes());
            info[8..16].copy_from_slice(&(index as u64 * 1_000_001_000).to_le_bytes());
            info[16..18].copy_from_slice(&(text.len() as u16).to_le_bytes());
            infos.extend(info);
        }
        memory.resize(memory.len() + 8192, 0);
        memory.extend(infos);
        memory.resize(memory.len() + 8192, 0);
        memory
    }

    fn old(header: usize) -> Vec<u8> {
        let mut memory = vec![0; 256];
        for (index, text) in TEXTS.iter().enumerate() {
            let start = memory.len();
            memory.extend((index as u64 * 1_000_001_000).to_le_bytes());
            let size = (header + text.len()).next_multiple_of(8);
            memory.extend((size as u16).to_le_bytes());
            memory.extend((text.len() as u16).to_le_bytes());
            memory.resize(start + header, 0);
            memory.extend(text.as_bytes());
            memory.resize(start + size, 0);
        }
        memory.resize(memory.len() + 8192, 0);
        memory
    }

    #[test]
    fn the_log_of_new_and_old_kernels_is_found() {
        assert_eq!(log_in(&new(ENDS[0], 4)), WANTED);
        assert_eq!(log_in(&new(ENDS[1], 4)), WANTED);
        assert_eq!(log_in(&old(16)), WANTED);
        assert_eq!(log_in(&old(20)), WANTED);
    }

    #[test]
    fn the_longest_log_counts() {
        let mut memory = old(16);
        memory.truncate(memory.len() / 8 * 8);
        let all = memory.clone();
        let early = memmem::find(&memory, b"vfioboot").unwrap() - 16;
        memory[early..].fill(0);
        memory.extend(all);
        assert_eq!(log_in(&memory), WANTED);
    }

    #[test]
    fn a_banner_that_is_no_log_is_none() {
        assert_eq!(
            log_in(b"\0\0\0\0\0\0\0\0Linux version 6.1.99 (a@b)\n\0\0\0\0\0\0\0\0"),
            Vec::<String>::new()
        );
        assert_eq!(log_in(&new(IDS, 1)), Vec::<String>::new());
    }
}
