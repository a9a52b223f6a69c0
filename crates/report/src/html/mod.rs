//! One self-contained page: heat map, one site's numbers, layers, oracle, logits by position. No request leaves it.

use std::collections::BTreeMap;

use minijinja::{Environment, UndefinedBehavior, context};
use serde::Serialize;
use serde_json::Value;
use twinpath_evidence::verdict::Evidence;
use twinpath_evidence::{Comparison, Profile, Verdict};

use crate::comparison::recursion;
use crate::verdicts::{ending, sentence};

const TEMPLATE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
/// In the order in which they need one another.
const SCRIPTS: [&str; 5] = [
    include_str!("script/base.js"),
    include_str!("script/map.js"),
    include_str!("script/detail.js"),
    include_str!("script/charts.js"),
    include_str!("script/page.js"),
];

/// Why a page cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum HtmlError {
    /// The record is no JSON.
    #[error("the record cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// The template does not fit the record.
    #[error("the page cannot be made: {0}")]
    Template(#[from] minijinja::Error),
}

/// What the page says in words.
#[derive(Serialize)]
struct Words {
    /// Of each site whose verdict needs a word.
    sentences: BTreeMap<String, String>,
    doubts: Vec<String>,
    recursion: Option<String>,
    /// Of each site where a statistic over all positions is not that of the last.
    all_over_last: BTreeMap<String, String>,
}

/// A comparison as one page.
///
/// # Errors
/// When the record cannot be written as JSON, or the template does not fit it.
pub fn html(record: &Comparison) -> Result<String, HtmlError> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.add_template("page.html", TEMPLATE)?;
    let mut numbers = serde_json::to_value(record)?;
    shorten(&mut numbers);
    let data = serde_json::json!({ "record": numbers, "words": words(record) });
    // In a script element only `<` could end the data early.
    let data = serde_json::to_string(&data)?.replace('<', "\\u003c");
    let end = ending(record);
    let page = environment.get_template("page.html")?;
    Ok(page.render(context! {
        title => format!("{} against {}", record.b.label, record.a.label),
        tone => end.tone,
        word => end.word.to_lowercase(),
        sentence => end.sentence,
        style => STYLE,
        script => SCRIPTS.concat(),
        data => data,
    })?)
}

fn words(record: &Comparison) -> Words {
    let flips = |v: &Verdict| matches!(v, Verdict::Explained { evidence } if *evidence != Evidence::Exact);
    let asks = |v: &&Verdict| v.rank() > 1 || flips(v);
    let says = record.sites.iter().filter_map(|s| Some((s.site.clone(), sentence(s.verdict.as_ref().filter(asks)?))));
    let pooled = record.profiles.iter().filter_map(|p| Some((p.site.clone(), pooled(p)?)));
    Words {
        sentences: says.collect(),
        doubts: record.warnings.iter().map(ToString::to_string).collect(),
        recursion: record.layers.as_ref().map(recursion),
        all_over_last: pooled.collect(),
    }
}

/// Ratio of statistics over all positions and over the last that asks for a word.
const NOTABLE: f64 = 1.5;

fn pooled(profile: &Profile) -> Option<String> {
    let [a, b] = profile.all_over_last()?;
    let notable = [a, b].iter().any(|r| !(1.0 / NOTABLE..=NOTABLE).contains(r));
    notable.then(|| {
        format!(
            "Pooled over all {} positions the values here are {a:.2} times those of the last position in A, and {b:.2} \
             times in B. A ratio of one side's all to the other's last would show that figure with no arithmetic at all: it \
             says which tokens were pooled.",
            profile.a.len()
        )
    })
}

/// Five significant digits are more than a page shows.
fn shorten(value: &mut Value) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(shorten),
        Value::Object(fields) => fields.values_mut().for_each(shorten),
        Value::Number(n) if n.is_f64() => {
            let short = n.as_f64().and_then(|x| format!("{x:.4e}").parse().ok()).and_then(serde_json::Number::from_f64);
            *value = short.map_or(Value::Null, Value::Number);
        }
        _ => {}
    }
}
