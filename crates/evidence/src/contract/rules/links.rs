//! Rules about names: that they are declared, exist, are unique, and lead nowhere in circles.

use std::collections::{BTreeMap, BTreeSet};

use super::{Context, Found, when};
use crate::contract::claim::{Claim, Control, Measure};
use crate::contract::keys::nearest;
use crate::contract::measured::{models_of, prompt_of};

/// What to say of a name that does not exist.
fn unknown<'k>(what: &str, name: &str, known: impl Iterator<Item = &'k str> + Clone) -> String {
    match nearest(name, known.clone()) {
        Some(near) => format!("there is no {what} `{name}`: did you mean `{near}`?"),
        None => {
            let mut all: Vec<&str> = known.collect();
            all.sort_unstable();
            let all = if all.is_empty() { "none".to_owned() } else { all.join(", ") };
            format!("there is no {what} `{name}`; there are: {all}")
        }
    }
}

pub(super) fn declared(c: &Context<'_>) -> Found {
    let (mut models, mut prompts): (BTreeSet<&str>, BTreeSet<&str>) = Default::default();
    if let Some(t) = &c.contract().twinpath {
        models.extend(t.models.keys().map(String::as_str));
        prompts.extend(t.prompts.keys().map(String::as_str));
    }
    let mut found = Vec::new();
    for (i, claim) in c.contract().claims.iter().enumerate() {
        for name in models_of(claim).into_iter().filter(|name| !models.contains(name)) {
            let required = claim.requires_model.as_deref() == Some(name);
            let pointer = if required { format!("/claims/{i}/requires_model") } else { format!("/claims/{i}/measure") };
            found.push((pointer, unknown("model", name, models.iter().copied())));
        }
        if let Some(name) = prompt_of(claim).filter(|name| !prompts.contains(name)) {
            found.push((format!("/claims/{i}/measure"), unknown("prompt", name, prompts.iter().copied())));
        }
    }
    found
}

pub(super) fn experiments(c: &Context<'_>) -> Found {
    let mut found = Vec::new();
    for (i, claim) in c.contract().claims.iter().enumerate() {
        let (kind, id, known) = match &claim.measure {
            Measure::Experiment(e) => ("experiment", &e.id, &c.known.experiments),
            Measure::Published(e) => ("published", &e.id, &c.known.published),
            _ => continue,
        };
        if !known.contains(id) {
            let message = unknown("experiment", id, known.iter().map(String::as_str));
            found.push((format!("/claims/{i}/measure/{kind}/id"), message));
        }
    }
    found
}

/// Names in a claim: pointer below the claim, what it names, the name.
fn used(claim: &Claim) -> Vec<(String, &'static str, &str)> {
    let mut used: Vec<(String, &'static str, &str)> = Vec::new();
    match &claim.measure {
        Measure::Compare(m) => {
            used.push(("measure/compare/a/path".to_owned(), "path", &m.a.path));
            used.push(("measure/compare/b/path".to_owned(), "path", &m.b.path));
            for (i, site) in m.sites.iter().enumerate() {
                used.push((format!("measure/compare/sites/{i}"), "point", site));
            }
        }
        Measure::Repeat(m) => used.push(("measure/repeat/path".to_owned(), "path", &m.path)),
        Measure::Speed(m) => {
            used.push(("measure/speed/path".to_owned(), "path", &m.path));
            used.extend(m.against.iter().map(|path| ("measure/speed/against".to_owned(), "path", path.as_str())));
        }
        Measure::Decode(m) => {
            for (i, format) in m.formats.iter().enumerate() {
                used.push((format!("measure/decode/formats/{i}"), "format", format));
            }
        }
        _ => {}
    }
    if let Some(Control::Fault(fault)) = &claim.control {
        used.push(("control/fault".to_owned(), "fault", fault));
    }
    used
}

pub(super) fn names(c: &Context<'_>) -> Found {
    let mut found = Vec::new();
    for (i, claim) in c.contract().claims.iter().enumerate() {
        for (pointer, what, name) in used(claim) {
            let known = match what {
                "path" => &c.known.paths,
                "fault" => &c.known.faults,
                "format" => &c.known.formats,
                _ => &c.known.points,
            };
            // `blk.3.ffn_swiglu` is the point `ffn_swiglu` of one layer.
            let point = name.strip_prefix("blk.").and_then(|rest| rest.split_once('.'));
            let name = point.filter(|(layer, _)| layer.parse::<u32>().is_ok()).map_or(name, |(_, point)| point);
            if !known.iter().any(|k| k == name) {
                found.push((format!("/claims/{i}/{pointer}"), unknown(what, name, known.iter().map(String::as_str))));
            }
        }
    }
    found
}

pub(super) fn unique(c: &Context<'_>) -> Found {
    let mut found = Vec::new();
    for (list, ids) in ids(c.document) {
        for (i, id) in ids.iter().enumerate() {
            let here = |d: &crate::contract::Document| {
                self::ids(d).iter().flat_map(|(_, ids)| ids.clone()).filter(|x| x == id).count()
            };
            let other = c.all.iter().find(|d| d.file != c.document.file && here(d) > 0);
            let message = match other {
                _ if here(c.document) > 1 => format!("`{id}` is used twice in this file"),
                Some(d) => format!("`{id}` is used in {} too", d.file.display()),
                None if c.all.iter().any(|d| d.name == *id) => format!("`{id}` is the name of a contract"),
                None => continue,
            };
            found.push((format!("/{list}/{i}/id"), message));
        }
    }
    found
}

/// Ids of the claims and of the gates of a file.
fn ids(document: &crate::contract::Document) -> [(&'static str, Vec<&str>); 2] {
    let claims = document.contract.claims.iter().map(|c| c.id.as_str()).collect();
    [("claims", claims), ("gates", document.contract.gates.iter().map(|g| g.id.as_str()).collect())]
}

/// Everything that one thing needs, with pointers.
fn needs<'c>(c: &Context<'c>) -> Vec<(String, &'c str)> {
    let mut needs = Vec::new();
    let mut add = |base: String, names: &'c [String]| {
        needs.extend(names.iter().enumerate().map(|(k, name)| (format!("{base}/{k}"), name.as_str())));
    };
    let contract = c.contract();
    for (i, claim) in contract.claims.iter().enumerate() {
        add(format!("/claims/{i}/depends_on"), &claim.depends_on);
    }
    for (i, gate) in contract.gates.iter().enumerate() {
        add(format!("/gates/{i}/claims"), &gate.claims);
        add(format!("/gates/{i}/gates"), &gate.gates);
    }
    for (i, amendment) in contract.history.iter().enumerate() {
        add(format!("/history/{i}/claims"), &amendment.claims);
    }
    add("/metadata/depends_on".to_owned(), &contract.metadata.depends_on);
    needs
}

pub(super) fn dangling(c: &Context<'_>) -> Found {
    let mut known: BTreeSet<&str> = c.all.iter().map(|d| d.name.as_str()).collect();
    known.extend(c.all.iter().flat_map(ids).flat_map(|(_, ids)| ids));
    let bad = needs(c).into_iter().filter(|(_, name)| !known.contains(name));
    bad.map(|(pointer, name)| (pointer, unknown("claim, gate or contract", name, known.iter().copied()))).collect()
}

pub(super) fn gates(c: &Context<'_>) -> Found {
    let gates = c.contract().gates.iter().enumerate().filter(|(_, g)| g.claims.is_empty() && g.gates.is_empty());
    gates
        .flat_map(|(i, g)| when(true, format!("/gates/{i}"), format!("`{}` needs nothing and is always met", g.id)))
        .collect()
}

pub(super) fn cycles(c: &Context<'_>) -> Found {
    let mut edges: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for document in c.all {
        let contract = &document.contract;
        let of_contract = edges.entry(document.name.as_str()).or_default();
        of_contract.extend(contract.metadata.depends_on.iter().map(String::as_str));
        of_contract.extend(contract.claims.iter().map(|claim| claim.id.as_str()));
        for claim in &contract.claims {
            edges.entry(&claim.id).or_default().extend(claim.depends_on.iter().map(String::as_str));
        }
        for gate in &contract.gates {
            edges.entry(&gate.id).or_default().extend(gate.claims.iter().chain(&gate.gates).map(String::as_str));
        }
    }
    let mut found = Vec::new();
    let mut look = |pointer: String, id: &str| {
        if let Some(way) = way_back(id, &edges) {
            found.push((pointer, format!("this depends on itself: {}", way.join(" → "))));
        }
    };
    for (list, ids) in ids(c.document) {
        let field = if list == "claims" { "depends_on" } else { "gates" };
        ids.iter().enumerate().for_each(|(i, id)| look(format!("/{list}/{i}/{field}"), id));
    }
    if way_back(&c.document.name, &edges).is_some_and(|way| way.iter().all(|n| c.all.iter().any(|d| d.name == *n))) {
        look("/metadata/depends_on".to_owned(), &c.document.name);
    }
    found
}

/// A way along `edges` from `start` to itself.
fn way_back<'e>(start: &'e str, edges: &BTreeMap<&'e str, Vec<&'e str>>) -> Option<Vec<&'e str>> {
    let mut stack = vec![vec![start]];
    let mut seen = BTreeSet::new();
    while let Some(way) = stack.pop() {
        let last = *way.last()?;
        for next in edges.get(last).into_iter().flatten() {
            let longer = || way.iter().copied().chain([*next]).collect::<Vec<_>>();
            if *next == start {
                return Some(longer());
            }
            if seen.insert(*next) {
                stack.push(longer());
            }
        }
    }
    None
}
