//! `twinpath list`.

use anyhow::Result;
use twinpath_engine::arch::ARCHS;
use twinpath_engine::site::POINTS;
use twinpath_evidence::{Policy, policy::Rule};
use twinpath_formats::quant::FORMATS;
use twinpath_lab::experiments::EXPERIMENTS;
use twinpath_lab::policies::{Builtin, POLICIES};
use twinpath_lab::suspects::{SUSPECTS, Suspect};
use twinpath_lab::trace::import::IMPORTS;
use twinpath_lab::trace::names::NAMES;
use twinpath_paths::PATHS;
use twinpath_paths::simd::Isa;
use twinpath_report::Entry;

use super::print;
use crate::args::{Global, List, Listed};

pub(super) fn run(args: &List, global: &Global) -> Result<u8> {
    let entry = |name: &str, description: String| Entry { name: name.to_owned(), description };
    let entries: Vec<Entry> = match args.what {
        Listed::Paths => {
            let oracle =
                "f64 throughout on exactly decoded weights; the reference, which shares no arithmetic with a path";
            let paths = PATHS.iter().map(|p| (p.new)(Isa::detect()));
            let described = paths.map(|p| entry(p.name(), format!("{}\nkernels here: {}", p.describe(), p.kernels())));
            [entry("oracle", oracle.to_owned())].into_iter().chain(described).collect()
        }
        Listed::Experiments => {
            let line = |e: &twinpath_lab::experiments::Experiment| {
                entry(e.id, format!("{}\npublished as {}", e.section("Claim"), e.number))
            };
            EXPERIMENTS.iter().map(line).collect()
        }
        Listed::Suspects => {
            let line = |s: &Suspect| entry(s.name, s.section("What goes wrong"));
            SUSPECTS.iter().map(line).collect()
        }
        Listed::Formats => {
            let size = |f: &&dyn twinpath_formats::QuantFormat| {
                format!(
                    "{:>3} values in {:>3} bytes, ggml type {}",
                    f.block_len(),
                    f.block_bytes(),
                    f.tensor_type() as u32
                )
            };
            FORMATS.iter().map(|f| entry(f.name(), size(f))).collect()
        }
        Listed::Imports => IMPORTS.iter().map(|i| entry(i.name(), i.describe().to_owned())).collect(),
        Listed::Names => NAMES.iter().map(|n| entry(n.name(), n.describe().to_owned())).collect(),
        Listed::Archs => ARCHS.iter().map(|a| entry(a.name(), a.describe().to_owned())).collect(),
        Listed::Policies => {
            let rules = |p: &Policy| p.rules.iter().map(rule).collect::<Vec<_>>().join("; ");
            let described = |b: &Builtin| entry(b.name, format!("{}\n{}", b.policy().why, rules(&b.policy())));
            POLICIES.iter().map(described).collect()
        }
        Listed::Points => POINTS.iter().map(|p| entry(p.name(), p.describe().trim().to_owned())).collect(),
    };
    print(|out| match global.json {
        true => twinpath_report::json(&entries, out),
        false => twinpath_report::list(&entries, out),
    })
}

/// A rule as a person reads it.
fn rule(rule: &Rule) -> String {
    let layers = rule.layers.iter().map(usize::to_string).collect::<Vec<_>>();
    let lists = [("op", &rule.ops), ("point", &rule.points), ("layer", &layers), ("weights", &rule.weights)];
    let mut when: Vec<String> = lists
        .iter()
        .filter(|(_, names)| !names.is_empty())
        .map(|(what, names)| format!("{what} {}", names.join(" or ")))
        .collect();
    if rule.massive {
        when.push("one element sets the scale of a block".to_owned());
    }
    if when.is_empty() {
        format!("{} for all else", rule.path)
    } else {
        format!("{} where {}", rule.path, when.join(", "))
    }
}
