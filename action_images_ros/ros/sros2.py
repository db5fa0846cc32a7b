"""The SROS2 policy of the graph: every node may do what the interface table says, and nothing else."""

from __future__ import annotations

from xml.sax.saxutils import quoteattr

from .interface import INTERFACE, OPERATOR, Endpoint, Kind

ENCLAVE = "/action_images"
_OF_EVERY_NODE = """\
          <topics publish="ALLOW">
            <topic>rosout</topic>
            <topic>/parameter_events</topic>
            <topic>~/transition_event</topic>
          </topics>
          <topics subscribe="ALLOW">
            <topic>/clock</topic>
            <topic>/parameter_events</topic>
          </topics>
          <services reply="ALLOW">
{parameters}
          </services>"""
_OWN_SERVICES = ("describe_parameters", "get_parameter_types", "get_parameters", "list_parameters", "set_parameters",
                 "set_parameters_atomically", "get_type_description", "change_state", "get_state",
                 "get_available_states", "get_available_transitions", "get_transition_graph")


def policy() -> str:
    """The XML text: one enclave, in it a profile for each node. <camera> and <view> become `*`, which DDS permissions
    understand."""
    nodes = sorted({n for e in INTERFACE for n in (*e.from_, *e.to)})
    return ('<?xml version="1.0" encoding="UTF-8"?>\n<policy version="0.2.0">\n  <enclaves>\n'
            f"    <enclave path={quoteattr(ENCLAVE)}>\n      <profiles>\n" + "".join(map(_profile, nodes))
            + "      </profiles>\n    </enclave>\n  </enclaves>\n</policy>\n")


def _profile(node: str) -> str:
    blocks = []
    for kind, group, item, verbs in ((Kind.TOPIC, "topics", "topic", ("publish", "subscribe")),
                                     (Kind.SERVICE, "services", "service", ("reply", "request"))):
        for verb, users in zip(verbs, ("from_", "to")):
            names = sorted({_pattern(e) for e in INTERFACE if e.kind is kind and node in getattr(e, users)})
            if names:
                lines = "\n".join(f"            <{item}>{name}</{item}>" for name in names)
                blocks.append(f'          <{group} {verb}="ALLOW">\n{lines}\n          </{group}>')
    own = "\n".join(f"            <service>~/{name}</service>" for name in _OWN_SERVICES)
    blocks.append(_OF_EVERY_NODE.format(parameters=own))
    if node in (OPERATOR, "console"):  # they ask for and set parameters of the controller
        asked = "\n".join(f"            <service>controller/{name}</service>" for name in _OWN_SERVICES[:5])
        blocks.append(f'          <services request="ALLOW">\n{asked}\n          </services>')
    return (f"        <profile ns={quoteattr('/')} node={quoteattr(node)}>\n" + "\n".join(blocks)
            + "\n        </profile>\n")


def _pattern(endpoint: Endpoint) -> str:
    return endpoint.name.replace("<camera>", "/camera/*").replace("<view>", "*")
