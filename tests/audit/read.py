"""Reads audit messages, a line each, and compares them with the schema of PS3.15 A.5.1.

Answers each with a line of JSON: what it says, or why it is none.
"""

import base64
import json
import pathlib
import sys

from lxml import etree

SCHEMA = etree.RelaxNG(etree.parse(pathlib.Path(__file__).with_name("schema.rng")))
PARSER = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)


def code(element):
    return element.get("csd-code") + "/" + element.get("codeSystemName")


def read(line):
    message = etree.fromstring(line.encode(), PARSER)
    if not SCHEMA.validate(message):
        return {"error": str(SCHEMA.error_log.last_error)}
    event = message.find("EventIdentification")
    objects = message.findall("ParticipantObjectIdentification")
    details = {}
    for detail in message.iter("ParticipantObjectDetail"):
        details[detail.get("type")] = base64.b64decode(detail.get("value")).decode()
    return {
        "event": code(event.find("EventID")),
        "types": [code(kind) for kind in event.findall("EventTypeCode")],
        "action": event.get("EventActionCode"),
        "outcome": event.get("EventOutcomeIndicator"),
        "at": event.get("EventDateTime"),
        "source": message.find("AuditSourceIdentification").get("AuditSourceID"),
        "who": [
            {
                "name": one.get("UserID"),
                "requestor": one.get("UserIsRequestor") == "true",
                "from": one.get("NetworkAccessPointID"),
                "roles": [code(role) for role in one.findall("RoleIDCode")],
            }
            for one in message.findall("ActiveParticipant")
        ],
        "objects": {
            code(one.find("ParticipantObjectIDTypeCode")): one.get("ParticipantObjectID")
            for one in objects
        },
        "details": details,
        "queries": [
            base64.b64decode(query.text).decode() for query in message.iter("ParticipantObjectQuery")
        ],
        "instances": sum(int(one.get("NumberOfInstances")) for one in message.iter("SOPClass")),
    }


for line in sys.stdin:
    try:
        answer = read(line.rstrip("\n"))
    except etree.XMLSyntaxError as error:
        answer = {"error": str(error)}
    print(json.dumps(answer))
