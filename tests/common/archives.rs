//! Archives and tools for the ramdisk tests.
use std::io::Write;
use std::process::{Command, Stdio};

use vfioboot::compression::{Format, decode_all, encode};
use vfioboot::ramdisk::cpio::{CpioWriter, Entry};
use vfioboot::ramdisk::{Entries, Error, Limits};

/// All formats, and none for a raw archive.
pub const COMPRESSIONS: [Option<Format>; 8] = [
    None,
    Some(Format::Gzip),
    Some(Format::Lz4Legacy),
    Some(Format::Lz4Frame),
    Some(Format::Xz),
    Some(Format::Lzma),
    Some(Format::Zstd),
    Some(Format::Bzip2),
];

/// An archive of regular files with their parent directories left out.
pub fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = CpioWriter::new(Vec::new());
    for (name, data) in files {
        writer.file(name.as_bytes(), 0o644, data).unwrap();
    }
    writer.finish().unwrap()
}

pub fn packed(compression: Option<Format>, archive: &[u8]) -> Vec<u8> {
    match compression {
        None => archive.to_vec(),
        Some(format) => encode(format, archive, None).unwrap(),
    }
}

/// What `patch` appends, as far as it matters here.
pub fn ours(compression: Option<Format>, lead_in: usize) -> Vec<u8> {
    let mut writer = CpioWriter::with_lead_in(Vec::new(), lead_in).unwrap();
    writer.dir(b"vfioboot", 0o755).unwrap();
    writer.file(b"vfioboot/init", 0o755, &noise(5000)).unwrap();
    writer.file(b"vfioboot/undo", 0o644, b"the record").unwrap();
    let archive = writer.finish().unwrap();
    match compression {
        None => archive,
        Some(format) => encode(format, &archive, Some("vfioboot")).unwrap(),
    }
}

/// Bytes that do not compress, always the same.
pub fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..length).map(|_| next()).collect()
}

/// Every entry with its data, TRAILERs included.
pub fn read_all(ramdisk: &[u8]) -> Result<Vec<(Entry, Vec<u8>)>, Error> {
    let mut entries = Entries::new(ramdisk, Limits::default());
    let mut all = Vec::new();
    while let Some(entry) = entries.next_entry()? {
        let mut data = Vec::new();
        entries.copy_data(&mut data)?;
        all.push((entry, data));
    }
    Ok(all)
}

/// The names of all files.
pub fn names(ramdisk: &[u8]) -> Vec<String> {
    let all = read_all(ramdisk).unwrap().into_iter().filter(|(entry, _)| !entry.is_trailer());
    all.map(|(entry, _)| String::from_utf8_lossy(&entry.name).into_owned()).collect()
}

/// Run a tool with `input`; none, said on standard error, when it is not installed.
pub fn tool(command: &[&str], input: &[u8]) -> Option<Vec<u8>> {
    let child = Command::new(command[0])
        .args(&command[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let Ok(mut child) = child else {
        eprintln!("not tested: {} is not installed", command[0]);
        return None;
    };
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let feeder = std::thread::spawn(move || {
        let _ = stdin.write_all(&input);
    });
    let output = child.wait_with_output().unwrap();
    feeder.join().unwrap();
    assert!(output.status.success(), "{command:?} failed");
    Some(output.stdout)
}

/// A vendor_boot image v4 with these platform fragments: name and ramdisk of each.
pub fn vendor_boot(fragments: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let page = 2048;
    let all: usize = fragments.iter().map(|(_, bytes)| bytes.len()).sum();
    let mut image = b"VNDRBOOT".to_vec();
    for word in [4, page as u32, 0, 0, all as u32] {
        image.extend(word.to_le_bytes());
    }
    image.resize(28 + 2048 + 4 + 16, 0);
    let table = fragments.len() as u32 * 108;
    for word in [2128, 0, 0, 0, table, fragments.len() as u32, 108, 0] {
        image.extend(u32::to_le_bytes(word));
    }
    image.resize(image.len().next_multiple_of(page), 0);
    for (_, bytes) in fragments {
        image.extend(bytes);
    }
    image.resize(image.len().next_multiple_of(page), 0);
    let mut offset = 0;
    for (name, bytes) in fragments {
        let start = image.len();
        for word in [bytes.len() as u32, offset, 1] {
            image.extend(word.to_le_bytes());
        }
        image.extend(name.as_bytes());
        image.resize(start + 108, 0);
        offset += bytes.len() as u32;
    }
    image.resize(image.len().next_multiple_of(page), 0);
    image
}

/// What the kernel makes of an lz4_legacy stream.
pub struct Stream {
    pub unpacked: Vec<u8>,
    pub consumed: usize,
    /// How often its magic is there.
    pub magics: usize,
}

/// `unlz4` of `lib/decompress_unlz4.c`: a block may be short, a magic between blocks is skipped, and
/// a size of zero is the end.
pub fn unlz4(bytes: &[u8]) -> Stream {
    let mut stream = Stream { unpacked: Vec::new(), consumed: 0, magics: 0 };
    let magic = vfioboot::compression::lz4_legacy::MAGIC;
    while let Some(size) = bytes.get(stream.consumed..stream.consumed + 4) {
        let size = u32::from_le_bytes(size.try_into().unwrap());
        if size == magic {
            (stream.magics, stream.consumed) = (stream.magics + 1, stream.consumed + 4);
            continue;
        }
        if size == 0 {
            break;
        }
        let end = stream.consumed + 4 + size as usize;
        // A block of its own is a stream.
        let block = [&magic.to_le_bytes(), &bytes[stream.consumed..end]].concat();
        stream.unpacked.extend(decode_all(Format::Lz4Legacy, &block, 8 << 20).unwrap().0);
        stream.consumed = end;
    }
    stream
}
