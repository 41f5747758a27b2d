"""Measurements of the server alone: how it starts with many studies, how receiving changes as the archive grows, and what
TLS costs."""
import contextlib, glob, os, re, signal, socket, struct, subprocess, time

import bench, peers
from gen import CT, EXPLE, GIVEN, ROOT, SURN, dataset, rec

STUDIES = 100_000       # of the archive that is started
LOADED_LAST = 2_000     # studies that come in before each kill
SMALL_SIDE = 64         # of a small instance, 9.1 KB with its head
CHUNK = 50_000          # small instances made, sent and forgotten at once
MEASURED, WARMED = 50_000, 10_000  # the pages of a large index come into memory first


# ---------- start ----------
class Started:
    """A server of ours in `folder`, and how long it took to be ready and to answer an association."""
    host, aet, name = "127.0.0.1", peers.AET, "own"

    def __init__(self, binary, folder, *more):
        begun = time.monotonic()
        self.log = open(f"{peers.RUN}/own-start.log", "ab")
        self.process = subprocess.Popen([binary, "--data", folder, "--dicom", "127.0.0.1:0", "--http", "127.0.0.1:0", "--ae-title", self.aet, *more],
                                        stdout=subprocess.PIPE, stderr=self.log, text=True)
        line = self.process.stdout.readline()
        self.ready_s = time.monotonic() - begun
        if not line.startswith("ready "):
            raise RuntimeError("the server did not start; see " + self.log.name)
        self.dimse_port = int(re.search(r"dicom=\S*:(\d+)", line).group(1))
        tls = re.search(r"dicom_tls=\S*:(\d+)", line)
        self.tls_port = int(tls.group(1)) if tls else None
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
            if not os.path.isfile(f"{where}/{name}"):
                continue  # a socket
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
# What stands in the heads of small instances for that which differs from study to study, in values of the same length.
UID, PATIENT, NAME, DATE, ACCESSION = f"{ROOT}.88.1999999999.1999999", "GROW999999", "XXXXX^Yyyy", "20999999", "G99999999"


def small_heads():
    """The hundred slices of a small study: data sets before and behind the first eight bytes of their pixels."""
    parts = []
    for number in range(100):
        pixels = b"\xff" * 8 + bytes((number * 31 + j * 7) & 0xff for j in range(SMALL_SIDE * SMALL_SIDE * 2 - 8))
        whole = rec(CT, f"{UID}.1.{number + 1}", EXPLE,
                    dataset(f"{UID}.1.{number + 1}", UID, f"{UID}.1", PATIENT, NAME, DATE, ACCESSION, 1, number + 1, pixels, SMALL_SIDE, SMALL_SIDE,
                            "growth", number * 1.25))
        at = len(whole) - len(pixels)
        parts.append((whole[:at], whole[at + 8:]))
    return parts


def small_pack(path, first, count):
    """`count` small instances that no other call with other numbers makes, 100 to a study. Study UIDs follow no order, as they come from many devices."""
    parts = small_heads()
    with open(path, "wb") as f:
        f.write(b"BPK1")
        for n in range(first, first + count):
            study, number = divmod(n, 100)
            head, rest = parts[number]
            for stands, value in ((UID, f"{ROOT}.88.{10**9 + study * 2654435761 % 10**9}.{10**6 + study}"), (PATIENT, f"GROW{study:06d}"),
                                  (NAME, f"{SURN[study * 7 % 1000]}^{GIVEN[study % 200]}"), (DATE, f"20{10 + study % 16}0{1 + study % 9}{1 + study % 28:02d}"),
                                  (ACCESSION, f"G{study:08d}")):
                head = head.replace(stands.encode(), value.encode())
            f.write(head + struct.pack("<Q", n) + rest)


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


# ---------- TLS ----------
def tls(binary, repetitions):
    """CT slices by `pacs store`, plain and over TLS in turn, since the load generator of the kit speaks no TLS."""
    folder, authority = peers.RUN + "/own-tls", peers.RUN + "/tls-authority"
    key, certificate = peers.RUN + "/tls.key", peers.RUN + "/tls.pem"
    peers.fresh(authority, True)
    run = lambda *words: subprocess.run(words, check=True, capture_output=True)
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    run("openssl", "req", "-x509", *curve, "-keyout", f"{authority}/key", "-out", f"{authority}/pem", "-days", "2", "-subj", "/CN=bench authority")
    run("openssl", "req", "-x509", *curve, "-keyout", key, "-out", certificate, "-days", "2", "-subj", "/CN=bench", "-CA", f"{authority}/pem",
        "-CAkey", f"{authority}/key", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE")
    studies = sorted(glob.glob(f"{bench.DATA}/ct/s*"))
    for associations in (1, 4):
        for repetition in range(repetitions):
            for how in ("plain", "tls") if repetition % 2 == 0 else ("tls", "plain"):
                peers.fresh(folder, True)
                with bench.lock():
                    server = Started(binary, folder, "--dicom-tls", "127.0.0.1:0", "--tls-certificate", certificate, "--tls-key", key)
                    os.sync()
                    try:
                        result = bench.measured(server, lambda: by_tool(binary, server, studies, associations, how, f"{authority}/pem"), 0)
                    finally:
                        server.end(signal.SIGTERM)
                bench.emit(how, "tls", f"ct-c{associations}", result, rep=repetition)


def by_tool(binary, server, studies, associations, how, authority):
    tool = os.path.join(os.path.dirname(binary), "pacs")
    options = ["--tls", "--tls-ca", authority] if how == "tls" else []
    address = f"{server.aet}@127.0.0.1:{server.tls_port if how == 'tls' else server.dimse_port}"
    begun = time.monotonic()
    tools = [subprocess.Popen([tool, "store", *options, address, *studies[n::associations]], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
             for n in range(associations)]
    said = [one.communicate()[1] for one in tools]
    wall = time.monotonic() - begun
    if any(one.returncode for one in tools):
        raise RuntimeError("pacs store failed: " + "".join(said)[-500:])
    files = [name for study in studies for name in glob.glob(study + "/*.dcm")]
    size = sum(os.path.getsize(name) for name in files)
    return dict(ok=len(files), fail=0, wall_s=wall, per_s=len(files) / wall, MB_s=size / wall / 1e6)


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
    lines = []
    for case in dict.fromkeys(r["case"] for r in rows if r["workload"] == "tls"):
        plain, secure = ([r for r in rows if (r["workload"], r["case"], r["server"]) == ("tls", case, how)] for how in ("plain", "tls"))
        cpu = lambda those: number(median(those, "server_cpu_s"), "{:.2f}")
        lines.append(f"| {case} | {number(median(plain, 'per_s'))} | {number(median(secure, 'per_s'))} | {ratio(median(secure, 'per_s'), median(plain, 'per_s'))} "
                     f"| {cpu(plain)} | {cpu(secure)} |")
    if lines:
        out.append("## Receiving over TLS (1,000 CT slices by `pacs store`)\n\n"
                   "| case | plain, instances/s | TLS, instances/s | ratio | server CPU s, plain | server CPU s, TLS |\n|---|---|---|---|---|---|\n" + "\n".join(lines))
    return out
