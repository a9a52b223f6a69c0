//! What each command does when all is well.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use super::common::{apr, end, gguf, json, ok, program, root, text, tiny, twinpath};

#[test]
fn compare_without_arguments_prints_the_table_of_the_published_pair() {
    let ended = twinpath(&["compare"]);
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{}", ended.out);
    let line = |start: &str| ended.out.lines().find(|l| l.starts_with(start)).unwrap_or_else(|| panic!("no {start}"));
    assert!(line("A  ").contains("zoo/teacher-q4_k_m.apr@standalone"));
    assert!(line("B  ").contains("zoo/teacher-q4_k_m.gguf@fused-q8k"));
    assert!(line("oracle").contains("f64"));
    assert!(line("scope").contains("37 tokens"));
    let sites = ended.out.lines().filter(|l| l.starts_with("blk.")).count();
    assert_eq!(sites, 6 * 18, "six layers of eighteen points");
    assert!(line("blk.0.attn_scores").contains("2 812"), "37 * 38 / 2 keys of 4 heads");
    for site in ["embed", "final_norm", "logits"] {
        line(site);
    }
    assert!(line("next token, B against A").contains("KL"));
}

#[test]
fn compare_as_json_is_the_whole_record_and_nothing_else() {
    let record = json(&["compare", "--json"]);
    let sites = record["sites"].as_array().unwrap();
    assert_eq!(sites.len(), 6 * 18 + 3);
    assert_eq!(record["tokens"].as_array().unwrap().len(), 37);
    for site in sites {
        let drift = &site["drift"];
        assert_eq!(drift["compared"], drift["expected"], "{site}");
        assert!(site["a_oracle"]["relative_l2"].as_f64().unwrap() < 1e-6, "{site}");
    }
    assert_eq!(record["provenance"]["files"].as_array().unwrap().len(), 2);
}

#[test]
fn the_same_comparison_gives_the_same_bytes_whatever_computes_it() {
    let record = |options: &[&str]| {
        let mut record = json(&[&["compare", "--json", "--tokens", "5,6,7,8,9"], options].concat());
        // The names of the kernels are part of the record, and they alone may differ.
        for key in ["a", "b", "provenance"] {
            record.as_object_mut().unwrap().remove(key).unwrap();
        }
        record
    };
    let usual = record(&[]);
    assert_eq!(usual, record(&["--threads", "1"]));
    assert_eq!(usual, record(&["--isa", "portable", "--threads", "3"]));
}

#[test]
fn paths_of_one_file_are_compared_by_layers_too() {
    let model = text(&gguf());
    let [a, b] = ["standalone", "oracle"].map(|path| format!("{model}@{path}"));
    let out = ok(&["compare", &a, &b, "--tokens", "1,2,3", "--layers", "--oracle", "off"]);
    assert_eq!(out.lines().filter(|l| l.starts_with("blk.")).count(), 6, "{out}");
    assert!(out.contains("oracle  not run"), "{out}");
}

#[test]
fn models_of_different_shape_are_incomparable() {
    let models = [text(&gguf()), text(&tiny("qwen3/model.gguf"))];
    let ended = twinpath(&["compare", &models[0], &models[1], "--tokens", "1,2"]);
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(ended.out.contains("INCOMPARABLE: architecture is qwen2 in A and qwen3 in B"), "{}", ended.out);
}

#[test]
fn a_trace_equals_the_run_it_recorded_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let trace = text(&folder.path().join("run.safetensors"));
    let model = format!("{}@fused-q8k", text(&gguf()));
    let out = ok(&["trace", &model, "--tokens", "5,6,7", "-o", &trace]);
    assert_eq!(out.lines().filter(|l| l.starts_with("blk.")).count(), 6 * 18, "{out}");
    let record = json(&["compare", &model, &trace, "--json"]);
    assert_eq!(record["outcome"]["kind"], "identical", "{}", record["outcome"]);
    let other = twinpath(&["compare", &model, &trace, "--tokens", "5,6,8"]);
    assert_eq!(other.code, Some(3), "{other:?}");
    let standalone = model.replace("fused-q8k", "standalone");
    let judged = twinpath(&["compare", &standalone, &trace]);
    assert_eq!(judged.code, Some(0), "a recording of the same file is judged on its own inputs: {judged:?}");
    let unknown = twinpath(&["compare", &standalone, &trace, "--no-hash"]);
    assert_eq!(unknown.code, Some(3), "without hashes nobody knows whose weights it is of: {unknown:?}");
    let measured = json(&["compare", &standalone, &trace, "--json", "--no-replay"]);
    assert_eq!(measured["outcome"]["kind"], "measured");
}

#[test]
fn run_streams_text_and_says_its_speed_aside() {
    let ended = twinpath(&["run", "-p", "def f(x):\n    return", "--temp", "0", "-n", "12"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.out.len() > 4 && ended.out.ends_with('\n'), "{ended:?}");
    assert!(ended.err.contains("12 tokens at") && ended.err.contains("tok/s"), "{ended:?}");
    let quiet = twinpath(&["run", "-p", "def f(x):\n    return", "-n", "12", "-q", "--isa", "portable"]);
    assert_eq!((quiet.out, quiet.err.as_str()), (ended.out, ""), "the instruction set changes no token");
}

#[test]
fn run_takes_token_ids_with_and_without_a_tokenizer() {
    let record = json(&["run", "--tokens", "1,2,3", "-n", "4", "--json"]);
    assert_eq!(record["prompt_tokens"], serde_json::json!([1, 2, 3]));
    assert_eq!(record["tokens"].as_array().unwrap().len(), 4);
    assert!(record["text"].is_string());
    // No tokenizer: the ids themselves.
    let out = ok(&["run", &text(&tiny("llama-gqa4")), "--tokens", "1,2,3", "-n", "4"]);
    let ids: Vec<u32> = out.trim_end().split(',').map(|id| id.parse().unwrap()).collect();
    assert_eq!(ids.len(), 4);
}

#[test]
fn where_weights_are_read_changes_no_token_and_is_told() {
    let run =
        |load: &str, isa: &str| json(&["run", "--tokens", "1,2,3", "-n", "8", "--json", "--load", load, "--isa", isa]);
    let mapped = run("map", "auto");
    assert_eq!(mapped["load"], "map");
    assert_eq!(run("auto", "auto")["load"], "map", "the bundled model is small");
    let copied = run("copy", "auto");
    assert_eq!(copied["tokens"], mapped["tokens"]);
    // Portable kernels read rows as stored, whatever is asked for.
    let portable = run("copy", "portable");
    assert_eq!((&portable["load"], &portable["tokens"]), (&serde_json::json!("map"), &mapped["tokens"]));
    let same = ["compare", "--load", "copy", "--tokens", "1,2,3", "--json"];
    let maps = ["compare", "--load", "map", "--tokens", "1,2,3", "--json"];
    let sites = json(&same)["sites"].clone();
    assert!(sites.as_array().is_some_and(|sites| sites.len() > 100), "{sites}");
    assert_eq!(sites, json(&maps)["sites"]);
}

#[test]
fn a_seed_repeats_a_draw_and_another_draws_anew() {
    let draw =
        |seed: &str| ok(&["run", "--tokens", "5,6", "-n", "24", "--temp", "1.5", "--top-k", "50", "--seed", seed]);
    let first = draw("7");
    assert_eq!(first, draw("7"));
    assert_ne!(first, draw("8"));
}

#[test]
fn conversion_there_and_back_keeps_every_byte() {
    let folder = tempfile::tempdir().unwrap();
    let [a, g] = ["m.apr", "m.gguf"].map(|name| folder.path().join(name));
    let report = ok(&["convert", &text(&gguf()), &text(&a)]);
    assert!(report.contains("75 of 75 tensors kept bit for bit"), "{report}");
    ok(&["convert", &text(&a), &text(&g)]);
    let read = |path| std::fs::read(path).unwrap();
    assert!(read(a) == read(apr()), "the bundled .apr is what `convert` makes of the bundled .gguf");
    assert!(read(g) == read(gguf()));
}

#[test]
fn inspect_tells_what_is_in_every_kind_of_model() {
    let out = ok(&["inspect", "--tensors", "--deep"]);
    for needle in ["qwen2", "6 822 144", "Q4_K", "blk.5.ffn_up.weight", "every block scale is finite"] {
        assert!(out.contains(needle), "no {needle:?} in {out}");
    }
    assert!(ok(&["inspect", &text(&apr())]).contains("apr"));
    assert!(ok(&["inspect", &text(&tiny("qwen3"))]).contains("qwen3"));
    let record = json(&["inspect", "--json"]);
    assert_eq!(record["tensors"].as_array().unwrap().len(), 75);
}

#[test]
fn lists_name_what_there_is_in_lines_of_readable_length() {
    for (what, needles) in [
        ("paths", ["oracle", "standalone", "fused-q8k"]),
        ("formats", ["Q4_K", "IQ4_XS", "BF16"]),
        ("archs", ["llama", "qwen2", "qwen3"]),
        ("points", ["attn_probs", "ffn_swiglu", "logits"]),
    ] {
        let out = ok(&["list", what]);
        for needle in needles {
            assert!(out.lines().any(|l| l.starts_with(needle)), "{needle} in {out}");
        }
        assert!(out.lines().all(|l| l.chars().count() <= 100), "{out}");
        assert!(json(&["list", what, "--json"]).as_array().unwrap().len() >= 3);
    }
}

#[test]
fn completions_name_every_command_and_are_sound() {
    let commands = ["inspect", "run", "trace", "compare", "convert", "list", "completions"];
    for shell in ["bash", "zsh", "fish"] {
        let script = ok(&["completions", shell]);
        for command in commands {
            assert!(script.contains(command), "{shell}: {command}");
        }
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("completions");
        std::fs::write(&file, script).unwrap();
        let check = if shell == "fish" { "--no-execute" } else { "-n" };
        match Command::new(shell).arg(check).arg(&file).output() {
            Ok(output) => assert!(output.status.success(), "{shell}: {output:?}"),
            // Every machine that runs these tests has bash; of the others only the words were checked.
            Err(_) => assert_ne!(shell, "bash"),
        }
    }
}

#[test]
fn help_of_every_command_has_an_example() {
    let help = ok(&["--help"]);
    assert!(help.contains("Exit codes"), "{help}");
    for command in ["inspect", "run", "trace", "compare", "convert", "list", "completions"] {
        assert!(help.contains(command), "{help}");
        let own = ok(&[command, "--help"]);
        assert!(own.contains(&format!("  twinpath {command}")), "{own}");
    }
    let version = ok(&["--version"]);
    assert_eq!(version.trim_end(), format!("twinpath {}", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let commands: [&[&str]; 4] = [
        &["compare", "--tokens", "1,2"],
        &["inspect", "--tensors"],
        &["run", "--tokens", "1", "-n", "900"],
        &["list", "points"],
    ];
    for args in commands {
        let mut child = program(args).spawn().unwrap();
        let mut out = child.stdout.take().unwrap();
        out.read_exact(&mut [0]).unwrap();
        drop(out);
        let mut complaint = String::new();
        child.stderr.take().unwrap().read_to_string(&mut complaint).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0), "{args:?}");
        assert!(!complaint.contains("error"), "{args:?} {complaint}");
    }
    // The reader is gone before the first byte.
    let mut command = program(&["completions", "bash"]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    command.stdout(writer);
    let ended = end(command);
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
}

#[test]
fn progress_stays_off_what_is_not_a_terminal() {
    let mut child = program(&["compare"]).stderr(Stdio::piped()).spawn().unwrap();
    let stderr = BufReader::new(child.stderr.take().unwrap());
    let mut out = String::new();
    child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    assert_eq!(stderr.lines().count(), 0);
    assert!(child.wait().unwrap().success());
    assert!(!out.contains('\u{1b}'), "no colour in a pipe");
}

#[test]
fn the_command_of_continuous_integration_is_the_readmes_second_one() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let fences: Vec<&str> = readme.split("```sh\n").skip(1).map(|f| f.split("```").next().unwrap().trim()).collect();
    assert_eq!(fences[..2], ["cargo run --release -- compare", "cargo test --profile quick --workspace"]);
    let script = std::fs::read_to_string(root().join(".ci/run")).unwrap();
    let dry = script.replace("exec bash -c \"$command\"", "").replace("cd \"$(dirname \"$0\")/..\"", "");
    let output = Command::new("bash").arg("-c").arg(dry).current_dir(root()).output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "+ cargo test --profile quick --workspace\n");
}

#[test]
fn the_readmes_table_is_what_compare_prints() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let shown = readme.split("```text\n").nth(1).unwrap().split("```").next().unwrap();
    let out = ok(&["compare"]);
    // The first two lines name the kernels of the machine that printed them.
    for line in shown.lines().skip(2).filter(|line| *line != "\u{2026}") {
        assert!(out.lines().any(|l| l.trim_end() == line), "README.md shows what is not printed: {line}");
    }
    assert!(shown.lines().count() > 30);
}
