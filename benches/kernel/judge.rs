//! A program with the kernel's code: see `benches/kernel_judge/judge.h`.

use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

pub struct Judge {
    child: Child,
    input: BufWriter<ChildStdin>,
    output: BufReader<ChildStdout>,
    /// Its working directory, which must be empty.
    directory: std::path::PathBuf,
}

impl Judge {
    /// Start `program`.
    pub fn start(program: &Path) -> io::Result<Self> {
        // in memory where it can be: the judge of ramdisks makes files
        let memory = Path::new("/dev/shm");
        let place = if memory.is_dir() { memory.into() } else { std::env::temp_dir() };
        let directory = place.join(format!("vfioboot-judge-{}", std::process::id()));
        std::fs::create_dir(&directory)?;
        let mut command = Command::new(program);
        command.current_dir(&directory).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::other("a judge without pipes"));
        };
        let (input, output) = (BufWriter::new(input), BufReader::new(output));
        Ok(Judge { child, input, output, directory })
    }

    /// The answer to each input.
    pub fn ask(&mut self, inputs: &[Vec<u8>]) -> io::Result<Vec<Vec<Vec<u8>>>> {
        let Judge { input, output, .. } = self;
        std::thread::scope(|scope| {
            let writer = scope.spawn(move || -> io::Result<()> {
                for bytes in inputs {
                    input.write_all(&(bytes.len() as u32).to_le_bytes())?;
                    input.write_all(bytes)?;
                }
                input.flush()
            });
            let answers = inputs.iter().map(|bytes| {
                let answer = read_block(output).and_then(|block| parts(&block));
                answer.map_err(|error| {
                    let input = bytes.escape_ascii();
                    io::Error::new(error.kind(), format!("{error}; the input is \"{input}\""))
                })
            });
            let answers = answers.collect::<io::Result<Vec<_>>>()?;
            writer.join().map_err(|_| io::Error::other("the writer panicked"))??;
            Ok(answers)
        })
    }
}

impl Drop for Judge {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// Bytes after their length.
fn read_block(from: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut size = [0; 4];
    from.read_exact(&mut size)?;
    let mut bytes = vec![0; u32::from_le_bytes(size) as usize];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn parts(mut block: &[u8]) -> io::Result<Vec<Vec<u8>>> {
    let mut parts = Vec::new();
    while !block.is_empty() {
        parts.push(read_block(&mut block)?);
    }
    Ok(parts)
}
