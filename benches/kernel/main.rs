//! The library against the kernel's own code: what both make of generated inputs.
//!
//!     cargo run -p vfioboot-measure --bin kernel -- JUDGES COUNT [SEED [SUBJECT]]
//!
//! JUDGES is what `scripts/kernel-judge.sh` prints. The same seed gives the same inputs. It ends with 1
//! if there was a difference, and shows the first of them.

mod bootconfig;
mod cmdline;
mod generate;
mod initramfs;
mod judge;

use std::error::Error;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use generate::random::Random;
use judge::Judge;

/// What one input showed.
pub enum Verdict {
    /// Both say the same.
    Same {
        /// It is that the input has an error.
        error: bool,
    },
    /// The library refuses by choice what the kernel reads on with.
    Refused,
    /// What the library says instead.
    Different(String),
}

/// One piece of the kernel's code.
pub struct Subject {
    name: &'static str,
    input: fn(&mut Random) -> Vec<u8>,
    compare: fn(&[u8], &[Vec<u8>]) -> Verdict,
}

const SUBJECTS: [Subject; 3] = [bootconfig::SUBJECT, cmdline::SUBJECT, initramfs::SUBJECT];
/// How many inputs are on their way to a judge at a time.
const BATCH: usize = 256;
/// How many differences are shown.
const SHOWN: usize = 5;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let judges = arguments.next().ok_or("expected JUDGES COUNT [SEED [SUBJECT]]")?;
    let count: usize = arguments.next().ok_or("expected COUNT")?.parse()?;
    let seed: u64 = arguments.next().unwrap_or_else(|| "1".into()).parse()?;
    let only = arguments.next();
    let mut different = 0;
    for subject in SUBJECTS.iter().filter(|own| only.as_ref().is_none_or(|name| name == own.name)) {
        different += run(subject, Path::new(&judges), count, seed)?;
    }
    Ok(if different > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Compare `count` inputs; gives how many differ.
fn run(subject: &Subject, judges: &Path, count: usize, seed: u64) -> Result<usize, Box<dyn Error>> {
    let mut random = Random::new(seed);
    let mut judge = Judge::start(&judges.join(subject.name))?;
    let (mut errors, mut refused, mut different, mut done) = (0, 0, 0, 0);
    while done < count {
        let size = BATCH.min(count - done);
        let inputs: Vec<Vec<u8>> = (0..size).map(|_| (subject.input)(&mut random)).collect();
        let answers = judge.ask(&inputs)?;
        for (input, answer) in inputs.iter().zip(&answers) {
            match (subject.compare)(input, answer) {
                Verdict::Same { error } => errors += usize::from(error),
                Verdict::Refused => refused += 1,
                Verdict::Different(ours) => {
                    different += 1;
                    if different <= SHOWN {
                        show(subject, input, answer, &ours)?;
                    }
                }
            }
        }
        done += size;
    }
    writeln!(
        io::stdout(),
        "{}: {count} inputs with seed {seed}, {errors} of them errors for both, {refused} refused by choice, {different} different",
        subject.name
    )?;
    Ok(different)
}

fn show(subject: &Subject, input: &[u8], answer: &[Vec<u8>], ours: &str) -> io::Result<()> {
    const LONG: usize = 3000;
    let cut = |text: String| text.chars().take(LONG).collect::<String>();
    let kernel: Vec<String> = answer.iter().map(|part| part.escape_ascii().to_string()).collect();
    let mut out = io::stdout();
    writeln!(out, "{}: different for {} bytes", subject.name, input.len())?;
    writeln!(out, "  input:  {}", cut(input.escape_ascii().to_string()))?;
    writeln!(out, "  kernel: {}", cut(format!("{kernel:?}")))?;
    writeln!(out, "  ours:   {}", cut(ours.to_owned()))
}
