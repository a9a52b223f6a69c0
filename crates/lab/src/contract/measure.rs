//! Measuring claims.

use std::collections::BTreeMap;
use std::path::PathBuf;

use twinpath_engine::sampling::SamplingParams;
use twinpath_evidence::contract::claim::{
    Between, BuiltIn, Claim, Compare, Control, ExperimentRef, Measure, Quantity, Run, Speed,
};
use twinpath_evidence::contract::measured::{
    ControlFound, Evidence, Holds, Measured, SCHEMA, definition, models_of, tokens_of,
};
use twinpath_evidence::contract::{Contract, Document};
use twinpath_evidence::experiment::{ExperimentRecord, Falsification};
use twinpath_evidence::{Comparison, FileId, Provenance};
use twinpath_paths::Standalone;
use twinpath_paths::simd::Isa;

use super::faults::Fault;
use super::models::{self, Opened};
use super::sites::Reading;
use super::{VERSION, experiments, repeat, sites, weights};
use crate::copy::{self, Load};
use crate::error::LabError;
use crate::experiments::{EXPERIMENTS, Experiment, Subject, falsify};
use crate::fix::decode_ratios;
use crate::generate::{GenerateOptions, generate};
use crate::party::Source;
use crate::{Arithmetic, CompareOptions, OracleChoice, Party, PathName, compare};

/// What came of measuring a claim.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// It was measured.
    Found(Box<Evidence>),
    /// It was not.
    Not {
        /// Why.
        why: String,
    },
}

/// Where claims are measured: models, and comparisons that several claims share.
pub struct Bench<'b> {
    bundled: &'b dyn Fn(&str) -> Option<PathBuf>,
    given: BTreeMap<String, PathBuf>,
    planted: Option<&'static Fault>,
    opened: BTreeMap<PathBuf, Opened>,
    comparisons: BTreeMap<String, Comparison>,
    announced: Vec<String>,
    experiments: BTreeMap<String, Falsification>,
}

impl<'b> Bench<'b> {
    /// `bundled` finds bundled files by name, `given` are files for models by their name in the contracts. With `planted`,
    /// every path has that fault.
    pub fn new(
        bundled: &'b dyn Fn(&str) -> Option<PathBuf>,
        given: BTreeMap<String, PathBuf>,
        planted: Option<&'static Fault>,
    ) -> Bench<'b> {
        Bench {
            bundled,
            given,
            planted,
            opened: BTreeMap::new(),
            comparisons: BTreeMap::new(),
            announced: Vec::new(),
            experiments: BTreeMap::new(),
        }
    }

    /// Says which claims will be measured, so that their experiments are run together.
    pub fn announce<'c>(&mut self, claims: impl Iterator<Item = &'c Claim>) {
        self.announced.extend(claims.filter_map(|claim| match &claim.measure {
            Measure::Experiment(m) => Some(m.id.clone()),
            _ => None,
        }));
    }

    /// Measures a claim and its control.
    ///
    /// # Errors
    /// When a model is not the one that the contract says, or cannot be run on the prompt.
    pub fn measure(&mut self, document: &Document, claim: &Claim) -> Result<Outcome, LabError> {
        let contract = &document.contract;
        if let Some(why) = not_ours(claim) {
            return Ok(Outcome::Not { why });
        }
        for name in models_of(claim) {
            if !self.open(contract, name)? {
                return Ok(Outcome::Not { why: format!("model absent: `{name}`; give it with --model {name}=FILE") });
            }
        }
        let found = self.reading(contract, claim, self.planted)?;
        let control = match &claim.control {
            Some(Control::Fault(name)) => {
                let fault =
                    Fault::find(name).ok_or_else(|| LabError::UnknownName { what: "fault", name: name.clone() })?;
                let measured = self.reading(contract, claim, Some(fault))?.measured;
                let refuted = measured.against(&claim.prediction) == Holds::No;
                Some(ControlFound { what: format!("{}: {}", fault.name, fault.what), measured, refuted })
            }
            Some(Control::BuiltIn(BuiltIn::Experiment)) => self.own_control(contract, claim)?,
            None => None,
        };
        let evidence = Evidence {
            schema: SCHEMA,
            contract: document.name.clone(),
            claim: claim.id.clone(),
            definition: definition(claim),
            provenance: self.provenance(contract, claim),
            models: self.hashes(contract, claim),
            tokens: tokens_of(claim, contract),
            kernels: kernels(claim),
            holds: found.measured.against(&claim.prediction),
            measured: found.measured,
            compared: found.compared,
            expected: found.expected,
            control,
            digest: String::new(),
        };
        Ok(Outcome::Found(Box::new(evidence.sealed())))
    }

    /// What the experiment's own control found.
    fn own_control(&self, contract: &Contract, claim: &Claim) -> Result<Option<ControlFound>, LabError> {
        if let Measure::Experiment(m) = &claim.measure {
            return Ok(Some(experiments::control(self.experiment(contract, m)?)));
        }
        let Measure::Published(m) = &claim.measure else { return Ok(None) };
        let model = m.model.as_deref().map(|name| self.opened(contract, name)).transpose()?;
        let measured = experiments::figures(&m.id, model.map(|m| &m.model), true)?.measured;
        let refuted = measured.against(&claim.prediction) == Holds::No;
        let what = "the last digit of each computed figure is another".to_owned();
        Ok(Some(ControlFound { what, measured, refuted }))
    }

    /// Opens a model; false if it is not there.
    fn open(&mut self, contract: &Contract, name: &str) -> Result<bool, LabError> {
        let Some(path) = self.path(contract, name) else { return Ok(false) };
        if let (false, Some(said)) = (self.opened.contains_key(&path), said(contract, name)) {
            let opened = models::open(name, said, &path)?;
            self.opened.insert(path, opened);
        }
        Ok(true)
    }

    fn path(&self, contract: &Contract, name: &str) -> Option<PathBuf> {
        models::locate(name, said(contract, name)?, &self.given, self.bundled)
    }

    fn opened(&self, contract: &Contract, name: &str) -> Result<&Opened, LabError> {
        let opened = self.path(contract, name).and_then(|path| self.opened.get(&path));
        opened.ok_or_else(|| LabError::UnknownName { what: "model", name: name.to_owned() })
    }

    fn reading(
        &mut self,
        contract: &Contract,
        claim: &Claim,
        fault: Option<&'static Fault>,
    ) -> Result<Reading, LabError> {
        match &claim.measure {
            Measure::Compare(asked) => {
                let key = self.compared(contract, asked, fault)?;
                Ok(sites::read(&self.comparisons[&key], asked))
            }
            Measure::Repeat(m) => {
                let model = &self.opened(contract, &m.model)?.model;
                let tokens = prompt(contract, &m.prompt)?;
                model.check_tokens(tokens, 0)?;
                let (differing, compared) = repeat::differing(model, path(&m.path)?, tokens, &m.over, fault)?;
                Ok(Reading { measured: Measured::value(differing as f64, None), compared, expected: compared })
            }
            Measure::Decode(m) => {
                let path = repeat::planted(Box::new(Standalone::new()), Isa::detect(), fault);
                Ok(weights::decoded(&self.opened(contract, &m.model)?.model, path.as_ref(), &m.formats))
            }
            Measure::Weights(m) => {
                let (a, b) = (self.opened(contract, &m.a)?, self.opened(contract, &m.b)?);
                Ok(weights::stored(&a.model, &b.model, fault.is_some_and(Fault::flips)))
            }
            Measure::Speed(m) => self.speed(contract, m, fault),
            Measure::Published(m) => {
                let model = m.model.as_deref().map(|name| self.opened(contract, name)).transpose()?;
                experiments::figures(&m.id, model.map(|m| &m.model), false)
            }
            Measure::Experiment(m) => {
                self.run_experiments(contract, m)?;
                Ok(experiments::read(self.experiment(contract, m)?, m.check.as_deref()))
            }
            Measure::External(_) => {
                let why = "this is not measured here".to_owned();
                Ok(Reading { measured: Measured::Nothing { why }, compared: 0, expected: 1 })
            }
        }
    }

    /// Makes a comparison, unless it was made for another claim; answers its key.
    fn compared(
        &mut self,
        contract: &Contract,
        asked: &Compare,
        fault: Option<&'static Fault>,
    ) -> Result<String, LabError> {
        let oracle = asked.between != Between::AB || asked.quantity == Quantity::OracleRatio;
        let tokens = prompt(contract, &asked.prompt)?;
        let (a, b) = (self.opened(contract, &asked.a.model)?, self.opened(contract, &asked.b.model)?);
        let name = fault.map_or("", |f| f.name);
        let (hash_a, hash_b) = (&a.blake3, &b.blake3);
        let key = format!("{hash_a} {} {hash_b} {} {tokens:?} {oracle} {name}", asked.a.path, asked.b.path);
        if !self.comparisons.contains_key(&key) {
            let sides = (arithmetic(&asked.a.path, None)?, arithmetic(&asked.b.path, fault)?);
            let party = |run: &Run, opened: &'_ Opened| format!("{}@{}", opened.file_name, run.path);
            let (label_a, label_b) = (party(&asked.a, a), party(&asked.b, b));
            let a = Party { label: label_a, source: Source::Model(&a.model, &sides.0) };
            let b = Party { label: label_b, source: Source::Model(&b.model, &sides.1) };
            let choice = if oracle { OracleChoice::On } else { OracleChoice::Off };
            let options = CompareOptions {
                oracle: choice,
                layers: OracleChoice::Off,
                hash: false,
                replay: None,
                statistical: false,
            };
            let mut record = compare(&a, &b, tokens, options, &mut |_, _| {})?;
            if let Some(fault) = fault {
                fault.distort(&mut record);
            }
            self.comparisons.insert(key.clone(), record);
        }
        Ok(key)
    }

    /// Runs all experiments that were announced, on the model and the prompt of one of them.
    fn run_experiments(&mut self, contract: &Contract, m: &ExperimentRef) -> Result<(), LabError> {
        let key = self.experiments_key(contract, m)?;
        if !self.experiments.contains_key(&key) {
            let named = |e: &&Experiment| e.id == m.id || self.announced.iter().any(|id| id == e.id);
            let chosen: Vec<&Experiment> = EXPERIMENTS.iter().filter(named).collect();
            let model = &self.opened(contract, &m.model)?.model;
            let subject = Subject { model, tokens: prompt(contract, &m.prompt)?, isa: Isa::detect() };
            let made = falsify(&chosen, &subject, &|_, _| {})?;
            self.experiments.insert(key, made);
        }
        Ok(())
    }

    fn experiments_key(&self, contract: &Contract, m: &ExperimentRef) -> Result<String, LabError> {
        Ok(format!("{} {:?}", self.opened(contract, &m.model)?.blake3, prompt(contract, &m.prompt)?))
    }

    fn experiment(&self, contract: &Contract, m: &ExperimentRef) -> Result<&ExperimentRecord, LabError> {
        let made = self.experiments.get(&self.experiments_key(contract, m)?);
        let record = made.and_then(|f| f.experiments.iter().find(|e| e.id == m.id));
        record.ok_or_else(|| LabError::UnknownName { what: "experiment", name: m.id.clone() })
    }

    fn speed(&self, contract: &Contract, m: &Speed, fault: Option<&'static Fault>) -> Result<Reading, LabError> {
        let model = &self.opened(contract, &m.model)?.model;
        let options = GenerateOptions { tokens: m.tokens as usize, sampling: SamplingParams::default() };
        let mut along = arithmetic(&m.path, fault)?;
        // Speed is that of the kernels at their best, as `run` has it with a large model; no value depends on it.
        let copied = copy::tiles(model, Isa::detect(), Load::Room, &mut |_, _| {})?;
        copied.iter().for_each(|tiles| along.adopt(tiles));
        if let Some(other) = &m.against {
            let mut other = arithmetic(other, None)?;
            copied.iter().for_each(|tiles| other.adopt(tiles));
            let prompt = prompt(contract, &m.prompt)?;
            let rates = decode_ratios(&[(model, &other), (model, &along)], prompt, m.tokens as usize)?;
            let time = rates[1].map_or(f64::NAN, |rate| 1.0 / rate);
            let tokens = u64::from(m.tokens);
            return Ok(Reading { measured: Measured::value(time, None), compared: tokens, expected: tokens });
        }
        let made = generate(model, &along, prompt(contract, &m.prompt)?, &options, &|_| false, &mut |_| true)?;
        let rate = made.tokens.len() as f64 / made.decode.as_secs_f64().max(1e-9);
        let (compared, expected) = (made.tokens.len() as u64, u64::from(m.tokens));
        Ok(Reading { measured: Measured::value(rate, None), compared, expected })
    }

    fn provenance(&self, contract: &Contract, claim: &Claim) -> Provenance {
        let mut files = Vec::new();
        for name in models_of(claim) {
            if let Ok(opened) = self.opened(contract, name) {
                let (path, blake3) = (opened.file_name.clone(), Some(opened.blake3.clone()));
                files.push(FileId { path, bytes: opened.bytes, blake3 });
            }
        }
        let cpu = format!("{} {}", std::env::consts::ARCH, Isa::detect().name());
        Provenance { version: VERSION.to_owned(), cpu, files }
    }

    fn hashes(&self, contract: &Contract, claim: &Claim) -> BTreeMap<String, String> {
        let hash = |name: &str| Some((name.to_owned(), self.opened(contract, name).ok()?.blake3.clone()));
        models_of(claim).into_iter().filter_map(hash).collect()
    }
}

/// Why this program does not measure a claim.
fn not_ours(claim: &Claim) -> Option<String> {
    match &claim.measure {
        Measure::External(e) => Some(format!("measured by {}", e.tool)),
        _ => None,
    }
}

fn said<'c>(contract: &'c Contract, name: &str) -> Option<&'c twinpath_evidence::contract::claim::ModelRef> {
    contract.twinpath.as_ref()?.models.get(name)
}

fn prompt<'c>(contract: &'c Contract, name: &str) -> Result<&'c [u32], LabError> {
    let prompt = contract.twinpath.as_ref().and_then(|t| t.prompts.get(name));
    prompt.map(Vec::as_slice).ok_or_else(|| LabError::UnknownName { what: "prompt", name: name.to_owned() })
}

fn path(name: &str) -> Result<PathName, LabError> {
    PathName::find(name).ok_or_else(|| LabError::UnknownName { what: "path", name: name.to_owned() })
}

fn arithmetic(name: &str, fault: Option<&'static Fault>) -> Result<Arithmetic, LabError> {
    Ok(match Arithmetic::new(path(name)?, Isa::detect()) {
        Arithmetic::Path(path) => Arithmetic::Path(repeat::planted(path, Isa::detect(), fault)),
        oracle => oracle,
    })
}

/// Kernels that a claim runs on.
fn kernels(claim: &Claim) -> Vec<String> {
    let names: Vec<&str> = match &claim.measure {
        Measure::Compare(m) => vec![&m.a.path, &m.b.path],
        Measure::Repeat(m) => vec![&m.path],
        Measure::Speed(m) => [Some(&m.path), m.against.as_ref()].into_iter().flatten().map(String::as_str).collect(),
        Measure::Decode(_) => vec![twinpath_paths::standalone::NAME],
        _ => vec![],
    };
    names.into_iter().filter_map(|name| Some(Arithmetic::new(PathName::find(name)?, Isa::detect()).kernels())).collect()
}
