//! A folder of contracts and their evidence, read whole.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use twinpath_evidence::contract::finding::{Finding, Level};
use twinpath_evidence::contract::rules::{EDITED, ORPHAN, OTHER_MODEL, STALE, YAML, validate};
use twinpath_evidence::contract::status::AllEvidence;
use twinpath_evidence::contract::yaml::{MAX_BYTES, Place};
use twinpath_evidence::contract::{Document, Evidence, Known, read};

use super::VERSION;
use crate::error::LabError;

/// Name of the folder of evidence, beside the contracts.
const EVIDENCE: &str = "evidence";

/// Contracts and their evidence.
#[derive(Debug, Default)]
pub struct Folder {
    /// Those that could be read, in the order of their names.
    pub documents: Vec<Document>,
    /// What is wrong with them.
    pub findings: Vec<Finding>,
    /// Evidence that is as it was written.
    pub evidence: AllEvidence,
}

/// Where the evidence of a claim is.
pub fn evidence_file(contract: &Path, claim: &str) -> PathBuf {
    let folder = contract.parent().unwrap_or(Path::new(""));
    let name = contract.file_stem().unwrap_or_default();
    folder.join(EVIDENCE).join(name).join(format!("{claim}.json"))
}

/// Reads one file, no more of it than a contract may have.
///
/// # Errors
/// When it cannot be read.
pub fn read_contract(path: &Path) -> Result<(Option<Document>, Vec<Finding>), LabError> {
    let at = |message: String| {
        let place = Place { line: 1, column: 1 };
        (None, vec![Finding::new(path, "", YAML, Level::Error, place, "", message)])
    };
    let Some(bytes) = capped(path)? else {
        return Ok(at(format!("the file is larger than {MAX_BYTES} bytes, and no contract is: split it")));
    };
    match String::from_utf8(bytes) {
        Ok(text) => Ok(read(path.to_owned(), text)),
        Err(e) => Ok(at(format!("byte {} is not UTF-8", e.utf8_error().valid_up_to()))),
    }
}

/// The bytes of a file, if it is not too large for a contract.
fn capped(path: &Path) -> Result<Option<Vec<u8>>, LabError> {
    let io = |source| LabError::Io { file: path.to_owned(), source };
    let mut bytes = Vec::new();
    File::open(path).map_err(io)?.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(io)?;
    Ok((bytes.len() as u64 <= MAX_BYTES).then_some(bytes))
}

/// Files of a folder with one of these extensions, in the order of their names.
fn files(folder: &Path, extensions: &[&str]) -> Result<Vec<PathBuf>, LabError> {
    let io = |source| LabError::Io { file: folder.to_owned(), source };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(io)? {
        let path = entry.map_err(io)?.path();
        let wanted = path.extension().and_then(|e| e.to_str()).is_some_and(|e| extensions.contains(&e));
        if wanted && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

impl Folder {
    /// Reads contracts: `path` is a folder, or one file (whose neighbours are read too, as they may be referred to).
    ///
    /// # Errors
    /// When there is no such folder or file, or one cannot be read. What is wrong *in* a file is no error here.
    pub fn read(path: &Path, known: &Known) -> Result<Folder, LabError> {
        let folder = if path.is_file() { path.parent().filter(|p| !p.as_os_str().is_empty()) } else { Some(path) };
        let folder = folder.unwrap_or(Path::new("."));
        let mut paths = files(folder, &["yaml", "yml"])?;
        if path.is_file() && !paths.iter().any(|p| p.file_name() == path.file_name()) {
            paths.push(path.to_owned());
        }
        let mut read = Folder::default();
        for path in &paths {
            let (document, findings) = read_contract(path)?;
            read.documents.extend(document);
            read.findings.extend(findings);
        }
        for document in &read.documents {
            read.findings.extend(validate(document, &read.documents, known));
        }
        for document in &read.documents {
            read_evidence(document, &mut read.evidence, &mut read.findings)?;
        }
        if path.is_file() {
            read.keep(path);
        }
        Ok(read)
    }

    /// Keeps the findings of one contract and of its evidence.
    fn keep(&mut self, path: &Path) {
        let evidence = evidence_file(path, "x").parent().map(|p| p.file_name().map(std::ffi::OsStr::to_owned));
        self.findings.retain(|f| {
            let own = f.file.file_name() == path.file_name();
            let of_evidence = f.file.parent().map(|p| p.file_name().map(std::ffi::OsStr::to_owned));
            own || (f.file.extension().is_some_and(|e| e == "json") && of_evidence == evidence)
        });
    }

    /// Evidence that no longer speaks of its claim, as findings.
    pub fn stale(&self) -> Vec<Finding> {
        let mut stale = Vec::new();
        for document in &self.documents {
            for (i, claim) in document.contract.claims.iter().enumerate() {
                let Some(evidence) = self.evidence.get(&(document.name.clone(), claim.id.clone())) else { continue };
                if let Some(why) = evidence.stale(claim, &document.contract, VERSION) {
                    let message = format!("the evidence is stale: {why}; measure again with `twinpath contract check`");
                    stale.push(document.finding(STALE, Level::Error, &format!("/claims/{i}"), message));
                }
            }
        }
        stale
    }

    /// Whether something makes a file invalid.
    pub fn has_errors(&self) -> bool {
        self.findings.iter().any(|f| f.level == Level::Error)
    }
}

/// Reads the evidence of one contract.
fn read_evidence(document: &Document, all: &mut AllEvidence, findings: &mut Vec<Finding>) -> Result<(), LabError> {
    let sample = evidence_file(&document.file, "x");
    let folder = sample.parent().unwrap_or(Path::new(""));
    if !folder.is_dir() {
        return Ok(());
    }
    for path in files(folder, &["json"])? {
        let bytes = capped(&path)?.unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let mut wrong = |rule, line, message| {
            let place = Place { line, column: 1 };
            findings.push(Finding::new(&path, &text, rule, Level::Error, place, "", message));
        };
        let evidence = match Evidence::read(&text) {
            Ok(evidence) => evidence,
            Err((line, why)) => {
                wrong(EDITED, line, why);
                continue;
            }
        };
        let stem = path.file_stem().and_then(|s| s.to_str()).unwrap_or_default();
        let claimed = document.contract.claims.iter().any(|c| c.id == evidence.claim);
        if evidence.claim != stem || evidence.contract != document.name || !claimed {
            let (contract, claim) = (&evidence.contract, &evidence.claim);
            wrong(
                ORPHAN,
                1,
                format!("this is evidence of {contract} / {claim}, which does not belong here: remove it"),
            );
            continue;
        }
        if let Some((model, pinned, measured)) = evidence.foreign(&document.contract) {
            let line = text.lines().position(|l| l.contains(measured)).map_or(1, |i| i as u64 + 1);
            let message = format!(
                "this was measured on another model: `{model}` is pinned to {pinned}, the evidence is of {measured}; \
                 remove the file and measure again"
            );
            wrong(OTHER_MODEL, line, message);
            continue;
        }
        all.insert((document.name.clone(), evidence.claim.clone()), evidence);
    }
    Ok(())
}
