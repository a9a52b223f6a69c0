//! From what explains each site to the mistakes that explain the run.

use std::collections::{BTreeMap, BTreeSet};

use twinpath_engine::{Point, Site};
use twinpath_evidence::diagnosis::Tried;
use twinpath_evidence::{Named, SiteDiagnosis, Verdict};

/// Errors of that size and without a pattern are of any cause: named only where nothing else explains.
const LAST: &str = "accumulation";

/// The fewest mistakes that explain all sites that any explains, found greedily; and the sites that none explains.
///
/// A mistake is a suspect with its parameter. The one that explains most sites is named first; of equals, the one that is
/// first in the catalogue.
pub(super) fn name(sites: &[(Site, SiteDiagnosis)]) -> (Vec<Named>, Vec<String>) {
    let unexplained = |s: &&(Site, SiteDiagnosis)| matches!(s.1.verdict, Verdict::Unexplained { .. });
    let mut left: Vec<&(Site, SiteDiagnosis)> = sites.iter().filter(unexplained).collect();
    let mut named: Vec<Named> = Vec::new();
    loop {
        let mut ways: BTreeMap<(&str, &str), (usize, usize)> = BTreeMap::new();
        for (_, site) in &left {
            let others = site.tried.iter().any(|t| t.explains && t.suspect != LAST);
            let counts = |t: &Tried| t.explains && (t.suspect != LAST || !others);
            for (rank, t) in site.tried.iter().enumerate().filter(|(_, t)| counts(t)) {
                let (count, best) = ways.entry((&t.suspect, &t.parameter)).or_insert((0, rank));
                (*count, *best) = (*count + 1, (*best).min(rank));
            }
        }
        let best = ways.into_iter().max_by_key(|(_, (count, rank))| (*count, usize::MAX - rank));
        let Some(((suspect, parameter), _)) = best else { break };
        let does =
            |s: &SiteDiagnosis| s.tried.iter().any(|t| t.explains && t.suspect == suspect && t.parameter == parameter);
        let (mine, rest): (Vec<_>, Vec<_>) = left.iter().partition(|(_, s)| does(s));
        named.push(one(suspect, parameter, &mine));
        left = rest;
    }
    excuse(&mut named);
    (named, left.into_iter().map(|(_, s)| s.site.clone()).collect())
}

fn one(suspect: &str, parameter: &str, sites: &[&(Site, SiteDiagnosis)]) -> Named {
    let most = |values: &mut dyn Iterator<Item = Option<f64>>| values.flatten().reduce(f64::max);
    let of = |s: &SiteDiagnosis| s.tried.iter().find(|t| t.suspect == suspect && t.parameter == parameter).cloned();
    let mut or: Vec<String> = Vec::new();
    for t in sites.first().map(|(_, s)| &s.tried).into_iter().flatten().filter(|t| t.explains && t.suspect != suspect) {
        let everywhere = |s: &SiteDiagnosis| s.tried.iter().any(|o| o.explains && o.suspect == t.suspect);
        let text = format!("{}: {}", t.suspect, t.parameter);
        if sites.iter().all(|(_, s)| everywhere(s)) && !or.contains(&text) {
            or.push(text);
        }
    }
    Named {
        suspect: suspect.to_owned(),
        parameter: parameter.to_owned(),
        sites: sites.iter().map(|(_, s)| s.site.clone()).collect(),
        before: most(&mut sites.iter().map(|(_, s)| s.residual)),
        after: most(&mut sites.iter().map(|(_, s)| of(s).and_then(|t| t.residual))),
        or,
        equivalent: None,
    }
}

/// Marks what is only another way of saying the same model.
fn excuse(named: &mut [Named]) {
    let [rows, pairs] = ["head-rows", "rope-pairing"].map(|s| places(named.iter().filter(|n| n.suspect == s)));
    let layout = !rows.is_empty() && rows == pairs;
    let hidden = [Point::FfnGate, Point::FfnUp, Point::FfnDown].map(|point| layers_of("row-order", point, named));
    let channels = !hidden[0].is_empty() && hidden[0] == hidden[1] && hidden[1] == hidden[2];
    for n in named {
        let both = |n: &Named| {
            let places = places([n].into_iter());
            places.iter().all(|(layer, _)| [false, true].iter().all(|key| places.contains(&(*layer, *key))))
        };
        n.equivalent = match n.suspect.as_str() {
            "head-rows" | "rope-pairing" if layout => {
                Some("rows in the other order and RoPE with the other pairing are one layout for another".to_owned())
            }
            "row-order" if channels => {
                Some("hidden channels reordered alike in gate, up and down projection are the same model".to_owned())
            }
            "position-offset" if both(n) => {
                Some("queries and keys are off alike, and only differences of positions count".to_owned())
            }
            "norm-order" if n.parameter == "taken twice" => {
                Some("RMSNorm taken twice, first without a weight, is the same up to eps".to_owned())
            }
            _ => None,
        };
    }
}

/// Layers in which a suspect was named at a point.
fn layers_of(suspect: &str, point: Point, named: &[Named]) -> BTreeSet<usize> {
    let sites = named.iter().filter(|n| n.suspect == suspect).flat_map(|n| &n.sites);
    sites.filter_map(|s| s.parse().ok()).filter(|s: &Site| s.point == point).filter_map(|s| s.layer).collect()
}

/// Layers, and whether it is the keys' site of the layer; empty if a site is of neither queries nor keys.
fn places<'n>(named: impl Iterator<Item = &'n Named>) -> BTreeSet<(usize, bool)> {
    let place = |site: &String| {
        let site: Site = site.parse().ok()?;
        match site.point {
            Point::Q | Point::QRope => Some((site.layer?, false)),
            Point::K | Point::KRope => Some((site.layer?, true)),
            _ => None,
        }
    };
    named.flat_map(|n| &n.sites).filter_map(place).collect()
}
