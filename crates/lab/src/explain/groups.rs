//! Groups of sites that are switched as one, and what switching them costs.

use twinpath_engine::site::POINTS;
use twinpath_engine::{Model, Point, Site};

use super::Detail;

/// A group of sites that is switched as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Group {
    /// `embed`, `blk.3`, `blk.3.ffn_down` or `head`.
    pub(crate) name: String,
    pub(crate) kind: Kind,
}

/// What a group holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Embed,
    Layer(usize),
    /// One site of a layer.
    Site(Site),
    Head,
}

impl Group {
    /// Whether it holds `site`.
    pub(crate) fn holds(&self, site: Site) -> bool {
        match self.kind {
            Kind::Embed => site.point == Point::Embed,
            Kind::Layer(layer) => site.layer == Some(layer),
            Kind::Site(own) => site == own,
            Kind::Head => site.layer.is_none() && site.point != Point::Embed,
        }
    }

    /// The first layer that is computed again when it is switched; all of them for the embedding, none for the head.
    pub(crate) fn layer(&self, layers: usize) -> usize {
        match self.kind {
            Kind::Embed => 0,
            Kind::Layer(layer) => layer,
            Kind::Site(site) => site.layer.unwrap_or(0),
            Kind::Head => layers,
        }
    }
}

/// The groups of a level of detail, in execution order.
pub(crate) fn groups(model: &Model, detail: &Detail) -> Vec<Group> {
    let group = |name: String, kind| Group { name, kind };
    let mut groups = vec![group("embed".to_owned(), Kind::Embed)];
    for layer in 0..model.config().layers {
        if detail.opens(layer) {
            let sites = points_of(model).map(|p| Site::block(layer, p));
            groups.extend(sites.map(|s| group(s.to_string(), Kind::Site(s))));
        } else {
            groups.push(group(format!("blk.{layer}"), Kind::Layer(layer)));
        }
    }
    groups.push(group("head".to_owned(), Kind::Head));
    groups
}

/// The points of a layer of this model, in execution order.
fn points_of(model: &Model) -> impl Iterator<Item = Point> {
    let normed = model.arch().tensors(model.config()).iter().any(|t| t.name == "attn_q_norm.weight");
    let inner = move |p: &Point| match p {
        Point::Embed | Point::FinalNorm | Point::Logits => false,
        Point::QNorm | Point::KNorm => normed,
        _ => true,
    };
    POINTS.iter().copied().filter(inner)
}

/// Sites of a run of the model.
pub(crate) fn site_count(model: &Model) -> usize {
    3 + model.config().layers * points_of(model).count()
}

/// What parts of a forward pass cost, in weights that they read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Price {
    layers: usize,
    layer: u64,
    head: u64,
}

impl Price {
    /// All layers of a model are of one size.
    pub(crate) fn of(model: &Model) -> Price {
        let size = |name: &str| model.matrix(name).rows() as u64 * model.matrix(name).cols() as u64;
        let layer = model.matrix_names().filter(|n| n.starts_with("blk.0.")).map(size).sum();
        let head = model.head().weight;
        Price { layers: model.config().layers, layer, head: head.rows() as u64 * head.cols() as u64 }
    }

    /// One layer.
    pub(crate) fn layer(&self) -> u64 {
        self.layer
    }

    /// The layers from `layer` on, and the head.
    pub(crate) fn suffix(&self, layer: usize) -> u64 {
        (self.layers - layer) as u64 * self.layer + self.head
    }

    /// A forward pass.
    pub(crate) fn pass(&self) -> u64 {
        self.suffix(0)
    }

    /// One order of switching, at most: after each group the rest is computed again.
    pub(crate) fn order(&self, groups: &[Group]) -> u64 {
        groups.iter().map(|g| self.suffix(g.layer(self.layers))).sum()
    }
}
