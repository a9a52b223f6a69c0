//! `twinpath bench`.
#![allow(rustdoc::broken_intra_doc_links, rustdoc::invalid_html_tags, reason = "doc comments here are help texts")]

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Result, ensure};
use clap::{Args as ClapArgs, ValueEnum};
use twinpath_engine::Model;
use twinpath_evidence::Bench;
use twinpath_evidence::bench::Load;
use twinpath_formats::Verify;
use twinpath_formats::atomic::{write_atomically, write_error};
use twinpath_lab::bench::{MEASURES, Measure, Pace, Peer, Subject, Threads, bench};
use twinpath_lab::{Arithmetic, LabError, ModelSpec, PathName};
use twinpath_paths::simd::Level;
use twinpath_paths::{PATHS, standalone};

use super::print;
use crate::args::Global;
use crate::input::{self, BUNDLED_GGUF, bundled};
use crate::progress::{Bar, note};

/// What `--help` ends with.
pub(crate) const EXAMPLES: &str = "Examples:\n  twinpath bench\n  chrt -f 50 twinpath bench model.gguf --record benches/record\n  \
    twinpath bench model.gguf@fused-q8k --only decode --only prefill --quick\n  \
    twinpath bench model.gguf --only gemv --json > gemv.json\n\n\
    Entrants of a group take turns, round by round; a figure is the median of the rounds, and a ratio is formed within each \
    round. Trust ratios more than rates: on a busy machine both sides of a ratio suffer alike.\n\n\
    Exit codes: 0 measured, 2 usage or input error. A target that is not held changes no exit code.";

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// MODEL[@PATH] [default: the bundled one, along every path]
    pub(crate) model: Option<String>,
    /// Run along this path; can be given several times [default: that of the model's @PATH, or every path]
    #[arg(long = "path", value_name = "PATH")]
    pub(crate) paths: Vec<String>,
    /// Measure this alone; can be given several times
    #[arg(long, value_name = "NAME", value_parser = names())]
    pub(crate) only: Vec<String>,
    /// Fewer rounds and smaller cases: a first look
    #[arg(long)]
    pub(crate) quick: bool,
    /// Let another engine take part where single matrices are multiplied
    #[arg(long, value_enum, value_name = "ENGINE")]
    pub(crate) peer: Option<PeerArg>,
    /// Also write the record into this folder, under the model's name
    #[arg(long, value_name = "DIR")]
    pub(crate) record: Option<PathBuf>,
}

/// Engines that can be built in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PeerArg {
    /// candle; needs a build with `--features candle`, and on a processor with AMX `--isa avx512vnni`
    Candle,
}

fn names() -> clap::builder::PossibleValuesParser {
    MEASURES.iter().map(|m| clap::builder::PossibleValue::new(m.name).help(m.about)).collect::<Vec<_>>().into()
}

pub(super) fn run(args: &Args, global: &Global) -> Result<u8> {
    if let Some(folder) = &args.record {
        ensure!(folder.is_dir(), "{}: is no folder; make it first", folder.display());
    }
    let peer = args.peer.map(peer).transpose()?;
    ensure!(
        peer.is_none() || input::isa(global)?.level() < Level::Amx,
        "candle shapes AMX's tiles once for each thread, and our kernels release them: add --isa avx512vnni"
    );
    let peers: Vec<&dyn Peer> = peer.iter().map(AsRef::as_ref).collect();
    let given = match &args.model {
        Some(text) => text.clone(),
        None => bundled(BUNDLED_GGUF)?.display().to_string(),
    };
    let spec = ModelSpec::parse(&given)?;
    let model = Model::open(&spec.model, if global.no_verify { Verify::None } else { Verify::Header })?;
    let mut paths = paths(&args.paths, &given, &spec, global)?;
    let begin = Instant::now();
    let tiles = input::tiles(&model, global, twinpath_lab::copy::Load::Auto)?;
    let (load, mapped) = match &tiles {
        None => (Load::Map, Vec::new()),
        Some(tiles) => {
            let mapped = paths.iter().map(Arithmetic::name).filter(|name| *name != standalone::NAME);
            let mapped = mapped.filter_map(PathName::find).map(|name| Ok(Arithmetic::new(name, input::isa(global)?)));
            let mapped = mapped.collect::<Result<Vec<_>>>()?;
            paths.iter_mut().for_each(|path| path.adopt(tiles));
            (Load::Copy { bytes: tiles.bytes(), seconds: begin.elapsed().as_secs_f64() }, mapped)
        }
    };
    let threads =
        global.threads.map_or_else(|| std::thread::available_parallelism().map_or(1, usize::from), usize::from);
    let subject = Subject {
        model: &model,
        paths: &paths,
        mapped: &mapped,
        load,
        peers: &peers,
        isa: input::isa(global)?,
        threads: Threads::new(threads)?,
        pace: if args.quick { Pace::QUICK } else { Pace::FULL },
        command: command(args, global, &given),
    };
    let chosen: Vec<&Measure> =
        MEASURES.iter().filter(|m| args.only.is_empty() || args.only.iter().any(|name| name == m.name)).collect();
    let mut bar = Bar::new("measuring", global.quiet);
    let record = bench(&subject, &chosen, &mut |what, done, total| {
        bar.say(what);
        bar.at(done, total);
    })?;
    drop(bar);
    if let Some(folder) = &args.record {
        let target = write(folder, &spec.model, &record)?;
        if !global.json && !global.quiet {
            note(&format!("{}: written", target.display()));
        }
    }
    print(|out| match global.json {
        true => twinpath_report::json(&record, out),
        false => twinpath_report::bench(&record, out),
    })
}

/// The paths that were named; all where none was.
fn paths(named: &[String], given: &str, spec: &ModelSpec, global: &Global) -> Result<Vec<Arithmetic>> {
    let isa = input::isa(global)?;
    let with_model = (Path::new(given) != spec.model).then_some(spec.path);
    let find = |name: &String| {
        let unknown = || LabError::UnknownPath { given: name.clone(), name: name.clone(), known: PathName::all() };
        PathName::find(name).ok_or_else(unknown)
    };
    let mut chosen = named.iter().map(find).chain(with_model.map(Ok)).collect::<Result<Vec<PathName>, LabError>>()?;
    if chosen.is_empty() {
        chosen.extend((0..PATHS.len()).map(PathName::Path));
    }
    ensure!(
        !chosen.contains(&PathName::Oracle),
        "the oracle is exact, not fast; name a member of `twinpath list paths`"
    );
    Ok(chosen.into_iter().map(|path| Arithmetic::new(path, isa)).collect())
}

#[cfg(feature = "candle")]
fn peer(which: PeerArg) -> Result<Box<dyn Peer>> {
    match which {
        PeerArg::Candle => Ok(Box::new(super::bench_candle::Candle)),
    }
}

#[cfg(not(feature = "candle"))]
fn peer(which: PeerArg) -> Result<Box<dyn Peer>> {
    match which {
        PeerArg::Candle => {
            anyhow::bail!("this twinpath was built without candle: cargo build --release --features candle")
        }
    }
}

/// What was asked, with the model by its name alone: a record is shown to others.
fn command(args: &Args, global: &Global, given: &str) -> String {
    let name = given.rsplit(['/', '\\']).next().unwrap_or(given);
    let mut line = format!("twinpath bench {name}");
    args.paths.iter().for_each(|path| line += &format!(" --path {path}"));
    args.only.iter().for_each(|only| line += &format!(" --only {only}"));
    if args.quick {
        line += " --quick";
    }
    if args.peer.is_some() {
        line += " --peer candle";
    }
    if let Some(threads) = global.threads {
        line += &format!(" --threads {threads}");
    }
    if let Some(load) = global.load.to_possible_value().filter(|load| load.get_name() != "auto") {
        line += &format!(" --load {}", load.get_name());
    }
    if let Some(isa) = global.isa.to_possible_value().filter(|isa| isa.get_name() != "auto") {
        line += &format!(" --isa {}", isa.get_name());
    }
    line
}

/// Writes `MODEL.json` whole or not at all.
fn write(folder: &Path, model: &Path, record: &Bench) -> Result<PathBuf> {
    let stem = model.file_stem().map_or("model".into(), |stem| stem.to_string_lossy());
    let target = folder.join(format!("{stem}.json"));
    write_atomically(&target, |out| {
        let mut text = Vec::new();
        twinpath_report::json(record, &mut text).map_err(|e| write_error(&target, e))?;
        out.write_all(&text).map_err(|e| write_error(&target, e))
    })?;
    Ok(target)
}
