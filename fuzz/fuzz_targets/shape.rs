//! Mutations that keep the shape of a format, so that what comes behind its first check is reached.
//!
//! Each is given the input in `data[..size]` and the most that it may become, and gives its new size.
#![allow(dead_code, reason = "each target uses its own part")]

use libfuzzer_sys::fuzzer_mutate;

use crate::generate::random::Random;

/// Replace the input.
pub fn put(data: &mut [u8], bytes: &[u8], max_size: usize) -> usize {
    let size = bytes.len().min(max_size).min(data.len());
    data[..size].copy_from_slice(&bytes[..size]);
    size
}

/// A number that a size or an offset may be by mistake.
fn odd_number(random: &mut Random, before: u64, size: usize) -> u64 {
    match random.below(10) {
        0 => 0,
        1 => before.wrapping_add(1),
        2 => before.wrapping_sub(1),
        3 => size as u64,
        4 => size as u64 - size.min(4096) as u64,
        5 => 1 << random.below(33),
        6 => u64::from(u32::MAX),
        7 => u64::MAX - before,
        8 => random.below(6) as u64,
        _ => random.below(size + 1) as u64,
    }
}

/// The fields of boot images: the first after the magic, and those behind the command line.
pub fn header(data: &mut [u8], size: usize, max_size: usize, random: &mut Random) -> usize {
    const FIRST: usize = 8;
    const COUNT: usize = 10;
    /// `cmdline` of v3 ends here, `extra_cmdline` of v2 and the command line of vendor_boot later.
    const LATER: [usize; 6] = [1580, 1632, 1636, 1644, 1648, 2112];
    let at = match random.once_in(3) {
        true => LATER[random.below(LATER.len())] + 4 * random.below(4),
        false => FIRST + 4 * random.below(COUNT),
    };
    let Some(field) = data[..size].get_mut(at..).and_then(<[u8]>::first_chunk_mut) else {
        return fuzzer_mutate(data, size, max_size);
    };
    let number = odd_number(random, u64::from(u32::from_le_bytes(*field)), size);
    *field = (number as u32).to_le_bytes();
    size
}

/// One field of a cpio header, or a whole entry.
pub fn cpio(data: &mut [u8], size: usize, max_size: usize, random: &mut Random) -> usize {
    const HEADER: usize = 110;
    let magic = |window: &[u8]| window == b"070701" || window == b"070702";
    let found = data[..size].windows(6).enumerate().filter(|(_, window)| magic(window));
    let starts: Vec<usize> = found.map(|(at, _)| at).take(200).collect();
    if starts.is_empty() {
        return fuzzer_mutate(data, size, max_size);
    }
    let number = random.below(starts.len());
    let start = starts[number];
    let end = starts.get(number + 1).copied().unwrap_or(size);
    match random.below(4) {
        0 => {
            data.copy_within(end..size, start);
            size - (end - start)
        }
        1 if size + end - start <= max_size.min(data.len()) => {
            data.copy_within(start..size, end);
            size + end - start
        }
        _ if start + HEADER <= size => {
            let at = start + 6 + 8 * random.below(13);
            let text = String::from_utf8_lossy(&data[at..at + 8]).into_owned();
            let before = u64::from_str_radix(&text, 16).unwrap_or(0);
            let digits = format!("{:08X}", odd_number(random, before, size) as u32);
            data[at..at + 8].copy_from_slice(digits.as_bytes());
            size
        }
        _ => fuzzer_mutate(data, size, max_size),
    }
}

/// One of the sizes of a vbmeta header; or its descriptors, which it then covers whole.
pub fn vbmeta(data: &mut [u8], size: usize, max_size: usize, random: &mut Random) -> usize {
    const HEADER: usize = 256;
    const AUTH_SIZE: usize = 12;
    const AUX_SIZE: usize = 20;
    const DESCRIPTORS: usize = 96;
    if size <= HEADER || !data.starts_with(b"AVB0") {
        return fuzzer_mutate(data, size, max_size);
    }
    let field = |at: usize, data: &[u8]| {
        u64::from_be_bytes(data[at..at + 8].try_into().unwrap_or_default())
    };
    if random.once_in(2) {
        let at = AUTH_SIZE + 8 * random.below(14);
        let number = odd_number(random, field(at, data), size);
        data[at..at + 8].copy_from_slice(&number.to_be_bytes());
        return size;
    }
    let rest = fuzzer_mutate(&mut data[HEADER..], size - HEADER, max_size - HEADER);
    let auxiliary = (rest as u64).saturating_sub(field(AUTH_SIZE, data));
    data[AUX_SIZE..AUX_SIZE + 8].copy_from_slice(&auxiliary.to_be_bytes());
    let described = auxiliary.saturating_sub(field(DESCRIPTORS, data)) & !7;
    data[DESCRIPTORS + 8..DESCRIPTORS + 16].copy_from_slice(&described.to_be_bytes());
    HEADER + rest
}

/// The manifest of a payload, whose size stays right; what follows it stays, too.
pub fn payload(data: &mut [u8], size: usize, max_size: usize) -> usize {
    const HEADER: usize = 24;
    const SIZE: usize = 12;
    let manifest = match data[..size].get(SIZE..SIZE + 8) {
        Some(bytes) if data.starts_with(b"CrAU") => {
            u64::from_be_bytes(bytes.try_into().unwrap_or_default()) as usize
        }
        _ => return fuzzer_mutate(data, size, max_size),
    };
    let Some(end) = HEADER.checked_add(manifest).filter(|end| manifest > 0 && *end <= size) else {
        return fuzzer_mutate(data, size, max_size);
    };
    let rest = data[end..size].to_vec();
    let room = max_size.min(data.len()).saturating_sub(rest.len() + HEADER);
    let changed = fuzzer_mutate(&mut data[HEADER..HEADER + room], manifest, room);
    data[SIZE..SIZE + 8].copy_from_slice(&(changed as u64).to_be_bytes());
    let end = HEADER + changed;
    data[end..end + rest.len()].copy_from_slice(&rest);
    end + rest.len()
}
