//! Random weights with the sizes and block types of a real model: for measuring speed and for trying large files where the
//! real one is not at hand. Nothing that such a model says means anything.

mod blocks;
mod massive;
mod plan;
mod random;

use std::io::{IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use clap::builder::PossibleValuesParser;
use twinpath_formats::atomic::write_error;
use twinpath_formats::{FormatError, TensorPlan, gguf};

use blocks::Blocks;
use plan::{Content, DIMS, Dims};
use random::Random;

/// What to make.
#[derive(clap::Args)]
pub(crate) struct GenModel {
    /// Whose sizes.
    #[arg(long, value_parser = PossibleValuesParser::new(DIMS.iter().map(|d| d.name)))]
    dims: String,
    /// Where to write it [default: target/models/DIMS-random.gguf].
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// The same seed gives the same bytes.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Plants a massive activation: a channel 64 times as large as the others in each value that a matrix reads.
    #[arg(long)]
    massive: bool,
    /// Replaces a file that is there already.
    #[arg(long)]
    force: bool,
}

/// Room that the file system must keep beyond the file.
const SPARE: u64 = 1 << 30;

/// Writes the file and says where.
///
/// # Errors
/// When it exists and `--force` is absent, there is no room, or the disk refuses.
pub(crate) fn run(root: &Path, what: &GenModel) -> anyhow::Result<()> {
    let dims = DIMS.iter().find(|d| d.name == what.dims).context("clap admits only listed names")?;
    let kind = if what.massive { "massive" } else { "random" };
    let out = what.out.clone().unwrap_or_else(|| root.join(format!("target/models/{}-{kind}.gguf", dims.name)));
    ensure!(what.force || !out.exists(), "{} exists: `--force` replaces it", out.display());
    let folder = match out.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let bytes: u64 = dims.tensors().iter().map(|(t, _)| byte_len(t)).sum();
    let free = free_space(folder)?;
    ensure!(
        free >= bytes + SPARE,
        "{} has {:.1} GB free; the model takes {:.1} GB and 1 GiB must stay free",
        folder.display(),
        gb(free),
        gb(bytes)
    );
    let start = Instant::now();
    write(dims, &out, what.seed, what.massive, bytes)?;
    eprintln!("{}: {:.2} GB in {:.1} s", out.display(), gb(bytes), start.elapsed().as_secs_f64());
    Ok(())
}

fn gb(bytes: u64) -> f64 {
    bytes as f64 / 1e9
}

fn byte_len(tensor: &TensorPlan) -> u64 {
    let values = tensor.shape.iter().map(|n| *n as u64).product();
    tensor.tensor_type.bytes_of(values).unwrap_or_else(|| unreachable!("plans hold whole blocks (tested)"))
}

/// Bytes that may be written to the file system of `folder`, by POSIX `df`.
fn free_space(folder: &Path) -> anyhow::Result<u64> {
    let df = Command::new("df").arg("-Pk").arg(folder).output().context("cannot run df")?;
    ensure!(df.status.success(), "df: {}", String::from_utf8_lossy(&df.stderr));
    let text = String::from_utf8_lossy(&df.stdout);
    let available = text.lines().nth(1).and_then(|line| line.split_whitespace().nth(3)).and_then(|n| n.parse().ok());
    available.map(|kib: u64| kib * 1024).with_context(|| format!("df says something unknown: {text}"))
}

/// Bytes made at a time; each is a whole number of blocks.
const PIECE_BLOCKS: usize = 4096;

fn write(dims: &Dims, out: &Path, seed: u64, massive: bool, bytes: u64) -> anyhow::Result<()> {
    let (plans, contents): (Vec<TensorPlan>, Vec<Content>) = dims.tensors().into_iter().unzip();
    // Made first: a deviation that f16 cannot express is an error before anything is written.
    let mut sources = Vec::new();
    for (plan, content) in plans.iter().zip(contents) {
        sources.push(Source::new(plan, content, seed)?);
    }
    let mut progress = Progress { done: 0, all: bytes, shown: 0 };
    gguf::write(out, &dims.metadata(), &plans, &mut |i, sink| {
        fill(&plans[i], &mut sources[i], massive, (out, sink), &mut progress)
    })?;
    Ok(())
}

enum Source {
    Blocks(Blocks),
    /// Uniform within 0.1 of a centre.
    Near(f32, Random),
}

impl Source {
    fn new(plan: &TensorPlan, content: Content, seed: u64) -> anyhow::Result<Source> {
        let random = Random::of(seed, &plan.name);
        Ok(match content {
            Content::Weights { fan_in } => {
                let std = 1.0 / (fan_in as f64).sqrt();
                Source::Blocks(Blocks::new(plan.tensor_type, std, random).with_context(|| plan.name.clone())?)
            }
            Content::Norm => Source::Near(1.0, random),
            Content::Bias => Source::Near(0.0, random),
        })
    }
}

fn fill(
    plan: &TensorPlan,
    source: &mut Source,
    massive: bool,
    (file, sink): (&Path, &mut dyn Write),
    progress: &mut Progress,
) -> Result<(), FormatError> {
    let mut left = byte_len(plan);
    let block = plan.tensor_type.format().block_bytes();
    let piece = PIECE_BLOCKS * block;
    let mut first = 0;
    let mut buffer = vec![0; piece];
    while left > 0 {
        let bytes = &mut buffer[..left.min(piece as u64) as usize];
        match source {
            Source::Blocks(blocks) => blocks.fill(bytes),
            Source::Near(centre, random) => {
                for place in bytes.as_chunks_mut::<4>().0 {
                    *place = (*centre + 0.1 * random.symmetric()).to_le_bytes();
                }
            }
        }
        match source {
            Source::Blocks(_) if massive => massive::blocks(plan, bytes, first),
            Source::Near(..) if massive && plan.name.ends_with("norm.weight") => massive::norm(bytes, first),
            _ => {}
        }
        first += bytes.len() / block;
        sink.write_all(bytes).map_err(|e| write_error(file, e))?;
        left -= bytes.len() as u64;
        progress.add(bytes.len() as u64);
    }
    Ok(())
}

/// Says on a terminal how far it is.
struct Progress {
    done: u64,
    all: u64,
    shown: u64,
}

impl Progress {
    fn add(&mut self, bytes: u64) {
        self.done += bytes;
        if self.done - self.shown >= 1 << 26 && std::io::stderr().is_terminal() {
            self.shown = self.done;
            eprint!("\r{:.1} of {:.1} GB ", gb(self.done), gb(self.all));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinpath_formats::gguf::Gguf;
    use twinpath_formats::{Container as _, TensorType};

    fn tiny() -> &'static Dims {
        DIMS.iter().find(|d| d.name == "tiny").unwrap()
    }

    #[test]
    fn the_tiny_model_opens_with_the_planned_types_and_finite_values() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tiny.gguf");
        write(tiny(), &file, 1, false, 0).unwrap();
        let model = Gguf::open(&file).unwrap();
        assert_eq!(model.str("general.architecture").unwrap(), Some("qwen2"));
        assert_eq!(model.tensors().len(), tiny().tensors().len());
        for (plan, _) in tiny().tensors() {
            let entry = model.tensor(&plan.name).unwrap();
            assert_eq!((entry.tensor_type, &entry.shape), (plan.tensor_type, &plan.shape), "{}", plan.name);
        }
        let of = |t: TensorType| model.tensors().iter().filter(|e| e.tensor_type == t).count();
        // Of two layers, `use_more_bits` picks the second.
        assert_eq!((of(TensorType::Q4K), of(TensorType::Q6K), of(TensorType::F32)), (13, 3, 11));
        model.check_finite().unwrap();
        let norm = model.matrix("output_norm.weight").unwrap();
        let mut values = vec![0.0; norm.cols()];
        norm.decode_row(0, &mut values);
        // 0.1 as f32 exceeds 0.1, and the sum rounds: 1e-6 covers both.
        assert!(values.iter().all(|x| (x - 1.0).abs() < 0.1 + 1e-6) && values[0] != values[1]);
    }

    #[test]
    fn one_seed_gives_one_file_and_each_tensor_its_own_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, seed| {
            let path = folder.path().join(name);
            write(tiny(), &path, seed, false, 0).unwrap();
            std::fs::read(path).unwrap()
        };
        let first = file("a", 1);
        assert!(first == file("b", 1), "the same seed gave other bytes");
        assert!(first != file("c", 2), "another seed gave the same bytes");
        let model = Gguf::from_bytes("a", first).unwrap();
        let bytes = |name: &str| model.bytes(model.tensor(name).unwrap());
        assert_ne!(bytes("blk.0.attn_q.weight"), bytes("blk.1.attn_q.weight"));
        // Whatever was written before it, a tensor has the bytes of its own stream.
        let plans = tiny().tensors();
        let (plan, content) = plans.iter().find(|(p, _)| p.name == "blk.1.ffn_down.weight").unwrap();
        let mut alone = Vec::new();
        let mut progress = Progress { done: 0, all: 0, shown: 0 };
        let mut source = Source::new(plan, *content, 1).unwrap();
        fill(plan, &mut source, false, (folder.path(), &mut alone), &mut progress).unwrap();
        assert_eq!(bytes("blk.1.ffn_down.weight"), alone);
    }

    #[test]
    fn the_bundled_massive_model_is_the_one_that_is_made_and_its_channel_is_massive_and_hardly_read() {
        let folder = tempfile::tempdir().unwrap();
        let [plain, massive] = [false, true].map(|massive| {
            let path = folder.path().join(massive.to_string());
            write(tiny(), &path, 1, massive, 0).unwrap();
            path
        });
        let bundled = crate::root().join("zoo/massive-q4_k_m.gguf");
        assert!(
            std::fs::read(&massive).unwrap() == std::fs::read(&bundled).unwrap(),
            "{} is another",
            bundled.display()
        );
        let [plain, massive] = [plain, massive].map(|path| Gguf::open(&path).unwrap());
        let row = |model: &Gguf, name: &str, i: usize| {
            let matrix = model.matrix(name).unwrap();
            let mut row = vec![0.0; matrix.cols()];
            matrix.decode_row(i, &mut row);
            row
        };
        let c = massive::CHANNEL;
        let factor = f64::from(massive::FACTOR);
        for (name, i, at) in [("blk.0.attn_norm.weight", 0, c), ("blk.1.ffn_up.weight", 256 + c, 9)] {
            assert_eq!(row(&massive, name, i)[at], factor * row(&plain, name, i)[at], "{name}");
        }
        // Half a code of a Q4_K weight is at most a ninth of the deviation of its codes, 4.6.
        for (name, std) in [("blk.0.ffn_gate.weight", 1.0 / 16.0), ("output.weight", 1.0 / 16.0)] {
            let most = (0..32).map(|i| row(&massive, name, i)[c].abs()).fold(0.0, f64::max);
            assert!(most < std / 3.0, "{name}: {most}");
        }
        assert_eq!(row(&massive, "blk.0.attn_q.weight", 3)[c + 1], row(&plain, "blk.0.attn_q.weight", 3)[c + 1]);
    }

    #[test]
    fn a_file_that_is_there_is_replaced_only_by_force() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("precious.gguf");
        std::fs::write(&out, "precious").unwrap();
        let mut what = GenModel { dims: "tiny".into(), out: Some(out.clone()), seed: 1, massive: false, force: false };
        assert!(run(folder.path(), &what).unwrap_err().to_string().contains("--force"));
        assert_eq!(std::fs::read(&out).unwrap(), b"precious");
        what.force = true;
        run(folder.path(), &what).unwrap();
        assert!(Gguf::open(&out).is_ok());
    }
}
