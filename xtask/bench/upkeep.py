"""What an administrator waits for: importing, verifying and rebuilding, each beside what the machine itself does in the same
time: files read one after the other and written to one file that is synced at the end; packs read around the page cache."""
import json, mmap, os, subprocess, time

import bench, peers
from alone import fill, forget

SOURCES = ("ct", "study500")  # 1,500 slices of 526 KB
REBUILT = 20_000              # small instances of the archive that is rebuilt
PIECE = 4 << 20


def upkeep(binary, repetitions):
    tool = os.path.join(os.path.dirname(binary), "pacs")
    imported, copied, small = (f"{peers.RUN}/{name}" for name in ("own-imported", "copied", "own-small"))
    sources = [f"{bench.DATA}/{name}" for name in SOURCES]
    files = sorted(f"{where}/{name}" for source in sources for where, _, names in os.walk(source) for name in names)
    size_MB = sum(map(os.path.getsize, files)) / 1e6
    fill(binary, small, REBUILT)
    for repetition in range(repetitions):
        works = [("bound", lambda: copy(sources, files, copied)), ("own", lambda: imports(tool, imported, sources))]
        for name, work in works if repetition % 2 == 0 else works[::-1]:
            say(name, "import", work(), repetition, n=len(files), MB=size_MB)
        packs = sorted(f"{imported}/packs/{name}" for name in os.listdir(f"{imported}/packs"))
        packs_MB = sum(os.stat(pack).st_blocks * 512 for pack in packs) / 1e6
        say("bound", "verify", read_around(packs), repetition, n=len(files), MB=packs_MB)
        say("own", "verify", timed(tool, "verify", imported), repetition, n=len(files), MB=packs_MB)
        say("own", "rebuild", timed(tool, "rebuild", small), repetition, n=REBUILT, MB=0)


def imports(tool, folder, sources):
    peers.fresh(folder, True)
    for source in sources:
        forget(source)
    return command([tool, "import", "--data", folder, "--json", *sources])


def timed(tool, what, folder):
    forget(folder)
    return command([tool, what, "--data", folder, "--json"])


def command(words):
    begun = time.monotonic()
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.monotonic() - begun


def copy(sources, files, into):
    for source in sources:
        forget(source)
    begun = time.monotonic()
    with open(into, "wb", buffering=0) as out:
        for name in files:
            with open(name, "rb", buffering=0) as f:
                while piece := f.read(PIECE):
                    out.write(piece)
        os.fdatasync(out.fileno())
    took = time.monotonic() - begun
    os.remove(into)
    return took


def read_around(packs):
    forget(os.path.dirname(packs[0]))
    memory = mmap.mmap(-1, PIECE)
    begun = time.monotonic()
    for pack in packs:
        file = os.open(pack, os.O_RDONLY | os.O_DIRECT)
        at = 0
        while count := os.preadv(file, [memory], at):
            at += count
        os.close(file)
    return time.monotonic() - begun


def say(name, case, took, repetition, n, MB):
    row = dict(wall_s=took, per_s=n / took, MB_s=MB / took)
    bench.emit(name, "upkeep", case, row, rep=repetition)
    print(f"  {name} {case}: {json.dumps(row)}", flush=True)


def table(rows, median, ratio, number):
    lines = []
    for case in dict.fromkeys(r["case"] for r in rows if r["workload"] == "upkeep"):
        own, bound = ([r for r in rows if (r["workload"], r["case"], r["server"]) == ("upkeep", case, name)] for name in ("own", "bound"))
        of_bound = ratio(median(own, "per_s"), median(bound, "per_s")) if bound else "-"
        lines.append(f"| {case} | {number(median(own, 'wall_s'), '{:.2f}')} | {number(median(own, 'per_s'))} | {number(median(own, 'MB_s')) if bound else '-'} "
                     f"| {number(median(bound, 'MB_s')) if bound else '-'} | {of_bound} |")
    if not lines:
        return []
    return ["## Importing, verifying, rebuilding (nothing of it cached)\n\n1,500 CT slices of 526 KB are imported and verified; the archive that is rebuilt has "
            f"{REBUILT:,} small instances.\n\n| case | s | instances/s | MB/s | the machine itself, MB/s | ratio |\n|---|---|---|---|---|---|\n" + "\n".join(lines)]
