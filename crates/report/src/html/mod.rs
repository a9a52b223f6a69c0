//! One self-contained page: heat map, one site's numbers, logits by position. No request leaves it.

use minijinja::{Environment, UndefinedBehavior, context};
use twinpath_evidence::Comparison;

const TEMPLATE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

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

/// A comparison as one page.
///
/// # Errors
/// When the record cannot be written as JSON, or the template does not fit it.
pub fn html(record: &Comparison) -> Result<String, HtmlError> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.add_template("page.html", TEMPLATE)?;
    // In a script element only `<` could end the data early.
    let data = serde_json::to_string(record)?.replace('<', "\\u003c");
    let page = environment.get_template("page.html")?;
    Ok(page.render(context! { title => format!("{} against {}", record.b.label, record.a.label),
    style => STYLE, script => SCRIPT, data => data })?)
}
