//! Opens a file down to its images, and reads them.

use std::io::{self, Cursor, Read, Write};

use super::blocks::Blocks;
use super::entry::{
    self, BOOT_SET, EXTRACTED, Entry, EntryKind, file_name, find, has_boot, last_of_each_path,
};
use super::error::{Error, names};
use super::form::Form;
use super::limits::{HEAD, MAX_DEPTH, budget};
use super::recognise::{decoded_head, recognise, recognise_blocks};
use super::sparse::SparseImage;
use super::spill::Spill;
use super::stream::{self, Streams};
use super::super_image::{self, Logical};
use super::tar::{self, TarFile};
use super::zip::{Archive, Member};
use crate::compression::Format;
use crate::image::{self, Image, ImageKind};
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
enum Source<'a> {
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

/// Open a file, also a container in another one. `name` is its file name; what the file is does not
/// depend on it.
///
/// # Errors
/// [`Error::NotContainer`] and those of the formats; those of `act`.
pub fn open<T, E: From<Error>>(
    file: &[u8],
    name: &str,
    spill: &dyn Spill,
    act: impl FnOnce(&mut Opened<'_>) -> Result<T, E>,
) -> Result<T, E> {
    Opener { spill, forms: Vec::new() }.open(file, name, act)
}

/// The state of opening containers in containers.
struct Opener<'s> {
    spill: &'s dyn Spill,
    /// Outermost first.
    forms: Vec<Form>,
}

impl Opener<'_> {
    fn open<T, E: From<Error>>(
        mut self,
        file: &[u8],
        name: &str,
        act: impl FnOnce(&mut Opened<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let form = recognise(file);
        if self.forms.len() >= MAX_DEPTH {
            return Err(Error::TooDeep.into());
        }
        self.forms.push(form);
        match form {
            Form::Plain => Err(not_container(file).into()),
            Form::Payload => {
                let payload = Payload::parse(file).map_err(Error::Payload)?;
                let partitions = payload.partitions().iter().enumerate();
                let entries =
                    partitions.map(|(at, own)| Entry::of_partition(&own.name, own.size, at));
                self.act(entries.collect(), Source::Payload(payload), act)
            }
            Form::Zip => self.zip(file, act),
            Form::Tar => self.tar(file, act),
            Form::Compressed(format) => self.compressed(format, file, name, act),
            Form::Sparse => {
                let sparse = SparseImage::parse(file)?;
                match recognise_blocks(&sparse) {
                    Form::Super => {
                        self.forms.push(Form::Super);
                        self.logical(&sparse, act)
                    }
                    _ => {
                        let entry = Entry::only(name, Some(sparse.size()));
                        self.act(vec![entry], Source::Sparse(sparse), act)
                    }
                }
            }
            Form::Super => self.logical(&file, act),
        }
    }

    fn act<'a, T, E: From<Error>>(
        self,
        entries: Vec<Entry>,
        source: Source<'a>,
        act: impl FnOnce(&mut Opened<'_>) -> Result<T, E>,
    ) -> Result<T, E>
    where
        Self: 'a,
    {
        let Opener { spill, forms } = self;
        let files = names(entries.iter().map(|entry| entry.partition.as_str()));
        act(&mut Opened { forms, entries, files, source, spill })
    }

    fn logical<T, E: From<Error>>(
        self,
        blocks: &dyn Blocks,
        act: impl FnOnce(&mut Opened<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let logical = super_image::partitions(blocks)?;
        let entries = logical.iter().enumerate();
        let entries = entries.map(|(at, own)| Entry::of_partition(&own.name, own.size, at));
        let entries = entries.collect();
        self.act(entries, Source::Super(blocks, logical), act)
    }

    /// An archive in a stream is read as a stream; any other container is decompressed.
    fn compressed<T, E: From<Error>>(
        mut self,
        format: Format,
        file: &[u8],
        name: &str,
        act: impl FnOnce(&mut Opened<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        match recognise(&decoded_head(format, file)) {
            Form::Plain => {
                let entry = Entry::only(name, None);
                self.act(vec![entry], Source::Stream(format, file), act)
            }
            Form::Tar => {
                self.forms.push(Form::Tar);
                let mut files = Vec::new();
                tar::walk::<Error>(
                    Streams::new(format, file, budget(file.len()))?,
                    &mut |file, _| {
                        files.push(file);
                        Ok(true)
                    },
                )?;
                let paths = files.iter().map(|file| (file.path.as_str(), file.size));
                let entries = entries_of(paths);
                self.act(entries, Source::TarStream(format, file), act)
            }
            _ => {
                let limit = budget(file.len());
                let kept = self.spill.keep(&mut |out| stream::copy(format, file, limit, out))?;
                let name = Entry::only(name, None).file;
                self.open((*kept).as_ref(), &name, act)
            }
        }
    }

    fn zip<T, E: From<Error>>(
        self,
        file: &[u8],
        act: impl FnOnce(&mut Opened<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut archive = Archive::open(file)?;
        let members = archive.members().to_vec();
        let files: Vec<_> = members.iter().map(|own| (own.name.as_str(), own.size)).collect();
        let mut head = |at: usize| archive.head(&members[at], HEAD);
        let entries = with_kernels(entries_of(files.iter().copied()), &mut head);
        let Some(inner) = nested(Form::Zip, &files, &entries, &mut head)? else {
            let source = Source::Zip(archive, members.clone());
            return self.act(entries, source, act);
        };
        let member = &members[inner];
        if let Some(bytes) = archive.stored(member)? {
            return self.open(bytes, file_name(&member.name), act);
        }
        require_size(&member.name, member.size, budget(file.len()))?;
        let kept = self.spill.keep(&mut |out| {
            let mut reader = archive.reader(member)?;
            copy(&mut reader, &member.name, member.size, out)
        })?;
        self.open((*kept).as_ref(), file_name(&member.name), act)
    }

    fn tar<T, E: From<Error>>(
        self,
        file: &[u8],
        act: impl FnOnce(&mut Opened<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let found = tar::files(Cursor::new(file))?;
        let files: Vec<_> = found.iter().map(|own| (own.path.as_str(), own.size)).collect();
        let mut head = |at: usize| {
            let bytes = within(file, &found[at]).unwrap_or_default();
            bytes[..bytes.len().min(HEAD as usize)].to_vec()
        };
        let entries = with_kernels(entries_of(files.iter().copied()), &mut head);
        match nested(Form::Tar, &files, &entries, &mut head)? {
            Some(inner) => {
                let bytes = within(file, &found[inner])?;
                self.open(bytes, file_name(&found[inner].path), act)
            }
            None => {
                let source = Source::Tar(file, found.clone());
                self.act(entries, source, act)
            }
        }
    }
}

/// The images and kernels among the files of an archive, given by path and size.
fn entries_of<'f>(files: impl Iterator<Item = (&'f str, u64)>) -> Vec<Entry> {
    let files = files.enumerate();
    last_of_each_path(
        files.filter_map(|(index, (path, size))| Entry::of_file(path, size, index)).collect(),
    )
}

/// Leave out what only has the name of a kernel.
fn with_kernels(entries: Vec<Entry>, head: &mut dyn FnMut(usize) -> Vec<u8>) -> Vec<Entry> {
    let mut is_kernel =
        |index| Image::parse(&head(index)).is_ok_and(|image| image.kind() == ImageKind::Kernel);
    let wanted = |own: &Entry| own.kind == EntryKind::Image || is_kernel(own.index);
    entries.into_iter().filter(wanted).collect()
}

/// The index of the file with the images: a payload, or another archive where the images of a device are
/// not in this one.
fn nested(
    form: Form,
    files: &[(&str, u64)],
    entries: &[Entry],
    head: &mut dyn FnMut(usize) -> Vec<u8>,
) -> Result<Option<usize>, Error> {
    if let Some(payload) = files.iter().position(|(path, _)| file_name(path) == "payload.bin") {
        return Ok(Some(payload));
    }
    let is_here =
        |own: &Entry| own.kind == EntryKind::Kernel || EXTRACTED.contains(&own.partition.as_str());
    if entries.iter().any(is_here) {
        return Ok(None);
    }
    const ARCHIVES: &[&str] =
        &[".zip", ".tar", ".tar.md5", ".tgz", ".tar.gz", ".tar.xz", ".tar.lz4"];
    let archives = (0..files.len()).filter(|at| {
        let name = file_name(files[*at].0).to_ascii_lowercase();
        ARCHIVES.iter().any(|suffix| name.ends_with(suffix)) && is_archive(&head(*at))
    });
    let archives: Vec<usize> = archives.collect();
    // Google's name for the images, and Samsung's.
    let known = |at: &&usize| {
        let name = file_name(files[**at].0);
        name.starts_with("image-") || name.starts_with("AP_")
    };
    let named: Vec<usize> = archives.iter().filter(known).copied().collect();
    match (&named[..], &archives[..]) {
        ([one], _) | ([], [one]) => Ok(Some(*one)),
        ([], []) => Ok(None),
        _ => {
            let names = names(archives.iter().map(|at| files[*at].0));
            Err(Error::SeveralArchives { form, names })
        }
    }
}

fn is_archive(head: &[u8]) -> bool {
    matches!(recognise(head), Form::Zip | Form::Tar | Form::Compressed(_))
}

/// The contents of a file in a tar archive.
fn within<'a>(archive: &'a [u8], file: &TarFile) -> Result<&'a [u8], Error> {
    let start = usize::try_from(file.offset).ok();
    let range = start.zip(usize::try_from(file.size).ok());
    let range = range.and_then(|(start, size)| Some(start..start.checked_add(size)?));
    range.and_then(|range| archive.get(range)).ok_or_else(|| Error::EntrySize {
        name: file.path.clone(),
        found: (archive.len() as u64).saturating_sub(file.offset),
        expected: file.size,
    })
}

fn not_container(file: &[u8]) -> Error {
    let found = match Image::parse(file) {
        Ok(image) => format!("a {} image: the other commands take it as it is", image.kind()),
        Err(image::Error::UnknownMagic { found, hint }) => format!("{found}{hint}"),
        Err(error) => error.to_string(),
    };
    Error::NotContainer { found }
}

fn require_size(what: &str, size: u64, limit: u64) -> Result<(), Error> {
    match size <= limit {
        true => Ok(()),
        false => Err(Error::TooLarge { what: what.to_owned(), limit }),
    }
}

/// The error of copying out of an archive: the typed one within it, or that of the system.
fn copy_error(error: io::Error) -> Error {
    error.downcast::<Error>().unwrap_or_else(Error::Io)
}

/// Copy a file of an archive, which has `size` bytes.
fn copy(reader: &mut dyn Read, name: &str, size: u64, out: &mut dyn Write) -> Result<(), Error> {
    // At most one byte more, to detect a longer stream.
    let mut bounded = reader.take(size.saturating_add(1));
    let found = io::copy(&mut bounded, out).map_err(copy_error)?;
    match found == size {
        true => Ok(()),
        false => Err(Error::EntrySize { name: name.to_owned(), found, expected: size }),
    }
}

impl Opened<'_> {
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

/// Write a file of an archive without its compression. A file that is not compressed is copied as a
/// stream.
fn unpack(
    mut reader: &mut dyn Read,
    name: &str,
    size: u64,
    limit: u64,
    spill: &dyn Spill,
    out: &mut dyn Write,
) -> Result<(), Error> {
    /// Enough to detect every format.
    const MAGIC: u64 = 64;
    let mut head = Vec::new();
    Read::by_ref(&mut reader).take(MAGIC).read_to_end(&mut head).map_err(copy_error)?;
    let mut whole = (&head[..]).chain(reader);
    if Format::detect(&head).is_none() {
        return copy(&mut whole, name, size, out);
    }
    let kept = spill.keep(&mut |out| copy(&mut whole, name, size, out))?;
    content((*kept).as_ref(), name, limit, out)
}

/// Write a file of an archive without the compression around it: where its contents are an image, and
/// where its name says so and its contents do not contradict.
fn content(bytes: &[u8], name: &str, limit: u64, out: &mut dyn Write) -> Result<(), Error> {
    let named = entry::suffix_format(file_name(name)).and_then(|_| Format::detect(bytes));
    match (recognise(bytes), named) {
        (Form::Compressed(format), _) | (_, Some(format)) => {
            stream::copy(format, bytes, limit, out)
        }
        _ => Ok(out.write_all(bytes)?),
    }
}
