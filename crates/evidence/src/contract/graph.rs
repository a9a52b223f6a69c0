//! What depends on what, as a drawing.

use std::fmt::Write;

use super::Document;
use super::status::{Report, Status};

/// A node of the drawing.
struct Drawn<'d> {
    contract: &'d str,
    id: &'d str,
    word: &'static str,
    colour: &'static str,
    gate: bool,
    needs: Vec<&'d str>,
}

fn drawn<'d>(documents: &'d [Document], report: &'d Report) -> Vec<Drawn<'d>> {
    let mut nodes = Vec::new();
    for document in documents {
        for claim in &document.contract.claims {
            let status = report.claims.iter().find(|c| c.id == claim.id).map_or(Status::New, |c| c.status);
            let colour = match status {
                Status::Discharged => "#b7e1cd",
                Status::Refuted => "#f4b6b6",
                _ => "#f3e3b3",
            };
            let needs = claim.depends_on.iter().map(String::as_str).collect();
            let word = status.word();
            nodes.push(Drawn { contract: &document.name, id: &claim.id, word, colour, gate: false, needs });
        }
        for gate in &document.contract.gates {
            let met = report.gates.iter().any(|g| g.id == gate.id && g.met);
            let (word, colour) = if met { ("met", "#b7e1cd") } else { ("open", "#f3e3b3") };
            let needs = gate.claims.iter().chain(&gate.gates).map(String::as_str).collect();
            nodes.push(Drawn { contract: &document.name, id: &gate.id, word, colour, gate: true, needs });
        }
    }
    nodes
}

/// For Graphviz.
pub fn dot(documents: &[Document], report: &Report) -> String {
    let quoted = |s: &str| format!("\"{}\"", s.replace('\\', "\\\\").replace('"', "\\\""));
    let mut out = String::from("digraph contracts {\n  rankdir=LR;\n  node [style=filled];\n");
    let nodes = drawn(documents, report);
    for document in documents {
        let name = quoted(&document.name);
        let _ = writeln!(out, "  subgraph {} {{\n    label={name};", quoted(&format!("cluster_{}", document.name)));
        for n in nodes.iter().filter(|n| n.contract == document.name) {
            let shape = if n.gate { "octagon" } else { "box" };
            let label = quoted(&format!("{}\n{}", n.id, n.word)).replace('\n', "\\n");
            let _ = writeln!(out, "    {} [label={label}, shape={shape}, fillcolor=\"{}\"];", quoted(n.id), n.colour);
        }
        out.push_str("  }\n");
    }
    for n in &nodes {
        for needed in &n.needs {
            let _ = writeln!(out, "  {} -> {};", quoted(n.id), quoted(needed));
        }
    }
    out + "}\n"
}

/// For Mermaid, which code hosts draw.
pub fn mermaid(documents: &[Document], report: &Report) -> String {
    let nodes = drawn(documents, report);
    let number = |id: &str| nodes.iter().position(|n| n.id == id);
    let plain = |s: &str| s.replace('"', "'");
    let mut out = String::from("flowchart LR\n");
    for (k, document) in documents.iter().enumerate() {
        let _ = writeln!(out, "  subgraph c{k}[\"{}\"]", plain(&document.name));
        for (i, n) in nodes.iter().enumerate().filter(|(_, n)| n.contract == document.name) {
            let (open, close) = if n.gate { ("{{", "}}") } else { ("[", "]") };
            let _ = writeln!(out, "    n{i}{open}\"{}<br/>{}\"{close}", plain(n.id), n.word);
        }
        out.push_str("  end\n");
    }
    for (i, n) in nodes.iter().enumerate() {
        let _ = writeln!(out, "  style n{i} fill:{}", n.colour);
        for needed in n.needs.iter().filter_map(|id| number(id)) {
            let _ = writeln!(out, "  n{i} --> n{needed}");
        }
    }
    out
}
