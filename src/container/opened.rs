//! The images in a container: chosen, and read.

use std::io::{Read, Write};

use super::blocks::Blocks;
use super::entry::{self, BOOT_SET, EXTRACTED, Entry, EntryKind, find, has_boot};
use super::error::{Error, names};
use super::form::Form;
use super::limits::{HEAD, budget};
use super::sparse::SparseImage;
use super::spill::Spill;
use super::stream::{self, Streams};
use super::super_image::Logical;
use super::tar::{self, TarFile};
use super::unpack::{content, require_size, unpack, within};
use super::zip::{Archive, Member};
use crate::compression::Format;
use crate::image;
use crate::ota::Payload;

/// Writes one image.
pub type Fill<'f> = dyn FnMut(&mut dyn Write) -> Result<(), Error> + 'f;

/// A container, opened down to the images in it.
pub struct Opened<'a> {
    forms: Vec<Form>,
    entries: Vec<Entry>,
    /// The names of all files, for messages.
    files: String,
    source: Source<'a>,
    spill: &'a dyn Spill,
}

/// Where the images are.
pub(super) enum Source<'a> {
    Payload(Payload<'a>),
    Zip(Archive<'a>, Vec<Member>),
    /// A tar archive in memory.
    Tar(&'a [u8], Vec<TarFile>),
    /// A compressed tar archive, which is read from its start each time.
    TarStream(Format, &'a [u8]),
    Super(&'a dyn Blocks, Vec<Logical>),
    Stream(Format, &'a [u8]),
    Sparse(SparseImage<'a>),
}

impl<'a> Opened<'a> {
    pub(super) fn new(
        forms: Vec<Form>,
        entries: Vec<Entry>,
        source: Source<'a>,
        spill: &'a dyn Spill,
    ) -> Self {
        let files = names(entries.iter().map(|entry| entry.partition.as_str()));
        Opened { forms, entries, files, source, spill }
    }

    /// What the file is, and what is in it, outermost first.
    pub fn forms(&self) -> &[Form] {
        &self.forms
    }

    /// The images in it.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The container that has the images.
    fn form(&self) -> Form {
        self.forms.last().copied().unwrap_or(Form::Plain)
    }

    /// The images that a device boots with: [`BOOT_SET`], or the kernels where there is no boot image.
    ///
    /// # Errors
    /// [`Error::NoBootImage`], [`Error::NothingInside`], [`Error::Ambiguous`].
    pub fn boot_set(&mut self) -> Result<Vec<usize>, Error> {
        self.select(BOOT_SET)
    }

    /// The images that are extracted by default: [`EXTRACTED`].
    ///
    /// # Errors
    /// As [`Opened::boot_set`].
    pub fn extracted(&mut self) -> Result<Vec<usize>, Error> {
        self.select(EXTRACTED)
    }

    fn select(&mut self, partitions: &[&str]) -> Result<Vec<usize>, Error> {
        if self.form().is_around_one() {
            return Ok((0..self.entries.len()).collect());
        }
        let mut chosen = Vec::new();
        for partition in partitions {
            chosen.extend(find(&self.entries, partition)?);
        }
        if !has_boot(&self.entries) {
            chosen.extend(entry::kernels(&self.entries));
        }
        if chosen.is_empty() {
            chosen = (0..self.entries.len()).filter(|at| self.is_boot_image(*at)).collect();
        }
        match (chosen.is_empty(), self.entries.is_empty()) {
            (false, _) => Ok(chosen),
            (true, true) => {
                Err(Error::NothingInside { form: self.form(), names: self.files.clone() })
            }
            (true, false) => {
                Err(Error::NoBootImage { wanted: partitions.join(", "), known: self.files.clone() })
            }
        }
    }

    /// Whether a file in an archive has the header of a boot image, whatever its name is.
    fn is_boot_image(&mut self, at: usize) -> bool {
        let entry = &self.entries[at];
        let head = match &mut self.source {
            Source::Zip(archive, members) => archive.head(&members[entry.index], HEAD),
            Source::Tar(bytes, files) => {
                within(bytes, &files[entry.index]).unwrap_or_default().to_vec()
            }
            _ => return false,
        };
        image::Header::starts(&head)
    }

    /// The images of these partitions.
    ///
    /// # Errors
    /// [`Error::NoPartition`], [`Error::Ambiguous`].
    pub fn named(&self, partitions: &[String]) -> Result<Vec<usize>, Error> {
        let find = |wanted: &String| {
            find(&self.entries, wanted)?.ok_or_else(|| Error::NoPartition {
                wanted: wanted.clone(),
                known: self.files.clone(),
            })
        };
        partitions.iter().map(find).collect()
    }

    /// The only image.
    ///
    /// # Errors
    /// [`Error::Several`], [`Error::KernelOnly`], [`Error::NothingInside`].
    pub fn only(&mut self) -> Result<usize, Error> {
        let form = self.form();
        match &self.entries[..] {
            [one] if one.kind == EntryKind::Image => Ok(0),
            [] => Err(Error::NothingInside { form, names: self.files.clone() }),
            all if all.iter().all(|own| own.kind == EntryKind::Kernel) => {
                Err(Error::KernelOnly { form, name: all[0].path.clone() })
            }
            all => {
                let names = names(all.iter().map(|own| own.partition.as_str()));
                let chosen = self.boot_set().unwrap_or_default();
                let boot_set = chosen.iter().map(|at| self.entries[*at].partition.clone());
                Err(Error::Several { form, names, boot_set: boot_set.collect() })
            }
        }
    }

    /// Call `take` for each of the images `wanted`, with what writes it: without the compression of the
    /// image in the container, and otherwise byte for byte. At most `limit` bytes of each are written.
    ///
    /// # Errors
    /// Damage; those of `take`.
    pub fn each<E: From<Error>>(
        &mut self,
        wanted: &[usize],
        limit: u64,
        take: &mut dyn FnMut(&Entry, &mut Fill<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        if let Source::TarStream(format, file) = &self.source {
            return self.each_in_stream(*format, file, wanted, limit, take);
        }
        for at in wanted {
            let entry = self.entries[*at].clone();
            require_size(&entry.path, entry.size.unwrap_or(0), limit)?;
            take(&entry, &mut |out| self.write(&entry, limit, out))?;
        }
        Ok(())
    }

    /// One pass over a compressed archive, in its order.
    fn each_in_stream<E: From<Error>>(
        &self,
        format: Format,
        file: &[u8],
        wanted: &[usize],
        limit: u64,
        take: &mut dyn FnMut(&Entry, &mut Fill<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut left: Vec<&Entry> = wanted.iter().map(|at| &self.entries[*at]).collect();
        let mut number = 0;
        tar::walk::<E>(Streams::new(format, file, budget(file.len()))?, &mut |found, reader| {
            let at = left.iter().position(|entry| entry.index == number);
            number += 1;
            let Some(at) = at else { return Ok(true) };
            let entry = left.swap_remove(at);
            require_size(&found.path, found.size, limit)?;
            take(entry, &mut |out| self.member(reader, &found.path, found.size, limit, out))?;
            Ok(!left.is_empty())
        })
    }

    fn write(&mut self, entry: &Entry, limit: u64, out: &mut dyn Write) -> Result<(), Error> {
        let spill = self.spill;
        match &mut self.source {
            Source::Payload(payload) => {
                Ok(payload.write(payload.partition(&entry.partition)?, out)?)
            }
            Source::Stream(format, file) => stream::copy(*format, file, limit, out),
            Source::Sparse(sparse) => sparse.copy(0, sparse.size(), out),
            Source::Super(blocks, logical) => logical[entry.index].copy(*blocks, out),
            Source::Tar(archive, files) => {
                content(within(archive, &files[entry.index])?, &entry.path, limit, out)
            }
            Source::Zip(archive, members) => {
                let member = members[entry.index].clone();
                require_size(&member.name, member.size, limit)?;
                let mut reader = archive.reader(&member)?;
                unpack(&mut reader, &member.name, member.size, limit, spill, out)
            }
            Source::TarStream(..) => Ok(()),
        }
    }

    fn member(
        &self,
        reader: &mut dyn Read,
        name: &str,
        size: u64,
        limit: u64,
        out: &mut dyn Write,
    ) -> Result<(), Error> {
        unpack(reader, name, size, limit, self.spill, out)
    }
}
