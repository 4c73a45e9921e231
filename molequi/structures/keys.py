"""The keys of a comment line of extended XYZ, in the spellings of several programs."""

from __future__ import annotations

import re

from molequi.errors import UserError

# Keys of extended XYZ whose case other programs do not mind.
_KEYS = {"lattice": "Lattice", "properties": "Properties", "pbc": "pbc"}
_KEY = re.compile(r"(?i)(?<![\w-])(lattice|properties|pbc)\s*=\s*")
_SPACED = re.compile(r"(?<=[\w\]])[ \t]*=[ \t]+(?=\S)|(?<=[\w\]])[ \t]+=[ \t]*(?=\S)")
_JOINED = re.compile(r"(=[^\s,;]+)[,;](?=[A-Za-z_][\w.-]*=)|(=[^\s,;]+);(?=\s|$)")
_SYMBOLS = re.compile(r"(Properties=\"?(?:\w+:\w:\d+:)*?)(?i:elements?|symbols?)(?=:S:1\b)")
_NUMBER = r"[-+]?[.\d][-+.\deE]*"
_OTHER_CELLS = re.compile(
    r"(?i)(?<![\w-])(cell|box|unit[ _]?cell|(?:cell|lattice)[ _]?(?:vectors|lengths|parameters?)"
    r"|abc|cellpar|lattice(?=\s*:))\s*[:=]"
    rf"\s*[\"'{{\[(]*(?:{_NUMBER}[\s,]+){{2,}}{_NUMBER}"
)
QUOTED = re.compile(r"(?<!\\)(?:\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'|\{[^}]*\}|\[[^\]]*\])")
# Where a quotation may begin; what it is, or a mark that is none, as in 5'-AMP and 6" ring.
_BEGIN = r"(?:(?<=[\s=,;:(])|^)"
_END = r"(?=[\s,;\[\])}]|$)"
_MARKS = re.compile(
    rf"(?P<slash>\\)(?![\\\"'=\s])|\\."
    rf"|{_BEGIN}(?:\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'|(?:\{{[^}}]*\}}|\[[^\]]*\]){_END})"
    r"|(?P<lone>[\"'{\[])"
)
_CLOSING = {"{": "}", "[": "]"}
_OPENING = re.compile(rf"{_BEGIN}(?:[\"'{{]|(?<==)\[)[^=]*=")
_PAIR = re.compile(
    rf"{QUOTED.pattern}|(?<![\w-])(?P<key>[\w:.-]+)=(?P<value>{QUOTED.pattern}|[^\s\"'{{\[]\S*|)"
)
_PERIODIC = frozenset("periodic periodicity boundary boundaries bc pbcs".split())
_FLAGS = {**dict.fromkeys(("t", "true", "1"), "T"), **dict.fromkeys(("f", "false", "0"), "F")}


def tidy_keys(comment: str) -> str:
    """Write the keys of extended XYZ in their own case, and `key = value` without spaces.

    Keys joined by commas or semicolons come apart, a column of symbols is named species, and a
    backslash stands before quotation marks that quote nothing.

    Raises UserError for a quotation without an end, for a cell or a periodicity under another name,
    which would be lost, for a periodicity that cannot be read, which would be all three axes, and
    for a key with two values.
    """
    comment = _MARKS.sub(_literal, comment)
    comment = _KEY.sub(lambda match: f"{_KEYS[match[1].lower()]}=", comment)
    parts = QUOTED.split(comment)
    quoted = [*QUOTED.findall(comment), ""]
    parts = [_JOINED.sub(r"\1\2 ", _SPACED.sub("=", part)) for part in parts]
    comment = "".join(part + text for part, text in zip(parts, quoted, strict=True))
    if ":S:1" in comment and "species:" not in comment:
        comment = _SYMBOLS.sub(r"\1species", comment)
    other = _OTHER_CELLS.search(comment)
    if other and "Lattice=" not in comment:
        raise UserError(
            f"the comment line has a cell under {other[1]!r}, which is not read; write "
            'Lattice="ax ay az bx by bz cx cy cz" in Å'
        )
    _refuse_contradictions(comment)
    return _PAIR.sub(_plain_pbc, comment)


def _literal(mark: re.Match[str]) -> str:
    """Escape what is part of a word, as in a SMILES, or has no end; a quotation stays.

    ASE leaves these marks out, or takes all that follows for what they quote. Raises UserError
    where keys follow what looks like the beginning of a quotation.
    """
    if not mark["lone"]:
        return "\\\\" if mark["slash"] else mark[0]
    closing = _CLOSING.get(mark[0], mark[0])
    if closing not in mark.string[mark.end() :] and _OPENING.match(mark.string, mark.start()):
        raise UserError(
            f"the comment line has a quotation without an end ({mark.string[mark.start() :][:40]}),"
            f" and keys behind it; close it, or leave the {mark[0]} out"
        )
    return f"\\{mark[0]}"


def _refuse_contradictions(comment: str) -> None:
    """Refuse a key with two values, of which ASE takes the last, and a periodicity that is lost."""
    found: dict[str, str] = {}
    for match in _PAIR.finditer(comment):
        key, value = match["key"], match["value"]
        if key is not None and found.setdefault(key, value) != value:
            raise UserError(
                f"the comment line has {key}= twice, as {found[key][:40]} and {value[:40]}; "
                "keep the right one"
            )
    lost = next((key for key in found if key.lower() in _PERIODIC), None)
    if lost and "Lattice" in found and "pbc" not in found:
        raise UserError(
            f'the comment line has {lost}={found[lost][:40]}, which is not read; write pbc="T T F" '
            "or the like"
        )


def _plain_pbc(pair: re.Match[str]) -> str:
    """Write a periodicity as `pbc="T T F"`; other pairs stay. ASE takes words for true."""
    if pair["key"] != "pbc":
        return pair[0]
    words = re.split(r"[\s,]+", pair["value"].strip("\"'{}[]() \t"))
    if len(words) == 1 and re.fullmatch(r"(?i)[tf]{3}", words[0]):
        words = [*words[0]]
    flags = [_FLAGS.get(word.lower()) for word in words]
    if len(flags) not in (1, 3) or None in flags:
        raise UserError(
            f'pbc={pair["value"][:40]} is no periodicity; write pbc="T T F" or the like'
        )
    return f'pbc="{" ".join(str(flag) for flag in flags * (3 // len(flags)))}"'
