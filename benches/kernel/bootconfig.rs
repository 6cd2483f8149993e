//! `lib/bootconfig.c`.

use vfioboot::image::bootconfig::{Bootconfig, Error, Limits};

use crate::generate::bootconfig;
use crate::{Subject, Verdict};

pub const SUBJECT: Subject = Subject { name: "bootconfig", input: bootconfig::text, compare };

/// In the form of the judge's answer.
fn ours(input: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
    let config = Bootconfig::parse(input)?;
    config.validate(Limits::KERNEL)?;
    if config.nodes() == 0 {
        return Ok(vec![b"empty".to_vec()]);
    }
    let number = |number: usize| number.to_string().into_bytes();
    let mut out = vec![b"ok".to_vec(), number(config.nodes())];
    for entry in config.entries() {
        // Keys are of Latin-1.
        out.push(entry.key.chars().map(|letter| letter as u8).collect());
        out.push(number(entry.values.len()));
        out.extend(entry.values.into_iter().map(String::into_bytes));
    }
    Ok(out)
}

fn compare(input: &[u8], kernel: &[Vec<u8>]) -> Verdict {
    let ours = ours(input);
    match (&ours, kernel) {
        (Err(_), [error]) if error == b"error" => return Verdict::Same { error: true },
        (Ok(ours), [status, ..]) if status != b"error" && same(ours, kernel) => {
            return Verdict::Same { error: false };
        }
        // One byte is left for the NUL of bootloaders; without, it depends on where the last value stands.
        (Err(Error::TooLarge { what: "bytes", found, limit }), _) if *found == limit + 1 => {
            return Verdict::Refused;
        }
        // Below a key with a value the kernel does not look.
        (Err(Error::LongKey { .. }), _) => return Verdict::Refused,
        _ => {}
    }
    Verdict::Different(match ours {
        Ok(parts) => {
            let parts = parts.iter().map(|part| part.escape_ascii().to_string());
            format!("{:?}", parts.collect::<Vec<_>>())
        }
        Err(error) => error.to_string(),
    })
}

/// Values of ours are text, in which what is not UTF-8 is replaced.
fn same(ours: &[Vec<u8>], kernel: &[Vec<u8>]) -> bool {
    let text = |part: &Vec<u8>| String::from_utf8_lossy(part).into_owned();
    ours.iter().map(text).eq(kernel.iter().map(text))
}
