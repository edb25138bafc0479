"""The XHTML of a narrative: formatting that cannot run, load or submit anything. PURE.

FHIR R4 narrative.html, invariants txt-1 (which elements and attributes) and txt-2 (not blank).
"""

from __future__ import annotations

import re

from lxml import etree

XHTML = "http://www.w3.org/1999/xhtml"
MOST_CHARACTERS = 5 * 1024 * 1024

_ELEMENTS_IN_WORDS = """
a abbr acronym b big blockquote br caption cite code col colgroup dd dfn div dl dt em h1 h2 h3 h4 h5
h6 hr i img li ol p pre q samp small span strong sub sup table tbody td tfoot th thead tr tt ul var
"""
ELEMENTS = frozenset(_ELEMENTS_IN_WORDS.split())
_ATTRIBUTES_IN_WORDS = """
abbr accesskey align alt axis bgcolor border cellhalign cellpadding cellspacing cellvalign char
charoff charset cite class colspan compact coords dir frame headers height href hreflang hspace id
lang longdesc name nowrap rel rev rowspan rules scope shape span src start style summary tabindex
title type valign value vspace width
"""
ATTRIBUTES = frozenset(_ATTRIBUTES_IN_WORDS.split())
LINKS = frozenset({"href", "src", "cite", "longdesc"})
_XML_ATTRIBUTES = frozenset(
    f"{{http://www.w3.org/XML/1998/namespace}}{n}" for n in ("lang", "space")
)
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*):", re.IGNORECASE)
_SAFE_SCHEMES_IN_WORDS = "http https ftp ftps sftp mailto tel sms fax sip geo urn cid"
_SAFE_SCHEMES = frozenset(_SAFE_SCHEMES_IN_WORDS.split())
_IMAGE = re.compile(r"data:image/(?:png|jpeg|gif|webp)[;,]", re.IGNORECASE)
# Pictures in a background are formatting (the specification's own narratives have them).
_RUNNING_STYLE = re.compile(
    r"expression\s*\(|behaviou?r\s*:|-moz-binding|script\s*:|@import|\\", re.IGNORECASE
)
_BLANK = re.compile(r"[\s\x00-\x1f]+")


def fault(div: str) -> str | None:
    """What is wrong with a narrative's div, in words; None when nothing is."""
    if len(div) > MOST_CHARACTERS:
        return f"is longer than {MOST_CHARACTERS:,} characters"
    if "<!DOCTYPE" in div or "<!ENTITY" in div:
        return "may not have a DOCTYPE or entities"
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
    try:
        root = etree.fromstring(div.encode(), parser)
    except (etree.XMLSyntaxError, ValueError):
        return "is not well-formed XHTML (named entities such as &nbsp; are not XML: write &#160;)"
    return element_fault(root)


def element_fault(root: etree._Element) -> str | None:
    """The same for a div that is already parsed."""
    if root.tag != f"{{{XHTML}}}div":
        return f'must be one <div xmlns="{XHTML}">'
    # Entities that were not resolved are nodes here, with a tag that is no string.
    full = False
    for node in root.iter():
        if isinstance(node, etree._Comment):
            full = full or _speaks(node.tail)
            continue
        if not isinstance(node.tag, str):
            return "may not have processing instructions or entities"
        if wrong := _node_fault(node):
            return wrong
        name = etree.QName(node).localname
        full = (
            full or name == "img" or _speaks(node.text) or (node is not root and _speaks(node.tail))
        )
    return None if full else "must have some text or an image (txt-2)"


def _node_fault(node: etree._Element) -> str | None:
    tag = etree.QName(node)
    if tag.namespace != XHTML or tag.localname not in ELEMENTS:
        return f"may not have the element <{tag.localname[:20]}> (txt-1)"
    for name, value in node.attrib.items():
        if name not in ATTRIBUTES and name not in _XML_ATTRIBUTES:
            return f"may not have the attribute '{str(name)[:20]}' (txt-1)"
        if name in LINKS and not _harmless(str(value)):
            return f"may link in '{name}' only to the web, mail, a telephone or itself, never to a script"
        if name == "style" and _RUNNING_STYLE.search(str(value)):
            return "may not run or import anything from a style"
    return None


def _harmless(link: str) -> bool:
    bare = _BLANK.sub("", link)
    scheme = _SCHEME.match(bare)
    return scheme is None or scheme.group(1).lower() in _SAFE_SCHEMES or bool(_IMAGE.match(bare))


def _speaks(text: str | None) -> bool:
    return bool(text and text.strip())
