//! Where the reports of a check go: each piece as soon as there is one, or the whole at the end.

use std::fs::File;
use std::io::{self, BufWriter, Seek, Write};
use std::path::PathBuf;

use vfioboot::audit::render::{Audience, Format, Medium, Stream};
use vfioboot::audit::run::{Input, Run, Settings};

use crate::cli::{output, print};

/// The target of a report.
pub enum Target {
    /// Standard output.
    Stdout,
    /// A file that appears when it is complete.
    File(PathBuf),
    /// A file that grows.
    Growing(File),
}

/// A report on its way.
pub struct Sink<'s> {
    format: &'static Format,
    target: Target,
    /// The report in pieces, and those for a file; None for a format that needs all inputs at once.
    pieces: Option<(Stream<'s>, Option<BufWriter<File>>)>,
}

impl<'s> Sink<'s> {
    pub fn new(
        format: &'static Format,
        target: Target,
        settings: &'s Settings,
    ) -> anyhow::Result<Self> {
        let pieces = match format.stream(settings, medium(&target)) {
            None => None,
            Some(stream) => {
                let kept = match target {
                    Target::File(_) => Some(BufWriter::new(tempfile::tempfile()?)),
                    Target::Stdout | Target::Growing(_) => None,
                };
                Some((stream, kept))
            }
        };
        let mut sink = Sink { format, target, pieces };
        let begin = sink.pieces.as_ref().map_or("", |(stream, _)| stream.begin());
        sink.write(begin)?;
        Ok(sink)
    }

    /// Whether it needs all inputs at once.
    pub fn is_whole(&self) -> bool {
        self.pieces.is_none()
    }

    /// Write what is to be said of an input.
    pub fn input(&mut self, input: &Input) -> anyhow::Result<()> {
        match &mut self.pieces {
            None => Ok(()),
            Some((stream, _)) => {
                let piece = stream.input(input);
                Ok(self.write(&piece)?)
            }
        }
    }

    /// Write the rest.
    pub fn finish(mut self, run: &Run) -> anyhow::Result<()> {
        let text = match &self.pieces {
            None => self.format.render(run, medium(&self.target)),
            Some((stream, _)) => stream.end(),
        };
        let kept = self.pieces.as_mut().and_then(|(_, kept)| kept.take());
        let Target::File(path) = &self.target else { return Ok(self.write(&text)?) };
        output::write_text(path, |file| {
            if let Some(kept) = kept {
                let mut kept = kept.into_inner()?;
                kept.rewind()?;
                io::copy(&mut kept, file)?;
            }
            file.write_all(text.as_bytes())
        })
    }

    fn write(&mut self, text: &str) -> io::Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        match (&mut self.target, &mut self.pieces) {
            (Target::Stdout, _) => match self.format.audience {
                Audience::People => print::report(text),
                Audience::Programs => print::bytes(text.as_bytes()),
            },
            (Target::Growing(file), _) => file.write_all(text.as_bytes()),
            (Target::File(_), Some((_, Some(kept)))) => kept.write_all(text.as_bytes()),
            // It is written at the end.
            (Target::File(_), _) => Ok(()),
        }
    }
}

fn medium(target: &Target) -> Medium {
    match target {
        Target::Stdout => Medium::Terminal,
        Target::File(_) | Target::Growing(_) => Medium::File,
    }
}
