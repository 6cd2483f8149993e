//! `next_arg` of `lib/cmdline.c`, `parse_args` and `parameq` of `kernel/params.c`.

use vfioboot::cmdline::{Cmdline, Parameter, same_name};

use crate::generate::cmdline;
use crate::{Subject, Verdict};

pub const SUBJECT: Subject = Subject { name: "cmdline", input: cmdline::line, compare };

fn compare(input: &[u8], kernel: &[Vec<u8>]) -> Verdict {
    let line = Cmdline::new(input);
    let count = line.parameters().count();
    let mut ours = vec![count.to_string().into_bytes()];
    line.parameters().for_each(|own| add(&mut ours, &own));
    // The kernel goes on behind the "--".
    let mut before: Option<&[u8]> = None;
    let rest: Vec<_> = line.all().skip(count + 1).collect();
    for own in &rest {
        add(&mut ours, own);
        if let Some(before) = before {
            let same = if same_name(before, own.name) { "same" } else { "other" };
            ours.push(same.into());
        }
        before = Some(own.name);
    }
    match ours == kernel {
        true => Verdict::Same { error: false },
        false => {
            let parts = ours.iter().map(|part| part.escape_ascii().to_string());
            Verdict::Different(format!("{:?}", parts.collect::<Vec<_>>()))
        }
    }
}

fn add(out: &mut Vec<Vec<u8>>, own: &Parameter<'_>) {
    out.push(own.name.to_vec());
    out.push(if own.value.is_some() { b"=".to_vec() } else { Vec::new() });
    out.push(own.value.unwrap_or_default().to_vec());
}
