"""Holds structured reports against TID 2000 (PS3.16) with the context groups that pydicom has.

tid2000.py FILE...: prints "ok FILE" or "wrong FILE: why" for each."""

import sys

import pydicom
from pydicom.sr._cid_dict import cid_concepts
from pydicom.sr._concepts_dict import concepts


def group(number):
    """Codes of a context group, as (value, scheme)."""
    codes = set()
    for scheme, keywords in cid_concepts[number].items():
        for keyword in keywords:
            for value, (_, groups) in concepts[scheme][keyword].items():
                if number in groups:
                    codes.add((value, scheme))
    return codes


TITLES, HEADINGS, TEXTS = group(7000), group(7001), group(7002)
LANGUAGE, COUNTRY = ("121049", "DCM"), ("121046", "DCM")
OBSERVER, PERSON, NAME = ("121005", "DCM"), ("121006", "DCM"), ("121008", "DCM")
PROCEDURE = ("121058", "DCM")
# Rows of the template before its sections; their order is significant.
BEFORE = [PROCEDURE, LANGUAGE, OBSERVER, NAME]


class Wrong(Exception):
    """Says what does not follow the template."""


def code(sequence):
    [item] = sequence
    value = item.get("CodeValue") or item.get("LongCodeValue")
    if not item.CodeMeaning:
        raise Wrong(f"{value} has no meaning")
    return value, item.CodingSchemeDesignator


def concept(item):
    return code(item.ConceptNameCodeSequence)


def need(is_so, why):
    if not is_so:
        raise Wrong(why)


def check(data_set):
    need(data_set.SOPClassUID == "1.2.840.10008.5.1.4.1.1.88.11", "SOP class")
    [template] = data_set.ContentTemplateSequence
    need((template.MappingResource, template.TemplateIdentifier) == ("DCMR", "2000"), "template")
    need(data_set.ValueType == "CONTAINER", "root")
    need(concept(data_set) in TITLES, f"title {concept(data_set)} is not of CID 7000")
    items = list(data_set.ContentSequence)
    places = [BEFORE.index(concept(i)) for i in items if concept(i) in BEFORE]
    need(places == sorted(places), "order of the rows")
    by_concept = {concept(i): i for i in items}

    language = by_concept.get(LANGUAGE)
    need(language is not None, "no language (TID 1204, mandatory)")
    need(language.RelationshipType == "HAS CONCEPT MOD", "relationship of the language")
    need(code(language.ConceptCodeSequence)[1] == "RFC5646", "language")
    [country] = language.ContentSequence
    need(concept(country) == COUNTRY, "country of the language")

    observer, name = by_concept.get(OBSERVER), by_concept.get(NAME)
    need(observer is not None and name is not None, "no observer (TID 1001, mandatory)")
    need(code(observer.ConceptCodeSequence) == PERSON, "type of the observer")
    need(name.ValueType == "PNAME" and name.PersonName, "name of the observer")
    for item in (observer, name):
        need(item.RelationshipType == "HAS OBS CONTEXT", "relationship of the observer")

    sections = [i for i in items if i.RelationshipType == "CONTAINS"]
    need(sections and items[-len(sections):] == sections, "sections come last")
    for section in sections:
        need(section.ValueType == "CONTAINER", "a section is a container")
        need(concept(section) in HEADINGS, f"heading {concept(section)} is not of CID 7001")
        need(len(section.ContentSequence) >= 1, "an empty section")
        for text in section.ContentSequence:
            need((text.RelationshipType, text.ValueType) == ("CONTAINS", "TEXT"), "narrative")
            need(concept(text) in TEXTS, f"{concept(text)} is not of CID 7002")
            need(text.TextValue.strip() and "\n" not in text.TextValue.replace("\r\n", ""), "lines")

    need(data_set.VerificationFlag == "VERIFIED", "verification")
    [verifier] = data_set.VerifyingObserverSequence
    need(verifier.VerifyingObserverName == name.PersonName, "whoever verified is the observer")
    need(data_set.CurrentRequestedProcedureEvidenceSequence, "evidence")


def main():
    for path in sys.argv[1:]:
        try:
            check(pydicom.dcmread(path))
        except (Wrong, AttributeError, ValueError) as error:
            print(f"wrong {path}: {type(error).__name__} {error}")
        else:
            print(f"ok {path}")


main()
