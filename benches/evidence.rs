//! How good the evidence of symbol tables is: kernels whose config is known in, precision and
//! recall per symbol out, as a Markdown table.
//!
//!     cargo run --release -p vfioboot-measure --bin evidence -- KERNEL=CONFIG …
//!
//! A symbol is a hit when the evidence says that it is built in and the config says `y`.

#![allow(clippy::disallowed_macros, reason = "a measurement may panic")]

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;

use vfioboot::audit::{Evidence, EvidenceState};
use vfioboot::kernel::config::Value;
use vfioboot::kernel::{Kernel, KernelConfig, KernelVersion};

#[derive(Clone, Default)]
struct Counts {
    /// Said built in, is `y`; said built in, is not.
    hits: usize,
    false_hits: usize,
    /// Is `y`, and the evidence said that it is not, or nothing.
    misses: usize,
    silent: usize,
    /// Said not built in, is not; the same as `n` where it is `m`.
    rejections: usize,
    false_off: usize,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut table: BTreeMap<String, Counts> =
        Evidence::symbols().into_iter().map(|symbol| (symbol, Counts::default())).collect();
    println!("| Kernel | Release | Names |\n|---|---|---|");
    for pair in std::env::args().skip(1) {
        let (kernel, config) = pair.rsplit_once('=').ok_or("expected KERNEL=CONFIG")?;
        measure(kernel, config, &mut table).map_err(|error| format!("{kernel}: {error}"))?;
    }
    let head =
        "Symbol | y found | y wrongly found | y missed | silent | not y found | Precision | Recall";
    println!("\n| {head} |\n|---|---|---|---|---|---|---|---|");
    let mut all = Counts::default();
    for (symbol, counts) in &table {
        row(symbol, counts);
        all.hits += counts.hits;
        all.false_hits += counts.false_hits;
        all.misses += counts.misses;
        all.silent += counts.silent;
        all.rejections += counts.rejections;
        all.false_off += counts.false_off;
    }
    row("**all**", &all);
    println!("\nSaid to be n and is m: {}.", all.false_off);
    Ok(())
}

fn row(symbol: &str, counts: &Counts) {
    let Counts { hits, false_hits, misses, silent, rejections, .. } = counts;
    let ratio = |part: usize, whole: usize| match whole {
        0 => "–".to_owned(),
        _ => format!("{:.3}", part as f64 / whole as f64),
    };
    let precision = ratio(*hits, hits + false_hits);
    let recall = ratio(*hits, hits + misses + silent);
    println!(
        "| {symbol} | {hits} | {false_hits} | {misses} | {silent} | {rejections} | {precision} | {recall} |"
    );
}

fn measure(
    kernel: &str,
    config: &str,
    table: &mut BTreeMap<String, Counts>,
) -> Result<(), Box<dyn Error>> {
    let name = kernel.rsplit('/').find(|part| !part.starts_with("Image")).unwrap_or(kernel);
    let bytes = fs::read(kernel)?;
    let config = KernelConfig::parse(&fs::read(config)?)?;
    let kernel = Kernel::parse(&bytes)?;
    let release = kernel.scan()?.version.unwrap_or_default();
    let Some(names) = kernel.kallsyms()? else {
        let built = config.is_set("KALLSYMS");
        println!("| {name} | {release} | none found, KALLSYMS={} |", if built { "y" } else { "n" });
        return Ok(());
    };
    let version = KernelVersion::parse(&release);
    let evidence = Evidence::collect(&names, kernel.arch(), version, name);
    println!("| {name} | {release} | {} |", names.count);
    for (symbol, counts) in table {
        let set = config.get(symbol) == Some(&Value::Yes);
        match (evidence.about(symbol).map(|about| about.state), set) {
            (Some(EvidenceState::BuiltIn), true) => counts.hits += 1,
            (Some(EvidenceState::BuiltIn), false) => {
                counts.false_hits += 1;
                eprintln!("{name}: {symbol} is said to be built in, and is not");
            }
            (Some(_), true) => {
                counts.misses += 1;
                eprintln!("{name}: {symbol} is said not to be built in, and is");
            }
            (None, true) => counts.silent += 1,
            (Some(state), false) => {
                counts.rejections += 1;
                if state == EvidenceState::Off && config.get(symbol) == Some(&Value::Module) {
                    counts.false_off += 1;
                    eprintln!("{name}: {symbol} is said to be n, and is m");
                }
            }
            (None, false) => {}
        }
    }
    Ok(())
}
