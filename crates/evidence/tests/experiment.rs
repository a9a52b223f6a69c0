//! Verdicts follow from numbers, whatever a record says of itself.

use twinpath_evidence::Provenance;
use twinpath_evidence::experiment::{
    Band, Check, ExperimentRecord, Falsification, Findings, Interval, Measured, Verdict,
};
use twinpath_evidence::published::{Reproduced, Row, Rule};

fn interval(low: f64, estimate: f64, high: f64) -> Interval {
    Interval { low, estimate, high, how: "test".to_owned() }
}

fn verdict(x: impl Into<Measured>) -> Verdict {
    Check::new("x", Band::between(1.0, 2.0), "", x).verdict()
}

#[test]
fn the_whole_interval_decides() {
    assert_eq!(verdict(interval(1.0, 1.5, 2.0)), Verdict::Upheld);
    assert_eq!(verdict(interval(2.5, 2.6, 2.7)), Verdict::Refuted);
    assert_eq!(verdict(interval(0.1, 0.2, 0.3)), Verdict::Refuted);
    assert_eq!(verdict(interval(1.5, 1.9, 2.1)), Verdict::Inconclusive);
    assert_eq!(verdict(interval(0.5, 1.5, 2.5)), Verdict::Inconclusive);
}

#[test]
fn what_is_no_number_decides_nothing() {
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert_eq!(verdict(Interval::exact(bad)), Verdict::Inconclusive);
        assert_eq!(verdict(interval(1.5, 1.5, bad)), Verdict::Inconclusive);
    }
    assert_eq!(verdict(None), Verdict::Inconclusive);
    assert_eq!(verdict(Measured::Skipped { needs: "m".into() }), Verdict::Skipped);
    assert_eq!(verdict(Measured::NotExercised { why: "w".into() }), Verdict::NotExercised);
}

fn findings(check: f64, control: f64, positive: f64) -> Findings {
    let one = |x| vec![Check::new("x", Band::between(1.0, 2.0), "", Interval::exact(x))];
    Findings { checks: one(check), controls: one(control), positive_controls: one(positive), notes: Vec::new() }
}

fn judged(findings: Findings) -> ExperimentRecord {
    ExperimentRecord::new("e", "claim", findings, None)
}

#[test]
fn without_a_refuted_control_and_an_upheld_one_nothing_is_upheld() {
    assert_eq!(judged(findings(1.5, 9.0, 1.5)).verdict(), Verdict::Upheld);
    assert_eq!(judged(findings(1.5, 1.5, 1.5)).verdict(), Verdict::Inconclusive);
    assert_eq!(judged(findings(1.5, 9.0, 9.0)).verdict(), Verdict::Inconclusive);
    assert_eq!(judged(Findings { controls: Vec::new(), ..findings(1.5, 9.0, 1.5) }).verdict(), Verdict::Inconclusive);
    assert_eq!(judged(findings(9.0, 9.0, 1.5)).verdict(), Verdict::Refuted);
    assert_eq!(judged(Findings::default()).verdict(), Verdict::Inconclusive);
}

#[test]
fn an_edited_verdict_has_no_effect() {
    let text = serde_json::to_string(&judged(findings(9.0, 9.0, 1.5))).unwrap();
    let edited = text.replace("refuted", "upheld");
    assert_ne!(text, edited);
    let read: ExperimentRecord = serde_json::from_str(&edited).unwrap();
    assert_eq!((read.verdict(), read.findings.checks[0].verdict()), (Verdict::Refuted, Verdict::Refuted));
}

#[test]
fn skipped_is_never_passed() {
    let provenance = || Provenance { version: String::new(), cpu: String::new(), files: Vec::new() };
    let run = |experiments| Falsification::new(provenance(), Vec::new(), experiments);
    let skipped = Check::new("y", Band::none(), "", Measured::Skipped { needs: "a model".into() });
    let only = judged(Findings { checks: vec![skipped.clone()], ..findings(1.5, 9.0, 1.5) });
    assert_eq!((only.verdict(), run(vec![only.clone()]).exit_code()), (Verdict::Skipped, 3));
    let mut both = findings(1.5, 9.0, 1.5);
    both.checks.push(skipped);
    let both = run(vec![judged(both)]);
    assert_eq!((both.counts.upheld, both.counts.skipped_rows, both.exit_code()), (1, 1, 0));
    assert_eq!(run(Vec::new()).exit_code(), 3);
    assert_eq!(run(vec![judged(findings(9.0, 9.0, 1.5)), only]).exit_code(), 1);
}

#[test]
fn a_figure_differs_by_a_digit_or_by_a_bit() {
    let print = |x: f32| format!("{x:.1}");
    assert_eq!(Row::bits("f", "1.5", 0x3fc0_0000, 1.5, print).reproduced(), Reproduced::Match);
    assert_eq!(Row::bits("f", "1.5", 0x3fc0_0001, 1.5, print).reproduced(), Reproduced::Differs);
    assert_eq!(Row::digits("f", "1.6", 1.5, print).reproduced(), Reproduced::Differs);
    assert_eq!(Row::skipped("f", "1.5", None, "a file").reproduced(), Reproduced::Skipped);
}

#[test]
fn a_published_rule_excludes_its_own_steps() {
    let rule = Rule::new("gain", &[(5.0, "high"), (1.5, "middle")], "low");
    assert_eq!([6.0, 5.0, 1.5, f64::NAN].map(|x| rule.says(x)), ["high", "middle", "low", "low"]);
}
