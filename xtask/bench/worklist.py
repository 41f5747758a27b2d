"""Worklists and matching: the worklist of ten thousand open examinations beside DCMTK's, and what it costs the receiving of
images that the server knows the organisations, the devices and the orders, and says of which order each image is."""
import datetime, http.client, json, os, random, re, shutil, signal, struct, subprocess, threading, time

import bench, peers
from gen import CT, EXPLE, ROOT, dataset, el, rec

MWL = b"1.2.840.10008.5.1.4.31"
ORGANISATION = "006"
STATIONS = [f"BENCH_CT{n}" for n in range(1, 5)]
DAYS = 60               # over which the open examinations are spread, from today on
CLERKS = 4              # that save forms at once
PASSWORD = "wooden bridge 71 goats"
MATCHED = {"small-c1": ("small", 1), "small-c8": ("small", 8), "ct-c1": ("ct", 1), "ct-c8": ("ct", 8)}
SETS = {"small": (200, 100, 64), "ct": (10, 100, 512)}  # studies, slices of each, side


class Own:
    """A server of ours in `folder`; with `organisations` it knows them, and the devices of the bench."""
    host, aet, name = "127.0.0.1", peers.AET, "own"

    def __init__(self, binary, folder, name="own"):
        self.folder, self.name = folder, name
        self.pacs = os.path.join(os.path.dirname(binary), "pacs")
        self.log = open(f"{peers.RUN}/{name}.log", "ab")
        config = f"{peers.RUN}/accounts.toml"
        with open(config, "w") as f:
            f.write("[accounts]\npassword_memory_mib = 19\npassword_passes = 2\n")
        self.process = subprocess.Popen([binary, "--config", config, "--data", folder, "--dicom", "127.0.0.1:0", "--http", "127.0.0.1:0",
                                         "--ae-title", self.aet], stdout=subprocess.PIPE, stderr=self.log, text=True)
        line = self.process.stdout.readline()
        if not line.startswith("ready "):
            raise RuntimeError("the server did not start; see " + self.log.name)
        self.dimse_port = int(re.search(r"dicom=\S*:(\d+)", line).group(1))
        self.http_port = int(re.search(r"http=\S*:(\d+)", line).group(1))
        self.pids = [self.process.pid]

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(120)
        self.log.close()

    def tool(self, *words):
        return subprocess.run([self.pacs, *words, "--data", self.folder], check=True, capture_output=True, text=True).stdout

    def register(self):
        root = os.path.join(os.path.dirname(__file__), "../../reference-server/organisations.json")
        self.tool("organisations", "import", os.path.normpath(root))
        devices = [{"ae_title": title, "organisation": ORGANISATION, "modality": "CT"} for title in ["BENCH", *STATIONS]]
        path = f"{peers.RUN}/devices.json"
        with open(path, "w") as f:
            json.dump({"devices": devices}, f)
        self.tool("devices", "import", path)
        first = self.tool("users", "add", "clerk", "--display-name", "clerk", "--role", f"operator@{ORGANISATION}").split()[-1]
        clerk = Clerk(self.http_port)
        clerk.sign_in(first)
        clerk.ask("PUT", "/session/password", {"current": first, "new": PASSWORD})

    def clerks(self):
        for clerk in [Clerk(self.http_port) for _ in range(CLERKS)]:
            clerk.sign_in(PASSWORD)
            yield clerk


class Clerk:
    """Somebody at the portal, over one connection."""

    def __init__(self, port):
        self.connection, self.cookie, self.token, self.count = http.client.HTTPConnection("127.0.0.1", port), "", "", 0

    def ask(self, method, path, body, key=None):
        fields = {"Content-Type": "application/json", "Cookie": self.cookie, "X-CSRF-Token": self.token}
        if key:
            fields["Idempotency-Key"] = key
        self.connection.request(method, "/api/v1" + path, None if body is None else json.dumps(body), fields)
        answer = self.connection.getresponse()
        said = json.loads(answer.read())
        if answer.status not in (200, 201):
            raise RuntimeError(f"{path}: {answer.status} {said}")
        cookie = answer.getheader("Set-Cookie")
        if cookie:
            self.cookie, self.token = cookie.split(";")[0], said["csrf_token"]
        return said

    def sign_in(self, password):
        self.ask("POST", "/session", {"user": "clerk", "password": password})


def born(n):
    return f"19{30 + n % 70:02d}-{1 + n % 12:02d}-{1 + n % 28:02d}"


def order(clerk, n, when, station):
    """Registers patient number `n` and saves a form; what a console is told of it."""
    patient = {"name": {"family": f"Family{n}", "given": f"Given{n % 97}"}, "birth_date": born(n), "sex": "FM"[n % 2], "is_another": True}
    patient = clerk.ask("POST", "/patients", patient, f"patient-{n:08d}")
    form = {"patient": patient["number"], "kind": "ct", "regions": [{"part": "816094009"}], "weight_kg": 72, "scheduled_at": when}
    if station:
        form["station"] = station
    saved = clerk.ask("POST", "/examinations", form, f"examination-{n:08d}")
    saved = clerk.ask("GET", f"/examinations/{saved['id']}", None)
    return dict(id=saved["id"], patient=patient["number"], name=f"FAMILY{n}^GIVEN{n % 97}", born=born(n).replace("-", ""), sex="FM"[n % 2],
                study=saved["planned_study"], step=saved["step_id"], station=station, when=when)


def orders(server, count, days):
    """Saves `count` forms, spread over `days` from now on and over the stations; in their order."""
    made, now = [None] * count, datetime.datetime.now(datetime.timezone(datetime.timedelta(hours=6))).replace(microsecond=0)

    def work(clerk, first):
        for n in range(first, count, CLERKS):
            made[n] = order(clerk, n, (now + datetime.timedelta(days=n % days)).isoformat(), STATIONS[n // days % len(STATIONS)])

    threads = [threading.Thread(target=work, args=(clerk, first)) for first, clerk in enumerate(server.clerks())]
    [thread.start() for thread in threads], [thread.join() for thread in threads]
    if None in made:
        raise RuntimeError("not every form was saved")
    return made


# ---------- worklist ----------
def sequence(tag, item):
    return el(tag, b"SQ", struct.pack("<HHI", 0xFFFE, 0xE000, len(item)) + item)


def keys(station="", date="", patient="", accession=""):
    """The query of a console."""
    step = b"".join(el(tag, vr, value) for tag, vr, value in (
        (0x00080060, b"CS", "CT"), (0x00400001, b"AE", station), (0x00400002, b"DA", date), (0x00400003, b"TM", ""), (0x00400006, b"PN", ""),
        (0x00400007, b"LO", ""), (0x00400009, b"SH", ""), (0x00400010, b"SH", ""), (0x00400011, b"SH", "")))
    return b"".join((
        el(0x00080050, b"SH", accession), el(0x00080090, b"PN", ""), el(0x00100010, b"PN", ""), el(0x00100020, b"LO", patient), el(0x00100030, b"DA", ""),
        el(0x00100040, b"CS", ""), el(0x00101030, b"DS", ""), el(0x0020000d, b"UI", ""), el(0x00321032, b"PN", ""), el(0x00321060, b"LO", ""),
        el(0x00380010, b"LO", ""), sequence(0x00400100, step), el(0x00401001, b"SH", ""), el(0x00401003, b"SH", "")))


def entry(of):
    """The same examination as a file of DCMTK's worklist."""
    day, clock = of["when"][:10].replace("-", ""), of["when"][11:19].replace(":", "")
    step = b"".join(el(tag, vr, value) for tag, vr, value in (
        (0x00080060, b"CS", "CT"), (0x00400001, b"AE", of["station"]), (0x00400002, b"DA", day), (0x00400003, b"TM", clock), (0x00400006, b"PN", "DOC"),
        (0x00400007, b"LO", "CT CHEST"), (0x00400009, b"SH", of["step"]), (0x00400010, b"SH", ""), (0x00400011, b"SH", "")))
    attributes = b"".join((
        el(0x00080050, b"SH", of["id"]), el(0x00080090, b"PN", ""), el(0x00100010, b"PN", of["name"]), el(0x00100020, b"LO", of["patient"]),
        el(0x00100030, b"DA", of["born"]), el(0x00100040, b"CS", of["sex"]), el(0x00101030, b"DS", "72"), el(0x0020000d, b"UI", of["study"]),
        el(0x00321032, b"PN", ""), el(0x00321060, b"LO", "CT CHEST"), el(0x00380010, b"LO", ""), sequence(0x00400100, step),
        el(0x00401001, b"SH", of["id"]), el(0x00401003, b"SH", "ROUTINE")))
    meta = (el(0x00020001, b"OB", b"\0\1") + el(0x00020002, b"UI", MWL) + el(0x00020003, b"UI", of["study"]) + el(0x00020010, b"UI", EXPLE)
            + el(0x00020012, b"UI", ROOT + ".1"))
    return b"\0" * 128 + b"DICM" + el(0x00020000, b"UL", struct.pack("<I", len(meta))) + meta + attributes


def wlmscpfs(made):
    folder = peers.RUN + "/wlmscpfs"
    peers.fresh(folder, True)
    os.makedirs(f"{folder}/{peers.AET}")
    open(f"{folder}/{peers.AET}/lockfile", "w").close()
    for of in made:
        with open(f"{folder}/{peers.AET}/{of['id']}.wl", "wb") as f:
            f.write(entry(of))
    server = peers.Server("wlmscpfs", folder, 21119 + peers.OFF)
    process = server.spawn([shutil.which("wlmscpfs"), "-dfp", folder, str(server.dimse_port)])
    peers.wait_port(server.dimse_port, process)
    return server


def worklist(binary, only, count, seconds, repetitions):
    folder = peers.RUN + "/own-worklist"
    peers.fresh(folder, True)
    own = Own(binary, folder)
    servers = [own]
    try:
        own.register()
        begun = time.monotonic()
        made = orders(own, count, DAYS)
        print(f"  {count} forms saved in {time.monotonic() - begun:.0f} s", flush=True)
        servers.append(wlmscpfs(made))
        today = [of for of in made if of["when"][:10] == made[0]["when"][:10]]
        day = made[0]["when"][:10].replace("-", "")
        pick = random.Random(1)
        some = [pick.choice(today) for _ in range(100)]
        kinds = {"station-today": [keys(station=of["station"], date=day) for of in some], "patient": [keys(patient=of["patient"]) for of in some],
                 "accession": [keys(accession=of["id"]) for of in some]}
        at = {station: sum(of["station"] == station for of in today) for station in STATIONS}
        expected = {"station-today": sum(at[of["station"]] for of in some[:4]), "patient": 4, "accession": 4}
        for kind, questions in kinds.items():
            pack = f"{peers.RUN}/worklist-{kind}.pack"
            with open(pack, "wb") as f:
                f.write(b"BPK1" + b"".join(rec(MWL, "", EXPLE, question) for question in questions))
            case = f"{kind}-n{count}"
            if re.search(only, case):
                ask(servers, case, pack, expected[kind], seconds, repetitions)
    finally:
        for server in servers:
            server.stop()


def ask(servers, case, pack, expected, seconds, repetitions):
    for repetition in range(repetitions):
        for server in servers if repetition % 2 == 0 else servers[::-1]:
            with bench.lock():
                found = bench.load(server, "find", pack=pack, conns=1, count=4, n=4).get("results")
                verdict = "match" if found == expected else f"MISMATCH {found} != {expected}"
                result = bench.measured(server, lambda: bench.load(server, "find", pack=pack, conns=1, seconds=seconds), 1)
                bench.emit(server.name, "worklist", case, result, rep=repetition, check=verdict, avg_results=expected / 4)


# ---------- matching ----------
def pixels(kind):
    """Pixel data of a slice of the kit."""
    with open(f"{bench.DATA}/{kind}.pack", "rb") as f:
        f.read(4)
        parts = []
        for _ in range(4):
            length, = struct.unpack("<I", f.read(4))
            parts.append(f.read(length))
    side = SETS[kind][2]
    return parts[3][-side * side * 2:]


def images(kind, made):
    """A pack of images of these examinations, as consoles send them that take them from the worklist."""
    studies, slices, side = SETS[kind]
    pack, data = f"{peers.RUN}/matched-{kind}.pack", pixels(kind)
    with open(pack, "wb") as f:
        f.write(b"BPK1")
        for study, of in enumerate(made[:studies]):
            day = of["when"][:10].replace("-", "")
            for n in range(slices):
                uid = f"{of['study']}.1.{n + 1}"
                f.write(rec(CT, uid, EXPLE, dataset(uid, of["study"], of["study"] + ".1", of["patient"], of["name"], day, of["id"], 1, n + 1, data,
                                                   side, side, "CT CHEST", n * 1.25, of["sex"], of["born"])))
    return pack


def matching(binary, only, repetitions):
    """The same images into a server that matches them, and into one that knows no organisation."""
    template = peers.RUN + "/own-registry"
    peers.fresh(template, True)
    own = Own(binary, template)
    try:
        own.register()
        made = orders(own, 1000, 1)
    finally:
        own.stop()
    for case, (kind, associations) in MATCHED.items():
        if not re.search(only, case):
            continue
        pack = images(kind, made)
        studies, slices, _ = SETS[kind]
        for repetition in range(repetitions):
            names = ["own", "own-alone"]
            for name in names if repetition % 2 == 0 else names[::-1]:
                folder = peers.RUN + "/own-matching"
                peers.fresh(folder, True)
                if name == "own":
                    shutil.rmtree(folder)
                    shutil.copytree(template, folder, ignore=shutil.ignore_patterns("*.sock"))
                receive(binary, name, folder, case, pack, associations, studies * slices, repetition)
        os.remove(pack)


def receive(binary, name, folder, case, pack, associations, count, repetition):
    server = Own(binary, folder, name)
    os.sync()
    try:
        with bench.lock():
            time.sleep(.5)
            result = bench.measured(server, lambda: bench.load(server, "store", pack=pack, conns=associations), 0)
        bound = settle(server, count) if name == "own" else None
    finally:
        server.stop()
    result["cpu_s_per_1000"] = round(result["server_cpu_s"] * 1000 / count, 3)
    more = {} if bound is None else {"check": "match" if bound else "MISMATCH not every study is of its order"}
    bench.emit(name, "matching", case, result, rep=repetition, **more)


def settle(server, count):
    """Whether every study is of its order within a minute."""
    clerk = next(server.clerks())
    until = time.monotonic() + 60
    while time.monotonic() < until:
        clerk.connection.request("GET", "/api/v1/examinations/counts", headers={"Cookie": clerk.cookie})
        counts = json.loads(clerk.connection.getresponse().read())["items"]
        arrived = sum(of["count"] for of in counts if of["status"] in ("in_progress", "images_received"))
        if arrived >= count // 100:
            return True
        time.sleep(.2)
    return False


# ---------- the tables ----------
def tables(rows, median, ratio, number):
    out = []
    asked = list(dict.fromkeys(r["case"] for r in rows if r["workload"] == "worklist"))
    if asked:
        lines = []
        for case in asked:
            of = lambda name: [r for r in rows if (r["workload"], r["case"], r["server"]) == ("worklist", case, name)]
            mine, theirs = (median(of(name), "lat_ms.p50") for name in ("own", "wlmscpfs"))
            notes = ", ".join(sorted({r["check"] for r in of("own") + of("wlmscpfs") if "MISMATCH" in r["check"]}))
            answers = median(of("own"), "avg_results")
            lines.append(f"| {case} | {number(answers, '{:.0f}')} | {number(mine, '{:.2f}')} / {number(median(of('own'), 'lat_ms.p95'), '{:.2f}')} "
                         f"| {number(theirs, '{:.1f}')} / {number(median(of('wlmscpfs'), 'lat_ms.p95'), '{:.1f}')} | 1/{ratio(theirs, mine)} | {notes} |")
        out += ["## Worklist (C-FIND of the modality worklist)", "| case | answers | ours, p50 / p95 ms | DCMTK wlmscpfs, p50 / p95 ms | ours × theirs | notes |\n"
                "|---|---|---|---|---|---|\n" + "\n".join(lines)]
    received = list(dict.fromkeys(r["case"] for r in rows if r["workload"] == "matching"))
    if received:
        lines = []
        for case in received:
            of = lambda name: [r for r in rows if (r["workload"], r["case"], r["server"]) == ("matching", case, name)]
            with_it, without = (median(of(name), "per_s") for name in ("own", "own-alone"))
            more = (without / with_it - 1) * 100 if with_it and without else None
            notes = ", ".join(sorted({r["check"] for r in of("own") if "MISMATCH" in r.get("check", "")}))
            lines.append(f"| {case} | {number(without)} | {number(with_it)} | {number(more, '{:+.1f} %')} | {number(median(of('own-alone'), 'cpu_s_per_1000'), '{:.2f}')} "
                         f"/ {number(median(of('own'), 'cpu_s_per_1000'), '{:.2f}')} | {notes} |")
        out += ["## Matching while receiving (C-STORE)", "| case | without a registry, instances/s | matched, instances/s | time added | CPU s per 1,000, without / matched | notes |\n"
                "|---|---|---|---|---|---|\n" + "\n".join(lines)]
    return out
