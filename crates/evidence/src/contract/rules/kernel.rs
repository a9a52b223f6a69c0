//! Rules of the published validator about equations, obligations, tests and harnesses.

use std::collections::BTreeSet;

use super::{Context, Found, when};
use crate::contract::shared::{Kind, Obligation, ObligationType};

/// Whether the rules for kernels apply, and what to add to a message where that was only assumed.
fn kernel(c: &Context<'_>) -> Option<&'static str> {
    let metadata = &c.contract().metadata;
    let stated = c.document.places.has("/metadata/kind");
    let applies = metadata.kind == Kind::Kernel && !metadata.registry;
    applies.then_some(if stated { "" } else { " (no metadata.kind, so it is judged as a kernel)" })
}

pub(super) fn equations(c: &Context<'_>) -> Found {
    let Some(why) = kernel(c) else { return Vec::new() };
    when(c.contract().equations.0.is_empty(), "/equations", format!("a kernel contract without an equation{why}"))
}

pub(super) fn formulas(c: &Context<'_>) -> Found {
    let Some(why) = kernel(c) else { return Vec::new() };
    let empty = c.contract().equations.0.iter().filter(|(_, e)| e.formula.is_empty());
    empty.map(|(name, _)| (format!("/equations/{name}"), format!("equation `{name}` has no formula{why}"))).collect()
}

/// Obligations with a fault, as findings at `field`.
fn obligations(c: &Context<'_>, field: &str, message: &str, bad: impl Fn(&Obligation) -> bool) -> Found {
    let all = c.contract().proof_obligations.iter().enumerate();
    all.filter(|(_, o)| bad(o)).map(|(i, _)| (format!("/proof_obligations/{i}/{field}"), message.to_owned())).collect()
}

pub(super) fn properties(c: &Context<'_>) -> Found {
    obligations(c, "property", "the obligation states no property", |o| o.property.is_empty())
}

pub(super) fn formal(c: &Context<'_>) -> Found {
    let mut seen = BTreeSet::new();
    let all = c.contract().proof_obligations.iter().enumerate();
    let again = all.filter_map(|(i, o)| o.formal.as_ref().filter(|f| !seen.insert(*f)).map(|f| (i, f)));
    again.map(|(i, f)| (format!("/proof_obligations/{i}/formal"), format!("`{f}` is stated above already"))).collect()
}

pub(super) fn requires(c: &Context<'_>) -> Found {
    obligations(c, "requires", "`requires` has a meaning only in a postcondition", |o| {
        o.requires.is_some() && o.sort != ObligationType::Postcondition
    })
}

pub(super) fn phases(c: &Context<'_>) -> Found {
    obligations(c, "applies_to_phase", "`applies_to_phase` has a meaning only in a loop property", |o| {
        o.applies_to_phase.is_some() && !matches!(o.sort, ObligationType::LoopInvariant | ObligationType::LoopVariant)
    })
}

pub(super) fn parents(c: &Context<'_>) -> Found {
    obligations(c, "parent_contract", "`parent_contract` has a meaning only in a subcontract", |o| {
        o.parent_contract.is_some() && o.sort != ObligationType::Subcontract
    })
}

pub(super) fn parent_declared(c: &Context<'_>) -> Found {
    let declared = &c.contract().metadata.depends_on;
    obligations(c, "parent_contract", "the parent contract is not in metadata.depends_on: add it there", |o| {
        o.sort == ObligationType::Subcontract && o.parent_contract.as_ref().is_some_and(|p| !declared.contains(p))
    })
}

fn not_applicable(o: &Obligation) -> bool {
    o.applies_to.as_deref().is_some_and(|a| a == "not_applicable" || a == "N/A")
}

fn blank(text: Option<&String>) -> bool {
    text.is_none_or(|t| t.trim().is_empty())
}

pub(super) fn na_reason(c: &Context<'_>) -> Found {
    let message = "say in `na_reason` why this does not apply";
    obligations(c, "na_reason", message, |o| not_applicable(o) && blank(o.na_reason.as_ref()))
}

pub(super) fn na_owner(c: &Context<'_>) -> Found {
    let message = "say in `na_owner` who decided that this does not apply";
    obligations(c, "na_owner", message, |o| not_applicable(o) && blank(o.na_owner.as_ref()))
}

pub(super) fn na_needless(c: &Context<'_>) -> Found {
    let message = "this applies, so it has no `na_reason` and no `na_owner`";
    let mut found = obligations(c, "na_reason", message, |o| !not_applicable(o) && o.na_reason.is_some());
    found.extend(obligations(c, "na_owner", message, |o| !not_applicable(o) && o.na_owner.is_some()));
    found
}

pub(super) fn no_tests(c: &Context<'_>) -> Found {
    let pointer = "/falsification_tests";
    let empty = c.document.places.has(pointer) && c.contract().falsification_tests.is_empty();
    when(empty, pointer, "no test is listed: add one, or remove the key")
}

pub(super) fn blank_tests(c: &Context<'_>) -> Found {
    let mut found = Vec::new();
    for (i, t) in c.contract().falsification_tests.iter().enumerate() {
        for (key, value) in [("test", &t.test), ("test_harness", &t.test_harness)] {
            if value.as_ref().is_some_and(|v| v.trim().is_empty()) {
                found.push((format!("/falsification_tests/{i}/{key}"), format!("`{key}` is blank: say how to run it")));
            }
        }
    }
    found
}

/// Ids that were seen before.
fn repeated<'i>(ids: impl Iterator<Item = &'i str>, list: &str) -> Found {
    let mut seen = BTreeSet::new();
    let again = ids.enumerate().filter(|(_, id)| !seen.insert(*id));
    again.map(|(i, id)| (format!("/{list}/{i}/id"), format!("`{id}` is used above already"))).collect()
}

pub(super) fn test_ids(c: &Context<'_>) -> Found {
    repeated(c.contract().falsification_tests.iter().map(|t| t.id.as_str()), "falsification_tests")
}

pub(super) fn predictions(c: &Context<'_>) -> Found {
    let tests = c.contract().falsification_tests.iter().enumerate().filter(|(_, t)| t.prediction.is_empty());
    tests
        .map(|(i, t)| (format!("/falsification_tests/{i}/prediction"), format!("`{}` predicts nothing", t.id)))
        .collect()
}

pub(super) fn if_fails(c: &Context<'_>) -> Found {
    let tests = c.contract().falsification_tests.iter().enumerate().filter(|(_, t)| t.if_fails.is_empty());
    let message = |id: &str| format!("`{id}` does not say what a failure means");
    tests.map(|(i, t)| (format!("/falsification_tests/{i}/if_fails"), message(&t.id))).collect()
}

pub(super) fn kani_ids(c: &Context<'_>) -> Found {
    repeated(c.contract().kani_harnesses.iter().map(|k| k.id.as_str()), "kani_harnesses")
}

pub(super) fn kani_obligations(c: &Context<'_>) -> Found {
    let empty = c.contract().kani_harnesses.iter().enumerate().filter(|(_, k)| k.obligation.is_empty());
    empty
        .map(|(i, k)| (format!("/kani_harnesses/{i}/obligation"), format!("`{}` checks no obligation", k.id)))
        .collect()
}

pub(super) fn kani_bounds(c: &Context<'_>) -> Found {
    let none = c.contract().kani_harnesses.iter().enumerate().filter(|(_, k)| k.bound.is_none());
    none.map(|(i, k)| (format!("/kani_harnesses/{i}/bound"), format!("`{}` has no unwinding bound", k.id))).collect()
}

pub(super) fn qa_gate(c: &Context<'_>) -> Found {
    let Some(why) = kernel(c) else { return Vec::new() };
    when(c.contract().qa_gate.is_none(), "/qa_gate", format!("a kernel contract without a qa_gate{why}"))
}

pub(super) fn provable(c: &Context<'_>) -> Found {
    let Some(why) = kernel(c) else { return Vec::new() };
    let contract = c.contract();
    let (tests, obligations) = (contract.falsification_tests.len(), contract.proof_obligations.len());
    let mut found = when(obligations == 0, "/proof_obligations", format!("no proof_obligations{why}"));
    found.extend(when(tests == 0, "/falsification_tests", format!("no falsification_tests{why}")));
    found.extend(when(contract.kani_harnesses.is_empty(), "/kani_harnesses", format!("no kani_harnesses{why}")));
    let few = format!("{tests} falsification_tests for {obligations} proof_obligations{why}");
    found.extend(when(tests < obligations, "/falsification_tests", few));
    found
}

pub(super) fn count(c: &Context<'_>) -> Found {
    let Some(summary) = &c.contract().verification_summary else { return Vec::new() };
    let (stated, counted) = (summary.total_obligations as usize, c.contract().proof_obligations.len());
    let message = format!("{stated} obligations are stated and {counted} are listed");
    when(stated != counted, "/verification_summary/total_obligations", message)
}
