//! The memory that a guest can have, and of what pages.

use crate::device::guest::file::{Hugepages, Memory, Size};
use crate::device::sys::host::{Host, HostError, Write};

const MEMINFO: &str = "proc/meminfo";
/// When the kernel puts huge pages together by itself.
pub const TRANSPARENT: &str = "sys/kernel/mm/transparent_hugepage/enabled";

/// What is left for QEMU itself and for the host, in bytes. A guest's memory is pinned whole as
/// soon as a device may write to it, and what is pinned cannot be swapped or given back.
pub const MARGIN: u64 = 128 * Size::MIB;

/// Of what the guest's memory is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backing {
    /// hugetlb pages of so many bytes.
    Hugetlb(u64),
    /// Anonymous memory: QEMU advises the kernel to use huge pages for it.
    Anonymous,
}

/// How a guest gets its memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryPlan {
    /// Of what.
    pub backing: Backing,
    /// The attribute to set before.
    pub write: Option<Write>,
}

/// Memory that is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// `/proc/meminfo` is not there or has no such line.
    #[error("{MEMINFO}: {0}: is /proc mounted?")]
    MemInfo(String),
    /// There is too little.
    #[error(
        "memory.size: the guest wants {wanted} MiB, all of which its devices pin, but {available} MiB are available and {margin} MiB must stay for the host: make it smaller, or end what uses memory",
        margin = MARGIN / Size::MIB
    )]
    TooLittle {
        /// In MiB.
        wanted: u64,
        /// In MiB.
        available: u64,
    },
    /// The guest file asks for hugetlb pages and there are none.
    #[error("memory.hugepages: no hugetlb pages: {0}; \"auto\" takes what there is")]
    NoHugetlb(String),
}

/// A number of `/proc/meminfo`: in bytes where it has kilobytes, else as it is.
///
/// # Errors
/// Without `/proc/meminfo`, or when it has no such line.
pub fn meminfo(host: &Host, name: &str) -> Result<u64, MemoryError> {
    let text = host.read(MEMINFO).map_err(|error| MemoryError::MemInfo(error.to_string()))?;
    text.lines()
        .find_map(|line| {
            let value = line.strip_prefix(name)?.strip_prefix(':')?.trim();
            match value.strip_suffix(" kB") {
                Some(kib) => kib.parse::<u64>().ok()?.checked_mul(1024),
                None => value.parse().ok(),
            }
        })
        .ok_or_else(|| MemoryError::MemInfo(format!("no {name}")))
}

/// What the kernel thinks can be had without swapping (`MemAvailable`), in bytes.
///
/// # Errors
/// Without `/proc/meminfo`.
pub fn available(host: &Host) -> Result<u64, MemoryError> {
    meminfo(host, "MemAvailable")
}

/// How the guest gets its memory: hugetlb, else transparent huge pages, else ordinary ones.
/// `pinned`: whether a device will pin all of it.
///
/// # Errors
/// When there is not enough, or not of the kind that is asked for.
pub fn plan(host: &Host, memory: &Memory, pinned: bool) -> Result<MemoryPlan, MemoryError> {
    let available = available(host)?;
    if matches!(memory.hugepages, Hugepages::Auto | Hugepages::Hugetlb) {
        match hugetlb(host, memory.size, available) {
            Ok(plan) => return Ok(plan),
            Err(reason) if memory.hugepages == Hugepages::Hugetlb => {
                return Err(MemoryError::NoHugetlb(reason));
            }
            Err(_) => {}
        }
    }
    fallback(host, memory, pinned)
}

/// As [`plan`], but without hugetlb pages: for when the kernel could not put them together.
///
/// # Errors
/// When there is not enough memory.
pub fn fallback(host: &Host, memory: &Memory, pinned: bool) -> Result<MemoryPlan, MemoryError> {
    let available = available(host)?;
    if pinned && memory.size.0 + MARGIN > available {
        return Err(MemoryError::TooLittle {
            wanted: memory.size.mib(),
            available: available / Size::MIB,
        });
    }
    let wanted = memory.hugepages != Hugepages::None;
    let never = host.read(TRANSPARENT).is_ok_and(|text| text.contains("[never]"));
    Ok(MemoryPlan {
        backing: Backing::Anonymous,
        write: (wanted && never)
            .then(|| Write { path: TRANSPARENT.to_owned(), value: "madvise".to_owned() }),
    })
}

/// hugetlb pages of the default size: those that are free, and as many more as it takes.
fn hugetlb(host: &Host, size: Size, available: u64) -> Result<MemoryPlan, String> {
    let page = meminfo(host, "Hugepagesize").map_err(|_| "this kernel has no HUGETLBFS")?;
    let directory = format!("sys/kernel/mm/hugepages/hugepages-{}kB", page / 1024);
    let number = |name: &str| -> Result<u64, String> {
        let path = format!("{directory}/{name}");
        let text = host.read(&path).map_err(|error: HostError| error.to_string())?;
        text.parse().map_err(|_| format!("/{path} reads \"{text}\""))
    };
    if page == 0 || !size.0.is_multiple_of(page) {
        return Err(format!("memory.size is no multiple of {} KiB", page / 1024));
    }
    let needed = size.0 / page;
    let free = number("free_hugepages")?.saturating_sub(number("resv_hugepages")?);
    let short = needed.saturating_sub(free);
    if short * page + MARGIN > available {
        return Err(format!(
            "{needed} of {} KiB are needed, {free} are free, and {} MiB of memory are available",
            page / 1024,
            available / Size::MIB
        ));
    }
    let write = match short {
        0 => None,
        _ => {
            let more = number("nr_hugepages")? + short;
            Some(Write { path: format!("{directory}/nr_hugepages"), value: more.to_string() })
        }
    };
    Ok(MemoryPlan { backing: Backing::Hugetlb(page), write })
}
