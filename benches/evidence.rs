//! How good the evidence of symbol tables is: kernels whose config is known in, precision and
//! recall per symbol out, as a Markdown table.
//!
//!     cargo run --release -p vfioboot-measure --bin evidence -- KERNEL=CONFIG …
//!
//! A symbol is a hit when the evidence says that it is built in and the config says `y`. Then the verdicts of the
//! rules: what the kernel alone decides, also with what lies beside it as in `lib/modules`, of what its config
//! decides. It ends with 1 if evidence or a verdict is wrong.

#![allow(clippy::disallowed_macros, reason = "a measurement may panic")]

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use vfioboot::audit::group::Group;
use vfioboot::audit::{Batch, Finding, Options, Profile, Provenance, Verdict};
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

/// Verdicts by evidence, of those that the config decides.
#[derive(Clone, Copy, Default)]
struct Verdicts {
    decided: usize,
    open: usize,
    wrong: usize,
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
    let wrong = verdict_table()?;
    match all.false_hits + all.misses + all.false_off + wrong {
        0 => Ok(()),
        count => Err(format!("{count} are wrong").into()),
    }
}

/// Print how many verdicts the kernels without a config decide, alone and with their modules beside them; how
/// many are wrong.
fn verdict_table() -> Result<usize, Box<dyn Error>> {
    println!("\n| Kernel | Verdict by | decided | open | wrong |\n|---|---|---|---|---|");
    let mut sums = [Verdicts::default(); 2];
    for pair in std::env::args().skip(1) {
        let (kernel, config) = pair.rsplit_once('=').ok_or("expected KERNEL=CONFIG")?;
        let kernel = Path::new(kernel);
        let truth = findings(kernel, Some(Path::new(config)), None)?;
        let scan = Kernel::parse(&fs::read(kernel)?)?.scan()?;
        if scan.ikconfig.is_some() {
            continue;
        }
        let release = scan.version.unwrap_or_default();
        let tree = kernel.with_file_name(&release);
        let name = kernel.parent().and_then(Path::file_name).unwrap_or_default().display();
        // the lab's kernels have no modules beside them
        let ways = 1 + usize::from(tree.is_dir());
        for (by, sum) in sums.iter_mut().enumerate().take(ways) {
            let found = findings(kernel, None, (by == 1).then(|| tree.clone()))?;
            let own = compare(&truth, &found, &name.to_string());
            let how = ["the kernel", "and lib/modules"][by];
            let Verdicts { decided, open, wrong } = own;
            println!("| {name} | {how} | {decided} | {open} | {wrong} |");
            sum.decided += decided;
            sum.open += open;
            sum.wrong += wrong;
        }
    }
    for (sum, how) in sums.iter().zip(["the kernel", "and lib/modules"]) {
        let Verdicts { decided, open, wrong } = sum;
        println!("| **all** | {how} | {decided} | {open} | {wrong} |");
    }
    Ok(sums.iter().map(|sum| sum.wrong).sum())
}

/// The verdicts of a kernel by rule, with its config or without any.
fn findings(
    kernel: &Path,
    config: Option<&Path>,
    modules: Option<PathBuf>,
) -> Result<BTreeMap<String, (Verdict, String)>, Box<dyn Error>> {
    let mut options = Options::new(Profile::builtin("passthrough")?);
    if let Some(config) = config {
        let read = KernelConfig::parse(&fs::read(config)?)?;
        options.config = Some((read, Provenance::File(config.display().to_string())));
    }
    let groups = [Group { main: kernel.to_owned(), beside: Vec::new(), modules }];
    let files = |path: &Path| fs::read(path);
    let batch = Batch {
        groups: &groups,
        options: &options,
        jobs: None,
        files: &files,
        contents: false,
        earlier: None,
    };
    let input = batch.run().inputs.remove(0);
    let report = input.result.map_err(|error| format!("{}: {error}", kernel.display()))?;
    let finding = |own: &Finding| (own.rule.id.to_string(), (own.verdict, own.reason.to_string()));
    Ok(report.evaluation.findings.iter().map(finding).collect())
}

fn compare(
    truth: &BTreeMap<String, (Verdict, String)>,
    found: &BTreeMap<String, (Verdict, String)>,
    name: &str,
) -> Verdicts {
    let mut own = Verdicts::default();
    for (rule, (right, _)) in truth.iter().filter(|(_, (own, _))| *own != Verdict::Unknown) {
        match &found[rule] {
            (Verdict::Unknown, reason) => {
                own.open += 1;
                eprintln!("{name}: {rule} is open: {reason}");
            }
            (verdict, _) if verdict == right => own.decided += 1,
            (verdict, reason) => {
                own.wrong += 1;
                eprintln!("{name}: {rule} is {}, not {}: {reason}", verdict.name(), right.name());
            }
        }
    }
    own
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
    let Some(names) = kernel.kallsyms(&Evidence::texts())? else {
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
