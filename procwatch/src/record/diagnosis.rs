//! The record of a diagnosis that an alert asked for.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Occasion, Process};
use crate::diagnose::report::Diagnosis;

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DiagnosisResult {
    /// Code that creates the threads was found.
    Cause,
    /// None was found.
    NoCause,
    /// It could not be looked: the process had ended, or looking failed.
    Failed,
}

/// Kind `diagnosis`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Diagnosed {
    /// The process, as it was at the alert.
    #[serde(flatten)]
    pub process: Process,
    /// The rule that asked for it, as written.
    pub rule: String,
    /// The alert that asked for it.
    pub occasion: Occasion,
    /// What came of it.
    pub result: DiagnosisResult,
    /// The answer in one line, escaped: file, line and code, or function; or why there is none.
    pub headline: String,
    /// The whole answer, the same as of `procwatch diagnose --json`; null when looking failed.
    #[schemars(with = "Option<Diagnosis>")]
    pub diagnosis: Option<serde_json::Value>,
    /// From the order to the answer, ns.
    pub took_ns: u64,
}
