//! Rules about the head of a file.

use super::{Context, Found, when};
use crate::contract::diff::Version;
use crate::contract::shared::Kind;

pub(super) fn references(c: &Context<'_>) -> Found {
    when(c.contract().metadata.references.is_empty(), "/metadata/references", "no source is named: add `references`")
}

pub(super) fn version(c: &Context<'_>) -> Found {
    when(c.contract().metadata.version.is_empty(), "/metadata/version", "the version is empty: write 1.0.0")
}

pub(super) fn semver(c: &Context<'_>) -> Found {
    let version = &c.contract().metadata.version;
    let bad = !version.is_empty() && Version::parse(version).is_none();
    when(bad, "/metadata/version", format!("`{version}` is no semantic version: write three numbers, 1.0.0"))
}

pub(super) fn kind(c: &Context<'_>) -> Found {
    let kaizen = c.contract().metadata.kind == Kind::Kaizen;
    when(kaizen, "/metadata/kind", "a kaizen record speaks of costs, which this program does not judge: use `pattern`")
}

pub(super) fn history(c: &Context<'_>) -> Found {
    let history = &c.contract().history;
    let mut found = Vec::new();
    let mut before: Option<Version> = None;
    for (i, amendment) in history.iter().enumerate() {
        let pointer = format!("/history/{i}/version");
        match (Version::parse(&amendment.version), before) {
            (None, _) => found.push((pointer, format!("`{}` is no semantic version", amendment.version))),
            (Some(now), Some(before)) if now <= before => {
                found.push((pointer, format!("{now} does not rise above {before}")));
            }
            (Some(now), _) => before = Some(now),
        }
    }
    let stated = &c.contract().metadata.version;
    if let (Some(last), Some(version)) = (before, Version::parse(stated))
        && last != version
    {
        found.push(("/metadata/version".to_owned(), format!("the history ends at {last}, not at {version}")));
    }
    found
}
