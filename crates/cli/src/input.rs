//! From arguments to models, arithmetics and tokens.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use twinpath_engine::chat::{ChatOptions, ChatTemplate, Message};
use twinpath_engine::tokenizer::Tokenizer;
use twinpath_engine::{Model, Oracle, load};
use twinpath_formats::Verify;
use twinpath_lab::copy::{self, Load};
use twinpath_lab::diagnose::Plant;
use twinpath_lab::policies::{self, Builtin, POLICIES};
use twinpath_lab::trace::names::user::UserMap;
use twinpath_lab::trace::{Selection, Trace};
use twinpath_lab::{Arithmetic, ModelSpec, Party, party::Source};
use twinpath_paths::Tiles;
use twinpath_paths::simd::{Isa, Level};

use crate::args::{Global, Prompt};
use crate::choices::{IsaChoice, LoadChoice};
use crate::progress::Bar;

/// Prompt of a comparison that names none: long enough that RoPE and the mask have something to do.
pub(crate) const DEFAULT_PROMPT: &str = "The Python standard library provides\n   :mod:`pickle` and :mod:`pickle` \
    modules.\n\n.. _pickle-repickle:\n\nPick";

/// File names of the bundled model, by container.
pub(crate) const BUNDLED_GGUF: &str = "teacher-q4_k_m.gguf";
/// The same model as `.apr`.
pub(crate) const BUNDLED_APR: &str = "teacher-q4_k_m.apr";

/// Where a bundled file is: in `zoo` here, beside the program, or in the source tree that the program was built from.
pub(crate) fn bundled(name: &str) -> Result<PathBuf> {
    let beside = std::env::current_exe().ok().and_then(|p| p.parent().map(|p| p.join("zoo")));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../zoo");
    let folders = [Some(PathBuf::from("zoo")), beside, Some(source)];
    let found = folders.into_iter().flatten().map(|folder| folder.join(name)).find(|path| path.is_file());
    found.with_context(|| format!("the bundled model {name} is not in ./zoo nor beside the program: name a model"))
}

/// The instruction set that was asked for.
pub(crate) fn isa(global: &Global) -> Result<Isa> {
    let level = match global.isa {
        IsaChoice::Auto => return Ok(Isa::detect()),
        IsaChoice::Portable => Level::Portable,
        IsaChoice::Avx2 => Level::Avx2,
        IsaChoice::Avx512 => Level::Avx512,
        IsaChoice::Avx512vnni => Level::Avx512Vnni,
        IsaChoice::Amx => Level::Amx,
    };
    Isa::new(level).with_context(|| format!("this processor has no {}: choose another --isa", level.name()))
}

/// `all`, `last` or a position.
pub(crate) fn selection(text: &str) -> Result<Selection, String> {
    match text {
        "all" => Ok(Selection::All),
        "last" => Ok(Selection::Last),
        number => number.parse().map(Selection::One).map_err(|_| "write all, last or a position".to_owned()),
    }
}

/// A model that is ready to run along a path, or a recording.
pub(crate) enum Opened {
    /// A model.
    Model {
        /// As given.
        label: String,
        /// The model; two sides over one file share it.
        model: Rc<Model>,
        /// The arithmetic.
        arithmetic: Arithmetic,
        /// The copies of weights that it reads.
        tiles: Option<Arc<Tiles>>,
    },
    /// A recording.
    Trace {
        /// As given.
        label: String,
        /// The recording.
        trace: Box<Trace>,
    },
}

impl Opened {
    /// Opens `MODEL[@PATH]`.
    pub(crate) fn model(spec: &ModelSpec, global: &Global) -> Result<Opened> {
        if spec.model.as_os_str().is_empty() {
            bail!("`{}` names no model: write MODEL@{}", spec.label(), spec.path.name());
        }
        let verify = if global.no_verify { Verify::None } else { Verify::All };
        let model = Model::open(&spec.model, verify)?;
        if !global.no_verify {
            model.file().check_finite()?;
        }
        let tiles = tiles(&model, global, Load::Map)?;
        Opened::along(Rc::new(model), tiles, spec, global)
    }

    /// Opens both sides of a comparison, each `MODEL[@PATH]` or a trace, by default the bundled model as `.apr` and as GGUF.
    /// A trace of another engine is read as one of the model beside it.
    pub(crate) fn pair(given: [&Option<String>; 2], map: Option<&Path>, global: &Global) -> Result<(Opened, Opened)> {
        let or_bundled = |given: &Option<String>, name| match given {
            Some(text) => Ok::<_, anyhow::Error>(text.clone()),
            None => Ok(bundled(name)?.display().to_string()),
        };
        let (a, b) = (&or_bundled(given[0], BUNDLED_APR)?, &or_bundled(given[1], BUNDLED_GGUF)?);
        let map = map.map(UserMap::open).transpose()?;
        let map = map.as_ref();
        if !Trace::is_trace(Path::new(a)) {
            let a = Opened::any(a, global)?;
            let b = Opened::beside(&a, b, map, global)?;
            return Ok((a, b));
        }
        if Trace::is_trace(Path::new(b)) {
            return Ok((Opened::any(a, global)?, Opened::any(b, global)?));
        }
        let b = Opened::any(b, global)?;
        Ok((Opened::beside(&b, a, map, global)?, b))
    }

    /// Opens `MODEL[@PATH]` or a trace; a model file that `other` has open is not opened again.
    fn beside(other: &Opened, text: &str, map: Option<&UserMap>, global: &Global) -> Result<Opened> {
        if Trace::is_trace(Path::new(text)) {
            return match other {
                Opened::Model { model, .. } => {
                    let trace = Box::new(Trace::of(Path::new(text), model.config(), map)?);
                    Ok(Opened::Trace { label: text.to_owned(), trace })
                }
                Opened::Trace { .. } => Opened::any(text, global),
            };
        }
        let spec = ModelSpec::parse(text)?;
        match other {
            Opened::Model { model, tiles, .. } if model.path() == spec.model => {
                Opened::along(Rc::clone(model), tiles.clone(), &spec, global)
            }
            _ => Opened::model(&spec, global),
        }
    }

    fn along(model: Rc<Model>, tiles: Option<Arc<Tiles>>, spec: &ModelSpec, global: &Global) -> Result<Opened> {
        let mut arithmetic = Arithmetic::new(spec.path, isa(global)?);
        tiles.iter().for_each(|tiles| arithmetic.adopt(tiles));
        Ok(Opened::Model { label: spec.label(), model, arithmetic, tiles })
    }

    /// The same, for a run that may be long: unless told otherwise, large weights are copied.
    pub(crate) fn copied(mut self, global: &Global) -> Result<Opened> {
        if let Opened::Model { model, arithmetic, tiles: held @ None, .. } = &mut self
            && arithmetic.reads_copies()
        {
            *held = tiles(model, global, Load::Auto)?;
            held.iter().for_each(|tiles| arithmetic.adopt(tiles));
        }
        Ok(self)
    }

    /// The same model along another arithmetic; recordings have none.
    pub(crate) fn rerouted(self, policy: &str, global: &Global) -> Result<Opened> {
        let Opened::Model { label, model, tiles, .. } = self else {
            bail!("a recording runs along no other path: --policy needs models");
        };
        let (name, mut arithmetic) = self::policy(policy, global)?;
        tiles.iter().for_each(|tiles| arithmetic.adopt(tiles));
        let model_label = label.rsplit_once('@').map_or(label.as_str(), |(model, _)| model);
        Ok(Opened::Model { label: format!("{model_label}@{name}"), model, arithmetic, tiles })
    }

    /// Opens `MODEL[@PATH]` or a trace.
    pub(crate) fn any(text: &str, global: &Global) -> Result<Opened> {
        if Trace::is_trace(Path::new(text)) {
            let trace = Box::new(Trace::open(Path::new(text))?);
            return Ok(Opened::Trace { label: text.to_owned(), trace });
        }
        Opened::model(&ModelSpec::parse(text)?, global)
    }

    /// The same, making a known mistake.
    pub(crate) fn with_mistake(self, mistake: Option<&str>, tokens: &[u32]) -> Result<Opened> {
        let Some(mistake) = mistake else { return Ok(self) };
        let Opened::Model { label, model, arithmetic: Arithmetic::Path(path), tiles } = self else {
            bail!("a mistake can be planted in a model along a path, which B is not");
        };
        let party = Party { label: label.clone(), source: Source::Model(&model, &Arithmetic::Oracle(Oracle)) };
        let planted = Plant::parse(mistake).plant(&party, path, tokens)?;
        let arithmetic = Arithmetic::Path(Box::new(planted));
        Ok(Opened::Model { label: format!("{label} with {mistake}"), model, arithmetic, tiles })
    }

    /// As a side of a comparison.
    pub(crate) fn party(&self) -> Party<'_> {
        match self {
            Opened::Model { label, model, arithmetic, .. } => {
                Party { label: label.clone(), source: Source::Model(model, arithmetic) }
            }
            Opened::Trace { label, trace } => Party { label: label.clone(), source: Source::Trace(trace) },
        }
    }
}

/// Copies of a model's weights, as the command line says; `auto` where it says nothing.
pub(crate) fn tiles(model: &Model, global: &Global, auto: Load) -> Result<Option<Arc<Tiles>>> {
    let load = match global.load {
        LoadChoice::Auto => auto,
        LoadChoice::Map => Load::Map,
        LoadChoice::Copy => Load::Copy,
    };
    let mut bar = Bar::new("copying weights", global.quiet);
    Ok(copy::tiles(model, isa(global)?, load, &mut |done, total| bar.at(done, total))?)
}

/// A policy by the letter of its option, its name, or its file; with the name to show.
pub(crate) fn policy(text: &str, global: &Global) -> Result<(String, Arithmetic)> {
    let isa = isa(global)?;
    let named = |b: &&Builtin| b.name == text || b.name.strip_prefix("option-") == Some(text);
    if let Some(builtin) = POLICIES.iter().find(named) {
        return Ok((builtin.name.to_owned(), Arithmetic::Path(Box::new(builtin.path(isa)))));
    }
    let file = Path::new(text);
    if !file.is_file() {
        let known: Vec<&str> = POLICIES.iter().map(|b| b.name).collect();
        bail!("`{text}` is neither a policy ({}) nor a file with one", known.join(", "));
    }
    Ok((text.to_owned(), Arithmetic::Path(Box::new(policies::open(file, isa)?))))
}

/// The tokenizer of a model.
pub(crate) fn tokenizer(model: &Model) -> Result<Option<Tokenizer>> {
    Ok(load::tokenizer(model.file(), model.path())?)
}

/// The text that was given, if any.
pub(crate) fn text(prompt: &Prompt) -> Result<Option<String>> {
    match (&prompt.text, &prompt.file) {
        (Some(text), _) => Ok(Some(text.clone())),
        (None, Some(file)) => {
            let text =
                std::fs::read_to_string(file).with_context(|| format!("{}: cannot read the prompt", file.display()))?;
            Ok(Some(text))
        }
        (None, None) => Ok(None),
    }
}

/// The tokens that were given, as ids or as text; `default` stands in where nothing was.
pub(crate) fn tokens(prompt: &Prompt, tokenizer: Option<&Tokenizer>, default: &str) -> Result<Vec<u32>> {
    if let Some(tokens) = &prompt.tokens {
        return Ok(tokens.clone());
    }
    let text = text(prompt)?.unwrap_or_else(|| default.to_owned());
    let Some(tokenizer) = tokenizer else {
        bail!("the model carries no tokenizer (in a folder: tokenizer.json), which text needs: give --tokens 1,2,3");
    };
    Ok(tokenizer.encode(&text, true)?)
}

/// The bundled prompts.
pub(crate) const BUNDLED_PROMPTS: &str = "prompts.txt";

/// The prompts of a file, separated by lines of `---`, each cut to `most` tokens.
pub(crate) fn prompt_set(file: &Path, tokenizer: Option<&Tokenizer>, most: usize) -> Result<Vec<Vec<u32>>> {
    let text = std::fs::read_to_string(file).with_context(|| format!("{}: cannot read the prompts", file.display()))?;
    let Some(tokenizer) = tokenizer else {
        bail!("the model carries no tokenizer: give the token ids of one prompt with --tokens 1,2,3");
    };
    let mut prompts = Vec::new();
    for prompt in text.split("\n---\n").map(|p| p.trim_matches('\n')).filter(|p| !p.is_empty()) {
        let mut tokens = tokenizer.encode(prompt, true)?;
        tokens.truncate(most);
        prompts.push(tokens);
    }
    if prompts.is_empty() {
        bail!("{}: holds no prompt", file.display());
    }
    Ok(prompts)
}

/// The tokens of a conversation with one user turn.
pub(crate) fn chat(tokenizer: &Tokenizer, system: Option<&str>, user: &str) -> Result<Vec<u32>> {
    let source = tokenizer.chat_template().context("the model carries no chat template: leave --chat out")?;
    let messages: Vec<Message> =
        system.map(|s| Message::new("system", s)).into_iter().chain([Message::new("user", user)]).collect();
    let word = |id: Option<u32>| id.and_then(|id| tokenizer.token_text(id));
    let options = ChatOptions {
        add_generation_prompt: true,
        bos_token: word(tokenizer.bos()),
        eos_token: word(tokenizer.eos()),
        today: None,
    };
    let text = ChatTemplate::new(source)?.render(&messages, &options)?;
    Ok(tokenizer.encode(&text, false)?)
}
