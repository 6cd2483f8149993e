//! `vfioboot ramdisk IMAGE ls`: one line or one JSON object an entry, written as they are read.

use std::io::{self, BufWriter, Write};
use std::ops::Range;

use serde::Serialize;

use vfioboot::ramdisk::cpio::{Entry, FileType};
use vfioboot::ramdisk::{Entries, Limits, Ramdisk, Reach};
use vfioboot::text;

use crate::cli::print::{complain, shown};

/// Version of the JSON output.
const JSON_FORMAT: u32 = 1;

/// Print the entries of `ramdisk`; problems are printed on standard error, with `name`.
pub fn list(ramdisk: &[u8], json: bool, name: &str) -> anyhow::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut entries = Entries::new(ramdisk, Limits::default());
    if json {
        write!(out, "{{\"format\":{JSON_FORMAT},\"entries\":[")?;
    }
    let mut first = true;
    while let Some(entry) = entries.next_entry()? {
        if entry.is_trailer() {
            continue;
        }
        let mut target = Vec::new();
        if entry.file_type() == FileType::Symlink {
            entries.copy_data(&mut target)?;
        }
        if json {
            out.write_all(if first { b"\n" } else { b",\n" })?;
            first = false;
            let object = EntryJson::new(&entry, entries.segment(), &target);
            write_json(&mut out, &object)?;
        } else {
            writeln!(out, "{}", shown(format_args!("{}", line(&entry, &target))))?;
        }
    }
    let ignored = entries.ignored().to_vec();
    let found = entries.into_ramdisk();
    if json {
        out.write_all(b"\n],\"segments\":")?;
        write_json(&mut out, &segments(&found))?;
        out.write_all(b",\"padding\":")?;
        let padding: Vec<_> = found.padding.iter().map(RangeJson::new).collect();
        write_json(&mut out, &padding)?;
        out.write_all(b",\"trailing\":")?;
        let trailing = found.trailing.as_ref().map(|trailing| TrailingJson {
            range: RangeJson::new(&trailing.range),
            reason: trailing.reason,
        });
        write_json(&mut out, &trailing)?;
        out.write_all(b"}\n")?;
    }
    out.flush()?;
    for entry in ignored {
        complain(format_args!(
            "{name}: no kernel unpacks \"{}\": {}",
            text::visible_bytes(&entry.name),
            entry.reason
        ));
    }
    warn(&found, name);
    Ok(())
}

fn write_json(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    let json = serde_json::to_string(value)?;
    out.write_all(text::visible_json(&json).as_bytes())
}

/// Print what the kernel does not unpack.
fn warn(found: &Ramdisk<'_>, name: &str) {
    if let Some(segment) = found.segments.iter().find(|segment| segment.reach != Reach::Always) {
        let who = match segment.reach {
            Reach::NewerKernels => "only Linux 5.14 and later unpacks",
            _ => "no kernel unpacks",
        };
        complain(format_args!(
            "{name}: {who} what follows offset {:#x}, after an lz4_legacy segment",
            segment.range.start
        ));
    }
    let foreign = |segment: &&vfioboot::ramdisk::Segment<'_>| {
        segment.compression.is_some_and(|format| format.rd_symbol().is_none())
    };
    if let Some(segment) = found.segments.iter().find(foreign) {
        complain(format_args!(
            "{name}: no kernel unpacks the segment at offset {:#x}: lz4 frame format, \
             expected lz4_legacy (lz4 -l)",
            segment.range.start
        ));
    }
    if let Some(trailing) = &found.trailing {
        complain(format_args!(
            "{name}: offset {:#x}, {} bytes to the end: {}",
            trailing.range.start,
            trailing.range.len(),
            trailing.reason
        ));
    }
}

#[derive(Serialize)]
struct EntryJson {
    segment: usize,
    offset: u64,
    name: String,
    /// Only if the name is not UTF-8: then `name` has escapes.
    #[serde(skip_serializing_if = "Option::is_none")]
    name_hex: Option<String>,
    #[serde(rename = "type")]
    file_type: FileType,
    mode: String,
    uid: u32,
    gid: u32,
    nlink: u32,
    ino: u32,
    mtime: u32,
    size: u32,
    dev: [u32; 2],
    #[serde(skip_serializing_if = "Option::is_none")]
    rdev: Option<[u32; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
}

impl EntryJson {
    fn new(entry: &Entry, segment: usize, target: &[u8]) -> Self {
        let header = &entry.header;
        let utf8 = str::from_utf8(&entry.name);
        let device = matches!(entry.file_type(), FileType::CharDevice | FileType::BlockDevice);
        EntryJson {
            segment,
            offset: entry.offset,
            name: utf8.map_or_else(|_| entry.name.escape_ascii().to_string(), str::to_owned),
            name_hex: utf8.is_err().then(|| base16ct::lower::encode_string(&entry.name)),
            file_type: entry.file_type(),
            mode: format!("{:04o}", header.mode & 0o7777),
            uid: header.uid,
            gid: header.gid,
            nlink: header.nlink,
            ino: header.ino,
            mtime: header.mtime,
            size: header.filesize,
            dev: [header.devmajor, header.devminor],
            rdev: device.then_some([header.rdevmajor, header.rdevminor]),
            target: (entry.file_type() == FileType::Symlink)
                .then(|| String::from_utf8_lossy(target).into_owned()),
        }
    }
}

#[derive(Serialize)]
struct SegmentJson {
    offset: usize,
    size: usize,
    /// null for a raw archive.
    compression: Option<&'static str>,
    unpacked_size: u64,
    entries: u64,
    reach: Reach,
}

fn segments(found: &Ramdisk<'_>) -> Vec<SegmentJson> {
    let one = |segment: &vfioboot::ramdisk::Segment<'_>| SegmentJson {
        offset: segment.range.start,
        size: segment.range.len(),
        compression: segment.compression.map(|format| format.name()),
        unpacked_size: segment.unpacked,
        entries: segment.entries,
        reach: segment.reach,
    };
    found.segments.iter().map(one).collect()
}

#[derive(Serialize)]
struct RangeJson {
    offset: usize,
    size: usize,
}

impl RangeJson {
    fn new(range: &Range<usize>) -> Self {
        RangeJson { offset: range.start, size: range.len() }
    }
}

#[derive(Serialize)]
struct TrailingJson {
    #[serde(flatten)]
    range: RangeJson,
    reason: &'static str,
}

/// As `cpio -tv` prints it, with numeric owners and the time in UTC.
fn line(entry: &Entry, target: &[u8]) -> String {
    let header = &entry.header;
    let size = match entry.file_type() {
        FileType::CharDevice | FileType::BlockDevice => {
            format!("{}, {}", header.rdevmajor, header.rdevminor)
        }
        _ => header.filesize.to_string(),
    };
    let arrow = match entry.file_type() {
        FileType::Symlink => format!(" -> {}", text::visible_bytes(target)),
        _ => String::new(),
    };
    format!(
        "{} {:>3} {:>5} {:>5} {:>9} {} {}{arrow}",
        permissions(entry),
        header.nlink,
        header.uid,
        header.gid,
        size,
        time(header.mtime),
        text::visible_bytes(&entry.name),
    )
}

/// `-rwxr-xr-x`.
fn permissions(entry: &Entry) -> String {
    let kind = match entry.file_type() {
        FileType::Regular => '-',
        FileType::Directory => 'd',
        FileType::Symlink => 'l',
        FileType::CharDevice => 'c',
        FileType::BlockDevice => 'b',
        FileType::Fifo => 'p',
        FileType::Socket => 's',
        FileType::Unknown => '?',
    };
    let mode = entry.header.mode;
    // For each class: its shift, the bit that changes how its x is shown, and the letter.
    let classes = [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')];
    let mut text = String::from(kind);
    for (shift, special, letter) in classes {
        let bits = mode >> shift;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (mode & special != 0, bits & 1 != 0) {
            (true, true) => letter,
            (true, false) => letter.to_ascii_uppercase(),
            (false, true) => 'x',
            (false, false) => '-',
        });
    }
    text
}

/// Seconds since 1970 as `1970-01-01 00:00`, UTC.
fn time(seconds: u32) -> String {
    let (mut days, minutes) = (seconds / 86_400, seconds % 86_400 / 60);
    let mut year = 1970;
    let leap = |year: u32| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    while days >= 365 + u32::from(leap(year)) {
        days -= 365 + u32::from(leap(year));
        year += 1;
    }
    let lengths = [31, 28 + u32::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 1;
    for length in lengths {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    format!("{year}-{month:02}-{:02} {:02}:{:02}", days + 1, minutes / 60, minutes % 60)
}
