"""Measurements of the server alone: how it starts with many studies, and how receiving changes as the archive grows."""
import contextlib, os, re, signal, socket, struct, subprocess, time

import bench, peers
from gen import CT, EXPLE, GIVEN, ROOT, SURN, dataset, rec

STUDIES = 100_000       # of the archive that is started
LOADED_LAST = 2_000     # studies that come in before each kill
SMALL_SIDE = 64         # of a small instance, 9.1 KB with its head
CHUNK = 50_000          # small instances made, sent and forgotten at once
MEASURED, WARMED = 10_000, 2_000


# ---------- start ----------
class Started:
    """A server of ours in `folder`, and how long it took to be ready and to answer an association."""
    host, aet, name = "127.0.0.1", peers.AET, "own"

    def __init__(self, binary, folder):
        begun = time.monotonic()
        self.log = open(f"{peers.RUN}/own-start.log", "ab")
        self.process = subprocess.Popen([binary, "--data", folder, "--dicom", "127.0.0.1:0", "--http", "127.0.0.1:0", "--ae-title", self.aet],
                                        stdout=subprocess.PIPE, stderr=self.log, text=True)
        line = self.process.stdout.readline()
        self.ready_s = time.monotonic() - begun
        if not line.startswith("ready "):
            raise RuntimeError("the server did not start; see " + self.log.name)
        self.dimse_port = int(re.search(r"dicom=\S*:(\d+)", line).group(1))
        self.pids = [self.process.pid]

    def memory_MB(self):
        with open(f"/proc/{self.process.pid}/status") as f:
            return int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1)) / 1024

    def end(self, how):
        self.process.send_signal(how)
        self.process.wait(120)
        self.log.close()


def say(case, row, **more):
    bench.emit("own", "start", case, row, **more)
    print("  " + ", ".join(f"{name} {value:.3f}" for name, value in row.items()), flush=True)


def forget(folder):
    """Takes the files of an archive out of the page cache."""
    os.sync()
    for where, _, names in os.walk(folder):
        for name in names:
            with open(f"{where}/{name}", "rb") as f:
                os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def start(binary, repetitions):
    folder = peers.RUN + "/own-start"
    peers.fresh(folder, True)
    tiny = f"{bench.DATA}/tiny.pack"
    held_back = LOADED_LAST * repetitions
    server = Started(binary, folder)
    loaded = bench.load(server, "store", pack=tiny, n=STUDIES - held_back, conns=4)
    print(f"  loaded {loaded.get('ok')}, failed {loaded.get('fail')}", flush=True)
    time.sleep(5)
    say("receiving them", dict(idle_MB=server.memory_MB()))
    server.end(signal.SIGTERM)
    for repetition in range(repetitions):
        for case, is_cold in (("a clean stop", False), ("a clean stop, with nothing of it cached", True)):
            if is_cold:
                forget(folder)
            say(case, started(binary, folder), rep=repetition)
    for repetition in range(repetitions):
        server = Started(binary, folder)
        bench.load(server, "store", pack=tiny, first=STUDIES - held_back + repetition * LOADED_LAST, n=LOADED_LAST, conns=4)
        server.end(signal.SIGKILL)
        say("kill -9 just after receiving", started(binary, folder), rep=repetition)


def started(binary, folder):
    with bench.lock():
        server = Started(binary, folder)
        try:
            with socket.create_connection((server.host, server.dimse_port), 5):
                pass
            time.sleep(2)
            return dict(ready_s=server.ready_s, idle_MB=server.memory_MB())
        finally:
            server.end(signal.SIGTERM)


# ---------- growth ----------
def small_pack(path, first, count):
    """`count` small instances that no other call with other numbers makes, 100 to a study. Study UIDs follow no order, as they come from many devices."""
    pixels = [bytes((i * 31 + j * 7) & 0xff for j in range(SMALL_SIDE * SMALL_SIDE * 2)) for i in range(100)]
    with open(path, "wb") as f:
        f.write(b"BPK1")
        for n in range(first, first + count):
            study, number = divmod(n, 100)
            uid = f"{ROOT}.88.{(study * 2654435761 + 12345) % 2**32}.{study}"
            image = struct.pack("<Q", n) + pixels[number][8:]
            data_set = dataset(f"{uid}.1.{number + 1}", uid, f"{uid}.1", f"GROW{study:06d}", f"{SURN[study * 7 % 1000]}^{GIVEN[study % 200]}",
                               f"20{10 + study % 16}0{1 + study % 9}{1 + study % 28:02d}", f"G{study:08d}", 1, number + 1, image, SMALL_SIDE, SMALL_SIDE,
                               "growth", number * 1.25)
            f.write(rec(CT, f"{uid}.1.{number + 1}", EXPLE, data_set))


def how_many(folder):
    with contextlib.suppress(OSError, ValueError), open(folder + ".count") as f:
        return int(f.read())
    return 0


def send(server, folder, count, conns=8):
    """Sends `count` instances that are new to the archive in `folder`."""
    have = how_many(folder)
    pack = f"{peers.RUN}/growth.pack"
    small_pack(pack, have, count)
    try:
        result = bench.measured(server, lambda: bench.load(server, "store", pack=pack, conns=conns), 0)
    finally:
        os.remove(pack)
        with open(folder + ".count", "w") as f:
            f.write(str(have + count))
    if result.get("fail") or result.get("ok") != count:
        raise RuntimeError(f"{result.get('ok')} of {count} were stored: {result}")
    return result


def fill(binary, folder, wanted):
    """Brings the archive in `folder` to `wanted` instances; what a run before left is continued."""
    if not os.path.isdir(folder) or wanted == 0:
        peers.fresh(folder, True)
        with contextlib.suppress(OSError):
            os.remove(folder + ".count")
    while how_many(folder) < wanted:
        server = Started(binary, folder)
        try:
            result = send(server, folder, min(CHUNK, wanted - how_many(folder)))
        finally:
            server.end(signal.SIGTERM)
        bench.emit("own", "fill", f"n{how_many(folder)}", result)


def growth(binary, sizes, only, repetitions):
    grown, empty = peers.RUN + "/own-grown", peers.RUN + "/own-empty"
    for size in sizes:
        fill(binary, grown, size)
        if only == "fill":
            continue
        for repetition in range(repetitions):
            for name in ("empty", "grown") if repetition % 2 == 0 else ("grown", "empty"):
                folder = grown if name == "grown" else empty
                if name == "empty":
                    fill(binary, empty, 0)
                with bench.lock():
                    server = Started(binary, folder)
                    os.sync()
                    try:
                        send(server, folder, WARMED)
                        result = send(server, folder, MEASURED)
                    finally:
                        server.end(signal.SIGTERM)
                result["index_MB"] = round(os.path.getsize(folder + "/index.redb") / 1e6)
                result["ready_s"] = server.ready_s
                bench.emit(name, "growth", f"n{size}", result, rep=repetition)


# ---------- tables ----------
def tables(rows, median, ratio, number):
    out = []
    cases = list(dict.fromkeys(r["case"] for r in rows if r["workload"] == "start"))
    lines = []
    for case in cases:
        those = [r for r in rows if r["workload"] == "start" and r["case"] == case]
        lines.append(f"| {case} | {number(median(those, 'ready_s'), '{:.2f}')} | {number(median(those, 'idle_MB'))} |")
    if lines:
        out.append(f"## Starting with {STUDIES:,} studies\n\n| after | ready after s | resident memory when idle, MB |\n|---|---|---|\n" + "\n".join(lines))
    lines = []
    for case in dict.fromkeys(r["case"] for r in rows if r["workload"] == "growth"):
        empty, grown = ([r for r in rows if (r["workload"], r["case"], r["server"]) == ("growth", case, name)] for name in ("empty", "grown"))
        lines.append(f"| {int(case[1:]):,} | {number(median(grown, 'per_s'))} | {number(median(empty, 'per_s'))} | {ratio(median(grown, 'per_s'), median(empty, 'per_s'))} "
                     f"| {number(median(grown, 'lat_ms.p95'), '{:.2f}')} | {number(median(grown, 'cpu_s_per_1000') or median(grown, 'server_cpu_s') * 1000 / MEASURED, '{:.2f}')} "
                     f"| {number(median(grown, 'peak_pss_MB'))} | {number(median(grown, 'index_MB'))} | {number(median(grown, 'ready_s'), '{:.2f}')} |")
    if lines:
        out.append("## Receiving as the archive grows (instances of 10 KB, eight associations)\n\n"
                   "| instances in the archive | instances/s | the same, empty archive | ratio | p95 ms | server CPU s per 1,000 | peak memory MB | index MB | ready after s |\n"
                   "|---|---|---|---|---|---|---|---|---|\n" + "\n".join(lines))
    return out
