"""DICOMweb beside the DICOMweb plug-in of Orthanc: storing, searching, describing and giving back over HTTP."""
import contextlib, json, os, random, re, shutil, struct, time, urllib.parse, urllib.request

import alone, bench, peers
from gen import EXPLE, ROOT, dataset, el, rec, us

JSON = "Accept: application/dicom+json"
FILES = 'Accept: multipart/related; type="application/dicom"; transfer-syntax=*'
BYTES = 'Accept: multipart/related; type="application/octet-stream"; transfer-syntax=*'
STOW = 'Content-Type: multipart/related; type="application/dicom"; boundary=benchbound'
PARTS = ["stow", "qido", "retrieve", "cold", "frames", "memory"]
SIDE, FRAMES = 512, 200   # of the multi-frame object; 105 MB
GIGABYTE = 10**9          # of the instance that ten clients retrieve at once
MULTI = f"{ROOT}.61"      # its study; the encapsulated one is .62, the large one .63
JPEG = b"1.2.840.10008.1.2.4.50"
XA = b"1.2.840.10008.5.1.4.1.1.7.3"


class Machine:
    host, aet, dimse_port, pids, name = "127.0.0.1", "X", 0, [], "bound"


def in_turn(names, repetition):
    return names if repetition % 2 == 0 else names[::-1]


def web(starts, only, sizes, seconds, repetitions):
    """`only` names one of PARTS, and behind a slash a pattern for its cases, as in qido/name."""
    part, _, pattern = only.partition("/")
    for name in PARTS:
        if part and not re.fullmatch(part, name):
            continue
        if name == "stow":
            stow(starts, pattern, repetitions)
        elif name == "qido":
            qido(starts, pattern, sizes, seconds, repetitions)
        elif name == "memory":
            memory(starts["own"], repetitions)
        elif name == "frames":
            frames(starts, pattern, repetitions)
        else:
            study(starts, name, pattern, repetitions)


def requests(server, name, paths, header, body=""):
    """The file of requests for the load generator, below the root of the server's DICOMweb."""
    _, root = bench.base(server)
    method = "POST" if body else "GET"
    bodies = body or [""] * len(paths)
    return bench.reqfile([(method, root + path, header, data) for path, data in zip(paths, bodies)], f"web-{name}")


def asked(server, paths, header, retries=1, **more):
    port, _ = bench.base(server)
    return bench.measured(server, lambda: bench.load(server, "http", port=port, reqs=requests(server, server.name, paths, header), **more), retries)


def bound_case(case, repetition, size, count, conns=1):
    """What the machine does: `count` times `size` bytes by sendfile; of 200 bytes a request and its answer."""
    folder = peers.RUN + "/bound"
    peers.fresh(folder, True)
    result = bench.measured(Machine, lambda: bench.load(Machine, "bound-send", conns=conns, count=count, size=size, dir=folder), 1)
    bench.emit("bound", "web", case, result, rep=repetition)


# ---------- STOW ----------
def stow(starts, only, repetitions):
    for case, which in (("stow-1x100", [0]), ("stow-8x100", list(range(1, 9)))):
        if not re.search(only, case):
            continue
        for repetition in range(repetitions):
            for name in in_turn(["bound", *starts], repetition):
                with bench.lock():
                    if name == "bound":
                        folder = peers.RUN + "/bound"
                        peers.fresh(folder, True)
                        os.sync()
                        result = bench.measured(Machine, lambda: bench.load(Machine, "bound-ingest", conns=len(which), count=100 * len(which),
                                                                            size=526_000, fsync=1, dir=folder), 1)
                        result["instances_s"] = result.get("per_s")
                        bench.emit("bound", "web", case, result, rep=repetition)
                    else:
                        stow_once(starts[name], case, which, repetition)


def stow_once(start, case, which, repetition):
    server = start(True)
    try:
        port, _ = bench.base(server)
        bodies = [f"{bench.DATA}/stow{number}.bin" for number in which]
        file = requests(server, "stow", ["/studies"] * len(which), f"{STOW}|{JSON}", bodies)
        os.sync()
        time.sleep(.3)
        result = bench.measured(server, lambda: bench.load(server, "http", port=port, conns=len(which), count=len(which), reqs=file), 0)
    finally:
        server.stop()
    result["instances_s"] = 100 * len(which) / result["wall_s"] if result["wall_s"] else 0
    bench.emit(server.name, "web", case, result, rep=repetition)


# ---------- QIDO ----------
def qido(starts, only, sizes, seconds, repetitions):
    """Each server with its largest archive: Orthanc becomes too slow in ours."""
    servers = {name: start(True) for name, start in starts.items()}
    try:
        for name, server in servers.items():
            with bench.lock():
                loaded = bench.load(server, "store", pack=f"{bench.DATA}/tiny.pack", n=max(sizes[name]), conns=4)
            print(f"  {name}: loaded {loaded.get('ok')}, failed {loaded.get('fail')}", flush=True)
        asking = {name: bench.queries(max(sizes[name])) for name in servers}
        wanted = {name: bench.expected(max(sizes[name]), asking[name]) for name in servers}
        for kind in ("pid", "name", "date", "uid"):
            for conns in (1, 16):
                case = f"qido-{kind}-c{conns}"
                if re.search(only, case):
                    for repetition in range(repetitions):
                        for name in in_turn(["bound", *servers], repetition):
                            with bench.lock():
                                if name == "bound":
                                    bound_case(case, repetition, 200, 10_000, conns)
                                else:
                                    qido_case(servers[name], case, asking[name][kind], wanted[name][kind], conns, max(sizes[name]), seconds, repetition)
    finally:
        for server in servers.values():
            server.stop()


def qido_case(server, case, questions, wanted, conns, studies, seconds, repetition):
    # Orthanc finds nothing where ^ and * are percent-encoded, as a client should send them.
    safe = "-" if server.name == "own" else "^*-"
    paths = ["/studies?" + "&".join(f"{bench.WEBKEY[tag]}={urllib.parse.quote(value, safe=safe)}" for tag, value in question.items())
             + "&includefield=StudyDescription" for question in questions]
    found = sum(len(answer(server, path + "&limit=5000")) for path in paths[:20])
    check = "match" if found == wanted else f"MISMATCH {found} != {wanted}"
    result = asked(server, paths, JSON, conns=conns, seconds=seconds)
    bench.emit(server.name, "web", case, result, rep=repetition, check=check, studies=studies, avg_results=wanted / 20)


def answer(server, path):
    """What the server answers in JSON; nothing where it answers nothing."""
    request = urllib.request.Request(server.http_url + path, headers={"Accept": "application/dicom+json"})
    body = urllib.request.urlopen(request).read()
    return json.loads(body) if body else []


# ---------- a study of 500 slices ----------
def study_cases():
    study = f"/studies/{ROOT}.23.1"
    instance = lambda i: f"{study}/series/{ROOT}.23.1.{i // 250 + 1}/instances/{ROOT}.23.1.{i // 250 + 1}.{i + 1}"
    mixed = [instance(i) for i in random.Random(5).sample(range(500), 500)]
    some = mixed[:100]
    rendered, first_jpeg, first_png = ([path + "/rendered" for path in part] for part in (some, mixed[100:300], mixed[300:]))
    # Name, paths, Accept, connections, requests
    return [("retrieve-study-c1", [study], FILES, 1, 4), ("retrieve-study-c4", [study], FILES, 4, 8),
            ("instance-c1", some, FILES, 1, 400), ("instance-c8", some, FILES, 8, 1600),
            ("frame-c1", [path + "/frames/1" for path in some], BYTES, 1, 400), ("frame-c8", [path + "/frames/1" for path in some], BYTES, 8, 1600),
            ("metadata-study-warm", [study + "/metadata"], JSON, 1, 5), ("metadata-instance", [path + "/metadata" for path in some], JSON, 1, 200),
            ("qido-instances-500", [study + "/instances"], JSON, 1, 10),
            ("rendered-jpeg", rendered, "Accept: image/jpeg", 1, 100), ("rendered-png", rendered, "Accept: image/png", 1, 50),
            # Nobody has asked for these pictures before: each repetition takes others.
            ("rendered-jpeg-first", first_jpeg, "Accept: image/jpeg", 1, 40), ("rendered-png-first", first_png, "Accept: image/png", 1, 40),
            ("thumbnail", [path + "/thumbnail" for path in some], "Accept: image/jpeg", 1, 200)]


def study(starts, part, only, repetitions):
    servers = {name: start(True) for name, start in starts.items()}
    try:
        for name, server in servers.items():
            loaded = bench.load(server, "store", pack=f"{bench.DATA}/study500.pack", conns=1)
            print(f"  {name}: loaded {loaded.get('ok')}, failed {loaded.get('fail')}", flush=True)
        os.sync()
        time.sleep(3)
        if part == "cold":
            for repetition in range(repetitions):
                for name in in_turn(list(servers), repetition):
                    servers[name] = cold(servers[name], starts[name], repetition)
            return
        for case, paths, header, conns, count in study_cases():
            if not re.search(only, case):
                continue
            for repetition in range(repetitions):
                for name in in_turn(["bound", *servers], repetition):
                    with bench.lock():
                        if name != "bound" and case.endswith("-first"):
                            others = (paths * 2)[repetition * count % len(paths):][:count]
                            result = asked(servers[name], others, header, retries=0, conns=conns, count=count)
                            bench.emit(servers[name].name, "web", case, result, rep=repetition)
                        elif name != "bound":
                            if repetition == 0:
                                asked(servers[name], paths, header, conns=1, count=1)
                            bench.emit(servers[name].name, "web", case, asked(servers[name], paths, header, conns=conns, count=count), rep=repetition)
                        elif case.startswith("retrieve"):
                            bound_case(case, repetition, 263_000_000, 4 * conns, conns)
                        elif case.startswith(("instance", "frame")):
                            bound_case(case, repetition, 526_000, 400 * conns, conns)
    finally:
        for server in servers.values():
            server.stop()


def cold(server, start, repetition):
    """The study's metadata just after a start, with nothing of the archive in the page cache. The first request of all is one that fails, so
    that what a server does once when it is first asked does not count."""
    with bench.lock():
        server.stop()
        alone.forget(server.dir)
        server = start(False)
        time.sleep(1)
        with contextlib.suppress(OSError):
            urllib.request.urlopen(server.http_url + "/studies/1.2.3/metadata").read()
        result = asked(server, [f"/studies/{ROOT}.23.1/metadata"], JSON, conns=1, count=1)
        bench.emit(server.name, "web", "metadata-study-cold", result, rep=repetition)
    return server


# ---------- multi-frame ----------
def multi_frame(study, pixels, frames, syntax):
    """A grayscale secondary capture of `frames` frames; the data set that holds it, as one record of a pack."""
    uid = f"{study}.1.1"
    whole = dataset(uid, study, f"{study}.1", "MULTI", "MULTI^FRAME", "20240101", "ACCMULTI", 1, 1, b"", SIDE, SIDE, "multi-frame", 0)
    head, at = whole, whole.rindex(struct.pack("<HH", 0x7fe0, 0x0010))
    head = head[:at]
    number = el(0x00280008, b"IS", str(frames))
    rows = head.index(us(0x00280010, SIDE))
    head = head[:rows] + number + head[rows:]
    old = el(0x00080016, b"UI", b"1.2.840.10008.5.1.4.1.1.2")
    head = head.replace(old, el(0x00080016, b"UI", XA))
    return rec(XA, uid, syntax, head + pixels)


def item(value):
    value += b"\0" * (len(value) & 1)
    return struct.pack("<HHI", 0xfffe, 0xe000, len(value)) + value


def native(frames):
    """Frames that differ, so that a peer cannot send one for another unnoticed."""
    pixels = b"".join(bytes([number & 0xff, number >> 8]) * (SIDE * SIDE) for number in range(frames))
    return struct.pack("<HH2sHI", 0x7fe0, 0x0010, b"OW", 0, len(pixels)) + pixels


def encapsulated(frames):
    """As JPEG says that it is: a fragment for each frame, and no table. Nothing decodes it."""
    noise = random.Random(1)
    parts = [item(b"\xff\xd8" + struct.pack("<I", number) + noise.randbytes(40_000 + number) + b"\xff\xd9") for number in range(frames)]
    return struct.pack("<HH2sHI", 0x7fe0, 0x0010, b"OB", 0, 0xffffffff) + item(b"") + b"".join(parts) + struct.pack("<HHI", 0xfffe, 0xe0dd, 0)


def frames(starts, only, repetitions):
    pack = f"{peers.RUN}/web-multi.pack"
    with open(pack, "wb") as f:
        f.write(b"BPK1" + multi_frame(MULTI, native(FRAMES), FRAMES, EXPLE) + multi_frame(f"{ROOT}.62", encapsulated(FRAMES), FRAMES, JPEG))
    servers = {name: start(True) for name, start in starts.items()}
    try:
        for name, server in servers.items():
            loaded = bench.load(server, "store", pack=pack, conns=1)
            print(f"  {name}: loaded {loaded.get('ok')}, failed {loaded.get('fail')}", flush=True)
        for kind, study in (("native", MULTI), ("fragments", f"{ROOT}.62")):
            for number in (1, FRAMES):
                case = f"frame-{number}-of-{FRAMES}-{kind}"
                if not re.search(only, case):
                    continue
                path = f"/studies/{study}/series/{study}.1/instances/{study}.1.1/frames/{number}"
                accept = BYTES if kind == "native" else "Accept: multipart/related; type=\"image/jpeg\"; transfer-syntax=*"
                for repetition in range(repetitions):
                    for name in in_turn(list(servers), repetition):
                        with bench.lock():
                            # Orthanc takes more than a second for each.
                            count = 100 if name == "own" else 5
                            asked(servers[name], [path], accept, conns=1, count=1)
                            bench.emit(servers[name].name, "web", case, asked(servers[name], [path], accept, conns=1, count=count), rep=repetition)
    finally:
        for server in servers.values():
            server.stop()
        os.remove(pack)


# ---------- memory ----------
def memory(start, repetitions):
    """Ten clients retrieve an instance of a gigabyte at once. Ours alone: Orthanc holds each of them in memory."""
    pack = f"{peers.RUN}/web-large.pack"
    count = GIGABYTE // (2 * SIDE * SIDE)
    length = count * 2 * SIDE * SIDE
    study = f"{ROOT}.63"
    begun = struct.pack("<HH2sHI", 0x7fe0, 0x0010, b"OW", 0, length)
    with open(pack, "wb") as f:
        record = multi_frame(study, begun, count, EXPLE)
        at = record.rindex(EXPLE) + len(EXPLE)
        data = struct.unpack_from("<I", record, at)[0] + length
        f.write(b"BPK1" + record[:at] + struct.pack("<I", data) + record[at + 4:])
        for _ in range(count):
            f.write(b"\1\2" * (SIDE * SIDE))
    server = start(True)
    try:
        loaded = bench.load(server, "store", pack=pack, conns=1)
        print(f"  own: loaded {loaded.get('ok')}, failed {loaded.get('fail')}", flush=True)
        server.stop()
        server = start(False)
        time.sleep(2)
        idle = bench.pss_of(server.pids)
        for repetition in range(repetitions):
            with bench.lock():
                result = asked(server, [f"/studies/{study}"], FILES, conns=10, count=10)
            result["idle_pss_MB"] = round(idle, 1)
            bench.emit(server.name, "web", "retrieve-1GB-c10", result, rep=repetition)
    finally:
        server.stop()
        os.remove(pack)
        shutil.rmtree(server.dir, ignore_errors=True)


# ---------- the table ----------
def latency(rows, median, number):
    return " / ".join(number(median(rows, "lat_ms." + which), "{:.2f}") for which in ("p50", "p95"))


def table(rows, median, ratio, number):
    """One line for each case and server; times are those of one request."""
    cases = list(dict.fromkeys(row["case"] for row in rows if row["workload"] == "web"))
    lines = []
    for case in cases:
        of = {}
        for row in rows:
            if (row["workload"], row["case"]) == ("web", case):
                of.setdefault(row["server"], []).append(row)
        is_stow, is_bulk = case.startswith("stow"), case.startswith("retrieve")
        key = "instances_s" if is_stow else "MB_s" if is_bulk else "per_s"
        unit = "instances/s" if is_stow else "MB/s" if is_bulk else "/s"
        bound = median(of.get("bound", []), key)
        answers = lambda those: any(row.get("ok") for row in those)
        best = max((median(those, key) or 0 for server, those in of.items() if server not in ("bound", "own") and answers(those)), default=0)
        for server in sorted(of, key=lambda server: (server == "bound", server != "own", server)):
            those = of[server]
            is_there = answers(those)
            mine = median(those, key) if is_there else None
            notes = {row["check"] for row in those if "MISMATCH" in str(row.get("check"))}
            notes |= {f"{row['fail']} failed ({row.get('last_bad_status')})" for row in those if row.get("fail")}
            notes |= {f"{row['studies']:,} studies" for row in those if row.get("studies")}
            notes |= {f"{number(row['idle_pss_MB'])} MB idle" for row in those[:1] if row.get("idle_pss_MB")}
            notes |= {"disturbed"} if all(row.get("disturbed") for row in those) else set()
            shown = {"own": "**pacs**", "bound": "(bound)"}.get(server, server)
            is_own = server == "own"
            lines.append(f"| {case} | {shown} | {number(mine, '{:,.0f} ' + unit)} | {ratio(mine, best) if is_own and best else ''} "
                         f"| {ratio(mine, bound) if is_own and bound else ''} | {latency(those, median, number) if is_there else '-'} | {number(median(those, 'peak_pss_MB')) if server != 'bound' else ''} "
                         f"| {', '.join(sorted(notes))} |")
    if not lines:
        return []
    return ["## DICOMweb", "| case | server | measured | × best peer | × bound | p50 / p95 ms | peak memory MB | notes |\n"
            "|---|---|---|---|---|---|---|---|\n" + "\n".join(lines)]
