"""Addresses of people: e-mail and telephone, checked for their form and written in one way.

Both libraries are imported at first use: few functions need them and each costs tens of milliseconds.
"""

from __future__ import annotations

import re
from typing import Final

# In front of the library, which would also read letters, extensions and `tel:` addresses.
_PHONE: Final = re.compile(r"\+[0-9](?:[ .()-]{0,2}[0-9]){1,14}")


def email(text: str) -> str:
    """An e-mail address (RFC 5322 and 6531, no display name) with its domain in lower case and in Unicode's NFC.

    Only the form is checked: no name server is asked. Raises ValueError when it is none.
    """
    from email_validator import validate_email

    # "Test environment" lets through the reserved domain .test (RFC 6761), which examples and tests write to.
    return validate_email(text, check_deliverability=False, test_environment=True, strict=True).normalized


def phone(text: str) -> str:
    """A telephone number in E.164 (`+5511987654321`), from one in international form with or without separators.

    The country code must exist and the length be possible in that country; whether the number is in use is not
    asked. Raises ValueError when it is none.
    """
    if _PHONE.fullmatch(text) is None:
        raise ValueError("a phone number begins with + and its country code")
    from phonenumbers import NumberParseException, PhoneNumberFormat, format_number, is_possible_number, parse

    try:
        number = parse(text)
    except NumberParseException:
        raise ValueError("the phone number's country code is not known") from None
    if not is_possible_number(number):
        raise ValueError("the phone number is too long or too short for its country")
    return format_number(number, PhoneNumberFormat.E164)
