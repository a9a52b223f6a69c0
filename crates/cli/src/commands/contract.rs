//! `twinpath contract`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args as ClapArgs, Subcommand};
use serde_json::json;
use twinpath_evidence::contract::diff::diff;
use twinpath_evidence::contract::finding::{Finding, Level};
use twinpath_evidence::contract::status::{AllEvidence, assess};
use twinpath_evidence::contract::{Document, Measure, graph, schema};
use twinpath_formats::atomic::{write_atomically, write_error};
use twinpath_lab::contract::{Bench, FAULTS, Fault, Folder, Outcome, VERSION, evidence_file, known, read_contract};
use twinpath_report::{Entry, contract as report};

use super::{check_output, print};
use crate::args::Global;
use crate::input::bundled;
use crate::progress::{Bar, note};

/// Exit code of a file that is not valid.
const INVALID: u8 = 2;

#[derive(Debug, ClapArgs)]
#[command(
    after_help = "Exit codes: 0 every claim is discharged, 1 one is refuted, 2 a file or an argument is not valid, \
    3 nothing is refuted and something is open."
)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Whether the files are valid, with the place of everything that is not
    Validate(Validate),
    /// Measure every claim again and keep the evidence
    #[command(after_help = "Examples:\n  twinpath contract check\n  \
        twinpath contract check --claim DETERMINISM-001 --plant conditions\n  \
        twinpath contract check --model qwen2.5-coder-7b=qwen2.5-coder-7b-instruct-q4_k_m.gguf")]
    Check(Check),
    /// Where claims and gates stand, by the evidence that is there
    Status(From),
    /// What changed between two versions of a contract, and whether its version rose enough
    Diff {
        /// The version before
        old: PathBuf,
        /// The version after
        new: PathBuf,
    },
    /// Write a contract to begin with
    New {
        /// The file to write
        file: PathBuf,
        /// Replace it if it exists
        #[arg(long)]
        force: bool,
    },
    /// What depends on what, for Graphviz or Mermaid
    Graph {
        #[command(flatten)]
        from: From,
        /// For Mermaid
        #[arg(long)]
        mermaid: bool,
    },
    /// The rules of `validate`
    Rules,
    /// Faults that serve as controls
    Faults,
    /// The JSON Schema of a contract, for editors
    Schema,
}

#[derive(Debug, ClapArgs)]
struct From {
    /// A folder of contracts, or one of them [default: the bundled ones]
    path: Option<PathBuf>,
}

#[derive(Debug, ClapArgs)]
struct Validate {
    #[command(flatten)]
    from: From,
    /// As SARIF, for code hosts
    #[arg(long, conflicts_with = "json")]
    sarif: bool,
}

#[derive(Debug, ClapArgs)]
struct Check {
    #[command(flatten)]
    from: From,
    /// Measure this claim only; may be repeated
    #[arg(long = "claim", value_name = "ID")]
    claims: Vec<String>,
    /// A model that is not bundled, by its name in the contracts; the name may be left out if only one is missing
    #[arg(long = "model", value_name = "[NAME=]FILE")]
    models: Vec<String>,
    /// Put a fault into every measured path, to see claims fail; nothing is written
    #[arg(long, value_name = "FAULT")]
    plant: Option<String>,
    /// Replace evidence that a new measurement does not reproduce
    #[arg(long)]
    accept: bool,
    /// Write no evidence
    #[arg(long)]
    dry_run: bool,
}

pub(super) fn run(args: &Args, global: &Global) -> Result<u8> {
    match &args.what {
        What::Validate(args) => validate(args, global),
        What::Check(args) => check(args, global),
        What::Status(from) => status(from, global),
        What::Diff { old, new } => difference(old, new, global),
        What::New { file, force } => scaffold(file, *force),
        What::Graph { from, mermaid } => draw(from, *mermaid),
        What::Rules => print(|out| report::rules(out)),
        What::Faults => {
            let entries: Vec<Entry> =
                FAULTS.iter().map(|f| Entry { name: f.name.to_owned(), description: f.what.to_owned() }).collect();
            print(|out| match global.json {
                true => twinpath_report::json(&entries, out),
                false => twinpath_report::list(&entries, out),
            })
        }
        What::Schema => print(|out| twinpath_report::json(schema::schema(), out)),
    }
}

/// The contracts asked for: as given, in `contracts` here, or in the source tree that the program was built from.
fn folder(from: &From) -> Result<(PathBuf, Folder)> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../contracts");
    let path = match &from.path {
        Some(path) => path.clone(),
        None => [PathBuf::from("contracts"), source]
            .into_iter()
            .find(|p| p.is_dir())
            .context("there is no folder `contracts` here: name one")?,
    };
    let folder = Folder::read(&path, &known())?;
    if folder.documents.is_empty() && folder.findings.is_empty() {
        bail!("{}: there is no contract (*.yaml) here", path.display());
    }
    Ok((path, folder))
}

/// Documents that were asked for: all of a folder, or one.
fn asked<'f>(path: &Path, folder: &'f Folder) -> Vec<&'f Document> {
    let named = |d: &&Document| !path.is_file() || d.file.file_name() == path.file_name();
    folder.documents.iter().filter(named).collect()
}

fn validate(args: &Validate, global: &Global) -> Result<u8> {
    let (path, folder) = folder(&args.from)?;
    let mut findings = folder.findings.clone();
    let stale = folder.stale();
    findings.extend(stale.into_iter().filter(|f| asked(&path, &folder).iter().any(|d| d.file == f.file)));
    let invalid = findings.iter().any(|f| f.level == Level::Error);
    print(|out| match (args.sarif, global.json) {
        (true, _) => twinpath_report::json(&report::sarif(&findings, VERSION), out),
        (_, true) => twinpath_report::json(&findings, out),
        _ => report::findings(&findings, asked(&path, &folder).len(), out),
    })?;
    Ok(if invalid { INVALID } else { 0 })
}

/// Prints what makes the files invalid, if something does.
fn refuse(folder: &Folder, global: &Global) -> Result<Option<u8>> {
    if !folder.has_errors() {
        return Ok(None);
    }
    let errors: Vec<&Finding> = folder.findings.iter().filter(|f| f.level == Level::Error).collect();
    if global.json {
        print(|out| twinpath_report::json(&json!({ "invalid": errors }), out))?;
    }
    errors.iter().for_each(|f| note(&f.to_string()));
    note("nothing was measured and nothing was written");
    Ok(Some(INVALID))
}

fn status(from: &From, global: &Global) -> Result<u8> {
    let (path, folder) = folder(from)?;
    if let Some(code) = refuse(&folder, global)? {
        return Ok(code);
    }
    answer(&path, &folder, &folder.evidence, &[], global)
}

/// Prints where the claims stand that were asked for; answers the exit code.
fn answer(path: &Path, folder: &Folder, evidence: &AllEvidence, only: &[String], global: &Global) -> Result<u8> {
    let documents = asked(path, folder);
    let mut all = assess(&folder.documents, evidence, VERSION);
    let wanted = |name: &str| documents.iter().any(|d| d.name == name);
    all.claims.retain(|c| wanted(&c.contract) && (only.is_empty() || only.contains(&c.id)));
    all.gates.retain(|g| wanted(&g.contract) && only.is_empty());
    all.counts.clear();
    for claim in &all.claims {
        *all.counts.entry(claim.status.word()).or_default() += 1;
    }
    print(|out| match global.json {
        true => twinpath_report::json(&all, out),
        false => report::statuses(&all, out),
    })?;
    Ok(all.exit_code())
}

fn check(args: &Check, global: &Global) -> Result<u8> {
    let (path, folder) = folder(&args.from)?;
    if let Some(code) = refuse(&folder, global)? {
        return Ok(code);
    }
    let plant = args.plant.as_deref().map(|name| {
        Fault::find(name).with_context(|| format!("there is no fault `{name}`: `twinpath contract faults` lists them"))
    });
    let plant = plant.transpose()?;
    let documents = asked(&path, &folder);
    let claims = documents.iter().flat_map(|d| d.contract.claims.iter().map(move |c| (*d, c)));
    let claims: Vec<_> = claims.filter(|(_, c)| args.claims.is_empty() || args.claims.contains(&c.id)).collect();
    if let Some(id) = args.claims.iter().find(|id| !claims.iter().any(|(_, c)| c.id == **id)) {
        bail!("there is no claim `{id}`: `twinpath contract status` lists them");
    }
    let find = |name: &str| bundled(name).ok();
    let mut bench = Bench::new(&find, given(&documents, &args.models)?, plant);
    bench.announce(claims.iter().map(|(_, claim)| *claim));
    let mut evidence = folder.evidence.clone();
    let mut not_reproduced = Vec::new();
    let mut bar = Bar::new("measuring", global.quiet);
    for (i, (document, claim)) in claims.iter().enumerate() {
        bar.at(i as u64, claims.len() as u64);
        let Outcome::Found(found) = bench.measure(document, claim)? else { continue };
        let key = (document.name.clone(), claim.id.clone());
        let before = folder.evidence.get(&key);
        let fresh =
            before.filter(|b| b.stale(claim, &document.contract, VERSION).is_none() && b.models == found.models);
        let timed = matches!(claim.measure, Measure::Speed(_));
        let same = fresh.is_some_and(|b| b.measured.is_reproduced_by(&found.measured) && b.compared == found.compared);
        if plant.is_none() && fresh.is_some() && !same && !timed && !args.accept {
            let before = fresh.map(|b| b.measured.to_string()).unwrap_or_default();
            not_reproduced.push(format!("{}: measured {}, the evidence says {before}", claim.id, found.measured));
        } else if plant.is_none() && !same && !args.dry_run {
            write(&evidence_file(&document.file, &claim.id), &found.text())?;
        }
        evidence.insert(key, *found);
    }
    drop(bar);
    let code = answer(&path, &folder, &evidence, &args.claims, global)?;
    not_reproduced.iter().for_each(|line| note(line));
    if not_reproduced.is_empty() || code == 1 {
        return Ok(code);
    }
    note("this program does not reproduce that evidence, and left it as it is; --accept replaces it");
    Ok(INVALID)
}

/// Files for models by their names.
fn given(documents: &[&Document], arguments: &[String]) -> Result<BTreeMap<String, PathBuf>> {
    let models = documents.iter().filter_map(|d| d.contract.twinpath.as_ref()).flat_map(|t| &t.models);
    let mut missing: Vec<&str> = models.filter(|(_, m)| m.file.is_none()).map(|(name, _)| name.as_str()).collect();
    missing.sort_unstable();
    missing.dedup();
    let mut given = BTreeMap::new();
    for argument in arguments {
        let (name, file) = match (argument.split_once('='), missing.as_slice()) {
            (Some((name, file)), _) if missing.contains(&name) => (name, file),
            (_, [name]) => (*name, argument.as_str()),
            _ => bail!("--model {argument}: write NAME=FILE; the contracts name {}", missing.join(", ")),
        };
        if !Path::new(file).exists() {
            bail!("--model {argument}: there is no file {file}");
        }
        given.insert(name.to_owned(), PathBuf::from(file));
    }
    Ok(given)
}

fn write(file: &Path, text: &str) -> Result<()> {
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("{}: cannot make the folder", folder.display()))?;
    }
    write_atomically(file, |out| out.write_all(text.as_bytes()).map_err(|e| write_error(file, e)))?;
    Ok(())
}

fn difference(old: &Path, new: &Path, global: &Global) -> Result<u8> {
    let mut contracts = Vec::new();
    for path in [old, new] {
        let (document, findings) = read_contract(path)?;
        let errors: Vec<&Finding> = findings.iter().filter(|f| f.level == Level::Error).collect();
        errors.iter().for_each(|f| note(&f.to_string()));
        match document {
            Some(document) if errors.is_empty() => contracts.push(document.contract),
            _ => return Ok(INVALID),
        }
    }
    let difference = diff(&contracts[0], &contracts[1]);
    print(|out| match global.json {
        true => twinpath_report::json(&difference, out),
        false => report::difference(&difference, out),
    })?;
    Ok(u8::from(!difference.enough))
}

fn draw(from: &From, mermaid: bool) -> Result<u8> {
    let (_, folder) = folder(from)?;
    let all = assess(&folder.documents, &folder.evidence, VERSION);
    let drawing = if mermaid { graph::mermaid } else { graph::dot };
    let text = drawing(&folder.documents, &all);
    print(|out| out.write_all(text.as_bytes()))
}

/// A contract to begin with: valid, and with a claim that can be measured at once.
const SCAFFOLD: &str = include_str!("contract_scaffold.yaml");

fn scaffold(file: &Path, force: bool) -> Result<u8> {
    check_output(file, force)?;
    let stem = file.file_stem().and_then(|s| s.to_str()).context("name a file, like contracts/my-claims-v1.yaml")?;
    let plain: String =
        stem.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '-' }).collect();
    write(file, &SCAFFOLD.replace("NAME", &plain))?;
    note(&format!("{} written: edit it, then `twinpath contract check {}`", file.display(), file.display()));
    Ok(0)
}
