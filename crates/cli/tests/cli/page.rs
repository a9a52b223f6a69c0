//! The page of `compare`: what is in it, and what a browser makes of it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use twinpath_engine::{Model, Numerics, Op, Point, Site, Tensor};
use twinpath_evidence::{Comparison, Warning};
use twinpath_formats::gguf::{Value, write};
use twinpath_formats::{Container, TensorPlan, TensorType, Verify, gguf::Gguf};
use twinpath_lab::party::Source;
use twinpath_lab::{Arithmetic, CompareOptions, OracleChoice, Party, compare};
use twinpath_paths::{Path as ArithmeticPath, Reading, Standalone};

use super::common::{end, gguf, ok, program, refused, text, twinpath};

/// Standalone arithmetic, but the first token of one value is 48 times as large.
struct LargeFirstToken {
    path: Standalone,
    site: Site,
}

impl Numerics for LargeFirstToken {
    type Elem = f32;

    fn name(&self) -> &'static str {
        "standalone, first token x48"
    }

    fn eval(&self, site: Site, op: &Op<'_>, inputs: &[&Tensor<f32>]) -> Tensor<f32> {
        let mut value = self.path.eval(site, op, inputs);
        if site == self.site {
            // Rows of one size, so that the ratio is that of the published prompt and no accident of this one.
            for t in 0..value.rows() {
                let norm = value.row(t).iter().map(|x| x * x).sum::<f32>().sqrt();
                let factor = if t == 0 { 48.0 } else { 1.0 } / norm;
                value.row_mut(t).iter_mut().for_each(|x| *x *= factor);
            }
        }
        value
    }
}

impl ArithmeticPath for LargeFirstToken {
    fn describe(&self) -> &'static str {
        "a control"
    }

    fn kernels(&self) -> String {
        self.path.kernels()
    }

    fn reading(&self, weights: TensorType) -> Reading {
        self.path.reading(weights)
    }
}

/// Both sides are the same, seven tokens, of which the first is massive at `blk.3.ffn_swiglu`.
fn alarm() -> Comparison {
    let model = Model::open(&gguf(), Verify::All).unwrap();
    let site = Site::block(3, Point::FfnSwiglu);
    let path = || Arithmetic::Path(Box::new(LargeFirstToken { path: Standalone::new(), site }));
    let (a, b) = (path(), path());
    let party = |arithmetic| Party { label: "planted".into(), source: Source::Model(&model, arithmetic) };
    let options = CompareOptions {
        oracle: OracleChoice::Off,
        layers: OracleChoice::Off,
        hash: false,
        replay: None,
        statistical: false,
    };
    compare(&party(&a), &party(&b), &[636, 864, 1548, 1547, 2206, 199, 257], options, &mut |_, _| {}).unwrap()
}

#[test]
fn the_published_alarm_is_explained_by_one_large_token() {
    let record = alarm();
    let site = "blk.3.ffn_swiglu";
    let large = record.warnings.iter().find_map(|w| match w {
        Warning::LargeToken { site: s, position: 0, times, all_over_last } if s == site => {
            Some((*times, *all_over_last))
        }
        _ => None,
    });
    let (times, [a, b]) = large.unwrap_or_else(|| panic!("{:?}", record.warnings));
    // sqrt((48² + 6) / 7) = 18.17 with seven rows of one size; f32 rounding moves it in the seventh digit.
    assert!((times - 48.0).abs() < 1e-3 && (a - f64::sqrt(2310.0 / 7.0)).abs() < 1e-3 && a == b, "{times} {a} {b}");
    let page = twinpath_report::html(&record).unwrap();
    for words in
        ["position 0 is 48.0 times as large as the median position at blk.3.ffn_swiglu", "18.2x with no arithmetic"]
    {
        assert!(page.contains(words), "the page does not say {words:?}");
    }
}

#[test]
fn statistics_over_all_tokens_and_over_the_last_are_refused_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let [last, all] = ["last", "all"].map(|name| text(&folder.path().join(name).with_extension("safetensors")));
    let model = format!("{}@standalone", text(&gguf()));
    for (positions, out) in [("last", &last), ("all", &all)] {
        ok(&["trace", &model, "--tokens", "5,6,7", "--positions", positions, "-o", out]);
    }
    let ended = twinpath(&["compare", &all, &last]);
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(ended.out.contains("INCOMPARABLE: ") && ended.out.contains("positions 2..3 of 3"), "{}", ended.out);
    // A model speaks of any position: at that one they are compared, and the scope says so.
    let ended = twinpath(&["compare", &model, &last, "--tokens", "5,6,7"]);
    assert!(ended.out.contains("scope   3 tokens, positions 2..3, "), "{}", ended.out);
    assert!(!ended.out.contains("INCOMPARABLE"), "{}", ended.out);
}

#[test]
fn a_page_is_not_replaced_unasked() {
    let folder = tempfile::tempdir().unwrap();
    let page = text(&folder.path().join("page.html"));
    std::fs::write(&page, "mine").unwrap();
    let args = ["compare", "--tokens", "5,6", "--oracle", "off", "--html", &page];
    refused(&args, &[&page, "exists; --force replaces it"]);
    assert_eq!(std::fs::read_to_string(&page).unwrap(), "mine");
    ok(&[&args[..], &["--force"]].concat());
    assert!(std::fs::read_to_string(&page).unwrap().starts_with("<!doctype html>"));
    let nowhere = text(&folder.path().join("no/page.html"));
    refused(&["compare", "--html", &nowhere], &["there is no folder"]);
}

/// The bundled model with its layers repeated to `layers` of them.
fn deeper(layers: usize, folder: &Path) -> PathBuf {
    let file = Gguf::open(&gguf()).unwrap();
    let mut metadata = file.metadata().clone();
    metadata.set("qwen2.block_count", Value::U32(layers as u32));
    let mut tensors = Vec::new();
    for entry in file.tensors() {
        let shape: Vec<usize> = entry.shape.clone();
        let mut add = |name: &str| tensors.push((entry, TensorPlan::new(name, entry.tensor_type, &shape)));
        match entry.name.strip_prefix("blk.").and_then(|rest| rest.split_once('.')) {
            None => add(&entry.name),
            Some((layer, rest)) => {
                let layer: usize = layer.parse().unwrap();
                (layer..layers).step_by(6).for_each(|l| add(&format!("blk.{l}.{rest}")));
            }
        }
    }
    let plans: Vec<TensorPlan> = tensors.iter().map(|(_, plan)| plan.clone()).collect();
    let out = folder.join("deep.gguf");
    let fill = &mut |i: usize, to: &mut dyn Write| {
        to.write_all(file.bytes(tensors[i].0)).unwrap();
        Ok(())
    };
    write(&out, &metadata, &plans, fill).unwrap();
    out
}

/// Runs a browser without a window on a page; what it says of errors is in `err`, the page as it ends in `out`.
fn browse(page: &Path, profile: &Path) -> super::common::Ended {
    let mut command = Command::new("chromium");
    command.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]);
    command.args(["--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage"]);
    command.args(["--enable-logging=stderr", "--log-level=0", "--virtual-time-budget=10000", "--dump-dom"]);
    command.arg(format!("--user-data-dir={}", profile.display())).arg(format!("file://{}", page.display()));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    end(command)
}

/// Listens to errors and refused requests from the beginning, walks over every cell and mode, and writes what it saw.
const LISTEN: &str = "<head><script>window.faults = [];\
    addEventListener('error', e => faults.push('error: ' + e.message));\
    addEventListener('securitypolicyviolation', e => faults.push('refused: ' + e.blockedURI));\
    console.error = (...said) => faults.push('console: ' + said.join(' '));</script>";
const WALK: &str = "<script>{\
    const title = () => document.querySelector('#detail h2').textContent, drawn = new Set();\
    for (const button of document.querySelectorAll('#modes button')) {\
      button.click();\
      if (button.getAttribute('aria-pressed') !== 'true') faults.push('mode ' + button.textContent);\
      for (const cell of [...document.querySelectorAll('svg .cell')]) {\
        cell.dispatchEvent(new MouseEvent('click', { bubbles: true }));\
        if (!title().startsWith(cell.dataset.site)) faults.push('not shown: ' + cell.dataset.site);\
        if (document.querySelectorAll('#detail svg').length === 2) drawn.add(cell.dataset.site);\
      }\
    }\
    const before = title();\
    document.querySelector('.cell.chosen').dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowUp', bubbles: true }));\
    const seen = { cells: document.querySelectorAll('svg .cell').length, drawn: drawn.size,\
      modes: document.querySelectorAll('#modes button').length, walked: title() !== before,\
      requests: performance.getEntriesByType('resource').length, charts: document.querySelectorAll('main svg').length };\
    const pre = document.createElement('pre');\
    pre.id = 'probe';\
    pre.textContent = JSON.stringify(seen) + ' faults: ' + faults.join(' | ');\
    document.body.append(pre);\
  }</script></body>";

#[test]
#[cfg_attr(not(chromium), ignore = "needs a browser: apt-get install chromium")]
fn a_page_of_28_layers_opens_from_a_file_without_a_request_or_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let model = deeper(28, folder.path());
    let page = folder.path().join("page.html");
    let b = text(&model);
    let tokens = "636,864,1548,1547,2206,199,257,5,6,7,8,9,10,11,12,13";
    let args = ["compare", &format!("{b}@standalone"), &b, "--tokens", tokens, "--html", &text(&page), "--no-hash"];
    let ended = end(program(&args));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let html = std::fs::read_to_string(&page).unwrap();
    println!("{} bytes", html.len());
    assert!(html.len() < 2_000_000, "{} bytes", html.len());
    let plain = browse(&page, &folder.path().join("first"));
    assert!(plain.out.contains("data-ready=\"yes\""), "{plain:?}");
    // Chromium logs what a page says on its console, and what it refuses to load, with this word.
    assert!(!plain.err.contains("CONSOLE"), "{}", plain.err);
    let copy = folder.path().join("copy.html");
    assert_eq!((html.matches("<head>").count(), html.matches("</body>").count()), (1, 1));
    std::fs::write(&copy, html.replace("<head>", LISTEN).replace("</body>", WALK)).unwrap();
    let walked = browse(&copy, &folder.path().join("second"));
    let (_, probe) = walked.out.split_once("<pre id=\"probe\">").unwrap_or_else(|| panic!("{walked:?}"));
    let (probe, _) = probe.split_once("</pre>").unwrap();
    // 28 layers of 18 points, and three; two charts for each value that rounding touches; map, layers, oracle and logits.
    let (seen, faults) = probe.split_once(" faults: ").unwrap();
    assert_eq!(faults, "", "{probe}");
    let seen: serde_json::Value = serde_json::from_str(seen).unwrap();
    assert_eq!((seen["cells"].as_u64(), seen["requests"].as_u64()), (Some(28 * 18 + 3), Some(0)), "{seen}");
    assert_eq!((seen["modes"].as_u64(), seen["walked"].as_bool()), (Some(6), Some(true)), "{seen}");
    assert!(seen["drawn"].as_u64().unwrap() >= 28 * 17 && seen["charts"].as_u64().unwrap() >= 5, "{seen}");
}

#[test]
#[cfg_attr(not(chromium), ignore = "needs a browser: apt-get install chromium")]
fn a_browser_shows_the_large_token_and_says_what_it_does_to_a_ratio() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("alarm.html");
    std::fs::write(&page, twinpath_report::html(&alarm()).unwrap()).unwrap();
    let shown = browse(&page, &folder.path().join("profile"));
    // The body without the data: what a reader sees. The site of the alarm is the one that is open.
    let (body, _) = shown.out.split_once("<script type=\"application/json\"").unwrap_or_else(|| panic!("{shown:?}"));
    assert!(body.contains("<code>blk.3.ffn_swiglu</code>"), "{body}");
    assert!(
        body.contains("the values here are 18.17 times those of the last position in A, and 18.17 times in B"),
        "{body}"
    );
    assert!(body.contains("with no arithmetic at all; compare equal positions only"), "{body}");
    assert!(!shown.err.contains("CONSOLE"), "{}", shown.err);
}
