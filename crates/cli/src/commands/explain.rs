//! `twinpath explain`.

use anyhow::{Result, bail};
use twinpath_engine::Model;
use twinpath_evidence::Attribution;
use twinpath_lab::Arithmetic;
use twinpath_lab::compare::different_weights;
use twinpath_lab::explain::{Detail, ExplainOptions, explain, passes};

use super::print;
use crate::args::{By, Explain, Global};
use crate::input::{self, BUNDLED_APR, BUNDLED_GGUF, BUNDLED_PROMPTS, Opened, bundled};
use crate::progress::{Bar, note};

/// Models of up to this many layers have every layer opened unasked.
const FEW_LAYERS: usize = 8;

pub(super) fn run(args: &Explain, global: &Global) -> Result<u8> {
    let given = |given: &Option<String>, name: &str| match given {
        Some(text) => Ok::<String, anyhow::Error>(text.clone()),
        None => Ok(bundled(name)?.display().to_string()),
    };
    let a = Opened::any(&given(&args.a, BUNDLED_APR)?, global)?;
    let b = Opened::beside(&a, &given(&args.b, BUNDLED_GGUF)?, None, global)?;
    let (
        Opened::Model { label, model, arithmetic },
        Opened::Model { label: label_b, model: model_b, arithmetic: by_b },
    ) = (&a, &b)
    else {
        bail!("a recording cannot be switched site by site: name two models");
    };
    if let Some(difference) = model.config().difference(model_b.config()) {
        bail!("the models are not of one shape: {difference}");
    }
    if let Some(tensor) = different_weights(model, model_b).first() {
        bail!(
            "the models hold different weights ({tensor}): explain attributes arithmetic, so both sides need the same"
        );
    }
    let prompts = prompts(args, model)?;
    let job = Job { args, global, model, a: (label, arithmetic), b: (label_b, by_b), prompts: &prompts };
    let record = job.explain()?;
    print(|out| match global.json {
        true => twinpath_report::json(&record, out),
        false => twinpath_report::attribution(&record, out),
    })?;
    Ok(u8::from(!record.suspicious.is_empty()))
}

fn prompts(args: &Explain, model: &Model) -> Result<Vec<Vec<u32>>> {
    if let Some(tokens) = &args.prompt.tokens {
        return Ok(vec![tokens.clone()]);
    }
    let tokenizer = input::tokenizer(model)?;
    if args.prompt.text.is_some() || args.prompt.file.is_some() {
        return Ok(vec![input::tokens(&args.prompt, tokenizer.as_ref(), "")?]);
    }
    let file = match &args.prompts {
        Some(file) => file.clone(),
        None => bundled(BUNDLED_PROMPTS)?,
    };
    input::prompt_set(&file, tokenizer.as_ref(), args.prompt_tokens as usize)
}

/// Everything that a pass needs.
struct Job<'j> {
    args: &'j Explain,
    global: &'j Global,
    model: &'j Model,
    a: (&'j String, &'j Arithmetic),
    b: (&'j String, &'j Arithmetic),
    prompts: &'j [Vec<u32>],
}

impl Job<'_> {
    fn explain(&self) -> Result<Attribution> {
        let few = self.model.config().layers <= FEW_LAYERS;
        match self.args.by {
            By::Sites => self.pass(Detail::Sites),
            By::Auto if few => self.pass(Detail::Sites),
            By::Layers => self.pass(Detail::Layers),
            By::Auto => {
                let layers = self.pass(Detail::Layers)?;
                let mut order: Vec<(usize, f64)> = (layers.groups.iter())
                    .filter_map(|g| Some((g.group.strip_prefix("blk.")?.parse().ok()?, g.energy)))
                    .collect();
                order.sort_by(|a, b| b.1.total_cmp(&a.1));
                let top: Vec<usize> = order.iter().take(self.args.top).map(|(layer, _)| *layer).collect();
                if top.is_empty() { Ok(layers) } else { self.pass(Detail::Inside(top)) }
            }
        }
    }

    fn pass(&self, detail: Detail) -> Result<Attribution> {
        let options = ExplainOptions {
            detail,
            interactions: self.args.interactions,
            shapley: usize::from(self.args.shapley),
            alpha: self.args.alpha,
            seed: self.args.seed,
            hash: !self.args.no_hash,
        };
        if !self.global.quiet {
            let each = passes(self.model, &options);
            note(&format!("[{} prompts, at most {each:.0} forward passes each]", self.prompts.len()));
        }
        let mut bar = Bar::new("explaining", self.global.quiet);
        let progress = &mut |done, total| bar.at(done, total);
        let (a, b) = ((self.a.0.as_str(), self.a.1), (self.b.0.as_str(), self.b.1));
        Ok(explain(self.model, a, b, self.prompts, &options, progress)?)
    }
}
