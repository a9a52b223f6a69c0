"""Reads with pyarrow what `twinpath trace -o FILE.parquet` wrote, and holds it beside the same recording as .npz.

Makes   nothing; exits with 1 if a value, its site, its position or its channel differs in one bit
Run     twinpath trace MODEL -p TEXT -o r.parquet; twinpath trace MODEL -p TEXT -o r.npz
        python tools/check_parquet.py r.parquet r.npz
Needs   pip install pyarrow==22.0.0 numpy==2.4.6
"""

import json
import sys

import numpy as np
import pyarrow.parquet as pq


def main() -> None:
    table, arrays = pq.read_table(sys.argv[1]), np.load(sys.argv[2])
    tokens = json.loads(table.schema.metadata[b"twinpath"])["tokens"]
    if tokens != arrays["input_ids"].tolist():
        sys.exit("the tokens differ")
    site = np.array(table["site"].to_pylist())
    position, channel, value = (table[name].to_numpy() for name in ("position", "channel", "value"))
    names = [name for name in arrays.files if name not in ("input_ids", "positions")]
    if sorted(set(site)) != sorted(names):
        sys.exit("the sites differ")
    for name in names:
        rows, expected = site == name, arrays[name]
        shape = (len(arrays["positions"]), -1)
        same = (
            np.array_equal(value[rows].reshape(shape).view(np.uint8), expected.view(np.uint8))
            and np.array_equal(position[rows].reshape(shape)[:, 0], arrays["positions"])
            and np.array_equal(channel[rows].reshape(shape)[0], np.arange(expected.shape[1]))
        )
        if not same:
            sys.exit(f"{name} differs")
    print(f"{len(value)} values of {len(names)} sites are the same")


if __name__ == "__main__":
    main()
