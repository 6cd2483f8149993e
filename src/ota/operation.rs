//! Writes a partition from its operations.
//!
//! Each operation of a full update fills consecutive blocks, and together they fill all blocks. So
//! the partition can be written sequentially, for any order of the operations.

use std::io::{self, Read, Write};

use prost::Message;
use sha2::{Digest, Sha256};

use super::error::{DataProblem, Error};
use super::manifest::{Extent, InstallOperation, Kind};
use super::payload::{Data, Partition, Payload};
use crate::compression::Decoder;

/// An operation and the blocks that it fills.
struct Step {
    index: usize,
    start: u64,
    end: u64,
    operation: InstallOperation,
}

impl Payload<'_> {
    /// Write a partition of this payload. Only the window of a decoder is kept in memory.
    ///
    /// # Errors
    /// [`Error::Incremental`], [`Error::Operation`], [`Error::Gap`], [`Error::Hash`],
    /// [`Error::ManifestOperation`], [`Error::Decompress`], [`Error::Io`]. After an error the
    /// output is incomplete.
    pub fn write(&self, partition: &Partition, out: &mut dyn Write) -> Result<(), Error> {
        write(&self.data, partition, out)
    }
}

/// Write the partition and compare its hash.
fn write(data: &Data<'_>, partition: &Partition, out: &mut dyn Write) -> Result<(), Error> {
    let mut steps = (partition.operations.iter().enumerate())
        .map(|(index, bytes)| Step::new(partition, index, bytes))
        .collect::<Result<Vec<_>, _>>()?;
    steps.sort_by_key(|step| step.start);
    let blocks = partition.size.div_ceil(data.block_size);
    let mut sink = Sink { out, hasher: Sha256::new(), left: partition.size };
    let mut at = 0;
    for step in &steps {
        let invalid = |message: String| step.error(partition, message);
        if step.end > blocks {
            let message = format!("fills blocks up to {}, the partition has {blocks}", step.end);
            return Err(invalid(message));
        }
        if step.start > at {
            return Err(gap(partition, at, step.start));
        }
        if step.start < at {
            let message = format!("fills block {}, which another operation also fills", step.start);
            return Err(invalid(message));
        }
        at = step.end;
        step.run(data, partition, &mut sink)?;
    }
    if at < blocks {
        return Err(gap(partition, at, blocks));
    }
    let found = sink.hasher.finalize();
    if found[..] != partition.sha256[..] {
        let (partition, expected) =
            (partition.name.clone(), base16ct::lower::encode_string(&partition.sha256));
        return Err(Error::Hash {
            partition,
            found: base16ct::lower::encode_string(&found),
            expected,
        });
    }
    Ok(())
}

fn gap(partition: &Partition, from: u64, to: u64) -> Error {
    Error::Gap { partition: partition.name.clone(), from, to }
}

impl Step {
    fn new(partition: &Partition, index: usize, bytes: &[u8]) -> Result<Self, Error> {
        let operation = InstallOperation::decode(bytes)
            .map_err(|error| Error::ManifestOperation { index, error })?;
        let kind = operation.kind();
        if let Some((name, Kind::FromSource)) = kind {
            let (partition, operation) = (partition.name.clone(), name.to_owned());
            return Err(Error::Incremental { partition, index, operation });
        }
        let invalid = |message: String| Error::Operation {
            partition: partition.name.clone(),
            index,
            message,
        };
        if kind.is_none() {
            let number = operation.number.unwrap_or(0);
            return Err(invalid(format!("its type {number} is unknown")));
        }
        let mut blocks: Option<(u64, u64)> = None;
        for Extent { start_block, num_blocks } in &operation.dst_extents {
            let start = start_block.unwrap_or(0);
            let end = start.checked_add(num_blocks.unwrap_or(0));
            let end =
                end.ok_or_else(|| invalid(format!("an extent from block {start} has no end")))?;
            blocks = match blocks {
                None => Some((start, end)),
                Some((first, last)) if last == start => Some((first, end)),
                Some((_, last)) => {
                    let message = format!(
                        "fills blocks up to {last} and then from {start} on, expected consecutive \
                         blocks, as in a full OTA"
                    );
                    return Err(invalid(message));
                }
            };
        }
        let (start, end) = blocks.ok_or_else(|| invalid("names no blocks to write".to_owned()))?;
        Ok(Step { index, start, end, operation })
    }

    fn error(&self, partition: &Partition, message: String) -> Error {
        Error::Operation { partition: partition.name.clone(), index: self.index, message }
    }

    fn run(
        &self,
        data: &Data<'_>,
        partition: &Partition,
        sink: &mut Sink<'_>,
    ) -> Result<(), Error> {
        let room = (self.end - self.start).saturating_mul(data.block_size);
        let Some((name, kind)) = self.operation.kind() else { return Ok(()) };
        let written = match kind {
            Kind::Zeros | Kind::FromSource => 0,
            Kind::Replace => {
                let bytes = self.attached(data, partition)?;
                if bytes.len() as u64 > room {
                    let message = format!(
                        "{name} has {} bytes of data for {room} bytes of blocks",
                        bytes.len()
                    );
                    return Err(self.error(partition, message));
                }
                sink.put(bytes)?;
                bytes.len() as u64
            }
            Kind::Unpack(format) => {
                let bytes = self.attached(data, partition)?;
                let damaged = |problem| Error::Decompress {
                    partition: partition.name.clone(),
                    index: self.index,
                    operation: name,
                    problem,
                };
                let mut decoder = Decoder::new(format, bytes).map_err(|e| damaged(e.into()))?;
                unpack(&mut decoder, room, sink, damaged)?
            }
        };
        Ok(sink.zeros(room - written)?)
    }

    /// The data attached to the operation. Its hash is verified.
    fn attached<'a>(&self, data: &Data<'a>, partition: &Partition) -> Result<&'a [u8], Error> {
        let offset = self.operation.data_offset.unwrap_or(0);
        let size = self.operation.data_length.unwrap_or(0);
        let end = data.file.len() as u64;
        let start = (data.start as u64).saturating_add(offset);
        let range = start.checked_add(size).filter(|last| *last <= end);
        // Both are within the file, so they fit in usize.
        let bytes = range.map(|last| &data.file[start as usize..last as usize]);
        let bytes = bytes.ok_or_else(|| {
            let what = format!("the data of operation {} of {}", self.index, partition.name);
            Error::Truncated { what, offset: start, size, end }
        })?;
        let stated = self.operation.data_sha256_hash.as_deref().filter(|hash| !hash.is_empty());
        if let Some(stated) = stated
            && Sha256::digest(bytes)[..] != *stated
        {
            let message = format!(
                "the SHA-256 of its {size} bytes of data at offset {start} differs from the manifest's: the file is damaged"
            );
            return Err(self.error(partition, message));
        }
        Ok(bytes)
    }
}

/// Write the output of the decoder, at most `room` bytes; returns its size.
fn unpack(
    decoder: &mut dyn Read,
    room: u64,
    sink: &mut Sink<'_>,
    damaged: impl Fn(DataProblem) -> Error,
) -> Result<u64, Error> {
    let mut buffer = vec![0; 128 << 10];
    let mut written = 0;
    loop {
        let count = match decoder.read(&mut buffer) {
            Ok(0) => return Ok(written),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(damaged(error.into())),
        };
        written += count as u64;
        if written > room {
            return Err(damaged(DataProblem::TooLarge { room }));
        }
        sink.put(&buffer[..count])?;
    }
}

/// The output, truncated to the size of the partition, which may end within a block.
struct Sink<'o> {
    out: &'o mut dyn Write,
    hasher: Sha256,
    left: u64,
}

impl Sink<'_> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        let taken = bytes.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.hasher.update(&bytes[..taken]);
        self.left -= taken as u64;
        self.out.write_all(&bytes[..taken])
    }

    fn zeros(&mut self, count: u64) -> io::Result<()> {
        static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
        let mut left = count.min(self.left);
        while left > 0 {
            let piece = left.min(ZEROS.len() as u64);
            self.put(&ZEROS[..piece as usize])?;
            left -= piece;
        }
        Ok(())
    }
}
