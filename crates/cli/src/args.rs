//! What can be asked on the command line.
#![allow(rustdoc::broken_intra_doc_links, rustdoc::invalid_html_tags, reason = "doc comments here are help texts")]

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::choices::{IsaChoice, LoadChoice};

/// Numerical differential debugging of LLM inference: runs one model along several numeric paths and shows, op by op,
/// where they part.
///
/// MODEL is a .gguf or .apr file or a Hugging Face folder; MODEL@PATH runs it along a named path (`twinpath list paths`).
/// Where a model may be left out, the bundled one is used.
///
/// Exit codes: 0 done or upheld, 1 unexplained or refuted, 2 usage or input error, 3 inconclusive or incomparable.
#[derive(Debug, Parser)]
#[command(name = "twinpath", version, max_term_width = 110)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Debug, ClapArgs)]
pub(crate) struct Global {
    /// Print the record as JSON on standard output, and nothing else there
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Threads to compute with; results do not depend on it [default: one per core]
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) threads: Option<u16>,
    /// Instruction set to compute with; results do not depend on it
    #[arg(long, global = true, value_enum, default_value_t = IsaChoice::Auto)]
    pub(crate) isa: IsaChoice,
    /// Where the fused paths read weights: where the file is mapped, or in a copy laid out for the kernels, which takes as much
    /// memory again, in part the file's; results do not depend on it
    #[arg(long, global = true, value_enum, default_value_t = LoadChoice::Auto)]
    pub(crate) load: LoadChoice,
    /// Accept a file whose checksums do not fit, and skip the scan for infinite or NaN scales
    #[arg(long, global = true)]
    pub(crate) no_verify: bool,
    /// No progress bar
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// What is in a model file, and whether it is sound
    #[command(after_help = "Examples:\n  twinpath inspect model.gguf\n  twinpath inspect model.apr --tensors --deep")]
    Inspect(Inspect),
    /// Generate text
    #[command(after_help = "Examples:\n  twinpath run model.gguf -p 'Once upon a time'\n  \
        twinpath run model.gguf@standalone --chat -p 'Why is the sky blue?' --temp 0.7 --top-p 0.9 --seed 1\n  \
        twinpath run model.gguf --tokens 1,2,3 -n 8")]
    Run(Run),
    /// Record every site of a run and print the layer table
    #[command(after_help = "Examples:\n  twinpath trace model.gguf -p 'def f(x):' -o run.safetensors\n  \
        twinpath trace model.gguf@oracle --tokens 1,2,3 --positions last -o last.safetensors\n  \
        twinpath trace run.safetensors -o run.npz   (also .jsonl, .csv, .parquet, .aprt)")]
    Trace(Trace),
    /// Where two paths part, site by site (the main job)
    #[command(after_help = "Examples:\n  twinpath compare\n  \
        twinpath compare model.apr@standalone model.gguf@fused-q8k -p 'def f(x):'\n  \
        twinpath compare model.gguf@standalone model.gguf@oracle --prompt-file p.txt --json > drift.json\n  \
        twinpath compare model.gguf@standalone recorded.safetensors --tokens 1,2,3\n  \
        twinpath compare model.gguf@fused-q8k llama-cpp.safetensors   (another engine, judged op by op)")]
    Compare(Compare),
    /// Who contributes how much to the output difference, in shares that sum to the total
    #[command(after_help = "Examples:\n  twinpath explain\n  \
        twinpath explain model.gguf@standalone model.gguf@fused-q8k --interactions\n  \
        twinpath explain model.gguf@oracle model.gguf@fused-q8k --by layers --prompts prompts.txt\n  \
        twinpath explain --budget\n  \
        twinpath explain model-f16.gguf@standalone model-q4_k_m.gguf@standalone   (weights as causes)\n\n\
        Exit codes: 0 explained, 1 something is unexplained, 2 usage or input error.")]
    Explain(crate::commands::explain::Args),
    /// Whether a policy on both sides closes their gap, or only moves or hides it
    ///
    /// Compares both sides as they are and under each policy, on some prompts and on held-out ones, and judges every site:
    /// closed (identical or explained everywhere), not closed, moved, or hidden (the outputs agree, a local error stays).
    /// Without --option and --policy, the three published options stand side by side.
    #[command(after_help = "Examples:\n  twinpath fix\n  twinpath fix --option c\n  \
        twinpath fix model.apr@standalone model.gguf@fused-q8k --policy mixed --policy mine.yaml\n  \
        twinpath fix zoo/massive-q4_k_m.gguf@standalone zoo/massive-q4_k_m.gguf --tokens 1,2,3,4,5,6,7,8\n\n\
        Exit codes: 0 every policy closes the gap, 1 one does not, 2 usage or input error, 3 inconclusive.")]
    Fix(crate::commands::fix::Args),
    /// Which known mistake explains what arithmetic does not
    #[command(after_help = "Examples:\n  twinpath diagnose right.gguf converted.gguf -p 'def f(x):'\n  \
        twinpath diagnose model.gguf llama-cpp.safetensors   (what tools/capture_llamacpp.py recorded)\n  \
        twinpath diagnose --plant rope-theta     a self-test: B makes that mistake, and must be found out\n  \
        twinpath diagnose --plant 'norm-eps=eps 1e-5@blk.2.ffn_norm'\n\n\
        A's model is believed: B's values are judged by it, each on the inputs that B had there.\n\
        Exit codes: 0 nothing is unexplained, or only the layout differs; 1 something is, named or not; 2 usage or input \
        error; 3 inconclusive or incomparable.")]
    Diagnose(crate::commands::diagnose::Args),
    /// Claims about numbers that a machine re-measures
    Contract(crate::commands::contract::Args),
    /// How fast it is here, and how fast this machine would allow it to be
    #[command(after_help = crate::commands::bench::EXAMPLES)]
    Bench(crate::commands::bench::Args),
    /// Run the built-in experiments: claims, each with a procedure that could refute it
    #[command(after_help = "Examples:\n  twinpath falsify\n  twinpath falsify --published\n  \
        twinpath falsify mechanism A5-real-weights --model model.gguf\n  twinpath falsify A1-rope --explain\n\n\
        Exit codes: 0 upheld (or every published figure came out again), 1 refuted (or a figure differs), 2 usage or \
        input error, 3 undecided, or nothing was upheld.")]
    Falsify(Falsify),
    /// Convert gguf to apr and apr to gguf, quantised bytes kept bit for bit
    #[command(after_help = "Examples:\n  twinpath convert model.gguf model.apr\n  \
        twinpath convert model-q8_0.gguf model.apr --dequantize f16")]
    Convert(Convert),
    /// What there is: paths, policies, experiments, known mistakes, formats, model families, points of a layer, recordings, their names
    #[command(after_help = "Examples:\n  twinpath list paths\n  twinpath list formats --json")]
    List(List),
    /// Shell completions on standard output
    #[command(
        after_help = "Example:\n  twinpath completions bash > ~/.local/share/bash-completion/completions/twinpath"
    )]
    Completions {
        /// The shell
        shell: Shell,
    },
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Inspect {
    /// The model [default: the bundled one]
    pub(crate) model: Option<PathBuf>,
    /// List every tensor
    #[arg(long)]
    pub(crate) tensors: bool,
    /// Also read all of it: verify the footer's checksum and scan every block for infinite or NaN scales
    #[arg(long)]
    pub(crate) deep: bool,
}

/// The input of a run.
#[derive(Debug, ClapArgs)]
#[group(multiple = false)]
pub(crate) struct Prompt {
    /// Text of the prompt
    #[arg(long = "prompt", short = 'p', value_name = "TEXT")]
    pub(crate) text: Option<String>,
    /// File with the text of the prompt
    #[arg(long = "prompt-file", value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Token ids of the prompt; needs no tokenizer
    #[arg(long, value_name = "ID,ID,…", value_delimiter = ',')]
    pub(crate) tokens: Option<Vec<u32>>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Run {
    /// MODEL[@PATH] [default: the bundled model's GGUF along fused-q8k]
    pub(crate) model: Option<String>,
    #[command(flatten)]
    pub(crate) prompt: Prompt,
    /// Path, if not given with the model
    #[arg(long, value_name = "PATH")]
    pub(crate) path: Option<String>,
    /// Policy to run along: a built-in one (`twinpath list policies`) or a YAML file
    #[arg(long, value_name = "POLICY", conflicts_with = "path")]
    pub(crate) policy: Option<String>,
    /// Put the prompt into the model's chat template as the user's turn
    #[arg(long)]
    pub(crate) chat: bool,
    /// System turn for --chat
    #[arg(long, value_name = "TEXT", requires = "chat")]
    pub(crate) system: Option<String>,
    /// Tokens to generate at most
    #[arg(long = "max-tokens", short = 'n', value_name = "N", default_value_t = 64)]
    pub(crate) max_tokens: usize,
    /// Temperature; 0 always takes the most likely token
    #[arg(long = "temp", value_name = "T", default_value_t = 0.0, allow_negative_numbers = true)]
    pub(crate) temperature: f64,
    /// Keep the K most likely tokens; 0 keeps all
    #[arg(long, value_name = "K", default_value_t = 0)]
    pub(crate) top_k: usize,
    /// Keep the most likely tokens up to this probability
    #[arg(long, value_name = "P", default_value_t = 1.0)]
    pub(crate) top_p: f64,
    /// Keep tokens at least this times as likely as the most likely one
    #[arg(long, value_name = "P", default_value_t = 0.0)]
    pub(crate) min_p: f64,
    /// Divide the logits of recent tokens by this
    #[arg(long, value_name = "F", default_value_t = 1.0)]
    pub(crate) repetition_penalty: f64,
    /// How many recent tokens the penalty looks at
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub(crate) repeat_last_n: usize,
    /// Seed of the draws
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
    /// Go on past the model's end token
    #[arg(long)]
    pub(crate) ignore_eos: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Trace {
    /// MODEL[@PATH], or a recording to write as another kind [default: the bundled model's GGUF along fused-q8k]
    pub(crate) model: Option<String>,
    #[command(flatten)]
    pub(crate) prompt: Prompt,
    /// The file to write: safetensors, or by its extension .npz, .jsonl, .csv, .parquet, .aprt (a folder)
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: PathBuf,
    /// Positions to record: all, last, or one by its number
    #[arg(long, value_name = "WHICH", default_value = "all", value_parser = crate::input::selection)]
    pub(crate) positions: twinpath_lab::trace::Selection,
    /// Replace the output file if it exists
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Compare {
    /// A, the reference: MODEL[@PATH] or a trace [default: the bundled .apr along standalone]
    #[arg(requires = "b")]
    pub(crate) a: Option<String>,
    /// B: MODEL[@PATH] or a trace [default: the bundled .gguf along fused-q8k]
    pub(crate) b: Option<String>,
    #[command(flatten)]
    pub(crate) prompt: Prompt,
    /// Run both sides along a policy instead: a built-in one (`twinpath list policies`) or a YAML file
    #[arg(long, value_name = "POLICY")]
    pub(crate) policy: Option<String>,
    /// Run the f64 oracle along: auto does where it is estimated to take less than a minute
    #[arg(long, value_enum, default_value_t = OracleArg::Auto)]
    pub(crate) oracle: OracleArg,
    /// Run each layer of A on B's input as well: what a layer adds to the drift, and what it passes on (one more pass)
    #[arg(long, value_enum, default_value_t = OracleArg::Auto)]
    pub(crate) split_layers: OracleArg,
    /// One line for each site, whatever the number of layers (the same as --sites all)
    #[arg(long, conflicts_with = "layers")]
    pub(crate) full: bool,
    /// One line for each layer (the same as --sites layers)
    #[arg(long)]
    pub(crate) layers: bool,
    /// What has a line: auto shows all sites of a small model
    #[arg(long, value_enum, value_name = "WHICH", default_value_t = SitesArg::Auto, conflicts_with_all = ["full", "layers"])]
    pub(crate) sites: SitesArg,
    /// Measure the drift alone: replay nothing, judge nothing
    #[arg(long)]
    pub(crate) no_replay: bool,
    /// Judge B's matrix products by the statistics of rounding alone, as if how it codes activations were not known
    #[arg(long, conflicts_with = "no_replay")]
    pub(crate) statistical: bool,
    /// Chance of a false alarm in the whole run
    #[arg(long, value_name = "P", default_value_t = 1e-3, value_parser = probability)]
    pub(crate) alpha: f64,
    /// Self-test: B makes a known mistake, NAME[=PARAMETER][@SITE] of `twinpath list suspects`
    #[arg(long, value_name = "MISTAKE")]
    pub(crate) plant: Option<String>,
    /// Also print both sides' own statistics
    #[arg(long)]
    pub(crate) stats: bool,
    /// Also rank the size of the drift among K runs of A with B's rounding errors under random signs
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u16).range(2..))]
    pub(crate) null: Option<u16>,
    /// Seed of those signs
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// What the names in another engine's recording mean (YAML; see `twinpath list names` for the known vocabularies)
    #[arg(long, value_name = "FILE")]
    pub(crate) map: Option<PathBuf>,
    /// Also write the comparison as one self-contained page
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Replace the page if it exists
    #[arg(long, requires = "html")]
    pub(crate) force: bool,
    /// Leave the hashes of the files out of the record
    #[arg(long)]
    pub(crate) no_hash: bool,
}

/// What has a line in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SitesArg {
    /// All sites of a model of up to 8 layers, else layers
    Auto,
    /// Every site
    All,
    /// Every layer
    Layers,
}

/// A number between 0 and 1, both excluded.
pub(crate) fn probability(text: &str) -> Result<f64, String> {
    let p: f64 = text.parse().map_err(|_| "write a number between 0 and 1".to_owned())?;
    if p > 0.0 && p < 1.0 { Ok(p) } else { Err("it must be above 0 and below 1".to_owned()) }
}

/// Whether the oracle runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OracleArg {
    /// Where it is estimated to take less than a minute
    Auto,
    /// Always
    On,
    /// Never
    Off,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Falsify {
    /// Experiments, by name or published number (`twinpath list experiments`) [default: all]
    #[arg(value_name = "ID")]
    pub(crate) ids: Vec<String>,
    /// The model to measure on [default: the bundled one]
    #[arg(long, value_name = "FILE")]
    pub(crate) model: Option<PathBuf>,
    /// Compute the published figures again, bit for bit, instead
    #[arg(long)]
    pub(crate) published: bool,
    /// Print what the experiments claim and how they go about it, and run nothing
    #[arg(long, conflicts_with = "published")]
    pub(crate) explain: bool,
    /// Every measurement, control and note; always shown for experiments named one by one
    #[arg(long)]
    pub(crate) full: bool,
    #[command(flatten)]
    pub(crate) prompt: Prompt,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Convert {
    /// The model to read, .gguf or .apr
    pub(crate) input: PathBuf,
    /// The file to write, .apr or .gguf
    pub(crate) output: PathBuf,
    /// Decode tensors that the output cannot hold, instead of refusing
    #[arg(long, value_enum, value_name = "TYPE")]
    pub(crate) dequantize: Option<DequantizeArg>,
    /// Replace the output file if it exists
    #[arg(long)]
    pub(crate) force: bool,
}

/// Types to decode to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DequantizeArg {
    /// IEEE binary16
    F16,
    /// IEEE binary32
    F32,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct List {
    /// What to list
    #[arg(value_enum)]
    pub(crate) what: Listed,
}

/// What can be listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Listed {
    /// Numeric paths
    Paths,
    /// Claims that `twinpath falsify` tries to refute
    Experiments,
    /// Known mistakes that `twinpath diagnose` knows
    Suspects,
    /// Block formats
    Formats,
    /// Model families
    Archs,
    /// Points of a layer
    Points,
    /// Policies: which path makes which value
    Policies,
    /// Files of other programs that `compare` reads
    Imports,
    /// Vocabularies of the names in them
    Names,
}
