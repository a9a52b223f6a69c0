//! Which faults are planted where.

use std::collections::BTreeMap;

use twinpath_engine::rng::SplitMix64;
use twinpath_engine::{Site, Tensor};
use twinpath_evidence::verdict::lambda;
use twinpath_paths::Path;
use twinpath_paths::declared::evaluate;

use super::classes::{Class, GRADED, OF_CATALOGUE};
use super::models::Named;
use super::run::{ALPHA, Clean};
use crate::LabError;
use crate::change::Change;
use crate::diagnose::scenes;
use crate::suspects::Scene;

/// A fault, ready to be planted.
pub(super) struct Fault {
    /// Place in [`classes`].
    pub(super) class: usize,
    /// What was changed to what.
    pub(super) parameter: String,
    /// Where, and how.
    pub(super) sites: Vec<Site>,
    /// The first site that it shows at.
    pub(super) first: Site,
    /// By how much it moves an element there, in units of what is convicted.
    pub(super) effect: f64,
}

/// Every class.
pub(super) fn classes() -> impl Iterator<Item = &'static Class> {
    OF_CATALOGUE.iter().chain(GRADED)
}

/// Faults of each class and model that are planted in one site, and in all sites.
const SINGLE: usize = 2;
const QUICK_SINGLE: usize = 1;

/// Places where a fault could be: class, parameter, site.
type Place = (usize, String, Site);

/// Draws the faults of one model along one path.
pub(super) fn faults(named: &Named, clean: &Clean, seed: u64, quick: bool) -> Result<Vec<Fault>, LabError> {
    let path = clean.path();
    let mut places: Vec<Place> = Vec::new();
    scenes(&named.model, path.as_ref(), &clean.tokens, &mut |site, scene| {
        for (i, class) in classes().enumerate() {
            places.extend(class.changes(scene).into_iter().map(|c| (i, c.parameter, site)));
        }
    })?;
    let mut rng = SplitMix64::new(seed);
    let mut drawn: Vec<(usize, String, Vec<Site>)> = Vec::new();
    for class in 0..classes().count() {
        let mut mine: Vec<&Place> = places.iter().filter(|p| p.0 == class).collect();
        let all = draw(&mut rng, &mine).cloned();
        for _ in 0..(if quick { QUICK_SINGLE } else { SINGLE }).min(mine.len()) {
            let place = mine.swap_remove((rng.next_u64() % mine.len() as u64) as usize);
            drawn.push((class, place.1.clone(), vec![place.2]));
        }
        if let Some((_, parameter, at)) = all {
            let alike = |p: &&Place| p.0 == class && p.1 == parameter && p.2.point == at.point;
            let sites: Vec<Site> = places.iter().filter(alike).map(|p| p.2).collect();
            if sites.len() > 1 && !quick {
                drawn.push((class, parameter, sites));
            }
        }
    }
    measured(named, clean, path.as_ref(), &drawn)
}

fn draw<'p>(rng: &mut SplitMix64, places: &[&'p Place]) -> Option<&'p Place> {
    if places.is_empty() { None } else { Some(places[(rng.next_u64() % places.len() as u64) as usize]) }
}

/// The effect of each on the inputs of the run without it.
fn measured(
    named: &Named,
    clean: &Clean,
    path: &dyn Path,
    drawn: &[(usize, String, Vec<Site>)],
) -> Result<Vec<Fault>, LabError> {
    let mut effects: Vec<BTreeMap<Site, f64>> = vec![BTreeMap::new(); drawn.len()];
    let sites = clean.sites();
    scenes(&named.model, path, &clean.tokens, &mut |site, scene| {
        for ((class, parameter, places), effects) in drawn.iter().zip(&mut effects) {
            if places.contains(&site)
                && let Some(change) = change(*class, parameter, scene)
            {
                effects.insert(site, effect(&change, path, scene, sites, clean.tokens.len()));
            }
        }
    })?;
    let fault = |((class, parameter, sites), effects): (&(usize, String, Vec<Site>), BTreeMap<Site, f64>)| {
        let shows = effects.iter().find(|(_, e)| **e > super::ABOVE);
        let most = || effects.iter().max_by(|a, b| a.1.total_cmp(b.1));
        let (first, effect) = shows.or_else(most).map(|(s, e)| (*s, *e))?;
        Some(Fault { class: *class, parameter: parameter.clone(), sites: sites.clone(), first, effect })
    };
    Ok(drawn.iter().zip(effects).filter_map(fault).collect())
}

/// The change of a class with this parameter at a scene.
pub(super) fn change(class: usize, parameter: &str, scene: &Scene<'_>) -> Option<Change> {
    classes().nth(class)?.changes(scene).into_iter().find(|c| c.parameter == parameter)
}

/// The largest difference between the faulty and the right value, both of the same path, in units of what is convicted.
fn effect(change: &Change, path: &dyn Path, scene: &Scene<'_>, sites: usize, positions: usize) -> f64 {
    let right = path.eval(scene.site, scene.op, scene.inputs);
    let wrong = change.plant(path, scene.site, scene.op, scene.inputs);
    let (declared, _) = evaluate(path, None, scene.op, scene.inputs);
    let lambda = lambda(ALPHA / 2.0, sites, positions * right.cols());
    let of = |i: usize| {
        let by = |t: &Tensor<f32>| f64::from(t.data()[i]);
        match (by(&wrong) - by(&right)).abs() {
            0.0 => 0.0,
            d if d.is_nan() => f64::INFINITY,
            d => d / (lambda * declared.spread[i]),
        }
    };
    (0..right.data().len()).map(of).fold(0.0, f64::max)
}
