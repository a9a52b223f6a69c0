"""twinpath beside llama.cpp on this machine: both take turns, A B A B, and ratios are formed round by round.

    export CMAKE_ARGS="-DGGML_NATIVE=ON -DCMAKE_C_FLAGS='-fno-tree-dse -fno-dse' -DCMAKE_CXX_FLAGS='-fno-tree-dse -fno-dse'"
    pip install --no-binary llama-cpp-python --no-deps llama-cpp-python==0.3.36
    cargo build --release && cargo xtask gen-model --dims qwen2.5-1.5b
    python tools/bench_peers.py --model target/models/qwen2.5-1.5b-random.gguf --record peers.json

llama.cpp runs at the best settings that its interface reaches: each of repack or not (`use_extra_bufts`, which on some
processors also brings AMX) and mapped or not (`load_mode`), with flash attention left to itself, huge pages for malloc and
waiting threads that spin, is tried first; the best for a prompt and the best for decoding then meet ours. A model without
tokenizer is loaded without one. Single kernels of ggml are called directly (bench_ggml.c) beside
`twinpath bench --only gemv --only gemm --only blocks`.

The two flags keep gcc 12 from dropping the stores of ggml's AMX tile configuration (its `_tile_loadconfig` claims to read 8 of
the 64 bytes): without them the default settings end in an illegal instruction on a processor with AMX.

Memory is read before and after each round of decoding, for a tenth of a second; what reading alone would give is from that. Two
threads of some virtual machines share a third-level cache, and one link to memory, at most times and have one each for some
seconds: there it is a hint, and the quartiles of decoding are far apart. `twinpath bench --only decode` takes turns with reading
every few hundredths of a second.

Run it under `chrt -r 50` where the machine is shared. Every ratio is twinpath by llama.cpp or ggml: above 1 we are faster.
"""

import argparse
import ctypes
import importlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import types
import typing
from pathlib import Path

PINNED = "0.3.36"
HERE = Path(__file__).resolve().parent
# What the design holds itself to: a bound from below on the median ratio.
TARGETS = {
    "decode": 1.4,
    "prefill": 1.5,
    "gemv q4_K in cache, 1 thread": 3.0,
    "gemv q6_K in cache, 1 thread": 2.0,
    "gemv q4_K in cache, 1 thread, rows as stored": 1.45,
    "gemm q4_K 64 positions": 1.8,
    "decode q4_K to f32": 2.0,
    "decode q6_K to f32": 8.0,
    "code activations": 6.0,
}


def spread(values):
    """Median and quartiles (R's type 7)."""
    if len(values) == 1:
        return {"q1": values[0], "median": values[0], "q3": values[0]}
    q1, median, q3 = statistics.quantiles(values, n=4, method="inclusive")
    return {"q1": q1, "median": median, "q3": q3}


# --- llama.cpp, in a process of its own -------------------------------------------------------------------------------


def bindings():
    """llama_cpp's ctypes bindings alone: the rest of the package needs numpy and more."""
    found = importlib.metadata.version("llama_cpp_python")
    if found != PINNED:
        sys.exit(f"llama-cpp-python is {found}, not {PINNED}: see the top of {__file__}")
    package = types.ModuleType("llama_cpp")
    package.__path__ = importlib.util.find_spec("llama_cpp").submodule_search_locations
    sys.modules["llama_cpp"] = package
    sys.modules.setdefault("typing_extensions", typing)
    return importlib.import_module("llama_cpp.llama_cpp")


def libraries():
    """Where llama.cpp's libraries are."""
    package = Path(importlib.util.find_spec("llama_cpp").submodule_search_locations[0])
    return Path(os.environ.get("LLAMA_CPP_LIB_PATH", package / "lib"))


def worker(model, load_mode, extra, threads):
    """Loads once, then answers `prefill N` and `decode N` with seconds."""
    ll = bindings()
    log = ll.llama_log_callback(lambda level, text, _: level >= 3 and sys.stderr.write(text.decode()))
    ll.llama_log_set(log, None)
    ll.llama_backend_init()
    params = ll.llama_model_default_params()
    params.load_mode, params.use_extra_bufts, params.n_gpu_layers = load_mode, extra, 0
    overrides = vocabulary(ll, model)
    if overrides:
        params.kv_overrides = overrides
    loaded = ll.llama_model_load_from_file(str(model).encode(), params)
    assert loaded, f"llama.cpp cannot load {model}"
    wanted = ll.llama_context_default_params()
    wanted.n_ctx, wanted.n_batch, wanted.n_ubatch = 1024, 512, 512
    wanted.n_threads = wanted.n_threads_batch = threads
    context = ll.llama_init_from_model(loaded, wanted)
    memory = ll.llama_get_memory(context)

    def feed(tokens):
        array = (ll.llama_token * len(tokens))(*tokens)  # the batch points into it
        batch = ll.llama_batch_get_one(array, len(tokens))
        assert ll.llama_decode(context, batch) == 0
        ll.llama_synchronize(context)

    def prefill(n):
        feed([(i * 397 + 11) % 500 for i in range(n)])

    def decode(n):
        for i in range(n):
            feed([(i * 397 + 11) % 500])

    print(json.dumps({"system": ll.llama_print_system_info().decode()}), flush=True)
    for line in sys.stdin:
        what, n = line.split()
        ll.llama_memory_clear(memory, True)
        if what == "decode":
            decode(2)
        start = time.perf_counter()
        {"prefill": prefill, "decode": decode}[what](int(n))
        print(json.dumps(time.perf_counter() - start), flush=True)


def vocabulary(ll, model):
    """Overrides for a file without a tokenizer, else nothing."""
    head = open(model, "rb").read(1 << 20)
    if b"tokenizer.ggml.model" in head:
        return None
    arch, rows = b"qwen2", embedding_rows(head)
    made = (ll.llama_model_kv_override * 3)()
    made[0].tag, made[0].key = 3, b"tokenizer.ggml.model"
    made[0].value.val_str = b"no_vocab"
    made[1].tag, made[1].key = 0, arch + b".vocab_size"
    made[1].value.val_i64 = rows
    return made


def embedding_rows(head):
    """Rows of `token_embd.weight` from the directory of a GGUF file."""
    at = head.index(b"token_embd.weight") + len(b"token_embd.weight")
    assert int.from_bytes(head[at : at + 4], "little") == 2
    return int.from_bytes(head[at + 12 : at + 20], "little")


class Refused(Exception):
    """A setting under which llama.cpp does not run here."""


class Llama:
    """A worker and its settings."""

    def __init__(self, model, load_mode, extra, threads):
        self.name = f"{'repack' if extra else 'no repack'}, {'mapped' if load_mode == 1 else 'copied'}"
        env = dict(os.environ, OMP_WAIT_POLICY="active", GLIBC_TUNABLES="glibc.malloc.hugetlb=1")
        command = [sys.executable, __file__, "--worker", str(model), str(load_mode), str(int(extra)), str(threads)]
        self.process = subprocess.Popen(
            command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"llama.cpp did not start: run {' '.join(command)} to see why")
        self.system = json.loads(line)["system"]
        self.process.send_signal(signal.SIGSTOP)

    def rate(self, what, n):
        """Tokens a second. Between turns the process is stopped: its waiting threads spin."""
        self.process.send_signal(signal.SIGCONT)
        self.process.stdin.write(f"{what} {n}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise Refused(f"llama.cpp ({self.name}) ended with {self.process.wait()}")
        self.process.send_signal(signal.SIGSTOP)
        return n / json.loads(line)

    def close(self):
        self.process.send_signal(signal.SIGCONT)
        self.process.stdin.close()
        self.process.wait()


# --- ours -------------------------------------------------------------------------------------------------------------


def ours(twinpath, model, what, n, threads):
    """Tokens a second of one run; the prompt of a decoding run is short."""
    prompt = n if what == "prefill" else 2
    tokens = ",".join(str((i * 397 + 11) % 500) for i in range(prompt))
    new = 1 if what == "prefill" else n + 1
    command = [twinpath, "run", f"{model}@fused-q8k", "--tokens", tokens, "-n", str(new), "--ignore-eos", "--json", "--quiet"]
    command += ["--no-verify", "--threads", str(threads)]
    record = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return record[f"{what}_tokens_per_second"]


def bench(args, model, *measures):
    """The groups of a quick `twinpath bench`."""
    command = [args.twinpath, "bench", model, "--quick", "--json", "--quiet", "--threads", str(args.threads)]
    command += [word for measure in measures for word in ("--only", measure)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)["groups"]


def read_by_a_step(args, model):
    """Bytes of the weights that a decoding step reads."""
    command = [args.twinpath, "inspect", str(model), "--json", "--no-verify"]
    tensors = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)["tensors"]
    untied = any(t["name"] == "output.weight" for t in tensors)
    return sum(t["bytes"] for t in tensors if not (untied and t["name"] == "token_embd.weight"))


def threads_name(threads):
    return "1 thread" if threads == 1 else f"{threads} threads"


def whole_model(args, model, ggml):
    """Prompt and decoding, each against llama.cpp's best settings for it; decoding beside what reading alone would give."""
    sizes = {"prefill": args.prompt, "decode": args.steps}
    tried = {what: {} for what in sizes}
    for extra in (True, False):
        for load_mode in (0, 1):
            llama = Llama(model, load_mode, extra, args.threads)
            system = llama.system
            try:
                for what, n in sizes.items():
                    llama.rate(what, n)
                    tried[what][(load_mode, extra)] = max(llama.rate(what, n) for _ in range(2))
            except Refused as refused:
                print(f"left out: {refused}", file=sys.stderr)
            llama.close()
    rows = []
    for what, n in sizes.items():
        best = max(tried[what], key=tried[what].get)
        llama = Llama(model, *best, args.threads)
        llama.rate(what, n)
        # A prompt is not bound by memory.
        size = read_by_a_step(args, model) / 1e9 if what == "decode" else None
        rounds, before = [], size and ggml.reading(args.threads)
        for _ in range(args.rounds):
            pair = ours(args.twinpath, model, what, n, args.threads), llama.rate(what, n)
            after = size and ggml.reading(args.threads)
            rounds.append((*pair, size and (before + after) / 2 / size))
            before = after
        llama.close()
        settings = {f"{'repack' if e else 'no repack'}, {'mapped' if m == 1 else 'copied'}": r for (m, e), r in tried[what].items()}
        rows.append(row(what, f"{what} {n}, {model.stem}", "tok/s", rounds, f"llama.cpp, {llama.name}", settings))
    return rows, system


def row(key, name, unit, rounds, opponent, settings=None):
    """Of each round ours, theirs and, where memory alone sets one, the limit; all in one unit."""
    ratio = spread([a / b for a, b, _ in rounds])
    target = TARGETS.get(key)
    made = {
        "name": name,
        "unit": unit,
        "ours": spread([a for a, _, _ in rounds]),
        "opponent": opponent,
        "theirs": spread([b for _, b, _ in rounds]),
        "ratio": ratio,
        "target": target,
        "held": None if target is None else ratio["q1"] >= target or (False if ratio["q3"] < target else None),
        "settings tried": settings,
        "rounds": len(rounds),
    }
    if all(limit for _, _, limit in rounds):
        made["limit"] = spread([limit for _, _, limit in rounds])
        made["of limit"] = spread([a / limit for a, _, limit in rounds])
        made["reachable"] = spread([limit / b for _, b, limit in rounds])
    return made


# --- single kernels ---------------------------------------------------------------------------------------------------


class Ggml:
    """ggml's kernels, called directly."""

    def __init__(self, folder):
        self.libs = str(libraries()).encode()
        library, source = folder / "bench_ggml.so", HERE / "bench_ggml.c"
        if not library.exists():
            subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-pthread", source, "-o", library, "-ldl"], check=True)
        self.call = ctypes.CDLL(str(library)).bench_ggml
        self.call.restype = ctypes.c_double
        self.call.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_size_t, ctypes.c_int, ctypes.c_int]

    def seconds(self, kernel, threads, size, cols):
        """Of one pass over `size` bytes of weights."""
        once = self.call(self.libs, kernel.encode(), threads, size, cols, 1)
        if once < 0:
            return None
        repeats = max(1, min(100_000, int(0.02 / max(once, 1e-7))))
        return self.call(self.libs, kernel.encode(), threads, size, cols, repeats) / repeats

    def reading(self, threads):
        """GB/s that the machine reads now, out of cache."""
        size = 256 << 20
        return size / 1e9 / min(self.seconds("read", threads, size, 4096) for _ in range(3))


def block_bytes(kernel):
    return 210 if "q6_K" in kernel else 144


# Our entrants, the best first.
OURS = ("fused-q8k, copied", "fused-q8k", "decode", "code")


def kernels(args, model, ggml):
    """Ours from `twinpath bench`, ggml's by call, before and after each of ours: medians of either are compared."""
    rounds, before = [], case_rates(ggml, args.threads)
    for _ in range(args.kernel_rounds):
        groups = bench(args, f"{model}@fused-q8k", "gemv", "gemm", "blocks")
        after = case_rates(ggml, args.threads)
        theirs = {name: statistics.median(before[name] + rates) if rates else None for name, rates in after.items()}
        rounds.append((groups, theirs))
        before = after
    rows = []
    for name, _, _, _, _, measure, part, threads, unit in cases(args.threads):
        key, kernel = name.split(" against ")
        # Rows as stored meet ggml's kernel that reads them so.
        for title, entrants in ((key, OURS), (f"{key}, rows as stored", ("fused-q8k",))):
            made = []
            for groups, theirs in rounds:
                found = [g for g in groups if g["measure"] == measure and part in g["name"] and threads in g["name"]]
                rates = {e["name"]: e["rate"]["median"] for g in found for e in g["entrants"]}
                mine = [rates[n] for n in entrants if n in rates]
                if mine and theirs[name]:
                    made.append((mine[0], theirs[name], rates.get("read") if "out of cache" in key else None))
            if made and (entrants is OURS or "vec_dot" in kernel):
                rows.append(row(title, title, unit, made, f"ggml {kernel}"))
    return rows


def cases(threads):
    """Name, kernel, threads, bytes, columns; and where ours is: measure, part of the group's name, threads, unit."""
    cached, large = 512 * 2048, 256 << 20
    many = threads_name(threads)
    made = []
    for quant, size in (("q4_K", 144), ("q6_K", 210)):
        part = quant.upper()
        # On x86 only Q4_K is ever repacked.
        repacked = ["ggml_gemv_q4_K_8x8_q8_K"] if quant == "q4_K" else []
        for kernel in [f"ggml_vec_dot_{quant}_q8_K", *repacked]:
            one = (f"gemv {quant} in cache, 1 thread against {kernel}", kernel, 1, cached // 256 * size, 2048)
            made.append((*one, "gemv", f"{part} 512 x 2048, in cache", "1 thread", "GB/s"))
            all_ = (f"gemv {quant} out of cache, {many} against {kernel}", kernel, threads, large, 4096)
            made.append((*all_, "gemv", f"{part} 4096 x 4096, out of cache", many, "GB/s"))
        kernel = f"dequantize_row_{quant}"
        made.append((f"decode {quant} to f32 against {kernel}", kernel, 1, 128 * size, 256, "blocks", f"{part} to f32", "", "Gval/s"))
    kernel = "ggml_gemm_q4_K_8x8_q8_K"
    size = 4096 * 4096 // 256 * 144
    made.append((f"gemm q4_K 64 positions against {kernel}", kernel, threads, size, 4096, "gemm", "Q4_K 4096 x 4096", many, "GMAC/s"))
    kernel = "quantize_row_q8_K"
    made.append((f"code activations against {kernel}", kernel, 1, 4096 // 256 * 144, 4096, "blocks", "activations to Q8_K", "", "Gval/s"))
    return made


def case_rates(ggml, threads):
    """Of each case the rates in a few windows of 20 ms, the cases in turns; none where ggml lacks the kernel."""
    rates = {case[0]: [] for case in cases(threads)}
    for _ in range(5):
        for case in cases(threads):
            rate = case_rate(ggml, case)
            rates[case[0]] += [] if rate is None else [rate]
    return rates


def case_rate(ggml, case):
    name, kernel, threads, size, cols = case[:5]
    if "quantize_row_q8_K" in kernel:
        size = 8 * cols // 256 * 144  # eight rows are the least that a part holds
    seconds = ggml.seconds(kernel, threads, size, cols)
    if seconds is None:
        return None
    values = size / block_bytes(kernel) * 256
    if "gemm" in kernel:
        return values * 64 / seconds / 1e9
    if "quantize_row_q8_K" in kernel:
        return cols / seconds / 1e9
    return (values if "dequantize" in kernel else size) / seconds / 1e9


# --- the table --------------------------------------------------------------------------------------------------------


def show(rows):
    print(f"{'what':46} {'ours':>8} {'theirs':>8} {'unit':7} {'ratio':>6} {'quartiles':>14} {'target':>7}  against")
    for r in rows:
        held = {True: "held", False: "NOT HELD", None: "unclear"}[r["held"]] if r["target"] else ""
        target = f">= {r['target']}" if r["target"] else ""
        quartiles = f"{r['ratio']['q1']:.2f} .. {r['ratio']['q3']:.2f}"
        print(
            f"{r['name']:46} {r['ours']['median']:8.2f} {r['theirs']['median']:8.2f} {r['unit']:7} {r['ratio']['median']:6.2f} "
            f"{quartiles:>14} {target:>7}  {r['opponent']}  {held}"
        )
        if "limit" in r:
            of, most = r["of limit"], r["reachable"]
            print(
                f"{'':46} {r['limit']['median']:8.2f} {'':8} {r['unit']:7} reading alone: ours is {of['median']:.2f} of it "
                f"({of['q1']:.2f} .. {of['q3']:.2f}), and would give {most['median']:.2f} ({most['q1']:.2f} .. {most['q3']:.2f})"
            )
        for setting, rate in (r["settings tried"] or {}).items():
            print(f"{'':46} {'':8} {rate:8.2f} {r['unit']:7} tried: {setting}")


def table(files):
    """The rows of some records as Markdown."""
    print("| | ours | theirs | ratio (quartiles) | target | against |\n|---|---|---|---|---|---|")
    for r in (row for file in files for row in json.loads(file.read_text())["rows"]):
        held = {True: "held", False: "not held", None: "unclear"}[r["held"]] if r["target"] else ""
        target = f"≥ {r['target']}: {held}" if r["target"] else ""
        q = r["ratio"]
        ours, theirs = (f"{r[side]['median']:.3g} {r['unit']}" for side in ("ours", "theirs"))
        ratio = f"{q['median']:.2f} ({q['q1']:.2f} .. {q['q3']:.2f})"
        if "reachable" in r:
            ratio += f", reading alone {r['reachable']['median']:.2f}"
        print(f"| {r['name']} | {ours} | {theirs} | {ratio} | {target} | {r['opponent']} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--twinpath", default="target/release/twinpath")
    parser.add_argument("--model", type=Path, action="append", default=[], help="a GGUF file; can be given several times")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--steps", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--kernel-rounds", type=int, default=3, help="0 leaves the kernels out")
    parser.add_argument("--record", type=Path, help="also write the table here, as JSON")
    parser.add_argument("--table", type=Path, nargs="+", metavar="RECORD", help="print records as Markdown, and measure nothing")
    args = parser.parse_args()
    if args.table:
        return table(args.table)
    if not args.model:
        parser.error("name a model: --model FILE")
    rows, system = [], ""
    with tempfile.TemporaryDirectory() as folder:
        ggml = Ggml(Path(folder))
        if args.kernel_rounds:
            rows += kernels(args, args.model[0], ggml)
        for model in args.model:
            more, system = whole_model(args, model, ggml)
            rows += more
    show(rows)
    if args.record:
        info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
        cpu = next((line.split(":")[1].strip() for line in info.splitlines() if line.startswith("model name")), platform.machine())
        record = {"machine": cpu, "threads": args.threads, "llama-cpp-python": PINNED, "system": system, "rows": rows}
        record["load"] = os.getloadavg()[0]
        temporary = args.record.with_suffix(".tmp")
        temporary.write_text(json.dumps(record, indent=1) + "\n")
        temporary.replace(args.record)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        model, load_mode, extra, threads = sys.argv[2:]
        worker(Path(model), int(load_mode), bool(int(extra)), int(threads))
    else:
        main()
