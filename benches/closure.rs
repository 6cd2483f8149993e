//! What vfioboot would load for each module of an installed tree, as `modprobe --show-depends`
//! prints it.
//!
//!     cargo run -p vfioboot-measure --bin closure -- DIR/lib/modules/RELEASE [CONFIG…]
//!
//! For each module a line `# NAME`, then the steps. CONFIG are files in the form of
//! modprobe.d(5).

use std::error::Error;
use std::fs;
use std::io::Write;
use std::path::Path;

use vfioboot::modules::depmod::LISTS;
use vfioboot::modules::{Dependencies, Lists, Step};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().ok_or("expected DIR/lib/modules/RELEASE")?;
    let mut lists = Lists::default();
    for name in LISTS {
        if let Ok(bytes) = fs::read(Path::new(&directory).join(name)) {
            lists.read(name, &bytes);
        }
    }
    for config in arguments {
        lists.read(&config, &fs::read(&config).map_err(|error| format!("{config}: {error}"))?);
    }
    let all = Dependencies::new(&lists, &[], |_| false);
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for name in all.names() {
        writeln!(out, "# {name}")?;
        for step in all.probe(name)? {
            match step {
                Step::Load { path, .. } => writeln!(out, "insmod {directory}/{path} ")?,
                Step::Builtin(name) => writeln!(out, "builtin {name}")?,
                Step::Install { command, .. } => writeln!(out, "install {command} ")?,
            }
        }
    }
    Ok(())
}
