//! A board whose PCI devices are in another domain than 0: its own device tree, with another
//! `linux,pci-domain`.

use std::fs::File;
use std::io;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::board::Board;
use super::error::Error;
use super::memory::Memory;
use super::qemu::{self, Running};
use crate::kernel::dtb;

const PROPERTY: &[u8] = b"linux,pci-domain";
/// The time that QEMU takes at most to make the tree; and between two looks.
const TIME: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(10);

/// The device tree of the board with `devices`, with its PCI devices in `domain`.
///
/// QEMU puts its tree at the start of memory if it has no kernel: a machine that is not started is enough.
///
/// # Errors
/// [`Error::Start`].
pub(super) fn device_tree(board: &Board, devices: &[String], domain: u32) -> Result<File, Error> {
    let made = made(board, devices, domain);
    made.map_err(|error| Error::Start { program: board.qemu.clone(), error })
}

fn made(board: &Board, devices: &[String], domain: u32) -> io::Result<File> {
    let memory = Memory::new()?;
    let mut command = Command::new(&board.qemu);
    command.args(qemu::arguments(board, &memory, devices)).arg("-S");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut qemu = Running::start(&mut command)?;
    let started = Instant::now();
    loop {
        if let Some(tree) = with_domain(memory.start(), domain) {
            return qemu::in_memory("device-tree", &tree);
        }
        if qemu.has_ended() || started.elapsed() > TIME {
            return Err(io::Error::other("it makes no device tree with a PCI domain"));
        }
        thread::sleep(LOOK);
    }
}

/// The tree without the room at its end: QEMU makes it larger, and a kernel takes 2 MiB at most.
fn with_domain(mut tree: Vec<u8>, domain: u32) -> Option<Vec<u8>> {
    let found = dtb::properties(&tree)?.find(|own| own.name == PROPERTY)?.value;
    *tree.get_mut(found)?.first_chunk_mut()? = domain.to_be_bytes();
    let size = dtb::used(&tree)?;
    tree.truncate(size as usize);
    tree.get_mut(4..8)?.copy_from_slice(&size.to_be_bytes());
    Some(tree)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tree of one node with one property, and room at its end.
    fn tree(name: &[u8], domain: u32) -> Vec<u8> {
        let mut structure = Vec::new();
        for word in [1, 0, 3, 4, 0, domain, 2, 9_u32] {
            structure.extend(word.to_be_bytes());
        }
        let strings = [name, b"\0"].concat();
        let (at, sizes) =
            (40 + structure.len() as u32, [strings.len() as u32, structure.len() as u32]);
        let header = [0xd00d_feed, 4096, 40, at, 40, 17, 16, 0, sizes[0], sizes[1]];
        let mut tree = header.map(u32::to_be_bytes).concat();
        tree.extend([structure, strings].concat());
        tree.resize(4096, 0);
        tree
    }

    #[test]
    fn the_tree_has_the_domain_and_no_room() {
        let changed = with_domain(tree(PROPERTY, 0), 4).unwrap();
        assert_eq!(changed.len(), 40 + 32 + PROPERTY.len() + 1);
        let mut whole = changed;
        whole[4..8].copy_from_slice(&4096_u32.to_be_bytes());
        whole.resize(4096, 0);
        assert_eq!(whole, tree(PROPERTY, 4));
    }

    #[test]
    fn what_is_no_tree_yet_has_none() {
        assert_eq!(with_domain(vec![0; 4096], 4), None);
        assert_eq!(with_domain(tree(b"bus-range", 0), 4), None);
    }
}
