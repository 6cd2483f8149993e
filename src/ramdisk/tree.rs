//! The file tree that the kernel makes of a ramdisk's entries: later ones overwrite earlier
//! ones, hard links share their data, symbolic links among the parents are followed
//! (`do_name`, `maybe_link`, `clean_path` and `do_symlink` in `init/initramfs.c`).

use std::borrow::Cow;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::ops::Bound;

use super::cpio::{FileType, Header, LinkKey, NAME_MAX};
use super::{Entries, Error, Limits, Reach, components};

/// Symbolic links that a path may go through, as in the kernel (`MAXSYMLINKS`).
const MAX_LINKS: usize = 40;
/// `NAME_MAX` of file systems: a longer part of a path names nothing.
const PART_MAX: usize = 255;
/// The directories of the archive that is built into every kernel (`usr/default_cpio_list`).
const BUILT_IN: [&[u8]; 2] = [b"dev", b"root"];
/// Bookkeeping of a node besides its name, in bytes; counted against [`Limits::metadata`].
const NODE_COST: usize = 160;

/// Paths without leading `/`, and what is there in the end.
#[derive(Debug, Default)]
pub struct Tree {
    /// The number of the inode at each path.
    nodes: BTreeMap<Vec<u8>, usize>,
    inodes: Vec<Inode>,
    /// The targets of the symbolic links, which are few.
    targets: BTreeMap<Vec<u8>, Vec<u8>>,
    links: HashMap<LinkKey, Vec<u8>>,
    cost: usize,
    reach: Option<Reach>,
}

/// An entry, as it goes into a tree.
#[derive(Clone, Copy)]
pub(super) struct Node<'e> {
    /// As the kernel reads it.
    pub path: &'e [u8],
    pub header: &'e Header,
    pub trailer: bool,
    /// The target of a symbolic link.
    pub target: &'e [u8],
}

/// An entry that is being made.
struct New<'e> {
    /// As the kernel reads it.
    name: &'e [u8],
    /// Where it goes: see [`Tree::place_of`].
    path: Option<Vec<u8>>,
    file_type: FileType,
    header: &'e Header,
    number: u64,
}

#[derive(Debug)]
struct Inode {
    file_type: FileType,
    nlink: usize,
    size: u64,
    source: u64,
}

/// The file, directory or link at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeEntry {
    /// The path with the symbolic links on the way resolved.
    pub path: Vec<u8>,
    /// What is there.
    pub file_type: FileType,
    /// The number of the entry, counted over the whole ramdisk with TRAILERs, whose data the
    /// file has: not that of its name when it is a hard link.
    pub source: u64,
    /// Length of the data in bytes.
    pub size: u64,
    /// How many names in the tree the file has.
    pub nlink: usize,
    /// A symbolic link's target; empty for anything else.
    pub target: Vec<u8>,
}

/// What is at one path of a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TreeNode<'t> {
    /// The path.
    pub path: &'t [u8],
    /// As in [`TreeEntry`].
    pub file_type: FileType,
    /// As in [`TreeEntry`].
    pub nlink: usize,
    /// As in [`TreeEntry`].
    pub source: u64,
    /// As in [`TreeEntry`].
    pub target: &'t [u8],
}

impl Tree {
    /// The tree that `ramdisk` unpacks to. Memory: names and symbolic link targets, bounded by
    /// [`Limits::metadata`].
    ///
    /// # Errors
    /// As [`super::Ramdisk::parse`].
    pub fn read(ramdisk: &[u8], limits: Limits) -> Result<Self, Error> {
        let mut entries = Entries::new(ramdisk, limits);
        let mut tree = Tree::default();
        let mut number = 0;
        while let Some(entry) = entries.next_entry()? {
            let mut target = Vec::new();
            if entry.file_type() == FileType::Symlink {
                entries.copy_data(&mut target)?;
            }
            let (path, header, trailer) = (entry.path(), &entry.header, entry.is_trailer());
            tree.insert(&Node { path, header, trailer, target: &target }, number);
            if tree.cost > limits.metadata {
                return Err(Error::too_many_names(limits.metadata));
            }
            number += 1;
        }
        tree.reach = Some(entries.reach());
        Ok(tree)
    }

    /// The same from entries that were read before, in order.
    pub(super) fn of<'e>(entries: impl IntoIterator<Item = Node<'e>>, reach: Reach) -> Self {
        let mut tree = Tree { reach: Some(reach), ..Tree::default() };
        for (number, entry) in (0..).zip(entries) {
            tree.insert(&entry, number);
        }
        tree
    }

    /// Whether the kernel gets to the last segment.
    pub fn reach(&self) -> Reach {
        self.reach.unwrap_or(Reach::Always)
    }

    /// What the kernel does with one entry, the `number`th: `do_name` and `do_symlink`.
    fn insert(&mut self, entry: &Node<'_>, number: u64) {
        let Node { path: name, header, trailer, target } = *entry;
        if trailer {
            self.links.clear();
            return;
        }
        self.cost += NODE_COST + name.len() + target.len();
        let file_type = header.file_type();
        let mut new = New { name, path: self.place_of(name), file_type, header, number };
        self.clean(&mut new, file_type == FileType::Symlink);
        match file_type {
            FileType::Unknown => {}
            FileType::Symlink => self.symlink(new, target),
            FileType::Directory => self.make(new),
            _ if self.linked(&mut new) => {}
            _ => self.make(new),
        }
    }

    /// `clean_path`: what is at the path goes if it is of another type, or whatever it is, but for a
    /// directory that is not empty.
    fn clean(&mut self, new: &mut New<'_>, whatever: bool) {
        let Some(path) = &new.path else { return };
        let Some(old) = self.nodes.get(path).map(|inode| self.inodes[*inode].file_type) else {
            return;
        };
        let full = old == FileType::Directory && self.has_children(path);
        if (whatever || old != new.file_type) && !full {
            self.unlink(path);
            // It may have been a link that the name itself goes through.
            new.path = self.place_of(new.name);
        }
    }

    /// `maybe_link`: whether an entry of the same inode came before, and is all that is to be made.
    fn linked(&mut self, new: &mut New<'_>) -> bool {
        let Some(key) = new.header.link_key() else { return false };
        let Some(first) = self.links.get(&key).cloned() else {
            self.links.insert(key, new.name.to_vec());
            return false;
        };
        self.clean(new, true);
        if let (Some(first), Some(path)) = (self.place_of(&first), &new.path)
            && let Some(inode) = self.nodes.get(&first).copied()
            && self.inodes[inode].file_type != FileType::Directory
            && !self.nodes.contains_key(path)
            && !new.name.ends_with(b"/")
        {
            self.inodes[inode].nlink += 1;
            self.nodes.insert(path.clone(), inode);
            if let Some(target) = self.targets.get(&first).cloned() {
                self.targets.insert(path.clone(), target);
            }
            if new.file_type == FileType::Regular {
                self.write(new);
            }
        }
        true
    }

    /// Opened through a link, and without O_TRUNC.
    fn write(&mut self, new: &New<'_>) {
        let path = new.path.as_ref().and_then(|path| self.resolve(path, true));
        let Some(path) = path.filter(|path| !self.is_directory(path)) else { return };
        let (size, source) = (u64::from(new.header.filesize), new.number);
        let Some(inode) = self.nodes.get(&path) else {
            let path = Some(path);
            return self.make(New { path, ..*new });
        };
        let own = &mut self.inodes[*inode];
        if own.file_type == new.file_type && size > 0 {
            (own.size, own.source) = (size, source);
        }
    }

    fn symlink(&mut self, new: New<'_>, target: &[u8]) {
        let target = target.split(|byte| *byte == 0).next().unwrap_or_default();
        let longest = NAME_MAX as usize - 1;
        if let Some(path) = &new.path
            && (1..=longest).contains(&target.len())
            && !self.nodes.contains_key(path)
            && !new.name.ends_with(b"/")
        {
            self.targets.insert(path.clone(), target.to_vec());
            self.make(new);
        }
    }

    /// A file at the path, or new contents for the one that is there.
    fn make(&mut self, new: New<'_>) {
        let New { name, path: Some(path), file_type, header, number } = new else { return };
        let size = u64::from(header.filesize);
        match self.nodes.entry(path) {
            // "a/" can only become a directory.
            Entry::Vacant(_) if name.ends_with(b"/") && file_type != FileType::Directory => {}
            Entry::Vacant(new) => {
                new.insert(self.inodes.len());
                self.inodes.push(Inode { file_type, nlink: 1, size, source: number });
            }
            // Opened with O_TRUNC: the other names of the file see it too.
            Entry::Occupied(old) => {
                let inode = &mut self.inodes[*old.get()];
                if inode.file_type == file_type {
                    (inode.size, inode.source) = (size, number);
                }
            }
        }
    }

    fn unlink(&mut self, path: &[u8]) {
        if let Some(inode) = self.nodes.remove(path) {
            self.inodes[inode].nlink -= 1;
            self.targets.remove(path);
        }
    }

    /// Every path, in order.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &[u8]> {
        self.nodes.keys().map(Vec::as_slice)
    }

    /// Is anything below the directory `path`?
    pub(crate) fn has_children(&self, path: &[u8]) -> bool {
        let prefix = [path, b"/"].concat();
        let mut below = self.nodes.range(prefix.clone()..);
        below.next().is_some_and(|(name, _)| name.starts_with(&prefix))
    }

    /// What is at `path`; `follow` resolves it once more when it is itself a symbolic link.
    pub fn find(&self, path: &[u8], follow: bool) -> Option<TreeEntry> {
        let (name, path) = (path, self.resolve(path, follow)?);
        let inode = &self.inodes[*self.nodes.get(&path)?];
        if name.ends_with(b"/") && inode.file_type != FileType::Directory {
            return None;
        }
        Some(TreeEntry {
            file_type: inode.file_type,
            source: inode.source,
            size: inode.size,
            nlink: inode.nlink,
            target: self.targets.get(&path).cloned().unwrap_or_default(),
            path,
        })
    }

    /// Everything in the tree, in the order of the paths.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = TreeNode<'_>> {
        self.nodes_from(&[])
    }

    /// The same from `path` on.
    pub(crate) fn nodes_from(&self, path: &[u8]) -> impl Iterator<Item = TreeNode<'_>> {
        let from = (Bound::Included(path), Bound::Unbounded);
        self.nodes.range::<[u8], _>(from).map(|(path, inode)| {
            let Inode { file_type, nlink, source, .. } = self.inodes[*inode];
            let target = self.targets.get(path).map_or(&[][..], Vec::as_slice);
            TreeNode { path, file_type, nlink, source, target }
        })
    }

    /// Another name of the file at `path`, which has its links resolved: the first of them in
    /// order. None when it has no other (or is a symbolic link or directory).
    pub(crate) fn other_name(&self, path: &[u8]) -> Option<Vec<u8>> {
        let inode = self.nodes.get(path)?;
        let mut others = self.nodes.iter().filter(|(name, own)| *own == inode && *name != path);
        others.next().map(|(name, _)| name.clone())
    }

    /// Where an entry named `name` goes: its directory is there. None where nothing can be made.
    fn place_of(&self, name: &[u8]) -> Option<Vec<u8>> {
        let last = name.split(|byte| *byte == b'/').rfind(|part| !part.is_empty())?;
        if matches!(last, b"." | b"..") {
            return None;
        }
        let length = name.iter().rposition(|byte| *byte != b'/')? + 1;
        let path = self.resolve(&name[..length], false).filter(|path| !path.is_empty())?;
        let only_directory = length < name.len() && self.nodes.contains_key(&path);
        (!only_directory || self.is_directory(&path)).then_some(path)
    }

    /// Whether `path`, which has no symbolic link in it, is a directory.
    fn is_directory(&self, path: &[u8]) -> bool {
        match self.nodes.get(path) {
            Some(inode) => self.inodes[*inode].file_type == FileType::Directory,
            None => path.is_empty() || BUILT_IN.contains(&path),
        }
    }

    /// `path` without symbolic links on the way (nor at its end, with `follow`); none in a loop, and
    /// where anything on the way is no directory.
    pub(crate) fn resolve(&self, path: &[u8], follow: bool) -> Option<Vec<u8>> {
        let mut todo = Cow::Borrowed(path);
        let mut done: Vec<u8> = Vec::with_capacity(path.len());
        let (mut at, mut links) = (0, 0);
        while let Some(part) = next_component(&todo, &mut at) {
            let parent = done.len();
            if part.len() > PART_MAX || !self.is_directory(&done) {
                return None;
            }
            if part == b".." {
                done.truncate(done.iter().rposition(|byte| *byte == b'/').unwrap_or(0));
                continue;
            }
            if parent > 0 {
                done.push(b'/');
            }
            done.extend_from_slice(part);
            let Some(target) = self.targets.get(&done) else { continue };
            let rest = &todo[at..];
            if !follow && components(rest).next().is_none() {
                break;
            }
            links += 1;
            // Targets that multiply: no path in a kernel is longer.
            if links > MAX_LINKS || components(rest).count() > NAME_MAX as usize {
                return None;
            }
            let from = if target.starts_with(b"/") { 0 } else { parent };
            done.truncate(from);
            todo = Cow::Owned([target, &b"/"[..], rest].concat());
            at = 0;
        }
        Some(done)
    }
}

/// The part of `path` that comes next; `at` moves to what comes after it.
fn next_component<'p>(path: &'p [u8], at: &mut usize) -> Option<&'p [u8]> {
    while *at < path.len() {
        let rest = &path[*at..];
        let end = memchr::memchr(b'/', rest).unwrap_or(rest.len());
        *at = path.len().min(*at + end + 1);
        if components(&rest[..end]).next().is_some() {
            return Some(&rest[..end]);
        }
    }
    None
}

/// Write the contents of the file at `path` to `out`: symbolic links are followed, the last of
/// several entries wins, a hard link has its file's data. Gives the length in bytes.
///
/// Reads the ramdisk twice and holds no file in memory.
///
/// # Errors
/// [`Error::NotFound`]; [`Error::Refused`] when there is no regular file; [`Error::Io`] when `out`
/// fails; otherwise as [`super::Ramdisk::parse`].
pub fn read_file(
    ramdisk: &[u8],
    path: &[u8],
    out: &mut dyn Write,
    limits: Limits,
) -> Result<u64, Error> {
    let tree = Tree::read(ramdisk, limits)?;
    let name = || path.escape_ascii().to_string();
    let refused = |reason: String| Error::Refused { path: name(), reason };
    let Some(found) = tree.find(path, true) else {
        return Err(match tree.find(path, false) {
            Some(link) => refused(format!(
                "is a symbolic link to \"{}\", which is not in the ramdisk",
                link.target.escape_ascii()
            )),
            None => Error::NotFound { path: name() },
        });
    };
    if found.file_type != FileType::Regular {
        return Err(refused("is not a regular file".into()));
    }
    let mut entries = Entries::new(ramdisk, limits);
    for _ in 0..=found.source {
        entries.next_entry()?;
    }
    entries.copy_data(out)
}

/// The header and the data of a ramdisk's `number`th entry, as [`TreeEntry::source`] counts them; None
/// when there are not as many.
///
/// # Errors
/// As [`super::Ramdisk::parse`].
pub fn read_entry(
    ramdisk: &[u8],
    number: u64,
    limits: Limits,
) -> Result<Option<(Header, Vec<u8>)>, Error> {
    let mut entries = Entries::new(ramdisk, limits);
    let mut header = None;
    for _ in 0..=number {
        header = entries.next_entry()?.map(|entry| entry.header);
    }
    let Some(header) = header else { return Ok(None) };
    let mut data = Vec::new();
    entries.copy_data(&mut data)?;
    Ok(Some((header, data)))
}
