//! Writes a partition from its operations.
//!
//! Together the operations of a full update fill each block once. An operation may fill several
//! runs of blocks, in any order; the partition is written from its first block to its last.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{self, Read, Write};

use prost::Message;
use sha2::{Digest, Sha256};

use super::error::{DataProblem, Error};
use super::manifest::{Extent, InstallOperation, Kind};
use super::payload::{Data, Partition, Payload};
use crate::compression::Decoder;

/// Maximum number of decompressed bytes that are held for operations whose blocks do not adjoin. An
/// operation of a real update has 2 MiB.
const MAX_HELD: u64 = 256 << 20;

/// An operation.
struct Step {
    index: usize,
    operation: InstallOperation,
    name: &'static str,
    kind: Kind,
    /// Its blocks, in the order of its data. Adjoining extents are one run.
    runs: Vec<(u64, u64)>,
}

/// A run of blocks and the operation that fills it.
struct Piece {
    start: u64,
    end: u64,
    step: usize,
    /// The number of blocks of the operation before the run.
    before: u64,
}

impl Payload<'_> {
    /// Write a partition of this payload. Only the window of a decoder is kept in memory, and the data of
    /// operations whose blocks do not adjoin.
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
    let steps = (partition.operations.iter().enumerate())
        .map(|(index, bytes)| Step::new(partition, index, bytes))
        .collect::<Result<Vec<_>, _>>()?;
    let pieces = pieces(&steps, partition, partition.size.div_ceil(data.block_size))?;
    let sink = Sink { out, hasher: Sha256::new(), left: partition.size };
    let mut writer = Writer { data, partition, sink, held: HashMap::new(), left: MAX_HELD };
    for piece in &pieces {
        writer.write(&steps[piece.step], piece)?;
    }
    let found = writer.sink.hasher.finalize();
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

/// The runs of all operations in the order of their blocks, which they fill once.
fn pieces(steps: &[Step], partition: &Partition, blocks: u64) -> Result<Vec<Piece>, Error> {
    let mut pieces = Vec::new();
    for (number, step) in steps.iter().enumerate() {
        let mut before = 0;
        for (start, end) in &step.runs {
            pieces.push(Piece { start: *start, end: *end, step: number, before });
            before += end - start;
        }
    }
    pieces.sort_by_key(|piece| piece.start);
    let gap = |from, to| Error::Gap { partition: partition.name.clone(), from, to };
    let mut at = 0;
    for Piece { start, end, step, .. } in &pieces {
        let invalid = |message: String| steps[*step].error(partition, message);
        if *end > blocks {
            return Err(invalid(format!("fills blocks up to {end}, the partition has {blocks}")));
        }
        if *start > at {
            return Err(gap(at, *start));
        }
        if *start < at {
            return Err(invalid(format!("fills block {start}, which is filled already")));
        }
        at = *end;
    }
    match at < blocks {
        true => Err(gap(at, blocks)),
        false => Ok(pieces),
    }
}

/// The partition being written.
struct Writer<'w> {
    data: &'w Data<'w>,
    partition: &'w Partition,
    sink: Sink<'w>,
    /// By the index of the operation.
    held: HashMap<usize, Held<'w>>,
    /// Bytes that may be held besides.
    left: u64,
}

impl Writer<'_> {
    fn write(&mut self, step: &Step, piece: &Piece) -> Result<(), Error> {
        if let [_] = step.runs[..] {
            return step.stream(self.data, self.partition, &mut self.sink);
        }
        if !self.held.contains_key(&step.index) {
            let content = step.content(self.data, self.partition, self.left)?;
            let memory = match &content {
                Cow::Borrowed(_) => 0,
                Cow::Owned(bytes) => bytes.len() as u64,
            };
            let held = Held { content, runs: step.runs.len(), memory };
            self.left -= held.memory;
            self.held.insert(step.index, held);
        }
        let Some(Held { content, runs, memory }) = self.held.get_mut(&step.index) else {
            return Ok(());
        };
        let block = self.data.block_size;
        let size = (piece.end - piece.start).saturating_mul(block);
        let start = piece.before.saturating_mul(block).min(content.len() as u64);
        let end = start.saturating_add(size).min(content.len() as u64);
        // Both are within the data, so they fit in usize.
        self.sink.put(&content[start as usize..end as usize])?;
        self.sink.zeros(size - (end - start))?;
        *runs -= 1;
        if *runs == 0 {
            self.left += *memory;
            self.held.remove(&step.index);
        }
        Ok(())
    }
}

/// The data of an operation whose blocks do not adjoin.
struct Held<'w> {
    content: Cow<'w, [u8]>,
    /// The number of runs that are not written yet.
    runs: usize,
    /// Bytes of memory that it takes besides the file.
    memory: u64,
}

impl Step {
    fn new(partition: &Partition, index: usize, bytes: &[u8]) -> Result<Self, Error> {
        let operation = InstallOperation::decode(bytes)
            .map_err(|error| Error::ManifestOperation { index, error })?;
        let invalid = |message: String| Error::Operation {
            partition: partition.name.clone(),
            index,
            message,
        };
        let (name, kind) = match operation.kind() {
            Some((name, Kind::FromSource)) => {
                let (partition, operation) = (partition.name.clone(), name.to_owned());
                return Err(Error::Incremental { partition, index, operation });
            }
            Some(known) => known,
            None => {
                let number = operation.number.unwrap_or(0);
                return Err(invalid(format!("its type {number} is unknown")));
            }
        };
        if operation.dst_extents.is_empty() {
            return Err(invalid("names no blocks to write".to_owned()));
        }
        let mut runs: Vec<(u64, u64)> = Vec::new();
        for Extent { start_block, num_blocks } in &operation.dst_extents {
            let start = start_block.unwrap_or(0);
            let end = start.checked_add(num_blocks.unwrap_or(0));
            let end =
                end.ok_or_else(|| invalid(format!("an extent from block {start} has no end")))?;
            match runs.last_mut() {
                _ if start == end => {}
                Some((_, last)) if *last == start => *last = end,
                _ => runs.push((start, end)),
            }
        }
        Ok(Step { index, operation, name, kind, runs })
    }

    fn error(&self, partition: &Partition, message: String) -> Error {
        Error::Operation { partition: partition.name.clone(), index: self.index, message }
    }

    fn damaged(&self, partition: &Partition, problem: DataProblem) -> Error {
        let (partition, operation) = (partition.name.clone(), self.name);
        Error::Decompress { partition, index: self.index, operation, problem }
    }

    /// The size of its blocks in bytes.
    fn room(&self, data: &Data<'_>) -> u64 {
        let blocks = self.runs.iter().map(|(start, end)| end - start);
        blocks.fold(0, u64::saturating_add).saturating_mul(data.block_size)
    }

    /// Write all its blocks, which adjoin.
    fn stream(
        &self,
        data: &Data<'_>,
        partition: &Partition,
        sink: &mut Sink<'_>,
    ) -> Result<(), Error> {
        let room = self.room(data);
        let written = match self.kind {
            Kind::Zeros | Kind::FromSource => 0,
            Kind::Replace => {
                let bytes = self.plain(data, partition)?;
                sink.put(bytes)?;
                bytes.len() as u64
            }
            Kind::Unpack(format) => {
                let bytes = self.attached(data, partition)?;
                let damaged = |problem| self.damaged(partition, problem);
                let mut decoder = Decoder::new(format, bytes).map_err(|e| damaged(e.into()))?;
                unpack(&mut decoder, room, sink, damaged)?
            }
        };
        Ok(sink.zeros(room - written)?)
    }

    /// The data for its blocks without the zeros at the end; at most `limit` bytes of memory.
    fn content<'a>(
        &self,
        data: &Data<'a>,
        partition: &Partition,
        limit: u64,
    ) -> Result<Cow<'a, [u8]>, Error> {
        let format = match self.kind {
            Kind::Zeros | Kind::FromSource => return Ok(Cow::Borrowed(&[])),
            Kind::Replace => return self.plain(data, partition).map(Cow::Borrowed),
            Kind::Unpack(format) => format,
        };
        let bytes = self.attached(data, partition)?;
        let room = self.room(data);
        let damaged = |problem| self.damaged(partition, problem);
        let mut content = Vec::new();
        let decoder = Decoder::new(format, bytes).map_err(|e| damaged(e.into()))?;
        let mut bounded = decoder.take(room.min(limit).saturating_add(1));
        bounded.read_to_end(&mut content).map_err(|e| damaged(e.into()))?;
        match content.len() as u64 {
            size if size > room => Err(damaged(DataProblem::TooLarge { room })),
            size if size > limit => Err(self.error(
                partition,
                format!(
                    "its blocks do not adjoin, and its data and that of others before it take more \
                     than {MAX_HELD} bytes of memory"
                ),
            )),
            _ => Ok(Cow::Owned(content)),
        }
    }

    /// The data attached to an operation that does not compress it.
    fn plain<'a>(&self, data: &Data<'a>, partition: &Partition) -> Result<&'a [u8], Error> {
        let (bytes, room) = (self.attached(data, partition)?, self.room(data));
        if bytes.len() as u64 > room {
            let (name, size) = (self.name, bytes.len());
            let message = format!("{name} has {size} bytes of data for {room} bytes of blocks");
            return Err(self.error(partition, message));
        }
        Ok(bytes)
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
