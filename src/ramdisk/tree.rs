//! The file tree that the kernel makes of a ramdisk's entries: later ones overwrite earlier
//! ones, hard links share their data, symbolic links among the parents are followed
//! (`do_name`, `maybe_link`, `clean_path` and `do_symlink` in `init/initramfs.c`).

use std::collections::{BTreeMap, HashMap};
use std::io::Write;

use super::cpio::{FileType, Header, LinkKey, NAME_MAX};
use super::{Entries, Error, Limits, Reach, components};

/// Symbolic links that a path may go through, as in the kernel (`MAXSYMLINKS`).
const MAX_LINKS: usize = 40;
/// Bookkeeping of a node besides its name, in bytes; counted against [`Limits::metadata`].
const NODE_COST: usize = 160;

/// Paths without leading `/`, and what is there in the end.
#[derive(Debug, Default)]
pub struct Tree {
    nodes: BTreeMap<Vec<u8>, Name>,
    inodes: Vec<Inode>,
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

#[derive(Debug)]
struct Name {
    inode: usize,
    target: Vec<u8>,
}

#[derive(Debug)]
struct Inode {
    file_type: FileType,
    nlink: usize,
    size: u64,
    source: u64,
}

/// What is at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
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
            if entry.file_type() == FileType::Symlink && entry.header.filesize <= NAME_MAX {
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

    /// What the kernel does with one entry, the `number`th.
    fn insert(&mut self, entry: &Node<'_>, number: u64) {
        let Node { path, header, trailer, target } = *entry;
        if trailer {
            self.links.clear();
            return;
        }
        let file_type = header.file_type();
        let Some(path) = self.resolve(path, false) else { return };
        self.cost += NODE_COST + path.len() + target.len();
        if path.is_empty() || file_type == FileType::Unknown || !self.clean(&path, file_type) {
            return;
        }
        let size = u64::from(header.filesize);
        let linkable = !matches!(file_type, FileType::Directory | FileType::Symlink);
        if let (true, Some(key)) = (linkable, header.link_key()) {
            if let Some(first) = self.links.get(&key).cloned() {
                self.link(&first, path, size, number);
                return;
            }
            self.links.insert(key, path.clone());
        }
        match self.nodes.get(&path) {
            // Opened with O_TRUNC: the other names of the file see it too.
            Some(node) if file_type != FileType::Symlink => {
                let inode = &mut self.inodes[node.inode];
                (inode.size, inode.source) = (size, number);
            }
            _ => {
                self.unlink(&path);
                self.inodes.push(Inode { file_type, nlink: 1, size, source: number });
                let target = target.to_vec();
                self.nodes.insert(path, Name { inode: self.inodes.len() - 1, target });
            }
        }
    }

    /// Another name for the file at `first`, with data of its own unless empty.
    fn link(&mut self, first: &[u8], path: Vec<u8>, size: u64, number: u64) {
        let Some(inode) = self.nodes.get(first).map(|node| node.inode) else { return };
        if first != path {
            self.unlink(&path);
            self.inodes[inode].nlink += 1;
            self.nodes.insert(path, Name { inode, target: Vec::new() });
        }
        if size > 0 {
            (self.inodes[inode].size, self.inodes[inode].source) = (size, number);
        }
    }

    /// Remove what is in the way of a file of another type. False when it cannot be removed: a
    /// directory that is not empty.
    fn clean(&mut self, path: &[u8], file_type: FileType) -> bool {
        let Some(node) = self.nodes.get(path) else { return true };
        let old = self.inodes[node.inode].file_type;
        if old == file_type {
            return true;
        }
        if old == FileType::Directory && self.has_children(path) {
            return false;
        }
        self.unlink(path);
        true
    }

    fn unlink(&mut self, path: &[u8]) {
        if let Some(node) = self.nodes.remove(path) {
            self.inodes[node.inode].nlink -= 1;
        }
    }

    /// Is anything below the directory `path`?
    pub fn has_children(&self, path: &[u8]) -> bool {
        let prefix = [path, b"/"].concat();
        let mut below = self.nodes.range(prefix.clone()..);
        below.next().is_some_and(|(name, _)| name.starts_with(&prefix))
    }

    /// What is at `path`; `follow` resolves it once more when it is itself a symbolic link.
    pub fn find(&self, path: &[u8], follow: bool) -> Option<Found> {
        let path = self.resolve(path, follow)?;
        let node = self.nodes.get(&path)?;
        let inode = &self.inodes[node.inode];
        Some(Found {
            file_type: inode.file_type,
            source: inode.source,
            size: inode.size,
            nlink: inode.nlink,
            target: node.target.clone(),
            path,
        })
    }

    /// Another name of the file at `path`, which has its links resolved: the first of them in
    /// order. None when it has no other (or is a symbolic link or directory).
    pub fn other_name(&self, path: &[u8]) -> Option<Vec<u8>> {
        let inode = self.nodes.get(path)?.inode;
        let mut others =
            self.nodes.iter().filter(|(name, node)| node.inode == inode && *name != path);
        others.next().map(|(name, _)| name.clone())
    }

    /// `path` without symbolic links on the way (nor at its end, with `follow`); none in a loop.
    pub fn resolve(&self, path: &[u8], follow: bool) -> Option<Vec<u8>> {
        let mut todo: Vec<Vec<u8>> = components(path).map(<[u8]>::to_vec).collect();
        todo.reverse();
        let mut done: Vec<Vec<u8>> = Vec::new();
        let mut links = 0;
        while let Some(part) = todo.pop() {
            if part == b".." {
                done.pop();
                continue;
            }
            done.push(part);
            if todo.is_empty() && !follow {
                break;
            }
            let here = self.nodes.get(&done.join(&b'/'));
            let Some(node) = here.filter(|node| !node.target.is_empty()) else { continue };
            links += 1;
            // Targets that multiply: no path in a kernel is longer.
            if links > MAX_LINKS || todo.len() > NAME_MAX as usize {
                return None;
            }
            done.pop();
            if node.target.starts_with(b"/") {
                done.clear();
            }
            todo.extend(
                components(&node.target).map(<[u8]>::to_vec).collect::<Vec<_>>().into_iter().rev(),
            );
        }
        Some(done.join(&b'/'))
    }
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

/// The header and the data of a ramdisk's `number`th entry, as [`Found::source`] counts them; None
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
