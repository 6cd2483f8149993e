//! The memory that a guest can have, and its pages.

use crate::device::guest::file::{Arch, Hugepages, Size};
use crate::device::guest::qemu::argv::Backing;
use crate::device::sys::host::{Host, HostError, Write};
use crate::device::sys::hugepages::{Pool, PoolError};

const MEMINFO: &str = "proc/meminfo";
/// When the kernel puts huge pages together by itself.
pub(crate) const TRANSPARENT: &str = "sys/kernel/mm/transparent_hugepage/enabled";
/// Where it is asked to, as QEMU asks.
pub(crate) const ADVISED: &str = "madvise";

/// What is left for QEMU itself and for the host, in bytes. A guest's memory is pinned whole as
/// soon as a device may write to it, and what is pinned cannot be swapped or given back.
pub(crate) const MARGIN: u64 = 128 * Size::MIB;

/// How a guest's memory is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryPlan {
    /// Its pages.
    pub backing: Backing,
    /// The attribute to set before.
    pub write: Option<Write>,
}

/// Why a guest cannot have its memory.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// `/proc/meminfo` cannot be read.
    #[error("{0}: is /proc mounted?")]
    MemInfo(#[source] HostError),
    /// `/proc/meminfo` has no such line, or one without a number.
    #[error("/{MEMINFO} has no {0}")]
    NoLine(&'static str),
    /// There is too little.
    #[error(
        "memory.size: the guest wants {wanted} MiB, all of which its devices pin, but {available} MiB are available{} and {margin} MiB must stay for the host: make it smaller, or stop programs that use memory",
        cma_text(.cma),
        margin = MARGIN / Size::MIB
    )]
    TooLittle {
        /// In MiB.
        wanted: u64,
        /// In MiB.
        available: u64,
        /// What is free for contiguous allocations alone (CMA), in MiB; not part of `available`.
        cma: u64,
    },
    /// It has no addresses for it.
    #[error(
        "memory.size: the guest wants {wanted} MiB, but this processor gives guests addresses of {bits} bits, and the first GiB is for devices: make it smaller"
    )]
    NotAddressable {
        /// In MiB.
        wanted: u64,
        /// The bits of an address.
        bits: u32,
    },
    /// The guest file asks for hugetlb pages and there are none.
    #[error("memory.hugepages: no hugetlb pages: {0}; \"auto\" takes what there is")]
    NoHugetlb(#[source] Box<HugetlbError>),
}

fn cma_text(cma: &u64) -> String {
    match cma {
        0 => String::new(),
        cma => format!(" (and {cma} MiB of CMA, which cannot be pinned)"),
    }
}

/// Why a guest cannot have hugetlb pages.
#[derive(Debug, thiserror::Error)]
pub enum HugetlbError {
    /// The kernel is built without them.
    #[error("this kernel has no HUGETLBFS")]
    NoSupport,
    /// The kernel's counts cannot be read.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// The guest's memory does not divide into pages.
    #[error("memory.size is not a multiple of {0} KiB")]
    NotMultiple(u64),
    /// Too few are free, and there is not enough memory to make more.
    #[error(
        "{needed} of {page_kib} KiB are needed, {free} are free, and {available} MiB of memory are available"
    )]
    TooFew {
        /// How many pages the guest needs.
        needed: u64,
        /// The size of a page, in KiB.
        page_kib: u64,
        /// How many are free.
        free: u64,
        /// The available memory, in MiB.
        available: u64,
    },
}

/// A number of `/proc/meminfo`: in bytes where it has kilobytes, else as it is.
///
/// # Errors
/// Without `/proc/meminfo`, or when it has no such line.
pub(crate) fn meminfo(host: &Host, name: &'static str) -> Result<u64, MemoryError> {
    let text = host.read(MEMINFO).map_err(MemoryError::MemInfo)?;
    text.lines()
        .find_map(|line| {
            let value = line.strip_prefix(name)?.strip_prefix(':')?.trim();
            match value.strip_suffix(" kB") {
                Some(kib) => kib.parse::<u64>().ok()?.checked_mul(1024),
                None => value.parse().ok(),
            }
        })
        .ok_or(MemoryError::NoLine(name))
}

/// What the kernel thinks can be had without swapping (`MemAvailable`), in bytes, without what is free for
/// contiguous allocations alone (`CmaFree`): pages that are pinned for long may not be there
/// (`FOLL_LONGTERM` in `mm/gup.c`).
///
/// # Errors
/// Without `/proc/meminfo`.
pub(crate) fn available(host: &Host) -> Result<u64, MemoryError> {
    let cma = meminfo(host, "CmaFree").unwrap_or(0);
    Ok(meminfo(host, "MemAvailable")?.saturating_sub(cma))
}

/// Where the memory of QEMU's `virt` begins, in bytes.
const VIRT_RAM: u64 = 1 << 30;
/// The bits of a guest physical address where KVM does not say: arm64 before Linux 4.20.
const IPA_BITS: u32 = 40;

/// Whether a guest can address so much memory (`KVM_CAP_ARM_VM_IPA_SIZE`).
///
/// # Errors
/// When it cannot.
pub fn fits(size: Size, arch: Arch, ipa_bits: Option<u32>) -> Result<(), MemoryError> {
    let bits = ipa_bits.unwrap_or(IPA_BITS);
    let end = VIRT_RAM.saturating_add(size.0);
    match arch == Arch::Aarch64 && 1_u64.checked_shl(bits).is_some_and(|limit| end > limit) {
        true => Err(MemoryError::NotAddressable { wanted: size.mib(), bits }),
        false => Ok(()),
    }
}

/// How a guest gets memory of this size: hugetlb, else transparent huge pages, else ordinary ones.
/// `pinned`: whether a device will pin all of it.
///
/// # Errors
/// When there is not enough, or not of the kind that is asked for.
pub fn plan(
    host: &Host,
    size: Size,
    pages: Hugepages,
    pinned: bool,
) -> Result<MemoryPlan, MemoryError> {
    let available = available(host)?;
    if matches!(pages, Hugepages::Auto | Hugepages::Hugetlb) {
        match hugetlb(host, size, available) {
            Ok(plan) => return Ok(plan),
            Err(reason) if pages == Hugepages::Hugetlb => {
                return Err(MemoryError::NoHugetlb(Box::new(reason)));
            }
            Err(_) => {}
        }
    }
    fallback(host, size, pages, pinned)
}

/// As [`plan`], but without hugetlb pages: for when the kernel could not put them together.
///
/// # Errors
/// When there is not enough memory.
pub(crate) fn fallback(
    host: &Host,
    size: Size,
    pages: Hugepages,
    pinned: bool,
) -> Result<MemoryPlan, MemoryError> {
    let available = available(host)?;
    if pinned && size.0 + MARGIN > available {
        return Err(MemoryError::TooLittle {
            wanted: size.mib(),
            available: available / Size::MIB,
            cma: meminfo(host, "CmaFree").unwrap_or(0) / Size::MIB,
        });
    }
    let wanted = pages != Hugepages::None;
    let never = host.setting(TRANSPARENT).is_ok_and(|chosen| chosen == "never");
    Ok(MemoryPlan {
        backing: Backing::Anonymous,
        write: (wanted && never)
            .then(|| Write { path: TRANSPARENT.to_owned(), value: ADVISED.to_owned() }),
    })
}

/// Whether the kernel puts huge pages together where it is asked to, or not at all.
pub(crate) fn is_transparent_advised(host: &Host) -> bool {
    host.setting(TRANSPARENT).is_ok_and(|chosen| chosen == ADVISED || chosen == "never")
}

/// hugetlb pages of the default size: those that are free, and as many more as it takes.
fn hugetlb(host: &Host, size: Size, available: u64) -> Result<MemoryPlan, HugetlbError> {
    let page = meminfo(host, "Hugepagesize").map_err(|_| HugetlbError::NoSupport)?;
    if page == 0 || !size.0.is_multiple_of(page) {
        return Err(HugetlbError::NotMultiple(page / 1024));
    }
    let needed = size.0 / page;
    let pool = Pool::of(page);
    let free = pool.free(host)?;
    let short = needed.saturating_sub(free);
    if short * page + MARGIN > available {
        return Err(HugetlbError::TooFew {
            needed,
            page_kib: page / 1024,
            free,
            available: available / Size::MIB,
        });
    }
    let write = match short {
        0 => None,
        _ => {
            let path = pool.count();
            let value = host.read(&path).map_err(PoolError::from)?;
            let now: u64 =
                value.parse().map_err(|_| PoolError::NotNumber { path: path.clone(), value })?;
            Some(Write { path, value: (now + short).to_string() })
        }
    };
    Ok(MemoryPlan { backing: Backing::Hugetlb(page), write })
}
