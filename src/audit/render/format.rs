//! The definition of a report format.

use crate::audit::run::{Input, Run, Settings, Totals};

/// A report format.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Format {
    /// The name in options: `sarif`.
    pub name: &'static str,
    /// A short description.
    pub about: &'static str,
    /// The intended reader.
    pub audience: Audience,
    pub(super) render: Render,
}

/// The intended reader of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Humans: on a terminal it may have colours.
    People,
    /// Programs: the output follows the format exactly.
    Programs,
}

/// The destination of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Medium {
    /// A terminal: reports for humans have escape sequences for colours, and omit the inputs that
    /// could not be checked, which the caller reports separately.
    Terminal,
    /// A file: without escape sequences, and complete.
    File,
}

/// How a report is made.
#[derive(Clone, Copy, Debug)]
pub(super) enum Render {
    /// At the end, from all inputs.
    Whole(fn(&Run, Medium) -> String),
    /// Input by input.
    Pieces(Pieces),
}

/// The pieces of a report.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pieces {
    /// What comes first.
    pub(super) begin: &'static str,
    /// That of an input.
    pub(super) input: fn(&Place<'_>, &Input) -> String,
    /// What comes last.
    pub(super) end: fn(&Place<'_>) -> String,
}

/// The place of a piece in its report.
#[derive(Debug)]
pub(super) struct Place<'s> {
    pub(super) settings: &'s Settings,
    pub(super) medium: Medium,
    /// The inputs so far, with this one.
    pub(super) totals: Totals,
    /// No input has been written yet.
    pub(super) first: bool,
}

/// A report that is made input by input, and takes no more memory for more of them.
#[derive(Debug)]
pub struct Stream<'s> {
    pieces: Pieces,
    place: Place<'s>,
}

impl Format {
    /// Render the report, which ends with a newline.
    pub fn render(&self, run: &Run, medium: Medium) -> String {
        let mut stream = match self.render {
            Render::Whole(render) => return render(run, medium),
            Render::Pieces(pieces) => Stream::new(pieces, &run.settings, medium),
        };
        let mut out = stream.begin().to_owned();
        run.inputs.iter().for_each(|input| out.push_str(&stream.input(input)));
        out + &stream.end()
    }

    /// The report in pieces; None for a format that needs all inputs at once.
    pub fn stream<'s>(&self, settings: &'s Settings, medium: Medium) -> Option<Stream<'s>> {
        match self.render {
            Render::Whole(_) => None,
            Render::Pieces(pieces) => Some(Stream::new(pieces, settings, medium)),
        }
    }
}

impl<'s> Stream<'s> {
    fn new(pieces: Pieces, settings: &'s Settings, medium: Medium) -> Self {
        let place = Place { settings, medium, totals: Totals::default(), first: true };
        Stream { pieces, place }
    }

    /// What comes before the first input.
    pub fn begin(&self) -> &'static str {
        self.pieces.begin
    }

    /// The piece of the next input.
    pub fn input(&mut self, input: &Input) -> String {
        self.place.totals.add(input.outcome());
        let piece = (self.pieces.input)(&self.place, input);
        self.place.first &= piece.is_empty();
        piece
    }

    /// What comes after the last input.
    pub fn end(&self) -> String {
        (self.pieces.end)(&self.place)
    }
}
