"""Documents of the Native DICOM Model beside those of dcm2xml; the test in interop_xml.rs runs it.

  native_model.py DCM2XML < LINES

Each of LINES is the path of a DICOM file and that of a document of the same data set, with a tab between
them. For each comes one line of JSON: where they differ, or null where dcm2xml makes nothing of the file."""
import json
import subprocess
import sys
from xml.etree import ElementTree

# PS3.19 A.1.5.2 leaves lengths of groups and padding out; each document says its own character set.
LEFT_OUT = ("FFFCFFFC", "00080005")
# Characters of text that the server rather names than gives.
LONG = 30_000
BYTES = ("InlineBinary", "BulkData")


def local(element):
    return element.tag.rsplit("}", 1)[-1]


def key(attribute):
    """The tag, with the creator of a private one in the place of its block."""
    creator = attribute.get("privateCreator")
    tag = attribute.get("tag").upper()
    return tag if creator is None else f"{tag} {creator.strip()}"


def name(person):
    """A person's name as it stands in a data set."""
    groups = {local(group): group for group in person}
    texts = []
    for group in ("Alphabetic", "Ideographic", "Phonetic"):
        parts = {local(part): part.text or "" for part in groups.get(group, ())}
        order = ("FamilyName", "GivenName", "MiddleName", "NamePrefix", "NameSuffix")
        texts.append("^".join(parts.get(part, "").strip() for part in order).rstrip("^"))
    return "=".join(texts).rstrip("=")


def held(attribute):
    """What an attribute holds: bytes, items or texts."""
    children = list(attribute)
    kinds = {local(child) for child in children}
    if kinds & set(BYTES):
        return "bytes", None
    if kinds == {"Item"}:
        return "items", children
    if kinds == {"PersonName"}:
        return "texts", [name(child) for child in children]
    return "texts", [(child.text or "").strip(" \0") for child in children]


def present(texts):
    """None for a value that is there and empty: DCMTK leaves it out."""
    return texts if any(texts) else []


def number(text):
    try:
        return float(text)
    except ValueError:
        return None


def is_equal(ours, theirs, vr):
    if ours == theirs:
        return True
    if vr == "AT":
        return ours == theirs.strip("()").replace(",", "").upper()
    a, b = number(ours), number(theirs)
    if a is None or b is None:
        return False
    return a == b or a != a and b != b or abs(a - b) <= 1e-6 * max(abs(a), abs(b))


def compare(ours, theirs, path, out):
    ours = {key(attribute): attribute for attribute in ours}
    theirs = {key(attribute): attribute for attribute in theirs}
    for tag in sorted(ours.keys() | theirs.keys()):
        if tag[4:8] == "0000" and " " not in tag or tag in LEFT_OUT:
            continue
        here = f"{path}/{tag}"
        if tag not in theirs or tag not in ours:
            out.append(f"{here}: only {'we have' if tag in ours else 'DCMTK has'} it")
            continue
        a, b = ours[tag], theirs[tag]
        if int(tag[:4], 16) % 2 == 1 and a.get("vr") == "UN":
            # DCMTK has a dictionary of private attributes that are written as UN.
            continue
        if a.get("vr") != b.get("vr"):
            out.append(f"{here}: vr {a.get('vr')}, not {b.get('vr')}")
            continue
        # The dictionary of DCMTK has no keywords of some retired attributes.
        if a.get("keyword") != b.get("keyword") and b.get("keyword") is not None:
            out.append(f"{here}: keyword {a.get('keyword')}, not {b.get('keyword')}")
        (kind, values), (their_kind, their_values) = held(a), held(b)
        if kind == their_kind == "texts":
            values, their_values = present(values), present(their_values)
        if kind != their_kind:
            if kind == "bytes" and sum(map(len, their_values or ())) > LONG and their_kind == "texts":
                continue
            is_empty = not values and not their_values and "bytes" not in (kind, their_kind)
            if not is_empty:
                out.append(f"{here}: {kind}, not {their_kind} {b.get('vr')}")
        elif kind == "items":
            if len(values) != len(their_values):
                out.append(f"{here}: {len(values)} items, not {len(their_values)}")
            for at, (item, their_item) in enumerate(zip(values, their_values), 1):
                compare(item, their_item, f"{here}/{at}", out)
        elif kind == "texts":
            if len(values) != len(their_values):
                out.append(f"{here}: {len(values)} values, not {len(their_values)}")
            elif not all(map(is_equal, values, their_values, [a.get("vr")] * len(values))):
                out.append(f"{here}: other {a.get('vr')}: {values!r:.80} {their_values!r:.80}")


for line in sys.stdin:
    file, document = line.rstrip("\n").split("\t")
    ours = ElementTree.parse(document).getroot()
    made = subprocess.run([sys.argv[1], "-nat", "+U8", "+M", file], capture_output=True, check=False)
    differences = []
    try:
        theirs = ElementTree.fromstring(made.stdout)
    except ElementTree.ParseError as error:  # what dcm2xml cannot is no fault of ours
        print(f"{file}: {error}: {made.stderr[:200]!r}", file=sys.stderr)
        print("null", flush=True)
        continue
    assert local(ours) == "NativeDicomModel", local(ours)
    compare(ours, theirs, "", differences)
    print(json.dumps(differences), flush=True)
