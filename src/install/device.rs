//! A partition as a block device of Linux.

use std::path::Path;

/// The name of the block device `number` (`st_rdev`) in its partition table, below `root`; None where it has none.
pub fn partition_name(root: &Path, number: u64) -> Option<String> {
    let (major, minor) = split(number);
    let directory = root.join("sys/dev/block").join(format!("{major}:{minor}"));
    let uevent = std::fs::read_to_string(directory.join("uevent")).ok()?;
    let named = uevent.lines().find_map(|line| line.strip_prefix("PARTNAME="))?;
    (!named.is_empty()).then(|| named.to_owned())
}

/// Linux's encoding of `dev_t`.
fn split(number: u64) -> (u64, u64) {
    let major = (number >> 8) & 0xfff | (number >> 32) & 0xffff_f000;
    let minor = number & 0xff | (number >> 12) & 0xffff_ff00;
    (major, minor)
}

#[cfg(target_os = "linux")]
mod node {
    use std::fs::File;
    use std::io;
    use std::os::fd::AsFd;
    use std::os::unix::fs::{FileExt, OpenOptionsExt};
    use std::path::Path;

    use crate::install::error::Refusal;
    use crate::install::write::Partition;

    /// An open block device that nothing else has.
    #[derive(Debug)]
    pub struct Node {
        file: File,
        size: u64,
    }

    impl Node {
        /// Open it for writing. The kernel refuses that while it is mounted or part of another device.
        ///
        /// # Errors
        /// [`Refusal::NotBlockDevice`], [`Refusal::InUse`], [`Refusal::Open`].
        pub fn open(path: &Path) -> Result<Self, Refusal> {
            use std::os::unix::fs::FileTypeExt;
            let metadata = std::fs::metadata(path).map_err(Refusal::Open)?;
            if !metadata.file_type().is_block_device() {
                return Err(Refusal::NotBlockDevice);
            }
            let exclusive = rustix::fs::OFlags::EXCL.bits().cast_signed();
            let mut options = File::options();
            options.read(true).write(true).custom_flags(exclusive);
            let mut file = options.open(path).map_err(|error| {
                match error.kind() == io::ErrorKind::ResourceBusy {
                    true => Refusal::InUse,
                    false => Refusal::Open(error),
                }
            })?;
            let size = io::Seek::seek(&mut file, io::SeekFrom::End(0)).map_err(Refusal::Open)?;
            Ok(Node { file, size })
        }
    }

    impl Partition for Node {
        fn size(&self) -> u64 {
            self.size
        }

        fn read(&mut self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
            self.file.read_exact_at(bytes, offset)
        }

        fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
            self.file.write_all_at(bytes, offset)
        }

        fn sync(&mut self) -> io::Result<()> {
            self.file.sync_all()?;
            // what is read after this comes from the medium
            let advice = rustix::fs::Advice::DontNeed;
            Ok(rustix::fs::fadvise(self.file.as_fd(), 0, None, advice)?)
        }
    }
}

#[cfg(target_os = "linux")]
pub use node::Node;
