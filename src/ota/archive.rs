//! Zip files: an OTA with payload.bin, a factory zip with image-DEVICE-BUILD.zip, which contains the
//! images, or a zip of images.

use std::io::{self, Cursor, Read, Write};

use zip::{CompressionMethod, ZipArchive};

use super::Error;

/// A zip file over borrowed bytes.
#[derive(Debug)]
pub struct Archive<'a> {
    bytes: &'a [u8],
    zip: ZipArchive<Cursor<&'a [u8]>>,
    members: Vec<Member>,
}

/// A file in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name, with directories.
    pub name: String,
    /// Its decompressed size in bytes.
    pub size: u64,
    index: usize,
}

/// The contents of a zip file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contents {
    /// A payload.
    Payload(Member),
    /// A nested zip file with the images.
    Zip(Member),
    /// Images.
    Images,
}

impl<'a> Archive<'a> {
    /// Whether `bytes` start with the magic of a zip file.
    pub fn starts(bytes: &[u8]) -> bool {
        bytes.starts_with(b"PK\x03\x04")
    }

    /// Read the directory of a zip file.
    ///
    /// # Errors
    /// [`Error::Zip`].
    pub fn open(bytes: &'a [u8]) -> Result<Self, Error> {
        let mut zip = ZipArchive::new(Cursor::new(bytes))?;
        let mut members = Vec::new();
        for index in 0..zip.len() {
            let file = zip.by_index_raw(index)?;
            if file.is_file() {
                members.push(Member { name: file.name()?.into_owned(), size: file.size(), index });
            }
        }
        Ok(Archive { bytes, zip, members })
    }

    /// Classify the contents of the zip file.
    ///
    /// # Errors
    /// [`Error::NothingInside`].
    pub fn contents(&self) -> Result<Contents, Error> {
        let named = |wanted: &dyn Fn(&str) -> bool| {
            self.members.iter().find(|member| wanted(member.file_name())).cloned()
        };
        if let Some(payload) = named(&|name| name == "payload.bin") {
            return Ok(Contents::Payload(payload));
        }
        if self.images().next().is_some() {
            return Ok(Contents::Images);
        }
        let nested = named(&|name| name.starts_with("image-") && name.ends_with(".zip"));
        nested.map(Contents::Zip).ok_or(Error::NothingInside)
    }

    /// The images in it, by partition.
    pub fn images(&self) -> impl Iterator<Item = (&str, &Member)> {
        self.members.iter().filter_map(|member| {
            let partition = member.file_name().strip_suffix(".img")?;
            Some((partition, member))
        })
    }

    /// The image of a partition.
    ///
    /// # Errors
    /// [`Error::NoPartition`].
    pub fn image(&self, wanted: &str) -> Result<&Member, Error> {
        let found = self.images().find(|(partition, _)| *partition == wanted);
        let no_image = || Error::no_partition(wanted, self.images().map(|(known, _)| known));
        found.map(|(_, member)| member).ok_or_else(no_image)
    }

    /// The bytes of a file that is stored without compression, such as payload.bin; None for a
    /// compressed file.
    ///
    /// # Errors
    /// [`Error::Zip`], [`Error::Truncated`].
    pub fn stored(&mut self, member: &Member) -> Result<Option<&'a [u8]>, Error> {
        let file = self.zip.by_index(member.index)?;
        if file.compression() != CompressionMethod::Stored {
            return Ok(None);
        }
        let Some(offset) = file.data_start() else { return Ok(None) };
        let range = usize::try_from(offset).ok().zip(usize::try_from(member.size).ok());
        let range = range.and_then(|(start, size)| Some(start..start.checked_add(size)?));
        let bytes = range.and_then(|range| self.bytes.get(range));
        bytes.map(Some).ok_or_else(|| Error::Truncated {
            what: member.name.clone(),
            offset,
            size: member.size,
            end: self.bytes.len() as u64,
        })
    }

    /// Extract a file and verify its size and CRC.
    ///
    /// # Errors
    /// [`Error::Zip`], [`Error::Io`], [`Error::EntrySize`].
    pub fn copy(&mut self, member: &Member, out: &mut dyn Write) -> Result<(), Error> {
        let file = self.zip.by_index(member.index)?;
        // At most one byte more than the size in the directory, to detect a longer stream.
        let mut bounded = file.take(member.size.saturating_add(1));
        let copied = io::copy(&mut bounded, out)?;
        match copied == member.size {
            true => Ok(()),
            false => {
                let (name, expected) = (member.name.clone(), member.size);
                Err(Error::EntrySize { name, found: copied, expected })
            }
        }
    }
}

impl Member {
    fn file_name(&self) -> &str {
        self.name.rsplit('/').next().unwrap_or(&self.name)
    }
}
