//! `twinpath run`.

use std::io::{self, Write};

use anyhow::{Context, Result, bail};
use serde_json::json;
use twinpath_engine::sampling::SamplingParams;
use twinpath_engine::tokenizer::Tokenizer;
use twinpath_lab::generate::{GenerateOptions, Generated, Stop, generate};
use twinpath_lab::{LabError, ModelSpec, PathName};

use super::print;
use crate::args::{Global, Run};
use crate::input::{self, BUNDLED_GGUF, Opened, bundled};
use crate::progress::note;

pub(super) fn run(args: &Run, global: &Global) -> Result<u8> {
    let opened = Opened::model(&spec(args)?, global)?.copied(global)?;
    let opened = match &args.policy {
        Some(policy) => opened.rerouted(policy, global)?,
        None => opened,
    };
    let Opened::Model { model, arithmetic, tiles, .. } = &opened else { bail!("a trace cannot be run") };
    let tokenizer = input::tokenizer(model);
    // Token ids need no tokenizer, so one that cannot be built is no obstacle to them.
    let tokenizer = if args.prompt.tokens.is_some() { tokenizer.unwrap_or(None) } else { tokenizer? };
    let prompt = prompt(args, tokenizer.as_ref())?;
    let options = GenerateOptions {
        tokens: args.max_tokens,
        sampling: SamplingParams {
            temperature: args.temperature,
            top_k: args.top_k,
            top_p: args.top_p,
            min_p: args.min_p,
            repetition_penalty: args.repetition_penalty,
            repeat_last_n: args.repeat_last_n,
            seed: args.seed,
        },
    };
    let ends = |id: u32| !args.ignore_eos && tokenizer.as_ref().is_some_and(|t| t.is_end_of_generation(id));
    let mut stream = Stream::new(tokenizer.as_ref(), !global.json);
    let generated = generate(model, arithmetic, &prompt, &options, &ends, &mut |id| stream.push(id))?;
    stream.finish()?;
    let load = if tiles.is_some() { "copy" } else { "map" };
    report(global, tokenizer.as_ref(), &prompt, &generated, load)
}

fn spec(args: &Run) -> Result<ModelSpec> {
    let given = match &args.model {
        Some(text) => text.clone(),
        None => bundled(BUNDLED_GGUF)?.display().to_string(),
    };
    let mut spec = ModelSpec::parse(&given)?;
    if let Some(name) = &args.path {
        let unknown = || LabError::UnknownPath { given, name: name.clone(), known: PathName::all() };
        spec.path = PathName::find(name).ok_or_else(unknown)?;
    }
    Ok(spec)
}

fn prompt(args: &Run, tokenizer: Option<&Tokenizer>) -> Result<Vec<u32>> {
    if !args.chat {
        let text = input::text(&args.prompt)?;
        if text.is_none() && args.prompt.tokens.is_none() {
            bail!("nothing to continue: give a prompt with -p TEXT, --prompt-file FILE or --tokens 1,2,3");
        }
        return input::tokens(&args.prompt, tokenizer, "");
    }
    let text = input::text(&args.prompt)?.context("--chat needs text: give -p TEXT or --prompt-file FILE")?;
    let tokenizer = tokenizer.context("the model carries no tokenizer, so --chat cannot be used")?;
    input::chat(tokenizer, args.system.as_deref(), &text)
}

/// Prints tokens as they come.
struct Stream<'t> {
    decoder: Option<twinpath_engine::tokenizer::StreamDecoder<'t>>,
    shown: bool,
    first: bool,
    failed: Option<io::Error>,
}

impl<'t> Stream<'t> {
    fn new(tokenizer: Option<&'t Tokenizer>, shown: bool) -> Self {
        Stream { decoder: tokenizer.map(|t| t.stream(true)), shown, first: true, failed: None }
    }

    /// Answers whether to go on.
    fn push(&mut self, id: u32) -> bool {
        let piece = match &mut self.decoder {
            Some(decoder) => decoder.push(id),
            None if self.first => id.to_string(),
            None => format!(",{id}"),
        };
        self.first = false;
        self.write(&piece);
        self.failed.is_none()
    }

    fn write(&mut self, text: &str) {
        if self.shown {
            let mut out = io::stdout().lock();
            if let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
                self.failed = Some(error);
            }
        }
    }

    fn finish(mut self) -> Result<()> {
        let rest = self.decoder.take().map_or(String::new(), |decoder| decoder.finish());
        self.write(&rest);
        self.write("\n");
        self.failed.map_or(Ok(()), |error| Err(error.into()))
    }
}

fn report(
    global: &Global,
    tokenizer: Option<&Tokenizer>,
    prompt: &[u32],
    generated: &Generated,
    load: &str,
) -> Result<u8> {
    let rate = |tokens: usize, time: std::time::Duration| tokens as f64 / time.as_secs_f64().max(1e-9);
    let stop = match generated.stop {
        Stop::Length => "length",
        Stop::EndOfGeneration => "end of generation",
        Stop::Context => "context full",
        Stop::Caller => "output closed",
    };
    // The first token comes out of the prompt's pass, so decoding passes are one fewer, but for one that met the end.
    let passes = generated.tokens.len().saturating_sub(usize::from(generated.stop != Stop::EndOfGeneration));
    let prefill = rate(prompt.len(), generated.prefill);
    let decode = (passes > 0).then(|| rate(passes, generated.decode));
    if !global.json {
        if !global.quiet {
            let speed = decode.map_or(String::new(), |rate| format!(" at {rate:.1} tok/s"));
            note(&format!(
                "[prompt: {} tokens at {prefill:.1} tok/s; generated: {} tokens{speed}; stopped: {stop}]",
                prompt.len(),
                generated.tokens.len()
            ));
        }
        return Ok(0);
    }
    let record = json!({
        "prompt_tokens": prompt,
        "tokens": generated.tokens,
        "text": tokenizer.map(|t| t.decode(&generated.tokens, true)),
        "stop": stop,
        "load": load,
        "prefill_tokens_per_second": prefill,
        "decode_tokens_per_second": decode,
    });
    print(|out| twinpath_report::json(&record, out))
}
