"""Time, memory and finds of the search for near copies beside faiss and a plain comparison.

    python benchmarks/near_copies.py [--records 10000 100000 700000] [--faiss-python PATH]

Of the records 8 in 10 are train, 1 val, 1 test; what is measured is the search of train for copies
of val. Hashes are made up. In the case `unlike` they are random; in the others two thirds of either
split are a crowd:

    still       frames of a camera that never moves: each bit differs from the scene's with 3 %
    changing    frames of a scene that changes: with 10 %
    layout      screenshots, scans: the first 140 bits are the same, the others random

A fiftieth of val are copies of images of train, in which 0 to 32 bits have changed. Contenders, each
in a process of its own, on one core:

    search        the project's search
    compare_all   numpy comparing a row with all of train, the coarse bits first; on a sample of the
                  rows, whose time is multiplied
    faiss_hash    faiss.IndexBinaryMultiHash with the same 11 parts of 23 bits and 2 flips, rows
                  sampled in the same way, building the index counted once
    faiss_flat    faiss.IndexBinaryFlat, rows sampled

faiss finds the likest of train by all of the bits, where the project's search asks besides that of
the first 64 no more than 14 differ. It is no dependency of the project: the interpreter that
--faiss-python names has it (pip install faiss-cpu numpy); without one, the plain comparison is the
only peer.

Memory is how far a contender's resident memory peaks above what the process holds with both splits
loaded. `found` is the share of the images that the plain comparison finds in the sample that the
search finds too, `near` and `far` that of the copies with up to 16 and with more bits changed. The
last line printed is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

CASES = ("unlike", "still", "changing", "layout")
CONTENDERS = ("search", "compare_all", "faiss_hash", "faiss_flat")
HASH_BYTES = 32
COARSE_BITS = 64
MOST_COARSE_BITS = 14
MOST_BITS = 32
NEAR_BITS = 16
SAMPLE = 400


def made_up(case: str, count: int, chance: np.random.Generator) -> NDArray[np.uint8]:
    """Returns uint8[count, 32], the first two thirds of them a crowd."""
    hashes = chance.integers(0, 256, (count, HASH_BYTES), dtype=np.uint8)
    crowd = hashes[: 2 * count // 3]
    # The same scene for both splits.
    scene = np.random.default_rng(0).integers(0, 2, 8 * HASH_BYTES, dtype=np.uint8)
    if case != "unlike":
        shares = np.full(8 * HASH_BYTES, {"still": 0.03, "changing": 0.1, "layout": 0.5}[case])
        if case == "layout":
            shares[:140] = 0
        for begin in range(0, len(crowd), 10_000):
            part = crowd[begin : begin + 10_000]
            differs = chance.random((len(part), 8 * HASH_BYTES)) < shares
            part[:] = np.packbits(scene ^ differs, axis=1)
    hashes[:, 0] |= 0x80
    return hashes


def write_case(folder: Path, case: str, records: int) -> None:
    chance = np.random.default_rng(1)
    first = made_up(case, records * 8 // 10, chance)
    second = made_up(case, records // 10, chance)
    copies = np.arange(0, len(second), 50)
    originals = chance.integers(0, len(first), len(copies))
    changed = chance.integers(0, MOST_BITS + 1, len(copies))
    for row, original, bits in zip(copies, originals, changed, strict=True):
        flips = np.zeros(8 * HASH_BYTES, dtype=np.uint8)
        flips[1 + chance.choice(8 * HASH_BYTES - 1, bits, replace=False)] = 1
        if flips[:COARSE_BITS].sum() > MOST_COARSE_BITS:
            flips[:] = 0
        second[row] = first[original] ^ np.packbits(flips)
    np.save(folder / "first.npy", first)
    np.save(folder / "second.npy", second)
    bits = np.bitwise_count(first[originals] ^ second[copies]).sum(axis=1)
    np.save(folder / "copies.npy", np.stack([copies, bits]))


def sampled(second: NDArray[np.uint8]) -> NDArray[np.intp]:
    return np.unique(np.linspace(0, len(second) - 1, SAMPLE).astype(np.intp))


def search(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> Callable[[], list[int]]:
    from kfdet.core.validation.near_copies import near_copies

    originals, rows = bytearray(first.tobytes()), bytearray(second.tobytes())
    return lambda: [copy.position for copy in near_copies(originals, rows)]


def compare_all(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> Callable[[], list[int]]:
    columns = np.ascontiguousarray(first.view(np.uint64).T)

    def run() -> list[int]:
        found = []
        for position in sampled(second).tolist():
            row = second[position].view(np.uint64)
            coarse = np.bitwise_count(columns[0] ^ row[0])
            near = np.flatnonzero(coarse <= MOST_COARSE_BITS)
            # Where many are near, comparing all is faster than picking those out.
            is_picked = len(near) < len(first) // 8
            part = columns.take(near, axis=1) if is_picked else columns
            bits = np.bitwise_count(part[0] ^ row[0]).astype(np.uint16)
            for word in range(1, len(columns)):
                bits += np.bitwise_count(part[word] ^ row[word])
            if (bits if is_picked else bits[near]).min(initial=MOST_BITS + 1) <= MOST_BITS:
                found.append(position)
        return found

    return run


def faiss_index(kind: str, first: NDArray[np.uint8]) -> Any:
    import faiss

    faiss.omp_set_num_threads(1)
    if kind == "faiss_flat":
        index = faiss.IndexBinaryFlat(8 * HASH_BYTES)
    else:
        index = faiss.IndexBinaryMultiHash(8 * HASH_BYTES, 11, 23)
        index.nflip = 2
    index.add(first)
    return index


def peak_above_mb(begun_mb: float) -> float:
    return status_mb("VmHWM") - begun_mb


def status_mb(field: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1024
    raise KeyError(field)


def run_contender(name: str, folder: Path) -> dict[str, Any]:
    first, second = np.load(folder / "first.npy"), np.load(folder / "second.npy")
    prepared = {"search": search, "compare_all": compare_all}.get(name)
    run = prepared(first, second) if prepared else None
    # From here on VmHWM counts anew.
    Path("/proc/self/clear_refs").write_text("5")
    begun_mb, begun = status_mb("VmRSS"), time.process_time()
    found: list[int] = []
    share = 1.0
    built = 0.0
    if run is not None:
        found = run()
        share = 1.0 if name == "search" else len(sampled(second)) / len(second)
    else:
        index = faiss_index(name, first)
        built = time.process_time() - begun
        rows = sampled(second)
        bits, _ = index.search(second[rows], 1)
        found = rows[bits[:, 0] <= MOST_BITS].tolist()
        share = len(rows) / len(second)
    spent = time.process_time() - begun - built
    return {
        "cpu_s": built + spent / share,
        "peak_mb": peak_above_mb(begun_mb),
        "found": found,
    }


def measured(name: str, folder: Path, python: str) -> dict[str, Any]:
    command = [python, __file__, "--contender", name, "--folder", str(folder)]
    answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found: dict[str, Any] = json.loads(answer.splitlines()[-1])
    return found


def share_found(expected: set[int], found: set[int]) -> float:
    return round(len(expected & found) / len(expected), 4) if expected else 1.0


def compare(case: str, records: int, *, faiss: str | None) -> dict[str, Any]:
    names = [name for name in CONTENDERS if faiss or not name.startswith("faiss")]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_case(folder, case, records)
        runs = {
            name: measured(name, folder, str(faiss) if name.startswith("faiss") else sys.executable)
            for name in names
        }
        copies, bits = np.load(folder / "copies.npy")
    ours = runs["search"]
    found = set(ours["found"])
    print(f"{case}, {records:,} records")
    for name, run in runs.items():
        ratio = f"search / {name} {ours['cpu_s'] / run['cpu_s']:.3f}" if name != "search" else ""
        print(f"  {name:12} {run['cpu_s']:>8.3f} s CPU  +{run['peak_mb']:>4.0f} MB  {ratio}")
    finds = {
        "found": share_found(set(runs["compare_all"]["found"]), found),
        "near": share_found(set(copies[bits <= NEAR_BITS].tolist()), found),
        "far": share_found(set(copies[bits > NEAR_BITS].tolist()), found),
    }
    print("  " + "  ".join(f"{name} {share:.2%}" for name, share in finds.items()))
    return {
        f"{case}_{records}_{name}": value
        for name, value in {
            **{f"{name}_cpu_s": round(run["cpu_s"], 3) for name, run in runs.items()},
            **{f"{name}_peak_mb": round(run["peak_mb"], 1) for name, run in runs.items()},
            **{
                f"search_to_{name}_cpu": round(ours["cpu_s"] / run["cpu_s"], 4)
                for name, run in runs.items()
                if name != "search"
            },
            **finds,
        }.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, nargs="+", default=[10_000, 100_000, 700_000])
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--faiss-python", help="interpreter that has faiss-cpu and numpy")
    parser.add_argument("--contender", choices=CONTENDERS)
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    if arguments.contender:
        print(json.dumps(run_contender(arguments.contender, arguments.folder)))
        return
    if arguments.faiss_python is None:
        print(
            "faiss takes no part: pip install faiss-cpu numpy into an environment of its own and "
            "name its interpreter in --faiss-python"
        )
    summary: dict[str, Any] = {"sample": SAMPLE}
    for records in arguments.records:
        for case in arguments.cases:
            summary |= compare(case, records, faiss=arguments.faiss_python)
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
