//! What becomes of the entries of a ramdisk.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use serde::Deserialize;

use crate::bootfile::{
    BOOT_FILE, ORIGINAL_INIT, ORIGINAL_INIT_LINK, ORIGINALS, RUNTIME, UNDO_FILE,
};
use crate::bootset::Ramdisk;
use crate::compression::{self, Format};
use crate::patch::error::Error;
use crate::patch::rc;
use crate::patch::runtime::is_runtime;
use crate::ramdisk::cpio::{FileType, Header};
use crate::ramdisk::edit::{self, Fate, Pieces};
use crate::ramdisk::{Inventory, Limits, Record, normalise};
use crate::rc::import::remove_import;
use crate::root_manager::patched_ramdisks;

/// The program that the kernel runs in an initramfs without `rdinit=`.
const DEFAULT_INIT: &str = "/init";

/// What removing needs to know of a boot file; that of any version.
#[derive(Debug, Default, Deserialize)]
struct BootFile {
    init: Option<String>,
    #[serde(default)]
    shadows: Vec<String>,
}

/// `ramdisk` without what a patch added; None if there is nothing of it.
///
/// # Errors
/// [`Error::InitLost`]; [`Error::Ramdisk`] for a damaged ramdisk.
pub(super) fn without<'a>(ramdisk: &Ramdisk<'a>) -> Result<Option<Pieces<'a>>, Error> {
    let Ok(inventory) = ramdisk.inventory() else {
        // Says what is wrong.
        crate::ramdisk::Ramdisk::parse(ramdisk.bytes, Limits::default())?;
        return Ok(None);
    };
    let ours = inventory.ours().zip(inventory.numbers_of_ours());
    let own = ours.as_ref().map_or(0..0, |(_, numbers)| numbers.clone());
    let mut removal = Removal::new(ramdisk.bytes, inventory, own.clone())?;
    if ours.is_none() && !removal.is_marked()? {
        return Ok(None);
    }
    removal.all()?;
    let mut fates = removal.fates;
    match ours {
        Some((ours, _)) if fates.is_empty() => Ok(Some(edit::without(ramdisk.bytes, &ours))),
        _ => {
            let entries = inventory.entries()?;
            let files = own.filter(|number| !entries[*number].trailer);
            fates.extend(files.map(|number| (number, Fate::Removed)));
            Ok(Some(edit::change(ramdisk.bytes, &fates, Limits::default())?))
        }
    }
}

/// The original init, as the patch kept it.
struct Kept {
    header: Header,
    data: Vec<u8>,
}

/// The decisions about the entries of a ramdisk.
struct Removal<'r> {
    bytes: &'r [u8],
    inventory: &'r Inventory,
    entries: &'r [Record],
    /// The numbers of the entries of each path that are not in a segment of our own.
    others: BTreeMap<Cow<'r, [u8]>, Vec<usize>>,
    boot: BootFile,
    fates: BTreeMap<usize, Fate>,
}

impl<'r> Removal<'r> {
    /// `own` are the entries in a segment of our own, which goes as a whole.
    fn new(bytes: &'r [u8], inventory: &'r Inventory, own: Range<usize>) -> Result<Self, Error> {
        let entries = inventory.entries()?;
        let mut others: BTreeMap<Cow<'r, [u8]>, Vec<usize>> = BTreeMap::new();
        for (number, entry) in entries.iter().enumerate() {
            if !entry.trailer && !own.contains(&number) {
                others.entry(normalise(&entry.path)).or_default().push(number);
            }
        }
        let boot = BootFile::default();
        let mut removal =
            Removal { bytes, inventory, entries, others, boot, fates: BTreeMap::new() };
        if let Some((_, text)) = removal.file(BOOT_FILE)? {
            // A damaged one tells nothing, and the names of files are known all the same.
            removal.boot = toml::from_str(&String::from_utf8_lossy(&text)).unwrap_or_default();
        }
        Ok(removal)
    }

    /// Whether anything here is from a patch.
    fn is_marked(&self) -> Result<bool, Error> {
        let marks = [UNDO_FILE, BOOT_FILE];
        if marks.iter().any(|path| !self.numbers(path).is_empty()) {
            return Ok(true);
        }
        for path in [RUNTIME, DEFAULT_INIT] {
            if self.numbers(path).last().is_some_and(|last| self.is_runtime(*last, None)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn all(&mut self) -> Result<(), Error> {
        let everything: Vec<(bool, usize)> = self
            .others
            .iter()
            .flat_map(|(path, numbers)| numbers.iter().map(|number| (is_home(path), *number)))
            .collect();
        for (home, number) in everything {
            if home || self.is_link_to_us(number) {
                self.fates.insert(number, Fate::Removed);
            }
        }
        for path in std::mem::take(&mut self.boot.shadows) {
            self.restore(&path)?;
        }
        for path in rc::contribute::own_paths() {
            self.remove_own_rc(&path)?;
        }
        self.restore_init()
    }

    /// The numbers of the entries at a path that stay so far.
    fn numbers(&self, path: &str) -> Vec<usize> {
        let numbers = self.others.get(&*normalise(path.as_bytes()));
        let numbers = numbers.into_iter().flatten().copied();
        numbers.filter(|number| !self.fates.contains_key(number)).collect()
    }

    /// The last file at a path, wherever it is.
    fn file(&self, path: &str) -> Result<Option<(Header, Vec<u8>)>, Error> {
        let path = normalise(path.as_bytes());
        let is_it = |entry: &Record| !entry.trailer && normalise(&entry.path) == path;
        match self.entries.iter().rposition(is_it) {
            Some(number) => self.data(number),
            None => Ok(None),
        }
    }

    /// The header and the data of an entry; of a hard link, that of its file.
    fn data(&self, number: usize) -> Result<Option<(Header, Vec<u8>)>, Error> {
        let Record { header, path, .. } = &self.entries[number];
        let elsewhere = header.filesize == 0 && header.link_key().is_some();
        let found = if elsewhere { self.inventory.tree()?.find(path, false) } else { None };
        let number = found.and_then(|found| usize::try_from(found.source).ok()).unwrap_or(number);
        Ok(self.inventory.file(self.bytes, number)?)
    }

    /// A symbolic link that only a patch makes.
    fn is_link_to_us(&self, number: usize) -> bool {
        let entry = &self.entries[number];
        let targets = [RUNTIME, ORIGINAL_INIT].map(str::as_bytes);
        entry.header.file_type() == FileType::Symlink
            && entry.data.as_deref().is_some_and(|target| targets.contains(&target))
    }

    /// Take away what a patch put at `path`, and put back what was there.
    fn restore(&mut self, path: &str) -> Result<(), Error> {
        let numbers = self.numbers(path);
        // The name is gone, or a tool that keeps all entries has the one before ours as well.
        let [number] = numbers[..] else {
            let last = numbers.last().map(|number| (*number, Fate::Removed));
            self.fates.extend(last);
            return Ok(());
        };
        let now = self.data(number)?;
        let without_import = now.and_then(|(header, text)| {
            Some((header, remove_import(&text, rc::contribute::INIT_RC)?))
        });
        let original = match without_import {
            Some(edited) => Some(edited),
            None => self.file(&format!("{ORIGINALS}{path}"))?,
        };
        let fate = original.map_or(Fate::Removed, |(header, data)| Fate::Becomes(header, data));
        self.fates.insert(number, fate);
        Ok(())
    }

    /// An rc file of our own that no boot file names.
    fn remove_own_rc(&mut self, path: &str) -> Result<(), Error> {
        for number in self.numbers(path) {
            let text = self.data(number)?.map(|(_, text)| text).unwrap_or_default();
            if text.starts_with(rc::text::header().as_bytes()) {
                self.fates.insert(number, Fate::Removed);
            }
        }
        Ok(())
    }

    /// Wherever the runtime stands for the original init, put that back.
    fn restore_init(&mut self) -> Result<(), Error> {
        let hooked = self.boot.init.clone().unwrap_or_else(|| DEFAULT_INIT.to_owned());
        let mut places: Vec<(&str, Option<Format>)> = vec![(&hooked, None), (DEFAULT_INIT, None)];
        let moved = patched_ramdisks().flat_map(|(_, own)| own.originals);
        places.extend(moved.map(|original| (original.path, original.compression)));
        for (path, format) in places {
            let numbers = self.numbers(path);
            let (runtime, others): (Vec<usize>, Vec<usize>) =
                numbers.into_iter().partition(|number| self.is_runtime(*number, format));
            let Some((last, before)) = runtime.split_last() else { continue };
            self.fates.extend(before.iter().map(|number| (*number, Fate::Removed)));
            let fate = match others.is_empty() {
                // The original is there too.
                false => Fate::Removed,
                true => {
                    let kept = self.kept_init()?.filter(|kept| !is_runtime(&kept.data));
                    let Kept { header, data } =
                        kept.ok_or_else(|| Error::InitLost { path: path.to_owned() })?;
                    let data = match format {
                        Some(format) => {
                            compression::encode(format, &data, None).map_err(Error::Pack)?
                        }
                        None => data,
                    };
                    Fate::Becomes(header, data)
                }
            };
            self.fates.insert(*last, fate);
        }
        Ok(())
    }

    fn is_runtime(&self, number: usize, format: Option<Format>) -> bool {
        /// Much more than any init has, in bytes.
        const MAX: u64 = 64 << 20;
        let entry = &self.entries[number].header;
        if entry.file_type() != FileType::Regular || u64::from(entry.filesize) > MAX {
            return false;
        }
        let Ok(Some((_, data))) = self.data(number) else { return false };
        match format {
            None => is_runtime(&data),
            Some(format) => {
                let unpacked = compression::decode_all(format, &data, MAX);
                unpacked.is_ok_and(|(unpacked, _)| is_runtime(&unpacked))
            }
        }
    }

    /// The original init: a file or symbolic link, or another name of one.
    fn kept_init(&self) -> Result<Option<Kept>, Error> {
        let mut kept = self.file(ORIGINAL_INIT)?;
        if kept.is_none()
            && let Some((_, other)) = self.file(ORIGINAL_INIT_LINK)?
        {
            let other = String::from_utf8_lossy(&other).into_owned();
            kept = self.file(&other)?.filter(|(_, data)| !data.is_empty());
        }
        Ok(kept.map(|(header, data)| Kept { header, data }))
    }
}

/// Whether this is the directory of a patch or something in it.
fn is_home(path: &[u8]) -> bool {
    /// Where a patch adds modules for first-stage init: a directory in theirs.
    const MODULES: &[u8] = b"lib/modules";
    let home = normalise(RUNTIME.as_bytes());
    let home = home.split(|byte| *byte == b'/').next().unwrap_or_default();
    let mut parts = path.split(|byte| *byte == b'/');
    if parts.next() == Some(home) {
        return true;
    }
    let in_modules = memchr::memmem::find(path, MODULES).is_some();
    in_modules && parts.any(|part| part == home)
}
