//! The newc cpio format (`Documentation/driver-api/early-userspace/buffer-format.rst`): magic
//! `070701`, or `070702` with a checksum, thirteen fields of eight hex digits, the name with
//! its NUL, padding to 4 bytes, the data, padding to 4 bytes.
//!
//! Nothing is normalised: duplicates, order, inode numbers, modes, times and name bytes come
//! out unchanged, and an [`Entry`] keeps its header's own bytes.

mod reader;
mod writer;

pub(crate) use reader::Reader;
pub(crate) use reader::leading_zeros;
pub use writer::CpioWriter;
pub(crate) use writer::FIRST_INO;

use std::io;

/// Length of a header in bytes.
pub(crate) const HEADER_LEN: usize = 110;
/// The name of the entry that ends an archive. The kernel forgets hard links there and goes on.
pub const TRAILER: &[u8] = b"TRAILER!!!";
/// `PATH_MAX`: the longest name in bytes, its NUL included.
pub const NAME_MAX: u32 = 4096;

/// The names of the fields after the magic, in order.
const FIELDS: [&str; 13] = [
    "ino",
    "mode",
    "uid",
    "gid",
    "nlink",
    "mtime",
    "filesize",
    "devmajor",
    "devminor",
    "rdevmajor",
    "rdevminor",
    "namesize",
    "check",
];

/// A header's fields as numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Header {
    /// Magic `070702`: `check` is the sum of the data's bytes.
    pub crc: bool,
    /// Inode number. Entries of one archive with `nlink` above 1 and the same `ino`,
    /// `devmajor`, `devminor` and type are one file.
    pub ino: u32,
    /// `st_mode`: type and permissions.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Number of links.
    pub nlink: u32,
    /// Seconds since 1970.
    pub mtime: u32,
    /// Length of the data in bytes.
    pub filesize: u32,
    /// Device that the file was on, major number.
    pub devmajor: u32,
    /// Device that the file was on, minor number.
    pub devminor: u32,
    /// Major number of a device node.
    pub rdevmajor: u32,
    /// Minor number of a device node.
    pub rdevminor: u32,
    /// Length of the name in bytes, its NUL included.
    pub namesize: u32,
    /// Sum of the data's bytes modulo 2^32 when `crc`; else usually 0.
    pub check: u32,
}

impl Header {
    fn from_fields(crc: bool, fields: [u32; 13]) -> Self {
        let [
            ino,
            mode,
            uid,
            gid,
            nlink,
            mtime,
            filesize,
            devmajor,
            devminor,
            rdevmajor,
            rdevminor,
            namesize,
            check,
        ] = fields;
        Header {
            crc,
            ino,
            mode,
            uid,
            gid,
            nlink,
            mtime,
            filesize,
            devmajor,
            devminor,
            rdevmajor,
            rdevminor,
            namesize,
            check,
        }
    }

    /// The bytes of this header, hex digits in upper case as GNU cpio and the kernel's
    /// `gen_init_cpio` write them.
    pub fn to_bytes(&self) -> [u8; HEADER_LEN] {
        let fields = [
            self.ino,
            self.mode,
            self.uid,
            self.gid,
            self.nlink,
            self.mtime,
            self.filesize,
            self.devmajor,
            self.devminor,
            self.rdevmajor,
            self.rdevminor,
            self.namesize,
            self.check,
        ];
        let mut bytes = [b'0'; HEADER_LEN];
        let (magic, digits) = bytes.split_at_mut(6);
        magic.copy_from_slice(if self.crc { b"070702" } else { b"070701" });
        for (text, value) in digits.chunks_exact_mut(8).zip(fields) {
            for (place, digit) in text.iter_mut().rev().enumerate() {
                *digit = b"0123456789ABCDEF"[(value >> (4 * place) & 0xf) as usize];
            }
        }
        bytes
    }

    /// Why the kernel does not unpack it, if it does not: `do_header` in `init/initramfs.c`.
    pub(super) fn skipped(&self) -> Option<SkippedFor> {
        let size = self.filesize;
        if !(1..=NAME_MAX).contains(&self.namesize) {
            return Some(SkippedFor::Name(self.namesize));
        }
        match self.file_type() {
            FileType::Regular => None,
            FileType::Symlink => (size > NAME_MAX).then_some(SkippedFor::Target(size)),
            _ => (size > 0).then_some(SkippedFor::Data(size)),
        }
    }

    fn is_unpacked(&self) -> bool {
        self.skipped().is_none()
    }

    /// Read the fields of `bytes`; `offset` is where they are, for messages.
    fn parse(bytes: &[u8; HEADER_LEN], offset: u64) -> Result<Self, Error> {
        let (magic, digits) = bytes.split_at(6);
        let crc = match magic {
            b"070701" => false,
            b"070702" => true,
            _ => return Err(Error::Magic { offset, found: lossy(magic) }),
        };
        let mut fields = [0; 13];
        for (index, (value, text)) in fields.iter_mut().zip(digits.chunks_exact(8)).enumerate() {
            *value = hex(text).ok_or_else(|| Error::Field {
                entry: String::new(),
                field: FIELDS[index],
                offset: offset + 6 + 8 * index as u64,
                found: lossy(text),
                expected: "eight hex digits",
            })?;
        }
        Ok(Header::from_fields(crc, fields))
    }

    /// The kind of file, from `mode`.
    pub(crate) fn file_type(&self) -> FileType {
        match self.mode & 0o170_000 {
            0o100_000 => FileType::Regular,
            0o040_000 => FileType::Directory,
            0o120_000 => FileType::Symlink,
            0o020_000 => FileType::CharDevice,
            0o060_000 => FileType::BlockDevice,
            0o010_000 => FileType::Fifo,
            0o140_000 => FileType::Socket,
            _ => FileType::Unknown,
        }
    }

    /// What makes entries of one archive the same file; none when the kernel makes no link.
    pub fn link_key(&self) -> Option<LinkKey> {
        (self.nlink >= 2).then_some(LinkKey {
            ino: self.ino,
            devmajor: self.devmajor,
            devminor: self.devminor,
            file_type: self.mode & 0o170_000,
        })
    }
}

/// Identifies a hard-linked file within one archive, as `find_link` in `init/initramfs.c` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkKey {
    ino: u32,
    devmajor: u32,
    devminor: u32,
    file_type: u32,
}

/// What is no hex digit in [`DIGITS`].
const NO_DIGIT: u8 = 0x80;

/// The value of each byte as a hex digit.
const DIGITS: [u8; 256] = {
    let mut digits = [NO_DIGIT; 256];
    let mut value = 0;
    while value < 16 {
        digits[b"0123456789abcdef"[value] as usize] = value as u8;
        digits[b"0123456789ABCDEF"[value] as usize] = value as u8;
        value += 1;
    }
    digits
};

fn hex(text: &[u8]) -> Option<u32> {
    // No branch for each digit: an archive has a hundred of them for every file.
    let (value, all) = text.iter().fold((0, 0), |(value, all), byte| {
        let digit = DIGITS[usize::from(*byte)];
        (value << 4 | u32::from(digit), all | digit)
    });
    (all & NO_DIGIT == 0).then_some(value)
}

/// What an entry makes in the file tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FileType {
    /// A regular file; the data is its contents.
    Regular,
    /// A directory.
    Directory,
    /// A symbolic link; the data is its target.
    Symlink,
    /// A character device `rdevmajor:rdevminor`.
    CharDevice,
    /// A block device `rdevmajor:rdevminor`.
    BlockDevice,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A type that the kernel skips.
    Unknown,
}

/// One entry of an archive, without its data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where the header starts, in bytes from the start of the unpacked segment.
    pub offset: u64,
    /// The header's fields.
    pub header: Header,
    /// The bytes of the header.
    pub raw: [u8; HEADER_LEN],
    /// The bytes of the name, without the final NUL; any bytes.
    pub name: Vec<u8>,
}

impl Entry {
    /// The name as the kernel reads it: up to the first NUL.
    pub fn path(&self) -> &[u8] {
        self.name.split(|byte| *byte == 0).next().unwrap_or_default()
    }

    /// Whether the kernel unpacks it: see [`SkippedFor`].
    pub(crate) fn is_unpacked(&self) -> bool {
        self.header.is_unpacked()
    }

    /// Is this the end of an archive rather than a file?
    pub fn is_trailer(&self) -> bool {
        self.path() == TRAILER
    }

    /// The kind of file.
    pub fn file_type(&self) -> FileType {
        self.header.file_type()
    }

    /// The first byte after the entry and its padding, in the unpacked segment.
    pub(crate) fn end(&self) -> u64 {
        let name = align4(HEADER_LEN as u64 + u64::from(self.header.namesize));
        self.offset + align4(name + u64::from(self.header.filesize))
    }
}

fn align4(length: u64) -> u64 {
    length.next_multiple_of(4)
}

fn lossy(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

/// Why the kernel skips an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SkippedFor {
    /// The length of its name with its NUL, in bytes.
    #[error("its name has {0} bytes with its NUL, expected 1 to {NAME_MAX}")]
    Name(u32),
    /// The length of a symbolic link's target in bytes.
    #[error("the target of a symbolic link has {0} bytes, expected at most {NAME_MAX}")]
    Target(u32),
    /// The length of the data of anything but a file or a link, in bytes.
    #[error("it has {0} bytes of data and is not a file")]
    Data(u32),
}

/// A damaged archive. Offsets are in bytes from the start of the unpacked segment.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes could not be read; for a compressed segment, not be unpacked.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The archive ends inside an entry.
    #[error("cpio entry \"{entry}\" at offset {offset:#x}: the archive ends inside its {what}")]
    Truncated {
        /// The entry's name, empty when it ends before it.
        entry: String,
        /// Where the entry starts.
        offset: u64,
        /// The part that is cut short.
        what: &'static str,
    },
    /// A header that is not a newc header.
    #[error(
        "cpio header at offset {offset:#x}: magic is \"{found}\", expected 070701 or 070702 (newc)"
    )]
    Magic {
        /// Where the header starts.
        offset: u64,
        /// What is there.
        found: String,
    },
    /// A field that cannot be.
    #[error(
        "cpio entry \"{entry}\": {field} at offset {offset:#x} is \"{found}\", expected {expected}"
    )]
    Field {
        /// The entry's name, empty when it is not known yet.
        entry: String,
        /// The field.
        field: &'static str,
        /// Where the field is.
        offset: u64,
        /// What is there.
        found: String,
        /// What should.
        expected: &'static str,
    },
    /// Something other than zeros or an entry between entries.
    #[error(
        "offset {offset:#x}: junk within the archive, byte {byte:#04x} where a header or zero padding was expected"
    )]
    Junk {
        /// Where.
        offset: u64,
        /// The byte.
        byte: u8,
    },
    /// A header that does not start at a multiple of 4.
    #[error("cpio header at offset {offset:#x}: broken padding, expected a multiple of 4")]
    BrokenPadding {
        /// Where the header starts.
        offset: u64,
    },
    /// The data of a `070702` entry does not add up to its `check` field.
    #[error(
        "cpio entry \"{entry}\" at offset {offset:#x}: bad data checksum {found:08x}, its header says {expected:08x}"
    )]
    Checksum {
        /// The entry's name.
        entry: String,
        /// Where the entry starts.
        offset: u64,
        /// What the header says.
        expected: u32,
        /// What the data gives.
        found: u32,
    },
}
