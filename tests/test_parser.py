"""The parser of filters and paths against that of scim2-models (RFC 7644 Figure 1)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from conftest import ENTERPRISE, USER
from hypothesis import given, settings
from hypothesis import strategies as st
from scim2_models import InvalidFilterException, InvalidPathException, Path, ScimFilter
from scim2_models import path as oracle

from scim2_server import (
    AttrExp,
    LogExp,
    NotExp,
    ValuePath,
    parse_filter,
    parse_path,
)

Parse = Callable[[str], Any]
bounded = settings(max_examples=300, derandomize=True, database=None, deadline=None)
A, B, C, D = (AttrExp(name, "pr", None) for name in "abcd")


def equals(name: str, value: Any, sub: str | None = None) -> AttrExp:
    """Build ``name eq value``."""
    return AttrExp(f"{name}.{sub}" if sub else name, "eq", value)


EMAILS = "emails"
TREES = {
    "a pr": A,
    "A PR": AttrExp("A", "pr", None),
    "a pr and b pr and c pr": LogExp("and", (A, B, C)),
    "a pr or b pr or c pr or d pr": LogExp("or", (A, B, C, D)),
    "a pr or b pr and c pr": LogExp("or", (A, LogExp("and", (B, C)))),
    "a pr and b pr or c pr AND d pr": LogExp(
        "or", (LogExp("and", (A, B)), LogExp("and", (C, D)))
    ),
    "a pr and (b pr OR c pr)": LogExp("and", (A, LogExp("or", (B, C)))),
    "((a pr))": A,
    "not (a pr) and b pr": LogExp("and", (NotExp(A), B)),
    "not(a pr and b pr)": NotExp(LogExp("and", (A, B))),
    "Not (not (a pr))": NotExp(NotExp(A)),
    'a.b Eq "x"': equals("a", "x", "b"),
    "a eq 1": equals("a", 1),
    "a eq -1.5e1": equals("a", -15.0),
    "a eq true": equals("a", True),
    "a eq false": equals("a", False),
    "a eq null": equals("a", None),
    'a eq ""': equals("a", ""),
    r'a eq "\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00"': equals("a", '"\\/\b\f\n\r\té😀'),
    'a eq " and (b pr) ] "': equals("a", " and (b pr) ] "),
    'never ne "ne"': AttrExp("never", "ne", "ne"),
    "android pr or organ pr": LogExp(
        "or",
        (
            AttrExp("android", "pr", None),
            AttrExp("organ", "pr", None),
        ),
    ),
    "notes pr": AttrExp("notes", "pr", None),
    'm.$ref ew "1"': AttrExp("m.$ref", "ew", "1"),
    f"{USER}:name.a pr": AttrExp(f"{USER}:name.a", "pr", None),
    f"{ENTERPRISE}:manager le 2": AttrExp(f"{ENTERPRISE}:manager", "le", 2),
    "emails[a pr]": ValuePath(EMAILS, A),
    "emails[a pr and (b pr or not (c pr))] or d pr": LogExp(
        "or", (ValuePath(EMAILS, LogExp("and", (A, LogExp("or", (B, NotExp(C)))))), D)
    ),
    "not (emails[a pr])": NotExp(ValuePath(EMAILS, A)),
}
PATHS = {
    "emails": EMAILS,
    "name.familyName": "name.familyName",
    "members.$ref": "members.$ref",
    f"{USER}:userName": f"{USER}:userName",
    f"{USER.upper()}:NAME.x": f"{USER.upper()}:NAME.x",
    f"{ENTERPRISE}:manager.value": f"{ENTERPRISE}:manager.value",
    "emails[a pr]": ValuePath(EMAILS, A),
    "emails[a pr or b pr].value": ValuePath(EMAILS, LogExp("or", (A, B)), "value"),
    'emails[a eq "x]"].value': ValuePath(EMAILS, equals("a", "x]"), "value"),
    f"{USER}:emails[not (a pr)].x": ValuePath(f"{USER}:emails", NotExp(A), "x"),
}


@pytest.mark.parametrize(("text", "tree"), TREES.items())
def test_filters(text: str, tree: Any) -> None:
    """Names as written, words and operators in any case, flat chains."""
    assert repr(parse_filter(text)) == repr(tree)


@pytest.mark.parametrize(("text", "tree"), PATHS.items())
def test_paths(text: str, tree: Any) -> None:
    """``PATH = attrPath / valuePath [subAttr]`` (§3.5.2)."""
    assert repr(parse_path(text)) == repr(tree)


def test_long_chains_are_flat() -> None:
    """A tree of 500 terms is one node: hash, repr and equality do not recurse."""
    tree = parse_filter(" and ".join(["a pr"] * 500))
    assert tree == LogExp("and", (A,) * 500)
    assert hash(tree) == hash(LogExp("and", (A,) * 500))


# what is refused, and by which exception: outside the brackets, or inside
BAD_PATHS = {
    "": InvalidPathException,
    " ": InvalidPathException,
    "emails.": InvalidPathException,
    ".value": InvalidPathException,
    "emails..value": InvalidPathException,
    "name.a.b": InvalidPathException,
    "emails value": InvalidPathException,
    "emails]": InvalidPathException,
    "emails[a pr].": InvalidPathException,
    "emails[a pr]value": InvalidPathException,
    "emails[a pr].b.c": InvalidPathException,
    "emails[a pr][b pr]": InvalidPathException,
    "emails[a pr].b[c pr]": InvalidPathException,
    "1a": InvalidPathException,
    "/emails/0": InvalidPathException,
    f"{USER}:": InvalidPathException,
    "emails[]": InvalidFilterException,
    "emails[0]": InvalidFilterException,
    "emails[a]": InvalidFilterException,
    "emails[a xx 1].value": InvalidFilterException,
    "emails[a eq x].value": InvalidFilterException,
    "emails[a[b pr]]": InvalidFilterException,
    "emails[(a pr].value": InvalidFilterException,
    'emails[a eq "x].value': InvalidFilterException,
}


@pytest.mark.parametrize(("text", "error"), BAD_PATHS.items(), ids=repr)
def test_bad_paths(text: str, error: type[Exception]) -> None:
    """invalidPath, and invalidFilter inside the brackets (Table 9), with a column."""
    with pytest.raises((InvalidPathException, InvalidFilterException)) as caught:
        parse_path(text)
    assert type(caught.value) is error
    assert re.search(r"\b(column \d|unquoted-value)", caught.value.detail)


# --- random filters and paths, spelled as the ABNF says

names = st.from_regex(r"[A-Za-z][A-Za-z0-9_-]{0,5}", fullmatch=True).filter(
    lambda name: name.lower() not in ("not", "urn")
)
subs = names | st.just("$ref")
plain_paths = st.builds("{}{}".format, names, st.just("") | subs.map(".{}".format))
attr_paths = plain_paths | st.builds(
    "{}:{}".format, st.sampled_from([USER, ENTERPRISE, USER.upper()]), plain_paths
)
strings = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
values = st.one_of(
    st.builds(json.dumps, strings, ensure_ascii=st.booleans()),
    st.none() | st.booleans() | st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
).map(lambda value: value if isinstance(value, str) else json.dumps(value))


def any_case(*words: str) -> st.SearchStrategy[str]:
    """Draw one of these words, in lower, upper or title case."""
    return st.sampled_from([f(w) for w in words for f in (str, str.upper, str.title)])


OPERATORS = ("eq", "ne", "co", "sw", "ew", "gt", "ge", "lt", "le")


def expressions(terms: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Combine terms with and, or, not and parentheses."""
    return st.recursive(
        terms,
        lambda inner: st.one_of(
            st.builds("{} {} {}".format, inner, any_case("and", "or"), inner),
            st.builds("{}{}({})".format, any_case("not"), st.sampled_from(" |"), inner),
            st.builds("({})".format, inner),
        ),
        max_leaves=6,
    ).map(lambda text: text.replace("|(", "("))


def comparisons(paths: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Draw ``attrExp``."""
    return st.one_of(
        st.builds("{} {}".format, paths, any_case("pr")),
        st.builds("{} {} {}".format, paths, any_case(*OPERATORS), values),
    )


urns = st.just("") | st.sampled_from([f"{USER}:", f"{ENTERPRISE}:"])
value_paths = st.builds("{}{}[{}]".format, urns, names, expressions(comparisons(names)))
filters = expressions(comparisons(attr_paths) | value_paths)
paths = attr_paths | st.builds(
    "{}{}".format, value_paths, st.just("") | subs.map(".{}".format)
)


# --- the same tree from either parser, to compare


def translate(node: Any) -> Any:
    """Say an oracle's tree in the words of scim2_server."""
    match node:
        case oracle.AttrPath():
            urn = f"{node.uri}:" if node.uri else ""
            return urn + node.attr + (f".{node.sub_attr}" if node.sub_attr else "")
        case oracle.Present():
            return AttrExp(translate(node.attr_path), "pr", None)
        case oracle.Comparison():
            return AttrExp(translate(node.attr_path), node.op.value, node.value)
        case oracle.Not():
            return NotExp(translate(node.expr))
        case oracle.LogicalExpr():
            return LogExp(node.op.value, tuple(map(translate, node.terms)))
        case oracle.ValuePath():
            path, inner = translate(node.attr_path), translate(node.val_filter)
            return ValuePath(path, inner, node.sub_attr)
    raise AssertionError(node)


def flat(node: Any) -> Any:
    """Undo parentheses around a chain within a chain of the same operator."""
    match node:
        case LogExp():
            terms = [flat(term) for term in node.terms]
            same = (isinstance(term, LogExp) and term.op == node.op for term in terms)
            parts = [
                term.terms if inner else (term,)
                for term, inner in zip(terms, same, strict=True)
            ]
            return LogExp(node.op, sum(parts, ()))
        case NotExp():
            return NotExp(flat(node.term))
        case ValuePath():
            return ValuePath(node.path, flat(node.filter), node.sub)
    return node


def outcome(parse: Parse, text: str) -> str | None:
    """Answer the tree in print, or None when the text is refused."""
    try:
        return repr(flat(parse(text)))
    except (InvalidFilterException, InvalidPathException):
        return None


def filter_oracle(text: str) -> Any:
    """Parse a filter with scim2-models."""
    return translate(ScimFilter(text).ast)


def path_oracle(text: str) -> Any:
    """Parse a path with scim2-models."""
    return translate(Path(text).ast)


def test_random_filters() -> None:
    """Both accept what the ABNF spells, and read the same."""

    @bounded
    @given(filters)
    def agree(text: str) -> None:
        ours = outcome(parse_filter, text)
        assert ours is not None
        assert ours == outcome(filter_oracle, text)

    agree()


def test_random_paths() -> None:
    """Both accept what the ABNF spells, and read the same (§3.5.2)."""

    @bounded
    @given(paths)
    def agree(text: str) -> None:
        ours = outcome(parse_path, text)
        assert ours is not None
        assert ours == outcome(path_oracle, text)

    agree()


# --- every difference, by the reason that the RFC gives

STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[()\[\]]|[^\s()\[\]"]+')


def respell(text: str) -> str:
    """Spell the tokens of a text with the ABNF's SPs, and literals in lower case."""
    spelled = ""
    for token in TOKEN.findall(text):
        if token.lower() in ("true", "false", "null"):
            token = token.lower()
        glued = not spelled or spelled[-1] in "([" or token in ")]["
        glued = glued or (token[0] == "." and spelled[-1] == "]")
        spelled += token if glued else " " + token
    return spelled


# scim2-models accepts these, and the grammar does not
NARROWER = {
    "path-compare": (  # FILTER has no subAttr after a valuePath; Entra sends it
        r"\]\s*\.",
        ['emails[type eq "work"].value eq "x"', "emails[a pr].b pr"],
    ),
    "attrExp as path": (  # PATH = attrPath / valuePath [subAttr]; erratum 7122 is Held
        r"\b(pr|eq|ne|co|sw|ew|gt|ge|lt|le)\b",
        ['emails.type eq "work"', "title pr"],
    ),
    "lone surrogate": (  # RFC 8259 §8.2: no Unicode text; stored strings have none
        r"\\u[dD][89a-fA-F]",
        [r'a eq "\ud800"', r'a eq "x\udc00"'],
    ),
    "empty path": (  # a PATH has an attrPath; the root is named by no path at all
        r"^$",
        [""],
    ),
}
# and these it refuses, where the grammar has room
WIDER = {
    "other URIs": r":",  # URI of attrPath is any of RFC 3986, not a URN only
    "nesting": r"(?s)([\[(].*){16}",  # it nests up to 32, a limit of its own
}


@pytest.mark.parametrize(
    ("reason", "text"),
    [(name, text) for name, (_, texts) in NARROWER.items() for text in texts],
)
def test_differences(reason: str, text: str) -> None:
    """Each is one: scim2-models accepts it, and this parser does not."""
    is_path = "path" in reason and "compare" not in reason
    with pytest.raises((InvalidFilterException, InvalidPathException)):
        (parse_path if is_path else parse_filter)(text)
    assert re.search(NARROWER[reason][0], text)
    (Path if is_path else ScimFilter)(text)


SPACES = [
    "a  pr",
    " a pr",
    "a pr ",
    "( a pr )",
    "a\tpr",
    'a eq"x"',
    "a eq 1and b pr",
    "(a pr)and(b pr)",
    "emails [a pr]",
    "emails[ a pr ]",
    "a eq TRUE",
    "a eq Null",
]


@pytest.mark.parametrize("text", SPACES, ids=repr)
def test_spaces_and_literals(text: str) -> None:
    """One SP where the ABNF has one; JSON's literals are lower case.

    A parser may be generous here: then it reads what scim2-models reads.
    """
    theirs = outcome(filter_oracle, text)
    assert theirs is not None
    assert outcome(parse_filter, text) in (None, theirs)


edits = st.lists(
    st.tuples(
        st.integers(0, 200),
        st.integers(0, 2),
        st.sampled_from([*'()[]". \t:$,-eqpr01', " and ", " or ", "not ", "].", ""]),
    ),
    min_size=1,
    max_size=3,
)


def edited(text: str, changes: list[tuple[int, int, str]]) -> str:
    """Cut out and put in a few characters."""
    for place, cut, new in changes:
        place %= len(text) + 1
        text = text[:place] + new + text[place + cut :]
    return text


def compare(parse: Parse, theirs: Parse, text: str) -> None:
    """Both read the same or both refuse, but for the differences above."""
    ours, oracles = outcome(parse, text), outcome(theirs, text)
    if ours == oracles:
        return
    bare = STRING.sub('""', text)
    if ours is None:
        if outcome(parse, respell(text)) == oracles:
            return
        listed = [pattern for pattern, _ in NARROWER.values()]
        if parse is parse_filter:
            listed.remove(NARROWER["attrExp as path"][0])
        assert any(re.search(p, bare) or re.search(p, text) for p in listed), text
    else:
        assert oracles is None, text
        assert any(re.search(p, bare) for p in WIDER.values()), text


def test_random_mistakes_in_filters() -> None:
    """What either refuses the other refuses, but for what is listed."""

    @bounded
    @given(filters, edits)
    def agree(text: str, changes: list[tuple[int, int, str]]) -> None:
        compare(parse_filter, filter_oracle, edited(text, changes))

    agree()


def test_random_mistakes_in_paths() -> None:
    """What either refuses the other refuses, but for what is listed (§3.5.2)."""

    @bounded
    @given(paths, edits)
    def agree(text: str, changes: list[tuple[int, int, str]]) -> None:
        compare(parse_path, path_oracle, edited(text, changes))

    agree()


def test_random_text() -> None:
    """Any text at all is a tree or one of the two exceptions."""

    @bounded
    @given(st.text(max_size=40), st.text('ab.[]()" eqprandot01\\', max_size=40))
    def answer(anything: str, similar: str) -> None:
        for text in (anything, similar):
            outcome(parse_filter, text)
            outcome(parse_path, text)

    answer()
