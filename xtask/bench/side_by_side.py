#!/usr/bin/env python3
"""The server and its peers, measured in turn in one run; `cargo xtask bench` calls it.

For every repetition of a case the physical bound, the server and each peer run one after another, the order turned
round every second time, so that a disk or a neighbour that changes its speed touches all of them alike. Figures are
medians of the undisturbed repetitions. The kit (PACS_BENCH) gives the load generator, the data and the peers."""
import argparse, json, os, platform, re, statistics, subprocess, sys, time

sys.path.insert(0, os.environ["PACS_BENCH"])
import alone, bench, disk, peers, upkeep, web, worklist
from gen import EXPLE, ROOT, el, rec, tiny_attrs

ALL = ["ingest", "find", "get", "web", "start", "tls", "upkeep", "worklist", "matching"]
INGEST = {"ct-c1": ("ct", 1, 1000, 526_000), "ct-c8": ("ct", 8, 1000, 526_000),
          "small-c1": ("small", 1, 5000, 9_100), "small-c8": ("small", 8, 5000, 9_100)}
GET, MOVE = b"1.2.840.10008.5.1.4.1.2.2.3", b"1.2.840.10008.5.1.4.1.2.2.2"


class Machine:
    """Stands for no server where the kit wants one: the bounds are the machine's own."""
    host, aet, dimse_port, pids, name = "127.0.0.1", "X", 0, [], "bound"


def own(binary):
    """Starts our server as the kit starts a peer."""
    def start(wipe=True):
        config = f"{peers.RUN}/own.toml"
        with open(config, "w") as f:
            f.write(f'[[dicom.ae]]\ntitle = "{peers.MOVE_AET}"\naddress = "127.0.0.1:{peers.MOVE_PORT}"\n'
                    f'allow = ["echo", "store", "find", "move", "get"]\nmove_to = ["{peers.MOVE_AET}"]\n')
        command = (f"{binary} --config {config} --data {{dir}} --dicom 127.0.0.1:{{dimse}} --http 127.0.0.1:{{http}} "
                   "--ae-title {aet} --open-loopback")
        return peers.start_cmd(command, "http://127.0.0.1:{http}/dicomweb")(wipe)
    return start


def in_turn(names, repetition):
    return names if repetition % 2 == 0 else names[::-1]


# ---------- ingest ----------
def ingest(starts, only, repetitions):
    for case, (data, associations, count, size) in INGEST.items():
        if not re.search(only, case):
            continue
        for repetition in range(repetitions):
            for name in in_turn(["bound", *starts], repetition):
                with bench.lock():
                    if name == "bound":
                        bound_ingest(case, associations, count, size, repetition)
                    else:
                        ingest_once(starts[name], case, data, associations, count, repetition)


def bound_ingest(case, associations, count, size, repetition):
    folder = peers.RUN + "/bound"
    peers.fresh(folder, True)
    os.sync()
    result = bench.measured(Machine, lambda: bench.load(Machine, "bound-ingest", conns=associations, count=count, size=size,
                                                        fsync=1, dir=folder), 1)
    bench.emit("bound", "ingest", case, result, rep=repetition)


def ingest_once(start, case, data, associations, count, repetition):
    server = start(True)
    os.sync()
    try:
        time.sleep(.3)
        result = bench.measured(server, lambda: bench.load(server, "store", pack=f"{bench.DATA}/{data}.pack", conns=associations), 0)
    finally:
        server.stop()
    result["cpu_s_per_1000"] = round(result["server_cpu_s"] * 1000 / count, 3)
    bench.emit(server.name, "ingest", case, result, rep=repetition)


# ---------- find ----------
def queries(studies):
    """The kit's queries, and two with a wildcard in front: one that few studies match and one that many do."""
    all_kinds = bench.queries(studies)
    import random
    pick = random.Random(studies + 1)
    names = [tiny_attrs(pick.randrange(studies))["name"] for _ in range(200)]
    all_kinds["infix"] = [{0x00100010: f"*{name[2:-1]}*"} for name in names]
    all_kinds["infix-many"] = [{0x00100010: f"*{name[1:4]}*"} for name in names]
    return all_kinds


def expected(studies, all_kinds):
    """How many matches the first twenty queries of each kind must give together."""
    counts = bench.expected(studies, {k: v for k, v in all_kinds.items() if not k.startswith("infix")})
    names = [tiny_attrs(i)["name"].upper() for i in range(studies)]
    for kind in ("infix", "infix-many"):
        wanted = [q[0x00100010].strip("*").upper() for q in all_kinds[kind][:20]]
        counts[kind] = sum(sum(w in name for name in names) for w in wanted)
    return counts


def find(starts, only, sizes, seconds, repetitions):
    have = {name: 0 for name in starts}
    servers = {name: start(True) for name, start in starts.items()}
    try:
        for studies in sorted({n for name in starts for n in sizes[name]}):
            here = [name for name in starts if studies in sizes[name]]
            for name in here:
                with bench.lock():
                    server = servers[name]
                    result = bench.measured(server, lambda: bench.load(server, "store", pack=f"{bench.DATA}/tiny.pack",
                                                                       first=have[name], n=studies - have[name], conns=4), 0)
                    bench.emit(server.name, "load", f"n{studies}", result)
                    have[name] = studies
            all_kinds = queries(studies)
            counts = expected(studies, all_kinds)
            for kind, questions in all_kinds.items():
                pack = f"{peers.RUN}/find-{kind}.pack"
                with open(pack, "wb") as f:
                    f.write(b"BPK1" + b"".join(rec(bench.FIND, "", EXPLE, bench.find_ds(q)) for q in questions))
                for associations in (1, 16):
                    case = f"{kind}-c{associations}-n{studies}"
                    if re.search(only, case):
                        find_case([servers[name] for name in here], case, pack, associations, counts[kind], seconds, repetitions)
    finally:
        for server in servers.values():
            server.stop()


def find_case(servers, case, pack, associations, count, seconds, repetitions):
    for repetition in range(repetitions):
        for name in in_turn(["bound", *servers], repetition):
            with bench.lock():
                if name == "bound":
                    folder = peers.RUN + "/bound"
                    peers.fresh(folder, True)
                    result = bench.measured(Machine, lambda: bench.load(Machine, "bound-send", conns=associations, count=10000,
                                                                        size=200, dir=folder), 1)
                    bench.emit("bound", "find", case, result, rep=repetition)
                    continue
                check = bench.load(name, "find", pack=pack, conns=1, count=20, n=20).get("results")
                verdict = "match" if check == count else f"MISMATCH {check} != {count}"
                result = bench.measured(name, lambda: bench.load(name, "find", pack=pack, conns=associations, seconds=seconds), 1)
                bench.emit(name.name, "find", case, result, rep=repetition, check=verdict, avg_results=count / 20)


# ---------- get ----------
def get(starts, only, repetitions):
    servers = {name: start(True) for name, start in starts.items()}
    try:
        for name, server in servers.items():
            loaded = bench.load(server, "store", pack=f"{bench.DATA}/study500.pack", conns=1)
            print(f"  {name}: loaded {loaded.get('ok')}, failed {loaded.get('fail')}", flush=True)
        identifier = el(0x00080052, b"CS", "STUDY") + el(0x0020000d, b"UI", f"{ROOT}.23.1")
        for case, operation, uid, associations in (("500-slices-c1", "get", GET, 1), ("500-slices-c4", "get", GET, 4), ("500-slices-move", "move", MOVE, 1)):
            if not re.search(only, case):
                continue
            pack = f"{peers.RUN}/{operation}.pack"
            with open(pack, "wb") as f:
                f.write(b"BPK1" + rec(uid, "", EXPLE, identifier))
            for repetition in range(repetitions):
                for name in in_turn(["bound", *servers], repetition):
                    with bench.lock():
                        if name == "bound":
                            bound_get(case, associations, repetition)
                            continue
                        server = servers[name]
                        more = dict(dest=server.move_dest, listen=server.move_port) if operation == "move" else {}
                        result = bench.measured(server, lambda: bench.load(server, operation, pack=pack, conns=associations, count=associations, **more), 1)
                        if result.get("results") != 500 * associations:
                            result["fail"] = 500 * associations - (result.get("results") or 0)
                        bench.emit(server.name, "get", case, result, rep=repetition)
    finally:
        for server in servers.values():
            server.stop()


def bound_get(case, associations, repetition):
    folder = peers.RUN + "/bound"
    peers.fresh(folder, True)
    result = bench.measured(Machine, lambda: bench.load(Machine, "bound-send", conns=associations, count=1000, size=526_000, dir=folder), 1)
    bench.emit("bound", "get", case, result, rep=repetition)


# ---------- the table ----------
def value(row, key):
    for part in key.split("."):
        row = (row or {}).get(part)
    return row


def median(rows, key):
    calm = [r for r in rows if not r.get("disturbed")] or rows
    values = [value(r, key) for r in calm if value(r, key) is not None]
    return statistics.median(values) if values else None


def ratio(a, b):
    return f"{a / b:.2f}" if a is not None and b else "-"


def number(x, form="{:.0f}"):
    return "-" if x is None else form.format(x)


def report(path, disk_bytes_per_second=None):
    with open(path) as f:
        rows = [json.loads(line) for line in f]
    cases = list(dict.fromkeys((r["workload"], r["case"]) for r in rows if r["workload"] != "load"))
    out = [f"Measured {time.strftime('%Y-%m-%d')} on {machine()}. Server, peers and load generator share the cores; each figure is the median "
           "of the repetitions that nothing else on the machine disturbed. The bound is what the machine itself does in the same run: "
           "for ingest each object written to a file and synced once before it is answered, for find a request and a "
           "response of 200 bytes, for get an object sent by sendfile; over the web likewise."]
    if disk_bytes_per_second:
        out[0] += f" All of them could write {disk_bytes_per_second / 1e6:.0f} MB a second to the disk, not more."
    for workload, title in (("ingest", "Receiving (C-STORE)"), ("find", "Finding (C-FIND at study level)"), ("get", "Giving back (C-GET, C-MOVE)")):
        unit = {"ingest": "instances/s", "find": "queries/s", "get": "MB/s"}[workload]
        key = "MB_s" if workload == "get" else "per_s"
        lines = []
        for w, case in cases:
            if w != workload:
                continue
            of = {}
            for r in rows:
                if (r["workload"], r["case"]) == (w, case):
                    of.setdefault(r["server"], []).append(r)
            bound = median(of.get("bound", []), key)
            best = max((median(v, key) or 0 for s, v in of.items() if s not in ("bound", "own")), default=0)
            for server in sorted(of, key=lambda s: (s != "own", s)):
                if server == "bound":
                    continue
                those = of[server]
                mine = median(those, key)
                notes = {r["check"] for r in those if "MISMATCH" in str(r.get("check"))} | {f"{r['fail']} failed" for r in those if r.get("fail")}
                if all(r.get("disturbed") for r in those):
                    notes.add("disturbed")
                shown = "**pacs**" if server == "own" else server
                lines.append(f"| {case} | {shown} | {number(mine)} | {ratio(mine, best) if server == 'own' and best else '-'} "
                             f"| {ratio(mine, bound) if workload != 'find' else '-'} | {number(median(those, 'lat_ms.p50'), '{:.2f}')} / "
                             f"{number(median(those, 'lat_ms.p95'), '{:.2f}')} | {number(median(those, 'cpu_s_per_1000'), '{:.2f}')} "
                             f"| {number(median(those, 'peak_pss_MB'))} | {', '.join(sorted(notes))} |")
            lines.append(f"| {case} | (bound) | {number(bound)} | | | | | | |")
        if lines:
            out += [f"## {title}", f"| case | server | {unit} | × best peer | × bound | p50 / p95 ms | server CPU s per 1,000 | peak memory MB | notes |\n"
                    "|---|---|---|---|---|---|---|---|---|\n" + "\n".join(lines)]
    out += web.table(rows, median, ratio, number)
    out += alone.tables(rows, median, ratio, number)
    out += upkeep.table(rows, median, ratio, number)
    out += worklist.tables(rows, median, ratio, number)
    return "\n\n".join(out) + "\n"


def machine():
    model = re.search(r"model name\s*:\s*(.*)", open("/proc/cpuinfo").read())
    memory = int(re.search(r"MemTotal:\s+(\d+)", open("/proc/meminfo").read()).group(1)) // 2**20
    system = re.search(r'PRETTY_NAME="(.*)"', open("/etc/os-release").read())
    file_system = subprocess.run(["df", "--output=fstype", peers.HOME], capture_output=True, text=True).stdout.split()[-1]
    return (f"{os.cpu_count()} × {model.group(1) if model else platform.machine()}, {memory} GiB, {file_system}, "
            f"{system.group(1) if system else ''}, Linux {platform.release()}")


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("cases", nargs="*", default=ALL)
    arguments.add_argument("--server"), arguments.add_argument("--output", required=True)
    arguments.add_argument("--repetitions", type=int, default=3), arguments.add_argument("--seconds", type=float, default=3)
    arguments.add_argument("--peers", default="orthanc"), arguments.add_argument("--report", action="store_true")
    arguments.add_argument("--studies", default="1000,100000"), arguments.add_argument("--peer-studies", default="1000,10000")
    arguments.add_argument("--open", type=int, default=10_000)
    arguments.add_argument("--growth", default="100000,250000,500000,1000000")
    arguments.add_argument("--disk-bytes-per-second", type=int)
    a = arguments.parse_args()
    if not a.report:
        os.makedirs(peers.RUN, exist_ok=True)
        if a.disk_bytes_per_second:
            disk.hold(peers.RUN, a.disk_bytes_per_second)
        os.environ["TCP_NODELAY"] = "1"
        if os.path.exists(bench.OUT):
            os.replace(bench.OUT, bench.OUT + ".previous")
        starts = {"own": own(a.server), **{name: peers.START[name] for name in a.peers.split(",") if name}}
        numbers = lambda text: [int(n) for n in text.split(",")]
        sizes = {name: numbers(a.studies if name == "own" else a.peer_studies) for name in starts}
        for step in a.cases or ALL:
            what, _, only = step.partition(":")
            print(f"== {step} {time.strftime('%H:%M:%S')}", flush=True)
            if what == "ingest":
                ingest(starts, only, a.repetitions)
            elif what == "find":
                find(starts, only, sizes, a.seconds, a.repetitions)
            elif what == "get":
                get(starts, only, a.repetitions)
            elif what == "web":
                web.web(starts, only, sizes, a.seconds, a.repetitions)
            elif what == "start":
                alone.start(a.server, a.repetitions)
            elif what == "tls":
                alone.tls(a.server, a.repetitions)
            elif what == "upkeep":
                upkeep.upkeep(a.server, a.repetitions)
            elif what == "worklist":
                worklist.worklist(a.server, only, a.open, a.seconds, a.repetitions)
            elif what == "matching":
                worklist.matching(a.server, only, a.repetitions)
            elif what == "growth":
                alone.growth(a.server, numbers(a.growth), only, a.repetitions)
            else:
                sys.exit(f"no such measurement: {what}")
    table = report(bench.OUT, a.disk_bytes_per_second)
    print(table)
    with open(a.output + "/benchmarks.md", "w") as f:
        f.write(table)


if __name__ == "__main__":
    main()
