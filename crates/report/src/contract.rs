//! Contracts as tables, lists and SARIF.

use std::io::{self, Write};

use serde_json::{Value, json};
use twinpath_evidence::contract::diff::Difference;
use twinpath_evidence::contract::rules::RULES;
use twinpath_evidence::contract::{Finding, Level, Report, Status};

use crate::table::{table, text};

/// Characters of a reason that fit into a table.
const REASON: usize = 110;

/// Findings as a compiler shows them, and their number.
///
/// # Errors
/// When `out` cannot be written.
pub fn findings(findings: &[Finding], contracts: usize, out: &mut dyn Write) -> io::Result<()> {
    for finding in findings {
        writeln!(out, "{finding}")?;
    }
    let errors = findings.iter().filter(|f| f.level == Level::Error).count();
    writeln!(out, "{contracts} contracts, {errors} errors, {} warnings", findings.len() - errors)
}

/// Where claims and gates stand.
///
/// # Errors
/// When `out` cannot be written.
pub fn statuses(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let mut claims = table(&["claim", "status", "why"], 3);
    for c in &report.claims {
        claims.add_row([c.id.clone(), c.status.word().to_owned(), cut(&c.reason)]);
    }
    writeln!(out, "{}", text(&claims))?;
    if !report.gates.is_empty() {
        let mut gates = table(&["gate", "", "waits for"], 3);
        for g in &report.gates {
            let mut open = g.waits_for.iter();
            let first = open.next().map(|s| cut(s)).unwrap_or_default();
            gates.add_row([g.id.clone(), if g.met { "met" } else { "open" }.to_owned(), first]);
            open.for_each(|o| {
                gates.add_row([String::new(), String::new(), cut(o)]);
            });
        }
        writeln!(out, "{}", text(&gates))?;
    }
    for c in report.claims.iter().filter(|c| c.status == Status::Refuted) {
        writeln!(out, "{} is REFUTED: {}\n  {}\n  {}", c.id, c.statement, c.reason, c.if_refuted)?;
    }
    let counts: Vec<String> = report.counts.iter().map(|(word, n)| format!("{n} {word}")).collect();
    let met = report.gates.iter().filter(|g| g.met).count();
    writeln!(out, "{} claims: {}; {met} of {} gates met", report.claims.len(), counts.join(", "), report.gates.len())
}

fn cut(reason: &str) -> String {
    if reason.chars().count() <= REASON {
        return reason.to_owned();
    }
    reason.chars().take(REASON - 1).chain(['…']).collect()
}

/// What changed between two versions.
///
/// # Errors
/// When `out` cannot be written.
pub fn difference(d: &Difference, out: &mut dyn Write) -> io::Result<()> {
    for change in &d.changes {
        writeln!(out, "{:6} {}", format!("{:?}", change.bump).to_lowercase(), change.what)?;
    }
    let needed = d.needed.as_deref().unwrap_or("a semantic version");
    let verdict = if d.enough { "enough" } else { "not enough" };
    writeln!(out, "{} -> {}: {verdict}; {needed} or later is needed", d.from, d.to)
}

/// The rules.
///
/// # Errors
/// When `out` cannot be written.
pub fn rules(out: &mut dyn Write) -> io::Result<()> {
    let mut all = table(&["rule", "level", "demands that"], 3);
    for rule in RULES {
        all.add_row([rule.id, level(rule.level), rule.demands]);
    }
    write!(out, "{}", text(&all))
}

fn level(level: Level) -> &'static str {
    match level {
        Level::Error => "error",
        Level::Warning => "warning",
    }
}

/// Findings as SARIF 2.1.0, which code hosts show beside the lines.
pub fn sarif(findings: &[Finding], version: &str) -> Value {
    let rules: Vec<Value> =
        RULES.iter().map(|r| json!({ "id": r.id, "shortDescription": { "text": r.demands } })).collect();
    let results: Vec<Value> = findings
        .iter()
        .map(|f| {
            let uri = f.file.to_string_lossy().replace('\\', "/");
            json!({
                "ruleId": f.rule,
                "level": level(f.level),
                "message": { "text": f.message },
                "locations": [{
                    "physicalLocation": {
                        "artifactLocation": { "uri": uri },
                        "region": {
                            "startLine": f.line,
                            "startColumn": f.column,
                            "snippet": { "text": f.excerpt },
                        },
                    },
                    "logicalLocations": [{ "fullyQualifiedName": f.pointer }],
                }],
            })
        })
        .collect();
    let driver = json!({ "name": "twinpath", "version": version, "rules": rules });
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{ "tool": { "driver": driver }, "columnKind": "unicodeCodePoints", "results": results }],
    })
}
