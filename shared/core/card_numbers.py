"""Finds card numbers in texts and JSON values, so that they can be refused or masked.

A card number (ISO/IEC 7812-1, PAN) has 13 to 19 digits, the last of which is a check digit (Luhn). People write it in
groups with spaces or dashes between them. One of ten other numbers of that length has a valid check digit, too; where a
text may have such numbers, only those are taken for card numbers that a card scheme issues.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import Any, Final

SHORTEST: Final = 13
LONGEST: Final = 19
_SHOWN: Final = 4
_MASK: Final = "***"
_GROUPS: Final = re.compile(r"\d+(?:[\s\u200b\u00ad_.\-\u2010-\u2015\u2212]{1,3}\d+)*")
"""Digits of any script, in groups with up to three separators between two of them."""
_GROUP: Final = re.compile(r"\d+")
_OWN_ID: Final = re.compile(r"(?<![A-Za-z0-9])[a-z]{2,5}_[0-9a-f]{32}(?![A-Za-z0-9])")
"""An id of the platform. Its hexadecimal digits may look like a card number."""
_UUID: Final = re.compile(r"(?<![A-Za-z0-9])[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}(?![A-Za-z0-9])")
_SCHEMES: Final = re.compile(
    r"4(?:[0-9]{12}|[0-9]{15}|[0-9]{18})"
    r"|[56][0-9]{15}|6[0-9]{18}"
    r"|2(?:22[1-9]|2[3-9][0-9]|[3-6][0-9]{2}|7[01][0-9]|720)[0-9]{12}"
    r"|3[47][0-9]{13}"
    r"|3(?:0[0-5]|[689][0-9])[0-9]{11}"
    r"|3(?:52[89]|5[3-8][0-9]|841)[0-9]{12}"
)
"""First digits and lengths of the schemes: Visa; Mastercard, Maestro, Elo, Hipercard, Discover and UnionPay; the newer
Mastercard; American Express; Diners Club; JCB and the older Hipercard."""
_LONG: Final = re.compile(r"\d(?:\D{0,3}\d){12}")
"""Text that is long enough for a card number."""
_WITHOUT_FRACTION: Final = 1e20


def holds_card_number(text: str) -> bool:
    """Return whether a text has a card number somewhere."""
    return next(_card_numbers(text), None) is not None


def names_card_of_a_scheme(text: str) -> bool:
    """Return whether a text for people has a number that a card scheme issues, standing by itself.

    Unlike `holds_card_number` it lets most other long numbers pass: numbers between letters, UUIDs, and numbers whose
    first digits and length no scheme uses, such as a phone number with its country code or a time.
    """
    if _LONG.search(text) is None:
        return False
    return next(_card_numbers(_UUID.sub("x", text), of_a_scheme=True), None) is not None


def place_of_card_number(value: Any) -> str | None:
    """Return the JSON pointer (RFC 6901) of the first card number in a JSON value, or None when it has none.

    Numbers and the names of members are searched, too. The pointer itself never has a card number: for a name with one
    it is the pointer of the object.
    """
    level: list[tuple[str, Any]] = [("", value)]
    while level:
        below: list[tuple[str, Any]] = []
        for pointer, item in level:
            if isinstance(item, dict):
                if any(holds_card_number(name) for name in item):
                    return pointer
                below.extend((f"{pointer}/{_escaped(name)}", member) for name, member in item.items())
            elif isinstance(item, list):
                below.extend((f"{pointer}/{position}", member) for position, member in enumerate(item))
            elif _is_found_in(item):
                return pointer
        level = below
    return None


def without_card_numbers(text: str) -> str:
    """Return a text with `***` and the last four digits in place of each card number."""
    for begin, end in reversed(list(_card_numbers(text))):
        text = text[:begin] + _MASK + text[end - _SHOWN : end] + text[end:]
    return text


def _is_found_in(item: Any) -> bool:
    if isinstance(item, str):
        return holds_card_number(item)
    if isinstance(item, bool) or item is None:
        return False
    if isinstance(item, float):
        return abs(item) < _WITHOUT_FRACTION and holds_card_number(str(int(item)))
    return holds_card_number(str(item))


def _card_numbers(text: str, *, of_a_scheme: bool = False) -> Iterator[tuple[int, int]]:
    """Yield the begin and end of each card number: one or several whole groups of digits, or a part of a group that is
    longer than a card number. They do not overlap. The time is linear in the length of the text.

    `of_a_scheme` says that only whole groups count, without a letter beside them, and only numbers of a card scheme.
    """
    if "_" in text:
        text = _OWN_ID.sub(lambda own: "x" * len(own[0]), text)
    for run in _GROUPS.finditer(text):
        if run.end() - run.start() < SHORTEST:
            continue
        groups = [(group.start(), group.end()) for group in _GROUP.finditer(text, run.start(), run.end())]
        places = [place for begin, end in groups for place in range(begin, end)]
        digits = [int(text[place]) for place in places]
        sums = _Sums(digits)
        known = _Schemes(text, places, digits).is_card_number if of_a_scheme else None
        first = 0
        while first + SHORTEST <= len(places):
            last = _last_digit(places, groups, sums, first, known)
            if last is None:
                first += 1
            else:
                yield places[first], places[last] + 1
                first = last + 1


class _Sums:
    """The sums of the check of Luhn for every part of a row of digits."""

    def __init__(self, digits: list[int]) -> None:
        doubled = [2 * digit - 9 * (digit > 4) for digit in digits]
        pairs = list(enumerate(zip(digits, doubled, strict=True)))
        # In the first row the digits at even positions count once and the others doubled; in the second the reverse.
        self._rows = [list(accumulate((pair[(place + row) % 2] for place, pair in pairs), initial=0)) for row in (0, 1)]

    def is_card_number(self, first: int, last: int) -> bool:
        """Return whether the digits from `first` to `last` pass the check. Zeros alone do not."""
        row = self._rows[last % 2]
        total = row[last + 1] - row[first]
        return total > 0 and total % 10 == 0


class _Schemes:
    """Which parts of a row of digits of a text are numbers of a card scheme that stand by themselves."""

    def __init__(self, text: str, places: list[int], digits: list[int]) -> None:
        self._text = text
        self._places = places
        self._digits = "".join(map(str, digits))

    def is_card_number(self, first: int, last: int) -> bool:
        """Return whether the digits from `first` to `last` are of a scheme, without a letter or digit beside them."""
        begin, end = self._places[first], self._places[last] + 1
        beside = self._text[max(begin - 1, 0) : begin] + self._text[end : end + 1]
        if any(sign.isalnum() for sign in beside):
            return False
        return _SCHEMES.fullmatch(self._digits, first, last + 1) is not None


def _last_digit(
    places: list[int],
    groups: list[tuple[int, int]],
    sums: _Sums,
    first: int,
    known: Callable[[int, int], bool] | None,
) -> int | None:
    """Return the position of the last digit of a card number that begins with the digit `first`, or None.

    `known`, if given, decides of a number with a valid check digit whether it counts.
    """
    group = bisect_right(groups, (places[first], len(places) + places[-1])) - 1
    begin, end = groups[group]
    starts_group = places[first] == begin
    if not starts_group and end - begin <= LONGEST:
        return None
    for last in range(first + SHORTEST - 1, min(first + LONGEST, len(places))):
        ends_group = last + 1 == len(places) or places[last + 1] != places[last] + 1
        is_inside = places[last] < end and end - begin > LONGEST
        if (
            (is_inside or (starts_group and ends_group))
            and sums.is_card_number(first, last)
            and (known is None or known(first, last))
        ):
            return last
    return None


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
