//! The report on an input, and its findings.

use std::sync::Arc;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyCapsule;
use vfioboot::audit;
use vfioboot::audit::render::{FORMATS, Format, Medium};
use vfioboot::audit::run::{Input, Run, Settings};

use crate::error::Raise;
use crate::rows;

/// What the rules say about an input.
#[pyclass(frozen, module = "vfioboot")]
pub(crate) struct Report {
    /// With one input.
    run: Arc<Run>,
}

/// What one rule says.
#[pyclass(frozen, get_all, module = "vfioboot")]
pub(crate) struct Finding {
    rule: String,
    title: String,
    level: &'static str,
    verdict: &'static str,
    decides: bool,
    reason: String,
    why: String,
    effect: String,
    fix: String,
    source: &'static str,
    source_name: Option<String>,
}

impl Report {
    pub(crate) fn new(settings: Settings, input: Input) -> Self {
        Report { run: Arc::new(Run { settings, inputs: vec![input] }) }
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.run.settings
    }

    pub(crate) fn input(&self) -> &Input {
        // `new` puts one there.
        &self.run.inputs[0]
    }

    fn report(&self) -> Option<&audit::Report> {
        self.input().result.as_ref().ok()
    }
}

/// `pass`, `fail`, `inconclusive`, or `error` for an input that could not be checked.
pub(crate) fn outcome(input: &Input) -> &'static str {
    input.outcome().map_or("error", audit::Outcome::name)
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[pymethods]
impl Report {
    #[getter(input)]
    fn input_name(&self) -> &str {
        &self.input().name
    }

    #[getter]
    fn outcome(&self) -> &'static str {
        outcome(self.input())
    }

    #[getter]
    fn exit_status(&self) -> u8 {
        match self.input().outcome() {
            Some(audit::Outcome::Pass) => 0,
            Some(audit::Outcome::Fail) => 1,
            None => 2,
            Some(audit::Outcome::Inconclusive) => 3,
        }
    }

    #[getter]
    fn error(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        let error = self.input().result.as_ref().err()?;
        Some(error.raise().into_value(py).into_any())
    }

    #[getter]
    fn sha256(&self) -> Option<String> {
        self.input().content.map(|content| hex(&content.sha256))
    }

    #[getter]
    fn size(&self) -> Option<u64> {
        self.input().content.map(|content| content.size)
    }

    #[getter]
    fn profile(&self) -> &str {
        &self.settings().profile
    }

    #[getter]
    fn description(&self) -> Option<String> {
        self.report().map(|own| own.subject.to_string())
    }

    #[getter]
    fn release(&self) -> Option<&str> {
        self.report()?.facts.release.as_deref()
    }

    #[getter]
    fn arch(&self) -> Option<&'static str> {
        Some(self.report()?.facts.arch?.name())
    }

    #[getter]
    fn complete(&self) -> bool {
        self.report().is_some_and(|own| own.facts.incomplete.is_none())
    }

    #[getter]
    fn notes(&self) -> Vec<String> {
        self.report().map(|own| own.notes().collect()).unwrap_or_default()
    }

    #[getter]
    fn words(&self) -> Vec<String> {
        let words = self.report().into_iter().flat_map(|own| &own.evaluation.parameters);
        words.map(|own| own.parameter.to_string()).collect()
    }

    #[getter]
    fn findings(&self) -> Vec<Finding> {
        let Some(report) = self.report() else { return Vec::new() };
        report.evaluation.findings.iter().map(|own| Finding::of(report, own)).collect()
    }

    fn __getitem__(&self, rule: &str) -> PyResult<Finding> {
        let report = self.report();
        let found = report.and_then(|own| Some(Finding::of(own, own.evaluation.finding(rule)?)));
        found.ok_or_else(|| pyo3::exceptions::PyKeyError::new_err(rule.to_owned()))
    }

    fn render(&self, py: Python<'_>, format: &str) -> PyResult<String> {
        let Some(own) = Format::named(format) else {
            let names: Vec<&str> = FORMATS.iter().map(|own| own.name).collect();
            let names = names.join(", ");
            return Err(PyValueError::new_err(format!("expected one of {names}, not {format:?}")));
        };
        Ok(py.detach(|| own.render(&self.run, Medium::File)))
    }

    fn to_json(&self, py: Python<'_>) -> PyResult<String> {
        self.render(py, "json")
    }

    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(
        slf: Py<Self>,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        rows::rows(py, vec![slf])?.__arrow_c_stream__(py, requested_schema)
    }

    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        rows::Schema.__arrow_c_schema__(py)
    }

    fn __str__(&self, py: Python<'_>) -> PyResult<String> {
        self.render(py, "text")
    }

    fn __repr__(&self) -> String {
        format!("<vfioboot.Report {:?}: {}>", self.input().name, outcome(self.input()))
    }
}

impl Finding {
    fn of(report: &audit::Report, own: &audit::Finding) -> Self {
        let (source, name) = rows::source(&own.provenance);
        Finding {
            rule: own.rule.id.to_string(),
            title: own.rule.title.to_string(),
            level: own.rule.level.name(),
            verdict: own.verdict.name(),
            decides: report.decides(own),
            reason: own.reason.to_string(),
            why: own.rule.why.to_string(),
            effect: own.rule.effect.to_string(),
            fix: own.rule.fix.to_string(),
            source,
            source_name: name.map(str::to_owned),
        }
    }
}

#[pymethods]
impl Finding {
    fn __repr__(&self) -> String {
        format!("<vfioboot.Finding {} {}: {}>", self.rule, self.verdict, self.reason)
    }
}
