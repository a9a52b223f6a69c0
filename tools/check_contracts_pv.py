"""Holds our validation of contracts beside that of the published validator.

    cargo install aprender-contracts-cli --version 0.72.3     # the binary `pv`; needs no configuration
    python3 tools/check_contracts_pv.py [PV] [TWINPATH]

1. `pv validate` must report 0 errors and 0 warnings for each shipped contract.
2. On every broken file of testdata/contracts (the good one with one edit each) both must find the same rules, of those that
   both have. Rules whose ids begin with TP- are ours alone.

Exit code 1 if they disagree. Needs nothing but Python 3.
"""

import json
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
DATA = ROOT / "testdata" / "contracts"
READING = "TP-YAML-001"


def run(*command):
    ended = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=120)
    return ended.returncode, ended.stdout, ended.stderr


def pv_rules(pv, file):
    """Rules that the published validator reports; UNREADABLE if it cannot read the file."""
    code, out, err = run(pv, "validate", file)
    if "Failed to parse YAML" in err:
        # It reads with two readers, of which the strict one names repeated keys.
        return {"SCHEMA-020"} if "duplicate" in err else {"UNREADABLE"}
    return set(re.findall(r"\[(?:ERROR|WARN)\] ([A-Z]+(?:-[A-Z]+)*-\d+)", out))


def our_rules(twinpath, file):
    code, out, _ = run(twinpath, "contract", "validate", file, "--json")
    return {f["rule"] for f in json.loads(out)}


def broken(good, edit):
    text = good
    if edit["old"] is not None:
        text = text.replace(edit["old"], edit["new"], 1)
    if "cut" in edit:
        text = text[: text.index(edit["cut"]) + 1]
    return text + edit.get("append", "")


def main():
    pv = sys.argv[1] if len(sys.argv) > 1 else "pv"
    twinpath = sys.argv[2] if len(sys.argv) > 2 else ROOT / "target" / "release" / "twinpath"
    wrong = 0
    for file in sorted((ROOT / "contracts").glob("*.yaml")):
        code, out, err = run(pv, "validate", file)
        clean = code == 0 and "0 error(s), 0 warning(s)" in out
        wrong += not clean
        print(f"{file.name:40} {'0 errors, 0 warnings' if clean else out + err}")
    good = (DATA / "good.yaml").read_text()
    edits = json.loads((DATA / "edits.json").read_text())
    agree = ours_only = unread = 0
    for edit in edits:
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            (folder / "other-v1.yaml").write_text((DATA / "other-v1.yaml").read_text())
            file = folder / "good.yaml"
            file.write_text(broken(good, edit))
            theirs, ours = pv_rules(pv, file), our_rules(twinpath, file)
        shared = {rule for rule in ours if not rule.startswith("TP-")}
        if theirs == {"UNREADABLE"} and READING in ours:
            unread += 1
            verdict = "agree: neither reads it"
        elif "TP-KIND-001" in ours and all(rule.startswith("KAIZEN-") for rule in theirs):
            # Records of costs are a kind that our program refuses as a whole.
            agree += 1
            verdict = "agree: both refuse it"
        elif not theirs and not shared:
            ours_only += 1
            verdict = "ours alone"
        elif theirs == shared:
            agree += 1
            verdict = "agree"
        else:
            wrong += 1
            verdict = "DISAGREE"
        found = lambda rules: " ".join(sorted(rules)) or "-"
        print(f"{edit['name']:40} pv: {found(theirs):30} ours: {found(ours):45} {verdict}")
    print(f"{len(edits)} broken files: {agree} with the same rules, {unread} that neither reads, {ours_only} that ours alone "
          f"finds, {wrong} disagreements")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
