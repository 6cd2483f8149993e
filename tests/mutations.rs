//! Damaged images: reading, repacking and patching them succeeds or gives one error. Never a
//! panic, never without end, and in memory that what is really there bounds. What a patch writes keeps
//! its promises.
//!
//! The damage is the same in every run. Memory is what Rust's allocator gives out on the thread;
//! the C library inside `zstd` is not counted (its window is limited to 128 MiB by the decoder).

#![allow(clippy::disallowed_macros, reason = "a test may panic")]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::archives::{packed, vendor_boot};
use common::{flows, images, shared};
use vfioboot::bootset::BootSet;
use vfioboot::compression::Format;
use vfioboot::image::{Image, ImageKind, SectionName};
use vfioboot::kernel::Kernel;
use vfioboot::patch;
use vfioboot::ramdisk::classify_ramdisk;
use vfioboot::ramdisk::tree::Tree;
use vfioboot::ramdisk::{Limits, Ramdisk, find_ours};

/// Mutations of each image: a sample, the same in every run. `make fuzz` searches.
const MUTATIONS: u64 = 400;
/// The most that one mutated image may take altogether.
const SLOWEST: Duration = Duration::from_secs(10);

// --- memory -----------------------------------------------------------------------------------

struct Counting;

thread_local! {
    static NOW: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

fn count(more: usize, less: usize) {
    // Not there any more while a thread ends.
    let _ = NOW.try_with(|now| {
        now.set((now.get() + more).saturating_sub(less));
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(now.get())));
    });
}

// SAFETY: every call goes to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: the caller's promise.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Both exist for a moment.
        count(size, 0);
        count(0, layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(0, layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most memory that `work` held at a time, in bytes.
fn peak_of<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = NOW.get();
    PEAK.set(before);
    let result = work();
    (result, PEAK.get() - before)
}

// --- damage -----------------------------------------------------------------------------------

/// SplitMix64: the same numbers in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }
}

/// Damage `bytes`; `fields` are the offsets of numbers in the header, `other` is another image.
fn mutate(bytes: &mut Vec<u8>, fields: &[usize], other: &[u8], random: &mut Random) {
    for _ in 0..1 + random.below(3) {
        let length = bytes.len();
        if length < 8 {
            return;
        }
        match random.below(8) {
            0 | 1 => {
                let at = random.below(length);
                bytes[at] ^= 1 << random.below(8);
            }
            // The headers of the ramdisk, of the kernel and of the image itself.
            2 => {
                let at = random.below(length.min(16 << 10));
                bytes[at] = random.next() as u8;
            }
            3 | 4 => {
                let values = [0, 1, 0x7fff_ffff, u32::MAX, length as u32, random.next() as u32];
                let at = fields[random.below(fields.len())].min(length - 4);
                let value = values[random.below(values.len())];
                bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
            }
            5 => bytes.truncate(random.below(length)),
            6 => {
                let (at, from) = (random.below(length), random.below(other.len()));
                let size = random.below(4096).min(length - at).min(other.len() - from);
                bytes[at..at + size].copy_from_slice(&other[from..from + size]);
            }
            _ => {
                let at = random.below(length);
                let size = random.below(2048);
                let piece: Vec<u8> = bytes[at..(at + size).min(length)].to_vec();
                let at = random.below(length);
                bytes.splice(at..at, piece);
            }
        }
    }
}

fn number_fields(bytes: &[u8]) -> Vec<usize> {
    let image = Image::parse(bytes).unwrap();
    let fields = image.header().unwrap().fields();
    let numbers = fields.iter().filter(|field| {
        matches!(field.value, vfioboot::image::Value::U32(_) | vfioboot::image::Value::U64(_))
    });
    let mut offsets: Vec<usize> = numbers.map(|field| field.offset).collect();
    // Sizes within the payloads: lz4 blocks, cpio headers.
    for region in image.regions() {
        offsets.extend([region.offset, region.offset + 4, region.offset + 8]);
    }
    offsets
}

// --- what is done with it ---------------------------------------------------------------------

/// All that `info` and `check` read.
fn read(image: &Image<'_>) {
    let mut end = 0;
    for region in image.regions() {
        assert_eq!(region.offset, end, "gap or overlap");
        end += image.region_bytes(region).len();
    }
    assert_eq!(end, image.bytes().len(), "the tiling ends early");
    let fragments = image.fragments();
    let ramdisks = image.section(SectionName::Ramdisk).into_iter();
    for ramdisk in ramdisks.chain(fragments.iter().map(|fragment| fragment.bytes)) {
        let limits = Limits::default();
        let _ = Ramdisk::parse(ramdisk, limits).map(|parsed| parsed.tiles().len());
        let _ = classify_ramdisk(ramdisk, limits);
        let _ = Tree::read(ramdisk, limits);
        let _ = find_ours(ramdisk);
    }
    if let Some(kernel) = image.section(SectionName::Kernel)
        && let Ok(kernel) = Kernel::parse(kernel)
    {
        let _ = kernel.scan();
        let _ = kernel.appended_dtbs();
    }
    let _ = image.id_is_right();
    let _ = patch::record_of(&BootSet::from_images(std::slice::from_ref(image)));
}

fn all(bytes: &[u8]) {
    match Image::parse(bytes) {
        Err(error) => assert!(!error.to_string().contains('\n'), "{error}"),
        Ok(image) => {
            read(&image);
            shared::repacks(&image);
            if image.kind() != ImageKind::Kernel {
                shared::patches(std::slice::from_ref(&image), 0);
            }
        }
    }
}

/// What one image may take above its own size: a compressor's or decompressor's window where it
/// needs a large one, and little else.
fn bound(name: &str) -> usize {
    const MIB: usize = 1 << 20;
    match name {
        _ if name.ends_with("xz") || name.ends_with("lzma") => 160 * MIB,
        _ => 12 * MIB,
    }
}

#[test]
fn damaged_images_give_an_error_or_come_back_unchanged() {
    let images = images();
    let others: Vec<Vec<u8>> = images.iter().map(|(_, bytes)| bytes.clone()).collect();
    // Batches, so that no thread is left with a slow image.
    const BATCH: u64 = 50;
    let batches: Vec<(usize, u64)> = (0..MUTATIONS / BATCH)
        .flat_map(|batch| (0..images.len()).map(move |image| (image, batch)))
        .collect();
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    let peaks = Mutex::new(vec![(0, Duration::ZERO); images.len()]);
    let work = || {
        while let Some((which, batch)) = batches.get(next.fetch_add(1, Ordering::Relaxed)) {
            let (name, original) = &images[*which];
            let fields = number_fields(original);
            for number in batch * BATCH..(batch + 1) * BATCH {
                let mut random = Random((*which as u64) << 32 | number);
                let mut bytes = original.clone();
                let other = &others[random.below(others.len())];
                mutate(&mut bytes, &fields, other, &mut random);
                let start = Instant::now();
                let (result, peak) = peak_of(|| catch_unwind(AssertUnwindSafe(|| all(&bytes))));
                let fail = |what: String| {
                    failures.lock().unwrap().push(format!("{name} {number}: {what}"));
                };
                if result.is_err() {
                    fail("panicked, see above".to_owned());
                }
                if start.elapsed() > SLOWEST {
                    fail(format!("took {:?}", start.elapsed()));
                }
                let above = peak.saturating_sub(bytes.len());
                if above > bound(name) {
                    fail(format!("took {above} bytes, the bound is {}", bound(name)));
                }
                let mut peaks = peaks.lock().unwrap();
                let (peak, time) = &mut peaks[*which];
                *peak = above.max(*peak);
                *time += start.elapsed();
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    for ((name, _), (peak, time)) in std::iter::zip(&images, peaks.into_inner().unwrap()) {
        println!("{name}: {peak} bytes at most, {time:.1?} in all");
    }
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

// --- the images of a device -------------------------------------------------------------------

/// Mutations of each set.
const SET_MUTATIONS: u64 = 60;

/// Sets that are patched in different ways, by name.
fn sets() -> Vec<(&'static str, Vec<Vec<u8>>)> {
    let of = |names: &[&str]| names.iter().map(|name| flows::image(name)).collect::<Vec<_>>();
    let system = |name: &str, format| {
        let files: &[(&str, &[u8])] = &[("init", b"#!init"), (name, b"x")];
        packed(Some(format), &common::cpio(files))
    };
    let (lz4, gzip) = (system("a", Format::Lz4Legacy), system("b", Format::Gzip));
    let boot =
        common::with_section(&flows::image("boot-v4-ramdisk"), SectionName::Ramdisk, gzip.clone());
    let one = common::with_section(
        &flows::image("boot-v2-raw"),
        SectionName::Ramdisk,
        [&lz4[..], &gzip].concat(),
    );
    vec![
        ("v2", of(&["boot-v2-lz4_legacy"])),
        ("v3", of(&["boot-v3", "vendor_boot-v3"])),
        ("GKI", of(&["boot-v4", "vendor_boot-v4", "init_boot-v4"])),
        ("GKI without vendor_boot", of(&["init_boot-v4", "boot-v4"])),
        ("fragments", of(&["boot-v4", "vendor_boot-v4-fragments"])),
        ("Magisk, two-stage", vec![flows::magisk_two_stage()]),
        ("Magisk, rootfs", vec![flows::magisk_rootfs()]),
        ("rootfs", vec![flows::rootfs()]),
        ("a stop in one ramdisk", vec![one]),
        ("a stop over images", vec![vendor_boot(&[("", lz4.clone())]), boot]),
        ("a stop over fragments", vec![vendor_boot(&[("", lz4), ("b", gzip)])]),
        ("with AVB", vec![common::with_avb_footer(&flows::image("boot-v2-gzip-dtbo"), 512 << 10)]),
    ]
}

fn input(options: u16, set: &[Vec<u8>]) -> Vec<u8> {
    shared::joined(options, &set.iter().map(Vec::as_slice).collect::<Vec<_>>())
}

#[test]
fn a_patch_keeps_its_promises_with_every_option() {
    let mut random = Random(1);
    for (name, set) in sets() {
        assert!(shared::sets(&input(0, &set)), "{name}: refused");
        let drawn = (0..40).filter(|_| shared::sets(&input(random.next() as u16, &set)));
        assert!(drawn.count() > 5, "{name}");
    }
}

#[test]
fn patches_of_damaged_sets_keep_their_promises() {
    let mut random = Random(2);
    for (name, set) in sets() {
        let fields: Vec<_> = set.iter().map(|bytes| number_fields(bytes)).collect();
        let mut patched = 0;
        for number in 0..SET_MUTATIONS {
            let mut damaged = set.clone();
            let (at, from) = (random.below(set.len()), random.below(set.len()));
            mutate(&mut damaged[at], &fields[at], &set[from], &mut random);
            let options = if number % 2 == 0 { 0 } else { random.next() as u16 };
            let tried = catch_unwind(AssertUnwindSafe(|| shared::sets(&input(options, &damaged))));
            match tried {
                Ok(possible) => patched += u64::from(possible),
                Err(_) => panic!("{name}, mutation {number}, options {options:#06x}: see above"),
            }
        }
        assert!(patched > SET_MUTATIONS / 10, "{name}: only {patched} could be patched");
    }
}
