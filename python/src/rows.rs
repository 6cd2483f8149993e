//! Findings as rows of Arrow: one row for each rule of each input, or one for an input that could not be
//! checked.

use std::sync::Arc;

use arrow_array::builder::{BooleanBuilder, Int64Builder, StringBuilder};
use arrow_array::{ArrayRef, RecordBatch, RecordBatchIterator};
use arrow_schema::{ArrowError, DataType, Field, Schema as ArrowSchema, SchemaRef};
use pyo3::prelude::*;
use pyo3::types::PyCapsule;
use vfioboot::audit::run::{Input, Settings};
use vfioboot::audit::{Finding, Provenance, Report};

use crate::capsule;
use crate::report;

/// The columns: name, type, whether a row may have none.
const COLUMNS: [(&str, DataType, bool); 19] = [
    ("input", DataType::Utf8, false),
    ("sha256", DataType::Utf8, true),
    ("size", DataType::Int64, true),
    ("outcome", DataType::Utf8, false),
    ("error", DataType::Utf8, true),
    ("description", DataType::Utf8, true),
    ("release", DataType::Utf8, true),
    ("arch", DataType::Utf8, true),
    ("version", DataType::Utf8, false),
    ("profile", DataType::Utf8, false),
    ("fail_on", DataType::Utf8, false),
    ("options", DataType::Utf8, false),
    ("rule", DataType::Utf8, true),
    ("level", DataType::Utf8, true),
    ("verdict", DataType::Utf8, true),
    ("decides", DataType::Boolean, true),
    ("reason", DataType::Utf8, true),
    ("source", DataType::Utf8, true),
    ("source_name", DataType::Utf8, true),
];

/// The schema of the rows.
pub(crate) fn schema() -> SchemaRef {
    let field = |(name, kind, nullable): &(&str, DataType, bool)| {
        Field::new(*name, kind.clone(), *nullable)
    };
    Arc::new(ArrowSchema::new(COLUMNS.iter().map(field).collect::<Vec<_>>()))
}

/// The schema for Python, which pyarrow makes its own of.
#[pyclass(frozen, module = "vfioboot")]
pub(crate) struct Schema;

#[pymethods]
impl Schema {
    pub(crate) fn __arrow_c_schema__<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        capsule::schema(py, &schema())
    }
}

/// Rows, which any library that knows Arrow reads.
#[pyclass(frozen, module = "vfioboot")]
pub(crate) struct Rows(RecordBatch);

#[pymethods]
impl Rows {
    #[pyo3(signature = (requested_schema=None))]
    pub(crate) fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        // A consumer that wants another schema casts the rows.
        _ = requested_schema;
        let batches = RecordBatchIterator::new([Ok(self.0.clone())], self.0.schema());
        capsule::stream(py, Box::new(batches))
    }

    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        capsule::schema(py, &self.0.schema())
    }

    fn __len__(&self) -> usize {
        self.0.num_rows()
    }
}

/// The rows of several reports.
#[pyfunction]
pub(crate) fn rows(py: Python<'_>, reports: Vec<Py<report::Report>>) -> PyResult<Rows> {
    let reports: Vec<&report::Report> = reports.iter().map(Py::get).collect();
    let batch = py.detach(|| {
        let mut table = Table::new();
        for report in reports {
            table.input(report.settings(), report.input());
        }
        table.finish()
    });
    batch.map(Rows).map_err(|error| capsule::failed(&error))
}

/// Rows in the making.
struct Table {
    text: [StringBuilder; 17],
    size: Int64Builder,
    decides: BooleanBuilder,
}

/// The texts of a row.
type Texts<'t> = [Option<&'t str>; 17];

impl Table {
    fn new() -> Self {
        Table {
            text: std::array::from_fn(|_| StringBuilder::new()),
            size: Int64Builder::new(),
            decides: BooleanBuilder::new(),
        }
    }

    fn input(&mut self, settings: &Settings, input: &Input) {
        let sha256 = input.content.map(|content| report::hex(&content.sha256));
        let size = input.content.and_then(|content| i64::try_from(content.size).ok());
        let outcome = report::outcome(input);
        let (description, error) = match &input.result {
            Ok(own) => (Some(own.subject.to_string()), None),
            Err(error) => (None, Some(error.to_string())),
        };
        let report = input.result.as_ref().ok();
        let given = settings.given.to_json();
        let facts = report.map(|own| &own.facts);
        let head: [Option<&str>; 11] = [
            Some(&input.name),
            sha256.as_deref(),
            Some(outcome),
            error.as_deref(),
            description.as_deref(),
            facts.and_then(|own| own.release.as_deref()),
            facts.and_then(|own| own.arch).map(|arch| arch.name()),
            Some(env!("CARGO_PKG_VERSION")),
            Some(&settings.profile),
            Some(settings.fail_on.name()),
            Some(&given),
        ];
        let Some(report) = report else {
            let mut texts: Texts<'_> = [None; 17];
            texts[..11].copy_from_slice(&head);
            return self.row(&texts, size, None);
        };
        for finding in &report.evaluation.findings {
            self.finding(&head, size, report, finding);
        }
    }

    fn finding(
        &mut self,
        head: &[Option<&str>; 11],
        size: Option<i64>,
        report: &Report,
        finding: &Finding,
    ) {
        let reason = finding.reason.to_string();
        let (source, name) = source(&finding.provenance);
        let own = [
            Some(finding.rule.id.as_ref()),
            Some(finding.rule.level.name()),
            Some(finding.verdict.name()),
            Some(reason.as_str()),
            Some(source),
            name,
        ];
        let mut texts: Texts<'_> = [None; 17];
        texts[..11].copy_from_slice(head);
        texts[11..].copy_from_slice(&own);
        self.row(&texts, size, Some(report.decides(finding)));
    }

    fn row(&mut self, texts: &Texts<'_>, size: Option<i64>, decides: Option<bool>) {
        for (column, text) in self.text.iter_mut().zip(texts) {
            column.append_option(*text);
        }
        self.size.append_option(size);
        self.decides.append_option(decides);
    }

    fn finish(mut self) -> Result<RecordBatch, ArrowError> {
        let mut text = self.text.iter_mut();
        let mut columns: Vec<ArrayRef> = Vec::new();
        for (_, kind, _) in &COLUMNS {
            columns.push(match kind {
                DataType::Int64 => Arc::new(self.size.finish()),
                DataType::Boolean => Arc::new(self.decides.finish()),
                _ => match text.next() {
                    Some(column) => Arc::new(column.finish()),
                    None => Arc::new(StringBuilder::new().finish()),
                },
            });
        }
        RecordBatch::try_new(schema(), columns)
    }
}

/// Where a finding was read: the same names as in JSON.
pub(crate) fn source(provenance: &Provenance) -> (&'static str, Option<&str>) {
    match provenance {
        Provenance::Ikconfig { what, .. } => ("ikconfig", Some(what)),
        Provenance::File(path) => ("file", Some(path)),
        Provenance::Cmdline => ("cmdline", None),
        Provenance::Kallsyms { what, .. } => ("kallsyms", Some(what)),
        Provenance::NotKnown => ("not_known", None),
    }
}
