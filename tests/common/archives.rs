//! Archives, containers of images, and tools for the tests.
use std::io::Write;
use std::process::{Command, Stdio};

use sha2::{Digest, Sha256};
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

/// A zip file; each file is compressed with `method`.
pub fn zip(files: &[(&str, &[u8])], method: zip::CompressionMethod) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in files {
        let options = zip::write::SimpleFileOptions::default().compression_method(method);
        writer.start_file(*name, options).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// A tar archive.
pub fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, *bytes).unwrap();
    }
    builder.into_inner().unwrap()
}

/// A tar archive with the line of md5sum after its end, as Odin takes it.
pub fn tar_md5(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = tar(files);
    let line = tool(&["md5sum"], &bytes).unwrap();
    bytes.extend(String::from_utf8(line).unwrap().replace('-', "AP.tar").as_bytes());
    bytes
}

/// A sparse image of `image`, in which runs of equal blocks are fill chunks and zeros are left out.
pub fn sparse(image: &[u8]) -> Vec<u8> {
    const BLOCK: usize = 4096;
    assert!(image.len().is_multiple_of(BLOCK));
    let mut chunks = Vec::new();
    for block in image.chunks(BLOCK) {
        let fill: [u8; 4] = block[..4].try_into().unwrap();
        let is_fill = block.chunks(4).all(|word| word == fill);
        let (kind, data): (u16, &[u8]) = match (is_fill, fill) {
            (true, [0, 0, 0, 0]) => (0xcac3, &[]),
            (true, _) => (0xcac2, &fill),
            (false, _) => (0xcac1, block),
        };
        let mut chunk = kind.to_le_bytes().to_vec();
        chunk.extend([0, 0]);
        chunk.extend(1u32.to_le_bytes());
        chunk.extend((12 + data.len() as u32).to_le_bytes());
        chunk.extend(data);
        chunks.push(chunk);
    }
    // A checksum, which covers no block.
    chunks.push([&0xcac4u16.to_le_bytes()[..], &[0; 6], &16u32.to_le_bytes(), &[0; 4]].concat());
    let mut bytes = 0xed26_ff3a_u32.to_le_bytes().to_vec();
    for half in [1u16, 0, 28, 12] {
        bytes.extend(half.to_le_bytes());
    }
    for word in [BLOCK, image.len() / BLOCK, chunks.len(), 0] {
        bytes.extend((word as u32).to_le_bytes());
    }
    bytes.extend(chunks.concat());
    bytes
}

/// A super image with these logical partitions, each in two extents if it has two sectors, with a sector
/// of zeros (which takes no place) at its end.
pub fn super_image(partitions: &[(&str, &[u8])]) -> Vec<u8> {
    const METADATA: usize = 4096;
    const DATA: usize = 64 << 10;
    let mut image = vec![0; DATA];
    let (mut table, mut extents) = (Vec::new(), Vec::new());
    let mut extent = |sectors: usize, kind: u32, sector: usize| {
        extents.extend((sectors as u64).to_le_bytes());
        extents.extend(kind.to_le_bytes());
        extents.extend((sector as u64).to_le_bytes());
        extents.extend(0u32.to_le_bytes());
    };
    let mut count = 0u32;
    for (name, bytes) in partitions {
        assert!(bytes.len().is_multiple_of(512));
        let mut entry = name.as_bytes().to_vec();
        entry.resize(36, 0);
        let first = count;
        let (one, two) = bytes.split_at(bytes.len() / 1024 * 512);
        // The second part comes first in the image.
        let places: Vec<usize> = [two, one]
            .iter()
            .map(|part| {
                let at = image.len() / 512;
                image.extend_from_slice(part);
                at
            })
            .collect();
        for (part, place) in [(one, places[1]), (two, places[0])] {
            if !part.is_empty() {
                extent(part.len() / 512, 0, place);
                count += 1;
            }
        }
        if !bytes.is_empty() {
            extent(1, 1, 0);
            count += 1;
        }
        for word in [1, first, count - first, 0] {
            entry.extend(u32::to_le_bytes(word));
        }
        table.extend(entry);
    }
    let sum = |bytes: &[u8]| Sha256::digest(bytes).to_vec();
    let mut geometry: Vec<u8> =
        [0x616c_4467_u32, 52].iter().flat_map(|w| w.to_le_bytes()).collect();
    geometry.resize(40, 0);
    for word in [METADATA as u32, 2, 4096] {
        geometry.extend(word.to_le_bytes());
    }
    let checksum = sum(&geometry);
    geometry[8..40].copy_from_slice(&checksum);
    let tables = [&table[..], &extents].concat();
    let mut header = 0x414c_5030_u32.to_le_bytes().to_vec();
    header.extend([10, 0, 2, 0]);
    header.extend(256u32.to_le_bytes());
    header.resize(44, 0);
    header.extend((tables.len() as u32).to_le_bytes());
    header.extend(sum(&tables));
    for word in [0, partitions.len() as u32, 52, table.len() as u32, count, 24] {
        header.extend(word.to_le_bytes());
    }
    header.resize(256, 0);
    let checksum = sum(&header);
    header[12..44].copy_from_slice(&checksum);
    for at in [4096, 8192] {
        image[at..at + geometry.len()].copy_from_slice(&geometry);
    }
    for slot in 0..4 {
        let at = 12288 + slot * METADATA;
        let metadata = [&header[..], &tables].concat();
        image[at..at + metadata.len()].copy_from_slice(&metadata);
    }
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
